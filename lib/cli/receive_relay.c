/*
 * mrecv by way of a relay: fetches go one ahead, so that the next messages are on their way while these are written;
 * what was handed over, or worked upon, is settled in ranges. At the end it leaves, which gives back at once whatever
 * was leased and not begun.
 */
#include "cli/receive_engine.h"

#include "base/memory.h"
#include "cli/exit.h"
#include "cli/receive_runner.h"
#include "cli/relay_link.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    POLL = 20000,       /* milliseconds that the relay waits for messages before it answers without any */
    AGAIN_FIRST = 5000, /* microseconds until the end is looked for again, */
    AGAIN_LAST = 200000 /* doubled up to this */
};

enum phase { PHASE_RUN, PHASE_STOP, PHASE_LEAVE };

struct receive_relay {
    struct receive_engine *engine;
    struct relay_link *link;
    enum phase phase;
    bool subscribed;
    bool broken;     /* the client has failed */
    bool left;       /* client_leave() was called */
    int64_t give_up; /* when to, in these phases; monotonic microseconds */

    bool end;             /* the relay has said that nothing more is there */
    uint64_t end_retried; /* engine->retried when it was asked */
    uint64_t asked_retried;
    uint64_t fetched; /* messages of the answer that is being taken */
    int64_t ask_at;   /* --exit-at-end: when to ask again */
    int64_t ask_pause;
    uint64_t stale; /* messages settled too late */
    bool looked;    /* the first fetch was asked, which does not wait */
    bool policy;    /* how often the group has messages tried is known, or was asked for */
    bool asking;    /* for the name of a topic that was perhaps meant */
    bool asking_policy;
    bool told;
};

/* ---- what the client tells ------------------------------------------------------------------------------------ */

static void free_hold(void *owner)
{
    client_hold_free(owner);
}

static void on_fetched(void *context, const struct protocol_chunk *chunk, const struct frame *frame, uint64_t lease,
                       struct client_hold *hold)
{
    struct receive_relay *relay = context;
    struct receive_engine *engine = relay->engine;
    struct stage_parcel *parcel = stage_parcel_new();
    if (!parcel) {
        struct fault fault = {0};
        fault_memory(&fault);
        client_hold_free(hold);
        receive_engine_fail(engine, &fault);
        return;
    }
    stage_parcel_frame(parcel, frame);
    parcel->release = free_hold;
    parcel->owner = hold;
    stage_parcel_chunk(parcel, chunk, engine->settings->group);
    parcel->lease = lease;
    parcel->delivery = lease ? client_delivery(relay_link_client(relay->link), lease) : 0;
    relay->fetched += frame->count;
    if (relay->phase != PHASE_RUN)
        stage_parcel_free(parcel); /* it goes back when we leave */
    else
        receive_engine_add(engine, parcel, clock_monotonic());
}

/* The topic did not exist: perhaps it was mistyped. */
static void ask_nearest(struct receive_relay *relay)
{
    char request[NAME_MAX_BYTES + 64];
    struct fault fault = {0};
    if (relay->asking || relay->asking_policy || relay->told)
        return;
    snprintf(request, sizeof(request), "{\"verb\":\"nearest\",\"topic\":\"%s\"}", relay->engine->settings->topic);
    relay->asking = client_ask(relay_link_client(relay->link), request, strlen(request), &fault) == MP_OK;
}

/* How often a message is tried says what becomes of the next that fails: for words, and the exit code. */
static void ask_policy(struct receive_relay *relay)
{
    const struct receive_settings *settings = relay->engine->settings;
    char request[2 * NAME_MAX_BYTES + 64];
    struct fault fault = {0};
    if (relay->policy || relay->asking || !settings->group || !relay->engine->runner)
        return;
    snprintf(request, sizeof(request), "{\"verb\":\"settings\",\"topic\":\"%s\",\"group\":\"%s\"}", settings->topic,
             settings->group);
    relay->policy = client_ask(relay_link_client(relay->link), request, strlen(request), &fault) == MP_OK;
    relay->asking_policy = relay->policy;
}

static void take_policy(struct receive_relay *relay, const json_t *answer)
{
    const json_t *settings = json_object_get(answer, "settings");
    const char *text = json_string_value(json_object_get(settings, "retry.max_retries"));
    char *end;
    unsigned long long number = text ? strtoull(text, &end, 10) : 0;
    relay->asking_policy = false;
    if (text && end > text && *end == '\0' && number < UINT32_MAX)
        receive_runner_limit(relay->engine->runner, (uint32_t)number);
}

static void on_answered(void *context, enum mp_error status, const char *text, size_t size)
{
    struct receive_relay *relay = context;
    const struct receive_settings *settings = relay->engine->settings;
    json_t *answer = status == MP_OK ? json_loadb(text, size, 0, NULL) : NULL;
    if (relay->asking_policy) {
        take_policy(relay, answer);
        json_decref(answer);
        return;
    }
    const char *nearest = json_string_value(json_object_get(answer, "nearest"));
    bool meant = nearest && *nearest;
    relay->asking = false;
    relay->told = true;
    bool terminal = output_is_terminal(STDERR_FILENO);
    if (settings->group && terminal)
        tell("topic %s was not there and has been made%s%s%s", settings->topic, meant ? ": did you mean " : "",
             meant ? nearest : "", meant ? "?" : "");
    else if (!settings->group && meant)
        tell("topic %s does not exist: did you mean %s?", settings->topic, nearest);
    else if (!settings->group && (settings->exit_at_end || terminal))
        tell("topic %s does not exist%s", settings->topic, settings->exit_at_end ? "" : " yet: waiting for it");
    if (!settings->group && settings->exit_at_end)
        receive_engine_end(relay->engine, EXIT_NO_INPUT);
    json_decref(answer);
}

static void on_fetch_done(void *context, unsigned flags, uint64_t waiting)
{
    (void)waiting;
    struct receive_relay *relay = context;
    if (relay->fetched)
        relay->ask_pause = 0;
    relay->end = (flags & PROTOCOL_FETCH_END) != 0;
    relay->end_retried = relay->asked_retried;
    if (flags & PROTOCOL_FETCH_NEW_TOPIC)
        ask_nearest(relay);
    ask_policy(relay);
    relay->fetched = 0;
    if (relay->engine->settings->exit_at_end && !relay->end) {
        relay->ask_at = clock_monotonic() + relay->ask_pause;
        relay->ask_pause = relay->ask_pause ? relay->ask_pause * 2 : AGAIN_FIRST;
        relay->ask_pause = relay->ask_pause < AGAIN_LAST ? relay->ask_pause : AGAIN_LAST;
    }
}

static void on_settled(void *context, uint32_t applied, uint32_t stale)
{
    (void)applied;
    struct receive_relay *relay = context;
    relay->stale += stale;
}

static void on_failed(void *context, enum mp_error error, const char *text)
{
    struct receive_relay *relay = context;
    relay->broken = true;
    if (relay->engine->exit < 0)
        tell("%s", text);
    receive_engine_end(relay->engine, error == MP_ERR_EXISTS ? EXIT_USAGE : exit_code_of(error));
}

/* ---- settling ------------------------------------------------------------------------------------------------- */

/* What was passed over between two messages is not leased: spans that reach over it can be joined. */
static void settle(void *context, struct stage_parcel *parcel, uint32_t index, uint32_t count,
                   const struct protocol_settlement *how)
{
    struct receive_relay *relay = context;
    if (parcel->lease == 0 || relay->broken)
        return;
    struct protocol_settlement settlement = *how;
    settlement.group = parcel->group;
    settlement.lease = parcel->lease;
    settlement.first = stage_parcel_offset(parcel, index);
    settlement.count = count;
    settlement.span = (uint32_t)(stage_parcel_offset(parcel, index + count) - settlement.first);
    if (how->action == PROTOCOL_RELEASE) {
        client_give_back(relay_link_client(relay->link), &settlement);
        return;
    }
    enum mp_error error = client_settle(relay_link_client(relay->link), &settlement);
    if (error && error != MP_ERR_CLOSED) {
        struct fault fault = {0};
        fault_set(&fault, error, "cannot settle messages: %s", mp_error_text(error));
        receive_engine_fail(relay->engine, &fault);
    }
}

/* Others may have what waited here for too long, as this tool, the link or the relay stood still. */
static bool holds(void *context, const struct stage_parcel *parcel, int64_t now)
{
    const struct receive_relay *relay = context;
    return client_lease_holds(relay_link_client(relay->link), parcel->lease, now);
}

/* ---- fetching ------------------------------------------------------------------------------------------------- */

static enum mp_error subscribe(struct receive_relay *relay, struct fault *fault)
{
    const struct receive_settings *settings = relay->engine->settings;
    struct client_subscription subscription = {.topic = settings->topic, .group = settings->group};
    enum mp_error error = client_from(settings->from, clock_wall(), &subscription.from, &subscription.value, fault);
    if (error)
        return fault_set(fault, error, "--from: %s", fault->text);
    return client_subscribe(relay_link_client(relay->link), &subscription, fault);
}

/* Asks for more, if there is room for it. */
static enum mp_error ask(struct receive_relay *relay, int64_t now, int64_t *due, struct fault *fault)
{
    struct receive_engine *engine = relay->engine;
    struct client *client = relay_link_client(relay->link);
    uint32_t room = receive_engine_room(engine);
    bool at_end = engine->settings->exit_at_end;
    if (room == 0 || client_is_fetching(client))
        return MP_OK;
    if (at_end && relay->end && relay->end_retried == engine->retried)
        return MP_OK;
    if (at_end && now < relay->ask_at) {
        *due = relay->ask_at < *due ? relay->ask_at : *due;
        return MP_OK;
    }
    /* A retry that is still on its way to the relay looks like a lease of ours there: that end would be a false one. */
    bool settling = engine->retried && client_is_settling(client);
    if (at_end && relay->end && settling)
        return MP_OK;
    relay->asked_retried = settling ? UINT64_MAX : engine->retried;
    bool look = at_end || !relay->looked;
    relay->looked = true;
    return client_fetch(client, room == UINT32_MAX ? 0 : room, look ? 0 : POLL, fault);
}

/* Whether all that was wanted is done. */
static bool finished(const struct receive_relay *relay)
{
    const struct receive_engine *engine = relay->engine;
    if (!receive_engine_idle(engine) || relay->asking)
        return false;
    if (receive_engine_wanted(engine) == 0)
        return true;
    return engine->settings->exit_at_end && relay->end && relay->end_retried == engine->retried;
}

/* ---- phases --------------------------------------------------------------------------------------------------- */

static void enter(struct receive_relay *relay, enum phase phase, int64_t give_up)
{
    struct client *client = relay_link_client(relay->link);
    relay->phase = phase;
    relay->give_up = give_up;
    if (!relay->broken && client_is_fetching(client))
        client_stop_fetching(client);
}

/* Leaves the relay. Settlements are waited for, as they are what was promised. */
static void leave(struct receive_relay *relay, int64_t now)
{
    bool hurry = relay->engine->exit >= 0 || relay->engine->loop.interrupted;
    enter(relay, PHASE_LEAVE, hurry ? now + RECEIVE_LINGER : CLOCK_NEVER);
}

static void step_run(struct receive_relay *relay, int64_t now, int64_t *due)
{
    struct receive_engine *engine = relay->engine;
    struct client *client = relay_link_client(relay->link);
    struct fault fault = {0};
    enum mp_error error = MP_OK;
    if (!client_is_welcome(client) && !relay->subscribed)
        return;
    if (!relay->subscribed) {
        error = subscribe(relay, &fault);
        relay->subscribed = !error;
        engine->since = now;
    }
    if (!error)
        error = ask(relay, now, due, &fault);
    if (!relay->asking_policy) /* which attempt is the last has to be known before the first ends */
        receive_engine_pump(engine, now, due);
    if (!error && engine->exit < 0)
        error = ask(relay, now, due, &fault);
    if (error)
        receive_engine_fail(engine, &fault);
    if (engine->exit < 0 && finished(relay))
        leave(relay, now);
    else if (engine->exit < 0)
        receive_engine_check_wait(engine, now, due);
}

/* Interrupted: what is begun comes to its end, within limits. */
static void step_stop(struct receive_relay *relay, int64_t now, int64_t *due)
{
    struct receive_engine *engine = relay->engine;
    receive_engine_pump(engine, now, due);
    if (receive_engine_idle(engine) || now >= relay->give_up)
        leave(relay, now);
    else
        *due = relay->give_up < *due ? relay->give_up : *due;
}

/* False: it has left, or there is no more time for it. */
static bool step_leave(struct receive_relay *relay, int64_t now, int64_t *due)
{
    struct client *client = relay_link_client(relay->link);
    if (relay->broken)
        return false;
    if (!relay->left) {
        relay->left = true;
        if (client_leave(client))
            return false;
    }
    if (relay->engine->loop.interrupted && relay->give_up == CLOCK_NEVER)
        relay->give_up = now + RECEIVE_LINGER;
    if (client_has_left(client) || now >= relay->give_up)
        return false;
    if (!client_is_settling(client)) {
        /* All is recorded; the good-bye itself is a courtesy. */
        int64_t last = now + RECEIVE_LINGER / 4;
        relay->give_up = last < relay->give_up ? last : relay->give_up;
    }
    *due = relay->give_up < *due ? relay->give_up : *due;
    return true;
}

static bool step(void *context, int64_t now, int64_t *due)
{
    struct receive_relay *relay = context;
    struct receive_engine *engine = relay->engine;
    struct fault fault = {0};
    enum mp_error error = relay_link_check(relay->link, now, &fault);
    if (relay->broken)
        return false;
    if (error) {
        if (engine->exit < 0)
            engine->exit = relay_link_tell(engine->settings->relay, &fault);
        return false;
    }
    if (relay->phase == PHASE_RUN && engine->loop.interrupted) {
        if (!client_is_welcome(relay_link_client(relay->link)) && !relay->subscribed)
            return false;
        enter(relay, PHASE_STOP, now + (engine->runner ? 2 * RECEIVE_PATIENCE : RECEIVE_LINGER));
        receive_engine_stop(engine);
    }
    if (relay->phase == PHASE_RUN)
        step_run(relay, now, due);
    else if (relay->phase == PHASE_STOP)
        step_stop(relay, now, due);
    if (engine->exit >= 0 && relay->phase != PHASE_LEAVE)
        leave(relay, now);
    return relay->phase != PHASE_LEAVE || step_leave(relay, now, due);
}

void receive_by_relay(struct receive_engine *engine)
{
    struct receive_relay relay = {.engine = engine};
    struct fault fault = {0};
    struct relay_link_settings link = {
        .loop = &engine->loop,
        .relay = engine->settings->relay,
        .wait = engine->settings->wait,
        .client = {.context = &relay,
                   .fetched = on_fetched,
                   .fetch_done = on_fetch_done,
                   .settled = on_settled,
                   .answered = on_answered,
                   .failed = on_failed},
    };
    engine->settle = settle;
    engine->holds = holds;
    engine->context = &relay;
    enum mp_error error = relay_link_open(&link, &relay.link, &fault);
    if (error) {
        engine->exit = relay_link_tell(engine->settings->relay, &fault);
        return;
    }
    error = loop_run(&engine->loop, step, &relay, &fault);
    if (error)
        receive_engine_fail(engine, &fault);
    if (relay.stale)
        tell("%" PRIu64 " %s settled too late: the %s had ended, and %s again", relay.stale,
             relay.stale == 1 ? "message was" : "messages were", relay.stale == 1 ? "lease" : "leases",
             relay.stale == 1 ? "it comes" : "they come");
    relay.broken = true;
    relay_link_close(relay.link);
}
