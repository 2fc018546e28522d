#include "peer_ends.h"

#include "base/memory.h"
#include "transport/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { LIMIT_SECONDS = 20 };

int ends_setup(void **state)
{
    struct ends_world *world = calloc(1, sizeof *world);
    struct event_config *config = event_config_new();

    assert_non_null(world);
    assert_non_null(config);
    /* As the tools do it: epoll refuses regular files on stdin. */
    event_config_avoid_method(config, "epoll");
    world->base = event_base_new_with_config(config);
    assert_non_null(world->base);
    event_config_free(config);
    folder_make(world->folder);
    *state = world;
    return 0;
}

int ends_teardown(void **state)
{
    struct ends_world *world = *state;

    for (unsigned i = 0; i < world->addresses; i++) {
        char path[96];
        snprintf(path, sizeof path, "%s/%u", world->folder, i);
        unlink(path);
    }
    int wrong = rmdir(world->folder);
    event_base_free(world->base);
    free(world);
    return wrong;
}

void ends_url(struct ends_world *world, bool tcp, char url[ENDS_URL])
{
    if (tcp)
        snprintf(url, ENDS_URL, "tcp://127.0.0.1:0");
    else
        snprintf(url, ENDS_URL, "ipc://%s/%u", world->folder, world->addresses++);
}

static void on_received(void *context, struct peer_message *message, const struct peer_token *token)
{
    struct ends_end *end = context;
    size_t size;
    const void *data = peer_message_data(message, &size);

    if (end->got_count == end->got_capacity) {
        end->got_capacity = end->got_capacity == 0 ? 64 : end->got_capacity * 2;
        end->got = realloc(end->got, end->got_capacity * sizeof *end->got);
        end->held = realloc(end->held, end->got_capacity * sizeof(struct peer_message *));
        assert_non_null(end->got);
        assert_non_null(end->held);
    }
    char *text = malloc(size + 1);
    assert_non_null(text);
    memcpy(text, data, size);
    text[size] = '\0';
    end->got[end->got_count].text = text;
    end->got[end->got_count].token = *token;
    end->got_count++;
    if (end->echo) {
        char reply[256];
        int length = snprintf(reply, sizeof reply, "re: %s", text);
        struct peer_part part = {reply, (size_t)length, NULL, NULL};
        enum mp_error error = peer_reply(end->peer, token, &part, NULL);
        if (error == MP_ERR_MEMORY) /* a test's doing, once */
            error = peer_reply(end->peer, token, &part, NULL);
        assert_true(error == MP_OK || error == MP_ERR_CLOSED);
    }
    if (end->hold)
        end->held[end->held_count++] = message;
    else
        peer_message_free(message);
}

static void on_writable(void *context)
{
    ((struct ends_end *)context)->writable++;
}

static void on_peers(void *context, unsigned count)
{
    ((struct ends_end *)context)->peers = count;
}

static void on_survey_ended(void *context, uint64_t request)
{
    (void)request;
    ((struct ends_end *)context)->surveys++;
}

static void on_drained(void *context)
{
    ((struct ends_end *)context)->drained++;
}

static void on_finished(void *context, const struct peer_result *result)
{
    struct ends_end *end = context;

    assert_false(end->finished);
    end->finished = true;
    end->result = *result;
}

static void on_trouble(void *context, const char *what)
{
    struct ends_end *end = context;

    snprintf(end->trouble, sizeof end->trouble, "%s", what);
}

void ends_open(struct ends_world *world, struct ends_end *end, struct peer_settings settings)
{
    struct fault fault = {0};

    end->world = world;
    settings.context = end;
    settings.received = on_received;
    settings.writable = on_writable;
    settings.peers = on_peers;
    settings.survey_ended = on_survey_ended;
    settings.drained = on_drained;
    settings.finished = on_finished;
    settings.trouble = on_trouble;
    if (peer_open(world->base, &settings, &end->peer, &fault) != MP_OK)
        fail_msg("%s", fault_text(&fault));
}

void ends_close(struct ends_end *end)
{
    for (unsigned i = 0; i < end->held_count; i++)
        peer_message_free(end->held[i]);
    peer_free(end->peer);
    for (unsigned i = 0; i < end->got_count; i++)
        free(end->got[i].text);
    free(end->got);
    free(end->held);
    *end = (struct ends_end){0};
}

void ends_send(struct ends_end *end, const char *text)
{
    struct fault fault = {0};
    struct peer_part part = {text, strlen(text), NULL, NULL};

    if (peer_send(end->peer, &part, &fault) != MP_OK)
        fail_msg("%s: %s", text, fault_text(&fault));
}

static void on_limit(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    (void)context; /* that it is no longer pending says it */
}

struct event *ends_limit_start(struct ends_world *world)
{
    struct event *limit = evtimer_new(world->base, on_limit, NULL);
    struct timeval time = {LIMIT_SECONDS, 0};

    assert_non_null(limit);
    evtimer_add(limit, &time);
    return limit;
}

void ends_step(struct ends_world *world, struct event *limit, const char *what, const char *file, int line)
{
    if (!evtimer_pending(limit, NULL))
        fail_msg("%s:%d: waited in vain for %s", file, line, what);
    event_base_loop(world->base, EVLOOP_ONCE);
}

void ends_spin(struct ends_world *world)
{
    for (int i = 0; i < 20; i++)
        event_base_loop(world->base, EVLOOP_NONBLOCK);
}

static int unix_socket(const char *url, struct sockaddr_un *at)
{
    int descriptor = socket(AF_UNIX, SOCK_STREAM, 0);

    assert_true(descriptor >= 0);
    *at = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(at->sun_path, sizeof at->sun_path, "%s", url + strlen("ipc://"));
    return descriptor;
}

int ends_connect(const char *url)
{
    if (strncmp(url, "ipc://", 6) == 0) {
        struct sockaddr_un to;
        int descriptor = unix_socket(url, &to);
        assert_int_equal(connect(descriptor, (struct sockaddr *)&to, sizeof to), 0);
        return descriptor;
    }
    struct sockaddr_in to = {.sin_family = AF_INET};
    const char *port = strrchr(url, ':');
    assert_non_null(port);
    to.sin_port = htons((uint16_t)atoi(port + 1));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int descriptor = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(descriptor >= 0);
    assert_int_equal(connect(descriptor, (struct sockaddr *)&to, sizeof to), 0);
    return descriptor;
}

int ends_listen(const char *url)
{
    struct sockaddr_un at;
    int descriptor = unix_socket(url, &at);

    unlink(at.sun_path);
    assert_int_equal(bind(descriptor, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(descriptor, 8), 0);
    return descriptor;
}

void ends_read(struct ends_world *world, int descriptor, void *bytes, size_t size)
{
    uint8_t *to = bytes;
    struct event *limit = ends_limit_start(world);

    while (size > 0) {
        ssize_t got = recv(descriptor, to, size, MSG_DONTWAIT);
        if (got > 0) {
            to += got;
            size -= (size_t)got;
            continue;
        }
        if (got == 0 || (errno != EAGAIN && errno != EINTR))
            fail_msg("reading from a bare socket: %s", got == 0 ? "end" : strerror(errno));
        if (!evtimer_pending(limit, NULL))
            fail_msg("waited in vain for bytes on a bare socket");
        event_base_loop(world->base, EVLOOP_NONBLOCK);
    }
    event_free(limit);
}

void ends_greet(struct ends_world *world, int descriptor, unsigned protocol)
{
    uint8_t greeting[8] = {0, 'S', 'P', 0, 0, (uint8_t)protocol, 0, 0};
    uint8_t theirs[8];

    assert_int_equal(send(descriptor, greeting, sizeof greeting, MSG_NOSIGNAL), sizeof greeting);
    ends_read(world, descriptor, theirs, sizeof theirs);
    assert_memory_equal(theirs, "\0SP\0\0", 5);
}

void ends_send_number(struct ends_end *sender, unsigned number)
{
    char text[32];

    snprintf(text, sizeof text, "message %u", number);
    ends_send(sender, text);
}

void ends_expect_number(const struct ends_end *end, unsigned at, unsigned number)
{
    char text[32];

    snprintf(text, sizeof text, "message %u", number);
    assert_string_equal(end->got[at].text, text);
}

void ends_finish(struct ends_world *world, struct ends_end *end)
{
    peer_finish(end->peer, 10000000);
    ENDS_AWAIT(world, end->finished);
    assert_int_equal(end->result.left, 0);
    assert_int_equal(end->result.unread, 0);
    assert_false(end->result.timed_out);
}

unsigned ends_releases;

void ends_count_release(void *owner)
{
    (void)owner;
    ends_releases++;
}
