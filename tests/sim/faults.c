#include "sim.h"

void weather_choose(struct world *world)
{
    struct weather *weather = &world->weather;
    /* Each kind of trouble is left out by some seeds, so that it cannot hide another. */
    weather->lose = sim_chance(world, 400) ? 0 : (unsigned)sim_below(world, 60);
    weather->repeat = sim_chance(world, 400) ? 0 : (unsigned)sim_below(world, 150);
    weather->late = sim_chance(world, 400) ? 0 : (unsigned)sim_below(world, 100);
    weather->slow = sim_chance(world, 500) ? 0 : (unsigned)sim_below(world, 200);
    weather->half_open = sim_chance(world, 500) ? 0 : (unsigned)sim_below(world, 500);
    weather->fault_every = sim_delay(world, 3 * SECOND) + 20 * MILLISECOND;
    weather->clock_steps = sim_chance(world, 200);
    weather->long_pauses = sim_chance(world, 20);
    weather->full_disks = sim_chance(world, 200);
    weather->broken_commits = sim_chance(world, 500);
    weather->relay_crashes = sim_chance(world, 600);
    weather->actor_crashes = sim_chance(world, 600);
    weather->cuts = sim_chance(world, 700);
}

static void actor_trouble(struct world *world)
{
    struct actor *actor = world->actors[sim_below(world, world->actors_count)];
    if (!actor->up)
        return;
    if (actor->kind->leave && sim_chance(world, 400)) {
        sim_say(world, "%s %u is to leave", actor->kind->name, actor->index);
        actor->kind->leave(actor);
        return;
    }
    sim_say(world, "%s %u dies", actor->kind->name, actor->index);
    actor->kind->crash(actor);
    actor->up = false;
    actor->start = world->now + 1 + sim_delay(world, 40 * SECOND);
}

static void relay_trouble(struct world *world)
{
    switch (sim_below(world, 3)) {
    case 0:
        broker_crash(world);
        break;
    case 1:
        broker_arm(world, CRASH_BEFORE_COMMIT);
        break;
    default:
        broker_arm(world, CRASH_AFTER_COMMIT);
        break;
    }
}

static void step_clock(struct world *world)
{
    int64_t step = sim_chance(world, 500) ? sim_delay(world, 100000 * SECOND) : sim_delay(world, 2 * SECOND);
    world->wall_offset += sim_chance(world, 500) ? step : -step;
    world->stepped = true;
    sim_say(world, "the wall clock is set, to %lld", (long long)(world->now + world->wall_offset));
}

/* A laptop sleeps: for a client, more than an hour passes without a connection. */
static void long_pause(struct world *world)
{
    sim_say(world, "somebody is away for long");
    network_isolate(world, 3700 * SECOND);
    world->now += 3650 * SECOND;
    broker_sleep(world, 3650 * SECOND);
}

void fault_happen(struct world *world)
{
    const struct weather *weather = &world->weather;
    if (world->calm)
        return;
    broker_set_full(world, false);
    switch (sim_below(world, 9)) {
    case 0:
        if (weather->relay_crashes && broker_is_up(world))
            relay_trouble(world);
        break;
    case 1:
    case 2:
        if (weather->actor_crashes)
            actor_trouble(world);
        break;
    case 3:
        if (weather->broken_commits)
            broker_fail_commit(world, 1 + (unsigned)sim_below(world, 3));
        break;
    case 4:
        if (weather->clock_steps)
            step_clock(world);
        break;
    case 5:
        if (weather->full_disks)
            broker_set_full(world, true);
        break;
    case 6:
        if (weather->long_pauses && sim_chance(world, 100))
            long_pause(world);
        else if (weather->cuts)
            network_isolate(world, sim_delay(world, 20 * SECOND));
        break;
    default:
        if (weather->cuts)
            network_cut_one(world);
        break;
    }
    struct happening next = {.at = world->now + 1 + (int64_t)sim_below(world, 2 * (uint64_t)weather->fault_every),
                             .kind = HAPPEN_FAULT};
    sim_schedule(world, &next);
}
