/*
 * power_old.c: power is cut while a relay brings the store of an older one up to date. The older stores are made of a
 * present one, by taking away what came later.
 */
#include "power.h"

#include <stdio.h>

/* What a store of version 4 has and one of version 3 has not, and further back. */
static const char to_3[] = "DROP INDEX told_events;"
                           "PRAGMA user_version=3;";
static const char to_2[] = "DROP INDEX rare_events;"
                           "ALTER TABLE events DROP COLUMN note;"
                           "DELETE FROM numbers WHERE name LIKE 'rows_%' OR name IN ('untraced', 'events_first');"
                           "PRAGMA user_version=2;";
static const char to_1[] = "DROP TABLE schedule;"
                           "DROP TABLE hashes;"
                           "ALTER TABLE topics DROP COLUMN settings;"
                           "ALTER TABLE topics DROP COLUMN letters;"
                           "ALTER TABLE topics DROP COLUMN counters;"
                           "ALTER TABLE patterns DROP COLUMN settings;"
                           "ALTER TABLE groups DROP COLUMN settings;"
                           "ALTER TABLE groups DROP COLUMN totals;"
                           "ALTER TABLE groups DROP COLUMN used;"
                           "ALTER TABLE sessions DROP COLUMN keep;"
                           "ALTER TABLE frames DROP COLUMN target;"
                           "ALTER TABLE frames DROP COLUMN marks;"
                           "ALTER TABLE events DROP COLUMN span;"
                           "ALTER TABLE events DROP COLUMN mask;"
                           "PRAGMA user_version=1;";

static unsigned old_version(uint64_t seed)
{
    return 1 + (unsigned)(seed % 3);
}

/* The relay of long ago wrote nothing for traces. */
static void live_as_then(struct life *life)
{
    struct fault fault = {0};
    life->local.untraced = true;
    if (life_start(life, &fault))
        life_wrong(life, "the relay does not start: %s", fault_text(&fault));
    for (unsigned i = 0; i < 50 && !life->wrong[0]; i++) {
        life_turn(life);
        life_pass(life, (int64_t)life_below(life, 100 * MILLISECOND));
    }
    life_end(life, true);
}

static void take_away(struct life *life, unsigned version, bool was_killed)
{
    sqlite3 *database;
    life->disk.recording = false;
    disk_restart(&life->disk);
    if (sqlite3_open(life->path, &database) != SQLITE_OK ||
        sqlite3_exec(database, to_3, NULL, NULL, NULL) != SQLITE_OK ||
        (version < 3 && sqlite3_exec(database, to_2, NULL, NULL, NULL) != SQLITE_OK) ||
        (version == 1 && sqlite3_exec(database, to_1, NULL, NULL, NULL) != SQLITE_OK))
        life_wrong(life, "no store of version %u: %s", version, sqlite3_errmsg(database));
    life->disk.killed = was_killed; /* its log stays */
    sqlite3_close(database);
}

/* Opens it once, which is what is cut; what comes of it. */
static uint64_t bring_up(struct disk *disk, const char *path, char words[WORDS])
{
    struct store *store;
    struct fault fault = {0};
    enum mp_error error;
    disk_use(disk);
    if (store_open(path, &store, &fault)) {
        snprintf(words, WORDS, "the store does not open: %s", fault_text(&fault));
        return 0;
    }
    uint64_t digest = life_digest(disk_connection(), &error);
    if (error)
        snprintf(words, WORDS, "the rows cannot be read");
    store_close(store);
    return digest;
}

/* False: WORDS say what is wrong. */
static bool look_at_cut(struct life *life, struct disk *left, const char *path, unsigned version, uint64_t wanted,
                        char words[WORDS])
{
    struct look look = {.life = life, .moment = NEVER - 1, .disk = left, .path = path, .go_on = true};
    words[0] = '\0';
    uint64_t digest = bring_up(left, path, words);
    if (!words[0] && digest != wanted)
        snprintf(words, WORDS, "the rows are not those that an undisturbed start makes of it");
    if (words[0] || version == 1) /* of version 1 what was taken away is missed by the rows' checksums */
        return !words[0];
    if (!look_at(&look))
        snprintf(words, WORDS, "%s", look.words);
    return !words[0];
}

/* At each step of the start, or at as many as are wanted: a disk that has all of it, and one that has not. */
static void cut(struct old *old, struct life *life, const struct disk *disk, const struct disk *base, uint64_t wanted)
{
    static struct disk left;
    static const unsigned keeps[] = {100, 0, 10, 50, 90};
    unsigned version = old_version(life->seed);
    uint64_t random = life->seed,
             places = old->images_max / 2 <= disk->steps_count ? old->images_max / 2 : disk->steps_count + 1;
    struct disk_replay *replay = disk_replay_begin(disk, base);
    disk_begin(&left);
    for (uint64_t i = 0; i < 2 * places && !old->wrong[0]; i++) {
        char words[WORDS];
        size_t at = (size_t)(disk->steps_count * (i / 2) / (places > 1 ? places - 1 : 1));
        disk_replay_to(replay, at);
        disk_clear(&left);
        disk_cut(replay, i % 2 == 0 ? 100 : keeps[1 + random_next(&random) % 4], false, &random, &left);
        old->images++;
        if (!look_at_cut(life, &left, old->left_path, version, wanted, words))
            snprintf(old->wrong, sizeof old->wrong,
                     "seed %llu, a store of version %u, cut at step %zu of %zu while it is brought up: %s",
                     (unsigned long long)life->seed, version, at, disk->steps_count, words);
    }
    disk_free(&left);
    disk_replay_free(replay);
}

void old_run(struct old *old, uint64_t seed)
{
    static struct life life;
    static struct disk base, disk;
    char words[WORDS] = "";
    life_begin(&life, seed, old->path, 0);
    live_as_then(&life);
    take_away(&life, old_version(seed), seed % 2 == 0);
    disk_begin(&base);
    disk_begin(&disk);
    disk_copy(&base, &life.disk);
    disk_copy(&disk, &life.disk);
    disk.recording = true;
    uint64_t wanted = bring_up(&disk, old->path, words);
    facts_state(&life.facts, wanted, NEVER);
    if (life.wrong[0] || words[0])
        snprintf(old->wrong, sizeof old->wrong, "seed %llu, an older store: %s", (unsigned long long)seed,
                 life.wrong[0] ? life.wrong : words);
    else
        cut(old, &life, &disk, &base, wanted);
    disk_free(&disk);
    disk_free(&base);
    life_free(&life);
}
