/*
 * beanstalkd, spoken to over a Unix socket in its own protocol, with hundreds of commands in flight: each `put` is
 * answered when its job is in the log; the consumer keeps a window of `reserve` open and sends a `delete` for each
 * job with the next `reserve` behind it.
 */
#include "../bench.h"
#include "stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_WINDOW = 256 };

static void beanstalk_put(struct stream *stream, uint64_t sequence)
{
    static const char head[] = "put 0 0 600 100\r\n";
    char body[BENCH_BODY];
    bench_body(body, sequence);
    stream_put(stream, head, sizeof head - 1);
    stream_put(stream, body, sizeof body);
    stream_put(stream, "\r\n", 2);
}

/* Reads one answer and dies when it is not what it should be. False: none came. */
static bool beanstalk_expect(struct stream *stream, const char *wanted, char *rest, size_t room)
{
    size_t length, head = strlen(wanted);
    const char *line = stream_get_line(stream, &length);
    if (!line)
        return false;
    if (length < head || memcmp(line, wanted, head) != 0)
        bench_die("beanstalkd: '%.*s' where %s was expected", (int)length, line, wanted);
    if (rest) {
        size_t keep = length - head < room - 1 ? length - head : room - 1;
        memcpy(rest, line + head, keep);
        rest[keep] = '\0';
    }
    return true;
}

static void publish(const struct bench_options *options)
{
    struct stream *stream = stream_open(options->address);
    unsigned window = options->window ? options->window : DEFAULT_WINDOW;
    uint64_t sequence, acknowledged = 0;
    struct bench_pace pace = bench_pace_start(options);
    bool more = true;
    do {
        while (pace.next - acknowledged < window && (more = bench_pace_next(&pace, &sequence)))
            beanstalk_put(stream, sequence);
        if (acknowledged < pace.next) {
            if (!beanstalk_expect(stream, "INSERTED ", NULL, 0))
                bench_die("beanstalkd does not answer");
            acknowledged++;
        }
    } while (more || acknowledged < pace.next);
    bench_report(acknowledged, pace.begin, bench_now(), NULL, NULL);
    stream_close(stream);
}

static void latency(const struct bench_options *options)
{
    struct stream *stream = stream_open(options->address);
    struct bench_samples samples = {0};
    uint64_t sequence;
    struct bench_pace pace = bench_pace_start(options);
    while (bench_pace_next(&pace, &sequence)) {
        int64_t sent = bench_now();
        beanstalk_put(stream, sequence);
        if (!beanstalk_expect(stream, "INSERTED ", NULL, 0))
            bench_die("beanstalkd does not answer");
        bench_samples_add(&samples, bench_now() - sent);
    }
    bench_report(pace.next, pace.begin, bench_now(), NULL, &samples);
    bench_samples_free(&samples);
    stream_close(stream);
}

/* What the consumer has asked for and got. */
struct beanstalk_consumer {
    struct stream *stream;
    struct bench_ledger ledger;
    uint64_t reserves; /* sent; never more than there are messages, for one that waits holds up the deletes behind it */
    uint64_t deletes;
    uint64_t deleted;
};

static void beanstalk_reserve(struct beanstalk_consumer *consumer)
{
    if (consumer->reserves == consumer->ledger.expected)
        return;
    stream_put(consumer->stream, "reserve\r\n", 9);
    consumer->reserves++;
}

/* Reads one answer, of a reserve or of a delete. False: none came. */
static bool beanstalk_step(struct beanstalk_consumer *consumer)
{
    size_t length;
    const char *line = stream_get_line(consumer->stream, &length);
    char command[64];
    unsigned long long id, size;
    if (!line)
        return false;
    if (length == 7 && memcmp(line, "DELETED", 7) == 0) {
        consumer->deleted++;
        return true;
    }
    if (length >= sizeof command)
        bench_die("beanstalkd: a strange answer");
    memcpy(command, line, length);
    command[length] = '\0';
    if (sscanf(command, "RESERVED %llu %llu", &id, &size) != 2)
        bench_die("beanstalkd: '%s' where RESERVED was expected", command);
    const char *body = stream_get(consumer->stream, (size_t)size + 2);
    if (!body)
        return false;
    bench_ledger_mark(&consumer->ledger, body, (size_t)size);
    int written = snprintf(command, sizeof command, "delete %llu\r\n", id);
    stream_put(consumer->stream, command, (size_t)written);
    consumer->deletes++;
    beanstalk_reserve(consumer);
    return true;
}

static void consume(const struct bench_options *options)
{
    struct beanstalk_consumer consumer = {.stream = stream_open(options->address),
                                          .ledger = bench_ledger_make(options->messages)};
    unsigned window = options->window ? options->window : DEFAULT_WINDOW;
    bench_say_ready();

    int64_t begin = bench_now();
    for (unsigned each = 0; each < window; each++)
        beanstalk_reserve(&consumer);
    while (consumer.deleted < options->messages && beanstalk_step(&consumer))
        ;
    bench_report(consumer.deleted, begin, bench_now(), &consumer.ledger, NULL);
    bench_ledger_free(&consumer.ledger);
    stream_close(consumer.stream);
}

int main(int argc, char **argv)
{
    struct bench_options options = bench_parse(argc, argv);
    if (bench_role(&options, "setup"))
        return 0; /* the default tube is there */
    if (bench_role(&options, "publish"))
        publish(&options);
    else if (bench_role(&options, "consume"))
        consume(&options);
    else if (bench_role(&options, "latency"))
        latency(&options);
    else
        bench_die("beanstalkd has no role '%s'", options.role);
    return 0;
}
