#include "client/link.h"

#include "base/memory.h"
#include "base/turn.h"

#include <event2/event.h>

struct client_link {
    struct channel *channel; /* the client's */
    struct client *client;
    struct event *readable;
    struct turn turn;
    bool processing; /* the turn is set afterwards */
};

static void process(struct client_link *link)
{
    link->processing = true;
    client_process(link->client, clock_monotonic());
    link->processing = false;
    turn_by(&link->turn, client_due(link->client));
}

static void on_readable(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    process(context);
}

static void on_turn(void *context)
{
    process(context);
}

enum mp_error client_link_open(struct event_base *base, const char *url, const struct client_settings *settings,
                               struct client_link **result, struct fault *fault)
{
    struct client_link *link = memory_allocate(sizeof *link);
    if (link == NULL) {
        return fault_memory(fault);
    }
    enum mp_error error = channel_open(url, &link->channel, fault);
    if (error != MP_OK) {
        goto fail;
    }
    error = client_open(link->channel, settings, clock_monotonic(), &link->client, fault);
    if (error != MP_OK) {
        link->channel->operations->close(link->channel);
        goto fail;
    }
    link->readable = event_new(base, client_descriptor(link->client), EV_READ | EV_PERSIST, on_readable, link);
    if (link->readable == NULL || event_add(link->readable, NULL) != 0 ||
        turn_open(&link->turn, base, on_turn, link) != MP_OK) {
        error = fault_memory(fault);
        goto fail;
    }
    turn_by(&link->turn, client_due(link->client));
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
    turn_close(&link->turn);
    client_close(link->client);
    memory_release(link);
}

struct client *client_link_use(struct client_link *link)
{
    if (!link->processing) {
        turn_soon(&link->turn);
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
