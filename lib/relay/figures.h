/*
 * figures.h: what a relay says of itself in numbers, to those who watch it (lib/web): beside what its engine says
 * (queue/figures.h). Counted from the relay's start on, and never backwards.
 *
 * Ask between turns.
 */
#ifndef RELAY_FIGURES_H
#define RELAY_FIGURES_H

#include "base/buckets.h"
#include "queue/figures.h"
#include "relay/core.h"

enum { CORE_REQUEST_TYPES = PROTOCOL_LEAVE + 1 };

struct core_figures {
    const char *name, *version;
    size_t sessions;
    uint64_t requests[CORE_REQUEST_TYPES]; /* by enum protocol_type */
    uint64_t invalid, gaps, refused_full;  /* requests that were refused: not understood, out of turn, no room */
    uint64_t repeats;                      /* requests that were answered with what is recorded */
    uint64_t stale;                        /* messages that were settled too late */
    uint64_t greeted, evicted;             /* sessions */
    uint64_t undone;                       /* turns */
    const struct buckets *turns, *commits; /* how long they took, by buckets_turn; empty without a stopwatch */
};

void core_figures(const struct core *core, struct core_figures *figures);

/* The engine, to be asked for its figures; NULL while the store cannot be read, and so nothing is known. */
struct engine *core_engine(const struct core *core);

/* Whether the disk lets publications in: MP_OK, or MP_ERR_FULL, with the reason. Cheap enough for each turn. */
enum mp_error core_has_space(struct core *core, struct fault *fault);

/* Whether publications are taken: MP_OK, or why not. */
enum mp_error core_ready(struct core *core, struct moment now, struct fault *fault);

/* ---- stages, sources and sinks, as runners report them -------------------------------------------------------- */

enum core_stage_count {
    CORE_STAGE_IN,
    CORE_STAGE_DONE,
    CORE_STAGE_OUT,
    CORE_STAGE_FAILED,
    CORE_STAGE_DEAD,
    CORE_STAGE_SKIPPED,
    CORE_STAGE_RETRACED, /* had a trace's name that is none, which was replaced */
    CORE_STAGE_COUNTS
};
enum { CORE_STAGE_STATES = 10 };
extern const char *const core_stage_states[CORE_STAGE_STATES]; /* what runners call them */

/* What runners have done since the relay's start, all that run it together. */
struct core_stage {
    const char *pipeline, *name;
    const char *kind;                   /* "stage", "source", "sink" */
    uint64_t counts[CORE_STAGE_COUNTS]; /* messages */
    struct buckets working;             /* a command's runs, by buckets_wait */
    int64_t running;                    /* runs under way */
    int64_t states[CORE_STAGE_STATES];  /* runners whose part of it is in that state */
    int64_t breakers, open;             /* runners that have a breaker for it, and those where it is open */
};

/* How many there are; what runners that went silent said of the present is forgotten. */
size_t core_stages(struct core *core, struct moment now);
const struct core_stage *core_stage_at(const struct core *core, size_t index);

#endif
