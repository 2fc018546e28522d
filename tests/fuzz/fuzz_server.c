/*
 * What a peer sends to the SP server after its greeting, hostile or not. The first byte of the input chooses the
 * protocol and how the rest is cut into pieces: however it is cut, the same messages must come of it, and the connection
 * must end or stay in the same way. No memory may be held afterwards.
 */
#include "fuzz.h"

#include "transport/server.h"

#include <event2/event.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAXIMUM = 3000, STRANGERS = 200, PROTOCOLS = 4 };

static const struct {
    enum server_protocol own;
    uint8_t peer;
    bool ids;
} protocols[PROTOCOLS] = {{SERVER_REP, SERVER_REQ, true},
                          {SERVER_PULL, SERVER_PUSH, false},
                          {SERVER_PAIR1, SERVER_PAIR1, true},
                          {SERVER_SURVEYOR, SERVER_RESPONDENT, true}};

static struct event_base *base;
static struct server *servers[PROTOCOLS];
static struct buffer *seen; /* what came of the input that runs */
static bool ended;

static void disconnected(void *context, server_connection connection)
{
    (void)context;
    (void)connection;
    ended = true;
}

static bool admit(void *context, server_connection connection, const uint8_t *head, size_t size, uint64_t total)
{
    (void)context;
    (void)connection;
    MUST(size > 0 && size <= SERVER_HEAD && total > STRANGERS && total <= MAXIMUM);
    return head[size - 1] % 2 == 0;
}

static void received(void *context, struct server_message *message)
{
    unsigned protocol = (unsigned)(uintptr_t)context;

    MUST(message->size <= MAXIMUM);
    MUST(message->ids_count <= SERVER_HOPS && (message->ids_count > 0) == protocols[protocol].ids);
    MUST(buffer_put_u32(seen, message->ids_count) == MP_OK);
    MUST(buffer_append(seen, message->ids, 4 * (size_t)message->ids_count) == MP_OK);
    MUST(buffer_put_u32(seen, (uint32_t)message->size) == MP_OK);
    MUST(buffer_append(seen, message->data, message->size) == MP_OK);
    server_message_free(message);
}

static void setup(void)
{
    base = event_base_new();
    MUST(base != NULL);
    for (unsigned i = 0; i < PROTOCOLS; i++) {
        const struct server_settings settings = {.protocol = protocols[i].own,
                                                 .max_message = MAXIMUM,
                                                 .stranger_message = STRANGERS,
                                                 .context = (void *)(uintptr_t)i,
                                                 .disconnected = disconnected,
                                                 .admit = admit,
                                                 .received = received};
        MUST(server_new(base, &settings, &servers[i], NULL) == MP_OK);
    }
}

static void turn(void)
{
    MUST(event_base_loop(base, EVLOOP_NONBLOCK) >= 0);
}

/* Sends DATA in pieces of PIECE bytes, and notes in OUT what came of it. */
static bool run(unsigned protocol, const uint8_t *data, size_t size, size_t piece, struct buffer *out)
{
    const uint8_t greeting[8] = {0, 'S', 'P', 0, 0, protocols[protocol].peer, 0, 0};
    server_connection connection;
    int pair[2];

    seen = out;
    ended = false;
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    MUST(server_join(servers[protocol], pair[0], ADDRESS_IPC, &connection, NULL) == MP_OK);
    MUST(send(pair[1], greeting, sizeof(greeting), MSG_NOSIGNAL) == sizeof(greeting));
    turn();
    for (size_t at = 0; at < size && !ended; at += piece) {
        size_t part = size - at < piece ? size - at : piece;
        MUST(send(pair[1], data + at, part, MSG_NOSIGNAL) == (ssize_t)part);
        turn();
    }
    bool left_open = !ended;
    close(pair[1]);
    turn();
    MUST(ended);
    MUST(server_counters(servers[protocol]).held == 0 && server_counters(servers[protocol]).connections == 0);
    return left_open;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer whole = {0};
    struct buffer pieces = {0};

    if (size < 1 || size > 60000) {
        return 0;
    }
    if (base == NULL) {
        setup();
    }
    unsigned protocol = data[0] % PROTOCOLS;
    bool open = run(protocol, data + 1, size - 1, size, &whole);
    MUST(run(protocol, data + 1, size - 1, size / 40 + 1 + data[0] / PROTOCOLS, &pieces) == open);
    MUST(whole.size == pieces.size);
    MUST(whole.size == 0 || memcmp(whole.data, pieces.data, whole.size) == 0);
    buffer_free(&whole);
    buffer_free(&pieces);
    return 0;
}

static void put_message(struct buffer *out, unsigned words, size_t payload)
{
    uint8_t length[9] = {1, 0, 0, 0, 0, 0, 0, (uint8_t)((payload + 4 * words) >> 8), (uint8_t)(payload + 4 * words)};

    MUST(buffer_append(out, length, sizeof(length)) == MP_OK);
    for (unsigned i = 0; i < words; i++) {
        const uint8_t id[4] = {i + 1 == words ? 0x80 : 0, 0, 0, (uint8_t)i};
        MUST(buffer_append(out, id, sizeof(id)) == MP_OK);
    }
    for (size_t i = 0; i < payload; i++) {
        MUST(buffer_put_u8(out, (uint8_t)(i * 2)) == MP_OK);
    }
}

bool fuzz_seed(unsigned index, struct buffer *out)
{
    static const size_t payloads[] = {5, 0, 63, STRANGERS, STRANGERS + 1, MAXIMUM};

    if (index >= PROTOCOLS) {
        return false;
    }
    MUST(buffer_put_u8(out, (uint8_t)(index * 37)) == MP_OK);
    for (unsigned i = 0; i < 6; i++) {
        unsigned words = protocols[index * 37 % PROTOCOLS].ids ? 1 : 0;
        if (words > 0 && index < 4 && index * 37 % PROTOCOLS != 2) {
            words = 1 + (index * 3 + i) % SERVER_HOPS;
        }
        put_message(out, words, payloads[(index + i) % 6]);
    }
    return true;
}
