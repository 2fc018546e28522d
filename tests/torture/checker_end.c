#include "checker.h"

#include "message/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what nobody got ------------------------------------------------------------------------------------------- */

/*
 * Whether GROUP, which came late and of whose consumers none was killed, got a later message of the topic before MESSAGE
 * had expired: it was to be given this one, too.
 */
static bool was_passed_over(const struct message *message, const struct group *group, int64_t ttl)
{
    for (const struct delivery *came = group->came; message->stored && came; came = came->before)
        if (came->offset > message->offset && came->first < message->sent + message->delay + ttl &&
            strcmp(came->topic, message->topic) == 0)
            return true;
    return false;
}

/* A message that has to live so long may be gone for GROUP, if that had it in time. */
static bool may_have_expired(struct checker *checker, const struct message *message, const struct group *group)
{
    int64_t ttl = checker_ttl(checker, message);
    if (ttl == 0)
        return false;
    checker->expired++;
    if ((group->drained > 0 && message->sent + message->delay + ttl >= group->drained) ||
        was_passed_over(message, group, ttl))
        checker_find(checker, PREMATURE, "gone before it expired", message->key);
    return true;
}

static void check_lost(struct checker *checker, const struct message *message)
{
    size_t at = 0;
    const struct group *group;
    char text[3 * WORD];
    while ((group = map_next(&checker->groups, &at))) {
        if (group->stage || !name_matches(group->pattern, message->topic))
            continue;
        const struct delivery *delivery =
            message->stored ? checker_delivery(checker, group->name, message->topic, message->offset, false) : NULL;
        if ((delivery && delivery->times > 0) || may_have_expired(checker, message, group))
            continue;
        snprintf(text, sizeof text, "%s of %s never got it", group->name, message->topic);
        checker_find(checker, LOST, text, message->key);
    }
}

/* ---- messages of one id ---------------------------------------------------------------------------------------- */

/* The latest time at which it can have been stored. */
static int64_t latest(const struct message *message)
{
    if (message->ok && (message->first_got == 0 || message->acknowledged < message->first_got))
        return message->acknowledged;
    return message->first_got > 0 ? message->first_got : INT64_MAX;
}

static void check_twice(struct checker *checker, const struct message *one, const struct message *other, int64_t window)
{
    const struct message *first = one->offset < other->offset ? one : other;
    const struct message *second = first == one ? other : one;
    if (latest(second) - first->sent < window)
        checker_find(checker, DUPLICATED, "stored although one with its id was there", second->key);
}

/* Whether MESSAGE, which was acknowledged and nobody got, can have been the duplicate of one of its twins. */
static bool has_original(const struct message *message, const struct message *first, int64_t window)
{
    for (const struct message *twin = first; twin; twin = twin->twin)
        if (twin != message && twin->stored && twin->sent <= message->acknowledged &&
            (latest(twin) == INT64_MAX || latest(twin) >= message->sent - window))
            return true;
    return false;
}

static void check_twins(struct checker *checker, const struct message *first)
{
    const struct topic *topic = checker_topic(checker, first->topic);
    if (topic->window == 0)
        return;
    for (const struct message *one = first; one; one = one->twin) {
        if (one->ok && !one->stored) {
            if (has_original(one, first, topic->window))
                checker->repeated++;
            else
                checker_find(checker, LOST, "taken for a duplicate, and there is no original", one->key);
        }
        for (const struct message *other = one->twin; one->stored && other; other = other->twin)
            if (other->stored)
                check_twice(checker, one, other, topic->window);
    }
}

/* Whether it is for check_twins() to say that MESSAGE was to come. */
static bool is_one_of_twins(struct checker *checker, const struct message *message)
{
    return message->id[0] && !message->stored && checker_topic(checker, message->topic)->window > 0;
}

/* ---- what was got ---------------------------------------------------------------------------------------------- */

/* A producer's messages are read newest first: in each topic offsets must fall. Delayed ones come when they are due. */
static void check_order(struct checker *checker, const struct producer *producer)
{
    for (const struct message *later = producer->messages; later; later = later->next) {
        if (!later->stored || later->delay > 0)
            continue;
        const struct message *before = later->next;
        while (before && (!before->stored || before->delay > 0 || strcmp(before->topic, later->topic) != 0))
            before = before->next;
        if (before && before->offset >= later->offset)
            checker_find(checker, REORDERED, "stored before one that was sent earlier", later->key);
    }
}

/* What has become of MESSAGE in TOPIC, and stands there; NULL: nothing has. */
static const struct message *find_onward(const struct message *message, const struct topic *topic)
{
    while (message && strcmp(message->topic, topic->name) != 0)
        message = message->onward;
    return message && message->stored ? message : NULL;
}

/* Behind ordered pipes: of each producer and key, what was sent first stands first. */
static void check_piped_order(struct checker *checker, const struct producer *producer, const struct topic *topic)
{
    for (const struct message *sent = producer->messages; sent; sent = sent->next) {
        const struct message *later = sent->partition[0] ? find_onward(sent, topic) : NULL, *earlier = NULL;
        for (const struct message *before = sent->next; later && before && !earlier; before = before->next)
            if (strcmp(before->partition, sent->partition) == 0)
                earlier = find_onward(before, topic);
        if (earlier && earlier->offset >= later->offset)
            checker_find(checker, REORDERED, "stored behind a pipe before an earlier one of its key", later->key);
    }
}

static void check_pipes(struct checker *checker, const struct producer *producer)
{
    size_t at = 0;
    const struct topic *topic;
    while ((topic = map_next(&checker->topics, &at)))
        if (topic->ordered)
            check_piped_order(checker, producer, topic);
}

/* What was given out ends: done, dead, or, if it may, expired. */
static void check_ended(struct checker *checker, const struct delivery *delivery)
{
    if (delivery->times == 0 || delivery->letter || delivery->group->drained == 0)
        return;
    if (delivery->rejected)
        checker_find(checker, LOST, "rejected, and no letter tells of it", delivery->key);
    else if (!delivery->done && delivery->message && checker_ttl(checker, delivery->message) == 0)
        checker_find(checker, LOST, "given out, never done, and not given out again", delivery->key);
}

static void check_letter(struct checker *checker, const struct letter *letter)
{
    struct delivery *delivery = letter->delivery;
    const struct group *group = delivery->group;
    if (delivery->times == 0 || !delivery->message) {
        checker_find(checker, PHANTOM, "a letter of what nobody got", delivery->key);
        return;
    }
    if (letter->hash != delivery->message->hash)
        checker_find(checker, ALTERED, "a letter with other bytes", delivery->key);
    if (delivery->id[0] && strcmp(letter->id, delivery->id) != 0)
        checker_find(checker, ALTERED, "a letter with another id", delivery->key);
    if (delivery->acked)
        checker_find(checker, DUPLICATED, "done, and dead as well", delivery->key);
    if (letter->attempts < delivery->attempt)
        checker_find(checker, CHARGED, "a letter tells of fewer attempts than there were", delivery->key);
    if (strcmp(letter->reason, "rejected") == 0) {
        if (!delivery->rejected)
            checker_find(checker, CHARGED, "rejected by nobody", delivery->key);
    } else if (strcmp(letter->reason, "retries") != 0)
        checker_find(checker, CHARGED, "dead for another reason", delivery->key);
    else {
        uint64_t explained = delivery->wishes + delivery->deaths + delivery->charges;
        if (group->retries != RETRIES_UNKNOWN && letter->attempts != group->retries + 1)
            checker_find(checker, CHARGED, "dead after fewer or more attempts than the policy says", delivery->key);
        if (letter->attempts > explained)
            delivery->group->charges += letter->attempts - explained;
    }
    if (checker->replayed > 0 && !letter->replayed)
        checker_find(checker, LOST, "replayed, and it never came", delivery->key);
}

static void check_charges(struct checker *checker, const struct group *group)
{
    char text[2 * WORD];
    if (group->charges <= group->excuses + checker->anybodys)
        return;
    snprintf(text, sizeof text, "%" PRIu64 " attempts, %" PRIu64 " kills and lapses", group->charges,
             group->excuses + checker->anybodys);
    checker_find(checker, CHARGED, text, group->name);
}

/* ---- what the relay says --------------------------------------------------------------------------------------- */

static struct tally *tally_of(struct checker *checker, const char *group, const char *topic)
{
    char key[2 * WORD];
    snprintf(key, sizeof key, "%.79s %.79s", group, topic);
    struct tally *tally = map_get(&checker->tallies, key, strlen(key));
    if (!tally) {
        tally = checker_allocate(sizeof *tally);
        memcpy(tally->key, key, sizeof key);
        checker_put(&checker->tallies, tally->key, tally);
    }
    return tally;
}

void checker_tally(struct checker *checker)
{
    size_t at = 0;
    const struct delivery *delivery;
    while ((delivery = map_next(&checker->deliveries, &at))) {
        struct tally *tally = tally_of(checker, delivery->group->name, delivery->topic);
        tally->confirmed += delivery->acked;
        tally->done += delivery->done && !delivery->rejected;
        tally->letters += delivery->letter != NULL;
    }
}

static void check_number(struct checker *checker, const char *key, const char *what, uint64_t number, uint64_t least,
                         uint64_t most)
{
    char text[2 * WORD];
    if (number >= least && number <= most)
        return;
    snprintf(text, sizeof text, "%" PRIu64 " %s, and there were %" PRIu64 " to %" PRIu64, number, what, least, most);
    checker_find(checker, MISCOUNTED, text, key);
}

void checker_see_state(struct checker *checker, const char *topic_name, const char *group, const uint64_t numbers[8])
{
    enum { OPEN, ACKED, DEAD, EXPIRED, DROPPED, DUPLICATES, FOREIGN, END };
    const struct topic *topic = checker_topic(checker, topic_name);
    const struct tally *tally = tally_of(checker, group, topic_name);
    uint64_t sum = 0;
    for (int i = OPEN; i < END; i++)
        sum += numbers[i];
    check_number(checker, tally->key, "offsets in one state", sum, numbers[END], numbers[END]);
    check_number(checker, tally->key, "not settled", numbers[OPEN], 0, 0);
    const struct group *known = map_get(&checker->groups, group, strlen(group));
    bool stage = known && known->stage;
    check_number(checker, tally->key, "acknowledged", numbers[ACKED], tally->confirmed,
                 stage ? numbers[END] : tally->done);
    check_number(checker, tally->key, "dead", numbers[DEAD], tally->letters, tally->letters);
    check_number(checker, tally->key, "dropped", numbers[DROPPED], 0, 0);
    check_number(checker, tally->key, "expired", numbers[EXPIRED], 0, topic->ttl > 0 ? numbers[END] : 0);
    check_number(checker, tally->key, "duplicates", numbers[DUPLICATES], 0, topic->window > 0 ? numbers[END] : 0);
}

/* ---- the verdict ----------------------------------------------------------------------------------------------- */

static void check_groups(struct checker *checker)
{
    size_t at = 0;
    const struct group *group;
    while ((group = map_next(&checker->groups, &at)))
        check_charges(checker, group);
    if (checker->groups.count < checker->wanted_groups && checker->ok > 0)
        checker_find(checker, LOST, "a group got nothing", "fewer groups than there should be");
}

void checker_verdict(struct checker *checker)
{
    size_t at = 0;
    const struct message *message;
    const struct producer *producer;
    const struct delivery *delivery;
    while ((message = map_next(&checker->messages, &at)))
        if (message->ok && !is_one_of_twins(checker, message))
            check_lost(checker, message);
    at = 0;
    while ((message = map_next(&checker->twins, &at)))
        check_twins(checker, message);
    at = 0;
    while ((producer = map_next(&checker->producers, &at))) {
        check_order(checker, producer);
        check_pipes(checker, producer);
    }
    at = 0;
    while ((delivery = map_next(&checker->deliveries, &at)))
        check_ended(checker, delivery);
    for (const struct letter *letter = checker->letters; letter; letter = letter->next)
        check_letter(checker, letter);
    check_groups(checker);
}
