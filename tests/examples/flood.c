/* A flood: publishes the numbers below its argument, reads them again, and says whether each came once and in order. */
#include <msgpipe.h>
#include <stdio.h>
#include <stdlib.h>

static int give_up(const struct mp_client *client, const char *what)
{
    fprintf(stderr, "flood: %s: %s\n", what, mp_reason(client));
    return 1;
}

int main(int argc, char **argv)
{
    struct mp_client *client;
    struct mp_message *message;
    long count = argc > 1 ? atol(argv[1]) : 0;
    if (mp_open(&client, NULL, 10000) != MP_OK)
        return give_up(NULL, "no relay");
    for (long i = 0; i < count; i++) {
        message = mp_message_new(&i, sizeof i);
        if (message == NULL || mp_publish(client, "flood", message) != MP_OK)
            return give_up(client, "publish");
    }
    if (mp_flush(client, 60000) != MP_OK || mp_subscribe(client, "flood", NULL, "start") != MP_OK)
        return give_up(client, "flush");
    for (long i = 0; i < count; i++) {
        size_t size;
        if (mp_receive(client, &message, 60000) != MP_OK)
            return give_up(client, "receive");
        const long *number = mp_message_body(message, &size);
        if (size != sizeof i || *number != i)
            return fprintf(stderr, "flood: at offset %ld came %ld\n", i, *number), 1;
        mp_message_free(message);
    }
    if (mp_receive(client, &message, 100) != MP_ERR_TIMEOUT)
        return fprintf(stderr, "flood: more came than was sent\n"), 1;
    mp_close(client);
    printf("%ld in order\n", count);
    return 0;
}
