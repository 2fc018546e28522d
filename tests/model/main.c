/*
 * model: holds the engine against the reference for many seeds, as a test (TAP).
 *
 *     model                          the seeds of `make check` (MSGPIPE_MODEL_STEPS steps in all, default 1,000,000)
 *     model --seeds N [--from S]     N of them from S on
 *     model --seed S [--verbose]     one of them, again
 *     --steps N                      steps of a seed (default 2,000): a failure at step N is seen with N steps
 *     --without NAME[,NAME…]         operations that do not happen
 *     model --seed S --shrink        looks for a shorter way to see the failure of seed S: leaves out operations, and
 *                                    then takes the seed that fails first
 */
#include "model.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STEPS = 2000, ALL_STEPS = 1000000, SHRINK_SEEDS = 400 };

static const struct options *current;

/* ---- words ----------------------------------------------------------------------------------------------------- */

void trial_say(struct trial *trial, const char *format, ...)
{
    va_list arguments;
    if (trial->options->quiet)
        return;
    char *text = trial->said[trial->said_count++ % SAID];
    int used = snprintf(text, SAID_TEXT, "%" PRIu64 ": ", trial->step);
    va_start(arguments, format);
    vsnprintf(text + used, SAID_TEXT - (size_t)used, format, arguments);
    va_end(arguments);
    if (trial->options->verbose)
        printf("# %s\n", text);
}

static void print_without(uint64_t without)
{
    const char *separator = without ? " --without " : "";
    for (unsigned i = 0; i < operations_count(); i++)
        if (without >> i & 1) {
            printf("%s%s", separator, operations[i].name);
            separator = ",";
        }
}

void trial_fail(struct trial *trial, const char *format, ...)
{
    const struct options *options = trial->options;
    va_list arguments;
    if (options->quiet)
        _exit(trial->step > 250 ? 250 : 1 + (int)trial->step);
    printf("not ok 1 - seed %" PRIu64 ", step %" PRIu64 ": ", options->seed, trial->step);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n# the last steps:\n");
    for (uint64_t i = trial->said_count > SAID ? trial->said_count - SAID : 0; i < trial->said_count; i++)
        printf("#   %s\n", trial->said[i % SAID]);
    printf("# again: tests/model/model --seed %" PRIu64 " --steps %" PRIu64, options->seed, trial->step);
    print_without(options->without);
    printf("\n# shorter: the same with --shrink\n");
    fflush(stdout);
    _exit(1);
}

static void say_where(int number)
{
    char text[200];
    int size =
        snprintf(text, sizeof text, "\nnot ok 1 - seed %" PRIu64 " ends with signal %d\n", current->seed, number);
    if (size > 0 && !current->quiet)
        (void)!write(STDOUT_FILENO, text, (size_t)size);
    signal(number, SIG_DFL);
    raise(number);
}

/* ---- shrinking ------------------------------------------------------------------------------------------------- */

/* What does not end is ended, after SECONDS of processor time. */
static void limit_time(int seconds)
{
    setitimer(ITIMER_PROF, &(struct itimerval){.it_value.tv_sec = seconds}, NULL);
}

/* How many steps OPTIONS can go before it fails; 0: it does not. */
static uint64_t fails_after(const struct options *options)
{
    int status;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct options quiet = *options;
        quiet.quiet = true;
        current = &quiet;
        limit_time(60);
        trial_run(&quiet);
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return 0;
    if (WIFSIGNALED(status))
        return 250;
    return (uint64_t)WEXITSTATUS(status);
}

/* Exit codes tell up to 250 steps: of more, how many is found by halving. */
static uint64_t steps_needed(struct options options)
{
    uint64_t steps = fails_after(&options), low = 0, high = options.steps;
    if (steps == 0 || steps < 250)
        return steps > 0 ? steps - 1 : 0;
    while (low < high) {
        options.steps = low + (high - low) / 2;
        if (fails_after(&options) > 0)
            high = options.steps;
        else
            low = options.steps + 1;
    }
    return high;
}

/* The seed from 1 on that fails after the fewest steps, below those that are known. */
static void find_shorter(struct options *options)
{
    struct options other = *options;
    for (other.seed = 1; other.seed <= SHRINK_SEEDS && options->steps > 1; other.seed++) {
        other.steps = options->steps - 1;
        uint64_t steps = steps_needed(other);
        if (steps > 0) {
            options->seed = other.seed;
            options->steps = steps;
        }
    }
}

static int shrink(struct options options)
{
    uint64_t steps = steps_needed(options);
    if (steps == 0) {
        printf("# seed %" PRIu64 " does not fail in %" PRIu64 " steps\n", options.seed, options.steps);
        return 1;
    }
    options.steps = steps;
    find_shorter(&options);
    for (unsigned i = 0; i < operations_count(); i++) {
        struct options other = options;
        other.without |= (uint64_t)1 << i;
        /* Leaving something out turns the seed into another: any that fails will do. */
        for (other.seed = 1; other.seed <= SHRINK_SEEDS / 4; other.seed++)
            if ((steps = steps_needed(other)) > 0)
                break;
        if (other.seed > SHRINK_SEEDS / 4)
            continue;
        options = other;
        options.steps = steps;
    }
    find_shorter(&options);
    options.verbose = true;
    current = &options;
    trial_run(&options);
    return 1;
}

/* ---- main ------------------------------------------------------------------------------------------------------ */

static uint64_t number_of(const char *text)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text == '\0' || *end != '\0') {
        fprintf(stderr, "model: not a number: %s\n", text);
        exit(64);
    }
    return value;
}

static uint64_t operations_of(char *list)
{
    uint64_t found = 0;
    for (char *rest, *name = strtok_r(list, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
        unsigned i = 0;
        while (i < operations_count() && strcmp(operations[i].name, name) != 0)
            i++;
        if (i == operations_count()) {
            fprintf(stderr, "model: no operation %s\n", name);
            exit(64);
        }
        found |= (uint64_t)1 << i;
    }
    return found;
}

static int run_all(struct options options, uint64_t seeds)
{
    int64_t began = clock_monotonic();
    uint64_t from = options.seed;
    current = &options;
    printf("1..1\n");
    printf("# seeds %" PRIu64 " to %" PRIu64 ", %" PRIu64 " steps each\n", from, from + seeds - 1, options.steps);
    fflush(stdout);
    for (; options.seed - from < seeds; options.seed++) {
        limit_time(120);
        trial_run(&options);
    }
    double seconds = (double)(clock_monotonic() - began) / 1e6;
    printf("ok 1 - engine and reference agree: %" PRIu64 " steps from seed %" PRIu64 " on\n", statistics.steps, from);
    printf("# %.1f s: %" PRIu64 " messages, %" PRIu64 " deliveries, %" PRIu64 " settled, %" PRIu64 " commits, %" PRIu64
           " turns undone, %" PRIu64 " restarts\n",
           seconds, statistics.messages, statistics.deliveries, statistics.settled, statistics.commits,
           statistics.undone, statistics.restarts);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"seeds", required_argument, NULL, 'n'},   {"from", required_argument, NULL, 'f'},
        {"seed", required_argument, NULL, 's'},    {"steps", required_argument, NULL, 'k'},
        {"without", required_argument, NULL, 'w'}, {"shrink", no_argument, NULL, 'x'},
        {"verbose", no_argument, NULL, 'v'},       {NULL, 0, NULL, 0}};
    const char *wanted = getenv("MSGPIPE_MODEL_STEPS");
    struct options options = {.seed = 1, .steps = STEPS};
    uint64_t seeds = 0;
    bool shorter = false;
    int letter;
    while ((letter = getopt_long(argc, argv, "n:f:s:k:w:xv", names, NULL)) != -1) {
        switch (letter) {
        case 'n':
            seeds = number_of(optarg);
            break;
        case 'f':
            options.seed = number_of(optarg);
            break;
        case 's':
            options.seed = number_of(optarg);
            seeds = 1;
            break;
        case 'k':
            options.steps = number_of(optarg);
            break;
        case 'w':
            options.without = operations_of(optarg);
            break;
        case 'x':
            shorter = true;
            break;
        case 'v':
            options.verbose = true;
            break;
        default:
            return 64;
        }
    }
    if (options.steps == 0)
        return 64;
    if (seeds == 0)
        seeds = ((wanted ? number_of(wanted) : ALL_STEPS) + options.steps - 1) / options.steps;
    current = &options;
    if (shorter)
        return shrink(options);
    signal(SIGSEGV, say_where);
    signal(SIGABRT, say_where);
    signal(SIGFPE, say_where);
    signal(SIGPROF, say_where);
    return run_all(options, seeds);
}
