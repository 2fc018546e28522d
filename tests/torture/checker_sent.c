#include "checker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *checker_allocate(size_t size)
{
    void *memory = calloc(1, size);
    if (!memory) {
        fprintf(stderr, "checker: no memory\n");
        exit(71);
    }
    return memory;
}

void checker_put(struct map *map, const char *key, void *value)
{
    if (map_put(map, key, strlen(key), value)) {
        fprintf(stderr, "checker: no memory\n");
        exit(71);
    }
}

struct group *checker_group(struct checker *checker, const char *name)
{
    struct group *group = map_get(&checker->groups, name, strlen(name));
    if (!group) {
        group = checker_allocate(sizeof *group);
        snprintf(group->name, sizeof group->name, "%s", name);
        snprintf(group->pattern, sizeof group->pattern, ">");
        group->retries = RETRIES_UNKNOWN;
        checker_put(&checker->groups, group->name, group);
    }
    return group;
}

struct topic *checker_topic(struct checker *checker, const char *name)
{
    struct topic *topic = map_get(&checker->topics, name, strlen(name));
    if (!topic) {
        topic = checker_allocate(sizeof *topic);
        snprintf(topic->name, sizeof topic->name, "%s", name);
        checker_put(&checker->topics, topic->name, topic);
    }
    return topic;
}

struct delivery *checker_delivery(struct checker *checker, const char *group, const char *topic, uint64_t offset,
                                  bool make)
{
    char key[KEY];
    snprintf(key, sizeof key, "%s %s %" PRIu64, group, topic, offset);
    struct delivery *delivery = map_get(&checker->deliveries, key, strlen(key));
    if (delivery || !make)
        return delivery;
    delivery = checker_allocate(sizeof *delivery);
    memcpy(delivery->key, key, sizeof key);
    snprintf(delivery->topic, sizeof delivery->topic, "%s", topic);
    delivery->group = checker_group(checker, group);
    delivery->offset = offset;
    checker_put(&checker->deliveries, delivery->key, delivery);
    return delivery;
}

static struct message *find_sent(const struct checker *checker, const char *producer, uint64_t sequence)
{
    char key[KEY];
    snprintf(key, sizeof key, "%s %" PRIu64, producer, sequence);
    return map_get(&checker->messages, key, strlen(key));
}

struct message *checker_message(const struct checker *checker, const char *producer, uint64_t sequence,
                                const char *topic)
{
    struct message *sent = find_sent(checker, producer, sequence), *message = sent;
    while (message && strcmp(message->topic, topic) != 0)
        message = message->onward;
    return message ? message : sent;
}

int64_t checker_ttl(const struct checker *checker, const struct message *message)
{
    const struct topic *topic = map_get(&checker->topics, message->topic, strlen(message->topic));
    int64_t ttl = topic ? topic->ttl : 0;
    return ttl == 0 || (message->ttl > 0 && message->ttl < ttl) ? message->ttl : ttl;
}

/* The value of NAME=VALUE in WORD, or NULL. */
static const char *value_of(const char *word, const char *name)
{
    size_t size = strlen(name);
    return strncmp(word, name, size) == 0 && word[size] == '=' ? word + size + 1 : NULL;
}

static int64_t milliseconds(const char *text)
{
    return (int64_t)strtoll(text, NULL, 10) * 1000;
}

static void read_send(struct message *message, char *rest)
{
    char *at = NULL;
    const char *value;
    for (const char *word = strtok_r(rest, " \n", &at); word; word = strtok_r(NULL, " \n", &at))
        if ((value = value_of(word, "key")))
            snprintf(message->partition, sizeof message->partition, "%s", value);
        else if ((value = value_of(word, "id")))
            snprintf(message->id, sizeof message->id, "%s", value);
        else if ((value = value_of(word, "delay")))
            message->delay = milliseconds(value);
        else if ((value = value_of(word, "ttl")))
            message->ttl = milliseconds(value);
}

/* The first of a topic and id is the list's head in the map: later ones go behind it. */
static void join_twins(struct checker *checker, struct message *message)
{
    char key[2 * WORD];
    snprintf(key, sizeof key, "%s %s", message->topic, message->id);
    struct message *first = map_get(&checker->twins, key, strlen(key));
    if (first) {
        message->twin = first->twin;
        first->twin = message;
        return;
    }
    char *kept = checker_allocate(strlen(key) + 1); /* freed with the map */
    memcpy(kept, key, strlen(key));
    checker_put(&checker->twins, kept, message);
}

/* What MESSAGE becomes where pipes lead it: as many messages more, one in each topic. */
static void follow_pipes(struct checker *checker, struct message *message)
{
    for (const struct topic *to = checker_topic(checker, message->topic)->pipe; to; to = to->pipe) {
        struct message *onward = checker_allocate(sizeof *onward);
        snprintf(onward->topic, sizeof onward->topic, "%s", to->name);
        snprintf(onward->key, sizeof onward->key, "%.150s %s", message->key, to->name);
        onward->sequence = message->sequence;
        onward->hash = message->hash;
        onward->sent = message->sent;
        memcpy(onward->partition, message->partition, sizeof onward->partition);
        checker_put(&checker->messages, onward->key, onward);
        message->onward = onward;
        message = onward;
    }
}

void checker_see_send(struct checker *checker, int64_t time, const char *name, const char *topic, uint64_t sequence,
                      uint64_t hash, char *rest)
{
    struct producer *producer = map_get(&checker->producers, name, strlen(name));
    if (!producer) {
        producer = checker_allocate(sizeof *producer);
        snprintf(producer->name, sizeof producer->name, "%s", name);
        checker_put(&checker->producers, producer->name, producer);
    }
    struct message *message = checker_allocate(sizeof *message);
    snprintf(message->key, sizeof message->key, "%s %" PRIu64, name, sequence);
    snprintf(message->topic, sizeof message->topic, "%s", topic);
    message->sequence = sequence;
    message->hash = hash;
    message->sent = time;
    message->next = producer->messages;
    producer->messages = message;
    read_send(message, rest);
    if (message->id[0])
        join_twins(checker, message);
    checker_put(&checker->messages, message->key, message);
    follow_pipes(checker, message);
    checker->sent++;
}

bool checker_see_outcome(struct checker *checker, int64_t time, const char *producer, uint64_t first, uint64_t last,
                         bool ok)
{
    for (uint64_t sequence = first; sequence <= last; sequence++) {
        struct message *message = find_sent(checker, producer, sequence);
        if (!message)
            return false;
        *(ok ? &checker->ok : &checker->failed) += 1;
        for (; message; message = message->onward) {
            message->ok |= ok;
            message->failed |= !ok;
            message->acknowledged = ok ? time : 0;
        }
    }
    return true;
}

bool checker_see_unknown(const struct checker *checker, const char *producer, uint64_t first, uint64_t last)
{
    for (uint64_t sequence = first; sequence <= last; sequence++)
        if (!find_sent(checker, producer, sequence))
            return false;
    return true;
}

void checker_see_pipe(struct checker *checker, const char *from, const char *to, const char *name, bool ordered)
{
    struct group *group = checker_group(checker, name);
    group->stage = true;
    snprintf(group->pattern, sizeof group->pattern, "%s", from);
    checker_topic(checker, from)->pipe = checker_topic(checker, to);
    checker_topic(checker, to)->ordered = ordered;
}

void checker_see_topic(struct checker *checker, const char *name, char *rest)
{
    struct topic *topic = checker_topic(checker, name);
    char *at = NULL;
    const char *value;
    for (const char *word = strtok_r(rest, " \n", &at); word; word = strtok_r(NULL, " \n", &at))
        if ((value = value_of(word, "max")))
            topic->max = strtoull(value, NULL, 10);
        else if ((value = value_of(word, "ttl")))
            topic->ttl = milliseconds(value);
        else if ((value = value_of(word, "window")))
            topic->window = milliseconds(value);
}

void checker_see_group(struct checker *checker, const char *name, const char *pattern, char *rest)
{
    struct group *group = checker_group(checker, name);
    char *at = NULL;
    const char *value;
    snprintf(group->pattern, sizeof group->pattern, "%s", pattern);
    for (const char *word = strtok_r(rest, " \n", &at); word; word = strtok_r(NULL, " \n", &at))
        if ((value = value_of(word, "retries")))
            group->retries = strtoull(value, NULL, 10);
        else if (strcmp(word, "order") == 0)
            group->order = true;
        else if (strcmp(word, "hold") == 0)
            group->hold = true;
}

void checker_see_letter(struct checker *checker, const char *group, const char *topic, uint64_t offset,
                        const char *reason, uint64_t attempts, const char *id, const char *body)
{
    struct delivery *delivery = checker_delivery(checker, group, topic, offset, true);
    checker->dead++;
    if (delivery->letter) {
        checker_find(checker, DUPLICATED, "two letters tell of one death", delivery->key);
        return;
    }
    struct letter *letter = checker_allocate(sizeof *letter);
    letter->delivery = delivery;
    letter->attempts = attempts;
    letter->hash = history_hash(body, strlen(body));
    snprintf(letter->reason, sizeof letter->reason, "%s", reason);
    snprintf(letter->id, sizeof letter->id, "%s", id);
    letter->next = checker->letters;
    checker->letters = letter;
    delivery->letter = letter;
}
