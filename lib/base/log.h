/*
 * log.h: the relay's log, logfmt or JSON lines on stderr, one event a line.
 *
 *     struct log_line line;
 *     log_begin(&line, LOG_WARNING, "connection closed");
 *     log_field(&line, "reason", "%s", text);
 *     log_end(&line);
 *
 *     time=2026-11-20T17:00:00.000000Z level=warning event="connection closed" reason="no greeting"
 *
 * Each line is one write(2), so that lines of several processes do not mix. A value that does not fit is cut and ends
 * in "..."; a field for which there is no room at all is left out: what is written is always well formed. Control
 * characters are escaped, and bytes that are no UTF-8 become U+FFFD.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };

/* Lines below LEVEL are not written (LOG_INFO at first). JSON chooses JSON lines. Call before the first line. */
void log_setup(enum log_level level, bool json);

struct log_line {
    char text[2048];
    size_t size;
    bool wanted;
};

void log_begin(struct log_line *line, enum log_level level, const char *event);

/*
 * Adds a field. NAME is a constant, a lower-case word. With a FORMAT that is one conversion of a number and nothing
 * else, such as "%zu", JSON has a number, otherwise a string.
 */
void log_field(struct log_line *line, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Writes the line. errno is left as it was. */
void log_end(struct log_line *line);

/*
 * At most one line a second of its kind. True: leave this one out, it is counted. False: write it, with
 * log_field_suppressed() to say how many were left out since the last one. A zeroed limit is a fresh one. NOW:
 * monotonic microseconds.
 */
struct log_limit {
    long long next;
    unsigned long suppressed; /* lines left out before the one that passed last */
    unsigned long counting;   /* lines left out since */
};
bool log_limited(struct log_limit *limit, long long now);

/* Adds the field "suppressed" when LIMIT left lines out. */
void log_field_suppressed(struct log_line *line, const struct log_limit *limit);

#endif
