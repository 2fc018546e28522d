/*
 * steps_rig.h: steps with messages made of texts, and what comes out of them as texts.
 */
#ifndef TESTS_UNIT_STEPS_RIG_H
#define TESTS_UNIT_STEPS_RIG_H

#include "message/attributes.h"
#include "stage/steps.h"

/* A message: "name=value" attributes, separated by spaces (NULL: none; `+` in a value is a space), and a body. */
struct steps_message {
    struct buffer block;
    struct format_item item;
};
void steps_message(struct steps_message *message, const char *attributes, const char *body);
void steps_message_free(struct steps_message *message);

struct steps_rig {
    struct stage_steps *steps;
    int64_t now;
    int64_t wall;
    uint64_t offset;      /* of the next message; its ticket too */
    struct buffer out;    /* "name=value name=value|body\n" for each that came out; "window 1,2: …" for a window */
    struct buffer log;    /* "name=value name=value\n" for each line */
    enum mp_error refuse; /* what the callbacks return */
    enum stage_verdict verdict;
    struct stage_result_of_steps result;
};

/* Opens COUNT steps at ALL. */
void steps_rig_open(struct steps_rig *rig, const struct stage_step *all, size_t count);
/* With bounds (others zero) for windows. */
void steps_rig_open_within(struct steps_rig *rig, const struct stage_step *all, size_t count,
                           const struct stage_steps_settings *bounds);
void steps_rig_free(struct steps_rig *rig);

/* Gives a message, as steps_message() makes it, and expects VERDICT. */
void steps_give(struct steps_rig *rig, const char *attributes, const char *body, enum stage_verdict verdict);
/* Gives one again that had OFFSET. */
void steps_give_again(struct steps_rig *rig, uint64_t offset, const char *attributes, const char *body,
                      enum stage_verdict verdict);
void steps_forget(struct steps_rig *rig, uint64_t offset, const char *attributes, const char *body);
void steps_tick(struct steps_rig *rig);

/* What came out since the last look. */
void steps_expect(struct steps_rig *rig, const char *out);
/* Opening fails with these words. */
void steps_refused(const struct stage_step *all, size_t count, const char *words);

#endif
