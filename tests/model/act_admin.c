#include "model.h"

/* ---- what is in use -------------------------------------------------------------------------------------------- */

static bool is_leased(struct trial *trial, unsigned group)
{
    return reference_count(trial, group, STATE_LEASED) > 0;
}

static bool subscription_is_leased(struct trial *trial, unsigned index)
{
    bool leased = false;
    for (unsigned group = 0; group < trial->now.groups_count; group++)
        leased |= trial->now.groups[group].subscription == index && is_leased(trial, group);
    return leased;
}

static bool topic_is_used(struct trial *trial, unsigned topic)
{
    bool used = false;
    for (unsigned group = 0; group < trial->now.groups_count; group++) {
        const struct group_model *model = &trial->now.groups[group];
        if (model->topic == topic)
            used |= is_leased(trial, group) ||
                    (!subscription_is_pattern(model->subscription) && trial->waits[model->subscription]);
    }
    return used;
}

/* Fails unless ERROR is what it should be. True when it was done. */
static bool check_outcome(struct trial *trial, const char *what, enum mp_error error, bool there, bool busy,
                          const struct fault *fault)
{
    enum mp_error wanted = !there ? MP_ERR_NOT_FOUND : busy ? MP_ERR_BUSY : MP_OK;
    if (error != wanted)
        trial_fail(trial, "%s: error %u instead of %u: %s", what, (unsigned)error, (unsigned)wanted,
                   error ? fault_text(fault) : "");
    return error == MP_OK;
}

void subscription_gone(struct trial *trial, unsigned index)
{
    struct engine_subscription *handle = trial->handles[index];
    if (trial->waits[index]) {
        if (handle->known)
            trial_fail(trial, "group %s on %s is gone, and known", handle->group, handle->topic);
        handle->waiters = NULL;
        trial->call->forget(trial->engine, handle);
    }
    trial->waits[index] = false;
    trial->handles[index] = NULL;
    trial->used[index] = 0; /* not known: if that is undone, the row tells */
}

/* ---- topics ---------------------------------------------------------------------------------------------------- */

void act_purge(struct trial *trial)
{
    unsigned topic = choose_topic(trial);
    struct topic_model *model = &trial->now.topics[topic];
    uint64_t messages = 0, most = 0, first = model->end;
    struct fault fault = {0};
    enum mp_error error = trial->call->purge_topic(trial->engine, topic_name(topic), UINT64_MAX, &messages, &fault);
    if (!check_outcome(trial, "purging", error, model->exists, false, &fault))
        return;
    for (unsigned group = 0; group < trial->now.groups_count; group++) {
        if (trial->now.groups[group].topic != topic)
            continue;
        uint64_t dropped = reference_drop(trial, group), low = trial->now.groups[group].low;
        while (low < model->end && cell_is_settled(cell_at(trial, group, low)))
            low++;
        if (dropped > most)
            most = dropped;
        if (low < first)
            first = low;
    }
    if (first > model->first) {
        if (first - model->first > most)
            most = first - model->first;
        model->first = model->sure = first;
    }
    if (messages != most)
        trial_fail(trial, "purging %s told of %llu messages instead of %llu", topic_name(topic),
                   (unsigned long long)messages, (unsigned long long)most);
    trial_say(trial, "purge %s of %llu", topic_name(topic), (unsigned long long)messages);
}

void act_delete_topic(struct trial *trial)
{
    unsigned topic = choose_topic(trial);
    const struct topic_model *model = &trial->now.topics[topic];
    bool force = trial_chance(trial, 50), busy = !force && topic_is_used(trial, topic);
    uint64_t messages = 0, wanted = model->end - model->first;
    struct fault fault = {0};
    enum mp_error error = trial->call->delete_topic(trial->engine, topic_name(topic), force, &messages, &fault);
    if (!check_outcome(trial, "deleting a topic", error, model->exists, busy, &fault))
        return;
    if (messages != wanted)
        trial_fail(trial, "deleting %s told of %llu messages instead of %llu", topic_name(topic),
                   (unsigned long long)messages, (unsigned long long)wanted);
    for (unsigned group = 0; group < trial->now.groups_count; group++)
        if (trial->now.groups[group].topic == topic && !subscription_is_pattern(trial->now.groups[group].subscription))
            subscription_gone(trial, trial->now.groups[group].subscription);
    reference_delete_topic(trial, topic);
    trial->positions[topic] = trial->news[topic] = 0;
    trial_say(trial, "delete topic %s", topic_name(topic));
}

/* ---- groups ---------------------------------------------------------------------------------------------------- */

void act_seek(struct trial *trial)
{
    uint64_t value;
    unsigned index = choose_subscription(trial, false);
    enum engine_from from = choose_from(trial, &value);
    bool there = trial->now.subscriptions[index].made, force = trial_chance(trial, 50);
    bool busy = there && !force && subscription_is_leased(trial, index);
    struct fault fault = {0};
    enum mp_error error = trial->call->seek_group(trial->engine, subscription_on(index), subscription_group(index),
                                                  from, value, force, &fault);
    if (!check_outcome(trial, "moving a group", error, there, busy, &fault))
        return;
    for (unsigned group = 0; group < trial->now.groups_count; group++)
        if (trial->now.groups[group].subscription == index)
            reference_move_group(trial, group, reference_position(trial, trial->now.groups[group].topic, from, value));
    trial_say(trial, "move group %s on %s to %u, %llu", subscription_group(index), subscription_on(index),
              (unsigned)from, (unsigned long long)value);
}

void act_delete_group(struct trial *trial)
{
    unsigned index = choose_subscription(trial, false);
    bool there = trial->now.subscriptions[index].made, force = trial_chance(trial, 50);
    bool busy = there && !force && (trial->waits[index] || subscription_is_leased(trial, index));
    struct fault fault = {0};
    enum mp_error error =
        trial->call->delete_group(trial->engine, subscription_on(index), subscription_group(index), force, &fault);
    if (!check_outcome(trial, "deleting a group", error, there, busy, &fault))
        return;
    for (unsigned group = 0; group < trial->now.groups_count; group++)
        if (trial->now.groups[group].subscription == index)
            reference_delete_group(trial, group);
    trial->now.subscriptions[index] = (struct subscription_model){0};
    subscription_gone(trial, index);
    trial_say(trial, "delete group %s on %s", subscription_group(index), subscription_on(index));
}

/* ---- settings -------------------------------------------------------------------------------------------------- */

void act_configure_topic(struct trial *trial)
{
    unsigned topic = (unsigned)trial_below(trial, trial->flavour.topics);
    struct topic_model *model = &trial->now.topics[topic];
    struct topic_settings settings = model->settings;
    struct fault fault = {0};
    if (!model->exists)
        settings_topic_default(&settings);
    if (model->end == 0 && trial_chance(trial, 60)) { /* what came before would not be known */
        settings.dedupe_by = (enum dedupe_by)trial_below(trial, 3);
        struct topic_settings usual;
        settings_topic_default(&usual);
        settings.dedupe_window = usual.dedupe_window;
        if (settings.dedupe_by != DEDUPE_NONE)
            settings.dedupe_window = 1 + (int64_t)trial_below(trial, 4 * (uint64_t)trial->flavour.slow);
    }
    if (trial_chance(trial, 50))
        settings.ttl = trial_chance(trial, 30) ? 0 : 1 + (int64_t)trial_below(trial, 4 * (uint64_t)trial->flavour.slow);
    if (trial_chance(trial, 30)) {
        settings.retain_age =
            trial_chance(trial, 50) ? 0 : 1 + (int64_t)trial_below(trial, (uint64_t)trial->flavour.slow);
        settings.retain_bytes = trial_chance(trial, 50) ? 0 : 1 + trial_below(trial, 20000);
    }
    if (trial->flavour.limits) {
        settings.overflow = (enum overflow)trial_below(trial, 3);
        settings.max_messages = trial_chance(trial, 30) ? 0 : 1 + trial_below(trial, 60);
        settings.max_bytes = trial_chance(trial, 60) || settings.overflow == OVERFLOW_DROP_OLDEST
                                 ? 0
                                 : 1 + trial_below(trial, 30 * (uint64_t)trial->flavour.body_max + 2000);
        settings.rate = trial_chance(trial, 70) ? 0 : (double)(1 + trial_below(trial, 2000));
    }
    if (trial->call->configure_topic(trial->engine, topic_name(topic), strlen(topic_name(topic)), &settings, &fault))
        trial_fail(trial, "settings of %s: %s", topic_name(topic), fault_text(&fault));
    reference_make_topic(trial, topic, false);
    model->settings = settings;
    trial_say(trial, "set %s: ttl %lld, dedupe %u in %lld, %llu messages, %llu bytes at most, %g/s, overflow %u",
              topic_name(topic), (long long)settings.ttl, (unsigned)settings.dedupe_by,
              (long long)settings.dedupe_window, (unsigned long long)settings.max_messages,
              (unsigned long long)settings.max_bytes, settings.rate, (unsigned)settings.overflow);
}

static void choose_policy(struct trial *trial, unsigned index, struct group_settings *settings)
{
    static const uint32_t retries[] = {0, 1, 2, 20, GROUP_RETRIES_UNLIMITED};
    static const char *const letters[] = {"", "", "letters", "b.dead"};
    settings_group_default(settings);
    settings->max_retries = retries[trial_below(trial, 5)];
    settings->backoff = (enum backoff)trial_below(trial, 3);
    settings->initial_interval = 1 + (int64_t)trial_below(trial, 5 * SECOND);
    settings->max_interval = settings->initial_interval + (int64_t)trial_below(trial, 30 * SECOND);
    settings->jitter = trial_chance(trial, 50) ? 0 : 0.5;
    if (trial_chance(trial, 50))
        settings->max_in_flight = 1 + (uint32_t)trial_below(trial, 40);
    if (trial->flavour.limits && trial_chance(trial, 30))
        settings->rate = (double)(1 + trial_below(trial, 2000));
    if (trial->flavour.expires && trial_chance(trial, 30))
        settings->expire = SECOND + (int64_t)trial_below(trial, 2 * (uint64_t)trial->flavour.slow);
    settings->order_by_key = trial->flavour.keys > 0 && trial_chance(trial, 60);
    settings->hold_on_dead = settings->order_by_key && trial_chance(trial, 40);
    strcpy(settings->dead_letter, letters[trial_below(trial, 4)]);
    if (trial_chance(trial, 5) && !subscription_is_pattern(index))
        strcpy(settings->dead_letter, subscription_on(index));
}

static unsigned topic_by_name(const char *name)
{
    unsigned topic = 0;
    while (topic < TOPICS && strcmp(topic_name(topic), name) != 0)
        topic++;
    return topic;
}

/* Letters do not go to where they come from, and letters have none. */
static bool letters_make_sense(const struct trial *trial, unsigned index, const struct group_settings *settings)
{
    if (settings->dead_letter[0] == '\0')
        return true;
    const struct topic_model *to = &trial->now.topics[topic_by_name(settings->dead_letter)];
    if (subscription_is_pattern(index))
        return !to->exists || to->letters || !name_matches(subscription_on(index), settings->dead_letter);
    return strcmp(subscription_on(index), settings->dead_letter) != 0 &&
           !trial->now.topics[topic_by_name(subscription_on(index))].letters;
}

void act_configure_group(struct trial *trial)
{
    unsigned index = choose_subscription(trial, false);
    const char *on = subscription_on(index), *group = subscription_group(index);
    struct group_settings settings;
    struct fault fault = {0};
    choose_policy(trial, index, &settings);
    bool sense = letters_make_sense(trial, index, &settings);
    enum mp_error error = trial->call->configure_group(trial->engine, on, strlen(on), subscription_is_pattern(index),
                                                       group, strlen(group), &settings, &fault);
    if (error != (sense ? MP_OK : MP_ERR_INVALID))
        trial_fail(trial, "settings of group %s on %s: %u, %s", group, on, (unsigned)error, fault_text(&fault));
    if (!sense)
        return;
    if (!trial->now.subscriptions[index].made)
        reference_make_groups(trial, index, SESSIONS, ENGINE_FROM_DEFAULT, 0);
    if (settings.dead_letter[0] != '\0')
        reference_letters_topic(trial, topic_by_name(settings.dead_letter));
    trial->now.subscriptions[index].settings = settings;
    trial_say(trial,
              "set group %s on %s: %u retries, backoff %u, letters to '%s', %u in flight, %g/s, order %u, hold %u, "
              "expire %lld",
              group, on, settings.max_retries, (unsigned)settings.backoff, settings.dead_letter, settings.max_in_flight,
              settings.rate, settings.order_by_key, settings.hold_on_dead, (long long)settings.expire);
}
