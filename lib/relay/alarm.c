#include "relay/alarm.h"

#include <event2/event.h>
#include <stdlib.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/timerfd.h>
#endif

struct alarm {
    struct event *event;
    int timer;    /* descriptor; -1: the loop's own timers do */
    int64_t time; /* what it is set to */
};

static void on_time(evutil_socket_t descriptor, short what, void *context)
{
    struct alarm *alarm = context;
    uint64_t times;
    (void)what;
    if (alarm->timer >= 0 && read(descriptor, &times, sizeof times) != (ssize_t)sizeof times)
        return; /* it was set anew meanwhile */
    alarm->time = CLOCK_NEVER;
}

#ifdef __linux__
static int open_timer(void)
{
    return timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
}

static void set_timer(const struct alarm *alarm, int64_t time)
{
    struct itimerspec at = {0}; /* zero: not at all */
    if (time != CLOCK_NEVER) {
        at.it_value.tv_sec = time > 0 ? time / 1000000 : 0;
        at.it_value.tv_nsec = time > 0 ? time % 1000000 * 1000 : 0;
        if (at.it_value.tv_sec == 0 && at.it_value.tv_nsec == 0)
            at.it_value.tv_nsec = 1;
    }
    timerfd_settime(alarm->timer, TFD_TIMER_ABSTIME, &at, NULL);
}
#else
static int open_timer(void)
{
    return -1;
}

static void set_timer(const struct alarm *alarm, int64_t time)
{
    (void)alarm;
    (void)time;
}
#endif

enum mp_error alarm_new(struct event_base *base, struct alarm **result, struct fault *fault)
{
    struct alarm *alarm = calloc(1, sizeof *alarm);
    if (!alarm)
        return fault_memory(fault);
    alarm->time = CLOCK_NEVER;
    alarm->timer = open_timer();
    short what = alarm->timer >= 0 ? EV_READ | EV_PERSIST : 0;
    alarm->event = event_new(base, alarm->timer, what, on_time, alarm);
    if (!alarm->event || (alarm->timer >= 0 && event_add(alarm->event, NULL) != 0)) {
        alarm_free(alarm);
        return fault_set(fault, MP_ERR_MEMORY, "cannot set up the event loop");
    }
    *result = alarm;
    return MP_OK;
}

void alarm_free(struct alarm *alarm)
{
    if (!alarm)
        return;
    if (alarm->event)
        event_free(alarm->event);
    if (alarm->timer >= 0)
        close(alarm->timer);
    free(alarm);
}

void alarm_set(struct alarm *alarm, int64_t time)
{
    if (alarm->timer >= 0) {
        if (time != alarm->time)
            set_timer(alarm, time);
    } else if (time == CLOCK_NEVER) {
        event_del(alarm->event);
    } else {
        int64_t left = time - clock_monotonic();
        struct timeval wait = {.tv_sec = left > 0 ? left / 1000000 : 0, .tv_usec = left > 0 ? left % 1000000 : 0};
        event_add(alarm->event, &wait);
    }
    alarm->time = time;
}
