/*
 * letters_link.h: a client of a relay that is used one step after the other: each function here returns when the relay
 * has answered, or when there is no use in waiting any more. What a verb does with a topic's letters goes in frames of a
 * thousand, so nothing is lost by waiting for each.
 */
#ifndef CLI_LETTERS_LINK_H
#define CLI_LETTERS_LINK_H

#include "client/client.h"
#include "cli/loop.h"
#include "cli/relay_link.h"

#include <jansson.h>

/* Messages that came: one chunk of a fetch. */
struct letters_chunk {
    struct protocol_chunk chunk;
    struct frame frame;
    uint64_t lease;
    struct client_hold *hold;
    uint32_t settled; /* messages of it; for the owner */
};

enum { LETTERS_CHUNKS = 64 };

struct letters_link {
    struct loop loop;
    const char *relay;
    struct relay_link *link;
    struct client *client;
    int exit;        /* it has ended, with this code, and that was told; -1: it has not */
    int signal;      /* that it ended by; 0: none */
    int64_t give_up; /* when an answer is not waited for any more, after a signal */
    bool (*ready)(const struct letters_link *link);
    int64_t until; /* for a pause */

    struct letters_chunk chunks[LETTERS_CHUNKS];
    size_t chunks_count;
    unsigned flags; /* of the fetch: enum protocol_fetch_flags */
    bool fetched;
    bool answered; /* what was asked of it last */
    json_t *answer;
    enum mp_error error;
    char text[FAULT_TEXT];
};

/* Connects, and waits for the greeting. False: it has ended. Close it in any case; that gives back what is leased. */
bool letters_link_open(struct letters_link *link, const char *relay, int64_t wait);
void letters_link_close(struct letters_link *link);

/* Each is false when it has ended: then nothing more is to be asked. */

/* Waits until UNTIL, monotonic microseconds. */
bool letters_link_pause(struct letters_link *link, int64_t until);

/* Reads on from the present subscription: `chunks`, to be freed with letters_link_drop(), and `flags`. */
bool letters_link_fetch(struct letters_link *link);
/* Leases those of COUNT messages from FIRST on that are free. */
bool letters_link_claim(struct letters_link *link, uint64_t first, uint32_t count);
void letters_link_drop(struct letters_link *link);

/* Sees that what is settled is on its way and answered. */
bool letters_link_settled(struct letters_link *link);

/* Publishes FRAME, or settles and publishes in one step: `error` and `text` say how that went. */
bool letters_link_publish(struct letters_link *link, const struct client_publication *publication,
                          struct frame_builder *frame);
bool letters_link_commit(struct letters_link *link, const struct protocol_settlement *settlements, uint32_t count,
                         const struct client_output *outputs, uint32_t outputs_count);

/* Asks {"verb":VERB}; *ANSWER is to be given back with json_decref(). */
bool letters_link_ask(struct letters_link *link, const char *verb, json_t **answer);

/* Ends it, telling FAULT. */
bool letters_link_fail(struct letters_link *link, const struct fault *fault);

#endif
