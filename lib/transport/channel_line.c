#include "transport/channel_line.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    SEND_BUFFER = 2 * 1024 * 1024, /* so that a frame goes out in one piece; the system may allow less */
    KEEPALIVE_IDLE = 1, /* seconds: so a host that is silent for channel_line_doubt was asked once at least */
    KEEPALIVE_INTERVAL = 1,
    USER_TIMEOUT = 60000 /* milliseconds; the same for both, as TCP takes it for keepalives too */
};

int64_t channel_line_doubt = 1500000;
int64_t (*channel_line_silence_for_test)(int descriptor);

void channel_line_open(struct channel_line *line, void *owner, const struct address *address, struct channel_poll *poll)
{
    *line =
        (struct channel_line){.owner = owner, .address = address, .poll = poll, .descriptor = -1, .due = CLOCK_NEVER};
}

void channel_line_close(struct channel_line *line)
{
    channel_line_end(line);
    if (line->found != NULL) {
        freeaddrinfo(line->found);
        line->found = line->next = NULL;
    }
}

void channel_line_end(struct channel_line *line)
{
    if (line->descriptor >= 0) {
        close(line->descriptor);
    }
    line->descriptor = -1;
    line->stage = CHANNEL_LINE_ABSENT;
    line->due = CLOCK_NEVER;
    line->stash_size = 0;
}

static void tune(int descriptor, enum address_kind kind)
{
    int on = 1;
    int size = SEND_BUFFER;

    /* What cannot be set only makes it slower, or later to notice that the other host has gone. */
    if (kind == ADDRESS_IPC) {
        setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    } else {
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
#ifdef TCP_KEEPIDLE
        int idle = KEEPALIVE_IDLE;
        int interval = KEEPALIVE_INTERVAL;
        setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
        setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
#endif
#ifdef TCP_USER_TIMEOUT
        unsigned timeout = USER_TIMEOUT;
        setsockopt(descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
#endif
    }
#ifdef SO_NOSIGPIPE
    setsockopt(descriptor, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof(on));
#endif
}

int channel_line_send_flags(void)
{
#ifdef MSG_NOSIGNAL
    return MSG_NOSIGNAL;
#else
    return 0;
#endif
}

/* The connection is made: says who this is. A new socket has room for it. */
static bool greet(struct channel_line *line)
{
    static const uint8_t greeting[CHANNEL_LINE_GREETING] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};

    if (send(line->descriptor, greeting, sizeof(greeting), channel_line_send_flags()) != CHANNEL_LINE_GREETING) {
        return false;
    }
    line->stage = CHANNEL_LINE_GREETS;
    line->due = line->address->kind == ADDRESS_TCP ? clock_monotonic() + channel_line_doubt : CLOCK_NEVER;
    return true;
}

static bool connect_to(struct channel_line *line, int family, const struct sockaddr *name, socklen_t size)
{
    line->descriptor = socket(family, SOCK_STREAM, 0);
    if (line->descriptor < 0 || fcntl(line->descriptor, F_SETFD, FD_CLOEXEC) != 0 ||
        fcntl(line->descriptor, F_SETFL, O_NONBLOCK) != 0) {
        return false;
    }
    tune(line->descriptor, line->address->kind);
    bool done = connect(line->descriptor, name, size) == 0;
    if (!done && errno != EINPROGRESS) {
        return false;
    }
    if (!channel_poll_add(line->poll, line->descriptor, !done, line)) {
        return false;
    }
    if (done) {
        return greet(line);
    }
    line->stage = CHANNEL_LINE_CONNECTING;
    line->due = clock_monotonic() + CHANNEL_LINE_CONNECT;
    return true;
}

/* The next of the addresses that the host's name stands for. A name is looked up again when none of them answered. */
static bool connect_tcp(struct channel_line *line)
{
    if (line->next == NULL) {
        if (line->found != NULL) {
            freeaddrinfo(line->found);
            line->found = NULL;
        }
        if (address_look_up(line->address, false, &line->found) != 0) {
            return false;
        }
        line->next = line->found;
    }
    const struct addrinfo *info = line->next;
    line->next = info->ai_next;
    return connect_to(line, info->ai_family, info->ai_addr, info->ai_addrlen);
}

static bool connect_ipc(struct channel_line *line)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};

    memcpy(name.sun_path, line->address->path, sizeof(name.sun_path));
    return connect_to(line, AF_UNIX, (const struct sockaddr *)&name, sizeof(name));
}

bool channel_line_start(struct channel_line *line)
{
    line->due = CLOCK_NEVER;
    return line->address->kind == ADDRESS_IPC ? connect_ipc(line) : connect_tcp(line);
}

static bool is_connected(int descriptor)
{
    int number = 0;
    socklen_t size = sizeof(number);

    return getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &number, &size) == 0 && number == 0;
}

/* Reads the other end's greeting, and no further. */
static bool read_greeting(struct channel_line *line)
{
    static const uint8_t wanted[CHANNEL_LINE_GREETING] = {0, 'S', 'P', 0, 0, 0x31, 0, 0};
    ssize_t count = recv(line->descriptor, line->stash + line->stash_size, CHANNEL_LINE_GREETING - line->stash_size, 0);

    if (count <= 0) {
        return count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
    }
    line->stash_size += (size_t)count;
    if (memcmp(line->stash, wanted, line->stash_size) != 0) {
        return false;
    }
    if (line->stash_size == CHANNEL_LINE_GREETING) {
        line->stash_size = 0;
        line->stage = CHANNEL_LINE_READY;
        line->due = CLOCK_NEVER;
        line->next = NULL;
    }
    return true;
}

bool channel_line_ready(struct channel_line *line)
{
    if (line->stage == CHANNEL_LINE_CONNECTING) {
        return is_connected(line->descriptor) && channel_poll_change(line->poll, line->descriptor, false, line) &&
               greet(line);
    }
    return line->stage != CHANNEL_LINE_GREETS || read_greeting(line);
}

bool channel_line_due(struct channel_line *line, int64_t now)
{
    if (line->stage != CHANNEL_LINE_GREETS || channel_line_silence(line) >= channel_line_doubt) {
        return false;
    }
    line->due = now + channel_line_doubt;
    return true;
}

bool channel_line_take(struct channel_line *line, struct channel_line *other)
{
    line->descriptor = other->descriptor;
    line->stage = CHANNEL_LINE_READY;
    other->descriptor = -1;
    channel_line_end(other);
    if (!channel_poll_change(line->poll, line->descriptor, false, line)) {
        channel_line_end(line);
        return false;
    }
    return true;
}

#if defined(__linux__)
static int64_t silence_of(int descriptor)
{
    struct tcp_info info;
    socklen_t size = sizeof(info);

    if (getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) {
        return 0;
    }
    uint32_t heard =
        info.tcpi_last_ack_recv < info.tcpi_last_data_recv ? info.tcpi_last_ack_recv : info.tcpi_last_data_recv;
    int64_t silence = (int64_t)heard * 1000 - (int64_t)info.tcpi_rtt - 4 * (int64_t)info.tcpi_rttvar;
    return silence > 0 ? silence : 0;
}
#else
/* What other systems tell differs too much: there the keepalives end the connection in the end. */
static int64_t silence_of(int descriptor)
{
    (void)descriptor;
    return 0;
}
#endif

int64_t channel_line_silence(const struct channel_line *line)
{
    if (line->address->kind != ADDRESS_TCP) {
        return 0;
    }
    return channel_line_silence_for_test != NULL ? channel_line_silence_for_test(line->descriptor)
                                                 : silence_of(line->descriptor);
}
