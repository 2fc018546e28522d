/*
 * command.h: one run of a user's command: bytes on its stdin, its output, how it ended. Nothing blocks: all of it
 * happens in an event loop, in one thread.
 *
 * A command is started with posix_spawnp(3), never by a shell unless it is one, in a process group of its own, so that
 * it can be ended with all that it has started. It gets stdin, stdout and stderr, and what the program itself was given
 * without close-on-exec; all descriptors of the program's own must be close-on-exec. SIGPIPE has to be ignored.
 *
 * A command that does not read its input is not at fault. It has ended when its first process has, and what that left
 * in the pipes is read: a daemon that it started and that keeps them open is not waited for.
 */
#ifndef STAGE_COMMAND_H
#define STAGE_COMMAND_H

#include "base/buffer.h"
#include "base/fault.h"

#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>

struct event_base;
struct stage_children;
struct stage_command;

/*
 * Looks after the children of the programs started here (SIGCHLD). One a loop, and one loop a program. MP_ERR_MEMORY.
 * Free it after all of its commands; NULL is allowed.
 */
enum mp_error stage_children_open(struct event_base *base, struct stage_children **children, struct fault *fault);
void stage_children_free(struct stage_children *children);

enum { STAGE_GRACE = 5000000 }; /* microseconds from SIGTERM to SIGKILL, unless the settings say otherwise */

struct stage_result {
    int code;         /* its exit code; 128 and the signal if one ended it */
    int signal;       /* that ended it; 0: none */
    bool timed_out;   /* it was ended for taking too long */
    bool ended_early; /* it was ended by stage_command_end() */
    int64_t duration; /* microseconds */
};

struct stage_command_settings {
    struct stage_children *children;
    char *const *argv;        /* ends with NULL; argv[0] is looked for in $PATH */
    char *const *environment; /* ends with NULL; NULL: the program's own */
    const char *directory;    /* where it runs; an argv[0] with a slash is looked for from there; NULL: here */
    /* Gives the child its signals, as loop_child_signals() does; NULL: defaults for all, none blocked. 0 or an errno. */
    int (*signals)(posix_spawnattr_t *attributes);
    const void *input; /* its stdin; must stay where it is until the command has ended */
    size_t input_size;
    bool stays;          /* stdin stays open for stage_command_write(); `input` is not used */
    size_t pipe_size;    /* bytes that the pipes of stdin and stdout shall hold; 0: as the system has it */
    size_t output_limit; /* stdout is kept up to so many bytes, then not read until some are taken; 0: the program's */
    bool keep_error;     /* stderr is given to `error`; else it is the program's */
    int64_t timeout;     /* microseconds that it may take; 0: no limit */
    int64_t grace;       /* microseconds from SIGTERM to SIGKILL; 0: STAGE_GRACE */
    void *context;
    /* There is more in stage_command_output(). May be NULL. */
    void (*output)(void *context);
    /* `stays`: its stdin takes more, after stage_command_write() had not written all; or nothing, as it was closed. */
    void (*writable)(void *context);
    /* Some of its stderr, cut anywhere. */
    void (*error)(void *context, const void *data, size_t size);
    /* It has ended, and all its output was read. The command is to be freed, here or later. */
    void (*ended)(void *context, const struct stage_result *result);
};

/*
 * Starts a command; callbacks come from the loop only. The settings are copied, but for what they point to. On failure
 * *EXIT is 127 (MP_ERR_NOT_FOUND: no such command), 126 (it cannot be run) or 75 (MP_ERR_BUSY: no process, memory or
 * descriptor is left now).
 */
enum mp_error stage_command_start(const struct stage_command_settings *settings, struct stage_command **command,
                                  int *exit, struct fault *fault);

/* Frees COMMAND; if it still runs its group is killed. NULL is allowed. */
void stage_command_free(struct stage_command *command);

/* What came from its stdout and was not taken. Remove bytes with stage_command_taken(), so that it is read on. */
const struct buffer *stage_command_output(const struct stage_command *command);
void stage_command_taken(struct stage_command *command, size_t size);
/* Once it has ended: all of that, out of COMMAND into the empty buffer OUTPUT, which is the caller's. */
void stage_command_take_output(struct stage_command *command, struct buffer *output);

/* Looks now what it has printed, without waiting for the loop: `output` is called if there is some. */
void stage_command_read(struct stage_command *command);

/*
 * `stays`: writes what its stdin takes of SIZE bytes now, and returns how many; `writable` is called when it takes more.
 * When it does not read any more, nothing is written and nothing called: stage_command_reads() is false then.
 */
size_t stage_command_write(struct stage_command *command, const void *data, size_t size);
bool stage_command_reads(const struct stage_command *command);
/* The end of its stdin. */
void stage_command_close_input(struct stage_command *command);

/* Ends it: SIGTERM to its group, and SIGKILL after the grace. */
void stage_command_end(struct stage_command *command);

/* Its process group, 0 when it has ended. */
pid_t stage_command_group(const struct stage_command *command);

#endif
