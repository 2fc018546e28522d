/*
 * seen_file.h: which messages were done, in a file, so that they are known when the tool is started again
 * (mretry --dedupe-file).
 *
 *     offset size  header
 *          0    8  "mpseen1\n"; the digit is the version: raise it when a reader of the old form would err
 *          8    8  seed of the ids, random
 *         16    8  what they are ids of, as the owner numbers that
 *         24    8  checksum: XXH3-64 of the 24 bytes before
 *
 *     a record
 *          0   16  id (seen.h)
 *         16    8  when it was done, microseconds since the epoch
 *         24    8  checksum: XXH3-64 of the 24 bytes before, with the seed
 *
 * All integers are little-endian. Records are appended and flushed. A write that was cut off leaves a part of one at the
 * end, which the next opening takes off; a record that is damaged is passed over. When the file has doubled it is
 * written anew, without what is older than the window, beside the old one, and takes its place. One process at a time
 * has it, by a lock of the process (fcntl).
 */
#ifndef CLI_SEEN_FILE_H
#define CLI_SEEN_FILE_H

#include "base/buffer.h"
#include "policy/seen.h"

struct seen_file {
    const char *path;
    int descriptor; /* -1: closed */
    bool named;     /* that it is there is on the disk, too */
    uint64_t seed;
    uint64_t what;
    uint64_t size;    /* bytes that are good */
    uint64_t records; /* in them */
    uint64_t tidy_at; /* so many records: then it is written anew */
    struct seen *seen;
    struct buffer pending; /* records that are not yet written */
};

/*
 * Opens PATH, which must stay where it is, makes it when it is not there, and adds what it has to SEEN, whose window is
 * set and which lives on NOW's clock. MP_ERR_BUSY: another process has it. MP_ERR_INVALID: it is for another WHAT, or no
 * such file; MP_ERR_DAMAGED: its header is. MP_ERR_IO, MP_ERR_DENIED, MP_ERR_MEMORY. Close it in any case.
 */
enum mp_error seen_file_open(struct seen_file *file, const char *path, uint64_t what, struct seen *seen, int64_t now,
                             struct fault *fault);
void seen_file_close(struct seen_file *file);

/* Notes that ID, which SEEN has, was done just now. It counts with the next flush. MP_ERR_MEMORY. */
enum mp_error seen_file_add(struct seen_file *file, struct seen_id id);

/* Writes what was noted: with MP_OK it is on the disk. MP_ERR_IO: nothing of it counts. */
enum mp_error seen_file_flush(struct seen_file *file, int64_t now, struct fault *fault);

#endif
