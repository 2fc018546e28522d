/*
 * steps.h: what a stage does to messages without a process: the steps of a pipeline's file, one after the other.
 *
 * A step is declared as a struct stage_step (by lib/pipeline, from YAML), and compiled by stage_steps_open(). A message
 * goes in with stage_steps_apply(); none, one or several come out, to which the settlement of the one that went in
 * belongs. No clock is read: the time is an argument. Nothing is kept on disk: what a step remembers (dedupe, windows)
 * is rebuilt from messages that are not settled, or lost with the process, as is said of each.
 */
#ifndef STAGE_STEPS_H
#define STAGE_STEPS_H

#include "base/buffer.h"
#include "base/fault.h"
#include "message/formats.h"

enum stage_match { STAGE_EQUAL, STAGE_GLOB, STAGE_REGEX, STAGE_EXISTS, STAGE_ABOVE, STAGE_BELOW };

/* NAME is matched by one of the values (or by none of them: `negate`). */
struct stage_condition {
    const char *name; /* an attribute; "key", "topic", "attempt", "body"; "/a/b": a JSON Pointer into the body */
    enum stage_match match;
    bool negate;
    const char *const *values; /* EXISTS: none. ABOVE, BELOW: one number */
    size_t count;
};

/* All conditions hold. */
struct stage_where {
    struct stage_condition *conditions;
    size_t count;
};

enum stage_step_kind {
    STAGE_STEP_WHERE,
    STAGE_STEP_SET,
    STAGE_STEP_RENAME,
    STAGE_STEP_REMOVE,
    STAGE_STEP_RATE_LIMIT,
    STAGE_STEP_LOG,
    STAGE_STEP_DEDUPE,
    STAGE_STEP_SPLIT,
    STAGE_STEP_AGGREGATE
};

enum stage_otherwise { STAGE_ELSE_SKIP, STAGE_ELSE_PASS, STAGE_ELSE_DEAD };

struct stage_pair {
    const char *name;  /* SET: an attribute; RENAME: its name now */
    const char *value; /* SET: a template (formats.h); RENAME: its name from now on */
};

struct stage_step {
    enum stage_step_kind kind;
    struct stage_where where;       /* WHERE */
    enum stage_otherwise otherwise; /* WHERE: what becomes of the others: done, past all other steps, dead (rejected) */
    struct stage_pair *pairs;       /* SET, RENAME */
    size_t pairs_count;
    const char *const *names; /* REMOVE, LOG: attributes; LOG also topic, key, body, size, attempt */
    size_t names_count;
    double rate;        /* RATE_LIMIT: messages a second */
    uint64_t sample;    /* LOG: one of so many; 0: each */
    const char *by;     /* DEDUPE: "id", "key" or an attribute. AGGREGATE: "key" or an attribute, NULL: none */
    int64_t window;     /* DEDUPE: so long. AGGREGATE: a window ends so long after its first message */
    uint64_t count;     /* AGGREGATE: or with so many messages; 0: no limit */
    uint64_t size;      /* AGGREGATE: or bytes of bodies; 0: no limit */
    enum format format; /* SPLIT: how a body is taken apart. AGGREGATE: how bodies are put together */
    bool array;         /* SPLIT: the body is a JSON array. AGGREGATE: it becomes one */
};

enum stage_verdict {
    STAGE_DONE, /* what there was to emit was emitted; with it the message is done */
    STAGE_DEAD, /* it is dead for a reason; nothing was emitted */
    STAGE_WAIT, /* not now: ask again at `due` with the same message; nothing was emitted and nothing remembered */
    STAGE_HELD  /* it is in a window, and done with what that emits; keep it unsettled */
};

struct stage_result_of_steps {
    int64_t due;    /* WAIT: microseconds, as NOW */
    int reason;     /* DEAD: enum protocol_reason */
    char note[160]; /* DEAD: words for the dead letter */
};

struct stage_steps;

struct stage_steps_settings {
    const struct stage_step *steps; /* must stay where they are */
    size_t count;
    void *context;
    /* A message comes out; good during the call only. It keeps its origin unless it is a new one (split, aggregate):
     * then record.producer is 0. MP_ERR_MEMORY and the like end the apply with that error. */
    enum mp_error (*emit)(void *context, const struct format_item *item);
    /*
     * A window ended: ITEM is what comes of the COUNT messages whose TICKETS, as given to apply, it is made of, in the
     * order in which they came. May be NULL without an AGGREGATE.
     */
    enum mp_error (*window)(void *context, const struct format_item *item, const uint64_t *tickets, size_t count);
    /* LOG: a line of logfmt, without a newline. May be NULL without a LOG. */
    void (*log)(void *context, const char *line, size_t size);
};

/* MP_ERR_INVALID (a template, a regular expression, a name), MP_ERR_MEMORY. STEPS may be none: everything passes. */
enum mp_error stage_steps_open(const struct stage_steps_settings *settings, struct stage_steps **steps,
                               struct fault *fault);
void stage_steps_free(struct stage_steps *steps);

/*
 * Takes ITEM through the steps. TICKET stands for it in window(). NOW: monotonic microseconds; WALL: since the epoch.
 * An error (MP_ERR_MEMORY, or what a callback returned) leaves the message as if it had not been given.
 */
enum mp_error stage_steps_apply(struct stage_steps *steps, const struct format_item *item, uint64_t ticket, int64_t now,
                                int64_t wall, enum stage_verdict *verdict, struct stage_result_of_steps *result);

/* When stage_steps_tick() is to be called at the latest; CLOCK_NEVER. */
int64_t stage_steps_due(const struct stage_steps *steps);
/* Ends the windows that are over at NOW; ALL: every one (the stage drains). The error of a callback: the window stays. */
enum mp_error stage_steps_tick(struct stage_steps *steps, int64_t now, int64_t wall, bool all);

/* A message that is given again (its lease was lost, or it is retried) is forgotten first: by dedupe and windows. */
void stage_steps_forget(struct stage_steps *steps, const struct format_item *item, uint64_t ticket);

/* The same conditions for themselves: routes. MP_ERR_INVALID, MP_ERR_MEMORY. */
struct stage_matcher;
enum mp_error stage_matcher_open(const struct stage_where *where, struct stage_matcher **matcher, struct fault *fault);
void stage_matcher_free(struct stage_matcher *matcher);
bool stage_matches(const struct stage_matcher *matcher, const struct format_item *item);

#endif
