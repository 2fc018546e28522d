#include "link_rig.h"

#include "base/clock.h"

#include <stdio.h>

void link_rig_open(struct link_rig *link)
{
    memset(link, 0, sizeof *link);
    link->network = fake_network_new(1);
    rig_open(&link->rig, ADDRESS_IPC);
    snprintf(link->url, sizeof link->url, "ipc://%s/socket", link->rig.directory);
}

void link_rig_close(struct link_rig *link)
{
    rig_close(&link->rig);
    fake_network_free(link->network);
}

static void answer(struct link_rig *link, const struct server_message *message)
{
    struct protocol_request request;
    struct buffer out = {0};
    uint32_t wait = 0;
    link->network->now = clock_monotonic();
    assert_int_equal(protocol_read_request(message->data, message->size, &request), MP_OK);
    /* Nothing is waited for: what there is to answer in the end is answered at once. */
    (void)fake_serve(link->network, &request, true, &out, &wait);
    const struct server_part part = {.data = out.data, .size = out.size};
    server_send(link->rig.server, message->connection, message->ids, message->ids_count, &part, 1);
    buffer_free(&out);
}

void link_rig_serve(struct link_rig *link)
{
    while (link->rig.first != NULL) {
        struct server_message *message = rig_take(&link->rig);
        answer(link, message);
        server_message_free(message);
    }
}

void link_rig_go_away(struct link_rig *link)
{
    while (link->rig.first != NULL) {
        server_message_free(rig_take(&link->rig));
    }
    server_free(link->rig.server);
    link->rig.server = NULL;
}

void link_rig_return(struct link_rig *link)
{
    struct fault fault = {0};
    assert_int_equal(server_new(link->rig.base, &link->rig.settings, &link->rig.server, &fault), MP_OK);
    assert_int_equal(server_listen(link->rig.server, &link->rig.address, &fault), MP_OK);
}

void link_rig_publish(struct client *client, uint32_t count)
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
