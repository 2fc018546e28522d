/*
 * command_pipes.h: the pipes to a command's stdin, and from its stdout and stderr. Private to command.c.
 */
#ifndef STAGE_COMMAND_PIPES_H
#define STAGE_COMMAND_PIPES_H

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

#endif
