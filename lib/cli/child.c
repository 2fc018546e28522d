#include "cli/child.h"

#include "base/memory.h"
#include "base/spawn.h"
#include "cli/loop.h"
#include "relay/notify.h"
#include "relay/relay.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { CONTROL = 3, READY = 4 }; /* the descriptors in the child */

struct child {
    struct child_settings settings;
    pid_t pid;
    struct control *control;
    struct event *readiness;
    int answer; /* the reading end of the pipe on which it tells that it is ready; -1: none */
    char words[FAULT_TEXT];
    size_t words_size;
    struct event *reaper;
    bool gone; /* its end of the socket pair is closed */
};

/* ---- what it tells -------------------------------------------------------------------------------------------- */

static void close_answer(struct child *child)
{
    if (child->readiness)
        event_free(child->readiness);
    child->readiness = NULL;
    if (child->answer >= 0)
        close(child->answer);
    child->answer = -1;
}

static void on_answer(evutil_socket_t descriptor, short what, void *context)
{
    struct child *child = context;
    (void)what;
    ssize_t got = read(descriptor, child->words + child->words_size, sizeof child->words - 1 - child->words_size);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (got > 0) {
        child->words_size += (size_t)got;
        if (!memchr(child->words, '\n', child->words_size) && child->words_size < sizeof child->words - 1)
            return;
    }
    child->words[strcspn(child->words, "\n")] = '\0';
    struct fault fault = {0};
    if (!notify_read(child->words, &fault))
        fault_set(&fault, MP_ERR_INTERNAL, "it ended before it was ready");
    close_answer(child);
    child->settings.ready(child->settings.context, &fault);
}

static void on_line(void *context, const char *line)
{
    struct child *child = context;
    if (child->settings.line)
        child->settings.line(child->settings.context, line);
}

/* The end is told when both are there: the process's and that of what it said. */
static void reap(struct child *child)
{
    int status;
    if (!child->gone || child->answer >= 0 || child->pid <= 0 || waitpid(child->pid, &status, WNOHANG) != child->pid)
        return;
    child->pid = 0;
    child->settings.ended(child->settings.context, status);
}

static void on_gone(void *context)
{
    struct child *child = context;
    struct timeval now = {0};
    child->gone = true;
    event_add(child->reaper, &now); /* the owner may free it in `ended`: not in here */
}

static void on_reap(evutil_socket_t number, short what, void *context)
{
    struct child *child = context;
    struct timeval soon = {.tv_usec = 10000};
    (void)number;
    (void)what;
    if (child->gone && child->pid > 0)
        event_add(child->reaper, &soon); /* it has closed its descriptors, and ends in a moment */
    reap(child);
}

/* ---- starting ------------------------------------------------------------------------------------------------- */

static const char *own_program(const char *fallback)
{
#ifdef __linux__
    if (access("/proc/self/exe", X_OK) == 0)
        return "/proc/self/exe";
#endif
    return fallback;
}

/* This program's environment with the child's in front, where it counts. */
static char **make_environment(const struct child_settings *settings, char *control, char *ready)
{
    size_t count = 0, at = 0, added = 0;
    while (environ[count])
        count++;
    while (settings->environment && settings->environment[added])
        added++;
    char **all = memory_allocate_array(count + added + 3, sizeof *all);
    if (!all)
        return NULL;
    all[at++] = control;
    if (ready)
        all[at++] = ready;
    for (size_t i = 0; i < added; i++)
        all[at++] = (char *)(uintptr_t)settings->environment[i];
    size_t own = at;
    for (size_t i = 0; i < count; i++) {
        bool hidden = strncmp(environ[i], "NOTIFY_SOCKET=", 14) == 0; /* systemd hears from this process alone */
        for (size_t j = 0; j < own && !hidden; j++) {
            size_t name = strcspn(all[j], "=") + 1;
            hidden = strncmp(environ[i], all[j], name) == 0;
        }
        if (!hidden)
            all[at++] = environ[i];
    }
    all[at] = NULL;
    return all;
}

static enum mp_error spawn(struct child *child, int control, int answer, struct fault *fault)
{
    char control_text[64], ready_text[64];
    snprintf(control_text, sizeof control_text, "%s=%d", RELAY_CONTROL, CONTROL);
    snprintf(ready_text, sizeof ready_text, "%s=%d", RELAY_READY, READY);
    char **environment = make_environment(&child->settings, control_text, answer >= 0 ? ready_text : NULL);
    if (!environment)
        return fault_memory(fault);
    const struct spawn_place places[] = {
        {STDIN_FILENO, -1, "/dev/null", O_RDONLY}, {CONTROL, control, NULL, 0}, {READY, answer, NULL, 0}};
    const struct spawn_settings settings = {.argv = child->settings.argv,
                                            .program = own_program(child->settings.argv[0]),
                                            .environment = environment,
                                            .signals = loop_child_signals,
                                            .group = SPAWN_OWN_GROUP,
                                            .places = places,
                                            .places_count = sizeof places / sizeof *places};
    int number = spawn_start(&settings, &child->pid);
    memory_release(environment);
    return number ? fault_system(fault, MP_ERR_IO, number, "cannot start %s", settings.program) : MP_OK;
}

static enum mp_error open_ends(struct child *child, int theirs[2], struct fault *fault)
{
    int ends[2];
    enum mp_error error = control_pair(ends, fault);
    if (error)
        return error;
    struct control_settings control = {.context = child, .line = on_line, .ended = on_gone};
    theirs[0] = ends[1];
    error = control_open(child->settings.base, ends[0], &control, &child->control, fault);
    if (error || !child->settings.tells_ready)
        return error;
    int number = spawn_pipe(ends);
    if (number)
        return fault_system(fault, MP_ERR_IO, number, "cannot make a pipe");
    child->answer = ends[0];
    theirs[1] = ends[1];
    fcntl(child->answer, F_SETFL, O_NONBLOCK);
    child->readiness = event_new(child->settings.base, child->answer, EV_READ | EV_PERSIST, on_answer, child);
    return child->readiness && event_add(child->readiness, NULL) == 0 ? MP_OK : fault_memory(fault);
}

enum mp_error child_start(const struct child_settings *settings, struct child **result, struct fault *fault)
{
    struct child *child = memory_allocate(sizeof *child);
    int theirs[2] = {-1, -1};
    if (!child)
        return fault_memory(fault);
    child->settings = *settings;
    child->answer = -1;
    child->reaper = evtimer_new(settings->base, on_reap, child);
    enum mp_error error = child->reaper ? open_ends(child, theirs, fault) : fault_memory(fault);
    if (!error)
        error = spawn(child, theirs[0], theirs[1], fault);
    for (int i = 0; i < 2; i++)
        if (theirs[i] >= 0)
            close(theirs[i]);
    if (error)
        child_free(child);
    else
        *result = child;
    return error;
}

void child_free(struct child *child)
{
    if (!child)
        return;
    if (child->pid > 0) {
        kill(child->pid, SIGKILL);
        while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    close_answer(child);
    control_free(child->control);
    if (child->reaper)
        event_free(child->reaper);
    memory_release(child);
}

pid_t child_pid(const struct child *child)
{
    return child->pid;
}

struct control *child_control(struct child *child)
{
    return child->control;
}

void child_signal(struct child *child, int number)
{
    if (child->pid > 0)
        kill(child->pid, number);
}
