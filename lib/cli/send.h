/*
 * send.h: what msend does: input becomes messages (send_source.h), and they go to a topic (send_relay.c) or straight
 * to peers (send_direct.c). bin/msend.c names the options that fill struct send_settings.
 */
#ifndef CLI_SEND_H
#define CLI_SEND_H

#include "cli/options.h"

struct send_engine;

struct send_settings {
    /* where to */
    const char *relay;
    const char *topic;
    const char *dial;
    const char *listen;
    int pattern; /* enum peer_pattern */
    bool framed;
    uint64_t await_peers;
    int64_t wait; /* microseconds; -1: not given */

    /* input */
    struct option_list data;
    int format; /* enum format */
    uint64_t skip;
    uint64_t max_message; /* bytes; 0: the relay's limit */
    const char *unsent;   /* what is said of input that is no message; NULL: "not sent" */

    /* attributes */
    struct option_list headers; /* "name: value" */
    const char *key;
    const char *key_separator;
    const char *key_json;
    const char *id;
    const char *id_json;
    const char *type;
    const char *source;
    const char *subject;

    int64_t ttl;    /* microseconds; -1: not given */
    int64_t delay;  /* the same */
    const char *at; /* a time */

    double rate; /* messages a second; 0: no limit */
    bool print_id;

    const char *spool; /* a directory */
    bool status;
    int (*by_spool)(struct send_engine *engine); /* how; see send_spool.h */
};

/* The defaults. */
#define SEND_SETTINGS                                                                                                  \
    {                                                                                                                  \
        .wait = -1, .ttl = -1, .delay = -1, .await_peers = 1                                                           \
    }

/* Sends what SETTINGS and the operands and the command in OPTIONS say. Returns the exit code; ARGV is shown again when
 * an interrupted tool says how to go on. May die by a signal. */
int send_run(const struct send_settings *settings, const struct options *options, char **argv);

#endif
