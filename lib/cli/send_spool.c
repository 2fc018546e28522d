/*
 * msend by way of a spool: input is taken and flushed to disk at once, and goes to the relay from there, in order, when
 * the relay can be reached. The two do not wait for each other. See spool.h for what is on the disk.
 */
#include "cli/send_spool.h"

#include "base/memory.h"
#include "base/units.h"
#include "cli/exit.h"
#include "cli/relay_link.h"
#include "cli/send_engine.h"
#include "cli/spool.h"
#include "cli/spool_refused.h"
#include "message/attributes.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    KEEP = 30 * 24 * 3600,          /* seconds that the relay keeps the session: as long as a link may be broken */
    MAX_MESSAGE = 16 * 1024 * 1024, /* bytes, while the relay's own limit is not known */
    LOOK_EVERY = 200000,            /* microseconds between two looks whether it is our turn */
    LEAVE_WITHIN = 1000000,
    SEEK_EVERY = 1000000, /* between two looks for a relay that was waited for in vain, while there is input */
    TELL_AFTER = 2000000, /* how long there is no relay before somebody at a terminal is told */
    FOR_EVER = 1 << 30    /* seconds */
};

struct send_spool {
    struct send_engine *engine;
    struct spool *spool;
    const char *directory;

    struct frame_builder filling;
    struct buffer block; /* attributes of one message */
    int64_t filled_from;
    bool full; /* the next item is for another frame */
    bool idle; /* the input has nothing now */
    uint64_t upto;
    uint64_t taken; /* messages that are on the spool's disk */

    struct relay_link *link;
    uint64_t link_segment; /* whose session the link has */
    struct frame_builder outgoing;
    uint32_t flying;   /* messages of the frame that is under way */
    uint32_t too_late; /* of these: that had expired before */
    uint64_t expired;
    uint64_t refused;
    bool topic_full;
    bool told;
    int64_t since; /* since when nothing has been delivered although something waits */
    int64_t stop_at;
    int64_t leave_by;
    int64_t again_at; /* no relay is looked for before, while there is input */
};

/* ---- words ---------------------------------------------------------------------------------------------------- */

static void tell_kept(const struct send_spool *send, const char *why)
{
    struct spool_status status = {0};
    struct fault fault = {0};
    if (spool_look(send->directory, &status, &fault)) {
        tell("%s: %s", why, fault_text(&fault));
        return;
    }
    if (status.messages > 0)
        tell("%s: %" PRIu64 " %s kept in %s: msend --spool %s delivers %s", why, status.messages,
             status.messages == 1 ? "message is" : "messages are", send->directory, send->directory,
             status.messages == 1 ? "it" : "them");
}

/* Ends the tool after an error of the spool. */
static void give_up(struct send_spool *send, const struct fault *fault)
{
    tell("%s", fault_text(fault));
    if (send->engine->settings->topic)
        send_engine_summary(send->engine, "given up", 0);
    send_engine_end(send->engine, exit_code_of(fault->code));
}

/* ---- taking --------------------------------------------------------------------------------------------------- */

/*
 * A message with an expirytime says when it was taken: its frame will get the time of its delivery, by which the relay
 * knows how much of its life is left.
 */
static enum mp_error keep_time(struct send_spool *send)
{
    struct send_item *item = &send->engine->item;
    struct buffer *block = &send->block;
    struct attribute attribute;
    char text[UNITS_TIME_TEXT];
    if (!attribute_find(item->attributes, item->attributes_size, "expirytime", 10, &attribute) ||
        attribute_find(item->attributes, item->attributes_size, "time", 4, &attribute))
        return MP_OK;
    block->size = 0;
    units_time_text(clock_wall(), text);
    enum mp_error error = buffer_append(block, item->attributes, item->attributes_size);
    if (!error)
        error = attributes_set(block, ATTRIBUTE_STRING, "time", 4, text, strlen(text), NULL);
    if (error)
        return error == MP_ERR_MEMORY ? error : MP_OK; /* it has no room for one */
    item->attributes = block->data;
    item->attributes_size = block->size;
    return MP_OK;
}

/* Fills the frame as far as the source and its size allow. */
static enum mp_error fill(struct send_spool *send, int64_t now, int64_t *due, struct fault *fault)
{
    struct send_engine *engine = send->engine;
    struct frame_builder *frame = &send->filling;
    const struct send_item *item = &engine->item;
    send->idle = false;
    while (!send->full) {
        enum mp_error error = send_engine_take(engine, now, due, fault);
        send->idle = error == MP_ERR_AGAIN;
        if (error == MP_ERR_AGAIN || error == MP_ERR_CLOSED)
            return MP_OK;
        if (!error && keep_time(send))
            return fault_memory(fault);
        if (!error && frame->count == 0) {
            uint64_t producer, sequence;
            error = spool_origin(send->spool, &producer, &sequence, fault);
            if (!error)
                error = frame_begin(frame, producer, sequence);
            send->filled_from = clock_wall();
        }
        if (error)
            return error;
        if (!frame_has_room(frame, item->size, item->attributes_size)) {
            send->full = true;
            return MP_OK;
        }
        if (!send_engine_single(engine, frame->count))
            return MP_OK;
        error = frame_add(frame, item->body, item->size, item->attributes, item->attributes_size);
        if (error)
            return fault_set(fault, error, "%s", mp_error_text(error));
        engine->has_item = false;
        send->upto = send_source_counts(engine->source)->taken;
    }
    return MP_OK;
}

/* When the relay is to let out what is taken now, by the wall clock; 0: at once. A delay begins here, not there. */
static int64_t due_at(const struct send_engine *engine)
{
    if (engine->when == PROTOCOL_WHEN_DELAY)
        return clock_wall() + engine->when_value;
    return engine->when == PROTOCOL_WHEN_AT && engine->when_value > 0 ? engine->when_value : 0;
}

/* Takes what the input has, at most a frame of it. */
static enum mp_error take(struct send_spool *send, int64_t now, int64_t *due, struct fault *fault)
{
    struct send_engine *engine = send->engine;
    struct frame_builder *frame = &send->filling;
    enum mp_error error = fill(send, now, due, fault);
    bool whole = engine->settings->id ? engine->ended : send->full || send->idle || engine->ended;
    if (error || engine->exit >= 0 || frame->count == 0 || !whole)
        return error;
    frame_finish(frame, send->filled_from);
    if ((error = spool_append(send->spool, engine->settings->topic, due_at(engine), frame, fault)))
        return error;
    send->taken += frame->count;
    engine->gone = send->upto;
    frame->count = 0;
    if (send->full)
        *due = now;
    send->full = false;
    return MP_OK;
}

/* Whether nothing more will come. */
static bool is_all_taken(const struct send_spool *send)
{
    return send->engine->ended && !send->engine->has_item && !send->filling.count;
}

/* ---- delivering ----------------------------------------------------------------------------------------------- */

static void delivered(struct send_spool *send, uint64_t messages)
{
    send->flying = 0;
    send->expired += send->too_late;
    send->too_late = 0;
    send->since = clock_monotonic();
    send->engine->done += messages;
}

static void on_published(void *context, uint64_t offset, uint32_t count, uint32_t duplicates)
{
    (void)offset;
    (void)duplicates;
    struct send_spool *send = context;
    struct fault fault = {0};
    delivered(send, count);
    if (spool_delivered(send->spool, &fault))
        give_up(send, &fault);
}

/* The session's name is on the disk before anything is sent in it. */
static void on_welcomed(void *context, const struct protocol_welcome *welcome)
{
    struct send_spool *send = context;
    struct fault fault = {0};
    uint64_t messages = 0;
    enum mp_error error = spool_session(send->spool, welcome->session, welcome->published, &messages, &fault);
    if (messages > 0)
        delivered(send, messages);
    if (error && error != MP_ERR_NOT_FOUND)
        give_up(send, &fault);
    if (send->told)
        tell("the relay is there: delivering");
    send->told = false;
}

static void on_full(void *context, bool full, const char *text)
{
    struct send_spool *send = context;
    if (full && !send->topic_full && output_is_terminal(STDERR_FILENO))
        tell("%s: waiting for room", text);
    send->topic_full = full;
}

static void on_failed(void *context, enum mp_error error, const char *text)
{
    struct send_spool *send = context;
    struct fault fault = {0};
    if (error != MP_ERR_SESSION) {
        tell("%s", text);
        tell_kept(send, "given up");
        send_engine_end(send->engine, exit_code_of(error));
        return;
    }
    tell("the relay does not know the session any more in which %s was being delivered: what was under way then may be "
         "stored already, and the next run sends it again, with the same ids",
         send->directory);
    if (spool_forget_session(send->spool, &fault))
        tell("%s", fault_text(&fault));
    send_engine_end(send->engine, EXIT_FAILED);
}

/* What the relay will never take does not keep back the rest. */
static void on_refused(void *context, enum mp_error error, const char *text)
{
    struct send_spool *send = context;
    struct fault fault = {0};
    struct spool_entry entry;
    send->flying = 0;
    if (spool_next(send->spool, &entry, &fault) || spool_keep_refused(send->directory, &entry, error, text, &fault) ||
        spool_refused(send->spool, &fault)) {
        give_up(send, &fault);
        return;
    }
    send->refused += entry.count;
    tell("the relay refused %" PRIu32 " %s for topic %s, now in %s/refused.jsonl: %s", entry.count,
         entry.count == 1 ? "message" : "messages", entry.topic, send->directory, text);
}

static enum mp_error open_link(struct send_spool *send, struct fault *fault)
{
    struct send_engine *engine = send->engine;
    struct spool_entry entry;
    enum mp_error error = spool_next(send->spool, &entry, fault);
    if (error)
        return error;
    struct relay_link_settings link = {
        .loop = &engine->loop,
        .relay = engine->settings->relay,
        .wait = engine->settings->wait < 0 ? (int64_t)FOR_EVER * 1000000 : engine->settings->wait,
        .client = {.keep = KEEP,
                   .session = spool_session_of_next(send->spool),
                   .publication = entry.number,
                   .context = send,
                   .welcomed = on_welcomed,
                   .published = on_published,
                   .refused = on_refused,
                   .full = on_full,
                   .failed = on_failed},
    };
    send->link_segment = spool_segment_of_next(send->spool);
    return relay_link_open(&link, &send->link, fault);
}

static void close_link(struct send_spool *send)
{
    relay_link_close(send->link);
    send->link = NULL;
    send->leave_by = 0;
}

/*
 * The relay need not remember a session of which nothing is in doubt for 30 days: says good-bye, for as long as that
 * takes, but no longer than a second. True when it is done.
 */
static bool leave(struct send_spool *send, int64_t now, int64_t *due)
{
    struct client *client = send->link ? relay_link_client(send->link) : NULL;
    if (client && !send->leave_by) {
        send->leave_by = now + LEAVE_WITHIN;
        if (!client_is_welcome(client) || client_leave(client))
            send->leave_by = now;
    }
    if (client && !client_has_left(client) && now < send->leave_by) {
        *due = send->leave_by < *due ? send->leave_by : *due;
        return false;
    }
    close_link(send);
    return true;
}

/*
 * What lives for a time only does not begin anew at the relay, which goes by how far its expirytime is ahead of the time
 * of its frame: FRAME becomes one of now. A clock that was set back makes nobody live longer.
 */
static void renew_time(struct send_spool *send, struct frame_builder *frame, const struct frame *opened)
{
    struct frame_cursor cursor = frame_cursor(opened);
    struct record record;
    int64_t now = clock_wall(), expiry;
    if (now < opened->time)
        now = opened->time;
    frame->flags = opened->flags;
    frame_finish(frame, now);
    send->too_late = 0;
    while (frame_next(&cursor, &record))
        send->too_late += frame_record_expiry(&record, &expiry) && expiry <= now;
}

static enum mp_error publish(struct send_spool *send, const struct spool_entry *entry, struct fault *fault)
{
    struct frame_builder *frame = &send->outgoing;
    struct frame opened;
    struct client_publication publication = {.topic = entry->topic, .fixed = true};
    if (entry->at) {
        publication.when = PROTOCOL_WHEN_AT;
        publication.value = entry->at;
    }
    enum mp_error error = frame_open(&opened, entry->data, entry->size, false, fault);
    if (!error && opened.flags & FRAME_TIMED)
        error = frame_open(&opened, entry->data, entry->size, true, fault); /* it is walked */
    if (error)
        return error;
    frame->bytes.size = 0;
    if (buffer_append(&frame->bytes, entry->data, entry->size))
        return fault_memory(fault);
    frame->producer = opened.producer;
    frame->sequence = opened.sequence;
    frame->count = opened.count;
    frame->longest = opened.longest;
    frame->attributes = opened.attributes;
    if (opened.flags & FRAME_TIMED)
        renew_time(send, frame, &opened);
    error = client_publish(relay_link_client(send->link), &publication, frame, fault);
    if (!error)
        send->flying = entry->count;
    return error;
}

/* Sends the next frame, when nothing is under way. *MORE: something waits. */
static enum mp_error deliver(struct send_spool *send, int64_t now, int64_t *due, bool *more, struct fault *fault)
{
    struct spool_entry entry;
    *more = true;
    if (send->flying > 0)
        return MP_OK;
    enum mp_error error = spool_next(send->spool, &entry, fault);
    bool others = error == MP_ERR_BUSY || error == MP_ERR_NOT_FOUND;
    if (error == MP_ERR_NOT_FOUND)
        *more = false;
    if (error == MP_ERR_BUSY && now + LOOK_EVERY < *due)
        *due = now + LOOK_EVERY;
    if (error && !others)
        return error;
    /* Each segment has a session of its own. */
    if (send->link && (others ? send->engine->ended : spool_segment_of_next(send->spool) != send->link_segment) &&
        !leave(send, now, due)) {
        *more = true;
        return MP_OK;
    }
    if (others)
        return MP_OK;
    if (!send->link && now < send->again_at && !is_all_taken(send)) {
        *due = send->again_at < *due ? send->again_at : *due;
        return MP_OK;
    }
    if (!send->link && (error = open_link(send, fault)))
        return error;
    return client_can_publish(relay_link_client(send->link)) ? publish(send, &entry, fault) : MP_OK;
}

/* ---- steps ---------------------------------------------------------------------------------------------------- */

/* Looks after the link. False: the tool ends. */
static bool check_link(struct send_spool *send, int64_t now)
{
    struct send_engine *engine = send->engine;
    struct fault fault = {0};
    enum mp_error error = send->link ? relay_link_check(send->link, now, &fault) : MP_OK;
    if (engine->exit >= 0)
        return false;
    if ((error == MP_ERR_NO_RELAY || error == MP_ERR_TIMEOUT) && !is_all_taken(send)) {
        close_link(send); /* what is still to come is not lost for want of a relay */
        send->flying = send->too_late = 0;
        send->again_at = now + SEEK_EVERY;
        return true;
    }
    if (error == MP_ERR_NO_RELAY || error == MP_ERR_TIMEOUT) {
        tell("%s", fault_text(&fault));
        tell_kept(send, "not delivered");
        send_engine_end(engine, EXIT_LATER);
        return false;
    }
    if (error) {
        send_engine_end(engine, relay_link_tell(engine->settings->relay, &fault));
        return false;
    }
    if (send->link && !send->told && !client_is_welcome(relay_link_client(send->link)) &&
        now - send->since > TELL_AFTER && output_is_terminal(STDERR_FILENO)) {
        tell("no relay answers yet: messages are kept in %s until one does", send->directory);
        send->told = true;
    }
    return true;
}

/* An interrupted tool waits a little for what is in flight. */
static bool stop(struct send_spool *send, int64_t now, int64_t *due)
{
    if (!send->stop_at)
        send->stop_at = now + (send->flying ? SEND_LINGER : 0);
    if (send->flying && relay_link_connected(send->link) && now < send->stop_at) {
        *due = send->stop_at;
        return true;
    }
    tell_kept(send, "interrupted");
    send_engine_end(send->engine, EXIT_FAILED);
    return false;
}

static bool step(void *context, int64_t now, int64_t *due)
{
    struct send_spool *send = context;
    struct send_engine *engine = send->engine;
    struct fault fault = {0};
    bool more = false;
    if (engine->exit >= 0 || !check_link(send, now))
        return false;
    if (engine->loop.interrupted)
        return stop(send, now, due);
    enum mp_error error = is_all_taken(send) ? MP_OK : take(send, now, due, &fault);
    if (error) {
        tell("%s", fault_text(&fault));
        send_engine_summary(engine, "given up", 0);
        tell_kept(send, "given up");
        send_engine_end(engine, send_source_exit(engine->source, error));
        return false;
    }
    if (engine->exit >= 0)
        return false;
    if ((error = deliver(send, now, due, &more, &fault))) {
        give_up(send, &fault);
        return false;
    }
    progress_show(&engine->progress, "delivered", send_source_counts(engine->source)->bytes, engine->done, now);
    return more || !is_all_taken(send);
}

int send_by_spool(struct send_engine *engine)
{
    struct send_spool send = {.engine = engine, .directory = engine->settings->spool, .since = clock_monotonic()};
    struct fault fault = {0};
    enum mp_error error = spool_open(send.directory, &send.spool, &fault);
    if (error)
        return tell_fault(&fault);
    if (!engine->settings->topic)
        engine->ended = true; /* only what is there already */
    send_source_limit(engine->source,
                      engine->settings->max_message ? (size_t)engine->settings->max_message : (size_t)MAX_MESSAGE);
    error = loop_run(&engine->loop, step, &send, &fault);
    if (error)
        send_engine_end(engine, tell_fault(&fault));
    close_link(&send);
    spool_close(send.spool);
    frame_builder_free(&send.filling);
    frame_builder_free(&send.outgoing);
    buffer_free(&send.block);
    if (send.expired)
        tell("%" PRIu64 " %s expired in %s before the relay could be reached: nobody is given %s", send.expired,
             send.expired == 1 ? "message had" : "messages had", send.directory, send.expired == 1 ? "it" : "them");
    if (engine->exit >= 0)
        return engine->exit;
    send_source_summary(engine->source);
    return send_source_counts(engine->source)->rejected || send.refused ? EXIT_REJECTED : EXIT_DONE;
}

/* ---- looking -------------------------------------------------------------------------------------------------- */

int send_spool_status(const char *directory)
{
    struct spool_status status;
    struct fault fault = {0};
    char size[24], age[24] = "";
    if (spool_look(directory, &status, &fault))
        return tell_fault(&fault);
    if (status.messages == 0) {
        printf("nothing waits in %s\n", directory);
    } else {
        int64_t since = clock_wall() - status.oldest;
        units_size_text(status.bytes, size, sizeof size);
        units_duration_text(since > 0 ? since / 1000000 * 1000000 : 0, age, sizeof age);
        printf("%" PRIu64 " %s (%s) in %s, the oldest for %s\n", status.messages,
               status.messages == 1 ? "message waits" : "messages wait", size, directory, age);
    }
    if (status.busy > 0)
        printf("process %ld %s\n", status.process, status.busy == 1 ? "is at work" : "and others are at work");
    else if (status.messages > 0)
        printf("nobody delivers them: run msend --spool %s\n", directory);
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_IO;
}
