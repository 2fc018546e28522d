/* Commands for messages. */
#include "cli/receive_runner.h"

struct receive_runner {
    struct receive_queue queue;
};

enum mp_error receive_runner_open(const struct receive_runner_settings *settings, struct receive_runner **runner,
                                  struct fault *fault)
{
    (void)settings;
    (void)runner;
    return fault_set(fault, MP_ERR_UNSUPPORTED, "this version cannot run commands");
}

void receive_runner_free(struct receive_runner *runner)
{
    (void)runner;
}

enum mp_error receive_runner_add(struct receive_runner *runner, struct receive_parcel *parcel, struct fault *fault)
{
    (void)fault;
    receive_queue_add(&runner->queue, parcel);
    return MP_OK;
}

enum mp_error receive_runner_pump(struct receive_runner *runner, int64_t now, int64_t *due, int *exit,
                                  struct fault *fault)
{
    (void)runner;
    (void)now;
    (void)due;
    (void)exit;
    (void)fault;
    return MP_OK;
}

void receive_runner_stop(struct receive_runner *runner)
{
    (void)runner;
}

uint32_t receive_runner_room(const struct receive_runner *runner)
{
    return runner->queue.first ? 0 : 1;
}

bool receive_runner_idle(const struct receive_runner *runner)
{
    return runner->queue.first == NULL;
}
