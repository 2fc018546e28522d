/*
 * lineage.h: what is known of the messages of a frame when the frame itself is gone: who they are, which keys and
 * traces they belong to, and what they were made of. It is kept with the event of their publication, so that a trace
 * reaches back further than the messages themselves.
 *
 * A lineage is 24 bytes (all integers little-endian): the frame's producer, the sequence of its first message, the
 * frame's time; then a column for each thing of which there is more to say. A column is a byte (enum lineage_column),
 * the number of its bytes, and runs. A run begins with count << 3 | kind; its kind says what follows:
 *
 *     0 none    nothing: of COUNT messages there is nothing to say
 *     1 step    16 bytes: a 128-bit value, the more significant half first; the others follow by one
 *     2 same    16 bytes: the value of all of them
 *     3 hashes  8 bytes for each
 *     4 hash    8 bytes for all of them
 *
 * Numbers are LEB128: seven bits a byte, the lowest first. Behind the last run nothing is known of what is left. So a
 * frame whose messages have the identity that their sender's count gives them costs 24 bytes, whatever their number, if
 * its producer is the session that published it. Of a frame of another producer the origins are written as well: so
 * what is bare can only be found by its session, and all else is what is longer.
 *
 * Values: an id, a trace or a cause that is written as 32 lower-case hex digits (a derived one, or W3C's trace ids) is
 * kept as it is; any other text is kept as its XXH3-64. A parent is the 64-bit span of a traceparent: a hash, or, beside
 * a cause that is exact, the 128 bits of (the span - the cause's low half * TRACE_SPAN_STEP, the cause's low half): so a
 * run of messages that were made of a run of deliveries is one step.
 */
#ifndef MESSAGE_LINEAGE_H
#define MESSAGE_LINEAGE_H

#include "message/frame.h"

/* The numbers are on disk: add at the end. */
enum lineage_column {
    LINEAGE_ORIGIN = 1,      /* of messages that are not their frame's own */
    LINEAGE_ID = 2,          /* `id`; none: the origin */
    LINEAGE_KEY = 3,         /* `partitionkey`, always a hash */
    LINEAGE_TRACE = 4,       /* of `traceparent`; none: the origin */
    LINEAGE_PARENT = 5,      /* of `traceparent`; lineage_parent() reads it */
    LINEAGE_CAUSE = 6,       /* `causationid` */
    LINEAGE_CORRELATION = 7, /* `correlationid` */
    LINEAGE_COLUMNS = 8
};

/* What a column says of a message: nothing, 128 bits as they are, or a hash (in `low`). */
enum lineage_kind { LINEAGE_NONE = 0, LINEAGE_EXACT = 1, LINEAGE_HASH = 2 };
struct lineage_value {
    enum lineage_kind kind;
    uint64_t high;
    uint64_t low;
};

/* A lineage that was opened; it points into its bytes. */
struct lineage {
    uint64_t producer;
    uint64_t sequence;
    int64_t
        time; /* when the first message was taken by its sender, microseconds since the epoch by the sender's clock */
    uint32_t count;
    const uint8_t *columns[LINEAGE_COLUMNS]; /* NULL: there is none */
    size_t sizes[LINEAGE_COLUMNS];
};

enum {
    LINEAGE_BARE = 24
}; /* bytes of one that tells nothing but whose messages they are: the session's that published them */

/*
 * Appends the lineage of FRAME, which was opened deep once and was published by SESSION (0: by the relay itself).
 * MP_ERR_MEMORY; OUT may have grown then.
 */
enum mp_error lineage_encode(const struct frame *frame, uint64_t session, struct buffer *out);

/* Opens SIZE bytes that tell of COUNT messages. MP_ERR_DAMAGED: they are no lineage. */
enum mp_error lineage_open(struct lineage *lineage, const uint8_t *bytes, size_t size, uint32_t count);

/* What a column keeps of an id, a key, a trace id or a cause that is written as SIZE bytes at TEXT. */
struct lineage_value lineage_value_of(enum lineage_column column, const char *text, size_t size);

/* What COLUMN says of the message INDEX (0: the first). Costs a walk over the column's runs. */
struct lineage_value lineage_value(const struct lineage *lineage, enum lineage_column column, uint32_t index);

/* Its origin, id, trace: from their columns, or the ones that follow from the origin. */
struct lineage_value lineage_origin(const struct lineage *lineage, uint32_t index);
struct lineage_value lineage_id(const struct lineage *lineage, uint32_t index);
struct lineage_value lineage_trace(const struct lineage *lineage, uint32_t index);

/* The span that its traceparent names; 0: it has none. */
uint64_t lineage_parent(const struct lineage *lineage, uint32_t index);

/*
 * Looks for a message, from *INDEX on, of which COLUMN says something from FROM to TO (both of the kind of FROM; a hash
 * is FROM alone). True: *INDEX is the first. LINEAGE_ORIGIN, _ID and _TRACE also find those whose values follow from
 * their origin. A step costs nothing to search, a hash about a nanosecond.
 */
bool lineage_find(const struct lineage *lineage, enum lineage_column column, const struct lineage_value *from,
                  const struct lineage_value *to, uint32_t *index);

/* Goes through a column, message by message. */
struct lineage_cursor {
    const uint8_t *at;
    const uint8_t *end;
    uint64_t left; /* messages of the run that is open */
    unsigned kind;
    uint64_t high;
    uint64_t low;
};
struct lineage_cursor lineage_cursor(const struct lineage *lineage, enum lineage_column column);
/* The next message's value; LINEAGE_NONE behind the end. */
struct lineage_value lineage_next(struct lineage_cursor *cursor);

#endif
