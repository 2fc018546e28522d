/*
 * search.h: messages by what is known of them: an id, a key, a trace, a cause.
 *
 * What a message was is told by the lineage of its publication (message/lineage.h) for as long as the log keeps that;
 * by the message itself while it is in its topic or in the schedule. Lineages that tell more than whose messages they
 * are have an index; all other messages are found by their session and its count, by halving (bisect.h).
 */
#ifndef TRACE_SEARCH_H
#define TRACE_SEARCH_H

#include "message/lineage.h"
#include "trace/log.h"

struct trace_match {
    uint32_t topic;
    uint64_t offset;    /* of one that is scheduled: its number among those of its row */
    uint64_t scheduled; /* the id of its row in the schedule; 0: it is in its topic, or was */
    uint64_t event;     /* of its publication; 0: the log does not have it */
    int64_t time;       /* relay time: when it was stored; scheduled: when it is due */
    int64_t due;        /* of one that was delayed: when it was taken by the relay; 0 */
    int64_t sent;       /* when its sender took it, by the sender's clock */
    uint64_t session;   /* and request: who published it; 0: the relay itself */
    uint64_t request;
    uint32_t target;   /* the group that alone sees it; 0: all */
    uint32_t together; /* how many messages its frame had */
    struct lineage_value origin, id, key, trace, parent, cause, correlation;
};

struct trace_matches {
    struct trace_match *items; /* in the order of their publication */
    size_t count;
    size_t capacity;
    bool more; /* there were more than were wanted */
};
void trace_matches_free(struct trace_matches *matches);
/* Adds MATCH at the end. MP_ERR_MEMORY. */
enum mp_error trace_matches_add(struct trace_matches *matches, const struct trace_match *match);

/* One of the things that messages are looked for by: COLUMN says something from FROM to TO of them (of one kind). */
struct trace_wanted {
    enum lineage_column column;
    struct lineage_value from, to;
};
struct trace_wanted trace_wanted_value(enum lineage_column column, const struct lineage_value *value);

/* Where to look for them. */
struct trace_search {
    const struct trace_wanted *wanted; /* any of them */
    size_t wanted_count;
    const uint32_t *topics; /* only there; 0 of them: everywhere */
    size_t topics_count;
    uint64_t after;        /* publications whose events have higher ids, */
    uint64_t below;        /* and lower ones; 0: all */
    bool log_only;         /* neither in the schedule nor among messages of before the oldest event */
    bool newest;           /* the newest of them, else the oldest */
    const char *beginning; /* instead of `wanted`: ids that were given and begin so, of messages that are there; NULL */
    size_t most;           /* matches, with those that are there already */
};

/* Adds to MATCHES what SEARCH finds; what is there already is not added again. */
enum mp_error trace_search(struct trace_log *log, const struct trace_search *search, struct trace_matches *matches,
                           struct fault *fault);

/* The message of the id that follows from its session and that one's count, which is found without a walk. */
enum mp_error trace_search_session(struct trace_log *log, const struct lineage_value *id, struct trace_matches *matches,
                                   struct fault *fault);

/* The message itself, as trace_log_message() and trace_log_scheduled() give it. MP_ERR_NOT_FOUND: it is gone. */
enum mp_error trace_read_message(struct trace_log *log, const struct trace_match *match, struct trace_message *message);

/* What EVENT, a publication with its note, tells of the message at OFFSET, one of its. MP_ERR_DAMAGED. */
enum mp_error trace_match_read(const struct store_event *event, uint64_t offset, struct trace_match *match);

/* What its frame tells of the message at OFFSET of TOPIC, of which no event tells. MP_ERR_NOT_FOUND: it is gone. */
enum mp_error trace_match_kept(struct trace_log *log, uint32_t topic, uint64_t offset, struct trace_match *match,
                               struct fault *fault);

/* The order of publication; what waits in the schedule comes last. */
bool trace_match_is_before(const struct trace_match *one, const struct trace_match *other);

bool trace_value_is(const struct lineage_value *one, const struct lineage_value *other);

#endif
