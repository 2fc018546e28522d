/*
 * damage: bits of a store and of its log are flipped, sectors of them overwritten, and the files cut, at random. Each such store is opened
 * as a relay opens it: either it is refused, in words that name what is damaged, or what it serves is unaltered, and nothing is
 * missing without a word. Then it is salvaged: every message whose bytes were not touched is in the new store, groups are
 * given again at least what they had not settled, and its audit finds nothing.
 *
 *     damage [--short|--long] [--trials N] [--seed S] [--only N] [--tools DIRECTORY] [--keep]
 *
 * All in this process, but for each hundredth store, which the relay and the tools in DIRECTORY (default: in $PATH) open
 * as well. Exits 0, 1 when something was found (the folder is kept), 64, 71. The last line is the row of a table.
 */
#include "damage.h"

#include "base/log.h"
#include "base/random.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SHORT = 60, LONG = 1000, SECTOR = 512, TABLES = 14 * 16384 /* where the roots of the small tables are */ };

static const char *const endings[] = {"", "-wal", "-shm"};

uint64_t trial_below(struct damage_trial *trial, uint64_t limit)
{
    return random_below(&trial->random, limit);
}

static void print_hits(const struct damage_trial *trial)
{
    for (size_t i = 0; i < trial->hits_count; i++)
        fprintf(stderr, " %s[%llu,%llu)", trial->hits[i].file ? "log" : "store",
                (unsigned long long)trial->hits[i].from, (unsigned long long)trial->hits[i].to);
    fprintf(stderr, "\n");
}

void trial_found(struct damage_trial *trial, const char *format, ...)
{
    va_list arguments;
    trial->counts.found++;
    if (trial->counts.found > 20)
        return;
    fprintf(stderr, "damage: trial %llu: ", (unsigned long long)trial->number);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n  again: damage --seed %llu --only %llu; hit:", (unsigned long long)trial->seed,
            (unsigned long long)trial->number);
    print_hits(trial);
}

void trial_give_up(const char *format, ...)
{
    va_list arguments;
    fprintf(stderr, "damage: ");
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n");
    exit(71);
}

/* ---- files -------------------------------------------------------------------------------------------------------- */

static void copy_file(const char *from, const char *to)
{
    static char bytes[1024 * 1024];
    int source = open(from, O_RDONLY | O_CLOEXEC);
    if (source < 0 && errno == ENOENT) {
        unlink(to);
        return;
    }
    int target = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ssize_t got = 0;
    while (source >= 0 && target >= 0 && (got = read(source, bytes, sizeof bytes)) > 0)
        if (write(target, bytes, (size_t)got) != got)
            trial_give_up("cannot write %s: %s", to, strerror(errno));
    if (source < 0 || target < 0 || got < 0)
        trial_give_up("cannot copy %s to %s: %s", from, to, strerror(errno));
    close(source);
    close(target);
}

void trial_copy(const char *from, const char *to, bool index)
{
    char source[PATH_BYTES + 32], target[PATH_BYTES + 32];
    trial_remove(to);
    for (unsigned i = 0; i < (index ? 3U : 2U); i++) {
        snprintf(source, sizeof source, "%s%s", from, endings[i]);
        snprintf(target, sizeof target, "%s%s", to, endings[i]);
        copy_file(source, target);
    }
}

void trial_remove(const char *path)
{
    static const char *const all[] = {"", "-wal", "-shm", ".lock"};
    char name[PATH_BYTES + 32];
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        snprintf(name, sizeof name, "%s%s", path, all[i]);
        unlink(name);
    }
}

/* ---- damage ------------------------------------------------------------------------------------------------------- */

static void note_hit(struct damage_trial *trial, unsigned file, uint64_t from, uint64_t to)
{
    if (trial->hits_count < HITS)
        trial->hits[trial->hits_count++] = (struct range){file, from, to};
}

static void flip_bits(struct damage_trial *trial, const struct sound *sound, int descriptor, unsigned file)
{
    for (uint64_t flips = 1 + trial_below(trial, 4); flips > 0; flips--) {
        uint64_t at = trial_below(trial, sound->sizes[file]);
        /* Half of them where structures are: in the first bytes of a page. */
        if (trial_below(trial, 2) == 0)
            at = at / 16384 * 16384 + trial_below(trial, 128);
        if (trial_below(trial, 4) == 0)
            at %= TABLES;
        if (at >= sound->sizes[file])
            continue;
        uint8_t byte;
        if (pread(descriptor, &byte, 1, (off_t)at) != 1)
            trial_give_up("cannot read a byte to flip: %s", strerror(errno));
        byte ^= (uint8_t)(1U << trial_below(trial, 8));
        if (pwrite(descriptor, &byte, 1, (off_t)at) != 1)
            trial_give_up("cannot flip a bit: %s", strerror(errno));
        note_hit(trial, file, at, at + 1);
        trial->counts.flips++;
    }
}

static void spoil_sector(struct damage_trial *trial, const struct sound *sound, int descriptor, unsigned file)
{
    uint8_t bytes[SECTOR];
    uint64_t at = trial_below(trial, (sound->sizes[file] + SECTOR - 1) / SECTOR) * SECTOR;
    if (trial_below(trial, 4) == 0)
        at %= TABLES;
    size_t size = sound->sizes[file] - at < SECTOR ? (size_t)(sound->sizes[file] - at) : SECTOR;
    bool zero = trial_below(trial, 2) == 0;
    for (size_t i = 0; i < size; i++)
        bytes[i] = zero ? 0 : (uint8_t)trial_below(trial, 256);
    if (pwrite(descriptor, bytes, size, (off_t)at) != (ssize_t)size)
        trial_give_up("cannot overwrite a sector: %s", strerror(errno));
    note_hit(trial, file, at, at + size);
    trial->counts.garbage++;
}

static void cut_file(struct damage_trial *trial, const struct sound *sound, int descriptor, unsigned file)
{
    uint64_t at = trial_below(trial, sound->sizes[file]);
    if (trial_below(trial, 2) == 0) /* near the end */
        at = sound->sizes[file] - trial_below(trial, sound->sizes[file] < 65536 ? sound->sizes[file] : 65536);
    if (ftruncate(descriptor, (off_t)at) != 0)
        trial_give_up("cannot cut a file: %s", strerror(errno));
    note_hit(trial, file, at, sound->sizes[file]);
    trial->cut = true;
    trial->counts.cuts++;
}

static void do_damage(struct damage_trial *trial, const struct sound *sound, const char *path)
{
    char name[PATH_BYTES + 32];
    trial->hits_count = 0;
    trial->cut = false;
    unsigned file = sound->sizes[1] > 0 ? (unsigned)trial_below(trial, 2) : 0;
    snprintf(name, sizeof name, "%s%s", path, endings[file]);
    int descriptor = open(name, O_RDWR | O_CLOEXEC);
    if (descriptor < 0)
        trial_give_up("cannot open %s: %s", name, strerror(errno));
    uint64_t kind = trial_below(trial, 10);
    if (kind < 6)
        flip_bits(trial, sound, descriptor, file);
    else if (kind < 8)
        spoil_sector(trial, sound, descriptor, file);
    else
        cut_file(trial, sound, descriptor, file);
    close(descriptor);
}

bool is_touched(const struct damage_trial *trial, const struct sound_frame *frame)
{
    for (size_t i = 0; i < frame->ranges_count; i++)
        for (size_t k = 0; k < trial->hits_count; k++)
            if (trial->hits[k].file == frame->ranges[i].file && trial->hits[k].from < frame->ranges[i].to &&
                frame->ranges[i].from < trial->hits[k].to)
                return true;
    return false;
}

/* ---- the tools ---------------------------------------------------------------------------------------------------- */

/* A relay that does not start says what is damaged, and of mrelay salvage; what is salvaged is served. */
static void try_tools(struct damage_trial *trial, const struct sound *sound, const char *path)
{
    char command[8 * PATH_BYTES], made[PATH_BYTES + 32];
    const char *slash = trial->tools[0] ? "/" : "";
    snprintf(made, sizeof made, "%s/made.db", trial->folder);
    trial_copy(sound->path, path, sound->index);
    uint64_t kept = trial->random;
    trial->random = trial->seed + trial->number;
    struct counts counts = trial->counts;
    do_damage(trial, sound, path);
    trial->counts = counts;
    trial->random = kept;
    trial_remove(made);
    snprintf(command, sizeof command,
             "cd '%s' || exit 71\n"
             "tools='%s%s'\n"
             "export XDG_RUNTIME_DIR=$PWD XDG_STATE_HOME=$PWD\n"
             "\"${tools}mrelay\" salvage made.db --store '%s' --json >answer; code=$?\n"
             "case $code in 0) grep -q '\"whole\":true' answer || exit 2;; 1) grep -q '\"words\"' answer || exit 3;;"
             " *) exit 4;; esac\n"
             "if timeout 30 \"${tools}mrelay\" -r damaged --store '%s' --background 2>words; then\n"
             "  kill \"$(cat '%s.lock')\"\n"
             "  exit 0\n"
             "fi\n"
             "grep -q 'mrelay salvage' words && grep -q '%s' words\n",
             trial->folder, trial->tools, slash, path, path, path, path);
    fflush(stdout);
    int status = system(command);
    if (status != 0)
        trial_found(trial, "the tools: status %d", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

/* ---- all of it ---------------------------------------------------------------------------------------------------- */

static void try_one(struct damage_trial *trial)
{
    char path[PATH_BYTES + 32];
    snprintf(path, sizeof path, "%s/store.db", trial->folder);
    const struct sound *sound = &trial->sounds[trial->number % 3];
    uint64_t seed = trial->seed + trial->number;
    for (unsigned pass = 0; pass < 2; pass++) {
        struct counts counts = trial->counts;
        trial->random = seed;
        trial_copy(sound->path, path, sound->index);
        do_damage(trial, sound, path);
        if (pass > 0)
            trial->counts = counts;
        if (pass == 0)
            salvage_damaged(trial, sound, path);
        else
            serve_damaged(trial, sound, path);
    }
    if (trial->number % 100 == 7)
        try_tools(trial, sound, path);
}

static void print_row(const struct damage_trial *trial, uint64_t trials)
{
    const struct counts *counts = &trial->counts;
    printf("stores: %llu refused, %llu served with what is damaged told or whole, %llu as of before their log's last "
           "turns\n",
           (unsigned long long)counts->refused, (unsigned long long)counts->served,
           (unsigned long long)counts->earlier);
    printf("salvaged: %llu messages, %llu lost of frames that were hit; %llu stores without a loss\n",
           (unsigned long long)counts->messages, (unsigned long long)counts->lost, (unsigned long long)counts->whole);
    printf("row\tdamage\t%llu damaged stores (%llu bits flipped, %llu sectors overwritten, %llu files cut), %llu "
           "messages each\t",
           (unsigned long long)trials, (unsigned long long)counts->flips, (unsigned long long)counts->garbage,
           (unsigned long long)counts->cuts, (unsigned long long)trial->sounds[0].messages);
    printf("%llu refused with words, %llu served; %llu undamaged messages, all salvaged; %llu altered, lost or deleted "
           "without a word\n",
           (unsigned long long)counts->refused, (unsigned long long)counts->served,
           (unsigned long long)counts->untouched, (unsigned long long)counts->found);
}

static void set_tools(struct damage_trial *trial, const char *directory)
{
    char *path = realpath(directory, NULL);
    if (!path || strlen(path) >= sizeof trial->tools)
        trial_give_up("%s: %s", directory, path ? "too long" : strerror(errno));
    memcpy(trial->tools, path, strlen(path) + 1);
    free(path);
}

static int usage(void)
{
    fprintf(stderr, "damage [--short|--long] [--trials N] [--seed S] [--only N] [--tools DIRECTORY] [--keep]\n");
    return 64;
}

int main(int argc, char **argv)
{
    enum { SHORT_FORM, LONG_FORM, TRIALS, SEED, ONLY, TOOLS, KEEP };
    static const struct option options[] = {
        {"short", no_argument, NULL, SHORT_FORM},    {"long", no_argument, NULL, LONG_FORM},
        {"trials", required_argument, NULL, TRIALS}, {"seed", required_argument, NULL, SEED},
        {"only", required_argument, NULL, ONLY},     {"tools", required_argument, NULL, TOOLS},
        {"keep", no_argument, NULL, KEEP},           {NULL, 0, NULL, 0}};
    static struct damage_trial trial = {.seed = 1};
    uint64_t trials = SHORT, only = UINT64_MAX;
    bool keep = false;
    int letter;
    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (letter == SHORT_FORM)
            trials = SHORT;
        else if (letter == LONG_FORM)
            trials = LONG;
        else if (letter == TRIALS)
            trials = strtoull(optarg, NULL, 10);
        else if (letter == SEED)
            trial.seed = strtoull(optarg, NULL, 10);
        else if (letter == ONLY)
            only = strtoull(optarg, NULL, 10);
        else if (letter == TOOLS)
            set_tools(&trial, optarg);
        else if (letter == KEEP)
            keep = true;
        else
            return usage();
    }
    if (optind < argc)
        return usage();
    scratch_make("damage", true, trial.folder); /* what is flushed here is read again at once */
    log_setup(LOG_ERROR, false);
    sound_make(&trial);
    for (trial.number = only == UINT64_MAX ? 0 : only; trial.number < (only == UINT64_MAX ? trials : only + 1);
         trial.number++)
        try_one(&trial);
    print_row(&trial, only == UINT64_MAX ? trials : 1);
    if (trial.counts.found == 0 && !keep)
        scratch_remove("damage", trial.folder);
    else
        fprintf(stderr, "damage: kept in %s\n", trial.folder);
    return trial.counts.found > 0;
}
