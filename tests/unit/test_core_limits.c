/* The core at its limits: errors in the middle of a turn, hostile requests, and what is bounded. */
#include "relay/core.h"
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { CLIENTS = 1, SECOND = 1000000 };

static struct {
    struct store *store;
    struct engine *engine;
    struct engine_operations operations; /* the engine's, to put failures between */
    const struct engine_operations *real;
    struct core *core;
    struct moment now;
    struct buffer reply; /* the last */
    unsigned replies;
    uint64_t random;
    unsigned loads;
    size_t unsent;
} rig;

static uint64_t next_random(void *context)
{
    (void)context;
    return ++rig.random;
}

static void on_reply(void *context, uint64_t connection, const uint32_t *ids, unsigned ids_count,
                     const struct server_part *parts, unsigned count)
{
    (void)context;
    (void)connection;
    (void)ids;
    (void)ids_count;
    rig.replies++;
    rig.reply.size = 0;
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(buffer_append(&rig.reply, parts[i].data, parts[i].size), MP_OK);
        if (parts[i].release)
            parts[i].release(parts[i].owner);
    }
}

static size_t unsent(void *context, uint64_t connection)
{
    (void)context;
    return connection == 1 ? rig.unsent : 0;
}

static void open_core(void)
{
    struct core_settings settings = {
        .name = "test", .version = "1", .random = next_random, .reply = on_reply, .unsent = unsent};
    struct fault fault = {0};
    assert_int_equal(
        engine_local_open(rig.store, &(struct engine_local_settings){.keep_store = true}, &rig.engine, &fault), MP_OK);
    rig.real = rig.engine->operations;
    rig.operations = *rig.real;
    rig.engine->operations = &rig.operations;
    assert_int_equal(core_new(rig.engine, &settings, rig.now, &rig.core, &fault), MP_OK);
}

static int set_up(void **state)
{
    (void)state;
    memset(&rig, 0, sizeof rig);
    rig.now = (struct moment){.monotonic = SECOND, .wall = INT64_C(1700000000) * SECOND};
    assert_int_equal(store_open(":memory:", &rig.store, NULL), MP_OK);
    open_core();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    core_free(rig.core);
    store_close(rig.store);
    buffer_free(&rig.reply);
    return 0;
}

static void turn(int64_t microseconds)
{
    rig.now.monotonic += microseconds;
    rig.now.wall += microseconds;
    core_turn(rig.core, rig.now);
}

/* ---- requests ------------------------------------------------------------------------------------------------- */

/* Takes the bytes out of REQUEST. */
static void submit_bytes(uint64_t connection, struct buffer *request)
{
    struct blob *blob = blob_of_buffer(request); /* with a release, as a server's has */
    uint32_t id = 0x80000001;
    assert_non_null(blob);
    core_submit(rig.core, connection, &id, 1, blob);
}

static void submit(uint64_t connection, enum protocol_type type, unsigned lane, uint64_t session, uint64_t number,
                   const struct buffer *body)
{
    struct buffer bytes = {0};
    assert_int_equal(protocol_put_request(&bytes, type, lane, session, number), MP_OK);
    if (body)
        assert_int_equal(buffer_append(&bytes, body->data, body->size), MP_OK);
    submit_bytes(connection, &bytes);
}

static struct protocol_reply last_reply(void)
{
    struct protocol_reply reply;
    assert_true(rig.replies > 0);
    assert_int_equal(protocol_read_reply(rig.reply.data, rig.reply.size, &reply), MP_OK);
    return reply;
}

static uint64_t greet(uint64_t connection)
{
    struct buffer body = {0};
    struct protocol_welcome welcome;
    assert_int_equal(protocol_put_hello(&body, "test", 0), MP_OK);
    submit(connection, PROTOCOL_HELLO, PROTOCOL_LANE_CONTROL, 0, 1, &body);
    buffer_free(&body);
    turn(1);
    struct protocol_reply reply = last_reply();
    assert_int_equal(reply.status, MP_OK);
    assert_int_equal(protocol_read_welcome(&reply, &welcome), MP_OK);
    return welcome.session;
}

static void build_frame(struct frame_builder *builder, unsigned messages, size_t size)
{
    uint8_t *body = calloc(1, size + 1);
    assert_int_equal(frame_begin(builder, 7, 1), MP_OK);
    for (unsigned i = 0; i < messages; i++)
        assert_int_equal(frame_add(builder, body, size, NULL, 0), MP_OK);
    frame_finish(builder, rig.now.wall);
    free(body);
}

static void publish(uint64_t connection, uint64_t session, uint64_t number, const char *topic, unsigned messages,
                    size_t size)
{
    struct frame_builder builder = {0};
    struct buffer body = {0};
    build_frame(&builder, messages, size);
    struct protocol_publication to = protocol_publication(topic);
    assert_int_equal(protocol_put_publish(&body, &to), MP_OK);
    assert_int_equal(buffer_append(&body, builder.bytes.data, builder.bytes.size), MP_OK);
    submit(connection, PROTOCOL_PUBLISH, PROTOCOL_LANE_PUBLISH, session, number, &body);
    buffer_free(&body);
    frame_builder_free(&builder);
}

struct asked {
    const char *topic, *group;
    enum protocol_from from;
    uint64_t value;
    uint32_t messages, wait;
    const struct protocol_position *positions;
    uint32_t positions_count;
};

static void fetch(uint64_t connection, uint64_t session, uint64_t number, const struct asked *asked)
{
    struct protocol_fetch request = {.topic = asked->topic,
                                     .topic_size = strlen(asked->topic),
                                     .group = asked->group,
                                     .group_size = strlen(asked->group),
                                     .from = asked->from,
                                     .value = asked->value,
                                     .max_messages = asked->messages,
                                     .max_bytes = 1024 * 1024,
                                     .wait = asked->wait,
                                     .positions_count = asked->positions_count};
    struct buffer body = {0};
    assert_int_equal(protocol_put_fetch(&body, &request, asked->positions), MP_OK);
    submit(connection, PROTOCOL_FETCH, PROTOCOL_LANE_FETCH, session, number, &body);
    buffer_free(&body);
}

static struct protocol_fetched last_fetched(void)
{
    struct protocol_reply reply = last_reply();
    struct protocol_fetched fetched;
    assert_int_equal(reply.type, PROTOCOL_FETCH);
    assert_int_equal(reply.status, MP_OK);
    assert_int_equal(protocol_read_fetched(&reply, &fetched), MP_OK);
    return fetched;
}

static uint64_t messages_of(struct protocol_fetched fetched)
{
    struct protocol_chunk chunk;
    uint64_t messages = 0;
    while (protocol_next_chunk(&fetched, &chunk))
        messages += chunk.frame_size > 0 ? chunk.count : 0;
    return messages;
}

/* ---- errors in a turn ----------------------------------------------------------------------------------------- */

static enum mp_error refuse_session(struct engine *engine, const struct engine_session *session, struct fault *fault)
{
    (void)engine;
    (void)session;
    (void)fault; /* without words */
    return MP_ERR_FULL;
}

/* A snapshot that fails undoes the turn: a publication that was not committed is never acknowledged. */
static void test_snapshot_fails(void **state)
{
    (void)state;
    uint64_t session = greet(1);
    rig.operations.put_session = refuse_session;
    for (uint64_t i = 1; i < 1024; i++) { /* the first turn after a load writes a snapshot, too */
        publish(1, session, i, "a", 1, 10);
        turn(1);
        struct protocol_reply reply = last_reply();
        if (reply.status != MP_OK) {
            assert_int_equal(reply.status, MP_ERR_AGAIN);
            rig.operations.put_session = rig.real->put_session;
            publish(1, session, i, "a", 1, 10);
            turn(1);
            assert_int_equal(last_reply().status, MP_OK);
            return;
        }
    }
    fail_msg("no snapshot was written");
}

static void reopen(void)
{
    core_free(rig.core);
    open_core();
}

/*
 * A group that was made in a turn that is undone is made again by whoever waits on it, and no part of it is left: a
 * topic that comes later does not join the pattern.
 */
static void test_undone_group(void **state)
{
    (void)state;
    static const struct asked pattern = {.topic = "*", .group = "g", .from = PROTOCOL_FROM_NEW, .wait = 30000};
    uint64_t session = greet(1);
    store_fail_commit(rig.store, 1);
    fetch(1, session, 1, &pattern);
    turn(1);
    assert_int_equal(last_reply().status, MP_ERR_AGAIN);
    publish(1, session, 1, "a", 1, 10);
    turn(1);
    assert_int_equal(last_reply().status, MP_OK);
    fetch(1, session, 1, &pattern);
    turn(1);
    unsigned replies = rig.replies;
    publish(1, session, 2, "a", 2, 10);
    turn(1);
    assert_int_equal(rig.replies, replies + 2);
    assert_int_equal(messages_of(last_fetched()), 2);
    reopen();
    struct buffer out = {0};
    assert_int_equal(rig.real->describe_groups(rig.engine, &out), MP_OK);
    assert_int_equal(buffer_append(&out, "", 1), MP_OK);
    const char *text = (const char *)out.data;
    assert_non_null(strstr(text, "\"pattern\":\"*\""));
    assert_null(strstr(text, "\"pattern\":\"\"")); /* no group on the topic alone */
    buffer_free(&out);
}

/* A frame at END of topic 1 whose own checksum does not fit. */
static void add_damaged(uint64_t end)
{
    struct frame_builder builder = {0};
    build_frame(&builder, 2, 10);
    builder.bytes.data[FRAME_HEADER + 5] ^= 1;
    struct store_frame row = {.topic = 1,
                              .first = end,
                              .count = 2,
                              .time = rig.now.wall,
                              .data = builder.bytes.data,
                              .size = builder.bytes.size};
    assert_int_equal(store_begin(rig.store, NULL), MP_OK);
    assert_int_equal(store_add_frame(rig.store, &row, NULL), MP_OK);
    assert_int_equal(store_commit(rig.store, NULL), MP_OK);
    frame_builder_free(&builder);
    reopen();
}

/* What stands before a damaged frame is given, and no turn is undone for its sake. */
static void test_damaged_frame(void **state)
{
    (void)state;
    static const struct asked group = {.topic = "a", .group = "g"}, reader = {.topic = "a", .group = ""};
    static const struct asked pattern = {.topic = "*", .group = "p"};
    uint64_t session = greet(1);
    publish(1, session, 1, "a", 3, 10);
    turn(1);
    add_damaged(3);
    publish(1, session, 2, "b", 5, 10);
    fetch(1, session, 1, &group);
    turn(1); /* the fetch is applied before the publication */
    fetch(1, session, 0, &reader);
    turn(1);
    assert_int_equal(messages_of(last_fetched()), 3);
    fetch(1, session, 1, &group);
    turn(1);
    assert_int_equal(messages_of(last_fetched()), 3);
    fetch(1, session, 2, &group);
    turn(1);
    assert_int_equal(last_reply().status, MP_ERR_DAMAGED);
    /* The other topics of a pattern go on. */
    fetch(1, session, 2, &pattern);
    turn(1);
    assert_int_equal(messages_of(last_fetched()), 8);
    fetch(1, session, 3, &pattern);
    turn(1);
    assert_int_equal(last_reply().status, MP_ERR_DAMAGED);
    publish(1, session, 3, "b", 4, 10);
    turn(1);
    fetch(1, session, 3, &pattern);
    turn(1);
    assert_int_equal(messages_of(last_fetched()), 4);
}

static enum mp_error refuse_load(struct engine *engine, struct moment now, const struct engine_load *load,
                                 struct fault *fault)
{
    enum mp_error error = rig.real->load(engine, now, load, fault);
    rig.loads++;
    return error ? error : MP_ERR_IO; /* without words */
}

static enum mp_error refuse_rollback(struct engine *engine, struct fault *fault)
{
    rig.real->rollback(engine, fault);
    return fault_set(fault, MP_ERR_IO, "no");
}

/* A store that cannot be read: nobody is told an end, and what is due does not keep the relay busy. */
static void test_unloaded(void **state)
{
    (void)state;
    static const struct asked reader = {.topic = "a", .group = "", .wait = 100};
    uint64_t session = greet(1);
    fetch(1, session, 0, &reader);
    turn(1);
    store_fail_commit(rig.store, 1);
    rig.operations.load = refuse_load;
    rig.operations.rollback = refuse_rollback;
    publish(1, session, 1, "b", 1, 10);
    turn(1);
    assert_int_equal(last_reply().status, MP_ERR_AGAIN);
    turn(INT64_C(120) * SECOND); /* sessions are looked after once a minute */
    assert_int_equal(last_reply().type, PROTOCOL_FETCH);
    assert_int_equal(last_reply().status, MP_ERR_AGAIN);
    unsigned loads = rig.loads;
    for (unsigned i = 0; i < 100; i++) {
        publish(1, session, 1, "b", 1, 10);
        turn(1);
        assert_int_equal(last_reply().status, MP_ERR_AGAIN);
        assert_true(core_due(rig.core) > rig.now.monotonic);
    }
    assert_int_equal(rig.loads, loads);
    rig.operations.load = rig.real->load;
    rig.operations.rollback = rig.real->rollback;
    turn(SECOND);
    publish(1, session, 1, "b", 1, 10);
    turn(1);
    assert_int_equal(last_reply().status, MP_OK);
}

static enum mp_error put_room(struct buffer *out, const char *topic, uint32_t wait)
{
    struct protocol_room room = {
        .topic = topic, .topic_size = strlen(topic), .wait = wait, .messages = 1, .bytes = 100};
    return protocol_put_room(out, &room);
}

static enum mp_error no_room(struct engine *engine, const char *name, size_t size, uint64_t messages, uint64_t bytes,
                             uint64_t session, struct fault *fault)
{
    (void)engine;
    (void)name;
    (void)size, (void)messages, (void)bytes, (void)session;
    return fault_set(fault, MP_ERR_FULL, "full");
}

/* A connection speaks for one session after the other; what the first waits for outlives it, or ends with it. */
static void test_shared_connection(void **state)
{
    (void)state;
    static const struct asked reader = {.topic = "a", .group = "", .wait = UINT32_MAX};
    uint64_t first = greet(1), other = greet(2);
    struct buffer body = {0};
    rig.operations.room = no_room;
    assert_int_equal(put_room(&body, "a", UINT32_MAX), MP_OK);
    submit(1, PROTOCOL_ROOM, PROTOCOL_LANE_CONTROL, first, 1, &body);
    buffer_free(&body);
    fetch(2, other, 0, &reader);
    turn(1);
    uint64_t second = greet(1), third = greet(2);
    for (unsigned i = 0; i < 80; i++) { /* the first session is evicted */
        static const struct asked look = {.topic = "x", .group = ""};
        turn(INT64_C(60) * SECOND);
        fetch(1, second, 0, &look);
        fetch(2, third, 0, &look);
    }
    turn(1);
    unsigned replies = rig.replies;
    core_disconnected(rig.core, 2); /* with it goes the fetch of the session before */
    publish(1, second, 1, "a", 1, 10);
    turn(1);
    assert_int_equal(last_reply().status, MP_ERR_FULL);
    assert_int_equal(rig.replies, replies + 1);
    rig.operations.room = rig.real->room;
    publish(1, second, 1, "a", 1, 10);
    turn(1);
    assert_int_equal(rig.replies, replies + 3); /* the publication's and the room's */
    core_disconnected(rig.core, 1);
}

static void ask(uint64_t connection, uint64_t session, const char *json)
{
    struct buffer body = {0};
    assert_int_equal(buffer_append(&body, json, strlen(json)), MP_OK);
    submit(connection, PROTOCOL_ADMIN, PROTOCOL_LANE_CONTROL, session, 1, &body);
    buffer_free(&body);
}

/* Waits are bounded in bytes, and their times do not overflow. */
static void test_waits(void **state)
{
    (void)state;
    static const struct asked group = {.topic = "a", .group = "g"};
    uint64_t session = greet(1);
    unsigned answered = 0;
    publish(1, session, 1, "a", 1, 10);
    fetch(1, session, 1, &group);
    turn(1);
    unsigned replies = rig.replies;
    ask(1, session, "{\"verb\":\"wait\",\"topic\":\"a\",\"group\":\"g\",\"wait_ms\":9223372036854775807}");
    turn(1);
    assert_int_equal(rig.replies, replies);
    char *text = malloc(8192);
    snprintf(text, 8192, "{\"verb\":\"wait\",\"topic\":\"a\",\"group\":\"g\",\"wait_ms\":1000%*s}", 5000, "");
    ask(1, session, text);
    free(text);
    turn(1);
    assert_int_equal(last_reply().status, MP_ERR_TOO_LARGE);
    static struct protocol_position positions[PROTOCOL_POSITIONS_MAX];
    static const struct asked reader = {
        .topic = "none", .group = "", .wait = 1000, .positions = positions, .positions_count = PROTOCOL_POSITIONS_MAX};
    for (unsigned i = 0; i < 400; i++) { /* more than 16 MiB that want to wait */
        uint64_t other = greet(100 + i);
        unsigned before = rig.replies;
        fetch(100 + i, other, 0, &reader);
        turn(1);
        answered += rig.replies - before;
    }
    assert_in_range(answered, 50, 70);
}

/* Who reads what is new misses nothing that is published while it waits, in old topics or in new ones. */
static void test_reader_of_new(void **state)
{
    (void)state;
    struct asked reader = {.topic = "*", .group = "", .from = PROTOCOL_FROM_NEW, .wait = 30000};
    struct protocol_position positions[2];
    struct protocol_chunk chunk;
    publish(1, greet(1), 1, "a", 3, 10);
    turn(1);
    turn(SECOND);
    uint64_t session = greet(1);
    fetch(1, session, 0, &reader);
    turn(1);
    struct protocol_fetched fetched = last_fetched();
    assert_true(protocol_next_chunk(&fetched, &chunk));
    assert_int_equal(chunk.frame_size, 0);
    assert_int_equal(chunk.first, 3);
    positions[0] = (struct protocol_position){chunk.topic, chunk.first};
    reader.positions = positions;
    reader.positions_count = 1;
    fetch(1, session, 0, &reader);
    turn(1);
    publish(2, session, 1, "a", 2, 10);
    turn(1);
    assert_int_equal(messages_of(last_fetched()), 2);
    positions[0].next = 5;
    fetch(1, session, 0, &reader);
    turn(1);
    publish(2, session, 2, "b", 4, 10);
    turn(1);
    fetched = last_fetched();
    assert_int_equal(messages_of(fetched), 4);
    assert_true(protocol_next_chunk(&fetched, &chunk));
    positions[1] = (struct protocol_position){chunk.topic, 4};
    reader.positions_count = 2;
    unsigned replies = rig.replies;
    fetch(1, session, 0, &reader);
    turn(1);
    assert_int_equal(rig.replies, replies);
}

/* A reader of more topics than a reply has chunks gets to know them all. */
static void test_many_topics(void **state)
{
    (void)state;
    enum { TOPICS = 2500 };
    static struct protocol_position positions[TOPICS];
    struct asked reader = {.topic = ">", .group = "", .wait = 30000, .positions = positions};
    uint64_t session = greet(1), messages = 0;
    for (unsigned i = 0; i < TOPICS; i++) {
        char name[20];
        snprintf(name, sizeof name, "t.%u", i);
        publish(1, session, i + 1, name, 1, 10);
    }
    turn(1);
    for (unsigned round = 0; round < 4 && reader.positions_count < TOPICS; round++) {
        struct protocol_chunk chunk;
        fetch(1, session, 0, &reader);
        turn(1);
        struct protocol_fetched fetched = last_fetched();
        assert_int_equal(fetched.flags & PROTOCOL_FETCH_END, round == 2 ? PROTOCOL_FETCH_END : 0);
        messages += messages_of(fetched);
        while (protocol_next_chunk(&fetched, &chunk)) /* in any order */
            positions[reader.positions_count++] = (struct protocol_position){chunk.topic, chunk.first + 1};
    }
    assert_int_equal(reader.positions_count, TOPICS);
    assert_int_equal(messages, TOPICS);
}

/* A lease of which every second message is settled is given again in as many chunks as a reply has. */
static void test_repeat_of_pieces(void **state)
{
    (void)state;
    static const struct asked group = {.topic = "a", .group = "g"};
    static struct protocol_settlement items[4000];
    uint64_t session = greet(1);
    publish(1, session, 1, "a", 8000, 10);
    turn(1);
    fetch(1, session, 1, &group);
    turn(1);
    struct protocol_fetched fetched = last_fetched();
    struct protocol_chunk chunk;
    assert_true(protocol_next_chunk(&fetched, &chunk));
    assert_int_equal(chunk.count, 8000);
    for (unsigned i = 0; i < 4000; i++)
        items[i] = (struct protocol_settlement){
            .group = chunk.group, .lease = 1, .first = 2 * i, .count = 1, .action = PROTOCOL_ACK, .exit_code = -1};
    struct buffer body = {0};
    assert_int_equal(protocol_put_settle(&body, items, 4000, 0), MP_OK);
    submit(1, PROTOCOL_SETTLE, PROTOCOL_LANE_SETTLE, session, 1, &body);
    buffer_free(&body);
    turn(1);
    fetch(1, session, 1, &group);
    turn(1);
    fetched = last_fetched();
    assert_int_equal(messages_of(fetched), 4000);
    assert_int_equal(fetched.chunks, 1); /* with a mask */
    assert_true(protocol_next_chunk(&fetched, &chunk));
    for (uint32_t i = 0; i < 4000; i++)
        assert_int_equal(protocol_chunk_offset(&chunk, i), 2 * i + 1);
}

/* Tells a repeat of a settlement that published, after a restart, what it had been told before. */
static void test_repeat_after_restart(void **state)
{
    (void)state;
    static const struct asked group = {.topic = "a", .group = "g"};
    uint64_t session = greet(1);
    publish(1, session, 1, "a", 5, 10);
    turn(1);
    fetch(1, session, 1, &group);
    turn(1);
    struct protocol_fetched fetched = last_fetched();
    struct protocol_chunk chunk;
    assert_true(protocol_next_chunk(&fetched, &chunk));
    struct protocol_settlement item = {
        .group = chunk.group, .lease = 1, .first = 0, .count = 5, .action = PROTOCOL_ACK, .exit_code = -1};
    struct frame_builder builder = {0};
    struct buffer body = {0}, request = {0};
    build_frame(&builder, 9, 10);
    assert_int_equal(protocol_put_settle(&body, &item, 1, 1), MP_OK);
    struct protocol_publication to = protocol_publication("b");
    to.frame = builder.bytes.data;
    to.frame_size = builder.bytes.size;
    assert_int_equal(protocol_put_settle_publish(&body, &to), MP_OK);
    for (unsigned time = 0; time < 2; time++) {
        uint32_t applied, stale;
        assert_int_equal(protocol_put_request(&request, PROTOCOL_SETTLE, PROTOCOL_LANE_SETTLE, session, 1), MP_OK);
        protocol_set_flags(&request, 0, PROTOCOL_ATOMIC);
        assert_int_equal(buffer_append(&request, body.data, body.size), MP_OK);
        submit_bytes(1, &request);
        turn(1);
        struct protocol_reply reply = last_reply();
        assert_int_equal(reply.status, MP_OK);
        assert_int_equal(protocol_read_settled(&reply, &applied, &stale), MP_OK);
        assert_int_equal(applied, 5);
        assert_int_equal(stale, 0);
        reopen();
    }
    buffer_free(&body);
    frame_builder_free(&builder);
}

/* A turn's replies are bounded, and who does not read them is not served meanwhile; nobody else waits for it. */
static void test_replies(void **state)
{
    (void)state;
    static const struct asked reader = {.topic = "a", .group = ""};
    uint64_t session = greet(1), other = greet(2);
    for (unsigned i = 1; i <= 20; i++)
        publish(1, session, i, "a", 1, 900 * 1024);
    for (unsigned i = 0; i < 20; i++)
        turn(1);
    for (unsigned i = 0; i < 100; i++)
        fetch(1, session, 0, &reader);
    unsigned replies = rig.replies;
    turn(1);
    assert_in_range(rig.replies - replies, 16, 20);
    assert_int_equal(core_due(rig.core), rig.now.monotonic);
    rig.unsent = 5 * 1024 * 1024;
    replies = rig.replies;
    fetch(2, other, 0, &reader);
    turn(1);
    assert_int_equal(rig.replies, replies + 1);
    assert_true(core_due(rig.core) > rig.now.monotonic);
    rig.unsent = 0;
    for (unsigned i = 0; i < 10; i++)
        turn(100000);
    assert_int_equal(core_pending(rig.core), 0);
}

/* One connection that greets without an end gets no more than the relay keeps; sessions that did something stay. */
static void test_many_sessions(void **state)
{
    (void)state;
    enum { GREETINGS = 200000 };
    struct buffer body = {0};
    uint64_t session = greet(1);
    publish(1, session, 1, "a", 1, 10);
    turn(1);
    assert_int_equal(protocol_put_hello(&body, "test", 0), MP_OK);
    for (unsigned i = 0; i < GREETINGS; i++) {
        submit(2, PROTOCOL_HELLO, PROTOCOL_LANE_CONTROL, 0, 1, &body);
        if (i % 1000 == 999)
            turn(1000);
    }
    buffer_free(&body);
    turn(1);
    ask(1, session, "{\"verb\":\"status\"}");
    turn(1);
    struct protocol_reply reply = last_reply();
    assert_int_equal(reply.status, MP_OK);
    assert_int_equal(buffer_append(&rig.reply, "", 1), MP_OK);
    const char *count = strstr((const char *)rig.reply.data + PROTOCOL_REPLY_HEADER, "\"sessions\":");
    assert_non_null(count);
    assert_in_range(strtoul(count + 11, NULL, 10), 1000, 70000);
    publish(1, session, 1, "a", 1, 10);
    turn(1);
    assert_int_equal(last_reply().status, MP_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_snapshot_fails, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damaged_frame, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_undone_group, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unloaded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shared_connection, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_waits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reader_of_new, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many_topics, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_repeat_of_pieces, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_repeat_after_restart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_replies, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many_sessions, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
