#include "bench.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SEQUENCE_DIGITS = 12 };

static const char *samples_file;

void bench_die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("bench: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

void *bench_allocate(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory)
        bench_die("out of memory");
    return memory;
}

int64_t bench_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static uint64_t parse_count(const char *text, const char *option)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (!*text || *end || *text == '-') {
        fprintf(stderr, "bench: --%s wants a number, not '%s'\n", option, text);
        exit(2);
    }
    return value;
}

struct bench_options bench_parse(int argc, char **argv)
{
    static const struct option table[] = {
        {"address", required_argument, NULL, 'a'}, {"messages", required_argument, NULL, 'n'},
        {"seconds", required_argument, NULL, 's'}, {"connections", required_argument, NULL, 'c'},
        {"window", required_argument, NULL, 'w'},  {"variant", required_argument, NULL, 'v'},
        {"samples", required_argument, NULL, 'p'}, {NULL, 0, NULL, 0},
    };
    struct bench_options options = {.role = "", .address = "", .messages = 100000, .variant = ""};
    int letter;
    while ((letter = getopt_long(argc, argv, "a:n:s:c:w:v:p:", table, NULL)) != -1) {
        switch (letter) {
        case 'a':
            options.address = optarg;
            break;
        case 'n':
            options.messages = parse_count(optarg, "messages");
            break;
        case 's':
            options.seconds = strtod(optarg, NULL);
            break;
        case 'c':
            options.connections = (unsigned)parse_count(optarg, "connections");
            break;
        case 'w':
            options.window = (unsigned)parse_count(optarg, "window");
            break;
        case 'v':
            options.variant = optarg;
            break;
        case 'p':
            samples_file = optarg;
            break;
        default:
            exit(2);
        }
    }
    if (optind + 1 != argc) {
        fprintf(stderr, "usage: %s ROLE --address A [--messages N] [--seconds S] [--connections C] [--window W]\n",
                argv[0]);
        exit(2);
    }
    options.role = argv[optind];
    return options;
}

bool bench_role(const struct bench_options *options, const char *role)
{
    return strcmp(options->role, role) == 0;
}

void bench_body(char *body, uint64_t sequence)
{
    /* Read from a place that the sequence chooses, so that neighbours differ in more than their digits. */
    static const char text[] =
        " 10.41.7.22 - - GET /catalogue/item?id=8812&ref=mail HTTP/1.1 200 5120 \"Mozilla/5.0 (X11)\" "
        "10.3.90.118 - - POST /basket/add HTTP/1.1 302 0 \"curl/7.88.1\" rt=0.004 up=0.003 host=www3";
    enum { REST = BENCH_BODY - SEQUENCE_DIGITS, PLACES = sizeof text - 1 - REST };
    uint64_t rest = sequence;
    for (int digit = SEQUENCE_DIGITS - 1; digit >= 0; digit--) {
        body[digit] = (char)('0' + rest % 10);
        rest /= 10;
    }
    memcpy(body + SEQUENCE_DIGITS, text + sequence % PLACES, REST);
}

struct bench_pace bench_pace_start(const struct bench_options *options)
{
    struct bench_pace pace = {.messages = options->messages, .begin = bench_now()};
    if (options->seconds > 0)
        pace.deadline = pace.begin + (int64_t)(options->seconds * 1e9);
    return pace;
}

bool bench_pace_next(struct bench_pace *pace, uint64_t *sequence)
{
    if (pace->next == pace->messages)
        return false;
    /* A look at the clock now and then is enough, and costs the fast systems nothing. */
    if (pace->deadline && pace->next % 64 == 0 && pace->next > 0 && bench_now() >= pace->deadline) {
        pace->messages = pace->next;
        return false;
    }
    *sequence = pace->next++;
    return true;
}

struct bench_ledger bench_ledger_make(uint64_t expected)
{
    struct bench_ledger ledger = {.expected = expected};
    ledger.seen = bench_allocate((size_t)(expected / 64 + 1), sizeof *ledger.seen);
    return ledger;
}

void bench_ledger_mark(struct bench_ledger *ledger, const void *body, size_t length)
{
    const char *bytes = body;
    char wanted[BENCH_BODY];
    uint64_t sequence = 0;
    if (length != BENCH_BODY) {
        ledger->altered++;
        return;
    }
    for (int digit = 0; digit < SEQUENCE_DIGITS; digit++)
        sequence = sequence * 10 + (uint64_t)(unsigned char)(bytes[digit] - '0');
    if (sequence >= ledger->expected) {
        ledger->altered++;
        return;
    }
    bench_body(wanted, sequence);
    if (memcmp(wanted, bytes, BENCH_BODY) != 0) {
        ledger->altered++;
        return;
    }
    uint64_t bit = (uint64_t)1 << (sequence % 64);
    if (ledger->seen[sequence / 64] & bit) {
        ledger->duplicated++;
        return;
    }
    ledger->seen[sequence / 64] |= bit;
    ledger->distinct++;
    if (sequence < ledger->next)
        ledger->reordered++;
    else
        ledger->next = sequence + 1;
}

bool bench_ledger_complete(const struct bench_ledger *ledger)
{
    return ledger->distinct == ledger->expected;
}

void bench_ledger_free(struct bench_ledger *ledger)
{
    free(ledger->seen);
    ledger->seen = NULL;
}

void bench_samples_add(struct bench_samples *samples, int64_t nanoseconds)
{
    if (samples->count == samples->capacity) {
        samples->capacity = samples->capacity ? samples->capacity * 2 : 1024;
        samples->nanoseconds = realloc(samples->nanoseconds, samples->capacity * sizeof *samples->nanoseconds);
        if (!samples->nanoseconds)
            bench_die("out of memory");
    }
    samples->nanoseconds[samples->count++] = nanoseconds;
}

static void append_samples(const char *path, const struct bench_samples *samples)
{
    FILE *file = fopen(path, "ab");
    if (!file || fwrite(samples->nanoseconds, sizeof *samples->nanoseconds, samples->count, file) != samples->count ||
        fclose(file) != 0)
        bench_die("%s: %s", path, strerror(errno));
}

void bench_samples_read(struct bench_samples *samples, const char *path)
{
    FILE *file = fopen(path, "rb");
    int64_t nanoseconds;
    if (!file)
        bench_die("%s: %s", path, strerror(errno));
    while (fread(&nanoseconds, sizeof nanoseconds, 1, file) == 1)
        bench_samples_add(samples, nanoseconds);
    fclose(file);
}

void bench_samples_free(struct bench_samples *samples)
{
    free(samples->nanoseconds);
    *samples = (struct bench_samples){0};
}

void bench_say_ready(void)
{
    puts("ready");
    fflush(stdout);
}

static int compare_samples(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

void bench_report(uint64_t messages, int64_t begin, int64_t end, const struct bench_ledger *ledger,
                  struct bench_samples *samples)
{
    printf("result messages=%llu begin=%lld end=%lld", (unsigned long long)messages, (long long)begin, (long long)end);
    if (ledger)
        printf(" missing=%llu duplicated=%llu altered=%llu reordered=%llu",
               (unsigned long long)(ledger->expected - ledger->distinct), (unsigned long long)ledger->duplicated,
               (unsigned long long)ledger->altered, (unsigned long long)ledger->reordered);
    if (samples && samples->count > 0) {
        size_t last = samples->count - 1;
        if (samples_file)
            append_samples(samples_file, samples);
        qsort(samples->nanoseconds, samples->count, sizeof *samples->nanoseconds, compare_samples);
        printf(" p50_us=%.1f p99_us=%.1f max_us=%.1f", (double)samples->nanoseconds[last / 2] / 1e3,
               (double)samples->nanoseconds[last * 99 / 100] / 1e3, (double)samples->nanoseconds[last] / 1e3);
    }
    putchar('\n');
    fflush(stdout);
}
