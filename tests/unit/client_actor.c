#include "client_actor.h"

#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static void on_welcomed(void *context, const struct protocol_welcome *welcome)
{
    struct actor *actor = context;
    assert_string_equal(welcome->relay, "fake");
    actor->welcomes++;
}

static void on_published(void *context, uint64_t offset, uint32_t count, uint32_t duplicates)
{
    struct actor *actor = context;
    const struct fake_message *message = &actor->network->messages[offset];
    client_stored_origin(actor->client, &actor->last_producer, &actor->last_sequence);
    assert_true(message->producer == actor->last_producer && message->sequence == actor->last_sequence);
    assert_int_equal(message->value, actor->stored);
    actor->stored += count;
    assert_int_equal(duplicates, 0);
}

static void on_refused(void *context, enum mp_error error, const char *text)
{
    struct actor *actor = context;
    assert_string_equal(text, "no");
    actor->refusal = error;
    actor->refusals++;
}

static void on_full(void *context, bool full, const char *text)
{
    struct actor *actor = context;
    (void)text;
    *(full ? &actor->full_began : &actor->full_ended) += 1;
}

static void on_fetched(void *context, const struct protocol_chunk *chunk, const struct frame *frame, uint64_t lease,
                       struct client_hold *hold)
{
    struct actor *actor = context;
    struct frame_cursor cursor = frame_cursor(frame);
    struct record record;
    uint64_t offset = chunk->first;
    while (frame_next(&cursor, &record)) {
        offset = protocol_chunk_next(chunk, offset);
        assert_int_equal(load_u32(record.body), actor->network->messages[offset].value);
        if (lease == 0) {
            assert_int_equal(offset, actor->read++);
        } else {
            assert_true(actor->pending_count < PENDING_MAX);
            actor->pending[actor->pending_count++] = (struct protocol_settlement){
                .group = chunk->group, .lease = lease, .first = offset, .count = 1, .exit_code = -1};
        }
        offset++;
    }
    actor->received += frame->count;
    client_hold_free(hold);
}

static void on_fetch_done(void *context, unsigned flags, uint64_t waiting)
{
    struct actor *actor = context;
    (void)waiting;
    actor->done_empty += (flags & PROTOCOL_FETCH_END) != 0;
}

static void on_settled(void *context, uint32_t applied, uint32_t stale)
{
    struct actor *actor = context;
    actor->applied += applied;
    actor->stale += stale;
}

static void on_committed(void *context, enum mp_error error, const char *text)
{
    struct actor *actor = context;
    assert_true(actor->committing && text != NULL);
    actor->committing = false;
    actor->commit_error = error != MP_OK ? error : actor->commit_error;
    *(error == MP_OK ? &actor->committed : &actor->uncommitted) += actor->commit_count;
}

static void on_answered(void *context, enum mp_error status, const char *text, size_t size)
{
    struct actor *actor = context;
    actor->answer_status = status;
    snprintf(actor->answer, sizeof actor->answer, "%.*s", (int)size, text);
}

static void on_failed(void *context, enum mp_error error, const char *text)
{
    struct actor *actor = context;
    assert_int_equal(actor->failure, MP_OK);
    actor->failure = error;
    snprintf(actor->words, sizeof actor->words, "%s", text);
}

struct actor *actor_new(struct fake_network *network)
{
    return actor_keep(network, &(struct client_settings){0});
}

struct actor *actor_keep(struct fake_network *network, const struct client_settings *session)
{
    struct actor *actor = calloc(1, sizeof *actor);
    assert_non_null(actor);
    actor->network = network;
    struct client_settings settings = {.name = "test",
                                       .keep = session->keep,
                                       .session = session->session,
                                       .publication = session->publication,
                                       .sequence = session->sequence,
                                       .context = actor,
                                       .welcomed = on_welcomed,
                                       .published = on_published,
                                       .refused = on_refused,
                                       .full = on_full,
                                       .fetched = on_fetched,
                                       .fetch_done = on_fetch_done,
                                       .settled = on_settled,
                                       .committed = on_committed,
                                       .answered = on_answered,
                                       .failed = on_failed};
    struct fault fault;
    assert_int_equal(client_open(fake_channel_open(network), &settings, network->now, &actor->client, &fault), MP_OK);
    return actor;
}

void actor_free(struct actor *actor)
{
    client_close(actor->client);
    frame_builder_free(&actor->frame);
    frame_builder_free(&actor->output);
    free(actor);
}

void actor_subscribe(struct actor *actor, const char *group)
{
    struct client_subscription subscription = {.topic = "t", .group = group};
    assert_int_equal(client_subscribe(actor->client, &subscription, NULL), MP_OK);
    actor->consumes = true;
}

void actor_produce(struct actor *actor)
{
    struct fake_network *network = actor->network;
    if (actor->frame.count == 0 && actor->next < actor->total && client_is_welcome(actor->client)) {
        uint64_t producer;
        uint64_t sequence;
        client_origin(actor->client, &producer, &sequence);
        assert_int_equal(frame_begin(&actor->frame, producer, sequence), MP_OK);
        uint32_t count = 1 + fake_random(network, BUILT_MAX);
        while (count-- > 0 && actor->next < actor->total) {
            uint8_t body[4];
            store_u32(body, actor->next++);
            assert_int_equal(frame_add(&actor->frame, body, sizeof body, NULL, 0), MP_OK);
        }
        frame_finish(&actor->frame, 1);
    }
    if (actor->frame.count > 0 && client_can_publish(actor->client)) {
        static const struct client_publication to = {.topic = "t"};
        assert_int_equal(client_publish(actor->client, &to, &actor->frame, NULL), MP_OK);
        actor->frame.count = 0;
    }
}

void actor_settle(struct actor *actor, uint32_t index, enum protocol_action action)
{
    struct protocol_settlement settlement = actor->pending[index];
    actor->pending[index] = actor->pending[--actor->pending_count];
    settlement.action = action;
    assert_int_equal(client_settle(actor->client, &settlement), MP_OK);
}

static int by_offset(const void *left, const void *right)
{
    const struct protocol_settlement *one = left;
    const struct protocol_settlement *other = right;
    return one->first < other->first ? -1 : one->first > other->first;
}

void actor_commit(struct actor *actor, uint32_t count)
{
    struct client_output output = {.publication = {.topic = "out", .target = "g"}, .frame = &actor->output};
    uint64_t producer;
    uint64_t sequence;
    if (count == 0) {
        return;
    }
    client_origin(actor->client, &producer, &sequence);
    assert_int_equal(frame_begin(&actor->output, producer, sequence), MP_OK);
    qsort(actor->pending, count, sizeof *actor->pending, by_offset);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t body[4];
        actor->pending[i].action = PROTOCOL_ACK;
        store_u32(body, actor->network->messages[actor->pending[i].first].value);
        assert_int_equal(frame_add(&actor->output, body, sizeof body, NULL, 0), MP_OK);
    }
    frame_finish(&actor->output, 1);
    struct fault fault;
    enum mp_error error = client_settle_publish(actor->client, actor->pending, count, &output, 1, &fault);
    actor->pending_count -= count;
    memmove(actor->pending, actor->pending + count, actor->pending_count * sizeof *actor->pending);
    actor->commit_count = count;
    actor->committing = error == MP_OK;
    if (error != MP_OK) {
        assert_int_equal(error, MP_ERR_STALE);
        actor->uncommitted += count;
    }
}

static void consume(struct actor *actor)
{
    struct fake_network *network = actor->network;
    if (!client_is_fetching(actor->client) && actor->pending_count < (actor->lazy ? PENDING_MAX / 2 : 200)) {
        assert_int_equal(client_fetch(actor->client, 1 + fake_random(network, 100), 5000, NULL), MP_OK);
    }
    if (actor->commits && !actor->lazy && client_can_commit(actor->client)) {
        uint32_t most = actor->pending_count < 40 ? actor->pending_count : 40;
        actor_commit(actor, most > 1 ? fake_random(network, most) : most);
    }
    for (uint32_t n = actor->lazy || actor->commits ? 0 : fake_random(network, 40); n > 0 && actor->pending_count > 0;
         n--) {
        bool again = fake_random(network, 1000) < actor->retry;
        actor_settle(actor, fake_random(network, actor->pending_count), again ? PROTOCOL_RELEASE : PROTOCOL_ACK);
    }
}

bool actors_live(struct actor **actors, unsigned count, bool (*done)(struct actor *actor), int64_t limit)
{
    struct fake_network *network = actors[0]->network;
    int64_t end = network->now + limit;
    for (;;) {
        fake_happen(network);
        int64_t next = CLOCK_NEVER;
        for (unsigned i = 0; i < count; i++) {
            struct actor *actor = actors[i];
            memory_fail(actor->starved ? 1 + fake_random(network, 6) : 0);
            client_process(actor->client, network->now);
            memory_fail(0);
            if (actor->failure == MP_OK) {
                actor_produce(actor);
                if (actor->consumes) {
                    consume(actor);
                }
            }
            int64_t due = client_due(actor->client);
            assert_true(due >= 0);
            next = due < next ? due : next;
        }
        next = fake_next(network) < next ? fake_next(network) : next;
        if (done != NULL && done(actors[0])) {
            return true;
        }
        if (next > end) {
            network->now = end;
            return false;
        }
        network->now = next > network->now ? next : network->now + 1;
    }
}
