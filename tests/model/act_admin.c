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

/* The relay's part when a group is gone: whoever waits is answered, and the subscription forgotten. */
static void subscription_gone(struct trial *trial, unsigned index)
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
}

/* ---- topics ---------------------------------------------------------------------------------------------------- */

void act_purge(struct trial *trial)
{
    unsigned topic = (unsigned)trial_below(trial, trial->flavour.topics);
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
        model->first = first;
    }
    if (messages != most)
        trial_fail(trial, "purging %s told of %llu messages instead of %llu", topic_name(topic),
                   (unsigned long long)messages, (unsigned long long)most);
    trial_say(trial, "purge %s of %llu", topic_name(topic), (unsigned long long)messages);
}

void act_delete_topic(struct trial *trial)
{
    unsigned topic = (unsigned)trial_below(trial, trial->flavour.topics);
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
