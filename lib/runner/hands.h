/*
 * hands.h: what a stage gives its messages to, as one table: commands (stage/work.h) or the end of a pipeline (sink.h).
 */
#ifndef RUNNER_HANDS_H
#define RUNNER_HANDS_H

#include "runner/sink.h"
#include "stage/work.h"

/* As the functions of work.h of the same names. */
struct hands_operations {
    uint32_t (*room)(const void *object);
    void (*add)(void *object, struct stage_task *task);
    void (*give_back)(void *object);
    void (*stop)(void *object);
    void (*end)(void *object);
    bool (*idle)(const void *object);
    unsigned (*running)(const void *object);
    void (*free)(void *object);
};

/* Zeroed there are none. */
struct hands {
    const struct hands_operations *operations;
    void *object;
};

struct hands hands_of_work(struct stage_work *work);
struct hands hands_of_sink(struct sink *sink);
void hands_free(struct hands *hands);

static inline uint32_t hands_room(const struct hands *hands)
{
    return hands->operations->room(hands->object);
}

#endif
