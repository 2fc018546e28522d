#include "client/private.h"

#include "base/memory.h"
#include "message/trace.h"

#include <stdio.h>

enum { /* microseconds */
       PAUSE_FIRST = 10000,
       PAUSE_LONGEST = 500000,
       STAMP_WITHIN = 1000000,
       PROBE_FIRST = 2000000,
       PROBE_LATER = 30000000
};

/* ---- lanes -------------------------------------------------------------------------------- */

bool client_lane_free(const struct client *client, enum channel_lane lane)
{
    return !client->broken && !client->lanes[lane].busy && client->lanes[lane].wake <= client->now;
}

/* The lanes on which a large request can be under way. */
static bool is_heavy(enum channel_lane lane)
{
    return lane == CHANNEL_PUBLISH || lane == CHANNEL_SETTLE;
}

/* Of what goes out as NUMBER of SESSION on LANE; 0: it has none. */
static uint32_t next_attempt(const struct client *client, enum channel_lane lane, uint64_t session, uint64_t number)
{
    const struct client_lane *state = &client->lanes[lane];
    if (lane == CHANNEL_CONTROL || number == 0) {
        return 0;
    }
    bool again = state->numbered.session == session && state->numbered.number == number;
    return again ? protocol_next_attempt(state->numbered.attempt) : 1;
}

enum mp_error client_send(struct client *client, enum channel_lane lane, enum protocol_type type, unsigned flags,
                          uint64_t number, const struct buffer *head, const struct buffer *rest, struct fault *fault)
{
    uint64_t session = type == PROTOCOL_HELLO ? client->settings.session : client->welcome.session;
    struct client_lane *state = &client->lanes[lane];
    uint32_t attempt = next_attempt(client, lane, session, number);
    struct buffer *header = &client->scratch;
    header->size = 0;
    if (protocol_put_request(header, type, lane, session, number) != MP_OK) {
        return fault_memory(fault);
    }
    protocol_set_flags(header, 0, flags);
    protocol_set_attempt(header, 0, attempt);
    struct iovec parts[3] = {{.iov_base = header->data, .iov_len = header->size}};
    int count = 1;
    if (head != NULL && head->size > 0) {
        parts[count++] = (struct iovec){.iov_base = head->data, .iov_len = head->size};
    }
    if (rest != NULL && rest->size > 0) {
        parts[count++] = (struct iovec){.iov_base = rest->data, .iov_len = rest->size};
    }
    enum mp_error error = client->channel->operations->send(client->channel, lane, parts, count, fault);
    if (error == MP_OK) {
        state->busy = true;
        state->type = type;
        state->number = number;
        state->session = session;
        if (attempt != 0) {
            state->numbered.session = session;
            state->numbered.number = number;
            state->numbered.attempt = attempt;
        }
        state->proofs = client->proofs;
        state->asked = -1;
        state->probe = CLOCK_NEVER;
        state->orphaned = CLOCK_NEVER;
    }
    return error;
}

void client_pause(struct client *client, enum channel_lane lane)
{
    struct client_lane *state = &client->lanes[lane];
    state->pause = state->pause == 0 ? PAUSE_FIRST : state->pause * 2;
    if (state->pause > PAUSE_LONGEST) {
        state->pause = PAUSE_LONGEST;
    }
    state->wake = client->now + state->pause;
}

void client_calm(struct client *client, enum channel_lane lane)
{
    client->lanes[lane].pause = 0;
    client->lanes[lane].wake = 0;
}

bool client_is_passing(enum mp_error status)
{
    return status == MP_ERR_AGAIN || status == MP_ERR_CLOSED;
}

void client_fail(struct client *client, enum mp_error error, const char *format, ...)
{
    if (client->broken) {
        return;
    }
    client->broken = true;
    char text[FAULT_TEXT];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    client->settings.failed(client->settings.context, error, text);
}

/* ---- the session -------------------------------------------------------------------------- */

/* What is under way on LANE will not be answered. */
static void give_up(struct client *client, enum channel_lane lane)
{
    client->channel->operations->forget(client->channel, lane);
    client->lanes[lane].busy = false;
    if (lane == CHANNEL_PUBLISH) {
        client_publish_lost(client);
    } else {
        client_settle_lost(client);
    }
}

/* See to the other lanes' requests in the session that is lost. */
static void orphan_others(struct client *client)
{
    for (enum channel_lane lane = 0; lane < CHANNEL_LANES; lane++) {
        struct client_lane *state = &client->lanes[lane];
        if (!is_heavy(lane) || !state->busy || state->session != client->welcome.session) {
            continue;
        }
        if (state->number > 1 || state->type == PROTOCOL_ROOM) {
            give_up(client, lane);
        } else {
            state->orphaned = client->now;
        }
    }
}

void client_session_lost(struct client *client, enum channel_lane lane)
{
    if (!client->greeted || client->lanes[lane].session != client->welcome.session) {
        return;
    }
    if (!is_heavy(lane) && client->lanes[lane].proofs != client->proofs) {
        /* A late answer, from before the relay took this young session's first request: it knows the session now. */
        client_pause(client, lane);
        return;
    }
    client->greeted = false;
    client->held = 0;
    client_held(client);
    orphan_others(client);
    client_commit_drop(client, MP_ERR_STALE);
    if (client->control.leaving) {
        client->control.left = true;
        return;
    }
    if (++client->in_vain > CLIENT_SESSIONS_IN_VAIN) {
        client_fail(client, MP_ERR_SESSION, "the relay gives sessions and does not know them after");
        return;
    }
    client->control.hello = true;
    if (client->in_vain > 1) {
        client_pause(client, CHANNEL_CONTROL);
    }
}

static void welcome(struct client *client, const struct protocol_reply *reply)
{
    struct protocol_welcome welcome;
    if (protocol_read_welcome(reply, &welcome) != MP_OK) {
        client_fail(client, MP_ERR_FORMAT, "the relay's greeting cannot be understood");
        return;
    }
    bool restarted = welcome.instance != client->welcome.instance;
    if (restarted) {
        client->in_vain = 0; /* a relay that was started again cannot know what the one before gave */
    }
    client->welcome = welcome;
    client->greeted = true;
    client->control.hello = false;
    client_calm(client, CHANNEL_CONTROL);
    client_publish_welcomed(client, restarted);
    if (client->broken) {
        return;
    }
    client_fetch_welcomed(client);
    client_settle_welcomed(client);
    client->settings.session = 0; /* when this one is lost, the next is new */
    if (client->settings.welcomed != NULL) {
        client->settings.welcomed(client->settings.context, &client->welcome);
    }
}

/* ---- the control lane --------------------------------------------------------------------- */

uint32_t client_lease_time(const struct client *client)
{
    uint32_t lease = client->fetch.subscription.lease;
    return lease != 0 ? lease : client->welcome.lease;
}

/*
 * How often leases are extended, in microseconds. Besides keeping them, an extension tells a relay that had lost this
 * client's connection, and would end its leases within five seconds, that it is there.
 */
static int64_t extension_period(const struct client *client)
{
    enum { SIGN_OF_LIFE = 2000000 };
    int64_t third = (int64_t)client_lease_time(client) * 1000 / 3;
    return third < SIGN_OF_LIFE ? third : SIGN_OF_LIFE;
}

bool client_lease_holds(const struct client *client, uint64_t lease, int64_t now)
{
    return lease == 0 || (client->greeted && lease > client->fetch.lease_base && lease > client->control.lapsed &&
                          now < client->control.leased_until);
}

/* Whether those that are held, and have not lapsed, hold now. */
static bool leases_hold(const struct client *client)
{
    return client->held == 0 || client->now < client->control.leased_until;
}

/*
 * They may have come at any time since this was called before: the program may have been stopped since. Beside older
 * leases, as long as those hold, what has come is not told apart from them.
 */
void client_leased(struct client *client, uint64_t lease)
{
    if (!leases_hold(client)) {
        client->control.lapsed = lease - 1;
    }
    if (client->held == 0 || !leases_hold(client)) {
        client->control.leased_until = client->before + (int64_t)client_lease_time(client) * 1000;
    }
}

void client_held(struct client *client)
{
    int64_t period = extension_period(client);
    if (client->held == 0) {
        client->control.extend_at = CLOCK_NEVER;
        client->control.extend = false;
    } else if (client->control.extend_at == CLOCK_NEVER && period > 0) {
        client->control.extend_at = client->now + period;
    }
}

void client_release(struct client *client, uint32_t messages)
{
    client->held -= client->held < messages ? client->held : messages;
    client_held(client);
}

uint64_t client_delivery(const struct client *client, uint64_t lease)
{
    return trace_delivery(client->welcome.session, lease - client->fetch.lease_base);
}

void client_abandon(struct client *client, uint64_t lease, uint32_t messages)
{
    if (lease > client->fetch.lease_base) {
        client_release(client, messages);
    }
}

/* Whether all that LEAVE must wait for is done. A publication that waits for room was not kept by the relay. */
static bool may_leave(const struct client *client)
{
    bool publishing = client->publication.active && !client->publication.wait_room;
    return client->control.leaving && !client->control.left && !publishing && !client_is_settling(client);
}

static void control_pump(struct client *client)
{
    struct client_control *control = &client->control;
    if (!client_lane_free(client, CHANNEL_CONTROL)) {
        return;
    }
    struct buffer body = {0};
    const struct buffer *head = &body;
    enum mp_error error = MP_OK;
    enum protocol_type type;
    if (control->hello) {
        type = PROTOCOL_HELLO;
        error = protocol_put_hello(&body, client->name, client->settings.keep);
    } else if (!client->greeted) {
        return;
    } else if (control->extend) {
        type = PROTOCOL_EXTEND;
        error = protocol_put_u32(&body, client_lease_time(client));
    } else if (control->asking) {
        type = PROTOCOL_ADMIN;
        head = &control->ask;
    } else if (may_leave(client)) {
        type = PROTOCOL_LEAVE;
    } else {
        return;
    }
    if (error == MP_OK) {
        error = client_send(client, CHANNEL_CONTROL, type, 0, ++control->number, head, NULL, NULL);
    }
    if (error != MP_OK) {
        client_pause(client, CHANNEL_CONTROL);
    } else if (type == PROTOCOL_EXTEND) {
        control->extend_sent = client->now;
    }
    buffer_free(&body);
}

static void asked(struct client *client, const struct protocol_reply *reply, const struct fault *fault)
{
    client->control.asking = false;
    if (client->settings.answered == NULL) {
        return;
    }
    if (reply->status == MP_OK) {
        client->settings.answered(client->settings.context, MP_OK, (const char *)reply->body, reply->body_size);
    } else {
        client->settings.answered(client->settings.context, reply->status, fault->text, strlen(fault->text));
    }
}

static void control_answered(struct client *client, const struct protocol_reply *reply)
{
    struct client_control *control = &client->control;
    struct fault fault = {0};
    uint64_t expected;
    if (reply->status != MP_OK && protocol_read_error(reply, &expected, &fault) != MP_OK) {
        client_fail(client, MP_ERR_FORMAT, "the relay's reply cannot be understood");
        return;
    }
    if (reply->type == PROTOCOL_LEAVE) {
        control->left = true;
        return;
    }
    if (client_is_passing(reply->status)) {
        client_pause(client, CHANNEL_CONTROL);
        return;
    }
    client_calm(client, CHANNEL_CONTROL);
    if (reply->type == PROTOCOL_HELLO) {
        if (reply->status == MP_OK) {
            welcome(client, reply);
        } else {
            client_fail(client, reply->status, "%s", fault_text(&fault));
        }
    } else if (reply->status == MP_ERR_SESSION) {
        client_session_lost(client, CHANNEL_CONTROL);
    } else if (reply->type == PROTOCOL_EXTEND) {
        /* Refused for another reason: the next third of the lease will see it tried again. */
        control->extend = false;
        client->in_vain = 0;
        if (reply->status == MP_OK && leases_hold(client)) {
            control->leased_until = control->extend_sent + (int64_t)client_lease_time(client) * 1000;
        }
    } else {
        client->in_vain = 0;
        asked(client, reply, &fault);
    }
}

/* ---- turns -------------------------------------------------------------------------------- */

static void answered(struct client *client, enum channel_lane lane, const struct protocol_reply *reply,
                     struct client_hold *hold)
{
    struct client_lane *state = &client->lanes[lane];
    if (!state->busy || reply->type != state->type || reply->number != state->number) {
        return;
    }
    state->busy = false;
    if (reply->status == MP_OK && reply->type != PROTOCOL_HELLO && state->session == client->welcome.session) {
        client->proofs++;
    }
    switch (lane) {
    case CHANNEL_PUBLISH:
        client_publish_answered(client, reply);
        break;
    case CHANNEL_SETTLE:
        client_settle_answered(client, reply);
        break;
    case CHANNEL_FETCH:
        client_fetch_answered(client, reply, hold);
        break;
    case CHANNEL_CONTROL:
        control_answered(client, reply);
        break;
    case CHANNEL_LANES:
        break;
    }
}

static void receive(struct client *client, struct channel_reply *message)
{
    struct protocol_reply reply;
    struct client_hold *hold = memory_allocate(sizeof *hold);
    if (hold == NULL) {
        channel_reply_free(message);
        client_fail(client, MP_ERR_MEMORY, "no memory");
        return;
    }
    *hold = (struct client_hold){.references = 1, .reply = message};
    enum mp_error error = protocol_read_reply(message->data, message->size, &reply);
    if (error == MP_OK) {
        answered(client, message->lane, &reply, hold);
    } else if (error == MP_ERR_VERSION) {
        client_fail(client, error, "the relay speaks another version of the protocol: use msgpipe %s there too",
                    mp_version());
    } else {
        client_fail(client, error, "what answers there is not a msgpipe relay");
    }
    client_hold_free(hold);
}

/* Gives the requests that were sent since the last turn their time. */
static void stamp(struct client *client)
{
    if (client->publication.active && client->publication.since < 0) {
        client->publication.since = client->now;
    }
    struct client_commit *commit = &client->settlements.commit;
    if (commit->under_way && commit->since < 0) {
        commit->since = client->now;
    }
    for (enum channel_lane lane = 0; lane < CHANNEL_LANES; lane++) {
        struct client_lane *state = &client->lanes[lane];
        if (is_heavy(lane) && state->busy && state->asked < 0) {
            state->asked = client->now;
            state->probe = client->now + PROBE_FIRST;
        }
    }
}

/* Looks after requests that have had no answer for long. Extending leases tells whether the relay knows the session. */
static void probe(struct client *client)
{
    for (enum channel_lane lane = 0; lane < CHANNEL_LANES && !client->broken; lane++) {
        struct client_lane *state = &client->lanes[lane];
        if (!is_heavy(lane) || !state->busy) {
            continue;
        }
        if (client->now >= state->probe) {
            state->probe = client->now + PROBE_LATER;
            client->control.extend = client->greeted;
        }
        if (state->orphaned != CLOCK_NEVER && client->now - state->orphaned > CLIENT_DOUBT) {
            give_up(client, lane);
        }
    }
}

static void pump(struct client *client)
{
    struct client_control *control = &client->control;
    stamp(client);
    probe(client);
    if (client->held > 0 && client->now >= control->extend_at) {
        control->extend = true;
        control->extend_at = client->now + extension_period(client);
    }
    client_settle_pump(client);
    if (client->greeted && !client->broken) {
        client_publish_pump(client);
        client_fetch_pump(client);
    }
    if (!client->broken) {
        control_pump(client);
    }
}

void client_process(struct client *client, int64_t now)
{
    client->before = client->now;
    client->now = now;
    stamp(client);
    struct channel_reply *message;
    while (!client->broken && (message = client->channel->operations->receive(client->channel)) != NULL) {
        receive(client, message);
    }
    if (!client->broken) {
        pump(client);
    }
}

/* Whether a lane that sleeps until `wake` has something to send then. */
static bool has_work(const struct client *client, enum channel_lane lane)
{
    const struct client_control *control = &client->control;
    switch (lane) {
    case CHANNEL_PUBLISH:
        return client->greeted && client->publication.active;
    case CHANNEL_SETTLE:
        return client->greeted && (client->settlements.waiting_count > 0 || client->settlements.request.size > 0 ||
                                   client->settlements.commit.active);
    case CHANNEL_FETCH:
        return client->greeted && client->fetch.active;
    case CHANNEL_CONTROL:
        return control->hello || (client->greeted && (control->extend || control->asking || may_leave(client)));
    case CHANNEL_LANES:
        break;
    }
    return false;
}

static int64_t lane_due_at(const struct client *client, enum channel_lane lane)
{
    const struct client_lane *state = &client->lanes[lane];
    if (!state->busy) {
        return has_work(client, lane) ? state->wake : CLOCK_NEVER;
    }
    if (!is_heavy(lane)) {
        return CLOCK_NEVER;
    }
    if (state->asked < 0) {
        return client->now + STAMP_WITHIN; /* a client that was idle for long learns the time soon */
    }
    int64_t orphan = state->orphaned == CLOCK_NEVER ? CLOCK_NEVER : state->orphaned + CLIENT_DOUBT + 1;
    return orphan < state->probe ? orphan : state->probe;
}

int64_t client_due(const struct client *client)
{
    if (client->broken) {
        return CLOCK_NEVER;
    }
    if (client->settlements.stale > 0) {
        return client->now;
    }
    int64_t due = client->greeted ? client->control.extend_at : CLOCK_NEVER;
    for (enum channel_lane lane = 0; lane < CHANNEL_LANES; lane++) {
        int64_t lane_due = lane_due_at(client, lane);
        due = lane_due < due ? lane_due : due;
    }
    return due;
}

/* ---- the rest of the interface ------------------------------------------------------------ */

enum mp_error client_open(struct channel *channel, const struct client_settings *settings, int64_t now,
                          struct client **result, struct fault *fault)
{
    struct client *client = memory_allocate(sizeof *client);
    if (client == NULL) {
        return fault_memory(fault);
    }
    client->settings = *settings;
    snprintf(client->name, sizeof client->name, "%s", settings->name != NULL ? settings->name : "");
    client->settings.name = client->name;
    client->channel = channel;
    client->now = client->before = now;
    client->control.extend_at = CLOCK_NEVER;
    client->control.hello = true;
    client->publication.number = client->settlements.number = client->fetch.number = 1;
    control_pump(client);
    *result = client;
    return MP_OK;
}

void client_close(struct client *client)
{
    if (client == NULL) {
        return;
    }
    client->channel->operations->close(client->channel);
    client_publish_free(client);
    client_fetch_free(client);
    client_settle_free(client);
    buffer_free(&client->control.ask);
    buffer_free(&client->scratch);
    memory_release(client);
}

void client_trim(struct client *client)
{
    client_publish_trim(client);
    client_settle_trim(client);
    buffer_free(&client->scratch);
    if (client->channel->operations->trim != NULL) {
        client->channel->operations->trim(client->channel);
    }
}

int client_descriptor(const struct client *client)
{
    return client->channel->operations->descriptor(client->channel);
}

bool client_is_welcome(const struct client *client)
{
    return client->greeted && !client->broken;
}

const struct protocol_welcome *client_welcome(const struct client *client)
{
    return &client->welcome;
}

void client_hold_free(struct client_hold *hold)
{
    if (hold != NULL && --hold->references == 0) {
        channel_reply_free(hold->reply);
        memory_release(hold);
    }
}

enum mp_error client_leave(struct client *client)
{
    if (client->broken) {
        return MP_ERR_CLOSED;
    }
    client->control.leaving = true;
    client_stop_fetching(client);
    if (!client->greeted) {
        client->control.hello = false;
        client->control.left = true;
    } else {
        control_pump(client);
    }
    return MP_OK;
}

bool client_has_left(const struct client *client)
{
    return client->control.left || client->broken;
}

enum mp_error client_ask(struct client *client, const char *json, size_t size, struct fault *fault)
{
    struct client_control *control = &client->control;
    if (client->broken || control->leaving) {
        return fault_set(fault, MP_ERR_CLOSED, "the client has left the relay");
    }
    if (control->asking) {
        return fault_set(fault, MP_ERR_BUSY, "another question waits for its answer");
    }
    control->ask.size = 0;
    if (buffer_append(&control->ask, json, size) != MP_OK) {
        return fault_memory(fault);
    }
    control->asking = true;
    control_pump(client);
    return MP_OK;
}
