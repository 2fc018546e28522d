/*
 * sim: runs the simulation for many seeds, as a test (TAP).
 *
 *     sim                       the seeds of `make check` (MSGPIPE_SIM_SEEDS, default 3000, from 1 on, and FOUND)
 *     sim --seeds N [--from S]  N of them from S on
 *     sim --seed S [--verbose]  one of them, again
 */
#include "sim.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

enum { SEEDS = 3000 };

/* Beyond those: each of them showed a fault once. */
static const uint64_t found[] = {7950, 244099, 1102670};

static volatile uint64_t current;

static void say_where(int number)
{
    char text[100];
    int size = snprintf(text, sizeof text, "\nnot ok 1 - seed %" PRIu64 " ends with signal %d\n", current, number);
    if (size > 0)
        (void)!write(STDOUT_FILENO, text, (size_t)size);
    signal(number, SIG_DFL);
    raise(number);
}

static uint64_t number_of(const char *text)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text == '\0' || *end != '\0') {
        fprintf(stderr, "sim: not a number: %s\n", text);
        exit(64);
    }
    return value;
}

/* A seed that does not end is ended; processor time, for others may have the processor meanwhile. */
static void run(uint64_t seed, bool verbose, struct statistics *sums)
{
    const struct itimerval most = {.it_value.tv_sec = 60};
    current = seed;
    setitimer(ITIMER_PROF, &most, NULL);
    sim_run(seed, verbose, sums);
}

static void report(const struct statistics *sums, uint64_t seeds, uint64_t from, double seconds)
{
    printf("ok 1 - %" PRIu64 " seeds from %" PRIu64 " on\n", seeds, from);
    printf("# %.1f s, %.0f seeds/s: %" PRIu64 " messages, %" PRIu64 " deliveries, %" PRIu64 " settled; %" PRIu64
           " requests, %" PRIu64 " repeats, %" PRIu64 " cuts, %" PRIu64 " turns, %" PRIu64 " undone, %" PRIu64
           " relays killed; %" PRIu64 " pauses, %" PRIu64 " strobes, %" PRIu64 " dropped, %" PRIu64 " refused, %" PRIu64
           " claims, %" PRIu64 " peeks, %" PRIu64 " changes\n",
           seconds, seconds > 0 ? (double)seeds / seconds : 0, sums->messages, sums->deliveries, sums->settlements,
           sums->requests, sums->repeats, sums->cuts, sums->turns, sums->undone, sums->crashes, sums->pauses,
           sums->strobes, sums->dropped, sums->refused, sums->claims, sums->peeks, sums->changes);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seeds", required_argument, NULL, 'n'},
                                            {"from", required_argument, NULL, 'f'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"verbose", no_argument, NULL, 'v'},
                                            {NULL, 0, NULL, 0}};
    const char *wanted = getenv("MSGPIPE_SIM_SEEDS");
    uint64_t seeds = wanted ? number_of(wanted) : SEEDS, from = 1;
    bool verbose = false;
    struct statistics sums = {0};
    int letter;
    while ((letter = getopt_long(argc, argv, "n:f:s:v", options, NULL)) != -1) {
        switch (letter) {
        case 'n':
            seeds = number_of(optarg);
            break;
        case 'f':
            from = number_of(optarg);
            break;
        case 's':
            from = number_of(optarg);
            seeds = 1;
            break;
        case 'v':
            verbose = true;
            break;
        default:
            return 64;
        }
    }
    signal(SIGSEGV, say_where);
    signal(SIGABRT, say_where);
    signal(SIGFPE, say_where);
    signal(SIGPROF, say_where);
    printf("1..1\n");
    int64_t began = clock_monotonic();
    for (uint64_t done = 0; done < seeds; done++) {
        run(from + done, verbose, &sums);
        if ((done + 1) % 10000 == 0) {
            printf("# %" PRIu64 " seeds\n", done + 1);
            fflush(stdout);
        }
    }
    for (size_t i = 0; argc == 1 && i < sizeof found / sizeof found[0]; i++)
        run(found[i], verbose, &sums);
    report(&sums, seeds, from, (double)(clock_monotonic() - began) / 1e6);
    return 0;
}
