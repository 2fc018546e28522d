/*
 * settings.h: what a topic and a group are told to do, as people write it: a key, which is the path in a pipeline's
 * YAML, and a value.
 *
 *     topics:  max_messages, max_bytes, overflow (block, reject, drop_oldest), ttl, dedupe.by (id, key, none),
 *              dedupe.window, retain.age, retain.bytes, rate
 *     groups:  retry.max_retries (a number, unlimited), retry.backoff (exponential, linear, none),
 *              retry.initial_interval, retry.max_interval, retry.jitter, dead_letter, order (key, none),
 *              on_dead (continue, hold), max_in_flight, rate, expire
 *
 * Durations are microseconds, at most UNITS_DURATION_MAX. Where nothing else is said 0 (and "none") is off: no limit.
 * A zeroed struct is not one of defaults: begin with settings_topic_default() or settings_group_default().
 */
#ifndef QUEUE_SETTINGS_H
#define QUEUE_SETTINGS_H

#include "base/buffer.h"
#include "base/fault.h"
#include "message/names.h"
#include "policy/backoff.h"

enum overflow { OVERFLOW_BLOCK = 0, OVERFLOW_REJECT = 1, OVERFLOW_DROP_OLDEST = 2 };
enum dedupe_by { DEDUPE_NONE = 0, DEDUPE_ID = 1, DEDUPE_KEY = 2 };

struct topic_settings {
    uint64_t max_messages; /* unsettled ones */
    uint64_t max_bytes;
    enum overflow overflow; /* what a publication gets for which there is no room */
    int64_t ttl;
    enum dedupe_by dedupe_by;
    int64_t dedupe_window; /* 10 minutes; means something with dedupe_by only; never 0 */
    int64_t retain_age;    /* settled messages stay as long as that */
    uint64_t retain_bytes; /* or up to so many bytes */
    double rate;           /* messages a second */
};

#define GROUP_RETRIES_UNLIMITED UINT32_MAX

struct group_settings {
    uint32_t max_retries;                 /* 20: attempts beyond the first; GROUP_RETRIES_UNLIMITED */
    enum backoff backoff;                 /* exponential */
    int64_t initial_interval;             /* 100 ms */
    int64_t max_interval;                 /* 1 minute: with 20 retries twelve minutes until a message is dead */
    double jitter;                        /* 0.2; 0 to 1 */
    char dead_letter[NAME_MAX_BYTES + 1]; /* a topic; "": that of the message with ".dead" behind it */
    bool order_by_key;                    /* one message a key at a time */
    bool hold_on_dead;                    /* a dead message holds its key */
    uint32_t max_in_flight;               /* messages that are leased at a time */
    double rate;                          /* messages a second */
    int64_t expire;                       /* a group that nobody uses for so long goes */
};

void settings_topic_default(struct topic_settings *settings);
void settings_group_default(struct group_settings *settings);

/*
 * Sets KEY to VALUE; an empty VALUE is the default's. MP_ERR_INVALID, with SETTINGS as they were, says what is wrong
 * and what would be right; for a key that is not known it names the nearest.
 */
enum mp_error settings_topic_set(struct topic_settings *settings, const char *key, const char *value,
                                 struct fault *fault);
enum mp_error settings_group_set(struct group_settings *settings, const char *key, const char *value,
                                 struct fault *fault);

/* What makes no sense together is MP_ERR_INVALID, both values named. Call it when all keys are set. */
enum mp_error settings_topic_check(const struct topic_settings *settings, struct fault *fault);
enum mp_error settings_group_check(const struct group_settings *settings, struct fault *fault);

/*
 * Appends what differs from the default, "key=value" and a newline each, in the order above, so that reading it gives
 * the same settings to the last bit. Nothing when all is at its default. MP_ERR_MEMORY, with OUT as it was.
 */
enum mp_error settings_topic_write(const struct topic_settings *settings, struct buffer *out);
enum mp_error settings_group_write(const struct group_settings *settings, struct buffer *out);

/* Defaults, and what SIZE bytes of such a text say on top of them. MP_ERR_INVALID with a fault. */
enum mp_error settings_topic_read(struct topic_settings *settings, const char *text, size_t size, struct fault *fault);
enum mp_error settings_group_read(struct group_settings *settings, const char *text, size_t size, struct fault *fault);

/*
 * Calls EACH for every key in the order above with its value as text (what settings_…_set() takes; "" for a dead_letter
 * that is not set) and whether it is the default. Another return than MP_OK ends the walk and is returned.
 */
typedef enum mp_error settings_each(void *context, const char *key, const char *value, bool is_default);
enum mp_error settings_topic_each(const struct topic_settings *settings, settings_each *each, void *context);
enum mp_error settings_group_each(const struct group_settings *settings, settings_each *each, void *context);

#endif
