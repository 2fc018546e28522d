/*
 * A stage in small: takes messages of a pattern and settles each lease together with publishing its outputs, in one
 * request. It speaks the protocol by itself, over the same network.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>

enum { INPUTS_MAX = 12 };

struct bridge {
    struct actor actor; /* first */
    struct channel *channel;
    uint64_t session, sequence;
    uint64_t numbers[PROTOCOL_LANES]; /* the next */
    bool busy[CHANNEL_LANES];
    enum protocol_type asked[CHANNEL_LANES];
    struct buffer settle; /* body of the settlement under way */
    unsigned settle_flags;
    bool settling, holding;
    uint32_t group;
    uint64_t lease, offsets[INPUTS_MAX];
    uint32_t count;
    unsigned topic;
    bool idle; /* the last fetch found nothing */
};

static struct bridge *bridge_of(const struct actor *actor)
{
    return (struct bridge *)(uintptr_t)actor;
}

static void ask(struct bridge *bridge, enum channel_lane lane, enum protocol_type type, uint64_t number, unsigned flags,
                const struct buffer *body)
{
    struct buffer request = {0};
    struct fault fault = {0};
    if (protocol_put_request(&request, type, lane, bridge->session, number) ||
        buffer_append(&request, body->data, body->size))
        abort();
    protocol_set_flags(&request, 0, flags);
    struct iovec part = {.iov_base = request.data, .iov_len = request.size};
    if (bridge->channel->operations->send(bridge->channel, lane, &part, 1, &fault))
        sim_fail(bridge->actor.world, "the bridge cannot send: %s", fault_text(&fault));
    bridge->busy[lane] = true;
    bridge->asked[lane] = type;
    buffer_free(&request);
}

/* ---- requests -------------------------------------------------------------------------------------------------- */

static void hello(struct bridge *bridge)
{
    struct buffer body = {0};
    protocol_put_hello(&body, "bridge", 0);
    bridge->session = 0;
    ask(bridge, CHANNEL_CONTROL, PROTOCOL_HELLO, 1, 0, &body);
    buffer_free(&body);
}

static void fetch(struct bridge *bridge)
{
    struct buffer body = {0};
    struct protocol_fetch request = {.topic = "*.*",
                                     .topic_size = 3,
                                     .group = "bridge",
                                     .group_size = 6,
                                     .max_messages = INPUTS_MAX,
                                     .max_bytes = 100000,
                                     .wait = 2000};
    /* So it leaves no lease to end, for which a small topic would wait. */
    if (bridge->actor.world->wide && bridge->actor.world->calm)
        request.max_messages = 1;
    /* Of what it makes itself it takes nothing. */
    request.topic = bridge->topic % 2 ? "a.*" : "b.*";
    protocol_put_fetch(&body, &request, NULL);
    ask(bridge, CHANNEL_FETCH, PROTOCOL_FETCH, bridge->numbers[PROTOCOL_LANE_FETCH], 0, &body);
    buffer_free(&body);
}

/* The settlement of what is held, with its outputs, all or nothing; sometimes it is tried again instead. */
static void make_settlement(struct bridge *bridge, unsigned topic)
{
    struct world *world = bridge->actor.world;
    struct protocol_settlement item = {.group = bridge->group,
                                       .lease = bridge->lease,
                                       .first = bridge->offsets[0],
                                       .count = bridge->count,
                                       .span = (uint32_t)(bridge->offsets[bridge->count - 1] - bridge->offsets[0] + 1),
                                       .action = PROTOCOL_ACK,
                                       .exit_code = 0};
    struct frame_builder frame = {0};
    bool retry = !world->calm && sim_chance(world, 100);
    if (retry)
        item.action = sim_chance(world, 200) ? PROTOCOL_DEAD : PROTOCOL_RETRY;
    if (frame_begin(&frame, bridge->session, bridge->sequence))
        abort();
    for (uint32_t i = 0; !retry && i < bridge->count; i++)
        for (unsigned k = 0; k < ledger_outputs(topic, bridge->offsets[i]); k++)
            ledger_write_output(world, topic, bridge->offsets[i], k, &frame);
    bool publishes = frame.count > 0;
    bridge->sequence += frame.count;
    bridge->settle.size = 0;
    protocol_put_settle(&bridge->settle, &item, 1, publishes);
    if (publishes) {
        frame_finish(&frame, world->now);
        struct protocol_publication to = protocol_publication(topic_names[OUTPUT_TOPIC]);
        to.frame = frame.bytes.data;
        to.frame_size = frame.bytes.size;
        protocol_put_settle_publish(&bridge->settle, &to);
    }
    bridge->settle_flags = publishes || sim_chance(world, 500) ? PROTOCOL_ATOMIC : 0;
    bridge->settling = true;
    frame_builder_free(&frame);
}

/* ---- replies --------------------------------------------------------------------------------------------------- */

static void forget_session(struct bridge *bridge)
{
    bridge->session = 0;
    bridge->holding = bridge->settling = false;
    for (enum channel_lane lane = 0; lane < CHANNEL_LANES; lane++) {
        bridge->channel->operations->forget(bridge->channel, lane);
        bridge->busy[lane] = false;
    }
}

static void fetched(struct bridge *bridge, const struct protocol_reply *reply)
{
    struct world *world = bridge->actor.world;
    struct protocol_fetched answer;
    struct protocol_chunk chunk;
    struct frame frame;
    struct fault fault = {0};
    if (protocol_read_fetched(reply, &answer))
        sim_fail(world, "the bridge's fetch has an answer that makes no sense");
    if (answer.flags & PROTOCOL_FETCH_LAPSED) {
        bridge->numbers[PROTOCOL_LANE_FETCH]++;
        return;
    }
    if (answer.chunks == 0)
        return;
    /* Of several chunks it takes the first, and leaves the others' leases to end. */
    protocol_next_chunk(&answer, &chunk);
    if (frame_open(&frame, chunk.frame, chunk.frame_size, true, &fault) || frame.count != chunk.count)
        sim_fail(world, "the bridge was given a damaged frame: %s", fault_text(&fault));
    bridge->group = chunk.group;
    bridge->lease = bridge->numbers[PROTOCOL_LANE_FETCH]++;
    bridge->count = chunk.count;
    if (chunk.count > INPUTS_MAX)
        sim_fail(world, "the bridge was given %u messages, and asked for %u at most", chunk.count, INPUTS_MAX);
    for (uint32_t i = 0; i < chunk.count; i++)
        bridge->offsets[i] = protocol_chunk_offset(&chunk, i);
    bridge->holding = true;
    make_settlement(bridge, topic_number(world, chunk.name, chunk.name_size));
    bridge->actor.wake = world->now + sim_delay(world, world->calm ? MILLISECOND : 40 * SECOND);
}

static void settled(struct bridge *bridge, enum mp_error status)
{
    if (status == MP_OK)
        bridge->numbers[PROTOCOL_LANE_SETTLE]++;
    bridge->settling = bridge->holding = false;
}

static void answered(struct bridge *bridge, enum channel_lane lane, const struct protocol_reply *reply)
{
    struct world *world = bridge->actor.world;
    struct protocol_welcome welcome;
    bridge->busy[lane] = false;
    if (reply->status == MP_ERR_AGAIN || reply->status == MP_ERR_FULL) {
        bridge->actor.wake = world->now + 20 * MILLISECOND;
        return;
    }
    if (reply->status == MP_ERR_SESSION || reply->status == MP_ERR_GAP) {
        forget_session(bridge);
        return;
    }
    if (reply->status != MP_OK && reply->status != MP_ERR_STALE)
        sim_fail(world, "the bridge is told: %.*s", (int)reply->body_size, (const char *)reply->body);
    switch (bridge->asked[lane]) {
    case PROTOCOL_HELLO:
        if (protocol_read_welcome(reply, &welcome))
            sim_fail(world, "a greeting that makes no sense");
        bridge->session = welcome.session;
        bridge->sequence = 1;
        for (unsigned i = 0; i < PROTOCOL_LANES; i++)
            bridge->numbers[i] = 1;
        break;
    case PROTOCOL_FETCH:
        fetched(bridge, reply);
        break;
    case PROTOCOL_SETTLE:
        settled(bridge, reply->status);
        break;
    default:
        break;
    }
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

static void start(struct actor *actor)
{
    struct bridge *bridge = bridge_of(actor);
    bridge->channel = network_open(actor->world, &actor->link);
    memset(bridge->busy, 0, sizeof bridge->busy);
    bridge->session = 0;
    bridge->settling = bridge->holding = false;
}

static void turn(struct actor *actor)
{
    struct bridge *bridge = bridge_of(actor);
    struct world *world = actor->world;
    struct channel_reply *message;
    struct protocol_reply reply;
    while ((message = bridge->channel->operations->receive(bridge->channel))) {
        if (protocol_read_reply(message->data, message->size, &reply))
            sim_fail(world, "the bridge's reply is none");
        answered(bridge, message->lane, &reply);
        channel_reply_free(message);
    }
    if (actor->wake != CLOCK_NEVER)
        return;
    if (bridge->session == 0) {
        if (!bridge->busy[CHANNEL_CONTROL])
            hello(bridge);
    } else if (bridge->settling) {
        if (!bridge->busy[CHANNEL_SETTLE])
            ask(bridge, CHANNEL_SETTLE, PROTOCOL_SETTLE, bridge->numbers[PROTOCOL_LANE_SETTLE], bridge->settle_flags,
                &bridge->settle);
    } else if (!bridge->busy[CHANNEL_FETCH]) {
        fetch(bridge);
    }
}

static void crash(struct actor *actor)
{
    struct bridge *bridge = bridge_of(actor);
    bridge->channel->operations->close(bridge->channel);
    bridge->channel = NULL;
}

static bool is_done(struct actor *actor, char text[600])
{
    const struct bridge *bridge = bridge_of(actor);
    snprintf(text, 600, "the bridge holds %u messages", bridge->count);
    return actor->up && !bridge->holding;
}

static void release(struct actor *actor)
{
    buffer_free(&bridge_of(actor)->settle);
    free(actor);
}

static const struct actor_kind kind = {
    .name = "bridge", .start = start, .turn = turn, .crash = crash, .is_done = is_done, .free = release};

struct actor *bridge_new(struct world *world)
{
    struct bridge *bridge = calloc(1, sizeof *bridge);
    if (!bridge)
        abort();
    bridge->actor.kind = &kind;
    bridge->topic = (unsigned)sim_below(world, 2);
    return &bridge->actor;
}
