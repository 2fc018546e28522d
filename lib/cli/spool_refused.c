#include "cli/spool_refused.h"

#include "base/clock.h"
#include "base/path.h"
#include "cli/dead_file.h"

#include <stdio.h>
#include <string.h>

/* Adds each message of FRAME to FILE's next write. */
static enum mp_error add_all(struct dead_file *file, const struct frame *frame, const struct letter *letter,
                             struct fault *fault)
{
    struct frame_cursor cursor = frame_cursor(frame);
    struct format_item item = {.topic = letter->topic, .time = frame->time};
    enum mp_error error = MP_OK;
    while (!error && frame_next(&cursor, &item.record))
        error = dead_file_add(file, &item, letter, fault);
    return error;
}

enum mp_error spool_keep_refused(const char *directory, const struct spool_entry *entry, enum mp_error why,
                                 const char *text, struct fault *fault)
{
    struct frame frame;
    struct dead_file file;
    struct buffer note = {0};
    char path[PATH_BYTES + 16];
    enum mp_error error = frame_open(&frame, entry->data, entry->size, true, fault);
    if (error)
        return error;
    if (letter_note(text, strlen(text), &note))
        return fault_memory(fault);
    const char *reason = why == MP_ERR_OVERFLOW ? "overflow" : "rejected";
    const int64_t now = clock_wall();
    const struct letter letter = {.topic = entry->topic,
                                  .topic_size = strlen(entry->topic),
                                  .reason = reason,
                                  .reason_size = strlen(reason),
                                  .attempts = 1,
                                  .first = now,
                                  .last = now,
                                  .code = -1,
                                  .error = (const char *)note.data,
                                  .error_size = note.size};
    snprintf(path, sizeof path, "%s/refused.jsonl", directory);
    error = dead_file_open(&file, path, fault);
    if (!error)
        error = add_all(&file, &frame, &letter, fault);
    if (!error)
        error = dead_file_write(&file, fault);
    dead_file_close(&file);
    buffer_free(&note);
    return error;
}
