/*
 * Dead letters. A message that dies is copied, with where it came from and why, into a dead-letter topic, in the
 * transaction of its death. The letters of a turn to one topic are collected in a frame, which is stored when it is
 * full or the turn is about to end; a turn that is undone forgets them with all the rest.
 */
#include "base/units.h"
#include "message/attributes.h"
#include "message/letter.h"
#include "queue/local.h"

#include <stdlib.h>
#include <xxhash.h>

/* The letters of a turn that go to one topic. */
struct letter_box {
    struct letter_box *next;
    char topic[NAME_MAX_BYTES + 1]; /* by name: another request of the turn may delete it */
    struct frame_builder frame;
    int64_t time; /* of the frame that its first letter comes from */
};

/* A name that has no room for the ending loses as much as that needs. */
void local_letters_name(const struct group *group, char name[NAME_MAX_BYTES + 1])
{
    static const char ending[] = ".dead";
    const char *set = group->subscription->settings.dead_letter;
    if (set[0] != '\0') {
        memcpy(name, set, strlen(set) + 1);
        return;
    }
    size_t size = strlen(group->topic->name), most = NAME_MAX_BYTES - (sizeof ending - 1);
    if (size > most)
        size = most;
    while (group->topic->name[size - 1] == '.')
        size--;
    memcpy(name, group->topic->name, size);
    memcpy(name + size, ending, sizeof ending);
}

/* The box for NAME, whose topic is there or is made. */
static enum mp_error box_for(struct local *local, const char *name, struct letter_box **result, struct fault *fault)
{
    struct letter_box *box = local->letters;
    while (box && strcmp(box->topic, name) != 0)
        box = box->next;
    *result = box;
    if (box)
        return MP_OK;
    struct topic *topic;
    enum mp_error error = local_letters_topic(local, name, strlen(name), &topic, fault);
    if (error)
        return error;
    if (!(box = calloc(1, sizeof *box)))
        return fault_memory(fault);
    memcpy(box->topic, name, strlen(name) + 1);
    box->next = local->letters;
    *result = local->letters = box;
    return MP_OK;
}

static void box_free(struct letter_box *box)
{
    frame_builder_free(&box->frame);
    free(box);
}

/* Stores what is in BOX. */
static enum mp_error box_empty(struct local *local, struct letter_box *box, struct fault *fault)
{
    struct local_frame_origin origin = {0}; /* nobody's request */
    struct topic *topic;
    enum mp_error error = local_letters_topic(local, box->topic, strlen(box->topic), &topic, fault);
    if (error || box->frame.count == 0)
        return error;
    local->letters_sequence += box->frame.count;
    frame_finish(&box->frame, box->time);
    struct blob *blob = blob_of_buffer(&box->frame.bytes);
    if (!blob)
        return fault_memory(fault);
    struct frame frame;
    uint64_t first;
    uint32_t duplicates;
    frame_trust(&frame, blob->data, blob->size);
    error = local_add_frame(local, topic, &origin, &frame, blob, &first, &duplicates, fault);
    blob_drop(blob);
    box->frame.count = 0;
    return error;
}

enum mp_error local_letters_send(struct local *local, struct fault *fault)
{
    enum mp_error error = MP_OK;
    struct letter_box *box;
    while (!error && (box = local->letters)) {
        error = box_empty(local, box, fault);
        local->letters = box->next;
        box_free(box);
    }
    return error;
}

void local_letters_forget(struct local *local)
{
    struct letter_box *box;
    while ((box = local->letters)) {
        local->letters = box->next;
        box_free(box);
    }
}

/*
 * Letters keep the origin of their message. Their frame needs a producer even so: one that no client has, as far as
 * chance goes, and the same again in a simulation from the same seed.
 */
static enum mp_error box_begin(struct local *local, struct letter_box *box, struct fault *fault)
{
    if (local->letters_producer == 0) {
        const uint64_t seed[] = {(uint64_t)local->time, (uint64_t)local->now.monotonic, local->now.boot,
                                 local->last_event};
        local->letters_producer = XXH3_64bits(seed, sizeof seed) | 1;
    }
    return frame_begin(&box->frame, local->letters_producer, local->letters_sequence) ? fault_memory(fault) : MP_OK;
}

/* What all letters of one run tell, and the places where each is made. */
struct burial {
    struct local *local;
    struct group *group;
    struct letter_box *box;
    struct letter letter;
    struct buffer note;
    struct buffer block;
    int64_t time; /* of the frame that the message comes from */
    struct fault *fault;
};

/*
 * A message without a `time` has that of its frame. Letters of several frames share one, which has the time of the
 * first; the others say theirs themselves. (One that has all the attributes that there can be cannot.)
 */
static enum mp_error keep_time(struct burial *burial)
{
    struct attribute attribute;
    struct buffer *block = &burial->block;
    char text[UNITS_TIME_TEXT];
    if (burial->box->frame.count == 0)
        burial->box->time = burial->time;
    if (burial->box->time == burial->time || attribute_find(block->data, block->size, "time", 4, &attribute))
        return MP_OK;
    units_time_text(burial->time, text);
    enum mp_error error = attributes_set(block, ATTRIBUTE_TIME, "time", 4, text, strlen(text), NULL);
    return error == MP_ERR_MEMORY ? error : MP_OK;
}

static enum mp_error bury_record(struct burial *burial, const struct record *record, uint64_t offset)
{
    struct letter_box *box = burial->box;
    struct buffer *block = &burial->block;
    block->size = 0;
    burial->letter.offset = offset;
    enum mp_error error = buffer_append(block, record->attributes, record->attributes_size);
    if (!error)
        error = attributes_set_origin(block, record->producer, record->sequence);
    if (!error)
        error = keep_time(burial);
    if (!error)
        error = letter_write(block, &burial->letter);
    if (error)
        return error == MP_ERR_MEMORY ? fault_memory(burial->fault)
                                      : fault_set(burial->fault, MP_ERR_INTERNAL, "a dead letter that cannot be made");
    if (box->frame.count > 0 && !frame_has_room(&box->frame, record->size, block->size))
        error = box_empty(burial->local, box, burial->fault);
    if (!error && box->frame.count == 0)
        error = box_begin(burial->local, box, burial->fault);
    if (!error && frame_add(&box->frame, record->body, record->size, block->data, block->size))
        error = fault_memory(burial->fault);
    return error;
}

/* The frame with OFFSET, which the group was given once. */
static enum mp_error frame_of(const struct burial *burial, uint64_t offset, struct cached_frame *cached)
{
    enum mp_error error = local_frame(burial->local, burial->group->topic, offset, cached, burial->fault);
    if (error == MP_ERR_NOT_FOUND || (!error && (cached->first > offset || cached->target == STORE_LOST))) {
        if (!error)
            blob_drop(cached->blob);
        return fault_set(burial->fault, MP_ERR_DAMAGED, "%s: offset %llu of topic %s is missing",
                         store_path(burial->local->store), (unsigned long long)offset, burial->group->topic->name);
    }
    return error;
}

/* Letters of the frame that holds *OFFSET, up to END, which *OFFSET is moved to, or behind the frame. */
static enum mp_error bury_frame(struct burial *burial, uint64_t *offset, uint64_t end)
{
    struct cut_hint *hint = &burial->group->dead_hint;
    struct cached_frame cached;
    enum mp_error error = frame_of(burial, *offset, &cached);
    if (error)
        return error;
    struct frame frame;
    frame_trust(&frame, cached.data, cached.size);
    burial->time = frame.time;
    struct frame_cursor cursor = frame_cursor(&frame);
    uint32_t index = (uint32_t)(*offset - cached.first);
    if (hint->frame == cached.first && hint->index <= index) {
        cursor.at = hint->at;
        cursor.index = hint->index;
    }
    frame_skip(&cursor, index - cursor.index);
    struct record record;
    while (!error && *offset < end && frame_next(&cursor, &record))
        error = bury_record(burial, &record, (*offset)++);
    *hint = (struct cut_hint){cached.first, cursor.index, cursor.at};
    blob_drop(cached.blob);
    return error;
}

/* Where the frame ends that holds OFFSET and cannot be read; when it is not there at all, where the next one begins. */
static uint64_t unreadable_end(const struct burial *burial, uint64_t offset, uint64_t end)
{
    struct store_frame row;
    if (store_find_frame(burial->local->store, burial->group->topic->id, offset, &row, NULL))
        return end;
    return row.first > offset ? row.first : row.first + row.count;
}

/*
 * Shortens RUN to what lies before the first frame that cannot be read; when that is nothing, to what lies in that
 * frame: *REFUSED.
 */
static enum mp_error readable(const struct burial *burial, struct state_run *run, bool *refused)
{
    uint64_t offset = run->first, end = run->first + run->count;
    enum mp_error error = MP_OK;
    while (offset < end) {
        struct cached_frame cached;
        if ((error = frame_of(burial, offset, &cached)))
            break;
        offset = cached.first + cached.count;
        blob_drop(cached.blob);
    }
    *refused = error == MP_ERR_DAMAGED && offset == run->first;
    if (error && error != MP_ERR_DAMAGED)
        return error;
    if (*refused)
        offset = unreadable_end(burial, offset, end);
    run->count = (uint32_t)((offset < end ? offset : end) - run->first);
    return MP_OK;
}

/* Makes burials of a prefix of RUN possible. *REFUSED: they are not, and nothing was changed. */
static enum mp_error prepare(struct burial *burial, struct state_run *run, bool *refused)
{
    char name[NAME_MAX_BYTES + 1];
    enum mp_error error = readable(burial, run, refused);
    if (error || *refused)
        return error;
    local_letters_name(burial->group, name);
    *refused = burial->local->next_topic >= TOPICS_MAX && !local_topic(burial->local, name, strlen(name));
    return *refused ? MP_OK : box_for(burial->local, name, &burial->box, burial->fault);
}

enum mp_error local_bury(struct local *local, struct group *group, struct state_run *run,
                         const struct engine_settlement *death, bool *buried, struct fault *fault)
{
    struct fault refusal = {0}; /* why there can be no letter is no failure of the turn */
    struct burial burial = {.local = local, .group = group, .fault = &refusal};
    bool known = death->reason > ENGINE_REASON_NONE && death->reason < ENGINE_REASONS;
    const char *word = letter_reasons[known ? death->reason - 1 : 0];
    bool refused = true;
    *buried = false;
    enum mp_error error = group->topic->letters ? MP_OK : prepare(&burial, run, &refused);
    uint64_t offset = run->first, end = run->first + run->count;
    if (error)
        return fault_set(fault, error, "%s", fault_text(&refusal));
    if (refused)
        return MP_OK;
    burial.fault = fault;
    if (letter_note(death->note, death->note_size, &burial.note))
        error = fault_memory(fault);
    burial.letter = (struct letter){
        .topic = group->topic->name,
        .topic_size = strlen(group->topic->name),
        .group = group->name,
        .group_size = strlen(group->name),
        .reason = word,
        .reason_size = strlen(word),
        .attempts = run->value.attempt,
        .first = local_time_to_wall(local, run->value.failed > 0 ? run->value.failed : local->time),
        .last = local_time_to_wall(local, local->time),
        .code = death->exit_code,
        .error = (const char *)burial.note.data,
        .error_size = burial.note.size,
    };
    while (!error && offset < end)
        error = bury_frame(&burial, &offset, end);
    buffer_free(&burial.note);
    buffer_free(&burial.block);
    *buried = !error;
    return error;
}
