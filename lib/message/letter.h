/*
 * letter.h: what a dead letter tells of its death. It is the message as it was, with these attributes beside its own:
 *
 *   deadtopic deadgroup  where it came from, and the group that could not take it; absent when it came from no topic
 *   deadoffset           its offset there (a string: CloudEvents integers have 32 bits)
 *   deadreason           one of letter_reasons
 *   deadattempts         how many attempts were made (integer)
 *   deadfirst deadlast   when the first and the last of them failed, RFC 3339
 *   deadcode             the last exit code (integer); absent when no command ended
 *   deaderror            the tail of what the last attempt wrote to stderr, see letter_note()
 *
 * They do not count against the number of attributes that a message may have (attributes.h), so that every message can
 * become a letter. Where the bytes of a block do not suffice the error is cut, then what comes last above is left out.
 */
#ifndef MESSAGE_LETTER_H
#define MESSAGE_LETTER_H

#include "base/buffer.h"
#include "base/fault.h"

enum { LETTER_NOTE_MAX = 4096 }; /* bytes of `deaderror` */

/* "rejected", "retries", "format", "unrouted", "overflow", and NULL; the engine's reasons (queue/engine.h), from 1. */
extern const char *const letter_reasons[];

struct letter {
    const char *topic; /* texts are not terminated when they were read; size 0: absent */
    size_t topic_size;
    const char *group;
    size_t group_size;
    uint64_t offset; /* only with a topic */
    const char *reason;
    size_t reason_size;
    uint32_t attempts;
    int64_t first; /* microseconds since the epoch; 0: not known */
    int64_t last;
    int32_t code;      /* exit code; -1: none */
    const char *error; /* as letter_note() makes it */
    size_t error_size;
};

/*
 * Sets LETTER's attributes in BLOCK (a canonical block or empty), in place of those of an earlier death. MP_ERR_MEMORY
 * alone: what does not fit is left out.
 */
enum mp_error letter_write(struct buffer *block, const struct letter *letter);

/* Reads them; texts point into BLOCK. False: BLOCK has no reason, so it is no letter. What cannot be read is absent. */
bool letter_read(const uint8_t *block, size_t size, struct letter *letter);

/* Reads the topic and the group alone, for those who go through millions. */
void letter_read_place(const uint8_t *block, size_t size, struct letter *letter);

/* Removes them: the message as it was. */
void letter_strip(struct buffer *block);

/*
 * Appends to OUT the tail of SIZE bytes that somebody wrote to stderr, LETTER_NOTE_MAX bytes at most, as an attribute
 * can hold it: newlines, tabs, returns and backslashes as \n, \t, \r and \\, what is no printable UTF-8 as \xHH; without
 * newlines at the end. What was made so before stays within the limit, but its backslashes are doubled. MP_ERR_MEMORY.
 */
enum mp_error letter_note(const void *bytes, size_t size, struct buffer *out);

/* Appends what NOTE stood for before letter_note(). MP_ERR_MEMORY. */
enum mp_error letter_note_read(const char *note, size_t size, struct buffer *out);

#endif
