#include "stage/task_queue.h"

void task_queue_push(struct task_queue *queue, struct stage_task *task)
{
    task->next = NULL;
    if (queue->last)
        queue->last->next = task;
    else
        queue->first = task;
    queue->last = task;
    queue->count++;
}

struct stage_task *task_queue_shift(struct task_queue *queue)
{
    struct stage_task *task = queue->first;
    if (!task)
        return NULL;
    queue->first = task->next;
    if (!queue->first)
        queue->last = NULL;
    queue->count--;
    task->next = NULL;
    return task;
}

void task_queue_prepend(struct task_queue *queue, struct task_queue *front)
{
    if (!front->first)
        return;
    front->last->next = queue->first;
    queue->first = front->first;
    if (!queue->last)
        queue->last = front->last;
    queue->count += front->count;
    *front = (struct task_queue){0};
}
