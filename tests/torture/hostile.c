/*
 * hostile.c: strangers who mean harm, and the clients who are served beside them.
 *
 * Thousands of connections to a real relay, to its Unix socket, its TCP address and its HTTP address, each of which says
 * something from a conversation that makes sense, with damage: bytes changed, put in and left out, numbers at the edges of
 * their ranges, sizes that promise gigabytes, requests in a session that is known, and all of it cut off anywhere, closed
 * or reset or left to hang for a while. After each lot of them an ordinary msend and mrecv have to work, and at the end
 * the relay has as many descriptors as before, and hardly more memory.
 */
#include "config.h"

#include "client/protocol.h"
#include "stand.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum way { WAY_IPC, WAY_TCP, WAY_HTTP, WAYS };

enum {
    HANGING = 24, /* connections that are left open meanwhile */
    WARM_UP = 300,
    LOT_SHORT = 4000,
    LOT_LONG = 5000,
    SHORT = 8000,
    LONG = 500000,
    SAID_MAX = 1 << 17,
    GROWTH_MOST = 24 * 1024 * 1024 /* of memory: what allocators keep; 3 KiB a connection would be more by far */
};

struct hostile {
    struct stand stand;
    struct sockaddr_un ipc, http;
    struct sockaddr_in tcp;
    int hanging[HANGING];
    unsigned next_hanging;
    uint64_t session; /* one that the relay knows */
    uint64_t counts[WAYS];
    uint64_t bytes;
    uint64_t refused; /* connections that could not be made */
    unsigned served;
    struct buffer said;
};

static uint32_t below(struct hostile *hostile, uint32_t limit)
{
    return stand_below(&hostile->stand, limit);
}

static void must(struct hostile *hostile, enum mp_error error)
{
    if (error)
        stand_give_up(&hostile->stand, "%s", mp_error_text(error));
}

/* ---- what makes sense ------------------------------------------------------------------------------------------- */

/* Appends PAYLOAD as a message of the SP protocols. */
static void put_message(struct hostile *hostile, enum way way, const struct buffer *payload)
{
    struct buffer *out = &hostile->said;
    uint64_t size = __builtin_bswap64(payload->size + 4);
    if (way == WAY_IPC)
        must(hostile, buffer_put_u8(out, 1));
    must(hostile, buffer_append(out, &size, sizeof size));
    must(hostile, buffer_append(out, "\x80\0\0\1", 4));
    must(hostile, buffer_append(out, payload->data, payload->size));
}

static void put_frame(struct hostile *hostile, struct buffer *out)
{
    struct frame_builder frame = {0};
    must(hostile, frame_begin(&frame, 1 + below(hostile, 9), below(hostile, 9)));
    for (unsigned i = below(hostile, 5) + 1; i > 0; i--)
        must(hostile, frame_add(&frame, "0123456789", below(hostile, 11), NULL, 0));
    frame_finish(&frame, 1);
    must(hostile, buffer_append(out, frame.bytes.data, frame.bytes.size));
    frame_builder_free(&frame);
}

static void put_fetch(struct hostile *hostile, struct buffer *out)
{
    const struct protocol_fetch fetch = {.topic = below(hostile, 2) ? "h.a" : "h.>",
                                         .topic_size = 3,
                                         .group = "g",
                                         .group_size = below(hostile, 2),
                                         .from = PROTOCOL_FROM_START,
                                         .max_messages = below(hostile, 100),
                                         .max_bytes = below(hostile, 100000),
                                         .wait = below(hostile, 2000)};
    must(hostile, protocol_put_fetch(out, &fetch, NULL));
}

static void put_settle(struct hostile *hostile, struct buffer *out)
{
    const struct protocol_settlement item = {.group = below(hostile, 4),
                                             .lease = below(hostile, 4),
                                             .first = below(hostile, 4),
                                             .count = below(hostile, 4),
                                             .action = (enum protocol_action)(1 + below(hostile, 4)),
                                             .exit_code = -1};
    must(hostile, protocol_put_settle(out, &item, 1, 0));
    must(hostile, protocol_put_settle_notes(out, &item, 1));
}

static void put_request(struct hostile *hostile, struct buffer *out)
{
    static const char *const questions[] = {"{\"verb\":\"status\"}", "{\"verb\":\"topics\"}",
                                            "{\"verb\":\"set\",\"topic\":\"h.a\",\"settings\":{\"ttl\":\"1h\"}}",
                                            "{\"verb\":\"wait\",\"topic\":\"h.a\",\"group\":\"g\",\"wait_ms\":500}"};
    static const unsigned lanes[] = {[PROTOCOL_PUBLISH] = PROTOCOL_LANE_PUBLISH,
                                     [PROTOCOL_FETCH] = PROTOCOL_LANE_FETCH,
                                     [PROTOCOL_SETTLE] = PROTOCOL_LANE_SETTLE};
    enum protocol_type type = (enum protocol_type)(1 + below(hostile, PROTOCOL_LEAVE));
    bool numbered = type == PROTOCOL_PUBLISH || type == PROTOCOL_FETCH || type == PROTOCOL_SETTLE;
    struct protocol_publication to = protocol_publication("h.a");
    must(hostile, protocol_put_request(out, type, numbered ? lanes[type] : PROTOCOL_LANE_CONTROL,
                                       below(hostile, 3) ? hostile->session : below(hostile, 9), below(hostile, 4)));
    if (type == PROTOCOL_HELLO)
        must(hostile, protocol_put_hello(out, "hostile", below(hostile, 10)));
    if (type == PROTOCOL_PUBLISH) {
        must(hostile, protocol_put_publish(out, &to));
        put_frame(hostile, out);
    }
    if (type == PROTOCOL_FETCH)
        put_fetch(hostile, out);
    if (type == PROTOCOL_SETTLE)
        put_settle(hostile, out);
    if (type == PROTOCOL_ADMIN)
        must(hostile, buffer_append_string(out, questions[below(hostile, sizeof questions / sizeof *questions)]));
}

static void converse(struct hostile *hostile, enum way way)
{
    static const uint8_t greeting[] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};
    static const char *const lines[] = {
        "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD /healthz HTTP/1.0\r\n\r\n",
        "POST /readyz HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
        "GET /readyz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"};
    hostile->said.size = 0;
    if (way == WAY_HTTP) {
        must(hostile, buffer_append_string(&hostile->said, lines[below(hostile, 4)]));
        return;
    }
    must(hostile, buffer_append(&hostile->said, greeting, sizeof greeting));
    for (unsigned i = below(hostile, 5); i > 0; i--) {
        struct buffer request = {0};
        put_request(hostile, &request);
        put_message(hostile, way, &request);
        buffer_free(&request);
    }
}

/* ---- what does not ---------------------------------------------------------------------------------------------- */

static void damage_once(struct hostile *hostile)
{
    static const uint8_t edges[] = {0, 1, 0x7f, 0x80, 0xff, '"', '\n', ' '};
    struct buffer *said = &hostile->said;
    size_t at = below(hostile, (uint32_t)said->size + 1), left = said->size - at;
    uint8_t run[64];
    memset(run, edges[below(hostile, sizeof edges)], sizeof run);
    size_t length = 1 + below(hostile, below(hostile, 3) ? 8 : sizeof run);
    switch (below(hostile, 5)) {
    case 0:
        if (left > 0)
            said->data[at] ^= (uint8_t)(1u << below(hostile, 8));
        break;
    case 1:
        memcpy(said->data + at, run, length < left ? length : left);
        break;
    case 2:
        must(hostile, buffer_replace(said, at, 0, run, length));
        break;
    case 3:
        must(hostile, buffer_replace(said, at, length < left ? length : left, NULL, 0));
        break;
    default:
        said->size = at; /* cut off */
        break;
    }
}

static void damage(struct hostile *hostile)
{
    struct buffer *said = &hostile->said;
    if (below(hostile, 10) == 0) { /* nothing of it makes sense */
        said->size = 0;
        for (size_t size = below(hostile, below(hostile, 20) ? 300 : SAID_MAX); said->size < size;)
            must(hostile, buffer_put_u8(said, (uint8_t)below(hostile, 256)));
        return;
    }
    for (unsigned i = below(hostile, 4); i > 0 && said->size > 0; i--)
        damage_once(hostile);
}

/* ---- saying it --------------------------------------------------------------------------------------------------- */

static int connect_to(struct hostile *hostile, enum way way)
{
    const struct sockaddr *addresses[] = {(struct sockaddr *)&hostile->ipc, (struct sockaddr *)&hostile->tcp,
                                          (struct sockaddr *)&hostile->http};
    static const socklen_t sizes[] = {sizeof(struct sockaddr_un), sizeof(struct sockaddr_in),
                                      sizeof(struct sockaddr_un)};
    int descriptor = socket(addresses[way]->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor >= 0 && connect(descriptor, addresses[way], sizes[way]) == 0) {
        fcntl(descriptor, F_SETFL, O_NONBLOCK);
        return descriptor;
    }
    if (descriptor >= 0)
        close(descriptor);
    return -1;
}

/* Sends what there is to say in pieces; reads now and then. */
static void say(struct hostile *hostile, int descriptor)
{
    const struct buffer *said = &hostile->said;
    uint8_t heard[4096];
    for (size_t at = 0; at < said->size;) {
        size_t piece = below(hostile, 3) ? said->size - at : 1 + below(hostile, 200);
        piece = piece < said->size - at ? piece : said->size - at;
        struct pollfd writable = {.fd = descriptor, .events = POLLOUT};
        ssize_t sent = send(descriptor, said->data + at, piece, MSG_NOSIGNAL);
        if (sent < 0 && (errno != EAGAIN || poll(&writable, 1, 200) <= 0))
            return; /* it has hung up, or has no more of this */
        at += sent > 0 ? (size_t)sent : 0;
        hostile->bytes += sent > 0 ? (uint64_t)sent : 0;
        if (below(hostile, 4) == 0)
            (void)!recv(descriptor, heard, sizeof heard, 0);
    }
}

static void part(struct hostile *hostile, int descriptor)
{
    const struct linger reset = {.l_onoff = 1};
    if (below(hostile, 4) == 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    if (below(hostile, 4) == 0)
        shutdown(descriptor, SHUT_WR);
    if (below(hostile, 8) > 0) {
        close(descriptor);
        return;
    }
    int *place = &hostile->hanging[hostile->next_hanging++ % HANGING];
    if (*place >= 0)
        close(*place);
    *place = descriptor;
}

static void attack(struct hostile *hostile)
{
    enum way way = below(hostile, 8) == 0 ? WAY_HTTP : (enum way)below(hostile, WAY_HTTP);
    int descriptor = connect_to(hostile, way);
    hostile->counts[way]++;
    if (descriptor < 0) {
        hostile->refused++;
        return;
    }
    converse(hostile, way);
    damage(hostile);
    say(hostile, descriptor);
    part(hostile, descriptor);
}

static void stop_hanging(struct hostile *hostile)
{
    for (unsigned i = 0; i < HANGING; i++) {
        if (hostile->hanging[i] >= 0)
            close(hostile->hanging[i]);
        hostile->hanging[i] = -1;
    }
}

/* ---- who is served meanwhile ------------------------------------------------------------------------------------- */

static bool output_is(struct hostile *hostile, const char *text)
{
    char path[STAND_PATH], line[64] = "";
    snprintf(path, sizeof path, "%s/taken", hostile->stand.folder);
    FILE *file = fopen(path, "r");
    if (file) {
        (void)!fgets(line, sizeof line, file);
        fclose(file);
    }
    return strcmp(line, text) == 0;
}

/* An ordinary client, over the Unix socket and over TCP in turns. */
static void serve(struct hostile *hostile)
{
    char ipc[STAND_PATH], tcp[STAND_PATH], text[32], line[40];
    stand_addresses(&hostile->stand, ipc, tcp);
    const char *relay = hostile->served % 2 ? tcp : ipc;
    snprintf(text, sizeof text, "message %u", hostile->served++);
    snprintf(line, sizeof line, "%s\n", text);
    const char *const send[] = {"msend", "-r", relay, "-t", "served", "--wait", "5s", "-d", text, NULL};
    const char *const take[] = {"mrecv", "-r", relay, "-t", "served", "-g", "g", "-n", "1", "--wait", "5s", NULL};
    int sent = stand_run(&hostile->stand, send, "sent"), taken = sent ? 0 : stand_run(&hostile->stand, take, "taken");
    if (sent || taken)
        stand_find(&hostile->stand, "an ordinary client was not served by %s: msend %d, mrecv %d", relay, sent, taken);
    else if (!output_is(hostile, line))
        stand_find(&hostile->stand, "an ordinary client got something else than it had sent by %s", relay);
}

/* A session that requests may name: a greeting that makes sense. */
static void greet(struct hostile *hostile)
{
    struct buffer request = {0};
    uint8_t heard[1024];
    size_t got = 0;
    int descriptor = connect_to(hostile, WAY_IPC);
    if (descriptor < 0)
        stand_give_up(&hostile->stand, "cannot connect to %s: %s", hostile->ipc.sun_path, strerror(errno));
    hostile->said.size = 0;
    must(hostile, buffer_append(&hostile->said, "\0SP\0\0\x30\0\0", 8));
    must(hostile, protocol_put_request(&request, PROTOCOL_HELLO, PROTOCOL_LANE_CONTROL, 0, 0));
    must(hostile, protocol_put_hello(&request, "hostile", 0));
    put_message(hostile, WAY_IPC, &request);
    buffer_free(&request);
    (void)!send(descriptor, hostile->said.data, hostile->said.size, MSG_NOSIGNAL);
    enum { BEFORE = 8 + 1 + 8 + 4 }; /* greeting, framing, id */
    struct pollfd readable = {.fd = descriptor, .events = POLLIN};
    struct protocol_reply reply;
    struct protocol_welcome welcome = {0};
    while (got < sizeof heard && poll(&readable, 1, 2000) > 0) {
        ssize_t more = recv(descriptor, heard + got, sizeof heard - got, 0);
        got += more > 0 ? (size_t)more : 0;
        if (more <= 0 || (got > BEFORE && !protocol_read_reply(heard + BEFORE, got - BEFORE, &reply) &&
                          !protocol_read_welcome(&reply, &welcome)))
            break;
    }
    close(descriptor);
    if (!(hostile->session = welcome.session))
        stand_give_up(&hostile->stand, "the relay did not greet");
}

/* ---- before and after --------------------------------------------------------------------------------------------- */

static unsigned descriptors_of(const struct stand *stand)
{
    char path[64];
    unsigned count = 0;
    snprintf(path, sizeof path, "/proc/%ld/fd", (long)stand->relay);
    DIR *folder = opendir(path);
    while (folder && readdir(folder))
        count++;
    if (folder)
        closedir(folder);
    return count;
}

/* Whether it has as few descriptors as BEFORE, within five seconds: what hung is noticed to have ended. */
static bool calms_down(struct hostile *hostile, unsigned before)
{
    for (int64_t limit = stand_now() + 5000000; descriptors_of(&hostile->stand) > before;) {
        if (stand_now() > limit)
            return false;
        poll(NULL, 0, 20);
    }
    return true;
}

static void find_addresses(struct hostile *hostile)
{
    char ipc[STAND_PATH], tcp[STAND_PATH];
    unsigned port = 0;
    stand_addresses(&hostile->stand, ipc, tcp);
    hostile->ipc.sun_family = hostile->http.sun_family = AF_UNIX;
    hostile->tcp.sin_family = AF_INET;
    hostile->tcp.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (sscanf(tcp, "tcp://127.0.0.1:%u", &port) != 1 || strncmp(ipc, "ipc://", 6) != 0 ||
        strlen(ipc) - 6 >= sizeof hostile->ipc.sun_path)
        stand_give_up(&hostile->stand, "the relay listens at %s and %s", ipc, tcp);
    hostile->tcp.sin_port = htons((uint16_t)port);
    memcpy(hostile->ipc.sun_path, ipc + 6, strlen(ipc) - 5);
    snprintf(hostile->http.sun_path, sizeof hostile->http.sun_path, "%.80s/http", hostile->stand.folder);
}

static void compare(struct hostile *hostile, unsigned descriptors, uint64_t memory)
{
    if (!calms_down(hostile, descriptors))
        stand_find(&hostile->stand, "the relay had %u descriptors open, and %u after it", descriptors,
                   descriptors_of(&hostile->stand));
    uint64_t now = stand_resident(hostile->stand.relay);
    if (STAND_MEASURED && now > memory + GROWTH_MOST)
        stand_find(&hostile->stand, "the relay had %" PRIu64 " KiB of memory, and %" PRIu64 " after it", memory / 1024,
                   now / 1024);
}

int main(int argc, char **argv)
{
    static struct hostile hostile;
    char http[STAND_PATH], tried[300], found[200];
    stand_open(&hostile.stand, "hostile", argc, argv);
    snprintf(http, sizeof http, "unix:%.80s/http", hostile.stand.folder);
    const char *const relay[] = {"--listen", "tcp://127.0.0.1:0", "--http", http, NULL};
    const unsigned attacks = hostile.stand.longer ? LONG : SHORT, lot = hostile.stand.longer ? LOT_LONG : LOT_SHORT;
    memset(hostile.hanging, -1, sizeof hostile.hanging);
    stand_start_relay(&hostile.stand, relay, 0);
    find_addresses(&hostile);
    unsigned descriptors = descriptors_of(&hostile.stand);
    greet(&hostile);
    for (unsigned i = 0; i < WARM_UP; i++) /* so that what an allocator keeps is there before */
        attack(&hostile);
    stop_hanging(&hostile);
    serve(&hostile);
    uint64_t memory = stand_resident(hostile.stand.relay);
    for (unsigned i = 1; i <= attacks && hostile.stand.found == 0; i++) {
        attack(&hostile);
        if (i % lot == 0)
            serve(&hostile);
    }
    stop_hanging(&hostile);
    serve(&hostile);
    serve(&hostile);
    compare(&hostile, descriptors, memory);
    uint64_t growth = stand_resident(hostile.stand.relay);
    stand_end_relay(&hostile.stand);
    buffer_free(&hostile.said);
    snprintf(tried, sizeof tried,
             "%" PRIu64 " hostile connections (%" PRIu64 " to a Unix socket, %" PRIu64 " TCP, %" PRIu64
             " HTTP), %.1f MB said, %u ordinary clients beside them",
             hostile.counts[WAY_IPC] + hostile.counts[WAY_TCP] + hostile.counts[WAY_HTTP], hostile.counts[WAY_IPC],
             hostile.counts[WAY_TCP], hostile.counts[WAY_HTTP], (double)hostile.bytes / 1e6, hostile.served);
    snprintf(found, sizeof found, "%u found; the relay's memory grew by %" PRIi64 " KiB, its descriptors by none",
             hostile.stand.found, ((int64_t)growth - (int64_t)memory) / 1024);
    return stand_close(&hostile.stand, tried, found);
}
