/*
 * Requests to a relay, hostile or not: the core on a store in memory. The input is a row of them, each an item: a byte
 * that says how it comes, two of its size, and its bytes. Whatever they are, each is answered or waits, all that is in
 * the store afterwards makes sense to the next start, and a stranger to them is served.
 */
#include "../unit/core_rig.h"
#include "fit.h"
#include "fuzz.h"

enum how { CONNECTION = 3, TURN = 4, PASS = 8, LEAVE = 16, RESTART = 32, AS_IT_IS = 64 };
enum { CONNECTIONS = 4, ITEMS = 40, AT_LANE = 4, AT_SESSION = 8, AT_NUMBER = 16, STRANGER = 77 };

static struct {
    uint64_t session[CONNECTIONS];
    uint64_t numbers[CONNECTIONS][4];
} known;

/*
 * Bytes cannot guess a session. A request without one gets that of its connection, and without a number the next one:
 * what it says is then looked at.
 */
static void complete(unsigned connection, uint8_t *bytes, size_t size)
{
    if (size < PROTOCOL_REQUEST_HEADER || load_u64(bytes + AT_SESSION) != 0)
        return;
    store_u64(bytes + AT_SESSION, known.session[connection]);
    if (load_u64(bytes + AT_NUMBER) == 0)
        store_u64(bytes + AT_NUMBER, known.numbers[connection][bytes[AT_LANE] & 3]);
}

/* A request of a lane that was applied uses up its number. */
static void count_answers(struct rig *rig)
{
    for (unsigned i = 0; i < rig->replies_count; i++) {
        const struct rig_reply *reply = &rig->replies[i];
        unsigned lane = reply->head.type == PROTOCOL_PUBLISH  ? PROTOCOL_LANE_PUBLISH
                        : reply->head.type == PROTOCOL_SETTLE ? PROTOCOL_LANE_SETTLE
                                                              : PROTOCOL_LANE_FETCH;
        if (reply->connection < CONNECTIONS && reply->head.status == MP_OK)
            known.numbers[reply->connection][lane]++;
    }
    rig_forget_replies(rig);
}

static void turn(struct rig *rig)
{
    rig_turn(rig);
    count_answers(rig);
}

static void greet(struct rig *rig)
{
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        known.session[i] = rig_hello(rig, i);
        for (unsigned lane = 0; lane < 4; lane++)
            known.numbers[i][lane] = 1;
    }
    rig_forget_replies(rig);
}

static void submit(struct rig *rig, unsigned how, const uint8_t *data, size_t size)
{
    unsigned connection = how & CONNECTION;
    uint32_t id = ++rig->next_id;
    struct buffer bytes = {0};
    MUST(buffer_append(&bytes, data, size) == MP_OK);
    if (!(how & AS_IT_IS))
        complete(connection, bytes.data, size);
    fuzz_fit_all(bytes.data, bytes.size);
    struct blob *blob = blob_of_buffer(&bytes);
    MUST(blob != NULL);
    core_submit(rig->core, connection, &id, 1, blob);
    if (how & LEAVE)
        core_disconnected(rig->core, connection);
    if (how & PASS)
        rig_pass(rig, SECOND);
    if (how & (TURN | RESTART))
        turn(rig);
    if (how & RESTART) {
        rig_restart(rig);
        greet(rig);
    }
}

/* Somebody else comes, publishes and consumes. */
static void serve_stranger(struct rig *rig)
{
    static const char topic[] = "none.of.the.others";
    struct protocol_chunk chunk;
    uint64_t session = rig_hello(rig, STRANGER);
    MUST(rig_status(rig, rig_publish(rig, STRANGER, session, 1, topic, 1)) == MP_OK);
    uint32_t id = rig_fetch(rig, STRANGER, session, 1, topic, "mine", 5, 0);
    MUST(rig_status(rig, id) == MP_OK && rig_chunk(rig, id, &chunk) && chunk.count == 1);
    const struct protocol_settlement done = {
        .group = chunk.group, .lease = 1, .first = chunk.first, .count = 1, .action = PROTOCOL_ACK, .exit_code = -1};
    MUST(rig_status(rig, rig_settle(rig, STRANGER, session, 1, &done, NULL)) == MP_OK);
    rig_forget_replies(rig);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader reader = reader_of(data, size);
    void *state = NULL;
    if (size > 8192)
        return 0;
    MUST(rig_set_up(&state) == 0);
    struct rig *rig = state;
    greet(rig);
    for (unsigned i = 0; i < ITEMS; i++) {
        unsigned how = reader_u8(&reader);
        uint16_t length = reader_u16(&reader);
        const void *bytes = reader_bytes(&reader, length);
        if (!bytes)
            break;
        submit(rig, how, bytes, length);
    }
    turn(rig);
    serve_stranger(rig);
    rig_restart(rig);
    rig_forget_replies(rig);
    serve_stranger(rig);
    rig_tear_down(&state);
    return 0;
}

static void item(struct buffer *out, unsigned how, const struct buffer *request)
{
    MUST(buffer_put_u8(out, (uint8_t)how) == MP_OK);
    MUST(buffer_put_u16(out, (uint16_t)request->size) == MP_OK);
    MUST(buffer_append(out, request->data, request->size) == MP_OK);
}

static struct buffer begin(enum protocol_type type, unsigned lane)
{
    struct buffer request = {0};
    MUST(protocol_put_request(&request, type, lane, 0, 0) == MP_OK);
    return request;
}

static void publish(struct buffer *out, unsigned how, const char *topic, int64_t delay)
{
    struct buffer request = begin(PROTOCOL_PUBLISH, PROTOCOL_LANE_PUBLISH);
    struct protocol_publication to = protocol_publication(topic);
    struct frame_builder frame = {0};
    to.when = delay ? PROTOCOL_WHEN_DELAY : to.when;
    to.value = delay;
    MUST(frame_begin(&frame, 5, 6) == MP_OK && frame_add(&frame, "body", 4, NULL, 0) == MP_OK);
    MUST(frame_add(&frame, "other", 5, NULL, 0) == MP_OK);
    frame_finish(&frame, 1);
    MUST(protocol_put_publish(&request, &to) == MP_OK);
    MUST(buffer_append(&request, frame.bytes.data, frame.bytes.size) == MP_OK);
    item(out, how, &request);
    frame_builder_free(&frame);
    buffer_free(&request);
}

static void fetch(struct buffer *out, unsigned how, const char *topic, const char *group)
{
    struct buffer request = begin(PROTOCOL_FETCH, PROTOCOL_LANE_FETCH);
    const struct protocol_fetch asked = {.topic = topic,
                                         .topic_size = strlen(topic),
                                         .group = group,
                                         .group_size = strlen(group),
                                         .from = PROTOCOL_FROM_START,
                                         .max_messages = 10,
                                         .max_bytes = 1000,
                                         .wait = 100};
    MUST(protocol_put_fetch(&request, &asked, NULL) == MP_OK);
    item(out, how, &request);
    buffer_free(&request);
}

static void settle(struct buffer *out, unsigned how)
{
    struct buffer request = begin(PROTOCOL_SETTLE, PROTOCOL_LANE_SETTLE);
    const struct protocol_settlement items[] = {
        {.group = 1, .lease = 1, .first = 0, .count = 1, .action = PROTOCOL_RETRY, .delay = 100, .exit_code = 75},
        {.group = 1, .lease = 1, .first = 1, .count = 1, .action = PROTOCOL_DEAD, .note = "no", .note_size = 2}};
    MUST(protocol_put_settle(&request, items, 2, 0) == MP_OK);
    MUST(protocol_put_settle_notes(&request, items, 2) == MP_OK);
    item(out, how, &request);
    buffer_free(&request);
}

static void ask(struct buffer *out, unsigned how, const char *json)
{
    struct buffer request = begin(PROTOCOL_ADMIN, PROTOCOL_LANE_CONTROL);
    MUST(buffer_append_string(&request, json) == MP_OK);
    item(out, how, &request);
    buffer_free(&request);
}

unsigned fuzz_slowness(void)
{
    return 100;
}

bool fuzz_seed(unsigned index, struct buffer *out)
{
    static const char *const questions[] = {
        "{\"verb\":\"status\"}",
        "{\"verb\":\"set\",\"topic\":\"a.b\",\"settings\":{\"max_messages\":\"10\",\"dedupe.by\":\"id\"}}",
        "{\"verb\":\"set\",\"topic\":\"a.b\",\"group\":\"g\",\"settings\":{\"order\":\"key\",\"retry.max_retries\":"
        "\"1\"}}",
        "{\"verb\":\"configure\",\"topics\":{\"a\":{\"ttl\":\"1s\"}},\"groups\":[{\"topic\":\"a.*\",\"group\":\"g\","
        "\"settings\":{}}]}",
        "{\"verb\":\"seek\",\"topic\":\"a.b\",\"group\":\"g\",\"from\":\"start\",\"force\":true}",
        "{\"verb\":\"report\",\"runner\":\"r\",\"pipeline\":\"p\",\"stages\":[{\"name\":\"s\",\"in\":1}]}",
        "{\"verb\":\"wait\",\"topic\":\"a.b\",\"group\":\"g\",\"wait_ms\":10}",
        "{\"verb\":\"purge\",\"topic\":\"a.b\",\"below\":1}",
        "{\"verb\":\"delete\",\"topic\":\"a.b\",\"force\":true}",
    };
    switch (index) {
    case 0:
        publish(out, TURN, "a.b", 0);
        fetch(out, TURN, "a.b", "g");
        settle(out, TURN | PASS);
        fetch(out, TURN, "a.b", "g");
        return true;
    case 1:
        fetch(out, 1, "a.>", "g");
        publish(out, TURN, "a.b", 0);
        publish(out, TURN | PASS, "a.c", 500000);
        settle(out, 1 | TURN);
        publish(out, RESTART, "a.d", 0);
        fetch(out, 2 | LEAVE | TURN, "a.*", "");
        return true;
    case 2:
        publish(out, TURN, "a.b", 0);
        fetch(out, TURN, "a.b", "g");
        for (size_t i = 0; i < sizeof questions / sizeof *questions; i++)
            ask(out, TURN, questions[i]);
        return true;
    default:
        return false;
    }
}
