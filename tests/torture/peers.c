/*
 * peers: msgpipe and other brokers, each killed with SIGKILL at random moments while one publisher has 64 messages under
 * way, started again, and read to the end: which of the messages that it had acknowledged are there, and how often.
 *
 *     [MSGPIPE_PEER=WORD] peers [--short|--long] [--tools DIRECTORY] [--seed N] [--keep]
 *
 * MSGPIPE_PEER: beside msgpipe only those whose name has this in it.
 *
 * After each kill what was not acknowledged is sent again, in order. What msgpipe does then is its client's; NATS is given
 * its Nats-Msg-Id; Redis, beanstalkd and MQTT have nothing that would know a repeat. This is a process that is killed: the
 * system's memory lives on, so what was written and not flushed is there. A loss of power is another matter.
 *
 * Only msgpipe can turn the trial red; what the others do is told. A table comes before the row; a broker that is not
 * installed is left out, and said to be.
 */
#include "peers.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <msgpipe.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum {
    WINDOW = 64,
    RATE = 10000,       /* a second: a start that takes long because there is much is not what is measured here */
    STARTS_WITHIN = 20, /* seconds */
    MESSAGES_MAX = 4000000
};

struct trial {
    struct stand stand;
    const struct peer *peer;
    pid_t broker;
    char folder[STAND_PATH];
    unsigned kills;
    struct talk talk;
    uint64_t next;   /* the message that comes next; those below talk.acknowledged are acknowledged */
    int64_t longest; /* until it served again */
};

static struct trial trial; /* a signal ends its broker */

static void on_signal(int number)
{
    if (trial.broker > 0)
        kill(trial.broker, SIGKILL);
    _exit(128 + number);
}

/* ---- the broker ------------------------------------------------------------------------------------------------ */

static void kill_broker(void)
{
    kill(trial.broker, SIGKILL);
    while (waitpid(trial.broker, NULL, 0) < 0 && errno == EINTR)
        ;
    trial.broker = 0;
}

static void put_folder(char *text, size_t size, const char *format)
{
    size_t used = 0;
    for (; *format && used + 1 < size; format++)
        if (format[0] == '%' && format[1] == 's') {
            used += (size_t)snprintf(text + used, size - used, "%s", trial.folder);
            format++;
        } else
            text[used++] = *format;
    text[used < size ? used : size - 1] = '\0';
}

static void configure(void)
{
    char path[STAND_PATH + 16], text[2000];
    snprintf(path, sizeof path, "%s/conf", trial.folder);
    put_folder(text, sizeof text, trial.peer->configuration ? trial.peer->configuration : "");
    FILE *file = fopen(path, "w");
    if (!file || fputs(text, file) < 0 || fclose(file) != 0)
        stand_give_up(&trial.stand, "%s cannot be written", path);
}

/* $NATS_SERVER may name another one than the first in $PATH, as for `make bench`. */
static const char *program_of(const struct peer *peer)
{
    const char *other = peer->tcp ? getenv("NATS_SERVER") : NULL;
    return other ? other : peer->program;
}

/* NULL: it can be tried; else why not. Its folder is there. */
static const char *what_is_missing(const struct peer *peer)
{
    if (peer->program[0] == '\0')
        return NULL;
    if (stand_shell(&trial.stand, "command -v '%s' > /dev/null", program_of(peer)) != 0)
        return "it is not installed";
    configure();
    if (peer->tcp &&
        stand_shell(&trial.stand, "'%s' -c '%s/conf' -t > /dev/null 2>&1", program_of(peer), trial.folder) != 0)
        return "this version has no such setting (NATS_SERVER can name another)";
    return NULL;
}

static void start_broker(void)
{
    char program[STAND_PATH + 8], words[8][STAND_PATH], log[STAND_PATH + 16];
    char *arguments[12] = {program}, *relay[] = {program, "-r", "peers", NULL};
    posix_spawn_file_actions_t actions;
    bool own = trial.peer->program[0] == '\0';
    snprintf(program, sizeof program, "%s%s%s", own ? trial.stand.tools : "", own && trial.stand.tools[0] ? "/" : "",
             own ? "mrelay" : program_of(trial.peer));
    for (unsigned i = 0; i < 8 && trial.peer->words[i]; i++) {
        put_folder(words[i], sizeof words[i], trial.peer->words[i]);
        arguments[i + 1] = words[i];
    }
    snprintf(log, sizeof log, "%s/log", trial.folder);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    int error = posix_spawnp(&trial.broker, program, &actions, NULL, own ? relay : arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error)
        stand_give_up(&trial.stand, "%s: %s", program, strerror(error));
}

static int connect_to(const void *name, socklen_t size)
{
    int end = socket(((const struct sockaddr *)name)->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (end >= 0 && connect(end, name, size) == 0)
        return end;
    close(end);
    return -1;
}

static int connect_unix(void)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof name.sun_path, "%.90s/sock", trial.folder);
    return connect_to(&name, sizeof name);
}

/* nats-server writes where it listens into a file with its process id. */
static int connect_tcp(void)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char path[STAND_PATH + 64], text[1000] = "";
    snprintf(path, sizeof path, "%s/nats-server_%ld.ports", trial.folder, (long)trial.broker);
    FILE *file = fopen(path, "r");
    size_t size = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file)
        fclose(file);
    text[size] = '\0';
    const char *at = strstr(text, "nats://127.0.0.1:");
    if (!at)
        return -1;
    name.sin_port = htons((uint16_t)strtoul(at + 17, NULL, 10));
    return connect_to(&name, sizeof name);
}

static void connect_talk(void)
{
    int64_t end = stand_now() + STARTS_WITHIN * INT64_C(1000000);
    trial.talk.ended = false;
    trial.talk.have = 0;
    while ((trial.talk.socket = trial.peer->tcp ? connect_tcp() : connect_unix()) < 0) {
        if (stand_now() > end)
            stand_give_up(&trial.stand, "%s does not start: its log is %s/log", trial.peer->name, trial.folder);
        poll(NULL, 0, 2);
    }
}

/* mosquitto keeps nothing for a session that it does not know: its consumer comes by first. */
static void subscribe_first(void)
{
    if (strcmp(trial.peer->program, "mosquitto") != 0)
        return;
    static const unsigned char subscribe[] = {0x10, 20, 0,   4,   'M', 'Q', 'T', 'T', 4,   0,   0,    0,
                                              0,    8,  'c', 'o', 'n', 's', 'u', 'm', 'e', 'r', 0x82, 10,
                                              0,    1,  0,   5,   'b', 'e', 'n', 'c', 'h', 1};
    connect_talk();
    talk_say(&trial.talk, subscribe, sizeof subscribe);
    while (trial.talk.have < 9 && talk_read(&trial.talk, 1000))
        ;
    close(trial.talk.socket);
}

static void start_and_greet(void)
{
    int64_t began = stand_now();
    start_broker();
    subscribe_first();
    connect_talk();
    trial.peer->greet(&trial.talk);
    trial.next = trial.talk.acknowledged; /* what was not acknowledged is sent again */
    if (stand_now() - began > trial.longest)
        trial.longest = stand_now() - began;
}

/* ---- what they do ---------------------------------------------------------------------------------------------- */

static void fill_window(void)
{
    while (trial.next < MESSAGES_MAX && trial.next - trial.talk.acknowledged < WINDOW)
        trial.peer->put(&trial.talk, trial.next++);
}

/* Publishes until END; MORE false: until all is acknowledged. */
static void publish(int64_t end, bool more)
{
    struct talk *talk = &trial.talk;
    int64_t began = stand_now();
    uint64_t first = trial.next;
    while (!talk->ended && stand_now() < end && (more || talk->acknowledged < trial.next)) {
        if (more && trial.next - first < (uint64_t)(stand_now() - began) / (1000000 / RATE))
            fill_window();
        if (talk_read(talk, 2))
            trial.peer->hear(talk);
    }
}

static void kill_and_hear(void)
{
    kill_broker();
    while (talk_read(&trial.talk, 0)) /* acknowledgements that had arrived */
        trial.peer->hear(&trial.talk);
    trial.peer->hear(&trial.talk);
    close(trial.talk.socket);
}

static void try_peer(const char *came)
{
    start_and_greet();
    for (unsigned i = 0; i < trial.kills; i++) {
        publish(stand_now() + 10000 + stand_below(&trial.stand, 150000), true);
        fill_window(); /* so that something is under way, and perhaps done by half */
        int64_t moment = stand_now() + stand_below(&trial.stand, 2000);
        while (stand_now() < moment)
            ;
        kill_and_hear();
        start_and_greet();
    }
    publish(stand_now() + 200000, true);
    publish(stand_now() + STARTS_WITHIN * INT64_C(1000000), false);
    kill_and_hear();
    start_and_greet();
    if (strcmp(trial.peer->program, "mosquitto") == 0) { /* the consumer's own greeting */
        close(trial.talk.socket);
        connect_talk();
    }
    int file = open(came, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    trial.peer->drain(&trial.talk, file);
    close(file);
    close(trial.talk.socket);
    kill_broker();
}

/* Gives the client 64 messages more, and kills the relay at KILL_AT while they are under way. */
static void publish_some(struct mp_client *client, int64_t *kill_at)
{
    int64_t end = stand_now() + STARTS_WITHIN * INT64_C(1000000), killed = 0;
    for (unsigned i = 0; i < WINDOW; i++) {
        char body[PEERS_BODY + 8];
        snprintf(body, sizeof body, "<m%012" PRIu64 ">", trial.next++);
        struct mp_message *message = mp_message_new(body, PEERS_BODY);
        if (!message || mp_publish(client, "bench", message) != MP_OK)
            stand_give_up(&trial.stand, "a message cannot be published: %s", mp_reason(client));
    }
    enum mp_error error;
    while ((error = mp_flush(client, 1)) == MP_ERR_TIMEOUT && stand_now() < end)
        if (stand_now() >= *kill_at) {
            kill_broker();
            killed = stand_now();
            start_broker();
            *kill_at = INT64_MAX;
        }
    if (error != MP_OK)
        stand_give_up(&trial.stand, "what was published is not acknowledged: %s", mp_reason(client));
    if (killed > 0 && stand_now() - killed > trial.longest)
        trial.longest = stand_now() - killed;
    trial.talk.acknowledged = trial.next;
}

/* msgpipe's own client connects again and repeats by itself. */
static void try_msgpipe(const char *came)
{
    struct mp_client *client;
    start_broker();
    if (mp_open(&client, "peers", STARTS_WITHIN * 1000) != MP_OK)
        stand_give_up(&trial.stand, "the relay does not serve: %s", mp_reason(NULL));
    for (unsigned i = 0; i < trial.kills; i++) {
        int64_t kill_at = stand_now() + 10000 + stand_below(&trial.stand, 150000);
        while (kill_at < INT64_MAX) {
            publish_some(client, &kill_at);
            poll(NULL, 0, 1000 * WINDOW / RATE);
        }
    }
    mp_close(client);
    kill_broker();
    start_broker();
    if (stand_shell(&trial.stand, "'%s%smrecv' -r peers -t bench -e --wait 20s > '%s'", trial.stand.tools,
                    trial.stand.tools[0] ? "/" : "", came) != 0)
        stand_find(&trial.stand, "what is stored cannot be read");
    kill_broker();
}

/* ---- what there is --------------------------------------------------------------------------------------------- */

struct count {
    uint64_t stored, lost, twice, reordered;
};

/* Looks for bodies in the bytes of the file CAME. */
static struct count count_stored(const char *came)
{
    struct count count = {0};
    uint8_t *seen = calloc(MESSAGES_MAX, 1);
    FILE *file = fopen(came, "r");
    uint64_t highest = 0;
    int letter;
    if (!seen || !file)
        stand_give_up(&trial.stand, "%s cannot be read", came);
    while ((letter = getc(file)) != EOF) {
        unsigned long long number;
        if (letter != '<' || fscanf(file, "m%12llu>", &number) != 1 || number >= MESSAGES_MAX)
            continue;
        count.stored++;
        if (seen[number])
            count.twice++;
        else if (number + 1 < highest)
            count.reordered++;
        seen[number] = 1;
        highest = number + 1 > highest ? number + 1 : highest;
    }
    fclose(file);
    for (uint64_t i = 0; i < trial.talk.acknowledged; i++)
        count.lost += !seen[i];
    free(seen);
    return count;
}

/* True when it was tried. */
static bool run_peer(const struct peer *peer, unsigned number, struct count *count)
{
    char came[STAND_PATH + 16];
    trial.peer = peer;
    trial.next = trial.talk.acknowledged = 0;
    trial.longest = 0;
    snprintf(trial.folder, sizeof trial.folder, "%s/%u", trial.stand.folder, number);
    snprintf(came, sizeof came, "%s/came", trial.folder);
    if (stand_shell(&trial.stand, "mkdir '%s' && chmod 777 '%s'", trial.folder, trial.folder) != 0)
        stand_give_up(&trial.stand, "no folder");
    const char *missing = what_is_missing(peer);
    if (missing) {
        printf("| %s | | not tried: %s | | | | |\n", peer->name, missing);
        return false;
    }
    (peer->program[0] ? try_peer : try_msgpipe)(came);
    *count = count_stored(came);
    printf("| %s | %s | %" PRIu64 " | %" PRIu64 " | %" PRIu64 " | %" PRIu64 " | %" PRId64 " ms |\n", peer->name,
           peer->means, trial.talk.acknowledged, count->lost, count->twice, count->reordered, trial.longest / 1000);
    return true;
}

int main(int argc, char **argv)
{
    char tried[400], found[400];
    unsigned peers_tried = 0;
    uint64_t messages = 0;
    struct count own = {0}, count = {0};
    setvbuf(stdout, NULL, _IOLBF, 0);
    stand_open(&trial.stand, "peers", argc, argv);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    trial.kills = trial.stand.longer ? 100 : 2;
    trial.talk.in = calloc(1, PEERS_INPUT);
    if (!trial.talk.in)
        stand_give_up(&trial.stand, "no memory");
    printf("| broker | acknowledged means | acknowledged | lost | twice | out of order | serves again |\n"
           "| --- | --- | ---: | ---: | ---: | ---: | ---: |\n");
    const char *only = getenv("MSGPIPE_PEER");
    for (unsigned i = 0; i < peers_count; i++) {
        if (only && i > 0 && !strstr(peers[i].name, only))
            continue;
        if (!trial.stand.longer && !only && i > 0 && strcmp(peers[i].program, "redis-server") != 0)
            continue; /* the others start slowly */
        bool done = run_peer(&peers[i], i, &count);
        peers_tried += done && i > 0;
        messages += done ? trial.talk.acknowledged : 0;
        if (i == 0)
            own = count;
    }
    free(trial.talk.in);
    if (own.lost + own.twice + own.reordered > 0)
        stand_find(&trial.stand, "msgpipe has lost %" PRIu64 ", stored %" PRIu64 " twice and %" PRIu64 " out of order",
                   own.lost, own.twice, own.reordered);
    snprintf(tried, sizeof tried, "msgpipe and %u peers, each killed %u times; %" PRIu64 " messages acknowledged",
             peers_tried, trial.kills + 1, messages);
    snprintf(found, sizeof found,
             "msgpipe: %" PRIu64 " lost, %" PRIu64 " twice, %" PRIu64 " out of order; the peers' in the table",
             own.lost, own.twice, own.reordered);
    return stand_close(&trial.stand, tried, found);
}
