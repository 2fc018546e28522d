/*
 * history.h: what happened to a message: its passage through each group, attempt by attempt, and where it is now.
 *
 * It follows from the events by the rules by which the engine's states follow from them (queue/local_apply.c), for one
 * offset alone.
 */
#ifndef TRACE_HISTORY_H
#define TRACE_HISTORY_H

#include "queue/settings.h"
#include "queue/states.h"
#include "trace/find.h"

enum { TRACE_NOTE = 256 };

/* One delivery to a consumer. Times are relay time. */
struct trace_attempt {
    int64_t from; /* since when it waited: its publication, or the end of the attempt before */
    int64_t due;  /* of a retry with a delay: before that it could not be given; 0 */
    int64_t leased;
    int64_t ended;                 /* 0: it is under way */
    enum store_event_kind outcome; /* EVENT_ACKED, _RETRIED, _RELEASED, _LAPSED, _DEAD; 0: under way */
    uint32_t number;               /* of the attempt, from 1; those that were given back do not count */
    uint64_t session;              /* the consumer's, */
    uint64_t lease;                /* and its fetch's number */
    uint64_t request;              /* of the settlement: publications with the same pair went with it */
    int32_t code;                  /* exit code; -1: none */
    char note[TRACE_NOTE + 1];     /* what was said of a failure: any bytes but NUL */
};

/* Through one group. */
struct trace_passage {
    uint32_t group;
    bool known;       /* what happened before the oldest event is not: then it may have been settled */
    enum state state; /* now */
    int64_t since;    /* when it came into that state */
    int64_t due;      /* delayed: until when */
    struct trace_attempt *attempts;
    size_t attempts_count;
    size_t attempts_capacity;
    unsigned reason; /* of a death: enum engine_reason */
    bool damaged;    /* it was dropped because it is lost by damage */
    bool skipped;    /* the group began, or was moved, behind it, and had not settled it */
};

struct trace_history {
    struct trace_match match;
    struct trace_passage *passages; /* in the order of the groups' numbers */
    size_t count;
    size_t capacity;
};

/*
 * Follows COUNT messages in one walk over the log. Of each `match` is set, all of it or topic and offset alone: then
 * the rest is set as far as the log tells it. What is scheduled has no history. Free each with trace_history_free(),
 * also after an error.
 */
enum mp_error trace_history_follow(struct trace_history **histories, size_t count, struct trace_log *log,
                                   struct fault *fault);
void trace_history_free(struct trace_history *history);

/* The same of one. */
enum mp_error trace_history_open(struct trace_history *history, struct trace_log *log, const struct trace_match *match,
                                 struct fault *fault);

/* Whether a message of the group, in that state, still has something before it. */
static inline bool trace_is_settled(const struct trace_passage *passage)
{
    return passage->skipped || state_is_settled(passage->state);
}

/* What a message waits for. */
enum trace_obstacle {
    TRACE_FREE = 0, /* for nothing: its consumer has it, or it is settled */
    TRACE_DUE,      /* for its time: `until` */
    TRACE_KEY,      /* the message of its key before it: `offset` */
    TRACE_HELD,     /* its key is held by a dead message: `offset` */
    TRACE_TURN      /* its turn, or a consumer, which the relay knows */
};

struct trace_wait {
    enum trace_obstacle obstacle;
    int64_t until;
    uint64_t offset;
};

/* What PASSAGE, one of HISTORY's, waits for, as far as the store tells. */
enum mp_error trace_history_wait(struct trace_log *log, const struct trace_history *history,
                                 const struct trace_passage *passage, struct trace_wait *wait, struct fault *fault);

#endif
