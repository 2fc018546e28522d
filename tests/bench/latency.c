/*
 * msgpipe, one message at a time through the public library: published, and waited for until it is acknowledged, that
 * is, on the relay's disk.
 */
#include "bench.h"
#include "msgpipe.h"

enum { PATIENCE_MS = 20000 };

static void must(enum mp_error error, const struct mp_client *client, const char *what)
{
    if (error != MP_OK)
        bench_die("msgpipe: %s: %s", what, mp_reason(client));
}

int main(int argc, char **argv)
{
    struct bench_options options = bench_parse(argc, argv);
    struct bench_samples samples = {0};
    struct mp_client *client = NULL;
    uint64_t sequence;
    char body[BENCH_BODY];
    if (!bench_role(&options, "latency"))
        bench_die("msgpipe has no role '%s'", options.role);
    must(mp_open(&client, options.address, PATIENCE_MS), NULL, "open");

    struct bench_pace pace = bench_pace_start(&options);
    while (bench_pace_next(&pace, &sequence)) {
        int64_t sent = bench_now();
        bench_body(body, sequence);
        struct mp_message *message = mp_message_new(body, sizeof body);
        if (!message)
            bench_die("out of memory");
        must(mp_publish(client, "single", message), client, "publish");
        must(mp_flush(client, PATIENCE_MS), client, "flush");
        bench_samples_add(&samples, bench_now() - sent);
    }
    bench_report(pace.next, pace.begin, bench_now(), NULL, &samples);
    bench_samples_free(&samples);
    mp_close(client);
    return 0;
}
