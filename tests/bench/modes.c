/*
 * How fast commands get their messages, without a relay: stage/work.h in each mode, and beside it what the machine
 * allows.
 *
 *   modes spawn   --messages N [--connections W]   N processes of /bin/true with a pipe, by posix_spawn alone, W at once
 *   modes each    --messages N [--connections W]   N messages through processes of /bin/true, W at once
 *   modes pipe    --messages N                     N lines through the filter below, by large writes and reads alone
 *   modes stream  --messages N [--connections W]   N messages through W processes of it (--variant json: as CloudEvents)
 *   modes batch   --messages N [--window B]        N messages through cat, B (10,000) to a process, W processes
 *   modes filter                                   the filter: writes each line by itself, as one that flushes does
 *
 * Prints the rate; of stream also the processor's time that the program itself took for a message.
 */
#include "bench.h"
#include "stage/work.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HELD = 65536, BATCH = 10000, BLOCK = 256 * 1024 };

extern char **environ;

static char own_path[4096];

static double own_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void report(const struct bench_options *options, int64_t begin, double cpu)
{
    double seconds = (double)(bench_now() - begin) / 1e9;
    printf("%s: %.0f/s, %.2f us of own processor time each\n", options->role, (double)options->messages / seconds,
           (own_seconds() - cpu) * 1e6 / (double)options->messages);
}

/* ---- what the machine allows ---------------------------------------------------------------------------------- */

static void start_true(void)
{
    static char *argv[] = {"true", NULL};
    posix_spawn_file_actions_t actions;
    int ends[2];
    pid_t pid;
    if (pipe2(ends, O_CLOEXEC))
        bench_die("pipe: %s", strerror(errno));
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[0], STDIN_FILENO);
    int error = posix_spawn(&pid, "/bin/true", &actions, NULL, argv, environ);
    if (error)
        bench_die("/bin/true: %s", strerror(error));
    posix_spawn_file_actions_destroy(&actions);
    close(ends[0]);
    (void)!write(ends[1], "0123456789", 10);
    close(ends[1]);
}

static void spawn(const struct bench_options *options)
{
    uint64_t at_once = options->connections ? options->connections : 1;
    uint64_t started = 0;
    for (uint64_t ended = 0; ended < options->messages; ended++) {
        for (; started < options->messages && started - ended < at_once; started++)
            start_true();
        if (waitpid(-1, NULL, 0) < 0)
            bench_die("waitpid: %s", strerror(errno));
    }
}

static void filter(void)
{
    static char bytes[BLOCK];
    size_t size = 0;
    ssize_t more;
    while ((more = read(STDIN_FILENO, bytes + size, sizeof(bytes) - size)) > 0) {
        char *line = bytes;
        size += (size_t)more;
        for (char *end; (end = memchr(line, '\n', size)); line = end + 1) {
            size_t length = (size_t)(end + 1 - line);
            if (write(STDOUT_FILENO, line, length) != (ssize_t)length)
                exit(1);
            size -= length;
        }
        memmove(bytes, line, size);
    }
}

static void start_filter(int *input, int *output)
{
    char *argv[] = {own_path, "filter", NULL};
    posix_spawn_file_actions_t actions;
    int in[2], out[2];
    pid_t pid;
    if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
        bench_die("pipe: %s", strerror(errno));
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    if (posix_spawn(&pid, own_path, &actions, NULL, argv, environ))
        bench_die("cannot start %s", own_path);
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    close(out[1]);
    *input = in[1];
    *output = out[0];
    fcntl(*input, F_SETFL, O_NONBLOCK);
    fcntl(*output, F_SETFL, O_NONBLOCK);
}

static void bare_pipe(const struct bench_options *options)
{
    enum { LINE = BENCH_BODY + 1, LINES = 640 };
    static char lines[LINE * LINES], bytes[BLOCK];
    struct pollfd ends[2] = {{.events = POLLOUT}, {.events = POLLIN}};
    uint64_t left = options->messages * LINE, to_come = left;
    size_t at = 0;
    for (size_t i = 0; i < LINES; i++) {
        bench_body(lines + i * LINE, i);
        lines[i * LINE + BENCH_BODY] = '\n';
    }
    start_filter(&ends[0].fd, &ends[1].fd);
    while (to_come > 0 && poll(ends, 2, -1) > 0) {
        if (ends[0].revents) {
            size_t size = sizeof(lines) - at < left ? sizeof(lines) - at : (size_t)left;
            ssize_t done = write(ends[0].fd, lines + at, size);
            left -= done > 0 ? (uint64_t)done : 0;
            at = (at + (done > 0 ? (size_t)done : 0)) % sizeof(lines);
            ends[0].fd = left ? ends[0].fd : -1;
        }
        if (ends[1].revents) {
            ssize_t size = read(ends[1].fd, bytes, sizeof(bytes));
            to_come -= size > 0 ? (uint64_t)size : 0;
        }
    }
}

/* ---- stage/work.h --------------------------------------------------------------------------------------------- */

struct rig {
    struct event_base *base;
    struct stage_work *work;
    struct stage_task *tasks; /* in a ring: what comes back is given again */
    struct format_item *items;
    uint32_t per_task;
    uint64_t left; /* messages to be given */
    uint64_t to_come;
    struct stage_task *idle;
};

static void give(struct rig *rig)
{
    uint32_t room = stage_work_room(rig->work);
    for (; room && rig->idle && rig->left; room--) {
        struct stage_task *task = rig->idle;
        rig->idle = task->next;
        task->count = rig->left < rig->per_task ? (uint32_t)rig->left : rig->per_task;
        rig->left -= task->count;
        stage_work_add(rig->work, task);
    }
}

static void on_finished(void *context, struct stage_task *task, const struct stage_outcome *outcome)
{
    struct rig *rig = context;
    if (outcome->end != STAGE_SUCCEEDED)
        bench_die("a command failed: %.*s", (int)outcome->note_size, outcome->note);
    task->next = rig->idle;
    rig->idle = task;
    rig->to_come -= task->count;
    if (rig->to_come == 0)
        event_base_loopbreak(rig->base);
}

/* An owner gets its messages a frame at a time, not one for one. */
static void on_turn(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    give(context);
}

static void make_tasks(struct rig *rig, uint32_t count)
{
    uint64_t items = (uint64_t)count * rig->per_task;
    char *bodies = bench_allocate(items, BENCH_BODY);
    rig->tasks = bench_allocate(count, sizeof(*rig->tasks));
    rig->items = bench_allocate(items, sizeof(*rig->items));
    for (uint64_t i = 0; i < items; i++) {
        bench_body(bodies + i * BENCH_BODY, i);
        rig->items[i] = (struct format_item){.topic = "bench", .attempt = 1};
        rig->items[i].record = (struct record){
            .body = (uint8_t *)bodies + i * BENCH_BODY, .size = BENCH_BODY, .producer = 1, .sequence = i};
    }
    for (uint32_t i = 0; i < count; i++) {
        rig->tasks[i] = (struct stage_task){.items = rig->items + (size_t)i * rig->per_task, .next = rig->idle};
        rig->idle = &rig->tasks[i];
    }
}

static void run(const struct bench_options *options, enum stage_mode mode, char *const *argv)
{
    struct rig rig = {.base = event_base_new(), .per_task = 1};
    struct fault fault = {0};
    struct stage_work_settings settings = {
        .base = rig.base,
        .argv = argv,
        .mode = mode,
        .format = strcmp(options->variant, "json") == 0 ? FORMAT_JSON : FORMAT_LINES,
        .workers = options->connections ? options->connections : 1,
        .context = &rig,
        .finished = on_finished,
    };
    if (mode == STAGE_BATCH)
        rig.per_task = options->window ? options->window : BATCH;
    make_tasks(&rig, mode == STAGE_BATCH ? settings.workers * 2 : HELD);
    rig.left = rig.to_come = options->messages;
    if (!rig.base || stage_children_open(rig.base, &settings.children, &fault) ||
        stage_work_open(&settings, &rig.work, &fault))
        bench_die("%s", fault_text(&fault));
    struct event *turn = event_new(rig.base, -1, EV_PERSIST, on_turn, &rig);
    while (rig.to_come) {
        event_active(turn, EV_TIMEOUT, 1);
        event_base_loop(rig.base, EVLOOP_ONCE);
        if (rig.to_come && stage_work_room(rig.work) == 0)
            event_base_loop(rig.base, EVLOOP_ONCE);
    }
    stage_work_free(rig.work);
    stage_children_free(settings.children);
    event_free(turn);
    event_base_free(rig.base);
}

int main(int argc, char **argv)
{
    static char *true_command[] = {"/bin/true", NULL};
    static char *cat_command[] = {"cat", NULL};
    char *filter_command[] = {own_path, "filter", NULL};
    struct bench_options options = bench_parse(argc, argv);
    if (!realpath(argv[0], own_path))
        bench_die("%s: %s", argv[0], strerror(errno));
    signal(SIGPIPE, SIG_IGN);
    int64_t begin = bench_now();
    double cpu = own_seconds();
    if (bench_role(&options, "filter"))
        return filter(), 0;
    if (bench_role(&options, "spawn"))
        spawn(&options);
    else if (bench_role(&options, "each"))
        run(&options, STAGE_EACH, true_command);
    else if (bench_role(&options, "pipe"))
        bare_pipe(&options);
    else if (bench_role(&options, "stream"))
        run(&options, STAGE_STREAM, filter_command);
    else if (bench_role(&options, "batch"))
        run(&options, STAGE_BATCH, cat_command);
    else
        bench_die("no role '%s'", options.role);
    report(&options, begin, cpu);
    return 0;
}
