/* libevent and signals for the tools. */
#include "cli/loop.h"

#include "base/memory.h"
#include "cli/exit.h"

#include <poll.h>
#include <signal.h>

enum {
    MEMORY_PATIENCE = 2000000, /* microseconds without memory, after which a tool gives up */
    MEMORY_CALM = 1000000,     /* of nothing but allocations that went well: there is memory again */
    MEMORY_LOOK = 20           /* milliseconds until it is looked again */
};

static const int stop_signals[LOOP_SIGNALS] = {SIGINT, SIGTERM, SIGHUP};

/*
 * The first signal asks; the event goes, which puts the default back, so that the next one kills. A terminal that is
 * closed sends SIGHUP twice, itself and by its shell: that is one request.
 */
static void on_signal(evutil_socket_t number, short what, void *context)
{
    (void)what;
    struct loop *loop = context;
    loop->interrupted = (int)number;
    for (size_t i = 0; i < LOOP_SIGNALS; i++)
        if (loop->signals[i] && !(number == SIGHUP && stop_signals[i] == SIGHUP))
            event_del(loop->signals[i]);
}

/* It only has to end the wait. */
static void on_alarm(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct loop *loop = context;
    loop->alarm_at = CLOCK_NEVER;
}

static struct event_base *new_base(void)
{
    struct event_config *config = event_config_new();
    if (!config)
        return NULL;
    /* epoll refuses regular files, kqueue does not tell their end; poll takes all, and a tool has few descriptors. */
    event_config_avoid_method(config, "epoll");
    event_config_avoid_method(config, "kqueue");
    event_config_avoid_method(config, "devpoll");
    event_config_avoid_method(config, "evport");
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_PRECISE_TIMER);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

enum mp_error loop_open(struct loop *loop, struct fault *fault)
{
    *loop = (struct loop){.base = new_base(), .alarm_at = CLOCK_NEVER};
    if (!loop->base)
        return fault_memory(fault);
    loop->alarm = event_new(loop->base, -1, 0, on_alarm, loop);
    if (!loop->alarm)
        goto fail;
    for (size_t i = 0; i < LOOP_SIGNALS; i++) {
        if (exit_was_ignored(stop_signals[i]))
            continue;
        loop->signals[i] = evsignal_new(loop->base, stop_signals[i], on_signal, loop);
        if (!loop->signals[i] || event_add(loop->signals[i], NULL))
            goto fail;
    }
    return MP_OK;

fail:
    loop_close(loop);
    return fault_memory(fault);
}

void loop_close(struct loop *loop)
{
    for (size_t i = 0; i < LOOP_SIGNALS; i++)
        if (loop->signals[i])
            event_free(loop->signals[i]);
    if (loop->alarm)
        event_free(loop->alarm);
    if (loop->base)
        event_base_free(loop->base);
    *loop = (struct loop){0};
}

/* Sets the alarm to DUE. A timer that stands for an earlier time is left: an early step does no harm. */
static void set_alarm(struct loop *loop, int64_t due, int64_t now)
{
    if (due == CLOCK_NEVER || loop->alarm_at <= due)
        return;
    int64_t left = due > now ? due - now : 0;
    struct timeval wait = {.tv_sec = (time_t)(left / 1000000), .tv_usec = (suseconds_t)(left % 1000000)};
    if (event_add(loop->alarm, &wait) == 0)
        loop->alarm_at = due;
}

/*
 * Whether memory is short. What there was none for is tried again, or waits, here and there: for a moment that is right, but
 * where memory stays away nobody would ever tell. Some libraries ask for it themselves, so the loop does, too.
 */
static bool lacks_memory(struct loop *loop, int64_t now)
{
    unsigned long refusals = memory_refusals();
    void *probe = memory_allocate(64);
    bool refused = !probe || refusals != loop->refusals;
    memory_release(probe);
    loop->refusals = memory_refusals();
    if (refused && !loop->lacking)
        loop->lacking_since = now;
    if (refused)
        loop->refused_at = now;
    loop->lacking = refused || (loop->lacking && now - loop->refused_at < MEMORY_CALM);
    return loop->lacking;
}

enum mp_error loop_run(struct loop *loop, bool (*step)(void *context, int64_t now, int64_t *due), void *context,
                       struct fault *fault)
{
    for (;;) {
        int64_t now = clock_monotonic();
        int64_t due = CLOCK_NEVER;
        if (!step(context, now, &due))
            return MP_OK;
        bool lacks = lacks_memory(loop, now);
        if (lacks && now - loop->lacking_since >= MEMORY_PATIENCE)
            return fault_set(fault, MP_ERR_MEMORY, "there has been no memory for %d seconds: giving up",
                             MEMORY_PATIENCE / 1000000);
        if (loop->due) {
            int64_t other = loop->due(loop->due_context, now);
            due = other < due ? other : due;
        }
        set_alarm(loop, due, now);
        /* Without memory a timer may not be there: nothing is waited for but some time. */
        int how = EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY | (lacks ? EVLOOP_NONBLOCK : 0);
        if (event_base_loop(loop->base, how) < 0 && !lacks)
            return fault_set(fault, MP_ERR_INTERNAL, "the event loop failed");
        if (lacks)
            poll(NULL, 0, MEMORY_LOOK);
    }
}

int loop_child_signals(posix_spawnattr_t *attributes)
{
    static const int looked_at[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGCHLD, SIGQUIT};
    sigset_t defaults;
    sigset_t none;
    sigemptyset(&defaults);
    sigemptyset(&none);
    for (size_t i = 0; i < sizeof(looked_at) / sizeof(*looked_at); i++)
        if (!exit_was_ignored(looked_at[i]))
            sigaddset(&defaults, looked_at[i]);
    int error = posix_spawnattr_setsigdefault(attributes, &defaults);
    return error ? error : posix_spawnattr_setsigmask(attributes, &none);
}
