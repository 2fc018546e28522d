/* What mretry's commands are run for. */
#include "cli/retry_job.h"

#include "base/memory.h"

struct retry_job *retry_job_new(struct retry_budget *budget)
{
    struct retry_job *job = memory_allocate(sizeof(*job));
    if (job) {
        job->output = retry_output_of(budget);
        job->code = -1;
    }
    return job;
}

void retry_job_free(struct retry_job *job)
{
    for (uint32_t i = 0; i < job->count; i++)
        memory_release(job->messages[i].bytes);
    memory_release(job->messages);
    retry_output_clear(&job->output);
    buffer_free(&job->note);
    memory_release(job);
}

enum mp_error retry_job_add(struct retry_job *job, const struct retry_message *message, const void *body,
                            const void *attributes)
{
    if (job->count == job->capacity) {
        struct retry_message *messages = memory_grow(job->messages, &job->capacity, sizeof(*messages), 1);
        if (!messages)
            return MP_ERR_MEMORY;
        job->messages = messages;
    }
    struct retry_message *copy = &job->messages[job->count];
    *copy = *message;
    size_t size = message->size + message->attributes_size;
    copy->bytes = memory_allocate(size + sizeof(message->id));
    if (!copy->bytes)
        return MP_ERR_MEMORY;
    if (message->size)
        memcpy(copy->bytes, body, message->size);
    if (message->attributes_size)
        memcpy(copy->bytes + message->size, attributes, message->attributes_size);
    memcpy(copy->bytes + size, &message->id, sizeof(message->id));
    job->count++;
    job->bytes += size;
    return MP_OK;
}

struct format_item retry_job_item(const struct retry_job *job, const struct retry_message *message)
{
    return (struct format_item){
        .record =
            {
                .body = message->bytes,
                .size = message->size,
                .attributes = message->attributes_size ? message->bytes + message->size : NULL,
                .attributes_size = message->attributes_size,
                .producer = message->producer,
                .sequence = message->sequence,
            },
        .attempt = job->attempts,
        .time = message->time,
    };
}

struct letter retry_letter_of(const struct retry_job *job)
{
    return (struct letter){
        .reason = job->reason,
        .reason_size = strlen(job->reason),
        .attempts = job->attempts,
        .first = job->first,
        .last = job->last,
        .code = job->code,
        .error = (const char *)job->note.data,
        .error_size = job->note.size,
    };
}

void retry_list_add(struct retry_list *list, struct retry_job *job)
{
    job->next = NULL;
    job->previous = list->last;
    if (list->last)
        list->last->next = job;
    else
        list->first = job;
    list->last = job;
    list->jobs++;
    list->messages += job->count;
    list->bytes += job->bytes;
}

void retry_list_remove(struct retry_list *list, struct retry_job *job)
{
    if (job->previous)
        job->previous->next = job->next;
    else
        list->first = job->next;
    if (job->next)
        job->next->previous = job->previous;
    else
        list->last = job->previous;
    job->next = job->previous = NULL;
    list->jobs--;
    list->messages -= job->count;
    list->bytes -= job->bytes;
}

void retry_list_free(struct retry_list *list)
{
    while (list->first) {
        struct retry_job *job = list->first;
        retry_list_remove(list, job);
        retry_job_free(job);
    }
}
