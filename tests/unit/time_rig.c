#include "time_rig.h"

#include "sessionless.h"

#include "message/attributes.h"

#include <string.h>

static struct time_rig *running;

static enum mp_error room(struct engine *engine, const char *topic, size_t size, uint64_t messages, uint64_t bytes,
                          uint64_t session, struct fault *fault)
{
    (void)engine;
    (void)topic;
    (void)size;
    (void)messages;
    (void)bytes;
    (void)session;
    return running->full ? fault_set(fault, MP_ERR_FULL, "full") : MP_OK;
}

static void start(struct time_rig *rig)
{
    const struct engine_local_settings settings = {.keep_store = true, .snapshot_every = 3};
    struct fault fault = {0};
    running = rig;
    assert_int_equal(engine_local_open(rig->store, &settings, &rig->engine, &fault), MP_OK);
    rig->operations = *rig->engine->operations;
    rig->operations.room = room;
    rig->engine->operations = &rig->operations;
    if (rig->engine->operations->load(rig->engine, rig->now, &sessionless_load, &fault))
        fail_msg("%s", fault_text(&fault));
}

void time_rig_begin(struct time_rig *rig)
{
    *rig = (struct time_rig){.now = {.monotonic = 1000 * SECOND, .wall = WALL, .boot = 1}};
    rig->session = rig->producer = 7;
    assert_int_equal(store_open(":memory:", &rig->store, NULL), MP_OK);
    start(rig);
}

void time_rig_end(struct time_rig *rig)
{
    rig->engine->operations->close(rig->engine);
    store_close(rig->store);
}

void time_rig_restart(struct time_rig *rig)
{
    rig->engine->operations->close(rig->engine);
    start(rig);
}

void time_rig_pass(struct time_rig *rig, int64_t microseconds)
{
    rig->now.monotonic += microseconds;
    rig->now.wall += microseconds;
}

static const struct engine_operations *begin(struct time_rig *rig)
{
    rig->engine->operations->begin(rig->engine, rig->now);
    return rig->engine->operations;
}

static bool end(struct time_rig *rig)
{
    const struct engine_operations *engine = rig->engine->operations;
    struct fault fault = {0};
    while (engine->next_ready(rig->engine)) /* nobody waits */
        ;
    if (!rig->undo) {
        if (engine->changed(rig->engine) && engine->commit(rig->engine, sessionless_snapshot, NULL, &fault))
            fail_msg("%s", fault_text(&fault));
        return true;
    }
    rig->undo = false;
    assert_int_equal(engine->rollback(rig->engine, &fault), MP_OK);
    if (engine->load(rig->engine, rig->now, &sessionless_load, &fault))
        fail_msg("%s", fault_text(&fault));
    return false;
}

bool time_rig_tick(struct time_rig *rig)
{
    struct fault fault = {0};
    if (begin(rig)->tick(rig->engine, &fault))
        fail_msg("%s", fault_text(&fault));
    return end(rig);
}

unsigned time_rig_settle_down(struct time_rig *rig)
{
    unsigned turns = 0;
    do {
        assert_true(++turns < 100000);
        time_rig_tick(rig);
    } while (rig->engine->operations->due(rig->engine) <= rig->now.monotonic);
    return turns;
}

static void add_message(struct frame_builder *builder, const struct rig_message *message)
{
    struct buffer block = {0};
    for (unsigned i = 0; i + 1 < sizeof message->attributes / sizeof *message->attributes && message->attributes[i];
         i += 2)
        assert_int_equal(attributes_set(&block, ATTRIBUTE_STRING, message->attributes[i],
                                        strlen(message->attributes[i]), message->attributes[i + 1],
                                        strlen(message->attributes[i + 1]), NULL),
                         MP_OK);
    assert_int_equal(frame_add(builder, message->body, strlen(message->body), block.data, block.size), MP_OK);
    buffer_free(&block);
}

static uint64_t publish(struct time_rig *rig, const char *topic, const char *target, int64_t delay,
                        struct frame_builder *builder, uint32_t *duplicates)
{
    struct frame frame;
    struct fault fault = {0};
    uint64_t first;
    uint32_t doubled;
    rig->sequence += builder->count;
    frame_finish(builder, rig->now.wall);
    struct blob *blob = blob_of_buffer(&builder->bytes);
    assert_non_null(blob);
    assert_int_equal(frame_open(&frame, blob->data, blob->size, true, NULL), MP_OK);
    const struct engine_operations *engine = begin(rig);
    struct engine_origin origin = {
        .session = rig->session, .number = ++rig->numbers[ENGINE_LANE_PUBLISH], .lane = ENGINE_LANE_PUBLISH};
    struct engine_publication publication = {.topic = topic,
                                             .topic_size = strlen(topic),
                                             .target = target,
                                             .target_size = strlen(target),
                                             .due = delay > 0 ? engine->time(rig->engine) + delay : 0,
                                             .frame = &frame,
                                             .blob = blob};
    if (engine->publish(rig->engine, &publication, &origin, &first, &doubled, &fault))
        fail_msg("%s", fault_text(&fault));
    if (duplicates)
        *duplicates = doubled;
    end(rig);
    blob_drop(blob);
    frame_builder_free(builder);
    return first;
}

uint64_t time_rig_publish(struct time_rig *rig, const char *topic, const char *target, int64_t delay,
                          const struct rig_message *messages, uint32_t count, uint32_t *duplicates)
{
    struct frame_builder builder = {0};
    assert_int_equal(frame_begin(&builder, rig->producer, rig->sequence), MP_OK);
    for (uint32_t i = 0; i < count; i++)
        add_message(&builder, &messages[i]);
    return publish(rig, topic, target, delay, &builder, duplicates);
}

uint64_t time_rig_send(struct time_rig *rig, const char *topic, int64_t delay, const char *body, uint32_t count)
{
    struct frame_builder builder = {0};
    assert_int_equal(frame_begin(&builder, rig->producer, rig->sequence), MP_OK);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(frame_add(&builder, body, strlen(body), NULL, 0), MP_OK);
    return publish(rig, topic, "", delay, &builder, NULL);
}

void time_rig_configure(struct time_rig *rig, const char *topic, const char *key, const char *value)
{
    const struct engine_operations *engine = begin(rig);
    struct topic_settings settings;
    struct fault fault = {0};
    if (engine->topic_settings(rig->engine, topic, strlen(topic), &settings, NULL))
        settings_topic_default(&settings);
    if (settings_topic_set(&settings, key, value, &fault) ||
        engine->configure_topic(rig->engine, topic, strlen(topic), &settings, &fault))
        fail_msg("%s", fault_text(&fault));
    end(rig);
}

static struct engine_subscription *subscribe(struct time_rig *rig, const char *topic, const char *group)
{
    struct engine_subscription *subscription;
    struct fault fault = {0};
    if (rig->engine->operations->subscribe(rig->engine, topic, strlen(topic), false, group, strlen(group), rig->session,
                                           ENGINE_FROM_DEFAULT, 0, &subscription, &fault))
        fail_msg("%s", fault_text(&fault));
    return subscription;
}

void time_rig_join(struct time_rig *rig, const char *topic, const char *group)
{
    begin(rig);
    subscribe(rig, topic, group);
    end(rig);
}

static void append(char *text, size_t size, const struct frame *frame)
{
    struct frame_cursor cursor = frame_cursor(frame);
    struct record record;
    size_t at = strlen(text);
    while (frame_next(&cursor, &record)) {
        assert_true(at + record.size + 2 <= size);
        memcpy(text + at, record.body, record.size);
        at += record.size;
        text[at++] = ' ';
        text[at] = '\0';
    }
}

/* Acknowledges a delivery, and adds its bodies to TEXT. */
static void acknowledge(struct time_rig *rig, const struct engine_delivery *delivery, char *text, size_t size)
{
    struct frame frame;
    struct fault fault = {0};
    uint32_t applied;
    assert_int_equal(frame_open(&frame, delivery->data, delivery->size, true, NULL), MP_OK);
    assert_int_equal(frame.count, delivery->count);
    if (text)
        append(text, size, &frame);
    struct engine_origin origin = {
        .session = rig->session, .number = ++rig->numbers[ENGINE_LANE_SETTLE], .lane = ENGINE_LANE_SETTLE};
    struct engine_settlement settlement = {.group = delivery->group,
                                           .lease = rig->fetches,
                                           .first = delivery->first,
                                           .count = delivery->count,
                                           .span = delivery->span,
                                           .action = ENGINE_ACK,
                                           .exit_code = -1};
    if (rig->engine->operations->settle(rig->engine, &origin, &settlement, &applied, &fault))
        fail_msg("%s", fault_text(&fault));
    assert_int_equal(applied, delivery->count);
}

uint32_t time_rig_consume(struct time_rig *rig, const char *topic, const char *group, uint32_t most, char *text,
                          size_t size)
{
    const struct engine_operations *engine = begin(rig);
    const struct engine_limits limits = {.messages = most, .bytes = 1 << 20, .chunks = 1000};
    struct engine_deliveries deliveries = {0};
    struct fault fault = {0};
    struct engine_origin origin = {.session = rig->session, .number = ++rig->fetches, .lane = ENGINE_LANE_FETCH};
    if (engine->grant(rig->engine, subscribe(rig, topic, group), &origin, &limits, 10000, &deliveries, &fault))
        fail_msg("%s", fault_text(&fault));
    uint32_t count = (uint32_t)deliveries.messages;
    for (size_t i = 0; i < deliveries.count; i++)
        if (deliveries.items[i].blob)
            acknowledge(rig, &deliveries.items[i], text, size);
    engine_deliveries_free(&deliveries);
    end(rig);
    return count;
}

void time_rig_expect(struct time_rig *rig, const char *topic, const char *group, const char *expected)
{
    char text[16384] = "";
    while (time_rig_consume(rig, topic, group, 0, text, sizeof text) > 0)
        ;
    assert_string_equal(text, expected);
}
