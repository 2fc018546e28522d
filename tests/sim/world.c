#include "sim.h"

#include "base/random.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { STEPS_MAX = 4000000 };
#define CALM_MAX (900 * SECOND)

const char *const topic_names[TOPICS] = {"a.0", "a.1", "b.2", "b.3", "out.4"};

unsigned topic_number(struct world *world, const char *name, size_t size)
{
    for (unsigned i = 0; i < TOPICS; i++)
        if (strlen(topic_names[i]) == size && memcmp(topic_names[i], name, size) == 0)
            return i;
    sim_fail(world, "a topic that nobody named: %.*s", (int)size, name);
}

/* ---- chance ---------------------------------------------------------------------------------------------------- */

uint64_t sim_random(struct world *world)
{
    return random_next(&world->random);
}

uint64_t sim_below(struct world *world, uint64_t limit)
{
    return sim_random(world) % limit;
}

bool sim_chance(struct world *world, unsigned per_thousand)
{
    return sim_below(world, 1000) < per_thousand;
}

int64_t sim_delay(struct world *world, int64_t limit)
{
    uint64_t one = sim_below(world, (uint64_t)limit + 1);
    return (int64_t)(sim_chance(world, 800) ? one / 20 : one);
}

/* ---- what happens when ----------------------------------------------------------------------------------------- */

static bool is_before(const struct happening *one, const struct happening *other)
{
    return one->at < other->at || (one->at == other->at && one->order < other->order);
}

void sim_schedule(struct world *world, const struct happening *happening)
{
    if (world->heap_count == world->heap_capacity) {
        world->heap_capacity = world->heap_capacity ? world->heap_capacity * 2 : 256;
        world->heap = realloc(world->heap, world->heap_capacity * sizeof *world->heap);
        if (!world->heap)
            abort();
    }
    struct happening added = *happening;
    added.order = ++world->order;
    size_t at = world->heap_count++;
    while (at > 0 && is_before(&added, &world->heap[(at - 1) / 2])) {
        world->heap[at] = world->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    world->heap[at] = added;
}

static struct happening take_first(struct world *world)
{
    struct happening first = world->heap[0];
    struct happening last = world->heap[--world->heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= world->heap_count)
            break;
        if (child + 1 < world->heap_count && is_before(&world->heap[child + 1], &world->heap[child]))
            child++;
        if (!is_before(&world->heap[child], &last))
            break;
        world->heap[at] = world->heap[child];
        at = child;
    }
    if (world->heap_count > 0)
        world->heap[at] = last;
    return first;
}

/* ---- words ----------------------------------------------------------------------------------------------------- */

void sim_fail(struct world *world, const char *format, ...)
{
    va_list arguments;
    printf("not ok 1 - seed %" PRIu64 "\n# at %.6f s: ", world->seed, (double)world->now / 1e6);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n# to see it again: tests/sim/sim --seed %" PRIu64 " --verbose\n", world->seed);
    fflush(stdout);
    exit(1);
}

void sim_say(const struct world *world, const char *format, ...)
{
    if (!world->verbose)
        return;
    va_list arguments;
    printf("# %12.6f ", (double)world->now / 1e6);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

/* ---- a run ----------------------------------------------------------------------------------------------------- */

void actor_add(struct world *world, struct actor *actor)
{
    if (world->actors_count == ACTORS_MAX)
        abort();
    actor->world = world;
    actor->index = world->actors_count;
    actor->wake = CLOCK_NEVER;
    actor->start = sim_delay(world, 5 * SECOND);
    world->actors[world->actors_count++] = actor;
}

/* Who came to the simulation later. */
static void more_people(struct world *world, const char *topic, const char *group)
{
    if (sim_chance(world, 300))
        actor_add(world, peeker_new(world, topic, group));
    if (!sim_chance(world, 300))
        return;
    actor_add(world, administrator_new(world));
    for (uint64_t members = 1 + sim_below(world, 2); members > 0; members--)
        actor_add(world, consumer_new(world, topic_names[0], MOVED));
}

static void people(struct world *world)
{
    static const char *const patterns[] = {"a.*", "b.>", ">", "a.0", "b.3", "a.1"};
    unsigned producers = 1 + (unsigned)sim_below(world, 3);
    for (unsigned i = 0; i < producers; i++)
        actor_add(world, producer_new(world, i));
    unsigned groups = 1 + (unsigned)sim_below(world, 3);
    static const char *const names[] = {"g0", "g1", "g2"};
    const char *topics[3];
    for (unsigned i = 0; i < groups; i++) {
        topics[i] = patterns[sim_below(world, sizeof patterns / sizeof *patterns)];
        for (uint64_t members = 1 + sim_below(world, 3); members > 0; members--)
            actor_add(world, consumer_new(world, topics[i], names[i]));
    }
    rules_choose(world, topics, names, groups);
    if (sim_chance(world, 500))
        actor_add(world, reader_new(world, patterns[sim_below(world, sizeof patterns / sizeof *patterns)]));
    if (sim_chance(world, 500))
        actor_add(world, bridge_new(world));
    if (sim_chance(world, 500))
        actor_add(world, stage_new(world));
    if (world->wide)
        more_people(world, topics[0], names[0]);
}

static int64_t actor_due(const struct actor *actor)
{
    if (!actor->up)
        return actor->start;
    if (actor->paused > actor->world->now)
        return actor->paused;
    if (actor->restarted || network_has_reply(actor->world, actor->link))
        return actor->world->now;
    int64_t due = actor->wake;
    if (actor->kind->client) {
        int64_t client = client_due(actor->kind->client(actor));
        if (client < due)
            due = client;
    }
    return due;
}

static void actor_turn(struct actor *actor)
{
    struct world *world = actor->world;
    if (!actor->up) {
        actor->up = true;
        actor->run++;
        actor->restarted = false;
        actor->wake = world->now;
        actor->paused = 0;
        actor->kind->start(actor);
        sim_say(world, "%s %u starts, run %u, link %u", actor->kind->name, actor->index, actor->run, actor->link);
        return;
    }
    if (actor->wake <= world->now)
        actor->wake = CLOCK_NEVER;
    if (actor->kind->client)
        client_process(actor->kind->client(actor), world->now);
    if (!actor->restarted)
        actor->kind->turn(actor);
    /* It learns at once when it has sent what it sent now: the machine may sleep for an hour from here. */
    if (!actor->restarted && actor->kind->client)
        client_process(actor->kind->client(actor), world->now);
    if (actor->restarted) {
        actor->kind->crash(actor);
        actor->up = false;
        actor->start = world->now + sim_delay(world, SECOND);
    }
}

static void happen(struct world *world, struct happening *happening)
{
    switch (happening->kind) {
    case HAPPEN_REQUEST:
    case HAPPEN_REPLY:
    case HAPPEN_CLOSED:
    case HAPPEN_CUT:
    case HAPPEN_CONNECT:
    case HAPPEN_RESEND:
        network_happen(world, happening);
        break;
    case HAPPEN_RELAY_START:
        if (!broker_is_up(world))
            broker_start(world);
        break;
    case HAPPEN_FAULT:
        fault_happen(world);
        break;
    case HAPPEN_STROBE:
        strobe_happen(world);
        break;
    }
    blob_drop(happening->blob);
}

static void step(struct world *world)
{
    int64_t next = world->heap_count > 0 ? world->heap[0].at : CLOCK_NEVER;
    int64_t turn = broker_due(world);
    if (turn < next)
        next = turn;
    for (unsigned i = 0; i < world->actors_count; i++) {
        int64_t due = actor_due(world->actors[i]);
        if (due < next)
            next = due;
    }
    if (next == CLOCK_NEVER)
        sim_fail(world, "nothing will ever happen again");
    if (next > world->now)
        world->now = next;
    while (world->heap_count > 0 && world->heap[0].at <= world->now) {
        struct happening first = take_first(world);
        happen(world, &first);
    }
    if (broker_due(world) <= world->now)
        broker_turn(world);
    for (unsigned i = 0; i < world->actors_count; i++)
        if (actor_due(world->actors[i]) <= world->now)
            actor_turn(world->actors[i]);
    world->statistics->steps++;
}

static bool all_done(struct world *world, char text[600])
{
    for (unsigned i = 0; i < world->actors_count; i++)
        if (!world->actors[i]->kind->is_done(world->actors[i], text))
            return false;
    return true;
}

/* The storm ends; whoever is away comes back. */
static void calm(struct world *world)
{
    world->calm = true;
    sim_say(world, "the calm begins");
    broker_arm(world, CRASH_NONE);
    broker_fail_commit(world, 0);
    broker_set_full(world, false);
    broker_set_dead(world, false);
    broker_pause(world, 0);
    network_heal(world);
    if (!broker_is_up(world))
        broker_start(world);
    for (unsigned i = 0; i < world->actors_count; i++) {
        world->actors[i]->paused = 0;
        if (!world->actors[i]->up)
            world->actors[i]->start = world->now;
        else
            world->actors[i]->wake = world->now;
    }
}

void sim_run(uint64_t seed, bool verbose, struct statistics *statistics)
{
    struct world world = {.seed = seed, .random = seed * UINT64_C(0x2545f4914f6cdd1d) + 1, .verbose = verbose};
    char text[600] = "";
    map_seed(seed * 2 + 1);
    world.wide = (seed * UINT64_C(0x9e3779b97f4a7c15)) >> 62 != 1; /* three of four; not 7950, see main.c */
    world.statistics = statistics;
    world.wall_offset = INT64_C(1700000000) * SECOND + (int64_t)sim_below(&world, 1000000000);
    world.ledger = ledger_new();
    world.network = network_new();
    weather_choose(&world);
    world.broker = broker_new(&world);
    broker_start(&world);
    people(&world);
    sim_schedule(&world, &(struct happening){.at = sim_delay(&world, SECOND), .kind = HAPPEN_FAULT});
    uint64_t first_step = statistics->steps;
    int64_t storm = SECOND * (int64_t)(2 + sim_below(&world, 60));
    while (world.now < storm) {
        step(&world);
        if (statistics->steps - first_step > STEPS_MAX)
            sim_fail(&world, "%d steps, and no end: somebody goes round and round", STEPS_MAX);
    }
    calm(&world);
    int64_t since = world.now;
    while (!all_done(&world, text) || !broker_is_drained(&world, text)) {
        step(&world);
        if (world.now > since + CALM_MAX)
            sim_fail(&world, "nothing is in the way, and it is not done: %s", text);
        if (statistics->steps - first_step > STEPS_MAX)
            sim_fail(&world, "%d steps, and no end: %s", STEPS_MAX, text);
    }
    broker_check(&world);
    audit(&world);
    for (unsigned i = 0; i < world.actors_count; i++) {
        if (world.actors[i]->up)
            world.actors[i]->kind->crash(world.actors[i]);
        world.actors[i]->kind->free(world.actors[i]);
    }
    broker_free(world.broker);
    network_free(world.network);
    ledger_free(world.ledger);
    for (size_t i = 0; i < world.heap_count; i++)
        blob_drop(world.heap[i].blob);
    free(world.heap);
}
