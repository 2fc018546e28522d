/*
 * runner_private.h: what the files of the runner share.
 *
 *   runner.c          its life: starting, stopping, draining
 *   runner_members.c  its stages, sources and sinks, and how a reload exchanges them
 *   runner_ask.c      what it asks of the relay: topics and groups, whether all is done; and what it reports
 */
#ifndef RUNNER_RUNNER_PRIVATE_H
#define RUNNER_RUNNER_PRIVATE_H

#include "base/turn.h"
#include "client/link.h"
#include "pipeline/pipeline.h"
#include "runner/runner.h"
#include "runner/source.h"
#include "runner/stage.h"
#include "transport/address.h"

/* A pipeline, for as long as somebody runs by it. */
struct generation {
    struct pipeline *pipeline;
    unsigned uses;
};

/* A stage, sink or source. */
struct member {
    struct member *next;
    struct generation *generation;
    const struct pipeline_stage *stage_model; /* one of these */
    const struct pipeline_source *source_model;
    struct runner_stage *stage; /* NULL: not opened yet */
    struct source *source;
    char *why;        /* it could not be opened; NULL: it could, or was not tried */
    bool leaving;     /* it was told to stop, and goes when it has */
    bool reached;     /* scratch */
    uint64_t changes; /* when it was looked at last */
};

enum runner_phase { PHASE_START, PHASE_RUN, PHASE_STOP, PHASE_GONE };
enum runner_question { ASK_NOTHING, ASK_CONFIGURE, ASK_GROUPS, ASK_REPORT };

struct runner {
    struct runner_settings settings;
    struct address address; /* of the relay */
    struct stage_children *children;
    struct staging staging;
    struct turn turn;
    int64_t started; /* monotonic */
    enum runner_phase phase;
    enum runner_state state;
    bool draining;
    bool began; /* all members were opened once: what cannot be opened after a reload does not end the others */
    struct fault failure;
    bool failed;
    uint64_t dead;           /* of members that have gone */
    unsigned failed_sources; /* of these */
    uint64_t dead_told;      /* what changed() was called with */

    struct generation *generation; /* what it runs */
    struct generation *coming;     /* of a reload, while the relay is asked */
    struct member *members;        /* sinks first, then stages, then sources */
    int64_t open_again;            /* when members that could not be opened are tried again; CLOCK_NEVER */

    struct client_link *link;
    enum runner_question asking;
    bool configure; /* is to be asked */
    bool left;
    int64_t leave_by;
    int64_t groups_at;    /* when to ask whether all is done; CLOCK_NEVER */
    int64_t groups_pause; /* the last wait before that */
    bool quiet;           /* the last answer said so, and nothing has moved since */
    bool moved;           /* since it was last thought of asking */
    uint64_t moves;       /* of messages, and of what is asked for */
    uint64_t moves_asked; /* when the question was asked that is under way: an answer is as old as its question */
    int64_t report_at;
    int64_t reported;
    uint64_t changes; /* of all members */
    uint64_t changes_reported;
    bool trimmed;
};

/* ---- runner_members.c */
struct generation *generation_new(struct pipeline *pipeline);
void generation_drop(struct generation *generation); /* NULL is allowed */
/* Makes members of all that GENERATION has and the runner has not. MP_ERR_MEMORY. */
enum mp_error runner_members_add(struct runner *runner, struct generation *generation);
/* Members that GENERATION does not have, with the same text, are told to stop. */
void runner_members_exchange(struct runner *runner, const struct generation *generation, int64_t deadline);
/* Opens what can be opened, and lets go what has stopped; what they changed is counted. The first failure in FAULT. */
enum mp_error runner_members_look(struct runner *runner, int64_t now, struct fault *fault);
void runner_members_stop(struct runner *runner, int64_t deadline);
void runner_members_stop_sources(struct runner *runner);
void runner_members_free(struct runner *runner);
bool runner_members_have_stopped(const struct runner *runner);
bool runner_members_have_sources(const struct runner *runner);
bool runner_members_sources_have_ended(const struct runner *runner);
/* Whether no stage has anything in hand but what waits in windows. */
bool runner_members_are_idle(const struct runner *runner);
uint64_t runner_members_windowed(const struct runner *runner);
/* Ends the windows of a stage whose inputs no other stage with windows can still add to. */
void runner_members_end_windows(struct runner *runner);
uint64_t runner_members_dead(const struct runner *runner);

/* ---- runner_ask.c */
enum mp_error runner_ask_open(struct runner *runner, struct fault *fault);
/* Asks what is to be asked at NOW, if nothing is under way; when there will be something. */
int64_t runner_ask(struct runner *runner, int64_t now);

/* What is called by runner_ask.c: the relay has set up the topics and groups of what is coming, or refuses to. */
void runner_configured(struct runner *runner, enum mp_error error, const char *text);
/* It cannot go on. */
void runner_fail(struct runner *runner, const struct fault *fault);

/* Something has happened that an answer to an earlier question cannot tell of. */
static inline void runner_moved(struct runner *runner)
{
    runner->moved = true;
    runner->moves++;
}

#endif
