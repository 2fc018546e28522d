#include "peers.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { QUIET = 2000 /* milliseconds: nothing more comes */ };

void talk_say(struct talk *talk, const void *bytes, size_t size)
{
    const char *at = bytes;
    while (size > 0 && !talk->ended) {
        ssize_t some = send(talk->socket, at, size, MSG_NOSIGNAL);
        if (some < 0 && errno == EINTR)
            continue;
        if (some < 0) {
            talk->ended = true;
            return;
        }
        at += some;
        size -= (size_t)some;
    }
}

void talk_format(struct talk *talk, const char *format, ...)
{
    char text[1000];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (size > 0 && (size_t)size < sizeof text)
        talk_say(talk, text, (size_t)size);
}

bool talk_read(struct talk *talk, int milliseconds)
{
    struct pollfd wait = {.fd = talk->socket, .events = POLLIN};
    if (talk->ended || talk->have == PEERS_INPUT - 1 || poll(&wait, 1, milliseconds) <= 0)
        return false;
    ssize_t some = recv(talk->socket, talk->in + talk->have, PEERS_INPUT - 1 - talk->have, 0);
    if (some <= 0) {
        talk->ended = some == 0 || errno != EINTR;
        return false;
    }
    talk->have += (size_t)some;
    talk->in[talk->have] = '\0';
    return true;
}

void talk_drop(struct talk *talk, size_t size)
{
    memmove(talk->in, talk->in + size, talk->have - size);
    talk->have -= size;
    talk->in[talk->have] = '\0';
}

/* The length of the first line with its end; 0: it is not all there. */
static size_t line_size(const char *bytes, size_t have)
{
    const char *end = memchr(bytes, '\n', have);
    return end ? (size_t)(end - bytes) + 1 : 0;
}

/* Lines that begin with WORD are acknowledgements. */
static void hear_lines(struct talk *talk, const char *word)
{
    size_t at = 0, size;
    for (; (size = line_size(talk->in + at, talk->have - at)) > 0; at += size)
        talk->acknowledged += strncmp(talk->in + at, word, strlen(word)) == 0;
    talk_drop(talk, at);
}

static void copy(const void *bytes, size_t size, int descriptor)
{
    const char *at = bytes;
    while (size > 0) {
        ssize_t some = write(descriptor, at, size);
        if (some <= 0)
            return;
        at += some;
        size -= (size_t)some;
    }
}

/* What comes until nothing does is what there is. */
static void drain_quietly(struct talk *talk, int descriptor)
{
    while (talk_read(talk, QUIET)) {
        copy(talk->in, talk->have, descriptor);
        talk_drop(talk, talk->have);
    }
}

static void greet_nobody(struct talk *talk)
{
    (void)talk;
}

/* ---- Redis Streams: RESP --------------------------------------------------------------------------------------- */

/* A server that is still reading its files answers, and refuses everything. */
static void redis_greet(struct talk *talk)
{
    do {
        talk_drop(talk, talk->have);
        talk_format(talk, "*1\r\n$4\r\nPING\r\n");
    } while (talk_read(talk, QUIET) && !strstr(talk->in, "PONG"));
    talk_drop(talk, talk->have);
}

static void redis_put(struct talk *talk, uint64_t number)
{
    talk_format(talk, "*5\r\n$4\r\nXADD\r\n$5\r\nbench\r\n$1\r\n*\r\n$1\r\nd\r\n$15\r\n<m%012" PRIu64 ">\r\n", number);
}

/* The reply to an XADD is the new id's length, and it. */
static void redis_hear(struct talk *talk)
{
    hear_lines(talk, "$");
}

static void redis_drain(struct talk *talk, int descriptor)
{
    talk_format(talk, "*4\r\n$6\r\nXRANGE\r\n$5\r\nbench\r\n$1\r\n-\r\n$1\r\n+\r\n");
    drain_quietly(talk, descriptor);
}

/* ---- beanstalkd ------------------------------------------------------------------------------------------------ */

static void beanstalk_put(struct talk *talk, uint64_t number)
{
    talk_format(talk, "put 0 0 600 15\r\n<m%012" PRIu64 ">\r\n", number);
}

static void beanstalk_hear(struct talk *talk)
{
    hear_lines(talk, "INSERTED ");
}

/* A job, which is two lines, or the news that there is none; false: neither came. */
static bool beanstalk_reserve(struct talk *talk)
{
    talk_format(talk, "reserve-with-timeout 0\r\n");
    while (!memchr(talk->in, '>', talk->have) && !strstr(talk->in, "TIMED_OUT") && !strstr(talk->in, "SOON"))
        if (!talk_read(talk, QUIET))
            return false;
    return memchr(talk->in, '>', talk->have) != NULL;
}

static void beanstalk_drain(struct talk *talk, int descriptor)
{
    for (; beanstalk_reserve(talk); talk_drop(talk, talk->have))
        copy(talk->in, talk->have, descriptor);
}

/* ---- mosquitto: MQTT 3.1.1 ------------------------------------------------------------------------------------- */

static void mqtt_connect(struct talk *talk, const char *client, bool clean)
{
    size_t name = strlen(client);
    unsigned char head[] = {0x10, (unsigned char)(12 + name), 0, 4, 'M', 'Q', 'T', 'T', 4, clean ? 2 : 0, 0, 0,
                            0,    (unsigned char)name};
    talk_say(talk, head, sizeof head);
    talk_say(talk, client, name);
    while (talk->have < 4 && talk_read(talk, QUIET))
        ;
    talk_drop(talk, talk->have < 4 ? talk->have : 4);
}

static void mqtt_greet(struct talk *talk)
{
    mqtt_connect(talk, "publisher", true);
}

static void mqtt_put(struct talk *talk, uint64_t number)
{
    unsigned identifier = (unsigned)(number % 65535) + 1;
    char body[PEERS_BODY + 8];
    unsigned char packet[9 + 2 + PEERS_BODY] = {0x32,
                                                sizeof packet - 2,
                                                0,
                                                5,
                                                'b',
                                                'e',
                                                'n',
                                                'c',
                                                'h',
                                                (unsigned char)(identifier >> 8),
                                                (unsigned char)identifier};
    snprintf(body, sizeof body, "<m%012" PRIu64 ">", number);
    memcpy(packet + 11, body, PEERS_BODY);
    talk_say(talk, packet, sizeof packet);
}

/* A PUBACK has four bytes. */
static void mqtt_hear(struct talk *talk)
{
    size_t at = 0;
    for (; talk->have - at >= 4; at += 4)
        talk->acknowledged += (unsigned char)talk->in[at] == 0x40;
    talk_drop(talk, at);
}

/* The bytes of the first packet; 0: it is not all there. Ours are never longer than 127 bytes. */
static size_t mqtt_packet(const struct talk *talk)
{
    size_t size = talk->have >= 2 ? 2 + (size_t)(unsigned char)talk->in[1] : 0;
    return size <= talk->have ? size : 0;
}

static void mqtt_drain(struct talk *talk, int descriptor)
{
    static const unsigned char subscribe[] = {0x82, 10, 0, 1, 0, 5, 'b', 'e', 'n', 'c', 'h', 1};
    mqtt_connect(talk, "consumer", false);
    talk_say(talk, subscribe, sizeof subscribe);
    do
        for (size_t size; (size = mqtt_packet(talk)) > 0; talk_drop(talk, size)) {
            unsigned char answer[] = {0x40, 2, (unsigned char)talk->in[9], (unsigned char)talk->in[10]};
            if (((unsigned char)talk->in[0] & 0xf0) != 0x30)
                continue;
            copy(talk->in, size, descriptor);
            talk_say(talk, answer, sizeof answer);
        }
    while (talk_read(talk, QUIET));
}

/* ---- NATS JetStream -------------------------------------------------------------------------------------------- */

static void nats_greet(struct talk *talk)
{
    static const char stream[] = "{\"name\":\"bench\",\"subjects\":[\"bench\"],\"storage\":\"file\"}";
    talk_format(talk, "CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\nSUB ack.* 1\r\n");
    talk_format(talk, "PUB $JS.API.STREAM.CREATE.bench ignored %zu\r\n%s\r\nPING\r\n", sizeof stream - 1, stream);
    while (!strstr(talk->in, "PONG") && talk_read(talk, QUIET))
        ;
    talk_drop(talk, talk->have);
}

/* With its own means against duplicates. */
static void nats_put(struct talk *talk, uint64_t number)
{
    char head[80];
    int size = snprintf(head, sizeof head, "NATS/1.0\r\nNats-Msg-Id: %" PRIu64 "\r\n\r\n", number);
    talk_format(talk, "HPUB bench ack.%" PRIu64 " %d %d\r\n%s<m%012" PRIu64 ">\r\n", number, size, size + PEERS_BODY,
                head, number);
}

/* An acknowledgement is a message with the stream's name and the place; they come in order. */
static void nats_hear(struct talk *talk)
{
    size_t at = 0, size, body;
    while ((size = line_size(talk->in + at, talk->have - at)) > 0) {
        const char *line = talk->in + at, *last = line + size;
        body = 0;
        if (strncmp(line, "MSG ", 4) == 0 || strncmp(line, "HMSG ", 5) == 0) {
            while (last > line && last[-1] != ' ')
                last--;
            body = strtoul(last, NULL, 10) + 2;
            if (talk->have - at < size + body)
                break;
            unsigned long long number = 0;
            if (sscanf(line, "MSG ack.%llu ", &number) == 1 && number == talk->acknowledged &&
                memmem(line + size, body, "\"stream\"", 8) && !memmem(line + size, body, "\"error\"", 7))
                talk->acknowledged = number + 1;
        } else if (strncmp(line, "PING", 4) == 0)
            talk_say(talk, "PONG\r\n", 6);
        at += size + body;
    }
    talk_drop(talk, at);
}

static void nats_drain(struct talk *talk, int descriptor)
{
    static const char consumer[] = "{\"stream_name\":\"bench\",\"config\":{\"deliver_subject\":\"d\",\"ack_policy\":"
                                   "\"none\",\"deliver_policy\":\"all\"}}";
    talk_format(talk, "SUB d 2\r\nPUB $JS.API.CONSUMER.CREATE.bench ignored %zu\r\n%s\r\n", sizeof consumer - 1,
                consumer);
    drain_quietly(talk, descriptor);
}

/* ---- all of them ----------------------------------------------------------------------------------------------- */

#define MOSQUITTO                                                                                                      \
    "listener 0 %s/sock\nallow_anonymous true\npersistence true\npersistence_location %s/\nmax_queued_messages 0\n"    \
    "max_inflight_messages 1000\nlog_type error\nuser root\n"
#define NATS "listen: \"127.0.0.1:-1\"\nports_file_dir: \"%s\"\njetstream {\n  store_dir: \"%s/store\"\n"

const struct peer peers[] = {
    {.name = "msgpipe", .means = "flushed", .program = ""},
    {.name = "NATS JetStream",
     .means = "written; flushed every two minutes",
     .program = "nats-server",
     .words = {"-c", "%s/conf"},
     .configuration = NATS "}\n",
     .tcp = true,
     .greet = nats_greet,
     .put = nats_put,
     .hear = nats_hear,
     .drain = nats_drain},
    {.name = "NATS JetStream, `sync_interval: always`",
     .means = "flushed",
     .program = "nats-server",
     .words = {"-c", "%s/conf"},
     .configuration = NATS "  sync_interval: always\n}\n",
     .tcp = true,
     .greet = nats_greet,
     .put = nats_put,
     .hear = nats_hear,
     .drain = nats_drain},
    {.name = "Redis Streams, `appendfsync everysec`",
     .means = "written within a second",
     .program = "redis-server",
     .words = {"%s/conf"},
     .configuration = "port 0\nunixsocket %s/sock\ndir %s\nsave \"\"\nappendonly yes\nappendfsync everysec\n",
     .greet = redis_greet,
     .put = redis_put,
     .hear = redis_hear,
     .drain = redis_drain},
    {.name = "Redis Streams, `appendfsync always`",
     .means = "flushed",
     .program = "redis-server",
     .words = {"%s/conf"},
     .configuration = "port 0\nunixsocket %s/sock\ndir %s\nsave \"\"\nappendonly yes\nappendfsync always\n",
     .greet = redis_greet,
     .put = redis_put,
     .hear = redis_hear,
     .drain = redis_drain},
    {.name = "beanstalkd `-b`",
     .means = "written; flushed every 50 ms",
     .program = "beanstalkd",
     .words = {"-l", "unix:%s/sock", "-b", "%s"},
     .greet = greet_nobody,
     .put = beanstalk_put,
     .hear = beanstalk_hear,
     .drain = beanstalk_drain},
    {.name = "beanstalkd `-b -f 0`",
     .means = "flushed",
     .program = "beanstalkd",
     .words = {"-l", "unix:%s/sock", "-f", "0", "-b", "%s"},
     .greet = greet_nobody,
     .put = beanstalk_put,
     .hear = beanstalk_hear,
     .drain = beanstalk_drain},
    {.name = "mosquitto, QoS 1, `persistence`",
     .means = "in memory; saved every 30 min",
     .program = "mosquitto",
     .words = {"-c", "%s/conf"},
     .configuration = MOSQUITTO,
     .greet = mqtt_greet,
     .put = mqtt_put,
     .hear = mqtt_hear,
     .drain = mqtt_drain},
    {.name = "mosquitto, QoS 1, saved at each change",
     .means = "in memory; then saved",
     .program = "mosquitto",
     .words = {"-c", "%s/conf"},
     .configuration = MOSQUITTO "autosave_on_changes true\nautosave_interval 1\n",
     .greet = mqtt_greet,
     .put = mqtt_put,
     .hear = mqtt_hear,
     .drain = mqtt_drain},
};
const unsigned peers_count = sizeof peers / sizeof *peers;
