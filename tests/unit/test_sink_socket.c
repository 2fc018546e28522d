/* runner/sink.h: sockets, with peers of ours at the other end. */
#include "folder.h"
#include "sink_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char place[FOLDER_PATH];
static char url[112];
static struct sink_rig rig;

/* The other end. */
static struct {
    struct peer *peer;
    struct buffer got; /* bodies, each with a newline */
    size_t count;
    bool silent; /* does not answer */
} other;

static void on_received(void *context, struct peer_message *message, const struct peer_token *token)
{
    (void)context;
    size_t size;
    const void *data = peer_message_data(message, &size);
    struct fault fault;
    assert_int_equal(buffer_append(&other.got, data, size), MP_OK);
    assert_int_equal(buffer_append(&other.got, "\n", 1), MP_OK);
    other.count++;
    if (token->ids_count && !other.silent)
        peer_reply(other.peer, token, &(struct peer_part){.data = "yes", .size = 3}, &fault);
    peer_message_free(message);
}

static void open_other(enum peer_pattern pattern, enum peer_role role)
{
    struct fault fault = {0};
    const struct peer_settings settings = {.pattern = pattern, .role = role, .url = url, .received = on_received};
    if (peer_open(rig.base, &settings, &other.peer, &fault))
        fail_msg("%s", fault_text(&fault));
}

static int set_up(void **state)
{
    (void)state;
    folder_make(place);
    snprintf(url, sizeof(url), "ipc://%s/socket", place);
    sink_rig_new(&rig);
    rig.stage.end = PIPELINE_TO_SOCKET;
    rig.stage.socket.url = url;
    rig.stage.socket.role = PEER_LISTEN;
    memset(&other, 0, sizeof(other));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    sink_rig_close(&rig);
    peer_free(other.peer);
    buffer_free(&other.got);
    sink_rig_free(&rig);
    return rmdir(place);
}

static void expect_got(const char *text)
{
    assert_int_equal(buffer_append(&other.got, "", 1), MP_OK);
    assert_string_equal((char *)other.got.data, text);
}

static void pushed_messages_are_done_when_they_are_written(void **state)
{
    (void)state;
    rig.stage.socket.pattern = PEER_PUSH;
    sink_rig_open(&rig);
    sink_rig_add(&rig, "one");
    sink_rig_add(&rig, "two\nlines");
    sink_rig_until(&rig, strcmp(rig.paused, "nobody is connected") == 0);
    assert_int_equal(rig.ended[STAGE_SUCCEEDED], 0);
    open_other(PEER_PULL, PEER_DIAL);
    sink_rig_until(&rig, rig.ended[STAGE_SUCCEEDED] == 2 && other.count == 2);
    assert_string_equal(rig.paused, "");
    expect_got("one\ntwo\nlines\n");
    sink_stop(rig.sink);
    sink_rig_until(&rig, sink_idle(rig.sink));
}

static void what_nobody_took_goes_back_as_not_begun(void **state)
{
    (void)state;
    rig.stage.socket.pattern = PEER_PUSH;
    rig.stage.socket.role = PEER_DIAL;
    sink_rig_open(&rig);
    sink_rig_add(&rig, "one");
    sink_rig_until(&rig, strstr(rig.paused, "cannot connect") != NULL);
    sink_stop(rig.sink);
    assert_false(sink_idle(rig.sink));
    sink_end(rig.sink);
    sink_rig_until(&rig, sink_idle(rig.sink));
    assert_int_equal(rig.ended[STAGE_NOT_BEGUN], 1);
}

static void a_request_is_done_when_it_is_answered(void **state)
{
    (void)state;
    rig.stage.socket.pattern = PEER_REQ;
    rig.stage.workers = 4;
    other.silent = true;
    sink_rig_open(&rig);
    open_other(PEER_REP, PEER_DIAL);
    sink_rig_add(&rig, "one");
    sink_rig_until(&rig, other.count == 1);
    assert_int_equal(rig.ended[STAGE_SUCCEEDED], 0);
    other.silent = false;
    for (int i = 0; i < 20; i++)
        sink_rig_add(&rig, "more");
    sink_rig_until(&rig, rig.ended[STAGE_SUCCEEDED] == 20);
    sink_stop(rig.sink);
    sink_end(rig.sink); /* the first one was never answered */
    sink_rig_until(&rig, sink_idle(rig.sink));
    assert_int_equal(rig.ended[STAGE_FAILED], 1);
}

static void a_request_without_an_answer_is_sent_again(void **state)
{
    (void)state;
    rig.stage.socket.pattern = PEER_REQ;
    rig.stage.timeout = 100000;
    other.silent = true;
    sink_rig_open(&rig);
    open_other(PEER_REP, PEER_DIAL);
    sink_rig_add(&rig, "one");
    sink_rig_until(&rig, other.count == 2);
    other.silent = false;
    sink_rig_until(&rig, rig.ended[STAGE_SUCCEEDED] == 1);
}

static void a_survey_needs_an_answer(void **state)
{
    (void)state;
    rig.stage.socket.pattern = PEER_SURVEYOR;
    rig.stage.timeout = 200000;
    sink_rig_open(&rig);
    open_other(PEER_RESPONDENT, PEER_DIAL);
    sink_rig_until(&rig, peer_count(other.peer) == 1);
    sink_rig_add(&rig, "one");
    sink_rig_until(&rig, rig.ended[STAGE_SUCCEEDED] == 1);
    other.silent = true;
    sink_rig_add(&rig, "two");
    sink_rig_until(&rig, rig.ended[STAGE_FAILED] == 1);
    assert_string_equal(rig.note, "nobody answered the survey");
}

static void published_messages_do_not_wait(void **state)
{
    (void)state;
    rig.stage.socket.pattern = PEER_PUB;
    sink_rig_open(&rig);
    sink_rig_add(&rig, "nobody hears it");
    sink_rig_until(&rig, rig.ended[STAGE_SUCCEEDED] == 1);
    open_other(PEER_SUB, PEER_DIAL);
    sink_rig_until(&rig, peer_count(other.peer) == 1);
    sink_rig_add(&rig, "one");
    sink_rig_until(&rig, other.count == 1 && rig.ended[STAGE_SUCCEEDED] == 2);
    expect_got("one\n");
}

static void json_is_sent_as_an_object(void **state)
{
    (void)state;
    rig.stage.socket.pattern = PEER_PUSH;
    rig.stage.format = FORMAT_JSON;
    sink_rig_open(&rig);
    open_other(PEER_PULL, PEER_DIAL);
    sink_rig_add(&rig, "[1,2]");
    sink_rig_until(&rig, other.count == 1);
    assert_int_equal(buffer_append(&other.got, "", 1), MP_OK);
    assert_non_null(strstr((char *)other.got.data, "\"data\":[1,2]}\n"));
}

static void an_address_that_is_taken_is_told(void **state)
{
    (void)state;
    struct fault fault = {0};
    struct sink *sink = NULL;
    rig.stage.socket.pattern = PEER_PUSH;
    open_other(PEER_PULL, PEER_LISTEN);
    const struct sink_settings settings = {.base = rig.base, .stage = &rig.stage};
    assert_int_equal(sink_open(&settings, &sink, &fault), MP_ERR_BUSY);
    assert_true(fault.text[0] != '\0');
}

int main(void)
{
#define sink_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        sink_test(pushed_messages_are_done_when_they_are_written),
        sink_test(what_nobody_took_goes_back_as_not_begun),
        sink_test(a_request_is_done_when_it_is_answered),
        sink_test(a_request_without_an_answer_is_sent_again),
        sink_test(a_survey_needs_an_answer),
        sink_test(published_messages_do_not_wait),
        sink_test(json_is_sent_as_an_object),
        sink_test(an_address_that_is_taken_is_told),
    };
    return cmocka_run_group_tests_name("sink_socket", tests, NULL, NULL);
}
