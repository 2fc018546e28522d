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

/*
 * NAME is matched by one of the values (or by none of them: `negate`). What a message does not have matches no value: a
 * negated condition holds then.
 */
struct stage_condition {
    const char *name; /* what format_value (formats.h) knows: key, topic, attempt, body, "/a/b", any attribute */
    enum stage_match match;
    bool negate;
    /*
     * EXISTS: none. ABOVE, BELOW: one decimal number; what is no number is neither. GLOB: glob.h. REGEX: a POSIX extended
     * regular expression, which is found anywhere unless ^ and $ say otherwise; characters are bytes in it.
     */
    const char *const *values;
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
    const char *name;  /* SET: an attribute ("key": partitionkey); RENAME: its name now */
    const char *value; /* SET: a template (formats.h), empty: it is removed; RENAME: its name from now on */
};

struct stage_step {
    enum stage_step_kind kind;
    struct stage_where where;       /* WHERE */
    enum stage_otherwise otherwise; /* WHERE: what becomes of the others: done, past all other steps, dead (rejected) */
    struct stage_pair *pairs;       /* SET, RENAME */
    size_t pairs_count;
    const char *const *names; /* REMOVE: attributes; LOG: what conditions can name, none: topic, id, key */
    size_t names_count;
    double rate;        /* RATE_LIMIT: messages a second */
    uint64_t sample;    /* LOG: one of so many; 0: each */
    const char *by;     /* DEDUPE, AGGREGATE: what conditions can name. AGGREGATE: NULL is one window for all */
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

/* LOG: something of a message. */
struct stage_field {
    const char *name; /* as it was declared */
    const char *value;
    size_t size; /* of the value, any bytes, not terminated */
};

/*
 * A window that ended, with those messages that are done with it; good during the call only. They may be of several
 * topics, unless windows are by topic: they must all be of one session, which settles them at once.
 */
struct stage_window {
    const uint64_t *tickets; /* as given to apply, in the order in which they came */
    size_t count;
    const struct format_item *item; /* what comes of them, a new message; NULL: nothing */
    bool dead;                      /* they are dead, for the reason in RESULT */
    const struct stage_result_of_steps *result;
};

/* What became of messages, beside what was emitted. */
struct stage_counts {
    uint64_t skipped;    /* by where */
    uint64_t duplicates; /* left out by dedupe */
    uint64_t forgotten;  /* ids that dedupe had no room for any more, before their window was over */
    uint64_t windows;    /* that ended */
    uint64_t early;      /* of these, for want of room */
};

struct stage_steps;

struct stage_steps_settings {
    const struct stage_step *steps; /* must stay where they are, with all that they point to */
    size_t count;
    /*
     * How much windows may hold. Messages: as many as may be leased at a time, 65,536 at most (0: that): with them nothing more would
     * come, so the largest window ends early, and is counted. Bytes of bodies (0: 64 MiB): past them the same. One window
     * ends before its message gets longer than body_max (0: 16 MiB), see stage_steps_limit().
     */
    uint64_t held_messages;
    uint64_t held_bytes;
    size_t body_max;
    void *context;
    /* A message comes out; good during the call only. It keeps its origin unless it is a new one (split, aggregate):
     * then record.producer is 0. MP_ERR_MEMORY and the like end the apply with that error. */
    enum mp_error (*emit)(void *context, const struct format_item *item);
    /* A window ended. An error: it stays as it is, and ends with the next tick. May be NULL without an AGGREGATE. */
    enum mp_error (*window)(void *context, const struct stage_window *window);
    /* LOG: what there is to say of a message. May be NULL. */
    void (*log)(void *context, const struct stage_field *fields, size_t count);
};

/*
 * MP_ERR_INVALID (a template, a regular expression, a name; a step that cannot follow another), MP_ERR_MEMORY. The
 * settings are copied. STEPS may be none: everything passes.
 */
enum mp_error stage_steps_open(const struct stage_steps_settings *settings, struct stage_steps **steps,
                               struct fault *fault);
/* What windows hold is forgotten with it. NULL is allowed. */
void stage_steps_free(struct stage_steps *steps);

/* The longest body that the relay takes, as it says when it greets. */
void stage_steps_limit(struct stage_steps *steps, size_t body_max);

/*
 * Takes ITEM through the steps. TICKET stands for it in window(); no two held messages have the same. NOW: monotonic
 * microseconds; WALL: since the epoch. All that comes of a message is emitted, or nothing: an error (MP_ERR_MEMORY, or
 * what a callback returned) leaves the message as if it had not been given, apart from what was emitted before a callback
 * failed. After STAGE_HELD look at stage_steps_due(): a window may be full.
 */
enum mp_error stage_steps_apply(struct stage_steps *steps, const struct format_item *item, uint64_t ticket, int64_t now,
                                int64_t wall, enum stage_verdict *verdict, struct stage_result_of_steps *result);

/* When stage_steps_tick() is to be called at the latest: the past, when a window is full; CLOCK_NEVER. */
int64_t stage_steps_due(const struct stage_steps *steps);
/* Ends the windows that are over at NOW; ALL: every one (the stage drains). The error of a callback: the window stays. */
enum mp_error stage_steps_tick(struct stage_steps *steps, int64_t now, int64_t wall, bool all);

/*
 * A message is not held by its owner any more, or was not done with: its lease was lost, it is retried, or died behind
 * the steps. dedupe and windows forget it, so that it can come again. ITEM: as it was given to apply.
 */
void stage_steps_forget(struct stage_steps *steps, const struct format_item *item, uint64_t ticket, int64_t now);

const struct stage_counts *stage_steps_counts(const struct stage_steps *steps);

/* The same conditions for themselves: routes. MP_ERR_INVALID, MP_ERR_MEMORY. */
struct stage_matcher;
enum mp_error stage_matcher_open(const struct stage_where *where, struct stage_matcher **matcher, struct fault *fault);
void stage_matcher_free(struct stage_matcher *matcher);
/* MP_ERR_MEMORY. */
enum mp_error stage_matches(struct stage_matcher *matcher, const struct format_item *item, bool *matches);

#endif
