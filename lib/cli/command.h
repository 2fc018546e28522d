/*
 * command.h: starting a user's command, without a shell and without fork.
 */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include "base/fault.h"

#include <stdbool.h>
#include <sys/types.h>

struct command_settings {
    char *const *argv;        /* ends with NULL; the command is looked for in $PATH */
    char *const *environment; /* ends with NULL; NULL: the tool's own */
    int input, output, error; /* descriptors for its stdin, stdout and stderr; -1: the tool's own */
    bool own_group;           /* a process group of its own, so that it and its children can be ended together */
};

/*
 * Starts the command, with the signals that the tool was started with. On failure *EXIT is 127 (no such command) or 126
 * (it cannot be run), and the words say why. All other descriptors of the tool should be close-on-exec.
 */
enum mp_error command_start(const struct command_settings *settings, pid_t *pid, int *exit, struct fault *fault);

/* The exit code that a shell would give for waitpid()'s STATUS: 128 and the signal for a killed command. */
int command_exit_code(int status);

/* Makes a pipe whose ends are close-on-exec. MP_ERR_IO. */
enum mp_error command_pipe(int ends[2], struct fault *fault);

#endif
