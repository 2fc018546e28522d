/*
 * command.h: starting a user's command in the foreground, with the signals that the tool was started with.
 */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include "base/spawn.h"

/*
 * Starts ARGV, which ends with NULL; the command is looked for in $PATH. INPUT and OUTPUT are descriptors for its stdin
 * and stdout; -1: the tool's own. On failure *EXIT is the exit code that stands for it, and the words say why: the
 * errors of spawn_explain().
 */
enum mp_error command_start(char *const *argv, int input, int output, pid_t *pid, int *exit, struct fault *fault);

#endif
