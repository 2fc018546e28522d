#include "sim.h"

#include "message/attributes.h"
#include "queue/local.h"

#include <stdio.h>
#include <stdlib.h>

enum { PRODUCERS_MAX = 8, IDENTITY_SIZE = 16, OUTPUT_SIZE = 20, SIZE_MAX_SENT = 2 * MAX_MESSAGE };

struct ledger {
    struct {
        struct message *items;
        uint32_t count, capacity;
    } messages[PRODUCERS_MAX];
    struct map promises;
    struct given *given;
    size_t given_count, given_capacity;
};

struct ledger *ledger_new(void)
{
    return calloc(1, sizeof(struct ledger));
}

void ledger_free(struct ledger *ledger)
{
    size_t at = 0;
    struct promise *promise;
    while ((promise = map_next(&ledger->promises, &at)))
        free(promise);
    map_free(&ledger->promises);
    for (unsigned i = 0; i < PRODUCERS_MAX; i++)
        free(ledger->messages[i].items);
    free(ledger->given);
    free(ledger);
}

/* ---- messages -------------------------------------------------------------------------------------------------- */

struct message *ledger_message(struct world *world, uint32_t producer, uint32_t number)
{
    if (producer >= PRODUCERS_MAX || number >= world->ledger->messages[producer].count)
        sim_fail(world, "a message that nobody made: %u of producer %u", number, producer);
    return &world->ledger->messages[producer].items[number];
}

uint32_t ledger_count(const struct world *world, uint32_t producer)
{
    return world->ledger->messages[producer].count;
}

static uint32_t choose_size(struct world *world)
{
    if (sim_chance(world, 10))
        return (uint32_t)(MAX_MESSAGE / 2 + sim_below(world, MAX_MESSAGE / 2 + 1));
    if (sim_chance(world, 2))
        return MAX_MESSAGE + 1 + (uint32_t)sim_below(world, 100); /* the relay has to refuse it */
    if (sim_chance(world, 50))
        return (uint32_t)sim_below(world, IDENTITY_SIZE);
    return (uint32_t)sim_below(world, sim_chance(world, 100) ? 3000 : 100);
}

uint32_t ledger_add(struct world *world, uint32_t producer, uint8_t topic, uint32_t run)
{
    struct ledger *ledger = world->ledger;
    if (ledger->messages[producer].count == ledger->messages[producer].capacity) {
        uint32_t capacity = ledger->messages[producer].capacity ? ledger->messages[producer].capacity * 2 : 64;
        struct message *items = realloc(ledger->messages[producer].items, capacity * sizeof *items);
        if (!items)
            abort();
        ledger->messages[producer].items = items;
        ledger->messages[producer].capacity = capacity;
    }
    uint32_t size = choose_size(world);
    ledger->messages[producer].items[ledger->messages[producer].count] =
        (struct message){.size = size,
                         .run = run,
                         .topic = topic,
                         .labelled = size < IDENTITY_SIZE || world->rules[topic].dedupes || sim_chance(world, 50)};
    if (world->rules[topic].keyed && sim_chance(world, 800))
        ledger->messages[producer].items[ledger->messages[producer].count].key = (uint8_t)(1 + sim_below(world, 5));
    world->statistics->messages++;
    return ledger->messages[producer].count++;
}

/* The bytes of message NUMBER of PRODUCER, which tell who it is when they are long enough. */
static void fill(uint8_t *body, uint32_t size, uint32_t producer, uint32_t number)
{
    uint64_t mixed = ((uint64_t)producer << 32 | number) * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (uint32_t i = 0; i < size; i += 8) {
        uint8_t bytes[8];
        mixed ^= mixed << 13;
        mixed ^= mixed >> 7;
        mixed ^= mixed << 17;
        store_u64(bytes, mixed);
        memcpy(body + i, bytes, size - i < 8 ? size - i : 8);
    }
    if (size < IDENTITY_SIZE)
        return;
    memcpy(body, "sim:", 4);
    store_u32(body + 4, producer);
    store_u32(body + 8, number);
    store_u32(body + 12, size);
}

void ledger_write(struct world *world, uint32_t producer, uint32_t number, struct frame_builder *frame)
{
    static uint8_t body[SIZE_MAX_SENT];
    const struct message *message = ledger_message(world, producer, number);
    struct buffer block = {0};
    char label[40];
    int size = snprintf(label, sizeof label, "p%u-%u", producer, number);
    char key = (char)('a' + message->key);
    fill(body, message->size, producer, number);
    if ((message->labelled && attributes_set(&block, ATTRIBUTE_ID, "id", 2, label, (size_t)size, NULL)) ||
        (message->key && attributes_set(&block, ATTRIBUTE_STRING, "partitionkey", 12, &key, 1, NULL)) ||
        frame_add(frame, body, message->size, block.data, block.size))
        sim_fail(world, "a message cannot be made");
    buffer_free(&block);
}

unsigned ledger_outputs(unsigned topic, uint64_t offset)
{
    return (unsigned)((offset * 7 + topic) % 4);
}

void ledger_write_output(struct world *world, unsigned topic, uint64_t offset, unsigned index,
                         struct frame_builder *frame)
{
    uint8_t body[OUTPUT_SIZE];
    memcpy(body, "out:", 4);
    store_u32(body + 4, topic);
    store_u64(body + 8, offset);
    store_u32(body + 16, index);
    if (frame_add(frame, body, sizeof body, NULL, 0))
        sim_fail(world, "an output cannot be made");
}

static bool read_label(const struct record *record, struct identity *identity)
{
    struct attribute attribute;
    char label[40];
    unsigned producer, number;
    if (record->attributes_size == 0 ||
        !attribute_find(record->attributes, record->attributes_size, "id", 2, &attribute) ||
        attribute.value_size >= sizeof label)
        return false;
    memcpy(label, attribute.value, attribute.value_size);
    label[attribute.value_size] = '\0';
    if (sscanf(label, "p%u-%u", &producer, &number) != 2)
        return false;
    *identity = (struct identity){.producer = producer, .number = number};
    return true;
}

struct identity ledger_identify(struct world *world, const struct record *record)
{
    static uint8_t body[SIZE_MAX_SENT];
    struct identity identity = {0};
    if (record->size == OUTPUT_SIZE && memcmp(record->body, "out:", 4) == 0)
        return (struct identity){.output = true,
                                 .producer = load_u32(record->body + 4),
                                 .number = load_u64(record->body + 8),
                                 .index = load_u32(record->body + 16)};
    if (record->size >= IDENTITY_SIZE && memcmp(record->body, "sim:", 4) == 0)
        identity = (struct identity){.producer = load_u32(record->body + 4), .number = load_u32(record->body + 8)};
    else if (!read_label(record, &identity))
        sim_fail(world, "a phantom: a message of %zu bytes that nobody sent", record->size);
    const struct message *message = ledger_message(world, identity.producer, (uint32_t)identity.number);
    fill(body, message->size, identity.producer, (uint32_t)identity.number);
    /* In a gathered frame each message has its origin with it. */
    uint64_t producer, sequence;
    bool gathered = record->attributes_size > 0 &&
                    attributes_origin(record->attributes, record->attributes_size, &producer, &sequence);
    size_t bare = gathered ? ATTRIBUTE_ORIGIN_SIZE : 0;
    if (record->size != message->size || memcmp(record->body, body, record->size) != 0 ||
        (record->attributes_size > bare) != (message->labelled || message->key > 0))
        sim_fail(world, "message %llu of producer %u was altered", (unsigned long long)identity.number,
                 identity.producer);
    if (message->fate == FATE_OPEN)
        sim_fail(world, "message %llu of producer %u was not sent yet", (unsigned long long)identity.number,
                 identity.producer);
    return identity;
}

void ledger_delivered(struct world *world, const struct record *record, unsigned topic, uint64_t offset)
{
    struct identity identity = ledger_identify(world, record);
    world->statistics->deliveries++;
    if (identity.output) {
        if (topic != OUTPUT_TOPIC)
            sim_fail(world, "an output of the bridge in topic %s", topic_names[topic]);
        return;
    }
    const struct message *message = ledger_message(world, identity.producer, (uint32_t)identity.number);
    if (message->topic != topic)
        sim_fail(world, "a message of topic %s in topic %s", topic_names[message->topic], topic_names[topic]);
    if (message->fate == FATE_REFUSED)
        sim_fail(world, "a message that was refused is delivered");
    if (message->due > 0 && world->now < message->due && !world->stepped)
        sim_fail(world, "message %llu of producer %u comes before its time", (unsigned long long)identity.number,
                 identity.producer);
    if (message->again)
        return; /* which of its copies was stored first, nobody was told */
    if (message->fate == FATE_STORED && message->due == 0 && message->offset != offset)
        sim_fail(world, "message %llu of producer %u was stored at offset %llu, and comes from %llu",
                 (unsigned long long)identity.number, identity.producer, (unsigned long long)message->offset,
                 (unsigned long long)offset);
    if (message->fate == FATE_STORED &&
        (message->origin_producer != record->producer || message->origin_sequence != record->sequence))
        sim_fail(world, "message %llu of producer %u has lost its origin", (unsigned long long)identity.number,
                 identity.producer);
}

/* ---- what the relay has said ----------------------------------------------------------------------------------- */

struct promise *ledger_promise(struct world *world, uint64_t session, unsigned lane, uint64_t number, bool make)
{
    uint8_t key[24];
    store_u64(key, session);
    store_u64(key + 8, lane);
    store_u64(key + 16, number);
    struct promise *promise = map_get(&world->ledger->promises, key, sizeof key);
    if (promise || !make)
        return promise;
    if (!(promise = calloc(1, sizeof *promise)))
        abort();
    memcpy(promise->key, key, sizeof key);
    promise->a = UINT64_MAX;
    if (map_put(&world->ledger->promises, promise->key, sizeof promise->key, promise))
        abort();
    return promise;
}

void ledger_each_promise(struct world *world, void (*each)(struct world *world, struct promise *promise))
{
    size_t at = 0;
    struct promise *promise;
    while ((promise = map_next(&world->ledger->promises, &at)))
        each(world, promise);
}

/* A repeat gets the answer that was recorded. */
static void promise_keep(struct world *world, const struct protocol_request *request, unsigned lane, uint64_t a,
                         uint64_t b)
{
    struct promise *promise = ledger_promise(world, request->session, lane, request->number, true);
    if (promise->a != UINT64_MAX && (promise->a != a || promise->b != b))
        sim_fail(world, "session %llx, lane %u, number %llu: answered %llu and %llu, and later %llu and %llu",
                 (unsigned long long)request->session, lane, (unsigned long long)request->number,
                 (unsigned long long)promise->a, (unsigned long long)promise->b, (unsigned long long)a,
                 (unsigned long long)b);
    promise->a = a;
    promise->b = b;
}

static void settle_answered(struct world *world, const struct protocol_request *request,
                            const struct protocol_reply *reply)
{
    uint32_t applied, stale;
    struct protocol_settle settle;
    struct protocol_settlement item;
    uint64_t total = 0;
    if (protocol_read_settled(reply, &applied, &stale) || protocol_read_settle(request, &settle))
        sim_fail(world, "a settlement's answer makes no sense");
    for (uint32_t i = 0; protocol_settle_item(&settle, i, &item); i++)
        total += item.count;
    /* A late copy of a request that was refused, and used up no number, gets the answer of what came in its place. */
    struct promise *promise = ledger_promise(world, request->session, PROTOCOL_LANE_SETTLE, request->number, true);
    bool first = promise->a == UINT64_MAX;
    if (first && (uint64_t)applied + stale != total)
        sim_fail(world, "session %llx, settlement %llu: %u applied and %u stale of %llu messages",
                 (unsigned long long)request->session, (unsigned long long)request->number, applied, stale,
                 (unsigned long long)total);
    world->statistics->settlements += applied;
    promise_keep(world, request, PROTOCOL_LANE_SETTLE, applied, stale);
}

static void given_add(struct world *world, const struct given *given)
{
    struct ledger *ledger = world->ledger;
    if (ledger->given_count == ledger->given_capacity) {
        ledger->given_capacity = ledger->given_capacity ? ledger->given_capacity * 2 : 256;
        ledger->given = realloc(ledger->given, ledger->given_capacity * sizeof *ledger->given);
        if (!ledger->given)
            abort();
    }
    ledger->given[ledger->given_count++] = *given;
}

const struct given *ledger_given(const struct world *world, size_t *count)
{
    *count = world->ledger->given_count;
    return world->ledger->given;
}

static void fetch_answered(struct world *world, const struct protocol_request *request,
                           const struct protocol_reply *reply)
{
    struct protocol_fetched fetched;
    struct protocol_chunk chunk;
    struct protocol_fetch fetch;
    uint64_t messages = 0;
    if (protocol_read_fetched(reply, &fetched) || protocol_read_fetch(request, &fetch))
        sim_fail(world, "a fetch's answer makes no sense");
    while (protocol_next_chunk(&fetched, &chunk)) {
        messages += chunk.frame_size > 0 ? chunk.count : 0;
        uint64_t offset = chunk.first;
        for (uint32_t i = 0; chunk.group != 0 && i < chunk.count; i++, offset++) {
            offset = protocol_chunk_next(&chunk, offset);
            struct given given = {chunk.group, offset, 1, request->session, request->number, chunk.attempt, 0};
            if (!broker_is_leased(world, chunk.group, given.first, request->session, request->number, chunk.attempt))
                given.event = broker_turn_event(world) + 1;
            given_add(world, &given);
        }
    }
    /* A repeat gives what the number was given first, also when that was a copy of an older request with other limits. */
    struct promise *promise = ledger_promise(world, request->session, PROTOCOL_LANE_FETCH, request->number, true);
    bool repeated = promise->b > 0;
    promise->b = messages > 0 ? 1 : promise->b;
    if (!repeated && fetch.max_messages > 0 && messages > fetch.max_messages)
        sim_fail(world, "%llu messages for a fetch of %u at most", (unsigned long long)messages, fetch.max_messages);
}

void ledger_reply(struct world *world, const struct protocol_request *request, const uint8_t *data, size_t size)
{
    struct protocol_reply reply;
    if (protocol_read_reply(data, size, &reply))
        sim_fail(world, "the relay's reply is none");
    if (reply.type != request->type || reply.number != request->number)
        sim_fail(world, "a reply of type %u, number %llu to a request of type %u, number %llu", (unsigned)reply.type,
                 (unsigned long long)reply.number, (unsigned)request->type, (unsigned long long)request->number);
    if (reply.status == MP_ERR_INTERNAL || reply.status == MP_ERR_DAMAGED)
        sim_fail(world, "the relay answers: %.*s", (int)reply.body_size, (const char *)reply.body);
    if (reply.status != MP_OK)
        return;
    uint64_t first;
    uint32_t count, duplicates;
    switch (request->type) {
    case PROTOCOL_PUBLISH:
        if (protocol_read_published(&reply, &first, &count, &duplicates))
            sim_fail(world, "a publication's answer makes no sense");
        promise_keep(world, request, PROTOCOL_LANE_PUBLISH, first, count);
        break;
    case PROTOCOL_SETTLE:
        settle_answered(world, request, &reply);
        break;
    case PROTOCOL_FETCH:
        fetch_answered(world, request, &reply);
        break;
    case PROTOCOL_HELLO:
    case PROTOCOL_EXTEND:
    case PROTOCOL_ROOM:
    case PROTOCOL_ADMIN:
    case PROTOCOL_LEAVE:
        break;
    }
}
