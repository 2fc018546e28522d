/*
 * receive_parcel.h: messages on their way through mrecv: what came in one piece (a frame, or one bare body), and how
 * far each of its messages has got. Private to mrecv's engine.
 *
 * A parcel owns the bytes that came; it is freed when its last message is settled.
 */
#ifndef CLI_RECEIVE_PARCEL_H
#define CLI_RECEIVE_PARCEL_H

#include "client/protocol.h"
#include "message/formats.h"
#include "message/frame.h"
#include "transport/peer.h"

struct receive_parcel {
    struct receive_parcel *next;
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
    uint64_t offset;     /* and it; found out by receive_parcel_offset() */
    uint64_t lease;      /* 0: none */
    uint32_t group;
    unsigned attempt;
    bool letters; /* of a dead-letter topic: what fails there does not die again */
    char topic[NAME_MAX_BYTES + 1];

    int64_t time;            /* of the frame, or when it came; microseconds since the epoch */
    struct peer_token token; /* of a peer's message */

    struct buffer *answers; /* to a peer's requests, one for each message; NULL: none yet */
    uint32_t answered;

    uint64_t *ends;  /* of the output: where each message ends, in bytes written since the start */
    uint32_t passed; /* of the output: messages handed over, from the front */

    void (*release)(void *owner); /* gives the bytes back */
    void *owner;
};

/* Parcels in order. Zeroed it is empty. */
struct receive_queue {
    struct receive_parcel *first;
    struct receive_parcel *last;
    size_t bytes;
    uint64_t messages; /* not yet taken */
};

/* An empty parcel; NULL: no memory. The caller fills it with one of the next two. */
struct receive_parcel *receive_parcel_new(void);
void receive_parcel_frame(struct receive_parcel *parcel, const struct frame *frame);
void receive_parcel_bare(struct receive_parcel *parcel, const uint8_t *body, size_t size, int64_t time);
void receive_parcel_free(struct receive_parcel *parcel);

/* Takes the next message; false when all are taken. */
static inline bool receive_parcel_take(struct receive_parcel *parcel, struct record *record)
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

/* What came from a relay as CHUNK. */
void receive_parcel_chunk(struct receive_parcel *parcel, const struct protocol_chunk *chunk);
/* The offset of message INDEX; of INDEX count, where the parcel's offsets end. Quick when asked in ascending order. */
uint64_t receive_parcel_offset(struct receive_parcel *parcel, uint32_t index);

/* What a writer knows of the message RECORD, number INDEX of PARCEL. */
struct format_item receive_parcel_item(struct receive_parcel *parcel, const struct record *record, uint32_t index);

void receive_queue_add(struct receive_queue *queue, struct receive_parcel *parcel);
/* Takes the first parcel out; it must be there. */
struct receive_parcel *receive_queue_shift(struct receive_queue *queue);
void receive_queue_free(struct receive_queue *queue);

#endif
