/*
 * log.h: a store's log of events, open for reading, also while a relay writes it.
 *
 * Events are ranges of messages in the order in which things happened (store/store.h). The log gives them with the names
 * of what they concern, finds a place in it by a time, and gets at the messages that they are about while these are
 * there. Nothing is written, and the relay waits for nothing.
 *
 *     trace_log_open("…/default.db", clock_moment(), &log, &fault);
 *     trace_log_hold(log, &fault);                       // one moment of the store
 *     trace_log_each(log, &filter, on_event, context, &fault);
 *     trace_log_let_go(log);
 *     trace_log_close(log);
 *
 * Times in events are relay time (queue/local.h): trace_log_wall() makes them times of day, as far as they can be: those
 * of an earlier boot of the machine are as they were then.
 */
#ifndef TRACE_LOG_H
#define TRACE_LOG_H

#include "base/clock.h"
#include "message/frame.h"
#include "store/store.h"

struct trace_log;

struct trace_topic {
    uint32_t id;
    char *name;
    bool letters;   /* serves as a dead-letter topic */
    uint64_t first; /* the oldest offset that is kept, as of the last snapshot */
    uint64_t end;   /* as of the last snapshot: see trace_log_end() */
    int64_t created;
    char *settings; /* as queue/settings.h reads them */
};

struct trace_group {
    uint32_t id;
    uint32_t topic;
    char *name;
    uint32_t pattern;  /* the pattern that it belongs to; 0: none */
    uint64_t start;    /* where it began */
    uint64_t floor;    /* as of the event `event`: every offset below is settled, */
    uint64_t frontier; /* and none from here on was ever granted */
    uint64_t event;
    int64_t created;
    char *settings;
};

/* NOW: for times of day. Errors as of store_open_reader(). Close it with trace_log_close(); NULL is allowed. */
enum mp_error trace_log_open(const char *path, struct moment now, struct trace_log **log, struct fault *fault);
/* The same over a store that is open already, which stays the caller's and is closed after the log. */
enum mp_error trace_log_of_store(struct store *store, struct moment now, struct trace_log **log, struct fault *fault);
void trace_log_close(struct trace_log *log);

/*
 * All that is read from here to trace_log_let_go() is of one moment; names, ends and times are read anew. The relay's
 * log file grows meanwhile: hold it for a query, not for hours. Without it each call sees what is newest.
 */
enum mp_error trace_log_hold(struct trace_log *log, struct fault *fault);
void trace_log_let_go(struct trace_log *log);
/* Reads names, ends and times anew, for those who follow the log: after NOW went on, or a number was not known. */
enum mp_error trace_log_refresh(struct trace_log *log, struct moment now, struct fault *fault);

struct store *trace_log_store(struct trace_log *log);
const char *trace_log_path(const struct trace_log *log);

/* ---- names ---------------------------------------------------------------------------------------------------- */

/* By number, or NULL: it was deleted, or made after the last look. Good until the next look. */
const struct trace_topic *trace_log_topic(const struct trace_log *log, uint32_t id);
const struct trace_group *trace_log_group(const struct trace_log *log, uint32_t id);
/* The same as a name for people: "topic 7" and "group 7" for what is gone; TEXT is where that is written. */
enum { TRACE_NAME_TEXT = 24 };
const char *trace_log_topic_name(const struct trace_log *log, uint32_t id, char text[TRACE_NAME_TEXT]);
const char *trace_log_group_name(const struct trace_log *log, uint32_t id, char text[TRACE_NAME_TEXT]);

/* By name; NULL. */
const struct trace_topic *trace_log_find_topic(const struct trace_log *log, const char *name);
/* All of them, in the order of their numbers. */
const struct trace_topic *trace_log_topics(const struct trace_log *log, size_t *count);
const struct trace_group *trace_log_groups(const struct trace_log *log, size_t *count);

/* What the client of SESSION calls itself ("msend 4711"); "" when that is not known. */
const char *trace_log_session(struct trace_log *log, uint64_t session);

/* Puts the sessions from FROM to TO of which the log has the names into SESSIONS, MOST at most, and says how many. */
size_t trace_log_sessions(struct trace_log *log, uint64_t from, uint64_t to, uint64_t *sessions, size_t most);

/* "published", "leased"…; "event" for a number that is not known here. */
const char *trace_kind_name(enum store_event_kind kind);
/* The kind of that name; 0. */
enum store_event_kind trace_kind_of(const char *name);

/* ---- times and places ----------------------------------------------------------------------------------------- */

/* Microseconds since the epoch; 0 stays 0. */
int64_t trace_log_wall(const struct trace_log *log, int64_t time);
int64_t trace_log_time(const struct trace_log *log, int64_t wall); /* relay time of it */
int64_t trace_log_now(const struct trace_log *log);                /* relay time of the moment that was given */

/* The ids of the oldest event that is kept and of the newest; 0: there is none. SINCE: the oldest one's time. */
uint64_t trace_log_first(const struct trace_log *log);
uint64_t trace_log_last(const struct trace_log *log);
int64_t trace_log_since(const struct trace_log *log);

/* *ID: the first event at TIME (relay time) or later; trace_log_last() + 1 when there is none. */
enum mp_error trace_log_at(struct trace_log *log, int64_t time, uint64_t *id, struct fault *fault);

/* The end of a topic as of now: the offset that the next message will get. */
enum mp_error trace_log_end(struct trace_log *log, uint32_t topic, uint64_t *end, struct fault *fault);

/* Walks over the events that FILTER means; see store_select_events(). */
enum mp_error trace_log_each(struct trace_log *log, const struct store_event_filter *filter,
                             enum mp_error (*each)(void *, const struct store_event *), void *context,
                             struct fault *fault);

/* ---- messages ------------------------------------------------------------------------------------------------- */

struct trace_message {
    struct record record; /* its attributes, its body, its origin */
    int64_t time;         /* when it was stored: relay time */
    uint64_t session;     /* and request: who published it */
    uint64_t request;
    uint32_t target; /* the group that alone sees it; 0: all */
    uint64_t first;  /* of its frame, */
    uint32_t count;  /* and how many messages that has */
    bool duplicate;  /* and given to nobody */
};

/*
 * The message at OFFSET of TOPIC, good until the next call. MP_ERR_NOT_FOUND: it is gone, or was never there. Those that
 * are read one after the other cost a walk over their frame once.
 */
enum mp_error trace_log_message(struct trace_log *log, uint32_t topic, uint64_t offset, struct trace_message *message,
                                struct fault *fault);

/* The message INDEX of the row ID of the schedule: the same. */
enum mp_error trace_log_scheduled(struct trace_log *log, uint64_t id, uint32_t index, struct trace_message *message,
                                  struct fault *fault);

#endif
