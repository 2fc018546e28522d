/*
 * receive_sink.h: stdout, written to without ever blocking the loop: mrecv's, and mtrace's of what its relay reads.
 */
#ifndef CLI_RECEIVE_SINK_H
#define CLI_RECEIVE_SINK_H

#include "base/fault.h"
#include "cli/loop.h"

enum sink_kind {
    SINK_FILE, /* never blocks for long: regular files, block devices, /dev/null */
    SINK_PIPE,
    SINK_SOCKET,
    SINK_TERMINAL
};

struct receive_sink {
    enum sink_kind kind;
    int descriptor;
    bool own;         /* a description of our own, which does not block */
    bool counted;     /* the pipe tells how many bytes wait in it */
    bool blocked;     /* until `writable` */
    bool gone;        /* the reader has gone */
    uint64_t written; /* bytes, since it was opened */
    uint64_t synced;
    struct event *writable;
    struct event *hangup;
};

/* Whether anything can be written at all. MP_ERR_IO: stdout is closed. */
enum mp_error receive_sink_check(struct fault *fault);

/* SINK must stay where it is; close it in any case. MP_ERR_MEMORY. */
enum mp_error receive_sink_open(struct receive_sink *sink, struct loop *loop, struct fault *fault);
void receive_sink_close(struct receive_sink *sink);

/*
 * Writes some of SIZE bytes; *DONE says how many. MP_ERR_AGAIN: not now, and the loop is woken when it can be.
 * MP_ERR_CLOSED: the reader has gone. MP_ERR_IO.
 */
enum mp_error receive_sink_write(struct receive_sink *sink, const void *data, size_t size, size_t *done,
                                 struct fault *fault);

/*
 * How many of the bytes written were handed over, see receive_output.h; with SYNC they are on the disk then. MP_ERR_IO.
 */
enum mp_error receive_sink_handed(struct receive_sink *sink, bool sync, uint64_t *bytes, struct fault *fault);

#endif
