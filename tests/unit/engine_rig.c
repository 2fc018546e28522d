#include "engine_rig.h"

#include "sessionless.h"

#include "base/bits.h"

#include <stdio.h>
#include <stdlib.h>

static const struct engine_operations *operations(const struct rig *rig)
{
    return rig->engine->operations;
}

static void check(struct rig *rig, enum mp_error error, const char *what)
{
    if (error)
        fail_msg("%s: %s", what, fault_text(&rig->fault));
}

static void load(struct rig *rig)
{
    check(rig, operations(rig)->load(rig->engine, rig->now, &sessionless_load, &rig->fault), "load");
}

static void start(struct rig *rig)
{
    check(rig, engine_local_open(rig->store, &rig->local, &rig->engine, &rig->fault), "open");
    load(rig);
}

int rig_set_up(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    rig->now = (struct moment){.monotonic = 1000 * SECOND, .wall = 1700000000 * SECOND, .boot = 1};
    rig->limits = (struct engine_limits){.bytes = 1 << 20, .chunks = 1000, .sets = true};
    rig->local.keep_store = true;
    rig->local.snapshot_every = 3;
    check(rig, store_open(":memory:", &rig->store, &rig->fault), "store");
    start(rig);
    *state = rig;
    return 0;
}

int rig_tear_down(void **state)
{
    struct rig *rig = *state;
    engine_deliveries_free(&rig->given);
    operations(rig)->close(rig->engine);
    store_close(rig->store);
    free(rig);
    return 0;
}

void rig_begin(struct rig *rig)
{
    assert_false(rig->turn);
    rig->turn = true;
    operations(rig)->begin(rig->engine, rig->now);
}

void rig_commit(struct rig *rig)
{
    check(rig, operations(rig)->commit(rig->engine, sessionless_snapshot, NULL, &rig->fault), "commit");
    rig->turn = false;
}

void rig_undo(struct rig *rig)
{
    store_fail_commit(rig->store, 1);
    assert_int_not_equal(operations(rig)->commit(rig->engine, sessionless_snapshot, NULL, &rig->fault), MP_OK);
    check(rig, operations(rig)->rollback(rig->engine, &rig->fault), "rollback");
    load(rig);
    rig->turn = false;
}

void rig_restart(struct rig *rig)
{
    engine_deliveries_clear(&rig->given);
    operations(rig)->close(rig->engine);
    rig->now.monotonic = 5 * SECOND;
    rig->now.boot++;
    start(rig);
}

/* A call inside a turn: one that is under way, or its own. */
static bool turn_begin(struct rig *rig)
{
    bool own = !rig->turn;
    if (own)
        rig_begin(rig);
    return own;
}

void rig_pass(struct rig *rig, int64_t microseconds)
{
    rig->now.monotonic += microseconds;
    rig->now.wall += microseconds;
    rig_begin(rig);
    check(rig, operations(rig)->tick(rig->engine, &rig->fault), "tick");
    rig_commit(rig);
}

/* ---- publishing ----------------------------------------------------------------------------------------------- */

static uint64_t publish(struct rig *rig, const char *topic, const char *target, struct frame_builder *builder)
{
    struct frame frame;
    uint64_t first = 0;
    uint32_t duplicates;
    frame_finish(builder, rig->now.wall);
    struct blob *blob = blob_of_buffer(&builder->bytes);
    assert_non_null(blob);
    check(rig, frame_open(&frame, blob->data, blob->size, true, &rig->fault), "frame");
    struct engine_publication publication = {.topic = topic,
                                             .topic_size = strlen(topic),
                                             .target = target,
                                             .target_size = strlen(target),
                                             .frame = &frame,
                                             .blob = blob};
    struct engine_origin origin = {.session = 1, .number = ++rig->numbers[1][0], .lane = ENGINE_LANE_PUBLISH};
    bool own = turn_begin(rig);
    check(rig, operations(rig)->publish(rig->engine, &publication, &origin, &first, &duplicates, &rig->fault),
          "publish");
    if (own)
        rig_commit(rig);
    blob_drop(blob);
    return first;
}

uint64_t rig_publish(struct rig *rig, const char *topic, unsigned count)
{
    struct frame_builder builder = {0};
    char body[16];
    assert_int_equal(frame_begin(&builder, 77, rig->sequence += 100000), MP_OK);
    for (unsigned i = 0; i < count; i++) {
        int size = snprintf(body, sizeof body, "m%u", i);
        assert_int_equal(frame_add(&builder, body, (size_t)size, NULL, 0), MP_OK);
    }
    return publish(rig, topic, "", &builder);
}

uint64_t rig_publish_keys(struct rig *rig, const char *topic, const char *target, const char *keys)
{
    struct frame_builder builder = {0};
    char body[16];
    assert_int_equal(frame_begin(&builder, 77, rig->sequence += 100000), MP_OK);
    for (unsigned i = 0; keys[i] != '\0'; i++) {
        struct buffer block = {0};
        int size = snprintf(body, sizeof body, "m%u", i);
        if (keys[i] != '-')
            assert_int_equal(attributes_set(&block, ATTRIBUTE_STRING, "partitionkey", 12, &keys[i], 1, NULL), MP_OK);
        assert_int_equal(frame_add(&builder, body, (size_t)size, block.data, block.size), MP_OK);
        buffer_free(&block);
    }
    return publish(rig, topic, target, &builder);
}

uint64_t rig_publish_one(struct rig *rig, const char *topic, const char *body, const struct buffer *attributes)
{
    struct frame_builder builder = {0};
    assert_int_equal(frame_begin(&builder, 77, rig->sequence += 100000), MP_OK);
    assert_int_equal(frame_add(&builder, body, strlen(body), attributes->data, attributes->size), MP_OK);
    return publish(rig, topic, "", &builder);
}

/* ---- consuming ------------------------------------------------------------------------------------------------ */

struct engine_subscription *rig_subscribe(struct rig *rig, const char *topic, const char *group, uint64_t session)
{
    bool pattern;
    struct engine_subscription *subscription;
    check(rig, name_check_pattern(topic, strlen(topic), &pattern, &rig->fault), "name");
    bool own = turn_begin(rig);
    check(rig,
          operations(rig)->subscribe(rig->engine, topic, strlen(topic), pattern, group, strlen(group), session,
                                     ENGINE_FROM_DEFAULT, 0, &subscription, &rig->fault),
          "subscribe");
    if (own)
        rig_commit(rig);
    return subscription;
}

uint64_t rig_fetch(struct rig *rig, uint64_t session, const char *topic, const char *group, uint32_t messages)
{
    struct engine_origin origin = {
        .session = session, .number = ++rig->numbers[session][ENGINE_LANE_FETCH], .lane = ENGINE_LANE_FETCH};
    struct engine_limits limits = rig->limits;
    limits.messages = messages;
    bool own = turn_begin(rig);
    engine_deliveries_clear(&rig->given);
    struct engine_subscription *subscription = rig_subscribe(rig, topic, group, session);
    check(rig, operations(rig)->grant(rig->engine, subscription, &origin, &limits, 10000, &rig->given, &rig->fault),
          "grant");
    if (own)
        rig_commit(rig);
    return rig->given.messages;
}

uint64_t rig_fetch_again(struct rig *rig, uint64_t session, const char *topic, const char *group)
{
    struct engine_origin origin = {
        .session = session, .number = rig->numbers[session][ENGINE_LANE_FETCH], .lane = ENGINE_LANE_FETCH};
    struct engine_limits limits = {.bytes = SIZE_MAX, .chunks = 1000, .sets = rig->limits.sets};
    bool own = turn_begin(rig);
    engine_deliveries_clear(&rig->given);
    check(rig,
          operations(rig)->regrant(rig->engine, rig_subscribe(rig, topic, group, 1), &origin, &limits, &rig->given,
                                   &rig->fault),
          "regrant");
    if (own)
        rig_commit(rig);
    return rig->given.messages;
}

uint64_t rig_peek(struct rig *rig, const char *topic, const char *group, uint64_t next)
{
    struct engine_limits limits = rig->limits;
    struct engine_position position = {.topic = 1, .next = next};
    bool own = turn_begin(rig);
    engine_deliveries_clear(&rig->given);
    check(rig,
          operations(rig)->read(rig->engine, rig_subscribe(rig, topic, group, 1), &position, next > 0,
                                ENGINE_FROM_DEFAULT, 0, &limits, &rig->given, &rig->fault),
          "peek");
    if (own)
        rig_commit(rig);
    return rig->given.messages;
}

uint64_t rig_release(struct rig *rig, uint64_t session)
{
    uint64_t messages;
    bool own = turn_begin(rig);
    check(rig, operations(rig)->release(rig->engine, session, &messages, &rig->fault), "release");
    if (own)
        rig_commit(rig);
    return messages;
}

void rig_configure(struct rig *rig, const char *topic, const char *group, const char *key, const char *value)
{
    struct group_settings settings;
    if (operations(rig)->group_settings(rig->engine, topic, strlen(topic), group, strlen(group), &settings, NULL))
        settings_group_default(&settings);
    check(rig, settings_group_set(&settings, key, value, &rig->fault), "setting");
    bool own = turn_begin(rig);
    check(rig,
          operations(rig)->configure_group(rig->engine, topic, strlen(topic), strpbrk(topic, "*>") != NULL, group,
                                           strlen(group), &settings, &rig->fault),
          "configure");
    if (own)
        rig_commit(rig);
}

uint64_t rig_read(struct rig *rig, const char *topic)
{
    struct engine_limits limits = {.bytes = 1 << 24, .chunks = 1000, .sets = rig->limits.sets};
    bool own = turn_begin(rig);
    engine_deliveries_clear(&rig->given);
    struct engine_subscription *subscription = rig_subscribe(rig, topic, "", 1);
    check(rig,
          operations(rig)->read(rig->engine, subscription, NULL, 0, ENGINE_FROM_START, 0, &limits, &rig->given,
                                &rig->fault),
          "read");
    operations(rig)->forget(rig->engine, subscription);
    if (own)
        rig_commit(rig);
    return rig->given.messages;
}

uint32_t rig_settle_as(struct rig *rig, uint64_t session, struct engine_settlement settlement)
{
    struct engine_origin origin = {
        .session = session, .number = ++rig->numbers[session][ENGINE_LANE_SETTLE], .lane = ENGINE_LANE_SETTLE};
    uint32_t applied = 0;
    if (settlement.group == 0)
        settlement.group = rig->given.items[0].group;
    if (settlement.lease == 0)
        settlement.lease = rig->numbers[session][ENGINE_LANE_FETCH];
    bool own = turn_begin(rig);
    check(rig, operations(rig)->settle(rig->engine, &origin, &settlement, &applied, &rig->fault), "settle");
    if (own)
        rig_commit(rig);
    return applied;
}

uint32_t rig_settle(struct rig *rig, uint64_t session, uint64_t first, uint32_t count, enum engine_action action)
{
    return rig_settle_as(
        rig, session,
        (struct engine_settlement){
            .first = first, .count = count, .action = action, .delay = ENGINE_DELAY_POLICY, .exit_code = -1});
}

const char *rig_offsets(const struct rig *rig)
{
    static char text[16384];
    size_t size = 0;
    text[0] = '\0';
    for (size_t i = 0; i < rig->given.count; i++) {
        const struct engine_delivery *delivery = &rig->given.items[i];
        for (uint32_t at = 0; at < delivery->span && delivery->count > 0; at++)
            if (!delivery->mask || bits_get(delivery->mask, at))
                size += (size_t)snprintf(text + size, sizeof text - size, "%llu ",
                                         (unsigned long long)(delivery->first + at));
        assert_true(size < sizeof text);
    }
    return text;
}

/* ---- looking -------------------------------------------------------------------------------------------------- */

struct record rig_record(const struct rig *rig, unsigned index)
{
    for (size_t i = 0; i < rig->given.count; i++) {
        static struct frame frame;
        struct record record;
        if (rig->given.items[i].size == 0)
            continue;
        assert_int_equal(frame_open(&frame, rig->given.items[i].data, rig->given.items[i].size, true, NULL), MP_OK);
        struct frame_cursor cursor = frame_cursor(&frame);
        while (frame_next(&cursor, &record))
            if (index-- == 0)
                return record;
    }
    fail_msg("there are fewer messages");
    return (struct record){0};
}

const char *rig_attribute(const struct record *record, const char *name)
{
    static char texts[4][ATTRIBUTE_VALUE_MAX + 1];
    static unsigned next;
    struct attribute attribute;
    char *text = texts[next++ % 4];
    text[0] = '\0';
    if (attribute_find(record->attributes, record->attributes_size, name, strlen(name), &attribute)) {
        memcpy(text, attribute.value, attribute.value_size);
        text[attribute.value_size] = '\0';
    }
    return text;
}

void rig_deal(struct rig *rig, const char *topic, uint32_t count, uint32_t given)
{
    rig_publish(rig, topic, count);
    assert_int_equal(rig_fetch(rig, 2, topic, "g", given), given);
}

void rig_assert_text(const char *text, const char *wanted)
{
    if (strcmp(text, wanted) != 0)
        fail_msg("'%s' instead of '%s'", text, wanted);
}
