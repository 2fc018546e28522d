#include "sim.h"

#include <stdio.h>
#include <stdlib.h>

enum { FRAME_MESSAGES_MAX = 200 };

struct producer {
    struct actor actor; /* first */
    struct client *client;
    uint32_t number;   /* among the producers */
    uint32_t left;     /* messages that are still to be made */
    uint32_t batch;    /* messages of a frame at most */
    unsigned hurry;    /* per thousand: the next frame follows at once */
    uint8_t topics[2]; /* that it sends to */
    bool published;    /* a frame is under way */
    bool leaving;
    uint32_t first, count; /* the messages in it */
    uint8_t topic;
    bool doubtful; /* the messages FIRST on are in doubt, and to be sent again with the same ids */
    bool again;    /* that is under way */
    struct frame_builder frame;
};

static struct producer *producer_of(const struct actor *actor)
{
    return (struct producer *)(uintptr_t)actor;
}

static void end_frame(struct producer *producer, enum fate fate)
{
    struct world *world = producer->actor.world;
    for (uint32_t i = 0; producer->published && i < producer->count; i++)
        ledger_message(world, producer->number, producer->first + i)->fate = (uint8_t)fate;
    if (producer->published)
        producer->doubtful = fate == FATE_UNKNOWN && world->rules[producer->topic].dedupes;
    producer->published = producer->again = false;
}

static void on_published(void *context, uint64_t offset, uint32_t count, uint32_t duplicates)
{
    struct producer *producer = context;
    struct world *world = producer->actor.world;
    uint64_t origin, sequence;
    if (!producer->published || count > producer->count || (duplicates > 0 && !producer->again))
        sim_fail(world, "producer %u: %u messages stored where %u were sent", producer->number, count, producer->count);
    client_stored_origin(producer->client, &origin, &sequence);
    for (uint32_t i = 0; i < count; i++) {
        struct message *message = ledger_message(world, producer->number, producer->first + i);
        message->offset = offset + i;
        message->origin_producer = origin;
        message->origin_sequence = sequence + i;
    }
    sim_say(world, "producer %u: %u to %u stored in %s from %llu on", producer->number, producer->first,
            producer->first + count - 1, topic_names[producer->topic], (unsigned long long)offset);
    /* A topic that has room for a part takes that, and the rest later. */
    uint32_t left = producer->count - count;
    producer->count = count;
    if (left == 0) {
        end_frame(producer, FATE_STORED);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        ledger_message(world, producer->number, producer->first + i)->fate = FATE_STORED;
    producer->first += count;
    producer->count = left;
}

static void on_refused(void *context, enum mp_error error, const char *text)
{
    struct producer *producer = context;
    struct world *world = producer->actor.world;
    bool large = false;
    if (error == MP_ERR_OVERFLOW && world->rules[producer->topic].rejects) {
        world->statistics->refused += producer->count;
        /* What is in doubt may have been stored the first time. */
        end_frame(producer, producer->again ? FATE_UNKNOWN : FATE_REFUSED);
        return;
    }
    for (uint32_t i = 0; i < producer->count; i++)
        large |= ledger_message(world, producer->number, producer->first + i)->size > MAX_MESSAGE;
    if (error != MP_ERR_TOO_LARGE || !large)
        sim_fail(world, "producer %u: refused: %s", producer->number, text);
    end_frame(producer, FATE_REFUSED);
}

static void on_failed(void *context, enum mp_error error, const char *text)
{
    struct producer *producer = context;
    struct world *world = producer->actor.world;
    sim_say(world, "producer %u has failed: %s", producer->number, text);
    if (error != MP_ERR_SESSION || (world->calm && !broker_forgets(world)))
        sim_fail(world, "producer %u has failed: %s", producer->number, text);
    producer->actor.restarted = true;
}

static void start(struct actor *actor)
{
    struct producer *producer = producer_of(actor);
    struct client_settings settings = {
        .name = "producer", .context = producer, .published = on_published, .refused = on_refused, .failed = on_failed};
    struct fault fault = {0};
    producer->leaving = false;
    if (client_open(network_open(actor->world, &actor->link), &settings, actor->world->now, &producer->client, &fault))
        sim_fail(actor->world, "no client: %s", fault_text(&fault));
}

/* The messages of the next frame: new ones, or those that are in doubt. */
static void choose_messages(struct producer *producer)
{
    struct world *world = producer->actor.world;
    if (producer->doubtful) {
        producer->doubtful = false;
        producer->again = true;
        for (uint32_t i = 0; i < producer->count; i++) {
            struct message *message = ledger_message(world, producer->number, producer->first + i);
            message->again = true;
            message->run = producer->actor.run;
        }
        return;
    }
    uint32_t count = 1 + (uint32_t)sim_below(world, producer->batch);
    if (count > producer->left)
        count = producer->left;
    producer->topic = producer->topics[sim_below(world, 2)];
    producer->first = ledger_count(world, producer->number);
    producer->count = count;
    producer->left -= count;
    for (uint32_t i = 0; i < count; i++)
        ledger_add(world, producer->number, producer->topic, producer->actor.run);
}

/* Makes the next frame and hands it over. */
static void publish(struct producer *producer)
{
    struct world *world = producer->actor.world;
    struct fault fault = {0};
    uint64_t origin, sequence;
    int64_t delay = 0;
    choose_messages(producer);
    struct client_publication to = {.topic = topic_names[producer->topic]};
    if (!producer->again && sim_chance(world, world->rules[producer->topic].delayed)) {
        to.when = PROTOCOL_WHEN_DELAY;
        to.value = 1 + sim_delay(world, 60 * SECOND);
        delay = to.value;
        bool steady = !world->weather.clock_steps && !world->weather.strobes; /* else it may wait for a day */
        if (world->wide && steady && sim_chance(world, 300)) {
            to.when = PROTOCOL_WHEN_AT;
            to.value = world->now + world->wall_offset + delay;
        }
    }
    client_origin(producer->client, &origin, &sequence);
    if (frame_begin(&producer->frame, origin, sequence))
        sim_fail(world, "a frame cannot be begun");
    for (uint32_t i = 0; i < producer->count; i++) {
        struct message *message = ledger_message(world, producer->number, producer->first + i);
        ledger_write(world, producer->number, producer->first + i, &producer->frame);
        message->fate = FATE_SENT;
        if (delay > 0)
            message->due = world->now + delay;
        else if (message->due > 0)
            message->due = 1; /* it was delayed, and now it is not */
    }
    frame_finish(&producer->frame, world->now);
    producer->published = true;
    if (client_publish(producer->client, &to, &producer->frame, &fault))
        sim_fail(world, "producer %u cannot publish: %s", producer->number, fault_text(&fault));
}

static void turn(struct actor *actor)
{
    struct producer *producer = producer_of(actor);
    struct world *world = actor->world;
    if (producer->leaving) {
        if (!client_has_left(producer->client))
            return;
        if (producer->published && !actor->restarted)
            end_frame(producer, FATE_UNKNOWN); /* it left while the topic was full */
        actor->restarted = true;
        return;
    }
    if ((producer->left == 0 && !producer->doubtful) || actor->wake != CLOCK_NEVER ||
        !client_can_publish(producer->client))
        return;
    publish(producer);
    actor->wake = sim_chance(world, producer->hurry) ? CLOCK_NEVER
                                                     : world->now + sim_delay(world, world->calm ? SECOND : 4 * SECOND);
}

static void crash(struct actor *actor)
{
    struct producer *producer = producer_of(actor);
    end_frame(producer, FATE_UNKNOWN);
    client_close(producer->client);
    producer->client = NULL;
}

static void leave(struct actor *actor)
{
    struct producer *producer = producer_of(actor);
    producer->leaving = client_leave(producer->client) == MP_OK;
    actor->wake = actor->world->now;
}

static bool is_done(struct actor *actor, char text[600])
{
    const struct producer *producer = producer_of(actor);
    snprintf(text, 600, "producer %u has %u messages to send%s", producer->number, producer->left,
             producer->published ? ", and one frame under way" : "");
    return producer->left == 0 && !producer->published && !producer->doubtful;
}

static struct client *client(const struct actor *actor)
{
    return producer_of(actor)->client;
}

static void release(struct actor *actor)
{
    frame_builder_free(&producer_of(actor)->frame);
    free(actor);
}

static const struct actor_kind kind = {.name = "producer",
                                       .start = start,
                                       .turn = turn,
                                       .crash = crash,
                                       .leave = leave,
                                       .is_done = is_done,
                                       .free = release,
                                       .client = client};

struct actor *producer_new(struct world *world, uint32_t number)
{
    static const uint32_t batches[] = {1, 3, 20, FRAME_MESSAGES_MAX};
    struct producer *producer = calloc(1, sizeof *producer);
    if (!producer)
        abort();
    producer->actor.kind = &kind;
    producer->number = number;
    producer->batch = batches[sim_below(world, 4)];
    producer->left = 1 + (uint32_t)sim_below(world, producer->batch * 10);
    producer->hurry = (unsigned)sim_below(world, 1000);
    producer->topics[0] = (uint8_t)sim_below(world, OUTPUT_TOPIC);
    producer->topics[1] = (uint8_t)sim_below(world, OUTPUT_TOPIC);
    return &producer->actor;
}
