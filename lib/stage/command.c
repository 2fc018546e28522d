/* One run of a user's command. */
#include "stage/command.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/spawn.h"
#include "stage/command_pipes.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    READ_SIZE = 64 * 1024,      /* bytes of a read at least */
    READ_AT_ONCE = 1024 * 1024, /* bytes after which others get their turn */
    WATCH_AFTER = 5000,         /* microseconds */
    MEMORY_PAUSE = 100000       /* until it is tried again to read what there was no memory for */
};

/*
 * Most commands are short, print less than a pipe holds, and all of it is read when they have ended. So their pipes are
 * watched only when they have run for WATCH_AFTER: a quick one is spared the watching, and three wake-ups instead of one
 * at its end, of which the last would find it.
 */
struct stage_children {
    struct event_base *base;
    struct event *signal;
    struct event *watcher;       /* while some run that are not watched */
    struct stage_command *first; /* those that run, the last begun first */
};

/* One of the pipes. */
struct stream {
    int descriptor; /* -1: closed */
    struct event *event;
};

struct stage_command {
    struct stage_command_settings settings;
    struct stage_command *next; /* among those that run */
    struct stage_command **link;
    pid_t pid;
    bool exited;
    bool ended;    /* `ended` was called */
    bool finishes; /* FINISH is pending */
    bool watched;  /* its pipes are */
    struct stream input, output, error;
    struct event *leaver; /* of one that stays: it has closed its stdin */
    size_t written;
    struct buffer kept;
    struct event *timer;
    struct event *finish;
    int signal; /* the last one that was sent to it */
    int64_t started;
    struct stage_result result;
};

static void set_timer(struct event *timer, int64_t microseconds)
{
    struct timeval after = {.tv_sec = (time_t)(microseconds / 1000000),
                            .tv_usec = (suseconds_t)(microseconds % 1000000)};
    event_add(timer, &after);
}

static void stream_close(struct stream *stream)
{
    if (stream->event)
        event_free(stream->event);
    if (stream->descriptor >= 0)
        close(stream->descriptor);
    *stream = (struct stream){.descriptor = -1};
}

static void input_close(struct stage_command *command)
{
    if (command->leaver)
        event_free(command->leaver);
    command->leaver = NULL;
    stream_close(&command->input);
}

/* ---- its pipes ------------------------------------------------------------------------------------------------ */

/* Writes what the pipe takes of SIZE bytes now, and closes it when the command does not read any more. */
static size_t pour(struct stage_command *command, const char *data, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t some = write(command->input.descriptor, data + done, size - done);
        if (some > 0)
            done += (size_t)some;
        else if (some < 0 && errno == EAGAIN)
            break;
        else if (some >= 0 || errno != EINTR) {
            input_close(command);
            break;
        }
    }
    return done;
}

/* Writes of the input what the pipe takes now, and closes it when that was the last. */
static void feed(struct stage_command *command)
{
    const struct stage_command_settings *settings = &command->settings;
    size_t left = settings->input_size - command->written;
    command->written += pour(command, (const char *)settings->input + command->written, left);
    if (command->written == settings->input_size && !settings->stays)
        input_close(command);
}

/* Has `ended` called from the loop, when nothing stands in its way. */
static void finish_later(struct stage_command *command)
{
    if (command->exited && command->output.descriptor < 0 && command->error.descriptor < 0 && !command->finishes) {
        command->finishes = true;
        event_active(command->finish, EV_TIMEOUT, 1);
    }
}

/* Reads stdout as far as it may be kept. When the command has exited, what is there is all. */
static void read_output(struct stage_command *command)
{
    struct buffer *kept = &command->kept;
    size_t before = kept->size;
    while (command->output.descriptor >= 0 && kept->size < command->settings.output_limit) {
        size_t limit = command->settings.output_limit - kept->size;
        if (buffer_reserve(kept, limit < READ_SIZE ? limit : READ_SIZE) != MP_OK) {
            if (command->exited)
                set_timer(command->timer, MEMORY_PAUSE); /* nothing else will have it read */
            break;
        }
        size_t room = kept->capacity - kept->size;
        room = room < limit ? room : limit;
        ssize_t size = read(command->output.descriptor, kept->data + kept->size, room);
        if (size > 0)
            kept->size += (size_t)size;
        else if (size == 0 || (errno != EINTR && (errno != EAGAIN || command->exited)))
            stream_close(&command->output);
        else if (errno == EAGAIN)
            break;
        /* Less than there was room for: more is not there now. */
        if (!command->exited && size > 0 && ((size_t)size < room || kept->size - before >= READ_AT_ONCE))
            break;
    }
    if (command->output.descriptor >= 0 && kept->size >= command->settings.output_limit)
        event_del(command->output.event);
    if (kept->size > before && command->settings.output)
        command->settings.output(command->settings.context);
}

static void read_error(struct stage_command *command)
{
    char bytes[4096];
    while (command->error.descriptor >= 0) {
        ssize_t size = read(command->error.descriptor, bytes, sizeof(bytes));
        if (size > 0)
            command->settings.error(command->settings.context, bytes, (size_t)size);
        else if (size == 0 || (errno != EINTR && (errno != EAGAIN || command->exited)))
            stream_close(&command->error);
        else if (errno == EAGAIN)
            break;
    }
}

static void on_input(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct stage_command *command = context;
    if (!command->settings.stays) {
        feed(command);
        return;
    }
    /* Whoever has more to write says so again. */
    event_del(command->input.event);
    command->settings.writable(command->settings.context);
}

/* What is in the pipe yet will not be read: no write would tell that. */
static void on_leaver(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct stage_command *command = context;
    input_close(command);
    command->settings.writable(command->settings.context);
}

static void on_output(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct stage_command *command = context;
    read_output(command);
    finish_later(command);
}

static void on_error(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct stage_command *command = context;
    read_error(command);
    finish_later(command);
}

/* ---- its end -------------------------------------------------------------------------------------------------- */

static void on_finish(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct stage_command *command = context;
    struct stage_result result = command->result; /* which outlives the command, if that is freed now */
    command->ended = true;
    command->settings.ended(command->settings.context, &result);
}

/* Sends NUMBER to the whole group; one that is stopped goes on to hear it. */
static void send_signal(struct stage_command *command, int number)
{
    if (command->exited)
        return;
    command->signal = number;
    kill(-command->pid, number);
    if (number != SIGKILL)
        kill(-command->pid, SIGCONT);
}

static void on_timer(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct stage_command *command = context;
    int64_t grace = command->settings.grace ? command->settings.grace : STAGE_GRACE;
    if (command->exited) {
        stage_command_read(command);
        return;
    }
    if (command->signal) {
        send_signal(command, SIGKILL);
        return;
    }
    int64_t left = command->started + command->settings.timeout - clock_monotonic();
    if (left > 0) {
        set_timer(command->timer, left); /* a loop's clock may be a few milliseconds ahead */
        return;
    }
    command->result.timed_out = true;
    send_signal(command, SIGTERM);
    set_timer(command->timer, grace);
}

/* Looks whether it has exited, and notes how. */
static void reap(struct stage_command *command)
{
    int status = 0;
    if (command->signal) {
        siginfo_t info = {.si_pid = 0};
        if (waitid(P_PID, (id_t)command->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid != command->pid)
            return;
        /* As long as it was not waited for, its number is not given to another: only now can the group be killed. */
        kill(-command->pid, SIGKILL);
    }
    if (waitpid(command->pid, &status, WNOHANG) != command->pid)
        return;
    command->exited = true;
    *command->link = command->next;
    if (command->next)
        command->next->link = command->link;
    command->result.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    command->result.code = command->result.signal ? 128 + command->result.signal : WEXITSTATUS(status);
    command->result.duration = clock_monotonic() - command->started;
    event_del(command->timer);
    input_close(command);
    read_error(command);
    read_output(command);
    finish_later(command);
}

static void on_child(evutil_socket_t number, short what, void *context)
{
    (void)number;
    (void)what;
    struct stage_children *children = context;
    for (struct stage_command *command = children->first, *next; command; command = next) {
        next = command->next;
        reap(command);
    }
}

/* Watches what there is to watch. False: no memory. */
static bool watch(struct stage_command *command)
{
    struct stream *streams[] = {&command->input, &command->output, &command->error};
    for (size_t i = 0; i < sizeof(streams) / sizeof(*streams); i++) {
        struct stream *stream = streams[i];
        bool idle = stream == &command->input && command->settings.stays && command->written == 0;
        bool full = stream == &command->output && command->kept.size >= command->settings.output_limit;
        if (stream->descriptor >= 0 && !idle && !full && event_add(stream->event, NULL))
            return false;
    }
    command->watched = true;
    return true;
}

/* Watches those that have run so long that it is worth it. They are in the order in which they began. */
static void on_watcher(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct stage_children *children = context;
    int64_t now = clock_monotonic(), next = CLOCK_NEVER;
    for (struct stage_command *command = children->first; command; command = command->next) {
        if (command->watched)
            continue;
        int64_t due = command->started + WATCH_AFTER;
        if (due > now || !watch(command))
            next = due > now ? due : now + WATCH_AFTER; /* without memory again later */
    }
    if (next < CLOCK_NEVER)
        set_timer(children->watcher, next - now);
}

enum mp_error stage_children_open(struct event_base *base, struct stage_children **result, struct fault *fault)
{
    struct stage_children *children = memory_allocate(sizeof(*children));
    if (!children)
        return fault_memory(fault);
    children->base = base;
    children->signal = evsignal_new(base, SIGCHLD, on_child, children);
    children->watcher = evtimer_new(base, on_watcher, children);
    if (!children->signal || !children->watcher || event_add(children->signal, NULL)) {
        stage_children_free(children);
        return fault_memory(fault);
    }
    *result = children;
    return MP_OK;
}

void stage_children_free(struct stage_children *children)
{
    if (!children)
        return;
    if (children->signal)
        event_free(children->signal);
    if (children->watcher)
        event_free(children->watcher);
    memory_release(children);
}

/* ---- starting ------------------------------------------------------------------------------------------------- */

/* Makes what watches its pipes. False: no memory. */
static bool make_events(struct stage_command *command)
{
    struct event_base *base = command->settings.children->base;
    struct {
        struct stream *stream;
        short what;
        event_callback_fn call;
    } streams[] = {
        {&command->input, EV_WRITE | EV_PERSIST, on_input},
        {&command->output, EV_READ | EV_PERSIST, on_output},
        {&command->error, EV_READ | EV_PERSIST, on_error},
    };
    for (size_t i = 0; i < sizeof(streams) / sizeof(*streams); i++) {
        struct stream *stream = streams[i].stream;
        if (stream->descriptor < 0)
            continue;
        stream->event = event_new(base, stream->descriptor, streams[i].what, streams[i].call, command);
        if (!stream->event)
            return false;
    }
    if (!command->settings.stays || command->input.descriptor < 0)
        return true;
    /* A pipe's writing end is never readable, but by the error that it has when nobody reads. */
    command->leaver = event_new(base, command->input.descriptor, EV_READ, on_leaver, command);
    return command->leaver != NULL && event_add(command->leaver, NULL) == 0;
}

/* Starts the process with THEIRS, in a group of its own. 0, or an errno number. */
static int start_process(const struct spawn_settings *process, const struct command_pipes *theirs, pid_t *pid)
{
    const struct spawn_place places[] = {{.number = STDIN_FILENO, .descriptor = theirs->input},
                                         {.number = STDOUT_FILENO, .descriptor = theirs->output},
                                         {.number = STDERR_FILENO, .descriptor = theirs->error}};
    struct spawn_settings settings = *process;
    settings.places = places;
    settings.places_count = sizeof places / sizeof *places;
    return spawn_start(&settings, pid);
}

/* Watches it at once if its input is open yet: it stays, or did not go into the pipe. Else when it has run for a while. */
static bool watch_or_wait(struct stage_command *command)
{
    struct stage_children *children = command->settings.children;
    if (command->input.descriptor >= 0)
        return watch(command);
    if (!event_pending(children->watcher, EV_TIMEOUT, NULL))
        set_timer(children->watcher, WATCH_AFTER);
    return true;
}

enum mp_error stage_command_start(const struct stage_command_settings *settings, struct stage_command **result,
                                  int *exit_code, struct fault *fault)
{
    struct command_pipes theirs = {-1, -1, -1};
    struct command_pipes ours = {-1, -1, -1};
    const struct spawn_settings process = {.argv = settings->argv,
                                           .environment = settings->environment,
                                           .directory = settings->directory,
                                           .signals = settings->signals ? settings->signals : spawn_default_signals,
                                           .group = SPAWN_OWN_GROUP};
    struct stage_command *command = memory_allocate(sizeof(*command));
    if (!command)
        return spawn_explain(&process, ENOMEM, exit_code, fault);
    command->settings = *settings;
    command->exited = true; /* there is nothing to be ended yet */
    struct event_base *base = settings->children->base;
    command->timer = evtimer_new(base, on_timer, command);
    command->finish = evtimer_new(base, on_finish, command);
    int number = command->timer && command->finish ? command_pipes_make(settings, &ours, &theirs) : ENOMEM;
    command->input.descriptor = ours.input;
    command->output.descriptor = ours.output;
    command->error.descriptor = ours.error;
    if (!number) {
        /* Most inputs fit into the pipe: then there is nothing to be waited for. */
        feed(command);
        bool watches = make_events(command) && watch_or_wait(command);
        command->started = clock_monotonic(); /* on a busy machine it may have ended before we go on */
        number = watches ? start_process(&process, &theirs, &command->pid) : ENOMEM;
    }
    command_pipes_close(&theirs);
    if (number) {
        stage_command_free(command);
        return spawn_explain(&process, number, exit_code, fault);
    }
    command->exited = false;
    command->next = settings->children->first;
    command->link = &settings->children->first;
    if (command->next)
        command->next->link = &command->next;
    settings->children->first = command;
    if (settings->timeout > 0)
        set_timer(command->timer, settings->timeout);
    *result = command;
    return MP_OK;
}

void stage_command_free(struct stage_command *command)
{
    if (!command)
        return;
    if (!command->exited) {
        kill(-command->pid, SIGKILL);
        while (waitpid(command->pid, NULL, 0) < 0 && errno == EINTR)
            ;
        *command->link = command->next;
        if (command->next)
            command->next->link = command->link;
    }
    input_close(command);
    stream_close(&command->output);
    stream_close(&command->error);
    if (command->timer)
        event_free(command->timer);
    if (command->finish)
        event_free(command->finish);
    buffer_free(&command->kept);
    memory_release(command);
}

const struct buffer *stage_command_output(const struct stage_command *command)
{
    return &command->kept;
}

void stage_command_taken(struct stage_command *command, size_t size)
{
    bool full = command->kept.size >= command->settings.output_limit;
    buffer_consume(&command->kept, size);
    if (!full || command->output.descriptor < 0 || command->kept.size >= command->settings.output_limit)
        return;
    /* An event that is active at once, so that callbacks come from the loop only. */
    event_add(command->output.event, NULL);
    event_active(command->output.event, EV_READ, 0);
}

void stage_command_take_output(struct stage_command *command, struct buffer *output)
{
    *output = command->kept;
    command->kept = (struct buffer){0};
}

void stage_command_read(struct stage_command *command)
{
    if (command->output.descriptor < 0)
        return;
    read_output(command);
    finish_later(command);
}

size_t stage_command_write(struct stage_command *command, const void *data, size_t size)
{
    if (command->input.descriptor < 0)
        return 0;
    size_t done = pour(command, data, size);
    if (done < size && command->input.descriptor >= 0)
        event_add(command->input.event, NULL);
    return done;
}

bool stage_command_reads(const struct stage_command *command)
{
    return command->input.descriptor >= 0;
}

void stage_command_close_input(struct stage_command *command)
{
    input_close(command);
}

void stage_command_end(struct stage_command *command)
{
    if (command->exited || command->signal)
        return;
    command->result.ended_early = true;
    send_signal(command, SIGTERM);
    set_timer(command->timer, command->settings.grace ? command->settings.grace : STAGE_GRACE);
}

pid_t stage_command_group(const struct stage_command *command)
{
    return command->exited ? 0 : command->pid;
}
