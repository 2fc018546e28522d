/* client/link.h: a client on a libevent loop, over a socket, to a server that answers as the fake relay does. */
#include "link_rig.h"

#include "base/memory.h"
#include "client/link.h"

static struct link_rig far_end;
static struct rig *const rig = &far_end.rig;
static struct client_link *near_end;

/* What the client has told. */
static struct {
    unsigned welcomes;
    uint32_t published;
    unsigned answers;
    unsigned failures;
    uint32_t to_publish; /* when it is welcomed */
} told;

/* ---- the near end --------------------------------------------------------------------------------------------- */

static void on_welcomed(void *context, const struct protocol_welcome *welcome)
{
    assert_ptr_equal(context, &told);
    assert_string_equal(welcome->relay, "fake");
    told.welcomes++;
    if (told.to_publish > 0) {
        link_rig_publish(client_link_use(near_end), told.to_publish);
    }
    told.to_publish = 0;
}

static void on_published(void *context, uint64_t offset, uint32_t count, uint32_t duplicates)
{
    (void)context;
    assert_int_equal(offset, told.published);
    assert_int_equal(duplicates, 0);
    told.published += count;
}

static void on_answered(void *context, enum mp_error status, const char *text, size_t size)
{
    (void)context;
    (void)status;
    (void)text;
    (void)size;
    told.answers++;
}

static void on_failed(void *context, enum mp_error error, const char *text)
{
    (void)context;
    (void)error;
    print_message("%s\n", text);
    told.failures++;
}

static const struct client_settings client = {
    .name = "test",
    .context = &told,
    .welcomed = on_welcomed,
    .published = on_published,
    .answered = on_answered,
    .failed = on_failed,
};

static enum mp_error try_to_open(struct fault *fault)
{
    return client_link_open(rig->base, far_end.url, &client, &near_end, fault);
}

static void open_link(void)
{
    struct fault fault = {0};
    assert_int_equal(try_to_open(&fault), MP_OK);
    assert_int_equal(told.welcomes, 0); /* from the loop only */
}

static int set_up(void **state)
{
    (void)state;
    memset(&told, 0, sizeof told);
    link_rig_open(&far_end);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    client_link_close(near_end);
    near_end = NULL;
    link_rig_close(&far_end);
    return 0;
}

/* ---- tests ---------------------------------------------------------------------------------------------------- */

static void what_is_published_out_of_a_callback_is_acknowledged(void **state)
{
    (void)state;
    told.to_publish = 7;
    open_link();
    link_rig_until(&far_end, told.published == 7);
    assert_true(client_link_connected(near_end));
    assert_ptr_equal(client_link_client(near_end), client_link_use(near_end));
    assert_int_equal(told.welcomes, 1);
    assert_int_equal(far_end.network->publishes, 1);
}

static void what_is_asked_for_outside_of_the_loop_is_sent_by_it(void **state)
{
    (void)state;
    open_link();
    link_rig_until(&far_end, told.welcomes == 1);
    /* Nothing is due, and nothing comes: without client_link_use() the loop would have nothing to do. */
    link_rig_publish(client_link_use(near_end), 2);
    assert_int_equal(client_ask(client_link_use(near_end), "{}", 2, NULL), MP_OK);
    link_rig_until(&far_end, told.published == 2 && told.answers == 1);
    assert_int_equal(client_leave(client_link_use(near_end)), MP_OK);
    link_rig_until(&far_end, client_has_left(client_link_client(near_end)));
    assert_int_equal(far_end.network->leaves, 1);
    assert_int_equal(told.failures, 0);
}

static void a_relay_that_is_away_is_waited_for(void **state)
{
    (void)state;
    link_rig_go_away(&far_end);
    told.to_publish = 3;
    open_link();
    const struct timeval moment = {.tv_usec = 50000};
    event_base_loopexit(rig->base, &moment);
    event_base_dispatch(rig->base);
    assert_false(client_link_connected(near_end));
    link_rig_return(&far_end);
    link_rig_until(&far_end, told.published == 3);
    assert_int_equal(told.failures, 0);
}

static void a_connection_that_ends_is_made_again_and_nothing_is_doubled(void **state)
{
    (void)state;
    open_link();
    link_rig_until(&far_end, told.welcomes == 1);
    for (unsigned i = 1; i <= 5; i++) {
        link_rig_publish(client_link_use(near_end), 4);
        rig_until(rig, rig->first != NULL);
        if (i % 2 == 0) {
            link_rig_serve(&far_end); /* stored; but perhaps the answer does not come */
        }
        link_rig_go_away(&far_end);
        link_rig_return(&far_end);
        link_rig_until(&far_end, told.published == 4 * i);
    }
    assert_int_equal(far_end.network->messages_count, 20);
    assert_int_equal(told.welcomes, 1); /* the session outlives connections */
}

static void closed_with_a_request_under_way_it_tells_nothing_more(void **state)
{
    (void)state;
    open_link();
    link_rig_until(&far_end, told.welcomes == 1);
    link_rig_publish(client_link_use(near_end), 1);
    rig_until(rig, rig->first != NULL);
    client_link_close(near_end);
    near_end = NULL;
    link_rig_serve(&far_end); /* to nobody */
    rig_until(rig, rig->disconnected == rig->connected);
    rig_settle(rig);
    assert_int_equal(told.published, 0);
    assert_int_equal(told.failures, 0);
    client_link_close(NULL);
}

static void what_is_no_address_is_refused(void **state)
{
    (void)state;
    struct fault fault = {0};
    assert_int_equal(client_link_open(rig->base, "nowhere", &client, &near_end, &fault), MP_ERR_INVALID);
    assert_true(fault_text(&fault)[0] != '\0');
    assert_null(near_end);
}

static void without_memory_nothing_is_left_behind(void **state)
{
    (void)state;
    enum mp_error error = MP_ERR_MEMORY;
    unsigned long nth = 0;
    while (error == MP_ERR_MEMORY) {
        struct fault fault = {0};
        memory_fail(++nth);
        error = try_to_open(&fault);
        memory_fail(0);
    }
    assert_int_equal(error, MP_OK);
    assert_true(nth > 2);
    link_rig_until(&far_end, told.welcomes == 1);
}

int main(void)
{
#define link_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        link_test(what_is_published_out_of_a_callback_is_acknowledged),
        link_test(what_is_asked_for_outside_of_the_loop_is_sent_by_it),
        link_test(a_relay_that_is_away_is_waited_for),
        link_test(a_connection_that_ends_is_made_again_and_nothing_is_doubled),
        link_test(closed_with_a_request_under_way_it_tells_nothing_more),
        link_test(what_is_no_address_is_refused),
        link_test(without_memory_nothing_is_left_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
