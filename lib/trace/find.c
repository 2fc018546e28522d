#include "trace/find.h"

#include "base/units.h"
#include "message/names.h"
#include "trace/bisect.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Ends a walk when there is enough. */
#define ENOUGH MP_ERR_INTERRUPTED

/* ---- places
 * ---------------------------------------------------------------------------------------------------
 */

struct place {
    uint64_t offset;
    struct trace_match *match;
};

static int is_up_to(const void *context, const struct store_event *event)
{
    const uint64_t *offset = context;
    return event->first + event->count > *offset;
}

static enum mp_error take_place(void *context, const struct store_event *event)
{
    struct place *place = context;
    const bool covers = event->first <= place->offset && place->offset < event->first + event->count;
    return covers && !trace_match_read(event, place->offset, place->match) ? ENOUGH : MP_OK;
}

enum mp_error trace_find_place(struct trace_log *log, uint32_t topic, uint64_t offset, struct trace_match *match,
                               struct fault *fault)
{
    struct place place = {offset, match};
    struct store_event_filter filter = {.kinds = 1u << EVENT_PUBLISHED, .topics = &topic, .topics_count = 1};
    uint64_t id;
    enum mp_error error = trace_bisect(log, &filter, is_up_to, &offset, &id, fault);
    if (!error) {
        filter.after = id - 1;
        filter.below = id + 1;
        error = trace_log_each(log, &filter, take_place, &place, fault);
    }
    if (error && error != MP_ERR_NOT_FOUND)
        return error == ENOUGH ? MP_OK : error;
    error = trace_match_kept(log, topic, offset, match, fault);
    return error == MP_ERR_NOT_FOUND ? fault_set(fault, error, "there is nothing at that place") : error;
}

/* ---- ids
 * ------------------------------------------------------------------------------------------------------
 */

/* SIZE hex digits at TEXT as the beginning of 32: the lowest and the highest of those. */
static bool read_prefix(const char *text, size_t size, struct lineage_value *from, struct lineage_value *to)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t low[2] = {0}, high[2] = {0};
    if (size == 0 || size > 32 || strspn(text, digits) != size)
        return false;
    for (size_t i = 0; i < 32; i++) {
        uint64_t digit = i < size ? (uint64_t)(strchr(digits, text[i]) - digits) : 0;
        low[i / 16] = low[i / 16] << 4 | digit;
        high[i / 16] = high[i / 16] << 4 | (i < size ? digit : 15);
    }
    *from = (struct lineage_value){LINEAGE_EXACT, low[0], low[1]};
    *to = (struct lineage_value){LINEAGE_EXACT, high[0], high[1]};
    return true;
}

static enum mp_error nothing_found(const struct trace_log *log, const char *what, const char *text, struct fault *fault)
{
    char since[UNITS_TIME_TEXT], quoted[FAULT_QUOTE];
    fault_quote(quoted, text, strlen(text));
    if (trace_log_since(log) == 0)
        return fault_set(fault, MP_ERR_NOT_FOUND, "%s has no message with %s %s: nothing has happened in it yet",
                         trace_log_path(log), what, quoted);
    units_time_text(trace_log_wall(log, trace_log_since(log)), since);
    return fault_set(fault, MP_ERR_NOT_FOUND,
                     "no message with %s %s: looked in the log of %s, which has "
                     "events since %s, among the messages "
                     "that are kept there, and in its schedule",
                     what, quoted, trace_log_path(log), since);
}

/* Whether it is written as a place, of a topic that there may be or not. */
static bool looks_like_place(const char *text)
{
    const char *at = strrchr(text, '@');
    return at && at[1] != '\0' && at[1 + strspn(at + 1, "0123456789")] == '\0' &&
           !name_check_topic(text, (size_t)(at - text), NULL);
}

/* TOPIC@OFFSET; false: it is something else, an id with an `@` perhaps. */
static bool read_place(const struct trace_log *log, const char *text, const struct trace_topic **topic,
                       uint64_t *offset)
{
    char name[NAME_MAX_BYTES + 1];
    const char *at = strrchr(text, '@');
    if (!looks_like_place(text))
        return false;
    snprintf(name, sizeof name, "%.*s", (int)(at - text), text);
    *topic = trace_log_find_topic(log, name);
    return *topic && !units_number("an offset", at + 1, 0, (UINT64_C(1) << 44) - 1, offset, NULL);
}

static enum mp_error find_place(struct trace_log *log, const struct trace_topic *topic, uint64_t offset,
                                struct trace_matches *matches, struct fault *fault)
{
    struct trace_match match;
    char since[UNITS_TIME_TEXT];
    uint64_t end;
    enum mp_error error = trace_find_place(log, topic->id, offset, &match, fault);
    if (!error)
        return trace_matches_add(matches, &match) ? fault_memory(fault) : MP_OK;
    if (error != MP_ERR_NOT_FOUND)
        return error;
    if ((error = trace_log_end(log, topic->id, &end, fault)))
        return error;
    if (offset >= end)
        return fault_set(fault, MP_ERR_NOT_FOUND,
                         "%s has no message at offset %" PRIu64 " yet: the next one will be %" PRIu64, topic->name,
                         offset, end);
    units_time_text(trace_log_wall(log, trace_log_since(log)), since);
    return fault_set(fault, MP_ERR_NOT_FOUND,
                     "the message at offset %" PRIu64 " of %s is gone, and the log of %s has events since %s only",
                     offset, topic->name, trace_log_path(log), since);
}

enum mp_error trace_find(struct trace_log *log, const char *text, size_t most, struct trace_matches *matches,
                         struct fault *fault)
{
    const struct trace_topic *topic;
    uint64_t offset;
    size_t size = strlen(text);
    if (read_place(log, text, &topic, &offset))
        return find_place(log, topic, offset, matches, fault);
    struct lineage_value exact = lineage_value_of(LINEAGE_ID, text, size), from, to;
    struct trace_wanted wanted[2] = {trace_wanted_value(LINEAGE_ID, &exact)};
    struct trace_search search = {.wanted = wanted, .wanted_count = 1, .most = most};
    if (exact.kind == LINEAGE_HASH && read_prefix(text, size, &from, &to))
        wanted[search.wanted_count++] = (struct trace_wanted){LINEAGE_ID, from, to};
    enum mp_error error = exact.kind == LINEAGE_EXACT ? trace_search_session(log, &exact, matches, fault) : MP_OK;
    if (!error && matches->count == 0)
        error = trace_search(log, &search, matches, fault);
    if (error || matches->count > 0)
        return error;
    if (read_prefix(text, size, &from, &to)) {
        wanted[0] = (struct trace_wanted){LINEAGE_TRACE, from, to};
        search.wanted_count = 1;
        error = trace_search(log, &search, matches, fault);
    }
    if (!error && matches->count == 0) {
        search.wanted_count = 0;
        search.beginning = text;
        error = trace_search(log, &search, matches, fault);
    }
    if (error)
        return error == MP_ERR_MEMORY ? fault_memory(fault) : error;
    if (matches->count == 0 && looks_like_place(text))
        return fault_set(fault, MP_ERR_NOT_FOUND, "there is no topic %.*s in %s, and no message with the id %s",
                         (int)(strrchr(text, '@') - text), text, trace_log_path(log), text);
    return matches->count == 0 ? nothing_found(log, "the id", text, fault) : MP_OK;
}

/* ---- keys
 * -----------------------------------------------------------------------------------------------------
 */

enum mp_error trace_find_key(struct trace_log *log, const char *text, size_t most, struct trace_matches *matches,
                             struct fault *fault)
{
    struct lineage_value key = lineage_value_of(LINEAGE_KEY, text, strlen(text));
    const struct trace_wanted wanted = trace_wanted_value(LINEAGE_KEY, &key);
    const struct trace_search search = {.wanted = &wanted, .wanted_count = 1, .newest = true, .most = most};
    enum mp_error error = trace_search(log, &search, matches, fault);
    return !error && matches->count == 0 ? nothing_found(log, "the key", text, fault) : error;
}

/* ---- what was found
 * -------------------------------------------------------------------------------------------
 */

bool trace_is_one(const struct trace_matches *matches)
{
    for (size_t i = 1; i < matches->count; i++)
        if (!trace_value_is(&matches->items[i].id, &matches->items[0].id))
            return false;
    return matches->count > 0;
}

enum mp_error trace_id_text(struct trace_log *log, const struct trace_match *match, struct buffer *out)
{
    struct trace_message message;
    char text[FRAME_ID_TEXT];
    const char *id = text;
    size_t size = 0;
    out->size = 0;
    if (match->id.kind == LINEAGE_EXACT) {
        frame_origin_text(match->id.high, match->id.low, text);
        size = strlen(text);
    } else if (!trace_read_message(log, match, &message)) {
        id = frame_record_id(&message.record, text, &size);
    }
    enum mp_error error = buffer_append(out, id, size);
    if (!error && !(error = buffer_append(out, "", 1)))
        out->size--;
    return error;
}
