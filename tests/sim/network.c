#include "sim.h"

#include <stdlib.h>

/*
 * A lane has a connection of its own, as in transport/channel_nng.c. What one connection carries keeps its order, but
 * for late copies: they come whenever they like, also on connections that nobody knows.
 */
struct net_lane {
    bool busy;
    bool connecting;
    uint32_t id; /* of the request under way */
    struct blob *request;
    uint64_t connection; /* 0: none */
    int64_t resend;      /* when the request is sent again */
    int64_t to_relay;    /* when the last request arrives there: the next one is not earlier */
    int64_t to_client;
};

struct link {
    struct channel channel; /* first */
    struct world *world;
    uint32_t number;
    bool closed;
    int64_t isolated; /* nothing connects before */
    struct net_lane lanes[CHANNEL_LANES];
    struct channel_reply *first, *last;
};

struct connection {
    uint32_t link, lane;
    bool open_at_relay;
    bool open_at_client;
};

struct network {
    struct link **links;
    uint32_t links_count, links_capacity;
    struct connection *connections; /* by number minus 1 */
    size_t connections_count, connections_capacity;
    uint32_t next_id;
};

enum { NO_LINK = UINT32_MAX };
#define RESEND (60 * SECOND)

struct network *network_new(void)
{
    return calloc(1, sizeof(struct network));
}

static void link_clear(struct link *link)
{
    for (unsigned lane = 0; lane < CHANNEL_LANES; lane++) {
        blob_drop(link->lanes[lane].request);
        link->lanes[lane].request = NULL;
        link->lanes[lane].busy = false;
    }
    while (link->first) {
        struct channel_reply *reply = link->first;
        link->first = reply->next;
        channel_reply_free(reply);
    }
    link->last = NULL;
}

void network_free(struct network *network)
{
    for (uint32_t i = 0; i < network->links_count; i++) {
        link_clear(network->links[i]);
        free(network->links[i]);
    }
    free(network->links);
    free(network->connections);
    free(network);
}

static struct connection *connection_of(const struct network *network, uint64_t number)
{
    return number > 0 && number <= network->connections_count ? &network->connections[number - 1] : NULL;
}

static uint64_t connection_make(struct network *network, uint32_t link, uint32_t lane)
{
    if (network->connections_count == network->connections_capacity) {
        network->connections_capacity = network->connections_capacity ? network->connections_capacity * 2 : 64;
        network->connections =
            realloc(network->connections, network->connections_capacity * sizeof *network->connections);
        if (!network->connections)
            abort();
    }
    network->connections[network->connections_count++] = (struct connection){link, lane, true, link != NO_LINK};
    return network->connections_count;
}

bool network_is_open(const struct world *world, uint64_t connection)
{
    const struct connection *found = connection_of(world->network, connection);
    return found && found->open_at_relay;
}

bool network_has_reply(const struct world *world, uint32_t link)
{
    return world->network->links[link]->first != NULL;
}

/* ---- requests -------------------------------------------------------------------------------------------------- */

static void schedule_request(struct world *world, uint64_t connection, const struct net_lane *lane, int64_t at)
{
    struct happening request = {
        .at = at, .kind = HAPPEN_REQUEST, .connection = connection, .id = lane->id, .blob = blob_hold(lane->request)};
    sim_schedule(world, &request);
}

static int64_t travel(struct world *world)
{
    const struct weather *weather = &world->weather;
    return 50 + sim_delay(world, !world->calm && sim_chance(world, weather->slow) ? 2 * SECOND : MILLISECOND);
}

/* Sends LANE's request on its connection. */
static void transmit(struct link *link, uint32_t number)
{
    struct world *world = link->world;
    const struct weather *weather = &world->weather;
    struct net_lane *lane = &link->lanes[number];
    int64_t at = world->now + travel(world);
    if (at < lane->to_relay)
        at = lane->to_relay;
    lane->to_relay = at;
    if (world->calm || !sim_chance(world, weather->lose)) {
        schedule_request(world, lane->connection, lane, at);
    }
    if (!world->calm && sim_chance(world, weather->repeat)) {
        world->statistics->repeats++;
        schedule_request(world, lane->connection, lane, at + sim_delay(world, 3 * SECOND));
    }
    if (!world->calm && sim_chance(world, weather->late)) {
        /* A copy on a way of its own, which ends some time after. */
        uint64_t ghost = connection_make(world->network, NO_LINK, number);
        int64_t late = world->now + sim_delay(world, 40 * SECOND);
        world->statistics->repeats++;
        schedule_request(world, ghost, lane, late);
        struct happening end = {.at = late + sim_delay(world, 10 * SECOND), .kind = HAPPEN_CLOSED, .connection = ghost};
        sim_schedule(world, &end);
    }
    lane->resend = world->now + RESEND;
    struct happening resend = {
        .at = lane->resend, .kind = HAPPEN_RESEND, .link = link->number, .lane = number, .id = lane->id};
    sim_schedule(world, &resend);
}

static void plan_connect(struct link *link, uint32_t number, int64_t delay)
{
    struct net_lane *lane = &link->lanes[number];
    if (lane->connecting || link->closed)
        return;
    lane->connecting = true;
    struct happening connect = {
        .at = link->world->now + delay, .kind = HAPPEN_CONNECT, .link = link->number, .lane = number};
    sim_schedule(link->world, &connect);
}

static void connect_now(struct link *link, uint32_t number)
{
    struct world *world = link->world;
    struct net_lane *lane = &link->lanes[number];
    lane->connecting = false;
    if (link->closed || lane->connection != 0)
        return;
    if (!broker_is_up(world) || link->isolated > world->now) {
        plan_connect(link, number, 100 * MILLISECOND + sim_delay(world, SECOND));
        return;
    }
    lane->connection = connection_make(world->network, link->number, number);
    lane->to_relay = lane->to_client = 0;
    if (lane->busy)
        transmit(link, number);
}

static void drop_connection(struct link *link, uint32_t number)
{
    struct net_lane *lane = &link->lanes[number];
    connection_of(link->world->network, lane->connection)->open_at_client = false;
    lane->connection = 0;
    if (lane->busy)
        plan_connect(link, number, MILLISECOND + sim_delay(link->world, 500 * MILLISECOND));
}

/* Both ends lose LANE's connection, each in its own time; what is under way may arrive before that. */
static void cut(struct link *link, uint32_t number, bool at_once)
{
    struct world *world = link->world;
    uint64_t connection = link->lanes[number].connection;
    if (connection == 0)
        return;
    int64_t delay = at_once ? 0 : sim_delay(world, 20 * MILLISECOND);
    if (!at_once && sim_chance(world, world->weather.half_open))
        delay = sim_delay(world, 60 * SECOND);
    world->statistics->cuts++;
    drop_connection(link, number);
    struct happening closed = {.at = world->now + delay, .kind = HAPPEN_CLOSED, .connection = connection};
    sim_schedule(world, &closed);
}

/* ---- the channel's table --------------------------------------------------------------------------------------- */

static struct link *link_of(const struct channel *channel)
{
    return (struct link *)(uintptr_t)channel;
}

static enum mp_error link_send(struct channel *channel, enum channel_lane number, const struct iovec *parts, int count,
                               struct fault *fault)
{
    struct link *link = link_of(channel);
    struct net_lane *lane = &link->lanes[number];
    uint8_t *bytes;
    size_t size = 0;
    for (int i = 0; i < count; i++)
        size += parts[i].iov_len;
    if (lane->busy)
        sim_fail(link->world, "link %u: a second request on lane %u", link->number, (unsigned)number);
    if (!(lane->request = blob_make(size, &bytes)))
        return fault_memory(fault);
    for (int i = 0; i < count; i++) {
        memcpy(bytes, parts[i].iov_base, parts[i].iov_len);
        bytes += parts[i].iov_len;
    }
    lane->busy = true;
    lane->id = ++link->world->network->next_id;
    if (lane->connection != 0)
        transmit(link, number);
    else
        plan_connect(link, number, sim_delay(link->world, MILLISECOND));
    return MP_OK;
}

static struct channel_reply *link_receive(struct channel *channel)
{
    struct link *link = link_of(channel);
    struct channel_reply *reply = link->first;
    if (reply) {
        link->first = reply->next;
        if (!link->first)
            link->last = NULL;
        reply->next = NULL;
    }
    return reply;
}

static void link_forget(struct channel *channel, enum channel_lane number)
{
    struct net_lane *lane = &link_of(channel)->lanes[number];
    lane->busy = false;
    blob_drop(lane->request);
    lane->request = NULL;
    struct link *link = link_of(channel);
    struct channel_reply **at = &link->first;
    link->last = NULL;
    while (*at) {
        struct channel_reply *reply = *at;
        if (reply->lane == number) {
            *at = reply->next;
            channel_reply_free(reply);
        } else {
            link->last = reply;
            at = &reply->next;
        }
    }
}

static int link_descriptor(const struct channel *channel)
{
    (void)channel;
    return -1;
}

static bool link_connected(const struct channel *channel, enum channel_lane lane)
{
    return link_of(channel)->lanes[lane].connection != 0;
}

static void link_close(struct channel *channel)
{
    struct link *link = link_of(channel);
    for (uint32_t lane = 0; lane < CHANNEL_LANES; lane++) {
        link->lanes[lane].busy = false;
        cut(link, lane, false);
    }
    link->closed = true;
    link_clear(link);
}

static const struct channel_operations operations = {
    .send = link_send,
    .receive = link_receive,
    .forget = link_forget,
    .descriptor = link_descriptor,
    .connected = link_connected,
    .close = link_close,
};

struct channel *network_open(struct world *world, uint32_t *number)
{
    struct network *network = world->network;
    struct link *link = calloc(1, sizeof *link);
    if (network->links_count == network->links_capacity) {
        network->links_capacity = network->links_capacity ? network->links_capacity * 2 : 16;
        network->links = realloc(network->links, network->links_capacity * sizeof(struct link *));
    }
    if (!link || !network->links)
        abort();
    link->channel.operations = &operations;
    link->world = world;
    link->number = *number = network->links_count;
    network->links[network->links_count++] = link;
    return &link->channel;
}

/* ---- what happens ---------------------------------------------------------------------------------------------- */

static void release_reply(void *owner)
{
    blob_drop(owner);
}

static void deliver(struct link *link, uint32_t number, uint32_t id, struct blob *blob)
{
    struct net_lane *lane = &link->lanes[number];
    if (link->closed || !lane->busy || lane->id != id)
        return;
    struct channel_reply *reply = calloc(1, sizeof *reply);
    if (!reply)
        abort();
    *reply = (struct channel_reply){.lane = (enum channel_lane)number,
                                    .data = blob->data,
                                    .size = blob->size,
                                    .owner = blob_hold(blob),
                                    .release = release_reply};
    lane->busy = false;
    blob_drop(lane->request);
    lane->request = NULL;
    if (link->last)
        link->last->next = reply;
    else
        link->first = reply;
    link->last = reply;
}

void network_reply(struct world *world, uint64_t number, uint32_t id, struct blob *blob)
{
    const struct connection *connection = connection_of(world->network, number);
    struct link *link = connection && connection->link != NO_LINK ? world->network->links[connection->link] : NULL;
    if (!link || (!world->calm && sim_chance(world, world->weather.lose))) {
        blob_drop(blob);
        return;
    }
    struct net_lane *lane = &link->lanes[connection->lane];
    int64_t at = world->now + travel(world);
    if (lane->connection == number) {
        if (at < lane->to_client)
            at = lane->to_client;
        lane->to_client = at;
    }
    struct happening reply = {.at = at, .kind = HAPPEN_REPLY, .connection = number, .id = id, .blob = blob};
    sim_schedule(world, &reply);
}

static void close_at_relay(struct world *world, uint64_t number)
{
    struct connection *connection = connection_of(world->network, number);
    if (!connection || !connection->open_at_relay)
        return;
    connection->open_at_relay = false;
    broker_closed(world, number);
}

void network_happen(struct world *world, const struct happening *happening)
{
    struct network *network = world->network;
    const struct connection *connection = connection_of(network, happening->connection);
    switch (happening->kind) {
    case HAPPEN_REQUEST:
        if (connection->open_at_relay && broker_is_up(world))
            broker_request(world, happening->connection, happening->id, blob_hold(happening->blob));
        break;
    case HAPPEN_REPLY:
        if (connection->open_at_client)
            deliver(network->links[connection->link], connection->lane, happening->id, happening->blob);
        break;
    case HAPPEN_CLOSED:
        close_at_relay(world, happening->connection);
        break;
    case HAPPEN_CUT:
        if (connection->open_at_client)
            drop_connection(network->links[connection->link], connection->lane);
        break;
    case HAPPEN_CONNECT:
        connect_now(network->links[happening->link], happening->lane);
        break;
    case HAPPEN_RESEND: {
        struct link *link = network->links[happening->link];
        const struct net_lane *lane = &link->lanes[happening->lane];
        if (lane->busy && lane->id == happening->id && lane->connection != 0 && lane->resend <= world->now)
            transmit(link, happening->lane);
        break;
    }
    case HAPPEN_RELAY_START:
    case HAPPEN_STROBE:
    case HAPPEN_FAULT:
        break;
    }
}

void network_refuse(struct world *world, uint64_t number)
{
    struct happening cut_off = {.at = world->now + travel(world), .kind = HAPPEN_CUT, .connection = number};
    close_at_relay(world, number);
    sim_schedule(world, &cut_off);
}

void network_cut_one(struct world *world)
{
    struct network *network = world->network;
    if (network->links_count == 0)
        return;
    struct link *link = network->links[sim_below(world, network->links_count)];
    cut(link, (uint32_t)sim_below(world, CHANNEL_LANES), false);
}

void network_cut_all(struct world *world, bool at_once)
{
    struct network *network = world->network;
    for (uint32_t i = 0; i < network->links_count; i++)
        for (uint32_t lane = 0; lane < CHANNEL_LANES; lane++)
            cut(network->links[i], lane, at_once);
    /* The relay is no more: what was on its way to it is lost. */
    for (size_t i = 0; at_once && i < network->connections_count; i++)
        network->connections[i].open_at_relay = false;
}

void network_isolate(struct world *world, int64_t duration)
{
    struct network *network = world->network;
    if (network->links_count == 0)
        return;
    struct link *link = network->links[sim_below(world, network->links_count)];
    link->isolated = world->now + duration;
    for (uint32_t lane = 0; lane < CHANNEL_LANES; lane++)
        cut(link, lane, false);
}

void network_heal(struct world *world)
{
    for (uint32_t i = 0; i < world->network->links_count; i++)
        world->network->links[i]->isolated = 0;
}
