/* Which dead letters are meant. */
#include "cli/letters.h"

#include "base/clock.h"
#include "base/memory.h"
#include "message/attributes.h"
#include "message/names.h"

#include <stdio.h>
#include <string.h>

void letter_entry_set(struct letter_entry *entry, const struct format_item *item)
{
    entry->item = *item;
    letter_read(item->record.attributes, item->record.attributes_size, &entry->letter);
    entry->id = frame_record_id(&item->record, entry->id_text, &entry->id_size);
}

enum mp_error letter_filter_open(struct letter_filter *filter, const struct letters_settings *settings,
                                 char *const *ids, size_t count, struct fault *fault)
{
    bool pattern;
    *filter = (struct letter_filter){.settings = settings, .now = clock_wall()};
    enum mp_error error = MP_OK;
    if (settings->came_from)
        error = name_check_pattern(settings->came_from, strlen(settings->came_from), &pattern, fault);
    if (error)
        return fault_set(fault, error, "--came-from: %s", fault->text);
    for (size_t i = 0; i < settings->where.count; i++)
        if (!strchr(settings->where.values[i], '=') || settings->where.values[i][0] == '=')
            return fault_set(fault, MP_ERR_INVALID, "--where: '%.100s' is no condition: write NAME=VALUE",
                             settings->where.values[i]);
    if (settings->older && settings->newer && settings->older >= settings->newer)
        return fault_set(fault, MP_ERR_INVALID,
                         "--older and --newer leave nothing: what is older than the one must be "
                         "newer than the other");
    if (count == 0)
        return MP_OK;
    filter->wanted = memory_allocate_array(count, sizeof(*filter->wanted));
    if (!filter->wanted)
        return fault_memory(fault);
    filter->wanted_count = count;
    for (size_t i = 0; i < count; i++) {
        filter->wanted[i].text = ids[i];
        filter->wanted[i].size = strlen(ids[i]);
    }
    return MP_OK;
}

void letter_filter_free(struct letter_filter *filter)
{
    for (size_t i = 0; i < filter->wanted_count; i++) {
        memory_release(filter->wanted[i].id);
        memory_release(filter->wanted[i].other);
    }
    memory_release(filter->wanted);
    *filter = (struct letter_filter){0};
}

bool letter_filter_is_narrow(const struct letter_filter *filter)
{
    const struct letters_settings *settings = filter->settings;
    return filter->wanted_count || settings->came_from || settings->reason != LETTERS_ANY_REASON || settings->older ||
           settings->newer || settings->attempts || settings->where.count || settings->count;
}

/* ---- ids ------------------------------------------------------------------------------------------------------ */

static bool is_same(const char *one, size_t one_size, const char *other, size_t other_size)
{
    return one_size == other_size && !memcmp(one, other, one_size);
}

static bool begins(const struct letter_entry *entry, const struct letter_wanted *wanted)
{
    return entry->id_size >= wanted->size && !memcmp(entry->id, wanted->text, wanted->size);
}

/* Whether a whole id was given. */
static bool is_exact(const struct letter_wanted *wanted)
{
    return wanted->id && wanted->id_size == wanted->size;
}

static enum mp_error copy(char **text, size_t *size, const struct letter_entry *entry)
{
    memory_release(*text);
    *text = memory_copy_text(entry->id, entry->id_size);
    *size = entry->id_size;
    return *text ? MP_OK : MP_ERR_MEMORY;
}

enum mp_error letter_filter_see(struct letter_filter *filter, const struct letter_entry *entry)
{
    enum mp_error error = MP_OK;
    for (size_t i = 0; !error && i < filter->wanted_count; i++) {
        struct letter_wanted *wanted = &filter->wanted[i];
        if (!begins(entry, wanted) || is_exact(wanted))
            continue;
        if (!wanted->id || entry->id_size == wanted->size)
            error = copy(&wanted->id, &wanted->id_size, entry);
        else if (!wanted->other && !is_same(wanted->id, wanted->id_size, entry->id, entry->id_size))
            error = copy(&wanted->other, &wanted->other_size, entry);
    }
    return error;
}

enum mp_error letter_filter_resolve(struct letter_filter *filter, struct fault *fault)
{
    char one[FAULT_QUOTE];
    char other[FAULT_QUOTE];
    for (size_t i = 0; i < filter->wanted_count; i++) {
        const struct letter_wanted *wanted = &filter->wanted[i];
        if (!wanted->id)
            return fault_set(fault, MP_ERR_NOT_FOUND, "no dead letter there has an id that begins with '%s'",
                             fault_quote(one, wanted->text, wanted->size));
        if (wanted->other && !is_exact(wanted))
            return fault_set(fault, MP_ERR_INVALID, "'%.60s' could be %s or %s: write more of it", wanted->text,
                             fault_quote(one, wanted->id, wanted->id_size),
                             fault_quote(other, wanted->other, wanted->other_size));
    }
    filter->resolved = true;
    return MP_OK;
}

static bool is_wanted(const struct letter_filter *filter, const struct letter_entry *entry)
{
    for (size_t i = 0; i < filter->wanted_count; i++) {
        const struct letter_wanted *wanted = &filter->wanted[i];
        if (filter->resolved ? is_same(wanted->id, wanted->id_size, entry->id, entry->id_size) : begins(entry, wanted))
            return true;
    }
    return filter->wanted_count == 0;
}

/* ---- the other conditions ------------------------------------------------------------------------------------- */

static bool came_from(const struct letter_entry *entry, const char *pattern)
{
    char topic[NAME_MAX_BYTES + 1];
    const struct letter *letter = &entry->letter;
    if (letter->topic_size == 0 || letter->topic_size > NAME_MAX_BYTES)
        return false;
    memcpy(topic, letter->topic, letter->topic_size);
    topic[letter->topic_size] = '\0';
    return name_matches(pattern, topic);
}

/* CONDITION: "NAME=VALUE". */
static bool has(const struct letter_entry *entry, const char *condition)
{
    const struct record *record = &entry->item.record;
    const char *value = strchr(condition, '=') + 1;
    size_t size = (size_t)(value - 1 - condition);
    struct attribute attribute;
    if (size == 2 && !memcmp(condition, "id", 2))
        return is_same(value, strlen(value), entry->id, entry->id_size);
    bool key = size == 3 && !memcmp(condition, "key", 3);
    return record->attributes_size &&
           attribute_find(record->attributes, record->attributes_size, key ? "partitionkey" : condition,
                          key ? 12 : size, &attribute) &&
           is_same(value, strlen(value), attribute.value, attribute.value_size);
}

bool letter_filter_takes(struct letter_filter *filter, const struct letter_entry *entry)
{
    const struct letters_settings *settings = filter->settings;
    const struct letter *letter = &entry->letter;
    int64_t died = letter->last ? letter->last : entry->item.time;
    int64_t age = filter->now > died ? filter->now - died : 0;
    if (settings->count && filter->taken == settings->count)
        return false;
    if (!is_wanted(filter, entry))
        return false;
    if (settings->reason != LETTERS_ANY_REASON &&
        !is_same(letter->reason, letter->reason_size, letter_reasons[settings->reason],
                 strlen(letter_reasons[settings->reason])))
        return false;
    if (age < settings->older || (settings->newer && age >= settings->newer) || letter->attempts < settings->attempts)
        return false;
    if (settings->came_from && !came_from(entry, settings->came_from))
        return false;
    for (size_t i = 0; i < settings->where.count; i++)
        if (!has(entry, settings->where.values[i]))
            return false;
    filter->taken++;
    return true;
}
