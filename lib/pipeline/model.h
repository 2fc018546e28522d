/*
 * model.h: what a pipeline's file says, as plain data. Read by load.c and its neighbours, checked by check.c, drawn by
 * graph.c, run by lib/runner. The language is in mpipeline(5).
 *
 * Everything here belongs to the pipeline that pipeline_load() gave, and stays as it is until pipeline_free(). Strings
 * end with NUL; those that a file may leave out are NULL. Durations are microseconds.
 */
#ifndef PIPELINE_MODEL_H
#define PIPELINE_MODEL_H

#include "message/formats.h"
#include "queue/settings.h"
#include "stage/steps.h"
#include "stage/work.h"
#include "transport/peer.h"

/* Where something stands in the file, from 1, in characters; line 0: it does not (it was made up, or is a default). */
struct pipeline_place {
    unsigned line;
    unsigned column;
    unsigned length;
    unsigned file; /* 0: the pipeline's; 1: that of its tests */
};

struct pipeline_topic {
    const char *name;
    struct pipeline_place place; /* line 0: not declared (`strict: false`); its settings are left as they are */
    struct topic_settings settings;
    bool external; /* others than this pipeline send to it or take from it */
};

/* A topic's name, or a pattern, where another thing names it. */
struct pipeline_reference {
    const char *topic;
    struct pipeline_place place;
};

struct pipeline_references {
    struct pipeline_reference *all;
    size_t count;
};

/* What is started: one of argv and shell; neither: no command. */
struct pipeline_command {
    char **argv;           /* ends with NULL */
    const char *shell;     /* for /bin/sh -c */
    const char *directory; /* where it runs; always set: the file's, or what `directory:` says from there */
    char **environment;    /* "NAME=value" that come on top; ends with NULL; NULL: none */
    struct pipeline_place place, directory_place;
};

/* pull, sub, rep, pair, bus, respondent; push, pub, req, surveyor. */
struct pipeline_socket {
    enum peer_pattern pattern;
    enum peer_role role;
    const char *url;
    const char **subscriptions; /* sub; ends with NULL; NULL: everything */
    struct pipeline_place place;
};

enum pipeline_source_kind { PIPELINE_COMMAND, PIPELINE_EVERY, PIPELINE_CRON, PIPELINE_FILE, PIPELINE_SOCKET };
enum pipeline_restart { PIPELINE_ON_FAILURE, PIPELINE_ALWAYS, PIPELINE_NEVER };

struct pipeline_source {
    const char *name;
    struct pipeline_place place;
    const char *text; /* the whole of it in one form: two sources with the same text do the same */
    enum pipeline_source_kind kind;
    struct pipeline_command command; /* of COMMAND; EVERY and CRON may have one, whose output is sent */
    enum pipeline_restart restart;   /* of COMMAND */
    int64_t every;                   /* of EVERY */
    const char *cron;                /* of CRON: five fields (policy/cron.h) */
    const void *body;                /* of EVERY and CRON without a command */
    size_t body_size;
    const char *file; /* of FILE: a path that does not depend on where mrelay was started */
    bool follow;      /* FILE: go on at its end, also through rotation */
    struct pipeline_socket socket;
    enum format format;       /* of the input (not of sockets) */
    struct stage_step *steps; /* what is done to each message before it is sent: set, where, rename, remove */
    size_t steps_count;
    struct pipeline_reference to;
};

struct pipeline_route {
    struct stage_where where; /* no conditions: everything */
    struct pipeline_reference to;
};

enum pipeline_fallback {
    PIPELINE_NO_FALLBACK,
    PIPELINE_FALLBACK_COMMAND,
    PIPELINE_FALLBACK_BODY,
    PIPELINE_FALLBACK_TOPIC
};

struct pipeline_breaker {
    bool set;
    unsigned failures; /* so many in a row, or within `interval` where that is set */
    int64_t interval;
    int64_t open; /* how long it stays open before one message tries */
    enum pipeline_fallback fallback;
    struct pipeline_command command;
    const void *body;
    size_t body_size;
    struct pipeline_reference to; /* FALLBACK_TOPIC: the message goes there as it is */
};

enum pipeline_end { PIPELINE_TO_TOPICS, PIPELINE_TO_FILE, PIPELINE_TO_SOCKET, PIPELINE_TO_COMMAND };

/* A stage or a sink. Its name is its group. */
struct pipeline_stage {
    const char *name;
    struct pipeline_place place;
    const char *text; /* as of a source */
    bool sink;
    enum pipeline_end end; /* of stages PIPELINE_TO_TOPICS, of sinks one of the others */
    struct pipeline_references from;
    struct stage_step *steps;
    size_t steps_count;
    struct pipeline_command command;
    enum stage_mode mode;
    enum format format;
    unsigned workers;              /* 1 */
    uint32_t batch;                /* messages for one command at most in mode batch; 1000 */
    int64_t timeout;               /* of one run (stream: of one answer); 0: none */
    struct pipeline_references to; /* one, or none: what the command prints is dropped */
    struct pipeline_route *routes; /* in the place of `to` */
    size_t routes_count;
    struct group_settings group; /* retry, dead_letter, order, on_dead, max_in_flight, rate, expire */
    struct pipeline_place dead_letter;
    struct pipeline_breaker breaker;
    bool cycle_allowed;
    /* sinks */
    const char *file; /* a path that does not depend on where mrelay was started */
    struct pipeline_place file_place;
    uint64_t rotate; /* bytes after which a new file is begun; 0: never */
    unsigned keep;   /* rotated files that are kept; 0: all */
    struct pipeline_socket socket;
};

struct pipeline_attribute {
    const char *name;
    const char *value;
};

/* A message as a test gives or expects it. */
struct pipeline_message {
    struct pipeline_place place;
    const char *topic; /* input: NULL is the first of the stage's `from` */
    struct pipeline_attribute *attributes;
    size_t attributes_count;
    const void *body; /* expected: NULL is any */
    size_t body_size;
    bool json; /* the body was given as `data`: expected ones are compared as JSON values */
};

struct pipeline_test {
    const char *name;
    struct pipeline_place place;
    const char *file;  /* that it stands in */
    const char *stage; /* NULL: the whole pipeline without its sources */
    struct pipeline_place stage_place;
    int64_t timeout; /* 10 s */
    struct pipeline_message *input;
    size_t input_count;
    struct pipeline_message *expect; /* in each topic exactly these, in this order */
    size_t expect_count;
    bool unordered; /* in any order */
};

struct pipeline {
    const char *file; /* as it was given */
    const char *name; /* of the relay */
    struct pipeline_place name_place;
    bool strict;
    struct {
        const char **listen; /* URLs */
        struct pipeline_place *listen_places;
        size_t listen_count;
        const char *http; /* where metrics are served; NULL: nowhere */
        struct pipeline_place http_place;
        const char *store; /* NULL: by the name */
        uint64_t max_message;
        int64_t lease;
        double client_rate;
        bool insecure;
    } relay;
    struct {
        int64_t age; /* microseconds; 0: the relay's own */
        uint64_t bytes;
        double drop; /* the share of messages of which only failures are kept */
    } trace;
    struct pipeline_topic *topics;
    size_t topics_count;
    struct pipeline_source *sources;
    size_t sources_count;
    struct pipeline_stage *stages; /* and sinks, behind them */
    size_t stages_count;
    struct pipeline_test *tests;
    size_t tests_count;
};

#endif
