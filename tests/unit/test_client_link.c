/* client/link.h: a client on a libevent loop, over a socket, to a server that answers as the fake relay does. */
#include "server_rig.h"

#include "base/clock.h"
#include "base/memory.h"
#include "client/link.h"
#include "fake_relay.h"

#include <stdio.h>

static struct rig rig;
static struct fake_network *network;
static struct client_link *server_link;

/* What the client has told. */
static struct {
    unsigned welcomes;
    uint32_t published;
    unsigned answers;
    unsigned failures;
    uint32_t to_publish; /* when it is welcomed */
} told;

/* ---- the far end ---------------------------------------------------------------------------------------------- */

static void answer(const struct server_message *message)
{
    struct protocol_request request;
    struct buffer out = {0};
    uint32_t wait = 0;
    network->now = clock_monotonic();
    assert_int_equal(protocol_read_request(message->data, message->size, &request), MP_OK);
    (void)fake_serve(network, &request, true, &out, &wait);
    const struct server_part part = {.data = out.data, .size = out.size};
    server_send(rig.server, message->connection, message->ids, message->ids_count, &part, 1);
    buffer_free(&out);
}

/* Answers what has come. */
static void serve(void)
{
    while (rig.first != NULL) {
        struct server_message *message = rig_take(&rig);
        answer(message);
        server_message_free(message);
    }
}

#define serve_until(condition)                                                                                         \
    do {                                                                                                               \
        while (!(condition)) {                                                                                         \
            rig_turn(&rig);                                                                                            \
            serve();                                                                                                   \
        }                                                                                                              \
    } while (0)

static void listen_again(void)
{
    struct fault fault = {0};
    assert_int_equal(server_new(rig.base, &rig.settings, &rig.server, &fault), MP_OK);
    assert_int_equal(server_listen(rig.server, &rig.address, &fault), MP_OK);
}

/* The far end goes, with all connections and what came by them. */
static void go_away(void)
{
    while (rig.first != NULL) {
        server_message_free(rig_take(&rig));
    }
    server_free(rig.server);
    rig.server = NULL;
}

/* ---- the near end --------------------------------------------------------------------------------------------- */

static void publish(struct client *client, uint32_t count)
{
    static const struct client_publication to = {.topic = "t"};
    struct frame_builder frame = {0};
    uint64_t producer, sequence;
    client_origin(client, &producer, &sequence);
    assert_int_equal(frame_begin(&frame, producer, sequence), MP_OK);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t body[4];
        store_u32(body, i);
        assert_int_equal(frame_add(&frame, body, sizeof body, NULL, 0), MP_OK);
    }
    frame_finish(&frame, 1);
    assert_int_equal(client_publish(client, &to, &frame, NULL), MP_OK);
    frame_builder_free(&frame);
}

static void on_welcomed(void *context, const struct protocol_welcome *welcome)
{
    assert_ptr_equal(context, &told);
    assert_string_equal(welcome->relay, "fake");
    told.welcomes++;
    if (told.to_publish > 0) {
        publish(client_link_use(server_link), told.to_publish);
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
    char url[128];
    snprintf(url, sizeof url, "ipc://%s/socket", rig.directory);
    return client_link_open(rig.base, url, &client, &server_link, fault);
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
    memset(&rig, 0, sizeof rig);
    memset(&told, 0, sizeof told);
    network = fake_network_new(1);
    rig_open(&rig, ADDRESS_IPC);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    client_link_close(server_link);
    server_link = NULL;
    rig_close(&rig);
    fake_network_free(network);
    return 0;
}

/* ---- tests ---------------------------------------------------------------------------------------------------- */

static void what_is_published_out_of_a_callback_is_acknowledged(void **state)
{
    (void)state;
    told.to_publish = 7;
    open_link();
    serve_until(told.published == 7);
    assert_true(client_link_connected(server_link));
    assert_ptr_equal(client_link_client(server_link), client_link_use(server_link));
    assert_int_equal(told.welcomes, 1);
    assert_int_equal(network->publishes, 1);
}

static void what_is_asked_for_outside_of_the_loop_is_sent_by_it(void **state)
{
    (void)state;
    open_link();
    serve_until(told.welcomes == 1);
    /* Nothing is due, and nothing comes: without client_link_use() the loop would have nothing to do. */
    publish(client_link_use(server_link), 2);
    assert_int_equal(client_ask(client_link_use(server_link), "{}", 2, NULL), MP_OK);
    serve_until(told.published == 2 && told.answers == 1);
    assert_int_equal(client_leave(client_link_use(server_link)), MP_OK);
    serve_until(client_has_left(client_link_client(server_link)));
    assert_int_equal(network->leaves, 1);
    assert_int_equal(told.failures, 0);
}

static void a_relay_that_is_away_is_waited_for(void **state)
{
    (void)state;
    go_away();
    told.to_publish = 3;
    open_link();
    const struct timeval moment = {.tv_usec = 50000};
    event_base_loopexit(rig.base, &moment);
    event_base_dispatch(rig.base);
    assert_false(client_link_connected(server_link));
    listen_again();
    serve_until(told.published == 3);
    assert_int_equal(told.failures, 0);
}

static void a_connection_that_ends_is_made_again_and_nothing_is_doubled(void **state)
{
    (void)state;
    open_link();
    serve_until(told.welcomes == 1);
    for (unsigned i = 1; i <= 5; i++) {
        publish(client_link_use(server_link), 4);
        rig_until(&rig, rig.first != NULL);
        if (i % 2 == 0) {
            serve(); /* stored; but perhaps the answer does not come */
        }
        go_away();
        listen_again();
        serve_until(told.published == 4 * i);
    }
    assert_int_equal(network->messages_count, 20);
    assert_int_equal(told.welcomes, 1); /* the session outlives connections */
}

static void closed_with_a_request_under_way_it_tells_nothing_more(void **state)
{
    (void)state;
    open_link();
    serve_until(told.welcomes == 1);
    publish(client_link_use(server_link), 1);
    rig_until(&rig, rig.first != NULL);
    client_link_close(server_link);
    server_link = NULL;
    serve(); /* to nobody */
    rig_until(&rig, rig.disconnected == rig.connected);
    rig_settle(&rig);
    assert_int_equal(told.published, 0);
    assert_int_equal(told.failures, 0);
    client_link_close(NULL);
}

static void what_is_no_address_is_refused(void **state)
{
    (void)state;
    struct fault fault = {0};
    assert_int_equal(client_link_open(rig.base, "nowhere", &client, &server_link, &fault), MP_ERR_INVALID);
    assert_true(fault_text(&fault)[0] != '\0');
    assert_null(server_link);
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
    serve_until(told.welcomes == 1);
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
