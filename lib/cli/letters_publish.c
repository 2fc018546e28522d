/* Letters of a file go to a topic: a frame is on the relay's disk before they leave the file. */
#include "cli/letters_file.h"
#include "cli/letters_link.h"

#include "cli/exit.h"
#include "cli/output.h"
#include "cli/retry.h"
#include "message/names.h"

#include <string.h>

enum { BATCH = 4096 }; /* letters of one frame at most */

struct publisher {
    struct letters *letters;
    struct letters_file *file;
    struct letters_link link;
    struct frame_builder frame;
    struct buffer block;
    struct buffer places; /* pairs of 64 bits: place and size, of what is in the frame */
    struct progress progress;
    uint64_t bytes;
    bool ended; /* the file */
};

/* Adds the message that the letter was. */
static enum mp_error add(struct publisher *publisher, const struct letter_entry *entry)
{
    struct buffer *block = &publisher->block;
    const struct record *record = &entry->item.record;
    block->size = 0;
    enum mp_error error = buffer_append(block, record->attributes, record->attributes_size);
    if (error)
        return error;
    letter_strip(block);
    error = frame_add(&publisher->frame, record->body, record->size, block->data, block->size);
    if (!error)
        error = buffer_put_u64(&publisher->places, entry->place);
    publisher->bytes += record->size;
    return error ? error : buffer_put_u64(&publisher->places, entry->size);
}

/* Fills a frame, with MOST letters at most. */
static enum mp_error fill(struct publisher *publisher, uint64_t most, struct fault *fault)
{
    struct letter_entry entry;
    uint64_t producer;
    uint64_t sequence;
    client_origin(publisher->link.client, &producer, &sequence);
    enum mp_error error = frame_begin(&publisher->frame, producer, sequence);
    publisher->places.size = 0;
    while (!error && publisher->frame.count < most && publisher->frame.bytes.size < FRAME_TARGET) {
        error = letters_file_next(publisher->file, &entry, fault);
        if (!error && letter_filter_takes(&publisher->letters->filter, &entry))
            error = add(publisher, &entry);
    }
    publisher->ended = error == MP_ERR_CLOSED;
    if (publisher->ended)
        return MP_OK;
    return error == MP_ERR_MEMORY ? fault_memory(fault) : error;
}

/* What was stored leaves the file. */
static enum mp_error take(struct publisher *publisher, struct fault *fault)
{
    enum mp_error error = MP_OK;
    for (size_t at = 0; !error && at < publisher->places.size; at += 16) {
        bool last = at + 16 == publisher->places.size;
        error = letters_file_take(publisher->file, load_u64(publisher->places.data + at),
                                  load_u64(publisher->places.data + at + 8), last, fault);
        publisher->letters->done += error == MP_OK;
    }
    return error;
}

static int run(struct publisher *publisher)
{
    const struct letters_settings *settings = &publisher->letters->settings->letters;
    struct client_publication publication = {.topic = settings->to};
    struct letters_link *link = &publisher->link;
    struct fault fault = {0};
    /* A tenth of a second's worth at a time. */
    uint64_t most =
        settings->rate > 0 && settings->rate < (double)(10 * BATCH) ? (uint64_t)(settings->rate / 10) + 1 : BATCH;
    int64_t next = clock_monotonic();
    progress_begin(&publisher->progress, 0, next);
    while (!publisher->ended && link->signal == 0) {
        if (fill(publisher, most, &fault))
            return tell_fault(&fault);
        uint32_t count = publisher->frame.count;
        if (count == 0)
            break;
        frame_finish(&publisher->frame, clock_wall());
        if (!letters_link_publish(link, &publication, &publisher->frame))
            return link->exit;
        if (link->error) {
            tell("%s", link->text);
            return exit_code_of(link->error);
        }
        if (take(publisher, &fault))
            return tell_fault(&fault);
        progress_share(&publisher->progress, publisher->file->place, publisher->file->size);
        progress_show(&publisher->progress, "replayed", publisher->bytes, publisher->letters->done, clock_monotonic());
        next += settings->rate > 0 ? (int64_t)(1e6 * count / settings->rate) : 0;
        if (settings->rate > 0 && !publisher->ended && !letters_link_pause(link, next))
            return link->exit;
    }
    return EXIT_DONE;
}

int letters_publish_file(struct letters *letters, struct letters_file *file)
{
    struct publisher publisher = {.letters = letters, .file = file};
    const struct retry_settings *settings = letters->settings;
    struct fault fault = {0};
    if (name_check_topic(settings->letters.to, strlen(settings->letters.to), &fault)) {
        tell("--to: %s", fault_text(&fault));
        return EXIT_USAGE;
    }
    int code;
    if (letters_link_open(&publisher.link, settings->relay, settings->wait))
        code = run(&publisher);
    else
        code = publisher.link.exit;
    progress_end(&publisher.progress);
    letters->signal = publisher.link.signal;
    letters_link_close(&publisher.link);
    frame_builder_free(&publisher.frame);
    buffer_free(&publisher.block);
    buffer_free(&publisher.places);
    return code;
}
