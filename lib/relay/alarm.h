/*
 * alarm.h: wakes the loop at a time of the steady clock, also when the machine slept meanwhile: the loop's own timers
 * stand still while it does.
 */
#ifndef RELAY_ALARM_H
#define RELAY_ALARM_H

#include "base/clock.h"
#include "base/fault.h"

struct alarm;
struct event_base;

/* Not set. MP_ERR_IO, MP_ERR_MEMORY. */
enum mp_error alarm_new(struct event_base *base, struct alarm **alarm, struct fault *fault);
/* NULL is allowed. */
void alarm_free(struct alarm *alarm);

/* Ends the loop's waiting once at TIME (clock_monotonic()), at once when that has passed; CLOCK_NEVER: not at all. */
void alarm_set(struct alarm *alarm, int64_t time);

#endif
