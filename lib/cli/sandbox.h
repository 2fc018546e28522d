/*
 * sandbox.h: a relay for a while, in a folder of its own that goes with it: for `mrelay sandbox -- COMMAND`, and for the
 * tests of a pipeline.
 */
#ifndef CLI_SANDBOX_H
#define CLI_SANDBOX_H

#include "cli/child.h"
#include "cli/options.h"
#include "transport/address.h"

enum { SANDBOX_DIRECTORY = 64 };

struct sandbox {
    struct event_base *base;
    char directory[SANDBOX_DIRECTORY];
    char url[sizeof(((struct address *)0)->text)]; /* of the relay */
    struct child *child;
    bool ready, ended;
    struct fault fault; /* why it is not there */
};

/*
 * Starts a relay in BASE's loop, which runs until it serves; FILE: with this pipeline; NULL: without. PROGRAM is argv[0]
 * of this program. QUIET: it logs errors only. MP_ERR_IO, and what the relay says. Close it in any case.
 */
enum mp_error sandbox_open(struct sandbox *sandbox, struct event_base *base, const char *program, const char *file,
                           bool quiet, struct fault *fault);

/* Ends the relay and removes the folder. */
void sandbox_close(struct sandbox *sandbox);

/*
 * `mrelay sandbox [FILE] -- COMMAND`: runs the command with MSGPIPE_RELAY set; its exit code, also 126 and 127. Ends by
 * the signal that ended the command.
 */
int sandbox_run(const char *file, const struct options *options, const char *program);

#endif
