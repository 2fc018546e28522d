/* One letter goes ahead of the others. */
#include "cli/letters_topic.h"

#include "cli/admin_ask.h"
#include "cli/exit.h"
#include "cli/retry.h"

#include <string.h>
#include <unistd.h>

enum { LOOK_EVERY = 100000 }; /* microseconds between looks at what became of it */

/* Where TOPIC ends, by what `topics` answered. */
static uint64_t end_of(const json_t *answer, const char *topic)
{
    const json_t *object;
    size_t i;
    json_array_foreach(json_object_get(answer, "topics"), i, object)
    {
        if (!strcmp(admin_string(object, "name"), topic))
            return admin_number(object, "end");
    }
    return 0;
}

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
                if (record.producer != topic->producer || record.sequence != topic->sequence)
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

/* Waits until the message is settled: 0, or the exit code. */
static int await(struct letters_topic *topic, const char *name, const char *group, uint64_t from)
{
    struct letters_link *link = &topic->link;
    int64_t wait = topic->letters->settings->wait;
    int64_t give_up = wait >= 0 ? clock_monotonic() + wait : CLOCK_NEVER;
    while (is_there(topic, name, group, &from)) {
        int64_t now = clock_monotonic();
        if (now >= give_up) {
            tell("waited in vain (--wait) for the first letter to be acknowledged by group %s of %s: the others stay "
                 "where they are",
                 group, name);
            return EXIT_TIMEOUT;
        }
        if (!letters_link_pause(link, now + LOOK_EVERY))
            break;
    }
    return link->exit >= 0 ? link->exit : EXIT_DONE;
}

int letters_topic_canary(struct letters_topic *topic)
{
    json_t *answer;
    if (!letters_link_ask(&topic->link, "topics", &answer))
        return topic->link.exit;
    uint64_t letters_end = end_of(answer, topic->topic);
    bool taken = letters_topic_take(topic, 0, 1) && topic->letters->done > 0;
    const struct letters_place *place = &topic->places[0];
    uint64_t from = taken ? end_of(answer, place->topic) : 0;
    json_decref(answer);
    if (!taken)
        return topic->link.exit >= 0 ? topic->link.exit : EXIT_REJECTED;
    if (place->group[0] == '\0') {
        tell("the letter does not say which group it is for: nobody's acknowledgement can be awaited");
        return EXIT_REJECTED;
    }
    if (output_is_terminal(STDERR_FILENO))
        tell("the first letter is with group %s of %s: waiting until it is acknowledged", place->group, place->topic);
    int code = await(topic, place->topic, place->group, from);
    if (code != EXIT_DONE)
        return code;
    if (is_there(topic, topic->topic, topic->group, &letters_end)) {
        tell("the first letter died again: the others stay where they are");
        return EXIT_REJECTED;
    }
    return topic->link.exit >= 0 ? topic->link.exit : EXIT_DONE;
}
