/*
 * parcel.h: messages on their way through a consumer: what came in one piece (a frame, or one bare body), and how far
 * each of its messages has got.
 *
 * A parcel owns the bytes that came; it is freed when its last message is settled.
 */
#ifndef STAGE_PARCEL_H
#define STAGE_PARCEL_H

#include "client/protocol.h"
#include "message/formats.h"
#include "message/frame.h"
#include "transport/peer.h"

struct stage_parcel {
    struct stage_parcel *next;
    struct frame frame;
    struct frame_cursor cursor; /* on the next message to take */
    bool bare;                  /* no frame: BODY is the one message */
    struct record body;
    uint32_t count;   /* messages */
    uint32_t taken;   /* of them: taken by the output or by commands, from the front */
    uint32_t settled; /* of them, in any order */
    size_t bytes;     /* that it holds */

    /* from a relay */
    uint64_t first;      /* offset */
    uint32_t span;       /* of offsets; 0: as many as messages */
    const uint8_t *mask; /* which of them its messages have (client/protocol.h), in bytes that OWNER holds; NULL: all */
    uint32_t at;         /* a message whose offset is known, */
    uint64_t offset;     /* and it; found out by stage_parcel_offset() */
    uint64_t lease;      /* 0: none */
    uint64_t delivery;   /* the same as trace_delivery() has it */
    uint32_t group;
    const char *group_name; /* whoever took it keeps it */
    unsigned attempt;
    bool letters; /* of a dead-letter topic: what fails there does not die again */
    char topic[NAME_MAX_BYTES + 1];

    int64_t time;            /* of the frame, or when it came; microseconds since the epoch */
    struct peer_token token; /* of a peer's message */

    struct buffer *answers; /* to a peer's requests, one for each message; NULL: none yet */
    uint32_t answered;

    /* of a stage */
    void *feed;         /* that it came by */
    uint64_t ticket;    /* of its first message; those of the others follow */
    uint32_t pins;      /* who needs the bytes of messages that were taken */
    uint32_t held;      /* messages that wait in a window */
    uint8_t *kept_mask; /* the mask, when the bytes have gone */

    uint64_t *ends;  /* of the output: where each message ends, in bytes written since the start */
    uint32_t passed; /* of the output: messages handed over, from the front */

    void (*release)(void *owner); /* gives the bytes back */
    void *owner;
};

/* Parcels in order. Zeroed it is empty. */
struct stage_queue {
    struct stage_parcel *first;
    struct stage_parcel *last;
    size_t bytes;
    uint64_t messages; /* not yet taken */
};

/* An empty parcel; NULL: no memory. The caller fills it with one of the next two. */
struct stage_parcel *stage_parcel_new(void);
void stage_parcel_frame(struct stage_parcel *parcel, const struct frame *frame);
void stage_parcel_bare(struct stage_parcel *parcel, const uint8_t *body, size_t size, int64_t time);
void stage_parcel_free(struct stage_parcel *parcel);
/* Gives the bytes back, of which nothing is needed any more; what the parcel knows of its messages stays. */
void stage_parcel_unload(struct stage_parcel *parcel);

/* Takes the next message; false when all are taken. */
static inline bool stage_parcel_take(struct stage_parcel *parcel, struct record *record)
{
    if (parcel->taken == parcel->count)
        return false;
    if (parcel->bare)
        *record = parcel->body;
    else if (!frame_next(&parcel->cursor, record))
        return false;
    parcel->taken++;
    return true;
}

/* What came from a relay as CHUNK, to the group of this NAME ("" and NULL: to a reader). */
void stage_parcel_chunk(struct stage_parcel *parcel, const struct protocol_chunk *chunk, const char *name);
/* The offset of message INDEX; of INDEX count, where the parcel's offsets end. Quick when asked in ascending order. */
uint64_t stage_parcel_offset(struct stage_parcel *parcel, uint32_t index);

/* What a writer knows of the message RECORD, number INDEX of PARCEL. */
struct format_item stage_parcel_item(struct stage_parcel *parcel, const struct record *record, uint32_t index);

void stage_queue_add(struct stage_queue *queue, struct stage_parcel *parcel);
/* Takes the first parcel out; it must be there. */
struct stage_parcel *stage_queue_shift(struct stage_queue *queue);
void stage_queue_free(struct stage_queue *queue);

#endif
