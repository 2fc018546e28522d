/* task_queue.h: tasks (work.h) in order, by their member `next`. Zeroed it is empty; whoever has it owns no task. */
#ifndef STAGE_TASK_QUEUE_H
#define STAGE_TASK_QUEUE_H

#include "stage/work.h"

struct task_queue {
    struct stage_task *first;
    struct stage_task *last;
    uint32_t count;
};

void task_queue_push(struct task_queue *queue, struct stage_task *task);
/* NULL: it is empty. */
struct stage_task *task_queue_shift(struct task_queue *queue);
/* All of FRONT, in its order, before what is in QUEUE; FRONT is empty then. */
void task_queue_prepend(struct task_queue *queue, struct task_queue *front);

#endif
