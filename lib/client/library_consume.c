#include "client/library.h"

#include "base/memory.h"

enum {
    FETCH_WAIT = 10000, /* milliseconds of a long poll */
    FETCH_FIRST = 16,   /* messages that a member of a group asks for at first, */
    FETCH_MOST = 8192,  /* and at most */
    FETCH_FAST = 50000, /* microseconds: what was used up sooner was too little, */
    FETCH_SLOW = 500000 /* and what took longer too much */
};

/* ---- what was fetched --------------------------------------------------------------------- */

static void free_incoming(struct library_incoming *incoming)
{
    library_link_drop(incoming->link);
    client_hold_free(incoming->hold);
    memory_release(incoming);
}

static void free_fetched(struct mp_client *client)
{
    struct library_incoming *incoming;
    while ((incoming = client->fetched) != NULL) {
        client->fetched = incoming->next;
        free_incoming(incoming);
    }
    client->fetched_end = &client->fetched;
}

void library_consume_free(struct mp_client *client)
{
    free_fetched(client);
    library_link_drop(client->link);
}

void library_forget_leases(struct mp_client *client)
{
    if (client->grouped) {
        free_fetched(client);
    }
    library_link_drop(client->link);
    client->link = NULL;
}

/*
 * Leases may have ended while this program, the link or the relay stood still: others may have had, by now, what was not
 * handed out. It is given back, where it is held still, and comes again.
 */
static void give_back(struct mp_client *client)
{
    for (struct library_incoming *incoming = client->fetched; incoming != NULL; incoming = incoming->next) {
        uint64_t first = protocol_chunk_next(&incoming->chunk, incoming->offset);
        uint32_t left = incoming->frame.count - incoming->cursor.index;
        struct protocol_settlement settlement = {.group = incoming->chunk.group,
                                                 .lease = incoming->lease,
                                                 .first = first,
                                                 .count = left,
                                                 .span =
                                                     (uint32_t)(incoming->chunk.first + incoming->chunk.span - first)};
        if (left > 0) {
            client_give_back(client->client, &settlement);
        }
    }
    free_fetched(client);
    library_drive(client);
}

void library_fetched(void *context, const struct protocol_chunk *chunk, const struct frame *frame, uint64_t lease,
                     struct client_hold *hold)
{
    struct mp_client *client = context;
    struct library_incoming *incoming = memory_allocate(sizeof *incoming);
    if (incoming != NULL && lease != 0 && client->link == NULL) {
        client->link = library_link_new(client);
    }
    if (incoming == NULL || (lease != 0 && client->link == NULL)) {
        /* For a reader they would be lost; members of a group get them again when their leases have ended. */
        client->failed = lease == 0;
        client_abandon(client->client, lease, chunk->count);
        client_hold_free(hold);
        memory_release(incoming);
        fault_memory(&client->trouble);
        return;
    }
    incoming->chunk = *chunk;
    incoming->frame = *frame;
    incoming->cursor = frame_cursor(&incoming->frame);
    incoming->offset = chunk->first;
    incoming->lease = lease;
    incoming->hold = hold;
    if (lease != 0) {
        client->link->lease = lease;
        incoming->link = library_link_hold(client->link);
    }
    *client->fetched_end = incoming;
    client->fetched_end = &incoming->next;
    client->fetch_got += frame->count;
}

/* The next message of what was fetched; NULL: there is none, or, with *ERROR, no memory. */
static struct mp_message *next_message(struct mp_client *client, enum mp_error *error)
{
    struct library_incoming *incoming;
    while ((incoming = client->fetched) != NULL) {
        struct frame_cursor before = incoming->cursor;
        struct record record;
        if (frame_next(&incoming->cursor, &record)) {
            uint64_t offset = protocol_chunk_next(&incoming->chunk, incoming->offset);
            struct mp_message *message =
                library_message(&incoming->chunk, &record, offset, incoming->lease, incoming->link);
            if (message == NULL) {
                incoming->cursor = before;
                *error = fault_memory(&client->fault);
            } else {
                incoming->offset = offset + 1;
            }
            return message;
        }
        client->fetched = incoming->next;
        if (client->fetched == NULL) {
            client->fetched_end = &client->fetched;
        }
        free_incoming(incoming);
    }
    return NULL;
}

/* ---- fetching ----------------------------------------------------------------------------- */

enum mp_error mp_subscribe(struct mp_client *client, const char *topic, const char *group, const char *from)
{
    if (client->subscribed) {
        return library_tell(client, MP_ERR_BUSY, "one subscription a client: open another client");
    }
    struct client_subscription subscription = {.topic = topic, .group = group};
    enum mp_error error = client_from(from, clock_wall(), &subscription.from, &subscription.value, &client->fault);
    if (error == MP_OK) {
        error = client_subscribe(client->client, &subscription, &client->fault);
    }
    client->subscribed = error == MP_OK;
    client->grouped = group != NULL && group[0] != '\0';
    client->fetch_size = FETCH_FIRST;
    return error;
}

/*
 * A member of a group asks for what the program uses up in a fraction of a second, so that the other members get
 * theirs, and leases do not end in a queue.
 */
static uint32_t fetch_size(struct mp_client *client)
{
    int64_t took = clock_monotonic() - client->fetch_came;
    if (client->fetch_got >= client->fetch_size && took < FETCH_FAST && client->fetch_size < FETCH_MOST) {
        client->fetch_size *= 2;
    } else if (client->fetch_got > 0 && took > FETCH_SLOW && client->fetch_size > 1) {
        client->fetch_size /= 2;
    }
    client->fetch_got = 0;
    return client->grouped ? client->fetch_size : 0;
}

static enum mp_error fetch_and_wait(struct mp_client *client, int64_t wait, int64_t end)
{
    if (!client_is_fetching(client->client)) {
        enum mp_error error =
            client_fetch(client->client, fetch_size(client), wait == 0 ? 0 : FETCH_WAIT, &client->fault);
        if (error != MP_OK) {
            return error;
        }
    }
    enum mp_error error = library_wait(client, end);
    if (client->fetched != NULL) {
        client->fetch_came = clock_monotonic();
        return MP_OK;
    }
    return error == MP_ERR_TIMEOUT ? library_tell(client, error, "no message came") : error;
}

enum mp_error mp_receive(struct mp_client *client, struct mp_message **message, int64_t wait)
{
    *message = NULL;
    if (!client->subscribed) {
        return library_tell(client, MP_ERR_INVALID, "nothing is subscribed to: call mp_subscribe() first");
    }
    int64_t end = library_end(wait);
    library_drive(client);
    for (;;) {
        enum mp_error error = library_trouble(client);
        if (error == MP_OK && client->fetched != NULL &&
            !client_lease_holds(client->client, client->fetched->lease, clock_monotonic())) {
            give_back(client);
        }
        if (error == MP_OK) {
            *message = next_message(client, &error);
        }
        if (error == MP_OK && *message == NULL) {
            error = fetch_and_wait(client, wait, end);
        }
        if (error != MP_OK || *message != NULL) {
            return error;
        }
    }
}

/* ---- settling ----------------------------------------------------------------------------- */

void library_settled(void *context, uint32_t applied, uint32_t stale)
{
    struct mp_client *client = context;
    (void)applied;
    client->stale += stale;
}

/* Waits until the relay has recorded it, whatever else happens; trouble with publications waits for the next call. */
static enum mp_error wait_settled(struct mp_client *client)
{
    struct fault trouble = {0};
    enum mp_error error = MP_OK;
    library_drive(client);
    while (client_is_settling(client->client) && !client->failed && error != MP_ERR_IO) {
        if (client->trouble.code != MP_OK) {
            trouble = client->trouble;
            client->trouble.code = MP_OK;
        }
        error = library_wait(client, CLOCK_NEVER);
    }
    if (client->failed) {
        return library_trouble(client);
    }
    if (trouble.code != MP_OK) {
        client->trouble = trouble;
    }
    return error == MP_ERR_IO ? error : MP_OK;
}

static enum mp_error settle(struct mp_client *client, struct mp_message *message, enum protocol_action action,
                            int64_t delay, const char *why)
{
    if (client->failed) {
        return library_trouble(client);
    }
    if (message->link == NULL || message->link->owner != client) {
        return library_tell(client, MP_ERR_INVALID,
                            "only what this client has received as a member of a group can be settled, and once");
    }
    if (delay < -1 || delay >= UINT32_MAX) {
        return library_tell(client, MP_ERR_INVALID, "a delay is between 0 and 4294967294 milliseconds");
    }
    struct protocol_settlement settlement = {.group = message->group,
                                             .lease = message->lease,
                                             .first = message->offset,
                                             .count = 1,
                                             .action = action,
                                             .delay = delay < 0 ? PROTOCOL_DELAY_POLICY : (uint32_t)delay,
                                             .exit_code = -1,
                                             .note = why,
                                             .note_size = (uint16_t)strnlen(why, PROTOCOL_NOTE_MAX)};
    client->stale = 0;
    enum mp_error error = client_settle(client->client, &settlement);
    if (error != MP_OK) {
        return library_tell(client, error, mp_error_text(error));
    }
    library_message_unlink(message);
    error = wait_settled(client);
    if (error != MP_OK) {
        return error;
    }
    if (client->stale > 0) {
        return library_tell(client, MP_ERR_STALE, "the lease had ended: somebody else has the message, or will");
    }
    mp_message_free(message);
    return MP_OK;
}

enum mp_error mp_ack(struct mp_client *client, struct mp_message *message)
{
    return settle(client, message, PROTOCOL_ACK, 0, "");
}

enum mp_error mp_retry(struct mp_client *client, struct mp_message *message, int64_t delay)
{
    return settle(client, message, PROTOCOL_RETRY, delay, "");
}

enum mp_error mp_release(struct mp_client *client, struct mp_message *message)
{
    return settle(client, message, PROTOCOL_RELEASE, 0, "");
}

enum mp_error mp_reject(struct mp_client *client, struct mp_message *message, const char *why)
{
    return settle(client, message, PROTOCOL_DEAD, 0, why != NULL ? why : "");
}
