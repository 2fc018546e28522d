#include "core_rig.h"

#include <stdlib.h>

static struct rig *running;

static uint64_t random_bits(void *context)
{
    struct rig *rig = context;
    return rig->random += UINT64_C(0x9e3779b97f4a7c15);
}

static void take_reply(void *context, uint64_t connection, const uint32_t *ids, unsigned ids_count,
                       const struct server_part *parts, unsigned count)
{
    struct rig *rig = context;
    assert_int_equal(ids_count, 1);
    assert_true(rig->replies_count < REPLIES_MAX);
    struct rig_reply *reply = &rig->replies[rig->replies_count++];
    *reply = (struct rig_reply){.connection = connection, .id = ids[0]};
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(buffer_append(&reply->bytes, parts[i].data, parts[i].size), MP_OK);
        if (parts[i].release)
            parts[i].release(parts[i].owner);
    }
    assert_int_equal(protocol_read_reply(reply->bytes.data, reply->bytes.size, &reply->head), MP_OK);
}

static enum mp_error room(struct engine *engine, const char *topic, size_t size, uint64_t messages, uint64_t bytes,
                          uint64_t session, struct fault *fault)
{
    if (running->full)
        return fault_set(fault, MP_ERR_FULL, "the disk is full");
    return running->real->room(engine, topic, size, messages, bytes, session, fault);
}

static void start(struct rig *rig)
{
    struct fault fault = {0};
    running = rig;
    assert_int_equal(engine_local_open(rig->store, &rig->local, &rig->engine, &fault), MP_OK);
    rig->real = rig->engine->operations;
    rig->operations = *rig->real;
    rig->operations.room = room;
    rig->engine->operations = &rig->operations;
    if (core_new(rig->engine, &rig->settings, rig->now, &rig->core, &fault))
        fail_msg("%s", fault_text(&fault));
}

int rig_set_up(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    rig->now = (struct moment){.monotonic = 1000 * SECOND, .wall = 1700000000 * SECOND};
    rig->settings = (struct core_settings){.name = "test",
                                           .version = "1",
                                           .max_message = 1000,
                                           .lease = 10000,
                                           .grace = 2000,
                                           .context = rig,
                                           .random = random_bits,
                                           .reply = take_reply};
    rig->local.keep_store = true;
    rig->local.snapshot_every = 3;
    assert_int_equal(store_open(":memory:", &rig->store, NULL), MP_OK);
    start(rig);
    *state = rig;
    return 0;
}

void rig_forget_replies(struct rig *rig)
{
    for (unsigned i = 0; i < rig->replies_count; i++)
        buffer_free(&rig->replies[i].bytes);
    rig->replies_count = 0;
}

int rig_tear_down(void **state)
{
    struct rig *rig = *state;
    core_free(rig->core);
    store_close(rig->store);
    rig_forget_replies(rig);
    free(rig);
    return 0;
}

void rig_restart(struct rig *rig)
{
    core_free(rig->core);
    rig->now.monotonic = 5 * SECOND; /* the machine was started again, too */
    start(rig);
}

void rig_pass(struct rig *rig, int64_t microseconds)
{
    rig->now.monotonic += microseconds;
    rig->now.wall += microseconds;
}

uint32_t rig_submit(struct rig *rig, uint64_t connection, enum protocol_type type, unsigned lane, uint64_t session,
                    uint64_t number, unsigned flags, const struct buffer *body)
{
    struct buffer bytes = {0};
    uint32_t id = ++rig->next_id;
    assert_int_equal(protocol_put_request(&bytes, type, lane, session, number), MP_OK);
    protocol_set_flags(&bytes, 0, flags);
    if (lane != PROTOCOL_LANE_CONTROL)
        protocol_set_attempt(&bytes, 0, rig->attempt);
    assert_int_equal(buffer_append(&bytes, body->data, body->size), MP_OK);
    struct blob *blob = blob_of_buffer(&bytes);
    assert_non_null(blob);
    core_submit(rig->core, connection, &id, 1, blob);
    return id;
}

void rig_turn(struct rig *rig)
{
    core_turn(rig->core, rig->now);
}

const struct protocol_reply *rig_reply(const struct rig *rig, uint32_t id)
{
    for (unsigned i = 0; i < rig->replies_count; i++)
        if (rig->replies[i].id == id)
            return &rig->replies[i].head;
    return NULL;
}

enum mp_error rig_status(struct rig *rig, uint32_t id)
{
    const struct protocol_reply *reply = rig_reply(rig, id);
    if (!reply)
        rig_turn(rig);
    reply = rig_reply(rig, id);
    assert_non_null(reply);
    return reply->status;
}

uint64_t rig_hello(struct rig *rig, uint64_t connection)
{
    struct buffer body = {0};
    struct protocol_welcome welcome;
    assert_int_equal(protocol_put_hello(&body, "test", 0), MP_OK);
    uint32_t id = rig_submit(rig, connection, PROTOCOL_HELLO, PROTOCOL_LANE_CONTROL, 0, 1, 0, &body);
    buffer_free(&body);
    assert_int_equal(rig_status(rig, id), MP_OK);
    assert_int_equal(protocol_read_welcome(rig_reply(rig, id), &welcome), MP_OK);
    assert_string_equal(welcome.relay, "test");
    assert_int_equal(welcome.lease, 10000);
    return welcome.session;
}

static struct buffer frame_of(uint64_t producer, uint64_t sequence, unsigned count)
{
    struct frame_builder frame = {0};
    assert_int_equal(frame_begin(&frame, producer, sequence), MP_OK);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(frame_add(&frame, "0123456789", 10, NULL, 0), MP_OK);
    frame_finish(&frame, 1);
    return frame.bytes;
}

uint32_t rig_publish_to(struct rig *rig, uint64_t connection, uint64_t session, uint64_t number,
                        struct protocol_publication to, unsigned count)
{
    struct buffer body = {0}, frame = frame_of(session, (uint32_t)number * UINT64_C(1000), count);
    assert_int_equal(protocol_put_publish(&body, &to), MP_OK);
    assert_int_equal(buffer_append(&body, frame.data, frame.size), MP_OK);
    uint32_t id = rig_submit(rig, connection, PROTOCOL_PUBLISH, PROTOCOL_LANE_PUBLISH, session, number, 0, &body);
    buffer_free(&body);
    buffer_free(&frame);
    return id;
}

uint32_t rig_publish(struct rig *rig, uint64_t connection, uint64_t session, uint64_t number, const char *topic,
                     unsigned count)
{
    return rig_publish_to(rig, connection, session, number, protocol_publication(topic), count);
}

uint64_t rig_offset(struct rig *rig, uint32_t id)
{
    uint64_t offset;
    uint32_t count, duplicates;
    assert_int_equal(rig_status(rig, id), MP_OK);
    assert_int_equal(protocol_read_published(rig_reply(rig, id), &offset, &count, &duplicates), MP_OK);
    assert_int_equal(count, 1);
    return offset;
}

uint32_t rig_fetch(struct rig *rig, uint64_t connection, uint64_t session, uint64_t number, const char *topic,
                   const char *group, uint32_t messages, uint32_t wait)
{
    struct buffer body = {0};
    struct protocol_fetch fetch = {.topic = topic,
                                   .topic_size = strlen(topic),
                                   .group = group,
                                   .group_size = strlen(group),
                                   .max_messages = messages,
                                   .max_bytes = 100000,
                                   .wait = wait};
    assert_int_equal(protocol_put_fetch(&body, &fetch, NULL), MP_OK);
    uint32_t id = rig_submit(rig, connection, PROTOCOL_FETCH, PROTOCOL_LANE_FETCH, session, number, 0, &body);
    buffer_free(&body);
    return id;
}

uint32_t rig_settle(struct rig *rig, uint64_t connection, uint64_t session, uint64_t number,
                    const struct protocol_settlement *item, const char *publish)
{
    struct buffer body = {0};
    assert_int_equal(protocol_put_settle(&body, item, 1, publish != NULL), MP_OK);
    if (publish) {
        struct buffer frame = frame_of(session, 1, 2);
        struct protocol_publication to = protocol_publication(publish);
        to.frame = frame.data;
        to.frame_size = frame.size;
        assert_int_equal(protocol_put_settle_publish(&body, &to), MP_OK);
        buffer_free(&frame);
    }
    uint32_t id = rig_submit(rig, connection, PROTOCOL_SETTLE, PROTOCOL_LANE_SETTLE, session, number,
                             publish ? PROTOCOL_ATOMIC : 0, &body);
    buffer_free(&body);
    return id;
}

bool rig_chunk(const struct rig *rig, uint32_t id, struct protocol_chunk *chunk)
{
    struct protocol_fetched fetched;
    const struct protocol_reply *reply = rig_reply(rig, id);
    assert_non_null(reply);
    assert_int_equal(reply->status, MP_OK);
    assert_int_equal(protocol_read_fetched(reply, &fetched), MP_OK);
    return protocol_next_chunk(&fetched, chunk);
}

uint32_t rig_messages(const struct rig *rig, uint32_t id)
{
    struct protocol_fetched fetched;
    struct protocol_chunk chunk;
    uint32_t messages = 0;
    assert_non_null(rig_reply(rig, id));
    assert_int_equal(protocol_read_fetched(rig_reply(rig, id), &fetched), MP_OK);
    while (protocol_next_chunk(&fetched, &chunk))
        messages += chunk.frame_size > 0 ? chunk.count : 0;
    return messages;
}

uint64_t rig_count(struct rig *rig, const char *topic)
{
    uint64_t session = rig_hello(rig, 999);
    uint32_t id = rig_fetch(rig, 999, session, 0, topic, "", 0, 0);
    assert_int_equal(rig_status(rig, id), MP_OK);
    core_disconnected(rig->core, 999);
    return rig_messages(rig, id);
}
