/*
 * command_spawn.h: a process with pipes for its stdin, stdout and stderr. Private to command.c.
 */
#ifndef STAGE_COMMAND_SPAWN_H
#define STAGE_COMMAND_SPAWN_H

#include "stage/command.h"

/* Ends of pipes; -1: none, or closed. */
struct command_pipes {
    int input, output, error;
};

/* Closes what is open. */
void command_pipes_close(struct command_pipes *pipes);

/*
 * Makes the pipes that SETTINGS ask for: OURS do not block, THEIRS are for the child; all are close-on-exec. 0, or an
 * errno number: what is open then is the caller's to close.
 */
int command_pipes_make(const struct stage_command_settings *settings, struct command_pipes *ours,
                       struct command_pipes *theirs);

/* Starts the process with THEIRS, in a group of its own; the caller closes them. 0, or an errno number. */
int command_spawn(const struct stage_command_settings *settings, const struct command_pipes *theirs, pid_t *pid);

/* What errno value NUMBER means for the command: words, and the exit code that stands for it. */
enum mp_error command_spawn_explain(const struct stage_command_settings *settings, int number, int *exit_code,
                                    struct fault *fault);

#endif
