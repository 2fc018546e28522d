#include "client/private.h"

#include "base/memory.h"

/* ---- where a reader stands ---------------------------------------------------------------- */

/* The index of TOPIC, or where it belongs. */
static uint32_t position_index(const struct client_fetch *fetch, uint32_t topic)
{
    uint32_t low = 0;
    uint32_t high = fetch->positions_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (fetch->positions[middle].topic < topic) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static enum mp_error position_set(struct client_fetch *fetch, uint32_t topic, uint64_t next)
{
    uint32_t index = position_index(fetch, topic);
    if (index < fetch->positions_count && fetch->positions[index].topic == topic) {
        fetch->positions[index].next = next;
        return MP_OK;
    }
    if (fetch->positions_count == PROTOCOL_POSITIONS_MAX) {
        return MP_ERR_TOO_LARGE;
    }
    if (fetch->positions_count == fetch->positions_capacity) {
        uint32_t capacity = fetch->positions_capacity == 0 ? 8 : fetch->positions_capacity * 2;
        struct protocol_position *grown = memory_reallocate(fetch->positions, capacity * sizeof *fetch->positions);
        if (grown == NULL) {
            return MP_ERR_MEMORY;
        }
        fetch->positions = grown;
        fetch->positions_capacity = capacity;
    }
    memmove(fetch->positions + index + 1, fetch->positions + index,
            (fetch->positions_count - index) * sizeof *fetch->positions);
    fetch->positions[index] = (struct protocol_position){.topic = topic, .next = next};
    fetch->positions_count++;
    return MP_OK;
}

/* ---- asking ------------------------------------------------------------------------------- */

enum mp_error client_subscribe(struct client *client, const struct client_subscription *subscription,
                               struct fault *fault)
{
    struct client_fetch *fetch = &client->fetch;
    const char *group = subscription->group != NULL ? subscription->group : "";
    if (fetch->active) {
        return fault_set(fault, MP_ERR_BUSY, "a fetch is under way");
    }
    if (subscription->peek && group[0] == '\0') {
        return fault_set(fault, MP_ERR_INVALID, "only what a group has not settled can be looked at");
    }
    bool pattern;
    enum mp_error error = name_check_pattern(subscription->topic, strlen(subscription->topic), &pattern, fault);
    if (error == MP_OK && group[0] != '\0') {
        error = name_check_group(group, strlen(group), fault);
    }
    if (error != MP_OK) {
        return error;
    }
    memcpy(fetch->topic, subscription->topic, strlen(subscription->topic) + 1);
    memcpy(fetch->group, group, strlen(group) + 1);
    fetch->subscription = *subscription;
    fetch->subscription.topic = fetch->topic;
    fetch->subscription.group = fetch->group;
    if (fetch->subscription.max_bytes == 0) {
        fetch->subscription.max_bytes = FRAME_TARGET;
    }
    fetch->subscribed = true;
    fetch->began = false;
    fetch->positions_count = 0;
    return MP_OK;
}

/* Whether what is fetched is leased. */
static bool is_grouped(const struct client_fetch *fetch)
{
    return fetch->group[0] != '\0' && !fetch->subscription.peek;
}

/* The most messages that the next reply may have; 0: as many as fit. */
static uint32_t wanted(const struct client_fetch *fetch)
{
    uint32_t limit = fetch->subscription.max_messages;
    if (fetch->messages == 0 || (limit != 0 && limit < fetch->messages)) {
        return limit;
    }
    return fetch->messages;
}

/* Milliseconds that the relay waits for messages. Those that come at the end of it still hold for half a lease. */
static uint32_t wait_of(const struct client *client)
{
    const struct client_fetch *fetch = &client->fetch;
    uint32_t half = client_lease_time(client) / 2;
    return is_grouped(fetch) && half > 0 && half < fetch->wait ? half : fetch->wait;
}

static enum mp_error send_fetch(struct client *client, struct fault *fault)
{
    struct client_fetch *fetch = &client->fetch;
    bool grouped = is_grouped(fetch);
    const struct client_subscription *subscription = &fetch->subscription;
    unsigned flags = subscription->peek ? PROTOCOL_FETCH_PEEK : 0;
    struct protocol_fetch request = {
        .topic = fetch->topic,
        .topic_size = strlen(fetch->topic),
        .group = fetch->group,
        .group_size = strlen(fetch->group),
        .from = grouped && fetch->began ? PROTOCOL_FROM_DEFAULT : subscription->from,
        .value = grouped && fetch->began ? 0 : subscription->value,
        .max_messages = wanted(fetch),
        .max_bytes = subscription->max_bytes,
        .wait = wait_of(client),
        .lease = subscription->lease,
        .positions_count = grouped ? 0 : fetch->positions_count,
    };
    if (fetch->claiming) {
        request.from = PROTOCOL_FROM_EXACT;
        request.value = fetch->claim_first;
        request.max_messages = fetch->claim_count;
    }
    struct buffer body = {0};
    enum mp_error error = protocol_put_fetch(&body, &request, fetch->positions);
    if (error != MP_OK) {
        fault_memory(fault);
    } else {
        error =
            client_send(client, CHANNEL_FETCH, PROTOCOL_FETCH, flags, grouped ? fetch->number : 0, &body, NULL, fault);
        fetch->asked = client->now;
    }
    buffer_free(&body);
    return error;
}

/* Whether a fetch can begin. */
static enum mp_error check_fetch(const struct client *client, struct fault *fault)
{
    const struct client_fetch *fetch = &client->fetch;
    if (client->broken || client->control.leaving) {
        return fault_set(fault, MP_ERR_CLOSED, "the client has left the relay");
    }
    if (!fetch->subscribed) {
        return fault_set(fault, MP_ERR_INVALID, "nothing is subscribed to");
    }
    if (fetch->active) {
        return fault_set(fault, MP_ERR_BUSY, "a fetch is under way");
    }
    return MP_OK;
}

enum mp_error client_fetch(struct client *client, uint32_t messages, uint32_t wait, struct fault *fault)
{
    struct client_fetch *fetch = &client->fetch;
    enum mp_error error = check_fetch(client, fault);
    if (error != MP_OK) {
        return error;
    }
    fetch->active = true;
    fetch->claiming = false;
    fetch->messages = messages;
    fetch->wait = wait;
    client_fetch_pump(client);
    return MP_OK;
}

enum mp_error client_claim(struct client *client, uint64_t first, uint32_t count, struct fault *fault)
{
    struct client_fetch *fetch = &client->fetch;
    enum mp_error error = check_fetch(client, fault);
    if (error != MP_OK) {
        return error;
    }
    if (!is_grouped(fetch) || strpbrk(fetch->topic, "*>") != NULL || count == 0 || first > UINT64_MAX - count) {
        return fault_set(fault, MP_ERR_INVALID, "a claim needs the group of one topic, and offsets");
    }
    fetch->active = true;
    fetch->claiming = true;
    fetch->claim_first = first;
    fetch->claim_count = count;
    fetch->wait = 0;
    client_fetch_pump(client);
    return MP_OK;
}

void client_fetch_pump(struct client *client)
{
    struct fault fault;
    if (client->greeted && client->fetch.active && client_lane_free(client, CHANNEL_FETCH) &&
        send_fetch(client, &fault) != MP_OK) {
        client_pause(client, CHANNEL_FETCH);
    }
}

bool client_is_fetching(const struct client *client)
{
    return client->fetch.active;
}

void client_stop_fetching(struct client *client)
{
    client->fetch.active = false;
    if (client->lanes[CHANNEL_FETCH].busy) {
        client->channel->operations->forget(client->channel, CHANNEL_FETCH);
        client->lanes[CHANNEL_FETCH].busy = false;
    }
}

/* ---- answers ------------------------------------------------------------------------------ */

static void fail_chunk(struct client *client, const struct protocol_chunk *chunk, enum mp_error error, const char *text)
{
    client_fail(client, error, "topic %.*s, offset %llu: %s", (int)chunk->name_size, chunk->name,
                (unsigned long long)chunk->first, text);
}

/* Hands a chunk on; false when the client has failed. */
static bool take_chunk(struct client *client, const struct protocol_chunk *chunk, uint64_t lease,
                       struct client_hold *hold)
{
    struct client_fetch *fetch = &client->fetch;
    bool grouped = lease != 0;
    uint64_t next = chunk->first;
    struct frame frame;
    struct fault fault = {0};
    if (chunk->frame_size > 0) {
        enum mp_error error = frame_open(&frame, chunk->frame, chunk->frame_size, true, &fault);
        if (error == MP_OK && frame.count != chunk->count) {
            error = fault_set(&fault, MP_ERR_FORMAT, "%u messages came where %u were promised", (unsigned)frame.count,
                              (unsigned)chunk->count);
        }
        if (error != MP_OK) {
            fail_chunk(client, chunk, error, fault_text(&fault));
            return false;
        }
        next += chunk->span;
    }
    if (!grouped) {
        enum mp_error error = position_set(fetch, chunk->topic, next);
        if (error != MP_OK) {
            fail_chunk(client, chunk, error,
                       error == MP_ERR_TOO_LARGE ? "the pattern matches too many topics" : mp_error_text(error));
            return false;
        }
    }
    if (chunk->frame_size > 0) {
        hold->references++;
        client->settings.fetched(client->settings.context, chunk, &frame, lease, hold);
    }
    return !client->broken;
}

static uint64_t count_messages(struct protocol_fetched fetched)
{
    struct protocol_chunk chunk;
    uint64_t messages = 0;
    while (protocol_next_chunk(&fetched, &chunk)) {
        messages += chunk.frame_size > 0 ? chunk.count : 0;
    }
    return messages;
}

/* An answer without messages, if it came too soon, is not followed by the next request at once. */
static void settle_pace(struct client *client, bool came)
{
    struct client_fetch *fetch = &client->fetch;
    if (came || client->now - fetch->asked >= (int64_t)wait_of(client) * 1000 / 2) {
        client_calm(client, CHANNEL_FETCH);
    } else {
        client_pause(client, CHANNEL_FETCH);
    }
}

static void fetched(struct client *client, const struct protocol_reply *reply, struct client_hold *hold)
{
    struct client_fetch *fetch = &client->fetch;
    struct protocol_fetched answer;
    if (protocol_read_fetched(reply, &answer) != MP_OK) {
        client_fail(client, MP_ERR_FORMAT, "the relay's answer to a fetch makes no sense");
        return;
    }
    bool grouped = is_grouped(fetch);
    uint64_t lease = 0;
    uint64_t messages = count_messages(answer);
    client->in_vain = 0;
    fetch->began = true;
    if (grouped && (answer.flags & PROTOCOL_FETCH_LAPSED) != 0) {
        /* The leases of this number have come and gone, perhaps in replies that were lost: on to the next number. */
        fetch->number++;
        client_calm(client, CHANNEL_FETCH);
        return;
    }
    if (grouped && answer.chunks > 0) {
        lease = fetch->lease_base + fetch->number++;
        client_leased(client, lease);
        client->held += messages;
        client_held(client);
    }
    settle_pace(client, messages > 0);
    if (messages > 0 || fetch->wait == 0) {
        fetch->active = false;
    }
    unsigned flags = answer.flags;
    struct protocol_chunk chunk;
    while (protocol_next_chunk(&answer, &chunk)) {
        if (!take_chunk(client, &chunk, lease, hold)) {
            return;
        }
    }
    if (client->settings.fetch_done != NULL) {
        client->settings.fetch_done(client->settings.context, flags, answer.waiting);
    }
}

void client_fetch_answered(struct client *client, const struct protocol_reply *reply, struct client_hold *hold)
{
    struct client_fetch *fetch = &client->fetch;
    bool grouped = is_grouped(fetch);
    struct fault fault = {0};
    uint64_t expected;
    if (reply->status == MP_OK) {
        /* Leases of a session that has ended are none: the messages will come again. */
        if (!grouped || client->lanes[CHANNEL_FETCH].session == client->welcome.session) {
            fetched(client, reply, hold);
        }
    } else if (protocol_read_error(reply, &expected, &fault) != MP_OK) {
        client_fail(client, MP_ERR_FORMAT, "the relay's reply cannot be understood");
    } else if (reply->status == MP_ERR_SESSION || reply->status == MP_ERR_GAP) {
        /* A relay that has lost count has lost the leases, too: a new session begins without any. */
        client_session_lost(client, CHANNEL_FETCH);
    } else if (client_is_passing(reply->status) || reply->status == MP_ERR_FULL) {
        client_pause(client, CHANNEL_FETCH);
    } else {
        client_fail(client, reply->status, "%s", fault_text(&fault));
    }
}

void client_fetch_welcomed(struct client *client)
{
    /* One more than were answered: the one under way may have given leases as well. */
    client->fetch.lease_base += client->fetch.number;
    client->fetch.number = 1;
    client_calm(client, CHANNEL_FETCH);
}

void client_fetch_free(struct client *client)
{
    memory_release(client->fetch.positions);
}
