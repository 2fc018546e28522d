#include "model.h"

#include <stdlib.h>

/* Where GROUP's letters go. */
static unsigned letters_topic(const struct trial *trial, unsigned group)
{
    const struct group_model *model = &trial->now.groups[group];
    const char *set = trial->now.subscriptions[model->subscription].settings.dead_letter;
    if (set[0] == '\0')
        return model->topic < PLAIN_TOPICS ? PLAIN_TOPICS + model->topic : TOPICS;
    for (unsigned topic = 0; topic < TOPICS; topic++)
        if (strcmp(topic_name(topic), set) == 0)
            return topic;
    return TOPICS;
}

bool reference_bury(struct trial *trial, unsigned group, uint64_t offset, const struct message *letter)
{
    const struct group_model *model = &trial->now.groups[group];
    if (trial->now.topics[model->topic].letters)
        return false;
    unsigned to = letters_topic(trial, group);
    if (to == TOPICS)
        trial_fail(trial, "the model knows no topic for the letters of %s", topic_name(model->topic));
    if (!trial->boxes[to])
        reference_letters_topic(trial, to); /* a topic that the same turn deletes then is made again at its end */
    if (trial->letters_count[to] == trial->letters_capacity[to]) {
        size_t capacity = trial->letters_capacity[to] ? 2 * trial->letters_capacity[to] : 64;
        if (!(trial->letters[to] = realloc(trial->letters[to], capacity * sizeof *letter)))
            abort();
        trial->letters_capacity[to] = capacity;
    }
    struct message *place = &trial->letters[to][trial->letters_count[to]++];
    const struct message *original = &trial->messages[model->topic][offset];
    *place = *letter;
    place->mark = original->mark;
    place->producer = original->producer;
    place->sequence = original->sequence;
    place->size = original->size;
    place->key = original->key;
    place->name = original->name;
    place->topic = (uint8_t)model->topic;
    place->group_name = (uint8_t)(model->subscription % (GROUP_NAMES + 1));
    place->offset = offset;
    trial->boxes[to] = true;
    return true;
}

void letters_take(struct trial *trial, unsigned topic, uint64_t count)
{
    struct message *letters = trial->letters[topic];
    reference_letters_topic(trial, topic);
    reference_append(trial, topic, letters, (uint32_t)count, 0);
    trial->letters_count[topic] -= count;
    memmove(letters, letters + count, trial->letters_count[topic] * sizeof *letters);
}

void letters_send(struct trial *trial)
{
    for (unsigned topic = 0; topic < TOPICS; topic++) {
        if (!trial->boxes[topic])
            continue;
        reference_letters_topic(trial, topic);
        if (trial->letters_count[topic] > 0)
            letters_take(trial, topic, trial->letters_count[topic]);
        trial->boxes[topic] = false;
    }
}

void letters_forget(struct trial *trial)
{
    memset(trial->letters_count, 0, sizeof trial->letters_count);
    memset(trial->boxes, 0, sizeof trial->boxes);
}
