/*
 * trace_export.h: an export, whatever its spans are read from: this machine's store, or a relay that reads its own.
 */
#ifndef CLI_TRACE_EXPORT_H
#define CLI_TRACE_EXPORT_H

#include "cli/loop.h"
#include "cli/trace.h"
#include "trace/follow.h"

struct trace_source {
    void *context;
    /* Begins behind POSITION, in LOOP. */
    enum mp_error (*open)(void *context, struct loop *loop, const struct trace_position *position, struct fault *fault);
    /*
     * The next batch as JSON, good until the next call; given again until it was delivered. MP_ERR_AGAIN: there is none
     * now; *DUE: ask again then, or when the loop has an event. MP_ERR_CLOSED: there comes no more; *CODE: the exit code,
     * told.
     */
    enum mp_error (*next)(void *context, int64_t now, int64_t *due, const struct buffer **body, int *code,
                          struct fault *fault);
    void (*delivered)(void *context);
    const struct trace_position *(*position)(void *context);
    uint64_t (*spans)(void *context); /* delivered since it was opened */
    void (*close)(void *context);     /* also when it could not be opened */
};

/* Exports what SOURCE gives, as the settings say; the exit code. */
int trace_export_run(const struct trace_settings *settings, const struct trace_source *source);

/* `export` of a store that its relay reads. */
int trace_export_remote(const struct trace_settings *settings, const struct options *options);

#endif
