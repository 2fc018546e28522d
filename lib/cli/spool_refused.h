/*
 * spool_refused.h: what a relay will never take of a spool's messages, kept beside the segments: DIR/refused.jsonl, a file
 * of dead letters (dead_file.h).
 */
#ifndef CLI_SPOOL_REFUSED_H
#define CLI_SPOOL_REFUSED_H

#include "cli/spool.h"

/*
 * Appends the messages of ENTRY to DIRECTORY's file as the dead letters that they are: WHY and TEXT are what the relay said.
 * With MP_OK they are on the disk, and ENTRY can go (spool_refused()). MP_ERR_DAMAGED: it is no sound frame, and cannot be
 * taken apart. MP_ERR_IO, MP_ERR_DENIED, MP_ERR_MEMORY.
 */
enum mp_error spool_keep_refused(const char *directory, const struct spool_entry *entry, enum mp_error why,
                                 const char *text, struct fault *fault);

#endif
