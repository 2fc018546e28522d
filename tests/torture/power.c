/*
 * power: a relay on a disk in memory (disk.h) works for a while, from a seed: topics with all kinds of settings,
 * publications at once and for later, grants, settlements, retries, dead letters, replayed numbers, snapshots,
 * checkpoints, deletions, kills, flushes that fail. Then power is cut at its every step: the disks that this could have
 * left are made, a relay is started on each, and must be one that keeps what had been acknowledged until then.
 *
 *     power [--short|--long] [--seed N] [--lives N] [--images N] [--plant NAME] [--keep] [--tools DIRECTORY]
 *
 * --long: 100,000 images, of each fourth life at its every step; --images: of a life, at most; --plant: something is done wrong on purpose, to see it found (with --plant list, their
 * names). Exits 0, 1 when something was found, 64. The last line is the row of the torture's table.
 */
#include "power.h"
#include "scratch.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
enum { LIVES = 4 };
#else
enum { LIVES = 10 };
#endif

struct trial {
    uint64_t seed, lives, images_max, images_wanted;
    unsigned plants;
    const char *plant;
    char folder[SCRATCH_PATH], path[PATH_ROOM], left_path[PATH_ROOM];
    struct disk origin, left, base, again;
    uint64_t random;
    uint64_t olds, old_images, done, images, nested, steps, messages, acknowledged, settled, kills, flushes_failed,
        repeats, found;
};

static const struct {
    const char *name;
    unsigned plants;
} plants[] = {
    {"none", 0},
    {"no-flush", DISK_PLANT_FLUSH_DATABASE | DISK_PLANT_FLUSH_LOG},
    {"no-flush-of-database", DISK_PLANT_FLUSH_DATABASE},
    {"no-flush-of-log", DISK_PLANT_FLUSH_LOG},
    {"no-flush-of-directory", DISK_PLANT_FLUSH_NAMES},
    {"synchronous-off", POWER_PLANT_SYNCHRONOUS_OFF},
    {"reply-before-commit", POWER_PLANT_EARLY_REPLY},
};

/* ---- one life --------------------------------------------------------------------------------------------------- */

enum { TURNS = 90 };

static void start(struct life *life)
{
    struct fault fault = {0};
    if (life_start(life, &fault))
        life_wrong(life, "the relay does not start: %s", fault_text(&fault));
}

/* What happens beside the requests: kills, restarts, flushes that fail. True: the relay is another one. */
static bool happen(struct trial *trial, struct life *life)
{
    unsigned process = life->disk.life;
    uint64_t chance = life_below(life, 1000);
    if (chance < 6)
        life->disk.kill_in = 1 + life_below(life, 30);
    else if (chance < 16)
        life->disk.kill_at_flush = true;
    else if (chance < 23) {
        life->disk.refusal = (struct disk_refusal){0};
        life_end(life, chance < 20);
        start(life);
    } else if (chance < 32) {
        life->disk.refusal = (struct disk_refusal){
            .kinds = 1u << DISK_CALL_FLUSH, .nth = 1 + life_below(life, 3), .code = SQLITE_IOERR_FSYNC};
        trial->flushes_failed++;
    }
    if (life->disk.killed) {
        life->disk.refusal = (struct disk_refusal){0};
        trial->kills++;
        life_end(life, false);
        start(life);
    }
    return life->disk.life != process;
}

/* A file as relays made it that did not ask for SQLite's map of pages yet: to open it writes nothing. */
static void make_old(struct life *life)
{
    sqlite3 *database;
    life->disk.recording = false;
    disk_use(&life->disk);
    if (sqlite3_open(life->path, &database) != SQLITE_OK ||
        sqlite3_exec(
            database,
            "PRAGMA page_size=16384; PRAGMA journal_mode=WAL; CREATE TABLE passing(number); DROP TABLE passing", NULL,
            NULL, NULL) != SQLITE_OK)
        life_wrong(life, "no file can be made: %s", sqlite3_errmsg(database));
    sqlite3_close(database);
    life->disk.recording = true;
}

static void live(struct trial *trial, struct life *life)
{
    bool again = false;
    if (life_chance(life, 30))
        make_old(life);
    disk_copy(&trial->origin, &life->disk);
    start(life);
    for (unsigned i = 0; i < TURNS && !life->wrong[0] && life->core; i++) {
        /* What comes first to a relay is often only what is sent again: nothing of its own is flushed then. */
        life->calm = again && life_chance(life, 60);
        life_turn(life);
        life_pass(life, life_chance(life, 5) ? (int64_t)life_below(life, 15 * SECOND)
                                             : (int64_t)life_below(life, 200 * MILLISECOND));
        again = happen(trial, life);
    }
    if (life->core && !life->disk.killed && !look_inside(life) && life->wrong[0] == '\0')
        life_wrong(life, "the store is not as it must be");
    life_end(life, true);
}

/* ---- cuts ------------------------------------------------------------------------------------------------------- */

static void tell(struct trial *trial, const struct life *life, size_t moment, const char *what, const char *words)
{
    trial->found++;
    printf("power: seed %llu, %s %zu of %zu: %s\n", (unsigned long long)life->seed, what, moment,
           life->disk.steps_count, words);
    printf("power: again: tests/torture/power --lives 1 --seed %llu --images %llu --plant %s\n",
           (unsigned long long)life->seed, (unsigned long long)trial->images_max, trial->plant);
    fflush(stdout);
}

static unsigned choose_keep(struct trial *trial)
{
    static const unsigned keeps[] = {0, 3, 20, 50, 80, 97};
    return keeps[random_next(&trial->random) % 6];
}

/* The Ith of COUNT places among STEPS, not before the one before. */
static size_t place_of(struct trial *trial, size_t steps, uint64_t i, uint64_t count)
{
    size_t from = (size_t)(steps * i / count), to = (size_t)(steps * (i + 1) / count);
    return from + (to > from ? (size_t)(random_next(&trial->random) % (to - from + 1)) : 0);
}

/* Power is cut again while the relay recovers from the cut, or works on after it: of that LEFT has the steps. */
static void cut_again(struct trial *trial, const struct look *first)
{
    enum { AGAIN = 3 };
    struct disk_replay *replay = disk_replay_begin(&trial->left, &trial->base);
    bool good = true;
    for (unsigned i = 0; good && i < AGAIN; i++) {
        size_t at = place_of(trial, trial->left.steps_count, i, AGAIN);
        char words[2 * WORDS];
        disk_replay_to(replay, at);
        disk_clear(&trial->again);
        disk_cut(replay, choose_keep(trial), false, &trial->random, &trial->again);
        struct look look = *first;
        look.disk = &trial->again;
        look.go_on = true;
        trial->nested++;
        good = look_at(&look);
        snprintf(words, sizeof words, "cut again at step %zu of %zu of the recovery: %s", at, trial->left.steps_count,
                 look.words);
        if (!good)
            tell(trial, look.life, look.moment, "cut at step", words);
    }
    disk_replay_free(replay);
}

static void cut(struct trial *trial, struct life *life, const struct disk_replay *replay, size_t moment, unsigned keep)
{
    bool again = random_next(&trial->random) % 20 == 0;
    struct look look = {
        .life = life, .moment = moment, .disk = &trial->left, .path = trial->left_path, .go_on = !again};
    disk_clear(&trial->left);
    disk_cut(replay, keep, random_next(&trial->random) % 8 == 0, &trial->random, &trial->left);
    if (again) {
        disk_copy(&trial->base, &trial->left);
        trial->left.recording = true;
    }
    trial->images++;
    if (!look_at(&look))
        tell(trial, life, moment, "cut at step", look.words);
    else if (again)
        cut_again(trial, &look);
    trial->repeats += look.repeats;
}

/* At each step one disk that had written all at once, and one that had not; or at as many places as are asked for. */
static void cut_all(struct trial *trial, struct life *life)
{
    size_t steps = life->disk.steps_count;
    uint64_t most = trial->images_wanted < UINT64_MAX && life->seed % 4 > 0 ? 800 : trial->images_max;
    uint64_t places = most / 2 < steps + 1 ? most / 2 : steps + 1;
    struct disk_replay *replay = disk_replay_begin(&life->disk, &trial->origin);
    for (uint64_t i = 0; i < places && trial->found < 5; i++) {
        size_t moment = places == steps + 1 ? (size_t)i : place_of(trial, steps, i, places);
        disk_replay_to(replay, moment);
        cut(trial, life, replay, moment, 100);
        cut(trial, life, replay, moment, choose_keep(trial));
    }
    disk_replay_free(replay);
}

static void run_life(struct trial *trial, uint64_t seed)
{
    static struct life life;
    life_begin(&life, seed, trial->path, trial->plants);
    trial->random = seed;
    live(trial, &life);
    if (life.wrong[0])
        tell(trial, &life, life.disk.steps_count, "alive at step", life.wrong);
    else
        cut_all(trial, &life);
    trial->done++;
    trial->steps += life.disk.steps_count;
    trial->messages += life.messages;
    trial->acknowledged += life.acknowledged;
    trial->settled += life.settled;
    life_free(&life);
}

static void run_old(struct trial *trial, uint64_t seed)
{
    struct old old = {.path = trial->path, .left_path = trial->left_path, .images_max = trial->images_max};
    old_run(&old, seed);
    trial->old_images += old.images;
    if (!old.wrong[0])
        return;
    trial->found++;
    printf("power: %s\n", old.wrong);
}

/* ---- the trial -------------------------------------------------------------------------------------------------- */

static void make_folder(struct trial *trial)
{
    scratch_make("power", false, trial->folder);
    snprintf(trial->path, sizeof trial->path, "%s/life.db", trial->folder);
    snprintf(trial->left_path, sizeof trial->left_path, "%s/left.db", trial->folder);
}

static void choose_plant(struct trial *trial, const char *name)
{
    for (size_t i = 0; i < sizeof plants / sizeof *plants; i++)
        if (strcmp(plants[i].name, name) == 0) {
            trial->plants = plants[i].plants;
            trial->plant = plants[i].name;
            return;
        }
    for (size_t i = 0; i < sizeof plants / sizeof *plants; i++)
        printf("%s\n", plants[i].name);
    exit(strcmp(name, "list") == 0 ? 0 : 64);
}

static void read_options(struct trial *trial, int argc, char **argv)
{
    static const struct option options[] = {{"short", no_argument, NULL, 'S'},
                                            {"long", no_argument, NULL, 'L'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"lives", required_argument, NULL, 'n'},
                                            {"images", required_argument, NULL, 'i'},
                                            {"plant", required_argument, NULL, 'p'},
                                            {"keep", no_argument, NULL, 'k'},
                                            {"tools", required_argument, NULL, 't'},
                                            {NULL, 0, NULL, 0}};
    int letter;
    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (letter) {
        case 'S':
            break;
        case 'L':
            trial->lives = 10000;
            trial->images_wanted = 100000;
            trial->olds = 9;
            trial->images_max = UINT64_MAX;
            break;
        case 's':
            trial->seed = strtoull(optarg, NULL, 10);
            break;
        case 'n':
            trial->lives = strtoull(optarg, NULL, 10);
            break;
        case 'i':
            trial->images_max = strtoull(optarg, NULL, 10);
            break;
        case 'p':
            choose_plant(trial, optarg);
            break;
        case 'k':
        case 't':
            break; /* nothing is kept: a seed makes it again; no tool is run */
        default:
            exit(64);
        }
    }
}

int main(int argc, char **argv)
{
    static struct trial trial = {
        .seed = 1, .lives = LIVES, .images_max = 100, .olds = 3, .images_wanted = UINT64_MAX, .plant = "none"};
    read_options(&trial, argc, argv);
    make_folder(&trial);
    disk_install();
    disk_begin(&trial.origin);
    disk_begin(&trial.left);
    disk_begin(&trial.base);
    disk_begin(&trial.again);
    int64_t began = clock_monotonic();
    for (uint64_t i = 0; i < trial.olds && trial.found == 0; i++)
        run_old(&trial, trial.seed + i);
    for (uint64_t i = 0; i < trial.lives && trial.found < 5 && trial.images + trial.nested < trial.images_wanted; i++)
        run_life(&trial, trial.seed + i);
    double seconds = (double)(clock_monotonic() - began) / 1e6;
    uint64_t images = trial.images + trial.nested + trial.old_images;
    printf("power: %.1f s, %.0f images a second\n", seconds, (double)images / seconds);
    disk_free(&trial.origin);
    disk_free(&trial.left);
    disk_free(&trial.base);
    disk_free(&trial.again);
    scratch_remove("power", trial.folder);
    printf(
        "row\tpower\t%llu images (%llu of a second cut, %llu of an older store brought up) of %llu lives, %llu writes "
        "and flushes; %llu messages "
        "acknowledged, %llu settled, %llu kills and %llu failed flushes on the way\t%llu found: stores that do not "
        "open, messages lost, altered, twice, out of place, settlements undone; %llu requests sent again, answered as "
        "before\n",
        (unsigned long long)images, (unsigned long long)trial.nested, (unsigned long long)trial.old_images,
        (unsigned long long)trial.done, (unsigned long long)trial.steps, (unsigned long long)trial.acknowledged,
        (unsigned long long)trial.settled, (unsigned long long)trial.kills, (unsigned long long)trial.flushes_failed,
        (unsigned long long)trial.found, (unsigned long long)trial.repeats);
    return trial.found > 0;
}
