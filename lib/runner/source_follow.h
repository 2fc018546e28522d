/*
 * source_follow.h: reads a file to its end, and on, as it grows and is rotated.
 *
 * What it copes with, while it follows:
 *   renamed, and made anew     the old file is read to its end first: until the new one has bytes, and for a second more
 *                              in which the old one has not grown, as writers take their time to reopen it
 *   copied, and truncated      it goes on at the beginning; what was added between its last look and the copy is read from
 *                              the copy, if that is beside it (whatever was written between copying and truncating was
 *                              lost by who did that)
 *   missing                    it waits
 *   rotated several times      while it was busy or not running: the files in between are read in their order (60 at
 *                              most). When it was not running these are those beside it whose names are the file's and
 *                              a suffix of digits, "-", "_", "." ("log.1", "log-20260120"): compressed ones are not
 * A truncated file is known by its being shorter than what was read, or by its first kilobyte being another. One that was
 * truncated and has since grown over that length with the same first kilobyte is not told from one that has grown.
 *
 * It waits for nothing, reads no clock, and knows nothing of messages: it gives bytes, and says where one file's end.
 */
#ifndef RUNNER_SOURCE_FOLLOW_H
#define RUNNER_SOURCE_FOLLOW_H

#include "base/buffer.h"
#include "base/fault.h"

enum { SOURCE_FOLLOW_HEAD = 1024, SOURCE_FOLLOW_TEXT = 256 };

/* How far was read. */
struct source_place {
    uint64_t device;
    uint64_t inode;
    uint64_t offset;    /* bytes of it are done with */
    uint32_t head_size; /* of its first bytes, SOURCE_FOLLOW_HEAD at most */
    uint64_t head;      /* XXH3-64 of them */
    int64_t modified;   /* when it was changed last, nanoseconds since the epoch */
    uint64_t path;      /* XXH3-64 of the path that it was read for */
};

/* As a line of text, and back; false: it is none. */
void source_place_text(const struct source_place *place, char text[SOURCE_FOLLOW_TEXT]);
bool source_place_parse(const char *text, struct source_place *place);

struct source_follow;

struct source_follow_settings {
    const char *path;
    bool follow;                      /* false: to its end, once */
    const struct source_place *place; /* where to go on; NULL: at the beginning. One of another path is passed over */
};

/*
 * MP_ERR_MEMORY. Whether the file can be read is told by source_follow_read(). FAULT is also set when it succeeds but
 * the file of `place` has gone, with words for the log.
 */
enum mp_error source_follow_open(const struct source_follow_settings *settings, struct source_follow **follow,
                                 struct fault *fault);
void source_follow_free(struct source_follow *follow);

enum source_follow_event {
    SOURCE_FOLLOW_BYTES, /* were appended */
    SOURCE_FOLLOW_CUT,   /* the present file's bytes end here, and with them what is incomplete; call again */
    SOURCE_FOLLOW_WAIT,  /* nothing now: call again when the descriptor is readable, at *DUE at the latest */
    SOURCE_FOLLOW_END,   /* the end, when it does not follow */
    SOURCE_FOLLOW_FAILED /* it cannot be read now, says FAULT: as WAIT */
};

/* Reads at most MOST bytes to the end of OUT. NOW: monotonic microseconds; *DUE is brought forward. */
enum source_follow_event source_follow_read(struct source_follow *follow, struct buffer *out, size_t most, int64_t now,
                                            int64_t *due, struct fault *fault);

/* Readable when something may have changed: call source_follow_read() then. -1: there is none. */
int source_follow_descriptor(const struct source_follow *follow);

/* How many bytes were given in all. */
uint64_t source_follow_given(const struct source_follow *follow);
/* The place behind the first GIVEN of them. Must not fall from call to call: places before are forgotten. */
struct source_place source_follow_place(struct source_follow *follow, uint64_t given);

#endif
