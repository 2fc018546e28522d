/*
 * history.h: what the torture's programs write down, and what the checker reads.
 *
 * A history is a text file, a line an event, appended with one write each, so that it survives the kill of who writes.
 * Fields are separated by one space; TIME is in microseconds of the monotonic clock, which all programs of one machine
 * share; names are words; HASH is the XXH3-64 of the body in hex. What stands in brackets may be missing.
 *
 * What was done to messages:
 *
 *     send     TIME PRODUCER TOPIC SEQUENCE HASH [key=K] [id=I] [delay=MS] [ttl=MS]    is handed over now
 *     ok       TIME PRODUCER FIRST LAST                these sequences are acknowledged
 *     failed   TIME PRODUCER FIRST LAST                these were refused for good: they must not appear
 *     unknown  TIME PRODUCER FIRST LAST                nobody knows (a timeout): they may appear, like those of which
 *                                                      nothing more is said
 *     got      TIME CONSUMER GROUP TOPIC OFFSET ATTEMPT PRODUCER SEQUENCE HASH [ID]
 *     doing    TIME CONSUMER GROUP TOPIC OFFSET WHAT   is about to `ack` or `reject` it, or to `die` of it
 *     acked    TIME CONSUMER GROUP TOPIC OFFSET        the relay has recorded it
 *     retried  TIME CONSUMER GROUP TOPIC OFFSET        is about to be given back, to come again (also: released)
 *     stale    TIME CONSUMER GROUP TOPIC OFFSET        the lease had ended before the settlement
 *     kill     TIME WHO [GROUP]                        WHO, a CONSUMER or the part of its name before a dot, was killed:
 *                                                      what it had may come again, and one attempt in GROUP be charged
 *                                                      for it; GROUP "-": none; not said: whoever had messages
 *     cut      TIME WHO [GROUP]                        the same of a connection that was cut,
 *     pause    TIME WHO [GROUP]                        and of a process that was stopped
 *     letter   TIME GROUP TOPIC OFFSET REASON ATTEMPTS ID BODY     what a dead letter says, BODY up to the line's end
 *
 * What is to hold, and how far the torture is:
 *
 *     topic    TIME TOPIC [max=N] [ttl=MS] [window=MS]             its settings; window: of dedupe by id
 *     group    TIME GROUP PATTERN [retries=N] [order] [hold]       is to have every message of these topics
 *     pipe     TIME TOPIC OTHER GROUP [order]          GROUP, a stage, makes one message in OTHER of each in TOPIC; its
 *                                                      body says of whom (what the stage added is not in HASH); order:
 *                                                      those of one key stay as they were, and were before
 *     late     TIME GROUP                              from now on the group has consumers
 *     drained  TIME GROUP                              nothing waits for it, nothing is with its consumers
 *     calm     TIME all                                  from now on no consumer fails a message
 *     replayed TIME all                                  every dead letter was sent back
 *
 * What the relay says:
 *
 *     depth    TIME TOPIC GROUP N                      so many are not settled
 *     state    TIME TOPIC GROUP OPEN ACKED DEAD EXPIRED DROPPED DUPLICATES FOREIGN END
 *                                                      at the end: how many are waiting, leased or delayed; how many ended
 *                                                      in each way; how many offsets there are
 *     kept     TIME TOPIC N                            at the end: so many messages are still there
 *
 * A message that was sent, and neither acknowledged nor refused, is unknown: it may come or not. PRODUCER is one life of
 * a program: after a kill it has another name. A body begins with "PRODUCER SEQUENCE FATE ": FATE is a letter that tells
 * consumers what to do with it (fate.h).
 */
#ifndef HISTORY_H
#define HISTORY_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>

enum { HISTORY_NAME = 64, HISTORY_LINE = 1200 };

/* Opens (and makes) the history at PATH for appending; ends the program when it cannot. */
int history_open(const char *path);

/* Appends one line of FORMAT, whose first word is EVENT; the time is put in between. */
void history_write(int history, const char *event, const char *format, ...) __attribute__((format(printf, 3, 4)));

int64_t history_now(void);

/* The hash that a history has for these bytes. */
uint64_t history_hash(const void *bytes, uint64_t size);

/* Who the SIZE bytes of BODY say that they are; what says nothing is "nobody" 0, whom nobody sent, with fate '.'. */
void history_identify(const char *body, uint64_t size, char name[HISTORY_NAME], uint64_t *sequence, char *fate);

#endif
