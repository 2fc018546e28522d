#include "client/private.h"

enum { ROOM_WAIT = 1000 }; /* milliseconds of a long poll for room */

bool client_can_publish(const struct client *client)
{
    return client_is_welcome(client) && !client->publication.active && !client->control.leaving;
}

void client_origin(const struct client *client, uint64_t *producer, uint64_t *sequence)
{
    *producer = client->welcome.session;
    *sequence = client->publication.sequence;
}

void client_stored_origin(const struct client *client, uint64_t *producer, uint64_t *sequence)
{
    *producer = client->publication.producer_was;
    *sequence = client->publication.sequence_was;
}

void client_adopt_frame(struct client *client, struct frame_builder *frame)
{
    struct client_publishing *publication = &client->publication;
    if (frame->producer != client->welcome.session || frame->sequence != publication->sequence) {
        int64_t time = (int64_t)load_u64(frame->bytes.data + 24);
        frame->producer = client->welcome.session;
        frame->sequence = publication->sequence;
        frame_finish(frame, time);
    }
    publication->sequence += frame->count;
}

/* ---- frames that are taken in parts ----------------------------------------------------------------------- */

/* What is not stored yet of the frame that the owner gave. */
static uint32_t messages_left(const struct client_publishing *publication)
{
    return publication->divided ? publication->whole.count - publication->part.index : publication->frame.count;
}

static uint32_t bytes_left(const struct client_publishing *publication)
{
    size_t bytes =
        publication->divided ? publication->whole.bytes.size - publication->part.at : publication->frame.bytes.size;
    return bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX;
}

/*
 * What room is asked for: what is left, or less. The relay reckons with messages of one size; those at the beginning may
 * be larger than the others, and then a part of them is refused. Asking for that part alone finds a smaller one, down to
 * one message.
 */
static void ask_for(const struct client_publishing *publication, struct protocol_room *room)
{
    room->messages = publication->narrow ? publication->frame.count : messages_left(publication);
    room->bytes = publication->narrow ? (uint32_t)publication->frame.bytes.size : bytes_left(publication);
}

/* Makes a part of MESSAGES, at most what is left, what goes out next. MP_ERR_MEMORY leaves all as it was. */
static enum mp_error divide(struct client *client, uint32_t messages)
{
    struct client_publishing *publication = &client->publication;
    struct frame_builder *frame = &publication->frame;
    if (!publication->divided) {
        struct frame_builder spare = publication->whole;
        publication->whole = *frame;
        *frame = spare;
        frame_trust(&publication->opened, publication->whole.bytes.data, publication->whole.bytes.size);
        publication->part = frame_cursor(&publication->opened);
        publication->divided = true;
    }
    publication->rest = publication->part;
    frame->bytes.size = 0;
    enum mp_error error = frame_cut(&publication->rest, messages, SIZE_MAX, &frame->bytes);
    if (error != MP_OK) {
        return error;
    }
    struct frame part;
    frame_trust(&part, frame->bytes.data, frame->bytes.size);
    frame->producer = part.producer;
    frame->sequence = part.sequence;
    frame->count = part.count;
    frame->longest = part.longest;
    frame->attributes = part.attributes;
    frame->flags = part.flags;
    /* Of the session before: its numbers are not this one's. */
    if (frame->producer != client->welcome.session) {
        client_adopt_frame(client, frame);
    }
    return MP_OK;
}

/* ---- one publication -------------------------------------------------------------------------------------- */

static enum mp_error send_publication(struct client *client, struct fault *fault)
{
    struct client_publishing *publication = &client->publication;
    struct buffer head = {0};
    unsigned flags = publication->fixed ? 0 : PROTOCOL_DIVISIBLE;
    enum mp_error error;
    if (publication->wait_room) {
        publication->room_asked = client->now;
        struct protocol_room room = {
            .topic = publication->topic, .topic_size = strlen(publication->topic), .wait = ROOM_WAIT};
        ask_for(publication, &room);
        error = protocol_put_room(&head, &room);
    } else {
        struct protocol_publication to = protocol_publication(publication->topic);
        to.target = publication->target;
        to.target_size = strlen(publication->target);
        to.when = publication->when;
        to.value = publication->value;
        error = protocol_put_publish(&head, &to);
    }
    if (error != MP_OK) {
        fault_memory(fault);
    } else if (publication->wait_room) {
        error = client_send(client, CHANNEL_PUBLISH, PROTOCOL_ROOM, flags, publication->number, &head, NULL, fault);
    } else {
        error = client_send(client, CHANNEL_PUBLISH, PROTOCOL_PUBLISH, flags, publication->number, &head,
                            &publication->frame.bytes, fault);
        publication->since = publication->sent ? publication->since : client->now;
        publication->sent = true;
    }
    buffer_free(&head);
    return error;
}

/* The frame is done with. What a large message took is given back at once. */
static void put_away(struct client_publishing *publication)
{
    publication->active = false;
    publication->divided = publication->narrow = false;
    if (publication->whole.bytes.capacity > (size_t)2 * FRAME_TARGET) {
        frame_builder_free(&publication->whole);
    }
    if (publication->frame.bytes.capacity > (size_t)2 * FRAME_TARGET) {
        frame_builder_free(&publication->frame);
    }
    publication->frame.count = 0;
}

/* Whether TO makes sense. */
static enum mp_error check_publication(const struct client_publication *to, struct fault *fault)
{
    enum mp_error error = name_check_topic(to->topic, strlen(to->topic), fault);
    if (error == MP_OK && to->target != NULL && to->target[0] != '\0') {
        error = name_check_group(to->target, strlen(to->target), fault);
    }
    if (error == MP_OK && (to->value < 0 || (to->when == PROTOCOL_WHEN_NOW && to->value != 0))) {
        error = fault_set(fault, MP_ERR_INVALID, "a time before all times");
    }
    return error;
}

static void set_destination(struct client_publishing *publication, const struct client_publication *to)
{
    const char *target = to->target != NULL ? to->target : "";
    memcpy(publication->topic, to->topic, strlen(to->topic) + 1);
    memcpy(publication->target, target, strlen(target) + 1);
    publication->when = to->when;
    publication->value = to->value;
    publication->fixed = to->fixed;
}

enum mp_error client_publish(struct client *client, const struct client_publication *to, struct frame_builder *frame,
                             struct fault *fault)
{
    struct client_publishing *publication = &client->publication;
    if (!client_can_publish(client)) {
        return fault_set(fault, MP_ERR_BUSY, "a publication is under way");
    }
    enum mp_error error = check_publication(to, fault);
    if (error != MP_OK) {
        return error;
    }
    if (frame->count == 0) {
        return fault_set(fault, MP_ERR_INVALID, "the frame is empty");
    }
    uint64_t sequence = publication->sequence;
    if (!to->fixed) {
        client_adopt_frame(client, frame);
    }
    set_destination(publication, to);
    struct frame_builder spare = publication->frame;
    publication->frame = *frame;
    publication->session = client->welcome.session;
    publication->wait_room = publication->sent = publication->doubtful = false;
    error = send_publication(client, fault);
    if (error != MP_OK) {
        publication->frame = spare;
        publication->sequence = sequence;
        return error;
    }
    publication->active = true;
    publication->since = -1;
    *frame = spare;
    return MP_OK;
}

void client_publish_pump(struct client *client)
{
    struct client_publishing *publication = &client->publication;
    if (!publication->active || !client_lane_free(client, CHANNEL_PUBLISH)) {
        return;
    }
    if (publication->session != client->welcome.session) {
        /* A part that is to be cut is adopted then. */
        if (!publication->fixed && !(publication->divided && publication->wait_room)) {
            client_adopt_frame(client, &publication->frame);
        }
        publication->session = client->welcome.session;
        publication->sent = false;
    }
    struct fault fault;
    if (send_publication(client, &fault) != MP_OK) {
        client_pause(client, CHANNEL_PUBLISH);
    }
}

static void set_full(struct client *client, bool full, const char *text)
{
    if (client->publication.full != full) {
        client->publication.full = full;
        if (client->settings.full != NULL) {
            client->settings.full(client->settings.context, full, text);
        }
    }
}

/*
 * Whether so many messages can have been stored under the number that is under way. While a topic is full the same number
 * goes out with other parts of a frame, and a late copy of an earlier one may be what was taken: they all begin alike.
 */
static bool take_count(struct client_publishing *publication, uint32_t count)
{
    if (count == publication->frame.count) {
        return true;
    }
    if (!publication->divided || count == 0 || count > messages_left(publication)) {
        return false;
    }
    publication->rest = publication->part;
    frame_skip(&publication->rest, count);
    return true;
}

static void stored(struct client *client, const struct protocol_reply *reply)
{
    struct client_publishing *publication = &client->publication;
    uint64_t first;
    uint32_t count;
    uint32_t duplicates;
    if (protocol_read_published(reply, &first, &count, &duplicates) != MP_OK || !take_count(publication, count)) {
        client_fail(client, MP_ERR_FORMAT, "the relay's answer to a publication makes no sense");
        return;
    }
    publication->producer_was = publication->frame.producer;
    publication->sequence_was = publication->frame.sequence;
    bool more = publication->divided && publication->rest.index < publication->whole.count;
    if (more) {
        publication->part = publication->rest;
        publication->wait_room = true;
        publication->sent = publication->narrow = false;
    } else {
        put_away(publication);
    }
    if (client->lanes[CHANNEL_PUBLISH].session == client->welcome.session) {
        publication->number++;
        client->in_vain = 0;
    }
    if (!more) {
        set_full(client, false, "");
    }
    if (client->settings.published != NULL) {
        client->settings.published(client->settings.context, first, count, duplicates);
    }
}

static void fail_in_doubt(struct client *client)
{
    client_fail(client, MP_ERR_SESSION,
                "the relay no longer knows this session: whether the last %u messages were stored is unknown",
                (unsigned)client->publication.frame.count);
}

void client_publish_lost(struct client *client)
{
    struct client_publishing *publication = &client->publication;
    bool doubtful = publication->sent && client->now - publication->since > CLIENT_DOUBT;
    if (doubtful && !publication->wait_room) {
        fail_in_doubt(client);
        return;
    }
    /* It was refused: a relay that has run since then takes no late copy of it, but one that was started later may. */
    publication->doubtful = doubtful;
    publication->wait_room = publication->wait_room && publication->divided; /* then no part of it is cut */
    client_session_lost(client, CHANNEL_PUBLISH);
}

static void refused(struct client *client, enum mp_error error, const char *text)
{
    put_away(&client->publication);
    set_full(client, false, "");
    if (client->settings.refused != NULL) {
        client->settings.refused(client->settings.context, error, text);
    }
}

/* There is room for some of what is left, or for all. */
static void room_found(struct client *client, const struct protocol_reply *reply)
{
    struct client_publishing *publication = &client->publication;
    uint32_t left = messages_left(publication);
    uint32_t messages;
    if (protocol_read_u32(reply, &messages) != MP_OK || messages == 0) {
        messages = publication->narrow ? publication->frame.count : left; /* the publication itself will be told */
    }
    if (!publication->fixed && (publication->divided || messages < left) &&
        divide(client, messages < left ? messages : left) != MP_OK) {
        client_pause(client, CHANNEL_PUBLISH); /* no memory: ask again */
        return;
    }
    client_calm(client, CHANNEL_PUBLISH);
    publication->wait_room = false;
}

static void room_answered(struct client *client, const struct protocol_reply *reply, const char *text)
{
    struct client_publishing *publication = &client->publication;
    enum mp_error status = reply->status;
    if (status == MP_OK || status == MP_ERR_FULL) {
        publication->since = publication->room_asked; /* the relay knew the session, and would tell what was stored */
    }
    if (status == MP_OK) {
        room_found(client, reply);
    } else if (publication->divided && !client_is_passing(status) && status != MP_ERR_FULL &&
               status != MP_ERR_SESSION) {
        refused(client, status, text); /* there is no part that could be told */
    } else if (status == MP_ERR_SESSION) {
        client_publish_lost(client);
    } else if (status == MP_ERR_FULL && client->now - publication->room_asked >= ROOM_WAIT * INT64_C(1000) / 2) {
        client_calm(client, CHANNEL_PUBLISH);
    } else {
        /* Whatever is wrong, the publication itself will be told. */
        publication->wait_room = status == MP_ERR_FULL || publication->divided;
        client_pause(client, CHANNEL_PUBLISH);
    }
}

void client_publish_answered(struct client *client, const struct protocol_reply *reply)
{
    struct client_publishing *publication = &client->publication;
    struct fault fault = {0};
    uint64_t expected = 0;
    if (reply->status != MP_OK && protocol_read_error(reply, &expected, &fault) != MP_OK) {
        client_fail(client, MP_ERR_FORMAT, "the relay's reply cannot be understood");
    } else if (reply->type == PROTOCOL_ROOM) {
        room_answered(client, reply, fault_text(&fault));
    } else if (reply->status == MP_OK) {
        client_calm(client, CHANNEL_PUBLISH);
        stored(client, reply);
    } else if (client_is_passing(reply->status)) {
        client_pause(client, CHANNEL_PUBLISH);
    } else if (reply->status == MP_ERR_FULL) {
        publication->wait_room = true;
        publication->narrow = publication->divided;
        set_full(client, true, fault_text(&fault));
    } else if (reply->status == MP_ERR_SESSION) {
        client_publish_lost(client);
    } else if (reply->status == MP_ERR_GAP) {
        client_fail(client, MP_ERR_SESSION,
                    "the relay expects publication %llu of this session, which is at %llu: it has "
                    "lost some, perhaps with an older copy of its store",
                    (unsigned long long)expected, (unsigned long long)publication->number);
    } else {
        refused(client, reply->status, fault_text(&fault));
    }
}

void client_publish_welcomed(struct client *client, bool restarted)
{
    struct client_publishing *publication = &client->publication;
    if (publication->active && publication->doubtful && restarted) {
        fail_in_doubt(client);
        return;
    }
    publication->doubtful = false;
    const struct client_settings *settings = &client->settings;
    bool resumed = settings->session != 0 && settings->session == client->welcome.session;
    uint64_t applied = client->welcome.published;
    publication->number = !resumed ? 1 : applied >= settings->publication ? applied + 1 : settings->publication;
    publication->sequence = resumed && settings->sequence != 0 ? settings->sequence : 1;
}

void client_publish_trim(struct client *client)
{
    if (!client->publication.active) {
        client_publish_free(client);
    }
}

void client_publish_free(struct client *client)
{
    frame_builder_free(&client->publication.frame);
    frame_builder_free(&client->publication.whole);
}
