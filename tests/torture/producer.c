/*
 * producer: publishes until it is told to end, and writes down what it knows.
 *
 *     producer RELAY NAME TOPIC,TOPIC… HISTORY [MESSAGES A SECOND]
 *
 * A body is "NAME SEQUENCE " and filler. SIGTERM: it flushes and exits 0.
 */
#include "history.h"

#include <msgpipe.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TOPICS_MAX = 8, BATCH = 40, LONG_BODY = 60000 };

static volatile sig_atomic_t stopping;

static void stop(int number)
{
    (void)number;
    stopping = 1;
}

static uint64_t state;

static uint32_t below(uint32_t limit)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(state >> 33) % limit;
}

static size_t make_body(char *body, const char *name, uint64_t sequence)
{
    size_t size = (size_t)snprintf(body, 200, "%s %" PRIu64 " ", name, sequence);
    size_t filler = below(below(100) == 0 ? LONG_BODY : below(10) == 0 ? 3000 : 120);
    for (size_t i = 0; i < filler; i++)
        body[size++] = (char)below(256);
    return size;
}

static int give_up(const struct mp_client *client, const char *what)
{
    fprintf(stderr, "producer: %s: %s\n", what, mp_reason(client));
    return 1;
}

int main(int argc, char **argv)
{
    static char body[LONG_BODY + 400];
    char *topics[TOPICS_MAX], *rest;
    unsigned topics_count = 0;
    struct mp_client *client;
    if (argc < 5)
        return 64;
    for (char *topic = strtok_r(argv[3], ",", &rest); topic && topics_count < TOPICS_MAX;
         topic = strtok_r(NULL, ",", &rest))
        topics[topics_count++] = topic;
    unsigned rate = argc > 5 ? (unsigned)strtoul(argv[5], NULL, 10) : 300;
    int history = history_open(argv[4]);
    state = (uint64_t)history_now() ^ (uint64_t)getpid() << 32;
    signal(SIGTERM, stop);
    enum mp_error opened = mp_open(&client, argv[1], 30000);
    if (opened == MP_ERR_INTERRUPTED && stopping)
        return 0; /* told to end before it began */
    if (opened != MP_OK)
        return give_up(NULL, "no relay");
    uint64_t sequence = 1;
    while (!stopping) {
        uint64_t first = sequence;
        for (uint32_t left = 1 + below(BATCH); left > 0; left--, sequence++) {
            const char *topic = topics[below(topics_count)];
            size_t size = make_body(body, argv[2], sequence);
            struct mp_message *message = mp_message_new(body, size);
            history_write(history, "send", "%s %s %" PRIu64 " %016" PRIx64, argv[2], topic, sequence,
                          history_hash(body, size));
            enum mp_error error = message ? MP_OK : MP_ERR_MEMORY;
            while (!error && (error = mp_publish(client, topic, message)) == MP_ERR_INTERRUPTED)
                error = MP_OK;
            if (error)
                return give_up(client, "publish");
        }
        enum mp_error flushed;
        while ((flushed = mp_flush(client, -1)) == MP_ERR_INTERRUPTED)
            ;
        if (flushed != MP_OK)
            return give_up(client, "flush");
        history_write(history, "ok", "%s %" PRIu64 " %" PRIu64, argv[2], first, sequence - 1);
        poll(NULL, 0, (int)((sequence - first) * 1000 / rate)); /* a rate, not a wait for something */
    }
    mp_close(client);
    return 0;
}
