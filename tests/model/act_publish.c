#include "model.h"

#include "base/memory.h"

static void fill_message(struct trial *trial, struct message *message, unsigned session)
{
    *message = (struct message){
        .mark = ++trial->marks,
        .producer = trial->sessions[session],
        .sequence = trial->sequences[session]++,
        .size = 8 + (uint32_t)trial_below(trial, trial->flavour.body_max - 7),
    };
}

static void add_message(struct trial *trial, struct frame_builder *builder, const struct message *message)
{
    static uint8_t body[8192];
    store_u64(body, message->mark);
    if (frame_add(builder, body, message->size, NULL, 0))
        trial_fail(trial, "no memory for a frame");
}

/* Where the row's time has to be: it never falls within a topic. */
static int64_t row_time(const struct trial *trial, unsigned topic)
{
    int64_t last = trial->now.topics[topic].last_time;
    return relay_time(trial) > last ? relay_time(trial) : last;
}

bool publish_frame(struct trial *trial, unsigned topic, unsigned session, const struct engine_origin *origin,
                   uint64_t *first, uint32_t *count)
{
    struct message *fresh;
    struct frame_builder builder = {0};
    struct fault fault = {0};
    struct frame frame;
    if (trial->now.topics[topic].end >= trial->flavour.topic_max)
        return false;
    *count = 1 + (uint32_t)trial_below(trial, trial->flavour.frame_max);
    if (!(fresh = memory_allocate_array(*count, sizeof *fresh)) ||
        frame_begin(&builder, trial->sessions[session], trial->sequences[session]))
        trial_fail(trial, "no memory for a frame");
    for (uint32_t i = 0; i < *count; i++) {
        fill_message(trial, &fresh[i], session);
        fresh[i].time = row_time(trial, topic);
        add_message(trial, &builder, &fresh[i]);
    }
    frame_finish(&builder, trial->moment.wall);
    struct blob *blob = blob_of_buffer(&builder.bytes);
    if (!blob || frame_open(&frame, blob->data, blob->size, true, &fault))
        trial_fail(trial, "no frame: %s", fault_text(&fault));
    const char *name = topic_name(topic);
    struct engine_publication publication = {.topic = name, .topic_size = strlen(name), .frame = &frame, .blob = blob};
    uint32_t duplicates = 0;
    if (trial->call->room(trial->engine, name, strlen(name), *count, frame.size, origin->session, &fault) ||
        trial->call->publish(trial->engine, &publication, origin, first, &duplicates, &fault))
        trial_fail(trial, "publishing %u messages to %s: %s", *count, name, fault_text(&fault));
    if (*first != trial->now.topics[topic].end)
        trial_fail(trial, "published to %s at offset %llu instead of %llu", name, (unsigned long long)*first,
                   (unsigned long long)trial->now.topics[topic].end);
    for (uint32_t i = 0; i < *count; i++)
        reference_append(trial, topic, &fresh[i]);
    trial->now.topics[topic].last_time = row_time(trial, topic);
    statistics.messages += *count;
    blob_drop(blob);
    frame_builder_free(&builder);
    memory_release(fresh);
    return true;
}

void act_publish(struct trial *trial)
{
    unsigned topic = (unsigned)trial_below(trial, trial->flavour.topics);
    unsigned session = (unsigned)trial_below(trial, trial->flavour.sessions);
    struct lane *lane = &trial->now.lanes[session][ENGINE_LANE_PUBLISH];
    struct engine_origin origin = {trial->sessions[session], lane->number + 1, ENGINE_LANE_PUBLISH};
    uint64_t first;
    uint32_t count;
    if (!publish_frame(trial, topic, session, &origin, &first, &count))
        return;
    *lane = (struct lane){origin.number, first, count};
    trial_say(trial, "publish %u to %s at %llu, session %u", count, topic_name(topic), (unsigned long long)first,
              session);
}
