/* Surveys: a question to all, with a time for the answers. */
#include "peer_ends.h"

#include <string.h>

static void test_survey_collects_from_all_until_its_time(void **state)
{
    struct ends_world *world = *state;
    struct ends_end surveyor = {0}, voters[3] = {{.echo = true}, {.echo = true}, {0}};
    char url[ENDS_URL];

    ends_url(world, false, url);
    ends_open(world, &surveyor,
              (struct peer_settings){
                  .pattern = PEER_SURVEYOR, .role = PEER_LISTEN, .url = url, .await_peers = 3, .survey_time = 1000000});
    for (unsigned i = 0; i < 3; i++)
        ends_open(world, &voters[i], (struct peer_settings){.pattern = PEER_RESPONDENT, .role = PEER_DIAL, .url = url});
    ends_send(&surveyor, "who?");
    ENDS_AWAIT(world, surveyor.surveys == 1);
    assert_int_equal(surveyor.got_count, 2);
    /* Too late. */
    struct peer_part part = {"late", 4, NULL, NULL};
    assert_int_equal(peer_reply(voters[2].peer, &voters[2].got[0].token, &part, NULL), MP_OK);
    ends_send(&surveyor, "again?");
    ENDS_AWAIT(world, surveyor.surveys == 2);
    assert_int_equal(surveyor.got_count, 4);
    for (unsigned i = 0; i < 4; i++)
        assert_string_equal(surveyor.got[i].text, i < 2 ? "re: who?" : "re: again?");
    ends_close(&surveyor);
    for (unsigned i = 0; i < 3; i++)
        ends_close(&voters[i]);
}

/* The time for answers and the time for finishing may be the same: what was answered is not called undelivered. */
static void test_finishing_ends_a_survey(void **state)
{
    struct ends_world *world = *state;
    struct ends_end surveyor = {0}, voter = {.echo = true};
    char url[ENDS_URL];

    ends_url(world, false, url);
    ends_open(
        world, &surveyor,
        (struct peer_settings){
            .pattern = PEER_SURVEYOR, .role = PEER_LISTEN, .url = url, .await_peers = 1, .survey_time = 600000000});
    ends_open(world, &voter, (struct peer_settings){.pattern = PEER_RESPONDENT, .role = PEER_DIAL, .url = url});
    ends_send(&surveyor, "who?");
    ENDS_AWAIT(world, surveyor.got_count == 1);
    peer_finish(surveyor.peer, 20000);
    ENDS_AWAIT(world, surveyor.finished);
    assert_int_equal(surveyor.surveys, 1);
    assert_int_equal(surveyor.result.left, 0);
    assert_false(surveyor.result.timed_out);

    ends_close(&surveyor);
    ends_close(&voter);
}

/* One that nobody was there to hear is undelivered still. */
static void test_finishing_tells_of_a_survey_that_was_not_sent(void **state)
{
    struct ends_world *world = *state;
    struct ends_end surveyor = {0};
    char url[ENDS_URL];

    ends_url(world, false, url);
    ends_open(
        world, &surveyor,
        (struct peer_settings){
            .pattern = PEER_SURVEYOR, .role = PEER_LISTEN, .url = url, .await_peers = 1, .survey_time = 600000000});
    ends_send(&surveyor, "who?");
    peer_finish(surveyor.peer, 20000);
    ENDS_AWAIT(world, surveyor.finished);
    assert_int_equal(surveyor.result.left, 1);
    ends_close(&surveyor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENDS_TEST(test_survey_collects_from_all_until_its_time),
        ENDS_TEST(test_finishing_ends_a_survey),
        ENDS_TEST(test_finishing_tells_of_a_survey_that_was_not_sent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
