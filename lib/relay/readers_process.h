/*
 * readers_process.h: the process of a reading.
 */
#ifndef RELAY_READERS_PROCESS_H
#define RELAY_READERS_PROCESS_H

#include "base/fault.h"

#include <jansson.h>
#include <sys/types.h>

/* The variable by which mtrace is told that it reads for somebody else, and on which terminal: cli/output.h. */
#define READERS_TERMINAL "MSGPIPE_READING"

/*
 * Starts mtrace as ASKED says (readers_arguments.h), on STORE, with the lowest priority and nothing to read. What it is
 * told beside its arguments, in its environment: RELAY (a URL; NULL: none), the "terminal" that ASKED describes, and how
 * far "east" of UTC its times are, in seconds. OUTPUT: the ends to read from of what are its stdout and stderr; they do
 * not block. MP_ERR_NOT_FOUND: there is no mtrace; MP_ERR_BUSY: there is no room for a process; MP_ERR_IO,
 * MP_ERR_MEMORY, and those of readers_arguments_make().
 */
enum mp_error readers_process_start(const json_t *asked, const char *store, const char *relay, pid_t *pid,
                                    int output[2], struct fault *fault);

#endif
