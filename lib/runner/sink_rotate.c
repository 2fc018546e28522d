/* An appended file that starts anew when it is large. */
#include "runner/sink_rotate.h"

#include "base/path.h"
#include "runner/flusher.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WALK_BLOCK = 64 * 1024 };

void sink_rotated_open(struct sink_rotated *file, const char *path, enum format format, uint64_t limit, unsigned keep)
{
    *file = (struct sink_rotated){.path = path, .format = format, .limit = limit, .keep = keep, .descriptor = -1};
}

void sink_rotated_close(struct sink_rotated *file)
{
    if (file->descriptor >= 0)
        close(file->descriptor);
    file->descriptor = -1;
}

static enum mp_error explain(const struct sink_rotated *file, const char *what, int number, struct fault *fault)
{
    if (number == ENOSPC || number == EDQUOT)
        return fault_set(fault, MP_ERR_FULL, "cannot %s %s: the disk is full: messages wait until there is room", what,
                         file->path);
    return fault_system(fault, number == EACCES || number == EPERM ? MP_ERR_DENIED : MP_ERR_IO, number, "cannot %s %s",
                        what, file->path);
}

/* ---- a torn end ----------------------------------------------------------------------------------------------- */

/* The bytes of whole records at the beginning of a file of format `length`. */
static uint64_t whole_records(int descriptor, uint64_t size)
{
    uint8_t block[WALK_BLOCK];
    uint64_t at = 0;    /* of a record */
    uint64_t start = 0; /* of the block */
    size_t filled = 0;
    while (size - at >= 4) {
        if (at < start || at + 4 > start + filled) {
            ssize_t got = pread(descriptor, block, sizeof(block), (off_t)at);
            start = at;
            filled = got > 0 ? (size_t)got : 0;
            if (filled < 4)
                break;
        }
        uint64_t length = load_big(block + (at - start), 4);
        if (length > size - at - 4)
            break;
        at += 4 + length;
    }
    return at;
}

static enum mp_error mend(struct sink_rotated *file, struct fault *fault)
{
    char last;
    file->mended = false;
    file->torn = 0;
    if (!file->size || file->format == FORMAT_WHOLE)
        return MP_OK;
    if (file->format == FORMAT_LENGTH) {
        uint64_t whole = whole_records(file->descriptor, file->size);
        if (whole == file->size)
            return MP_OK;
        if (ftruncate(file->descriptor, (off_t)whole) != 0)
            return explain(file, "mend", errno, fault);
        file->torn = file->size - whole;
        file->size = whole;
        file->mended = true;
        return MP_OK;
    }
    const char separator = file->format == FORMAT_NULL ? '\0' : '\n';
    if (pread(file->descriptor, &last, 1, (off_t)file->size - 1) != 1)
        return explain(file, "read", errno, fault);
    if (last == separator)
        return MP_OK;
    enum mp_error error = sink_rotated_write(file, &separator, 1, fault);
    file->mended = error == MP_OK;
    return error;
}

/* ---- opening and rotating ------------------------------------------------------------------------------------- */

static enum mp_error open_file(struct sink_rotated *file, struct fault *fault)
{
    struct stat status;
    sink_rotated_close(file);
    int descriptor = open(file->path, O_RDWR | O_APPEND | O_CREAT | O_NONBLOCK | O_CLOEXEC, 0666);
    if (descriptor < 0)
        return explain(file, "open", errno, fault);
    if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
        close(descriptor);
        return fault_set(fault, MP_ERR_IO, "cannot append to %s: it is not a regular file", file->path);
    }
    file->descriptor = descriptor;
    file->device = (uint64_t)status.st_dev;
    file->inode = (uint64_t)status.st_ino;
    file->size = (uint64_t)status.st_size;
    if (!file->size)
        path_flush_directory(file->path, NULL);
    enum mp_error error = mend(file, fault);
    if (error)
        sink_rotated_close(file);
    return error;
}

/* FILE.NUMBER; 0: FILE itself. False: the name is too long. */
static bool name_of(const struct sink_rotated *file, unsigned number, char name[PATH_MAX])
{
    int length =
        number ? snprintf(name, PATH_MAX, "%s.%u", file->path, number) : snprintf(name, PATH_MAX, "%s", file->path);
    return length < PATH_MAX;
}

/*
 * Moves each file up by one, from the first free number down: whatever is cut off in between, no file has two names or
 * is overwritten, and the next rotation goes on. Past what is kept the oldest is overwritten by the one before it.
 */
static enum mp_error rotate(struct sink_rotated *file, struct fault *fault)
{
    char from[PATH_MAX];
    char to[PATH_MAX];
    unsigned last = 1;
    struct stat status;
    while (last < UINT_MAX && (!file->keep || last < file->keep)) {
        if (!name_of(file, last, to))
            return explain(file, "rotate", ENAMETOOLONG, fault);
        if (lstat(to, &status) != 0)
            break;
        last++;
    }
    enum mp_error error = sink_rotated_flush(file, fault);
    if (error)
        return error;
    for (unsigned number = last; number > 0; number--)
        if (!name_of(file, number - 1, from) || !name_of(file, number, to) || rename(from, to) != 0)
            return explain(file, "rotate", errno, fault);
    path_flush_directory(file->path, NULL);
    sink_rotated_close(file);
    return open_file(file, fault);
}

/* Whether the path still names the file that is open; its size, which others may have changed, is looked up. */
static bool is_there(struct sink_rotated *file)
{
    struct stat status;
    if (file->descriptor < 0 || stat(file->path, &status) != 0 || (uint64_t)status.st_dev != file->device ||
        (uint64_t)status.st_ino != file->inode)
        return false;
    file->size = (uint64_t)status.st_size;
    return true;
}

enum mp_error sink_rotated_prepare(struct sink_rotated *file, uint64_t coming, struct fault *fault)
{
    if (!is_there(file)) {
        enum mp_error error = sink_rotated_flush(file, fault); /* the one that was moved away */
        if (!error)
            error = open_file(file, fault);
        if (error)
            return error;
    }
    if (file->limit && file->size && (coming > file->limit || file->size > file->limit - coming))
        return rotate(file, fault);
    return MP_OK;
}

enum mp_error sink_rotated_write(struct sink_rotated *file, const void *data, size_t size, struct fault *fault)
{
    size_t written = 0;
    while (written < size) {
        ssize_t got = write(file->descriptor, (const char *)data + written, size - written);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            int number = got < 0 ? errno : ENOSPC;
            struct stat status;
            if (written && fstat(file->descriptor, &status) == 0 && (uint64_t)status.st_size == file->size + written &&
                ftruncate(file->descriptor, (off_t)file->size) != 0)
                sink_rotated_close(file); /* it is mended when it is opened again */
            return explain(file, "write to", number, fault);
        }
        written += (size_t)got;
    }
    file->size += size;
    return MP_OK;
}

enum mp_error sink_rotated_flush(struct sink_rotated *file, struct fault *fault)
{
    int number = file->descriptor >= 0 ? flusher_flush(file->descriptor) : 0;
    return number ? sink_rotated_flush_failed(file, number, fault) : MP_OK;
}

enum mp_error sink_rotated_flush_failed(struct sink_rotated *file, int number, struct fault *fault)
{
    enum mp_error error = explain(file, "flush", number, fault);
    sink_rotated_close(file);
    return error;
}
