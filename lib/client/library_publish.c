#include "client/library.h"

#include "base/memory.h"
#include "message/attributes.h"

enum {
    QUEUE_BYTES = 4 * 1024 * 1024,
    DRIVE_AFTER = 50 /* microseconds: a flood of messages does not look for replies with each of them */
};

/* ---- the queue ---------------------------------------------------------------------------- */

static void free_outgoing(struct library_outgoing *outgoing)
{
    if (outgoing != NULL) {
        frame_builder_free(&outgoing->frame);
        memory_release(outgoing);
    }
}

void library_publish_free(struct mp_client *client)
{
    struct library_outgoing *outgoing;
    while ((outgoing = client->first) != NULL) {
        client->first = outgoing->next;
        free_outgoing(outgoing);
    }
    free_outgoing(client->spare);
}

/* Takes the first frame out of the queue. Its buffer serves for one of the next. */
static void remove_first(struct mp_client *client, size_t size)
{
    struct library_outgoing *outgoing = client->first;
    client->queued -= size;
    client->first = outgoing->next;
    if (client->first == NULL) {
        client->last = NULL;
    }
    free_outgoing(client->spare);
    client->spare = outgoing;
}

void library_send(struct mp_client *client)
{
    /* A frame is empty if there was no memory for its first message. */
    while (client->first != NULL && client->first->frame.count == 0) {
        remove_first(client, client->first->frame.bytes.size);
    }
    struct library_outgoing *outgoing = client->first;
    if (outgoing == NULL || !client_can_publish(client->client)) {
        return;
    }
    size_t size = outgoing->frame.bytes.size;
    struct fault fault;
    frame_finish(&outgoing->frame, outgoing->time);
    struct client_publication to = {.topic = outgoing->topic};
    if (outgoing->delay > 0) {
        to.when = PROTOCOL_WHEN_DELAY;
        to.value = outgoing->delay;
    }
    enum mp_error error = client_publish(client->client, &to, &outgoing->frame, &fault);
    if (error == MP_ERR_MEMORY) {
        return; /* the next call tries again */
    }
    if (error != MP_OK && client->trouble.code == MP_OK) {
        client->trouble = fault;
    }
    remove_first(client, size);
}

/* Appends a frame for TOPIC, in DELAY microseconds, to the queue; NULL when there is no memory. */
static struct library_outgoing *open_frame(struct mp_client *client, const char *topic, int64_t delay)
{
    struct library_outgoing *outgoing = client->spare;
    if (outgoing == NULL) {
        outgoing = memory_allocate(sizeof *outgoing);
    }
    client->spare = outgoing;
    uint64_t producer;
    uint64_t sequence;
    client_origin(client->client, &producer, &sequence);
    if (client->last != NULL) {
        producer = client->last->frame.producer;
        sequence = client->last->frame.sequence + client->last->frame.count;
    }
    if (outgoing == NULL || frame_begin(&outgoing->frame, producer, sequence) != MP_OK) {
        return NULL;
    }
    client->spare = NULL;
    memcpy(outgoing->topic, topic, strlen(topic) + 1);
    outgoing->time = clock_wall();
    outgoing->delay = delay;
    outgoing->next = NULL;
    if (client->last != NULL) {
        client->last->next = outgoing;
    } else {
        client->first = outgoing;
    }
    client->last = outgoing;
    client->queued += outgoing->frame.bytes.size;
    return outgoing;
}

/* Adds MESSAGE to the open frame, if that goes the same way and has room, or to a new one. */
static enum mp_error add_message(struct mp_client *client, const char *topic, int64_t delay,
                                 const struct mp_message *message)
{
    struct library_outgoing *outgoing = client->last;
    size_t size = message->body.size;
    size_t attributes = message->attributes.size;
    if (outgoing == NULL || strcmp(outgoing->topic, topic) != 0 || outgoing->delay != delay ||
        !frame_has_room(&outgoing->frame, size, attributes)) {
        outgoing = open_frame(client, topic, delay);
    }
    if (outgoing == NULL) {
        return fault_memory(&client->fault);
    }
    size_t before = outgoing->frame.bytes.size;
    enum mp_error error = frame_add(&outgoing->frame, message->body.data, size,
                                    attributes > 0 ? message->attributes.data : NULL, attributes);
    if (error != MP_OK) {
        return library_tell(client, error, mp_error_text(error));
    }
    client->queued += outgoing->frame.bytes.size - before;
    return MP_OK;
}

/* ---- the interface ------------------------------------------------------------------------ */

/* What was read of a topic and is published again keeps its origin. */
static enum mp_error prepare(struct mp_client *client, struct mp_message *message)
{
    uint32_t limit = client_welcome(client->client)->max_message;
    if (message->lease != 0) {
        return library_tell(client, MP_ERR_INVALID,
                            "the message is leased: settle it, and publish a new one with its body");
    }
    if (message->body.size > limit || message->body.size > FRAME_BODY_MAX) {
        return fault_set(&client->fault, MP_ERR_TOO_LARGE, "the message has %zu bytes: the relay takes up to %lu",
                         message->body.size, (unsigned long)limit);
    }
    if (message->received &&
        attributes_set_origin(&message->attributes, message->producer, message->sequence) != MP_OK) {
        return fault_memory(&client->fault);
    }
    return MP_OK;
}

enum mp_error mp_publish(struct mp_client *client, const char *topic, struct mp_message *message)
{
    return mp_publish_delayed(client, topic, message, 0);
}

enum mp_error mp_publish_delayed(struct mp_client *client, const char *topic, struct mp_message *message, int64_t delay)
{
    enum mp_error error = name_check_topic(topic, strlen(topic), &client->fault);
    if (error == MP_OK && (delay < 0 || delay > INT64_MAX / 1000)) {
        error = library_tell(client, MP_ERR_INVALID, "a delay of less than no time, or of more than there is");
    }
    if (error == MP_OK) {
        error = prepare(client, message);
    }
    if (error == MP_OK) {
        if (clock_monotonic() - client->driven >= DRIVE_AFTER) {
            library_drive(client);
        }
        error = library_trouble(client);
    }
    while (error == MP_OK && client->queued >= QUEUE_BYTES) {
        error = library_wait(client, CLOCK_NEVER);
        if (error == MP_OK) {
            error = library_trouble(client);
        }
    }
    if (error == MP_OK) {
        error = add_message(client, topic, delay * 1000, message);
    }
    if (error == MP_OK) {
        library_message_unlink(message);
        mp_message_free(message);
        library_send(client);
    }
    return error;
}

enum mp_error mp_flush(struct mp_client *client, int64_t wait)
{
    int64_t end = library_end(wait);
    library_drive(client);
    enum mp_error error = library_trouble(client);
    while (error == MP_OK && (client->first != NULL || !client_can_publish(client->client))) {
        error = library_wait(client, end);
        if (error == MP_OK) {
            error = library_trouble(client);
        } else if (error == MP_ERR_TIMEOUT) {
            library_tell(client, error,
                         client->full ? client->full_text : "the relay has not acknowledged everything yet");
        }
    }
    return error;
}
