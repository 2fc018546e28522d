/*
 * receive_runner.h: commands for messages: which are given to which, how many run at once, what becomes of their output
 * and their exit codes. Private to mrecv's engine.
 *
 * A command's exit code settles what it was given: 0 acknowledges, 65 is for the dead-letter topic, anything else is to
 * be tried again, when and as often as the group's policy says. With either goes the tail of what it wrote to stderr. A
 * command that cannot be started gives back what it was to have, as never begun.
 */
#ifndef CLI_RECEIVE_RUNNER_H
#define CLI_RECEIVE_RUNNER_H

#include "cli/loop.h"
#include "cli/receive.h"
#include "stage/parcel.h"

struct receive_runner;

struct receive_runner_settings {
    struct loop *loop;
    char *const *command; /* NULL: `shell` */
    const char *shell;
    enum receive_mode mode;
    int format; /* enum format of what commands read; RECEIVE_FORMAT_UNSET: the body as it is, in a batch lines */
    struct format_template *template;
    unsigned workers;
    uint32_t batch;         /* messages for one command at most; 0: 100 */
    uint32_t max_in_flight; /* messages held at once at most; 0: twice what the workers can have */
    int64_t timeout;        /* microseconds of one run; 0: no limit */
    bool only_success;      /* only what commands print that end with 0 is printed, once they have */
    bool answers;           /* output is not printed, but given to `answered` */
    bool keep_error;        /* stderr is passed on, and its tail settled with a message that failed */
    void *context;
    /* COUNT messages of PARCEL from INDEX on are to be settled as HOW says (all but which they are). */
    void (*worked)(void *context, struct stage_parcel *parcel, uint32_t index, uint32_t count,
                   const struct protocol_settlement *how);
    /* Whether messages of PARCEL that were not begun may be. Those that may not are released: worked() says so. */
    bool (*holds)(void *context, const struct stage_parcel *parcel, int64_t now);
    /* `answers`: the output of a command that ended with 0, for message INDEX of PARCEL; comes before worked(). */
    void (*answered)(void *context, struct stage_parcel *parcel, uint32_t index, const void *output, size_t size);
};

/* MP_ERR_MEMORY. */
enum mp_error receive_runner_open(const struct receive_runner_settings *settings, struct receive_runner **runner,
                                  struct fault *fault);
/* Ends what still runs, at once. NULL is allowed. */
void receive_runner_free(struct receive_runner *runner);

/* A message that has failed MAX_RETRIES times before, and fails again, is dead: as far as is known here. */
void receive_runner_limit(struct receive_runner *runner, uint32_t max_retries);
/* Whether HOW, for messages of PARCEL, is a failure that was the last. RUNNER may be NULL. */
bool receive_runner_is_last(const struct receive_runner *runner, const struct stage_parcel *parcel,
                            const struct protocol_settlement *how);

/* Takes PARCEL. */
void receive_runner_add(struct receive_runner *runner, struct stage_parcel *parcel);

/*
 * Starts commands for what waits. An error with *EXIT set: the command cannot be run (126, 127, 75), its messages were
 * given back. MP_ERR_CLOSED, MP_ERR_IO: stdout.
 */
enum mp_error receive_runner_pump(struct receive_runner *runner, int64_t now, int64_t *due, int *exit,
                                  struct fault *fault);

/* Starts nothing more; what runs is ended when it takes too long. */
void receive_runner_stop(struct receive_runner *runner);

/* How many more messages it wants to have. */
uint32_t receive_runner_room(const struct receive_runner *runner);
/* Whether nothing runs, and nothing waits that could be begun. */
bool receive_runner_idle(const struct receive_runner *runner);

#endif
