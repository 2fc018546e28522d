/*
 * receive_runner_private.h: what the files of mrecv's runner share: receive_runner.c (settling, words, the end),
 * receive_run.c (a command for a message, or for a batch) and receive_stream.c (commands that stay).
 */
#ifndef CLI_RECEIVE_RUNNER_PRIVATE_H
#define CLI_RECEIVE_RUNNER_PRIVATE_H

#include "cli/exit.h"
#include "cli/receive_engine.h"
#include "cli/receive_runner.h"
#include "cli/receive_sink.h"
#include "cli/retry_output.h"
#include "stage/command.h"

enum { RECEIVE_ANSWER_MAX = 64 * 1024 * 1024 }; /* bytes of an answer */

/* Messages of one parcel. */
struct receive_part {
    struct stage_parcel *parcel;
    uint32_t index;
    uint32_t count;
};

struct receive_worker;
struct receive_stream;

struct receive_runner {
    struct receive_runner_settings settings;
    struct stage_children *children;
    struct receive_sink sink;
    bool has_sink;
    struct stage_queue queue; /* parcels with messages that no command has */
    uint64_t held;            /* messages that are here and not settled */
    bool stopped;
    bool ending; /* running commands were told to end */
    int64_t end_at;
    uint32_t max_retries; /* of the group; UINT32_MAX: no limit, or not known */
    int code;             /* of a command that cannot be run; -1: all is well */
    struct fault fault;
    unsigned running; /* commands; of a stream: messages that it has */

    /* each and batch */
    struct stage_environment *environment;
    bool collects; /* output is kept until the command has ended */
    struct retry_budget budget;
    char *shell[4];
    char *const *argv;
    struct receive_worker *workers;
    struct receive_worker *speaker; /* whose output is being written */

    struct receive_stream *stream;
};

/* ---- receive_runner.c ----------------------------------------------------------------------------------------- */

/* The messages of PART are done with; their parcel goes when it has no others. */
void receive_runner_settle(struct receive_runner *runner, const struct receive_part *part,
                           const struct protocol_settlement *how);
/* Tells WHAT happened to messages of PARCEL, and what becomes of them. */
void receive_runner_tell(const struct receive_runner *runner, const struct stage_parcel *parcel,
                         const struct protocol_settlement *how, const char *what);
/* What words call the command. */
const char *receive_runner_name(const struct receive_runner *runner);
/* RECORD is the first of PARCEL that a command has: are they dead letters? */
void receive_runner_look(struct stage_parcel *parcel, const struct record *record);
/* What a command writes to stderr goes on to the user. */
void receive_runner_say(const void *data, size_t size);

/* ---- receive_run.c -------------------------------------------------------------------------------------------- */

enum mp_error receive_run_open(struct receive_runner *runner, struct fault *fault);
void receive_run_free(struct receive_runner *runner);
/* Prints, settles, and starts commands for what waits. Errors as of receive_runner_pump(). */
enum mp_error receive_run_pump(struct receive_runner *runner, int *exit, struct fault *fault);
/* Ends what runs. */
void receive_run_end(struct receive_runner *runner);

/* ---- receive_stream.c ----------------------------------------------------------------------------------------- */

enum mp_error receive_stream_open(struct receive_runner *runner, struct fault *fault);
/* Lets processes come to their ends, within limits. */
void receive_stream_free(struct receive_runner *runner);
enum mp_error receive_stream_pump(struct receive_runner *runner, struct fault *fault);
void receive_stream_stop(struct receive_runner *runner);
void receive_stream_end(struct receive_runner *runner);
uint32_t receive_stream_room(const struct receive_runner *runner);

#endif
