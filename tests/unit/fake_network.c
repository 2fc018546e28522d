/* The network of fake_relay.h: what is on its way, the clients' ends, and time. */
#include "fake_relay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- events ------------------------------------------------------------------------------- */

enum { RESEND = 1000000, POLL = 100000 }; /* microseconds */

enum event_kind { EVENT_REQUEST, EVENT_REPLY, EVENT_AGAIN };

struct fake_event {
    struct fake_event *next;
    enum event_kind kind;
    int64_t time;
    struct fake_channel *channel;
    enum channel_lane lane;
    uint64_t id;   /* of the request on its channel */
    int64_t until; /* a long poll's end; 0: it has not begun */
    size_t size;
    uint8_t data[];
};

struct fake_lane {
    bool busy;
    uint64_t id;
    struct buffer request;
};

struct fake_channel {
    struct channel base;
    struct fake_network *network;
    uint64_t ids;
    struct fake_lane lanes[CHANNEL_LANES];
    struct channel_reply *first;
    struct channel_reply **last;
    int pipe[2]; /* always readable */
};

uint32_t fake_random(struct fake_network *network, uint32_t limit)
{
    network->random ^= network->random << 13;
    network->random ^= network->random >> 7;
    network->random ^= network->random << 17;
    return (uint32_t)((network->random >> 32) % limit);
}

bool fake_happens(struct fake_network *network, unsigned per_thousand)
{
    return fake_random(network, 1000) < per_thousand;
}

static void add_event(struct fake_channel *channel, enum event_kind kind, enum channel_lane lane, uint64_t id,
                      const struct buffer *bytes, int64_t wait, int64_t until)
{
    size_t size = bytes != NULL ? bytes->size : 0;
    struct fake_event *event = malloc(sizeof *event + size);
    assert_non_null(event);
    *event = (struct fake_event){.next = channel->network->events,
                                 .kind = kind,
                                 .time = channel->network->now + wait,
                                 .channel = channel,
                                 .lane = lane,
                                 .id = id,
                                 .until = until,
                                 .size = size};
    if (size > 0) {
        memcpy(event->data, bytes->data, size);
    }
    channel->network->events = event;
}

/* One copy of BYTES sets out, or two, or none. */
static void launch(struct fake_channel *channel, enum event_kind kind, enum channel_lane lane, uint64_t id,
                   const struct buffer *bytes)
{
    struct fake_network *network = channel->network;
    int copies = 1 + (fake_happens(network, network->repeat) ? 1 : 0);
    for (int i = 0; i < copies; i++) {
        int64_t wait = 30 + (network->delay > 0 ? fake_random(network, (uint32_t)network->delay) : 0);
        if (!fake_happens(network, network->lose) && !network->cut && !(network->cut_replies && kind == EVENT_REPLY)) {
            add_event(channel, kind, lane, id, bytes, wait, 0);
        }
    }
}

/* ---- the channel -------------------------------------------------------------------------- */

static enum mp_error channel_send(struct channel *base, enum channel_lane lane, const struct iovec *parts, int count,
                                  struct fault *fault)
{
    struct fake_channel *channel = (struct fake_channel *)base;
    struct fake_lane *state = &channel->lanes[lane];
    if (channel->network->live) {
        channel->network->now = clock_monotonic();
    }
    assert_false(state->busy);
    state->busy = true;
    state->id = ++channel->ids;
    state->request.size = 0;
    for (int i = 0; i < count; i++) {
        if (buffer_append(&state->request, parts[i].iov_base, parts[i].iov_len) != MP_OK) {
            state->busy = false;
            return fault_memory(fault);
        }
    }
    launch(channel, EVENT_REQUEST, lane, state->id, &state->request);
    add_event(channel, EVENT_AGAIN, lane, state->id, NULL, RESEND + fake_random(channel->network, RESEND), 0);
    return MP_OK;
}

static void catch_up(struct fake_network *network)
{
    if (network->live) {
        network->now = clock_monotonic();
        fake_happen(network);
    }
}

static struct channel_reply *channel_receive(struct channel *base)
{
    struct fake_channel *channel = (struct fake_channel *)base;
    catch_up(channel->network);
    struct channel_reply *reply = channel->first;
    if (reply != NULL) {
        channel->first = reply->next;
        if (channel->first == NULL) {
            channel->last = &channel->first;
        }
    }
    return reply;
}

static void channel_forget(struct channel *base, enum channel_lane lane)
{
    ((struct fake_channel *)base)->lanes[lane].busy = false;
}

static int channel_descriptor(const struct channel *base)
{
    return ((const struct fake_channel *)base)->pipe[0];
}

static bool channel_connected(const struct channel *base, enum channel_lane lane)
{
    (void)lane;
    return !((const struct fake_channel *)base)->network->cut;
}

static void release_reply(void *owner)
{
    free(owner);
}

static void channel_close(struct channel *base)
{
    struct fake_channel *channel = (struct fake_channel *)base;
    struct fake_event **at = &channel->network->events;
    while (*at != NULL) {
        struct fake_event *event = *at;
        if (event->channel == channel) {
            *at = event->next;
            free(event);
        } else {
            at = &event->next;
        }
    }
    struct channel_reply *reply;
    while ((reply = channel->first) != NULL) {
        channel->first = reply->next;
        channel_reply_free(reply);
    }
    for (int lane = 0; lane < CHANNEL_LANES; lane++) {
        buffer_free(&channel->lanes[lane].request);
    }
    close(channel->pipe[0]);
    close(channel->pipe[1]);
    free(channel);
}

static const struct channel_operations operations = {.send = channel_send,
                                                     .receive = channel_receive,
                                                     .forget = channel_forget,
                                                     .descriptor = channel_descriptor,
                                                     .connected = channel_connected,
                                                     .close = channel_close};

struct channel *fake_channel_open(struct fake_network *network)
{
    struct fake_channel *channel = calloc(1, sizeof *channel);
    assert_non_null(channel);
    channel->base.operations = &operations;
    channel->network = network;
    channel->last = &channel->first;
    assert_int_equal(pipe(channel->pipe), 0);
    assert_int_equal(write(channel->pipe[1], "", 1), 1);
    return &channel->base;
}

/* A reply has reached the client's end; only the first one to the request under way counts. */
static void deliver(const struct fake_event *event)
{
    struct fake_lane *lane = &event->channel->lanes[event->lane];
    if (!lane->busy || lane->id != event->id) {
        return;
    }
    lane->busy = false;
    struct channel_reply *reply = malloc(sizeof *reply);
    uint8_t *data = malloc(event->size);
    assert_non_null(reply);
    assert_non_null(data);
    memcpy(data, event->data, event->size);
    *reply = (struct channel_reply){
        .lane = event->lane, .data = data, .size = event->size, .owner = data, .release = release_reply};
    *event->channel->last = reply;
    event->channel->last = &reply->next;
}

static void arrive(struct fake_network *network, const struct fake_event *event)
{
    struct protocol_request request;
    struct buffer out = {0};
    uint32_t wait = 0;
    assert_int_equal(protocol_read_request(event->data, event->size, &request), MP_OK);
    assert_int_equal(request.lane, event->lane);
    if (!fake_admits(network, &request, event->size)) {
        return; /* its connection is closed */
    }
    enum mp_error error = fake_serve(network, &request, event->until == 0, &out, &wait);
    int64_t until = event->until != 0 ? event->until : network->now + (int64_t)wait * 1000;
    if (error == MP_ERR_AGAIN && network->now < until) {
        struct buffer bytes = {.data = (uint8_t *)event->data, .size = event->size};
        int64_t step = until - network->now < POLL ? until - network->now : POLL;
        add_event(event->channel, EVENT_REQUEST, event->lane, event->id, &bytes, step, until);
    } else {
        if (network->version != 0) {
            out.data[1] = (uint8_t)network->version;
        }
        launch(event->channel, EVENT_REPLY, event->lane, event->id, &out);
    }
    buffer_free(&out);
}

/* ---- time --------------------------------------------------------------------------------- */

static void resend(const struct fake_event *event)
{
    struct fake_lane *lane = &event->channel->lanes[event->lane];
    if (lane->busy && lane->id == event->id) {
        launch(event->channel, EVENT_REQUEST, event->lane, event->id, &lane->request);
        add_event(event->channel, EVENT_AGAIN, event->lane, event->id, NULL,
                  RESEND + fake_random(event->channel->network, RESEND), 0);
    }
}

static struct fake_event **earliest(struct fake_network *network)
{
    struct fake_event **found = &network->events;
    for (struct fake_event **at = &network->events; *at != NULL; at = &(*at)->next) {
        if ((*at)->time < (*found)->time) {
            found = at;
        }
    }
    return found;
}

int64_t fake_next(const struct fake_network *network)
{
    struct fake_event *event = *earliest((struct fake_network *)network);
    return event == NULL ? CLOCK_NEVER : event->time;
}

void fake_happen(struct fake_network *network)
{
    while (fake_next(network) <= network->now) {
        struct fake_event **at = earliest(network);
        struct fake_event *event = *at;
        *at = event->next;
        switch (event->kind) {
        case EVENT_REQUEST:
            arrive(network, event);
            break;
        case EVENT_REPLY:
            deliver(event);
            break;
        case EVENT_AGAIN:
            resend(event);
            break;
        }
        free(event);
    }
}

struct fake_network *fake_network_new(uint64_t seed)
{
    struct fake_network *network = calloc(1, sizeof *network);
    assert_non_null(network);
    network->now = 1000000;
    network->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    network->lease = 30000;
    network->session_life = INT64_C(3600000000);
    return network;
}

void fake_network_free(struct fake_network *network)
{
    assert_null(network->events);
    fake_forget_sessions(network, INT64_MAX);
    free(network);
}
