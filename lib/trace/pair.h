/*
 * pair.h: from steps to passages: events go in as the log gives them, and what came to an end comes out with when it
 * began.
 *
 * A *passage* is a range of messages of one publication that one group was given in one lease and that came to the same
 * end in one step; or that passed by the group without a lease (expired, a duplicate, for another group, dropped). A
 * message that is tried again has a passage for each attempt. What is still under way has none yet: trace_pair_open_…
 * tells of it.
 *
 *     trace_pair_open(log, &calls, &pair, &fault);
 *     … for each event, in the order of their ids: trace_pair_event(pair, event, &fault);
 *     trace_pair_close(pair);
 *
 * Nothing is done message by message: ranges stay ranges, with a mask where they have gaps. Memory is bounded by the
 * leases that are under way, and by 64 Ki publications a topic: older ones are looked up in the store.
 *
 * Events may be missing: the log's beginning is gone, or it is a sample, or it was entered in the middle. Then a
 * passage's `leased` or `published` is 0.
 */
#ifndef TRACE_PAIR_H
#define TRACE_PAIR_H

#include "trace/log.h"

/* A frame that was stored. Times are relay time. */
struct trace_publication {
    uint64_t event; /* the id of its event; 0: that is gone, the frame itself told of it */
    uint32_t topic;
    uint64_t first;
    uint32_t count;
    int64_t time;  /* of its being stored */
    int64_t taken; /* of a delayed one: when the relay took it; 0: not delayed */
    uint64_t session;
    uint64_t request;
};

struct trace_passage {
    uint64_t event;            /* the id of the event that ended it */
    enum store_event_kind end; /* acked, retried, released, lapsed, dead; expired, dropped, duplicate, foreign */
    uint32_t topic;
    uint32_t group; /* 0: dropped by a topic without groups */
    uint64_t first; /* the messages: COUNT of the SPAN offsets from here on, */
    uint32_t span;
    uint32_t count;
    const uint8_t *mask; /* bit i: first + i; NULL: all, when COUNT is SPAN; otherwise which ones is not known */
    uint32_t attempt;    /* of the first of them; 0: it was not leased */
    const struct trace_publication *publication; /* NULL: not known */
    int64_t leased;                              /* 0: it was not, or that is not known */
    uint64_t leased_event;                       /* the id of that event; 0 as well */
    int64_t ended;
    int64_t due;         /* of a retry: when it may be granted again. Of a death: its reason */
    int32_t code;        /* a command's exit code; -1: none */
    uint64_t session;    /* who had it, */
    uint64_t lease;      /* by which fetch, */
    uint64_t request;    /* and settled it so: as in store_event */
    const uint8_t *note; /* of a failure */
    size_t note_size;
};

struct trace_pair_calls {
    void *context;
    /* What it is given is good during the call. Other than MP_OK ends trace_pair_event() with it. May be NULL. */
    enum mp_error (*passage)(void *context, const struct trace_passage *passage);
};

struct trace_pair;

/* LOG: where publications are looked up that were not seen; NULL: they are not known then. MP_ERR_MEMORY. */
enum mp_error trace_pair_open(struct trace_log *log, const struct trace_pair_calls *calls, struct trace_pair **pair,
                              struct fault *fault);
void trace_pair_close(struct trace_pair *pair); /* NULL is allowed */

/* MP_ERR_DAMAGED: the event makes no sense. MP_ERR_MEMORY, and what a call returned. */
enum mp_error trace_pair_event(struct trace_pair *pair, const struct store_event *event, struct fault *fault);

/* The publication that OFFSET of TOPIC came with, good until the next call; NULL: it is not known. */
const struct trace_publication *trace_pair_publication(struct trace_pair *pair, uint32_t topic, uint64_t offset);

/* What is leased now. */
struct trace_lease {
    uint64_t event; /* the id of the event that granted it */
    uint32_t topic;
    uint32_t group;
    uint64_t session;
    uint64_t lease;
    uint64_t first; /* what is left of it: as in a passage */
    uint32_t span;
    uint32_t count;
    const uint8_t *mask;
    uint32_t attempt;
    int64_t time;
};
/* Calls EACH for all leases, in no order; its return of other than MP_OK ends it. */
enum mp_error trace_pair_open_leases(const struct trace_pair *pair,
                                     enum mp_error (*each)(void *context, const struct trace_lease *lease),
                                     void *context);
/* The oldest event of a lease that is under way; 0: none is. Who begins there again sees all of them. */
uint64_t trace_pair_oldest(const struct trace_pair *pair);

#endif
