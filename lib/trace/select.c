#include "trace/select.h"

#include "base/memory.h"
#include "base/units.h"
#include "message/attributes.h"
#include "message/names.h"
#include "message/trace.h"
#include "stage/glob.h"

#include <string.h>

enum { NEAREST_OF = 4096 };
#define LOOK_BACK (INT64_C(60) * 1000 * 1000)

/* ---- opening -------------------------------------------------------------------------------------------------- */

enum mp_error trace_select_time(const struct trace_log *log, const char *text, int64_t *time, struct fault *fault)
{
    int64_t value;
    bool is_age = units_duration(text, &value, NULL) == MP_OK;
    if (is_age) {
        *time = trace_log_now(log) - value;
        return MP_OK;
    }
    if (units_time(text, &value, NULL))
        return fault_set(fault, MP_ERR_INVALID,
                         "'%s' is no time: write 2026-11-20T17:00:00Z, @1795194000, or an age such as 5m", text);
    *time = trace_log_time(log, value);
    return MP_OK;
}

static enum mp_error no_such(const char *what, const char *name, const char *const *names, size_t count,
                             struct fault *fault)
{
    const char *nearest = name_nearest(name, names, count);
    return fault_set(fault, MP_ERR_NOT_FOUND, "there is no %s %s%s%s%s", what, name, nearest ? ": did you mean " : "",
                     nearest ? nearest : "", nearest ? "?" : "");
}

static enum mp_error no_such_topic(const struct trace_log *log, const char *name, struct fault *fault)
{
    const char *names[NEAREST_OF];
    size_t count, taken = 0;
    const struct trace_topic *topics = trace_log_topics(log, &count);
    for (size_t i = 0; i < count && taken < NEAREST_OF; i++)
        names[taken++] = topics[i].name;
    return no_such("topic", name, names, taken, fault);
}

static enum mp_error no_such_group(const struct trace_log *log, const char *name, struct fault *fault)
{
    const char *names[NEAREST_OF];
    size_t count, taken = 0;
    const struct trace_group *groups = trace_log_groups(log, &count);
    for (size_t i = 0; i < count && taken < NEAREST_OF; i++)
        names[taken++] = groups[i].name;
    return no_such("group", name, names, taken, fault);
}

/* A pattern may match nothing yet; a name is a topic's, or a mistake. */
static enum mp_error choose_topics(struct trace_select *select, const struct trace_select_settings *settings,
                                   struct fault *fault)
{
    size_t count;
    const struct trace_topic *topics = trace_log_topics(select->log, &count);
    select->every_topic = settings->topics_count == 0;
    if (!(select->topics = memory_allocate_array(count + 1, sizeof *select->topics)))
        return fault_memory(fault);
    for (size_t i = 0; i < settings->topics_count; i++) {
        bool pattern;
        const char *name = settings->topics[i];
        enum mp_error error = name_check_pattern(name, strlen(name), &pattern, fault);
        if (error)
            return error;
        if (!pattern && !trace_log_find_topic(select->log, name))
            return no_such_topic(select->log, name, fault);
    }
    for (size_t at = 0; at < count; at++)
        for (size_t i = 0; i < settings->topics_count; i++)
            if (name_matches(settings->topics[i], topics[at].name)) {
                select->topics[select->topics_count++] = topics[at].id;
                break;
            }
    return MP_OK;
}

static enum mp_error choose_groups(struct trace_select *select, const struct trace_select_settings *settings,
                                   struct fault *fault)
{
    size_t count;
    const struct trace_group *groups = trace_log_groups(select->log, &count);
    select->every_group = settings->groups_count == 0;
    if (!(select->groups = memory_allocate_array(count + 1, sizeof *select->groups)))
        return fault_memory(fault);
    for (size_t i = 0; i < settings->groups_count; i++) {
        bool found = false;
        for (size_t at = 0; at < count && !found; at++)
            found = strcmp(groups[at].name, settings->groups[i]) == 0;
        if (!found)
            return no_such_group(select->log, settings->groups[i], fault);
    }
    for (size_t at = 0; at < count; at++)
        for (size_t i = 0; i < settings->groups_count; i++)
            if (strcmp(groups[at].name, settings->groups[i]) == 0) {
                select->groups[select->groups_count++] = groups[at].id;
                break;
            }
    return MP_OK;
}

static enum mp_error choose_kinds(struct trace_select *select, const struct trace_select_settings *settings,
                                  struct fault *fault)
{
    for (size_t i = 0; i < settings->kinds_count; i++) {
        const char *name = settings->kinds[i];
        enum store_event_kind kind = trace_kind_of(name);
        const char *names[32];
        size_t count = 0;
        for (int each = 1; each < 32; each++)
            if (trace_kind_of(trace_kind_name((enum store_event_kind)each)))
                names[count++] = trace_kind_name((enum store_event_kind)each);
        if (!kind) {
            const char *nearest = name_nearest(name, names, count);
            return fault_set(fault, MP_ERR_INVALID, "'%s' is no kind of event: %s%s%s", name,
                             nearest ? "did you mean "
                                     : "published, leased, acked, retried, released, lapsed, dead, "
                                       "expired, dropped, granted, duplicate, foreign or session",
                             nearest ? nearest : "", nearest ? "?" : "");
        }
        select->kinds |= 1u << kind;
    }
    return MP_OK;
}

static enum mp_error check_attributes(const struct trace_select_settings *settings, struct fault *fault)
{
    for (size_t i = 0; i < settings->attributes_count; i++) {
        const char *text = settings->attributes[i], *equals = strchr(text, '=');
        if (!equals || equals == text)
            return fault_set(fault, MP_ERR_INVALID, "'%s' names no attribute and no value: write NAME=VALUE", text);
        enum mp_error error = glob_check(equals + 1, strlen(equals + 1), fault);
        if (error)
            return error;
    }
    return MP_OK;
}

static enum mp_error choose_times(struct trace_select *select, const struct trace_select_settings *settings,
                                  struct fault *fault)
{
    enum mp_error error = MP_OK;
    select->until = INT64_MAX;
    if (settings->since && (error = trace_select_time(select->log, settings->since, &select->since, fault)))
        return error;
    if (settings->until && (error = trace_select_time(select->log, settings->until, &select->until, fault)))
        return error;
    if (select->since >= select->until)
        return fault_set(fault, MP_ERR_INVALID, "nothing lies between %s and %s: --since is the earlier one",
                         settings->since ? settings->since : "the beginning", settings->until);
    select->first_id = trace_log_first(select->log);
    if (settings->since)
        error = trace_log_at(select->log, select->since, &select->first_id, fault);
    if (!error && settings->until)
        error = trace_log_at(select->log, select->until, &select->end_id, fault);
    return error;
}

enum mp_error trace_select_open(struct trace_select *select, const struct trace_select_settings *settings,
                                struct trace_log *log, struct fault *fault)
{
    uint64_t trace[2];
    enum mp_error error;
    *select = (struct trace_select){.log = log,
                                    .key_text = settings->key,
                                    .attributes = settings->attributes,
                                    .attributes_count = settings->attributes_count};
    if ((error = choose_topics(select, settings, fault)) || (error = choose_groups(select, settings, fault)) ||
        (error = choose_kinds(select, settings, fault)) || (error = check_attributes(settings, fault)) ||
        (error = choose_times(select, settings, fault)))
        goto fail;
    if (settings->key)
        select->key = lineage_value_of(LINEAGE_KEY, settings->key, strlen(settings->key));
    if (settings->trace) {
        if (!trace_id_read(settings->trace, strlen(settings->trace), trace)) {
            error = fault_set(fault, MP_ERR_INVALID, "'%s' is no trace id: it has 32 hex digits, in lower case",
                              settings->trace);
            goto fail;
        }
        select->trace = (struct lineage_value){LINEAGE_EXACT, trace[0], trace[1]};
    }
    return MP_OK;
fail:
    trace_select_free(select);
    return error;
}

void trace_select_free(struct trace_select *select)
{
    memory_release(select->topics);
    memory_release(select->groups);
    select->topics = select->groups = NULL;
}

/* ---- asking --------------------------------------------------------------------------------------------------- */

/* A list of none that means none: no row has this number. */
static const uint32_t nothing[] = {UINT32_MAX};

struct store_event_filter trace_select_filter(const struct trace_select *select, uint32_t kinds)
{
    struct store_event_filter filter = {.after = select->first_id ? select->first_id - 1 : 0,
                                        .below = select->end_id,
                                        .kinds = kinds ? kinds : select->kinds};
    if (!select->every_topic) {
        filter.topics = select->topics_count ? select->topics : nothing;
        filter.topics_count = select->topics_count ? select->topics_count : 1;
    }
    if (!select->every_group) {
        filter.groups = select->groups_count ? select->groups : nothing;
        filter.groups_count = select->groups_count ? select->groups_count : 1;
    }
    return filter;
}

enum mp_error trace_select_passages(const struct trace_select *select, struct store_event_filter *filter,
                                    struct fault *fault)
{
    uint64_t id;
    *filter = trace_select_filter(select, 0);
    filter->groups = NULL;
    filter->groups_count = 0;
    if (select->since == 0)
        return MP_OK;
    enum mp_error error = trace_log_at(select->log, select->since - LOOK_BACK, &id, fault);
    if (!error)
        filter->after = id > 0 ? id - 1 : 0;
    return error;
}

static bool is_among(uint32_t id, const uint32_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

bool trace_select_topic(const struct trace_select *select, uint32_t topic)
{
    return select->every_topic || is_among(topic, select->topics, select->topics_count);
}

bool trace_select_group(const struct trace_select *select, uint32_t group)
{
    return select->every_group || is_among(group, select->groups, select->groups_count);
}

bool trace_select_by_message(const struct trace_select *select)
{
    return select->key.kind || select->trace.kind || select->attributes_count > 0;
}

static bool is_same(const struct lineage_value *one, const struct lineage_value *other)
{
    return one->kind == other->kind && one->high == other->high && one->low == other->low;
}

/* What stands under NAME, with `key` for the key: the value's bytes, or NULL. TEXT is for an id that is derived. */
static const char *value_of(const struct trace_message *message, const char *name, size_t name_size,
                            char text[FRAME_ID_TEXT], size_t *size)
{
    const struct record *record = &message->record;
    struct attribute attribute;
    if (name_size == 2 && memcmp(name, "id", 2) == 0)
        return frame_record_id(record, text, size);
    if (name_size == 3 && memcmp(name, "key", 3) == 0) {
        name = "partitionkey";
        name_size = strlen(name);
    }
    if (record->attributes_size == 0 ||
        !attribute_find(record->attributes, record->attributes_size, name, name_size, &attribute))
        return NULL;
    *size = attribute.value_size;
    return attribute.value;
}

static bool attributes_match(const struct trace_select *select, const struct trace_message *message)
{
    for (size_t i = 0; i < select->attributes_count; i++) {
        const char *wanted = select->attributes[i], *equals = strchr(wanted, '=');
        char text[FRAME_ID_TEXT];
        size_t size;
        const char *value = value_of(message, wanted, (size_t)(equals - wanted), text, &size);
        if (!value || !glob_matches(equals + 1, strlen(equals + 1), (const uint8_t *)value, size))
            return false;
    }
    return true;
}

/* What is asked of the message itself for want of a lineage. */
static bool record_matches(const struct trace_select *select, const struct record *record)
{
    struct attribute attribute;
    struct trace_parent parent;
    struct lineage_value trace = {LINEAGE_EXACT, record->producer, record->sequence};
    bool has = record->attributes_size > 0;
    if (select->key.kind &&
        (!has || !attribute_known(record->attributes, record->attributes_size, ATTRIBUTE_PARTITIONKEY, &attribute) ||
         attribute.value_size != strlen(select->key_text) ||
         memcmp(attribute.value, select->key_text, attribute.value_size) != 0))
        return false;
    if (has && attribute_known(record->attributes, record->attributes_size, ATTRIBUTE_TRACEPARENT, &attribute) &&
        trace_parent_read(attribute.value, attribute.value_size, &parent))
        trace = (struct lineage_value){LINEAGE_EXACT, parent.trace[0], parent.trace[1]};
    return !select->trace.kind || is_same(&trace, &select->trace);
}

bool trace_select_message(const struct trace_select *select, const struct lineage *lineage, uint32_t index,
                          uint32_t topic, uint64_t offset)
{
    if (lineage && select->key.kind) {
        struct lineage_value key = lineage_value(lineage, LINEAGE_KEY, index);
        if (!is_same(&key, &select->key))
            return false;
    }
    if (lineage && select->trace.kind) {
        struct lineage_value trace = lineage_trace(lineage, index);
        if (!is_same(&trace, &select->trace))
            return false;
    }
    if (select->attributes_count == 0 && (lineage || !trace_select_by_message(select)))
        return true;
    struct trace_message message;
    if (trace_log_message(select->log, topic, offset, &message, NULL))
        return false;
    return (lineage || record_matches(select, &message.record)) && attributes_match(select, &message);
}
