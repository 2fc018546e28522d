/* mretry without a relay: messages come from stdin, dead ones go to a file. */
#include "cli/retry_work.h"

#include "cli/dead_file.h"
#include "cli/exit.h"
#include "cli/retry_post.h"
#include "cli/seen_file.h"
#include "cli/send_source.h"
#include "message/attributes.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

enum { BODY_MAX = 64 * 1024 * 1024 }; /* bytes of a message, unless --max-message says otherwise */

struct retry_input {
    const struct retry_settings *settings;
    struct retry_work work;
    struct loop loop;
    struct send_source *source;
    struct event *readable;
    int readable_descriptor;
    struct dead_file dead_file;
    struct retry_post post; /* --dead-topic */
    char place[FAULT_TEXT]; /* where dead messages go, for words */
    struct seen seen;
    struct seen_file seen_file; /* --dedupe-file */
    uint64_t seed;
    uint64_t producer; /* the run's own: with a message's number its identity */
};

/* ---- messages come in ----------------------------------------------------------------------------------------- */

static void on_readable(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct retry_input *input = context;
    send_source_readable(input->source);
}

static enum mp_error await(struct retry_input *input, struct fault *fault)
{
    int descriptor = send_source_descriptor(input->source);
    if (descriptor < 0)
        return MP_ERR_AGAIN;
    if (!input->readable)
        input->readable = event_new(input->loop.base, descriptor, EV_READ, on_readable, input);
    if (!input->readable || event_add(input->readable, NULL))
        return fault_memory(fault);
    return MP_ERR_AGAIN;
}

/* What --dedupe goes by. A message that has no id (key) is always worked on. */
static void set_id(const struct retry_input *input, const struct send_item *item, struct retry_message *message)
{
    static const char *const names[] = {[RETRY_DEDUPE_ID] = "id", [RETRY_DEDUPE_KEY] = "partitionkey"};
    struct attribute attribute;
    if (input->settings->dedupe == RETRY_DEDUPE_NONE || !item->attributes_size)
        return;
    const char *name = names[input->settings->dedupe];
    message->has_id = attribute_find(item->attributes, item->attributes_size, name, strlen(name), &attribute);
    if (message->has_id)
        message->id = seen_id_of(attribute.value, attribute.value_size, input->seed);
}

static enum mp_error next(void *context, struct retry_message *message, const void **body, const void **attributes,
                          int64_t now, int64_t *due, int *exit_code, struct fault *fault)
{
    struct retry_input *input = context;
    struct send_item item;
    const struct send_source_counts *counts = send_source_counts(input->source);
    if (input->settings->dead_topic && !input->post.ready)
        return MP_ERR_AGAIN; /* that nothing can be kept there is told before anything is done */
    enum mp_error error = send_source_next(input->source, &item, now, due, fault);
    /* A line that is no message is hopeless, too: without a place for such it stops the tool. */
    if (counts->rejected && !input->settings->dead_file && !input->settings->dead_topic) {
        *exit_code = EXIT_FAILED;
        return fault_set(fault, MP_ERR_FORMAT, "stopping: with --dead-file FILE the others go on");
    }
    if (error == MP_ERR_AGAIN)
        return await(input, fault);
    if (error) {
        *exit_code = send_source_exit(input->source, error);
        return error;
    }
    *message = (struct retry_message){
        .size = item.size,
        .attributes_size = item.attributes_size,
        .producer = input->producer,
        .sequence = counts->taken,
        .number = counts->taken,
        .time = clock_wall(),
    };
    *body = item.body;
    *attributes = item.attributes;
    set_id(input, &item, message);
    return MP_OK;
}

/* ---- done ones are noted ---------------------------------------------------------------------------------------- */

static enum mp_error note_done(void *context, const struct retry_message *message, struct fault *fault)
{
    struct retry_input *input = context;
    return message->has_id && seen_file_add(&input->seen_file, message->id) ? fault_memory(fault) : MP_OK;
}

static enum mp_error flush_done(void *context, int64_t now, struct fault *fault)
{
    struct retry_input *input = context;
    return seen_file_flush(&input->seen_file, now, fault);
}

/* ---- dead ones go out ----------------------------------------------------------------------------------------- */

static enum mp_error to_file(void *context, const struct retry_job *job, struct fault *fault)
{
    struct retry_input *input = context;
    struct letter letter = retry_letter_of(job);
    enum mp_error error = MP_OK;
    for (uint32_t i = 0; !error && i < job->count; i++) {
        struct format_item item = retry_job_item(job, &job->messages[i]);
        error = dead_file_add(&input->dead_file, &item, &letter, fault);
    }
    return error ? error : dead_file_write(&input->dead_file, fault);
}

static enum mp_error to_topic(void *context, const struct retry_job *job, struct fault *fault)
{
    struct retry_input *input = context;
    return retry_post_send(&input->post, job, fault);
}

static enum mp_error check_post(void *context, int64_t now, struct fault *fault)
{
    struct retry_input *input = context;
    return retry_post_check(&input->post, now, fault);
}

/* ---- running -------------------------------------------------------------------------------------------------- */

static enum mp_error open_source(struct retry_input *input, const struct options *options, struct fault *fault)
{
    struct options plain = *options;
    plain.command = NULL; /* that is ours, not where messages come from */
    plain.operands_count = 0;
    enum mp_error error = send_source_open(&input->settings->input, &plain, &input->source, fault);
    if (error)
        return error;
    uint64_t limit = input->settings->input.max_message;
    send_source_limit(input->source, limit ? (size_t)limit : BODY_MAX);
    return MP_OK;
}

/* Where dead messages go, for words. */
static const char *place_of(const struct retry_settings *settings)
{
    return settings->dead_file ? settings->dead_file : settings->dead_topic ? settings->dead_topic : "";
}

static enum mp_error open_all(struct retry_input *input, const struct options *options,
                              const struct retry_policy *policy, struct fault *fault)
{
    const struct retry_settings *settings = input->settings;
    enum mp_error error = MP_OK;
    if (settings->dead_file)
        error = dead_file_open(&input->dead_file, settings->dead_file, fault);
    if (!error && settings->dead_topic)
        error =
            retry_post_open(&input->post, &input->loop, settings->relay, settings->dead_topic, settings->wait, fault);
    if (!error && getentropy(&input->producer, sizeof(input->producer)) != 0)
        input->producer = (uint64_t)clock_wall();
    input->producer = input->producer ? input->producer : 1;
    input->seed = ~input->producer;
    input->seen.window = settings->window;
    if (!error && settings->dedupe_file) {
        error = seen_file_open(&input->seen_file, settings->dedupe_file, (uint64_t)settings->dedupe, &input->seen,
                               clock_monotonic(), fault);
        input->seed = input->seen_file.seed;
    }
    snprintf(input->place, sizeof(input->place), "it goes to %s", place_of(settings));
    input->work = (struct retry_work){
        .loop = &input->loop,
        .policy = policy,
        .source = {.context = input,
                   .next = next,
                   .check = settings->dead_topic ? check_post : NULL,
                   .done = settings->dedupe_file ? note_done : NULL,
                   .flush = settings->dedupe_file ? flush_done : NULL,
                   .dead = settings->dead_file    ? to_file
                           : settings->dead_topic ? to_topic
                                                  : NULL,
                   .to = input->place,
                   .bytes = &send_source_counts(input->source)->bytes,
                   .relay = settings->relay,
                   .resumes = true},
        .command = options->command,
        .shell = settings->shell,
        .mode = (enum retry_mode)settings->mode,
        .format = (enum format)settings->input.format,
        .batch = settings->mode == RETRY_EACH ? 1
                 : settings->batch            ? (uint32_t)settings->batch
                                              : RETRY_BATCH_SIZE,
        .workers_count = (unsigned)settings->workers,
        .unordered = settings->unordered,
        .seen = settings->dedupe == RETRY_DEDUPE_NONE ? NULL : &input->seen,
    };
    return error ? error : retry_work_open(&input->work, fault);
}

/* What there is to say at the end, and the exit code. */
static int conclude(const struct retry_input *input)
{
    const struct retry_work *work = &input->work;
    uint64_t rejected = send_source_counts(input->source)->rejected;
    send_source_summary(input->source);
    if (work->duplicates && output_is_terminal(STDERR_FILENO))
        tell("%" PRIu64 " %s left out: done before (--dedupe)", work->duplicates,
             work->duplicates == 1 ? "message was" : "messages were");
    if (work->pipe)
        return exit_by_pipe();
    if (work->interrupted)
        retry_work_tell_undone(work, "interrupted");
    else if (work->exit >= 0 && work->came)
        retry_work_tell_undone(work, "ended early");
    if (work->exit >= 0)
        return work->exit;
    if (work->dead)
        tell("%" PRIu64 " of %" PRIu64 " messages died: they are in %s", work->dead, work->came,
             place_of(input->settings));
    return work->dead || rejected ? EXIT_REJECTED : EXIT_DONE;
}

static int run(struct retry_input *input, const struct options *options, const struct retry_policy *policy)
{
    struct fault fault = {0};
    enum mp_error error = loop_open(&input->loop, &fault);
    if (!error)
        error = open_all(input, options, policy, &fault);
    if (error)
        return tell_fault(&fault);
    int64_t now = clock_monotonic();
    struct progress *progress = &input->work.progress;
    progress_begin(progress, send_source_counts(input->source)->total, now);
    if (output_is_terminal(STDOUT_FILENO) || output_is_terminal(STDIN_FILENO))
        progress->wanted = false;
    error = loop_run(&input->loop, retry_work_step, &input->work, &fault);
    progress_end(progress);
    return error ? tell_fault(&fault) : conclude(input);
}

int retry_from_input(const struct retry_settings *settings, const struct options *options,
                     const struct retry_policy *policy, int *signal)
{
    struct retry_input input = {.settings = settings, .dead_file.descriptor = -1, .seen_file.descriptor = -1};
    struct fault fault = {0};
    int code;
    enum mp_error error = open_source(&input, options, &fault);
    if (error) {
        tell("%s", fault_text(&fault));
        code = send_source_exit(NULL, error);
    } else {
        code = run(&input, options, policy);
    }
    retry_work_close(&input.work);
    dead_file_close(&input.dead_file);
    retry_post_close(&input.post);
    seen_file_close(&input.seen_file);
    seen_free(&input.seen);
    if (input.readable)
        event_free(input.readable);
    send_source_free(input.source);
    *signal = input.work.interrupted ? input.loop.interrupted : 0;
    loop_close(&input.loop);
    return code;
}
