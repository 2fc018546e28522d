/* Appending dead letters to a file. */
#include "cli/dead_file.h"

#include "base/file.h"
#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* The places of the locks, far behind any letter; they need not exist. */
#define LOCK_PLACE ((off_t)1 << 62)

static enum mp_error apply_lock(int descriptor, enum dead_file_lock lock, short type, int command)
{
    struct flock place = {.l_type = type, .l_whence = SEEK_SET, .l_start = LOCK_PLACE + (off_t)lock, .l_len = 1};
    while (fcntl(descriptor, command, &place) != 0)
        if (errno != EINTR)
            return errno == EACCES || errno == EAGAIN ? MP_ERR_BUSY : MP_ERR_IO;
    return MP_OK;
}

enum mp_error dead_file_lock(int descriptor, enum dead_file_lock lock, bool wait, struct fault *fault)
{
    enum mp_error error = apply_lock(descriptor, lock, F_WRLCK, wait ? F_SETLKW : F_SETLK);
    if (error == MP_ERR_BUSY)
        return fault_set(fault, error, "another mretry replays or discards from it: try again when it has ended");
    return error ? fault_system(fault, error, errno, "it cannot be locked") : MP_OK;
}

void dead_file_unlock(int descriptor, enum dead_file_lock lock)
{
    apply_lock(descriptor, lock, F_UNLCK, F_SETLK);
}

enum mp_error dead_file_open(struct dead_file *file, const char *path, struct fault *fault)
{
    struct stat status;
    *file = (struct dead_file){.path = path, .readable = true};
    file->descriptor = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
    if (file->descriptor < 0 && errno != EISDIR) {
        /* One may be allowed to add to it and not to read it; a pipe may have one end only. */
        file->descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
        file->readable = false;
    }
    if (file->descriptor < 0 || fstat(file->descriptor, &status) != 0)
        return fault_system(fault, errno == EACCES ? MP_ERR_DENIED : MP_ERR_IO, errno,
                            "cannot write dead letters to %s", path);
    file->regular = S_ISREG(status.st_mode);
    return MP_OK;
}

void dead_file_close(struct dead_file *file)
{
    if (file->descriptor >= 0)
        close(file->descriptor);
    file->descriptor = -1;
    buffer_free(&file->lines);
    buffer_free(&file->block);
}

enum mp_error dead_file_add(struct dead_file *file, const struct format_item *item, const struct letter *letter,
                            struct fault *fault)
{
    struct buffer *block = &file->block;
    struct format_item whole = *item;
    block->size = 0;
    enum mp_error error = buffer_append(block, item->record.attributes, item->record.attributes_size);
    if (!error)
        error = letter_write(block, letter);
    if (error)
        return fault_memory(fault);
    whole.record.attributes = block->data;
    whole.record.attributes_size = block->size;
    whole.attempt = 0; /* it says how many there were in words of its own */
    return format_write(FORMAT_JSON, &whole, &file->lines, fault);
}

/* Whether another file has taken the place of the one that is open. */
static bool is_replaced(const struct dead_file *file)
{
    struct stat ours;
    struct stat theirs;
    if (fstat(file->descriptor, &ours) != 0)
        return false;
    return stat(file->path, &theirs) != 0 || ours.st_dev != theirs.st_dev || ours.st_ino != theirs.st_ino;
}

/* Locks the file that PATH names now. */
static enum mp_error lock_present(struct dead_file *file, struct fault *fault)
{
    for (;;) {
        enum mp_error error = dead_file_lock(file->descriptor, DEAD_FILE_WRITES, true, fault);
        if (error)
            return fault_set(fault, error, "%s: %s", file->path, fault->text);
        if (!is_replaced(file))
            return MP_OK;
        struct dead_file other;
        error = dead_file_open(&other, file->path, fault);
        if (error)
            return error;
        close(file->descriptor);
        file->descriptor = other.descriptor;
        file->readable = other.readable;
        file->regular = other.regular;
        if (!file->regular)
            return MP_OK;
    }
}

/* Whether the file ends inside a line. */
static bool is_torn(const struct dead_file *file, off_t end)
{
    char last = '\n';
    return end > 0 && file->readable && pread(file->descriptor, &last, 1, end - 1) == 1 && last != '\n';
}

static enum mp_error write_all(const struct dead_file *file, const void *data, size_t size)
{
    return file_write(file->descriptor, data, size) ? MP_OK : MP_ERR_IO;
}

static enum mp_error write_lines(struct dead_file *file)
{
    struct stat status;
    if (!file->regular)
        return write_all(file, file->lines.data, file->lines.size);
    if (fstat(file->descriptor, &status) != 0)
        return MP_ERR_IO;
    enum mp_error error = is_torn(file, status.st_size) ? write_all(file, "\n", 1) : MP_OK;
    if (!error)
        error = write_all(file, file->lines.data, file->lines.size);
    if (!error && fdatasync(file->descriptor) != 0 && errno != EINVAL && errno != ENOTSUP)
        error = MP_ERR_IO;
    if (!error && !file->named)
        error = path_flush_name(file->path);
    file->named |= !error;
    if (error) {
        int number = errno;
        /* Nobody else has written meanwhile. */
        (void)!ftruncate(file->descriptor, status.st_size);
        errno = number;
    }
    return error;
}

enum mp_error dead_file_write(struct dead_file *file, struct fault *fault)
{
    enum mp_error error = file->regular ? lock_present(file, fault) : MP_OK;
    if (!error && write_lines(file))
        error = fault_system(fault, MP_ERR_IO, errno ? errno : ENOSPC, "cannot write a dead letter to %s", file->path);
    if (file->regular)
        dead_file_unlock(file->descriptor, DEAD_FILE_WRITES);
    file->lines.size = 0;
    return error;
}
