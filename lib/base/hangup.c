/* SIGHUP: reload, or the terminal has gone. */
#include "base/hangup.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

struct hangup {
    struct hangup_settings settings;
    struct event *signal;
    struct event *later; /* for another look */
    bool had_terminal;
    bool over;
};

/* Of the signal that came: libevent does not tell who sent it. */
static volatile sig_atomic_t is_of_session;
static void (*deliver)(int number);

static bool has_terminal(void)
{
    int terminal = open("/dev/tty", O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (terminal >= 0)
        close(terminal);
    return terminal >= 0 || (errno != ENXIO && errno != EIO);
}

/*
 * Whether the signal is the terminal's doing. The session's leader, a shell, may have ended by now, and with it all that
 * is known of its process but the number. To a session's leader itself many pass it on: the terminal's program, too.
 */
static bool is_of_terminal(pid_t sender)
{
    pid_t session = getsid(0);
    return sender == 0 || sender == session || session == getpid() || getsid(sender) == session;
}

/* In front of libevent's own handler. */
static void on_arrival(int number, siginfo_t *info, void *context)
{
    int saved = errno;
    (void)context;
    if (is_of_terminal(info->si_pid))
        is_of_session = 1;
    deliver(number);
    errno = saved;
}

static bool has_gone(struct hangup *hangup)
{
    if (!hangup->had_terminal || hangup->over || has_terminal())
        return false;
    hangup->over = true;
    hangup->settings.gone(hangup->settings.context);
    return true;
}

static void on_signal(evutil_socket_t number, short what, void *context)
{
    /* A session's leader that ends has the signal sent, and gives up the terminal just after it. */
    const struct timeval shortly = {.tv_usec = 100000};
    struct hangup *hangup = context;
    (void)number;
    (void)what;
    bool of_session = is_of_session;
    is_of_session = 0;
    if (hangup->over || (of_session && has_gone(hangup)))
        return;
    if (of_session)
        event_add(hangup->later, &shortly);
    hangup->settings.reload(hangup->settings.context);
}

static void on_later(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    has_gone(context);
}

static bool put_in_front(void)
{
    struct sigaction action;
    if (sigaction(SIGHUP, NULL, &action) != 0)
        return false;
    deliver = action.sa_handler;
    action.sa_sigaction = on_arrival;
    action.sa_flags |= SA_SIGINFO;
    return sigaction(SIGHUP, &action, NULL) == 0;
}

enum mp_error hangup_watch(struct event_base *base, const struct hangup_settings *settings, struct hangup **hangup,
                           struct fault *fault)
{
    struct sigaction action;
    *hangup = NULL;
    if (sigaction(SIGHUP, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
        return MP_OK;
    struct hangup *made = calloc(1, sizeof *made);
    if (!made)
        return fault_memory(fault);
    made->settings = *settings;
    made->had_terminal = has_terminal();
    made->signal = evsignal_new(base, SIGHUP, on_signal, made);
    made->later = evtimer_new(base, on_later, made);
    if (!made->signal || !made->later || event_add(made->signal, NULL) != 0 || !put_in_front()) {
        hangup_free(made);
        return fault_memory(fault);
    }
    *hangup = made;
    return MP_OK;
}

void hangup_free(struct hangup *hangup)
{
    if (!hangup)
        return;
    if (hangup->signal)
        event_free(hangup->signal);
    if (hangup->later)
        event_free(hangup->later);
    free(hangup);
}
