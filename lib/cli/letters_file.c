/* Dead letters in a file: reading, and taking out. */
#include "cli/letters_file.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/path.h"
#include "cli/dead_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BLOCK = 256 * 1024,
    SECTOR = 512,     /* bytes that reach the disk together, or not at all */
    RESTS = 64 * 1024 /* bytes of `rests` at most */
};

static enum mp_error cannot(const char *what, const char *path, int number, struct fault *fault)
{
    enum mp_error error = number == ENOENT || number == ENOTDIR || number == EISDIR ? MP_ERR_NOT_FOUND
                          : number == EACCES                                        ? MP_ERR_DENIED
                                                                                    : MP_ERR_IO;
    return fault_system(fault, error, number, "cannot %s %s", what, path);
}

/* Whether another file has taken the place of the one that is open. */
static bool is_replaced(const struct letters_file *file)
{
    struct stat ours;
    struct stat theirs;
    return fstat(file->descriptor, &ours) != 0 || stat(file->path, &theirs) != 0 || ours.st_dev != theirs.st_dev ||
           ours.st_ino != theirs.st_ino;
}

enum mp_error letters_file_open(struct letters_file *file, const char *path, bool writable, struct fault *fault)
{
    struct stat status;
    *file = (struct letters_file){.descriptor = -1, .reader.format = FORMAT_JSON};
    file->path = realpath(path, NULL);
    if (!file->path)
        return cannot(writable ? "change" : "read", path, errno, fault);
    for (;;) {
        file->descriptor = open(file->path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
        if (file->descriptor < 0 || fstat(file->descriptor, &status) != 0)
            return cannot(writable ? "change" : "read", path, errno, fault);
        if (S_ISDIR(status.st_mode))
            return cannot("read", path, EISDIR, fault);
        file->size = (uint64_t)status.st_size;
        if (!writable)
            return MP_OK;
        if (!S_ISREG(status.st_mode))
            return fault_set(fault, MP_ERR_INVALID, "%s is no file that letters can be taken out of", path);
        enum mp_error error = dead_file_lock(file->descriptor, DEAD_FILE_TAKES, false, fault);
        if (error)
            return fault_set(fault, error, "%s: %s", path, fault->text);
        if (!is_replaced(file))
            return MP_OK;
        close(file->descriptor); /* somebody has rewritten it just now */
    }
}

void letters_file_close(struct letters_file *file)
{
    if (file->descriptor >= 0)
        close(file->descriptor);
    file->descriptor = -1;
    free(file->path);
    file->path = NULL;
    buffer_free(&file->input);
    buffer_free(&file->rests);
    format_reader_free(&file->reader);
}

void letters_file_rewind(struct letters_file *file)
{
    file->input.size = file->begin = 0;
    file->place = file->line = file->torn = file->blank = 0;
    file->ended = false;
    lseek(file->descriptor, 0, SEEK_SET);
}

/* ---- reading -------------------------------------------------------------------------------------------------- */

static enum mp_error read_more(struct letters_file *file, struct fault *fault)
{
    struct buffer *input = &file->input;
    buffer_consume(input, file->begin);
    file->begin = 0;
    if (buffer_reserve(input, input->size > BLOCK ? input->size : BLOCK))
        return fault_memory(fault);
    ssize_t got;
    do
        got = read(file->descriptor, input->data + input->size, input->capacity - input->size);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return cannot("read", file->path, errno, fault);
    file->ended = got == 0;
    input->size += (size_t)got;
    return MP_OK;
}

/* The next line, without its newline, which *NEWLINE tells. */
static enum mp_error next_line(struct letters_file *file, const uint8_t **line, size_t *size, bool *newline,
                               struct fault *fault)
{
    size_t searched = 0;
    for (;;) {
        *line = file->input.data ? file->input.data + file->begin : NULL;
        size_t left = file->input.size - file->begin;
        const uint8_t *end = left > searched ? memchr(*line + searched, '\n', left - searched) : NULL;
        *newline = end != NULL;
        *size = end ? (size_t)(end - *line) : left;
        if (end || (file->ended && left))
            return MP_OK;
        if (file->ended)
            return MP_ERR_CLOSED;
        searched = left;
        enum mp_error error = read_more(file, fault);
        if (error)
            return error;
    }
}

static bool is_blank(const uint8_t *line, size_t size)
{
    while (size && (line[size - 1] == ' ' || line[size - 1] == '\t' || line[size - 1] == '\r'))
        size--;
    return size == 0;
}

enum mp_error letters_file_next(struct letters_file *file, struct letter_entry *entry, struct fault *fault)
{
    for (;;) {
        const uint8_t *line;
        size_t size;
        size_t used;
        bool newline;
        struct format_message message;
        enum mp_error error = next_line(file, &line, &size, &newline, fault);
        if (error)
            return error;
        uint64_t place = file->place;
        file->begin += size + newline;
        file->place += size + newline;
        file->line++;
        if (is_blank(line, size)) {
            file->blank++;
            continue;
        }
        error = format_read(&file->reader, line, size, true, &used, &message, NULL);
        if (error == MP_ERR_MEMORY)
            return fault_memory(fault);
        if (error) {
            file->torn++;
            continue;
        }
        struct format_item item = format_item_of(&message, 0);
        letter_entry_set(entry, &item);
        entry->item.time = entry->letter.last;
        entry->place = place;
        entry->size = size;
        return MP_OK;
    }
}

/* ---- taking out ----------------------------------------------------------------------------------------------- */

/* Nobody else changes bytes that are there, so this needs no lock beyond the one that is held. */
static bool blank_out(const struct letters_file *file, uint64_t place, uint64_t size)
{
    uint8_t blank[4096];
    memset(blank, ' ', sizeof(blank));
    while (size) {
        size_t piece = size < sizeof(blank) ? (size_t)size : sizeof(blank);
        if (!file_write_at(file->descriptor, blank, piece, place))
            return false;
        place += piece;
        size -= piece;
    }
    return true;
}

/* Flushes what was taken out, and blanks the rest of it. */
static enum mp_error flush_taken(struct letters_file *file, struct fault *fault)
{
    bool good = fdatasync(file->descriptor) == 0;
    for (size_t at = 0; good && at < file->rests.size; at += 16)
        good = blank_out(file, load_u64(file->rests.data + at), load_u64(file->rests.data + at + 8));
    file->rests.size = 0;
    return good ? MP_OK : cannot("change", file->path, errno, fault);
}

/*
 * Where power fails meanwhile some sectors of a line may be blank and others not, and what is left of it may be a letter
 * still, but another one. Without its beginning it is none: that goes first, in one sector, and is flushed before the rest.
 */
enum mp_error letters_file_take(struct letters_file *file, uint64_t place, uint64_t size, bool flush,
                                struct fault *fault)
{
    uint64_t first = SECTOR - place % SECTOR;
    if (!blank_out(file, place, size < first ? size : first))
        return cannot("change", file->path, errno, fault);
    if (size > first && (buffer_put_u64(&file->rests, place + first) || buffer_put_u64(&file->rests, size - first)))
        return fault_memory(fault);
    file->taken++;
    return flush || file->rests.size >= RESTS ? flush_taken(file, fault) : MP_OK;
}

/* Copies the lines that are not blank to DESCRIPTOR. */
static enum mp_error copy_lines(struct letters_file *file, int descriptor, struct fault *fault)
{
    const uint8_t *line;
    size_t size;
    bool newline;
    off_t at = 0;
    enum mp_error error;
    letters_file_rewind(file);
    while ((error = next_line(file, &line, &size, &newline, fault)) == MP_OK) {
        file->begin += size + newline;
        if (is_blank(line, size))
            continue;
        if (!file_write_at(descriptor, line, size + newline, (uint64_t)at))
            return cannot("write", file->path, errno, fault);
        at += (off_t)(size + newline);
    }
    return error == MP_ERR_CLOSED ? MP_OK : error;
}

static enum mp_error replace(struct letters_file *file, const char *path, struct fault *fault)
{
    struct stat status;
    unlink(path); /* what a process of this number has left that ended here */
    int descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (descriptor < 0 || fstat(file->descriptor, &status) != 0)
        return cannot("write", path, errno, fault);
    /* Where it may not be given to its owner it is not made ours behind his back. */
    enum mp_error error = MP_OK;
    if (status.st_uid != geteuid() && fchown(descriptor, status.st_uid, status.st_gid) != 0)
        error = cannot("write", path, errno, fault);
    if (!error && fchmod(descriptor, status.st_mode & 07777) != 0)
        error = cannot("write", path, errno, fault);
    if (!error)
        error = copy_lines(file, descriptor, fault);
    if (!error && (fsync(descriptor) != 0 || rename(path, file->path) != 0))
        error = cannot("write", file->path, errno, fault);
    close(descriptor);
    if (error)
        unlink(path);
    else if (path_flush_name(file->path))
        error = cannot("write", file->path, errno, fault);
    return error;
}

enum mp_error letters_file_rewrite(struct letters_file *file, struct fault *fault)
{
    if (file->taken == 0 && file->blank == 0)
        return MP_OK;
    size_t size = strlen(file->path) + 32;
    char *path = memory_allocate(size);
    if (!path)
        return fault_memory(fault);
    snprintf(path, size, "%s.new.%ld", file->path, (long)getpid());
    /* Whoever appends waits, then sees that another file is there. */
    enum mp_error error = dead_file_lock(file->descriptor, DEAD_FILE_WRITES, true, fault);
    if (!error) {
        if (file->rests.size > 0)
            error = flush_taken(file, fault);
        if (!error)
            error = replace(file, path, fault);
        dead_file_unlock(file->descriptor, DEAD_FILE_WRITES);
    }
    memory_release(path);
    return error;
}
