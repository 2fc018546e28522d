/*
 * steps_private.h: what the steps share among themselves. A kind of step is a table of functions and a file of its own;
 * steps.c takes messages through them.
 */
#ifndef STAGE_STEPS_PRIVATE_H
#define STAGE_STEPS_PRIVATE_H

#include "client/protocol.h"
#include "message/attributes.h"
#include "stage/steps.h"

/* A message, a piece of one, or what came of a window, on its way. */
struct passage {
    struct stage_steps *steps;
    struct format_item item;         /* as it is now */
    const struct format_item *given; /* as it was given to the steps */
    uint64_t ticket;
    uint64_t piece; /* which piece of its message it is; of the whole 0 */
    int64_t now;
    int64_t wall;
    struct stage_result_of_steps *result;
    struct step *keeper; /* that `out` works for */
    bool forget;         /* the steps that remember it forget it; nothing else happens */
    /* Takes what came through all steps; ITEM is good during the call. */
    enum mp_error (*out)(struct passage *passage, const struct format_item *item);
};

/* What a step has decided. */
enum step_next {
    STEP_ON,   /* to the next step */
    STEP_SKIP, /* nothing comes of it: it is done */
    STEP_PASS, /* past all other steps */
    STEP_DEAD, /* passage->result says why */
    STEP_WAIT, /* until passage->result->due */
    STEP_HELD
};

struct step;

struct step_type {
    /* Makes step->state of step->declared; closes what it made when it fails. */
    enum mp_error (*open)(struct step *step, struct fault *fault);
    void (*close)(struct step *step);
    enum mp_error (*apply)(struct step *step, struct passage *passage, enum step_next *next);
    /* The message that went through is kept (done or held), or not: then it is as if it had not been there. May be NULL. */
    void (*settle)(struct step *step, bool kept, int64_t now);
};

struct step {
    const struct step_type *type;
    const struct stage_step *declared;
    struct stage_steps *steps;
    size_t index;
    void *state;
};

struct stage_steps {
    struct stage_steps_settings settings;
    struct stage_counts counts;
    struct buffer blocks[2]; /* attributes as steps changed them, in turns */
    struct step *aggregate;  /* NULL: none */
    bool remembers;          /* there are steps that stage_steps_forget() is for */
    size_t count;
    struct step all[];
};

extern const struct step_type step_where, step_set, step_rename, step_remove, step_rate_limit, step_log, step_dedupe,
    step_split, step_aggregate;

/* Takes PASSAGE through the steps from INDEX on; what comes through goes to passage->out. *NEXT is not STEP_ON, PASS. */
enum mp_error steps_run(struct passage *passage, size_t index, enum step_next *next);

/* The buffer that the attributes of PASSAGE are not in, with a copy of them. NULL: no memory. */
struct buffer *passage_copy(struct passage *passage);
/* BLOCK has the attributes from now on. */
void passage_dress(struct passage *passage, const struct buffer *block);

/* Notes that the message is dead. WORDS are put behind STEP's name. */
enum step_next passage_dies(struct passage *passage, enum protocol_reason reason, const char *step, const char *words);

/* The attribute that a user's NAME means: "key" is partitionkey. */
const char *step_attribute(const char *name);
/* Checks that NAME can be an attribute's. */
enum mp_error step_check_name(const char *name, struct fault *fault);

/* The end of those windows that are over. */
int64_t step_aggregate_due(const struct step *step);
enum mp_error step_aggregate_tick(struct step *step, int64_t now, int64_t wall, bool all);

#endif
