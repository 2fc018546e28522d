/* Dead letters leave their topic: they are leased, and settled in the step that sends their messages back. */
#include "cli/letters_topic.h"

#include "base/memory.h"
#include "base/units.h"
#include "cli/admin_ask.h"
#include "cli/exit.h"
#include "cli/retry.h"
#include "message/attributes.h"

#include <stdio.h>
#include <string.h>

enum {
    RUNS_MOST = 8192, /* settlements of one step */
    ID_SHOWN = 40
};

/* ---- what is there to send to --------------------------------------------------------------------------------- */

/* Notes all names in ARRAY: under the keys ONE and OTHER (NULL: none), with a space between. */
static enum mp_error note_names(struct letters_topic *topic, const json_t *array, const char *one, const char *other)
{
    const json_t *object;
    size_t i;
    enum mp_error error = MP_OK;
    json_array_foreach(array, i, object)
    {
        if (!error)
            error = buffer_append_format(&topic->known_text, "%s%s%s", admin_string(object, one), other ? " " : "",
                                         other ? admin_string(object, other) : "");
        if (!error)
            error = buffer_append(&topic->known_text, "", 1);
    }
    return error;
}

static bool ask(struct letters_topic *topic, const char *verb, const char *one, const char *other)
{
    json_t *answer;
    struct fault fault = {0};
    if (!letters_link_ask(&topic->link, verb, &answer))
        return false;
    enum mp_error error = note_names(topic, json_object_get(answer, verb), one, other);
    json_decref(answer);
    return error == MP_OK || letters_link_fail(&topic->link, (fault_memory(&fault), &fault));
}

bool letters_topic_learn(struct letters_topic *topic)
{
    struct fault fault = {0};
    if (!ask(topic, "topics", "name", NULL) || !ask(topic, "groups", "topic", "group"))
        return false;
    /* The text does not move any more. */
    const char *text = (const char *)topic->known_text.data;
    for (size_t at = 0, size; at < topic->known_text.size; at += size + 1) {
        size = strlen(text + at);
        if (map_put(&topic->known, text + at, size, topic))
            return letters_link_fail(&topic->link, (fault_memory(&fault), &fault));
    }
    return true;
}

/* Says once what is missing for a letter to go back. */
static void tell_missing(struct letters_topic *topic, const char *name, size_t size, const char *where)
{
    char key[2 * NAME_MAX_BYTES + 2];
    snprintf(key, sizeof(key), "%s", name);
    if (map_get(&topic->told, key, size))
        return;
    tell("%s: its letters stay where they are", where);
    char *kept = memory_copy_text(key, size);
    if (kept && map_put(&topic->told, kept, size, kept))
        memory_release(kept);
}

/* Whether the message of LETTER has a place to go back to; tells if not. */
static bool can_return(struct letters_topic *topic, const struct letter *letter)
{
    char name[2 * NAME_MAX_BYTES + 2];
    char words[2 * NAME_MAX_BYTES + 80];
    if (letter->topic_size == 0 || letter->topic_size > NAME_MAX_BYTES || letter->group_size > NAME_MAX_BYTES) {
        tell_missing(topic, "", 0, "a message does not say which topic it came from (--to TOPIC sends it to one)");
        return false;
    }
    int size = snprintf(name, sizeof(name), "%.*s", (int)letter->topic_size, letter->topic);
    if (!map_get(&topic->known, name, (size_t)size)) {
        snprintf(words, sizeof(words), "topic %s is gone (--to TOPIC sends them to another)", name);
        tell_missing(topic, name, (size_t)size, words);
        return false;
    }
    if (letter->group_size == 0)
        return true;
    size += snprintf(name + size, sizeof(name) - (size_t)size, " %.*s", (int)letter->group_size, letter->group);
    if (!map_get(&topic->known, name, (size_t)size)) {
        snprintf(words, sizeof(words), "group %.*s of topic %.*s is gone", (int)letter->group_size, letter->group,
                 (int)letter->topic_size, letter->topic);
        tell_missing(topic, name, (size_t)size, words);
        return false;
    }
    return true;
}

/* ---- gathering ------------------------------------------------------------------------------------------------ */

/* The place that messages of LETTER go to, with room for one of SIZE bytes; NULL: send first what was gathered. */
static struct letters_place *place_for(struct letters_topic *topic, const struct letter *letter, size_t size)
{
    const char *to = topic->letters->settings->letters.to;
    char name[NAME_MAX_BYTES + 1];
    char group[NAME_MAX_BYTES + 1] = "";
    snprintf(name, sizeof(name), "%.*s", to ? NAME_MAX_BYTES : (int)letter->topic_size, to ? to : letter->topic);
    if (!to)
        snprintf(group, sizeof(group), "%.*s", (int)letter->group_size, letter->group ? letter->group : "");
    for (size_t i = 0; i < topic->places_count; i++) {
        struct letters_place *place = &topic->places[i];
        if (!strcmp(place->topic, name) && !strcmp(place->group, group))
            return frame_has_room(&place->frame, size, topic->block.size) ? place : NULL;
    }
    if (topic->places_count == LETTERS_PLACES)
        return NULL;
    struct letters_place *place = &topic->places[topic->places_count];
    uint64_t producer;
    uint64_t sequence;
    client_origin(topic->link.client, &producer, &sequence);
    if (frame_begin(&place->frame, producer, sequence))
        return NULL;
    memcpy(place->topic, name, sizeof(name));
    memcpy(place->group, group, sizeof(group));
    topic->places_count++;
    return place;
}

/* Notes that the message at OFFSET of CHUNK is done with. */
static enum mp_error settle(struct letters_topic *topic, struct letters_chunk *chunk, uint64_t offset)
{
    struct buffer *all = &topic->settlements;
    size_t count = all->size / sizeof(struct protocol_settlement);
    struct protocol_settlement *last = count ? &((struct protocol_settlement *)(void *)all->data)[count - 1] : NULL;
    topic->gathered++;
    chunk->settled++;
    if (last && last->lease == chunk->lease && last->first + last->span == offset) {
        last->count++;
        last->span++;
        return MP_OK;
    }
    struct protocol_settlement next = {.group = chunk->chunk.group,
                                       .lease = chunk->lease,
                                       .first = offset,
                                       .count = 1,
                                       .span = 1,
                                       .action = PROTOCOL_ACK,
                                       .exit_code = -1};
    return buffer_append(all, &next, sizeof(next));
}

/* Sends and settles what was gathered. False: it is over. */
static bool send_gathered(struct letters_topic *topic)
{
    struct letters_link *link = &topic->link;
    struct client_output outputs[LETTERS_PLACES];
    if (topic->gathered == 0)
        return true;
    for (size_t i = 0; i < topic->places_count; i++) {
        struct letters_place *place = &topic->places[i];
        frame_finish(&place->frame, clock_wall());
        outputs[i] = (struct client_output){.publication = {.topic = place->topic, .target = place->group},
                                            .frame = &place->frame};
    }
    bool answered = letters_link_commit(link, (const struct protocol_settlement *)(const void *)topic->settlements.data,
                                        (uint32_t)(topic->settlements.size / sizeof(struct protocol_settlement)),
                                        outputs, (uint32_t)topic->places_count);
    uint32_t gathered = topic->gathered;
    topic->places_count = 0;
    topic->settlements.size = 0;
    topic->gathered = 0;
    if (!answered)
        return false;
    if (link->error == MP_OK) {
        topic->letters->done += gathered;
        return true;
    }
    topic->letters->left += gathered;
    if (link->error == MP_ERR_STALE)
        return true; /* somebody else has them now */
    struct fault fault = {0};
    fault_set(&fault, link->error, "%s", link->text);
    return letters_link_fail(link, &fault);
}

/* The `expirytime` among the attributes in BLOCK. */
static bool find_expiry(const struct buffer *block, int64_t *time)
{
    struct attribute attribute;
    char text[UNITS_TIME_TEXT];
    if (!attribute_find(block->data, block->size, "expirytime", 10, &attribute) || attribute.value_size >= sizeof(text))
        return false;
    memcpy(text, attribute.value, attribute.value_size);
    text[attribute.value_size] = '\0';
    return units_time(text, time, NULL) == MP_OK;
}

/* Takes an `expirytime` that is past off, which would end the message where it goes. Whether there was one. */
static bool take_off_expiry(struct letters_topic *topic)
{
    int64_t time;
    if (!find_expiry(&topic->block, &time) || time > clock_wall())
        return false;
    attributes_remove(&topic->block, "expirytime", 10);
    return true;
}

/*
 * The attributes of the message that RECORD, a letter whose frame is of TIME, was: its own, and its origin. It does not
 * become younger: the time of its frame becomes its own, if it has none and there is room.
 */
static enum mp_error undress(struct letters_topic *topic, const struct record *record, int64_t time, bool *expired)
{
    struct buffer *block = &topic->block;
    struct attribute attribute;
    char text[UNITS_TIME_TEXT];
    block->size = 0;
    enum mp_error error = buffer_append(block, record->attributes, record->attributes_size);
    letter_strip(block);
    *expired = !error && take_off_expiry(topic);
    if (!error && !attribute_find(block->data, block->size, "time", 4, &attribute)) {
        units_time_text(time, text);
        error = attributes_set(block, ATTRIBUTE_STRING, "time", 4, text, strlen(text), NULL);
        error = error == MP_ERR_MEMORY ? error : MP_OK;
    }
    return error ? error : attributes_set_origin(block, record->producer, record->sequence);
}

/* Keeps what a canary, which goes out next, is known by. */
static void note_canary(struct letters_topic *topic, const struct record *record)
{
    struct letters_canary *canary = &topic->canary;
    char text[FRAME_ID_TEXT];
    size_t size;
    int64_t time;
    const char *id = frame_record_id(record, text, &size);
    *canary = (struct letters_canary){
        .producer = record->producer, .sequence = record->sequence, .sent = clock_monotonic(), .life = CLOCK_NEVER};
    snprintf(canary->id, sizeof(canary->id), "%.*s%s", size > ID_SHOWN ? ID_SHOWN : (int)size, id,
             size > ID_SHOWN ? "…" : "");
    if (find_expiry(&topic->block, &time))
        canary->life = time - clock_wall();
}

/* Adds RECORD, at OFFSET of CHUNK, to what goes out next. *MORE: it has to go out first. */
static enum mp_error gather(struct letters_topic *topic, struct letters_chunk *chunk, uint64_t offset,
                            const struct record *record, bool *more)
{
    struct letter letter;
    *more = topic->settlements.size / sizeof(struct protocol_settlement) >= RUNS_MOST;
    if (*more)
        return MP_OK;
    if (topic->letters->verb == LETTERS_DISCARD)
        return settle(topic, chunk, offset);
    letter_read_place(record->attributes, record->attributes_size, &letter);
    if (!topic->letters->settings->letters.to && !can_return(topic, &letter)) {
        topic->letters->left++;
        return MP_OK;
    }
    bool expired;
    enum mp_error error = undress(topic, record, chunk->frame.time, &expired);
    const uint8_t *body = topic->edited ? topic->body.data : record->body;
    size_t size = topic->edited ? topic->body.size : record->size;
    struct letters_place *place = error ? NULL : place_for(topic, &letter, size);
    *more = !error && !place;
    if (!place)
        return error;
    error = frame_add(&place->frame, body, size, topic->block.data, topic->block.size);
    topic->bytes += size;
    topic->expired += expired;
    if (topic->letters->settings->letters.canary)
        note_canary(topic, record);
    return error ? error : settle(topic, chunk, offset);
}

/* ---- leasing -------------------------------------------------------------------------------------------------- */

/* Whether OFFSET is one of the COUNT in ascending order at OFFSETS (NULL: all are); *AT moves on. */
static bool is_among(const uint8_t *offsets, size_t count, size_t *at, uint64_t offset)
{
    if (!offsets)
        return true;
    while (*at < count && load_u64(offsets + *at * 8) < offset)
        ++*at;
    return *at < count && load_u64(offsets + *at * 8) == offset;
}

static bool take_chunk(struct letters_topic *topic, struct letters_chunk *chunk, const uint8_t *offsets, size_t count)
{
    struct frame_cursor cursor = frame_cursor(&chunk->frame);
    struct record record;
    struct fault fault = {0};
    uint64_t offset = chunk->chunk.first;
    size_t at = 0;
    while (frame_next(&cursor, &record)) {
        bool more = false;
        offset = protocol_chunk_next(&chunk->chunk, offset);
        enum mp_error error = MP_OK;
        if (is_among(offsets, count, &at, offset)) {
            error = gather(topic, chunk, offset, &record, &more);
            if (!error && more) {
                if (!send_gathered(topic))
                    return false;
                error = gather(topic, chunk, offset, &record, &more);
                if (!error && more)
                    error = MP_ERR_MEMORY;
            }
        }
        if (error)
            return letters_link_fail(&topic->link, (fault_memory(&fault), &fault));
        offset++;
    }
    return true;
}

/* What was leased beside those that were meant, or could not go back, is given back. */
static bool give_back(struct letters_topic *topic)
{
    struct letters_link *link = &topic->link;
    struct fault fault = {0};
    for (size_t i = 0; i < link->chunks_count; i++) {
        const struct protocol_chunk *chunk = &link->chunks[i].chunk;
        struct protocol_settlement release = {.group = chunk->group,
                                              .lease = link->chunks[i].lease,
                                              .first = chunk->first,
                                              .count = chunk->count - link->chunks[i].settled,
                                              .span = chunk->span,
                                              .action = PROTOCOL_RELEASE,
                                              .exit_code = -1};
        if (release.count && client_settle(link->client, &release))
            return letters_link_fail(link, (fault_memory(&fault), &fault));
    }
    return letters_link_settled(link);
}

/* The body of what is edited. */
static bool edit(struct letters_topic *topic)
{
    const struct letters_chunk *chunk = &topic->link.chunks[0];
    struct frame_cursor cursor = frame_cursor(&chunk->frame);
    struct record record;
    struct fault fault = {0};
    topic->edited = true;
    topic->body.size = 0;
    if (!frame_next(&cursor, &record))
        return true;
    if (buffer_append(&topic->body, record.body, record.size))
        return letters_link_fail(&topic->link, (fault_memory(&fault), &fault));
    return letters_edit(&topic->link, &topic->body);
}

/* Takes those that are meant out of what was leased, and gives back the rest. *FROM moves behind what was there. */
static bool take_leased(struct letters_topic *topic, const uint8_t *offsets, size_t count, uint64_t *from)
{
    struct letters_link *link = &topic->link;
    if (topic->letters->settings->letters.edit && !edit(topic))
        return false;
    for (size_t i = 0; i < link->chunks_count; i++) {
        const struct protocol_chunk *chunk = &link->chunks[i].chunk;
        *from = chunk->first + chunk->span > *from ? chunk->first + chunk->span : *from;
        if (!take_chunk(topic, &link->chunks[i], offsets, count))
            return false;
    }
    if (!send_gathered(topic) || !give_back(topic))
        return false;
    letters_link_drop(link);
    return true;
}

/* From now on fetches and claims lease. */
static bool subscribe(struct letters_topic *topic)
{
    struct client_subscription subscription = {.topic = topic->topic, .group = topic->group};
    struct fault fault = {0};
    return client_subscribe(topic->link.client, &subscription, &fault) == MP_OK ||
           letters_link_fail(&topic->link, &fault);
}

bool letters_topic_take(struct letters_topic *topic, size_t first, size_t count)
{
    struct letters_link *link = &topic->link;
    const uint8_t *offsets = topic->meant.data + first * 8;
    uint64_t from = load_u64(offsets), last = load_u64(offsets + (count - 1) * 8);
    if (!subscribe(topic))
        return false;
    while (from <= last) {
        uint64_t span = last - from + 1;
        if (!letters_link_claim(link, from, (uint32_t)(span < UINT32_MAX ? span : UINT32_MAX)))
            return false;
        if (link->chunks_count == 0)
            break;
        if (!take_leased(topic, offsets, count, &from))
            return false;
    }
    return true;
}

bool letters_topic_take_any(struct letters_topic *topic, uint32_t most, bool *any)
{
    struct letters_link *link = &topic->link;
    *any = false;
    if (!subscribe(topic) || !letters_link_claim(link, topic->next, most))
        return false;
    *any = link->chunks_count > 0;
    return take_leased(topic, NULL, SIZE_MAX, &topic->next);
}
