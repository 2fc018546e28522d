/* What a source remembers through restarts. */
#include "runner/source_memory.h"

#include "base/buffer.h"
#include "base/memory.h"
#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

/*
 * A place is a line of its own page, so that a torn write of one does not touch the other: "msgpipe-source 1 NUMBER
 * CHECKSUM TEXT\n". The checksum is XXH3-64 of TEXT with the number as its seed. The digit is the version: raise it when
 * an older reader would err; it takes what it does not know for damaged, and begins anew.
 */
enum { PLACE = 4096, PLACES = 2 };

struct source_memory {
    int descriptor;
    uint64_t number; /* of the last save; its place is number % PLACES */
    char path[PATH_MAX];
    char text[SOURCE_MEMORY_TEXT];
};

/* Takes the place at BYTES, if it is whole and newer than what there is. */
static void take(struct source_memory *memory, char *bytes)
{
    uint64_t number;
    uint64_t checksum;
    int start = 0;
    if (sscanf(bytes, "msgpipe-source 1 %" SCNu64 " %" SCNx64 " %n", &number, &checksum, &start) != 2 || !start)
        return;
    char *text = bytes + start;
    char *end = strchr(text, '\n');
    if (!end || end - text >= SOURCE_MEMORY_TEXT || number <= memory->number)
        return;
    *end = '\0';
    if (XXH3_64bits_withSeed(text, (size_t)(end - text), number) != checksum)
        return;
    memory->number = number;
    memcpy(memory->text, text, (size_t)(end - text) + 1);
}

static void load(struct source_memory *memory)
{
    char bytes[PLACE + 1];
    for (int place = 0; place < PLACES; place++) {
        ssize_t size = pread(memory->descriptor, bytes, PLACE, (off_t)place * PLACE);
        if (size <= 0)
            continue;
        bytes[size] = '\0';
        take(memory, bytes);
    }
}

/* A name that may hold anything, as a file's name: other characters than these are written %NN. */
static enum mp_error path_of(struct source_memory *memory, const char *directory, const char *name, struct fault *fault)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    struct buffer path = {0};
    enum mp_error error = buffer_append_format(&path, "%s/source-", directory);
    for (; *name && !error; name++)
        error = strchr(plain, *name) ? buffer_append(&path, name, 1)
                                     : buffer_append_format(&path, "%%%02x", (unsigned char)*name);
    if (error)
        error = fault_memory(fault);
    else if (path.size >= sizeof(memory->path))
        error = fault_set(fault, MP_ERR_TOO_LARGE, "the path of the directory for what sources remember is too long");
    else
        memcpy(memory->path, path.data, path.size);
    buffer_free(&path);
    return error;
}

static enum mp_error explain(const struct source_memory *memory, int number, struct fault *fault)
{
    return fault_system(fault, number == EACCES || number == EPERM ? MP_ERR_DENIED : MP_ERR_IO, number,
                        "cannot keep what a source remembers in %s", memory->path);
}

enum mp_error source_memory_open(const char *directory, const char *name, struct source_memory **result,
                                 struct fault *fault)
{
    struct source_memory *memory = memory_allocate(sizeof(*memory));
    if (!memory)
        return fault_memory(fault);
    memory->descriptor = -1;
    enum mp_error error = path_of(memory, directory, name, fault);
    if (error)
        goto fail;
    if (mkdir(directory, 0700) != 0 && errno != EEXIST) {
        error = explain(memory, errno, fault);
        goto fail;
    }
    memory->descriptor = open(memory->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (memory->descriptor < 0) {
        error = explain(memory, errno, fault);
        goto fail;
    }
    if (flock(memory->descriptor, LOCK_EX | LOCK_NB) != 0) {
        error = errno == EWOULDBLOCK
                    ? fault_set(fault, MP_ERR_BUSY, "another runner reads for source %s: it has %s", name, memory->path)
                    : explain(memory, errno, fault);
        goto fail;
    }
    if (path_flush_directory(memory->path, NULL)) {
        error = explain(memory, errno, fault);
        goto fail;
    }
    load(memory);
    *result = memory;
    return MP_OK;

fail:
    source_memory_free(memory);
    return error;
}

void source_memory_free(struct source_memory *memory)
{
    if (!memory)
        return;
    if (memory->descriptor >= 0) {
        fsync(memory->descriptor); /* if it fails an older text is there, which has to do */
        close(memory->descriptor);
    }
    memory_release(memory);
}

const char *source_memory_text(const struct source_memory *memory)
{
    return memory->text;
}

enum mp_error source_memory_save(struct source_memory *memory, const char *text, struct fault *fault)
{
    char line[SOURCE_MEMORY_TEXT + 128];
    size_t size = strlen(text);
    if (size >= SOURCE_MEMORY_TEXT)
        return fault_set(fault, MP_ERR_TOO_LARGE, "a source has too much to remember");
    uint64_t number = memory->number + 1;
    int length = snprintf(line, sizeof(line), "msgpipe-source 1 %" PRIu64 " %016" PRIx64 " %s\n", number,
                          (uint64_t)XXH3_64bits_withSeed(text, size, number), text);
    ssize_t written = pwrite(memory->descriptor, line, (size_t)length, (off_t)(number % PLACES) * PLACE);
    if (written != length)
        return explain(memory, written < 0 ? errno : ENOSPC, fault);
    memory->number = number;
    memcpy(memory->text, text, size + 1);
    return MP_OK;
}
