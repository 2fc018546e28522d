/*
 * network: clients in other network namespaces, and what happens to the links between them and their relay.
 *
 *     network [--short|--long] [--tools DIRECTORY] [--seed N] [--keep]
 *
 * Three sites, each a namespace with a link of its own, a producer, a consumer in a group of its own and one in a group
 * that all share; a fourth crew is on the relay's machine. Each site goes through its list of episodes: its link is cut;
 * packets are dropped by chance (nft); it is slow (tc tbf); or a firewall on it has forgotten every connection that there
 * is, and lets only new ones through. When the link is back the producer must have an acknowledgement, and the consumer a
 * settlement, within two seconds (when connections were forgotten, in the short form two and a half). At the end of the long form a site vanishes with
 * all that runs there: the relay must end its connections. The checker accounts for every message.
 *
 * Needs Linux, ip, ss, tc, nft, unshare and nsenter, and namespaces that this user may make.
 */
#include "crew.h"
#include "history.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SITES = 3, PORT = 7777, RATE = 60, MILLISECOND = 1000 };
enum {
    BACK_LIMIT = 2000,
    FORGOTTEN_LIMIT = 2500,
    GIVE_UP = 20000,
    CALM = 250,
    GONE_LIMIT = 35000,
    EXCUSED = 100
}; /* ms */

/* A link that is fast again keeps what waits for it. */
#define FAST "tbf rate 1gbit burst 1mb latency 400ms"

enum trouble { CUT, DROP, SLOW, FORGET, TROUBLES };

struct episode {
    enum trouble trouble;
    unsigned length;   /* ms */
    unsigned strength; /* DROP: per cent; SLOW: kbit/s */
};

static const struct episode short_lists[SITES][8] = {
    {{CUT, 700, 0}, {CUT, 3500, 0}},
    {{FORGET, 0, 0}, {DROP, 1000, 10}},
    {{SLOW, 1200, 256}, {DROP, 1500, 15}},
};
static const struct episode long_lists[SITES][16] = {
    {{CUT, 300, 0},
     {CUT, 1000, 0},
     {CUT, 2000, 0},
     {CUT, 3000, 0},
     {CUT, 4000, 0},
     {CUT, 5000, 0},
     {CUT, 8000, 0},
     {CUT, 13000, 0},
     {CUT, 21000, 0},
     {CUT, 34000, 0},
     {CUT, 60000, 0},
     {CUT, 75000, 0}},
    {{FORGET, 0, 0},
     {DROP, 15000, 1},
     {FORGET, 0, 0},
     {DROP, 15000, 5},
     {DROP, 15000, 10},
     {FORGET, 0, 0},
     {DROP, 15000, 20},
     {DROP, 15000, 30},
     {FORGET, 0, 0},
     {DROP, 15000, 40},
     {DROP, 15000, 50},
     {FORGET, 0, 0}},
    {{SLOW, 15000, 1000},
     {SLOW, 15000, 256},
     {SLOW, 20000, 64},
     {CUT, 1500, 0},
     {CUT, 2500, 0},
     {CUT, 3500, 0},
     {SLOW, 15000, 256},
     {CUT, 6000, 0},
     {CUT, 7000, 0},
     {CUT, 10000, 0},
     {CUT, 15000, 0},
     {CUT, 25000, 0},
     {CUT, 45000, 0}},
};

enum phase { IS_CALM, IN_TROUBLE, IS_BACK, IS_DONE };

struct site {
    unsigned number;
    pid_t holder; /* keeps its namespace */
    char enter[16];
    const char *prefix[5]; /* the words before what is to run there */
    struct crew_member *producer, *own, *shared;
    const struct episode *episode, *end;
    enum phase phase;
    int64_t until, back, excused;
    bool waits[2]; /* for the producer, for the consumer */
};

struct network {
    struct stand stand;
    struct crew crew;
    struct site sites[SITES];
    unsigned counts[TROUBLES];
    int64_t longest[TROUBLES]; /* µs until it went on */
    unsigned vanished;
};

static const char *const trouble_names[TROUBLES] = {"a cut", "dropped packets", "a slow link",
                                                    "a forgotten connection"};

/* ---- namespaces ------------------------------------------------------------------------------------------------ */

static bool write_text(const char *path, const char *text)
{
    int file = open(path, O_WRONLY | O_CLOEXEC);
    bool written = file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text);
    if (file >= 0)
        close(file);
    return written;
}

/* This program, and all that it starts, gets a network of its own: the relay's machine. */
static void leave_network(struct stand *stand)
{
    char map[64];
    unsigned user = getuid(), group = getgid();
    if (user == 0 && unshare(CLONE_NEWNET) == 0)
        return;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
        stand_skip(stand, "no network namespaces here: %s", strerror(errno));
    write_text("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "0 %u 1", user);
    bool mapped = write_text("/proc/self/uid_map", map);
    snprintf(map, sizeof map, "0 %u 1", group);
    if (!mapped || !write_text("/proc/self/gid_map", map))
        stand_skip(stand, "no user namespaces here");
}

static bool same_network(pid_t pid)
{
    char path[64], one[64] = "", other[64] = "";
    snprintf(path, sizeof path, "/proc/%ld/ns/net", (long)pid);
    return readlink("/proc/self/ns/net", one, sizeof one - 1) <= 0 || readlink(path, other, sizeof other - 1) <= 0 ||
           strcmp(one, other) == 0;
}

static void check_tools(struct stand *stand)
{
    static const char *const needed[] = {"ip", "ss", "tc", "nft", "unshare", "nsenter"};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (stand_shell(stand, "command -v %s", needed[i]) != 0)
            stand_skip(stand, "there is no %s here", needed[i]);
    if (stand_shell(
            stand, "ip link set lo up && nft add table inet try && nft delete table inet try && "
                   "tc qdisc add dev lo root tbf rate 1mbit burst 16kb latency 100ms && tc qdisc del dev lo root") != 0)
        stand_skip(stand, "this kernel, or this user, has no nft or tc");
}

static void make_site(struct network *network, unsigned number)
{
    static const char *const hold[] = {"unshare", "-n", "sleep", "infinity", NULL};
    struct stand *stand = &network->stand;
    struct site *site = &network->sites[number];
    *site = (struct site){.number = number, .holder = stand_start(stand, hold, "commands")};
    snprintf(site->enter, sizeof site->enter, "%ld", (long)site->holder);
    const char *const prefix[] = {"nsenter", "-t", site->enter, "-n", NULL};
    memcpy(site->prefix, prefix, sizeof prefix);
    for (int64_t began = stand_now(); same_network(site->holder); poll(NULL, 0, 5))
        if (stand_now() - began > GIVE_UP * MILLISECOND)
            stand_give_up(stand, "a namespace does not come");
    if (stand_shell(stand,
                    "ip link add hub%u type veth peer name out netns %s && ip addr add 10.77.%u.1/24 dev hub%u && "
                    "ip link set hub%u up",
                    number, site->enter, number, number, number) != 0 ||
        stand_shell(stand,
                    "nsenter -t %s -n sh -c 'ip link set lo up; ip addr add 10.77.%u.2/24 dev out && "
                    "ip link set out up && nft add table inet t && "
                    "nft add chain inet t in \"{type filter hook input priority 0;}\" && "
                    "nft add chain inet t out \"{type filter hook output priority 0;}\"'",
                    site->enter, number) != 0)
        stand_skip(stand, "the links between namespaces cannot be made");
}

/* ---- trouble --------------------------------------------------------------------------------------------------- */

static void begin_trouble(struct network *network, struct site *site)
{
    struct stand *stand = &network->stand;
    const struct episode *episode = site->episode;
    int code = 0;
    crew_excuse(&network->crew, site->own, "cut", true);
    crew_excuse(&network->crew, site->shared, "cut", true);
    switch (episode->trouble) {
    case CUT:
        code = stand_shell(stand, "ip link set hub%u down", site->number);
        break;
    case DROP:
        code = stand_shell(stand,
                           "nsenter -t %s -n sh -c 'nft add rule inet t in meta iifname out numgen random mod 100 "
                           "\\< %u drop; nft add rule inet t out meta oifname out numgen random mod 100 \\< %u drop'",
                           site->enter, episode->strength, episode->strength);
        break;
    case SLOW:
        code = stand_shell(stand,
                           "tc qdisc replace dev hub%u root tbf rate %ukbit burst 16kb latency 400ms; "
                           "nsenter -t %s -n tc qdisc replace dev out root tbf rate %ukbit burst 16kb latency 400ms",
                           site->number, episode->strength, site->enter, episode->strength);
        break;
    default:
        code = stand_shell(stand,
                           "nsenter -t %s -n sh -c 'ports=$(ss -Htn state established | sed -E \"s/^ *[0-9]+ +[0-9]+ "
                           "+[^ ]*:([0-9]+) .*/\\1/\" | paste -s -d , -); "
                           "nft add rule inet t in tcp dport \"{$ports}\" drop; nft add rule inet t out tcp sport "
                           "\"{$ports}\" drop'",
                           site->enter);
    }
    if (code != 0)
        stand_give_up(stand, "%s cannot be made", trouble_names[episode->trouble]);
    site->phase = IN_TROUBLE;
    site->until = stand_now() + (int64_t)episode->length * MILLISECOND;
}

static void end_trouble(struct network *network, struct site *site)
{
    struct stand *stand = &network->stand;
    int code = 0;
    site->back = stand_now();
    if (site->episode->trouble == CUT)
        code = stand_shell(stand, "ip link set hub%u up", site->number);
    else if (site->episode->trouble == DROP)
        code = stand_shell(stand, "nsenter -t %s -n sh -c 'nft flush chain inet t in; nft flush chain inet t out'",
                           site->enter);
    else if (site->episode->trouble == SLOW)
        code = stand_shell(
            stand, "tc qdisc change dev hub%u root " FAST "; nsenter -t %s -n tc qdisc change dev out root " FAST,
            site->number, site->enter);
    if (code != 0)
        stand_give_up(stand, "%s cannot be ended", trouble_names[site->episode->trouble]);
    if (site->episode->trouble != FORGET)
        site->back = stand_now(); /* the commands take their time */
    crew_excuse(&network->crew, site->own, "cut", true);
    crew_excuse(&network->crew, site->shared, "cut", true);
    site->phase = IS_BACK;
    site->waits[0] = site->waits[1] = true;
}

static void expect_going_on(struct network *network, struct site *site)
{
    const struct episode *episode = site->episode;
    int64_t limit = episode->trouble == FORGET && !network->stand.longer ? FORGOTTEN_LIMIT : BACK_LIMIT;
    for (unsigned i = 0; i < 2; i++) {
        struct crew_member *member = i == 0 ? site->producer : site->own;
        int64_t when = site->waits[i] ? crew_confirmed(member, site->back) : 0;
        bool late = site->waits[i] && when == 0 && stand_now() - site->back > GIVE_UP * MILLISECOND;
        int64_t took = when - site->back;
        if (when == 0 && !late)
            continue;
        site->waits[i] = false;
        if (late || took > limit * MILLISECOND)
            stand_find(&network->stand, "after %s of %u ms (%u) %s went on after %s%lld ms",
                       trouble_names[episode->trouble], episode->length, episode->strength, member->name,
                       late ? "more than " : "", (long long)(late ? GIVE_UP : took / MILLISECOND));
        if (!late && took > network->longest[episode->trouble])
            network->longest[episode->trouble] = took;
    }
    if (site->waits[0] || site->waits[1])
        return;
    network->counts[episode->trouble]++;
    site->until = stand_now() + CALM * MILLISECOND;
    site->phase = ++site->episode == site->end ? IS_DONE : IS_CALM;
}

/* What its consumers get while there is trouble may be for others a moment later. */
static void excuse(struct network *network, struct site *site)
{
    if (stand_now() - site->excused < EXCUSED * MILLISECOND)
        return;
    site->excused = stand_now();
    crew_excuse(&network->crew, site->own, "cut", false);
    crew_excuse(&network->crew, site->shared, "cut", false);
}

static void go_on(struct network *network, struct site *site)
{
    if (site->phase == IS_CALM && stand_now() >= site->until)
        begin_trouble(network, site);
    else if (site->phase == IN_TROUBLE && stand_now() >= site->until)
        end_trouble(network, site);
    else if (site->phase == IN_TROUBLE)
        excuse(network, site);
    else if (site->phase == IS_BACK)
        expect_going_on(network, site);
}

static void go_through_episodes(struct network *network)
{
    for (unsigned done = 0; done < SITES;) {
        done = 0;
        for (unsigned i = 0; i < SITES; i++) {
            go_on(network, &network->sites[i]);
            done += network->sites[i].phase == IS_DONE;
        }
        crew_look(&network->crew);
        poll(NULL, 0, 10);
    }
}

/* ---- a site that vanishes -------------------------------------------------------------------------------------- */

static void vanish(struct network *network, struct site *site)
{
    struct stand *stand = &network->stand;
    struct crew_member *const members[] = {site->producer, site->own, site->shared};
    uint64_t before = stand_status(stand, "connections"), left;
    if (stand_shell(stand, "ip link set hub%u down", site->number) != 0)
        stand_give_up(stand, "a link cannot be cut");
    int64_t began = stand_now();
    for (int i = 0; i < 3; i++) {
        crew_excuse(&network->crew, members[i], "cut", true);
        kill(members[i]->pid, SIGKILL);
        waitpid(members[i]->pid, NULL, 0);
        members[i]->pid = 0;
    }
    while ((left = stand_status(stand, "connections")) + 3 > before) {
        if (stand_now() - began > GONE_LIMIT * MILLISECOND) {
            stand_find(stand, "the relay still has %u of %u connections, %d s after a site has vanished",
                       (unsigned)left, (unsigned)before, GONE_LIMIT / 1000);
            return;
        }
        poll(NULL, 0, 200);
    }
    network->vanished = (unsigned)((stand_now() - began) / MILLISECOND);
    crew_consume(&network->crew, NULL, stand->relay_name, "heir", site->own->group, "net.>");
}

/* ---- all of it ------------------------------------------------------------------------------------------------- */

static void start_crews(struct network *network)
{
    static const char *const names[SITES][4] = {
        {"pa", "ca", "sa", "own.a"}, {"pb", "cb", "sb", "own.b"}, {"pc", "cc", "sc", "own.c"}};
    static const char topics[] = "net.plain,net.keys:k";
    struct crew *crew = &network->crew;
    bool longer = network->stand.longer;
    crew_make_group(crew, "shared", "net.>", "order=key", "order");
    for (unsigned i = 0; i < SITES; i++)
        crew_make_group(crew, names[i][3], "net.>", "", "");
    for (unsigned i = 0; i < SITES; i++) {
        struct site *site = &network->sites[i];
        char url[64];
        snprintf(url, sizeof url, "tcp://10.77.%u.1:%d", i, PORT);
        site->producer = crew_produce(crew, site->prefix, url, names[i][0], topics, RATE);
        site->own = crew_consume(crew, site->prefix, url, names[i][1], names[i][3], "net.>");
        site->shared = crew_consume(crew, site->prefix, url, names[i][2], "shared", "net.>");
        site->episode = site->end = longer ? long_lists[i] : short_lists[i];
        for (unsigned most = longer ? 16 : 8; most > 0 && (site->end->length > 0 || site->end->trouble == FORGET);
             most--)
            site->end++;
        site->phase = IS_CALM;
    }
    crew_produce(crew, NULL, network->stand.relay_name, "ph", topics, RATE);
    crew_consume(crew, NULL, network->stand.relay_name, "sh", "shared", "net.>");
    for (unsigned i = 0; i < crew->count; i++)
        if (crew_await(crew, &crew->members[i], 0, stand_now() + GIVE_UP * MILLISECOND) < 0)
            stand_give_up(&network->stand, "%s does not begin", crew->members[i].name);
}

int main(int argc, char **argv)
{
    static struct network network;
    struct stand *stand = &network.stand;
    const char *const options[] = {"--insecure", "-l", "tcp://0.0.0.0:7777", "--lease", "10s", NULL};
    char counts[300], tried[700], found[300];
    stand_open(stand, "network", argc, argv);
    leave_network(stand);
    check_tools(stand);
    crew_open(&network.crew, stand, argv[0]);
    for (unsigned i = 0; i < SITES; i++)
        make_site(&network, i);
    stand_start_relay(stand, options, 0);
    start_crews(&network);
    go_through_episodes(&network);
    if (stand->longer)
        vanish(&network, &network.sites[SITES - 1]);
    crew_wind_up(&network.crew, stand->longer ? 300 : 60, counts, sizeof counts);
    stand_end_relay(stand);
    snprintf(tried, sizeof tried,
             "%u cuts of a link, %u times dropped packets, %u slow links, %u firewalls without memory; %s",
             network.counts[CUT], network.counts[DROP], network.counts[SLOW], network.counts[FORGET], counts);
    snprintf(
        found, sizeof found,
        "%u wrong; the link back, it went on within %lld ms (cut), %lld (dropped packets), %lld (slow); connections "
        "forgotten, within %lld%s",
        stand->found, (long long)network.longest[CUT] / 1000, (long long)network.longest[DROP] / 1000,
        (long long)network.longest[SLOW] / 1000, (long long)network.longest[FORGET] / 1000, "");
    if (network.vanished > 0)
        snprintf(found + strlen(found), sizeof found - strlen(found),
                 "; connections of a vanished host ended after %u ms", network.vanished);
    return stand_close(stand, tried, found);
}
