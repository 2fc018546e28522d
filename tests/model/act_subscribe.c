#include "model.h"

unsigned choose_topic(struct trial *trial)
{
    unsigned topic = (unsigned)trial_below(trial, trial->flavour.topics);
    unsigned letters = trial_chance(trial, 70) ? PLAIN_TOPICS + topic : LETTERS_TOPIC;
    return trial_chance(trial, 10) && trial->now.topics[letters].letters ? letters : topic;
}

unsigned choose_subscription(struct trial *trial, bool readers)
{
    const struct flavour *flavour = &trial->flavour;
    unsigned place = choose_topic(trial), group = 1 + (unsigned)trial_below(trial, flavour->groups);
    if (place >= PLAIN_TOPICS && trial_chance(trial, 70))
        group = MRETRY;
    if (trial_below(trial, flavour->topics + flavour->patterns) < flavour->patterns)
        place = TOPICS + (unsigned)trial_below(trial, flavour->patterns);
    return place * (GROUP_NAMES + 1) + (readers ? 0 : group);
}

/* On the wall clock: some time of the last hour, or that of a message. */
static uint64_t choose_time(struct trial *trial)
{
    unsigned topic = choose_topic(trial);
    uint64_t end = trial->now.topics[topic].end;
    if (end == 0 || trial_chance(trial, 30))
        return (uint64_t)trial->moment.wall - trial_below(trial, 3600 * (uint64_t)SECOND);
    int64_t time = trial->messages[topic][trial_below(trial, end)].time;
    return (uint64_t)(time - relay_time(trial) + trial->moment.wall);
}

enum engine_from choose_from(struct trial *trial, uint64_t *value)
{
    enum engine_from from = trial_chance(trial, 50) ? ENGINE_FROM_DEFAULT : (enum engine_from)trial_below(trial, 6);
    *value = trial_below(trial, trial_chance(trial, 50) ? 10 : trial->flavour.topic_max);
    if (from == ENGINE_FROM_TIME)
        *value = choose_time(trial);
    return from;
}

/* Whether messages of subscription INDEX are known to have been granted (given back unbegun they do not tell). */
static bool was_used(struct trial *trial, unsigned index)
{
    for (unsigned group = 0; group < trial->now.groups_count; group++) {
        const struct group_model *model = &trial->now.groups[group];
        if (model->subscription != index)
            continue;
        for (uint64_t offset = model->start; offset < trial->now.topics[model->topic].end; offset++)
            if (cell_is_settled(cell_at(trial, group, offset)) || cell_at(trial, group, offset)->attempt > 0)
                return true;
    }
    return false;
}

struct engine_subscription *subscribe(struct trial *trial, unsigned index, unsigned session, enum engine_from from,
                                      uint64_t value)
{
    const char *on = subscription_on(index), *group = subscription_group(index);
    struct subscription_model *model = &trial->now.subscriptions[index];
    struct engine_subscription *handle = NULL;
    struct fault fault = {0};
    uint64_t id = trial->sessions[session];
    bool reader = group[0] == '\0', made = model->made;
    enum mp_error error = trial->call->subscribe(trial->engine, on, strlen(on), subscription_is_pattern(index), group,
                                                 strlen(group), id, from, value, &handle, &fault);
    if (error == MP_ERR_EXISTS && made && from != ENGINE_FROM_DEFAULT && model->creator != id)
        return trial->handles[index] = handle;
    if (error)
        trial_fail(trial, "subscribing to %s for group %s: %s", on, group, fault_text(&fault));
    if (made && from != ENGINE_FROM_DEFAULT && model->creator != id && (model->creator != 0 || was_used(trial, index)))
        trial_fail(trial, "group %s on %s may be moved by a stranger", group, on);
    if (!reader && !made) {
        reference_make_groups(trial, index, session, from, value);
        trial_say(trial, "make group %s on %s from %u, %llu", group, on, (unsigned)from, (unsigned long long)value);
    }
    if (trial->handles[index] && trial->handles[index] != handle)
        trial_fail(trial, "a second subscription of %s on %s", group, on);
    if (!reader && (!handle->known || (!made && !handle->created)))
        trial_fail(trial, "group %s on %s is not known to be there", group, on);
    return trial->handles[index] = handle;
}

void act_subscribe(struct trial *trial)
{
    uint64_t value;
    unsigned index = choose_subscription(trial, trial_chance(trial, 10));
    enum engine_from from = choose_from(trial, &value);
    subscribe(trial, index, (unsigned)trial_below(trial, trial->flavour.sessions), from, value);
}

void set_waits(struct trial *trial, unsigned index, bool waits)
{
    trial->waits[index] = waits;
    trial->handles[index]->waiters = waits ? trial : NULL;
}
