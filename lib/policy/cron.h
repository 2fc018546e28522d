/*
 * cron.h: times as crontab(5) writes them: minute, hour, day of the month, month, day of the week.
 *
 *     0 6 * * mon-fri      at six on working days
 *     0,30 8-18/2 * * *    on the hour and the half, from 8 to 18, every second hour
 *
 * A field is `*`, a number, a name (jan to dec, sun to sat, in any case), a range, or a list of these; `/n` takes every
 * nth of a range or of `*`. Sunday is 0 or 7. When both days are restricted (neither begins with `*`), either will do.
 * @hourly, @daily (@midnight), @weekly, @monthly, @yearly (@annually) stand for what they say.
 *
 * Times are local ones ($TZ). What falls into an hour that the clock skips runs once, right behind it. What falls into
 * an hour that the clock repeats runs in the first of the two; only what runs in every hour goes on in the second.
 */
#ifndef POLICY_CRON_H
#define POLICY_CRON_H

#include "base/fault.h"

#include <stdbool.h>
#include <stdint.h>

/* Which numbers match: a bit each. */
struct cron {
    uint64_t minutes;  /* 0 to 59 */
    uint32_t hours;    /* 0 to 23 */
    uint32_t days;     /* 1 to 31 */
    uint32_t months;   /* 1 to 12 */
    uint32_t weekdays; /* 0 to 6 */
    bool either;       /* a day of the month or of the week will do; else both must match */
};

/* MP_ERR_INVALID says which field is wrong; also what never comes, such as the 31st of February. */
enum mp_error cron_parse(const char *text, struct cron *cron, struct fault *fault);

/*
 * The first time behind AFTER, both microseconds since the epoch. CLOCK_NEVER: there is none in the next 41 years, or in
 * what the machine takes for years.
 */
int64_t cron_next(const struct cron *cron, int64_t after);

#endif
