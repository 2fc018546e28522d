/*
 * consumer: a member of a group, which writes down what it got and what the relay said of it.
 *
 *     consumer RELAY NAME GROUP TOPIC-OR-PATTERN HISTORY
 *
 * A few messages are given back, to come again. SIGTERM: it leaves and exits 0.
 */
#include "history.h"

#include <msgpipe.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t stopping;

static void stop(int number)
{
    (void)number;
    stopping = 1;
}

static int give_up(const struct mp_client *client, const char *what)
{
    fprintf(stderr, "consumer: %s: %s\n", what, mp_reason(client));
    return 1;
}

/* Who the message says that it is; a body that says nothing is somebody whom nobody sent. */
static void identify(const struct mp_message *message, char name[64], uint64_t *sequence, uint64_t *hash)
{
    char head[128];
    size_t size;
    const void *body = mp_message_body(message, &size);
    size_t some = size < sizeof head - 1 ? size : sizeof head - 1;
    memcpy(head, body, some);
    head[some] = '\0';
    if (sscanf(head, "%63[a-z0-9.] %" SCNu64 " ", name, sequence) != 2) {
        snprintf(name, 64, "nobody");
        *sequence = 0;
    }
    *hash = history_hash(body, size);
}

/* Settles MESSAGE one way or another; an error other than a lost lease ends the program. */
static enum mp_error settle(struct mp_client *client, struct mp_message *message, const char *place, int history,
                            bool retry)
{
    if (retry) /* before: somebody else may have it before the answer is here */
        history_write(history, "retried", "%s", place);
    enum mp_error error = retry ? mp_retry(client, message, (int64_t)(history_now() % 200)) : mp_ack(client, message);
    if (error == MP_OK) {
        if (!retry)
            history_write(history, "acked", "%s", place);
    } else if (error == MP_ERR_STALE) {
        history_write(history, "stale", "%s", place);
        mp_message_free(message);
        error = MP_OK;
    }
    return error;
}

int main(int argc, char **argv)
{
    struct mp_client *client;
    struct mp_message *message;
    if (argc != 6)
        return 64;
    int history = history_open(argv[5]);
    unsigned count = (unsigned)getpid();
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, NULL);
    enum mp_error opened = mp_open(&client, argv[1], 30000);
    if (opened == MP_ERR_INTERRUPTED && stopping)
        return 0; /* told to end before it began */
    if (opened != MP_OK)
        return give_up(NULL, "no relay");
    if (mp_subscribe(client, argv[4], argv[3], NULL) != MP_OK)
        return give_up(client, "subscribe");
    while (!stopping) {
        char name[64], place[400];
        uint64_t sequence, hash;
        enum mp_error error = mp_receive(client, &message, 1000);
        if (error == MP_ERR_TIMEOUT || error == MP_ERR_INTERRUPTED)
            continue;
        if (error != MP_OK)
            return give_up(client, "receive");
        identify(message, name, &sequence, &hash);
        snprintf(place, sizeof place, "%s %s %s %" PRIu64, argv[2], argv[3], mp_message_topic(message),
                 mp_message_offset(message));
        history_write(history, "got", "%s %u %s %" PRIu64 " %016" PRIx64, place, mp_message_attempt(message), name,
                      sequence, hash);
        if (++count % 19 == 0) /* work that takes its time: a kill can come in the middle */
            poll(NULL, 0, (int)(history_now() % 30));
        bool retry = count % 61 == 0 && mp_message_attempt(message) < 4;
        if (settle(client, message, place, history, retry) != MP_OK)
            return give_up(client, "settle");
    }
    mp_close(client);
    return 0;
}
