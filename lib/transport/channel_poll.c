#include "transport/channel_poll.h"

#include "base/clock.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#ifdef __linux__

#include <sys/epoll.h>
#include <sys/timerfd.h>

bool channel_poll_open(struct channel_poll *poll)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};

    poll->due = CLOCK_NEVER;
    poll->descriptor = epoll_create1(EPOLL_CLOEXEC);
    poll->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (poll->descriptor >= 0 && poll->timer >= 0 &&
        epoll_ctl(poll->descriptor, EPOLL_CTL_ADD, poll->timer, &event) == 0) {
        return true;
    }
    int number = errno;
    channel_poll_close(poll);
    errno = number;
    return false;
}

void channel_poll_close(struct channel_poll *poll)
{
    if (poll->timer >= 0) {
        close(poll->timer);
    }
    if (poll->descriptor >= 0) {
        close(poll->descriptor);
    }
}

static bool control(struct channel_poll *poll, int operation, int descriptor, bool writable, void *owner)
{
    struct epoll_event event = {.events = writable ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = owner};

    return epoll_ctl(poll->descriptor, operation, descriptor, &event) == 0;
}

bool channel_poll_add(struct channel_poll *poll, int descriptor, bool writable, void *owner)
{
    return control(poll, EPOLL_CTL_ADD, descriptor, writable, owner);
}

bool channel_poll_change(struct channel_poll *poll, int descriptor, bool writable, void *owner)
{
    return control(poll, EPOLL_CTL_MOD, descriptor, writable, owner);
}

void channel_poll_timer(struct channel_poll *poll, int64_t due)
{
    struct itimerspec when = {0};

    if (due == poll->due) {
        return;
    }
    poll->due = due;
    if (due != CLOCK_NEVER) {
        int64_t wait = due - clock_monotonic();
        wait = wait > 0 ? wait : 1; /* 0 would stop it */
        when.it_value.tv_sec = (time_t)(wait / 1000000);
        when.it_value.tv_nsec = (long)(wait % 1000000 * 1000);
    }
    timerfd_settime(poll->timer, 0, &when, NULL);
}

void *channel_poll_next(struct channel_poll *poll)
{
    struct epoll_event event;

    while (epoll_wait(poll->descriptor, &event, 1, 0) == 1) {
        if (event.data.ptr != NULL) {
            return event.data.ptr;
        }
        uint64_t times;
        if (read(poll->timer, &times, sizeof(times)) < 0) {
            return NULL;
        }
        poll->due = CLOCK_NEVER;
    }
    return NULL;
}

#else

#include <sys/event.h>
#include <sys/time.h>
#include <sys/types.h>

enum { TIMER = 1 };

bool channel_poll_open(struct channel_poll *poll)
{
    poll->due = CLOCK_NEVER;
    poll->timer = -1;
    poll->descriptor = kqueue();
    return poll->descriptor >= 0;
}

void channel_poll_close(struct channel_poll *poll)
{
    if (poll->descriptor >= 0) {
        close(poll->descriptor);
    }
}

bool channel_poll_add(struct channel_poll *poll, int descriptor, bool writable, void *owner)
{
    struct kevent changes[2];

    EV_SET(&changes[0], (uintptr_t)descriptor, EVFILT_READ, EV_ADD, 0, 0, owner);
    EV_SET(&changes[1], (uintptr_t)descriptor, EVFILT_WRITE, EV_ADD | (writable ? EV_ENABLE : EV_DISABLE), 0, 0, owner);
    return kevent(poll->descriptor, changes, 2, NULL, 0, NULL) == 0;
}

bool channel_poll_change(struct channel_poll *poll, int descriptor, bool writable, void *owner)
{
    return channel_poll_add(poll, descriptor, writable, owner);
}

void channel_poll_timer(struct channel_poll *poll, int64_t due)
{
    struct kevent change;

    if (due == poll->due) {
        return;
    }
    poll->due = due;
    if (due == CLOCK_NEVER) {
        EV_SET(&change, TIMER, EVFILT_TIMER, EV_DELETE, 0, 0, NULL);
    } else {
        int64_t wait = (due - clock_monotonic()) / 1000 + 1;
        EV_SET(&change, TIMER, EVFILT_TIMER, EV_ADD | EV_ONESHOT, 0, wait > 0 ? wait : 1, NULL);
    }
    kevent(poll->descriptor, &change, 1, NULL, 0, NULL);
}

void *channel_poll_next(struct channel_poll *poll)
{
    const struct timespec none = {0};
    struct kevent event;

    while (kevent(poll->descriptor, NULL, 0, &event, 1, &none) == 1) {
        if (event.udata != NULL) {
            return event.udata;
        }
        poll->due = CLOCK_NEVER;
    }
    return NULL;
}

#endif
