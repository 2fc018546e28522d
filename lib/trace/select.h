/*
 * select.h: which events and which messages are meant: the filters that the verbs of mtrace(1) share.
 *
 * What is known of an event is asked of the store (trace_select_filter()), so that what does not match costs little;
 * what is known of a message is asked of its lineage, or of the message itself while it is there.
 */
#ifndef TRACE_SELECT_H
#define TRACE_SELECT_H

#include "message/lineage.h"
#include "trace/log.h"

/* As users write them. Lists of none mean everything; what stands in one list is joined by or, lists are by and. */
struct trace_select_settings {
    const char *const *topics; /* names or patterns */
    size_t topics_count;
    const char *const *groups; /* names; a stage's is its group's */
    size_t groups_count;
    const char *const *kinds; /* as trace_kind_name() has them */
    size_t kinds_count;
    const char *const *attributes; /* NAME=GLOB; all have to match */
    size_t attributes_count;
    const char *key;   /* NULL: any */
    const char *trace; /* 32 hex digits; NULL: any */
    const char *since; /* RFC 3339, @epoch, or an age such as 5m; NULL: the oldest */
    const char *until; /* the same; NULL: now, and all that comes */
};

struct trace_select {
    struct trace_log *log;
    uint32_t *topics;
    size_t topics_count;
    uint32_t *groups;
    size_t groups_count;
    bool every_topic;
    bool every_group;
    uint32_t kinds; /* 1 << kind; 0: all */
    struct lineage_value key;
    struct lineage_value trace;
    const char *key_text;
    const char *const *attributes;
    size_t attributes_count;
    int64_t since;     /* relay time; 0: the oldest */
    int64_t until;     /* relay time; INT64_MAX: no end. Events before it */
    uint64_t first_id; /* the first event at `since` or later, */
    uint64_t end_id;   /* and the first at `until` or later; 0: no end */
};

/*
 * MP_ERR_INVALID: what makes no sense, in words. MP_ERR_NOT_FOUND: no topic or group of that name, with the nearest one
 * that there is. SETTINGS' texts stay in use. Free it with trace_select_free().
 */
enum mp_error trace_select_open(struct trace_select *select, const struct trace_select_settings *settings,
                                struct trace_log *log, struct fault *fault);
void trace_select_free(struct trace_select *select);

/* A place in time as `since` and `until` take it, as relay time. MP_ERR_INVALID. */
enum mp_error trace_select_time(const struct trace_log *log, const char *text, int64_t *time, struct fault *fault);

/* What to ask the store for: topics, groups, KINDS (in place of those that were asked for; 0: these), and the times. */
struct store_event_filter trace_select_filter(const struct trace_select *select, uint32_t kinds);

/*
 * What to ask for to have the passages (trace/pair.h) of what is meant: all groups, for publications are of none; and some
 * time before `since`, for what ended in the time may have begun before it.
 */
enum mp_error trace_select_passages(const struct trace_select *select, struct store_event_filter *filter,
                                    struct fault *fault);

bool trace_select_topic(const struct trace_select *select, uint32_t topic);
bool trace_select_group(const struct trace_select *select, uint32_t group);

/* Whether messages are to be looked at one by one: by key, trace or attributes. */
bool trace_select_by_message(const struct trace_select *select);

/*
 * Whether the message at OFFSET of TOPIC, which is INDEX of LINEAGE, is one that is meant. Attributes are those of the
 * message: when it is gone, none matches (but for its id and key, of which the lineage knows). LINEAGE may be NULL: then
 * all is asked of the message.
 */
bool trace_select_message(const struct trace_select *select, const struct lineage *lineage, uint32_t index,
                          uint32_t topic, uint64_t offset);

#endif
