#include "model.h"

/* A read that is being checked; of a group, or of readers. */
struct reading {
    unsigned index;
    bool peeks;
    uint64_t next[TOPICS]; /* all below was given, or is not for who reads */
    struct engine_position positions[TOPICS];
    size_t count;
};

static bool is_read(const struct trial *trial, const struct reading *reading, unsigned topic)
{
    if (reading->peeks)
        return reference_group(trial, reading->index, topic) < GROUPS_MAX;
    return trial->now.topics[topic].exists && reference_is_of(trial, reading->index, topic);
}

/* The first offset from FROM on that who reads is to see; the topic's end: none. */
static uint64_t next_readable(struct trial *trial, const struct reading *reading, unsigned topic, uint64_t from)
{
    unsigned group = reading->peeks ? reference_group(trial, reading->index, topic) : GROUPS_MAX;
    uint32_t number = reading->peeks ? trial_real(trial, group)->id : 0;
    for (uint64_t offset = from; offset < trial->now.topics[topic].end; offset++) {
        if (!message_is_for(trial, topic, offset, number) || message_is_expired(trial, topic, offset))
            continue;
        if (!reading->peeks ||
            (offset >= trial->now.groups[group].low && !cell_is_settled(cell_at(trial, group, offset))))
            return offset;
    }
    return trial->now.topics[topic].end;
}

/* Goes on in some topics from where the reader stands, in the order of their numbers. */
static void choose_positions(struct trial *trial, struct reading *reading)
{
    for (unsigned topic = 0; topic < TOPICS; topic++) {
        const struct topic_model *model = &trial->now.topics[topic];
        if (!is_read(trial, reading, topic) || trial_chance(trial, 30))
            continue;
        const struct topic *real = local_topic(local_of(trial->engine), topic_name(topic), strlen(topic_name(topic)));
        uint64_t next = trial->positions[topic] < model->end ? trial->positions[topic] : model->end;
        reading->next[topic] = next < model->first ? model->first : next;
        reading->positions[reading->count++] = (struct engine_position){real->id, next};
        for (size_t i = reading->count - 1; i > 0 && reading->positions[i - 1].topic > reading->positions[i].topic;
             i--) {
            struct engine_position swap = reading->positions[i];
            reading->positions[i] = reading->positions[i - 1];
            reading->positions[i - 1] = swap;
        }
    }
}

/* A delivery has what comes next; one without a frame tells where the reader stands, and passes over nothing. */
static void take_read(struct trial *trial, struct reading *reading, const struct engine_delivery *delivery)
{
    unsigned topic = delivery_topic(trial, delivery);
    uint64_t offset, *next = &reading->next[topic];
    if (!is_read(trial, reading, topic) || delivery->first < *next)
        trial_fail(trial, "a reader of %s got %s from %llu instead of %llu", subscription_on(reading->index),
                   delivery->name, (unsigned long long)delivery->first, (unsigned long long)*next);
    if (!delivery->blob && delivery->first > next_readable(trial, reading, topic, *next))
        trial_fail(trial, "a reader of %s stands at %llu of %s and was not given %llu", subscription_on(reading->index),
                   (unsigned long long)delivery->first, delivery->name,
                   (unsigned long long)next_readable(trial, reading, topic, *next));
    if (delivery->blob)
        delivery_check(trial, topic, delivery);
    for (uint32_t at = 0; delivery->blob && delivery_next(delivery, &at, &offset);) {
        uint64_t wanted = next_readable(trial, reading, topic, *next);
        if (offset != wanted)
            trial_fail(trial, "a reader of %s got offset %llu of %s instead of %llu", subscription_on(reading->index),
                       (unsigned long long)offset, delivery->name, (unsigned long long)wanted);
        *next = offset + 1;
    }
    *next = delivery->first + delivery->span;
    if (!reading->peeks)
        trial->positions[topic] = *next;
}

static void read_messages(struct trial *trial, struct reading *reading, enum engine_from from, uint64_t value)
{
    struct engine_limits limits = choose_limits(trial);
    struct fault fault = {0};
    bool left = false;
    choose_positions(trial, reading);
    engine_deliveries_clear(&trial->deliveries);
    if (trial->call->read(trial->engine, trial->handles[reading->index], reading->positions, reading->count, from,
                          value, &limits, &trial->deliveries, &fault))
        trial_fail(trial, "reading %s: %s", subscription_on(reading->index), fault_text(&fault));
    for (size_t i = 0; i < trial->deliveries.count; i++)
        take_read(trial, reading, &trial->deliveries.items[i]);
    for (unsigned topic = 0; topic < TOPICS; topic++) {
        if (!is_read(trial, reading, topic))
            continue;
        uint64_t next = next_readable(trial, reading, topic, reading->next[topic]);
        trial->news[topic] = trial->now.topics[topic].end;
        left |= next < trial->now.topics[topic].end;
        if (next < trial->now.topics[topic].end && !trial->deliveries.passed && !is_limited(trial, &limits))
            trial_fail(trial, "a reader of %s got %llu messages, and not %llu of %s", subscription_on(reading->index),
                       (unsigned long long)trial->deliveries.messages, (unsigned long long)next, topic_name(topic));
    }
    trial_say(trial, "%s %llu of %s", reading->peeks ? "peek" : "read", (unsigned long long)trial->deliveries.messages,
              subscription_on(reading->index));
    if (reading->peeks)
        return;
    set_waits(trial, reading->index, trial->deliveries.messages == 0 && !left && !trial->deliveries.passed);
}

/* Reads on from where a reader stands in each topic, or from some place where it has not been. */
void act_read(struct trial *trial)
{
    struct reading reading = {.index = choose_subscription(trial, true)};
    uint64_t value;
    enum engine_from from = choose_from(trial, &value);
    subscribe(trial, reading.index, 0, ENGINE_FROM_DEFAULT, 0);
    for (unsigned topic = 0; topic < TOPICS; topic++)
        reading.next[topic] = reference_position(trial, topic, from, value);
    read_messages(trial, &reading, from, value);
    if (trial->waits[reading.index] || trial_chance(trial, 70))
        return;
    trial->call->forget(trial->engine, trial->handles[reading.index]);
    trial->handles[reading.index] = NULL;
}

/* What a group has not settled, without a lease. */
void act_peek(struct trial *trial)
{
    struct reading reading = {.index = choose_subscription(trial, false), .peeks = true};
    if (!trial->now.subscriptions[reading.index].made)
        return;
    subscribe(trial, reading.index, 0, ENGINE_FROM_DEFAULT, 0);
    for (unsigned topic = 0; topic < TOPICS; topic++)
        if (is_read(trial, &reading, topic))
            reading.next[topic] = trial->now.groups[reference_group(trial, reading.index, topic)].low;
    read_messages(trial, &reading, ENGINE_FROM_DEFAULT, 0);
}

void act_drained(struct trial *trial)
{
    unsigned index = choose_subscription(trial, false);
    bool drained = false, wanted = true;
    struct fault fault = {0};
    enum mp_error error =
        trial->call->drained(trial->engine, subscription_on(index), subscription_group(index), &drained, &fault);
    if (!trial->now.subscriptions[index].made)
        return; /* it may be known from a turn that was undone */
    for (unsigned group = 0; group < trial->now.groups_count; group++)
        if (trial->now.groups[group].subscription == index)
            wanted &= trial->now.groups[group].low == trial->now.topics[trial->now.groups[group].topic].end;
    if (error || drained != wanted)
        trial_fail(trial, "group %s on %s is said to be %s", subscription_group(index), subscription_on(index),
                   error     ? fault_text(&fault)
                   : drained ? "drained"
                             : "not drained");
}
