/*
 * core.h: the broker without a network: sessions, requests and turns on an engine.
 *
 * The owner submits requests as they come and then runs a turn. A turn applies them in one transaction, settlements
 * and fetches before publications, commits once, and only then answers. It takes the time as an argument and says when
 * it wants to be called again, so that a simulation can drive it from a seed.
 *
 * Rules for sessions and numbers: client/protocol.h.
 */
#ifndef RELAY_CORE_H
#define RELAY_CORE_H

#include "client/protocol.h"
#include "queue/engine.h"
#include "transport/server.h"

struct core;
struct json_t;

/*
 * What reads the store for clients that cannot: readers.h, whose functions these are, with the CONTEXT of the settings.
 */
struct core_readers {
    enum mp_error (*start)(void *context, const struct json_t *asked, int64_t now, struct fault *fault);
    enum mp_error (*read)(void *context, const struct json_t *asked, int64_t now, bool may_wait, struct buffer *out,
                          struct fault *fault);
    void (*left)(void *context, const struct json_t *asked, int64_t now);
    bool (*changed)(void *context);
};

struct core_settings {
    const char *name;     /* the relay's; copied */
    const char *version;  /* a constant string */
    uint32_t max_message; /* bytes of a body; 0: 16 MiB */
    uint32_t lease;       /* milliseconds; 0: 30,000 */
    uint32_t grace;       /* milliseconds that leases outlive the last connection of their session; 0: 5,000 */
    /*
     * How many sessions are kept; 0: 65,536. More, up to twice as many, while all of them are connected or were used in
     * the last two minutes; beyond that new ones are told to come again.
     */
    uint32_t sessions;
    double client_rate; /* messages a second that one session may publish; 0: as many as it likes */

    void *context;
    /* 64 random bits: a part of a session's id. */
    uint64_t (*random)(void *context);
    /* Sends a reply; each part's release is called once it is written or cannot be. */
    void (*reply)(void *context, uint64_t connection, const uint32_t *ids, unsigned ids_count,
                  const struct server_part *parts, unsigned count);
    /*
     * Bytes of replies that wait to be written to CONNECTION: with more than 4 MiB of them its requests wait. May be
     * NULL.
     */
    size_t (*unsent)(void *context, uint64_t connection);
    /* The session of CONNECTION is known: it may send large messages. May be NULL. */
    void (*trust)(void *context, uint64_t connection);
    /* Appends JSON members about the owner (connections, addresses) for `status`. May be NULL. */
    enum mp_error (*describe)(void *context, struct buffer *out);
    /*
     * Passes VERB, "reload" or "drain", on to what supervises this relay and its pipeline. MP_ERR_UNSUPPORTED: nobody
     * does. May be NULL.
     */
    enum mp_error (*control)(void *context, const char *verb, struct fault *fault);
    /* What the supervisor has said of the pipeline last, a JSON object; NULL: nothing. May be NULL. */
    const char *(*pipeline)(void *context);
    const struct core_readers *readers; /* a constant; NULL: nothing is read for others */
    /*
     * Microseconds of any clock that does not step: how long turns and commits take is then measured, and what runners
     * report is added up (figures.h). NULL: neither; nothing else reads a clock here.
     */
    int64_t (*stopwatch)(void *context);
    /* A turn failed and was undone, or went well again (ERROR MP_OK). May be NULL. */
    void (*trouble)(void *context, enum mp_error error, const char *text);
};

/* Takes ENGINE, also when it fails, and loads it. */
enum mp_error core_new(struct engine *engine, const struct core_settings *settings, struct moment now,
                       struct core **core, struct fault *fault);

/* Answers nobody any more. NULL is allowed. */
void core_free(struct core *core);

/*
 * Hands over a request: the bytes of BLOB, whose reference it takes. IDS are repeated by the reply. It is applied by
 * the next turn.
 */
void core_submit(struct core *core, uint64_t connection, const uint32_t *ids, unsigned ids_count, struct blob *blob);

/* CONNECTION has ended. */
void core_disconnected(struct core *core, uint64_t connection);

/* Whether a request of these first bytes, TOTAL long, comes from a session that is known. */
bool core_admits(struct core *core, const uint8_t *head, size_t size, uint64_t total);

/* Bytes of requests that wait for the next turn. */
size_t core_pending(const struct core *core);

void core_turn(struct core *core, struct moment now);

/*
 * The last turn took so many MICROSECONDS, much of the time of a lease: the process stood still in it, or the disk. What
 * it has leased came as late to its consumers, who could extend nothing meanwhile. The leases of all sessions that are
 * connected get their whole time, from now on.
 */
void core_stood_still(struct core *core, int64_t microseconds);
/* Milliseconds of a lease. */
uint32_t core_lease(const struct core *core);

/*
 * Whether turns fail again and again because something in the store is damaged, which no new try will mend: the relay is
 * to end. FAULT: what is damaged.
 */
bool core_is_ruined(const struct core *core, struct fault *fault);

/* When core_turn() is to be called at the latest: monotonic microseconds; CLOCK_NEVER. */
int64_t core_due(const struct core *core);

/* No more publications and fetches are accepted: they are told to come again (the relay is about to end). */
void core_drain(struct core *core);

/* The last turn of a relay that ends in good order: a start will have nothing to replay. Then only core_free(). */
void core_rest(struct core *core, struct moment now);

#endif
