/*
 * metrics_private.h: the families of metrics, and what their samples are made of.
 */
#ifndef WEB_METRICS_PRIVATE_H
#define WEB_METRICS_PRIVATE_H

#include "relay/figures.h"
#include "web/metrics.h"
#include "web/text.h"

#include <stddef.h>

/* The relay itself: one sample each. */
struct of_relay {
    const char *name, *version;
    struct core_figures core;
    uint64_t sessions, connections, accepted, refused, faulty, received_bytes, sent_bytes, held_bytes;
    uint64_t http_connections, http_requests;
    uint64_t resident_bytes;
    int64_t started, processor; /* microseconds */
};

struct of_engine {
    struct figures_engine engine;
    uint64_t cache_bytes, dedupe_bytes;
};

struct of_topic {
    struct figures_topic topic;
    struct meter_topic counted;
    uint64_t kept; /* messages */
};

struct of_group {
    struct figures_group group;
    const struct meter_group *counted; /* never NULL */
    uint32_t id;
};

enum scope { SCOPE_RELAY, SCOPE_ENGINE, SCOPE_TOPIC, SCOPE_GROUP, SCOPE_STAGE };

struct family {
    const char *name, *type, *help;
    enum scope scope;
    size_t at; /* of what `put` writes, in the struct of the scope */
    void (*put)(struct metrics *metrics, const struct family *family);
};

/* Ended by one without a name; those of a scope stand together. */
extern const struct family metrics_families[];

struct metrics {
    struct relay_view view;
    struct engine *engine; /* of this slice; NULL: it cannot be asked */
    struct text text;
    const struct family *family;
    bool begun;  /* its head is written */
    size_t item; /* of the family, that is next */
    uint32_t *topics, *groups;
    size_t topics_count, groups_count, stages_count;

    struct of_relay relay;
    struct of_engine of_engine;
    struct of_topic topic;
    struct of_group group;
    const struct core_stage *stage;
};

#endif
