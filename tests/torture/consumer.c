/*
 * consumer: a member of a group, which writes down what it got and what the relay said of it.
 *
 *     consumer RELAY NAME GROUP TOPIC-OR-PATTERN HISTORY ADDED [calm]
 *
 * It does what the messages' fates say (fate.h), and gives a few others back, to come again; when it is to be calm, it
 * acknowledges all. ADDED is what stages have put behind each body, which is not in the hash. SIGTERM: it leaves and
 * exits 0.
 */
#include "fate.h"
#include "history.h"

#include <msgpipe.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct consumer {
    struct mp_client *client;
    const char *name, *group, *added;
    int history;
    bool calm;
    unsigned count;
};

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

/*
 * Settles MESSAGE as ACT says; an error other than a lost lease ends the program. What is to be is written before:
 * somebody else may have the message, or the next of its key, before the answer is here.
 */
static enum mp_error settle(struct consumer *consumer, struct mp_message *message, const char *place, enum fate_act act)
{
    int64_t delay = consumer->count % 3 == 0 ? history_now() % 200 : -1; /* its own, or the policy's */
    enum mp_error error;
    if (act == ACT_RETRY) {
        history_write(consumer->history, "retried", "%s", place);
        error = mp_retry(consumer->client, message, delay);
    } else {
        history_write(consumer->history, "doing", "%s %s", place,
                      act == ACT_ACK      ? "ack"
                      : act == ACT_REJECT ? "reject"
                                          : "die");
        if (act == ACT_DIE)
            kill(getpid(), SIGKILL);
        error = act == ACT_ACK ? mp_ack(consumer->client, message) : mp_reject(consumer->client, message, "its fate");
    }
    if (error == MP_OK && act == ACT_ACK)
        history_write(consumer->history, "acked", "%s", place);
    if (error == MP_ERR_STALE) {
        history_write(consumer->history, "stale", "%s", place);
        mp_message_free(message);
        error = MP_OK;
    }
    return error;
}

static enum mp_error handle(struct consumer *consumer, struct mp_message *message)
{
    char name[HISTORY_NAME], place[400], fate;
    uint64_t sequence;
    size_t size;
    const char *body = mp_message_body(message, &size), *id = mp_message_get(message, "id");
    const char *who = mp_message_get(message, "who");
    unsigned attempt = mp_message_attempt(message);
    size_t added = strlen(consumer->added);
    history_identify(who ? who : body, who ? strlen(who) : size, name, &sequence, &fate);
    if (added > 0 && size >= added && memcmp(body + size - added, consumer->added, added) == 0)
        size -= added;
    snprintf(place, sizeof place, "%s %s %s %" PRIu64, consumer->name, consumer->group, mp_message_topic(message),
             mp_message_offset(message));
    history_write(consumer->history, "got", "%s %u %s %" PRIu64 " %016" PRIx64 " %s", place, attempt, name, sequence,
                  history_hash(body, size), id ? id : "");
    if (++consumer->count % 31 == 0) /* work that takes its time: a kill can come in the middle */
        poll(NULL, 0, (int)(history_now() % 30));
    enum fate_act act = consumer->calm ? ACT_ACK : fate_act(fate, attempt, consumer->group);
    if (fate == FATE_GOOD && !consumer->calm && consumer->count % 61 == 0 && attempt == 1)
        act = ACT_RETRY;
    return settle(consumer, message, place, act);
}

int main(int argc, char **argv)
{
    struct mp_message *message;
    if (argc < 7)
        return 64;
    struct consumer consumer = {.name = argv[2],
                                .group = argv[3],
                                .history = history_open(argv[5]),
                                .added = argv[6],
                                .calm = argc > 7,
                                .count = (unsigned)getpid()};
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, NULL);
    enum mp_error opened = mp_open(&consumer.client, argv[1], 30000);
    if (opened == MP_ERR_INTERRUPTED && stopping)
        return 0; /* told to end before it began */
    if (opened != MP_OK)
        return give_up(NULL, "no relay");
    if (mp_subscribe(consumer.client, argv[4], consumer.group, NULL) != MP_OK)
        return give_up(consumer.client, "subscribe");
    while (!stopping) {
        enum mp_error error = mp_receive(consumer.client, &message, 1000);
        if (error == MP_ERR_TIMEOUT || error == MP_ERR_INTERRUPTED)
            continue;
        if (error != MP_OK)
            return give_up(consumer.client, "receive");
        if (handle(&consumer, message) != MP_OK)
            return give_up(consumer.client, "settle");
    }
    mp_close(consumer.client);
    return 0;
}
