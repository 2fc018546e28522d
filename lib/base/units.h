/*
 * units.h: durations, sizes, rates and times as people write them.
 *
 * Reading and writing do not depend on the locale. What is wrong with a text is said in FAULT with an example that
 * would be right: "'5x' is not a duration: write 500ms, 5s, 1m, 2h or 7d". All errors are MP_ERR_INVALID.
 */
#ifndef BASE_UNITS_H
#define BASE_UNITS_H

#include "base/fault.h"

#include <stdbool.h>

/* A hundred years: the longest duration, so that adding one to the time cannot overflow. */
#define UNITS_DURATION_MAX ((int64_t)36525 * 86400 * 1000000)

/*
 * "100ms", "5s", "1m", "2h", "7d", "1.5s", "1h30m", "20us"; a bare number is seconds. *MICROSECONDS is 0 to
 * UNITS_DURATION_MAX.
 */
enum mp_error units_duration(const char *text, int64_t *microseconds, struct fault *fault);

/* "512", "512B", "64KiB", "1MiB", "1.5GiB", "1TiB", also K, M, G, T (binary) and kB, MB, GB, TB (decimal). */
enum mp_error units_size(const char *text, uint64_t *bytes, struct fault *fault);

/* A whole number between LOW and HIGH, decimal. NAME is how the error calls it. */
enum mp_error units_number(const char *name, const char *text, uint64_t low, uint64_t high, uint64_t *value,
                           struct fault *fault);

/* A share from 0 to 1, in millionths: "0.2", ".25", "1". */
enum mp_error units_share(const char *text, double *share, struct fault *fault);

/* "500/s", "0.5/s", "30/m", "7200/h", "10/d": events a second, more than 0 and at most 1e9. */
enum mp_error units_rate(const char *text, double *per_second, struct fault *fault);

/*
 * RFC 3339 ("2026-11-20T17:00:00Z", with fractions and offsets) or "@epoch" ("@1795194000", with a fraction or not):
 * microseconds since the epoch, negative before 1970. A leap second is the second after it.
 */
enum mp_error units_time(const char *text, int64_t *microseconds, struct fault *fault);

/*
 * Writes TIME (microseconds since the epoch) as RFC 3339 in UTC with microseconds: 27 characters and a NUL. Times
 * outside of the years 0 to 9999 become the first or last microsecond of these.
 */
enum { UNITS_TIME_TEXT = 40 };
void units_time_text(int64_t time, char text[UNITS_TIME_TEXT]);

/* "1.5 GiB", "312 KiB"; "2.1 M"; "3.2 s", "180 µs", "4m 5s": for people. SIZE is that of the text's array, 24 will do. */
void units_size_text(uint64_t bytes, char *text, size_t size);
void units_count_text(uint64_t count, char *text, size_t size);
void units_duration_text(int64_t microseconds, char *text, size_t size);

/* A duration as units_duration() reads it, exactly: "1s", "1500ms", "7d", "0". 24 bytes will do. */
void units_duration_write(int64_t microseconds, char *text, size_t size);

#endif
