#include "web/door.h"

#include "base/clock.h"
#include "base/memory.h"

#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <stdbool.h>

/* Between two looks; while others wait to be let in there are more: each look lets in 64. */
static const struct timeval rarely = {.tv_sec = 1}, often = {.tv_usec = 20000};

struct guest {
    struct bufferevent *connection; /* a reference of the door's own */
    int64_t since;                  /* monotonic */
};

struct door {
    struct door *next; /* of all */
    struct evconnlistener *listener;
    struct event *look;
    struct guest guests[DOOR_CONNECTIONS];
    unsigned count;
    bool closed; /* nobody is let in */
};

/* evhttp owns its listeners' context, so a listener's door is looked for here. */
static struct door *doors;

/* evhttp takes its callbacks back when it frees a connection. */
static bool has_left(struct bufferevent *connection)
{
    bufferevent_data_cb reads, writes;
    bufferevent_event_cb events;
    bufferevent_getcb(connection, &reads, &writes, &events, NULL);
    return !reads && !writes && !events;
}

/* Lets go of those that evhttp has let go of. */
static void look_round(struct door *door)
{
    for (unsigned i = 0; i < door->count;) {
        if (has_left(door->guests[i].connection)) {
            bufferevent_decref(door->guests[i].connection); /* the last reference: its descriptor is closed */
            door->guests[i] = door->guests[--door->count];
        } else {
            i++;
        }
    }
    if (door->closed && door->count < DOOR_CONNECTIONS) {
        door->closed = false;
        evconnlistener_enable(door->listener);
    }
}

static void look_soon(struct door *door)
{
    if (door->closed)
        event_add(door->look, &often);
    else if (door->count > 0 && !event_pending(door->look, EV_TIMEOUT, NULL))
        event_add(door->look, &rarely);
}

/* Nobody more is accepted until somebody has left, or a while has passed. */
static void shut(struct door *door)
{
    door->closed = true;
    evconnlistener_disable(door->listener);
    look_soon(door);
}

/* No descriptor is left, say: who waits would wake the loop again and again. */
static void on_accept_failed(struct evconnlistener *listener, void *context)
{
    struct door *door = doors;
    (void)context;
    while (door && door->listener != listener)
        door = door->next;
    if (door)
        shut(door);
}

static void on_look(evutil_socket_t descriptor, short what, void *context)
{
    struct door *door = context;
    int64_t now = clock_monotonic();
    (void)descriptor;
    (void)what;
    /* To evhttp this is a peer that is silent. */
    for (unsigned i = 0; i < door->count; i++)
        if (now - door->guests[i].since > DOOR_LIFE)
            bufferevent_trigger_event(door->guests[i].connection, BEV_EVENT_TIMEOUT | BEV_EVENT_READING, 0);
    look_round(door);
    look_soon(door);
}

/* evhttp has accepted a connection and wants a bufferevent for it. */
static struct bufferevent *on_guest(struct event_base *base, void *context)
{
    struct door *door = context;
    struct bufferevent *connection = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    if (door->count + 1 >= DOOR_CONNECTIONS)
        look_round(door);
    if (!connection || door->count == DOOR_CONNECTIONS)
        return connection; /* not reached while the listener does as it is told */
    bufferevent_incref(connection);
    door->guests[door->count++] = (struct guest){connection, clock_monotonic()};
    if (door->count == DOOR_CONNECTIONS)
        shut(door);
    look_soon(door);
    return connection;
}

enum mp_error door_open(struct event_base *base, struct evhttp *http, struct evhttp_bound_socket *socket,
                        struct door **result, struct fault *fault)
{
    struct door *door = memory_allocate(sizeof *door);
    if (!door)
        return fault_memory(fault);
    door->listener = evhttp_bound_socket_get_listener(socket);
    door->look = evtimer_new(base, on_look, door);
    if (!door->look) {
        memory_release(door);
        return fault_memory(fault);
    }
    evhttp_set_bevcb(http, on_guest, door);
    evconnlistener_set_error_cb(door->listener, on_accept_failed);
    door->next = doors;
    doors = door;
    *result = door;
    return MP_OK;
}

void door_close(struct door *door)
{
    if (!door)
        return;
    struct door **at = &doors;
    while (*at && *at != door)
        at = &(*at)->next;
    if (*at)
        *at = door->next;
    for (unsigned i = 0; i < door->count; i++)
        bufferevent_decref(door->guests[i].connection);
    event_free(door->look);
    memory_release(door);
}

unsigned door_connections(const struct door *door)
{
    unsigned here = 0;
    for (unsigned i = 0; i < door->count; i++)
        here += !has_left(door->guests[i].connection);
    return here;
}
