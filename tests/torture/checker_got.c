#include "checker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * A topic's time to live counts from when the relay has taken a message, at the latest when that was acknowledged. A
 * message's own is told to the relay relative to its frame, which may have been begun a while before.
 */
enum { OWN_SLACK = 1000000 };

/* A command that mrecv or mretry has started outlives it for so long, and may only then say that it got the message. */
enum { ORPHAN_LIFE = 4000000 };

/* Whether WHO names the process that HOLDER is, or the one whose commands and connections it is: "a" names "a.1". */
static bool is_named(const char *who, const char *holder)
{
    size_t size = strlen(who);
    return size == 0 || (strncmp(who, holder, size) == 0 && (holder[size] == '\0' || holder[size] == '.'));
}

/* Whether DELIVERY, which came at TO once more, was taken from who had it, or can have been. */
static bool was_taken(const struct checker *checker, const struct delivery *delivery, int64_t to)
{
    for (size_t i = 0; i < checker->excuses_count; i++) {
        const struct excuse *excuse = &checker->excuses[i];
        int64_t orphan = delivery->by_command && excuse->who[0] ? ORPHAN_LIFE : 0;
        if (excuse->time <= to && excuse->time >= delivery->last - orphan && is_named(excuse->who, delivery->holder))
            return true;
    }
    return false;
}

/* ---- lapses ----------------------------------------------------------------------------------------------------- */

static void lapse_key(char key[KEY + WORD], const char *consumer, const char *group, const char *topic, uint64_t offset)
{
    snprintf(key, KEY + WORD, "%.79s %.79s %.79s %" PRIu64, consumer, group, topic, offset);
}

void checker_see_stale(struct checker *checker, const struct checker_end *end)
{
    struct delivery *delivery = checker_delivery(checker, end->group, end->topic, end->offset, true);
    struct lapse *lapse = checker_allocate(sizeof *lapse);
    lapse_key(lapse->key, end->consumer, end->group, end->topic, end->offset);
    delivery->lapsed = true;
    delivery->group->excuses++;
    if (map_get(&checker->lapses, lapse->key, strlen(lapse->key)))
        free(lapse);
    else
        checker_put(&checker->lapses, lapse->key, lapse);
}

/*
 * Whether GOT is what its consumer had before it was stopped, and another has been given since: it looks at what had come
 * long ago, and will be told that this is not its own any more.
 */
static bool is_late(const struct checker *checker, const struct delivery *delivery, int64_t time,
                    const struct checker_got *got)
{
    char key[KEY + WORD];
    if (delivery->times == 0 || strcmp(delivery->holder, got->consumer) == 0 ||
        (!delivery->acked && got->attempt >= delivery->attempt))
        return false;
    lapse_key(key, got->consumer, got->group, got->topic, got->offset);
    if (!map_get(&checker->lapses, key, strlen(key)))
        return false;
    for (size_t i = 0; i < checker->excuses_count; i++)
        if (checker->excuses[i].time <= time && is_named(checker->excuses[i].who, got->consumer))
            return true;
    return false;
}

/* ---- places ---------------------------------------------------------------------------------------------------- */

/* MESSAGE came again, elsewhere: that can be its replay, once, for the group in which it had died. */
static void check_replay(struct checker *checker, struct delivery *delivery, const struct message *message,
                         struct place *place)
{
    struct delivery *dead = checker_delivery(checker, delivery->group->name, message->topic, message->offset, false);
    if (!dead || !dead->letter)
        checker_find(checker, DUPLICATED, "stored twice", message->key);
    else if (dead->letter->replayed)
        checker_find(checker, DUPLICATED, "replayed twice", message->key);
    else {
        dead->letter->replayed = true;
        delivery->replay = true;
        place->target = delivery->group;
        if (delivery->id[0] && dead->id[0] && strcmp(delivery->id, dead->id) != 0)
            checker_find(checker, ALTERED, "replayed with another id", message->key);
    }
}

/* One message has one place, and a place one message. */
static void check_place(struct checker *checker, struct delivery *delivery, struct message *message)
{
    char key[2 * WORD];
    snprintf(key, sizeof key, "%.79s %" PRIu64, delivery->topic, delivery->offset);
    struct place *place = map_get(&checker->places, key, strlen(key));
    if (strcmp(message->topic, delivery->topic) != 0) {
        checker_find(checker, PHANTOM, "in a topic that it was not sent to", message->key);
        return;
    }
    if (place) {
        if (place->message != message)
            checker_find(checker, ALTERED, "two messages at one offset", delivery->key);
        else if (place->target && place->target != delivery->group)
            checker_find(checker, PHANTOM, "another group's replay", delivery->key);
        return;
    }
    place = checker_allocate(sizeof *place);
    memcpy(place->key, key, sizeof key);
    place->message = message;
    checker_put(&checker->places, place->key, place);
    if (message->stored)
        check_replay(checker, delivery, message, place);
    else {
        message->stored = true;
        message->offset = delivery->offset;
    }
}

/* ---- order by key ---------------------------------------------------------------------------------------------- */

static struct chain *chain_of(struct checker *checker, const struct delivery *delivery)
{
    char key[3 * WORD];
    snprintf(key, sizeof key, "%.79s %.79s %s", delivery->group->name, delivery->topic, delivery->message->partition);
    struct chain *chain = map_get(&checker->chains, key, strlen(key));
    if (!chain) {
        chain = checker_allocate(sizeof *chain);
        memcpy(chain->key, key, sizeof key);
        chain->held = UINT64_MAX;
        checker_put(&checker->chains, chain->key, chain);
    }
    return chain;
}

static bool is_over(const struct delivery *delivery)
{
    return delivery->done || delivery->acked || (delivery->letter && delivery->attempt >= delivery->letter->attempts);
}

/* DELIVERY has come: nothing before it may be open, nothing behind it may have come. */
static void check_chain(struct checker *checker, struct delivery *delivery, int64_t time)
{
    struct chain *chain = chain_of(checker, delivery);
    bool calm = checker->calm > 0 && time >= checker->calm;
    for (struct delivery **at = &chain->open; *at;) {
        struct delivery *other = *at;
        if (other != delivery && !is_over(other)) {
            if (other->offset < delivery->offset)
                checker_find(checker, REORDERED, "given out before an earlier one of its key was done", delivery->key);
            at = &other->open;
            continue;
        }
        if (other != delivery && other->letter && delivery->group->hold && other->offset < chain->held)
            chain->held = other->offset;
        *at = other->open;
    }
    if (chain->held < delivery->offset && !calm)
        checker_find(checker, REORDERED, "given out though its key was held", delivery->key);
    if (delivery->times == 1 && chain->any && delivery->offset < chain->highest)
        checker_find(checker, REORDERED, "given out after a later one of its key", delivery->key);
    if (!chain->any || delivery->offset > chain->highest)
        chain->highest = delivery->offset;
    chain->any = true;
    delivery->open = chain->open;
    chain->open = delivery;
}

/* ---- deliveries ------------------------------------------------------------------------------------------------ */

static void check_again(struct checker *checker, struct delivery *delivery, int64_t time, uint64_t attempt)
{
    if (delivery->acked)
        checker_find(checker, REVIVED, "given out again after its acknowledgement", delivery->key);
    else if (delivery->again)
        checker->wished++;
    else if (delivery->lapsed || was_taken(checker, delivery, time))
        checker->explained++;
    else
        checker_find(checker, DUPLICATED, "given out again, and nothing explains it", delivery->key);
    if (attempt < delivery->attempt)
        checker_find(checker, DUPLICATED, "given out again, as an earlier attempt", delivery->key);
}

static void check_times(struct checker *checker, const struct delivery *delivery, const struct message *message,
                        int64_t time)
{
    int64_t ttl = checker_ttl(checker, message), late = delivery->group->late;
    int64_t slack = ttl == message->ttl ? OWN_SLACK : 0;
    if (delivery->replay)
        return;
    if (time < message->sent + message->delay)
        checker_find(checker, UNTIMELY, "before its time", message->key);
    if (late > 0 && ttl > 0 && message->ok && (slack == 0 || message->acknowledged - message->sent < slack) &&
        message->delay == 0 && late > message->acknowledged + ttl + slack)
        checker_find(checker, UNTIMELY, "after its time", message->key);
}

/* What nobody wished and no death explains was charged: by a kill, once a kill. */
static void note_charges(struct delivery *delivery, uint64_t failures)
{
    uint64_t explained = delivery->wishes + delivery->deaths;
    if (failures > explained && failures - explained > delivery->charges) {
        delivery->group->charges += failures - explained - delivery->charges;
        delivery->charges = failures - explained;
    }
}

void checker_see_got(struct checker *checker, int64_t time, const struct checker_got *got)
{
    struct message *message = checker_message(checker, got->producer, got->sequence, got->topic);
    struct delivery *delivery = checker_delivery(checker, got->group, got->topic, got->offset, true);
    checker->got++;
    if (!message) {
        checker_find(checker, PHANTOM, "got, and never sent", delivery->key);
        delivery->done = true;
        return;
    }
    if (message->failed)
        checker_find(checker, PHANTOM, "got, though it was refused", message->key);
    if (message->hash != got->hash)
        checker_find(checker, ALTERED, "got with other bytes", message->key);
    if (is_late(checker, delivery, time, got)) {
        checker->explained++;
        return;
    }
    snprintf(delivery->id, sizeof delivery->id, "%s", got->id);
    if (message->id[0] && got->id[0] && strcmp(message->id, got->id) != 0)
        checker_find(checker, ALTERED, "got with another id", message->key);
    check_place(checker, delivery, message);
    if (delivery->times++ > 0)
        check_again(checker, delivery, time, got->attempt);
    if (message->first_got == 0)
        message->first_got = time;
    delivery->message = message;
    delivery->attempt = got->attempt;
    delivery->last = time;
    snprintf(delivery->holder, sizeof delivery->holder, "%s", got->consumer);
    delivery->by_command = strncmp(got->consumer, "take", 4) == 0;
    if (delivery->times == 1) {
        delivery->first = time;
        delivery->before = delivery->group->came;
        delivery->group->came = delivery->group->late > 0 ? delivery : NULL;
    }
    delivery->again = delivery->done = delivery->rejected = false;
    check_times(checker, delivery, message, time);
    note_charges(delivery, got->attempt > 0 ? got->attempt - 1 : 0);
    if (delivery->group->order && message->partition[0])
        check_chain(checker, delivery, time);
}

bool checker_see_end(struct checker *checker, const struct checker_end *end)
{
    struct delivery *delivery = checker_delivery(checker, end->group, end->topic, end->offset, false);
    if (!delivery)
        return false;
    bool acked = strcmp(end->event, "acked") == 0;
    if (strcmp(delivery->holder, end->consumer) != 0) { /* another has it by now: nothing comes of this */
        if (acked)
            checker_find(checker, REVIVED, "settled by one who had lost it, when another had it", delivery->key);
    } else if (acked)
        delivery->acked = delivery->done = true;
    else if (strcmp(end->event, "retried") == 0) {
        delivery->again = true;
        delivery->wishes++;
    } else if (strcmp(end->what, "die") == 0) {
        delivery->again = true;
        delivery->deaths++;
    } else {
        delivery->done = true;
        delivery->rejected = strcmp(end->what, "reject") == 0;
    }
    return true;
}
