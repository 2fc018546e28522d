/*
 * retry.h: what mretry does: a command for each message of stdin until it succeeds or is hopeless (retry_work.h), the
 * same for those of a topic (retry_relay.c), and looking after dead letters (retry_letters.h). bin/mretry.c names the
 * options that fill struct retry_settings.
 */
#ifndef CLI_RETRY_H
#define CLI_RETRY_H

#include "base/fault.h"
#include "cli/letters.h"
#include "cli/options.h"
#include "cli/send.h"
#include "policy/backoff.h"

enum retry_mode { RETRY_EACH, RETRY_BATCH };
enum retry_dedupe { RETRY_DEDUPE_ID, RETRY_DEDUPE_KEY, RETRY_DEDUPE_NONE };

#define RETRY_UNLIMITED UINT32_MAX

/* When to try again, and when to give up. */
struct retry_policy {
    uint32_t max_retries; /* attempts beyond the first; RETRY_UNLIMITED */
    enum backoff backoff;
    int64_t initial_interval; /* microseconds */
    int64_t max_interval;
    double jitter;   /* 0 to 1 */
    int64_t timeout; /* microseconds of one attempt; 0: no limit */
};

struct retry_settings {
    /* what is worked on */
    const char *relay;
    const char *topic; /* NULL: stdin */
    const char *group;
    int64_t wait; /* microseconds; -1: not given */
    bool exit_at_end;
    struct send_settings input; /* stdin: how it is taken apart, keys and ids */

    /* trying */
    const char *max_retries; /* a number or "unlimited"; NULL: not given */
    int backoff;             /* enum backoff */
    int64_t initial_interval;
    int64_t max_interval;
    const char *jitter; /* NULL: not given */
    int64_t timeout;

    /* commands */
    const char *shell;
    int mode; /* enum retry_mode */
    uint64_t workers;
    uint64_t batch; /* messages for one command at most; 0: not given */
    bool unordered;

    int dedupe;              /* enum retry_dedupe */
    int64_t window;          /* microseconds */
    const char *dedupe_file; /* NULL: none */

    const char *dead_file; /* NULL: none */
    const char *dead_topic;

    struct letters_settings letters; /* of the verbs */
};

/* The defaults. */
#define RETRY_SETTINGS                                                                                                 \
    {                                                                                                                  \
        .wait = -1, .input = {.wait = -1, .unsent = "left out"}, .initial_interval = 100000, .max_interval = 60000000, \
        .workers = 1, .dedupe = RETRY_DEDUPE_NONE, .window = INT64_C(600000000), .letters = {                          \
            .reason = LETTERS_ANY_REASON                                                                               \
        }                                                                                                              \
    }

/* Works on what SETTINGS say with the command in OPTIONS. Returns the exit code. May die by a signal. */
int retry_run(const struct retry_settings *settings, const struct options *options);

/* The policy that SETTINGS ask for. MP_ERR_INVALID: it makes no sense, with the values and the options named. */
enum mp_error retry_policy_of(const struct retry_settings *settings, const struct options *options,
                              struct retry_policy *policy, struct fault *fault);

/* The two ways; LOOP-driven. Each returns the exit code; *SIGNAL is the one that the tool is to die by, or 0. */
int retry_from_input(const struct retry_settings *settings, const struct options *options,
                     const struct retry_policy *policy, int *signal);
int retry_from_topic(const struct retry_settings *settings, const struct options *options);

#endif
