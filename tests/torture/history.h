/*
 * history.h: what the torture's programs write down, and what the checker reads.
 *
 * A history is a text file, a line an event, appended with one write each, so that it survives the kill of who writes.
 * Fields are separated by one space; TIME is in microseconds of the monotonic clock, which all programs of one machine
 * share; names are words; HASH is the XXH3-64 of the body in hex.
 *
 *     send     TIME PRODUCER TOPIC SEQUENCE HASH       is handed over now
 *     ok       TIME PRODUCER FIRST LAST                these sequences are acknowledged
 *     failed   TIME PRODUCER FIRST LAST                these were refused for good: they must not appear
 *     got      TIME CONSUMER GROUP TOPIC OFFSET ATTEMPT PRODUCER SEQUENCE HASH
 *     acked    TIME CONSUMER GROUP TOPIC OFFSET        the relay has recorded it
 *     retried  TIME CONSUMER GROUP TOPIC OFFSET        given back, to come again (also: released)
 *     stale    TIME CONSUMER GROUP TOPIC OFFSET        the lease had ended before the settlement
 *     kill     TIME WHAT                               a process was killed, a connection cut
 *
 * A message that was sent, and neither acknowledged nor refused, is unknown: it may come or not. PRODUCER is one life of
 * a program: after a kill it has another name.
 */
#ifndef HISTORY_H
#define HISTORY_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>

/* Opens (and makes) the history at PATH for appending; ends the program when it cannot. */
int history_open(const char *path);

/* Appends one line of FORMAT, whose first word is EVENT; the time is put in between. */
void history_write(int history, const char *event, const char *format, ...) __attribute__((format(printf, 3, 4)));

int64_t history_now(void);

/* The hash that a history has for these bytes. */
uint64_t history_hash(const void *bytes, uint64_t size);

#endif
