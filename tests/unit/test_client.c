/* The client, against a relay in virtual time behind a network that loses, repeats, delays and reorders. */
#include "client_actor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static bool all_stored(struct actor *actor)
{
    return actor->stored == actor->total;
}

static bool failed(struct actor *actor)
{
    return actor->failure != MP_OK;
}

static bool all_acked(struct actor *actor)
{
    const struct fake_network *network = actor->network;
    return network->messages_count == actor->total && network->acked == actor->total &&
           !client_is_settling(actor->client);
}

static bool has_left(struct actor *actor)
{
    return client_has_left(actor->client);
}

static bool not_settling(struct actor *actor)
{
    return !client_is_settling(actor->client);
}

/* Each number was stored once, in order. */
static void check_stored(const struct fake_network *network, uint32_t total)
{
    assert_int_equal(network->messages_count, total);
    for (uint32_t i = 0; i < total; i++) {
        assert_int_equal(network->messages[i].value, i);
    }
}

static void publications_arrive_once_and_in_order_whatever_the_network_does(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct fake_network *network = fake_network_new(seed);
        network->lose = (unsigned)(seed * 37 % 500);
        network->repeat = (unsigned)(seed * 101 % 500);
        network->delay = (int64_t)(seed * 70001 % 900000);
        network->again = (unsigned)(seed * 13 % 200);
        struct actor *actor = actor_new(network);
        actor->total = 1000;
        assert_true(actors_live(&actor, 1, all_stored, 3600 * (int64_t)SECOND));
        check_stored(network, 1000);
        assert_int_equal(actor->failure, MP_OK);
        assert_int_equal(actor->welcomes, 1);
        actor_free(actor);
        fake_network_free(network);
    }
}

static void each_message_is_settled_whatever_the_network_does(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct fake_network *network = fake_network_new(seed);
        network->lose = (unsigned)(seed * 37 % 300);
        network->repeat = (unsigned)(seed * 101 % 300);
        network->delay = (int64_t)(seed * 70001 % 300000);
        network->again = (unsigned)(seed * 13 % 100);
        struct actor *actors[3];
        for (int i = 0; i < 3; i++) {
            actors[i] = actor_new(network);
            if (i > 0) {
                actor_subscribe(actors[i], "g");
                actors[i]->retry = 50;
            }
        }
        actors[0]->total = 2000;
        assert_true(actors_live(actors, 3, all_acked, 3600 * (int64_t)SECOND));
        check_stored(network, 2000);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(actors[i]->failure, MP_OK);
            assert_int_equal(actors[i]->stale, 0);
            actor_free(actors[i]);
        }
        fake_network_free(network);
    }
}

static void one_publication_costs_one_round_trip(void **state)
{
    (void)state;
    struct fake_network *network = fake_network_new(1);
    struct actor *actor = actor_new(network);
    actors_live(&actor, 1, NULL, SECOND);
    for (unsigned i = 0; i < 10; i++) {
        actor->total = actor->next + 1;
        int64_t before = network->now;
        assert_true(actors_live(&actor, 1, all_stored, SECOND));
        assert_true(network->now - before <= 100);
    }
    assert_int_equal(network->publishes, 10);
    actor_free(actor);
    fake_network_free(network);
}

static void a_reader_sees_each_message_once_and_records_nothing(void **state)
{
    (void)state;
    struct fake_network *network = fake_network_new(5);
    network->lose = 200;
    network->repeat = 200;
    network->delay = 100000;
    struct actor *actors[2] = {actor_new(network), actor_new(network)};
    actor_subscribe(actors[1], NULL);
    actors[0]->total = 1500;
    actors_live(actors, 2, NULL, 600 * (int64_t)SECOND);
    assert_int_equal(actors[1]->read, 1500);
    assert_true(actors[1]->done_empty > 0);
    assert_int_equal(network->settles, 0);
    assert_int_equal(network->messages[0].state, FAKE_WAITING);
    actor_free(actors[0]);
    actor_free(actors[1]);
    fake_network_free(network);
}

static void a_full_topic_is_polled_for_room_and_then_gets_the_same(void **state)
{
    (void)state;
    struct fake_network *network = fake_network_new(2);
    struct actor *actor = actor_new(network);
    network->full = true;
    actor->total = 100;
    assert_false(actors_live(&actor, 1, all_stored, 2 * 3600 * (int64_t)SECOND));
    assert_int_equal(actor->full_began, 1);
    assert_int_equal(actor->full_ended, 0);
    assert_int_equal(network->publishes, 1);
    assert_in_range(network->rooms, 7000, 20000); /* a long poll a second, and repeats */
    network->full = false;
    assert_true(actors_live(&actor, 1, all_stored, 10 * SECOND));
    assert_int_equal(actor->full_ended, 1);
    check_stored(network, 100);
    actor_free(actor);
    fake_network_free(network);
}

static void a_refused_publication_is_dropped_and_the_next_one_goes(void **state)
{
    (void)state;
    struct fake_network *network = fake_network_new(3);
    struct actor *actor = actor_new(network);
    actor->total = 1;
    network->refuse = MP_ERR_DENIED;
    assert_false(actors_live(&actor, 1, all_stored, SECOND));
    assert_int_equal(actor->refusals, 1);
    assert_int_equal(actor->refusal, MP_ERR_DENIED);
    assert_true(client_can_publish(actor->client));
    actor->next = 0;
    assert_true(actors_live(&actor, 1, all_stored, SECOND));
    check_stored(network, 1);
    assert_int_equal(network->messages[0].sequence, 2); /* an identity is never given twice */
    actor_free(actor);
    fake_network_free(network);
}

static void an_idle_client_outlives_its_session_unnoticed(void **state)
{
    (void)state;
    struct fake_network *network = fake_network_new(4);
    struct actor *actor = actor_new(network);
    actor->total = 50;
    assert_true(actors_live(&actor, 1, all_stored, SECOND));
    uint64_t producer = actor->last_producer;
    network->now += 5 * 3600 * (int64_t)SECOND;
    /* Built and handed over before the client has heard of the time. */
    actor->total = 51;
    actor_produce(actor);
    assert_false(client_can_publish(actor->client));
    assert_true(client_due(actor->client) <= network->now);
    assert_true(actors_live(&actor, 1, all_stored, SECOND));
    assert_int_equal(actor->welcomes, 2);
    assert_int_equal(actor->failure, MP_OK);
    check_stored(network, 51);
    assert_true(actor->last_producer != producer);
    assert_int_equal(actor->last_sequence, 1);
    actor_free(actor);
    fake_network_free(network);
}

static void a_publication_in_doubt_when_the_session_ended_is_an_error(void **state)
{
    (void)state;
    struct fake_network *network = fake_network_new(6);
    struct actor *actor = actor_new(network);
    actors_live(&actor, 1, NULL, SECOND);
    actor->total = 7;
    network->cut_replies = true;
    assert_false(actors_live(&actor, 1, all_stored, SECOND));
    assert_true(network->messages_count > 0);
    network->cut = true;
    actors_live(&actor, 1, NULL, 3 * 3600 * (int64_t)SECOND);
    network->cut = network->cut_replies = false;
    assert_true(actors_live(&actor, 1, failed, 10 * SECOND));
    assert_int_equal(actor->failure, MP_ERR_SESSION);
    assert_non_null(strstr(actor->words, "unknown"));
    assert_true(client_due(actor->client) == CLOCK_NEVER);
    assert_true(client_has_left(actor->client));
    actor_free(actor);
    fake_network_free(network);
}

/*
 * While it waits for room, the relay takes no late copy of what it refused: but one that was started since may have taken
 * one, and forgotten it when nobody asked for long.
 */
static void what_waits_for_room_is_in_doubt_only_after_long_silence_and_a_restart(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        bool restarted = i & 1, silent = i & 2;
        struct fake_network *network = fake_network_new(8 + i);
        struct actor *actor = actor_new(network);
        network->full = true;
        actor->total = 7;
        assert_false(actors_live(&actor, 1, all_stored, 600 * (int64_t)SECOND));
        assert_int_equal(network->publishes, 1);
        network->cut = silent;
        actors_live(&actor, 1, NULL, 2 * 3600 * (int64_t)SECOND);
        fake_forget_sessions(network, network->now + 1);
        network->restarts = restarted;
        network->cut = network->full = false;
        assert_true(actors_live(&actor, 1, restarted && silent ? failed : all_stored, 10 * SECOND));
        assert_int_equal(actor->failure, restarted && silent ? MP_ERR_SESSION : MP_OK);
        check_stored(network, restarted && silent ? 0 : 7);
        actor_free(actor);
        fake_network_free(network);
    }
}

static void a_frame_is_divided_where_there_is_room_for_less(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct fake_network *network = fake_network_new(seed);
        network->lose = (unsigned)(seed * 37 % 400);
        network->repeat = (unsigned)(seed * 101 % 400);
        network->delay = (int64_t)(seed * 70001 % 300000);
        network->again = (unsigned)(seed * 13 % 200);
        network->takes = (uint32_t)(1 + seed % 5);
        struct actor *actor = actor_new(network);
        actor->total = 300;
        assert_true(actors_live(&actor, 1, all_stored, 3600 * (int64_t)SECOND));
        check_stored(network, 300);
        assert_true(network->rooms > 0);
        assert_int_equal(actor->full_began, actor->full_ended);
        actor_free(actor);
        fake_network_free(network);
    }
}

/* A whole frame was too much, and while a part of it is under way a late copy of it comes and is not. */
static void a_late_copy_of_more_may_be_taken_for_a_part(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct fake_network *network = fake_network_new(seed);
        network->lose = (unsigned)(seed * 37 % 200);
        network->repeat = 700;
        network->delay = (int64_t)(1 + seed * 70001 % 300000);
        network->takes = (uint32_t)(1 + seed % 5);
        network->roomy = 300;
        struct actor *actor = actor_new(network);
        actor->total = 300;
        assert_true(actors_live(&actor, 1, all_stored, 3600 * (int64_t)SECOND));
        assert_int_equal(actor->failure, MP_OK);
        check_stored(network, 300);
        actor_free(actor);
        fake_network_free(network);
    }
}

static void what_is_left_of_a_divided_frame_goes_out_in_a_new_session(void **state)
{
    (void)state;
    struct fake_network *network = fake_network_new(3);
    struct actor *actor = actor_new(network);
    network->takes = 1;
    actor->total = 300;
    assert_false(actors_live(&actor, 1, all_stored, SECOND / 100));
    network->full = true;
    assert_false(actors_live(&actor, 1, all_stored, 5 * SECOND));
    uint32_t before = network->messages_count;
    assert_true(before > 0 && before < 300);
    fake_forget_sessions(network, network->now + 1);
    network->full = false;
    network->takes = 2;
    assert_true(actors_live(&actor, 1, all_stored, 60 * SECOND));
    assert_int_equal(actor->welcomes, 2);
    check_stored(network, 300);
    actor_free(actor);
    fake_network_free(network);
}

/* A relay closes the connection of a stranger who sends much, so there is no answer to tell that the session ended. */
static void a_publication_that_is_not_even_answered_finds_a_new_session(void **state)
{
    (void)state;
    struct fake_network *network = fake_network_new(16);
    network->stranger = PROTOCOL_REQUEST_HEADER + 16;
    struct actor *actor = actor_new(network);
    actor->total = 50;
    assert_true(actors_live(&actor, 1, all_stored, SECOND));
    fake_forget_sessions(network, network->now + 1);
    actor->total = 100;
    assert_true(actors_live(&actor, 1, all_stored, 30 * SECOND));
    assert_int_equal(actor->welcomes, 2);
    check_stored(network, 100);
    actor_free(actor);
    fake_network_free(network);

    /* Number 1 could still have been applied. */
    network = fake_network_new(17);
    network->stranger = PROTOCOL_REQUEST_HEADER + 16;
    actor = actor_new(network);
    actors_live(&actor, 1, NULL, SECOND);
    fake_forget_sessions(network, network->now + 1);
    actor->total = 5;
    assert_true(actors_live(&actor, 1, failed, 120 * (int64_t)SECOND));
    assert_int_equal(actor->failure, MP_ERR_SESSION);
    actor_free(actor);
    fake_network_free(network);
}

static void leases_are_extended_as_long_as_they_are_held(void **state)
{
    (void)state;
    struct fake_network *network = fake_network_new(7);
    network->lose = 100;
    struct actor *actors[2] = {actor_new(network), actor_new(network)};
    actors[0]->total = 20;
    assert_true(actors_live(actors, 2, all_stored, 10 * SECOND));
    actor_subscribe(actors[1], "g");
    actors[1]->lazy = true;
    actors_live(actors, 2, NULL, 30 * 60 * (int64_t)SECOND);
    assert_int_equal(actors[1]->received, 20);
    assert_in_range(network->extends, 700, 1300); /* one in two seconds, and repeats */
    actors[1]->lazy = false;
    actors_live(actors, 2, NULL, 10 * SECOND);
    assert_int_equal(actors[1]->applied, 20);
    assert_int_equal(actors[1]->stale, 0);
    assert_int_equal(actors[1]->pending_count, 0);
    unsigned extends = network->extends;
    actors_live(actors, 2, NULL, 60 * (int64_t)SECOND);
    assert_int_equal(network->extends, extends);
    actor_free(actors[0]);
    actor_free(actors[1]);
    fake_network_free(network);
}

static void what_is_abandoned_is_not_extended(void **state)
{
    (void)state;
    struct fake_network *network = fake_network_new(8);
    struct actor *actors[2] = {actor_new(network), actor_new(network)};
    actors[0]->total = 3;
    actor_subscribe(actors[1], "g");
    actors[1]->lazy = true;
    actors_live(actors, 2, NULL, SECOND);
    assert_int_equal(actors[1]->received, 3);
    for (uint32_t i = 0; i < 3; i++) {
        client_abandon(actors[1]->client, actors[1]->pending[i].lease, 1);
    }
    actors_live(actors, 2, NULL, 30 * (int64_t)SECOND);
    assert_int_equal(network->extends, 0);
    assert_int_equal(actors[1]->received, 6);
    actor_free(actors[0]);
    actor_free(actors[1]);
    fake_network_free(network);
}

static void settlements_of_a_session_that_ended_are_stale_and_life_goes_on(void **state)
{
    (void)state;
    struct fake_network *network = fake_network_new(9);
    struct actor *actor = actor_new(network);
    actor->total = 30;
    assert_true(actors_live(&actor, 1, all_stored, 10 * SECOND));
    actor_subscribe(actor, "g");
    actor->lazy = true;
    actors_live(&actor, 1, NULL, SECOND);
    assert_int_equal(actor->received, 30);
    fake_forget_sessions(network, network->now + 1);
    for (uint32_t i = 0; i < 10; i++) {
        actor_settle(actor, 0, PROTOCOL_ACK);
    }
    actors_live(&actor, 1, NULL, 10 * SECOND);
    assert_int_equal(actor->stale, 10);
    assert_int_equal(actor->applied, 0);
    assert_int_equal(actor->welcomes, 2);
    assert_int_equal(actor->received, 60); /* again, under the new session */
    /* The new session's first fetch has number 1, too; the old leases are not taken for its. */
    for (uint32_t i = 0; i < 20; i++) {
        assert_true(actor->pending[i].lease != actor->pending[actor->pending_count - 1].lease);
    }
    actor->lazy = false;
    assert_true(actors_live(&actor, 1, all_acked, 10 * SECOND));
    actors_live(&actor, 1, NULL, 10 * SECOND);
    assert_int_equal(actor->stale, 30);
    assert_int_equal(actor->applied, 30);
    assert_int_equal(actor->failure, MP_OK);
    actor_free(actor);
    fake_network_free(network);
}

static void neighbours_are_joined_in_whatever_order_they_are_settled(void **state)
{
    (void)state;
    struct fake_network *network = fake_network_new(10);
    struct actor *actor = actor_new(network);
    actor->total = 100;
    assert_true(actors_live(&actor, 1, all_stored, 10 * SECOND));
    actor_subscribe(actor, "g");
    actor->lazy = true;
    actors_live(&actor, 1, NULL, SECOND);
    while (actor->received < 100) {
        actors_live(&actor, 1, NULL, SECOND);
    }
    unsigned before = network->settlements;
    while (actor->pending_count > 0) {
        actor_settle(actor, fake_random(network, actor->pending_count), PROTOCOL_ACK);
    }
    assert_true(actors_live(&actor, 1, not_settling, SECOND));
    assert_int_equal(actor->applied, 100);
    assert_in_range(network->settlements - before, 1, network->fetches * 20);
    assert_int_equal(network->settles, 1);
    actor_free(actor);
    fake_network_free(network);
}

static void a_fetch_that_has_lapsed_is_followed_by_the_next_number(void **state)
{
    (void)state;
    struct fake_network *network = fake_network_new(15);
    struct actor *actor = actor_new(network);
    actor->total = 10;
    assert_true(actors_live(&actor, 1, all_stored, 10 * SECOND));
    network->lapse = true;
    actor_subscribe(actor, "g");
    assert_int_equal(client_fetch(actor->client, 1, 0, NULL), MP_OK); /* even when it asks only once */
    assert_true(actors_live(&actor, 1, all_acked, 10 * SECOND));
    assert_false(network->lapse);
    assert_int_equal(actor->failure, MP_OK);
    actor_free(actor);
    fake_network_free(network);
}

static void leaving_waits_for_settlements_and_releases_the_rest(void **state)
{
    (void)state;
    struct fake_network *network = fake_network_new(11);
    network->lose = 200;
    network->delay = 50000;
    struct actor *actor = actor_new(network);
    actor->total = 10;
    assert_true(actors_live(&actor, 1, all_stored, 10 * SECOND));
    actor_subscribe(actor, "g");
    actor->lazy = true;
    actors_live(&actor, 1, NULL, 10 * SECOND);
    assert_int_equal(actor->received, 10);
    for (int i = 0; i < 4; i++) {
        actor_settle(actor, 0, PROTOCOL_ACK);
    }
    actor->consumes = false;
    assert_int_equal(client_leave(actor->client), MP_OK);
    assert_false(client_has_left(actor->client));
    assert_true(actors_live(&actor, 1, has_left, 60 * (int64_t)SECOND));
    unsigned acked = 0;
    unsigned waiting = 0;
    for (uint32_t i = 0; i < network->messages_count; i++) {
        acked += network->messages[i].state == FAKE_ACKED;
        waiting += network->messages[i].state == FAKE_WAITING;
    }
    assert_int_equal(acked, 4);
    assert_int_equal(waiting, 6);
    assert_int_equal(client_fetch(actor->client, 1, 1, NULL), MP_ERR_CLOSED);
    assert_int_equal(client_settle(actor->client, &actor->pending[0]), MP_ERR_CLOSED);
    actor_free(actor);
    fake_network_free(network);
}

static void a_question_is_asked_until_it_is_answered(void **state)
{
    (void)state;
    struct fake_network *network = fake_network_new(12);
    network->lose = 500;
    network->again = 300;
    struct actor *actor = actor_new(network);
    assert_int_equal(client_ask(actor->client, "{\"a\":1}", 7, NULL), MP_OK); /* before the welcome */
    assert_int_equal(client_ask(actor->client, "{}", 2, NULL), MP_ERR_BUSY);
    actors_live(&actor, 1, NULL, 60 * (int64_t)SECOND);
    assert_string_equal(actor->answer, "{\"a\":1}");
    assert_int_equal(actor->answer_status, MP_OK);
    fake_forget_sessions(network, network->now + 1);
    assert_int_equal(client_ask(actor->client, "{}", 2, NULL), MP_OK);
    actors_live(&actor, 1, NULL, 60 * (int64_t)SECOND);
    assert_string_equal(actor->answer, "{}");
    assert_int_equal(actor->welcomes, 2);
    actor_free(actor);
    fake_network_free(network);
}

/* Lives until the client fails, and gives its words. */
static enum mp_error failure_of(struct fake_network *network, bool consumes, char words[FAULT_TEXT])
{
    struct actor *actor = actor_new(network);
    actor->total = 5;
    if (consumes) {
        actor_subscribe(actor, "g");
    }
    assert_true(actors_live(&actor, 1, failed, 600 * (int64_t)SECOND));
    enum mp_error failure = actor->failure;
    memcpy(words, actor->words, FAULT_TEXT);
    assert_false(client_is_welcome(actor->client));
    actor_free(actor);
    fake_network_free(network);
    return failure;
}

static void what_cannot_go_on_says_why(void **state)
{
    (void)state;
    char words[FAULT_TEXT];
    struct fake_network *network = fake_network_new(13);
    network->version = PROTOCOL_VERSION + 1;
    assert_int_equal(failure_of(network, false, words), MP_ERR_VERSION);
    assert_non_null(strstr(words, "version"));

    network = fake_network_new(13);
    network->deny = true;
    assert_int_equal(failure_of(network, false, words), MP_ERR_DENIED);
    assert_string_equal(words, "not you");

    network = fake_network_new(13);
    network->forget_numbers = true;
    assert_int_equal(failure_of(network, false, words), MP_ERR_SESSION);
    assert_non_null(strstr(words, "has lost some"));

    network = fake_network_new(13);
    network->knows_nobody = true;
    assert_int_equal(failure_of(network, false, words), MP_ERR_SESSION);

    network = fake_network_new(13);
    network->damage = true;
    assert_int_equal(failure_of(network, true, words), MP_ERR_DAMAGED);
    assert_non_null(strstr(words, "topic t, offset 0: "));
}

static void calls_out_of_place_are_refused(void **state)
{
    (void)state;
    struct fake_network *network = fake_network_new(14);
    struct actor *actor = actor_new(network);
    struct fault fault;
    struct client_subscription bad = {.topic = "a..b"};
    struct client_publication to = {.topic = "t"};
    struct protocol_settlement nothing = {.group = 1, .lease = 1, .first = 1, .count = 0, .action = PROTOCOL_ACK};
    assert_int_equal(client_fetch(actor->client, 0, 0, &fault), MP_ERR_INVALID);
    assert_int_equal(client_subscribe(actor->client, &bad, &fault), MP_ERR_INVALID);
    assert_int_equal(client_settle(actor->client, &nothing), MP_ERR_INVALID);
    actors_live(&actor, 1, NULL, SECOND);
    assert_int_equal(client_publish(actor->client, &to, &actor->frame, &fault), MP_ERR_INVALID);
    assert_int_equal(frame_begin(&actor->frame, 1, 1), MP_OK);
    assert_int_equal(frame_add(&actor->frame, "x", 1, NULL, 0), MP_OK);
    frame_finish(&actor->frame, 1);
    to.topic = "a b";
    assert_int_equal(client_publish(actor->client, &to, &actor->frame, &fault), MP_ERR_INVALID);
    to = (struct client_publication){.topic = "t", .target = "no group"};
    assert_int_equal(client_publish(actor->client, &to, &actor->frame, &fault), MP_ERR_INVALID);
    to = (struct client_publication){.topic = "t", .when = PROTOCOL_WHEN_DELAY, .value = -1};
    assert_int_equal(client_publish(actor->client, &to, &actor->frame, &fault), MP_ERR_INVALID);
    assert_int_equal(client_claim(actor->client, 0, 1, &fault), MP_ERR_INVALID);
    assert_int_equal(actor->frame.count, 1); /* a failure leaves it with the caller */
    actor_free(actor);
    fake_network_free(network);
}

static void no_memory_is_an_error_or_a_delay(void **state)
{
    (void)state;
    unsigned came_through = 0;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct fake_network *network = fake_network_new(seed);
        struct actor *actor = actor_new(network);
        actor->total = 60;
        actor_subscribe(actor, "g");
        actor->starved = true;
        actors_live(&actor, 1, NULL, (int64_t)seed * 100);
        actor->starved = false;
        actors_live(&actor, 1, all_acked, 600 * (int64_t)SECOND);
        if (actor->failure == MP_OK) {
            assert_true(all_acked(actor));
            check_stored(network, 60);
            came_through++;
        } else {
            assert_int_equal(actor->failure, MP_ERR_MEMORY);
        }
        actor_free(actor);
        fake_network_free(network);
    }
    assert_in_range(came_through, 1, 99);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(publications_arrive_once_and_in_order_whatever_the_network_does),
        cmocka_unit_test(each_message_is_settled_whatever_the_network_does),
        cmocka_unit_test(one_publication_costs_one_round_trip),
        cmocka_unit_test(a_reader_sees_each_message_once_and_records_nothing),
        cmocka_unit_test(a_frame_is_divided_where_there_is_room_for_less),
        cmocka_unit_test(a_late_copy_of_more_may_be_taken_for_a_part),
        cmocka_unit_test(what_is_left_of_a_divided_frame_goes_out_in_a_new_session),
        cmocka_unit_test(a_full_topic_is_polled_for_room_and_then_gets_the_same),
        cmocka_unit_test(a_refused_publication_is_dropped_and_the_next_one_goes),
        cmocka_unit_test(an_idle_client_outlives_its_session_unnoticed),
        cmocka_unit_test(a_publication_in_doubt_when_the_session_ended_is_an_error),
        cmocka_unit_test(what_waits_for_room_is_in_doubt_only_after_long_silence_and_a_restart),
        cmocka_unit_test(a_publication_that_is_not_even_answered_finds_a_new_session),
        cmocka_unit_test(leases_are_extended_as_long_as_they_are_held),
        cmocka_unit_test(what_is_abandoned_is_not_extended),
        cmocka_unit_test(settlements_of_a_session_that_ended_are_stale_and_life_goes_on),
        cmocka_unit_test(neighbours_are_joined_in_whatever_order_they_are_settled),
        cmocka_unit_test(a_fetch_that_has_lapsed_is_followed_by_the_next_number),
        cmocka_unit_test(leaving_waits_for_settlements_and_releases_the_rest),
        cmocka_unit_test(a_question_is_asked_until_it_is_answered),
        cmocka_unit_test(what_cannot_go_on_says_why),
        cmocka_unit_test(calls_out_of_place_are_refused),
        cmocka_unit_test(no_memory_is_an_error_or_a_delay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
