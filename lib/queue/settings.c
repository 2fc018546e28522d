#include "queue/settings.h"

#include "base/units.h"

#include <inttypes.h>
#include <stdio.h>

#define SECOND INT64_C(1000000)

/* ---- fields: one table each for topics and groups ------------------------------------------------------------- */

enum kind {
    KIND_COUNT,    /* uint64_t */
    KIND_COUNT32,  /* uint32_t */
    KIND_RETRIES,  /* uint32_t, or "unlimited" */
    KIND_SIZE,     /* uint64_t */
    KIND_DURATION, /* int64_t */
    KIND_RATE,     /* double */
    KIND_SHARE,    /* double, 0 to 1 */
    KIND_CHOICE,   /* an enum: the number of one of `words` */
    KIND_FLAG,     /* bool: the first of `words`, or the second */
    KIND_TOPIC     /* a name */
};

struct field {
    const char *key;
    enum kind kind;
    size_t at;                /* in the struct */
    const char *const *words; /* NULL-terminated */
};

static const char *const overflow_words[] = {"block", "reject", "drop_oldest", NULL};
static const char *const dedupe_words[] = {"none", "id", "key", NULL};
static const char *const backoff_words[] = {"exponential", "linear", "none", NULL};
static const char *const order_words[] = {"none", "key", NULL};
static const char *const on_dead_words[] = {"continue", "hold", NULL};

enum { FIELDS_MAX = 11, VALUE_TEXT = NAME_MAX_BYTES + 1 };

static const struct field topic_fields[FIELDS_MAX + 1] = {
    {"max_messages", KIND_COUNT, offsetof(struct topic_settings, max_messages), NULL},
    {"max_bytes", KIND_SIZE, offsetof(struct topic_settings, max_bytes), NULL},
    {"overflow", KIND_CHOICE, offsetof(struct topic_settings, overflow), overflow_words},
    {"ttl", KIND_DURATION, offsetof(struct topic_settings, ttl), NULL},
    {"dedupe.by", KIND_CHOICE, offsetof(struct topic_settings, dedupe_by), dedupe_words},
    {"dedupe.window", KIND_DURATION, offsetof(struct topic_settings, dedupe_window), NULL},
    {"retain.age", KIND_DURATION, offsetof(struct topic_settings, retain_age), NULL},
    {"retain.bytes", KIND_SIZE, offsetof(struct topic_settings, retain_bytes), NULL},
    {"rate", KIND_RATE, offsetof(struct topic_settings, rate), NULL},
    {NULL, KIND_COUNT, 0, NULL},
};

static const struct field group_fields[FIELDS_MAX + 1] = {
    {"retry.max_retries", KIND_RETRIES, offsetof(struct group_settings, max_retries), NULL},
    {"retry.backoff", KIND_CHOICE, offsetof(struct group_settings, backoff), backoff_words},
    {"retry.initial_interval", KIND_DURATION, offsetof(struct group_settings, initial_interval), NULL},
    {"retry.max_interval", KIND_DURATION, offsetof(struct group_settings, max_interval), NULL},
    {"retry.jitter", KIND_SHARE, offsetof(struct group_settings, jitter), NULL},
    {"dead_letter", KIND_TOPIC, offsetof(struct group_settings, dead_letter), NULL},
    {"order", KIND_FLAG, offsetof(struct group_settings, order_by_key), order_words},
    {"on_dead", KIND_FLAG, offsetof(struct group_settings, hold_on_dead), on_dead_words},
    {"max_in_flight", KIND_COUNT32, offsetof(struct group_settings, max_in_flight), NULL},
    {"rate", KIND_RATE, offsetof(struct group_settings, rate), NULL},
    {"expire", KIND_DURATION, offsetof(struct group_settings, expire), NULL},
    {NULL, KIND_COUNT, 0, NULL},
};

void settings_topic_default(struct topic_settings *settings)
{
    *settings = (struct topic_settings){.dedupe_window = 600 * SECOND};
}

void settings_group_default(struct group_settings *settings)
{
    *settings = (struct group_settings){
        .max_retries = 20, .initial_interval = SECOND / 10, .max_interval = 60 * SECOND, .jitter = 0.2};
}

static size_t field_size(const struct field *field)
{
    switch (field->kind) {
    case KIND_COUNT:
    case KIND_SIZE:
        return sizeof(uint64_t);
    case KIND_COUNT32:
    case KIND_RETRIES:
        return sizeof(uint32_t);
    case KIND_DURATION:
        return sizeof(int64_t);
    case KIND_RATE:
    case KIND_SHARE:
        return sizeof(double);
    case KIND_CHOICE:
        return sizeof(enum overflow);
    case KIND_FLAG:
        return sizeof(bool);
    case KIND_TOPIC:
        return NAME_MAX_BYTES + 1;
    }
    return 0;
}

_Static_assert(sizeof(enum overflow) == sizeof(unsigned) && sizeof(enum dedupe_by) == sizeof(unsigned) &&
                   sizeof(enum backoff) == sizeof(unsigned),
               "KIND_CHOICE is an unsigned");

/* A value of any kind; what is in it is copied to or from a field, by its size. */
union value {
    uint64_t count;
    uint32_t count32;
    int64_t duration;
    double real;
    unsigned choice;
    bool flag;
    char topic[NAME_MAX_BYTES + 1];
};

/* ---- from text ------------------------------------------------------------------------------------------------ */

/* Puts the key before what FAULT says. */
static enum mp_error wrong(const struct field *field, struct fault *fault)
{
    return fault ? fault_set(fault, MP_ERR_INVALID, "%s: %s", field->key, fault->text) : MP_ERR_INVALID;
}

static enum mp_error read_choice(const struct field *field, const char *text, unsigned *choice, struct fault *fault)
{
    char words[64] = "", shown[FAULT_QUOTE];
    for (unsigned i = 0; field->words[i]; i++) {
        if (strcmp(text, field->words[i]) == 0) {
            *choice = i;
            return MP_OK;
        }
        size_t used = strlen(words);
        snprintf(words + used, sizeof words - used, "%s%s",
                 i == 0                ? ""
                 : field->words[i + 1] ? ", "
                                       : " or ",
                 field->words[i]);
    }
    return fault_set(fault, MP_ERR_INVALID, "%s is %s, not '%s'", field->key, words,
                     fault_quote(shown, text, strlen(text)));
}

static bool is_off(const char *text)
{
    return strcmp(text, "0") == 0 || strcmp(text, "none") == 0;
}

static enum mp_error read_number(const struct field *field, const char *text, union value *value, struct fault *fault)
{
    uint64_t number;
    uint64_t high = field->kind == KIND_COUNT ? INT64_MAX : UINT32_MAX - 1;
    bool retries = field->kind == KIND_RETRIES;
    if (retries && strcmp(text, "unlimited") == 0) {
        value->count32 = GROUP_RETRIES_UNLIMITED;
        return MP_OK;
    }
    if (units_number(field->key, text, 0, high, &number, fault))
        return retries && fault ? fault_set(fault, MP_ERR_INVALID, "%s, or 'unlimited'", fault->text) : MP_ERR_INVALID;
    if (field->kind == KIND_COUNT)
        value->count = number;
    else
        value->count32 = (uint32_t)number;
    return MP_OK;
}

static enum mp_error read_topic(const struct field *field, const char *text, union value *value, struct fault *fault)
{
    if (name_check_topic(text, strlen(text), fault))
        return wrong(field, fault);
    memset(value->topic, 0, sizeof value->topic);
    memcpy(value->topic, text, strlen(text));
    return MP_OK;
}

static enum mp_error field_read(const struct field *field, const char *text, union value *value, struct fault *fault)
{
    char shown[FAULT_QUOTE];
    enum mp_error error = MP_OK;
    switch (field->kind) {
    case KIND_COUNT:
    case KIND_COUNT32:
    case KIND_RETRIES:
        return read_number(field, text, value, fault);
    case KIND_SIZE:
        error = units_size(text, &value->count, fault);
        break;
    case KIND_DURATION:
        error = units_duration(text, &value->duration, fault);
        break;
    case KIND_RATE:
        value->real = 0;
        error = is_off(text) ? MP_OK : units_rate(text, &value->real, fault);
        break;
    case KIND_SHARE:
        if (units_share(text, &value->real, NULL))
            return fault_set(fault, MP_ERR_INVALID, "%s is a share from 0 to 1, as 0.2, not '%s'", field->key,
                             fault_quote(shown, text, strlen(text)));
        break;
    case KIND_CHOICE:
        return read_choice(field, text, &value->choice, fault);
    case KIND_FLAG: {
        unsigned choice = 0;
        error = read_choice(field, text, &choice, fault);
        value->flag = choice == 1;
        return error;
    }
    case KIND_TOPIC:
        return read_topic(field, text, value, fault);
    }
    return error ? wrong(field, fault) : MP_OK;
}

static const struct field *field_find(const struct field *fields, const char *key, const char *whose,
                                      struct fault *fault)
{
    const char *words[FIELDS_MAX] = {0};
    size_t count = 0;
    for (const struct field *field = fields; field->key; field++) {
        if (strcmp(field->key, key) == 0)
            return field;
        words[count++] = field->key;
    }
    char shown[FAULT_QUOTE];
    const char *nearest = name_nearest(key, words, count);
    for (size_t i = 0; !nearest && i < count; i++) {
        const char *dot = strchr(words[i], '.'); /* max_retries, which is called retry.max_retries */
        if (dot && name_nearest(key, &(const char *){dot + 1}, 1))
            nearest = words[i];
    }
    fault_quote(shown, key, strlen(key));
    if (nearest)
        fault_set(fault, MP_ERR_INVALID, "'%s' is no setting of a %s: did you mean %s?", shown, whose, nearest);
    else
        fault_set(fault, MP_ERR_INVALID, "'%s' is no setting of a %s", shown, whose);
    return NULL;
}

static enum mp_error fields_set(const struct field *fields, const char *whose, void *settings, const void *defaults,
                                const char *key, const char *text, struct fault *fault)
{
    const struct field *field = field_find(fields, key, whose, fault);
    if (!field)
        return MP_ERR_INVALID;
    union value value;
    if (text[0] == '\0')
        memcpy(&value, (const char *)defaults + field->at, field_size(field));
    else if (field_read(field, text, &value, fault))
        return MP_ERR_INVALID;
    memcpy((char *)settings + field->at, &value, field_size(field));
    return MP_OK;
}

enum mp_error settings_topic_set(struct topic_settings *settings, const char *key, const char *value,
                                 struct fault *fault)
{
    struct topic_settings defaults;
    settings_topic_default(&defaults);
    return fields_set(topic_fields, "topic", settings, &defaults, key, value, fault);
}

enum mp_error settings_group_set(struct group_settings *settings, const char *key, const char *value,
                                 struct fault *fault)
{
    struct group_settings defaults;
    settings_group_default(&defaults);
    return fields_set(group_fields, "group", settings, &defaults, key, value, fault);
}

/* ---- into text ------------------------------------------------------------------------------------------------ */

static void write_size(uint64_t bytes, char text[VALUE_TEXT])
{
    static const char *const names[] = {"", "KiB", "MiB", "GiB", "TiB"};
    unsigned i = 0;
    while (bytes > 0 && i < 4 && bytes % 1024 == 0) {
        bytes /= 1024;
        i++;
    }
    snprintf(text, VALUE_TEXT, "%" PRIu64 "%s", bytes, names[i]);
}

/* WHOLE.MILLIONTHS without the zeros at the end; no locale puts a comma there. */
static void write_millionths(uint64_t millionths, const char *unit, char text[VALUE_TEXT])
{
    char fraction[16];
    int digits = snprintf(fraction, sizeof fraction, ".%06" PRIu64, millionths % 1000000);
    while (digits > 1 && fraction[digits - 1] == '0')
        digits--;
    fraction[digits == 1 ? 0 : digits] = '\0';
    snprintf(text, VALUE_TEXT, "%" PRIu64 "%s%s", millionths / 1000000, fraction, unit);
}

/* The first unit in which the number, to a millionth, is read as the same rate again. */
static void write_rate(double rate, char text[VALUE_TEXT])
{
    static const struct {
        const char *name;
        double seconds;
    } units[] = {{"/s", 1}, {"/m", 60}, {"/h", 3600}, {"/d", 86400}};
    for (unsigned i = 0; i < sizeof units / sizeof *units; i++) {
        double again;
        write_millionths((uint64_t)(rate * units[i].seconds * 1e6 + 0.5), units[i].name, text);
        if (rate > 0 && !units_rate(text, &again, NULL) && !(again < rate) && !(again > rate))
            return;
    }
    if (!(rate > 0))
        snprintf(text, VALUE_TEXT, "0");
}

static void field_write(const struct field *field, const void *settings, char text[VALUE_TEXT])
{
    union value value;
    memcpy(&value, (const char *)settings + field->at, field_size(field));
    switch (field->kind) {
    case KIND_COUNT:
        snprintf(text, VALUE_TEXT, "%" PRIu64, value.count);
        break;
    case KIND_COUNT32:
    case KIND_RETRIES:
        if (field->kind == KIND_RETRIES && value.count32 == GROUP_RETRIES_UNLIMITED)
            snprintf(text, VALUE_TEXT, "unlimited");
        else
            snprintf(text, VALUE_TEXT, "%" PRIu32, value.count32);
        break;
    case KIND_SIZE:
        write_size(value.count, text);
        break;
    case KIND_DURATION:
        units_duration_write(value.duration, text, VALUE_TEXT);
        break;
    case KIND_RATE:
        write_rate(value.real, text);
        break;
    case KIND_SHARE:
        write_millionths((uint64_t)(value.real * 1e6 + 0.5), "", text);
        break;
    case KIND_CHOICE:
        snprintf(text, VALUE_TEXT, "%s", field->words[value.choice]);
        break;
    case KIND_FLAG:
        snprintf(text, VALUE_TEXT, "%s", field->words[value.flag ? 1 : 0]);
        break;
    case KIND_TOPIC:
        snprintf(text, VALUE_TEXT, "%s", value.topic);
        break;
    }
}

static enum mp_error fields_each(const struct field *fields, const void *settings, const void *defaults,
                                 settings_each *each, void *context)
{
    enum mp_error error = MP_OK;
    for (const struct field *field = fields; !error && field->key; field++) {
        char text[VALUE_TEXT];
        bool is_default =
            memcmp((const char *)settings + field->at, (const char *)defaults + field->at, field_size(field)) == 0;
        field_write(field, settings, text);
        error = each(context, field->key, text, is_default);
    }
    return error;
}

enum mp_error settings_topic_each(const struct topic_settings *settings, settings_each *each, void *context)
{
    struct topic_settings defaults;
    settings_topic_default(&defaults);
    return fields_each(topic_fields, settings, &defaults, each, context);
}

enum mp_error settings_group_each(const struct group_settings *settings, settings_each *each, void *context)
{
    struct group_settings defaults;
    settings_group_default(&defaults);
    return fields_each(group_fields, settings, &defaults, each, context);
}

static enum mp_error write_one(void *context, const char *key, const char *value, bool is_default)
{
    return is_default ? MP_OK : buffer_append_format(context, "%s=%s\n", key, value);
}

enum mp_error settings_topic_write(const struct topic_settings *settings, struct buffer *out)
{
    size_t before = out->size;
    enum mp_error error = settings_topic_each(settings, write_one, out);
    if (error)
        out->size = before;
    return error;
}

enum mp_error settings_group_write(const struct group_settings *settings, struct buffer *out)
{
    size_t before = out->size;
    enum mp_error error = settings_group_each(settings, write_one, out);
    if (error)
        out->size = before;
    return error;
}

/* ---- texts of several lines ----------------------------------------------------------------------------------- */

static enum mp_error lines_read(const struct field *fields, const char *whose, void *settings, const void *defaults,
                                const char *text, size_t size, struct fault *fault)
{
    while (size > 0) {
        char line[NAME_MAX_BYTES + 64];
        const char *newline = memchr(text, '\n', size);
        size_t length = newline ? (size_t)(newline - text) : size;
        if (length >= sizeof line || memchr(text, '\0', length))
            return fault_set(fault, MP_ERR_INVALID, "settings of a %s that are none", whose);
        memcpy(line, text, length);
        line[length] = '\0';
        char *value = strchr(line, '=');
        if (!value)
            return fault_set(fault, MP_ERR_INVALID, "a setting of a %s without a value", whose);
        *value++ = '\0';
        if (fields_set(fields, whose, settings, defaults, line, value, fault))
            return MP_ERR_INVALID;
        length += newline != NULL;
        text += length;
        size -= length;
    }
    return MP_OK;
}

enum mp_error settings_topic_read(struct topic_settings *settings, const char *text, size_t size, struct fault *fault)
{
    struct topic_settings defaults;
    settings_topic_default(&defaults);
    *settings = defaults;
    return lines_read(topic_fields, "topic", settings, &defaults, text, size, fault);
}

enum mp_error settings_group_read(struct group_settings *settings, const char *text, size_t size, struct fault *fault)
{
    struct group_settings defaults;
    settings_group_default(&defaults);
    *settings = defaults;
    return lines_read(group_fields, "group", settings, &defaults, text, size, fault);
}

/* ---- what makes sense together -------------------------------------------------------------------------------- */

enum mp_error settings_topic_check(const struct topic_settings *settings, struct fault *fault)
{
    struct topic_settings defaults;
    settings_topic_default(&defaults);
    if (settings->dedupe_by == DEDUPE_NONE && settings->dedupe_window != defaults.dedupe_window) {
        char window[VALUE_TEXT];
        units_duration_write(settings->dedupe_window, window, VALUE_TEXT);
        return fault_set(fault, MP_ERR_INVALID,
                         "dedupe.window is %s but dedupe.by is none: say dedupe.by=id or dedupe.by=key, or leave out "
                         "the window",
                         window);
    }
    if (settings->dedupe_by != DEDUPE_NONE && settings->dedupe_window == 0)
        return fault_set(fault, MP_ERR_INVALID,
                         "dedupe.window is 0 but dedupe.by is %s: within no time nothing comes twice: say how long, as "
                         "dedupe.window=10m",
                         dedupe_words[settings->dedupe_by]);
    return MP_OK;
}

enum mp_error settings_group_check(const struct group_settings *settings, struct fault *fault)
{
    char initial[VALUE_TEXT], max[VALUE_TEXT];
    const char *kind = backoff_words[settings->backoff];
    units_duration_write(settings->initial_interval, initial, VALUE_TEXT);
    units_duration_write(settings->max_interval, max, VALUE_TEXT);
    if (settings->backoff != BACKOFF_NONE && settings->max_interval < settings->initial_interval)
        return fault_set(fault, MP_ERR_INVALID, "retry.max_interval (%s) is below retry.initial_interval (%s)", max,
                         initial);
    if (settings->backoff != BACKOFF_NONE && settings->initial_interval == 0)
        return fault_set(fault, MP_ERR_INVALID,
                         "retry.initial_interval is 0, which retry.backoff=%s never makes longer: say "
                         "retry.backoff=none to try again at once",
                         kind);
    if (settings->hold_on_dead && !settings->order_by_key)
        return fault_set(fault, MP_ERR_INVALID,
                         "on_dead is hold but order is none: a dead message holds its key only with order=key");
    if (settings->expire > 0 && settings->expire < SECOND) {
        units_duration_write(settings->expire, max, VALUE_TEXT);
        return fault_set(fault, MP_ERR_INVALID,
                         "expire is %s: a group that is idle for less than 1s would go between two fetches", max);
    }
    return MP_OK;
}
