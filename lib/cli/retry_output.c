/* Outputs that wait for the success of their commands. */
#include "cli/retry_output.h"

#include "base/file.h"
#include "cli/receive_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct retry_output retry_output_of(struct retry_budget *budget)
{
    return (struct retry_output){.budget = budget, .file = -1};
}

void retry_output_clear(struct retry_output *output)
{
    output->budget->memory -= output->memory.size;
    buffer_free(&output->memory);
    if (output->file >= 0) {
        close(output->file);
        output->budget->files--;
    }
    *output = retry_output_of(output->budget);
}

/* A file without a name. */
static int open_file(const char *directory)
{
#ifdef O_TMPFILE
    int file = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (file >= 0 || (errno != EISDIR && errno != EOPNOTSUPP && errno != ENOENT))
        return file;
#endif
    char path[4096];
    if ((size_t)snprintf(path, sizeof(path), "%s/mretry.XXXXXX", directory) >= sizeof(path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int named = mkostemp(path, O_CLOEXEC);
    if (named >= 0)
        unlink(path);
    return named;
}

static enum mp_error append_to_file(struct retry_output *output, const uint8_t *data, size_t size, const char *place,
                                    struct fault *fault)
{
    if (!file_write(output->file, data, size))
        return fault_system(fault, MP_ERR_IO, errno, "cannot keep a command's output in %s ($TMPDIR)", place);
    return MP_OK;
}

static enum mp_error add(struct retry_output *output, const void *data, size_t size, struct fault *fault)
{
    struct retry_budget *budget = output->budget;
    const char *place = getenv("TMPDIR");
    place = place && *place ? place : "/tmp";
    if (output->file < 0 &&
        (output->memory.size + size > RETRY_OUTPUT_MEMORY || budget->memory + size > RETRY_OUTPUT_BUDGET)) {
        output->file = open_file(place);
        if (output->file < 0)
            return fault_system(fault, MP_ERR_IO, errno, "cannot keep a command's output in %s ($TMPDIR)", place);
        budget->files++;
        enum mp_error error = append_to_file(output, output->memory.data, output->memory.size, place, fault);
        if (error)
            return error;
        budget->memory -= output->memory.size;
        buffer_free(&output->memory);
    }
    if (output->file >= 0)
        return append_to_file(output, data, size, place, fault);
    if (buffer_append(&output->memory, data, size))
        return fault_memory(fault);
    budget->memory += size;
    return MP_OK;
}

enum mp_error retry_output_add(struct retry_output *output, const void *data, size_t size, struct fault *fault)
{
    enum mp_error error = add(output, data, size, fault);
    if (error)
        output->torn = true;
    else
        output->size += size;
    return error;
}

/* The next piece of the file into memory. */
static enum mp_error load(struct retry_output *output, struct fault *fault)
{
    enum { PIECE = 64 * 1024 };
    struct buffer *memory = &output->memory;
    if (buffer_reserve(memory, PIECE))
        return fault_memory(fault);
    ssize_t got = pread(output->file, memory->data, PIECE, (off_t)output->printed);
    if (got <= 0)
        return fault_system(fault, MP_ERR_IO, got < 0 ? errno : EIO, "cannot read back a command's output");
    memory->size = (size_t)got;
    output->budget->memory += memory->size;
    return MP_OK;
}

enum mp_error retry_output_print(struct retry_output *output, struct receive_sink *sink, struct fault *fault)
{
    struct buffer *memory = &output->memory;
    size_t at = output->file < 0 ? (size_t)output->printed : 0;
    while (output->printed < output->size) {
        enum mp_error error = output->file >= 0 && memory->size == 0 ? load(output, fault) : MP_OK;
        size_t done = 0;
        if (!error)
            error = receive_sink_write(sink, memory->data + at, memory->size - at, &done, fault);
        output->printed += done;
        at += done;
        if (output->file >= 0) {
            output->budget->memory -= at;
            buffer_consume(memory, at);
            at = 0;
        }
        if (error)
            return error;
    }
    return MP_OK;
}
