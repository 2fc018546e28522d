/*
 * producer: publishes until it is told to end, and writes down what it knows.
 *
 *     producer RELAY NAME TOPIC[:FEATURES],… HISTORY [MESSAGES A SECOND]
 *
 * FEATURES are letters that say what a topic's messages have: `k` keys, `i` ids of which some were sent before, by this
 * producer or another, `e` a time to live, `d` a delay now and then, `f` fates (fate.h), `h` the rarer fates of a topic
 * whose keys are held, `K` killers, `s` sizes from 1 byte to 1 MiB, `p` lines for a pipeline, an eighth of the others'
 * number. A body is "NAME SEQUENCE FATE " and filler; of an `s` it is filler, and these words are the attribute `who`.
 * SIGTERM: it flushes and exits 0.
 */
#include "fate.h"
#include "history.h"

#include <msgpipe.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    TOPICS_MAX = 12,
    BATCH = 40,
    BATCHES = 20 /* a second, of larger ones */,
    LONG_BODY = 60000,
    MOST_BODY = 1048576,
    KEYS = 400,
    FIRST_KILLER = 20
};

struct topic {
    const char *name, *features;
};

struct producer {
    struct mp_client *client;
    const char *name;
    struct topic topics[TOPICS_MAX];
    unsigned topics_count;
    int history;
    bool sent_killer;
};

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
    return limit > 0 ? (uint32_t)(state >> 33) % limit : 0;
}

static bool has(const struct topic *topic, char feature)
{
    return strchr(topic->features, feature) != NULL;
}

static char choose_fate(struct producer *producer, const struct topic *topic, uint64_t sequence)
{
    uint32_t chance = below(1000);
    if (has(topic, 'K') && sequence >= FIRST_KILLER && !producer->sent_killer) {
        producer->sent_killer = true;
        return FATE_KILLER;
    }
    if (has(topic, 'f') && chance < 110)
        return chance < 60 ? FATE_ONCE : chance < 100 ? FATE_TWICE : chance < 105 ? FATE_REJECTED : FATE_HOPELESS;
    if (has(topic, 'h') && chance < 100)
        return chance < 2 ? FATE_HELD : chance < 4 ? FATE_REJECTED : chance < 5 ? FATE_HOPELESS : FATE_ONCE;
    return FATE_GOOD;
}

/* Where there are fates there can be letters, which are read a line each, and so is what goes through commands. */
static size_t make_body(const struct producer *producer, char *body, const struct topic *topic, uint64_t sequence,
                        char fate)
{
    bool text = strpbrk(topic->features, "fhKp") != NULL;
    size_t size = 0, filler;
    if (has(topic, 's')) /* each power of two as often as another, the large ones in all only now and then */
        filler = 1 + below(UINT32_C(1) << below(below(16) == 0 ? 21 : 12));
    else {
        size = (size_t)snprintf(body, 200, "%s %" PRIu64 " %c ", producer->name, sequence, fate);
        filler = below(below(100) == 0 ? (text ? 6000 : LONG_BODY) : below(10) == 0 ? 3000 : 120);
    }
    for (size_t i = 0; i < filler; i++)
        body[size++] = (char)(text ? 'a' + below(26) : below(256));
    return size;
}

/* The time a while from now, as CloudEvents want it. */
static void time_text(char text[40], uint32_t milliseconds)
{
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t when = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 + milliseconds;
    time_t seconds = (time_t)(when / 1000);
    gmtime_r(&seconds, &parts);
    size_t size = strftime(text, 40, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text + size, 40 - size, ".%03dZ", (int)(when % 1000));
}

/* Gives MESSAGE what its topic's features say, and the words that tell of it; *DELAY in milliseconds. */
static enum mp_error dress(struct mp_message *message, const struct topic *topic, char words[200], int64_t *delay)
{
    char text[40];
    size_t size = 0;
    enum mp_error error = MP_OK;
    words[0] = '\0';
    if (has(topic, 'k')) { /* a few keys are much more frequent than the others */
        snprintf(text, sizeof text, "q%u", below(1 + below(KEYS)));
        size += (size_t)snprintf(words + size, 200 - size, " key=%s", text);
        error = mp_message_set(message, "partitionkey", text);
    }
    if (!error && has(topic, 'i')) {
        snprintf(text, sizeof text, "i%" PRId64, history_now() / 10000 - below(300));
        size += (size_t)snprintf(words + size, 200 - size, " id=%s", text);
        error = mp_message_set(message, "id", text);
    }
    if (!error && has(topic, 'e') && below(2) == 0) {
        uint32_t ttl = 200 + below(10000);
        time_text(text, ttl);
        size += (size_t)snprintf(words + size, 200 - size, " ttl=%u", ttl);
        error = mp_message_set(message, "expirytime", text);
    }
    if (has(topic, 'd') && below(20) == 0) {
        *delay = 1 + below(3000);
        snprintf(words + size, 200 - size, " delay=%" PRId64, *delay);
    }
    return error;
}

/* Who MESSAGE is, where its body does not say it. */
static enum mp_error sign(const struct producer *producer, struct mp_message *message, uint64_t sequence, char fate)
{
    char text[200];
    snprintf(text, sizeof text, "%s %" PRIu64 " %c", producer->name, sequence, fate);
    return mp_message_set(message, "who", text);
}

static enum mp_error publish(struct producer *producer, const struct topic *topic, uint64_t sequence)
{
    static char body[MOST_BODY + 400];
    char words[200];
    int64_t delay = 0;
    char fate = choose_fate(producer, topic, sequence);
    size_t size = make_body(producer, body, topic, sequence, fate);
    struct mp_message *message = mp_message_new(body, size);
    enum mp_error error = message ? dress(message, topic, words, &delay) : MP_ERR_MEMORY;
    if (!error && has(topic, 's'))
        error = sign(producer, message, sequence, fate);
    if (error)
        return error;
    history_write(producer->history, "send", "%s %s %" PRIu64 " %016" PRIx64 "%s", producer->name, topic->name,
                  sequence, history_hash(body, size), words);
    do
        error = delay > 0 ? mp_publish_delayed(producer->client, topic->name, message, delay)
                          : mp_publish(producer->client, topic->name, message);
    while (error == MP_ERR_INTERRUPTED);
    return error;
}

static const struct topic *choose(const struct producer *producer)
{
    const struct topic *topic;
    do
        topic = &producer->topics[below(producer->topics_count)];
    while (has(topic, 'p') && below(8) > 0);
    return topic;
}

static int give_up(const struct mp_client *client, const char *what)
{
    fprintf(stderr, "producer: %s: %s\n", what, mp_reason(client));
    return 1;
}

static void read_topics(struct producer *producer, char *text)
{
    char *rest;
    for (char *topic = strtok_r(text, ",", &rest); topic && producer->topics_count < TOPICS_MAX;
         topic = strtok_r(NULL, ",", &rest)) {
        char *colon = strchr(topic, ':');
        if (colon)
            *colon = '\0';
        producer->topics[producer->topics_count++] = (struct topic){topic, colon ? colon + 1 : ""};
    }
}

int main(int argc, char **argv)
{
    struct producer producer = {.sent_killer = false};
    if (argc < 5)
        return 64;
    producer.name = argv[2];
    producer.sent_killer = !strstr(argv[2], "r0."); /* the lives of one of them send a killer each */
    read_topics(&producer, argv[3]);
    unsigned rate = argc > 5 ? (unsigned)strtoul(argv[5], NULL, 10) : 300;
    producer.history = history_open(argv[4]);
    state = (uint64_t)history_now() ^ (uint64_t)getpid() << 32;
    signal(SIGTERM, stop);
    enum mp_error opened = mp_open(&producer.client, argv[1], 30000);
    if (opened == MP_ERR_INTERRUPTED && stopping)
        return 0; /* told to end before it began */
    if (opened != MP_OK)
        return give_up(NULL, "no relay");
    uint64_t sequence = 1;
    while (!stopping) {
        uint64_t first = sequence;
        for (uint32_t left = 1 + below(rate / BATCHES > BATCH ? rate / BATCHES : BATCH); left > 0; left--, sequence++)
            if (publish(&producer, choose(&producer), sequence) != MP_OK)
                return give_up(producer.client, "publish");
        enum mp_error flushed;
        while ((flushed = mp_flush(producer.client, -1)) == MP_ERR_INTERRUPTED)
            ;
        if (flushed != MP_OK)
            return give_up(producer.client, "flush");
        history_write(producer.history, "ok", "%s %" PRIu64 " %" PRIu64, producer.name, first, sequence - 1);
        poll(NULL, 0, (int)((sequence - first) * 1000 / rate)); /* a rate, not a wait for something */
    }
    mp_close(producer.client);
    return 0;
}
