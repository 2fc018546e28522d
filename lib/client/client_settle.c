#include "client/private.h"

#include "base/memory.h"

#include <stdlib.h>

enum {
    NOTES_MAX = 1024 * 1024,    /* bytes of notes in a request, exceeded by one at most */
    SETTLEMENTS_AT_ONCE = 16384 /* of those that are joined: a request should not take long */
};

/*
 * Whether OTHER, of the offsets right behind ITEM's, says the same. What a span means is what its lease holds in it, so
 * two that touch mean together what they mean one by one.
 */
static bool continues(const struct protocol_settlement *item, const struct protocol_settlement *other)
{
    return item->group == other->group && item->lease == other->lease && item->action == other->action &&
           item->quiet == other->quiet && item->reason == other->reason && item->delay == other->delay &&
           item->exit_code == other->exit_code && item->note_size == 0 && other->note_size == 0 &&
           item->first + item->span == other->first && item->span <= UINT32_MAX - other->span;
}

static void join(struct protocol_settlement *item, const struct protocol_settlement *other)
{
    item->count += other->count;
    item->span += other->span;
}

/* Makes ITEM's note one of our own, without its beginning if it is too long. */
static enum mp_error take_note(struct protocol_settlement *item)
{
    if (item->note_size == 0) {
        return MP_OK;
    }
    uint16_t size = item->note_size > PROTOCOL_NOTE_MAX ? PROTOCOL_NOTE_MAX : item->note_size;
    char *note = memory_allocate(size);
    if (note == NULL) {
        return MP_ERR_MEMORY;
    }
    memcpy(note, item->note + (item->note_size - size), size);
    item->note = note;
    item->note_size = size;
    return MP_OK;
}

static void drop_note(struct protocol_settlement *item)
{
    if (item->note_size > 0) {
        memory_release((void *)(uintptr_t)item->note); /* not constant: take_note() made it */
        item->note_size = 0;
    }
}

/* Puts ITEM behind what waits. */
static enum mp_error add_waiting(struct client_settlements *settlements, struct protocol_settlement item)
{
    uint32_t count = settlements->waiting_count;
    if (count == settlements->waiting_capacity) {
        if (count > UINT32_MAX / 2) {
            return MP_ERR_TOO_LARGE;
        }
        uint32_t capacity = count == 0 ? 64 : count * 2;
        struct protocol_settlement *grown =
            memory_reallocate(settlements->waiting, capacity * sizeof *settlements->waiting);
        if (grown == NULL) {
            return MP_ERR_MEMORY;
        }
        settlements->waiting = grown;
        settlements->waiting_capacity = capacity;
    }
    enum mp_error error = take_note(&item);
    if (error == MP_OK) {
        settlements->waiting[settlements->waiting_count++] = item;
    }
    return error;
}

enum mp_error client_settle(struct client *client, const struct protocol_settlement *settlement)
{
    struct client_settlements *settlements = &client->settlements;
    struct protocol_settlement item = *settlement;
    if (client->broken || client->control.left) {
        return MP_ERR_CLOSED;
    }
    item.span = item.span == 0 ? item.count : item.span;
    if (item.count == 0 || item.span < item.count || item.first > UINT64_MAX - item.span) {
        return MP_ERR_INVALID;
    }
    uint32_t count = settlements->waiting_count;
    if (count > 0 && continues(&settlements->waiting[count - 1], &item)) {
        join(&settlements->waiting[count - 1], &item);
        return MP_OK;
    }
    return add_waiting(settlements, item);
}

void client_give_back(struct client *client, const struct protocol_settlement *settlement)
{
    struct protocol_settlement item = *settlement;
    item.action = PROTOCOL_RELEASE;
    item.exit_code = -1;
    item.quiet = true;
    if (client_settle(client, &item) != MP_OK) {
        client_abandon(client, item.lease, item.count);
    }
}

bool client_is_settling(const struct client *client)
{
    const struct client_settlements *settlements = &client->settlements;
    return settlements->waiting_count > 0 || settlements->request.size > 0 || settlements->stale > 0 ||
           settlements->commit.active;
}

/* ---- making a request --------------------------------------------------------------------- */

#define COMPARE(field)                                                                                                 \
    if (one->field != other->field) {                                                                                  \
        return one->field < other->field ? -1 : 1;                                                                     \
    }

/* Brings those together that can be joined, in ascending offsets. */
static int compare(const void *left, const void *right)
{
    const struct protocol_settlement *one = left;
    const struct protocol_settlement *other = right;
    COMPARE(quiet)
    COMPARE(group)
    COMPARE(lease)
    COMPARE(action)
    COMPARE(reason)
    COMPARE(delay)
    COMPARE(exit_code)
    COMPARE(first)
    return 0;
}

/*
 * Takes out those of earlier sessions, whose leases have ended, and joins neighbours: workers finish in any order.
 */
static void tidy(struct client *client)
{
    struct client_settlements *settlements = &client->settlements;
    struct protocol_settlement *items = settlements->waiting;
    uint32_t kept = 0;
    if (settlements->waiting_count > 1) {
        qsort(items, settlements->waiting_count, sizeof *items, compare);
    }
    for (uint32_t i = 0; i < settlements->waiting_count; i++) {
        if (items[i].lease <= client->fetch.lease_base) {
            settlements->stale += items[i].quiet ? 0 : items[i].count;
            drop_note(&items[i]);
        } else if (kept > 0 && continues(&items[kept - 1], &items[i])) {
            join(&items[kept - 1], &items[i]);
        } else {
            items[kept++] = items[i];
        }
    }
    settlements->waiting_count = kept;
}

/* How many of what waits go into a request: as many as fit, and either only such as are told of, or none. */
static uint32_t count_fitting(const struct client_settlements *settlements)
{
    uint32_t count = 0;
    size_t notes = 0;
    const struct protocol_settlement *items = settlements->waiting;
    while (count < settlements->waiting_count && count < SETTLEMENTS_AT_ONCE && notes < NOTES_MAX &&
           items[count].quiet == items[0].quiet) {
        notes += items[count++].note_size;
    }
    return count;
}

/* Moves what waits, as far as it fits, into the request. */
static void make_request(struct client *client)
{
    struct client_settlements *settlements = &client->settlements;
    struct protocol_settlement *items = settlements->waiting;
    tidy(client);
    uint32_t count = count_fitting(settlements);
    if (count == 0) {
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        items[i].lease -= client->fetch.lease_base;
    }
    enum mp_error error = protocol_put_settle(&settlements->request, items, count, 0);
    if (error == MP_OK) {
        error = protocol_put_settle_notes(&settlements->request, items, count);
    }
    if (error != MP_OK) {
        for (uint32_t i = 0; i < count; i++) {
            items[i].lease += client->fetch.lease_base;
        }
        settlements->request.size = 0;
        client_pause(client, CHANNEL_SETTLE);
        return;
    }
    settlements->request_total = 0;
    settlements->request_quiet = items[0].quiet;
    for (uint32_t i = 0; i < count; i++) {
        settlements->request_total += items[i].count;
        drop_note(&items[i]);
    }
    settlements->waiting_count -= count;
    memmove(items, items + count, settlements->waiting_count * sizeof *items);
}

static void report(struct client *client, uint32_t applied, uint32_t stale)
{
    if (client->settings.settled != NULL) {
        client->settings.settled(client->settings.context, applied, stale);
    }
}

void client_settle_pump(struct client *client)
{
    struct client_settlements *settlements = &client->settlements;
    if (client->greeted && client_lane_free(client, CHANNEL_SETTLE) && !client_commit_pump(client)) {
        if (settlements->request.size == 0) {
            make_request(client);
        }
        struct fault fault;
        if (settlements->request.size > 0 &&
            client_send(client, CHANNEL_SETTLE, PROTOCOL_SETTLE, 0, settlements->number, &settlements->request, NULL,
                        &fault) != MP_OK) {
            client_pause(client, CHANNEL_SETTLE);
        }
    }
    if (settlements->stale > 0) {
        uint32_t stale = settlements->stale;
        settlements->stale = 0;
        report(client, 0, stale);
    }
}

/* ---- answers ------------------------------------------------------------------------------ */

/* The request is done with. */
static void recorded(struct client *client, uint32_t applied, uint32_t stale)
{
    struct client_settlements *settlements = &client->settlements;
    if (client->lanes[CHANNEL_SETTLE].session == client->welcome.session) {
        client_release(client, settlements->request_total);
    }
    settlements->request.size = 0;
    settlements->commit.yield = false;
    report(client, applied, settlements->request_quiet ? 0 : stale);
}

void client_settle_lost(struct client *client)
{
    /* The leases ended with the session; who has the messages now will settle them. */
    client_session_lost(client, CHANNEL_SETTLE);
    if (client->settlements.commit.under_way) {
        client_commit_lost(client);
        return;
    }
    recorded(client, 0, client->settlements.request_total);
}

void client_settle_answered(struct client *client, const struct protocol_reply *reply)
{
    struct client_settlements *settlements = &client->settlements;
    struct fault fault = {0};
    uint64_t expected;
    uint32_t applied;
    uint32_t stale;
    if (reply->status == MP_OK) {
        if (protocol_read_settled(reply, &applied, &stale) != MP_OK) {
            client_fail(client, MP_ERR_FORMAT, "the relay's answer to a settlement makes no sense");
            return;
        }
        client_calm(client, CHANNEL_SETTLE);
        if (client->lanes[CHANNEL_SETTLE].session == client->welcome.session) {
            settlements->number++;
            client->in_vain = 0;
        }
        if (settlements->commit.under_way) {
            client_commit_answered(client, reply, &fault);
        } else {
            recorded(client, applied, stale);
        }
    } else if (protocol_read_error(reply, &expected, &fault) != MP_OK) {
        client_fail(client, MP_ERR_FORMAT, "the relay's reply cannot be understood");
    } else if (reply->status == MP_ERR_SESSION || reply->status == MP_ERR_GAP) {
        client_settle_lost(client);
    } else if (settlements->commit.under_way) {
        client_commit_answered(client, reply, &fault);
    } else if (client_is_passing(reply->status) || reply->status == MP_ERR_FULL) {
        client_pause(client, CHANNEL_SETTLE);
    } else {
        client_fail(client, reply->status, "the relay refused a settlement: %s", fault_text(&fault));
    }
}

void client_settle_welcomed(struct client *client)
{
    client->settlements.number = 1;
    client_calm(client, CHANNEL_SETTLE);
}

void client_settle_trim(struct client *client)
{
    struct client_settlements *settlements = &client->settlements;
    if (!settlements->commit.active) {
        buffer_free(&settlements->commit.request);
    }
    if (settlements->request.size == 0) {
        buffer_free(&settlements->request);
    }
    if (settlements->waiting_count == 0) {
        memory_release(settlements->waiting);
        settlements->waiting = NULL;
        settlements->waiting_capacity = 0;
    }
}

void client_settle_free(struct client *client)
{
    struct client_settlements *settlements = &client->settlements;
    for (uint32_t i = 0; i < settlements->waiting_count; i++) {
        drop_note(&settlements->waiting[i]);
    }
    memory_release(settlements->waiting);
    buffer_free(&settlements->request);
    buffer_free(&settlements->commit.request);
}
