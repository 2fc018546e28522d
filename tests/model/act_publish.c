#include "model.h"

#include "base/memory.h"
#include "base/units.h"
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
    if (flavour->expires && trial_chance(trial, 50))
        message->life = 1 + (int64_t)trial_below(trial, 3 * (uint64_t)flavour->slow);
}

static void set_attribute(struct trial *trial, struct buffer *block, const char *name, char letter, unsigned number)
{
    char value[20];
    struct fault fault = {0};
    int size = snprintf(value, sizeof value, "%c%u", letter, number);
    if (number > 0 && attributes_set(block, ATTRIBUTE_STRING, name, strlen(name), value, (size_t)size, &fault))
        trial_fail(trial, "attribute %s: %s", name, fault_text(&fault));
}

static void set_expiry(struct trial *trial, struct buffer *block, const struct message *message)
{
    char text[UNITS_TIME_TEXT];
    struct fault fault = {0};
    if (message->life == 0)
        return;
    units_time_text(trial->moment.wall + message->life, text);
    if (attributes_set(block, ATTRIBUTE_STRING, "expirytime", 10, text, strlen(text), &fault))
        trial_fail(trial, "expirytime: %s", fault_text(&fault));
}

static void add_message(struct trial *trial, struct frame_builder *builder, const struct message *message)
{
    static uint8_t body[8192];
    struct buffer block = {0};
    set_attribute(trial, &block, "id", 'n', message->name);
    set_attribute(trial, &block, "partitionkey", 'k', message->key);
    set_expiry(trial, &block, message);
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
    for (uint32_t i = 0; i < count; i++)
        sending->messages[i].share = (double)sending->frame.size / count;
    statistics.messages += count;
}

static void sending_free(struct sending *sending)
{
    blob_drop(sending->blob);
    frame_builder_free(&sending->builder);
    memory_release(sending->messages);
}

/* Whether the topic takes what is to be sent, as engine and reference agree. */
static bool has_room(struct trial *trial, unsigned topic, const struct sending *sending, uint64_t session)
{
    const char *name = topic_name(topic);
    struct fault fault = {0};
    bool waiting = trial_chance(trial, 50);
    uint64_t fits = trial->call->fits(trial->engine, name, strlen(name), sending->count, sending->frame.size, waiting);
    flow_check_fits(trial, topic, sending->count, sending->frame.size, waiting, fits);
    enum mp_error error =
        trial->call->room(trial->engine, name, strlen(name), sending->count, sending->frame.size, session, &fault);
    if (!flow_may_say(trial, topic, sending->count, (double)sending->frame.size, error))
        trial_fail(trial, "room for %u messages of %zu bytes in %s: %u (%s)", sending->count, sending->frame.size, name,
                   (unsigned)error, error ? fault_text(&fault) : "");
    return error == MP_OK;
}

/* Gives the frame to engine and reference. */
static void send(struct trial *trial, unsigned topic, const struct engine_publication *publication,
                 const struct engine_origin *origin, const struct sending *sending, struct lane *result)
{
    const char *name = topic_name(topic);
    bool scheduled = publication->due > relay_time(trial);
    uint64_t wanted = scheduled ? ENGINE_SCHEDULED : trial->now.topics[topic].end, first = 0;
    uint32_t duplicates = 0, known = 0;
    struct fault fault = {0};
    if (trial->call->publish(trial->engine, publication, origin, &first, &duplicates, &fault))
        trial_fail(trial, "publishing %u messages to %s: %s", sending->count, name, fault_text(&fault));
    if (first != wanted)
        trial_fail(trial, "published to %s at offset %llu instead of %llu", name, (unsigned long long)first,
                   (unsigned long long)wanted);
    if (scheduled) {
        reference_schedule(trial, topic, publication->due, sending->messages, sending->count);
    } else {
        reference_append(trial, topic, sending->messages, sending->count, 0);
        for (uint32_t i = 0; i < sending->count; i++)
            known += trial->messages[topic][first + i].duplicate;
        flow_drop_oldest(trial, topic);
    }
    if (duplicates != known)
        trial_fail(trial, "%u messages are said to be duplicates instead of %u", duplicates, known);
    *result = (struct lane){origin->number, first, sending->count};
    trial_say(trial, "publish %u (%u known) to %s at %llu, due %lld, for %s, lane %u of session %llx", sending->count,
              known, name, (unsigned long long)first, (long long)publication->due,
              publication->target_size > 0 ? publication->target : "all", origin->lane,
              (unsigned long long)origin->session);
}

bool publish_frame(struct trial *trial, unsigned topic, unsigned session, const struct engine_origin *origin,
                   int64_t due, unsigned target, struct lane *result)
{
    const char *name = topic_name(topic);
    bool scheduled = due > relay_time(trial), room;
    uint32_t most = scheduled ? PARCEL_MAX : UINT32_MAX;
    struct sending sending;
    if (trial->now.topics[topic].end >= trial->flavour.topic_max ||
        (scheduled && trial->now.schedule_count == SCHEDULE_MAX))
        return false;
    if (most > trial->flavour.frame_max)
        most = trial->flavour.frame_max;
    build(trial, session, 1 + (uint32_t)trial_below(trial, most), &sending);
    struct engine_publication publication = {
        .topic = name, .topic_size = strlen(name), .due = due, .frame = &sending.frame, .blob = sending.blob};
    if (target < GROUPS_MAX) {
        publication.target = subscription_group(trial->now.groups[target].subscription);
        publication.target_size = strlen(publication.target);
        for (uint32_t i = 0; i < sending.count; i++)
            sending.messages[i].target = trial_real(trial, target)->id;
    }
    if ((room = has_room(trial, topic, &sending, origin->session)))
        send(trial, topic, &publication, origin, &sending, result);
    sending_free(&sending);
    return room;
}

void act_publish(struct trial *trial)
{
    unsigned topic = choose_topic(trial);
    unsigned session = (unsigned)trial_below(trial, trial->flavour.sessions);
    struct lane *lane = &trial->now.lanes[session][ENGINE_LANE_PUBLISH];
    struct engine_origin origin = {
        .session = trial->sessions[session], .number = lane->number + 1, .lane = ENGINE_LANE_PUBLISH};
    publish_frame(trial, topic, session, &origin, 0, GROUPS_MAX, lane);
}

/* For later: nothing but the session's row tells its number then. */
void act_schedule(struct trial *trial)
{
    unsigned topic = (unsigned)trial_below(trial, trial->flavour.topics);
    unsigned session = (unsigned)trial_below(trial, trial->flavour.sessions);
    struct lane *lane = &trial->now.lanes[session][ENGINE_LANE_PUBLISH];
    struct engine_origin origin = {
        .session = trial->sessions[session], .number = lane->number + 1, .lane = ENGINE_LANE_PUBLISH};
    int64_t due = relay_time(trial) + 1 + (int64_t)trial_below(trial, 2 * (uint64_t)trial->flavour.slow);
    if (trial_chance(trial, 20) && trial->now.schedule_count > 0)
        due = trial->now.schedule[trial_below(trial, trial->now.schedule_count)].due;
    if (publish_frame(trial, topic, session, &origin, due, GROUPS_MAX, lane) && lane->result == ENGINE_SCHEDULED)
        keep_number(trial, session, &origin);
}

/* The group of TOPIC that alone has NAME; GROUPS_MAX: none has, or several have. */
static unsigned only_group(const struct trial *trial, unsigned topic, const char *name)
{
    unsigned found = GROUPS_MAX, count = 0;
    for (unsigned group = 0; group < trial->now.groups_count; group++) {
        const struct group_model *model = &trial->now.groups[group];
        if (model->topic != topic || strcmp(subscription_group(model->subscription), name) != 0)
            continue;
        found = group;
        count++;
    }
    return count == 1 ? found : GROUPS_MAX;
}

/* For one group alone. */
void act_replay(struct trial *trial)
{
    unsigned topic = (unsigned)trial_below(trial, trial->flavour.topics);
    unsigned session = (unsigned)trial_below(trial, trial->flavour.sessions);
    struct lane *lane = &trial->now.lanes[session][ENGINE_LANE_PUBLISH];
    struct engine_origin origin = {
        .session = trial->sessions[session], .number = lane->number + 1, .lane = ENGINE_LANE_PUBLISH};
    const char *group = subscription_group(1 + (unsigned)trial_below(trial, trial->flavour.groups));
    unsigned target = only_group(trial, topic, group);
    if (target < GROUPS_MAX)
        publish_frame(trial, topic, session, &origin, 0, target, lane);
}
