/*
 * pauses: SIGSTOP for the relay, producers, consumers and the runner of a pipeline, under load.
 *
 *     pauses [--short|--long] [--tools DIRECTORY] [--seed N] [--keep]
 *
 * The relay is stopped by itself; then a producer, a consumer and the runner, each for as long. Leases are short, so that
 * those of a stopped consumer end: others must get its messages while it is stopped, and what it settles afterwards be
 * refused. Nobody else's settlement may be, however long the relay was stopped: requests that have arrived are applied
 * before leases end. Who was stopped, and all who waited for the relay, must go on within two seconds. The checker
 * accounts for every message, and behind the stage of the pipeline each message must be once, in order.
 */
#include "crew.h"
#include "history.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MILLISECOND = 1000, GOING_ON = 2000, GIVE_UP = 20000, CALM = 200 }; /* ms */

struct pauses {
    struct stand stand;
    struct crew crew;
    struct crew_member *producer, *other, *victim, *heir, *own; /* victim and heir share a group */
    pid_t runner;
    unsigned lease; /* seconds: in the long form longer than a busy machine may forget a process */
    unsigned relays, others;
    int64_t longest, handed_on;
    unsigned refused, passed;
};

static const unsigned short_pauses[] = {2500, 0},
                      long_pauses[] = {1000, 2000, 3000, 5000, 8000, 13000, 21000, 34000, 60000, 0};

/* ---- the pipeline ---------------------------------------------------------------------------------------------- */

static void start_runner(struct pauses *pauses)
{
    static const char text[] = "name: pauses\n"
                               "topics:\n"
                               "  pauses.in: {external: true}\n"
                               "  pauses.out: {}\n"
                               "stages:\n"
                               "  pass: {from: pauses.in, command: [cat], mode: stream, to: pauses.out}\n"
                               "strict: false\n";
    struct stand *stand = &pauses->stand;
    char path[STAND_PATH], tool[STAND_PATH + 16];
    snprintf(path, sizeof path, "%s/pauses.yaml", stand->folder);
    snprintf(tool, sizeof tool, "%s%smrelay", stand->tools, stand->tools[0] ? "/" : "");
    FILE *file = fopen(path, "we");
    if (!file || fputs(text, file) < 0 || fclose(file) != 0)
        stand_give_up(stand, "%s cannot be written", path);
    const char *const words[] = {tool, "run", "--stages-only", "-r", stand->relay_name, path, NULL};
    pauses->runner = stand_start(stand, words, "runner.log");
}

/* What came out of the stage: of each of PRODUCER's messages one, in order. Which of them went in its history says. */
static void check_pipeline(struct pauses *pauses)
{
    struct stand *stand = &pauses->stand;
    const char *const read[] = {"mrecv", "-r", stand->relay_name, "-t", "pauses.out", "-e", NULL};
    char path[STAND_PATH], line[HISTORY_LINE];
    uint64_t sequence, sent = 0, last = 0;
    snprintf(path, sizeof path, "%s/out", stand->folder);
    if (stand_run(stand, read, "out") != 0)
        stand_give_up(stand, "what the stage made cannot be read");
    FILE *file = fopen(path, "re"), *history = fopen(pauses->other->history, "re");
    while (history && fgets(line, sizeof line, history))
        if (sscanf(line, "send %*s %*s pauses.in %" SCNu64, &sequence) == 1)
            sent++;
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "%*[a-z0-9.] %" SCNu64, &sequence) != 1)
            continue; /* the rest of a line that is longer */
        pauses->passed++;
        if (sequence <= last)
            stand_find(stand, "behind the stage message %" PRIu64 " comes after %" PRIu64, sequence, last);
        last = sequence;
    }
    if (history)
        fclose(history);
    if (file)
        fclose(file);
    if (pauses->passed != sent)
        stand_find(stand, "%" PRIu64 " messages went into the stage, %u came out", sent, pauses->passed);
}

/* ---- pauses ---------------------------------------------------------------------------------------------------- */

static void expect_going_on(struct pauses *pauses, struct crew_member *member, int64_t since, const char *who,
                            unsigned length)
{
    int64_t took = crew_await(&pauses->crew, member, since, GIVE_UP * MILLISECOND);
    if (took < 0 || took > GOING_ON * MILLISECOND)
        stand_find(&pauses->stand, "after a pause of %s of %u ms %s went on after %lld ms", who, length, member->name,
                   (long long)(took < 0 ? -1 : took / MILLISECOND));
    pauses->longest = took > pauses->longest ? took : pauses->longest;
}

static void pause_relay(struct pauses *pauses, unsigned length)
{
    kill(pauses->stand.relay, SIGSTOP);
    poll(NULL, 0, (int)length); /* this is the pause, not a wait for something */
    int64_t back = stand_now();
    kill(pauses->stand.relay, SIGCONT);
    for (unsigned i = 0; i < pauses->crew.count; i++)
        expect_going_on(pauses, &pauses->crew.members[i], back, "the relay", length);
    pauses->relays++;
    poll(NULL, 0, CALM);
}

/* Stops the consumer while it works on a message, which it will settle when it goes on. */
static void stop_at_work(struct pauses *pauses)
{
    struct crew *crew = &pauses->crew;
    for (int64_t began = stand_now(); stand_now() - began < GIVE_UP * INT64_C(1000); poll(NULL, 0, 1)) {
        if (!crew_is_at(pauses->victim, "got "))
            continue;
        crew_signal(crew, pauses->victim, SIGSTOP);
        poll(NULL, 0, 20); /* it stops when it is scheduled, at the latest */
        if (crew_is_at(pauses->victim, "got "))
            return;
        crew_signal(crew, pauses->victim, SIGCONT);
    }
    stand_give_up(&pauses->stand, "a consumer is never at work");
}

static void pause_others(struct pauses *pauses, unsigned length)
{
    struct crew *crew = &pauses->crew;
    unsigned refused = crew_count(pauses->victim, "stale");
    stop_at_work(pauses);
    crew_excuse(crew, pauses->victim, "pause", true);
    crew_signal(crew, pauses->producer, SIGSTOP);
    kill(pauses->runner, SIGSTOP);
    int64_t began = stand_now();
    while (stand_now() - began < length * INT64_C(1000)) {
        crew_look(crew);
        poll(NULL, 0, 20);
    }
    if (length >= pauses->lease * 2000 && crew_confirmed(pauses->heir, began) == 0)
        stand_find(&pauses->stand, "while a consumer was stopped for %u ms another of its group got nothing", length);
    int64_t back = stand_now();
    crew_excuse(crew, pauses->victim, "pause", true);
    crew_signal(crew, pauses->victim, SIGCONT);
    crew_signal(crew, pauses->producer, SIGCONT);
    kill(pauses->runner, SIGCONT);
    expect_going_on(pauses, pauses->producer, back, "a producer", length);
    expect_going_on(pauses, pauses->victim, back, "a consumer", length);
    pauses->others += 3;
    if (length >= pauses->lease * 2000 && crew_count(pauses->victim, "stale") == refused)
        stand_find(&pauses->stand, "what a consumer settled after a pause of %u ms was not refused", length);
    poll(NULL, 0, CALM);
}

static void check_refused(struct pauses *pauses)
{
    for (unsigned i = 0; i < pauses->crew.count; i++) {
        struct crew_member *member = &pauses->crew.members[i];
        unsigned count = crew_count(member, "stale");
        if (member == pauses->victim)
            pauses->refused = count;
        else if (count > 0)
            stand_find(&pauses->stand, "%u settlements of %s, which was never stopped, were refused", count,
                       member->name);
    }
}

/* ---- all of it ------------------------------------------------------------------------------------------------- */

static void start_all(struct pauses *pauses)
{
    struct crew *crew = &pauses->crew;
    struct stand *stand = &pauses->stand;
    char ipc[STAND_PATH], tcp[STAND_PATH];
    stand_addresses(stand, ipc, tcp);
    crew_make_group(crew, "shared", "pauses.t.*", "order=key", "order");
    crew_make_group(crew, "own", "pauses.t.*", "", "");
    start_runner(pauses);
    pauses->producer = crew_produce(crew, NULL, tcp, "pa", "pauses.t.plain,pauses.t.keys:k", 120);
    pauses->other = crew_produce(crew, NULL, ipc, "pb", "pauses.t.plain,pauses.in:f", 150);
    pauses->victim = crew_consume(crew, NULL, tcp, "ca", "shared", "pauses.t.*");
    pauses->heir = crew_consume(crew, NULL, ipc, "cb", "shared", "pauses.t.*");
    pauses->own = crew_consume(crew, NULL, tcp, "cc", "own", "pauses.t.*");
    for (unsigned i = 0; i < crew->count; i++)
        if (crew_await(crew, &crew->members[i], 0, stand_now() + GIVE_UP * MILLISECOND) < 0)
            stand_give_up(stand, "%s does not begin", crew->members[i].name);
}

/* The runner works off what is there, and ends when it is told. */
static void end_runner(struct pauses *pauses)
{
    struct stand *stand = &pauses->stand;
    const char *const wait[] = {"mrelay", "wait", "-r", stand->relay_name, "-t", "pauses.in", "-g", "pass",
                                "--wait", "60s",  NULL};
    if (stand_run(stand, wait, "waited") != 0)
        stand_find(stand, "the stage does not work off what there is");
}

int main(int argc, char **argv)
{
    static struct pauses pauses;
    struct stand *stand = &pauses.stand;
    char counts[400], tried[700], found[300], lease[16];
    stand_open(stand, "pauses", argc, argv);
    crew_open(&pauses.crew, stand, argv[0]);
    pauses.lease = stand->longer ? 3 : 1;
    snprintf(lease, sizeof lease, "%us", pauses.lease);
    const char *const options[] = {"-l", "tcp://127.0.0.1:0", "--lease", lease, NULL};
    stand_start_relay(stand, options, 0);
    start_all(&pauses);
    for (const unsigned *length = stand->longer ? long_pauses : short_pauses; *length > 0; length++) {
        pause_relay(&pauses, *length / (stand->longer ? 1 : 2));
        pause_others(&pauses, *length);
    }
    crew_wind_up(&pauses.crew, stand->longer ? 300 : 60, counts, sizeof counts);
    end_runner(&pauses);
    check_pipeline(&pauses);
    check_refused(&pauses);
    stand_end_relay(stand);
    snprintf(tried, sizeof tried,
             "%u pauses of the relay, %u of a producer, a consumer and a runner; %s; %u messages through a stage",
             pauses.relays, pauses.others, counts, pauses.passed);
    snprintf(found, sizeof found, "%u wrong; %u late settlements refused; going on within %lld ms", stand->found,
             pauses.refused, (long long)pauses.longest / 1000);
    return stand_close(stand, tried, found);
}
