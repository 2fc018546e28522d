/*
 * admin_change.c: what `mrelay set`, `groups seek`, `groups delete`, `topics purge` and `topics delete` ask for. All of
 * a request is done in its turn's transaction, or none: a turn that is undone tells to send it again. Each can be
 * repeated without harm.
 *
 *     {"verb":"settings","topic":T}             {"settings":{KEY:VALUE…},"defaults":{KEY:VALUE…}}: all keys, as texts
 *     {"verb":"settings","topic":T,"group":G}
 *     {"verb":"set","topic":T,"settings":{KEY:VALUE…}}
 *                                               {"made":true if T was not there,"nearest":N}; N as `nearest` gives it
 *     {"verb":"set","topic":T,"group":G,"settings":{KEY:VALUE…}}
 *     {"verb":"letters","topic":T}              {"letters":true}: T holds dead letters from now on; false: it has others
 *     {"verb":"seek","topic":T,"group":G,"from":WHERE,"force":F}
 *                                               {}; WHERE as client_from() takes it
 *     {"verb":"delete","topic":T,"force":F}     {"messages":N} that went with it
 *     {"verb":"delete","topic":T,"group":G,"force":F}
 *                                               {}
 *     {"verb":"purge","topic":T,"below":OFFSET} {"messages":N} that were dropped
 *     {"verb":"repair","topic":T,"from":OFFSET} {"next":OFFSET,"end":OFFSET,"first":OFFSET,"messages":N,"dropped":N}: what
 *                                               was given up, if N is not 0; to be asked on from NEXT until that is END
 */
#include "relay/admin.h"

#include "client/client.h"

#include <stdlib.h>

/* What a request names, checked. */
struct target {
    const char *topic; /* or pattern */
    size_t topic_size;
    const char *group; /* NULL: none */
    size_t group_size;
    bool pattern;
};

/* A change, while it is made. Everything that goes wrong before the first write is in `detail`. */
struct change {
    struct core *core;
    const struct request *request;
    json_t *asked;
    struct target target;
    struct fault detail;
};

static enum mp_error read_target(struct change *change)
{
    struct target *target = &change->target;
    json_t *topic = json_object_get(change->asked, "topic"), *group = json_object_get(change->asked, "group");
    target->topic = json_string_value(topic);
    target->topic_size = json_string_length(topic);
    target->group = json_string_value(group);
    target->group_size = json_string_length(group);
    if (!target->topic || (group && !target->group))
        return fault_set(&change->detail, MP_ERR_INVALID, "the request needs the name of a topic");
    enum mp_error error = name_check_pattern(target->topic, target->topic_size, &target->pattern, &change->detail);
    if (!error && target->group)
        error = name_check_group(target->group, target->group_size, &change->detail);
    if (!error && target->pattern && !target->group)
        error = fault_set(&change->detail, MP_ERR_INVALID, "%s is a pattern: name one topic", target->topic);
    return error;
}

/* ---- settings ------------------------------------------------------------------------------------------------- */

/* A topic's or a group's. */
struct settings {
    struct topic_settings topic;
    struct group_settings group;
};

static enum mp_error add_setting(void *context, const char *key, const char *value, bool is_default)
{
    (void)is_default;
    return json_object_set_new(context, key, json_string(value)) ? MP_ERR_MEMORY : MP_OK;
}

/* Adds all of SETTINGS to ANSWER under NAME. */
static enum mp_error put_settings(const struct change *change, const struct settings *settings, json_t *answer,
                                  const char *name)
{
    json_t *object = json_object();
    enum mp_error error = !object                ? MP_ERR_MEMORY
                          : change->target.group ? settings_group_each(&settings->group, add_setting, object)
                                                 : settings_topic_each(&settings->topic, add_setting, object);
    if (json_object_set_new(answer, name, object) || error)
        return fault_memory(NULL);
    return MP_OK;
}

/* What holds now. MP_ERR_NOT_FOUND: SETTINGS are the defaults. */
static enum mp_error get_settings(struct change *change, struct settings *settings)
{
    const struct target *target = &change->target;
    struct engine *engine = change->core->engine;
    settings_topic_default(&settings->topic);
    settings_group_default(&settings->group);
    if (target->group)
        return engine->operations->group_settings(engine, target->topic, target->topic_size, target->group,
                                                  target->group_size, &settings->group, &change->detail);
    return engine->operations->topic_settings(engine, target->topic, target->topic_size, &settings->topic,
                                              &change->detail);
}

static enum mp_error change_settings(struct change *change, struct settings *settings)
{
    const char *key;
    json_t *value, *wanted = json_object_get(change->asked, "settings");
    if (!json_is_object(wanted))
        return fault_set(&change->detail, MP_ERR_INVALID, "the request needs an object of settings");
    json_object_foreach(wanted, key, value)
    {
        const char *text = json_string_value(value);
        enum mp_error error = !text
                                  ? fault_set(&change->detail, MP_ERR_INVALID, "%.60s: write the value as a text", key)
                              : change->target.group ? settings_group_set(&settings->group, key, text, &change->detail)
                                                     : settings_topic_set(&settings->topic, key, text, &change->detail);
        if (error)
            return error;
    }
    return MP_OK;
}

static enum mp_error configure(struct change *change, const struct settings *settings)
{
    const struct target *target = &change->target;
    struct engine *engine = change->core->engine;
    if (target->group)
        return engine->operations->configure_group(engine, target->topic, target->topic_size, target->pattern,
                                                   target->group, target->group_size, &settings->group,
                                                   &change->detail);
    return engine->operations->configure_topic(engine, target->topic, target->topic_size, &settings->topic,
                                               &change->detail);
}

static enum mp_error show_settings(struct change *change, json_t *answer)
{
    struct settings settings, defaults;
    enum mp_error error = get_settings(change, &settings);
    settings_topic_default(&defaults.topic);
    settings_group_default(&defaults.group);
    if (!error)
        error = put_settings(change, &settings, answer, "settings");
    return error ? error : put_settings(change, &defaults, answer, "defaults");
}

static enum mp_error set_settings(struct change *change, json_t *answer)
{
    struct engine *engine = change->core->engine;
    struct settings settings;
    enum mp_error error = get_settings(change, &settings);
    bool made = error == MP_ERR_NOT_FOUND;
    if (error && !made)
        return error;
    const char *nearest =
        made && !change->target.group ? engine->operations->nearest_topic(engine, change->target.topic, true) : NULL;
    /* What is near may move when a topic is made. */
    bool failed = json_object_set_new(answer, "made", json_boolean(made)) ||
                  json_object_set_new(answer, "nearest", json_string(nearest ? nearest : ""));
    change->detail = (struct fault){0};
    error = failed ? fault_memory(&change->detail) : change_settings(change, &settings);
    return error ? error : configure(change, &settings);
}

static void set_default(struct settings *settings)
{
    settings_topic_default(&settings->topic);
    settings_group_default(&settings->group);
}

static enum mp_error check_settings(struct change *change, const struct settings *settings)
{
    return change->target.group ? settings_group_check(&settings->group, &change->detail)
                                : settings_topic_check(&settings->topic, &change->detail);
}

/* Whether A and B say the same; false too when there is no memory to find out. */
static bool is_same(const struct change *change, const struct settings *a, const struct settings *b)
{
    struct buffer one = {0}, other = {0};
    enum mp_error error =
        change->target.group ? settings_group_write(&a->group, &one) : settings_topic_write(&a->topic, &one);
    if (!error)
        error =
            change->target.group ? settings_group_write(&b->group, &other) : settings_topic_write(&b->topic, &other);
    bool same = !error && one.size == other.size && (one.size == 0 || memcmp(one.data, other.data, one.size) == 0);
    buffer_free(&one);
    buffer_free(&other);
    return same;
}

enum mp_error core_admin_settle_on(struct core *core, json_t *named, bool check, bool *changed, struct fault *detail)
{
    struct change change = {.core = core, .asked = named};
    struct settings wanted, found;
    *changed = false;
    set_default(&wanted);
    enum mp_error error = read_target(&change);
    if (!error)
        error = change_settings(&change, &wanted);
    if (!error)
        error = check_settings(&change, &wanted);
    if (!error && !check) {
        error = get_settings(&change, &found);
        *changed = error == MP_ERR_NOT_FOUND || (!error && !is_same(&change, &wanted, &found));
        error = *changed ? configure(&change, &wanted) : error;
    }
    if (error)
        fault_set(detail, error, "%s%s%s: %s", change.target.topic ? change.target.topic : "a topic",
                  change.target.group ? ", group " : "", change.target.group ? change.target.group : "",
                  fault_text(&change.detail));
    return error;
}

/* For clients that send dead letters of their own. */
static enum mp_error keep_letters(struct change *change, json_t *answer)
{
    const struct target *target = &change->target;
    struct engine *engine = change->core->engine;
    bool letters;
    if (target->group)
        return fault_set(&change->detail, MP_ERR_INVALID, "the request names a group, and is about a topic");
    enum mp_error error =
        engine->operations->keep_letters(engine, target->topic, target->topic_size, &letters, &change->detail);
    if (error)
        return error;
    return json_object_set_new(answer, "letters", json_boolean(letters)) ? MP_ERR_MEMORY : MP_OK;
}

/* ---- moving and removing -------------------------------------------------------------------------------------- */

static bool is_forced(const struct change *change)
{
    return json_is_true(json_object_get(change->asked, "force"));
}

static enum mp_error needs_group(struct change *change)
{
    return change->target.group ? MP_OK
                                : fault_set(&change->detail, MP_ERR_INVALID, "the request needs the name of a group");
}

static enum mp_error seek_group(struct change *change, json_t *answer)
{
    const char *text = json_string_value(json_object_get(change->asked, "from"));
    struct engine *engine = change->core->engine;
    enum protocol_from from;
    uint64_t value;
    (void)answer;
    enum mp_error error = needs_group(change);
    if (!error && (!text || !*text))
        error = fault_set(&change->detail, MP_ERR_INVALID, "the request does not say where to");
    if (!error)
        error = client_from(text, change->core->now.wall, &from, &value, &change->detail);
    if (error)
        return error;
    return engine->operations->seek_group(engine, change->target.topic, change->target.group, (enum engine_from)from,
                                          value, is_forced(change), &change->detail);
}

static enum mp_error delete_group(struct change *change)
{
    const struct target *target = &change->target;
    struct engine *engine = change->core->engine;
    char text[2 * NAME_MAX_BYTES + 60];
    enum mp_error error =
        engine->operations->delete_group(engine, target->topic, target->group, is_forced(change), &change->detail);
    snprintf(text, sizeof text, "group %s on %s has been deleted", target->group, target->topic);
    if (!error)
        core_send_back(change->core, MP_ERR_NOT_FOUND, text);
    return error;
}

static enum mp_error delete_topic(struct change *change, json_t *answer)
{
    struct engine *engine = change->core->engine;
    char text[NAME_MAX_BYTES + 60];
    uint64_t messages;
    enum mp_error error =
        engine->operations->delete_topic(engine, change->target.topic, is_forced(change), &messages, &change->detail);
    if (error)
        return error;
    snprintf(text, sizeof text, "topic %s has been deleted", change->target.topic);
    core_send_back(change->core, MP_ERR_NOT_FOUND, text);
    return json_object_set_new(answer, "messages", json_integer((json_int_t)messages)) ? MP_ERR_MEMORY : MP_OK;
}

static enum mp_error delete_one(struct change *change, json_t *answer)
{
    return change->target.group ? delete_group(change) : delete_topic(change, answer);
}

static enum mp_error purge_topic(struct change *change, json_t *answer)
{
    const json_t *below = json_object_get(change->asked, "below");
    struct engine *engine = change->core->engine;
    uint64_t messages;
    if (!json_is_integer(below) || json_integer_value(below) < 0)
        return fault_set(&change->detail, MP_ERR_INVALID, "the request does not say below which offset");
    enum mp_error error = engine->operations->purge_topic(
        engine, change->target.topic, (uint64_t)json_integer_value(below), &messages, &change->detail);
    if (error)
        return error;
    return json_object_set_new(answer, "messages", json_integer((json_int_t)messages)) ? MP_ERR_MEMORY : MP_OK;
}

static enum mp_error repair_topic(struct change *change, json_t *answer)
{
    const json_t *from = json_object_get(change->asked, "from");
    struct engine *engine = change->core->engine;
    struct engine_repair result;
    if (!json_is_integer(from) || json_integer_value(from) < 0)
        return fault_set(&change->detail, MP_ERR_INVALID, "the request does not say from which offset on");
    enum mp_error error = engine->operations->repair_topic(
        engine, change->target.topic, (uint64_t)json_integer_value(from), &result, &change->detail);
    if (error)
        return error;
    bool failed = json_object_set_new(answer, "next", json_integer((json_int_t)result.next)) ||
                  json_object_set_new(answer, "end", json_integer((json_int_t)result.end)) ||
                  json_object_set_new(answer, "first", json_integer((json_int_t)result.first)) ||
                  json_object_set_new(answer, "messages", json_integer((json_int_t)result.count)) ||
                  json_object_set_new(answer, "dropped", json_integer((json_int_t)result.dropped));
    return failed ? MP_ERR_MEMORY : MP_OK;
}

/* ---- requests ------------------------------------------------------------------------------------------------- */

static const struct {
    const char *verb;
    enum mp_error (*run)(struct change *change, json_t *answer);
} changes[] = {
    {"settings", show_settings}, {"set", set_settings},  {"letters", keep_letters}, {"seek", seek_group},
    {"delete", delete_one},      {"purge", purge_topic}, {"repair", repair_topic},
};

/* Whether ERROR says what is wrong with the request, and not that half of it was done. */
static bool is_refusal(enum mp_error error)
{
    switch (error) {
    case MP_ERR_INVALID:
    case MP_ERR_TOO_LARGE:
    case MP_ERR_NOT_FOUND:
    case MP_ERR_EXISTS:
    case MP_ERR_BUSY:
    case MP_ERR_UNSUPPORTED:
        return true;
    default:
        return false;
    }
}

void core_admin_answer(struct core *core, const struct request *request, enum mp_error error, const json_t *answer,
                       struct fault *detail, struct fault *fault)
{
    char *text = error ? NULL : json_dumps(answer, JSON_COMPACT);
    if (!error && !text)
        error = fault_memory(detail);
    if (!error) {
        core_reply_text(core, request, MP_OK, text);
    } else if (is_refusal(error)) {
        core_reply_text(core, request, error, fault_text(detail));
    } else {
        detail->code = error;
        fault_set(fault, error, "%s", fault_text(detail));
        core_reply_text(core, request, MP_ERR_AGAIN, fault_text(fault));
    }
    free(text);
}

static void run(struct change *change, enum mp_error (*act)(struct change *change, json_t *answer), struct fault *fault)
{
    json_t *answer = json_object();
    enum mp_error error = answer ? read_target(change) : MP_ERR_MEMORY;
    if (!error)
        error = act(change, answer);
    if (error == MP_ERR_NOT_FOUND)
        core_admin_hint(change->core, change->target.topic, change->target.group, &change->detail);
    core_admin_answer(change->core, change->request, error, answer, &change->detail, fault);
    json_decref(answer);
}

bool core_admin_change(struct core *core, const struct request *request, json_t *asked, const char *verb,
                       struct fault *fault)
{
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        if (strcmp(verb, changes[i].verb) == 0) {
            struct change change = {.core = core, .request = request, .asked = asked};
            run(&change, changes[i].run, fault);
            return true;
        }
    return false;
}
