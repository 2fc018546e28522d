/*
 * load: what a relay bears: a great backlog, many connections, and no descriptors left.
 *
 *     load [--short|--long] [--tools DIRECTORY] [--seed N] [--keep]
 *
 * 1. A consumer is stopped, and messages of 4 KiB wait for it: 20,000, in the long form a million (4 GiB of disk). The
 *    relay may take 64 MiB more for it at most, and one message at a time through another topic, published, acknowledged,
 *    fetched, settled, must not take twice as long at the 99th percentile.
 * 2. Consumers that wait for messages which do not come: 2,000, or 10,000 connections, a session each. 30 KiB each at
 *    most, 300 MiB for ten thousand; others as above.
 * 3. Of 60 descriptors none is left, and 300 ask for one again and again: who is connected is served, the relay does not go round
 *    for nothing, its log says so once, and when most have left a new client is served within a second.
 *
 * The long form works below /var/tmp unless $TMPDIR says where.
 */
#include "config.h"

#include "load.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { BODY = 4096, ROUNDS = 5, MIB = 1 << 20, FEW = 60, CROWD = 300, PATIENCE = 20000 /* ms */ };

struct pair {
    struct mp_client *sender, *taker;
};

/* One message at a time, the 99th percentile in microseconds. */
struct measured {
    int64_t loaded, quiet;
};

struct load {
    struct stand stand;
    char url[STAND_PATH];
    struct pair quiet; /* of a relay with nothing else to do */
    struct measured full, resting;
    uint64_t backlog_bytes, rest_bytes; /* what the relay grew by */
    unsigned messages, connections;
    unsigned share; /* of a core, with no descriptors, in thousandths */
    int64_t recovered;
};

static void must(struct load *load, enum mp_error error, const struct mp_client *client, const char *what)
{
    if (error != MP_OK)
        stand_give_up(&load->stand, "%s: %s", what, mp_reason(client));
}

/* LIMIT: so many descriptors; 0: as many as there are. */
static void start_relay(struct load *load, unsigned limit)
{
    char tcp[STAND_PATH];
    stand_start_relay(&load->stand, NULL, limit);
    stand_addresses(&load->stand, load->url, tcp);
}

/* ---- one at a time --------------------------------------------------------------------------------------------- */

static void open_pair(struct load *load, const char *relay, struct pair *pair)
{
    must(load, mp_open(&pair->sender, relay, PATIENCE), NULL, "open");
    must(load, mp_open(&pair->taker, relay, PATIENCE), NULL, "open");
    must(load, mp_subscribe(pair->taker, "load.single", "one", NULL), pair->taker, "subscribe");
}

static void close_pair(struct pair *pair)
{
    mp_close(pair->sender);
    mp_close(pair->taker);
}

/* One message through the relay and back: microseconds. */
static int64_t one_message(struct load *load, struct pair *pair)
{
    struct mp_message *message = mp_message_new("one", 3);
    int64_t began = stand_now();
    must(load, mp_publish(pair->sender, "load.single", message), pair->sender, "publish");
    must(load, mp_flush(pair->sender, PATIENCE), pair->sender, "flush");
    must(load, mp_receive(pair->taker, &message, PATIENCE), pair->taker, "receive");
    must(load, mp_ack(pair->taker, message), pair->taker, "ack");
    return stand_now() - began;
}

static int compare(const void *one, const void *other)
{
    int64_t a = *(const int64_t *)one, b = *(const int64_t *)other;
    return (a > b) - (a < b);
}

static int64_t percentile(int64_t *samples, unsigned count)
{
    qsort(samples, count, sizeof *samples, compare);
    return samples[count * 99 / 100];
}

/*
 * The 99th percentiles of the relay under load and of the quiet one, which take turns message by message, so that both
 * have the same of what else the machine does. What is left to chance in a round is not in all of them.
 */
static void compare_with_quiet(struct load *load, struct pair *pair, struct measured *measured, const char *when)
{
    static int64_t loaded[1000], quiet[1000];
    unsigned count = load->stand.longer ? 1000 : 200;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < count; i++) {
            if (i % 2 == 0)
                loaded[i] = one_message(load, pair);
            quiet[i] = one_message(load, &load->quiet);
            if (i % 2 == 1)
                loaded[i] = one_message(load, pair);
        }
        *measured = (struct measured){percentile(loaded, count), percentile(quiet, count)};
        /* A few messages on a machine that has other things to do as well say nothing yet. */
        if (measured->loaded < 2 * measured->quiet || !STAND_MEASURED || !load->stand.longer)
            return;
    }
    stand_find(&load->stand, "%s one message takes %lld us (p99), without %lld", when, (long long)measured->loaded,
               (long long)measured->quiet);
}

/* A relay that has nothing else to do, for comparison. */
static void start_quiet_relay(struct load *load)
{
    char tool[STAND_PATH + 16];
    snprintf(tool, sizeof tool, "%s%smrelay", load->stand.tools, load->stand.tools[0] ? "/" : "");
    const char *const words[] = {tool, "-r", "quiet", NULL};
    stand_start(&load->stand, words, "quiet.log");
    open_pair(load, "quiet", &load->quiet);
}

/* ---- a backlog ------------------------------------------------------------------------------------------------- */

/* Processes start beside: a consumer that holds what it got and takes no more. */
static pid_t start_stopped_consumer(struct load *load)
{
    char tool[STAND_PATH + 16];
    snprintf(tool, sizeof tool, "%s%smrecv", load->stand.tools, load->stand.tools[0] ? "/" : "");
    const char *const words[] = {tool, "-r", load->url, "-t", "load.backlog", "-g", "stopped", NULL};
    pid_t pid = stand_start(&load->stand, words, "stopped");
    char path[STAND_PATH];
    snprintf(path, sizeof path, "%s/stopped", load->stand.folder);
    struct mp_client *client;
    must(load, mp_open(&client, load->url, PATIENCE), NULL, "open");
    for (int64_t began = stand_now(); stand_size(path) == 0; poll(NULL, 0, 20)) {
        must(load, mp_publish(client, "load.backlog", mp_message_new("first", 5)), client, "publish");
        must(load, mp_flush(client, PATIENCE), client, "flush");
        if (stand_now() - began > PATIENCE * INT64_C(1000))
            stand_give_up(&load->stand, "mrecv gets nothing");
    }
    kill(pid, SIGSTOP);
    mp_close(client);
    return pid;
}

static void fill(struct load *load)
{
    static char body[BODY];
    struct mp_client *client;
    must(load, mp_open(&client, load->url, PATIENCE), NULL, "open");
    for (unsigned i = 0; i < load->messages; i++) {
        memset(body, 'a' + (int)(i % 26), sizeof body);
        must(load, mp_publish(client, "load.backlog", mp_message_new(body, sizeof body)), client, "publish");
    }
    must(load, mp_flush(client, 10 * PATIENCE), client, "flush");
    mp_close(client);
}

static void try_backlog(struct load *load)
{
    struct pair pair;
    struct statvfs disk;
    load->messages = load->stand.longer ? 1000000 : 20000;
    if (statvfs(load->stand.folder, &disk) == 0 &&
        (uint64_t)disk.f_bavail * disk.f_frsize < (uint64_t)load->messages * BODY * 2)
        stand_skip(&load->stand, "there is no room for the backlog in %s", load->stand.folder);
    start_relay(load, 0);
    open_pair(load, load->url, &pair);
    pid_t stopped = start_stopped_consumer(load);
    uint64_t before = stand_resident(load->stand.relay);
    fill(load);
    compare_with_quiet(load, &pair, &load->full, "with a backlog");
    uint64_t after = stand_most_resident(load->stand.relay);
    load->backlog_bytes = after > before ? after - before : 0;
    if (STAND_MEASURED && load->backlog_bytes >= 64 * (uint64_t)MIB)
        stand_find(&load->stand, "a backlog of %u messages takes %llu MiB of the relay", load->messages,
                   (unsigned long long)load->backlog_bytes / MIB);
    kill(stopped, SIGCONT);
    kill(stopped, SIGTERM);
    close_pair(&pair);
    stand_end_relay(&load->stand);
}

/* ---- connections at rest --------------------------------------------------------------------------------------- */

static void try_rest(struct load *load)
{
    struct rlimit limit;
    struct pair pair;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    load->connections = load->stand.longer ? 10000 : 2000;
    if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < load->connections + 200) {
        printf("load: only %llu descriptors here, so fewer connections\n", (unsigned long long)limit.rlim_cur);
        load->connections = (unsigned)limit.rlim_cur / 2;
    }
    start_relay(load, 0);
    open_pair(load, load->url, &pair);
    uint64_t before = stand_resident(load->stand.relay);
    struct crowd *crowd = crowd_open(&load->stand, load->url, load->connections);
    if (crowd_served(crowd, true) != load->connections)
        stand_find(&load->stand, "of %u connections the relay serves %u", load->connections,
                   crowd_served(crowd, false));
    compare_with_quiet(load, &pair, &load->resting, "with many connections");
    uint64_t all = stand_resident(load->stand.relay);
    load->rest_bytes = all > before ? all - before : 0;
    if (STAND_MEASURED && load->rest_bytes >= load->connections * UINT64_C(30) * 1024)
        stand_find(&load->stand, "%u connections at rest take %llu MiB", load->connections,
                   (unsigned long long)load->rest_bytes / MIB);
    crowd_close(crowd);
    close_pair(&pair);
    stand_end_relay(&load->stand);
}

/* ---- no descriptors -------------------------------------------------------------------------------------------- */

static unsigned count_lines(const struct load *load, const char *word)
{
    char path[STAND_PATH], line[1024];
    unsigned count = 0;
    snprintf(path, sizeof path, "%s/log", load->stand.folder);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        count += strstr(line, word) != NULL;
    if (file)
        fclose(file);
    return count;
}

static void try_exhaustion(struct load *load)
{
    struct pair pair;
    struct mp_client *late;
    const int64_t span = load->stand.longer ? 10000000 : 1500000;
    start_relay(load, FEW);
    open_pair(load, load->url, &pair);
    one_message(load, &pair);
    struct crowd *crowd = crowd_open(&load->stand, load->url, CROWD);
    unsigned served = crowd_served(crowd, false);
    if (served >= FEW)
        stand_give_up(&load->stand, "%u connections fit into %d descriptors", served, FEW);
    int64_t processor = stand_processor(load->stand.relay), began = stand_now();
    crowd_press(crowd, span);
    load->share = (unsigned)((stand_processor(load->stand.relay) - processor) * 1000 / (stand_now() - began));
    if (STAND_MEASURED && load->share > 50)
        stand_find(&load->stand, "without descriptors the relay takes %u.%u %% of a core", load->share / 10,
                   load->share % 10);
    one_message(load, &pair);
    crowd_leave(crowd, FEW / 3);
    began = stand_now();
    must(load, mp_open(&late, load->url, PATIENCE), NULL, "open");
    must(load, mp_publish(late, "load.late", mp_message_new("late", 4)), late, "publish");
    must(load, mp_flush(late, PATIENCE), late, "flush");
    load->recovered = stand_now() - began;
    if (load->recovered > 1000000)
        stand_find(&load->stand, "with descriptors again a client was served after %lld ms",
                   (long long)load->recovered / 1000);
    unsigned lines = count_lines(load, "cannot accept");
    if (lines != 1)
        stand_find(&load->stand, "the log says %u times that there are no descriptors", lines);
    mp_close(late);
    crowd_close(crowd);
    close_pair(&pair);
    stand_end_relay(&load->stand);
}

int main(int argc, char **argv)
{
    static struct load load;
    char tried[400], found[400];
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--long") == 0)
            setenv("TMPDIR", "/var/tmp", 0); /* not in memory */
    stand_open(&load.stand, "load", argc, argv);
    (void)setpriority(PRIO_PROCESS, 0, -20); /* where it may; for the relays as well: what others do counts less */
    start_quiet_relay(&load);
    try_backlog(&load);
    try_rest(&load);
    try_exhaustion(&load);
    close_pair(&load.quiet);
    snprintf(tried, sizeof tried,
             "a stopped consumer with %u x 4 KiB waiting; %u connections at rest; no descriptors left and %d who ask "
             "for one",
             load.messages, load.connections, CROWD);
    snprintf(
        found, sizeof found,
        "%u wrong; the relay grew by %.1f MiB with the backlog and %.1f with the connections; one message (p99) %lld "
        "us "
        "beside %lld of a quiet relay (backlog), %lld beside %lld (connections); without descriptors %u.%u %% of a "
        "core, served again within %lld ms",
        load.stand.found, (double)load.backlog_bytes / MIB, (double)load.rest_bytes / MIB, (long long)load.full.loaded,
        (long long)load.full.quiet, (long long)load.resting.loaded, (long long)load.resting.quiet, load.share / 10,
        load.share % 10, (long long)load.recovered / 1000);
    return stand_close(&load.stand, tried, found);
}
