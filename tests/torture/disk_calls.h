/*
 * disk_calls.h: a disk (disk.h) for all that this program does to the files of a folder, by itself or through a library.
 *
 * The calls are done as always, so that what reads, locks and lists files finds them; beside that they are written down.
 * Only flushes are nothing but written down: whoever looks at a disk that a power cut left has no need of another one.
 * What is written into memory that is shared with a file (a log's index) may reach the platter at any time: what is in it
 * at a flush, or when a name goes, counts as written then. Linux with glibc only.
 */
#ifndef TORTURE_DISK_CALLS_H
#define TORTURE_DISK_CALLS_H

#include "disk.h"

/* Whether calls are seen at all: else this cannot be tried here. */
bool disk_calls_work(void);

/* From now on what is done below FOLDER, a path from the root on, is done to DISK, too. NULL: to none. */
void disk_calls_record(struct disk *disk, const char *folder);

/* Makes the files that LEFT has in FOLDER, which is empty. Nothing of it is written down. */
void disk_calls_make(const struct disk *left, const char *folder);

#endif
