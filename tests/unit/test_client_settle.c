/* client/client.h: settlements with gaps, words and outputs; looks, claims, and sessions that are gone on with. */
#include "client_actor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static bool all_stored(struct actor *actor)
{
    return actor->stored == actor->total || actor->failure != MP_OK;
}

static bool all_acked(struct actor *actor)
{
    return actor->network->acked == actor->total || actor->failure != MP_OK;
}

static bool has_received(struct actor *actor)
{
    return actor->received > 0;
}

static bool not_settling(struct actor *actor)
{
    return !client_is_settling(actor->client);
}

static bool not_committing(struct actor *actor)
{
    return !actor->committing;
}

static bool left(struct actor *actor)
{
    return client_has_left(actor->client);
}

static bool failed(struct actor *actor)
{
    return actor->failure != MP_OK;
}

/* An actor that has published COUNT messages and holds them all. */
static struct actor *holder(struct fake_network *network, uint32_t count)
{
    struct actor *actor = actor_new(network);
    actor->total = count;
    assert_true(actors_live(&actor, 1, all_stored, 60 * SECOND));
    actor->lazy = true;
    actor_subscribe(actor, "g");
    while (actor->received < count) {
        actors_live(&actor, 1, NULL, SECOND);
    }
    assert_int_equal(actor->pending_count, count);
    return actor;
}

static void expect_outputs(const struct fake_network *network, uint32_t count, unsigned each)
{
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(network->outputs[i], each);
    }
}

static void what_is_settled_with_outputs_has_them_once_in_any_weather(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct fake_network *network = fake_network_new(seed);
        network->lose = 200;
        network->repeat = 200;
        network->delay = 300000;
        network->again = 100;
        network->gaps = 300;
        struct actor *actors[2] = {actor_new(network), actor_new(network)};
        for (unsigned i = 0; i < 2; i++) {
            actors[i]->commits = true;
            actor_subscribe(actors[i], "g");
        }
        actors[0]->total = 300;
        for (unsigned step = 0; step < 20; step++) {
            network->full = step % 4 == 3;
            actors_live(actors, 2, NULL, 5 * (int64_t)SECOND);
        }
        network->full = false;
        assert_true(actors_live(actors, 2, all_acked, 3600 * (int64_t)SECOND));
        assert_int_equal(actors[0]->failure, MP_OK);
        expect_outputs(network, 300, 1);
        assert_string_equal(network->target, "g");
        actor_free(actors[0]);
        actor_free(actors[1]);
        fake_network_free(network);
    }
}

static void when_a_lease_had_ended_nothing_is_settled_or_published(void **state)
{
    (void)state;
    struct fake_network *network = fake_network_new(50);
    struct actor *actor = holder(network, 20);
    network->messages[7].state = FAKE_WAITING;
    actor_commit(actor, 20);
    assert_true(actors_live(&actor, 1, not_committing, SECOND));
    assert_int_equal(actor->commit_error, MP_ERR_STALE);
    assert_int_equal(network->acked, 0);
    expect_outputs(network, 20, 0);
    /* Of a session that has ended, it is known beforehand. */
    actors_live(&actor, 1, NULL, SECOND);
    fake_forget_sessions(network, network->now + 1);
    actors_live(&actor, 1, NULL, 10 * (int64_t)SECOND);
    assert_int_equal(actor->welcomes, 2);
    uint32_t before = actor->uncommitted;
    actor_commit(actor, 1); /* the first is one that the relay gave again, under the old session */
    assert_int_equal(actor->uncommitted, before + 1);
    actor_free(actor);
    fake_network_free(network);
}

static void a_commit_under_way_when_the_session_ends_is_told_of(void **state)
{
    (void)state;
    struct fake_network *network = fake_network_new(51);
    struct actor *actor = holder(network, 20);
    network->cut = true;
    actor_commit(actor, 10);
    actors_live(&actor, 1, NULL, SECOND);
    assert_true(actor->committing);
    fake_forget_sessions(network, network->now + 1);
    network->cut = false;
    assert_true(actors_live(&actor, 1, not_committing, 60 * (int64_t)SECOND));
    assert_int_equal(actor->commit_error, MP_ERR_STALE);
    expect_outputs(network, 20, 0);
    actor_free(actor);
    fake_network_free(network);

    /* A minute later nobody knows any more. */
    network = fake_network_new(52);
    actor = holder(network, 20);
    network->cut_replies = true;
    actor_commit(actor, 10);
    actors_live(&actor, 1, NULL, 90 * (int64_t)SECOND);
    fake_forget_sessions(network, network->now + 1);
    network->cut_replies = false;
    assert_true(actors_live(&actor, 1, not_committing, 60 * (int64_t)SECOND));
    assert_int_equal(actor->commit_error, MP_ERR_SESSION);
    assert_int_equal(actor->failure, MP_OK);
    actor_free(actor);
    fake_network_free(network);
}

static void a_commit_that_is_refused_tells_why_and_keeps_its_leases(void **state)
{
    (void)state;
    struct fake_network *network = fake_network_new(53);
    struct actor *actor = holder(network, 20);
    network->refuse_commit = MP_ERR_OVERFLOW;
    struct protocol_settlement settlement = actor->pending[0];
    actor_commit(actor, 10);
    assert_true(actors_live(&actor, 1, not_committing, SECOND));
    assert_int_equal(actor->commit_error, MP_ERR_OVERFLOW);
    expect_outputs(network, 20, 0);
    settlement.action = PROTOCOL_DEAD;
    settlement.reason = PROTOCOL_REASON_OVERFLOW;
    settlement.count = 10;
    settlement.span = 0;
    assert_int_equal(client_settle(actor->client, &settlement), MP_OK);
    assert_true(actors_live(&actor, 1, not_settling, SECOND));
    assert_int_equal(actor->applied, 10);
    assert_int_equal(network->last.reason, PROTOCOL_REASON_OVERFLOW);
    actor_free(actor);
    fake_network_free(network);
}

static void a_commit_waits_for_room_and_settlements_behind_it(void **state)
{
    (void)state;
    struct fake_network *network = fake_network_new(54);
    struct actor *actor = holder(network, 20);
    network->full = true;
    actor_commit(actor, 10);
    actors_live(&actor, 1, NULL, SECOND);
    actor_settle(actor, 0, PROTOCOL_ACK);
    actors_live(&actor, 1, NULL, 120 * (int64_t)SECOND); /* leases are extended meanwhile */
    assert_true(actor->committing);
    assert_int_equal(actor->applied, 0);
    assert_in_range(network->commits, 100, 400);
    network->full = false;
    assert_true(actors_live(&actor, 1, not_settling, 10 * (int64_t)SECOND));
    assert_int_equal(actor->commit_error, MP_OK);
    assert_int_equal(network->acked, 11);

    network->full = true; /* who leaves does not wait */
    actor_commit(actor, 9);
    actors_live(&actor, 1, NULL, SECOND);
    assert_true(actor->committing);
    actor->consumes = false;
    assert_int_equal(client_leave(actor->client), MP_OK);
    assert_true(actors_live(&actor, 1, left, 10 * (int64_t)SECOND));
    assert_int_equal(actor->commit_error, MP_ERR_FULL);
    assert_int_equal(network->acked, 11);
    actor_free(actor);
    fake_network_free(network);
}

static void spans_reach_over_what_the_lease_does_not_hold(void **state)
{
    (void)state;
    struct fake_network *network = fake_network_new(55);
    struct actor *actor = actor_new(network);
    actor->total = 100;
    assert_true(actors_live(&actor, 1, all_stored, 10 * (int64_t)SECOND));
    network->gaps = 500;
    actor->lazy = true;
    actor_subscribe(actor, "g");
    assert_true(actors_live(&actor, 1, has_received, SECOND));
    client_stop_fetching(actor->client);
    actor->consumes = false;
    uint32_t held = actor->pending_count;
    uint64_t lease = actor->pending[0].lease;
    assert_in_range(held, 2, 99);
    for (uint32_t i = 0; i < held && actor->pending[i].lease == lease; i++) { /* each up to the next one */
        struct protocol_settlement item = actor->pending[i];
        bool last = i + 1 == held || actor->pending[i + 1].lease != lease;
        item.action = PROTOCOL_ACK;
        item.span = last ? 1 : (uint32_t)(actor->pending[i + 1].first - item.first);
        assert_int_equal(client_settle(actor->client, &item), MP_OK);
        held = last ? i + 1 : held;
    }
    assert_true(actors_live(&actor, 1, not_settling, SECOND));
    assert_int_equal(actor->applied, held);
    assert_int_equal(actor->stale, 0);
    assert_int_equal(network->settlements, 1);
    assert_int_equal(network->acked, held);
    actor_free(actor);
    fake_network_free(network);
}

static void a_note_goes_with_its_settlement_alone(void **state)
{
    (void)state;
    struct fake_network *network = fake_network_new(56);
    struct actor *actor = holder(network, 20);
    char words[PROTOCOL_NOTE_MAX + 3];
    memset(words, 'x', sizeof words);
    memcpy(words, "ab", 2);
    words[2] = 'c';
    unsigned runs = 1;
    for (uint32_t i = 0; i < 20; i++) {
        struct protocol_settlement item = actor->pending[i];
        runs += i > 0 && ((i >= 9 && i <= 11) || item.lease != actor->pending[i - 1].lease);
        item.action = PROTOCOL_RETRY;
        item.delay = PROTOCOL_DELAY_POLICY;
        if (i == 9 || i == 10) {
            item.note = words;
            item.note_size = sizeof words;
        }
        assert_int_equal(client_settle(actor->client, &item), MP_OK);
    }
    memset(words, 'y', sizeof words); /* it was copied */
    actor->pending_count = 0;
    client_stop_fetching(actor->client);
    actor->consumes = false;
    assert_true(actors_live(&actor, 1, not_settling, SECOND));
    assert_int_equal(actor->applied, 20);
    assert_int_equal(network->settlements, runs);
    assert_int_equal(network->notes, 2);
    assert_int_equal(network->last.delay, PROTOCOL_DELAY_POLICY);
    assert_int_equal(network->note_size, PROTOCOL_NOTE_MAX);
    assert_int_equal(network->note[0], 'x'); /* its beginning is gone */
    actor_free(actor);
    fake_network_free(network);
}

static void many_notes_go_in_several_requests(void **state)
{
    (void)state;
    struct fake_network *network = fake_network_new(57);
    struct actor *actor = holder(network, 600);
    char words[PROTOCOL_NOTE_MAX];
    memset(words, 'x', sizeof words);
    unsigned before = network->settles;
    for (uint32_t i = 0; i < 600; i++) {
        struct protocol_settlement item = actor->pending[i];
        item.action = PROTOCOL_DEAD;
        item.note = words;
        item.note_size = sizeof words;
        assert_int_equal(client_settle(actor->client, &item), MP_OK);
    }
    actor->pending_count = 0;
    client_stop_fetching(actor->client);
    actor->consumes = false;
    assert_true(actors_live(&actor, 1, not_settling, 10 * (int64_t)SECOND));
    assert_int_equal(actor->applied, 600);
    assert_int_equal(network->notes, 600);
    assert_int_equal(network->settles - before, 3);
    actor_free(actor);
    fake_network_free(network);
}

static void who_looks_leases_nothing_and_who_claims_gets_just_that(void **state)
{
    (void)state;
    struct fake_network *network = fake_network_new(58);
    struct actor *actor = actor_new(network);
    struct client_subscription look = {.topic = "t", .group = "g", .peek = true};
    actor->total = 100;
    assert_true(actors_live(&actor, 1, all_stored, 10 * (int64_t)SECOND));
    assert_int_equal(client_subscribe(actor->client, &look, NULL), MP_OK);
    assert_int_equal(client_claim(actor->client, 10, 5, NULL), MP_ERR_INVALID); /* looking is not holding */
    while (actor->received < 100) {
        assert_int_equal(client_fetch(actor->client, 0, 0, NULL), MP_OK);
        actors_live(&actor, 1, NULL, SECOND);
    }
    assert_int_equal(actor->pending_count, 0); /* no lease came with them */
    assert_true(network->peeks > 0);
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(network->messages[i].state, FAKE_WAITING);
    }

    look.peek = false;
    assert_int_equal(client_subscribe(actor->client, &look, NULL), MP_OK);
    assert_int_equal(client_claim(actor->client, 40, 5, NULL), MP_OK);
    actors_live(&actor, 1, NULL, SECOND);
    assert_false(client_is_fetching(actor->client));
    assert_int_equal(actor->pending_count, 5);
    assert_int_equal(actor->pending[0].first, 40);
    unsigned ended = actor->done_empty;
    assert_int_equal(client_claim(actor->client, 40, 5, NULL), MP_OK); /* they are gone: an answer, not a wait */
    actors_live(&actor, 1, NULL, SECOND);
    assert_false(client_is_fetching(actor->client));
    assert_int_equal(actor->done_empty, ended + 1);
    actor_commit(actor, 5);
    assert_true(actors_live(&actor, 1, not_committing, SECOND));
    assert_int_equal(network->acked, 5);
    actor_free(actor);
    fake_network_free(network);
}

static void a_session_is_gone_on_with_and_stores_nothing_twice(void **state)
{
    (void)state;
    struct fake_network *network = fake_network_new(59);
    struct actor *actor = actor_keep(network, &(struct client_settings){.keep = 3600});
    actor->total = 100;
    assert_true(actors_live(&actor, 1, all_stored, 10 * (int64_t)SECOND));
    assert_int_equal(network->keep, 3600);
    uint64_t session = client_welcome(actor->client)->session;
    uint64_t number = network->sessions[0].numbers[PROTOCOL_LANE_PUBLISH];
    uint32_t stored = network->messages_count;
    actor_free(actor);

    /* The last publication once more, and one more. */
    actor = actor_keep(network, &(struct client_settings){.session = session, .publication = number, .sequence = 101});
    actors_live(&actor, 1, NULL, SECOND);
    assert_int_equal(actor->welcomes, 1);
    assert_int_equal(client_welcome(actor->client)->session, session);
    assert_int_equal(client_welcome(actor->client)->published, number);
    uint64_t producer;
    uint64_t sequence;
    client_origin(actor->client, &producer, &sequence);
    assert_true(producer == session && sequence == 101);
    actor_free(actor);
    actor = actor_keep(network, &(struct client_settings){.session = session, .publication = number + 1});
    actor->stored = actor->next = 100;
    actor->total = 120;
    assert_true(actors_live(&actor, 1, all_stored, 10 * (int64_t)SECOND));
    assert_int_equal(network->messages_count, stored + 20);
    assert_int_equal(network->sessions_count, 1);
    actor_free(actor);

    fake_forget_sessions(network, network->now + 1);
    actor = actor_keep(network, &(struct client_settings){.session = session, .publication = number + 2});
    assert_true(actors_live(&actor, 1, failed, 10 * (int64_t)SECOND));
    assert_int_equal(actor->failure, MP_ERR_SESSION);
    actor_free(actor);
    fake_network_free(network);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_settled_with_outputs_has_them_once_in_any_weather),
        cmocka_unit_test(when_a_lease_had_ended_nothing_is_settled_or_published),
        cmocka_unit_test(a_commit_under_way_when_the_session_ends_is_told_of),
        cmocka_unit_test(a_commit_that_is_refused_tells_why_and_keeps_its_leases),
        cmocka_unit_test(a_commit_waits_for_room_and_settlements_behind_it),
        cmocka_unit_test(spans_reach_over_what_the_lease_does_not_hold),
        cmocka_unit_test(a_note_goes_with_its_settlement_alone),
        cmocka_unit_test(many_notes_go_in_several_requests),
        cmocka_unit_test(who_looks_leases_nothing_and_who_claims_gets_just_that),
        cmocka_unit_test(a_session_is_gone_on_with_and_stores_nothing_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
