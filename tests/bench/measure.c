/*
 * What tests/bench/run needs besides the peers: the input and the check of its output for tools that read and write
 * lines, the time that a process takes, and the time that this disk takes to flush.
 *
 *   measure generate --messages N            prints N lines
 *   measure check --messages N               reads lines, and accounts for them
 *   measure spawn --messages N -- CMD...     runs CMD so often, one after the other; p50 and p99 of the whole process
 *   measure flush --address F --messages N   appends 4 KiB to file F and flushes it, so often; p50 and p99
 *   measure percentiles --address F          p50 and p99 of the durations that `--samples F` gathered
 *   measure timed --address F -- CMD...      runs CMD once, and writes when it began, when it ended and its peak memory
 *                                            to F; exits as CMD did
 *   measure connect --address SOCKET         waits until a Unix socket accepts connections
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LINE = BENCH_BODY + 1, LINES_AT_ONCE = 4096 };
extern char **environ;

static void generate(uint64_t messages)
{
    char *lines = bench_allocate(LINES_AT_ONCE, LINE);
    size_t filled = 0;
    for (uint64_t sequence = 0; sequence < messages; sequence++) {
        bench_body(lines + filled * LINE, sequence);
        lines[filled * LINE + BENCH_BODY] = '\n';
        if (++filled < LINES_AT_ONCE && sequence + 1 < messages)
            continue;
        if (fwrite(lines, LINE, filled, stdout) != filled)
            bench_die("write: %s", strerror(errno));
        filled = 0;
    }
    if (fflush(stdout) != 0)
        bench_die("write: %s", strerror(errno));
    free(lines);
}

static void check(uint64_t messages)
{
    struct bench_ledger ledger = bench_ledger_make(messages);
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    while ((length = getline(&line, &room, stdin)) >= 0) {
        if (length > 0 && line[length - 1] == '\n')
            length--;
        bench_ledger_mark(&ledger, line, (size_t)length);
    }
    free(line);
    bench_report(ledger.distinct, 0, 0, &ledger, NULL);
    bench_ledger_free(&ledger);
}

static void spawn(char **command, uint64_t times)
{
    struct bench_samples samples = {0};
    posix_spawn_file_actions_t quiet;
    posix_spawn_file_actions_init(&quiet);
    posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    int64_t begin = bench_now();
    for (uint64_t each = 0; each < times; each++) {
        int64_t started = bench_now();
        int status;
        pid_t child;
        int error = posix_spawnp(&child, command[0], &quiet, NULL, command, environ);
        if (error)
            bench_die("%s: %s", command[0], strerror(error));
        if (waitpid(child, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
            bench_die("%s failed", command[0]);
        bench_samples_add(&samples, bench_now() - started);
    }
    posix_spawn_file_actions_destroy(&quiet);
    bench_report(times, begin, bench_now(), NULL, &samples);
    bench_samples_free(&samples);
}

/* A signal that ends this process ends the command. */
static volatile sig_atomic_t timed_child;

static void forward_signal(int number)
{
    if (timed_child > 0)
        kill((pid_t)timed_child, number);
}

static int timed(const char *path, char **command)
{
    struct sigaction forward = {.sa_handler = forward_signal, .sa_flags = SA_RESTART};
    struct rusage usage;
    int status;
    pid_t child;
    sigaction(SIGTERM, &forward, NULL);
    sigaction(SIGINT, &forward, NULL);
    int64_t begin = bench_now();
    int error = posix_spawnp(&child, command[0], NULL, NULL, command, environ);
    if (error)
        bench_die("%s: %s", command[0], strerror(error));
    timed_child = child;
    if (wait4(child, &status, 0, &usage) < 0)
        bench_die("%s: %s", command[0], strerror(errno));
    int64_t end = bench_now();
    timed_child = 0;

    FILE *result = fopen(path, "w");
    if (!result)
        bench_die("%s: %s", path, strerror(errno));
#ifdef __APPLE__
    long peak_kib = usage.ru_maxrss / 1024;
#else
    long peak_kib = usage.ru_maxrss;
#endif
    fprintf(result, "result begin=%lld end=%lld peak_kib=%ld\n", (long long)begin, (long long)end, peak_kib);
    fclose(result);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void await_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int64_t give_up = bench_now() + (int64_t)BENCH_PATIENCE_MS * 1000000;
    if (strlen(path) >= sizeof address.sun_path)
        bench_die("%s: too long for a socket's name", path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    while (bench_now() < give_up) {
        int descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(descriptor, (struct sockaddr *)&address, sizeof address) == 0)
            return;
        close(descriptor);
        poll(NULL, 0, 10);
    }
    bench_die("%s: nobody listens", path);
}

/* Writes to the disk what a database or a log must have there before it acknowledges. */
static int flush_data(int file)
{
#ifdef __APPLE__
    return fcntl(file, F_FULLFSYNC);
#else
    return fdatasync(file);
#endif
}

static void flush(const char *path, uint64_t times)
{
    static char page[4096];
    struct bench_samples samples = {0};
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (file < 0)
        bench_die("%s: %s", path, strerror(errno));
    int64_t begin = bench_now();
    for (uint64_t each = 0; each < times; each++) {
        int64_t started = bench_now();
        if (write(file, page, sizeof page) != (ssize_t)sizeof page || flush_data(file) != 0)
            bench_die("%s: %s", path, strerror(errno));
        bench_samples_add(&samples, bench_now() - started);
    }
    bench_report(times, begin, bench_now(), NULL, &samples);
    bench_samples_free(&samples);
    close(file);
    unlink(path);
}

static void percentiles(const char *path)
{
    struct bench_samples samples = {0};
    bench_samples_read(&samples, path);
    bench_report(samples.count, 0, 0, NULL, &samples);
    bench_samples_free(&samples);
}

int main(int argc, char **argv)
{
    /* The command of `spawn` follows the options and is not looked at. */
    int own = 1;
    while (own < argc && strcmp(argv[own], "--") != 0)
        own++;
    struct bench_options options = bench_parse(own, argv);
    if (bench_role(&options, "generate"))
        generate(options.messages);
    else if (bench_role(&options, "check"))
        check(options.messages);
    else if (bench_role(&options, "connect"))
        await_socket(options.address);
    else if (bench_role(&options, "timed") && own + 1 < argc)
        return timed(options.address, argv + own + 1);
    else if (bench_role(&options, "spawn") && own + 1 < argc)
        spawn(argv + own + 1, options.messages);
    else if (bench_role(&options, "flush"))
        flush(options.address, options.messages);
    else if (bench_role(&options, "percentiles"))
        percentiles(options.address);
    else
        bench_die("measure has no role '%s'", options.role);
    return 0;
}
