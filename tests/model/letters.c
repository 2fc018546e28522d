#include "model.h"

#include "message/letter.h"

#include <stdlib.h>

unsigned reference_letters_of(const struct trial *trial, unsigned group)
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
    unsigned to = reference_letters_of(trial, group);
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

static bool is_letter_of(const struct record *record, const struct message *message)
{
    struct letter letter;
    const char *group = subscription_group(message->group_name), *topic = topic_name(message->topic);
    return record->size >= 8 && load_u64(record->body) == message->mark &&
           letter_read(record->attributes, record->attributes_size, &letter) && letter.offset == message->offset &&
           letter.topic_size == strlen(topic) && memcmp(letter.topic, topic, letter.topic_size) == 0 &&
           letter.group_size == strlen(group) && memcmp(letter.group, group, letter.group_size) == 0;
}

/* In which order leases lapse is the engine's choice: brings COUNT letters into the order in which they are stored. */
static void letters_sort(struct trial *trial, unsigned topic, uint64_t count)
{
    struct local *local = local_of(trial->engine);
    const struct topic *real = local_topic(local, topic_name(topic), strlen(topic_name(topic)));
    uint64_t end = trial->now.topics[topic].end, done = 0;
    struct message *letters = trial->letters[topic];
    while (done < count) {
        struct cached_frame cached;
        struct frame frame;
        struct record record;
        struct fault fault = {0};
        if (!real || local_frame(local, real, end + done, &cached, &fault))
            trial_fail(trial, "letter %llu of %s cannot be read: %s", (unsigned long long)(end + done),
                       topic_name(topic), fault_text(&fault));
        frame_trust(&frame, cached.data, cached.size);
        struct frame_cursor cursor = frame_cursor(&frame);
        frame_skip(&cursor, (uint32_t)(end + done - cached.first));
        for (; done < count && frame_next(&cursor, &record); done++) {
            uint64_t at = done;
            while (at < trial->letters_count[topic] && !is_letter_of(&record, &letters[at]))
                at++;
            if (at == trial->letters_count[topic])
                trial_fail(trial, "letter %llu of %s is of a message that has not died",
                           (unsigned long long)(end + done), topic_name(topic));
            struct message swap = letters[at];
            letters[at] = letters[done];
            letters[done] = swap;
        }
        blob_drop(cached.blob);
    }
}

void letters_take(struct trial *trial, unsigned topic, uint64_t count)
{
    struct message *letters = trial->letters[topic];
    reference_letters_topic(trial, topic);
    letters_sort(trial, topic, count);
    reference_append(trial, topic, letters, (uint32_t)count, 0);
    trial->letters_count[topic] -= count;
    memmove(letters, letters + count, trial->letters_count[topic] * sizeof *letters);
}

void letters_look(struct trial *trial)
{
    for (unsigned i = 0; i < TOPICS; i++) {
        const struct topic *real = local_topic(local_of(trial->engine), topic_name(i), strlen(topic_name(i)));
        uint64_t end = trial->now.topics[i].end;
        if (real && real->end > end && real->end - end <= trial->letters_count[i])
            letters_take(trial, i, real->end - end);
    }
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
