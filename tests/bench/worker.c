/*
 * The relay's own protocol, driven as fast as it goes, for the rows in which the peers have no part.
 *
 *   worker consume --address URL --messages N [--variant ack|tenth|dead]
 *       consumes topic `bench` as group `g`, until N messages are settled: all acknowledged, or each tenth only at its
 *       second attempt, or all dead-lettered
 *   worker schedule --address URL --messages N --window FRAME --seconds S
 *       publishes N messages to topic `later`, FRAME at a time: each lot is due 5 seconds later than now and then evenly
 *       over S seconds more
 *   worker late --address URL --messages N
 *       reads topic `later`: by how much the messages came after they were due
 */
#include "bench.h"
#include "client/client.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEAD = 5000000, DUE_DIGITS = 16 };

enum variant { ACK, TENTH, DEAD };

struct worker {
    struct client *client;
    struct bench_options options;
    enum variant variant;
    struct bench_ledger ledger;
    struct bench_samples samples;
    uint64_t settled; /* for good */
    uint64_t stored;
    uint64_t received;
    int64_t begin, end;
};

static void on_failed(void *context, enum mp_error error, const char *text)
{
    (void)context;
    bench_die("msgpipe: %s (%s)", text, mp_error_text(error));
}

static void on_refused(void *context, enum mp_error error, const char *text)
{
    on_failed(context, error, text);
}

static void on_published(void *context, uint64_t offset, uint32_t count, uint32_t duplicates)
{
    (void)offset;
    (void)duplicates;
    struct worker *worker = context;
    worker->stored += count;
}

/* ---- consuming ------------------------------------------------------------------------------------------------ */

/* Settles the messages of CHUNK from offset FIRST up to END (exclusive), COUNT of them. */
static void settle(struct worker *worker, const struct protocol_chunk *chunk, uint64_t lease, uint64_t first,
                   uint64_t end, uint32_t count, bool again)
{
    struct protocol_settlement settlement = {.group = chunk->group,
                                             .lease = lease,
                                             .first = first,
                                             .count = count,
                                             .span = (uint32_t)(end - first),
                                             .action = worker->variant == DEAD ? PROTOCOL_DEAD : PROTOCOL_ACK,
                                             .exit_code = -1};
    if (again) {
        settlement.action = PROTOCOL_RETRY;
        settlement.delay = UINT32_MAX; /* as the group's policy says */
    } else {
        worker->settled += count;
    }
    if (count > 0 && client_settle(worker->client, &settlement))
        bench_die("a settlement was refused");
}

static bool fails(const struct worker *worker, const struct protocol_chunk *chunk, const struct record *record)
{
    /* The sequence's last digit stands at the end of the body's first twelve bytes. */
    return worker->variant == TENTH && chunk->attempt == 1 && record->size == BENCH_BODY && record->body[11] == '0';
}

static void on_fetched(void *context, const struct protocol_chunk *chunk, const struct frame *frame, uint64_t lease,
                       struct client_hold *hold)
{
    struct worker *worker = context;
    struct frame_cursor cursor = frame_cursor(frame);
    struct record record;
    uint64_t offset = chunk->first, first = chunk->first;
    uint32_t count = 0;
    if (worker->begin == 0)
        worker->begin = bench_now();
    while (frame_next(&cursor, &record)) {
        uint64_t here = protocol_chunk_next(chunk, offset);
        offset = here + 1;
        if (fails(worker, chunk, &record)) {
            settle(worker, chunk, lease, first, here, count, false);
            settle(worker, chunk, lease, here, here + 1, 1, true);
            first = here + 1;
            count = 0;
            continue;
        }
        bench_ledger_mark(&worker->ledger, record.body, record.size);
        count++;
    }
    settle(worker, chunk, lease, first, chunk->first + chunk->span, count, false);
    client_hold_free(hold);
}

static void on_late(void *context, const struct protocol_chunk *chunk, const struct frame *frame, uint64_t lease,
                    struct client_hold *hold)
{
    (void)chunk;
    (void)lease;
    struct worker *worker = context;
    struct frame_cursor cursor = frame_cursor(frame);
    struct record record;
    int64_t now = clock_wall();
    while (frame_next(&cursor, &record)) {
        char text[DUE_DIGITS + 1] = "";
        if (record.size != DUE_DIGITS)
            bench_die("a message of %zu bytes where a time should be", record.size);
        memcpy(text, record.body, record.size);
        bench_samples_add(&worker->samples, (now - strtoll(text, NULL, 10)) * 1000);
        worker->received++;
    }
    client_hold_free(hold);
}

/* ---- the loop ------------------------------------------------------------------------------------------------- */

static void drive(struct worker *worker)
{
    int64_t now = clock_monotonic(), due = client_due(worker->client);
    int64_t wait = due <= now ? 0 : (due - now + 999) / 1000;
    struct pollfd descriptor = {.fd = client_descriptor(worker->client), .events = POLLIN};
    poll(&descriptor, 1, wait > 1000 ? 1000 : (int)wait);
    client_process(worker->client, clock_monotonic());
}

static void open_client(struct worker *worker, bool late)
{
    struct fault fault = {0};
    struct channel *channel;
    struct client_settings settings = {.name = "bench",
                                       .context = worker,
                                       .published = on_published,
                                       .refused = on_refused,
                                       .fetched = late ? on_late : on_fetched,
                                       .failed = on_failed};
    enum mp_error error = channel_open(worker->options.address, &channel, &fault);
    if (!error)
        error = client_open(channel, &settings, clock_monotonic(), &worker->client, &fault);
    if (error)
        bench_die("msgpipe: %s", fault_text(&fault));
    int64_t limit = bench_now() + BENCH_PATIENCE_MS * INT64_C(1000000);
    while (!client_is_welcome(worker->client)) {
        if (bench_now() > limit)
            bench_die("no relay answers at %s", worker->options.address);
        drive(worker);
    }
}

static void subscribe(struct worker *worker, const char *topic, const char *group)
{
    struct client_subscription subscription = {.topic = topic, .group = group};
    struct fault fault = {0};
    if (client_subscribe(worker->client, &subscription, &fault))
        bench_die("msgpipe: %s", fault_text(&fault));
}

/* Fetches until DONE has reached the wanted number, or nothing came for long. */
static void fetch_until(struct worker *worker, const uint64_t *done)
{
    int64_t last = bench_now();
    uint64_t before = 0;
    struct fault fault = {0};
    while (*done < worker->options.messages) {
        if (!client_is_fetching(worker->client) && client_fetch(worker->client, 0, 1000, &fault))
            bench_die("msgpipe: %s", fault_text(&fault));
        drive(worker);
        int64_t now = bench_now();
        if (*done != before)
            last = now;
        if (now - last > BENCH_PATIENCE_MS * INT64_C(1000000))
            break;
        before = *done;
    }
}

static void consume(struct worker *worker)
{
    worker->ledger = bench_ledger_make(worker->options.messages);
    subscribe(worker, "bench", "g");
    fetch_until(worker, &worker->settled);
    while (client_is_settling(worker->client))
        drive(worker);
    worker->end = bench_now();
    bench_report(worker->settled, worker->begin, worker->end, &worker->ledger, NULL);
    bench_ledger_free(&worker->ledger);
}

static void late(struct worker *worker)
{
    subscribe(worker, "later", NULL);
    bench_say_ready();
    fetch_until(worker, &worker->received);
    bench_report(worker->received, 0, 0, NULL, &worker->samples);
    bench_samples_free(&worker->samples);
}

static void schedule(struct worker *worker)
{
    struct frame_builder frame = {0};
    struct fault fault = {0};
    uint64_t lot = worker->options.window ? worker->options.window : 100, sent = 0;
    int64_t from = clock_wall() + LEAD;
    worker->begin = bench_now();
    while (sent < worker->options.messages) {
        int64_t due = from + (int64_t)(worker->options.seconds * 1e6 * (double)sent / (double)worker->options.messages);
        uint64_t producer, sequence;
        char body[32];
        client_origin(worker->client, &producer, &sequence);
        if (frame_begin(&frame, producer, sequence))
            bench_die("out of memory");
        snprintf(body, sizeof body, "%0*lld", DUE_DIGITS, (long long)due);
        for (uint64_t i = 0; i < lot && sent < worker->options.messages; i++, sent++)
            if (frame_add(&frame, body, DUE_DIGITS, NULL, 0))
                bench_die("out of memory");
        frame_finish(&frame, clock_wall());
        struct client_publication publication = {.topic = "later", .when = PROTOCOL_WHEN_AT, .value = due};
        if (client_publish(worker->client, &publication, &frame, &fault))
            bench_die("msgpipe: %s", fault_text(&fault));
        while (!client_can_publish(worker->client))
            drive(worker);
    }
    bench_report(worker->stored, worker->begin, bench_now(), NULL, NULL);
    frame_builder_free(&frame);
}

int main(int argc, char **argv)
{
    struct worker worker = {.options = bench_parse(argc, argv)};
    const char *variant = worker.options.variant;
    worker.variant = strcmp(variant, "tenth") == 0 ? TENTH : strcmp(variant, "dead") == 0 ? DEAD : ACK;
    bool is_late = bench_role(&worker.options, "late");
    open_client(&worker, is_late);
    if (is_late)
        late(&worker);
    else if (bench_role(&worker.options, "schedule"))
        schedule(&worker);
    else if (bench_role(&worker.options, "consume"))
        consume(&worker);
    else
        bench_die("msgpipe has no role '%s'", worker.options.role);
    client_leave(worker.client);
    int64_t limit = bench_now() + INT64_C(2000000000);
    while (!client_has_left(worker.client) && bench_now() < limit)
        drive(&worker);
    client_close(worker.client);
    return 0;
}
