/*
 * A stage with the client of lib/client: what the bridge does, of several topics at a time, with other settlements on
 * their way beside it. Both are members of one group, so what it settles has its outputs once, or the audit says so.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>

enum { INPUTS_MAX = 12 };

struct input {
    unsigned topic;
    uint64_t offset;
};

/* What one fetch gave. */
struct batch {
    struct protocol_settlement items[INPUTS_MAX]; /* ascending */
    struct input inputs[INPUTS_MAX];
    unsigned items_count, inputs_count;
};

struct stage {
    struct actor actor; /* first */
    struct client *client;
    const char *topic;
    struct batch batch;      /* fetched, and not yet settled */
    struct batch committing; /* under way */
    bool complete;           /* the fetch has ended */
    bool leaving;
    int64_t at; /* when the batch is to be settled */
    uint64_t handed, told;
};

static struct stage *stage_of(const struct actor *actor)
{
    return (struct stage *)(uintptr_t)actor;
}

/* ---- what comes ------------------------------------------------------------------------------------------------ */

static void add_item(struct batch *batch, const struct protocol_settlement *item)
{
    unsigned at = batch->items_count++;
    for (; at > 0; at--) {
        const struct protocol_settlement *before = &batch->items[at - 1];
        if (before->group < item->group || (before->group == item->group && before->first < item->first))
            break;
        batch->items[at] = *before;
    }
    batch->items[at] = *item;
}

static void on_fetched(void *context, const struct protocol_chunk *chunk, const struct frame *frame, uint64_t lease,
                       struct client_hold *hold)
{
    struct stage *stage = context;
    struct world *world = stage->actor.world;
    struct batch *batch = &stage->batch;
    unsigned topic = topic_number(world, chunk->name, chunk->name_size);
    struct frame_cursor cursor = frame_cursor(frame);
    struct record record;
    uint64_t offset = chunk->first;
    if (batch->inputs_count + chunk->count > INPUTS_MAX)
        sim_fail(world, "the stage is given more than it asked for");
    while (frame_next(&cursor, &record)) {
        offset = protocol_chunk_next(chunk, offset);
        ledger_delivered(world, &record, topic, offset);
        batch->inputs[batch->inputs_count++] = (struct input){topic, offset++};
    }
    struct protocol_settlement item = {.group = chunk->group,
                                       .lease = lease,
                                       .first = chunk->first,
                                       .count = chunk->count,
                                       .span = chunk->span,
                                       .action = PROTOCOL_ACK};
    add_item(batch, &item);
    client_hold_free(hold);
}

static void on_fetch_done(void *context, unsigned flags, uint64_t waiting)
{
    struct stage *stage = context;
    struct world *world = stage->actor.world;
    (void)flags;
    (void)waiting;
    stage->complete = stage->batch.items_count > 0;
    stage->at = world->now + sim_delay(world, world->calm ? MILLISECOND : 40 * SECOND);
    stage->actor.wake = stage->at;
}

static void on_settled(void *context, uint32_t applied, uint32_t stale)
{
    struct stage *stage = context;
    stage->told += (uint64_t)applied + stale;
}

/* ---- settling -------------------------------------------------------------------------------------------------- */

/* Settles BATCH without outputs; what is not acknowledged has none. */
static void settle_plainly(struct stage *stage, struct batch *batch, enum protocol_action action)
{
    struct world *world = stage->actor.world;
    for (unsigned i = 0; i < batch->items_count; i++) {
        struct protocol_settlement *item = &batch->items[i];
        item->action = action;
        item->delay = sim_chance(world, 500) ? 0 : (uint32_t)sim_delay(world, 20000);
        item->note = "what the command said last";
        item->note_size = sim_chance(world, 500) ? 26 : 0;
        stage->handed += item->count;
        enum mp_error error = client_settle(stage->client, item);
        if (error == MP_ERR_CLOSED)
            stage->told += item->count;
        else if (error)
            sim_fail(world, "the stage's settlement is not taken: %s", mp_error_text(error));
    }
    batch->items_count = batch->inputs_count = 0;
}

static void abandon(struct stage *stage, struct batch *batch)
{
    for (unsigned i = 0; i < batch->items_count; i++)
        client_abandon(stage->client, batch->items[i].lease, batch->items[i].count);
    batch->items_count = batch->inputs_count = 0;
}

static void on_committed(void *context, enum mp_error error, const char *text)
{
    struct stage *stage = context;
    struct world *world = stage->actor.world;
    bool lost = error == MP_ERR_SESSION && (!world->calm || broker_forgets(world));
    if (stage->committing.items_count == 0)
        sim_fail(world, "the stage is told of what it had not under way");
    if (error && error != MP_ERR_STALE && error != MP_ERR_FULL && !lost)
        sim_fail(world, "the stage's settlement has failed: %s", text);
    if (error == MP_ERR_STALE && sim_chance(world, 500))
        settle_plainly(stage, &stage->committing, PROTOCOL_RELEASE);
    else if (error)
        abandon(stage, &stage->committing);
    stage->committing.items_count = 0;
    stage->actor.wake = world->now;
}

static void commit(struct stage *stage)
{
    struct world *world = stage->actor.world;
    struct frame_builder frame = {0};
    struct client_output output = {.publication = {.topic = topic_names[OUTPUT_TOPIC]}, .frame = &frame};
    struct fault fault = {0};
    uint64_t producer, sequence;
    client_origin(stage->client, &producer, &sequence);
    if (frame_begin(&frame, producer, sequence))
        abort();
    for (unsigned i = 0; i < stage->batch.inputs_count; i++) {
        const struct input *input = &stage->batch.inputs[i];
        for (unsigned k = 0; k < ledger_outputs(input->topic, input->offset); k++)
            ledger_write_output(world, input->topic, input->offset, k, &frame);
    }
    if (frame.count > 0)
        frame_finish(&frame, world->now);
    enum mp_error error = client_settle_publish(stage->client, stage->batch.items, stage->batch.items_count, &output,
                                                frame.count > 0, &fault);
    if (error && error != MP_ERR_STALE)
        sim_fail(world, "the stage cannot settle: %s", fault_text(&fault));
    if (!error)
        stage->committing = stage->batch;
    stage->batch.items_count = stage->batch.inputs_count = 0;
    frame_builder_free(&frame);
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

static void on_failed(void *context, enum mp_error error, const char *text)
{
    struct stage *stage = context;
    struct world *world = stage->actor.world;
    if (error != MP_ERR_SESSION || (world->calm && !broker_forgets(world)))
        sim_fail(world, "a stage has failed: %s", text);
    stage->actor.restarted = true;
}

static void start(struct actor *actor)
{
    struct stage *stage = stage_of(actor);
    struct world *world = actor->world;
    struct client_settings settings = {.name = "stage",
                                       .context = stage,
                                       .fetched = on_fetched,
                                       .fetch_done = on_fetch_done,
                                       .settled = on_settled,
                                       .committed = on_committed,
                                       .failed = on_failed};
    struct client_subscription subscription = {.topic = stage->topic, .group = "bridge", .max_bytes = 100000};
    struct fault fault = {0};
    if (client_open(network_open(world, &actor->link), &settings, world->now, &stage->client, &fault) ||
        client_subscribe(stage->client, &subscription, &fault))
        sim_fail(world, "no stage: %s", fault_text(&fault));
    stage->batch.items_count = stage->batch.inputs_count = stage->committing.items_count = 0;
    stage->handed = stage->told = 0;
    stage->complete = stage->leaving = false;
}

static void turn(struct actor *actor)
{
    struct stage *stage = stage_of(actor);
    struct world *world = actor->world;
    struct fault fault = {0};
    if (stage->leaving) {
        actor->restarted = client_has_left(stage->client);
        return;
    }
    if (stage->complete && world->now < stage->at) {
        actor->wake = stage->at;
        return;
    }
    if (stage->complete && !world->calm && sim_chance(world, 100)) {
        settle_plainly(stage, &stage->batch, sim_chance(world, 200) ? PROTOCOL_DEAD : PROTOCOL_RETRY);
        stage->complete = false;
    } else if (stage->complete && client_can_commit(stage->client)) {
        commit(stage);
        stage->complete = false;
    }
    if (!stage->complete && !client_is_fetching(stage->client) && client_fetch(stage->client, INPUTS_MAX, 2000, &fault))
        sim_fail(world, "a stage cannot fetch: %s", fault_text(&fault));
}

static void crash(struct actor *actor)
{
    client_close(stage_of(actor)->client);
}

static void leave(struct actor *actor)
{
    struct stage *stage = stage_of(actor);
    stage->leaving = client_leave(stage->client) == MP_OK;
    actor->wake = actor->world->now;
}

static bool is_done(struct actor *actor, char text[600])
{
    const struct stage *stage = stage_of(actor);
    snprintf(text, 600, "the stage holds %u messages, and has %u settlements under way", stage->batch.inputs_count,
             stage->committing.items_count);
    return actor->up && stage->batch.items_count == 0 && stage->committing.items_count == 0 &&
           stage->handed == stage->told;
}

static struct client *client(const struct actor *actor)
{
    return stage_of(actor)->client;
}

static void release(struct actor *actor)
{
    free(actor);
}

static const struct actor_kind kind = {.name = "stage",
                                       .start = start,
                                       .turn = turn,
                                       .crash = crash,
                                       .leave = leave,
                                       .is_done = is_done,
                                       .free = release,
                                       .client = client};

struct actor *stage_new(struct world *world)
{
    struct stage *stage = calloc(1, sizeof *stage);
    if (!stage)
        abort();
    stage->actor.kind = &kind;
    stage->topic = sim_below(world, 2) ? "a.*" : "b.*";
    return &stage->actor;
}
