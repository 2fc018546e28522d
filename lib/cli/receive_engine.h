/*
 * receive_engine.h: what receiving from a relay and receiving from peers have in common. Private to mrecv's engine.
 */
#ifndef CLI_RECEIVE_ENGINE_H
#define CLI_RECEIVE_ENGINE_H

#include "cli/loop.h"
#include "cli/output.h"
#include "cli/receive.h"
#include "cli/receive_output.h"
#include "stage/parcel.h"

struct receive_runner;

struct receive_engine {
    const struct receive_settings *settings;
    const struct options *options;
    struct loop loop;
    struct format_template *template;
    struct receive_output *output; /* one of these two */
    struct receive_runner *runner;
    struct progress progress;

    uint64_t came;    /* messages that came */
    uint64_t done;    /* of them: handed over, or worked upon whatever came of it */
    uint64_t dead;    /* of these: dead-lettered */
    uint64_t retried; /* of these: given back to be tried again; without a group: failed */
    uint64_t tries;   /* of those done: attempts of messages that come again */
    uint64_t undone;  /* of these: not done since, as far as is known here */
    uint64_t bytes;
    int64_t since; /* when the last message came or was done, for --wait; monotonic microseconds */
    int exit;      /* the code to end with; -1: not yet known */
    bool pipe;     /* stdout's reader has gone: die by SIGPIPE at the end */

    /* How COUNT messages of PARCEL, from INDEX on, are settled where they came from. */
    void (*settle)(void *context, struct stage_parcel *parcel, uint32_t index, uint32_t count,
                   const struct protocol_settlement *how);
    /* Whether PARCEL's messages are this tool's for sure: if not, those that are not begun are released. NULL: they are. */
    bool (*holds)(void *context, const struct stage_parcel *parcel, int64_t now);
    /* The output of a command is the answer to message INDEX of PARCEL: only for peers that ask. */
    void (*answer)(void *context, struct stage_parcel *parcel, uint32_t index, const void *output, size_t size);
    void *context;
};

enum {
    RECEIVE_LINGER = 2000000,   /* microseconds that an interrupted tool waits for stdout's reader, and for the relay */
    RECEIVE_PATIENCE = 10000000 /* and for running commands */
};

/* Ends the tool with CODE, unless it is ending already. */
void receive_engine_end(struct receive_engine *engine, int code);

/* Tells FAULT, unless it says that stdout's reader has gone, and ends the tool with its code. */
void receive_engine_fail(struct receive_engine *engine, const struct fault *fault);

/* How many more messages may come (--count); UINT64_MAX: any number. */
uint64_t receive_engine_wanted(const struct receive_engine *engine);

/* Takes PARCEL, which came now. */
void receive_engine_add(struct receive_engine *engine, struct stage_parcel *parcel, int64_t now);

/* Lets output or commands do what they can now. *DUE as in a step. Ends the tool when that fails. */
void receive_engine_pump(struct receive_engine *engine, int64_t now, int64_t *due);

/* Nothing more is begun. */
void receive_engine_stop(struct receive_engine *engine);

/* Whether everything that came is done. */
bool receive_engine_idle(const struct receive_engine *engine);

/* Bytes that are held; whether more should be asked for, and how many messages at most (0: none, UINT32_MAX: any). */
uint32_t receive_engine_room(const struct receive_engine *engine);

/* --wait: ends the tool (124) when nothing has come for so long. */
void receive_engine_check_wait(struct receive_engine *engine, int64_t now, int64_t *due);

/* The two ways. */
void receive_by_relay(struct receive_engine *engine);
void receive_directly(struct receive_engine *engine);

#endif
