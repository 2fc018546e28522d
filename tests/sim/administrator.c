/*
 * An administrator: purges topics, changes their limits, and moves the group MOVED to and fro, while all else goes on. It
 * asks again after a crash, as somebody at a terminal would, and takes any answer that makes sense.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>

struct administrator {
    struct actor actor; /* first */
    struct client *client;
    bool asking;
};

static struct administrator *administrator_of(const struct actor *actor)
{
    return (struct administrator *)(uintptr_t)actor;
}

/* No such topic or group yet; held by consumers; a turn that was undone. */
static void on_answered(void *context, enum mp_error status, const char *text, size_t size)
{
    struct administrator *administrator = context;
    struct world *world = administrator->actor.world;
    sim_say(world, "the administrator is told: %.*s", (int)size, text);
    if (status && status != MP_ERR_NOT_FOUND && status != MP_ERR_BUSY && status != MP_ERR_AGAIN &&
        status != MP_ERR_FULL)
        sim_fail(world, "the administrator is told: %.*s", (int)size, text);
    administrator->asking = false;
    world->statistics->changes += status == MP_OK;
}

static void on_failed(void *context, enum mp_error error, const char *text)
{
    struct administrator *administrator = context;
    struct world *world = administrator->actor.world;
    if (error != MP_ERR_SESSION || (world->calm && !broker_forgets(world)))
        sim_fail(world, "the administrator has failed: %s", text);
    administrator->actor.restarted = true;
}

static void start(struct actor *actor)
{
    struct administrator *administrator = administrator_of(actor);
    struct client_settings settings = {
        .name = "administrator", .context = administrator, .answered = on_answered, .failed = on_failed};
    struct fault fault = {0};
    administrator->asking = false;
    if (client_open(network_open(actor->world, &actor->link), &settings, actor->world->now, &administrator->client,
                    &fault))
        sim_fail(actor->world, "no administrator: %s", fault_text(&fault));
}

static int write_purge(struct world *world, char *text, size_t size)
{
    unsigned topic = (unsigned)sim_below(world, OUTPUT_TOPIC);
    world->rules[topic].purged = true;
    return snprintf(text, size, "{\"verb\":\"purge\",\"topic\":\"%s\",\"below\":%llu}", topic_names[topic],
                    (unsigned long long)sim_below(world, 200));
}

/* Where there is a limit it becomes another one. */
static int write_limit(struct world *world, char *text, size_t size)
{
    unsigned topic = (unsigned)sim_below(world, OUTPUT_TOPIC);
    if (world->rules[topic].max_messages == 0)
        return write_purge(world, text, size);
    return snprintf(text, size, "{\"verb\":\"set\",\"topic\":\"%s\",\"settings\":{\"max_messages\":\"%llu\"}}",
                    topic_names[topic], (unsigned long long)(1 + sim_below(world, 100)));
}

static int write_seek(struct world *world, char *text, size_t size)
{
    static const char *const places[] = {"start", "new", "0", "17", "100", "-10", "1s", "10s"};
    return snprintf(text, size, "{\"verb\":\"seek\",\"topic\":\"%s\",\"group\":\"%s\",\"from\":\"%s\",\"force\":%s}",
                    topic_names[0], MOVED, places[sim_below(world, sizeof places / sizeof *places)],
                    sim_chance(world, 500) ? "true" : "false");
}

static void turn(struct actor *actor)
{
    struct administrator *administrator = administrator_of(actor);
    struct world *world = actor->world;
    struct fault fault = {0};
    char text[200];
    if (administrator->asking || world->calm || actor->wake != CLOCK_NEVER || !client_is_welcome(administrator->client))
        return;
    uint64_t dice = sim_below(world, 4);
    int size = dice == 0   ? write_purge(world, text, sizeof text)
               : dice == 1 ? write_limit(world, text, sizeof text)
                           : write_seek(world, text, sizeof text);
    sim_say(world, "the administrator asks: %s", text);
    if (client_ask(administrator->client, text, (size_t)size, &fault))
        sim_fail(world, "the administrator cannot ask: %s", fault_text(&fault));
    administrator->asking = true;
    actor->wake = world->now + sim_delay(world, 20 * SECOND);
}

static void crash(struct actor *actor)
{
    client_close(administrator_of(actor)->client);
}

static bool is_done(struct actor *actor, char text[600])
{
    snprintf(text, 600, "the administrator has had no answer");
    return actor->up && !administrator_of(actor)->asking;
}

static struct client *client(const struct actor *actor)
{
    return administrator_of(actor)->client;
}

static void release(struct actor *actor)
{
    free(actor);
}

static const struct actor_kind kind = {.name = "administrator",
                                       .start = start,
                                       .turn = turn,
                                       .crash = crash,
                                       .is_done = is_done,
                                       .free = release,
                                       .client = client};

struct actor *administrator_new(struct world *world)
{
    struct administrator *administrator = calloc(1, sizeof *administrator);
    (void)world;
    if (!administrator)
        abort();
    administrator->actor.kind = &kind;
    return &administrator->actor;
}
