#include "relay/private.h"

#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>

/*
 * A session's id is 32 random bits and, below them, the second in which it was made. So a request with number 1 from a
 * session that nobody knows tells by itself whether it can be believed: sessions made less than an hour ago and after
 * the youngest one that was ever evicted (`horizon`) were never evicted, so this one was greeted by a relay that ended
 * before it had anything of the session to keep.
 *
 * The seconds are relay time, which never steps: a session that was once too old, and whose client has published in
 * another one since, must not become young again when the wall clock is set back.
 */
#define SECOND INT64_C(1000000)
#define SESSION_LIFE (3600 * SECOND)
#define EVICT_PERIOD (60 * SECOND)
#define NAME_PERIOD (3600 * SECOND)

static struct session *session_get(const struct core *core, uint64_t id)
{
    return map_get(&core->sessions, &id, sizeof id);
}

const struct session *core_session_find(const struct core *core, uint64_t id)
{
    return session_get(core, id);
}

static struct session *session_make(struct core *core, uint64_t id, int64_t created)
{
    struct session *session = calloc(1, sizeof *session);
    if (!session)
        return NULL;
    session->id = id;
    session->created = created;
    session->used = core->now.monotonic;
    if (map_put(&core->sessions, &session->id, sizeof session->id, session)) {
        free(session);
        return NULL;
    }
    if (core->evict_due == CLOCK_NEVER)
        core->evict_due = core->now.monotonic + EVICT_PERIOD;
    return session;
}

/* ---- connections ---------------------------------------------------------------------------------------------- */

static void session_lost(struct core *core, struct session *session)
{
    if (session->connections > 0 && --session->connections > 0)
        return;
    if (core->dropped_count == core->dropped_capacity) {
        uint64_t *dropped = memory_grow(core->dropped, &core->dropped_capacity, sizeof *dropped, 16);
        if (!dropped)
            return; /* its leases end by themselves */
        core->dropped = dropped;
    }
    core->dropped[core->dropped_count++] = session->id;
}

static void session_bind(struct core *core, uint64_t connection, struct session *session)
{
    struct binding *binding = map_get(&core->bindings, &connection, sizeof connection);
    if (binding && binding->session == session)
        return;
    if (binding) {
        session_lost(core, binding->session);
        binding->shared = true;
    } else {
        if (!(binding = calloc(1, sizeof *binding)))
            return;
        binding->connection = connection;
        if (map_put(&core->bindings, &binding->connection, sizeof binding->connection, binding)) {
            free(binding);
            return;
        }
    }
    binding->session = session;
    if (session->connections++ == 0)
        core->engine->operations->extend(core->engine, session->id, core->settings.lease);
    if (core->settings.trust)
        core->settings.trust(core->settings.context, connection);
}

static void session_unbind(struct core *core, uint64_t connection)
{
    struct binding *binding = map_remove(&core->bindings, &connection, sizeof connection);
    if (!binding)
        return;
    session_lost(core, binding->session);
    free(binding);
}

/*
 * What a connection had sent and nobody has applied goes with it: it would bind a connection that is no more. So does
 * what it waits for.
 */
static void drop_requests(struct core *core, struct request_list *list, uint64_t connection)
{
    for (struct request *request = list->first, *next; request; request = next) {
        next = request->next;
        if (request->connection != connection)
            continue;
        if (list == &core->submitted || list == &core->publications)
            core->pending -= request->blob->size;
        core_request_free(core, request);
    }
}

/* The fetches of other sessions that came over this connection. */
static void drop_polls(struct core *core, uint64_t connection)
{
    for (struct request *request = core->polls, *next; request; request = next) {
        next = request->next_poll;
        if (request->connection == connection)
            core_request_free(core, request);
    }
}

void core_disconnected(struct core *core, uint64_t connection)
{
    drop_requests(core, &core->submitted, connection);
    drop_requests(core, &core->publications, connection);
    drop_requests(core, &core->rooms, connection);
    drop_requests(core, &core->waits, connection);
    core_leave_readings(core, connection);
    const struct binding *binding = map_get(&core->bindings, &connection, sizeof connection);
    struct request *fetching = binding ? binding->session->fetching : NULL;
    if (fetching && fetching->connection == connection)
        core_request_free(core, fetching); /* nobody is there to be answered */
    if (binding && binding->shared)
        drop_polls(core, connection);
    session_unbind(core, connection);
}

/* ---- requests ------------------------------------------------------------------------------------------------- */

/* Sessions that were used in the last two minutes stay, even when there are too many: but not without an end. */
static bool has_room(struct core *core, const struct request *request)
{
    if (core->sessions.count < (size_t)core->settings.sessions * 2)
        return true;
    core_reply_text(core, request, MP_ERR_AGAIN, "the relay has too many sessions: wait a little");
    return false;
}

static void reply_welcome(struct core *core, const struct request *request, const struct session *session)
{
    struct protocol_welcome welcome = {.session = session->id,
                                       .instance = core->instance,
                                       .published = session->numbers[PROTOCOL_LANE_PUBLISH],
                                       .max_message = core->settings.max_message,
                                       .lease = core->settings.lease};
    snprintf(welcome.relay, sizeof welcome.relay, "%s", core->name);
    snprintf(welcome.version, sizeof welcome.version, "%s", core->settings.version);
    struct reply *reply = core_reply(core, request, MP_OK);
    if (reply) {
        reply->harmless = session->keep == 0;
        protocol_put_welcome(&reply->head, &welcome);
    }
}

static int64_t relay_time(const struct core *core)
{
    return core->engine->operations->time(core->engine);
}

/* The new session of who says hello; NULL: no memory, no answer. */
static struct session *session_new(struct core *core)
{
    uint64_t id;
    int64_t second = relay_time(core) / SECOND;
    do
        id = core->settings.random(core->settings.context) << 32 | (uint64_t)(uint32_t)second;
    while (id >> 32 == 0 || session_get(core, id));
    return session_make(core, id, second * SECOND);
}

/* What a client calls itself, as far as it is fit to be shown. */
static void session_name(struct session *session, const char *client, size_t size)
{
    if (size >= SESSION_NAME)
        size = SESSION_NAME - 1;
    for (size_t i = 0; i < size; i++)
        session->name[i] = (char)(client[i] >= ' ' && client[i] < 0x7f ? client[i] : '?');
    session->name[size] = '\0';
}

/*
 * A session that is to be kept for longer has a row from the start, or a relay that is started again would neither know
 * it nor how long it is to be kept.
 */
void core_hello(struct core *core, struct request *request, struct fault *fault)
{
    const char *client;
    size_t client_size;
    uint32_t keep;
    if (protocol_read_hello(&request->head, &client, &client_size, &keep)) {
        core_reply_text(core, request, MP_ERR_FORMAT, "a greeting that is not well formed");
        return;
    }
    struct session *session = NULL;
    if (request->head.session != 0) {
        if (!(session = session_get(core, request->head.session))) {
            core_reply_text(core, request, MP_ERR_SESSION, "the relay does not know this session, or no longer");
            return;
        }
        session->left = false;
        session->used = core->now.monotonic;
        memset(session->refused, 0, sizeof session->refused); /* who goes on with it counts from 1 */
    } else if (!has_room(core, request) || !(session = session_new(core))) {
        return;
    }
    core->counters.hellos++;
    session_name(session, client, client_size);
    session_bind(core, request->connection, session);
    if (keep != session->keep) {
        session->keep = keep;
        session->dirty = true;
        if (core_session_keep(core, session, fault)) {
            core_reply_text(core, request, MP_ERR_AGAIN, fault_text(fault));
            return;
        }
        session->saved = true;
    }
    reply_welcome(core, request, session);
}

struct engine_origin core_origin(const struct core *core, const struct request *request, unsigned lane)
{
    struct session *session = request->session;
    struct engine_origin origin = {.session = session->id, .number = request->head.number, .lane = lane};
    if (session->named && core->now.monotonic - session->named_at > NAME_PERIOD)
        session->named = false; /* events do not live for ever */
    if (session->named || session->name[0] == '\0')
        return origin;
    session->named_at = core->now.monotonic;
    origin.name = session->name;
    origin.named = &session->named;
    return origin;
}

/* When the session of this id was made; relay time. */
static int64_t created_of(const struct core *core, uint64_t id)
{
    /* The id has the low 32 bits of the seconds: take the time nearest to now that ends in them. */
    int64_t now = relay_time(core) / SECOND;
    return (now + (int32_t)((uint32_t)id - (uint32_t)now)) * SECOND;
}

/*
 * A client that is told that its session is gone takes what it had under way for not applied, and sends it in a new
 * session. So nothing that a greeted client may ask may be answered like that while a copy of its first numbered
 * request, still on its way, would be believed.
 */
static bool is_believable(const struct core *core, const struct protocol_request *request)
{
    int64_t created = created_of(core, request->session);
    int64_t age = relay_time(core) - created;
    bool first = request->lane >= ENGINE_LANES || request->number <= 1;
    return first && request->session >> 32 != 0 && created > core->horizon && age < SESSION_LIFE && age > -SESSION_LIFE;
}

bool core_session(struct core *core, struct request *request)
{
    const struct protocol_request *head = &request->head;
    struct session *session = session_get(core, head->session);
    bool believed = !session && is_believable(core, head);
    if (believed && !has_room(core, request))
        return false;
    if (believed)
        session = session_make(core, head->session, created_of(core, head->session));
    if (!session) {
        core_reply_text(core, request, MP_ERR_SESSION, "the relay does not know this session, or no longer");
        return false;
    }
    session->used = core->now.monotonic;
    request->session = session;
    session_bind(core, request->connection, session);
    return true;
}

bool core_admits(struct core *core, const uint8_t *head, size_t size, uint64_t total)
{
    struct protocol_request request;
    if (size < PROTOCOL_REQUEST_HEADER || protocol_read_request(head, size, &request))
        return false;
    (void)total;
    return session_get(core, request.session) || is_believable(core, &request);
}

static void reply_gap(struct core *core, const struct request *request, uint64_t expected)
{
    struct reply *reply = core_reply(core, request, MP_ERR_GAP);
    core->counters.gaps++;
    if (!reply || buffer_put_u64(&reply->head, expected))
        return;
    buffer_append_format(&reply->head, "number %llu came where %llu was expected",
                         (unsigned long long)request->head.number, (unsigned long long)expected);
}

/* Whether REQUEST was refused under its number before, or one that was sent after it. */
static bool is_late(const struct request *request)
{
    unsigned lane = request->head.lane;
    const struct session *session = request->session;
    return request->head.attempt != 0 && session->refused[lane].attempt != 0 &&
           session->refused[lane].number == request->head.number &&
           !protocol_is_later(request->head.attempt, session->refused[lane].attempt);
}

void core_refused(const struct request *request)
{
    unsigned lane = request->head.lane;
    request->session->refused[lane].number = request->head.number;
    request->session->refused[lane].attempt = request->head.attempt;
}

enum core_turn core_number(struct core *core, const struct request *request)
{
    uint64_t last = request->session->numbers[request->head.lane];
    uint64_t number = request->head.number;
    if (number == last + 1 && number < UINT64_MAX >> 2) {
        if (!is_late(request))
            return TURN_NOW;
        core_reply_text(core, request, MP_ERR_AGAIN, "a copy of what was refused came late: send it once more");
        return TURN_ANSWERED;
    }
    if (number == last && last > 0) {
        core->counters.repeats++;
        return TURN_REPEAT;
    }
    reply_gap(core, request, last + 1);
    return TURN_ANSWERED;
}

void core_applied(struct core *core, const struct request *request, uint64_t result, uint32_t count)
{
    struct session *session = request->session;
    unsigned lane = request->head.lane;
    (void)core;
    session->numbers[lane] = request->head.number;
    session->results[lane] = result;
    session->counts[lane] = count;
    session->dirty = true;
    session->unsaved_settle = session->unsaved_settle || lane == PROTOCOL_LANE_SETTLE;
}

void core_leave(struct core *core, struct request *request, struct fault *fault)
{
    struct session *session = request->session;
    uint64_t messages = 0;
    if (session->fetching) {
        core_reply_text(core, session->fetching, MP_ERR_SESSION, "the session has ended");
        core_request_free(core, session->fetching);
    }
    if (core->engine->operations->release(core->engine, session->id, &messages, fault)) {
        core_reply_text(core, request, MP_ERR_AGAIN, fault_text(fault));
        return;
    }
    session->left = true;
    struct reply *reply = core_reply(core, request, MP_OK);
    if (reply)
        buffer_put_u32(&reply->head, messages > UINT32_MAX ? UINT32_MAX : (uint32_t)messages);
}

/* ---- keeping and forgetting ----------------------------------------------------------------------------------- */

/* Nothing of it is to be kept: when it comes back with its number 1, believing it is right. */
static bool is_blank(const struct session *session)
{
    bool used = session->saved;
    for (unsigned lane = 0; lane < ENGINE_LANES; lane++)
        used = used || session->numbers[lane] > 0 || session->refused[lane].attempt != 0;
    return !used;
}

static void session_evict(struct core *core, struct session *session)
{
    if (!is_blank(session) && session->created > core->horizon)
        core->horizon = session->created;
    if (session->saved || session->dirty) {
        if (core->evicted_count == core->evicted_capacity) {
            uint64_t *evicted = memory_grow(core->evicted, &core->evicted_capacity, sizeof *evicted, 64);
            if (!evicted)
                return;
            core->evicted = evicted;
        }
        core->evicted[core->evicted_count++] = session->id;
    }
    core->counters.evicted++;
    map_remove(&core->sessions, &session->id, sizeof session->id);
    free(session);
}

static int by_use(const void *a, const void *b)
{
    const struct session *one = *(struct session *const *)a, *other = *(struct session *const *)b;
    bool first = one->left || is_blank(one), second = other->left || is_blank(other);
    if (first != second)
        return first ? -1 : 1;
    if ((one->keep > 0) != (other->keep > 0))
        return one->keep > 0 ? 1 : -1;
    return one->used < other->used ? -1 : one->used > other->used;
}

/*
 * A client that is told that its session is gone, and had sent its request less than a minute before, takes the request
 * for not applied: so none that was used in the last two minutes goes, but the ones that left or have done nothing.
 */
static bool may_evict(const struct core *core, const struct session *session, bool surplus)
{
    int64_t idle = core->now.monotonic - session->used;
    int64_t life = session->keep * SECOND > SESSION_LIFE ? session->keep * SECOND : SESSION_LIFE;
    return idle > life || (surplus && (session->left || is_blank(session) || idle > 120 * SECOND));
}

/* Sessions that nobody has used for an hour, and when there are too many, the ones that left and the oldest. */
static void evict(struct core *core)
{
    size_t at = 0, count = 0;
    struct session *session, **idle = calloc(core->sessions.count + 1, sizeof(struct session *));
    if (!idle)
        return;
    while ((session = map_next(&core->sessions, &at)))
        if (session->connections == 0 && !session->fetching)
            idle[count++] = session;
    qsort(idle, count, sizeof(struct session *), by_use);
    size_t surplus = core->sessions.count > core->settings.sessions
                         ? core->sessions.count - core->settings.sessions + core->settings.sessions / 8
                         : 0;
    for (size_t i = 0; i < count; i++)
        if (may_evict(core, idle[i], i < surplus))
            session_evict(core, idle[i]);
    free(idle);
}

void core_sessions_tick(struct core *core)
{
    const struct engine_operations *engine = core->engine->operations;
    for (size_t i = 0; i < core->dropped_count; i++) {
        const struct session *session = session_get(core, core->dropped[i]);
        if (session && session->connections == 0)
            engine->shorten(core->engine, session->id, core->settings.grace);
    }
    core->dropped_count = 0;
    bool surplus = core->sessions.count > core->settings.sessions && core->now.monotonic >= core->surplus_due;
    if (core->now.monotonic >= core->evict_due || surplus) {
        evict(core);
        if (core->sessions.count > core->settings.sessions)
            core->surplus_due = core->now.monotonic + SECOND; /* in vain: looking costs, too */
        core->evict_due = core->sessions.count > 0 ? core->now.monotonic + EVICT_PERIOD : CLOCK_NEVER;
    }
}

uint32_t core_lease(const struct core *core)
{
    return core->settings.lease;
}

void core_stood_still(struct core *core, int64_t microseconds)
{
    size_t at = 0;
    const struct session *session;
    int64_t lease = (int64_t)core->settings.lease + microseconds / 1000; /* the engine's time is the turn's */
    while ((session = map_next(&core->sessions, &at)))
        if (session->connections > 0)
            core->engine->operations->extend(core->engine, session->id,
                                             lease < UINT32_MAX ? (uint32_t)lease : UINT32_MAX);
}

/* Before a load: sessions stay, because their clients do; what they have done comes from the disk. */
void core_sessions_reset(struct core *core)
{
    size_t at = 0;
    struct session *session;
    core->evicted_count = 0; /* their rows are there again, and so are they */
    while ((session = map_next(&core->sessions, &at))) {
        memset(session->numbers, 0, sizeof session->numbers);
        session->dirty = true;
        session->named = false;
    }
}

void core_sessions_free(struct core *core)
{
    size_t at = 0;
    struct session *session;
    while ((session = map_next(&core->sessions, &at)))
        free(session);
    map_free(&core->sessions);
    at = 0;
    struct binding *binding;
    while ((binding = map_next(&core->bindings, &at)))
        free(binding);
    map_free(&core->bindings);
}

enum mp_error core_session_load(void *context, const struct engine_session *row)
{
    struct core *core = context;
    if (row->id == 0) { /* the row that keeps the horizon */
        if (row->created > core->horizon)
            core->horizon = row->created;
        return MP_OK;
    }
    struct session *session = session_get(core, row->id);
    /* Only the wall clock tells how old it is, and may have been set: it lives its time from the start of the relay. */
    if (!session && !(session = session_make(core, row->id, row->created)))
        return MP_ERR_MEMORY;
    memcpy(session->numbers, row->numbers, sizeof session->numbers);
    memcpy(session->results, row->results, sizeof session->results);
    memcpy(session->counts, row->counts, sizeof session->counts);
    session->keep = row->keep;
    session->unsaved_settle = false;
    session->saved = true;
    return MP_OK;
}

enum mp_error core_session_applied(void *context, const struct engine_origin *origin, int64_t time, uint64_t result,
                                   uint32_t count)
{
    struct core *core = context;
    struct session *session = session_get(core, origin->session);
    if (!session && !(session = session_make(core, origin->session, created_of(core, origin->session))))
        return MP_ERR_MEMORY;
    int64_t used = core->now.monotonic - (core->now.wall > time ? core->now.wall - time : 0);
    if (used > session->used)
        session->used = used;
    session->dirty = true;
    session->unsaved_settle = session->unsaved_settle || origin->lane == PROTOCOL_LANE_SETTLE;
    if (origin->number == session->numbers[origin->lane] && origin->lane == 1) {
        session->results[1] += count; /* another range of the same settlement */
        return MP_OK;
    }
    if (origin->number > session->numbers[origin->lane]) {
        session->numbers[origin->lane] = origin->number;
        session->results[origin->lane] = origin->lane == 1 ? count : result;
        session->counts[origin->lane] = origin->lane == 1 ? 0 : count;
    }
    return MP_OK;
}

static struct engine_session row_of(const struct core *core, const struct session *session)
{
    struct engine_session row = {.id = session->id,
                                 .created = session->created,
                                 .used = core->now.wall - (core->now.monotonic - session->used),
                                 .keep = session->keep};
    memcpy(row.numbers, session->numbers, sizeof row.numbers);
    memcpy(row.results, session->results, sizeof row.results);
    memcpy(row.counts, session->counts, sizeof row.counts);
    return row;
}

/*
 * What the last settlement applied is not in the row while its events are newer than the snapshot, since they are
 * counted again. The next snapshot, which ends that, writes the row anew.
 */
enum mp_error core_session_keep(struct core *core, const struct session *session, struct fault *fault)
{
    struct engine_session row = row_of(core, session);
    if (session->unsaved_settle)
        row.results[PROTOCOL_LANE_SETTLE] = 0;
    return core->engine->operations->put_session(core->engine, &row, fault);
}

enum mp_error core_sessions_save(void *context)
{
    struct core *core = context;
    const struct engine_operations *engine = core->engine->operations;
    struct engine_session horizon = {.id = 0, .created = core->horizon};
    enum mp_error error = core->evicted_count > 0 ? engine->put_session(core->engine, &horizon, NULL) : MP_OK;
    for (size_t i = 0; !error && i < core->evicted_count; i++)
        error = engine->delete_session(core->engine, core->evicted[i], NULL);
    if (error)
        return error;
    size_t at = 0;
    struct session *session;
    while (!error && (session = map_next(&core->sessions, &at))) {
        if (!session->dirty)
            continue;
        struct engine_session row = row_of(core, session);
        if (!(error = engine->put_session(core->engine, &row, NULL))) {
            session->dirty = false;
            session->unsaved_settle = false;
            session->saved = true;
        }
    }
    if (!error)
        core->evicted_count = 0;
    return error;
}
