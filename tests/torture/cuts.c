/*
 * cuts: a go-between cuts the connection of a client at every byte of every kind of request and reply.
 *
 *     cuts [--short|--long] [--tools DIRECTORY] [--seed N] [--keep]
 *
 * A play (cuts_play.c) is a client that does everything once: greets, publishes, publishes for later, peeks, fetches,
 * settles, settles and publishes in one step, reads, gives back, waits for room, asks, extends its leases, leaves. It is
 * played again and again, over a Unix socket and over TCP, and each time the connection is cut once, one byte later,
 * alternately towards the relay and from it: both ends see an end, or a reset; or the client sees one, and what it had
 * sent comes to the relay late, beside the repeat. Then the client may connect again at once. Each play finds each
 * message under the offset and with the attempt that it must have; at the end every topic holds each number once. The
 * long form cuts at every byte; the short one at some of each kind.
 */
#include "cuts.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    GOING_ON = 2 * 1000 * 1000,
    POSITIONS = 4096,
    FAMILIES = 2,
    SHORT_CUTS = 200,
    SHORT_EXTENSIONS = 4,
    MISSING_TRIES = 20,
    GIVE_UP = 20
};

struct cuts {
    struct stand stand;
    struct event_base *base;
    struct between between;
    struct stock stock;
    unsigned count, places;
    uint64_t by_kind[WAYS][KINDS];
    int64_t longest;
    bool seen[WAYS][KINDS][POSITIONS];
};

static const char *const kind_names[KINDS] = {
    "greeting",           "hello", "publish", "fetch", "settle", "extend", "room", "admin", "leave", "peek",
    "settle-with-publish"};

typedef int64_t (*play_function)(struct stand *, struct between *, struct stock *);

static void on_tick(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    (void)context;
}

static void set_up(struct cuts *cuts)
{
    static const char *const relay[] = {"-l", "tcp://127.0.0.1:0", NULL};
    static const char *const commands[][10] = {
        {"mrelay", "set", "-r", "cuts", "topic", "cuts.in", "retain.age=1d", NULL},
        {"mrelay", "set", "-r", "cuts", "topic", "cuts.tight", "max_messages=2", "retain.age=1d", NULL},
        {"mrecv", "-r", "cuts", "-t", "cuts.in", "-g", "all", "-e", NULL},
        {"mrecv", "-r", "cuts", "-t", "cuts.tight", "-g", "all", "-e", NULL}};
    stand_start_relay(&cuts->stand, relay, 0);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (stand_run(&cuts->stand, commands[i], "made") != 0)
            stand_give_up(&cuts->stand, "topics and groups cannot be made");
}

/* One play with one cut. After the first finding there are no more: what is in the store is not what they think. */
static void play_and_cut(struct cuts *cuts, play_function play, enum way way, uint64_t at)
{
    struct between *between = &cuts->between;
    struct stand *stand = &cuts->stand;
    if (stand->found > 0)
        return;
    between_begin(between);
    between_arm(between, way, at, (enum cut_manner)stand_below(stand, CUT_MANNERS), stand_below(stand, 40));
    int64_t longest = play(stand, between, &cuts->stock);
    if (between->cut == 0)
        return; /* this time fewer bytes went that way */
    if (longest > GOING_ON)
        stand_find(stand, "after a cut in %s it went on after %" PRId64 " ms", kind_names[between->kind],
                   longest / 1000);
    cuts->count++;
    cuts->by_kind[way][between->kind]++;
    cuts->longest = longest > cuts->longest ? longest : cuts->longest;
    bool *seen = &cuts->seen[way][between->kind][between->position % POSITIONS];
    cuts->places += !*seen;
    *seen = true;
}

/* What a play sends and gets when nothing is cut. */
static unsigned play_once(struct cuts *cuts, play_function play, struct passage *passages)
{
    between_begin(&cuts->between);
    cuts->between.record = true;
    play(&cuts->stand, &cuts->between, &cuts->stock);
    cuts->between.record = false;
    memcpy(passages, cuts->between.passages, sizeof cuts->between.passages);
    return cuts->between.passages_count;
}

/* At every byte of the passages of KIND (KINDS: of all), or at MOST of them that chance takes. */
static void cut_all(struct cuts *cuts, play_function play, enum cut_kind kind, unsigned most)
{
    struct passage passages[PASSAGES_MAX];
    unsigned count = play_once(cuts, play, passages);
    for (unsigned i = 0; i < count; i++)
        for (uint64_t at = passages[i].begin + 1; at <= passages[i].end && !most; at++)
            if (kind == KINDS || passages[i].kind == kind)
                play_and_cut(cuts, play, passages[i].way, at);
    for (unsigned i = 0, done = 0; done < most; i = (i + 1) % count) {
        if (kind != KINDS && passages[i].kind != kind)
            continue;
        uint32_t size = (uint32_t)(passages[i].end - passages[i].begin);
        play_and_cut(cuts, play, passages[i].way, passages[i].begin + 1 + stand_below(&cuts->stand, size));
        done++;
    }
}

/* What chance has left out so far: a kind of which nothing was cut in one of the ways gets a few more cuts. */
static void cut_missing(struct cuts *cuts, play_function play)
{
    struct passage passages[PASSAGES_MAX];
    unsigned count = play_once(cuts, play, passages);
    for (unsigned try = 0; try < MISSING_TRIES; try++)
        for (unsigned i = 0; i < count; i++)
            if (cuts->by_kind[passages[i].way][passages[i].kind] == 0) {
                uint32_t size = (uint32_t)(passages[i].end - passages[i].begin);
                play_and_cut(cuts, play, passages[i].way, passages[i].begin + 1 + stand_below(&cuts->stand, size));
            }
}

static void cut_family(struct cuts *cuts, const char *relay)
{
    bool longer = cuts->stand.longer;
    between_open(&cuts->between, &cuts->stand, cuts->base, relay);
    cut_all(cuts, play_all, KINDS, longer ? 0 : SHORT_CUTS / FAMILIES);
    cut_all(cuts, play_extension, (enum cut_kind)5, longer ? 0 : SHORT_EXTENSIONS / FAMILIES);
    cut_missing(cuts, play_all);
    cut_missing(cuts, play_extension);
    between_close(&cuts->between);
}

/* TOPIC holds the numbers from 0 to COUNT - 1, each once, in order (LETTERS: COUNT messages). */
static void check_topic(struct cuts *cuts, const char *topic, uint64_t count, bool letters)
{
    const char *const words[] = {"mrecv", "-r", "cuts", "-t", topic, "-e", "--template", "%{offset} %{body}\\n", NULL};
    char path[STAND_PATH];
    uint64_t offset, number, expected = 0, before = UINT64_MAX;
    snprintf(path, sizeof path, "%s/%s", cuts->stand.folder, topic);
    if (stand_run(&cuts->stand, words, topic) != 0)
        stand_give_up(&cuts->stand, "%s cannot be read", topic);
    FILE *file = fopen(path, "re");
    while (file && fscanf(file, "%" SCNu64 " %" SCNu64, &offset, &number) == 2) {
        if (offset != expected || (letters ? number <= before && expected > 0 : number != expected))
            stand_find(&cuts->stand, "%s: offset %" PRIu64 " holds number %" PRIu64, topic, offset, number);
        expected = offset + 1;
        before = number;
    }
    if (file)
        fclose(file);
    if (expected != count)
        stand_find(&cuts->stand, "%s holds %" PRIu64 " messages, not %" PRIu64, topic, expected, count);
}

static void check_end(struct cuts *cuts)
{
    static const char *const waits[][10] = {
        {"mrelay", "wait", "-r", "cuts", "-t", "cuts.in", "-g", "all", "--wait=10s", NULL},
        {"mrelay", "wait", "-r", "cuts", "-t", "cuts.tight", "-g", "all", "--wait=10s", NULL}};
    static const char *const audit[] = {"mtrace", "audit", "-r", "cuts", NULL};
    for (int i = 0; i < 2; i++)
        if (stand_run(&cuts->stand, waits[i], "waited") != 0)
            stand_find(&cuts->stand, "%s: something is not settled", waits[i][5]);
    check_topic(cuts, "cuts.in", cuts->stock.in, false);
    check_topic(cuts, "cuts.out", cuts->stock.out, false);
    check_topic(cuts, "cuts.later", cuts->stock.later, false);
    check_topic(cuts, "cuts.tight", cuts->stock.tight, false);
    check_topic(cuts, "cuts.in.dead", cuts->stock.letters, true);
    if (stand_run(&cuts->stand, audit, "audit") != 0)
        stand_find(&cuts->stand, "the audit finds something");
    for (int way = 0; way < WAYS; way++)
        for (int kind = 0; kind < KINDS; kind++)
            if (cuts->by_kind[way][kind] == 0)
                stand_find(&cuts->stand, "nothing was cut %s the relay in %s", way == TO_RELAY ? "to" : "from",
                           kind_names[kind]);
}

int main(int argc, char **argv)
{
    static struct cuts cuts;
    char ipc[STAND_PATH], tcp[STAND_PATH], tried[300], found[300];
    const struct timeval tick = {.tv_usec = 50 * 1000};
    stand_open(&cuts.stand, "cuts", argc, argv);
    cuts.base = event_base_new();
    struct event *ticking = event_new(cuts.base, -1, EV_PERSIST, on_tick, NULL);
    event_add(ticking, &tick);
    set_up(&cuts);
    stand_addresses(&cuts.stand, ipc, tcp);
    cut_family(&cuts, ipc);
    cut_family(&cuts, tcp);
    if (cuts.stand.found == 0)
        check_end(&cuts);
    stand_end_relay(&cuts.stand);
    event_free(ticking);
    event_base_free(cuts.base);
    uint64_t messages = cuts.stock.in + cuts.stock.out + cuts.stock.later + cuts.stock.tight + cuts.stock.letters;
    snprintf(tried, sizeof tried,
             "%u cuts, over a Unix socket and TCP, both ways, at %u places in %d kinds of request and reply; %" PRIu64
             " messages stored",
             cuts.count, cuts.places, KINDS, messages);
    snprintf(found, sizeof found,
             "%u wrong: lost, stored twice, out of order, charged for nothing; going on within %" PRId64 " ms",
             cuts.stand.found, cuts.longest / 1000);
    return stand_close(&cuts.stand, tried, found);
}
