/* Members of groups, and readers. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>

enum { PENDING_MAX = 2048 };

/* Messages that it holds, and what it will do with them at a time. */
struct holding {
    struct protocol_settlement settlement;
    bool ignore;
    int64_t at;
};

struct consumer {
    struct actor actor; /* first */
    struct client *client;
    char topic[16], group[16]; /* GROUP "": a reader */
    enum protocol_from from;
    uint64_t value;
    uint32_t max_messages, wait, lease, prefetch;
    unsigned retry, release, dead, ignore, hold; /* per thousand */
    unsigned claims;                             /* the same: of its fetches */
    bool peeks;                                  /* a reader of what GROUP has not settled */
    bool fetched;                                /* so there is the group */
    bool leaving;
    bool fetching;
    struct holding pending[PENDING_MAX];
    unsigned pending_count;
    uint64_t handed, told; /* messages settled, and told about by settled() */
    uint64_t next[TOPICS]; /* a reader's: the next offset */
    bool at_end;
};

static struct consumer *consumer_of(const struct actor *actor)
{
    return (struct consumer *)(uintptr_t)actor;
}

/* ---- what comes ------------------------------------------------------------------------------------------------ */

static void decide(struct consumer *consumer, const struct protocol_chunk *chunk, uint64_t lease, uint32_t index,
                   uint32_t count)
{
    struct world *world = consumer->actor.world;
    struct holding holding = {.settlement = {.group = chunk->group,
                                             .lease = lease,
                                             .first = protocol_chunk_offset(chunk, index),
                                             .count = count,
                                             .action = PROTOCOL_ACK,
                                             .exit_code = -1},
                              .at = world->now + sim_delay(world, 50 * MILLISECOND)};
    unsigned dice = (unsigned)sim_below(world, 1000);
    uint64_t last = protocol_chunk_offset(chunk, index + count - 1);
    uint64_t end = sim_chance(world, 500) ? last + 1 : protocol_chunk_next(chunk, last + 1);
    holding.settlement.span = (uint32_t)(end - holding.settlement.first);
    if (!world->calm) {
        if (dice < consumer->retry) {
            holding.settlement.action = PROTOCOL_RETRY;
            holding.settlement.delay = sim_chance(world, 500) ? 0 : (uint32_t)sim_delay(world, 20000);
            holding.settlement.exit_code = (int32_t)sim_below(world, 255);
        } else if ((dice -= consumer->retry) < consumer->release) {
            holding.settlement.action = PROTOCOL_RELEASE;
        } else if ((dice -= consumer->release) < consumer->dead) {
            holding.settlement.action = PROTOCOL_DEAD;
        } else if ((dice -= consumer->dead) < consumer->ignore) {
            holding.ignore = true;
        }
        if (sim_chance(world, consumer->hold))
            holding.at += sim_delay(world, 60 * SECOND);
    }
    if (consumer->pending_count == PENDING_MAX)
        sim_fail(world, "a consumer has more than it can hold");
    consumer->pending[consumer->pending_count++] = holding;
}

static void read_on(struct consumer *consumer, const struct protocol_chunk *chunk, unsigned topic)
{
    struct world *world = consumer->actor.world;
    /* What groups have settled goes before readers have seen it, and no further than that may they skip. */
    bool gaps = world->rules[topic].ttl > 0 || world->rules[topic].dedupes; /* readers are given neither */
    bool skips =
        chunk->first > consumer->next[topic] && (gaps || consumer->peeks || chunk->first <= broker_first(world, topic));
    if (chunk->first != consumer->next[topic] && !skips)
        sim_fail(world, "a reader of %s is at %llu, and is given %llu", topic_names[topic],
                 (unsigned long long)consumer->next[topic], (unsigned long long)chunk->first);
    consumer->next[topic] = chunk->first + chunk->span;
}

static void on_fetched(void *context, const struct protocol_chunk *chunk, const struct frame *frame, uint64_t lease,
                       struct client_hold *hold)
{
    struct consumer *consumer = context;
    struct world *world = consumer->actor.world;
    unsigned topic = topic_number(world, chunk->name, chunk->name_size);
    struct frame_cursor cursor = frame_cursor(frame);
    struct record record;
    uint64_t offset = chunk->first;
    uint32_t messages = 0;
    while (frame_next(&cursor, &record)) {
        offset = protocol_chunk_next(chunk, offset);
        ledger_delivered(world, &record, topic, offset++);
        messages++;
    }
    if (messages != chunk->count)
        sim_fail(world, "a frame of fewer messages than its chunk says");
    client_hold_free(hold);
    if (consumer->peeks && lease != 0)
        sim_fail(world, "who only looks was given a lease");
    world->statistics->peeks += consumer->peeks;
    if (consumer->group[0] == '\0' || consumer->peeks) {
        read_on(consumer, chunk, topic);
        return;
    }
    if (chunk->attempt == 0)
        sim_fail(world, "a delivery that is no attempt");
    for (uint32_t index = 0; index < chunk->count;) {
        uint32_t left = chunk->count - index;
        uint32_t part = sim_chance(world, 500) ? left : 1 + (uint32_t)sim_below(world, left);
        if (consumer->pending_count + 2 >= PENDING_MAX)
            part = left;
        decide(consumer, chunk, lease, index, part);
        index += part;
    }
}

static void on_fetch_done(void *context, unsigned flags, uint64_t waiting)
{
    struct consumer *consumer = context;
    (void)waiting;
    consumer->at_end = (flags & PROTOCOL_FETCH_END) != 0;
    consumer->fetched = true;
}

static void on_settled(void *context, uint32_t applied, uint32_t stale)
{
    struct consumer *consumer = context;
    consumer->told += (uint64_t)applied + stale;
    if (consumer->told > consumer->handed)
        sim_fail(consumer->actor.world, "settlements of %llu messages were recorded where %llu were asked for",
                 (unsigned long long)consumer->told, (unsigned long long)consumer->handed);
}

static void on_failed(void *context, enum mp_error error, const char *text)
{
    struct consumer *consumer = context;
    struct world *world = consumer->actor.world;
    sim_say(world, "%s %u has failed: %s", consumer->actor.kind->name, consumer->actor.index, text);
    bool expected = (error == MP_ERR_EXISTS && consumer->from != PROTOCOL_FROM_DEFAULT) ||
                    (error == MP_ERR_NOT_FOUND && consumer->peeks);
    if (!expected && (error != MP_ERR_SESSION || (world->calm && !broker_forgets(world))))
        sim_fail(world, "a consumer has failed: %s", text);
    consumer->from = PROTOCOL_FROM_DEFAULT;
    consumer->actor.restarted = true;
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

static void start(struct actor *actor)
{
    struct consumer *consumer = consumer_of(actor);
    struct world *world = actor->world;
    struct client_settings settings = {.name = "consumer",
                                       .context = consumer,
                                       .fetched = on_fetched,
                                       .fetch_done = on_fetch_done,
                                       .settled = on_settled,
                                       .failed = on_failed};
    struct client_subscription subscription = {.topic = consumer->topic,
                                               .group = consumer->group[0] ? consumer->group : NULL,
                                               .from = consumer->from,
                                               .value = consumer->value,
                                               .peek = consumer->peeks,
                                               .max_bytes = (uint32_t)sim_below(world, 20000),
                                               .lease = consumer->lease};
    struct fault fault = {0};
    if (client_open(network_open(world, &actor->link), &settings, world->now, &consumer->client, &fault) ||
        client_subscribe(consumer->client, &subscription, &fault))
        sim_fail(world, "no consumer: %s", fault_text(&fault));
    consumer->pending_count = 0;
    consumer->handed = consumer->told = 0;
    consumer->leaving = false;
    consumer->at_end = consumer->fetched = false;
    memset(consumer->next, 0, sizeof consumer->next);
}

static void settle_due(struct consumer *consumer)
{
    struct world *world = consumer->actor.world;
    int64_t next = CLOCK_NEVER;
    for (unsigned i = 0; i < consumer->pending_count;) {
        struct holding *holding = &consumer->pending[i];
        if (holding->at > world->now && !world->calm) {
            if (holding->at < next)
                next = holding->at;
            i++;
            continue;
        }
        if (holding->ignore && !world->calm) {
            client_abandon(consumer->client, holding->settlement.lease, holding->settlement.count);
            if (sim_chance(world, 500)) { /* and comes back to it, when its lease may have ended */
                holding->ignore = false;
                holding->at = world->now + (int64_t)sim_below(world, 60) * SECOND;
                if (holding->at < next)
                    next = holding->at;
                i++;
                continue;
            }
        } else {
            consumer->handed += holding->settlement.count;
            enum mp_error error = client_settle(consumer->client, &holding->settlement);
            if (error == MP_ERR_CLOSED)
                consumer->told += holding->settlement.count;
            else if (error)
                sim_fail(world, "a settlement is not taken: %s", mp_error_text(error));
        }
        *holding = consumer->pending[--consumer->pending_count];
    }
    if (next < consumer->actor.wake)
        consumer->actor.wake = next;
}

/* Asks for messages out of turn. */
static void claim(struct consumer *consumer)
{
    struct world *world = consumer->actor.world;
    struct fault fault = {0};
    if (client_claim(consumer->client, sim_below(world, 200), 1 + (uint32_t)sim_below(world, 50), &fault))
        sim_fail(world, "a consumer cannot claim: %s", fault_text(&fault));
    world->statistics->claims++;
    consumer->actor.wake = world->now + 200 * MILLISECOND;
}

static void turn(struct actor *actor)
{
    struct consumer *consumer = consumer_of(actor);
    struct world *world = actor->world;
    struct fault fault = {0};
    settle_due(consumer);
    if (consumer->leaving) {
        actor->restarted = client_has_left(consumer->client);
        return;
    }
    if (client_is_fetching(consumer->client) || consumer->pending_count > consumer->prefetch)
        return;
    if (consumer->claims > 0 && consumer->fetched && sim_chance(world, consumer->claims)) {
        claim(consumer);
    } else if (world->calm || sim_chance(world, 900)) {
        uint32_t wait = sim_chance(world, 200) ? 0 : consumer->wait;
        uint32_t messages = sim_chance(world, 500) ? 0 : 1 + (uint32_t)sim_below(world, 30);
        if (client_fetch(consumer->client, messages, wait, &fault))
            sim_fail(world, "a consumer cannot fetch: %s", fault_text(&fault));
        if (wait == 0)
            actor->wake = world->now + 200 * MILLISECOND;
    } else {
        actor->wake = world->now + sim_delay(world, 5 * SECOND);
    }
}

static void crash(struct actor *actor)
{
    struct consumer *consumer = consumer_of(actor);
    client_close(consumer->client);
    consumer->client = NULL;
}

static void leave(struct actor *actor)
{
    struct consumer *consumer = consumer_of(actor);
    consumer->leaving = client_leave(consumer->client) == MP_OK;
    actor->wake = actor->world->now;
}

static bool consumer_done(struct actor *actor, char text[600])
{
    const struct consumer *consumer = consumer_of(actor);
    snprintf(text, 600, "consumer %u has settled %llu messages and was told of %llu", actor->index,
             (unsigned long long)consumer->handed, (unsigned long long)consumer->told);
    return actor->up && consumer->pending_count == 0 && consumer->handed == consumer->told;
}

static bool reader_done(struct actor *actor, char text[600])
{
    const struct consumer *consumer = consumer_of(actor);
    if (consumer->peeks)
        return true; /* the group may never be there */
    snprintf(text, 600, "reader %u is not at the end", actor->index);
    return actor->up && consumer->at_end;
}

static struct client *client(const struct actor *actor)
{
    return consumer_of(actor)->client;
}

static void release(struct actor *actor)
{
    free(actor);
}

static const struct actor_kind consumer_kind = {.name = "consumer",
                                                .start = start,
                                                .turn = turn,
                                                .crash = crash,
                                                .leave = leave,
                                                .is_done = consumer_done,
                                                .free = release,
                                                .client = client};

static const struct actor_kind reader_kind = {.name = "reader",
                                              .start = start,
                                              .turn = turn,
                                              .crash = crash,
                                              .leave = leave,
                                              .is_done = reader_done,
                                              .free = release,
                                              .client = client};

static struct consumer *make(struct world *world, const struct actor_kind *kind, const char *topic, const char *group)
{
    struct consumer *consumer = calloc(1, sizeof *consumer);
    if (!consumer)
        abort();
    consumer->actor.kind = kind;
    snprintf(consumer->topic, sizeof consumer->topic, "%s", topic);
    snprintf(consumer->group, sizeof consumer->group, "%s", group);
    consumer->wait = 500 + (uint32_t)sim_below(world, 30000);
    consumer->prefetch = (uint32_t)sim_below(world, 20);
    return consumer;
}

struct actor *consumer_new(struct world *world, const char *topic, const char *group)
{
    struct consumer *consumer = make(world, &consumer_kind, topic, group);
    if (sim_chance(world, 100)) {
        consumer->from = (enum protocol_from)(1 + sim_below(world, 5));
        consumer->value = sim_below(world, 30);
    }
    consumer->lease = sim_chance(world, 500) ? 0 : (uint32_t)(6000 + sim_below(world, 20000));
    consumer->retry = (unsigned)sim_below(world, 300);
    consumer->release = (unsigned)sim_below(world, 200);
    consumer->dead = (unsigned)sim_below(world, 50);
    consumer->ignore = (unsigned)sim_below(world, 100);
    consumer->hold = (unsigned)sim_below(world, 300);
    if (world->wide && !strpbrk(topic, "*>") && sim_chance(world, 300))
        consumer->claims = (unsigned)sim_below(world, 500);
    return &consumer->actor;
}

struct actor *reader_new(struct world *world, const char *topic)
{
    return &make(world, &reader_kind, topic, "")->actor;
}

struct actor *peeker_new(struct world *world, const char *topic, const char *group)
{
    struct consumer *consumer = make(world, &reader_kind, topic, group);
    consumer->peeks = true;
    return &consumer->actor;
}
