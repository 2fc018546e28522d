/* What may have been meant by a name that is not there. */
#include "queue/local.h"

enum { WORDS = 1024 };

const char *local_nearest_topic(struct engine *engine, const char *name, bool other)
{
    struct local *local = local_of(engine);
    const char *words[WORDS];
    size_t count = 0, at = 0;
    const struct topic *topic;
    while (count < WORDS && (topic = map_next(&local->topics, &at)))
        if (!other || strcmp(topic->name, name) != 0)
            words[count++] = topic->name;
    return name_nearest(name, words, count);
}

/* A group of NAME on a pattern that TOPIC matches: people say the topic that they see. */
static const struct subscription *of_pattern(const struct local *local, const char *topic, const char *name)
{
    for (size_t i = 0; i < local->patterns_count; i++) {
        const struct subscription *subscription = local->patterns_list[i];
        const struct engine_subscription *shared = &subscription->shared;
        if (subscription->made && strcmp(shared->group, name) == 0 && name_matches(shared->topic, topic))
            return subscription;
    }
    return NULL;
}

/* One of the groups, by name on TOPIC, or by topic when ON is false: then of those called NAME. */
static const struct subscription *nearest(struct local *local, const char *topic, const char *name, bool on)
{
    const struct subscription *found[WORDS], *subscription;
    const char *words[WORDS];
    size_t count = 0, at = 0;
    while (count < WORDS && (subscription = map_next(&local->subscriptions, &at))) {
        const struct engine_subscription *shared = &subscription->shared;
        if (!subscription->made || shared->group[0] == '\0' ||
            strcmp(on ? shared->topic : shared->group, on ? topic : name) != 0)
            continue;
        found[count] = subscription;
        words[count++] = on ? shared->group : shared->topic;
    }
    const char *word = name_nearest(on ? name : topic, words, count);
    for (size_t i = 0; word && i < count; i++)
        if (words[i] == word)
            return found[i];
    return NULL;
}

const struct engine_subscription *local_nearest_group(struct engine *engine, const char *topic, const char *name)
{
    struct local *local = local_of(engine);
    const struct subscription *subscription = of_pattern(local, topic, name);
    if (!subscription)
        subscription = nearest(local, topic, name, true);
    if (!subscription)
        subscription = nearest(local, topic, name, false);
    return subscription ? &subscription->shared : NULL;
}
