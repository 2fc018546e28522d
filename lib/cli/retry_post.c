/* Dead letters of mretry's input, on their way to a topic. */
#include "cli/retry_post.h"

#include "base/clock.h"
#include "base/units.h"
#include "cli/exit.h"
#include "message/attributes.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static void on_published(void *context, uint64_t offset, uint32_t count, uint32_t duplicates)
{
    (void)offset;
    (void)count;
    (void)duplicates;
    struct retry_post *post = context;
    post->sending = false;
}

static void on_failed(void *context, enum mp_error error, const char *text)
{
    struct retry_post *post = context;
    fault_set(&post->fault, error, "cannot send dead letters to %s: %s", post->topic, text);
}

static void on_answered(void *context, enum mp_error status, const char *text, size_t size)
{
    struct retry_post *post = context;
    post->ready = status == MP_OK;
    if (status != MP_OK) {
        fault_set(&post->fault, status, "cannot send dead letters to %s: %.*s", post->topic,
                  (int)(size < FAULT_TEXT ? size : FAULT_TEXT), text);
        return;
    }
    json_t *answer = json_loadb(text, size, 0, NULL);
    if (json_is_false(json_object_get(answer, "letters")))
        tell("topic %s was there before, with other messages: patterns match the dead letters in it, too", post->topic);
    json_decref(answer);
}

enum mp_error retry_post_open(struct retry_post *post, struct loop *loop, const char *relay, const char *topic,
                              int64_t wait, struct fault *fault)
{
    post->relay = relay;
    post->topic = topic;
    enum mp_error error = name_check_topic(topic, strlen(topic), fault);
    if (error)
        return fault_set(fault, error, "--dead-topic: %s", fault->text);
    struct relay_link_settings settings = {
        .loop = loop,
        .relay = relay,
        .wait = wait,
        .client = {.context = post,
                   .published = on_published,
                   .refused = on_failed,
                   .answered = on_answered,
                   .failed = on_failed},
    };
    error = relay_link_open(&settings, &post->link, fault);
    if (!error)
        post->client = relay_link_client(post->link);
    return error;
}

void retry_post_close(struct retry_post *post)
{
    relay_link_close(post->link);
    frame_builder_free(&post->frame);
    buffer_free(&post->block);
    post->link = NULL;
}

/* Has the topic made, with the group that mretry's verbs look at it by. */
static enum mp_error ask(struct retry_post *post, struct fault *fault)
{
    char request[NAME_MAX_BYTES + 40];
    int size = snprintf(request, sizeof(request), "{\"verb\":\"letters\",\"topic\":\"%s\"}", post->topic);
    post->asked = true;
    return client_ask(post->client, request, (size_t)size, fault);
}

enum mp_error retry_post_check(struct retry_post *post, int64_t now, struct fault *fault)
{
    enum mp_error error = relay_link_check(post->link, now, fault);
    if (!error && post->fault.code) {
        *fault = post->fault;
        error = fault->code;
    }
    if (!error && !post->asked && client_is_welcome(post->client))
        error = ask(post, fault);
    return error;
}

/* A letter is not younger than its message: it keeps that one's time, if there is room. */
static enum mp_error keep_time(struct buffer *block, int64_t time)
{
    struct attribute attribute;
    char text[UNITS_TIME_TEXT];
    if (attribute_find(block->data, block->size, "time", 4, &attribute))
        return MP_OK;
    units_time_text(time, text);
    enum mp_error error = attributes_set(block, ATTRIBUTE_STRING, "time", 4, text, strlen(text), NULL);
    return error == MP_ERR_MEMORY ? error : MP_OK;
}

/* Puts as many of the job's letters into the frame as belong there. */
static enum mp_error fill(struct retry_post *post)
{
    const struct retry_job *job = post->job;
    struct letter letter = retry_letter_of(job);
    uint64_t producer;
    uint64_t sequence;
    client_origin(post->client, &producer, &sequence);
    enum mp_error error = frame_begin(&post->frame, producer, sequence);
    while (!error && post->next < job->count) {
        const struct retry_message *message = &job->messages[post->next];
        struct buffer *block = &post->block;
        block->size = 0;
        error = buffer_append(block, message->bytes + message->size, message->attributes_size);
        if (!error)
            error = keep_time(block, message->time);
        if (!error)
            error = letter_write(block, &letter);
        if (!error)
            error = attributes_set_origin(block, message->producer, message->sequence);
        if (!error && !frame_has_room(&post->frame, message->size, block->size))
            break;
        if (!error)
            error = frame_add(&post->frame, message->bytes, message->size, block->data, block->size);
        post->next += !error;
    }
    if (!error)
        frame_finish(&post->frame, clock_wall());
    return error;
}

enum mp_error retry_post_send(struct retry_post *post, const struct retry_job *job, struct fault *fault)
{
    if (post->job && post->job != job)
        return MP_ERR_AGAIN;
    if (!post->job)
        post->next = 0;
    post->job = job;
    if (post->sending || (post->next < job->count && !client_can_publish(post->client)))
        return MP_ERR_AGAIN;
    if (post->next == job->count) {
        post->job = NULL;
        return MP_OK;
    }
    struct client_publication publication = {.topic = post->topic};
    enum mp_error error = fill(post);
    if (error)
        return fault_memory(fault);
    post->sending = true;
    error = client_publish(post->client, &publication, &post->frame, fault);
    return error ? error : MP_ERR_AGAIN;
}
