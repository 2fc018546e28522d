/*
 * stage_private.h: what the files of a stage share.
 *
 *   stage.c          its life: opening, its turn, stopping, what it says of itself
 *   stage_take.c     messages from the feeds through the steps, to tasks
 *   stage_task.c     tasks: to commands and back; what an outcome means for the messages
 *   stage_emit.c     what came out, to its topics
 *   stage_breaker.c  the circuit breaker
 */
#ifndef RUNNER_STAGE_PRIVATE_H
#define RUNNER_STAGE_PRIVATE_H

#include "base/buckets.h"
#include "base/histogram.h"
#include "base/log.h"
#include "base/turn.h"
#include "policy/breaker.h"
#include "runner/feed.h"
#include "runner/hands.h"
#include "runner/stage.h"

/* A topic that messages go to. */
struct destination {
    const char *topic;
    struct stage_matcher *matcher; /* NULL: everything */
    uint64_t messages;             /* that were stored there */
    bool first;                    /* no destination before it has the same topic */
};

struct bundle;

/* Where messages go: what the circuit breaker says. */
enum stage_way { WAY_COMMAND, WAY_FALLBACK, WAY_NONE };

struct runner_task {
    struct stage_task task;
    struct bundle *bundle;
    int64_t begun;        /* when it was handed over; monotonic */
    struct buffer output; /* of one of several, until the others are done */
};

/*
 * Messages of one feed that succeed or fail together, with what the steps made of them: a message, a batch, or a window.
 * What a split makes of a message are tasks of their own, but for a batch.
 */
struct bundle {
    struct bundle *next, *previous; /* of all that are under way */
    struct bundle *next_ready;      /* of those that wait for room */
    struct feed *feed;
    struct part *parts; /* pinned */
    uint32_t parts_count, parts_capacity;
    uint32_t inputs; /* messages in all parts */
    struct format_item *items;
    uint32_t *inputs_of; /* of items: which input they came of; NULL: one of each */
    uint32_t items_count, items_capacity;
    struct keep keep; /* bytes of items that are nowhere else */
    struct runner_task *tasks;
    uint32_t tasks_count;
    uint32_t added;     /* tasks handed over */
    uint32_t finished;  /* tasks that came back */
    enum stage_way way; /* where its tasks go, when one was handed over */
    bool probe;         /* the circuit breaker lets it try */
    /* The worst outcome of its tasks. */
    enum stage_end end;
    int32_t code;
    bool ended_early;
    char *note; /* NULL: none */
    uint16_t note_size;
    /* What is kept with a bundle of one message, so that it takes one allocation. */
    struct part one_part;
    struct format_item one_item;
    struct runner_task one_task;
};

struct stage_counters {
    uint64_t in;     /* messages begun */
    uint64_t done;   /* and done, with all that came of them */
    uint64_t out;    /* messages stored */
    uint64_t failed; /* attempts that are to be repeated */
    uint64_t dead;
    uint64_t retraced; /* messages with a traceparent or tracestate that is none, which was left out */
};

enum stage_phase { PHASE_WORK, PHASE_FINISH, PHASE_LEAVE, PHASE_STOPPED };

struct runner_stage {
    struct runner_stage_settings settings;
    const struct pipeline_stage *model;
    struct turn turn;
    enum stage_phase phase;
    int64_t deadline; /* of finishing; CLOCK_NEVER: it was not told to stop */
    bool ended;       /* what runs was told to end */

    struct feed *feeds;
    struct feed *next_feed; /* whose turn it is to give messages */
    struct feed_calls calls;
    bool has_steps;
    bool has_windows;                  /* then each feed has steps of its own */
    struct window_context *contexts;   /* of these */
    const struct stage_parcel *taking; /* whose message goes through the steps */
    bool window_full;                  /* one is to be ended before the next message is taken */
    uint32_t rate;                     /* of its rate limits the lowest, messages a second; 0: none */

    struct destination *destinations; /* `to` or routes, and the breaker's topic as the last */
    uint32_t destinations_count;
    uint32_t routes;       /* so many of them are for what comes out */
    bool routed;           /* a message that matches none is dead */
    uint64_t most_at_once; /* outputs in one commit, as a topic takes no more; 0: no limit */

    struct hands hands;    /* NULL: steps only */
    struct hands fallback; /* the breaker's command */
    uint32_t batch;        /* messages in a task */
    uint32_t at_work;      /* bundles whose tasks were handed over */
    uint64_t worked;       /* messages done since `pace_since` */
    uint32_t pace;         /* messages that it has done in a tenth of a second */
    int64_t pace_since;

    struct bundle *bundles;            /* all that are under way */
    struct bundle *ready, *ready_last; /* those that wait for room */
    struct bundle *spare;              /* to be used again */
    uint32_t spares;
    int64_t wait_until; /* a step wants no message before; 0: none does */

    /* why it does not go on; "": it does */
    char paused[256]; /* the command, or the sink */
    char full[256];   /* an output */
    bool broken;      /* it cannot go on at all */
    struct fault fault;

    bool has_breaker;
    struct breaker breaker;

    struct log_limit failures; /* how often they are told in the log */
    unsigned deaths_told;      /* deaths that the log has, STAGE_DEATHS_TOLD at most */
    struct stage_counters counters;
    struct histogram times;    /* microseconds of work */
    struct buckets worked_for; /* the same, all since the start, by buckets_wait */
    int64_t faded;             /* when they were faded last */
    uint64_t changes;
    bool away; /* stage_is_away(), when that was looked at last */
};

/* Something has changed that its report tells. */
void stage_changed(struct runner_stage *stage);
/* Whether a relay of its feeds does not answer. */
bool stage_is_away(const struct runner_stage *stage);
/* The words that a stage logs with. */
void stage_log_begin(const struct runner_stage *stage, struct log_line *line, enum log_level level, const char *event);

/* ---- stage_take.c */
enum mp_error stage_open_steps(struct runner_stage *stage, struct fault *fault);
void stage_free_steps(struct runner_stage *stage);
/* FEED has lost its session: what is in its windows is forgotten. */
void stage_lose_windows(struct runner_stage *stage, struct feed *feed);
/* Takes messages and begins work on them, as long as there is room; true: it only stopped to let others have a turn. */
bool stage_take(struct runner_stage *stage, int64_t now);
/* Ends windows that are over, or ALL; when one will be, CLOCK_NEVER. */
int64_t stage_tick(struct runner_stage *stage, int64_t now, bool all);

/* ---- stage_bundle.c */
/* A bundle without anything; NULL: no memory. */
struct bundle *bundle_new(struct runner_stage *stage, struct feed *feed);
/* What became of its messages was said before. */
void bundle_free(struct runner_stage *stage, struct bundle *bundle);
/* Nothing was said, nor will be. */
void bundle_drop(struct runner_stage *stage, struct bundle *bundle);
enum mp_error bundle_add_part(struct bundle *bundle, struct part part);
/* Adds an item, whose bytes stay, that came of its input number INPUT. */
enum mp_error bundle_add_item(struct bundle *bundle, const struct format_item *item, uint32_t input);
/* Makes its items one task, or one each. */
enum mp_error bundle_make_tasks(struct bundle *bundle, bool together);
/* Takes the inputs of COUNT items out of it: OUT, to be freed, whose parcels are pinned. */
enum mp_error bundle_take_out(struct bundle *bundle, const uint32_t *items, size_t count, struct part **out,
                              uint32_t *out_count);

/* ---- stage_task.c */
enum mp_error stage_open_hands(struct runner_stage *stage, struct fault *fault);
/* Begins BUNDLE, now or when there is room. */
void stage_begin(struct runner_stage *stage, struct bundle *bundle);
/* Hands over what waits, as far as there is room. */
void stage_hand_over(struct runner_stage *stage);
/* Whether one more can be begun at once. */
bool stage_has_room(const struct runner_stage *stage);
/* Everything that nobody works upon goes back to the relay. */
void stage_give_back(struct runner_stage *stage);
/* All messages of BUNDLE are settled as HOW says, and it is freed. */
void stage_settle_bundle(struct runner_stage *stage, struct bundle *bundle, const struct protocol_settlement *how);

/* ---- stage_breaker.c */
enum mp_error stage_open_breaker(struct runner_stage *stage, struct fault *fault);
/* Which way a bundle goes that begins now; *PROBE: it is the one that tries. */
enum stage_way stage_way(struct runner_stage *stage, int64_t now, bool *probe);
/* Whether messages go to the fallback now. */
bool stage_is_falling_back(const struct runner_stage *stage);
/* How an attempt by the command ended. */
void stage_judge(struct runner_stage *stage, const struct bundle *bundle, bool succeeded);
/* BUNDLE came back and was not begun. */
void stage_not_tried(struct runner_stage *stage, const struct bundle *bundle);
/* BUNDLE goes where the breaker's fallback leads that is no command. */
void stage_fall_back(struct runner_stage *stage, struct bundle *bundle);
/* How many messages the breaker lets in: UINT32_MAX: all; 1: one tries; 0: none, until *DUE. */
uint32_t stage_breaker_lets(struct runner_stage *stage, int64_t now, int64_t *due);
/* "closed", "open", "trying"; NULL: there is none. */
const char *stage_breaker_state(const struct runner_stage *stage);

/* ---- stage_emit.c */
enum mp_error stage_open_routes(struct runner_stage *stage, struct fault *fault);
void stage_free_routes(struct runner_stage *stage);
/*
 * What is staged goes to its topics, and with it COUNT PARTS, taken from FEED, are done; or they are dead, since there is
 * no way for an output, or it is too large. EXIT_CODE goes with them.
 */
void stage_emit(struct runner_stage *stage, struct feed *feed, const struct part *parts, uint32_t count);
/* All that is staged goes to destination NUMBER. */
void stage_emit_to(struct runner_stage *stage, struct feed *feed, const struct part *parts, uint32_t count,
                   uint32_t number);
/*
 * PART's messages die, for a REASON, with WORDS (SIZE bytes, or NULL): counted, and told in the log, which has the first
 * hundred of a stage: that is the list that `mrelay once` refers to.
 */
enum { STAGE_DEATHS_TOLD = 100 };
void stage_count_dead(struct runner_stage *stage, const struct part *part, enum protocol_reason reason,
                      const char *words, size_t size);
/* COUNT parts are dead for REASON. */
void stage_bury(struct runner_stage *stage, struct feed *feed, const struct part *parts, uint32_t count,
                enum protocol_reason reason, const char *words);

#endif
