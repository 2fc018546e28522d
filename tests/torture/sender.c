/*
 * sender: pipes lines into msend, run after run, and writes down what its exit codes say.
 *
 *     sender MSEND RELAY NAME TOPIC HISTORY [LINES A SECOND [SPOOL]]
 *
 * A line is "NAME SEQUENCE FATE " and filler (fate.h). Some runs are delayed (--delay). msend's 0 acknowledges all of its
 * lines; when it was killed, nothing is known. SIGTERM: it ends after the run, with 0.
 *
 * With SPOOL, a directory, lines go by way of msend --spool: some runs of it take and deliver, some deliver what others
 * have left, and some take only, a file, for no relay can be reached: 75 acknowledges all, too.
 */
#include "fate.h"
#include "history.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

/* Starts msend with WORDS and INPUT, which is closed here. */
static pid_t start(char *const words[], int input, int other)
{
    posix_spawn_file_actions_t actions;
    pid_t pid;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input, 0);
    if (other >= 0)
        posix_spawn_file_actions_addclose(&actions, other);
    errno = posix_spawnp(&pid, words[0], &actions, NULL, words, environ);
    if (errno) {
        perror(words[0]);
        exit(71);
    }
    posix_spawn_file_actions_destroy(&actions);
    close(input);
    return pid;
}

/* The status with which it ends. */
static int end_of(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
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

/* Says what STATUS means for the lines from FIRST up to before NEXT; WANTED: the code that acknowledges them. */
static void note_end(int history, char **argv, uint64_t first, uint64_t next, int status, int wanted)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) != wanted) {
        fprintf(stderr, "sender: msend has failed, with %d\n", WEXITSTATUS(status));
        exit(1);
    }
    if (WIFEXITED(status) && next > first)
        history_write(history, "ok", "%s %" PRIu64 " %" PRIu64, argv[3], first, next - 1);
}

/* One run with a pipe, by way of SPOOL if that is not NULL; the next line's number. */
static uint64_t run_pipe(int history, char **argv, char *spool, uint64_t first, uint32_t lines, unsigned rate)
{
    char delayed[24];
    unsigned delay = below(4) == 0 ? 1 + below(2000) : 0;
    snprintf(delayed, sizeof delayed, "--delay=%ums", delay);
    char *words[12] = {argv[1], "-r", argv[2], "-t", argv[4], "--wait", "10m"};
    unsigned count = 7;
    if (delay)
        words[count++] = delayed;
    if (spool) {
        words[count++] = "--spool";
        words[count++] = spool;
    }
    uint64_t sequence = first;
    int ends[2];
    if (pipe(ends) != 0) {
        perror("sender: pipe");
        exit(71);
    }
    pid_t pid = start(words, ends[0], ends[1]);
    for (uint32_t i = 0; i < lines && write_line(ends[1], history, argv, sequence, delay); i++, sequence++)
        if (rate > 0 && !stopping)
            poll(NULL, 0, (int)(1000 / rate)); /* a rate, not a wait for something */
    close(ends[1]);
    note_end(history, argv, first, sequence, end_of(pid), 0);
    return sequence + 1; /* the line that could not be written was announced */
}

/* One run that takes into SPOOL, TAKES, while no relay can be reached, or delivers what is in it. */
static uint64_t run_spool(int history, char **argv, char *spool, uint64_t first, uint32_t lines, bool takes)
{
    char path[600];
    char *take[] = {argv[1], "-r", "nowhere", "--spool", spool, "--wait", "1ms", "-t", argv[4], NULL};
    char *deliver[] = {argv[1], "-r", argv[2], "--spool", spool, "--wait", "10m", NULL};
    uint64_t sequence = first;
    snprintf(path, sizeof path, "%s/../%s.lines", spool, argv[3]);
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    for (uint32_t i = 0; takes && i < lines && write_line(file, history, argv, sequence, 0); i++)
        sequence++;
    if (file < 0 || lseek(file, 0, SEEK_SET) != 0) {
        perror(path);
        exit(71);
    }
    int status = end_of(start(takes ? take : deliver, file, -1));
    note_end(history, argv, first, sequence, status, takes ? 75 : 0);
    return sequence;
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
    if (argc > 7)
        mkdir(argv[7], 0700);
    for (uint64_t sequence = 1; !stopping;) {
        uint64_t first = sequence;
        bool flood = below(3) == 0;
        int64_t began = history_now();
        uint32_t lines = 1 + below(flood ? RUN_LINES : RUN_LINES / 8);
        char *spool = argc > 7 ? argv[7] : NULL;
        uint32_t chance = spool ? below(5) : 2;
        sequence = chance < 2 ? run_spool(history, argv, spool, first, lines, chance == 0)
                              : run_pipe(history, argv, spool, first, lines, flood ? 0 : rate);
        for (int64_t end = began + (int64_t)(sequence - first) * 1000000 / rate; !stopping && history_now() < end;)
            poll(NULL, 0, 10); /* after a flood, the same */
    }
    return 0;
}
