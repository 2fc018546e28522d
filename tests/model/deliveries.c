#include "model.h"

#include "message/attributes.h"
#include "message/letter.h"

#include <stdio.h>

unsigned delivery_topic(struct trial *trial, const struct engine_delivery *delivery)
{
    for (unsigned topic = 0; topic < TOPICS; topic++)
        if (trial->now.topics[topic].exists && strcmp(topic_name(topic), delivery->name) == 0)
            return topic;
    trial_fail(trial, "a delivery from topic %s, which is not there", delivery->name);
}

unsigned delivery_group(struct trial *trial, unsigned index, const struct engine_delivery *delivery)
{
    unsigned topic = delivery_topic(trial, delivery);
    for (unsigned group = 0; group < trial->now.groups_count; group++) {
        if (trial->now.groups[group].subscription != index || trial->now.groups[group].topic != topic)
            continue;
        const struct group *real = trial_real(trial, group);
        if (!real || real->id != delivery->group)
            trial_fail(trial, "a delivery from %s is of group number %u", delivery->name, delivery->group);
        return group;
    }
    trial_fail(trial, "a delivery from topic %s, of which the group has nothing", delivery->name);
}

bool delivery_next(const struct engine_delivery *delivery, uint32_t *at, uint64_t *offset)
{
    while (delivery->mask && *at < delivery->span && !(delivery->mask[*at / 8] >> *at % 8 & 1))
        ++*at;
    if (*at >= delivery->span)
        return false;
    *offset = delivery->first + (*at)++;
    return true;
}

/* How many messages a delivery means, by its mask. */
static uint32_t delivery_count(const struct engine_delivery *delivery)
{
    uint32_t at = 0, count = 0;
    uint64_t offset;
    while (delivery_next(delivery, &at, &offset))
        count++;
    return count;
}

static bool has_attribute(const struct record *record, enum attribute_code code, char letter, unsigned number)
{
    struct attribute attribute;
    char wanted[20];
    int size = snprintf(wanted, sizeof wanted, "%c%u", letter, number);
    bool there = attribute_known(record->attributes, record->attributes_size, code, &attribute);
    if (!there || number == 0)
        return there == (number > 0);
    return attribute.value_size == (size_t)size && memcmp(attribute.value, wanted, (size_t)size) == 0;
}

static bool is_text(const char *bytes, size_t size, const char *text)
{
    return size == strlen(text) && (size == 0 || memcmp(bytes, text, size) == 0);
}

/* Whether RECORD tells of the death that MESSAGE died, if it did. */
static bool tells_death(const struct trial *trial, const struct record *record, const struct message *message)
{
    static const char *const reasons[] = {"", "rejected", "retries", "format", "unrouted", "overflow"};
    struct letter letter;
    if (!letter_read(record->attributes, record->attributes_size, &letter))
        return message->reason == 0;
    return message->reason > 0 && is_text(letter.reason, letter.reason_size, reasons[message->reason]) &&
           is_text(letter.topic, letter.topic_size, topic_name(message->topic)) &&
           is_text(letter.group, letter.group_size, subscription_group(message->group_name)) &&
           letter.offset == message->offset && letter.attempts == message->attempts && letter.code == message->code &&
           is_text(letter.error, letter.error_size, message->noted ? NOTE : "") && letter.first > 0 &&
           (trial->went_back || letter.last >= letter.first);
}

static _Noreturn void tell_letter(struct trial *trial, const struct engine_delivery *delivery, uint64_t offset,
                                  const struct record *record, const struct message *message)
{
    struct letter letter = {0};
    letter_read(record->attributes, record->attributes_size, &letter);
    trial_fail(
        trial,
        "offset %llu of %s tells of a death by '%.*s' of %.*s, %llu, group %.*s, in %u attempts from %lld to %lld, "
        "code %d, '%.*s'; it should be reason %u of %s, %llu, group %s, in %u attempts, code %d",
        (unsigned long long)offset, delivery->name, (int)letter.reason_size, letter.reason, (int)letter.topic_size,
        letter.topic, (unsigned long long)letter.offset, (int)letter.group_size, letter.group, letter.attempts,
        (long long)letter.first, (long long)letter.last, letter.code, (int)letter.error_size, letter.error,
        message->reason, topic_name(message->topic), (unsigned long long)message->offset,
        subscription_group(message->group_name), message->attempts, message->code);
}

void delivery_check(struct trial *trial, unsigned topic, const struct engine_delivery *delivery)
{
    struct frame frame;
    struct record record;
    struct fault fault = {0};
    uint64_t end = trial->now.topics[topic].end;
    statistics.deliveries += delivery->count;
    if (delivery->count == 0 || delivery->first >= end || delivery->span > end - delivery->first ||
        delivery_count(delivery) != delivery->count || (delivery->mask != NULL) != (delivery->count < delivery->span))
        trial_fail(trial, "a delivery of %u messages of %u from %s at %llu", delivery->count, delivery->span,
                   delivery->name, (unsigned long long)delivery->first);
    if (frame_open(&frame, delivery->data, delivery->size, true, &fault))
        trial_fail(trial, "a delivery from %s at %llu: %s", delivery->name, (unsigned long long)delivery->first,
                   fault_text(&fault));
    if (frame.count != delivery->count)
        trial_fail(trial, "a delivery of %u messages from %s at %llu has %u", delivery->count, delivery->name,
                   (unsigned long long)delivery->first, frame.count);
    struct frame_cursor cursor = frame_cursor(&frame);
    uint64_t offset;
    for (uint32_t at = 0; delivery_next(delivery, &at, &offset) && frame_next(&cursor, &record);) {
        const struct message *message = &trial->messages[topic][offset];
        if (!has_attribute(&record, ATTRIBUTE_PARTITIONKEY, 'k', message->key) ||
            !has_attribute(&record, ATTRIBUTE_ID, 'n', message->name))
            trial_fail(trial, "offset %llu of %s has lost its key or id", (unsigned long long)offset, delivery->name);
        if (!tells_death(trial, &record, message))
            tell_letter(trial, delivery, offset, &record, message);
        if (record.size != message->size || load_u64(record.body) != message->mark ||
            record.producer != message->producer || record.sequence != message->sequence)
            trial_fail(trial, "offset %llu of %s is another message", (unsigned long long)offset, delivery->name);
    }
}

void deliveries_check_rest(struct trial *trial, unsigned index, uint64_t session)
{
    uint64_t waiting = 0, grantable = 0, elsewhere = 0, said = trial->deliveries.waiting;
    for (unsigned group = 0; group < trial->now.groups_count; group++) {
        const struct group_model *model = &trial->now.groups[group];
        const struct group *real = trial_real(trial, group);
        if (model->subscription != index)
            continue;
        for (uint64_t offset = model->low; offset < trial->now.topics[model->topic].end; offset++) {
            const struct cell *cell = cell_at(trial, group, offset);
            bool waits = cell->state == STATE_WAITING;
            waiting += waits;
            grantable += waits && !message_is_expired(trial, model->topic, offset) &&
                         message_is_for(trial, model->topic, offset, real->id);
            elsewhere += cell->state == STATE_DELAYED || (cell->state == STATE_LEASED && cell->session != session);
        }
    }
    /* What nobody has looked at may turn out to be for nobody. */
    if (said < grantable || said > waiting)
        trial_fail(trial, "%llu messages are said to wait, not %llu to %llu", (unsigned long long)said,
                   (unsigned long long)grantable, (unsigned long long)waiting);
    if (trial->deliveries.end && (said > 0 || grantable > 0))
        trial_fail(trial, "the end is said to be there, but %llu wait", (unsigned long long)grantable);
    if (trial->deliveries.end != (said == 0 && elsewhere == 0))
        trial_fail(trial, "the end is said to be %s, but %llu wait and %llu are elsewhere",
                   trial->deliveries.end ? "there" : "to come", (unsigned long long)said,
                   (unsigned long long)elsewhere);
}
