/* One letter goes ahead of the others. */
#include "cli/letters_topic.h"

#include "cli/exit.h"
#include "cli/retry.h"

#include <string.h>

enum {
    LOOK_EVERY = 100000, /* microseconds between looks at what became of it */
    TELL_AFTER = 1000000 /* microseconds until it is said what is waited for */
};

/*
 * Whether the message of the origin that was sent last is among what GROUP of NAME has not settled from *FROM on, which
 * moves to where it is. False also: the link has ended, see its exit.
 */
static bool is_there(struct letters_topic *topic, const char *name, const char *group, uint64_t *from)
{
    struct letters_link *link = &topic->link;
    struct fault fault = {0};
    struct client_subscription subscription = {
        .topic = name, .group = group, .peek = true, .from = PROTOCOL_FROM_OFFSET, .value = *from};
    if (client_subscribe(link->client, &subscription, &fault))
        return letters_link_fail(link, &fault);
    while (letters_link_fetch(link) && link->chunks_count) {
        for (size_t i = 0; i < link->chunks_count; i++) {
            const struct letters_chunk *chunk = &link->chunks[i];
            struct frame_cursor cursor = frame_cursor(&chunk->frame);
            struct record record;
            for (uint64_t offset = chunk->chunk.first; frame_next(&cursor, &record); offset++) {
                offset = protocol_chunk_next(&chunk->chunk, offset);
                if (record.producer != topic->canary.producer || record.sequence != topic->canary.sequence)
                    continue;
                *from = offset;
                letters_link_drop(link);
                return true;
            }
        }
        letters_link_drop(link);
    }
    return false;
}

/* Says what is waited for, and whether anybody is there to do it. False: it is over. */
static bool tell_waiting(struct letters_topic *topic, const struct letters_place *place)
{
    struct letters_accounts accounts;
    struct letters_account account;
    bool asked = letters_accounts_ask(topic, &accounts);
    bool alone = asked && letters_accounts_of(&accounts, place->topic, place->group, &account) && !account.in_use;
    letters_accounts_free(&accounts);
    if (asked)
        tell("waiting for group %s of %s to acknowledge %s%s%s", place->group, place->topic, topic->canary.id,
             alone ? ": nobody consumes from it now" : "",
             topic->letters->settings->wait < 0 ? " (--wait bounds it)" : "");
    return asked;
}

/* Waits until the message is settled: 0, or the exit code. */
static int await(struct letters_topic *topic, const struct letters_place *place, uint64_t from)
{
    struct letters_link *link = &topic->link;
    int64_t wait = topic->letters->settings->wait;
    int64_t began = clock_monotonic();
    bool told = false;
    while (is_there(topic, place->topic, place->group, &from)) {
        int64_t now = clock_monotonic();
        if (wait >= 0 && now - began >= wait) {
            tell("waited in vain (--wait) for group %s of %s to acknowledge %s: the others stay where they are",
                 place->group, place->topic, topic->canary.id);
            return EXIT_TIMEOUT;
        }
        bool late = now - began >= TELL_AFTER;
        if (late && !told && !tell_waiting(topic, place))
            break;
        told = told || late;
        int64_t next = now + LOOK_EVERY;
        if (wait >= 0 && began + wait < next)
            next = began + wait;
        if (!letters_link_pause(link, next))
            break;
    }
    return link->exit >= 0 ? link->exit : EXIT_DONE;
}

/* Whether the message has lived long enough to have expired. The relay counts that late, and hides it before. */
static bool may_have_expired(const struct letters_topic *topic, const char *name, const struct letters_accounts *before,
                             const struct letters_accounts *after)
{
    int64_t age = clock_monotonic() - topic->canary.sent;
    return age >= topic->canary.life || age >= letters_accounts_life(before, name) ||
           age >= letters_accounts_life(after, name);
}

/* Whether the message, which is settled, is among the dead letters of its group, whose account is NOW. */
static bool has_died(struct letters_topic *topic, const struct letters_account *now,
                     const struct letters_accounts *before, const struct letters_accounts *after)
{
    uint64_t from = letters_accounts_end(before, now->letters);
    struct letters_account letters;
    return letters_accounts_of(after, now->letters, LETTERS_GROUP, &letters) &&
           is_there(topic, now->letters, LETTERS_GROUP, &from);
}

/*
 * What became of the message, which is settled: 0 when it was acknowledged. The relay counts by groups, and does not tell
 * what became of one message: what may have been lost is not taken for acknowledged.
 */
static int judge(struct letters_topic *topic, const struct letters_place *place, const struct letters_accounts *before,
                 const struct letters_accounts *after)
{
    struct letters_account old, now;
    const char *why;
    if (!letters_accounts_of(before, place->topic, place->group, &old) ||
        !letters_accounts_of(after, place->topic, place->group, &now))
        why = "its group is gone";
    else if (has_died(topic, &now, before, after))
        why = "it died again";
    else if (topic->link.exit >= 0)
        return topic->link.exit;
    else if (now.dropped != old.dropped)
        why = "it was dropped, or another message of its group just then";
    else if (may_have_expired(topic, place->topic, before, after))
        why = "it expired, if it was not acknowledged just before";
    else if (now.acked <= old.acked)
        why = "its group was moved past it";
    else
        return EXIT_DONE;
    tell("the first letter, %s, was not acknowledged: %s; the others stay where they are", topic->canary.id, why);
    return EXIT_REJECTED;
}

/* Sends the first one of `meant`, and sees what becomes of it. */
static int send_first(struct letters_topic *topic, const struct letters_accounts *before)
{
    const struct letters_place *place = &topic->places[0];
    bool taken = letters_topic_take(topic, 0, 1) && topic->letters->done > 0;
    if (!taken)
        return topic->link.exit >= 0 ? topic->link.exit : EXIT_REJECTED;
    if (place->group[0] == '\0') {
        tell("the letter does not say which group it is for: nobody's acknowledgement can be awaited");
        return EXIT_REJECTED;
    }
    struct letters_accounts after;
    int code = await(topic, place, letters_accounts_end(before, place->topic));
    if (code != EXIT_DONE)
        return code;
    code = letters_accounts_ask(topic, &after) ? judge(topic, place, before, &after) : topic->link.exit;
    letters_accounts_free(&after);
    return code;
}

int letters_topic_canary(struct letters_topic *topic)
{
    struct letters_accounts before;
    int code = letters_accounts_ask(topic, &before) ? send_first(topic, &before) : topic->link.exit;
    letters_accounts_free(&before);
    return code;
}
