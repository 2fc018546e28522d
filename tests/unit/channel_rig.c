#include "channel_rig.h"

#include <poll.h>

struct channel *channel_rig_open(const char *url)
{
    struct channel *channel;
    struct fault fault = {0};

    if (channel_open(url, &channel, &fault) != MP_OK) {
        fail_msg("%s", fault.text);
    }
    return channel;
}

void channel_rig_send(struct channel *channel, enum channel_lane lane, const char *text)
{
    struct fault fault = {0};
    const struct iovec part = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};

    assert_int_equal(channel->operations->send(channel, lane, &part, 1, &fault), MP_OK);
}

static struct channel_reply *early; /* came while something else was awaited */

void channel_rig_turn(struct rig *rig, struct channel *channel)
{
    event_base_loop(rig->base, EVLOOP_NONBLOCK);
    if (early == NULL) {
        early = channel->operations->receive(channel);
    }
}

struct channel_reply *channel_rig_await(struct rig *rig, struct channel *channel)
{
    struct pollfd readable = {.fd = channel->operations->descriptor(channel), .events = POLLIN};

    while (early == NULL) {
        event_base_loop(rig->base, EVLOOP_NONBLOCK);
        if (poll(&readable, 1, 0) == 1) { /* only when it says that there may be something */
            early = channel->operations->receive(channel);
        }
    }
    struct channel_reply *reply = early;
    early = NULL;
    return reply;
}

void channel_rig_expect(struct rig *rig, struct channel *channel, enum channel_lane lane, const char *text)
{
    struct channel_reply *reply = channel_rig_await(rig, channel);

    assert_int_equal(reply->lane, lane);
    assert_int_equal(reply->size, strlen(text));
    assert_memory_equal(reply->data, text, reply->size);
    channel_reply_free(reply);
}

void channel_rig_answer(struct rig *rig, const char *text)
{
    struct server_message *message = rig_take(rig);
    struct server_part part = {.data = text, .size = strlen(text)};

    assert_true(server_send(rig->server, message->connection, message->ids, message->ids_count, &part, 1));
    server_message_free(message);
}

bool channel_rig_kept_is(const struct rig *rig, const char *text)
{
    return rig->kept > 0 && rig->first->size == strlen(text) && memcmp(rig->first->data, text, strlen(text)) == 0;
}

void channel_rig_serve_again(struct rig *rig)
{
    struct fault fault = {0};

    assert_int_equal(server_new(rig->base, &rig->settings, &rig->server, &fault), MP_OK);
    if (server_listen(rig->server, &rig->address, &fault) != MP_OK) {
        fail_msg("%s", fault.text);
    }
}
