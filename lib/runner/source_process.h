/*
 * source_process.h: a command whose output is taken apart into messages: one run of it. What it does not print completely
 * (a last line without its end, and of format `whole` all) counts only if it exits with 0. Its stdin is empty; its stderr
 * goes into the log, line by line, under the source's name.
 */
#ifndef RUNNER_SOURCE_PROCESS_H
#define RUNNER_SOURCE_PROCESS_H

#include "runner/source_private.h"

struct source_process;

/* Starts SETTINGS' command; source_wake() is called when there is more. As stage_command_start(). */
enum mp_error source_process_start(struct source *source, const struct source_settings *settings,
                                   struct source_process **process, int *exit, struct fault *fault);
/* Kills what still runs. NULL is allowed. */
void source_process_free(struct source_process *process);

/*
 * The next message, good until the next call. MP_ERR_AGAIN: not yet. MP_ERR_CLOSED: it has ended, and there is no more.
 * MP_ERR_FORMAT, MP_ERR_TOO_LARGE: something that is no message. MP_ERR_MEMORY.
 */
enum mp_error source_process_next(struct source_process *process, struct format_item *item, struct fault *fault);

/* Once it is MP_ERR_CLOSED: how it ended. */
const struct stage_result *source_process_result(const struct source_process *process);
/* The same in words: "the command exited with 3", "was ended by signal 9", as in "... : again in 2 s". */
void source_process_words(const struct source_process *process, char *words, size_t size);

/* Ends it: TERM, then KILL, for its whole group. */
void source_process_end(struct source_process *process);

#endif
