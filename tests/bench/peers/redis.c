/*
 * Redis Streams at its best: XADD over several connections with many commands in flight on each, since Redis reads at
 * most 16 KiB of a connection in a turn and flushes once a turn; XREADGROUP of large batches with the next batch
 * asked for before this one is looked at, and one XACK a batch.
 *
 * --address is a Unix socket. The defaults are 8 connections of 512 commands, and batches of 1000 messages.
 */
#include "../bench.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static redisContext *redis_open(const char *path)
{
    redisContext *context = redisConnectUnix(path);
    if (!context || context->err)
        bench_die("redis: %s", context ? context->errstr : "out of memory");
    return context;
}

/* The reply to the oldest command in flight. The caller frees it. */
static redisReply *redis_reply(redisContext *context)
{
    void *reply = NULL;
    if (redisGetReply(context, &reply) != REDIS_OK)
        bench_die("redis: %s", context->errstr);
    if (((redisReply *)reply)->type == REDIS_REPLY_ERROR)
        bench_die("redis: %s", ((redisReply *)reply)->str);
    return reply;
}

/* XADD bench * d BODY, in Redis' protocol. */
static void redis_append_add(redisContext *context, uint64_t sequence)
{
    static const char head[] = "*5\r\n$4\r\nXADD\r\n$5\r\nbench\r\n$1\r\n*\r\n$1\r\nd\r\n$100\r\n";
    char command[sizeof head - 1 + BENCH_BODY + 2];
    memcpy(command, head, sizeof head - 1);
    bench_body(command + sizeof head - 1, sequence);
    memcpy(command + sizeof command - 2, "\r\n", 2);
    if (redisAppendFormattedCommand(context, command, sizeof command) != REDIS_OK)
        bench_die("redis: %s", context->errstr);
}

static void redis_flush(redisContext *context)
{
    int done = 0;
    while (!done)
        if (redisBufferWrite(context, &done) != REDIS_OK)
            bench_die("redis: %s", context->errstr);
}

static void publish(const struct bench_options *options)
{
    unsigned connections = options->connections ? options->connections : 8;
    unsigned window = options->window ? options->window : 512;
    redisContext **contexts = bench_allocate(connections, sizeof(redisContext *));
    unsigned *in_flight = bench_allocate(connections, sizeof *in_flight);
    uint64_t sequence, acknowledged = 0;
    bool more = true;
    for (unsigned each = 0; each < connections; each++)
        contexts[each] = redis_open(options->address);

    struct bench_pace pace = bench_pace_start(options);
    do {
        /* One connection's answers are read while the others' commands are under way. */
        for (unsigned each = 0; each < connections; each++) {
            for (; in_flight[each] > 0; in_flight[each]--, acknowledged++)
                freeReplyObject(redis_reply(contexts[each]));
            while (in_flight[each] < window && (more = bench_pace_next(&pace, &sequence))) {
                redis_append_add(contexts[each], sequence);
                in_flight[each]++;
            }
            redis_flush(contexts[each]);
        }
    } while (more || acknowledged < pace.next);
    bench_report(acknowledged, pace.begin, bench_now(), NULL, NULL);

    for (unsigned each = 0; each < connections; each++)
        redisFree(contexts[each]);
    free(in_flight);
    free(contexts);
}

static void redis_append_read(redisContext *context, unsigned batch)
{
    redisAppendCommand(context, "XREADGROUP GROUP g c COUNT %u BLOCK %d STREAMS bench >", batch, BENCH_PATIENCE_MS);
}

/* Enters a batch into the ledger and acknowledges it with one command. */
static void redis_settle_batch(redisContext *context, struct bench_ledger *ledger, const redisReply *messages,
                               const char **arguments, size_t *lengths)
{
    arguments[0] = "XACK", lengths[0] = 4;
    arguments[1] = "bench", lengths[1] = 5;
    arguments[2] = "g", lengths[2] = 1;
    for (size_t each = 0; each < messages->elements; each++) {
        const redisReply *message = messages->element[each];
        const redisReply *value = message->element[1]->element[1];
        bench_ledger_mark(ledger, value->str, value->len);
        arguments[3 + each] = message->element[0]->str;
        lengths[3 + each] = message->element[0]->len;
    }
    redisAppendCommandArgv(context, (int)messages->elements + 3, arguments, lengths);
}

static void consume(const struct bench_options *options)
{
    unsigned batch = options->window ? options->window : 1000;
    redisContext *context = redis_open(options->address);
    struct bench_ledger ledger = bench_ledger_make(options->messages);
    const char **arguments = bench_allocate(batch + 3, sizeof(const char *));
    size_t *lengths = bench_allocate(batch + 3, sizeof *lengths);
    uint64_t settled = 0, acknowledged = 0;
    unsigned acks_in_flight = 0;
    bench_say_ready();

    int64_t begin = bench_now();
    redis_append_read(context, batch);
    while (settled < options->messages) {
        redisReply *reply = redis_reply(context);
        if (reply->type == REDIS_REPLY_INTEGER) { /* the answer to an XACK */
            acknowledged += (uint64_t)reply->integer;
            acks_in_flight--;
            freeReplyObject(reply);
            continue;
        }
        if (reply->type == REDIS_REPLY_NIL) { /* nothing came in all that time */
            freeReplyObject(reply);
            break;
        }
        const redisReply *messages = reply->element[0]->element[1];
        settled += messages->elements;
        /* The server works on the next batch while this one is settled. */
        if (settled < options->messages) {
            redis_append_read(context, batch);
            redis_flush(context);
        }
        redis_settle_batch(context, &ledger, messages, arguments, lengths);
        acks_in_flight++;
        freeReplyObject(reply);
    }
    for (; acks_in_flight > 0; acks_in_flight--) {
        redisReply *reply = redis_reply(context);
        acknowledged += (uint64_t)reply->integer;
        freeReplyObject(reply);
    }
    bench_report(acknowledged, begin, bench_now(), &ledger, NULL);

    free(lengths);
    free(arguments);
    bench_ledger_free(&ledger);
    redisFree(context);
}

static void latency(const struct bench_options *options)
{
    redisContext *context = redis_open(options->address);
    struct bench_samples samples = {0};
    uint64_t sequence;
    struct bench_pace pace = bench_pace_start(options);
    while (bench_pace_next(&pace, &sequence)) {
        int64_t sent = bench_now();
        redis_append_add(context, sequence);
        freeReplyObject(redis_reply(context));
        bench_samples_add(&samples, bench_now() - sent);
    }
    bench_report(pace.next, pace.begin, bench_now(), NULL, &samples);
    bench_samples_free(&samples);
    redisFree(context);
}

static void setup(const struct bench_options *options)
{
    redisContext *context = redis_open(options->address);
    redisAppendCommand(context, "XGROUP CREATE bench g 0 MKSTREAM");
    freeReplyObject(redis_reply(context));
    redisFree(context);
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
        bench_die("redis has no role '%s'", options.role);
    return 0;
}
