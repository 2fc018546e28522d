/*
 * admin_trace.c: what mtrace asks of a relay whose store it cannot open: to be read to (readers.h).
 *
 *     {"verb":"trace","reading":ID,"command":VERB,"options":{NAME:VALUE…},"operands":[…],
 *      "terminal":{"columns":N,"rows":N,"output":B,"errors":B,"colour":B,"ascii":B},"east":SECONDS}
 *                          {}: mtrace VERB runs at the relay; with the same ID again: the same one. What stdout and
 *                          stderr are at the client's, what it shows times in, and what it may ask for:
 *                          readers_arguments.h
 *     {"verb":"trace_read","reading":ID,"number":N,"wait_ms":N}
 *                          {"number":N,"output":N,"errors":N,"exit":N}, a newline, and then so many bytes of what was
 *                          printed to stdout, and to stderr. The first piece has the number 1; each number asks for the
 *                          piece behind the last one, or for the last one again; where there is none yet, the answer has
 *                          the number of the last one, and no bytes. The last piece has the exit code. With
 *                          "keep":true nothing is asked for but that the reading is not ended
 */
#include "relay/admin.h"

enum { QUESTION_BYTES = 4096, WAIT_MOST = 5000 };

/* Unlike what changes the store, no error of these undoes the turn. */
static void refuse(struct core *core, const struct request *request, enum mp_error error, const struct fault *detail)
{
    core_reply_text(core, request, error, fault_text(detail));
}

static void start_reading(struct core *core, const struct request *request, json_t *asked)
{
    const struct core_settings *settings = &core->settings;
    struct fault detail = {0};
    enum mp_error error = settings->readers->start(settings->context, asked, core->now.monotonic, &detail);
    if (error)
        refuse(core, request, error, &detail);
    else
        core_reply_text(core, request, MP_OK, "{}");
}

/* True when the request was answered; one that waits comes again when there is something new, and when its wait is over. */
static bool read_reading(struct core *core, struct request *request, json_t *asked)
{
    const struct core_settings *settings = &core->settings;
    json_int_t wait = json_integer_value(json_object_get(asked, "wait_ms"));
    struct fault detail = {0};
    struct buffer out = {0};
    int64_t now = core->now.monotonic;
    bool over = request->list ? request->deadline <= now
                              : wait <= 0 || request->head.body_size > QUESTION_BYTES || !core_may_wait(core, request);
    enum mp_error error = settings->readers->read(settings->context, asked, now, !over, &out, &detail);
    if (error == MP_ERR_AGAIN && !over) {
        request->session = NULL; /* it may be gone before the wait is over */
        if (!request->list)
            core_wait(core, request, &core->readings, now + (wait < WAIT_MOST ? wait : WAIT_MOST) * 1000);
        return false;
    }
    if (error)
        refuse(core, request, error, &detail);
    else
        core_admin_reply(core, request, &out, MP_OK);
    buffer_free(&out);
    return true;
}

bool core_admin_trace(struct core *core, struct request *request, json_t *asked, const char *verb, bool *answered)
{
    const struct core_settings *settings = &core->settings;
    if (!settings->readers)
        return false;
    if (strcmp(verb, "trace") == 0) {
        start_reading(core, request, asked);
    } else if (strcmp(verb, "trace_read") == 0) {
        *answered = read_reading(core, request, asked);
    } else {
        return false;
    }
    return true;
}

void core_leave_readings(struct core *core, uint64_t connection)
{
    const struct core_settings *settings = &core->settings;
    for (struct request *request = core->readings.first, *next; request; request = next) {
        next = request->next;
        if (request->connection != connection)
            continue;
        json_t *asked = json_loadb((const char *)request->head.body, request->head.body_size, 0, NULL);
        settings->readers->left(settings->context, asked, core->now.monotonic);
        json_decref(asked);
        core_request_free(core, request);
    }
}

void core_check_readings(struct core *core)
{
    const struct core_settings *settings = &core->settings;
    if (!core->readings.first || !settings->readers->changed(settings->context))
        return;
    for (struct request *request = core->readings.first, *next; request; request = next) {
        next = request->next;
        struct fault fault = {0};
        if (core_admin(core, request, &fault))
            core_request_free(core, request);
    }
}
