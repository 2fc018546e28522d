/*
 * NATS JetStream through libnats: publishes are asynchronous, with thousands of acknowledgements outstanding; the
 * consumer is a durable one with explicit acknowledgements, which fetches batches of thousands: measured side by side
 * that is faster than messages that the server pushes, above all while others publish. Variants of `setup` and
 * `consume`: `push` lets the server push, under a large limit of unacknowledged ones; `all` acknowledges the last of
 * each thousand with everything before it (which a group of several consumers cannot do).
 *
 * --address is nats://HOST:PORT. --window is the number of outstanding publishes, or the size of a fetched batch.
 */
#include "../bench.h"

#include <nats/nats.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define STREAM "bench"
#define SUBJECT "bench.in"
#define DURABLE "g"
#define DELIVERY "bench.deliver"
enum { LARGE_BUFFER = 256 * 1024, MOST_PENDING = 100000, ACK_EVERY = 1000 };

struct nats_peer {
    natsConnection *connection;
    jsCtx *jetstream;
};

static void nats_must(natsStatus status, const char *what)
{
    if (status != NATS_OK)
        bench_die("nats: %s: %s", what, natsStatus_GetText(status));
}

/* `at_once`: write each message when it is published, rather than let the library's flusher gather some. */
static struct nats_peer nats_open(const struct bench_options *options, bool at_once, jsOptions *settings)
{
    struct nats_peer peer = {0};
    natsOptions *connecting = NULL;
    nats_must(natsOptions_Create(&connecting), "options");
    nats_must(natsOptions_SetURL(connecting, options->address), "address");
    nats_must(natsOptions_SetIOBufSize(connecting, LARGE_BUFFER), "buffer size");
    nats_must(natsOptions_SetSendAsap(connecting, at_once), "send at once");
    nats_must(natsConnection_Connect(&peer.connection, connecting), "connect");
    nats_must(natsConnection_JetStream(&peer.jetstream, peer.connection, settings), "jetstream");
    natsOptions_Destroy(connecting);
    return peer;
}

static void nats_end(struct nats_peer *peer)
{
    jsCtx_Destroy(peer->jetstream);
    natsConnection_Destroy(peer->connection);
    nats_Close();
}

static void setup(const struct bench_options *options)
{
    struct nats_peer peer = nats_open(options, true, NULL);
    const char *subjects[] = {SUBJECT};
    jsStreamConfig stream;
    jsConsumerConfig consumer;
    bool pull = strstr(options->variant, "push") == NULL;

    jsStreamConfig_Init(&stream);
    stream.Name = STREAM;
    stream.Subjects = subjects;
    stream.SubjectsLen = 1;
    stream.Storage = js_FileStorage;
    nats_must(js_AddStream(NULL, peer.jetstream, &stream, NULL, NULL), "add stream");

    jsConsumerConfig_Init(&consumer);
    consumer.Durable = DURABLE;
    consumer.AckPolicy = strstr(options->variant, "all") ? js_AckAll : js_AckExplicit;
    consumer.AckWait = (int64_t)600 * 1000000000;
    consumer.MaxAckPending = MOST_PENDING;
    if (!pull)
        consumer.DeliverSubject = DELIVERY;
    nats_must(js_AddConsumer(NULL, peer.jetstream, STREAM, &consumer, NULL, NULL), "add consumer");
    nats_end(&peer);
}

/* The acknowledgements of publishes, counted in the library's thread. */
struct nats_acknowledged {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t count;
};

static void nats_on_acknowledged(jsCtx *jetstream, natsMsg *message, jsPubAck *answer, jsPubAckErr *error,
                                 void *closure)
{
    struct nats_acknowledged *acknowledged = closure;
    (void)jetstream;
    (void)answer;
    if (error)
        bench_die("nats: publish: %s", error->ErrText ? error->ErrText : natsStatus_GetText(error->Err));
    natsMsg_Destroy(message);
    pthread_mutex_lock(&acknowledged->lock);
    acknowledged->count++;
    pthread_cond_signal(&acknowledged->changed);
    pthread_mutex_unlock(&acknowledged->lock);
}

static void publish(const struct bench_options *options)
{
    struct nats_acknowledged acknowledged = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
    jsOptions settings;
    uint64_t sequence;
    char body[BENCH_BODY];

    jsOptions_Init(&settings);
    settings.PublishAsync.MaxPending = options->window ? options->window : 16384;
    settings.PublishAsync.StallWait = BENCH_PATIENCE_MS;
    settings.PublishAsync.AckHandler = nats_on_acknowledged;
    settings.PublishAsync.AckHandlerClosure = &acknowledged;
    struct nats_peer peer = nats_open(options, false, &settings);

    struct bench_pace pace = bench_pace_start(options);
    while (bench_pace_next(&pace, &sequence)) {
        bench_body(body, sequence);
        nats_must(js_PublishAsync(peer.jetstream, SUBJECT, body, BENCH_BODY, NULL), "publish");
    }
    pthread_mutex_lock(&acknowledged.lock);
    while (acknowledged.count < pace.next)
        pthread_cond_wait(&acknowledged.changed, &acknowledged.lock);
    pthread_mutex_unlock(&acknowledged.lock);
    bench_report(pace.next, pace.begin, bench_now(), NULL, NULL);
    nats_end(&peer);
}

static void latency(const struct bench_options *options)
{
    struct nats_peer peer = nats_open(options, true, NULL);
    struct bench_samples samples = {0};
    uint64_t sequence;
    char body[BENCH_BODY];

    struct bench_pace pace = bench_pace_start(options);
    while (bench_pace_next(&pace, &sequence)) {
        int64_t sent = bench_now();
        bench_body(body, sequence);
        nats_must(js_Publish(NULL, peer.jetstream, SUBJECT, body, BENCH_BODY, NULL, NULL), "publish");
        bench_samples_add(&samples, bench_now() - sent);
    }
    bench_report(pace.next, pace.begin, bench_now(), NULL, &samples);
    bench_samples_free(&samples);
    nats_end(&peer);
}

/* Waits until the server has taken every acknowledgement, and tells how many it is still without. */
static uint64_t nats_unsettled(struct nats_peer *peer)
{
    int64_t give_up = bench_now() + (int64_t)BENCH_PATIENCE_MS * 1000000;
    uint64_t unsettled;
    do {
        jsConsumerInfo *info = NULL;
        nats_must(js_GetConsumerInfo(&info, peer->jetstream, STREAM, DURABLE, NULL, NULL), "consumer info");
        unsettled = info->NumPending + (uint64_t)info->NumAckPending;
        jsConsumerInfo_Destroy(info);
    } while (unsettled > 0 && bench_now() < give_up);
    return unsettled;
}

static void nats_take(struct bench_ledger *ledger, natsMsg *message, bool acknowledge)
{
    bench_ledger_mark(ledger, natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message));
    if (acknowledge)
        nats_must(natsMsg_Ack(message, NULL), "acknowledge");
    natsMsg_Destroy(message);
}

static void consume_pushed(natsSubscription *subscription, struct bench_ledger *ledger, bool all)
{
    uint64_t taken = 0;
    while (!bench_ledger_complete(ledger)) {
        natsMsg *message = NULL;
        if (natsSubscription_NextMsg(&message, subscription, BENCH_PATIENCE_MS) != NATS_OK)
            return;
        taken++;
        nats_take(ledger, message, !all || taken % ACK_EVERY == 0 || taken == ledger->expected);
    }
}

static void consume_pulled(natsSubscription *subscription, struct bench_ledger *ledger, unsigned batch, bool all)
{
    while (!bench_ledger_complete(ledger)) {
        natsMsgList list = {0};
        uint64_t left = ledger->expected - ledger->distinct;
        int wanted = (int)(left < batch ? left : batch);
        if (natsSubscription_Fetch(&list, subscription, wanted, BENCH_PATIENCE_MS, NULL) != NATS_OK)
            return;
        for (int each = 0; each < list.Count; each++) {
            nats_take(ledger, list.Msgs[each], !all || each == list.Count - 1);
            list.Msgs[each] = NULL;
        }
        natsMsgList_Destroy(&list);
    }
}

static void consume(const struct bench_options *options)
{
    struct nats_peer peer = nats_open(options, false, NULL);
    struct bench_ledger ledger = bench_ledger_make(options->messages);
    natsSubscription *subscription = NULL;
    bool pull = strstr(options->variant, "push") == NULL, all = strstr(options->variant, "all") != NULL;
    jsSubOptions how;

    jsSubOptions_Init(&how);
    how.Stream = STREAM;
    how.Consumer = DURABLE;
    how.ManualAck = true;
    if (pull)
        nats_must(js_PullSubscribe(&subscription, peer.jetstream, SUBJECT, DURABLE, NULL, &how, NULL), "subscribe");
    else
        nats_must(js_SubscribeSync(&subscription, peer.jetstream, SUBJECT, NULL, &how, NULL), "subscribe");
    nats_must(natsSubscription_SetPendingLimits(subscription, -1, -1), "limits");
    bench_say_ready();

    int64_t begin = bench_now();
    if (pull)
        consume_pulled(subscription, &ledger, options->window ? options->window : 5000, all);
    else
        consume_pushed(subscription, &ledger, all);
    uint64_t unsettled = bench_ledger_complete(&ledger) ? nats_unsettled(&peer) : 0;
    bench_report(ledger.distinct - (unsettled < ledger.distinct ? unsettled : ledger.distinct), begin, bench_now(),
                 &ledger, NULL);

    natsSubscription_Destroy(subscription);
    bench_ledger_free(&ledger);
    nats_end(&peer);
}

int main(int argc, char **argv)
{
    struct bench_options options = bench_parse(argc, argv);
    if (bench_role(&options, "setup"))
        setup(&options);
    else if (bench_role(&options, "publish"))
        publish(&options);
    else if (bench_role(&options, "consume"))
        consume(&options);
    else if (bench_role(&options, "latency"))
        latency(&options);
    else
        bench_die("nats has no role '%s'", options.role);
    return 0;
}
