#include "runner/trial.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/units.h"
#include "client/link.h"
#include "message/attributes.h"
#include "message/names.h"
#include "pipeline/pipeline.h"
#include "runner/runner.h"

#include <event2/event.h>
#include <stdio.h>
#include <string.h>

#define KEPT ((int64_t)86400 * 1000000) /* what is settled stays for so long: the trial reads it at its end */

enum phase { STARTING, SENDING, WORKING, READING, ENDED };

struct trial {
    struct trial_settings settings;
    const struct pipeline *pipeline;
    const struct pipeline_test *test;
    struct runner *runner;
    struct client_link *link;
    struct event *limit; /* its time is over */
    struct event *next;  /* goes on outside of callbacks */
    enum phase phase;
    bool welcome;
    size_t sent;     /* messages of the input */
    bool publishing; /* one is under way */
    size_t reading;  /* which topic */
    bool subscribed;
    struct frame_builder frame;
    struct trial_topic *topics;
    size_t topics_count, topics_capacity;
    struct fault fault;
    bool failed;
};

/* ---- ending ---------------------------------------------------------------------------------------------------- */

static void go_on(struct trial *trial)
{
    struct timeval now = {0};
    event_add(trial->next, &now);
}

static void fail(struct trial *trial, const struct fault *fault)
{
    if (!trial->failed)
        trial->fault = *fault;
    trial->failed = true;
    trial->phase = ENDED;
    go_on(trial);
}

static void on_limit(evutil_socket_t descriptor, short what, void *context)
{
    static const char *const doing[] = {
        [STARTING] = "the stages have not started",
        [SENDING] = "its input was not taken",
        [WORKING] = "messages still wait, or are worked on",
        [READING] = "the relay does not answer",
    };
    struct trial *trial = context;
    struct fault fault = {0};
    char text[24];
    (void)descriptor;
    (void)what;
    if (trial->phase == ENDED)
        return;
    units_duration_text(trial->test->timeout, text, sizeof text);
    fault_set(&fault, MP_ERR_TIMEOUT, "after %s %s (`timeout:` of the test is longer for what takes longer)", text,
              doing[trial->phase]);
    fail(trial, &fault);
}

/* ---- which topics are of interest ------------------------------------------------------------------------------ */

static enum mp_error add_topic(struct trial *trial, const char *name, bool letters)
{
    for (size_t i = 0; i < trial->topics_count; i++)
        if (strcmp(trial->topics[i].name, name) == 0) {
            trial->topics[i].letters = trial->topics[i].letters || letters;
            return MP_OK;
        }
    if (trial->topics_count == trial->topics_capacity) {
        struct trial_topic *topics = memory_grow(trial->topics, &trial->topics_capacity, sizeof *topics, 8);
        if (!topics)
            return MP_ERR_MEMORY;
        trial->topics = topics;
    }
    char *copy = memory_copy_text(name, strlen(name));
    if (!copy)
        return MP_ERR_MEMORY;
    trial->topics[trial->topics_count++] = (struct trial_topic){.name = copy, .letters = letters};
    return MP_OK;
}

/* Where STAGE's dead letters go. Those of a pattern go to topics that are named by what is sent: they are not read. */
static enum mp_error add_letters(struct trial *trial, const struct pipeline_stage *stage)
{
    enum mp_error error = MP_OK;
    if (stage->group.dead_letter[0])
        return add_topic(trial, stage->group.dead_letter, true);
    for (size_t i = 0; i < stage->from.count && !error; i++) {
        char name[NAME_MAX_BYTES + sizeof(".dead")];
        snprintf(name, sizeof name, "%s.dead", stage->from.all[i].topic);
        if (!strpbrk(name, "*>") && strlen(name) <= NAME_MAX_BYTES)
            error = add_topic(trial, name, true);
    }
    return error;
}

static enum mp_error add_outputs(struct trial *trial, const struct pipeline_stage *stage)
{
    enum mp_error error = MP_OK;
    for (size_t i = 0; i < stage->to.count && !error; i++)
        error = add_topic(trial, stage->to.all[i].topic, false);
    for (size_t i = 0; i < stage->routes_count && !error; i++)
        error = add_topic(trial, stage->routes[i].to.topic, false);
    if (!error && stage->breaker.set && stage->breaker.fallback == PIPELINE_FALLBACK_TOPIC)
        error = add_topic(trial, stage->breaker.to.topic, false);
    return error;
}

static enum mp_error choose_topics(struct trial *trial)
{
    enum mp_error error = MP_OK;
    for (size_t i = 0; i < trial->test->expect_count && !error; i++)
        error = add_topic(trial, trial->test->expect[i].topic, false);
    for (size_t i = 0; i < trial->pipeline->stages_count && !error; i++) {
        const struct pipeline_stage *stage = &trial->pipeline->stages[i];
        bool tested = trial->test->stage && strcmp(stage->name, trial->test->stage) == 0;
        if (tested)
            error = add_outputs(trial, stage);
        if (!error && (tested || (!trial->test->stage && !stage->sink)))
            error = add_letters(trial, stage);
    }
    return error;
}

/* ---- sending --------------------------------------------------------------------------------------------------- */

static const char *topic_of(const struct trial *trial, const struct pipeline_message *message)
{
    const struct pipeline_stage *stage =
        trial->test->stage ? pipeline_stage(trial->pipeline, trial->test->stage) : NULL;
    if (message->topic)
        return message->topic;
    return stage && stage->from.count ? stage->from.all[0].topic : NULL;
}

static enum mp_error add_message(struct trial *trial, const struct pipeline_message *message, struct fault *fault)
{
    struct buffer block = {0};
    enum mp_error error = MP_OK;
    for (size_t i = 0; i < message->attributes_count && !error; i++) {
        const char *name = message->attributes[i].name, *value = message->attributes[i].value;
        error = attributes_set(&block, ATTRIBUTE_STRING, name, strlen(name), value, strlen(value), fault);
    }
    if (!error)
        error = frame_add(&trial->frame, message->body, message->body_size, block.data, block.size);
    buffer_free(&block);
    return error;
}

/* One message a publication: few are sent, and their order is what the file says. */
static enum mp_error send_next(struct trial *trial, struct fault *fault)
{
    struct client *client = client_link_use(trial->link);
    const struct pipeline_message *message = &trial->test->input[trial->sent];
    struct client_publication publication = {.topic = topic_of(trial, message)};
    uint64_t producer, sequence;
    if (!publication.topic)
        return fault_set(fault, MP_ERR_INVALID, "input %zu names no topic, and the test no stage", trial->sent + 1);
    client_origin(client, &producer, &sequence);
    enum mp_error error = frame_begin(&trial->frame, producer, sequence);
    if (!error)
        error = add_message(trial, message, fault);
    if (error)
        return fault->code ? error : fault_set(fault, error, "%s", mp_error_text(error));
    frame_finish(&trial->frame, clock_wall());
    error = client_publish(client, &publication, &trial->frame, fault);
    trial->publishing = !error;
    return error;
}

static void on_published(void *context, uint64_t offset, uint32_t count, uint32_t duplicates)
{
    struct trial *trial = context;
    (void)offset;
    (void)count;
    (void)duplicates;
    trial->publishing = false;
    trial->sent++;
    go_on(trial);
}

static void on_refused(void *context, enum mp_error error, const char *text)
{
    struct trial *trial = context;
    struct fault fault = {0};
    fault_set(&fault, error, "input %zu was refused: %s", trial->sent + 1, text);
    fail(trial, &fault);
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

static enum mp_error keep(struct trial_topic *topic, const struct record *record, uint64_t offset, int64_t time)
{
    if (topic->count == topic->capacity) {
        struct trial_message *messages = memory_grow(topic->messages, &topic->capacity, sizeof *messages, 8);
        if (!messages)
            return MP_ERR_MEMORY;
        topic->messages = messages;
    }
    struct trial_message *message = &topic->messages[topic->count];
    *message =
        (struct trial_message){.item = {.record = *record, .topic = topic->name, .offset = offset, .time = time}};
    enum mp_error error = buffer_append(&message->body, record->body, record->size);
    if (!error)
        error = buffer_append(&message->attributes, record->attributes, record->attributes_size);
    topic->count++;
    message->item.record.body = message->body.data;
    message->item.record.attributes = message->attributes.data;
    return error;
}

static void on_fetched(void *context, const struct protocol_chunk *chunk, const struct frame *frame, uint64_t lease,
                       struct client_hold *hold)
{
    struct trial *trial = context;
    struct frame_cursor cursor = frame_cursor(frame);
    struct record record;
    struct fault fault = {0};
    uint32_t index = 0;
    enum mp_error error = MP_OK;
    (void)lease;
    while (!error && trial->phase == READING && frame_next(&cursor, &record))
        error = keep(&trial->topics[trial->reading], &record, protocol_chunk_offset(chunk, index++), frame->time);
    client_hold_free(hold);
    if (error) {
        fault_memory(&fault);
        fail(trial, &fault);
    }
}

static void on_fetch_done(void *context, unsigned flags, uint64_t waiting)
{
    struct trial *trial = context;
    (void)waiting;
    if (trial->phase != READING)
        return;
    if (flags & PROTOCOL_FETCH_END) {
        trial->reading++;
        trial->subscribed = false;
    }
    go_on(trial);
}

static enum mp_error read_next(struct trial *trial, struct fault *fault)
{
    struct client *client = client_link_use(trial->link);
    if (client_is_fetching(client))
        return MP_OK;
    if (!trial->subscribed) {
        struct client_subscription subscription = {.topic = trial->topics[trial->reading].name,
                                                   .from = PROTOCOL_FROM_START};
        enum mp_error error = client_subscribe(client, &subscription, fault);
        if (error)
            return error;
        trial->subscribed = true;
    }
    return client_fetch(client, 0, 0, fault);
}

/* ---- the way of it --------------------------------------------------------------------------------------------- */

static void on_welcomed(void *context, const struct protocol_welcome *welcome)
{
    struct trial *trial = context;
    (void)welcome;
    trial->welcome = true;
    go_on(trial);
}

static void on_client_failed(void *context, enum mp_error error, const char *text)
{
    struct trial *trial = context;
    struct fault fault = {0};
    fault_set(&fault, error, "%s", text);
    fail(trial, &fault);
}

static void on_runner_changed(void *context)
{
    struct trial *trial = context;
    if (runner_failure(trial->runner))
        fail(trial, runner_failure(trial->runner));
    go_on(trial);
}

static enum mp_error take_step(struct trial *trial, struct fault *fault)
{
    enum runner_state state = runner_state(trial->runner);
    if (trial->phase == STARTING && trial->welcome && state != RUNNER_STARTING)
        trial->phase = SENDING;
    if (trial->phase == SENDING && !trial->publishing && trial->sent < trial->test->input_count)
        return send_next(trial, fault);
    if (trial->phase == SENDING && !trial->publishing) {
        trial->phase = WORKING;
        runner_drain(trial->runner);
        state = runner_state(trial->runner);
    }
    if (trial->phase == WORKING && state == RUNNER_STOPPED)
        trial->phase = READING;
    if (trial->phase == READING && trial->reading < trial->topics_count)
        return read_next(trial, fault);
    if (trial->phase == READING)
        trial->phase = ENDED;
    return MP_OK;
}

static void on_next(evutil_socket_t descriptor, short what, void *context)
{
    struct trial *trial = context;
    struct fault fault = {0};
    (void)descriptor;
    (void)what;
    enum mp_error error = trial->phase == ENDED ? MP_OK : take_step(trial, &fault);
    if (error)
        fail(trial, &fault);
    if (trial->phase != ENDED)
        return;
    event_del(trial->next);
    event_del(trial->limit);
    trial->settings.ended(trial->settings.context);
}

/* Nothing that the test wants to read may go because everybody is done with it. */
static void keep_all(struct pipeline *pipeline)
{
    for (size_t i = 0; i < pipeline->topics_count; i++)
        if (pipeline->topics[i].settings.retain_age < KEPT)
            pipeline->topics[i].settings.retain_age = KEPT;
}

static enum mp_error start(struct trial *trial, struct pipeline *taken, struct fault *fault)
{
    const struct trial_settings *settings = &trial->settings;
    struct client_settings client = {
        .name = "mrelay test",
        .context = trial,
        .welcomed = on_welcomed,
        .published = on_published,
        .refused = on_refused,
        .fetched = on_fetched,
        .fetch_done = on_fetch_done,
        .failed = on_client_failed,
    };
    struct runner_settings runner = {
        .base = settings->base,
        .relay = settings->relay,
        .only = trial->test->stage,
        .no_sources = true,
        .no_sinks = !trial->test->stage,
        .signals = settings->signals,
        .context = trial,
        .changed = on_runner_changed,
    };
    struct timeval limit = {.tv_sec = (time_t)(trial->test->timeout / 1000000),
                            .tv_usec = (suseconds_t)(trial->test->timeout % 1000000)};
    trial->limit = evtimer_new(settings->base, on_limit, trial);
    trial->next = evtimer_new(settings->base, on_next, trial);
    enum mp_error error =
        trial->limit && trial->next && event_add(trial->limit, &limit) == 0 ? choose_topics(trial) : MP_ERR_MEMORY;
    if (error) {
        pipeline_free(taken);
        return fault_memory(fault);
    }
    error = runner_open(&runner, taken, &trial->runner, fault);
    if (error)
        pipeline_free(taken);
    return error ? error : client_link_open(settings->base, settings->relay, &client, &trial->link, fault);
}

enum mp_error trial_open(const struct trial_settings *settings, struct trial **result, struct fault *fault)
{
    struct trial *trial = memory_allocate(sizeof *trial);
    if (!trial) {
        pipeline_free(settings->taken);
        return fault_memory(fault);
    }
    trial->settings = *settings;
    trial->pipeline = settings->pipeline;
    trial->test = &settings->pipeline->tests[settings->test];
    keep_all(settings->taken);
    enum mp_error error = start(trial, settings->taken, fault);
    if (error)
        trial_free(trial);
    else
        *result = trial;
    return error;
}

void trial_free(struct trial *trial)
{
    if (!trial)
        return;
    client_link_close(trial->link);
    runner_free(trial->runner);
    if (trial->limit)
        event_free(trial->limit);
    if (trial->next)
        event_free(trial->next);
    for (size_t i = 0; i < trial->topics_count; i++) {
        for (size_t j = 0; j < trial->topics[i].count; j++) {
            buffer_free(&trial->topics[i].messages[j].body);
            buffer_free(&trial->topics[i].messages[j].attributes);
        }
        memory_release(trial->topics[i].messages);
        memory_release(trial->topics[i].name);
    }
    memory_release(trial->topics);
    frame_builder_free(&trial->frame);
    memory_release(trial);
}

const struct fault *trial_fault(const struct trial *trial)
{
    return trial->failed ? &trial->fault : NULL;
}

const struct trial_topic *trial_topics(const struct trial *trial, size_t *count)
{
    *count = trial->topics_count;
    return trial->topics;
}
