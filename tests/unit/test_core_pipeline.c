/* What a runner asks of the relay: its topics and groups set up, its reports kept; and what is passed on. */
#include "core_rig.h"

#include <stdio.h>
#include <string.h>

static char passed_on[64];
static const char *said;

static enum mp_error control(void *context, const char *verb, struct fault *fault)
{
    (void)context;
    (void)fault;
    snprintf(passed_on, sizeof passed_on, "%s", verb);
    return MP_OK;
}

static const char *pipeline(void *context)
{
    (void)context;
    return said;
}

static int set_up(void **state)
{
    int failed = rig_set_up(state);
    struct rig *rig = *state;
    rig->settings.control = control;
    rig->settings.pipeline = pipeline;
    rig_restart(rig);
    passed_on[0] = '\0';
    said = NULL;
    return failed;
}

/* Asks JSON; the answer, terminated, good until the next one, in TEXT. */
static enum mp_error ask(struct rig *rig, uint64_t session, const char *json, char *text, size_t size)
{
    struct buffer body = {0};
    rig_forget_replies(rig);
    assert_int_equal(buffer_append_string(&body, json), MP_OK);
    uint32_t id = rig_submit(rig, 1, PROTOCOL_ADMIN, PROTOCOL_LANE_CONTROL, session, 0, 0, &body);
    buffer_free(&body);
    rig_turn(rig);
    const struct protocol_reply *reply = rig_reply(rig, id);
    assert_non_null(reply);
    snprintf(text, size, "%.*s", (int)reply->body_size, (const char *)reply->body);
    return reply->status;
}

static void topics_and_groups_are_set_up_in_one_request(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    static const char request[] = "{\"verb\":\"configure\",\"topics\":{\"a\":{\"max_messages\":\"10\"},\"b\":{}},"
                                  "\"groups\":[{\"topic\":\"a\",\"group\":\"g\",\"settings\":{\"order\":\"key\"}},"
                                  "{\"topic\":\"x.*\",\"group\":\"p\",\"settings\":{}}]}";
    char text[4096];
    assert_int_equal(ask(rig, session, request, text, sizeof text), MP_OK);
    assert_string_equal(text, "{\"changed\":4}");
    assert_int_equal(ask(rig, session, request, text, sizeof text), MP_OK);
    assert_string_equal(text, "{\"changed\":0}");
    rig_restart(rig);
    session = rig_hello(rig, 1);
    assert_int_equal(ask(rig, session, "{\"verb\":\"topics\"}", text, sizeof text), MP_OK);
    assert_non_null(strstr(text, "\"max_messages\":\"10\""));
    /* What is not said any more is the default again. */
    assert_int_equal(ask(rig, session, "{\"verb\":\"configure\",\"topics\":{\"a\":{}}}", text, sizeof text), MP_OK);
    assert_string_equal(text, "{\"changed\":1}");
    assert_int_equal(ask(rig, session, "{\"verb\":\"topics\"}", text, sizeof text), MP_OK);
    assert_null(strstr(text, "max_messages"));
}

static void what_makes_no_sense_changes_nothing(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    char text[4096];
    assert_int_equal(ask(rig, session,
                         "{\"verb\":\"configure\",\"topics\":{\"a\":{}},\"groups\":[{\"topic\":\"a\",\"group\":\"g\","
                         "\"settings\":{\"retry.jitter\":\"7\"}}]}",
                         text, sizeof text),
                     MP_ERR_INVALID);
    assert_non_null(strstr(text, "a, group g: "));
    assert_int_equal(ask(rig, session, "{\"verb\":\"configure\",\"topics\":{\"a\":{},\"..\":{}}}", text, sizeof text),
                     MP_ERR_INVALID);
    assert_int_equal(ask(rig, session, "{\"verb\":\"topics\"}", text, sizeof text), MP_OK);
    assert_string_equal(text, "{\"topics\":[]}");
    assert_int_equal(ask(rig, session, "{\"verb\":\"configure\",\"groups\":[7]}", text, sizeof text), MP_ERR_INVALID);
}

static void reports_are_kept_for_a_while(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    char text[4096];
    assert_int_equal(ask(rig, session, "{\"verb\":\"stages\"}", text, sizeof text), MP_OK);
    assert_string_equal(text, "{\"runners\":[]}");
    assert_int_equal(
        ask(rig, session, "{\"verb\":\"report\",\"runner\":\"h 1\",\"stages\":[{\"in\":1}]}", text, sizeof text),
        MP_OK);
    rig_pass(rig, 40 * SECOND);
    assert_int_equal(
        ask(rig, session, "{\"verb\":\"report\",\"runner\":\"h 2\",\"stages\":[{\"in\":2}]}", text, sizeof text),
        MP_OK);
    assert_int_equal(
        ask(rig, session, "{\"verb\":\"report\",\"runner\":\"h 2\",\"stages\":[{\"in\":3}]}", text, sizeof text),
        MP_OK);
    assert_int_equal(ask(rig, session, "{\"verb\":\"stages\"}", text, sizeof text), MP_OK);
    assert_string_equal(text, "{\"runners\":[{\"runner\":\"h 2\",\"stages\":[{\"in\":3}],\"age_us\":0},"
                              "{\"runner\":\"h 1\",\"stages\":[{\"in\":1}],\"age_us\":40000000}]}");
    rig_pass(rig, 6 * SECOND);
    assert_int_equal(ask(rig, session, "{\"verb\":\"stages\"}", text, sizeof text), MP_OK);
    assert_null(strstr(text, "h 1"));
    assert_int_equal(ask(rig, session, "{\"verb\":\"report\",\"runner\":\"\",\"stages\":[]}", text, sizeof text),
                     MP_ERR_INVALID);
    assert_int_equal(ask(rig, session, "{\"verb\":\"report\",\"runner\":\"r\"}", text, sizeof text), MP_ERR_INVALID);
}

static void the_supervisor_is_told(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    char text[4096];
    assert_int_equal(ask(rig, session, "{\"verb\":\"pipeline\"}", text, sizeof text), MP_ERR_UNSUPPORTED);
    said = "{\"file\":\"a.yaml\",\"generation\":3}";
    assert_int_equal(ask(rig, session, "{\"verb\":\"pipeline\"}", text, sizeof text), MP_OK);
    assert_string_equal(text, said);
    assert_int_equal(ask(rig, session, "{\"verb\":\"reload\"}", text, sizeof text), MP_OK);
    assert_string_equal(passed_on, "reload");
    assert_int_equal(ask(rig, session, "{\"verb\":\"drain\"}", text, sizeof text), MP_OK);
    assert_string_equal(passed_on, "drain");
    rig->settings.control = NULL;
    rig_restart(rig);
    session = rig_hello(rig, 1);
    assert_int_equal(ask(rig, session, "{\"verb\":\"drain\"}", text, sizeof text), MP_ERR_UNSUPPORTED);
    assert_non_null(strstr(text, "runs no pipeline"));
}

#define RIGGED(test) cmocka_unit_test_setup_teardown(test, set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIGGED(topics_and_groups_are_set_up_in_one_request),
        RIGGED(what_makes_no_sense_changes_nothing),
        RIGGED(reports_are_kept_for_a_while),
        RIGGED(the_supervisor_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
