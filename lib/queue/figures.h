/*
 * figures.h: what an engine says of itself in numbers, to those who watch the relay (lib/web).
 *
 * Gauges are as of the last turn. What is counted, is from the relay's start on; where an engine was not told to
 * `measure`, or nothing has happened yet, `counted` is NULL. Times are the wall clock's, microseconds since the epoch.
 */
#ifndef QUEUE_FIGURES_H
#define QUEUE_FIGURES_H

#include "queue/meter.h"

/* Why messages of a topic were dropped; kept with the topic, over restarts. */
enum figures_drop {
    FIGURES_OVERFLOW,
    FIGURES_PURGED,
    FIGURES_EXPIRED,
    FIGURES_DUPLICATE,
    FIGURES_DAMAGED,
    FIGURES_DROPS
};

struct figures_topic {
    const char *name;
    uint64_t first, end; /* offsets: what is kept, and the next one */
    uint64_t bytes;      /* of its frames in the store */
    uint64_t dropped[FIGURES_DROPS];
    int64_t last_time; /* of the last publication; 0: never */
    bool letters;      /* serves as a dead-letter topic */
    const struct meter_topic *counted;
};

struct figures_group {
    const char *topic, *name;
    const char *pattern; /* that it belongs to; "": none */
    uint64_t waiting, leased, delayed;
    const struct meter_group *counted;
};

struct figures_engine {
    uint64_t store_bytes;    /* with its log */
    uint64_t reusable_bytes; /* of these, free to be used again */
    uint64_t free_bytes;     /* of the disk; UINT64_MAX: there is none */
    uint64_t commits, snapshots;
    size_t cache_bytes, dedupe_bytes; /* of memory */
    uint64_t scheduled;               /* messages that wait for their time */
    uint64_t events_written;          /* since the store was made */
    uint64_t event_bytes;             /* of those that are kept, about */
    int64_t oldest_event;             /* of these; 0: none is kept */
    struct meter_all counted;
};

#endif
