/*
 * threads: many threads in one process, each with clients of libmsgpipe: what msgpipe.h promises of threads, for a tool
 * that looks for races (see races).
 *
 *     threads RELAY THREADS MESSAGES
 *
 * Producers send MESSAGES each; careless consumers hand what they got to a thread that frees it while they close their
 * clients; two threads use one client in turns; then consumers take everything. Prints what was lost; exits with 1 then.
 */
#include <msgpipe.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS_MAX = 16, MESSAGES_MAX = 100000, TOPICS = 3, HEAP_MAX = 256, CARELESS = 20, WAIT = 60000 };

static const char *relay;
static unsigned threads, messages;

/* What is shared, under LOCK. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool *seen; /* of message N of producer P at P * messages + N */
static unsigned left;
static struct mp_message *heap[HEAP_MAX]; /* to be freed by another thread */
static unsigned heap_count;
static bool over;
static struct mp_client *common; /* used in turns */

static void give_up(const struct mp_client *client, const char *what)
{
    fprintf(stderr, "threads: %s: %s\n", what, mp_reason(client));
    exit(2);
}

static struct mp_client *open_client(void)
{
    struct mp_client *client;
    if (mp_open(&client, relay, WAIT) != MP_OK)
        give_up(NULL, "no client");
    return client;
}

/* The words of a failure are those of this thread's. */
static void fail_to_open(unsigned number)
{
    struct mp_client *client;
    char address[64];
    snprintf(address, sizeof address, "ipc:///nowhere/%u.sock", number);
    if (mp_open(&client, address, 0) == MP_OK || !strstr(mp_reason(NULL), address)) {
        fprintf(stderr, "threads: thread %u was told of another's failure: %s\n", number, mp_reason(NULL));
        exit(1);
    }
}

/* ---- who sends ------------------------------------------------------------------------------------------------ */

static void send_one(struct mp_client *client, unsigned producer, unsigned number)
{
    char topic[16], body[40];
    snprintf(topic, sizeof topic, "t.%u", number % TOPICS);
    int size = snprintf(body, sizeof body, "%u-%u", producer, number);
    struct mp_message *message = mp_message_new(body, (size_t)size);
    if (!message || mp_message_set(message, "partitionkey", number % 2 ? "odd" : "even") != MP_OK)
        give_up(NULL, "no message");
    if ((number % 5 == 4 ? mp_publish_delayed(client, topic, message, number % 50)
                         : mp_publish(client, topic, message)) != MP_OK)
        give_up(client, "publish");
}

static void *produce(void *context)
{
    unsigned producer = (unsigned)(uintptr_t)context;
    struct mp_client *client = open_client();
    fail_to_open(producer);
    for (unsigned number = 0; number < messages; number++) {
        if (producer < 2) { /* these two share one, in turns */
            pthread_mutex_lock(&lock);
            send_one(common, producer, number);
            pthread_mutex_unlock(&lock);
        } else {
            send_one(client, producer, number);
        }
        if (number % 50 == 49 && mp_flush(client, WAIT) != MP_OK)
            give_up(client, "flush");
    }
    if (mp_flush(client, WAIT) != MP_OK)
        give_up(client, "flush");
    mp_close(client);
    return NULL;
}

/* ---- who takes ------------------------------------------------------------------------------------------------ */

static struct mp_client *subscribe(const char *group)
{
    struct mp_client *client = open_client();
    if (mp_subscribe(client, "t.*", group, NULL) != MP_OK)
        give_up(client, "subscribe");
    return client;
}

/* Frees what others received. */
static void *sweep(void *context)
{
    (void)context;
    pthread_mutex_lock(&lock);
    for (;;) {
        while (heap_count == 0 && !over)
            pthread_cond_wait(&changed, &lock);
        if (heap_count == 0)
            break;
        struct mp_message *message = heap[--heap_count];
        pthread_mutex_unlock(&lock);
        mp_message_free(message);
        pthread_mutex_lock(&lock);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void hand_over(struct mp_message *message)
{
    pthread_mutex_lock(&lock);
    if (heap_count < HEAP_MAX) {
        heap[heap_count++] = message;
        message = NULL;
        pthread_cond_signal(&changed);
    }
    pthread_mutex_unlock(&lock);
    mp_message_free(message);
}

/* Takes a few messages, settles none, and goes. */
static void *be_careless(void *context)
{
    struct mp_client *client = subscribe(context);
    struct mp_message *message;
    for (unsigned i = 0; i < CARELESS; i++) {
        enum mp_error error = mp_receive(client, &message, 200);
        if (error == MP_OK)
            hand_over(message);
        else if (error != MP_ERR_TIMEOUT)
            give_up(client, "receive");
    }
    mp_close(client);
    return NULL;
}

static bool note(const char *body, size_t size)
{
    unsigned producer, number;
    char text[40] = "";
    memcpy(text, body, size < sizeof text ? size : sizeof text - 1);
    if (sscanf(text, "%u-%u", &producer, &number) != 2 || producer >= threads || number >= messages)
        return false;
    pthread_mutex_lock(&lock);
    bool *one = &seen[(size_t)producer * messages + number];
    left -= !*one;
    *one = true;
    pthread_mutex_unlock(&lock);
    return true;
}

static bool is_over(void)
{
    pthread_mutex_lock(&lock);
    bool now = left == 0;
    pthread_mutex_unlock(&lock);
    return now;
}

static void *consume(void *context)
{
    struct mp_client *client = subscribe("g");
    struct mp_message *message;
    unsigned idle = 0;
    (void)context;
    while (!is_over() && idle < WAIT / 100) {
        enum mp_error error = mp_receive(client, &message, 100);
        if (error == MP_ERR_TIMEOUT) {
            idle++;
            continue;
        }
        size_t size;
        if (error != MP_OK)
            give_up(client, "receive");
        const char *body = mp_message_body(message, &size);
        if (!note(body, size)) {
            fprintf(stderr, "threads: a message that nobody sent: %.*s\n", (int)size, body);
            exit(1);
        }
        idle = 0;
        error = mp_ack(client, message);
        if (error == MP_ERR_STALE)
            mp_message_free(message);
        else if (error != MP_OK)
            give_up(client, "ack");
    }
    mp_close(client);
    return NULL;
}

/* ---- all of them ---------------------------------------------------------------------------------------------- */

static void start(pthread_t *thread, void *(*run)(void *context), void *context)
{
    if (pthread_create(thread, NULL, run, context) != 0) {
        perror("threads: no thread");
        exit(2);
    }
}

static void run_all(void)
{
    pthread_t sweeper, producers[THREADS_MAX], careless[2], consumers[THREADS_MAX];
    start(&sweeper, sweep, NULL);
    for (unsigned i = 0; i < threads; i++)
        start(&producers[i], produce, (void *)(uintptr_t)i);
    start(&careless[0], be_careless, "g");
    start(&careless[1], be_careless, NULL);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(careless[i], NULL);
    for (unsigned i = 0; i < threads; i++)
        start(&consumers[i], consume, NULL);
    for (unsigned i = 0; i < threads; i++)
        pthread_join(producers[i], NULL);
    if (mp_flush(common, WAIT) != MP_OK)
        give_up(common, "flush");
    for (unsigned i = 0; i < threads; i++)
        pthread_join(consumers[i], NULL);
    pthread_mutex_lock(&lock);
    over = true;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
    pthread_join(sweeper, NULL);
}

int main(int argc, char **argv)
{
    if (argc != 4 || sscanf(argv[2], "%u", &threads) != 1 || sscanf(argv[3], "%u", &messages) != 1 || threads < 2 ||
        threads > THREADS_MAX || messages == 0 || messages > MESSAGES_MAX) {
        fprintf(stderr, "usage: threads RELAY THREADS MESSAGES, 2 to %d and 1 to %d\n", THREADS_MAX, MESSAGES_MAX);
        return 64;
    }
    relay = argv[1];
    left = threads * messages;
    seen = calloc(left, sizeof *seen);
    if (!seen)
        return 2;
    common = open_client();
    run_all();
    mp_close(common);
    free(seen);
    printf("%u messages by %u threads, %u lost\n", threads * messages, threads, left);
    return left > 0;
}
