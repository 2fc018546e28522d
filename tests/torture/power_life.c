#include "power.h"

#include "base/map.h"
#include "relay/private.h"

#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const struct topic_plan power_topics[TOPICS] = {
    {"plain", NULL, false, false},
    {"b.x", "\"retain.bytes\":\"20KiB\"", false, false},
    {"b.y", NULL, false, false},
    {"kept", NULL, false, false}, /* no group: everything stays */
    {"once", "\"dedupe.by\":\"id\",\"dedupe.window\":\"1h\"", true, false},
    {"later", NULL, false, false}, /* publications are delayed */
    {"short", "\"ttl\":\"3s\",\"max_messages\":\"200\",\"overflow\":\"drop_oldest\"", true, false},
    {"loose", NULL, true, true},
};

void life_wrong(struct life *life, const char *format, ...)
{
    va_list arguments;
    if (life->wrong[0])
        return;
    va_start(arguments, format);
    vsnprintf(life->wrong, sizeof life->wrong, format, arguments);
    va_end(arguments);
}

uint64_t life_below(struct life *life, uint64_t limit)
{
    return random_next(&life->random) % limit;
}

bool life_chance(struct life *life, unsigned percent)
{
    return life_below(life, 100) < percent;
}

void life_pass(struct life *life, int64_t microseconds)
{
    life->now.monotonic += microseconds;
    life->now.wall += microseconds;
}

/* ---- what the rows are ------------------------------------------------------------------------------------------ */

static enum mp_error digest_table(sqlite3 *connection, const char *key, const char *table, XXH3_state_t *hash)
{
    char text[80];
    sqlite3_stmt *statement;
    int code;
    snprintf(text, sizeof text, "SELECT %s, checksum FROM %s", key, table);
    if (sqlite3_prepare_v2(connection, text, -1, &statement, NULL) != SQLITE_OK)
        return MP_ERR_DAMAGED;
    XXH3_64bits_update(hash, table, strlen(table));
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        sqlite3_int64 checksum = sqlite3_column_int64(statement, 1);
        const void *bytes = sqlite3_column_text(statement, 0);
        XXH3_64bits_update(hash, bytes, (size_t)sqlite3_column_bytes(statement, 0));
        XXH3_64bits_update(hash, &checksum, sizeof checksum);
    }
    sqlite3_finalize(statement);
    return code == SQLITE_DONE ? MP_OK : MP_ERR_DAMAGED;
}

uint64_t life_digest(sqlite3 *connection, enum mp_error *error)
{
    static const char *const tables[] = {"topics", "patterns", "groups",   "sessions", "blocks",
                                         "frames", "events",   "schedule", "hashes"};
    XXH3_state_t hash;
    XXH3_64bits_reset(&hash);
    *error = digest_table(connection, "name", "numbers", &hash);
    for (size_t i = 0; !*error && i < sizeof tables / sizeof *tables; i++)
        *error = digest_table(connection, "id", tables[i], &hash);
    return XXH3_64bits_digest(&hash);
}

static void note_state(struct life *life)
{
    enum mp_error error;
    struct disk_refusal refusal = life->disk.refusal;
    if (life->disk.killed)
        return;
    life->disk.refusal = (struct disk_refusal){0}; /* to look is the trial's doing */
    bool inside = product_enter(false);
    uint64_t digest = life_digest(disk_connection(), &error);
    product_enter(inside);
    life->disk.refusal = refusal;
    if (error)
        life_wrong(life, "the store cannot be read: %s", sqlite3_errmsg(disk_connection()));
    facts_state(&life->facts, digest, life->disk.steps_count);
}

/* ---- commits ---------------------------------------------------------------------------------------------------- */

/* One life at a time: the engine's table has no place for a context. */
static struct life *running;

static enum mp_error commit(struct engine *engine, enum mp_error (*snapshot)(void *context), void *context,
                            struct fault *fault)
{
    struct life *life = running;
    if (life->plants & POWER_PLANT_EARLY_REPLY) {
        life->early = true;
        life->early_snapshot = snapshot;
        life->early_context = context;
        return MP_OK;
    }
    bool deaf = (life->plants & POWER_PLANT_DEAF) != 0;
    enum mp_error error = life->real->commit(engine, snapshot, context, deaf ? NULL : fault);
    if (!error)
        note_state(life);
    return deaf ? MP_OK : error;
}

static void begin(struct engine *engine, struct moment now)
{
    struct life *life = running;
    if (life->early && life->real->commit(engine, life->early_snapshot, life->early_context, NULL) == MP_OK)
        note_state(life);
    life->early = false;
    life->real->begin(engine, now);
}

/* ---- replies ---------------------------------------------------------------------------------------------------- */

void life_take_reply(void *context, uint64_t connection, const uint32_t *ids, unsigned ids_count,
                     const struct server_part *parts, unsigned count)
{
    struct life *life = context;
    struct buffer bytes = {0};
    struct protocol_reply reply;
    bool inside = product_enter(false);
    (void)connection;
    for (unsigned i = 0; i < count; i++) {
        if (buffer_append(&bytes, parts[i].data, parts[i].size))
            abort();
        if (parts[i].release)
            parts[i].release(parts[i].owner);
    }
    if (ids_count != 1 || protocol_read_reply(bytes.data, bytes.size, &reply))
        life_wrong(life, "a reply that is none");
    else if (!life->disk.killed) { /* the dead do not answer */
        life->replied = true;
        actor_reply(life, ids[0], &reply);
    }
    buffer_free(&bytes);
    product_enter(inside);
}

/* In the place of the system's: a life is the same each time. */
int getentropy(void *bytes, size_t size)
{
    uint8_t *at = bytes;
    static uint64_t random;
    for (size_t i = 0; i < size; i++)
        at[i] = (uint8_t)random_next(running ? &running->random : &random);
    return 0;
}

static uint64_t random_bits(void *context)
{
    struct life *life = context;
    return random_next(&life->random);
}

static void take_trouble(void *context, enum mp_error error, const char *text)
{
    struct life *life = context;
    if (!error)
        return;
    life->undone++;
    snprintf(life->trouble, sizeof life->trouble, "%s", text);
}

/* ---- from start to end ------------------------------------------------------------------------------------------ */

void life_begin(struct life *life, uint64_t seed, const char *path, unsigned plants)
{
    static const uint32_t snapshots[] = {1, 2, 7, 50};
    static const int checkpoints[] = {4, 12, 30, 80, 1000};
    memset(life, 0, sizeof *life);
    map_seed(seed | 1);
    disk_seed(seed);
    life->seed = seed;
    life->random = seed * UINT64_C(0x2545f4914f6cdd1d);
    life->plants = plants;
    snprintf(life->path, sizeof life->path, "%s", path);
    disk_begin(&life->disk);
    life->disk.recording = true;
    life->disk.plants = plants & 15;
    life->checkpoint = checkpoints[life_below(life, 5)];
    life->spills = life_chance(life, 30);
    life->now =
        (struct moment){.monotonic = 1000 * SECOND, .wall = 1700000000 * SECOND, .boot = random_next(&life->random)};
    life->local = (struct engine_local_settings){
        .snapshot_every = snapshots[life_below(life, 4)], .lease = 10000, .keep_store = true, .cache = 65536};
    life->settings = (struct core_settings){.name = "power",
                                            .version = "1",
                                            .max_message = 100000,
                                            .lease = 10000,
                                            .grace = 5000,
                                            .context = life,
                                            .random = random_bits,
                                            .reply = life_take_reply,
                                            .trouble = take_trouble};
}

void life_free(struct life *life)
{
    life_end(life, false);
    for (unsigned i = 0; i < ACTORS; i++)
        for (unsigned lane = 0; lane <= PROTOCOL_LANES; lane++)
            buffer_free(&life->actors[i].lanes[lane].bytes);
    facts_free(&life->facts);
    disk_free(&life->disk);
}

/* What belongs to a connection: the store may have opened a new one. */
static void prepare_connection(struct life *life)
{
    if (life->connections == disk_connections() || (life->core && life->core->unloaded))
        return;
    life->connections = disk_connections();
    sqlite3_wal_autocheckpoint(disk_connection(), life->checkpoint);
    if (life->spills)
        sqlite3_exec(disk_connection(), "PRAGMA cache_size=4", NULL, NULL, NULL);
    if (life->plants & POWER_PLANT_SYNCHRONOUS_OFF)
        sqlite3_exec(disk_connection(), "PRAGMA synchronous=OFF", NULL, NULL, NULL);
}

static enum mp_error start(struct life *life, struct fault *fault)
{
    life->connections = 0;
    enum mp_error error = store_open(life->path, &life->store, fault);
    if (error) {
        life->store = NULL;
        return error;
    }
    prepare_connection(life);
    note_state(life);
    if ((error = engine_local_open(life->store, &life->local, &life->engine, fault))) {
        life->store = NULL;
        return error;
    }
    life->real = life->engine->operations;
    life->operations = *life->real;
    life->operations.commit = commit;
    life->operations.begin = begin;
    life->engine->operations = &life->operations;
    if ((error = core_new(life->engine, &life->settings, life->now, &life->core, fault))) {
        life->core = NULL;
        store_close(life->store);
        life->store = NULL;
    }
    return error;
}

enum mp_error life_start(struct life *life, struct fault *fault)
{
    running = life;
    disk_use(&life->disk);
    disk_restart(&life->disk);
    bool inside = product_enter(true);
    enum mp_error error = start(life, fault);
    product_enter(inside);
    actors_send_again(life);
    return error;
}

void life_end(struct life *life, bool in_order)
{
    running = life;
    bool inside = product_enter(true);
    if (life->core && in_order) {
        core_rest(life->core, life->now);
        if (!life->core->unloaded)
            note_state(life);
    }
    if (!in_order)
        life->disk.killed = true;
    core_free(life->core);
    life->core = NULL;
    store_close(life->store);
    life->store = NULL;
    product_enter(inside);
    life->early = false;
}

void life_turn(struct life *life)
{
    running = life;
    disk_use(&life->disk);
    prepare_connection(life);
    life->replied = false;
    uint64_t undone = life->undone;
    size_t began = life->disk.steps_count;
    for (unsigned i = 0; i < ACTORS; i++)
        actor_act(life, i);
    product_enter(true);
    core_turn(life->core, life->now);
    product_enter(false);
    prepare_connection(life);
    if (life->undone > undone) {
        /* A commit whose flush failed may be there all the same. */
        facts_doubt(&life->facts, began, life->disk.steps_count);
        if (!life->core->unloaded)
            note_state(life);
    }
    life->turns++;
    if (life->replied)
        facts_mark(&life->facts, life->facts.states_count + life->early, life->disk.steps_count, life->now);
}
