#include "model.h"

#include "base/memory.h"
#include "message/attributes.h"

#include <stdio.h>

/* Messages and the frame of them. */
struct sending {
    struct message *messages;
    uint32_t count;
    struct frame_builder builder;
    struct blob *blob;
    struct frame frame;
};

static void fill_message(struct trial *trial, struct message *message, unsigned session)
{
    const struct flavour *flavour = &trial->flavour;
    *message = (struct message){
        .mark = ++trial->marks,
        .producer = trial->sessions[session],
        .sequence = trial->sequences[session]++,
        .size = 8 + (uint32_t)trial_below(trial, flavour->body_max - 7),
        .key = (uint8_t)trial_below(trial, flavour->keys + 1),
        .name = (uint8_t)trial_below(trial, flavour->names + 1),
    };
}

static void set_attribute(struct trial *trial, struct buffer *block, const char *name, char letter, unsigned number)
{
    char value[20];
    struct fault fault = {0};
    int size = snprintf(value, sizeof value, "%c%u", letter, number);
    if (number > 0 && attributes_set(block, ATTRIBUTE_STRING, name, strlen(name), value, (size_t)size, &fault))
        trial_fail(trial, "attribute %s: %s", name, fault_text(&fault));
}

static void add_message(struct trial *trial, struct frame_builder *builder, const struct message *message)
{
    static uint8_t body[8192];
    struct buffer block = {0};
    set_attribute(trial, &block, "id", 'n', message->name);
    set_attribute(trial, &block, "partitionkey", 'k', message->key);
    store_u64(body, message->mark);
    if (frame_add(builder, body, message->size, block.data, block.size))
        trial_fail(trial, "no memory for a frame");
    buffer_free(&block);
}

static void build(struct trial *trial, unsigned session, uint32_t count, struct sending *sending)
{
    struct frame_builder *builder = &sending->builder;
    struct fault fault = {0};
    *sending = (struct sending){.count = count};
    if (!(sending->messages = memory_allocate_array(count, sizeof *sending->messages)) ||
        frame_begin(builder, trial->sessions[session], trial->sequences[session]))
        trial_fail(trial, "no memory for a frame");
    for (uint32_t i = 0; i < count; i++) {
        fill_message(trial, &sending->messages[i], session);
        add_message(trial, builder, &sending->messages[i]);
    }
    frame_finish(builder, trial->moment.wall);
    sending->blob = blob_of_buffer(&builder->bytes);
    if (!sending->blob || frame_open(&sending->frame, sending->blob->data, sending->blob->size, true, &fault))
        trial_fail(trial, "no frame: %s", fault_text(&fault));
    statistics.messages += count;
}

static void sending_free(struct sending *sending)
{
    blob_drop(sending->blob);
    frame_builder_free(&sending->builder);
    memory_release(sending->messages);
}

static void reference_schedule(struct trial *trial, unsigned topic, int64_t due, const struct sending *sending)
{
    struct parcel *parcel = &trial->now.schedule[trial->now.schedule_count++];
    *parcel = (struct parcel){.topic = topic, .due = due, .count = sending->count};
    memcpy(parcel->messages, sending->messages, sending->count * sizeof *parcel->messages);
    reference_make_topic(trial, topic);
}

bool publish_frame(struct trial *trial, unsigned topic, unsigned session, const struct engine_origin *origin,
                   int64_t due, struct lane *result)
{
    const char *name = topic_name(topic);
    bool scheduled = due > relay_time(trial);
    uint64_t wanted = scheduled ? ENGINE_SCHEDULED : trial->now.topics[topic].end, first = 0;
    uint32_t duplicates = 0, most = scheduled ? PARCEL_MAX : UINT32_MAX;
    struct sending sending;
    struct fault fault = {0};
    if (trial->now.topics[topic].end >= trial->flavour.topic_max ||
        (scheduled && trial->now.schedule_count == SCHEDULE_MAX))
        return false;
    if (most > trial->flavour.frame_max)
        most = trial->flavour.frame_max;
    build(trial, session, 1 + (uint32_t)trial_below(trial, most), &sending);
    struct engine_publication publication = {
        .topic = name, .topic_size = strlen(name), .due = due, .frame = &sending.frame, .blob = sending.blob};
    if (trial->call->room(trial->engine, name, strlen(name), sending.count, sending.frame.size, origin->session,
                          &fault) ||
        trial->call->publish(trial->engine, &publication, origin, &first, &duplicates, &fault))
        trial_fail(trial, "publishing %u messages to %s: %s", sending.count, name, fault_text(&fault));
    if (first != wanted)
        trial_fail(trial, "published to %s at offset %llu instead of %llu", name, (unsigned long long)first,
                   (unsigned long long)wanted);
    if (scheduled)
        reference_schedule(trial, topic, due, &sending);
    else
        reference_append(trial, topic, sending.messages, sending.count);
    *result = (struct lane){origin->number, first, sending.count};
    trial_say(trial, "publish %u to %s at %llu, due %lld, lane %u of session %u", sending.count, name,
              (unsigned long long)first, (long long)due, origin->lane, session);
    sending_free(&sending);
    return true;
}

void act_publish(struct trial *trial)
{
    unsigned topic = (unsigned)trial_below(trial, trial->flavour.topics);
    unsigned session = (unsigned)trial_below(trial, trial->flavour.sessions);
    struct lane *lane = &trial->now.lanes[session][ENGINE_LANE_PUBLISH];
    struct engine_origin origin = {trial->sessions[session], lane->number + 1, ENGINE_LANE_PUBLISH};
    publish_frame(trial, topic, session, &origin, 0, lane);
}

/* For later: nothing but the session's row tells its number then. */
void act_schedule(struct trial *trial)
{
    unsigned topic = (unsigned)trial_below(trial, trial->flavour.topics);
    unsigned session = (unsigned)trial_below(trial, trial->flavour.sessions);
    struct lane *lane = &trial->now.lanes[session][ENGINE_LANE_PUBLISH];
    struct engine_origin origin = {trial->sessions[session], lane->number + 1, ENGINE_LANE_PUBLISH};
    int64_t due = relay_time(trial) + 1 + (int64_t)trial_below(trial, 2 * (uint64_t)trial->flavour.slow);
    if (trial_chance(trial, 20) && trial->now.schedule_count > 0)
        due = trial->now.schedule[trial_below(trial, trial->now.schedule_count)].due;
    if (publish_frame(trial, topic, session, &origin, due, lane) && lane->result == ENGINE_SCHEDULED)
        keep_number(trial, session, &origin);
}
