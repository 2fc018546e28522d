#include "relay/private.h"

#include "base/memory.h"

#include <stdlib.h>

enum {
    MAX_MESSAGE = 16 * 1024 * 1024,
    LEASE = 30000,
    GRACE = 5000,
    SESSIONS = 65536,
    TURN_BYTES = 2 * 1024 * 1024, /* of requests that a turn applies */
    UNSENT_MAX = 4 * 1024 * 1024, /* bytes that a connection may leave unread and still be served */
    WAITING_BYTES = 16 * 1024 * 1024,
    ROOM_PERIOD = 100000,  /* microseconds between two looks whether there is room, or a connection reads again */
    RETRY_PERIOD = 100000, /* microseconds between two tries to do what the store refuses */
    DAMAGE_TURNS = 8,      /* that fail by damage, */
    DAMAGE_TIME = 2000000  /* over so many microseconds: the relay is to end */
};

#define DAMAGE_FORGOTTEN (INT64_C(600) * 1000 * 1000) /* microseconds after the last of them */

/* ---- requests that wait --------------------------------------------------------------------------------------- */

static void list_add(struct request_list *list, struct request *request)
{
    request->list = list;
    request->next = NULL;
    request->previous = list->last;
    if (list->last)
        list->last->next = request;
    else
        list->first = request;
    list->last = request;
}

static void list_remove(struct request *request)
{
    struct request_list *list = request->list;
    if (request->previous)
        request->previous->next = request->next;
    else
        list->first = request->next;
    if (request->next)
        request->next->previous = request->previous;
    else
        list->last = request->previous;
    request->list = NULL;
    request->next = request->previous = NULL;
}

bool core_may_wait(const struct core *core, const struct request *request)
{
    return core->waiting + request->blob->size <= WAITING_BYTES;
}

void core_wait(struct core *core, struct request *request, struct request_list *list, int64_t deadline)
{
    list_add(list, request);
    request->waiting = true;
    core->waiting += request->blob->size;
    request->deadline = deadline;
    if (deadline == CLOCK_NEVER)
        return;
    request->polling = true;
    request->previous_poll = NULL;
    request->next_poll = core->polls;
    if (core->polls)
        core->polls->previous_poll = request;
    core->polls = request;
    if (deadline < core->poll_due)
        core->poll_due = deadline;
}

void core_unwait(struct core *core, struct request *request)
{
    if (request->polling) {
        if (request->previous_poll)
            request->previous_poll->next_poll = request->next_poll;
        else
            core->polls = request->next_poll;
        if (request->next_poll)
            request->next_poll->previous_poll = request->previous_poll;
        request->polling = false;
    }
    struct request_list *list = request->list;
    if (list)
        list_remove(request);
    if (request->waiting)
        core->waiting -= request->blob->size;
    request->waiting = false;
    struct engine_subscription *subscription = request->subscription;
    request->subscription = NULL;
    if (!subscription || list->first)
        return;
    free(list);
    subscription->waiters = NULL;
    core->engine->operations->forget(core->engine, subscription);
}

struct request_list *core_waiters(struct engine_subscription *subscription)
{
    if (!subscription->waiters)
        subscription->waiters = calloc(1, sizeof(struct request_list));
    return subscription->waiters;
}

void core_request_free(struct core *core, struct request *request)
{
    core_unwait(core, request);
    if (request->session && request->session->fetching == request)
        request->session->fetching = NULL;
    blob_drop(request->blob);
    free(request);
}

/* ---- replies -------------------------------------------------------------------------------------------------- */

struct reply *core_reply(struct core *core, const struct request *request, enum mp_error status)
{
    struct reply *reply = calloc(1, sizeof *reply);
    if (!reply)
        return NULL;
    reply->connection = request->connection;
    memcpy(reply->ids, request->ids, sizeof reply->ids);
    reply->ids_count = request->ids_count;
    reply->type = request->head.type;
    reply->number = request->head.number;
    if (protocol_put_reply(&reply->head, reply->type, status, reply->number)) {
        buffer_free(&reply->head);
        free(reply);
        return NULL;
    }
    if (core->replies_last)
        core->replies_last->next = reply;
    else
        core->replies = reply;
    core->replies_last = reply;
    return reply;
}

void core_reply_text(struct core *core, const struct request *request, enum mp_error status, const char *text)
{
    struct reply *reply = core_reply(core, request, status);
    if (reply)
        buffer_append_string(&reply->head, text); /* a reply without words is still a reply */
}

static enum mp_error piece_add(struct reply *reply, const struct piece *piece)
{
    if (reply->pieces_count == reply->pieces_capacity) {
        struct piece *pieces = memory_grow(reply->pieces, &reply->pieces_capacity, sizeof *pieces, 8);
        if (!pieces)
            return MP_ERR_MEMORY;
        reply->pieces = pieces;
    }
    reply->pieces[reply->pieces_count++] = *piece;
    return MP_OK;
}

/* How many bytes of the head are in pieces already. */
static size_t head_done(const struct reply *reply)
{
    for (unsigned i = reply->pieces_count; i-- > 0;)
        if (!reply->pieces[i].blob)
            return reply->pieces[i].offset + reply->pieces[i].size;
    return 0;
}

enum mp_error core_reply_blob(struct core *core, struct reply *reply, struct blob *blob, const uint8_t *data,
                              size_t size)
{
    size_t done = head_done(reply);
    struct piece head = {.offset = done, .size = reply->head.size - done};
    struct piece body = {.blob = blob, .data = data, .size = size};
    if (head.size > 0 && piece_add(reply, &head))
        return MP_ERR_MEMORY;
    if (piece_add(reply, &body))
        return MP_ERR_MEMORY;
    blob_hold(blob);
    core->answering += size;
    return MP_OK;
}

static void reply_free(struct reply *reply)
{
    for (unsigned i = 0; i < reply->pieces_count; i++)
        blob_drop(reply->pieces[i].blob);
    free(reply->pieces);
    buffer_free(&reply->head);
    free(reply);
}

static void drop_blob(void *owner)
{
    blob_drop(owner);
}

static void reply_send(struct core *core, struct reply *reply)
{
    size_t done = head_done(reply);
    struct piece rest = {.offset = done, .size = reply->head.size - done};
    struct server_part small[16], *parts = small;
    if (rest.size > 0 && piece_add(reply, &rest))
        return; /* no memory: no answer, and the client asks again */
    if (reply->pieces_count > 16 && !(parts = calloc(reply->pieces_count, sizeof *parts)))
        return;
    for (unsigned i = 0; i < reply->pieces_count; i++) {
        struct piece *piece = &reply->pieces[i];
        if (piece->blob)
            parts[i] = (struct server_part){piece->data, piece->size, drop_blob, piece->blob};
        else
            parts[i] = (struct server_part){reply->head.data + piece->offset, piece->size, NULL, NULL};
        piece->blob = NULL; /* the part has it now */
    }
    core->settings.reply(core->settings.context, reply->connection, reply->ids, reply->ids_count, parts,
                         reply->pieces_count);
    if (parts != small)
        free(parts);
}

static void replies_send(struct core *core)
{
    while (core->replies) {
        struct reply *reply = core->replies;
        core->replies = reply->next;
        reply_send(core, reply);
        reply_free(reply);
    }
    core->replies_last = NULL;
    core->answering = 0;
}

void core_reply_again(struct reply *reply, const char *text)
{
    for (unsigned i = 0; i < reply->pieces_count; i++)
        blob_drop(reply->pieces[i].blob);
    reply->pieces_count = 0;
    reply->head.size = 0;
    if (!protocol_put_reply(&reply->head, reply->type, MP_ERR_AGAIN, reply->number))
        buffer_append_string(&reply->head, text);
}

/* The turn is undone: what its replies said is not true. */
static void replies_undo(struct core *core, const char *text)
{
    for (struct reply *reply = core->replies; reply; reply = reply->next)
        if (!reply->harmless)
            core_reply_again(reply, text);
}

/* ---- life ----------------------------------------------------------------------------------------------------- */

static enum mp_error load(struct core *core, struct fault *fault)
{
    const struct engine_load back = {.context = core, .session = core_session_load, .applied = core_session_applied};
    core_sessions_reset(core);
    return core->engine->operations->load(core->engine, core->now, &back, fault);
}

enum mp_error core_new(struct engine *engine, const struct core_settings *settings, struct moment now,
                       struct core **result, struct fault *fault)
{
    struct core *core = calloc(1, sizeof *core);
    if (!core) {
        engine->operations->close(engine);
        return fault_memory(fault);
    }
    core->engine = engine;
    core->settings = *settings;
    core->now = now;
    core->started = now.monotonic;
    core->poll_due = core->evict_due = CLOCK_NEVER;
    core->instance = settings->random(settings->context);
    if (core->settings.max_message == 0)
        core->settings.max_message = MAX_MESSAGE;
    if (core->settings.lease == 0)
        core->settings.lease = LEASE;
    if (core->settings.grace == 0)
        core->settings.grace = GRACE;
    if (core->settings.sessions == 0)
        core->settings.sessions = SESSIONS;
    core->name = strdup(settings->name);
    enum mp_error error = core->name ? load(core, fault) : fault_memory(fault);
    if (error) {
        if (fault && !fault->code)
            fault_set(fault, error, "the store could not be loaded: %s", mp_error_text(error));
        core_free(core);
        return error;
    }
    *result = core;
    return MP_OK;
}

static void free_list(struct core *core, struct request_list *list)
{
    while (list->first)
        core_request_free(core, list->first);
}

void core_free(struct core *core)
{
    if (!core)
        return;
    free_list(core, &core->submitted);
    free_list(core, &core->publications);
    free_list(core, &core->rooms);
    free_list(core, &core->waits);
    free_list(core, &core->readings);
    while (core->polls)
        core_request_free(core, core->polls);
    while (core->replies) {
        struct reply *reply = core->replies;
        core->replies = reply->next;
        reply_free(reply);
    }
    engine_deliveries_free(&core->deliveries);
    core->engine->operations->close(core->engine);
    core_sessions_free(core);
    core_reports_free(core);
    core_measures_free(&core->measures);
    free(core->evicted);
    free(core->dropped);
    free(core->name);
    free(core);
}

void core_submit(struct core *core, uint64_t connection, const uint32_t *ids, unsigned ids_count, struct blob *blob)
{
    struct request *request = calloc(1, sizeof *request);
    if (!request) {
        blob_drop(blob); /* no answer: the client asks again */
        return;
    }
    request->connection = connection;
    request->ids_count = ids_count <= SERVER_HOPS ? ids_count : SERVER_HOPS;
    memcpy(request->ids, ids, request->ids_count * sizeof *ids);
    request->blob = blob;
    core->counters.requests++;
    if (protocol_read_request(blob->data, blob->size, &request->head)) {
        core->counters.invalid++;
        request->head.type = PROTOCOL_HELLO; /* the answer has to have one */
        core_reply_text(core, request, MP_ERR_FORMAT, "this is no request of a version that the relay knows");
        core_request_free(core, request);
        return;
    }
    core->counters.types[request->head.type]++;
    core->pending += blob->size;
    core->more = true;
    list_add(request->head.type == PROTOCOL_PUBLISH ? &core->publications : &core->submitted, request);
}

size_t core_pending(const struct core *core)
{
    return core->pending;
}

void core_drain(struct core *core)
{
    core->draining = true;
}

/* ---- turns ---------------------------------------------------------------------------------------------------- */

/* True when the request was answered. */
static bool apply(struct core *core, struct request *request, struct fault *fault)
{
    if (request->head.type == PROTOCOL_HELLO) {
        core_hello(core, request, fault);
        return true;
    }
    if (!core_session(core, request))
        return true;
    switch (request->head.type) {
    case PROTOCOL_PUBLISH:
        return core_publish(core, request, fault);
    case PROTOCOL_FETCH:
        return core_fetch(core, request, fault);
    case PROTOCOL_SETTLE:
        return core_settle(core, request, fault);
    case PROTOCOL_EXTEND:
        core_extend(core, request);
        return true;
    case PROTOCOL_ROOM:
        return core_room(core, request);
    case PROTOCOL_ADMIN:
        return core_admin(core, request, fault);
    case PROTOCOL_LEAVE:
        core_leave(core, request, fault);
        return true;
    case PROTOCOL_HELLO:
        break;
    }
    return true;
}

/* Whether replies pile up that REQUEST's connection does not read. */
static bool is_stalled(const struct core *core, const struct request *request)
{
    return core->settings.unsent && core->settings.unsent(core->settings.context, request->connection) > UNSENT_MAX;
}

/*
 * Applies LIST in order, until the turn's bytes of requests or of replies are used up; what is left is for the next
 * turn, and what came from a connection that does not read its replies waits until it does. After a fault the rest is
 * told to send again, like all of the turn.
 */
static void apply_list(struct core *core, struct request_list *list, struct fault *fault)
{
    size_t used = 0;
    for (struct request *request = list->first, *next; request; request = next) {
        next = request->next;
        if (used >= TURN_BYTES || core->answering >= ANSWER_BYTES) {
            core->more = true;
            return;
        }
        if (is_stalled(core, request))
            continue;
        list_remove(request);
        core->pending -= request->blob->size;
        used += request->blob->size;
        bool answered = true;
        if (fault->code)
            core_reply_text(core, request, MP_ERR_AGAIN, fault->text);
        else
            answered = apply(core, request, fault);
        if (answered)
            core_request_free(core, request);
    }
}

static void tell_trouble(const struct core *core, enum mp_error error, const char *text)
{
    if (core->settings.trouble)
        core->settings.trouble(core->settings.context, error, text);
}

/* An error that came without words ends the turn all the same. */
static void take_error(struct fault *fault, enum mp_error error, const char *text)
{
    if (error && !fault->code)
        fault_set(fault, error, "%s: %s", text, mp_error_text(error));
}

/* Makes memory what the disk says. */
static void reload(struct core *core, struct fault *fault)
{
    enum mp_error error = core->engine->operations->rollback(core->engine, fault);
    if (!error)
        error = load(core, fault);
    take_error(fault, error, "the store could not be loaded");
    core->unloaded = error != MP_OK;
    if (!error)
        fault->code = MP_OK; /* a transaction that could not be rolled back is no matter once the store is open again */
}

void core_send_back(struct core *core, enum mp_error status, const char *text)
{
    for (struct request *request = core->polls, *next; request; request = next) {
        next = request->next_poll;
        const struct engine_subscription *subscription = request->subscription;
        if (!subscription || subscription->group[0] == '\0' || subscription->known)
            continue;
        core_reply_text(core, request, status, text);
        core_request_free(core, request);
    }
}

/* What is damaged stays so, but a disk may read wrongly once: a few tries, and some time. */
static void note_damage(struct core *core, const struct fault *fault)
{
    struct core_damage *damage = &core->damage;
    int64_t now = core->now.monotonic;
    if (fault->code != MP_ERR_DAMAGED)
        return;
    if (damage->turns == 0 || now - damage->last > DAMAGE_FORGOTTEN)
        *damage = (struct core_damage){.first = now};
    damage->turns++;
    damage->last = now;
    damage->fault = *fault;
}

bool core_is_ruined(const struct core *core, struct fault *fault)
{
    const struct core_damage *damage = &core->damage;
    if (damage->turns < DAMAGE_TURNS || damage->last - damage->first < DAMAGE_TIME)
        return false;
    fault_set(fault, MP_ERR_DAMAGED, "%s", fault_text(&damage->fault));
    return true;
}

static void undo(struct core *core, const struct fault *fault)
{
    struct fault again = {0};
    note_damage(core, fault);
    core->counters.undone++;
    core->in_trouble = true;
    core->retry_at = core->now.monotonic + RETRY_PERIOD;
    tell_trouble(core, fault->code, fault_text(fault));
    replies_undo(core, fault_text(fault));
    if (!core->unloaded) {
        reload(core, &again);
        if (core->unloaded)
            tell_trouble(core, again.code, fault_text(&again));
    }
    /* A group that was made in the turn is no more: whoever waits on it has to make it again. */
    core_send_back(core, MP_ERR_AGAIN, fault_text(fault));
}

static void end_trouble(struct core *core)
{
    if (core->in_trouble)
        tell_trouble(core, MP_OK, "the store works again");
    core->in_trouble = false;
}

static int64_t stopwatch(const struct core *core)
{
    return core->settings.stopwatch ? core->settings.stopwatch(core->settings.context) : 0;
}

/* What began at SINCE is over. */
static void measure(const struct core *core, struct buckets *buckets, int64_t since)
{
    if (core->settings.stopwatch)
        buckets_add(buckets, buckets_turn, stopwatch(core) - since, 1);
}

static void commit(struct core *core, struct fault *fault)
{
    int64_t began = stopwatch(core);
    take_error(fault, core->engine->operations->commit(core->engine, core_sessions_save, core, fault),
               "the turn could not be committed");
    measure(core, &core->measures.commits, began);
}

void core_turn(struct core *core, struct moment now)
{
    const struct engine_operations *engine = core->engine->operations;
    struct fault fault = {0};
    int64_t began = stopwatch(core);
    core->now = now;
    core->counters.turns++;
    engine->begin(core->engine, now);
    bool pause = core->unloaded && now.monotonic < core->retry_at;
    if (pause)
        fault_set(&fault, MP_ERR_AGAIN, "the store cannot be read");
    else if (core->unloaded)
        reload(core, &fault);
    core->more = false;
    apply_list(core, &core->submitted, &fault);
    apply_list(core, &core->publications, &fault);
    if (!fault.code)
        core_sessions_tick(core);
    if (!fault.code)
        take_error(&fault, engine->tick(core->engine, &fault), "a lease could not be ended");
    if (!fault.code)
        core_serve(core, &fault);
    if (!fault.code && engine->changed(core->engine))
        commit(core, &fault);
    if (pause) {
        replies_undo(core, fault_text(&fault));
    } else if (fault.code) {
        undo(core, &fault);
    } else {
        end_trouble(core);
        core_check_waits(core);
    }
    core_check_readings(core);
    core_expire(core);
    replies_send(core);
    measure(core, &core->measures.turns, began);
}

void core_rest(struct core *core, struct moment now)
{
    const struct engine_operations *engine = core->engine->operations;
    struct fault fault = {0};
    if (core->unloaded)
        return;
    core->now = now;
    engine->begin(core->engine, now);
    if (!engine->rest(core->engine, &fault) && engine->changed(core->engine))
        engine->commit(core->engine, core_sessions_save, core, &fault);
    if (fault.code) /* nothing is lost by it: the next start finds all that was committed */
        tell_trouble(core, fault.code, fault_text(&fault));
}

int64_t core_due(const struct core *core)
{
    int64_t due = core->engine->operations->due(core->engine);
    if (core->poll_due < due)
        due = core->poll_due;
    if (core->evict_due < due)
        due = core->evict_due;
    bool looking = core->rooms.first || core->submitted.first || core->publications.first;
    if (looking && core->now.monotonic + ROOM_PERIOD < due)
        due = core->now.monotonic + ROOM_PERIOD;
    if (core->more || core->replies || core->dropped_count > 0)
        due = core->now.monotonic;
    /* What was due and could not be done is still due: not at once again. */
    return core->in_trouble && due < core->retry_at ? core->retry_at : due;
}
