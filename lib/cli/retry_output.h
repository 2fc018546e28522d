/*
 * retry_output.h: what commands print, kept until it is known that the attempt succeeded, then printed or forgotten.
 * Private to mretry's engine.
 *
 * Little of it is kept in memory: a large output, and all that goes over the common budget, lies in a file without a
 * name in $TMPDIR. So memory has a bound whatever commands print.
 */
#ifndef CLI_RETRY_OUTPUT_H
#define CLI_RETRY_OUTPUT_H

#include "base/buffer.h"
#include "base/fault.h"

struct receive_sink;

enum {
    RETRY_OUTPUT_MEMORY = 256 * 1024,      /* bytes of one output */
    RETRY_OUTPUT_BUDGET = 8 * 1024 * 1024, /* bytes of all of them */
    RETRY_OUTPUT_FILES = 64                /* files, beyond which nothing new should be begun */
};

/* What all outputs together take. Zeroed: nothing. */
struct retry_budget {
    size_t memory;
    unsigned files;
};

struct retry_output {
    struct retry_budget *budget;
    struct buffer memory; /* all of it, or with a file what is printed next */
    int file;             /* -1: none */
    uint64_t size;
    uint64_t printed;
    bool torn; /* something of it could not be kept: it is no output, and what made it has not succeeded */
};

/* An empty output. */
struct retry_output retry_output_of(struct retry_budget *budget);

/* Forgets what is kept, and leaves an empty output. */
void retry_output_clear(struct retry_output *output);

/* Keeps SIZE bytes more. MP_ERR_MEMORY, MP_ERR_IO: the file cannot be made or written. */
enum mp_error retry_output_add(struct retry_output *output, const void *data, size_t size, struct fault *fault);

/* Writes what is left of it to SINK: MP_OK when all is written, MP_ERR_AGAIN, MP_ERR_CLOSED, MP_ERR_IO. */
enum mp_error retry_output_print(struct retry_output *output, struct receive_sink *sink, struct fault *fault);

/* Whether so much is kept that nothing new should be begun. */
static inline bool retry_budget_is_used(const struct retry_budget *budget)
{
    return budget->memory >= RETRY_OUTPUT_BUDGET || budget->files >= RETRY_OUTPUT_FILES;
}

#endif
