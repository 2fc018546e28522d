/*
 * clocks: wall clocks are set by a day and strobe by a second (libfaketime) under load; monotonic time goes on.
 *
 *     clocks [--short|--long] [--tools DIRECTORY] [--seed N] [--keep]
 *
 * The relay has a clock of its own, and its clients another: they are set forward and back by a day each, both at once,
 * and strobe by a second; the relay is killed and started, or ended and started, with its clock a day away. Meanwhile
 * producers send, some of it for later, to topics of which one has a short time to live, and consumers take it, one of a
 * group whose keys are ordered. The checker accounts for every message: nothing is lost or comes twice, before its time
 * or after it, and no session is forgotten (a producer whose session is ends). Beside that: what may live an hour is there
 * at the end; what is with a consumer stays with it, although a day has passed by the clock; mtrace tells of no message
 * that it took longer than the trial.
 */
#include "config.h"

#include "crew.h"
#include "history.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DAY = 86400, GIVE_UP = 20000, CALM = 150, KEPT = 200, GOING_ON = 2000 }; /* seconds, ms */
enum { STEP_RELAY, STEP_CLIENTS, STEP_BOTH, STROBE_RELAY, STROBE_CLIENTS, RESTART, KINDS };

struct clocks {
    struct stand stand;
    struct crew crew;
    char files[2][STAND_PATH]; /* the relay's clock, the clients' */
    int64_t away[2];           /* seconds */
    const char *prefix[10];    /* what gives a client its clock */
    char settings[2][STAND_PATH + 32];
    char library[STAND_PATH];
    unsigned steps, strobes, restarts;
    int64_t longest;
};

static const char *const libraries[] = {"/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
                                        "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
                                        "/usr/lib/faketime/libfaketime.so.1", "/usr/lib64/faketime/libfaketime.so.1"};

/* ---- clocks ---------------------------------------------------------------------------------------------------- */

/* A program that reads it sees all of it, or what was there before. */
static void set_clock(struct clocks *clocks, unsigned which, int64_t away)
{
    char fresh[STAND_PATH + 8];
    snprintf(fresh, sizeof fresh, "%s.new", clocks->files[which]);
    FILE *file = fopen(fresh, "we");
    if (!file || fprintf(file, "%+" PRId64 "\n", away) < 0 || fclose(file) != 0 ||
        rename(fresh, clocks->files[which]) != 0)
        stand_give_up(&clocks->stand, "%s cannot be written", fresh);
    clocks->away[which] = away;
}

static void find_library(struct clocks *clocks)
{
#ifdef MSGPIPE_SANITIZERS
    stand_skip(&clocks->stand, "AddressSanitizer must be the first library, and so must libfaketime");
#endif
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++)
        if (access(libraries[i], R_OK) == 0) {
            snprintf(clocks->library, sizeof clocks->library, "LD_PRELOAD=%s", libraries[i]);
            return;
        }
    stand_skip(&clocks->stand, "there is no libfaketime here");
}

/* The words before a program that give it a clock. */
static void prepare_clocks(struct clocks *clocks)
{
    find_library(clocks);
    for (unsigned i = 0; i < 2; i++) {
        snprintf(clocks->files[i], STAND_PATH, "%s/clock%u", clocks->stand.folder, i);
        snprintf(clocks->settings[i], sizeof clocks->settings[i], "FAKETIME_TIMESTAMP_FILE=%s", clocks->files[i]);
        set_clock(clocks, i, 0);
    }
    const char *const prefix[] = {"env",
                                  clocks->settings[1],
                                  "FAKETIME_NO_CACHE=1",
                                  clocks->library,
                                  "FAKETIME_DONT_FAKE_MONOTONIC=1",
                                  "DONT_FAKE_MONOTONIC=1",
                                  "FAKETIME_DISABLE_SHM=1",
                                  NULL};
    memcpy(clocks->prefix, prefix, sizeof prefix);
}

/* This program's own environment is the relay's while it starts. */
static void start_relay(struct clocks *clocks)
{
    static const char *const names[] = {"FAKETIME_NO_CACHE", "FAKETIME_DONT_FAKE_MONOTONIC", "DONT_FAKE_MONOTONIC"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        setenv(names[i], "1", 1);
    setenv("FAKETIME_TIMESTAMP_FILE", clocks->files[0], 1);
    setenv("LD_PRELOAD", strchr(clocks->library, '=') + 1, 1);
    stand_start_relay(&clocks->stand, NULL, 0);
    unsetenv("LD_PRELOAD");
}

/* Whether the library does what the trial stands on: the wall clock moves, and the others do not. */
static void check_library(struct clocks *clocks)
{
    set_clock(clocks, 1, 20 * INT64_C(365) * DAY);
    if (stand_shell(&clocks->stand, "y=$(%s '%s' %s %s %s %s date +%%Y); test \"$y\" -gt $(($(date +%%Y) + 15))",
                    clocks->prefix[0], clocks->prefix[1], clocks->prefix[2], clocks->prefix[3], clocks->prefix[4],
                    clocks->prefix[5]) != 0)
        stand_skip(&clocks->stand, "libfaketime does nothing here");
    set_clock(clocks, 1, 0);
}

/* ---- what is looked for beside ---------------------------------------------------------------------------------- */

/* What may live for an hour, and nobody takes. */
static void check_kept(struct clocks *clocks)
{
    struct stand *stand = &clocks->stand;
    const char *const words[] = {"mrecv", "-r", stand->relay_name, "-t", "clocks.kept", "-e", NULL};
    char path[STAND_PATH], line[64];
    unsigned count = 0;
    snprintf(path, sizeof path, "%s/kept", stand->folder);
    if (stand_run(stand, words, "kept") != 0)
        stand_find(stand, "what may live an hour cannot be read");
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        count++;
    if (file)
        fclose(file);
    if (count != KEPT)
        stand_find(stand, "of %d messages that may live an hour %u are left", KEPT, count);
}

static void check_leases(struct clocks *clocks)
{
    for (unsigned i = 0; i < clocks->crew.count; i++) {
        unsigned lost = crew_count(&clocks->crew.members[i], "stale");
        if (lost > 0)
            stand_find(&clocks->stand, "%s lost %u of its leases", clocks->crew.members[i].name, lost);
    }
}

static void check_trace(struct clocks *clocks)
{
    if (stand_shell(
            &clocks->stand,
            "'%s%smtrace' list -r %s -t clocks.t.plain --slower 60s --since 10d >'%s/slow' && test ! -s '%s/slow'",
            clocks->stand.tools, clocks->stand.tools[0] ? "/" : "", clocks->stand.relay_name, clocks->stand.folder,
            clocks->stand.folder) != 0)
        stand_find(&clocks->stand, "mtrace tells of messages that took longer than the trial");
}

/* ---- steps ----------------------------------------------------------------------------------------------------- */

static void expect_going_on(struct clocks *clocks, const char *what)
{
    int64_t since = stand_now();
    for (unsigned i = 0; i < clocks->crew.count; i++) {
        struct crew_member *member = &clocks->crew.members[i];
        int64_t took = crew_await(&clocks->crew, member, since, GIVE_UP * INT64_C(1000));
        if (took < 0 || took > GOING_ON * INT64_C(1000))
            stand_find(&clocks->stand, "%s: %s went on after %lld ms", what, member->name,
                       (long long)(took < 0 ? -1 : took / 1000));
        clocks->longest = took > clocks->longest ? took : clocks->longest;
    }
}

static void step(struct clocks *clocks, bool relay, bool clients, int64_t by)
{
    if (relay)
        set_clock(clocks, 0, clocks->away[0] + by);
    if (clients)
        set_clock(clocks, 1, clocks->away[1] + by);
    clocks->steps++;
    expect_going_on(clocks, relay ? clients ? "both clocks set" : "the relay's clock set" : "the clients' clock set");
}

static void strobe(struct clocks *clocks, unsigned which, unsigned times)
{
    int64_t away = clocks->away[which];
    for (unsigned i = 0; i < times; i++) {
        set_clock(clocks, which, away + (i % 2 == 0 ? 1 : 0));
        crew_look(&clocks->crew);
        poll(NULL, 0, (int)(20 + stand_below(&clocks->stand, 60))); /* the strobe's own pace */
    }
    set_clock(clocks, which, away);
    clocks->strobes += times;
    expect_going_on(clocks, "after a strobe");
}

/* What libfaketime has of the relay is left over, however that ends: the shell made it from which the relay came. */
static void end_relay(struct clocks *clocks, bool killed)
{
    struct stand *stand = &clocks->stand;
    char path[64];
    pid_t pid = stand->relay;
    if (killed) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        stand->relay = 0;
    } else
        stand_end_relay(stand);
    snprintf(path, sizeof path, "/dev/shm/faketime_shm_%ld", (long)pid);
    unlink(path);
    snprintf(path, sizeof path, "/dev/shm/sem.faketime_sem_%ld", (long)pid);
    unlink(path);
}

/* The relay goes, its clock is set, and it comes back. */
static void restart(struct clocks *clocks, bool killed, int64_t by)
{
    for (unsigned i = 0; i < clocks->crew.count; i++)
        crew_excuse(&clocks->crew, &clocks->crew.members[i], "cut", true);
    end_relay(clocks, killed);
    set_clock(clocks, 0, clocks->away[0] + by);
    start_relay(clocks);
    clocks->restarts++;
    expect_going_on(clocks, killed ? "the relay killed, its clock set" : "the relay ended, its clock set");
}

static void go_through_steps(struct clocks *clocks)
{
    unsigned rounds = clocks->stand.longer ? 12 : 1, strobes = clocks->stand.longer ? 100 : 15;
    for (unsigned round = 0; round < rounds; round++) {
        step(clocks, true, false, DAY);
        step(clocks, false, true, DAY);
        strobe(clocks, 0, strobes);
        step(clocks, true, false, -2 * DAY);
        restart(clocks, true, DAY);
        step(clocks, false, true, -2 * DAY);
        strobe(clocks, 1, strobes);
        restart(clocks, round % 2 == 0, -DAY);
        step(clocks, true, true, DAY);
        if (round % 3 == 2)
            restart(clocks, false, 2 * DAY);
        poll(NULL, 0, CALM);
    }
}

/* ---- all of it ------------------------------------------------------------------------------------------------- */

static void start_all(struct clocks *clocks)
{
    struct crew *crew = &clocks->crew;
    struct stand *stand = &clocks->stand;
    const char *relay = stand->relay_name;
    const char *const brief[] = {"mrelay", "set", "-r", relay, "topic", "clocks.t.brief", "ttl=3s", NULL};
    const char *const kept[] = {"mrelay", "set", "-r", relay, "topic", "clocks.kept", "ttl=1h", NULL};
    if (stand_run(stand, brief, "made") != 0 || stand_run(stand, kept, "made") != 0)
        stand_give_up(stand, "topics cannot be made");
    history_write(crew->history, "topic", "clocks.t.brief ttl=3000");
    crew_make_group(crew, "shared", "clocks.t.*", "order=key", "order");
    crew_make_group(crew, "own", "clocks.t.*", "", "");
    if (stand_shell(stand, "seq %d | '%s%smsend' -r %s -t clocks.kept", KEPT, stand->tools, stand->tools[0] ? "/" : "",
                    relay) != 0)
        stand_give_up(stand, "messages cannot be sent");
    crew_produce(crew, clocks->prefix, relay, "pa", "clocks.t.plain,clocks.t.keys:k", 150);
    crew_produce(crew, clocks->prefix, relay, "pb", "clocks.t.plain,clocks.t.later:d,clocks.t.brief", 150);
    crew_consume(crew, clocks->prefix, relay, "ca", "shared", "clocks.t.*");
    crew_consume(crew, clocks->prefix, relay, "cb", "shared", "clocks.t.*");
    crew_consume(crew, clocks->prefix, relay, "cc", "own", "clocks.t.*");
    for (unsigned i = 0; i < crew->count; i++)
        if (crew_await(crew, &crew->members[i], 0, stand_now() + GIVE_UP * INT64_C(1000)) < 0)
            stand_give_up(stand, "%s does not begin", crew->members[i].name);
}

int main(int argc, char **argv)
{
    static struct clocks clocks;
    struct stand *stand = &clocks.stand;
    char counts[400], tried[700], found[300];
    stand_open(stand, "clocks", argc, argv);
    prepare_clocks(&clocks);
    check_library(&clocks);
    crew_open(&clocks.crew, stand, argv[0]);
    start_relay(&clocks);
    start_all(&clocks);
    go_through_steps(&clocks);
    check_kept(&clocks);
    check_trace(&clocks);
    crew_wind_up(&clocks.crew, stand->longer ? 300 : 60, counts, sizeof counts);
    check_leases(&clocks);
    end_relay(&clocks, false);
    snprintf(tried, sizeof tried, "%u steps of a day, %u strobes of a second, %u restarts with another time; %s",
             clocks.steps, clocks.strobes, clocks.restarts, counts);
    snprintf(found, sizeof found, "%u wrong: lost, early, late, expired, forgotten; going on within %lld ms",
             stand->found, (long long)clocks.longest / 1000);
    return stand_close(stand, tried, found);
}
