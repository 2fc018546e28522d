#include "runner/hands.h"

static uint32_t work_room(const void *object)
{
    return stage_work_room(object);
}

static void work_add(void *object, struct stage_task *task)
{
    stage_work_add(object, task);
}

static void work_return(void *object)
{
    stage_work_return(object);
}

static void work_stop(void *object)
{
    stage_work_stop(object);
}

static void work_end(void *object)
{
    stage_work_end(object);
}

static bool work_idle(const void *object)
{
    return stage_work_idle(object);
}

static unsigned work_running(const void *object)
{
    return stage_work_running(object);
}

static void work_free(void *object)
{
    stage_work_free(object);
}

struct hands hands_of_work(struct stage_work *work)
{
    static const struct hands_operations operations = {
        .room = work_room,
        .add = work_add,
        .give_back = work_return,
        .stop = work_stop,
        .end = work_end,
        .idle = work_idle,
        .running = work_running,
        .free = work_free,
    };
    return (struct hands){&operations, work};
}

static uint32_t room_of_sink(const void *object)
{
    return sink_room(object);
}

static void add_to_sink(void *object, struct stage_task *task)
{
    sink_add(object, task);
}

/* What a sink has waits there: it is begun in order, and nothing else could take it. */
static void return_nothing(void *object)
{
    (void)object;
}

static void stop_sink(void *object)
{
    sink_stop(object);
}

static void end_sink(void *object)
{
    sink_end(object);
}

static bool is_sink_idle(const void *object)
{
    return sink_idle(object);
}

static unsigned no_processes(const void *object)
{
    (void)object;
    return 0;
}

static void free_sink(void *object)
{
    sink_free(object);
}

struct hands hands_of_sink(struct sink *sink)
{
    static const struct hands_operations operations = {
        .room = room_of_sink,
        .add = add_to_sink,
        .give_back = return_nothing,
        .stop = stop_sink,
        .end = end_sink,
        .idle = is_sink_idle,
        .running = no_processes,
        .free = free_sink,
    };
    return (struct hands){&operations, sink};
}

void hands_free(struct hands *hands)
{
    if (hands->operations)
        hands->operations->free(hands->object);
    *hands = (struct hands){0};
}
