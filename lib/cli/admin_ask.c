/* A question to the relay and its answer. */
#include "cli/admin_ask.h"

#include "cli/exit.h"
#include "cli/output.h"
#include "cli/relay_link.h"
#include "message/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATIENCE = 10000000, NEAREST_OF = 4096 };

struct question {
    const struct admin_settings *settings;
    struct loop loop;
    struct relay_link *link;
    char *request;
    bool sent;
    bool done;
    json_t *answer;
    int64_t give_up; /* when to; monotonic microseconds */
    int exit;
};

static void on_answered(void *context, enum mp_error status, const char *text, size_t size)
{
    struct question *question = context;
    question->done = true;
    if (status != MP_OK) {
        if (!question->settings->quiet)
            tell("%.*s", (int)(size < FAULT_TEXT ? size : FAULT_TEXT), text);
        question->exit = exit_code_of(status);
        return;
    }
    json_error_t error;
    question->answer = json_loadb(text, size, 0, &error);
    question->exit = question->answer ? EXIT_DONE : EXIT_FAILED;
    if (!question->answer)
        tell("the relay's answer is no JSON: line %d, column %d: %s", error.line, error.column, error.text);
}

static void on_failed(void *context, enum mp_error error, const char *text)
{
    struct question *question = context;
    question->done = true;
    question->exit = exit_code_of(error);
    if (!question->settings->quiet)
        tell("%s", text);
}

/* There is no relay, or it cannot be asked. */
static int tell_link(const struct admin_settings *settings, const struct fault *fault)
{
    if (settings->quiet)
        return exit_code_of(fault->code);
    if (settings->start && fault->code == MP_ERR_NO_RELAY)
        return tell_no_relay(settings->relay, settings->start, fault);
    return relay_link_tell(settings->relay, fault);
}

static bool step(void *context, int64_t now, int64_t *due)
{
    struct question *question = context;
    struct fault fault = {0};
    enum mp_error error = relay_link_check(question->link, now, &fault);
    if (question->done)
        return false;
    if (question->loop.interrupted)
        exit_by_signal(question->loop.interrupted);
    struct client *client = relay_link_client(question->link);
    if (!error && client_is_welcome(client) && !question->sent) {
        question->sent = true;
        error = client_ask(client, question->request, strlen(question->request), &fault);
    }
    if (!error && now >= question->give_up)
        error = fault_set(&fault, MP_ERR_TIMEOUT, "the relay has not answered in time");
    *due = question->give_up;
    if (!error)
        return true;
    question->exit = tell_link(question->settings, &fault);
    return false;
}

static void run(struct question *question, int64_t connect)
{
    struct fault fault = {0};
    struct relay_link_settings link = {
        .loop = &question->loop,
        .relay = question->settings->relay,
        .wait = connect,
        .client = {.context = question, .answered = on_answered, .failed = on_failed},
    };
    if (relay_link_open(&link, &question->link, &fault))
        question->exit = tell_link(question->settings, &fault);
    else if (loop_run(&question->loop, step, question, &fault))
        question->exit = tell_fault(&fault);
    relay_link_close(question->link);
}

int admin_ask(const struct admin_settings *settings, json_t *request, int64_t connect, int64_t patience,
              json_t **answer)
{
    struct question question = {.settings = settings, .exit = EXIT_FAILED};
    struct fault fault = {0};
    question.request = request ? json_dumps(request, JSON_COMPACT) : NULL;
    json_decref(request);
    if (!question.request) {
        fault_memory(&fault);
        return tell_fault(&fault);
    }
    question.give_up = clock_monotonic() + patience;
    if (loop_open(&question.loop, &fault))
        question.exit = tell_fault(&fault);
    else
        run(&question, connect);
    loop_close(&question.loop);
    free(question.request);
    *answer = question.answer;
    return question.exit;
}

int admin_ask_soon(const struct admin_settings *settings, json_t *request, json_t **answer)
{
    return admin_ask(settings, request, settings->wait, settings->wait >= 0 ? settings->wait : PATIENCE, answer);
}

void admin_write_json(const json_t *answer, FILE *out)
{
    json_dumpf(answer, out, JSON_COMPACT | JSON_REAL_PRECISION(15));
    putc('\n', out);
}

void admin_print_json(const json_t *answer)
{
    admin_write_json(answer, stdout);
}

int admin_finish(void)
{
    struct fault fault = {0};
    enum mp_error error = output_close(&fault);
    if (error == MP_ERR_CLOSED)
        return exit_by_pipe();
    return error ? tell_fault(&fault) : EXIT_DONE;
}

uint64_t admin_number(const json_t *object, const char *name)
{
    json_int_t value = json_integer_value(json_object_get(object, name));
    return value > 0 ? (uint64_t)value : 0;
}

const char *admin_string(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

bool admin_has(const json_t *array, const char *key, const char *word)
{
    size_t index;
    const json_t *item;
    json_array_foreach(array, index, item)
    {
        if (!strcmp(admin_string(item, key), word))
            return true;
    }
    return false;
}

const char *admin_nearest(const json_t *array, const char *key, const char *word)
{
    const char *words[NEAREST_OF];
    size_t count = 0;
    size_t index;
    const json_t *item;
    json_array_foreach(array, index, item)
    {
        if (count < NEAREST_OF)
            words[count++] = admin_string(item, key);
    }
    return name_nearest(word, words, count);
}
