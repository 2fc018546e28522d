/* Replaying the letters of a file by a command: mretry's work, with the file as its source. */
#include "cli/letters_file.h"
#include "cli/retry_work.h"

#include "cli/exit.h"
#include "cli/pace.h"

#include <signal.h>
#include <unistd.h>

struct replayer {
    struct letters *letters;
    struct letters_file *file;
    struct loop loop;
    struct retry_work work;
    struct pace pace;
    struct letter_entry entry; /* the next one, if it is held */
    bool held;                 /* until its time comes */
    struct buffer attributes;  /* of the message as it was */
    uint64_t number;
};

static enum mp_error next(void *context, struct retry_message *message, const void **body, const void **attributes,
                          int64_t now, int64_t *due, int *exit_code, struct fault *fault)
{
    struct replayer *replayer = context;
    struct letter_entry *entry = &replayer->entry;
    enum mp_error error = MP_OK;
    *exit_code = EXIT_IO;
    while (!error && !replayer->held) {
        error = letters_file_next(replayer->file, entry, fault);
        replayer->held = !error && letter_filter_takes(&replayer->letters->filter, entry);
    }
    if (error)
        return error;
    if (!pace_ready(&replayer->pace, now, due))
        return MP_ERR_AGAIN;
    pace_take(&replayer->pace, now);
    replayer->held = false;
    struct buffer *block = &replayer->attributes;
    block->size = 0;
    if (buffer_append(block, entry->item.record.attributes, entry->item.record.attributes_size))
        return fault_memory(fault);
    letter_strip(block);
    *message = (struct retry_message){
        .size = entry->item.record.size,
        .attributes_size = block->size,
        .number = ++replayer->number,
        .time = entry->item.time,
        .place = entry->place,
        .place_size = entry->size,
    };
    *body = entry->item.record.body;
    *attributes = block->data;
    return MP_OK;
}

static enum mp_error done(void *context, const struct retry_message *message, struct fault *fault)
{
    struct replayer *replayer = context;
    enum mp_error error = letters_file_take(replayer->file, message->place, message->place_size, true, fault);
    replayer->letters->done += error == MP_OK;
    uint64_t end = message->place + message->place_size; /* several at once end in any order */
    if (end > replayer->work.progress.part)
        progress_share(&replayer->work.progress, end, replayer->file->size);
    return error;
}

/* It stays where it is. */
static enum mp_error dead(void *context, const struct retry_job *job, struct fault *fault)
{
    (void)fault;
    struct replayer *replayer = context;
    replayer->letters->left += job->count;
    return MP_OK;
}

static int run(struct replayer *replayer, const struct retry_policy *policy)
{
    const struct retry_settings *settings = replayer->letters->settings;
    struct retry_work *work = &replayer->work;
    struct fault fault = {0};
    *work = (struct retry_work){
        .loop = &replayer->loop,
        .policy = policy,
        .source = {.context = replayer, .next = next, .done = done, .dead = dead, .to = "it stays where it is"},
        .command = replayer->letters->options->command,
        .shell = settings->shell,
        .mode = RETRY_EACH,
        .batch = 1,
        .workers_count = (unsigned)settings->workers,
        .unordered = settings->unordered,
    };
    enum mp_error error = retry_work_open(work, &fault);
    if (!error) {
        progress_begin(&work->progress, 0, clock_monotonic());
        if (output_is_terminal(STDOUT_FILENO))
            work->progress.wanted = false;
        error = loop_run(&replayer->loop, retry_work_step, work, &fault);
        progress_end(&work->progress);
    }
    if (error)
        return tell_fault(&fault);
    if (work->interrupted)
        replayer->letters->signal = replayer->loop.interrupted;
    if (work->pipe) {
        /* What was done is to leave the file first. */
        replayer->letters->signal = exit_was_ignored(SIGPIPE) ? 0 : SIGPIPE;
        return EXIT_IO;
    }
    if (work->exit >= 0)
        return work->exit;
    return work->dead ? EXIT_REJECTED : EXIT_DONE;
}

int letters_replay_by_command(struct letters *letters, struct letters_file *file)
{
    struct replayer replayer = {.letters = letters, .file = file};
    struct retry_policy policy;
    struct fault fault = {0};
    int code;
    enum mp_error error = retry_policy_of(letters->settings, letters->options, &policy, &fault);
    if (!error)
        error = loop_open(&replayer.loop, &fault);
    if (error) {
        code = tell_fault(&fault);
    } else {
        replayer.pace = pace_of(letters->settings->letters.rate, clock_monotonic());
        code = run(&replayer, &policy);
    }
    retry_work_close(&replayer.work);
    loop_close(&replayer.loop);
    buffer_free(&replayer.attributes);
    return code;
}
