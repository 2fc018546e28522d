/*
 * examine.h: what a store says of its topics and groups, as a relay would have it after a start, for those who only read.
 * It is the engine's own way from rows and events to states, so a relay and an audit cannot understand them differently.
 *
 *     store_open_reader(path, &store, &fault);
 *     store_hold(store, &fault);                 // all of it is of one moment
 *     examine_open(store, clock_moment(), problem, context, &examination, &fault);
 *     examine_each_group(examination, each, context);
 *     examine_close(examination);
 *
 * It takes as much memory as the relay needs for its groups: 7 MiB each at most, a few hundred bytes as a rule.
 */
#ifndef QUEUE_EXAMINE_H
#define QUEUE_EXAMINE_H

#include "base/clock.h"
#include "message/frame.h"
#include "queue/settings.h"
#include "queue/states.h"

struct store;
struct examination;

struct examined_topic {
    uint32_t id;
    const char *name;
    bool letters;
    uint64_t first;      /* the oldest that is kept */
    uint64_t end;        /* the next offset */
    uint64_t saved_end;  /* as of the last snapshot: frames from there on are all there */
    uint64_t kept_bytes; /* of the frames below saved_end that are there */
    uint64_t needed;     /* the lowest offset that a group has not settled; the end when there is none */
    size_t groups;
    const struct topic_settings *settings;
};

struct examined_group {
    uint32_t id;
    const char *name;
    uint32_t topic;
    const char *topic_name;
    uint64_t topic_end;
    uint32_t pattern;    /* the pattern that it belongs to; 0: none */
    const char *matches; /* its words; NULL */
    uint64_t start;      /* where it began */
    int64_t created;     /* relay time */
    uint64_t dead;       /* how many died, counted one by one */
    struct states *states;
};

/* One thing that does not fit: topic, group and offset that it is about (0: none), in words. */
typedef void examine_problem(void *context, uint32_t topic, uint32_t group, uint64_t offset, const char *words);

/* STORE stays the caller's, and open for as long as the examination. Errors: it cannot be read at all. */
enum mp_error examine_open(struct store *store, struct moment now, examine_problem *problem, void *context,
                           struct examination **examination, struct fault *fault);
void examine_close(struct examination *examination);

/* In the order of their names; what they are given is good until examine_close(). MP_ERR_MEMORY. */
enum mp_error examine_each_topic(const struct examination *examination,
                                 enum mp_error (*each)(void *, const struct examined_topic *), void *context);
enum mp_error examine_each_group(const struct examination *examination,
                                 enum mp_error (*each)(void *, const struct examined_group *), void *context);

/* By number, or by names; false: there is none. */
bool examine_topic(const struct examination *examination, uint32_t id, struct examined_topic *topic);
bool examine_group(const struct examination *examination, uint32_t id, struct examined_group *group);
bool examine_find_group(const struct examination *examination, const char *topic, size_t topic_size, const char *group,
                        size_t group_size, struct examined_group *result);
/* GROUP of the pattern with that number (0: of none) on the topic with number TOPIC. */
bool examine_find_group_of(const struct examination *examination, uint32_t topic, const char *group, uint32_t pattern,
                           struct examined_group *result);

/* The newest event, and the last one that the snapshot contains. */
uint64_t examine_last_event(const struct examination *examination);
uint64_t examine_snapshot(const struct examination *examination);
/* The highest numbers of topics and groups that were ever given out. */
uint32_t examine_topics_made(const struct examination *examination);
uint32_t examine_groups_made(const struct examination *examination);
/* Relay time as wall time. */
int64_t examine_wall(const struct examination *examination, int64_t time);

/*
 * The hashes by which FRAME's messages are known again, as a topic with BY keeps them: STORE_HASH bytes each, at an address
 * that is a multiple of 8; zero: it has none. SECRET is the number of the store that is called so.
 */
#define EXAMINE_SECRET "dedupe_secret"
void examine_hashes(const struct frame *frame, enum dedupe_by by, uint64_t secret, uint8_t *hashes);

#endif
