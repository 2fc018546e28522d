#include "load.h"

#include "client/protocol.h"
#include "transport/address.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { GREETING = 8, PREFIX = 1 + 8 + 4, REPLY_MOST = 600, QUIET = 333 * 1000, PATIENCE = 30 * 1000 * 1000 };

struct one {
    int descriptor; /* -1: it has gone */
    bool served;
    size_t size;
    uint8_t reply[REPLY_MOST]; /* the greeting, then the answer to hello */
};

struct crowd {
    struct stand *stand;
    struct sockaddr_un name;
    unsigned count;
    struct pollfd *polls;
    struct one ones[];
};

/* Puts the prefix of a request over a Unix socket before OUT, whose bytes are the request. */
static void send_request(const struct one *one, const struct buffer *out)
{
    uint8_t bytes[PREFIX + 256] = {1};
    uint64_t length = out->size + 4;
    for (int i = 0; i < 8; i++)
        bytes[1 + i] = (uint8_t)(length >> (56 - 8 * i));
    bytes[9] = 0x80;
    memcpy(bytes + PREFIX, out->data, out->size);
    (void)send(one->descriptor, bytes, PREFIX + out->size, MSG_NOSIGNAL); /* who was closed is found by reading */
}

static void say_hello(const struct one *one)
{
    static const uint8_t greeting[GREETING] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};
    struct buffer out = {0};
    (void)send(one->descriptor, greeting, sizeof greeting, MSG_NOSIGNAL);
    if (protocol_put_request(&out, PROTOCOL_HELLO, PROTOCOL_LANE_CONTROL, 0, 0) || protocol_put_hello(&out, "crowd", 0))
        abort();
    send_request(one, &out);
    buffer_free(&out);
}

/* A reader of a topic in which there is nothing. */
static void ask_for_messages(const struct one *one, uint64_t session)
{
    const struct protocol_fetch fetch = {.topic = "load.rest", .topic_size = 9, .group = "", .wait = 600000};
    struct buffer out = {0};
    if (protocol_put_request(&out, PROTOCOL_FETCH, PROTOCOL_LANE_FETCH, session, 0) ||
        protocol_put_fetch(&out, &fetch, NULL))
        abort();
    send_request(one, &out);
    buffer_free(&out);
}

static bool join(struct crowd *crowd, struct one *one)
{
    one->descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (one->descriptor < 0)
        stand_give_up(crowd->stand, "no socket: %s", strerror(errno));
    fcntl(one->descriptor, F_SETFL, O_NONBLOCK);
    if (connect(one->descriptor, (struct sockaddr *)&crowd->name, sizeof crowd->name) != 0) {
        close(one->descriptor);
        one->descriptor = -1;
        return false;
    }
    say_hello(one);
    return true;
}

struct crowd *crowd_open(struct stand *stand, const char *url, unsigned count)
{
    struct crowd *crowd = calloc(1, sizeof *crowd + count * sizeof(struct one));
    struct address address;
    int64_t end = stand_now() + PATIENCE;
    if (!crowd || !(crowd->polls = calloc(count, sizeof *crowd->polls)) || address_parse(url, &address, NULL))
        stand_give_up(stand, "no crowd for %s", url);
    crowd->stand = stand;
    crowd->name.sun_family = AF_UNIX;
    memcpy(crowd->name.sun_path, address.path, sizeof crowd->name.sun_path);
    for (unsigned i = 0; i < count; i++, crowd->count++)
        while (!join(crowd, &crowd->ones[i])) { /* as many wait already as the system lets wait */
            crowd_served(crowd, false);
            if (stand_now() > end)
                stand_give_up(stand, "the relay takes no more than %u connections", i);
        }
    return crowd;
}

static void hear(struct one *one)
{
    struct protocol_reply reply;
    struct protocol_welcome welcome;
    ssize_t count = recv(one->descriptor, one->reply + one->size, sizeof one->reply - one->size, 0);
    if (count == 0 || (count < 0 && errno != EAGAIN)) {
        close(one->descriptor);
        one->descriptor = -1;
        one->served = false;
        return;
    }
    one->size += count > 0 ? (size_t)count : 0;
    size_t head = GREETING + PREFIX;
    if (one->served || one->size <= head)
        return;
    if (protocol_read_reply(one->reply + head, one->size - head, &reply) || reply.status ||
        protocol_read_welcome(&reply, &welcome))
        return; /* not all of it is there */
    one->served = true;
    ask_for_messages(one, welcome.session);
}

static unsigned count_served(const struct crowd *crowd)
{
    unsigned served = 0;
    for (unsigned i = 0; i < crowd->count; i++)
        served += crowd->ones[i].served;
    return served;
}

/* Takes what has come, waiting for it a little. */
static void hear_all(struct crowd *crowd)
{
    for (unsigned i = 0; i < crowd->count; i++)
        crowd->polls[i] = (struct pollfd){.fd = crowd->ones[i].descriptor, .events = POLLIN};
    poll(crowd->polls, crowd->count, 50);
    for (unsigned i = 0; i < crowd->count; i++)
        if (crowd->polls[i].revents)
            hear(&crowd->ones[i]);
}

void crowd_press(struct crowd *crowd, int64_t span)
{
    for (int64_t end = stand_now() + span; stand_now() < end;) {
        hear_all(crowd);
        for (unsigned i = 0; i < crowd->count; i++)
            if (crowd->ones[i].descriptor < 0) {
                crowd->ones[i].size = 0;
                join(crowd, &crowd->ones[i]);
            }
    }
}

unsigned crowd_served(struct crowd *crowd, bool patient)
{
    int64_t end = stand_now() + PATIENCE, last = stand_now();
    unsigned served = count_served(crowd);
    while (served < crowd->count && stand_now() < (patient ? end : last + QUIET)) {
        hear_all(crowd);
        unsigned now = count_served(crowd);
        last = now > served ? stand_now() : last;
        served = now;
    }
    return served;
}

void crowd_leave(struct crowd *crowd, unsigned staying)
{
    for (unsigned i = 0; i < crowd->count; i++) {
        struct one *one = &crowd->ones[i];
        if (one->served && staying > 0)
            staying--;
        else if (one->descriptor >= 0) {
            close(one->descriptor);
            one->descriptor = -1;
            one->served = false;
        }
    }
}

void crowd_close(struct crowd *crowd)
{
    for (unsigned i = 0; i < crowd->count; i++)
        if (crowd->ones[i].descriptor >= 0)
            close(crowd->ones[i].descriptor);
    free(crowd->polls);
    free(crowd);
}
