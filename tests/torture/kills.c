/*
 * kills: a relay, producers, consumers, a pipeline and the tools under load, killed with SIGKILL at random moments, one or
 * several at once, the commands that they run as well: with retries, dead letters, order by key, ids, times to live,
 * delays, limits and bodies from 1 byte to 1 MiB (kills_plan.c); then the dead letters are replayed, under kills as well.
 * The checker accounts for every message at the end. Then a relay with much that waits is killed.
 *
 *     kills [--short|--long] [--kills N] [--messages N] [--round N] [--waiting N] [--seed S] [--producers N] [--rate N]
 *           [--lines N] [--pace MS] [--patience S] [--keep] [--until-red] [--relay PROGRAM] [--tools DIRECTORY]
 *
 * --kills, --messages: so many kills, and so many messages acknowledged, at least. --round: kills after which all is
 * wound up and checked. --waiting: messages that wait at the last kills; 0: none of these. --rate: messages a second of
 * each producer. --lines: lines a second that go to commands. --pace: milliseconds between kills, on the average.
 * --patience: seconds for what has to come to an end. --relay: run in mrelay's place (mrelay-faulty). --tools: where the
 * tools are (default: in $PATH); the other programs stand beside this one. --short (the default) and --long set the others.
 *
 * Everything is in a new temporary folder, which is kept when something is wrong, or with --keep. Prints the checker's
 * findings and, last, the trial's row. Exits 0, 1 when something is wrong, 64, or 71.
 */
#include "kills.h"

#include "base/random.h"

#include <getopt.h>
#include <libgen.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct torture short_form = {
    .kills = 40, .round = 40, .producers = 4, .rate = 200, .lines = 30, .pace = 60, .waiting = 200000, .patience = 120};
static const struct torture long_form = {.kills = 10000,
                                         .messages = 1000000,
                                         .round = 1000,
                                         .producers = 4,
                                         .rate = 2500,
                                         .lines = 40,
                                         .pace = 100,
                                         .waiting = 1000000,
                                         .patience = 300};

/* A relay with a million messages waiting is to be back in service within that: microseconds. */
enum { SERVES_AGAIN = 1000000, WAITING_KILLS = 20, WAITING_KILLS_SHORT = 3 };

uint32_t torture_below(struct torture *torture, uint32_t limit)
{
    return (uint32_t)random_below(&torture->random, limit);
}

/* A folder for the store, the histories and what programs say. */
static void prepare(struct torture *torture)
{
    char file[PATH_BYTES], command[4 * PATH_BYTES];
    scratch_make("kills", false, torture->folder);
    snprintf(torture->histories, sizeof torture->histories, "%s/histories", torture->folder);
    snprintf(command, sizeof command, "mkdir -m 700 '%s' '%s/run' '%s/state'", torture->histories, torture->folder,
             torture->folder);
    if (system(command) != 0)
        exit(71);
    snprintf(file, sizeof file, "%s/run", torture->folder);
    setenv("XDG_RUNTIME_DIR", file, 1);
    snprintf(file, sizeof file, "%s/state", torture->folder);
    setenv("XDG_STATE_HOME", file, 1);
    snprintf(file, sizeof file, "%s/kills", torture->histories);
    torture->history = history_open(file);
}

/* Ends a round's or a measurement's use of its folder. */
static void tidy(struct torture *torture, bool keep)
{
    close(torture->history);
    torture->programs_count = 0;
    torture->calm = false;
    if (keep || torture->keep)
        printf("kills: the histories are in %s\n", torture->folder);
    else
        scratch_remove("kills", torture->folder);
}

static bool read_number(struct torture *torture, int letter, const char *text)
{
    unsigned long long number = strtoull(text, NULL, 10);
    unsigned *small[] = {['k'] = &torture->kills, ['n'] = &torture->round, ['p'] = &torture->producers,
                         ['r'] = &torture->rate,  ['l'] = &torture->lines, ['c'] = &torture->pace};
    uint64_t *large[] = {
        ['m'] = &torture->messages, ['w'] = &torture->waiting, ['P'] = &torture->patience, ['s'] = &torture->random};
    if ((size_t)letter < sizeof small / sizeof *small && small[letter])
        *small[letter] = (unsigned)number;
    else if ((size_t)letter < sizeof large / sizeof *large && large[letter])
        *large[letter] = number;
    else
        return false;
    return true;
}

static void read_options(struct torture *torture, int argc, char **argv)
{
    static const struct option options[] = {{"short", no_argument, NULL, 'S'},
                                            {"long", no_argument, NULL, 'L'},
                                            {"kills", required_argument, NULL, 'k'},
                                            {"messages", required_argument, NULL, 'm'},
                                            {"round", required_argument, NULL, 'n'},
                                            {"waiting", required_argument, NULL, 'w'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"producers", required_argument, NULL, 'p'},
                                            {"rate", required_argument, NULL, 'r'},
                                            {"lines", required_argument, NULL, 'l'},
                                            {"pace", required_argument, NULL, 'c'},
                                            {"patience", required_argument, NULL, 'P'},
                                            {"keep", no_argument, NULL, 'K'},
                                            {"until-red", no_argument, NULL, 'U'},
                                            {"relay", required_argument, NULL, 'R'},
                                            {"tools", required_argument, NULL, 't'},
                                            {NULL, 0, NULL, 0}};
    int letter;
    *torture = short_form;
    torture->random = (uint64_t)history_now();
    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1)
        if (letter == 'S' || letter == 'L') {
            uint64_t random = torture->random;
            *torture = letter == 'L' ? long_form : short_form;
            torture->random = random;
        } else if (letter == 'K')
            torture->keep = true;
        else if (letter == 'U')
            torture->until_red = true;
        else if (letter == 'R')
            torture->relay = optarg;
        else if (letter == 't')
            snprintf(torture->tools, sizeof torture->tools, "%s", optarg);
        else if (letter == '?' || !read_number(torture, letter, optarg))
            exit(64);
}

/* Between looks at what there is, and what the audit says of it: microseconds. */
enum { DEPTHS_EVERY = 1000000, AUDIT_EVERY = 5000000 };

static unsigned count_kills(const struct torture *torture)
{
    unsigned kills = 0;
    for (enum role role = 0; role < ROLES; role++)
        kills += torture->sums.killed[role];
    return kills;
}

static void load(struct torture *torture)
{
    for (unsigned i = 0; i < torture->producers; i++)
        torture_add(torture, PRODUCER, i, NULL);
    torture_add(torture, SENDER, 0, NULL);
    torture_add(torture, SPOOLER, 0, NULL);
    torture_add(torture, RUNNER, 0, NULL);
    plan_add_members(torture, false);
    int64_t depths = 0, audit = history_now() + AUDIT_EVERY / 2;
    for (unsigned end = count_kills(torture) + torture->round, now; (now = count_kills(torture)) < end;) {
        poll(NULL, 0, (int)(1 + torture_below(torture, 2 * torture->pace))); /* the moment of a kill is chance */
        torture_check_all(torture);
        kill_some(torture, end - now);
        if (history_now() > depths) {
            plan_note_depths(torture);
            depths = history_now() + DEPTHS_EVERY;
        }
        if (history_now() > audit) {
            end_audit(torture); /* under load, and soon after a kill */
            audit = history_now() + AUDIT_EVERY;
        }
    }
}

static void run_round(struct torture *torture, unsigned number)
{
    uint64_t found = torture->sums.found;
    printf("kills: round %u, seed %" PRIu64 "\n", number, torture->random);
    prepare(torture);
    torture_add(torture, RELAY, 0, NULL);
    plan_make(torture);
    load(torture);
    end_wind_up(torture);
    bool well = tell_verdict(torture);
    torture->red |= !well;
    tidy(torture, !well || torture->sums.found > found);
}

static int64_t measure_waiting(struct torture *torture, bool long_one)
{
    prepare(torture);
    int64_t longest = kill_with_waiting(torture, long_one ? WAITING_KILLS : WAITING_KILLS_SHORT);
    tidy(torture, false);
    if (long_one && longest > SERVES_AGAIN)
        torture_find(torture, "a relay with much that waits was away for more than a second");
    return longest;
}

static bool is_to_go_on(const struct torture *torture)
{
    if (torture->until_red && torture->red)
        return false;
    return count_kills(torture) < torture->kills || torture->sums.acknowledged < torture->messages;
}

int main(int argc, char **argv)
{
    struct torture torture;
    char self[PATH_BYTES];
    read_options(&torture, argc, argv);
    snprintf(self, sizeof self, "%s", argv[0]);
    snprintf(torture.here, sizeof torture.here, "%s", dirname(self));
    setvbuf(stdout, NULL, _IOLBF, 0); /* what was found is to be seen when something stands still */
    torture_catch_signals(&torture);
    int64_t began = history_now(), waiting = -1;
    for (unsigned i = 1; is_to_go_on(&torture); i++)
        run_round(&torture, i);
    double seconds = (double)(history_now() - began) / 1e6;
    if (torture.waiting > 0)
        waiting = measure_waiting(&torture, torture.waiting >= long_form.waiting);
    tell_all(&torture, seconds, waiting);
    return torture.red;
}
