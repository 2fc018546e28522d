/*
 * source_rotated.h: finds what a rotated file has become, in its directory. Private to source_follow.c.
 */
#ifndef RUNNER_SOURCE_ROTATED_H
#define RUNNER_SOURCE_ROTATED_H

#include "runner/source_follow.h"

#include <sys/stat.h>

/* Whether the first bytes of the file at DESCRIPTOR are those of PLACE, and it is long enough. */
bool source_rotated_is(int descriptor, const struct source_place *place);

/*
 * Opens the file beside PATH, or PATH itself, that PLACE is about: the same file under any name; or, if the one with that
 * number was truncated, a copy of it, changed since then. -1: there is none.
 */
int source_rotated_find(const char *path, const struct source_place *place);

/*
 * Opens the rotated files of PATH that were changed after MODIFIED (nanoseconds since the epoch), the oldest first, but
 * not the file DEVICE, INODE and not PATH itself. DESCRIPTORS has room for LIMIT; the newest are left out if there are
 * more. Returns how many.
 */
size_t source_rotated_since(const char *path, int64_t modified, uint64_t device, uint64_t inode, int *descriptors,
                            size_t limit);

/* When the file was changed last, nanoseconds since the epoch. */
int64_t source_rotated_modified(const struct stat *status);

#endif
