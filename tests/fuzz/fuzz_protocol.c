/*
 * The relay's protocol, both ends: what is read lies inside the bytes, and what is counted is there.
 */
#include "fuzz.h"

#include "client/protocol.h"

static const uint8_t *all;
static size_t all_size;

static void inside(const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    if (size > 0)
        MUST(at >= all && size <= (size_t)(all + all_size - at));
}

static void settle(const struct protocol_request *request)
{
    struct protocol_settle settle;
    struct protocol_settlement item;
    struct protocol_publication to;
    const char *note;
    uint16_t note_size;
    unsigned publishes = 0, notes = 0;

    if (protocol_read_settle(request, &settle) != MP_OK)
        return;
    for (uint32_t i = 0; i < settle.count; i++)
        MUST(protocol_settle_item(&settle, i, &item) && item.count > 0 && item.span >= item.count);
    MUST(!protocol_settle_item(&settle, settle.count, &item));
    struct reader words = settle.words;
    for (uint32_t i = 0; i < settle.count; i++)
        if (protocol_settle_note(&words, i, &note, &note_size)) {
            inside(note, note_size);
            notes++;
        }
    MUST(notes == settle.notes && words.left == 0);
    while (protocol_settle_publish(&settle, &to)) {
        inside(to.topic, to.topic_size);
        inside(to.target, to.target_size);
        inside(to.frame, to.frame_size);
        MUST(to.value >= 0);
        publishes++;
    }
    MUST(publishes == settle.publishes);
}

static void fetch(const struct protocol_request *request)
{
    struct protocol_fetch fetch;

    if (protocol_read_fetch(request, &fetch) != MP_OK)
        return;
    inside(fetch.topic, fetch.topic_size);
    inside(fetch.group, fetch.group_size);
    MUST(fetch.positions_count <= PROTOCOL_POSITIONS_MAX);
    for (uint32_t i = 0; i < fetch.positions_count; i++)
        (void)protocol_fetch_position(&fetch, i);
}

static void read_request(const uint8_t *data, size_t size)
{
    struct protocol_request request;
    struct protocol_publication to;
    struct protocol_room room;
    const char *name;
    size_t name_size;
    uint32_t number;

    if (protocol_read_request(data, size, &request) != MP_OK)
        return;
    inside(request.body, request.body_size);
    /* Each reader gets every request: the type is checked by the caller, not by them. */
    if (protocol_read_hello(&request, &name, &name_size, &number) == MP_OK)
        inside(name, name_size);
    if (protocol_read_publish(&request, &to) == MP_OK) {
        inside(to.topic, to.topic_size);
        inside(to.target, to.target_size);
        inside(to.frame, to.frame_size);
        MUST(to.frame_size > 0 && to.value >= 0);
    }
    if (protocol_read_room(&request, &room) == MP_OK)
        inside(room.topic, room.topic_size);
    (void)protocol_read_extend(&request, &number);
    fetch(&request);
    settle(&request);
}

/* A chunk has as many offsets as messages, all within its span. */
static void walk(const struct protocol_chunk *chunk)
{
    uint64_t end = chunk->first + chunk->span;
    uint64_t offset = chunk->first;
    if (chunk->mask == NULL) {
        MUST(chunk->span == chunk->count);
        return;
    }
    inside(chunk->mask, ((size_t)chunk->span + 7) / 8);
    for (uint32_t i = 0; i < chunk->count; i++) {
        offset = protocol_chunk_next(chunk, offset);
        MUST(offset < end && (i > 64 || offset == protocol_chunk_offset(chunk, i)));
        offset++;
    }
    MUST(protocol_chunk_next(chunk, offset) == end);
}

static void read_reply(const uint8_t *data, size_t size)
{
    struct protocol_reply reply;
    struct protocol_fetched fetched;
    struct protocol_chunk chunk;
    struct protocol_welcome welcome;
    struct fault fault = {0};
    uint64_t wide;
    uint32_t one, other;
    uint32_t chunks = 0;

    if (protocol_read_reply(data, size, &reply) != MP_OK)
        return;
    inside(reply.body, reply.body_size);
    if (protocol_read_error(&reply, &wide, &fault) != MP_OK)
        MUST(memchr(fault.text, '\0', sizeof fault.text) != NULL && strpbrk(fault.text, "\n\r\033") == NULL);
    (void)protocol_read_published(&reply, &wide, &one, &other);
    (void)protocol_read_settled(&reply, &one, &other);
    (void)protocol_read_u32(&reply, &one);
    if (protocol_read_welcome(&reply, &welcome) == MP_OK)
        MUST(memchr(welcome.relay, '\0', sizeof welcome.relay) &&
             memchr(welcome.version, '\0', sizeof welcome.version));
    if (protocol_read_fetched(&reply, &fetched) != MP_OK)
        return;
    while (protocol_next_chunk(&fetched, &chunk)) {
        inside(chunk.name, chunk.name_size);
        inside(chunk.frame, chunk.frame_size);
        walk(&chunk);
        chunks++;
    }
    MUST(chunks == fetched.chunks);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    all = data;
    all_size = size;
    read_request(data, size);
    read_reply(data, size);
    return 0;
}

static void seed_fetch(struct buffer *out)
{
    static const struct protocol_position positions[] = {{.topic = 1, .next = 10}, {.topic = 2, .next = 0}};
    struct protocol_fetch fetch = {.topic = "web.>",
                                   .topic_size = 5,
                                   .group = "",
                                   .from = PROTOCOL_FROM_START,
                                   .max_bytes = 65536,
                                   .wait = 100,
                                   .positions_count = 2};
    MUST(protocol_put_request(out, PROTOCOL_FETCH, PROTOCOL_LANE_FETCH, 5, 1) == MP_OK);
    MUST(protocol_put_fetch(out, &fetch, positions) == MP_OK);
}

static void seed_settle(struct buffer *out)
{
    static const struct protocol_settlement items[] = {
        {.group = 1, .lease = 2, .first = 3, .count = 4, .action = PROTOCOL_ACK, .exit_code = -1},
        {.group = 1, .lease = 2, .first = 7, .count = 1, .action = PROTOCOL_RETRY, .delay = 100, .exit_code = 75},
        {.group = 1,
         .lease = 2,
         .first = 9,
         .count = 2,
         .span = 5,
         .action = PROTOCOL_DEAD,
         .note = "no",
         .note_size = 2}};
    struct protocol_publication to = protocol_publication("orders.priced");
    to.frame = (const uint8_t *)"frame";
    to.frame_size = 5;
    MUST(protocol_put_request(out, PROTOCOL_SETTLE, PROTOCOL_LANE_SETTLE, 5, 1) == MP_OK);
    MUST(protocol_put_settle(out, items, 3, 1) == MP_OK);
    MUST(protocol_put_settle_publish(out, &to) == MP_OK);
    MUST(protocol_put_settle_notes(out, items, 3) == MP_OK);
}

static void seed_fetched(struct buffer *out)
{
    struct protocol_chunk chunk = {.topic = 1,
                                   .group = 2,
                                   .first = 3,
                                   .count = 4,
                                   .attempt = 1,
                                   .name = "web.hits",
                                   .name_size = 8,
                                   .frame = (const uint8_t *)"frame",
                                   .frame_size = 5};
    MUST(protocol_put_reply(out, PROTOCOL_FETCH, MP_OK, 1) == MP_OK);
    MUST(protocol_put_fetched(out, PROTOCOL_FETCH_END, 12, 2) == MP_OK);
    for (int i = 0; i < 2; i++) {
        chunk.span = i == 0 ? 0 : 10;
        chunk.mask = i == 0 ? NULL : (const uint8_t *)"\x55\x00";
        MUST(protocol_put_chunk(out, &chunk) == MP_OK);
        MUST(buffer_append(out, chunk.frame, chunk.frame_size) == MP_OK);
    }
}

bool fuzz_seed(unsigned index, struct buffer *out)
{
    struct protocol_welcome welcome = {
        .session = 1, .instance = 2, .max_message = 1024, .lease = 30000, .relay = "default", .version = "0.1.0"};
    struct protocol_publication to = protocol_publication("web.hits");
    to.when = PROTOCOL_WHEN_DELAY;
    to.value = 1000000;
    switch (index) {
    case 0:
        MUST(protocol_put_request(out, PROTOCOL_HELLO, PROTOCOL_LANE_CONTROL, 0, 0) == MP_OK);
        MUST(protocol_put_hello(out, "msend", 3600) == MP_OK);
        return true;
    case 1:
        MUST(protocol_put_request(out, PROTOCOL_PUBLISH, PROTOCOL_LANE_PUBLISH, 5, 1) == MP_OK);
        MUST(protocol_put_publish(out, &to) == MP_OK);
        MUST(buffer_append_string(out, "frame") == MP_OK);
        return true;
    case 2:
        seed_fetch(out);
        return true;
    case 3:
        seed_settle(out);
        return true;
    case 4:
        seed_fetched(out);
        return true;
    case 5:
        MUST(protocol_put_reply(out, PROTOCOL_HELLO, MP_OK, 0) == MP_OK);
        MUST(protocol_put_welcome(out, &welcome) == MP_OK);
        return true;
    case 6:
        MUST(protocol_put_error(out, PROTOCOL_PUBLISH, MP_ERR_GAP, 9, 7, "a request is missing") == MP_OK);
        return true;
    default:
        return false;
    }
}
