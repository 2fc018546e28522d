/*
 * protocol.h: the relay's protocol: requests and replies inside SP REQ/REP, and how they are encoded.
 *
 * All integers are little-endian; a string is a 16-bit length and its bytes. A request:
 *
 *     0  1  'm'          5  3  attempt
 *     1  1  version      8  8  session, 0 for none
 *     2  1  type        16  8  number
 *     3  1  flags       24  …  the type's body
 *     4  1  lane
 *
 * A reply: 'M', version, type, status (an mp_error), 4 zero bytes, the request's number, then the type's body; with a
 * status other than MP_OK the body is a text for people (and for MP_ERR_GAP the number that was expected, 8 bytes,
 * before it).
 *
 * Sessions and numbers: `hello` gives a session. A session's lanes (publish, settle, fetch) are numbered each for
 * itself from 1. The relay applies number n+1 after n, answers a repeat of n with the recorded result, and refuses
 * others with MP_ERR_GAP. A request that failed (any status but MP_OK) used up no number: after MP_ERR_FULL or
 * MP_ERR_AGAIN the client sends the same number again, and after any other error it may send something else under it.
 * So each request under a number has an attempt, counted on from 1, and once one was refused, or a fetch was answered
 * without messages, the relay applies none that was made before or is a copy of it, however late it comes: that gets
 * MP_ERR_AGAIN. It knows that for as long as it runs. Attempt 0 is not looked at.
 *
 *     hello    body: string client, u32 keep (seconds; 0: an hour). With a session in the header: to go on with that
 *              one, which gets MP_ERR_SESSION when it is not known any more. Reply: u64 session, u64 instance (new at
 *              each start of the relay), u64 the last number applied on lane publish, u32 max_message, u32 lease (ms),
 *              string relay's name, string relay's version.
 *     publish  lane publish, numbered. body: a publication, below. Reply: u64 first offset (PROTOCOL_SCHEDULED: it has
 *              none yet), u32 count, u32 duplicates among them.
 *     fetch    lane fetch, numbered with a group, unless it peeks; body below. Reply below. An empty reply used up no
 *              number.
 *     settle   lane settle, numbered. Reply: u32 applied, u32 stale (messages).
 *     extend   lane control. body: u32 milliseconds. Extends every lease of the session. Reply: u32 leases.
 *              With PROTOCOL_DIVISIBLE a publication that fits in part only gets MP_ERR_FULL: ask for room.
 *     room     lane control or publish. body: string topic, u32 wait (ms), u32 messages, u32 bytes. Reply: u32 messages
 *              that there is room for: all of them, or with PROTOCOL_DIVISIBLE one at least; MP_ERR_FULL when there is
 *              none after the wait; MP_ERR_OVERFLOW. On the lane publish its number is the waiting publication's: when
 *              that was applied after all, there is room for it.
 *     admin    lane control. body: a JSON object. Reply: a JSON text; of `trace_read`, bytes behind its line.
 *     leave    lane control. The session ends: its leases are released at once. Reply: u32 messages released.
 */
#ifndef CLIENT_PROTOCOL_H
#define CLIENT_PROTOCOL_H

#include "base/buffer.h"
#include "base/fault.h"
#include "message/frame.h"
#include "message/names.h"

enum { PROTOCOL_VERSION = 2, PROTOCOL_REQUEST_HEADER = 24, PROTOCOL_REPLY_HEADER = 16 };

enum protocol_type {
    PROTOCOL_HELLO = 1,
    PROTOCOL_PUBLISH = 2,
    PROTOCOL_FETCH = 3,
    PROTOCOL_SETTLE = 4,
    PROTOCOL_EXTEND = 5,
    PROTOCOL_ROOM = 6,
    PROTOCOL_ADMIN = 7,
    PROTOCOL_LEAVE = 8
};

enum protocol_lane {
    PROTOCOL_LANE_PUBLISH = 0,
    PROTOCOL_LANE_SETTLE = 1,
    PROTOCOL_LANE_FETCH = 2,
    PROTOCOL_LANES = 3, /* the numbered ones */
    PROTOCOL_LANE_CONTROL = 3
};

struct protocol_request {
    enum protocol_type type;
    unsigned flags;
    unsigned lane;
    uint32_t attempt;
    uint64_t session;
    uint64_t number;
    const uint8_t *body;
    size_t body_size;
};

struct protocol_reply {
    enum protocol_type type;
    enum mp_error status;
    uint64_t number;
    const uint8_t *body;
    size_t body_size;
};

/*
 * Both check what came from outside. MP_ERR_FORMAT, MP_ERR_VERSION. A request of an unknown type, on a lane that is not
 * its type's, with unknown flags or with bytes that are not zero where they must be is MP_ERR_FORMAT.
 */
enum mp_error protocol_read_request(const uint8_t *data, size_t size, struct protocol_request *request);
enum mp_error protocol_read_reply(const uint8_t *data, size_t size, struct protocol_reply *reply);

/*
 * Append to OUT. Like all protocol_put_… functions they append everything or, failing, nothing: MP_ERR_MEMORY, and
 * MP_ERR_TOO_LARGE for a name or count over the protocol's limits.
 */
enum mp_error protocol_put_request(struct buffer *out, enum protocol_type type, unsigned lane, uint64_t session,
                                   uint64_t number);
enum mp_error protocol_put_reply(struct buffer *out, enum protocol_type type, enum mp_error status, uint64_t number);

/* Sets the flags of the request whose header begins at AT in OUT. */
void protocol_set_flags(struct buffer *out, size_t at, unsigned flags);
/* The same for its attempt, which counts in a circle of 24 bits without the 0. */
void protocol_set_attempt(struct buffer *out, size_t at, uint32_t attempt);
uint32_t protocol_next_attempt(uint32_t attempt);
/* Whether ATTEMPT was made after BEFORE. */
bool protocol_is_later(uint32_t attempt, uint32_t before);

/*
 * A whole reply that tells an error: TEXT (NULL: the general words), cut after FAULT_TEXT bytes; EXPECTED goes out with
 * MP_ERR_GAP only.
 */
enum mp_error protocol_put_error(struct buffer *out, enum protocol_type type, enum mp_error status, uint64_t number,
                                 uint64_t expected, const char *text);
/* Reads what protocol_put_error() wrote: FAULT gets the status and the text, with control characters made harmless. */
enum mp_error protocol_read_error(const struct protocol_reply *reply, uint64_t *expected, struct fault *fault);

/*
 * The small bodies. Names are given as they came, not terminated and not checked: name_check_topic() and its like
 * have the words for what is wrong with one. The readers: MP_ERR_FORMAT.
 */
enum { PROTOCOL_KEEP_MAX = 30 * 24 * 3600 }; /* seconds */
enum mp_error protocol_put_hello(struct buffer *out, const char *client, uint32_t keep);
enum mp_error protocol_read_hello(const struct protocol_request *request, const char **client, size_t *client_size,
                                  uint32_t *keep);

/*
 * A publication: string topic, string target, u8 when, i64 value, then in a settlement u32 the frame's size, and the
 * frame.
 */
enum protocol_when {
    PROTOCOL_WHEN_NOW = 0,   /* value: 0 */
    PROTOCOL_WHEN_DELAY = 1, /* value: microseconds from when the relay takes it */
    PROTOCOL_WHEN_AT = 2     /* value: microseconds since the epoch, by the relay's wall clock when it takes it */
};
#define PROTOCOL_SCHEDULED UINT64_MAX /* the offset of messages that get one when they are due */
struct protocol_publication {
    const char *topic; /* not terminated */
    size_t topic_size;
    const char *target; /* the group that alone sees the messages; size 0: all do. Not terminated */
    size_t target_size;
    enum protocol_when when;
    int64_t value; /* not negative */
    const uint8_t *frame;
    size_t frame_size;
};
/* A publication to TOPIC for everyone, now, of a frame that is to be set. */
static inline struct protocol_publication protocol_publication(const char *topic)
{
    return (struct protocol_publication){.topic = topic, .topic_size = strlen(topic)};
}
/* Everything but the frame's bytes, which follow it. */
enum mp_error protocol_put_publish(struct buffer *out, const struct protocol_publication *publication);
/* Needs a frame of a byte at least. */
enum mp_error protocol_read_publish(const struct protocol_request *request, struct protocol_publication *publication);
enum mp_error protocol_put_published(struct buffer *out, uint64_t first, uint32_t count, uint32_t duplicates);
enum mp_error protocol_read_published(const struct protocol_reply *reply, uint64_t *first, uint32_t *count,
                                      uint32_t *duplicates);

/* A flag of publish and room: the client can divide what it publishes. */
enum { PROTOCOL_DIVISIBLE = 4 };

struct protocol_room {
    const char *topic; /* not terminated */
    size_t topic_size;
    uint32_t wait; /* milliseconds */
    uint32_t messages;
    uint32_t bytes;
};
enum mp_error protocol_put_room(struct buffer *out, const struct protocol_room *room);
enum mp_error protocol_read_room(const struct protocol_request *request, struct protocol_room *room);

/* extend's request, and the replies of extend (leases), room and leave (messages). */
enum mp_error protocol_put_u32(struct buffer *out, uint32_t value);
enum mp_error protocol_read_extend(const struct protocol_request *request, uint32_t *milliseconds);
enum mp_error protocol_read_u32(const struct protocol_reply *reply, uint32_t *value);

enum mp_error protocol_put_settled(struct buffer *out, uint32_t applied, uint32_t stale);
enum mp_error protocol_read_settled(const struct protocol_reply *reply, uint32_t *applied, uint32_t *stale);

/* hello */
struct protocol_welcome {
    uint64_t session;
    uint64_t instance;
    uint64_t published;   /* the last number applied on the publish lane; 0 in a new session */
    uint32_t max_message; /* bytes of a body */
    uint32_t lease;       /* milliseconds */
    char relay[NAME_MAX_BYTES + 1];
    char version[32];
};
enum mp_error protocol_put_welcome(struct buffer *out, const struct protocol_welcome *welcome);
enum mp_error protocol_read_welcome(const struct protocol_reply *reply, struct protocol_welcome *welcome);

/* fetch */
enum protocol_from {
    PROTOCOL_FROM_DEFAULT = 0, /* an existing group goes on; a new one and a reader begin at the oldest kept */
    PROTOCOL_FROM_START = 1,
    PROTOCOL_FROM_NEW = 2,
    PROTOCOL_FROM_OFFSET = 3, /* value: the offset */
    PROTOCOL_FROM_LAST = 4,   /* value: how many before the end */
    PROTOCOL_FROM_TIME = 5,   /* value: microseconds since the epoch */
    PROTOCOL_FROM_EXACT = 6   /* of a group's: only the waiting ones in [value, value + max_messages), at once */
};
/* A request's flag: what the group has not settled is read, as a reader reads, and nothing is leased. */
enum { PROTOCOL_FETCH_PEEK = 1 };

/* Where a reader stands in a topic. */
struct protocol_position {
    uint32_t topic;
    uint64_t next; /* the next offset to read */
};

/* Settlements: 5 MiB of them; two windows of 65,536 messages each, of which no two are neighbours, in one transaction. */
enum { PROTOCOL_POSITIONS_MAX = 4096, PROTOCOL_CHUNKS_MAX = 1024, PROTOCOL_SETTLEMENTS_MAX = 131072 };

/*
 * A group of "" is a reader, as is who peeks: nothing is leased or recorded. The reply has as many messages as are there, within the
 * limits, but one at least; when there are none it waits. A reader of what is new, or of the last few, that stands in topics
 * for which it gave no position is answered at once, so that it knows where.
 *
 *     body: string topic or pattern, string group, u8 from, u64 value, u32 max messages, u32 max bytes, u32 wait (ms),
 *     u32 lease (ms, 0: the relay's), u16 count of positions, then per position u32 topic, u64 next
 */
struct protocol_fetch {
    const char *topic; /* not terminated */
    size_t topic_size;
    const char *group; /* not terminated */
    size_t group_size;
    enum protocol_from from;
    uint64_t value;
    uint32_t max_messages; /* 0: as many as the bytes allow */
    uint32_t max_bytes;
    uint32_t wait;
    uint32_t lease;
    uint32_t positions_count;
    const uint8_t *positions; /* as encoded: 12 bytes each */
};
enum mp_error protocol_put_fetch(struct buffer *out, const struct protocol_fetch *fetch,
                                 const struct protocol_position *positions);
enum mp_error protocol_read_fetch(const struct protocol_request *request, struct protocol_fetch *fetch);
/* INDEX below positions_count. */
struct protocol_position protocol_fetch_position(const struct protocol_fetch *fetch, uint32_t index);

/*
 * The reply: u8 flags, u64 waiting (messages that are there and were not given), u16 count of chunks, then per chunk:
 * u32 topic, u32 group (0 for readers), u64 first offset, u32 count, u32 span, u16 attempt, u32 frame size, string
 * topic's name, the mask, the frame. A chunk whose frame has size 0 only tells a reader where it stands (first offset).
 *
 * The messages of a chunk have offsets in [first, first + span), ascending. Where span is count they are all of them.
 * Otherwise the mask tells which: (span + 7) / 8 bytes, bit i (the low bits of a byte first) is offset first + i; the
 * others were passed over, or are with somebody else. Chunks under one lease do not reach into one another.
 */
enum protocol_fetch_flags {
    PROTOCOL_FETCH_END = 1,       /* nothing more is there now: not waiting, not delayed, not leased to others */
    PROTOCOL_FETCH_NEW_TOPIC = 2, /* the topic did not exist; made for a group, awaited for a reader */
    PROTOCOL_FETCH_NEW_GROUP = 4,
    PROTOCOL_FETCH_LAPSED = 8 /* a repeat whose leases have ended meanwhile: no chunks, but the number is used up */
};
struct protocol_chunk {
    uint32_t topic;
    uint32_t group;
    uint64_t first;
    uint32_t count;
    uint32_t span;       /* of offsets; putting one, 0 is count */
    const uint8_t *mask; /* NULL: span is count */
    uint16_t attempt;
    const char *name; /* not terminated */
    size_t name_size;
    const uint8_t *frame;
    uint32_t frame_size;
};
struct protocol_fetched {
    unsigned flags;
    uint64_t waiting;
    uint32_t chunks;
    struct reader rest; /* take the chunks from here with protocol_next_chunk() */
};
enum mp_error protocol_put_fetched(struct buffer *out, unsigned flags, uint64_t waiting, uint32_t chunks);
/* Everything of a chunk but the frame's bytes, which follow it. */
enum mp_error protocol_put_chunk(struct buffer *out, const struct protocol_chunk *chunk);
/* Checks all chunks but the frames' own bytes (frame_open() does that). MP_ERR_FORMAT. */
enum mp_error protocol_read_fetched(const struct protocol_reply *reply, struct protocol_fetched *fetched);
/* False at the end; it cannot fail any more. */
bool protocol_next_chunk(struct protocol_fetched *fetched, struct protocol_chunk *chunk);
/* The offset of message INDEX (below count) of a chunk that was read. Linear in the span: to walk, use the next. */
uint64_t protocol_chunk_offset(const struct protocol_chunk *chunk, uint32_t index);
/* The offset of the first message of CHUNK at OFFSET or behind it; first + span when there is none. */
uint64_t protocol_chunk_next(const struct protocol_chunk *chunk, uint64_t offset);

/*
 * settle
 *     body: u32 count of items, u16 count of publishes, u16 count of notes, items of 40 bytes, the publications, each
 *     with its frame's size, then per note: u32 index of its item, ascending, u16 size, text
 *
 * An item: u32 group, u64 lease, u64 first offset, u32 count, u32 span, u8 action, u8 reason, u16 zero, u32 delay, i32
 * exit code. It settles those messages in [first, first + span) that its lease holds; count is how many they should be.
 */
enum protocol_action { PROTOCOL_ACK = 1, PROTOCOL_RETRY = 2, PROTOCOL_RELEASE = 3, PROTOCOL_DEAD = 4 };
enum protocol_reason { /* why a message is dead; lib/queue has the same numbers */
                       PROTOCOL_REASON_NONE = 0,
                       PROTOCOL_REASON_REJECTED = 1,
                       PROTOCOL_REASON_RETRIES = 2,
                       PROTOCOL_REASON_FORMAT = 3,
                       PROTOCOL_REASON_UNROUTED = 4,
                       PROTOCOL_REASON_OVERFLOW = 5
};
enum protocol_settle_flags {
    PROTOCOL_ATOMIC = 1 /* all or nothing: when one item is stale, MP_ERR_STALE, and nothing is applied or published */
};
#define PROTOCOL_DELAY_POLICY UINT32_MAX /* a retry's delay: as the group's policy says */
enum { PROTOCOL_NOTE_MAX = 4096, PROTOCOL_SETTLE_HEAD = 8, PROTOCOL_SETTLEMENT_SIZE = 40 };
struct protocol_settlement {
    uint32_t group;
    uint64_t lease; /* the number of the fetch that gave it */
    uint64_t first; /* offset */
    uint32_t count;
    uint32_t span; /* of offsets; putting one, 0 is count */
    enum protocol_action action;
    enum protocol_reason reason; /* for dead */
    uint32_t delay;              /* milliseconds, for retry */
    int32_t exit_code;           /* of the command, for the trace; -1: none */
    const char *note;            /* words about a retry or a death: the end of the command's stderr; any bytes */
    uint16_t note_size;          /* PROTOCOL_NOTE_MAX at most; 0: none */
    bool quiet;                  /* the client's own: nobody is told that it came too late */
};
/*
 * The head and the items; then PUBLISHES publications, each put with protocol_put_settle_publish(), which appends the
 * frame too; then the notes of the same items, with protocol_put_settle_notes(). MP_ERR_TOO_LARGE: COUNT, or a note.
 */
enum mp_error protocol_put_settle(struct buffer *out, const struct protocol_settlement *items, uint32_t count,
                                  uint16_t publishes);
enum mp_error protocol_put_settle_publish(struct buffer *out, const struct protocol_publication *publication);
enum mp_error protocol_put_settle_notes(struct buffer *out, const struct protocol_settlement *items, uint32_t count);

struct protocol_settle {
    uint32_t count;
    uint16_t publishes;
    uint16_t notes;
    const uint8_t *items; /* as encoded */
    struct reader rest;   /* take the publications from here, in order */
    struct reader words;  /* and the notes from here */
};
/* Checks all items and notes, and how the publications lie, but neither names nor frames. MP_ERR_FORMAT. */
enum mp_error protocol_read_settle(const struct protocol_request *request, struct protocol_settle *settle);
/* False when INDEX is past the end or the item is no valid one. Its note is not in it. */
bool protocol_settle_item(const struct protocol_settle *settle, uint32_t index, struct protocol_settlement *item);
/* The next publication; false at the end. */
bool protocol_settle_publish(struct protocol_settle *settle, struct protocol_publication *publication);
/* The note of item INDEX, if it is the next in WORDS, a copy of settle->words; else false. Ask in ascending order. */
bool protocol_settle_note(struct reader *words, uint32_t index, const char **note, uint16_t *size);

#endif
