#include "sim.h"

#include "queue/local.h"

#include <stdio.h>
#include <stdlib.h>

/* A request that the relay has and has not answered. */
struct outstanding {
    uint64_t connection;
    uint32_t id;
    struct blob *blob;
    int64_t deadline;
};

enum { OUTSTANDING_MAX = 4096 };
#define ANSWER_WITHIN (3 * SECOND)

struct broker {
    struct store *store;
    uint64_t firsts[TOPICS];
    struct store *archive; /* every frame that was committed: retention takes them from the store */
    struct core *core;     /* NULL: it does not run */
    struct engine *engine;
    struct engine_operations operations; /* the engine's, but for commit and room */
    const struct engine_operations *real;
    struct core_settings settings;
    struct engine_local_settings local;
    int64_t base;  /* monotonic time when the simulation began, of this boot of its machine */
    uint64_t boot; /* 0 until the first, and on machines that do not say */
    int64_t turn_at;
    int64_t paused; /* until then it does nothing */
    enum crash armed;
    bool crashed, full, dead;
    uint64_t turn_event;
    struct outstanding outstanding[OUTSTANDING_MAX];
    unsigned outstanding_count;
};

/* One run at a time: the engine's table has no place for a context. */
static struct world *running;

static void archive_frames(struct world *world, uint32_t topic, uint64_t offset, uint64_t end)
{
    struct broker *broker = world->broker;
    struct store_frame row;
    struct blob *blob;
    struct fault fault = {0};
    for (; offset < end; offset = row.first + row.count) {
        if (store_read_frame(broker->store, topic, offset, &row, &blob, &fault))
            sim_fail(world, "offset %llu of topic %u was committed, and is not there: %s", (unsigned long long)offset,
                     topic, fault_text(&fault));
        if (row.first != offset || store_add_frame(broker->archive, &row, &fault))
            sim_fail(world, "offset %llu of topic %u comes where %llu should", (unsigned long long)row.first, topic,
                     (unsigned long long)offset);
        blob_drop(blob);
    }
}

/* What a commit has brought is still there: only later ones can take it away. */
static void archive(struct world *world)
{
    const struct broker *broker = world->broker;
    const struct local *local = (const struct local *)(const void *)broker->engine;
    size_t at = 0;
    const struct topic *topic;
    while ((topic = map_next(&local->topics, &at))) {
        struct store_frame last;
        if (topic->letters) /* nobody settles them */
            continue;
        enum mp_error error = store_last_frame(broker->archive, topic->id, &last, NULL);
        if (error && error != MP_ERR_NOT_FOUND)
            sim_fail(world, "the archive cannot be read");
        world->broker->firsts[topic_number(world, topic->name, strlen(topic->name))] = topic->first;
        archive_frames(world, topic->id, error ? 0 : last.first + last.count, topic->end);
    }
}

static enum mp_error commit(struct engine *engine, enum mp_error (*snapshot)(void *context), void *context,
                            struct fault *fault)
{
    struct broker *broker = running->broker;
    if (broker->armed == CRASH_BEFORE_COMMIT) {
        broker->crashed = true;
        return fault_set(fault, MP_ERR_IO, "the relay is no more");
    }
    if (broker->dead)
        return fault_set(fault, MP_ERR_FULL, "nothing can be written");
    enum mp_error error = broker->real->commit(engine, snapshot, context, fault);
    if (!error)
        archive(running);
    if (!error && broker->armed == CRASH_AFTER_COMMIT)
        broker->crashed = true;
    return error;
}

static enum mp_error room(struct engine *engine, const char *topic, size_t size, uint64_t messages, uint64_t bytes,
                          uint64_t session, struct fault *fault)
{
    if (running->broker->full)
        return fault_set(fault, MP_ERR_FULL, "the disk is full");
    return running->broker->real->room(engine, topic, size, messages, bytes, session, fault);
}

/* ---- requests and replies -------------------------------------------------------------------------------------- */

static void outstanding_remove(struct broker *broker, unsigned index)
{
    blob_drop(broker->outstanding[index].blob);
    broker->outstanding[index] = broker->outstanding[--broker->outstanding_count];
}

static int64_t later(int64_t one, int64_t other)
{
    return one > other ? one : other;
}

/* How long the relay may take to answer: what the request allows, and a little. */
static int64_t patience(const struct protocol_request *head)
{
    struct protocol_fetch fetch;
    struct protocol_room room;
    uint32_t wait = 0;
    if (head->type == PROTOCOL_FETCH && protocol_read_fetch(head, &fetch) == MP_OK)
        wait = fetch.wait;
    if (head->type == PROTOCOL_ROOM && protocol_read_room(head, &room) == MP_OK)
        wait = room.wait;
    return (int64_t)wait * MILLISECOND + ANSWER_WITHIN;
}

void broker_request(struct world *world, uint64_t connection, uint32_t id, struct blob *blob)
{
    struct broker *broker = world->broker;
    struct protocol_request head;
    uint32_t ids[1] = {id | 0x80000000u};
    world->statistics->requests++;
    if (protocol_read_request(blob->data, blob->size, &head) != MP_OK)
        sim_fail(world, "a client sent what is no request");
    if (blob->size > STRANGER_MESSAGE &&
        !core_admits(broker->core, blob->data, blob->size < 64 ? blob->size : 64, blob->size)) {
        sim_say(world, "a stranger's request of %zu bytes: connection %llu is closed", blob->size,
                (unsigned long long)connection);
        blob_drop(blob);
        network_refuse(world, connection);
        return;
    }
    sim_say(world, "request %u on %llu: type %u, session %llx, number %llu, %zu bytes", id,
            (unsigned long long)connection, (unsigned)head.type, (unsigned long long)head.session,
            (unsigned long long)head.number, blob->size);
    for (unsigned i = broker->outstanding_count; i-- > 0;)
        if (broker->outstanding[i].connection == connection && broker->outstanding[i].id == id)
            outstanding_remove(broker, i); /* one answer is enough */
    if (broker->outstanding_count == OUTSTANDING_MAX)
        sim_fail(world, "%d requests have had no answer", OUTSTANDING_MAX);
    broker->outstanding[broker->outstanding_count++] =
        (struct outstanding){connection, id, blob_hold(blob), later(world->now, broker->paused) + patience(&head)};
    core_submit(broker->core, connection, ids, 1, blob);
    int64_t turn = world->now + sim_delay(world, 2 * MILLISECOND);
    if (turn < broker->turn_at)
        broker->turn_at = turn;
}

static struct blob *join(const struct server_part *parts, unsigned count)
{
    uint8_t *bytes;
    size_t size = 0;
    for (unsigned i = 0; i < count; i++)
        size += parts[i].size;
    struct blob *blob = blob_make(size, &bytes);
    if (!blob)
        abort();
    for (unsigned i = 0; i < count; i++) {
        memcpy(bytes, parts[i].data, parts[i].size);
        bytes += parts[i].size;
        if (parts[i].release)
            parts[i].release(parts[i].owner);
    }
    return blob;
}

static void reply(void *context, uint64_t connection, const uint32_t *ids, unsigned ids_count,
                  const struct server_part *parts, unsigned count)
{
    struct world *world = context;
    struct broker *broker = world->broker;
    struct blob *blob = join(parts, count);
    uint32_t id = ids[0] & 0x7fffffffu;
    bool known = false;
    if (ids_count != 1)
        sim_fail(world, "a reply with %u ids", ids_count);
    if (broker->crashed || !network_is_open(world, connection)) {
        blob_drop(blob);
        return;
    }
    world->statistics->replies++;
    for (unsigned i = broker->outstanding_count; i-- > 0;) {
        const struct outstanding *one = &broker->outstanding[i];
        struct protocol_request head;
        if (one->connection != connection || one->id != id)
            continue;
        if (!known && protocol_read_request(one->blob->data, one->blob->size, &head) == MP_OK)
            ledger_reply(world, &head, blob->data, blob->size);
        known = true;
        outstanding_remove(broker, i);
    }
    /* A repeat on the same connection is answered as well. */
    struct protocol_reply said = {0};
    bool failed = protocol_read_reply(blob->data, blob->size, &said) == MP_OK && said.status != MP_OK;
    sim_say(world, "reply to %u on %llu: status %u, %zu bytes%s%.*s", id, (unsigned long long)connection,
            (unsigned)said.status, blob->size, failed ? ": " : "", failed ? (int)said.body_size : 0,
            (const char *)said.body);
    network_reply(world, connection, id, blob);
}

void broker_closed(struct world *world, uint64_t connection)
{
    struct broker *broker = world->broker;
    for (unsigned i = broker->outstanding_count; i-- > 0;)
        if (broker->outstanding[i].connection == connection)
            outstanding_remove(broker, i);
    if (!broker->core)
        return;
    core_disconnected(broker->core, connection);
    if (world->now < broker->turn_at)
        broker->turn_at = world->now;
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

static uint64_t random_bits(void *context)
{
    return sim_random(context);
}

static void trouble(void *context, enum mp_error error, const char *text)
{
    struct world *world = context;
    if (error)
        world->statistics->undone++;
    sim_say(world, "trouble %u: %s", (unsigned)error, text);
}

static struct moment moment_of(const struct world *world)
{
    return (struct moment){.monotonic = world->now + world->broker->base,
                           .wall = world->now + world->wall_offset,
                           .boot = world->broker->boot};
}

struct broker *broker_new(struct world *world)
{
    static const uint32_t snapshots[] = {1, 2, 7, 50, 1024};
    static const size_t caches[] = {1, 8192, 0};
    struct broker *broker = calloc(1, sizeof *broker);
    struct fault fault = {0};
    if (!broker)
        abort();
    broker->settings = (struct core_settings){
        .name = "sim",
        .version = "sim",
        .max_message = MAX_MESSAGE,
        .lease = (uint32_t)(3000 + sim_below(world, 20000)),
        .grace = (uint32_t)(500 + sim_below(world, 5000)),
        .sessions = sim_chance(world, 200) ? (uint32_t)(24 + sim_below(world, 30)) : 0,
        .context = world,
        .random = random_bits,
        .reply = reply,
        .trouble = trouble,
    };
    broker->local = (struct engine_local_settings){
        .snapshot_every = snapshots[sim_below(world, 5)], .cache = caches[sim_below(world, 3)], .keep_store = true};
    broker->local.lease = broker->settings.lease;
    broker->turn_at = CLOCK_NEVER;
    if (store_open(":memory:", &broker->store, &fault) || store_open(":memory:", &broker->archive, &fault))
        sim_fail(world, "no store: %s", fault_text(&fault));
    return broker;
}

static void take_down(struct broker *broker)
{
    while (broker->outstanding_count > 0)
        outstanding_remove(broker, 0);
    core_free(broker->core);
    broker->core = NULL;
    broker->turn_at = CLOCK_NEVER;
    broker->paused = 0;
}

void broker_free(struct broker *broker)
{
    take_down(broker);
    store_close(broker->store);
    store_close(broker->archive);
    free(broker);
}

bool broker_is_up(const struct world *world)
{
    return world->broker->core != NULL;
}

void broker_start(struct world *world)
{
    struct broker *broker = world->broker;
    struct fault fault = {0};
    running = world;
    /* It starts again in the same boot, or its machine did, and its steady clock with it. */
    if (broker->boot == 0 || sim_chance(world, 500)) {
        broker->base = (int64_t)sim_below(world, 1000000) * SECOND;
        broker->boot = sim_chance(world, 200) ? 0 : 1 + sim_below(world, UINT64_C(1) << 40);
    }
    broker->crashed = false;
    broker->armed = CRASH_NONE;
    if (engine_local_open(broker->store, &broker->local, &broker->engine, &fault))
        sim_fail(world, "no engine: %s", fault_text(&fault));
    broker->real = broker->engine->operations;
    broker->operations = *broker->real;
    broker->operations.commit = commit;
    broker->operations.room = room;
    broker->engine->operations = &broker->operations;
    if (core_new(broker->engine, &broker->settings, moment_of(world), &broker->core, &fault))
        sim_fail(world, "the relay does not start again: %s", fault_text(&fault));
    sim_say(world, "the relay starts");
    broker->turn_at = world->now;
    broker_check(world);
}

static enum mp_error no_sessions(void *context)
{
    (void)context;
    return MP_OK;
}

void broker_configure(struct world *world, void (*configure)(struct world *world, struct engine *engine))
{
    struct broker *broker = world->broker;
    struct fault fault = {0};
    broker->engine->operations->begin(broker->engine, moment_of(world));
    configure(world, broker->engine);
    if (broker->engine->operations->commit(broker->engine, no_sessions, NULL, &fault))
        sim_fail(world, "the settings are not taken: %s", fault_text(&fault));
}

void broker_crash(struct world *world)
{
    struct broker *broker = world->broker;
    if (!broker->core)
        return;
    sim_say(world, "the relay ends");
    world->statistics->crashes++;
    take_down(broker);
    network_cut_all(world, true);
    int64_t away = sim_chance(world, 100) ? sim_delay(world, 100 * SECOND) : sim_delay(world, 3 * SECOND);
    sim_schedule(world, &(struct happening){.at = world->now + 1 + away, .kind = HAPPEN_RELAY_START});
}

void broker_arm(struct world *world, enum crash crash)
{
    world->broker->armed = crash;
}

void broker_fail_commit(struct world *world, unsigned nth)
{
    store_fail_commit(world->broker->store, nth);
}

void broker_set_full(struct world *world, bool full)
{
    world->broker->full = full;
}

void broker_set_dead(struct world *world, bool dead)
{
    world->broker->dead = dead;
}

void broker_pause(struct world *world, int64_t duration)
{
    world->broker->paused = world->now + duration;
    broker_sleep(world, duration);
}

struct store *broker_store(const struct world *world)
{
    return world->broker->store;
}

uint64_t broker_first(const struct world *world, unsigned topic)
{
    const struct broker *broker = world->broker;
    const struct local *local = (const struct local *)(const void *)broker->engine;
    uint64_t first = broker->firsts[topic];
    size_t at = 0;
    const struct topic *one;
    /* It moves behind what was settled without a commit, also when a relay starts. */
    while (broker->core && (one = map_next(&local->topics, &at)))
        if (strcmp(one->name, topic_names[topic]) == 0 && one->first > first)
            first = one->first;
    return first;
}

struct store *broker_archive(const struct world *world)
{
    return world->broker->archive;
}

struct engine *broker_engine(const struct world *world)
{
    return world->broker->engine;
}

uint32_t broker_shortest_lease(const struct world *world)
{
    const struct core_settings *settings = &world->broker->settings;
    return settings->lease < settings->grace ? settings->lease : settings->grace;
}

uint64_t broker_turn_event(const struct world *world)
{
    return world->broker->turn_event;
}

/* ---- turns ----------------------------------------------------------------------------------------------------- */

int64_t broker_due(const struct world *world)
{
    const struct broker *broker = world->broker;
    return broker->core ? later(broker->turn_at, broker->paused) : CLOCK_NEVER;
}

static void check_answers(struct world *world)
{
    const struct broker *broker = world->broker;
    for (unsigned i = 0; i < broker->outstanding_count; i++) {
        const struct outstanding *one = &broker->outstanding[i];
        if (one->deadline < world->now)
            sim_fail(world, "request %u, of type %u, has had no answer in time", one->id, one->blob->data[2]);
    }
}

void broker_turn(struct world *world)
{
    struct broker *broker = world->broker;
    running = world;
    broker->turn_event = ((const struct local *)(const void *)broker->engine)->last_event;
    world->statistics->turns++;
    core_turn(broker->core, moment_of(world));
    if (broker->crashed) {
        broker_crash(world);
        return;
    }
    int64_t due = core_due(broker->core);
    broker->turn_at = due == CLOCK_NEVER ? CLOCK_NEVER : due - broker->base;
    if (broker->turn_at <= world->now)
        broker->turn_at = world->now + 10;
    check_answers(world);
    if (sim_chance(world, 20))
        broker_check(world);
}

/* ---- looks inside ---------------------------------------------------------------------------------------------- */

static const struct local *local_engine(const struct world *world)
{
    return (const struct local *)(const void *)world->broker->engine;
}

static uint64_t leased_of(const struct local *local, const struct group *group)
{
    size_t at = 0;
    uint64_t messages = 0;
    const struct holder *holder;
    while ((holder = map_next(&local->holders, &at)))
        for (const struct lease *lease = holder->leases; lease; lease = lease->next)
            messages += lease->group == group ? lease->unsettled : 0;
    return messages;
}

void broker_check(struct world *world)
{
    const struct local *local = local_engine(world);
    size_t at = 0;
    const struct group *group;
    struct fault fault = {0};
    while (broker_is_up(world) && (group = map_next(&local->groups, &at))) {
        if (states_check(&group->states, &fault))
            sim_fail(world, "group %s on %s: %s", group->name, group->topic->name, fault_text(&fault));
        if (leased_of(local, group) != group->states.counts[STATE_LEASED])
            sim_fail(world, "group %s on %s: %llu messages leased, and leases of %llu", group->name, group->topic->name,
                     (unsigned long long)group->states.counts[STATE_LEASED],
                     (unsigned long long)leased_of(local, group));
    }
}

bool broker_is_leased(const struct world *world, uint32_t number, uint64_t offset, uint64_t session, uint64_t lease,
                      uint32_t attempt)
{
    const struct group *group = map_get(&local_engine(world)->groups, &number, sizeof number);
    struct state_run run;
    return group && states_get(&group->states, offset, &run) && run.value.state == STATE_LEASED &&
           run.value.session == session && run.value.lease == lease && run.value.attempt == attempt;
}

bool broker_is_drained(const struct world *world, char text[600])
{
    const struct local *local = local_engine(world);
    size_t at = 0;
    const struct group *group;
    if (!broker_is_up(world))
        return false;
    if (local->scheduled > 0) {
        snprintf(text, 600, "%llu messages are still scheduled", (unsigned long long)local->scheduled);
        return false;
    }
    while ((group = map_next(&local->groups, &at)))
        if (!group->topic->letters && group->states.floor < group->topic->end) {
            snprintf(text, 600, "group %s has settled %s up to %llu of %llu: %llu waiting, %llu delayed, %llu leased",
                     group->name, group->topic->name, (unsigned long long)group->states.floor,
                     (unsigned long long)group->topic->end, (unsigned long long)local_group_waiting(group),
                     (unsigned long long)group->states.counts[STATE_DELAYED],
                     (unsigned long long)group->states.counts[STATE_LEASED]);
            return false;
        }
    return true;
}

bool broker_is_ordered(const struct world *world, uint32_t number)
{
    const struct group *group = map_get(&local_engine(world)->groups, &number, sizeof number);
    return group && group->subscription->settings.order_by_key;
}

bool broker_forgets(const struct world *world)
{
    return world->stepped || world->weather.long_pauses || world->broker->settings.sessions > 0;
}

void broker_sleep(struct world *world, int64_t duration)
{
    for (unsigned i = 0; i < world->broker->outstanding_count; i++)
        world->broker->outstanding[i].deadline += duration;
}
