/* Ids of what was done, in a file. */
#include "cli/seen_file.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum {
    RECORD = 32,       /* bytes; the header has as many */
    CHECKED = 24,      /* of them */
    BLOCK = 2048,      /* records that are read at once */
    TIDY_AFTER = 16384 /* records that come before the file is written anew, beside as many as it had */
};
static const char magic[8] = {'m', 'p', 's', 'e', 'e', 'n', '1', '\n'};

/* ---- bytes ---------------------------------------------------------------------------------------------------- */

static void put_header(const struct seen_file *file, uint8_t at[RECORD])
{
    memcpy(at, magic, sizeof(magic));
    store_u64(at + 8, file->seed);
    store_u64(at + 16, file->what);
    store_u64(at + CHECKED, XXH3_64bits(at, CHECKED));
}

static void put_record(const struct seen_file *file, struct seen_id id, int64_t time, uint8_t at[RECORD])
{
    store_u64(at, id.low);
    store_u64(at + 8, id.high);
    store_u64(at + 16, (uint64_t)time);
    store_u64(at + CHECKED, XXH3_64bits_withSeed(at, CHECKED, file->seed));
}

static enum mp_error write_at(int descriptor, uint64_t place, const uint8_t *data, size_t size)
{
    return file_write_at(descriptor, data, size, place) ? MP_OK : MP_ERR_IO;
}

/* The same, and it is on the disk. */
static enum mp_error append(int descriptor, uint64_t place, const uint8_t *data, size_t size)
{
    enum mp_error error = write_at(descriptor, place, data, size);
    return !error && fdatasync(descriptor) != 0 ? MP_ERR_IO : error;
}

static enum mp_error cannot(const struct seen_file *file, const char *what, struct fault *fault)
{
    int number = errno ? errno : ENOSPC;
    enum mp_error error = number == EACCES || number == EPERM || number == EROFS ? MP_ERR_DENIED
                          : number == ENOMEM                                     ? MP_ERR_MEMORY
                                                                                 : MP_ERR_IO;
    return fault_system(fault, error, number, "cannot %s %s", what, file->path);
}

/* ---- reading -------------------------------------------------------------------------------------------------- */

/* What a record says, on NOW's clock: a time that is still to come (the clock was set back) is now. */
static enum mp_error take_record(struct seen_file *file, const uint8_t *at, int64_t now, int64_t wall)
{
    if (load_u64(at + CHECKED) != XXH3_64bits_withSeed(at, CHECKED, file->seed))
        return MP_OK;
    struct seen_id id = {load_u64(at), load_u64(at + 8)};
    int64_t time = (int64_t)load_u64(at + 16);
    int64_t age = time < wall ? wall - time : 0;
    return age >= file->seen->window ? MP_OK : seen_add(file->seen, id, 0, now - age);
}

static enum mp_error read_records(struct seen_file *file, int64_t now, struct fault *fault)
{
    uint8_t *block = malloc((size_t)BLOCK * RECORD);
    int64_t wall = clock_wall();
    enum mp_error error = block ? MP_OK : MP_ERR_MEMORY;
    ssize_t got = BLOCK * RECORD;
    while (!error && got == BLOCK * RECORD) {
        got = file_read_at(file->descriptor, block, (size_t)BLOCK * RECORD, file->size);
        if (got < 0)
            error = MP_ERR_IO;
        for (ssize_t at = 0; !error && at + RECORD <= got; at += RECORD) {
            error = take_record(file, block + at, now, wall);
            file->size += RECORD;
            file->records++;
        }
    }
    free(block);
    return error == MP_ERR_IO ? cannot(file, "read", fault) : error ? fault_memory(fault) : MP_OK;
}

/* ---- a new file in its place ---------------------------------------------------------------------------------- */

/*
 * Locks the file for this process. Not with flock(): a command that is just being started has that lock, too, for the
 * moment in which it is still a copy of us, and keeps it when we are killed then.
 */
static enum mp_error lock(const struct seen_file *file, int descriptor, struct fault *fault)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    while (fcntl(descriptor, F_SETLK, &whole) != 0) {
        if (errno == EACCES || errno == EAGAIN)
            return fault_set(fault, MP_ERR_BUSY, "%s is in use by another mretry: each needs a file of its own",
                             file->path);
        if (errno != EINTR)
            return cannot(file, "lock", fault);
    }
    return MP_OK;
}

/* Writes all that is within the window to DESCRIPTOR. */
static enum mp_error write_all(const struct seen_file *file, int descriptor, int64_t now, uint64_t *size)
{
    struct seen_entry entry;
    struct buffer out = {0};
    uint8_t record[RECORD];
    size_t at = 0;
    int64_t wall = clock_wall();
    put_header(file, record);
    *size = 0;
    enum mp_error error = buffer_append(&out, record, sizeof(record));
    bool more = true;
    while (!error && (more || out.size)) {
        more = more && seen_next(file->seen, &at, now, &entry);
        if (more) {
            put_record(file, entry.id, wall - (now - entry.time), record);
            error = buffer_append(&out, record, sizeof(record));
        }
        if (!error && (!more || out.size >= (size_t)BLOCK * RECORD)) {
            error = write_at(descriptor, *size, out.data, out.size);
            *size += out.size;
            out.size = 0;
        }
    }
    buffer_free(&out);
    return !error && fdatasync(descriptor) != 0 ? MP_ERR_IO : error;
}

/*
 * Puts a new file in the place of the one that is open; until the next flush either may be the one that is found. False: the
 * one that is open stays.
 */
static bool write_anew(struct seen_file *file, int64_t now)
{
    struct stat status;
    uint64_t size = 0;
    char *real = realpath(file->path, NULL); /* a link stays one */
    char *beside = NULL;
    int descriptor = -1;
    if (real && asprintf(&beside, "%s.new", real) < 0)
        beside = NULL;
    if (beside && fstat(file->descriptor, &status) == 0)
        descriptor = open(beside, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, status.st_mode & 0777);
    bool good = descriptor >= 0 && lock(file, descriptor, NULL) == MP_OK &&
                write_all(file, descriptor, now, &size) == MP_OK && rename(beside, real) == 0;
    if (good) {
        close(file->descriptor);
        file->descriptor = descriptor;
        file->named = false;
        file->size = size;
        file->records = size / RECORD - 1;
    } else if (descriptor >= 0) {
        unlink(beside);
        close(descriptor);
    }
    free(beside);
    free(real);
    return good;
}

/*
 * A header for a file that is empty, or in which the writing of one was cut off. A new file with it takes the place of that:
 * what is flushed in place is not there in whole when power is cut before, and would be refused. Where no other file may be
 * made in the directory, that is the way all the same.
 */
static enum mp_error make_header(struct seen_file *file, int64_t now, struct fault *fault)
{
    uint8_t header[RECORD];
    if (getentropy(&file->seed, sizeof(file->seed)) != 0)
        file->seed = (uint64_t)clock_wall();
    put_header(file, header);
    if (write_anew(file, now) || !append(file->descriptor, 0, header, sizeof(header)))
        return MP_OK;
    return cannot(file, "write", fault);
}

/* ---- opening -------------------------------------------------------------------------------------------------- */

/* Takes the header, or makes one. */
static enum mp_error read_header(struct seen_file *file, int64_t now, struct fault *fault)
{
    uint8_t header[RECORD];
    ssize_t got = file_read_at(file->descriptor, header, sizeof(header), 0);
    if (got < 0)
        return cannot(file, "read", fault);
    size_t known = (size_t)got < sizeof(magic) ? (size_t)got : sizeof(magic);
    if (memcmp(header, magic, known) != 0)
        return fault_set(fault, MP_ERR_INVALID, "%s is no file of --dedupe-file: name another", file->path);
    if (got < RECORD) {
        enum mp_error error = make_header(file, now, fault);
        file->size = RECORD;
        return error;
    }
    if (load_u64(header + CHECKED) != XXH3_64bits(header, CHECKED))
        return fault_set(fault, MP_ERR_DAMAGED,
                         "%s is damaged: remove it, and what was done before is not known any more", file->path);
    if (load_u64(header + 16) != file->what)
        return fault_set(fault, MP_ERR_INVALID, "%s was written with another --dedupe: name another file", file->path);
    file->seed = load_u64(header + 8);
    file->size = RECORD;
    return MP_OK;
}

/* ---- life ----------------------------------------------------------------------------------------------------- */

/* Whether PATH names the file that is open. */
static bool is_present(const struct seen_file *file)
{
    struct stat ours, theirs;
    return fstat(file->descriptor, &ours) == 0 && stat(file->path, &theirs) == 0 && ours.st_dev == theirs.st_dev &&
           ours.st_ino == theirs.st_ino;
}

static enum mp_error open_locked(struct seen_file *file, struct fault *fault)
{
    struct stat status;
    for (;;) {
        file->descriptor = open(file->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
        if (file->descriptor < 0 || fstat(file->descriptor, &status) != 0)
            return cannot(file, "open", fault);
        if (!S_ISREG(status.st_mode))
            return fault_set(fault, MP_ERR_INVALID, "%s is no regular file: name another (--dedupe-file)", file->path);
        enum mp_error error = lock(file, file->descriptor, fault);
        if (error || is_present(file))
            return error;
        close(file->descriptor); /* it was written anew just then */
    }
}

enum mp_error seen_file_open(struct seen_file *file, const char *path, uint64_t what, struct seen *seen, int64_t now,
                             struct fault *fault)
{
    *file = (struct seen_file){.path = path, .descriptor = -1, .what = what, .seen = seen};
    enum mp_error error = open_locked(file, fault);
    if (!error)
        error = read_header(file, now, fault);
    if (!error)
        error = read_records(file, now, fault);
    if (!error && ftruncate(file->descriptor, (off_t)file->size) != 0)
        error = cannot(file, "write", fault);
    file->tidy_at = 2 * (uint64_t)seen->used + TIDY_AFTER;
    return error;
}

void seen_file_close(struct seen_file *file)
{
    if (file->descriptor >= 0)
        close(file->descriptor);
    file->descriptor = -1;
    buffer_free(&file->pending);
}

/* ---- writing -------------------------------------------------------------------------------------------------- */

enum mp_error seen_file_add(struct seen_file *file, struct seen_id id)
{
    uint8_t record[RECORD];
    put_record(file, id, clock_wall(), record);
    return buffer_append(&file->pending, record, sizeof(record));
}

enum mp_error seen_file_flush(struct seen_file *file, int64_t now, struct fault *fault)
{
    struct buffer *pending = &file->pending;
    enum mp_error error = MP_OK;
    if (pending->size == 0)
        return MP_OK;
    if (append(file->descriptor, file->size, pending->data, pending->size) ||
        (!file->named && path_flush_name(file->path))) {
        error = cannot(file, "write", fault);
        (void)!ftruncate(file->descriptor, (off_t)file->size);
    } else {
        file->named = true;
        file->size += pending->size;
        file->records += pending->size / RECORD;
    }
    pending->size = 0;
    if (!error && file->records >= file->tidy_at) {
        write_anew(file, now); /* if it cannot be, the old one is as good, and only longer */
        file->tidy_at = 2 * file->records + TIDY_AFTER;
    }
    return error;
}
