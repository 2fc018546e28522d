/*
 * spawn.h: starting a process, without a shell and without fork.
 *
 * What a new process gets is told: its descriptors by `places`, and what this program was given without close-on-exec.
 * All descriptors of this program's own must be close-on-exec.
 */
#ifndef BASE_SPAWN_H
#define BASE_SPAWN_H

#include "base/fault.h"

#include <spawn.h>
#include <stdbool.h>
#include <sys/types.h>

/* A descriptor of the new process. */
struct spawn_place {
    int number;       /* there */
    int descriptor;   /* this one of ours; -1: see `file` */
    const char *file; /* is opened with `flags`, and made with mode 0600; NULL: as it is here */
    int flags;
};

enum spawn_group {
    SPAWN_SAME_GROUP,
    SPAWN_OWN_GROUP,  /* it and its children can be ended together, and a terminal's signals do not come to it */
    SPAWN_OWN_SESSION /* it has no terminal; where that cannot be had: a group of its own */
};

struct spawn_settings {
    char *const *argv;        /* ends with NULL */
    const char *program;      /* what is run, looked for in $PATH if it has no slash; NULL: argv[0] */
    char *const *environment; /* ends with NULL; NULL: this program's */
    const char *directory;    /* where it runs; a program with a slash is looked for from there; NULL: here */
    /* Gives the child its signals; NULL: those of this program. 0, or an errno number. */
    int (*signals)(posix_spawnattr_t *attributes);
    enum spawn_group group;
    const struct spawn_place *places;
    size_t places_count;
};

enum { SPAWN_PLACES_MAX = 8 };

/* Exit codes that stand for a command that did not start, as shells have them, and for one that may start later. */
enum { SPAWN_LATER = 75, SPAWN_CANNOT_RUN = 126, SPAWN_NOT_FOUND = 127 };

/* Starts it. 0, or an errno number. */
int spawn_start(const struct spawn_settings *settings, pid_t *pid);

/*
 * What errno value NUMBER of spawn_start() means: words, and the exit code that stands for it. MP_ERR_NOT_FOUND: no such
 * command; MP_ERR_BUSY: no process, memory or descriptor is left now; MP_ERR_IO: it cannot be run.
 */
enum mp_error spawn_explain(const struct spawn_settings *settings, int number, int *exit, struct fault *fault);

/* For `signals`: defaults for all, none blocked. */
int spawn_default_signals(posix_spawnattr_t *attributes);

/* The exit code that a shell would give for waitpid()'s STATUS: 128 and the signal for a process that was killed. */
int spawn_exit_code(int status);

/* Makes a pipe whose ends are close-on-exec: the one to read from, the one to write to. 0, or an errno number. */
int spawn_pipe(int ends[2]);

#endif
