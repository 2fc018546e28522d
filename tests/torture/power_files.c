/*
 * power_files: the files that tools keep by themselves: msend's outbox, mretry's dead letters and its file of what was
 * done. Each is worked with for a while, from a seed, then power is cut at every step of that: on what it could have left
 * must be what had been told to be kept, once, in order, and the tool must go on with it.
 *
 *     power_files [--short|--long] [--seed N] [--lives N] [--images N] [--only KIND] [--plant NAME] [--keep] [--tools DIR]
 *
 * --lives: of each kind; --images: of a life, at most (--long: 30 lives of 2,000 images); --only: spool, letters or seen; --plant: something is done wrong on
 * purpose, to see it found: no-flush, no-flush-of-directory. Exits 0, 1 when something was found, 64, or 77. The last line
 * is the row of the torture's table.
 */
#include "power_files.h"
#include "scratch.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/path.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FOUND_MAX = 5 };

static const struct kind *const kinds[] = {&spool_kind, &letters_kind, &seen_kind};
enum { KINDS = sizeof kinds / sizeof *kinds };

struct trial {
    uint64_t seed, lives, images_max;
    const char *only, *plant;
    unsigned plants;
    bool keep;
    char folder[SCRATCH_PATH];
    struct disk left; /* by a cut */
    uint64_t images[KINDS], steps, promises, found;
};

bool power_wrong(char words[WORDS], const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (words[0] == '\0')
        vsnprintf(words, WORDS, format, arguments);
    va_end(arguments);
    return false;
}

/* ---- folders ---------------------------------------------------------------------------------------------------- */

static void empty_folder(const char *path)
{
    if (!path_remove_folder(path) || mkdir(path, 0700) != 0) {
        perror(path);
        exit(71);
    }
}

static void remove_folder(const struct trial *trial)
{
    if (trial->keep && trial->found > 0) {
        printf("power_files: the last image is in %s/left\n", trial->folder);
        return;
    }
    scratch_remove("power_files", trial->folder);
}

/* ---- cuts ------------------------------------------------------------------------------------------------------- */

static void tell(struct trial *trial, const struct kind *kind, const struct life *life, size_t moment,
                 const char *words)
{
    trial->found++;
    printf("power_files: %s, seed %" PRIu64 ", cut at step %zu of %zu: %s\n", kind->name, life->seed, moment,
           life->disk.steps_count, words);
    printf("power_files: again: tests/torture/power_files --only %s --lives 1 --seed %" PRIu64 " --images %" PRIu64
           " --plant %s --keep\n",
           kind->name, life->seed, trial->images_max, trial->plant);
    fflush(stdout);
}

static void cut(struct trial *trial, unsigned which, const struct life *life, const struct disk_replay *replay,
                size_t moment, unsigned keep, uint64_t *random)
{
    char folder[FOLDER_ROOM], words[WORDS] = "";
    snprintf(folder, sizeof folder, "%s/left", trial->folder);
    empty_folder(folder);
    disk_clear(&trial->left);
    disk_cut(replay, keep, random_next(random) % 8 == 0, random, &trial->left);
    disk_calls_make(&trial->left, folder);
    trial->images[which]++;
    if (!kinds[which]->look(life, moment, folder, words))
        tell(trial, kinds[which], life, moment, words);
}

/* At each step, or at as many as are wanted: a disk that had written all at once, and one that had not. */
static void cut_all(struct trial *trial, unsigned which, const struct life *life)
{
    static const unsigned keeps[] = {0, 3, 20, 50, 80, 97};
    size_t steps = life->disk.steps_count;
    uint64_t random = life->seed;
    uint64_t places = trial->images_max / 2 < steps + 1 ? trial->images_max / 2 : steps + 1;
    struct disk_replay *replay = disk_replay_begin(&life->disk, NULL);
    for (uint64_t i = 0; i < places && trial->found < FOUND_MAX; i++) {
        size_t from = (size_t)((steps + 1) * i / places), to = (size_t)((steps + 1) * (i + 1) / places);
        size_t moment = from + (size_t)random_below(&random, to - from);
        disk_replay_to(replay, moment);
        cut(trial, which, life, replay, moment, 100, &random);
        cut(trial, which, life, replay, moment, keeps[random_next(&random) % 6], &random);
    }
    disk_replay_free(replay);
}

static void run_life(struct trial *trial, unsigned which, uint64_t seed)
{
    static struct life life;
    life = (struct life){.seed = seed, .random = seed};
    snprintf(life.folder, sizeof life.folder, "%s/life", trial->folder);
    empty_folder(life.folder);
    disk_begin(&life.disk);
    life.disk.plants = trial->plants;
    disk_calls_record(&life.disk, life.folder);
    kinds[which]->live(&life);
    disk_calls_record(NULL, NULL);
    if (life.wrong[0])
        tell(trial, kinds[which], &life, life.disk.steps_count, life.wrong);
    else
        cut_all(trial, which, &life);
    trial->steps += life.disk.steps_count;
    trial->promises += life.promises;
    disk_free(&life.disk);
}

/* ---- the trial -------------------------------------------------------------------------------------------------- */

static void choose_plant(struct trial *trial, const char *name)
{
    trial->plant = name;
    if (strcmp(name, "no-flush") == 0)
        trial->plants = DISK_PLANT_FLUSH_LOG;
    else if (strcmp(name, "no-flush-of-directory") == 0)
        trial->plants = DISK_PLANT_FLUSH_NAMES;
    else if (strcmp(name, "none") != 0)
        exit(64);
}

static void read_options(struct trial *trial, int argc, char **argv)
{
    static const struct option options[] = {
        {"short", no_argument, NULL, 'S'},        {"long", no_argument, NULL, 'L'},
        {"seed", required_argument, NULL, 's'},   {"lives", required_argument, NULL, 'n'},
        {"images", required_argument, NULL, 'i'}, {"only", required_argument, NULL, 'o'},
        {"plant", required_argument, NULL, 'p'},  {"keep", no_argument, NULL, 'k'},
        {"tools", required_argument, NULL, 't'},  {NULL, 0, NULL, 0}};
    int letter;
    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (letter) {
        case 'L':
            trial->lives = 30;
            trial->images_max = 2000;
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
        case 'o':
            trial->only = optarg;
            break;
        case 'p':
            choose_plant(trial, optarg);
            break;
        case 'k':
            trial->keep = true;
            break;
        case 'S':
        case 't':
            break; /* no tool is run */
        default:
            exit(64);
        }
    }
}

int main(int argc, char **argv)
{
    static struct trial trial = {.seed = 1, .lives = 3, .images_max = 40, .plant = "none"};
    read_options(&trial, argc, argv);
    if (!disk_calls_work()) {
        printf("row\tpower_files\tnot tried\tcalls of this program cannot be seen here\n");
        return 77;
    }
    log_setup(LOG_ERROR, false); /* that the last turn in a log is not whole is what is tried here */
    scratch_make("power_files", true, trial.folder);
    disk_begin(&trial.left);
    int64_t began = clock_monotonic();
    for (unsigned which = 0; which < KINDS; which++)
        for (uint64_t i = 0; i < trial.lives && trial.found < FOUND_MAX; i++)
            if (!trial.only || strcmp(trial.only, kinds[which]->name) == 0)
                run_life(&trial, which, trial.seed + i);
    uint64_t images = trial.images[0] + trial.images[1] + trial.images[2];
    double seconds = (double)(clock_monotonic() - began) / 1e6;
    printf("power_files: %.1f s, %.0f images a second\n", seconds, (double)images / seconds);
    remove_folder(&trial);
    disk_free(&trial.left);
    printf("row\tpower_files\t%" PRIu64 " images: %" PRIu64 " of outboxes, %" PRIu64 " of dead files, %" PRIu64
           " of files of what was done; %" PRIu64 " writes and flushes, %" PRIu64
           " messages, letters and ids told to be "
           "kept, done or gone\t%" PRIu64
           " found: lost, twice, out of order, altered, files that are of no use any more\n",
           images, trial.images[0], trial.images[1], trial.images[2], trial.steps, trial.promises, trial.found);
    return trial.found > 0;
}
