#include "client/link.h"

#include "base/memory.h"

#include <event2/event.h>

struct client_link {
    struct channel *channel; /* the client's */
    struct client *client;
    struct event *readable;
    struct event *timer;
    int64_t armed;  /* what the timer is set to; CLOCK_NEVER */
    bool in_turn;   /* the client is being processed: the timer is set afterwards */
    bool scheduled; /* a turn comes as soon as the loop goes on */
};

/* Sets the timer to when the client is due. One that stands for an earlier time is left: an early turn does no harm. */
static void arm(struct client_link *link, int64_t now)
{
    int64_t due = client_due(link->client);
    if (due == CLOCK_NEVER || due >= link->armed) {
        return;
    }
    int64_t left = due > now ? due - now : 0;
    struct timeval wait = {.tv_sec = (time_t)(left / 1000000), .tv_usec = (suseconds_t)(left % 1000000)};
    if (event_add(link->timer, &wait) == 0) {
        link->armed = due;
    }
}

static void turn(struct client_link *link)
{
    int64_t now = clock_monotonic();
    link->in_turn = true;
    client_process(link->client, now);
    link->in_turn = false;
    arm(link, now);
}

static void on_readable(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    turn(context);
}

static void on_timer(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct client_link *link = context;
    link->scheduled = false;
    link->armed = CLOCK_NEVER;
    turn(link);
}

enum mp_error client_link_open(struct event_base *base, const char *url, const struct client_settings *settings,
                               struct client_link **result, struct fault *fault)
{
    struct client_link *link = memory_allocate(sizeof *link);
    if (link == NULL) {
        return fault_memory(fault);
    }
    int64_t now = clock_monotonic();
    link->armed = CLOCK_NEVER;
    enum mp_error error = channel_open(url, &link->channel, fault);
    if (error != MP_OK) {
        goto fail;
    }
    error = client_open(link->channel, settings, now, &link->client, fault);
    if (error != MP_OK) {
        link->channel->operations->close(link->channel);
        goto fail;
    }
    link->readable = event_new(base, client_descriptor(link->client), EV_READ | EV_PERSIST, on_readable, link);
    link->timer = event_new(base, -1, 0, on_timer, link);
    if (link->readable == NULL || link->timer == NULL || event_add(link->readable, NULL) != 0) {
        error = fault_memory(fault);
        goto fail;
    }
    arm(link, now);
    *result = link;
    return MP_OK;

fail:
    client_link_close(link);
    return error;
}

void client_link_close(struct client_link *link)
{
    if (link == NULL) {
        return;
    }
    if (link->readable != NULL) {
        event_free(link->readable);
    }
    if (link->timer != NULL) {
        event_free(link->timer);
    }
    client_close(link->client);
    memory_release(link);
}

struct client *client_link_use(struct client_link *link)
{
    if (!link->in_turn && !link->scheduled) {
        event_active(link->timer, EV_TIMEOUT, 0);
        link->scheduled = true;
    }
    return link->client;
}

struct client *client_link_client(const struct client_link *link)
{
    return link->client;
}

bool client_link_connected(const struct client_link *link)
{
    for (int lane = 0; lane < CHANNEL_LANES; lane++) {
        if (link->channel->operations->connected(link->channel, (enum channel_lane)lane)) {
            return true;
        }
    }
    return false;
}
