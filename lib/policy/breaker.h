/*
 * breaker.h: a circuit breaker: after so many failures it opens and lets nothing pass for a while; then one tries, on
 * whose success it closes again, on whose failure it stays open for as long again. Arithmetic: time is an argument.
 */
#ifndef POLICY_BREAKER_H
#define POLICY_BREAKER_H

#include "msgpipe.h"

#include <stdbool.h>

enum { BREAKER_FAILURES_MAX = 100000 };

struct breaker_settings {
    unsigned failures; /* 1 to BREAKER_FAILURES_MAX: so many in a row, */
    int64_t interval;  /* or within so many microseconds, whatever succeeds between them; 0: in a row */
    int64_t open;      /* microseconds that it stays open */
};

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_TRYING };

struct breaker {
    struct breaker_settings settings;
    enum breaker_state state;
    bool tries;     /* TRYING: the one that tries is under way */
    int64_t until;  /* OPEN: when one may try */
    unsigned count; /* failures that count, `settings.failures` at most */
    unsigned next;  /* place of the next failure's time */
    int64_t *times; /* of the last failures, around; NULL without an interval */
};

/* A closed breaker. MP_ERR_INVALID (failures), MP_ERR_MEMORY. */
enum mp_error breaker_init(struct breaker *breaker, const struct breaker_settings *settings);
void breaker_free(struct breaker *breaker);

/* Brings the state to NOW: what was open long enough is TRYING. */
enum breaker_state breaker_state(struct breaker *breaker, int64_t now);

/*
 * Whether something may begin at NOW. *TRY: it is the one that tries, and its end is to be told with that: by
 * breaker_ended(), or breaker_not_tried() when it was not begun after all.
 */
bool breaker_lets(struct breaker *breaker, int64_t now, bool *try);
void breaker_not_tried(struct breaker *breaker);

/* What began ended at NOW. While the breaker is not closed only the one that tries counts. */
void breaker_ended(struct breaker *breaker, int64_t now, bool succeeded, bool tried);

/* When an open one lets the next try; CLOCK_NEVER when it is not open. */
int64_t breaker_due(const struct breaker *breaker);

#endif
