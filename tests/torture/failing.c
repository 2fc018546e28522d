/*
 * failing: a relay on a disk in memory (disk.h) goes through a scenario again and again, and each time another call
 * fails: each write, flush, read, open, truncation, unlink, look at a file and piece of shared memory that the store
 * makes, and each allocation of relay, engine, store and SQLite; once, or from then on until the cause is gone.
 *
 *     failing [--short|--long] [--seed N] [--seeds N] [--most N] [--only NAME] [--nth N] [--plant] [--tools DIRECTORY]
 *
 * What must hold: requests that fail say why and can be sent again; nothing acknowledged is lost, before and after;
 * when the cause is gone all is answered and a start finds the store whole. The long form makes every call fail, the
 * short one some hundred. --plant: commits that fail are told as done, to see that found. Exits 0, 1 when something was found, 64. The last line is the row of the torture's table.
 */
#include "failing.h"

#include "power.h"
#include "scratch.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

enum { TURNS = 34, RESTART = 17, FAILING_TURNS = 5, CALM_TURNS = 60 };

/* What fails. */
static const struct failure {
    const char *name;
    unsigned kinds; /* of calls; 0: allocations */
    int code;
    bool half, forever;
} failures[] = {
    {"full", 1u << DISK_CALL_WRITE, SQLITE_FULL, true, false},
    {"full-for-ever", 1u << DISK_CALL_WRITE, SQLITE_FULL, true, true},
    {"write", 1u << DISK_CALL_WRITE, 0, true, false},
    {"write-for-ever", 1u << DISK_CALL_WRITE, 0, false, true},
    {"flush", 1u << DISK_CALL_FLUSH, 0, false, false},
    {"flush-for-ever", 1u << DISK_CALL_FLUSH, 0, false, true},
    {"read", 1u << DISK_CALL_READ, 0, false, false},
    {"read-for-ever", 1u << DISK_CALL_READ, 0, false, true},
    /* EIO of a read is that to SQLite, which makes SQLITE_CORRUPT of it. */
    {"bad-read", 1u << DISK_CALL_READ, SQLITE_IOERR_CORRUPTFS, false, false},
    {"bad-read-for-ever", 1u << DISK_CALL_READ, SQLITE_IOERR_CORRUPTFS, false, true},
    {"open", 1u << DISK_CALL_OPEN, 0, false, false},
    {"open-for-ever", 1u << DISK_CALL_OPEN, 0, false, true},
    {"truncate", 1u << DISK_CALL_TRUNCATE, 0, false, false},
    {"truncate-for-ever", 1u << DISK_CALL_TRUNCATE, 0, false, true},
    {"unlink", 1u << DISK_CALL_UNLINK, 0, false, false},
    {"unlink-for-ever", 1u << DISK_CALL_UNLINK, 0, false, true},
    {"look", 1u << DISK_CALL_LOOK, 0, false, false},
    {"look-for-ever", 1u << DISK_CALL_LOOK, 0, false, true},
    {"share", 1u << DISK_CALL_SHARE, 0, false, false},
    {"share-for-ever", 1u << DISK_CALL_SHARE, 0, false, true},
    {"anything-for-ever", 255, 0, false, true},
    {"memory", 0, 0, false, false},
    {"memory-for-ever", 0, 0, false, true},
};
enum { FAILURES = sizeof failures / sizeof *failures };

struct trial {
    uint64_t seed, seeds, nth, most; /* MOST: calls that fail of a kind */
    const char *only;
    unsigned plants;
    char folder[SCRATCH_PATH], path[PATH_ROOM], left_path[PATH_ROOM];
    uint64_t runs, refused, undone, starts_failed, acknowledged, settled, found;
};

/* What is tried now. */
struct run {
    const struct failure *failure;
    uint64_t seed, nth;
    unsigned failing; /* turns since the first call failed */
    bool gone;        /* the cause */
};

/* ---- one run ---------------------------------------------------------------------------------------------------- */

static void arm(struct life *life, const struct run *run)
{
    if (run->failure->kinds == 0)
        failing_memory(run->nth, run->failure->forever);
    else
        life->disk.refusal = (struct disk_refusal){.kinds = run->failure->kinds,
                                                   .nth = run->nth,
                                                   .forever = run->failure->forever,
                                                   .code = run->failure->code,
                                                   .half = run->failure->half};
}

static uint64_t refused(const struct life *life, const struct run *run)
{
    return run->failure->kinds == 0 ? failing_memory_refused() : life->disk.refusal.refused;
}

static uint64_t counted(const struct life *life, const struct run *run)
{
    return run->failure->kinds == 0 ? failing_memory_counted() : life->disk.refusal.counted;
}

/* The cause is gone: what had no answer, for want of memory to give it, is asked again. */
static void end_cause(struct life *life, struct run *run)
{
    run->gone = true;
    life->disk.refusal.nth = 0;
    failing_memory_end();
    actors_send_again(life);
}

static void start(struct trial *trial, struct life *life, const struct run *run)
{
    struct fault fault = {0};
    if (life_start(life, &fault) == MP_OK)
        return;
    trial->starts_failed++;
    if (fault.text[0] == '\0')
        life_wrong(life, "a start fails without a word about the reason");
    else if (run->gone || refused(life, run) == 0)
        life_wrong(life, "the relay does not start, and nothing is in its way: %s", fault.text);
}

/* A turn, or a try to start. */
static void step(struct trial *trial, struct life *life, struct run *run)
{
    if (!life->core)
        start(trial, life, run);
    else
        life_turn(life);
    life_pass(life, 20 * MILLISECOND + (int64_t)life_below(life, 150 * MILLISECOND));
    struct fault fault = {0};
    bool failing = !run->gone && refused(life, run) > 0;
    bool unreadable = run->failure->code == SQLITE_IOERR_CORRUPTFS && run->failure->forever;
    if (failing && unreadable) /* for longer than a relay tries what is damaged */
        life_pass(life, 300 * MILLISECOND);
    if (life->core && core_is_ruined(life->core, &fault))
        life_wrong(life, "the relay would end, as if its store were damaged: %s", fault.text);
    if (failing && ++run->failing > (unreadable ? TURNS : FAILING_TURNS))
        end_cause(life, run);
}

static void go_through(struct trial *trial, struct life *life, struct run *run)
{
    for (unsigned i = 0; i < TURNS && !life->wrong[0]; i++) {
        if (i == RESTART)
            life_end(life, true);
        step(trial, life, run);
    }
    if (!run->gone)
        end_cause(life, run);
    life->calm = true;
    for (unsigned i = 0; i < CALM_TURNS && !life->wrong[0] && (!life->core || !actors_are_idle(life)); i++)
        step(trial, life, run);
    if (!life->wrong[0] && (!life->core || !actors_are_idle(life)))
        life_wrong(life, "the cause is gone, and requests have no answer: %s", life->trouble);
    if (!life->wrong[0])
        look_inside(life);
    life_end(life, true);
}

static void look_after(struct trial *trial, struct life *life)
{
    struct look look = {
        .life = life, .moment = life->disk.steps_count, .disk = &life->disk, .path = trial->left_path, .go_on = true};
    life->disk.recording = false;
    disk_restart(&life->disk);
    if (!look_at(&look))
        life_wrong(life, "after the end: %s", look.words);
}

/* The number of calls that could have failed. */
static uint64_t try_one(struct trial *trial, struct run *run)
{
    static struct life life;
    life_begin(&life, run->seed, trial->path, trial->plants);
    life.checkpoint = 20;
    life.spills = (run->failure->kinds & (1u << DISK_CALL_WRITE | 1u << DISK_CALL_READ)) != 0;
    life.local.snapshot_every = 7;
    life.wordless = run->failure->kinds == 0;
    life.bad_reads = run->failure->code == SQLITE_IOERR_CORRUPTFS;
    arm(&life, run);
    go_through(trial, &life, run);
    uint64_t calls = counted(&life, run);
    trial->refused += refused(&life, run);
    failing_memory_end();
    if (!life.wrong[0])
        look_after(trial, &life);
    if (life.wrong[0]) {
        trial->found++;
        printf("failing: seed %llu, %s %llu: %s\n", (unsigned long long)run->seed, run->failure->name,
               (unsigned long long)run->nth, life.wrong);
        printf("failing: again: tests/torture/failing --seed %llu --only %s --nth %llu\n",
               (unsigned long long)run->seed, run->failure->name, (unsigned long long)run->nth);
        fflush(stdout);
    }
    trial->runs++;
    trial->undone += life.undone;
    trial->acknowledged += life.acknowledged;
    trial->settled += life.settled;
    life_free(&life);
    return calls;
}

/* ---- all -------------------------------------------------------------------------------------------------------- */

/* Each call that the scenario makes, or as many of them as are wanted, fails. */
static void sweep(struct trial *trial, uint64_t seed, const struct failure *failure)
{
    struct run run = {.failure = failure, .seed = seed};
    if (trial->nth > 0) {
        run.nth = trial->nth;
        try_one(trial, &run);
        return;
    }
    uint64_t calls = try_one(trial, &run), done = 0, random = seed;
    uint64_t most = calls < trial->most ? calls : trial->most;
    for (uint64_t i = 0; i < most && trial->found < 10; i++) {
        uint64_t from = calls * i / most, to = calls * (i + 1) / most;
        run = (struct run){.failure = failure, .seed = seed, .nth = 1 + from + random_next(&random) % (to - from)};
        try_one(trial, &run);
        done++;
    }
    printf("failing: %s: %llu of %llu calls\n", failure->name, (unsigned long long)done, (unsigned long long)calls);
}

static void prepare(struct trial *trial)
{
    scratch_make("failing", false, trial->folder);
    snprintf(trial->path, sizeof trial->path, "%s/life.db", trial->folder);
    snprintf(trial->left_path, sizeof trial->left_path, "%s/left.db", trial->folder);
    disk_install();
}

static void read_options(struct trial *trial, int argc, char **argv)
{
    static const struct option options[] = {
        {"short", no_argument, NULL, 'S'},       {"long", no_argument, NULL, 'L'},
        {"seed", required_argument, NULL, 's'},  {"seeds", required_argument, NULL, 'n'},
        {"most", required_argument, NULL, 'm'},  {"plant", no_argument, NULL, 'p'},
        {"only", required_argument, NULL, 'o'},  {"nth", required_argument, NULL, 'N'},
        {"tools", required_argument, NULL, 't'}, {NULL, 0, NULL, 0}};
    int letter;
    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (letter) {
        case 'S':
        case 't':
            break;
        case 'L':
            trial->most = UINT64_MAX;
            break;
        case 's':
            trial->seed = strtoull(optarg, NULL, 10);
            break;
        case 'n':
            trial->seeds = strtoull(optarg, NULL, 10);
            break;
        case 'p':
            trial->plants = POWER_PLANT_DEAF;
            break;
        case 'm':
            trial->most = strtoull(optarg, NULL, 10);
            break;
        case 'o':
            trial->only = optarg;
            break;
        case 'N':
            trial->nth = strtoull(optarg, NULL, 10);
            break;
        default:
            exit(64);
        }
    }
}

int main(int argc, char **argv)
{
    static struct trial trial = {.seed = 1, .seeds = 1, .most = 15};
    read_options(&trial, argc, argv);
    prepare(&trial);
    for (uint64_t seed = trial.seed; seed < trial.seed + trial.seeds; seed++)
        for (unsigned i = 0; i < FAILURES && trial.found < 10; i++) {
            if (trial.only && strcmp(trial.only, failures[i].name) != 0)
                continue;
            if (failures[i].kinds == 0 && !failing_memory_works())
                printf("failing: %s: left out: allocations cannot be made to fail here\n", failures[i].name);
            else
                sweep(&trial, seed, &failures[i]);
        }
    scratch_remove("failing", trial.folder);
    printf(
        "row\tfailing\t%llu runs of a scenario, another call failing in each (%llu calls failed, %llu turns undone, "
        "%llu starts failed); %llu messages acknowledged, %llu settled\t%llu found: lost, altered, twice, settlements "
        "undone, requests without an answer, failures without a word\n",
        (unsigned long long)trial.runs, (unsigned long long)trial.refused, (unsigned long long)trial.undone,
        (unsigned long long)trial.starts_failed, (unsigned long long)trial.acknowledged,
        (unsigned long long)trial.settled, (unsigned long long)trial.found);
    return trial.found > 0;
}
