/*
 * What the benchmark's programs share: the bodies that travel, the ledger that accounts for them at the far end, the
 * clock, and the one line of results that tests/bench/run reads.
 *
 * Every program is called as `PROGRAM ROLE --address A [options]`. Its roles are among `setup`, `publish`, `consume`
 * and `latency`. It exits 0 when it measured something, also when messages were missing: that is a result; it exits 1
 * with a message on stderr when it could not measure.
 */
#ifndef MSGPIPE_TESTS_BENCH_H
#define MSGPIPE_TESTS_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Every message of every system has a body of this many bytes, without a line feed. */
#define BENCH_BODY 100

/* A consumer gives up when nothing came for this long, and reports what is missing. */
#define BENCH_PATIENCE_MS 20000

struct bench_options {
    const char *role;
    const char *address;  /* a path, a host:port or a URL, as the peer has it */
    uint64_t messages;    /* how many; for `publish` at most */
    double seconds;       /* `publish` and `latency` stop after so long; 0: they do not */
    unsigned connections; /* 0: the program's own choice */
    unsigned window;      /* requests in flight on each connection; 0: the program's own choice */
    const char *variant;  /* a way of working that the program's own comment names, or "" */
};

/* Reads the command line; prints what is wrong with it and exits 2 when it cannot. */
struct bench_options bench_parse(int argc, char **argv);

bool bench_role(const struct bench_options *options, const char *role);

/* Prints the message to stderr and exits 1. */
_Noreturn void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Allocated memory; exits 1 when there is none. The caller frees it. */
void *bench_allocate(size_t count, size_t size);

/* Nanoseconds on a clock that all processes of one machine share and that never steps back. */
int64_t bench_now(void);

/* Fills `body` with the BENCH_BODY bytes of message `sequence` (from 0): printable, and different for each. */
void bench_body(char *body, uint64_t sequence);

/*
 * A publisher's progress: `pace_next` gives the sequence of the next message to send, and false when all were sent or
 * the time is over.
 */
struct bench_pace {
    uint64_t next;
    uint64_t messages;
    int64_t begin;
    int64_t deadline; /* 0: none */
};

struct bench_pace bench_pace_start(const struct bench_options *options);
bool bench_pace_next(struct bench_pace *pace, uint64_t *sequence);

/* The far end's account: which sequences came, and how often. */
struct bench_ledger {
    uint64_t expected;
    uint64_t distinct;   /* arrived at least once, unaltered */
    uint64_t duplicated; /* arrivals beyond the first */
    uint64_t altered;    /* not a body of this run, or not as it was sent */
    uint64_t reordered;  /* arrived for the first time behind one that was sent later */
    uint64_t next;       /* one more than the highest sequence so far */
    uint64_t *seen;      /* a bit a sequence */
};

struct bench_ledger bench_ledger_make(uint64_t expected);
void bench_ledger_mark(struct bench_ledger *ledger, const void *body, size_t length);
bool bench_ledger_complete(const struct bench_ledger *ledger);
void bench_ledger_free(struct bench_ledger *ledger);

/* Durations of single operations, for percentiles. */
struct bench_samples {
    int64_t *nanoseconds;
    size_t count;
    size_t capacity;
};

void bench_samples_add(struct bench_samples *samples, int64_t nanoseconds);
void bench_samples_free(struct bench_samples *samples);

/* Adds what `--samples FILE` had bench_report append to a file. */
void bench_samples_read(struct bench_samples *samples, const char *path);

/* Tells tests/bench/run that a consumer listens. */
void bench_say_ready(void);

/* The result line: how many messages between two readings of bench_now. `ledger` and `samples` may be NULL. */
void bench_report(uint64_t messages, int64_t begin, int64_t end, const struct bench_ledger *ledger,
                  struct bench_samples *samples);

#endif
