/* What topics and groups are told to do: set, kept, and given back. */
#include "queue/local.h"

/* ---- dead-letter topics --------------------------------------------------------------------------------------- */

/* What the patterns' readers have seen of TOPIC so far was right; from now on it is none of theirs. */
static void leave_readers(struct topic *topic)
{
    for (size_t i = topic->readers.count; i-- > 0;) {
        struct subscription *readers = topic->readers.items[i];
        if (!readers->shared.pattern)
            continue;
        members_remove(&readers->members, topic);
        members_remove(&topic->readers, readers);
    }
}

/* Groups of patterns go that were not given anything of TOPIC; the others finish what they have begun. */
static enum mp_error leave_groups(struct local *local, struct topic *topic, struct fault *fault)
{
    enum mp_error error = MP_OK;
    for (size_t i = topic->groups.count; !error && i-- > 0;) {
        struct group *group = topic->groups.items[i];
        if (group->pattern_id != 0 && group->states.frontier == group->start)
            error = local_group_remove(local, group, fault);
    }
    return error;
}

enum mp_error local_letters_topic(struct local *local, const char *name, size_t size, struct topic **result,
                                  struct fault *fault)
{
    struct topic *topic = local_topic(local, name, size);
    enum mp_error error = MP_OK;
    *result = topic;
    if (topic && topic->letters)
        return MP_OK;
    if (topic) {
        topic->letters = true;
        leave_readers(topic);
        if ((error = local_write(local, fault)) || (error = local_topic_save(local, topic, fault)) ||
            (error = leave_groups(local, topic, fault)))
            return error;
    } else if ((error = local_topic_make(local, name, size, true, result, fault))) {
        return error;
    }
    struct engine_subscription *mretry;
    error = local_subscribe(&local->engine, name, size, false, "mretry", 6, 0, ENGINE_FROM_DEFAULT, 0, &mretry, fault);
    if (!error)
        mretry->created = false; /* nobody asked for it */
    return error;
}

enum mp_error local_keep_letters(struct engine *engine, const char *name, size_t size, bool *letters,
                                 struct fault *fault)
{
    struct local *local = local_of(engine);
    struct topic *topic = local_topic(local, name, size);
    struct engine_subscription *mretry;
    if (!topic && local->next_topic >= TOPICS_MAX)
        return fault_set(fault, MP_ERR_TOO_LARGE, "the relay has %u topics, and can have no more", TOPICS_MAX - 1);
    *letters = !topic || topic->letters || topic->end == 0;
    enum mp_error error = local_write(local, fault);
    if (error)
        return error;
    if (*letters)
        return local_letters_topic(local, name, size, &topic, fault);
    error = local_subscribe(engine, name, size, false, "mretry", 6, 0, ENGINE_FROM_DEFAULT, 0, &mretry, fault);
    if (!error)
        mretry->created = false; /* nobody asked for it */
    return error;
}

/* ---- topics --------------------------------------------------------------------------------------------------- */

enum mp_error local_configure_topic(struct engine *engine, const char *name, size_t size,
                                    const struct topic_settings *settings, struct fault *fault)
{
    struct local *local = local_of(engine);
    enum mp_error error = settings_topic_check(settings, fault);
    if (error)
        return error;
    struct topic *topic = local_topic(local, name, size);
    if (!topic && local->next_topic >= TOPICS_MAX)
        return fault_set(fault, MP_ERR_TOO_LARGE, "the relay has %u topics, and can have no more", TOPICS_MAX - 1);
    if ((error = local_write(local, fault)) ||
        (!topic && (error = local_topic_make(local, name, size, false, &topic, fault))))
        return error;
    topic->settings = *settings;
    local_expire_soon(local, topic);
    local_retain_look(local, topic);
    local_mark_topic(local, topic);
    return local_topic_save(local, topic, fault);
}

static enum mp_error no_topic(struct local *local, const char *name, size_t size, struct fault *fault)
{
    char text[NAME_MAX_BYTES + 1];
    memcpy(text, name, size);
    text[size] = '\0';
    const char *nearest = local_nearest_topic(&local->engine, text, false);
    return nearest ? fault_set(fault, MP_ERR_NOT_FOUND, "no topic %s: did you mean %s?", text, nearest)
                   : fault_set(fault, MP_ERR_NOT_FOUND, "no topic %s", text);
}

enum mp_error local_topic_settings(struct engine *engine, const char *name, size_t size,
                                   struct topic_settings *settings, struct fault *fault)
{
    struct local *local = local_of(engine);
    const struct topic *topic = local_topic(local, name, size);
    if (!topic)
        return no_topic(local, name, size, fault);
    *settings = topic->settings;
    return MP_OK;
}

enum mp_error local_topic_settings_read(struct local *local, struct topic *topic, const char *text, struct fault *fault)
{
    struct fault detail = {0};
    if (!settings_topic_read(&topic->settings, text, text ? strlen(text) : 0, &detail))
        return MP_OK;
    return fault_set(fault, MP_ERR_DAMAGED, "%s: the settings of topic %s: %s", store_path(local->store), topic->name,
                     fault_text(&detail));
}

enum mp_error local_topic_settings_write(const struct topic *topic, struct buffer *text)
{
    text->size = 0;
    enum mp_error error = settings_topic_write(&topic->settings, text);
    return error ? error : buffer_put_u8(text, '\0');
}

/* ---- groups --------------------------------------------------------------------------------------------------- */

/* Where the group's dead letters are to go must not be where they come from. */
static enum mp_error check_dead_letter(struct local *local, const char *name, size_t size, bool pattern,
                                       const struct group_settings *settings, struct fault *fault)
{
    const char *letters = settings->dead_letter;
    const struct topic *source = pattern ? NULL : local_topic(local, name, size);
    const struct topic *topic = local_topic(local, letters, strlen(letters));
    char text[NAME_MAX_BYTES + 1];
    memcpy(text, name, size);
    text[size] = '\0';
    if (letters[0] == '\0')
        return MP_OK;
    if (!pattern && strcmp(text, letters) == 0)
        return fault_set(fault, MP_ERR_INVALID,
                         "dead_letter: the dead letters of topic %s cannot go to %s itself: name another topic", text,
                         letters);
    if (pattern && topic && !topic->letters && name_matches(text, letters))
        return fault_set(fault, MP_ERR_INVALID,
                         "dead_letter: %s is one of the topics of %s, whose dead letters cannot go back there: name "
                         "another topic",
                         letters, text);
    if (source && source->letters)
        return fault_set(fault, MP_ERR_INVALID,
                         "dead_letter: topic %s holds dead letters, of which none are made again: leave out "
                         "dead_letter=%s",
                         text, letters);
    if (!topic && local->next_topic >= TOPICS_MAX)
        return fault_set(fault, MP_ERR_TOO_LARGE, "the relay has %u topics, and can have no more", TOPICS_MAX - 1);
    return MP_OK;
}

enum mp_error local_group_settings_write(const struct subscription *subscription, struct buffer *text)
{
    text->size = 0;
    enum mp_error error = settings_group_write(&subscription->settings, text);
    return error ? error : buffer_put_u8(text, '\0');
}

/* The row of a pattern: its groups' settings are there. */
static enum mp_error put_pattern(struct local *local, const struct subscription *subscription, struct fault *fault)
{
    struct buffer text = {0};
    if (local_group_settings_write(subscription, &text)) {
        buffer_free(&text);
        return fault_memory(fault);
    }
    struct store_pattern row = {.id = subscription->pattern_id,
                                .pattern = subscription->shared.topic,
                                .group = subscription->shared.group,
                                .created = subscription->pattern_created,
                                .settings = (const char *)text.data};
    enum mp_error error = store_put_pattern(local->store, &row, fault);
    buffer_free(&text);
    return error;
}

enum mp_error local_configure_group(struct engine *engine, const char *topic, size_t topic_size, bool pattern,
                                    const char *group, size_t group_size, const struct group_settings *settings,
                                    struct fault *fault)
{
    struct local *local = local_of(engine);
    struct engine_subscription *shared;
    struct topic *letters;
    size_t letters_size = strlen(settings->dead_letter);
    enum mp_error error = settings_group_check(settings, fault);
    if (!error)
        error = check_dead_letter(local, topic, topic_size, pattern, settings, fault);
    if (!error)
        error = local_subscribe(engine, topic, topic_size, pattern, group, group_size, 0, ENGINE_FROM_DEFAULT, 0,
                                &shared, fault);
    if (!error)
        error = local_write(local, fault);
    if (!error && letters_size > 0)
        error = local_letters_topic(local, settings->dead_letter, letters_size, &letters, fault);
    if (error)
        return error;
    struct subscription *subscription = (struct subscription *)shared;
    subscription->settings = *settings;
    for (size_t i = 0; i < subscription->members.count; i++)
        local_order_free(subscription->members.items[i]); /* it is found again, by what is said now */
    local_idle_load(local);
    shared->created = false; /* whoever consumes from it first need not be told */
    local_mark_ready(local, subscription);
    return pattern ? put_pattern(local, subscription, fault)
                   : local_group_save(local, subscription->members.items[0], fault);
}

enum mp_error local_group_settings(struct engine *engine, const char *topic, size_t topic_size, const char *group,
                                   size_t group_size, struct group_settings *settings, struct fault *fault)
{
    struct local *local = local_of(engine);
    const struct subscription *subscription = local_subscription(local, topic, topic_size, group, group_size);
    if (group_size == 0 || !subscription || !subscription->made)
        return fault_set(fault, MP_ERR_NOT_FOUND, "no group %.*s on topic %.*s", (int)group_size, group,
                         (int)topic_size, topic);
    *settings = subscription->settings;
    return MP_OK;
}

enum mp_error local_group_settings_read(struct local *local, struct subscription *subscription, const char *text,
                                        struct fault *fault)
{
    struct fault detail = {0};
    if (!settings_group_read(&subscription->settings, text, text ? strlen(text) : 0, &detail))
        return MP_OK;
    return fault_set(fault, MP_ERR_DAMAGED, "%s: the settings of group %s on %s: %s", store_path(local->store),
                     subscription->shared.group, subscription->shared.topic, fault_text(&detail));
}
