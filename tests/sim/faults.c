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
    weather->pauses = world->wide && sim_chance(world, 400);
    weather->strobes = world->wide && sim_chance(world, 150);
    weather->dead_disks = world->wide && sim_chance(world, 250);
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

/* A process is stopped for a while, and goes on as if nothing had been. */
static void pause_somebody(struct world *world)
{
    int64_t duration = sim_delay(world, 60 * SECOND);
    struct actor *actor = world->actors[sim_below(world, world->actors_count)];
    world->statistics->pauses++;
    if (sim_chance(world, 400)) {
        sim_say(world, "the relay stands still for %lld us", (long long)duration);
        broker_pause(world, duration);
    } else {
        sim_say(world, "%s %u stands still for %lld us", actor->kind->name, actor->index, (long long)duration);
        actor->paused = world->now + duration;
    }
}

void strobe_happen(struct world *world)
{
    struct strobe *strobe = &world->strobe;
    if (world->calm || strobe->left-- == 0)
        return;
    world->wall_offset += strobe->swing;
    strobe->swing = -strobe->swing;
    world->statistics->strobes++;
    sim_schedule(world, &(struct happening){.at = world->now + 1 + sim_delay(world, SECOND), .kind = HAPPEN_STROBE});
}

static void begin_strobe(struct world *world)
{
    world->stepped = true;
    world->strobe.swing = sim_chance(world, 700) ? SECOND : 86400 * SECOND;
    world->strobe.left = (unsigned)sim_below(world, 50);
    strobe_happen(world);
}

/* Whether one of these was chosen. */
static bool wide_fault(struct world *world)
{
    const struct weather *weather = &world->weather;
    broker_set_dead(world, false);
    if (!sim_chance(world, 300))
        return false;
    if (weather->pauses && sim_chance(world, 600))
        pause_somebody(world);
    else if (weather->strobes && sim_chance(world, 300))
        begin_strobe(world);
    else if (weather->dead_disks && sim_chance(world, 500))
        broker_set_dead(world, true);
    else
        return false;
    return true;
}

static void next_fault(struct world *world)
{
    struct happening next = {.at = world->now + 1 + (int64_t)sim_below(world, 2 * (uint64_t)world->weather.fault_every),
                             .kind = HAPPEN_FAULT};
    sim_schedule(world, &next);
}

void fault_happen(struct world *world)
{
    const struct weather *weather = &world->weather;
    if (world->calm)
        return;
    broker_set_full(world, false);
    if (world->wide && wide_fault(world)) {
        next_fault(world);
        return;
    }
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
    next_fault(world);
}
