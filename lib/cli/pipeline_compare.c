#include "cli/pipeline_compare.h"

#include "base/memory.h"
#include "message/attributes.h"
#include "message/formats.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNED = 2000 }; /* messages on either side up to which the least difference is looked for */

/* ---- one message ----------------------------------------------------------------------------------------------- */

static bool has_body(const struct pipeline_message *wanted, const struct buffer *body)
{
    if (!wanted->body)
        return true;
    if (wanted->body_size == body->size && (body->size == 0 || memcmp(wanted->body, body->data, body->size) == 0))
        return true;
    if (!wanted->json)
        return false;
    json_t *one = json_loadb(wanted->body, wanted->body_size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    json_t *other =
        body->size ? json_loadb((const char *)body->data, body->size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;
    bool same = one && other && json_equal(one, other);
    json_decref(one);
    json_decref(other);
    return same;
}

static bool has_attribute(const struct trial_message *message, const char *name, const char *value)
{
    struct attribute attribute;
    char text[FRAME_ID_TEXT];
    size_t size = strlen(value);
    if (strcmp(name, "id") == 0) {
        size_t id_size;
        const char *id = frame_record_id(&message->item.record, text, &id_size);
        return id_size == size && memcmp(id, value, size) == 0;
    }
    if (!attribute_find(message->attributes.data, message->attributes.size, name, strlen(name), &attribute))
        return size == 0; /* an empty one is expected not to be there */
    return attribute.value_size == size && memcmp(attribute.value, value, size) == 0;
}

static bool matches(const struct pipeline_message *wanted, const struct trial_message *message)
{
    for (size_t i = 0; i < wanted->attributes_count; i++)
        if (!has_attribute(message, wanted->attributes[i].name, wanted->attributes[i].value))
            return false;
    return has_body(wanted, &message->body);
}

/* ---- telling --------------------------------------------------------------------------------------------------- */

struct report {
    const char *prefix;
    struct buffer *out;
    enum mp_error error;
};

static void begin_line(struct report *report, const char *sign)
{
    if (!report->error)
        report->error = buffer_append_format(report->out, "%s%s", report->prefix, sign);
}

static void put_json(struct report *report, const json_t *value)
{
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    if (!report->error)
        report->error = text ? buffer_append_string(report->out, text) : MP_ERR_MEMORY;
    if (!report->error)
        report->error = buffer_append_string(report->out, "\n");
    free(text);
}

/* BODY as `data` where it is a JSON value, else as `body`: what one would write into the test. */
static void set_body(json_t *object, const void *body, size_t size)
{
    json_t *value = size ? json_loadb(body, size, JSON_DECODE_ANY, NULL) : NULL;
    if (value)
        json_object_set_new(object, "data", value);
    else if ((value = json_stringn(body, size)))
        json_object_set_new(object, "body", value);
    else
        json_object_set_new(object, "body", json_sprintf("(%zu bytes that are no text)", size));
}

static void put_wanted(struct report *report, const char *sign, const struct pipeline_message *wanted)
{
    json_t *object = json_object();
    for (size_t i = 0; object && i < wanted->attributes_count; i++)
        json_object_set_new(object, wanted->attributes[i].name, json_string(wanted->attributes[i].value));
    if (object && wanted->body)
        set_body(object, wanted->body, wanted->body_size);
    begin_line(report, sign);
    put_json(report, object);
    json_decref(object);
}

/* What is not said of every message, such as where it came from, is left out unless a test asks for it. */
static bool is_of_interest(const struct attribute *attribute, const struct pipeline_message *beside)
{
    static const char *const usual[] = {"traceparent", "tracestate", "causationid"};
    for (size_t i = 0; beside && i < beside->attributes_count; i++)
        if (strlen(beside->attributes[i].name) == attribute->name_size &&
            memcmp(beside->attributes[i].name, attribute->name, attribute->name_size) == 0)
            return true;
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        if (strlen(usual[i]) == attribute->name_size && memcmp(usual[i], attribute->name, attribute->name_size) == 0)
            return false;
    return attribute->code != ATTRIBUTE_ORIGIN;
}

static void put_message(struct report *report, const char *sign, const struct trial_message *message,
                        const struct pipeline_message *beside)
{
    json_t *object = json_object();
    struct attribute attribute;
    size_t at = 0;
    while (object && attribute_next(message->attributes.data, message->attributes.size, &at, &attribute))
        if (is_of_interest(&attribute, beside)) {
            char name[ATTRIBUTE_NAME_MAX + 1];
            memcpy(name, attribute.name, attribute.name_size);
            name[attribute.name_size] = '\0';
            json_object_set_new(object, name, json_stringn(attribute.value, attribute.value_size));
        }
    if (object)
        set_body(object, message->body.data, message->body.size);
    begin_line(report, sign);
    put_json(report, object);
    json_decref(object);
}

/* ---- one topic ------------------------------------------------------------------------------------------------- */

/* What is expected in one topic, and what is there. */
struct pair {
    const struct pipeline_message **wanted;
    size_t wanted_count;
    const struct trial_topic *topic;
};

/* With any order: each takes the first that fits and is not taken. Marks what has a partner. */
static void match_unordered(const struct pair *pair, bool *met, bool *taken)
{
    for (size_t i = 0; i < pair->wanted_count; i++)
        for (size_t j = 0; j < pair->topic->count && !met[i]; j++)
            if (!taken[j] && matches(pair->wanted[i], &pair->topic->messages[j]))
                met[i] = taken[j] = true;
}

/*
 * In order: the longest common subsequence, by the table of the lengths of those of all tails. MET and TAKEN are what is
 * in it.
 */
static enum mp_error match_ordered(const struct pair *pair, bool *met, bool *taken)
{
    size_t rows = pair->wanted_count, columns = pair->topic->count, i, j;
    if (rows > ALIGNED || columns > ALIGNED) {
        for (i = 0; i < rows && i < columns; i++)
            met[i] = taken[i] = matches(pair->wanted[i], &pair->topic->messages[i]);
        return MP_OK;
    }
    uint16_t *length = memory_allocate_array((rows + 1) * (columns + 1), sizeof *length);
    bool *same = memory_allocate_array(rows * columns + 1, sizeof *same);
    if (!length || !same) {
        memory_release(length);
        memory_release(same);
        return MP_ERR_MEMORY;
    }
    for (i = rows; i-- > 0;)
        for (j = columns; j-- > 0;) {
            uint16_t *here = &length[i * (columns + 1) + j];
            same[i * columns + j] = matches(pair->wanted[i], &pair->topic->messages[j]);
            uint16_t below = here[columns + 1], right = here[1];
            *here = same[i * columns + j] ? (uint16_t)(here[columns + 2] + 1) : below > right ? below : right;
        }
    for (i = j = 0; i < rows && j < columns;) {
        const uint16_t *here = &length[i * (columns + 1) + j];
        if (same[i * columns + j])
            met[i++] = taken[j++] = true;
        else if (here[columns + 1] >= here[1])
            i++;
        else
            j++;
    }
    memory_release(length);
    memory_release(same);
    return MP_OK;
}

static const char *plural(size_t count)
{
    return count == 1 ? "" : "s";
}

static void put_difference(struct report *report, const struct pair *pair, const bool *met, const bool *taken)
{
    size_t i = 0, j = 0;
    begin_line(report, "topic ");
    if (!report->error)
        report->error = buffer_append_format(report->out, "%s: %zu message%s came, %zu %s expected%s\n",
                                             pair->topic->name, pair->topic->count, plural(pair->topic->count),
                                             pair->wanted_count, pair->wanted_count == 1 ? "was" : "were",
                                             pair->topic->letters && !pair->wanted_count ? " to die" : "");
    while (!report->error && (i < pair->wanted_count || j < pair->topic->count)) {
        if (i < pair->wanted_count && !met[i])
            put_wanted(report, "- ", pair->wanted[i++]);
        else if (j < pair->topic->count && !taken[j]) {
            put_message(report, "+ ", &pair->topic->messages[j], i > 0 ? pair->wanted[i - 1] : NULL);
            j++;
        } else {
            if (i < pair->wanted_count)
                put_wanted(report, "  ", pair->wanted[i]);
            i++;
            j++;
        }
    }
}

static enum mp_error compare_topic(const struct pipeline_test *test, const struct pair *pair, struct report *report,
                                   bool *same)
{
    bool *met = memory_allocate_array(pair->wanted_count + 1, sizeof *met);
    bool *taken = memory_allocate_array(pair->topic->count + 1, sizeof *taken);
    enum mp_error error = met && taken ? MP_OK : MP_ERR_MEMORY;
    if (!error && test->unordered)
        match_unordered(pair, met, taken);
    else if (!error)
        error = match_ordered(pair, met, taken);
    bool all = !error && pair->wanted_count == pair->topic->count;
    for (size_t i = 0; i < pair->wanted_count && all; i++)
        all = met[i];
    if (!error && !all) {
        put_difference(report, pair, met, taken);
        error = report->error;
        *same = false;
    }
    memory_release(met);
    memory_release(taken);
    return error;
}

enum mp_error pipeline_compare(const struct pipeline_test *test, const struct trial_topic *topics, size_t count,
                               const char *prefix, struct buffer *out, bool *same)
{
    struct report report = {.prefix = prefix, .out = out};
    struct pair pair = {.wanted = memory_allocate_array(test->expect_count + 1, sizeof *pair.wanted)};
    enum mp_error error = pair.wanted ? MP_OK : MP_ERR_MEMORY;
    *same = true;
    for (size_t i = 0; i < count && !error; i++) {
        pair.topic = &topics[i];
        pair.wanted_count = 0;
        for (size_t j = 0; j < test->expect_count; j++)
            if (strcmp(test->expect[j].topic, topics[i].name) == 0)
                pair.wanted[pair.wanted_count++] = &test->expect[j];
        error = compare_topic(test, &pair, &report, same);
    }
    memory_release(pair.wanted);
    return error;
}
