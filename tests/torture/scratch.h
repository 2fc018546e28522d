/*
 * scratch.h: the folder that a trial works in.
 */
#ifndef TORTURE_SCRATCH_H
#define TORTURE_SCRATCH_H

#include <stdbool.h>

enum { SCRATCH_PATH = 256 };

/*
 * Makes one for the trial NAME in $TMPDIR; where that is not set in /tmp, or, IN_MEMORY (the trial says nothing about
 * disks and need not wait for one), in /dev/shm if there is such a place. Ends the program with 71 if it cannot.
 */
void scratch_make(const char *name, bool in_memory, char path[SCRATCH_PATH]);

/* Removes it with all that is in it; says what stays. */
void scratch_remove(const char *name, const char *path);

#endif
