/*
 * sender: pipes lines into msend, run after run, and writes down what its exit codes say.
 *
 *     sender MSEND RELAY NAME TOPIC HISTORY [LINES A SECOND]
 *
 * A line is "NAME SEQUENCE FATE " and filler (fate.h). Some runs are delayed (--delay). msend's 0 acknowledges all of its
 * lines; when it was killed, nothing is known. SIGTERM: it ends after the run, with 0.
 */
#include "fate.h"
#include "history.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { RUN_LINES = 400, LINE_BYTES = 600 };

static volatile sig_atomic_t stopping;

static void stop(int number)
{
    (void)number;
    stopping = 1;
}

static uint64_t state;

static uint32_t below(uint32_t limit)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(state >> 33) % limit;
}

/* Starts msend with a pipe as its input; its pid, and in *INPUT the pipe's other end. */
static pid_t start(char **argv, unsigned delay, int *input)
{
    posix_spawn_file_actions_t actions;
    char delayed[24];
    snprintf(delayed, sizeof delayed, "--delay=%ums", delay);
    char *words[] = {argv[1], "-r", argv[2], "-t", argv[4], "--wait", "10m", delay ? delayed : NULL, NULL};
    int ends[2];
    pid_t pid;
    if (pipe(ends) != 0) {
        perror("sender: pipe");
        exit(71);
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[0], 0);
    posix_spawn_file_actions_addclose(&actions, ends[1]);
    errno = posix_spawnp(&pid, argv[1], &actions, NULL, words, environ);
    if (errno) {
        perror(argv[1]);
        exit(71);
    }
    posix_spawn_file_actions_destroy(&actions);
    close(ends[0]);
    *input = ends[1];
    return pid;
}

static char choose_fate(void)
{
    uint32_t chance = below(1000);
    if (chance >= 110)
        return FATE_GOOD;
    return chance < 60 ? FATE_ONCE : chance < 100 ? FATE_TWICE : chance < 105 ? FATE_REJECTED : FATE_HOPELESS;
}

/* Writes one line; false when nobody reads any more. */
static bool write_line(int input, int history, char **argv, uint64_t sequence, unsigned delay)
{
    char line[LINE_BYTES], words[24] = "";
    size_t size = (size_t)snprintf(line, sizeof line, "%s %" PRIu64 " %c ", argv[3], sequence, choose_fate());
    for (uint32_t filler = below(LINE_BYTES - 100); filler > 0; filler--)
        line[size++] = (char)(' ' + 1 + below(94));
    if (delay > 0)
        snprintf(words, sizeof words, " delay=%u", delay);
    history_write(history, "send", "%s %s %" PRIu64 " %016" PRIx64 "%s", argv[3], argv[4], sequence,
                  history_hash(line, size), words);
    line[size++] = '\n';
    for (size_t done = 0; done < size;) {
        ssize_t some = write(input, line + done, size - done);
        if (some < 0 && errno != EINTR)
            return false;
        done += some > 0 ? (size_t)some : 0;
    }
    return true;
}

int main(int argc, char **argv)
{
    if (argc < 6)
        return 64;
    unsigned rate = argc > 6 ? (unsigned)strtoul(argv[6], NULL, 10) : 300;
    int history = history_open(argv[5]);
    struct sigaction action = {.sa_handler = stop};
    state = (uint64_t)history_now() ^ (uint64_t)getpid() << 32;
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    for (uint64_t sequence = 1; !stopping;) {
        int input, status = 0;
        uint64_t first = sequence;
        unsigned delay = below(4) == 0 ? 1 + below(2000) : 0;
        pid_t pid = start(argv, delay, &input);
        bool flood = below(3) == 0;
        int64_t began = history_now();
        uint32_t lines = 1 + below(flood ? RUN_LINES : RUN_LINES / 8);
        for (uint32_t i = 0; i < lines && write_line(input, history, argv, sequence, delay); i++, sequence++)
            if (!flood && !stopping)
                poll(NULL, 0, (int)(1000 / rate)); /* a rate, not a wait for something */
        close(input);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
        if (WIFEXITED(status) && WEXITSTATUS(status) != 0) {
            fprintf(stderr, "sender: msend has failed, with %d\n", WEXITSTATUS(status));
            return 1;
        }
        if (WIFEXITED(status) && sequence > first)
            history_write(history, "ok", "%s %" PRIu64 " %" PRIu64, argv[3], first, sequence - 1);
        sequence++; /* the line that could not be written was announced */
        for (int64_t end = began + (int64_t)(sequence - first) * 1000000 / rate; !stopping && history_now() < end;)
            poll(NULL, 0, 10); /* after a flood, the same */
    }
    return 0;
}
