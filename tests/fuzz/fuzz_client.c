/*
 * Replies of a relay that is none, or means harm, to a client that publishes, fetches, settles and asks. The input is a
 * row of replies: a byte that says which lane answers and how, two of the size, and the bytes. The client must get on
 * with it or fail with words; what it hands to its owner must lie inside what came, and nothing may be kept.
 */
#include "fit.h"
#include "fuzz.h"

#include "client/client.h"

enum { TURNS = 64, HOLDS = 64, AS_IT_IS = 128, PATIENCE = 4 };

struct hostile {
    struct channel base;
    struct reader replies;
    unsigned waited; /* turns that the next reply has waited for its lane */
    bool busy[CHANNEL_LANES];
    uint8_t type[CHANNEL_LANES]; /* of the request under way, */
    uint64_t number[CHANNEL_LANES];
};

/* ---- the far end ---------------------------------------------------------------------------------------------- */

static enum mp_error send_request(struct channel *base, enum channel_lane lane, const struct iovec *parts, int count,
                                  struct fault *fault)
{
    struct hostile *channel = (struct hostile *)base;
    (void)fault;
    MUST(!channel->busy[lane] && count > 0 && parts[0].iov_len >= PROTOCOL_REQUEST_HEADER);
    channel->busy[lane] = true;
    channel->type[lane] = ((const uint8_t *)parts[0].iov_base)[2];
    channel->number[lane] = load_u64((const uint8_t *)parts[0].iov_base + 16);
    return MP_OK;
}

/*
 * The next reply of the input, when its lane waits for one, which is waited for a little; its type and number are put right,
 * unless it says otherwise.
 */
static struct channel_reply *receive(struct channel *base)
{
    struct hostile *channel = (struct hostile *)base;
    struct reader before = channel->replies;
    unsigned how = reader_u8(&channel->replies);
    uint16_t size = reader_u16(&channel->replies);
    const void *bytes = reader_bytes(&channel->replies, size);
    enum channel_lane lane = (enum channel_lane)(how % CHANNEL_LANES);
    if (bytes && !channel->busy[lane] && channel->waited++ < PATIENCE)
        channel->replies = before;
    else
        channel->waited = 0;
    if (!bytes || !channel->busy[lane])
        return NULL;
    struct channel_reply *reply = malloc(sizeof *reply);
    uint8_t *data = fuzz_copy(bytes, size);
    MUST(reply != NULL);
    if (!(how & AS_IT_IS) && size >= PROTOCOL_REPLY_HEADER) {
        data[2] = channel->type[lane];
        store_u64(data + 8, channel->number[lane]);
    }
    fuzz_fit_all(data, size);
    channel->busy[lane] = false;
    *reply = (struct channel_reply){.lane = lane, .data = data, .size = size, .owner = data, .release = free};
    return reply;
}

static void forget(struct channel *base, enum channel_lane lane)
{
    ((struct hostile *)base)->busy[lane] = false;
}

static int descriptor(const struct channel *base)
{
    (void)base;
    return -1;
}

static bool connected(const struct channel *base, enum channel_lane lane)
{
    (void)base;
    (void)lane;
    return true;
}

static void close_channel(struct channel *base)
{
    free(base);
}

static const struct channel_operations operations = {.send = send_request,
                                                     .receive = receive,
                                                     .forget = forget,
                                                     .descriptor = descriptor,
                                                     .connected = connected,
                                                     .close = close_channel};

/* ---- its owner ------------------------------------------------------------------------------------------------ */

struct owner {
    struct client *client;
    struct client_hold *holds[HOLDS];
    unsigned holds_count;
    bool failed;
    volatile uint8_t sum; /* of all bytes, so that each is read */
};

static void look(struct owner *owner, const void *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        owner->sum = (uint8_t)(owner->sum + ((const uint8_t *)data)[i]);
}

static void on_words(void *context, enum mp_error error, const char *text)
{
    struct owner *owner = context;
    MUST(text != NULL && memchr(text, '\0', FAULT_TEXT) != NULL);
    (void)error;
    look(owner, text, strlen(text));
}

static void on_failed(void *context, enum mp_error error, const char *text)
{
    struct owner *owner = context;
    MUST(!owner->failed);
    on_words(context, error, text);
    owner->failed = true;
}

static void on_fetched(void *context, const struct protocol_chunk *chunk, const struct frame *frame, uint64_t lease,
                       struct client_hold *hold)
{
    struct owner *owner = context;
    struct frame_cursor cursor = frame_cursor(frame);
    struct record record;
    uint64_t offset = chunk->first;
    uint32_t count = 0;
    look(owner, chunk->name, chunk->name_size);
    for (; frame_next(&cursor, &record); count++) {
        look(owner, record.body, record.size);
        look(owner, record.attributes, record.attributes_size);
        offset = protocol_chunk_next(chunk, offset);
        MUST(offset >= chunk->first && offset < chunk->first + chunk->span);
        const struct protocol_settlement settlement = {.group = chunk->group,
                                                       .lease = lease,
                                                       .first = offset,
                                                       .count = 1,
                                                       .action = PROTOCOL_ACK,
                                                       .exit_code = -1};
        if (lease)
            (void)client_settle(owner->client, &settlement);
        offset++;
    }
    MUST(count == chunk->count);
    if (owner->holds_count < HOLDS)
        owner->holds[owner->holds_count++] = hold;
    else
        client_hold_free(hold);
}

static void on_answered(void *context, enum mp_error status, const char *text, size_t size)
{
    (void)status;
    look(context, text, size);
}

static void publish(struct owner *owner)
{
    struct frame_builder frame = {0};
    struct client_publication to = {.topic = "a.b"};
    uint64_t producer, sequence;
    client_origin(owner->client, &producer, &sequence);
    if (client_can_publish(owner->client) && frame_begin(&frame, producer, sequence) == MP_OK) {
        for (unsigned i = 0; i < 3; i++)
            MUST(frame_add(&frame, "body", 4, NULL, 0) == MP_OK);
        frame_finish(&frame, 1);
        (void)client_publish(owner->client, &to, &frame, NULL);
    }
    frame_builder_free(&frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct owner owner = {0};
    const struct client_settings settings = {.name = "fuzz",
                                             .context = &owner,
                                             .refused = on_words,
                                             .fetched = on_fetched,
                                             .committed = on_words,
                                             .answered = on_answered,
                                             .failed = on_failed};
    const struct client_subscription subscription = {.topic = "a.b", .group = size > 0 && data[0] % 2 ? "g" : NULL};
    struct hostile *channel = calloc(1, sizeof *channel);
    int64_t now = 1000000;
    MUST(channel != NULL);
    channel->base.operations = &operations;
    if (size > 0)
        channel->replies = reader_of(data + 1, size - 1);
    MUST(client_open(&channel->base, &settings, now, &owner.client, NULL) == MP_OK);
    MUST(client_subscribe(owner.client, &subscription, NULL) == MP_OK);
    for (unsigned i = 0; i < TURNS && !owner.failed && !client_has_left(owner.client); i++) {
        int64_t due = client_due(owner.client);
        client_process(owner.client, now);
        if (client_is_welcome(owner.client)) {
            publish(&owner);
            if (!client_is_fetching(owner.client))
                (void)client_fetch(owner.client, 0, i % 2 ? 100 : 0, NULL);
            (void)client_ask(owner.client, "{\"verb\":\"status\"}", 17, NULL);
        }
        if (i == TURNS - 20)
            (void)client_leave(owner.client);
        now += due > now && due - now < 1000000 ? due - now : 100000;
    }
    client_close(owner.client);
    while (owner.holds_count > 0)
        client_hold_free(owner.holds[--owner.holds_count]);
    return 0;
}

static void reply(struct buffer *out, enum channel_lane lane, const struct buffer *bytes)
{
    MUST(buffer_put_u8(out, (uint8_t)lane) == MP_OK);
    MUST(buffer_put_u16(out, (uint16_t)bytes->size) == MP_OK);
    MUST(buffer_append(out, bytes->data, bytes->size) == MP_OK);
}

static void welcome(struct buffer *out)
{
    const struct protocol_welcome said = {.session = UINT64_C(0x1122334465000000),
                                          .instance = 2,
                                          .max_message = 1024,
                                          .lease = 30000,
                                          .relay = "default",
                                          .version = "0.1.0"};
    struct buffer bytes = {0};
    MUST(protocol_put_reply(&bytes, PROTOCOL_HELLO, MP_OK, 0) == MP_OK);
    MUST(protocol_put_welcome(&bytes, &said) == MP_OK);
    reply(out, CHANNEL_CONTROL, &bytes);
    buffer_free(&bytes);
}

static void published(struct buffer *out, enum mp_error status)
{
    struct buffer bytes = {0};
    if (status) {
        MUST(protocol_put_error(&bytes, PROTOCOL_PUBLISH, status, 1, 2, "words") == MP_OK);
    } else {
        MUST(protocol_put_reply(&bytes, PROTOCOL_PUBLISH, MP_OK, 1) == MP_OK);
        MUST(protocol_put_published(&bytes, 7, 3, 0) == MP_OK);
    }
    reply(out, CHANNEL_PUBLISH, &bytes);
    buffer_free(&bytes);
}

static void fetched(struct buffer *out, uint32_t group)
{
    struct buffer bytes = {0};
    struct frame_builder frame = {0};
    MUST(frame_begin(&frame, 5, 6) == MP_OK && frame_add(&frame, "one", 3, NULL, 0) == MP_OK &&
         frame_add(&frame, "two", 3, NULL, 0) == MP_OK);
    frame_finish(&frame, 1);
    struct protocol_chunk chunk = {.topic = 1,
                                   .group = group,
                                   .first = 3,
                                   .count = 2,
                                   .span = group ? 3 : 2,
                                   .mask = group ? (const uint8_t *)"\x05" : NULL,
                                   .attempt = 1,
                                   .name = "a.b",
                                   .name_size = 3,
                                   .frame = frame.bytes.data,
                                   .frame_size = (uint32_t)frame.bytes.size};
    MUST(protocol_put_reply(&bytes, PROTOCOL_FETCH, MP_OK, 1) == MP_OK);
    MUST(protocol_put_fetched(&bytes, PROTOCOL_FETCH_END, 12, 1) == MP_OK);
    MUST(protocol_put_chunk(&bytes, &chunk) == MP_OK);
    MUST(buffer_append(&bytes, frame.bytes.data, frame.bytes.size) == MP_OK);
    reply(out, CHANNEL_FETCH, &bytes);
    frame_builder_free(&frame);
    buffer_free(&bytes);
}

static void settled(struct buffer *out)
{
    struct buffer bytes = {0};
    MUST(protocol_put_reply(&bytes, PROTOCOL_SETTLE, MP_OK, 1) == MP_OK);
    MUST(protocol_put_settled(&bytes, 2, 0) == MP_OK);
    reply(out, CHANNEL_SETTLE, &bytes);
    buffer_free(&bytes);
}

static void answered(struct buffer *out)
{
    struct buffer bytes = {0};
    MUST(protocol_put_reply(&bytes, PROTOCOL_ADMIN, MP_OK, 0) == MP_OK);
    MUST(buffer_append_string(&bytes, "{\"relay\":\"default\"}") == MP_OK);
    reply(out, CHANNEL_CONTROL, &bytes);
    buffer_free(&bytes);
}

bool fuzz_seed(unsigned index, struct buffer *out)
{
    static const enum mp_error statuses[] = {MP_OK, MP_ERR_AGAIN, MP_ERR_FULL, MP_ERR_SESSION, MP_ERR_GAP};
    if (index >= 2 * sizeof statuses / sizeof *statuses)
        return false;
    MUST(buffer_put_u8(out, (uint8_t)index) == MP_OK);
    welcome(out);
    published(out, statuses[index / 2]);
    fetched(out, index % 2 ? 9 : 0);
    answered(out);
    if (index % 2)
        settled(out);
    welcome(out);
    published(out, MP_OK);
    fetched(out, index % 2 ? 9 : 0);
    return true;
}
