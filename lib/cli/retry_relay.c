/*
 * mretry for the messages of a topic. The relay keeps the attempts, the waits and the dead letters by the group's policy,
 * so that they outlive this tool and hold for all members of the group; what is left to do here is mrecv's work.
 */
#include "cli/retry.h"

#include "cli/admin_ask.h"
#include "cli/exit.h"
#include "cli/receive.h"

#include <inttypes.h>
#include <stdio.h>

/* Notes KEY if option NAME was given. */
static void add(json_t *keys, const struct options *options, const char *name, const char *key, const char *value)
{
    if (options_given(options, name))
        json_object_set_new(keys, key, json_string(value));
}

static void add_time(json_t *keys, const struct options *options, const char *name, const char *key, int64_t time)
{
    char text[32];
    snprintf(text, sizeof(text), "%" PRId64 "us", time);
    add(keys, options, name, key, text);
}

/* The policy, as far as it was given, in the words of `mrelay set`. */
static json_t *policy_keys(const struct retry_settings *settings, const struct options *options)
{
    static const char *const backoffs[] = {
        [BACKOFF_EXPONENTIAL] = "exponential", [BACKOFF_LINEAR] = "linear", [BACKOFF_NONE] = "none"};
    json_t *keys = json_object();
    add(keys, options, "max-retries", "retry.max_retries", settings->max_retries);
    add(keys, options, "backoff", "retry.backoff", backoffs[settings->backoff]);
    add_time(keys, options, "initial-interval", "retry.initial_interval", settings->initial_interval);
    add_time(keys, options, "max-interval", "retry.max_interval", settings->max_interval);
    add(keys, options, "jitter", "retry.jitter", settings->jitter);
    add(keys, options, "dead-topic", "dead_letter", settings->dead_topic);
    return keys;
}

/* Gives the group its policy. The exit code. */
static int set_policy(const struct retry_settings *settings, const struct options *options)
{
    struct admin_settings admin = {.relay = settings->relay, .wait = settings->wait};
    json_t *keys = policy_keys(settings, options);
    json_t *answer = NULL;
    int code = EXIT_DONE;
    if (json_object_size(keys) > 0)
        code = admin_ask_soon(&admin,
                              json_pack("{s:s, s:s, s:s, s:O}", "verb", "set", "topic", settings->topic, "group",
                                        settings->group, "settings", keys),
                              &answer);
    json_decref(keys);
    json_decref(answer);
    return code;
}

int retry_from_topic(const struct retry_settings *settings, const struct options *options)
{
    struct receive_settings receive = {
        .relay = settings->relay,
        .topic = settings->topic,
        .group = settings->group,
        .wait = settings->wait,
        .count = settings->letters.count,
        .exit_at_end = settings->exit_at_end,
        .format = options_given(options, "format") ? settings->input.format : RECEIVE_FORMAT_UNSET,
        .shell = settings->shell,
        .mode = settings->mode == RETRY_BATCH ? RECEIVE_BATCH : RECEIVE_EACH,
        .workers = settings->workers,
        .batch = settings->batch,
        .timeout = settings->timeout,
        .only_success = true,
    };
    int code = set_policy(settings, options);
    return code == EXIT_DONE ? receive_run(&receive, options) : code;
}
