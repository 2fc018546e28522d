/* A peer in C: publishes its arguments to a topic and consumes them again as the member of a group. */
#include <msgpipe.h>
#include <stdio.h>
#include <string.h>

static int give_up(const struct mp_client *client, const char *what)
{
    fprintf(stderr, "peer: %s: %s\n", what, mp_reason(client));
    return 1;
}

int main(int argc, char **argv)
{
    struct mp_client *client;
    struct mp_message *message;
    if (mp_open(&client, NULL, 1000) != MP_OK)
        return give_up(NULL, "no relay");
    for (int i = 1; i < argc; i++)
        if (mp_publish(client, "peer.words", mp_message_new(argv[i], strlen(argv[i]))) != MP_OK)
            return give_up(client, "publish");
    if (mp_flush(client, 5000) != MP_OK || mp_subscribe(client, "peer.words", "peer", NULL) != MP_OK)
        return give_up(client, "flush");
    while (mp_receive(client, &message, 500) == MP_OK) {
        size_t size;
        const char *body = mp_message_body(message, &size);
        printf("%s %.*s\n", mp_message_get(message, "id"), (int)size, body);
        if (mp_ack(client, message) != MP_OK)
            return give_up(client, "ack");
    }
    mp_close(client);
    return 0;
}
