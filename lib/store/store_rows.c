#include "store/private.h"

enum mp_error store_get_number(struct store *store, const char *name, int64_t *value, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_GET_NUMBER, fault))
        return row_unopened(fault);
    bind_text(&row, name);
    int result = sqlite3_step(row.statement);
    bool fits = true;
    row.column = 0;
    if (result == SQLITE_ROW) {
        *value = (int64_t)take_number(&row);
        fits = checksum_fits(&row);
    }
    sqlite3_reset(row.statement);
    if (result == SQLITE_DONE)
        return MP_ERR_NOT_FOUND;
    if (!fits)
        return fault_set(fault, MP_ERR_DAMAGED, "%s: row %s of numbers is damaged: its checksum does not fit",
                         store->path, name);
    return result == SQLITE_ROW ? MP_OK : store_failed(store, result, "read a number", fault);
}

enum mp_error store_put_number(struct store *store, const char *name, int64_t value, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_PUT_NUMBER, fault))
        return row_unopened(fault);
    bind_text(&row, name);
    bind_number(&row, (uint64_t)value);
    bind_checksum(&row);
    enum mp_error error = digest_number(store, name, row.checksum, fault);
    return error ? error : row_run(&row, "write a number", fault);
}

enum mp_error store_each_number(struct store *store, enum mp_error (*each)(void *, const char *name, int64_t value),
                                void *context, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_EACH_NUMBER, fault))
        return row_unopened(fault);
    enum mp_error error = MP_OK;
    while (row_next(&row, "read the numbers", &error, fault)) {
        const char *name = take_text(&row);
        int64_t value = (int64_t)take_number(&row);
        if (checksum_fits(&row)) {
            if ((error = each(context, name, value)))
                break;
            continue;
        }
        if (row_damaged(store, "numbers", 0, name))
            continue;
        error = fault_set(fault, MP_ERR_DAMAGED, "%s: row %s of numbers is damaged: its checksum does not fit",
                          store->path, name);
        break;
    }
    return row_end(&row, error);
}

enum mp_error store_put_topic(struct store *store, const struct store_topic *topic, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_PUT_TOPIC, fault))
        return row_unopened(fault);
    bind_number(&row, topic->id);
    bind_text(&row, topic->name);
    bind_number(&row, topic->first);
    bind_number(&row, topic->end);
    bind_number(&row, (uint64_t)topic->created);
    bind_later_text(&row, topic->settings);
    bind_later_number(&row, topic->letters);
    bind_later_bytes(&row, topic->counters, topic->counters_size);
    bind_checksum(&row);
    return row_put(&row, DIGEST_TOPICS, topic->id, "write a topic", fault);
}

enum mp_error store_each_topic(struct store *store, enum mp_error (*each)(void *, const struct store_topic *),
                               void *context, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_EACH_TOPIC, fault))
        return row_unopened(fault);
    enum mp_error error = MP_OK;
    while (row_next(&row, "read the topics", &error, fault)) {
        struct store_topic topic = {0};
        topic.id = (uint32_t)take_number(&row);
        topic.name = take_text(&row);
        topic.first = take_number(&row);
        topic.end = take_number(&row);
        topic.created = (int64_t)take_number(&row);
        topic.settings = take_later_text(&row);
        topic.letters = take_later_number(&row) != 0;
        topic.counters = take_later_bytes(&row, &topic.counters_size);
        if (row_fits(&row, "topics", &error, fault))
            error = each(context, &topic);
        if (error)
            break;
    }
    return row_end(&row, error);
}

enum mp_error store_put_pattern(struct store *store, const struct store_pattern *pattern, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_PUT_PATTERN, fault))
        return row_unopened(fault);
    bind_number(&row, pattern->id);
    bind_text(&row, pattern->pattern);
    bind_text(&row, pattern->group);
    bind_number(&row, (uint64_t)pattern->created);
    bind_later_text(&row, pattern->settings);
    bind_checksum(&row);
    return row_put(&row, DIGEST_PATTERNS, pattern->id, "write a pattern", fault);
}

enum mp_error store_each_pattern(struct store *store, enum mp_error (*each)(void *, const struct store_pattern *),
                                 void *context, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_EACH_PATTERN, fault))
        return row_unopened(fault);
    enum mp_error error = MP_OK;
    while (row_next(&row, "read the patterns", &error, fault)) {
        struct store_pattern pattern = {0};
        pattern.id = (uint32_t)take_number(&row);
        pattern.pattern = take_text(&row);
        pattern.group = take_text(&row);
        pattern.created = (int64_t)take_number(&row);
        pattern.settings = take_later_text(&row);
        if (row_fits(&row, "patterns", &error, fault))
            error = each(context, &pattern);
        if (error)
            break;
    }
    return row_end(&row, error);
}

enum mp_error store_put_group(struct store *store, const struct store_group *group, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_PUT_GROUP, fault))
        return row_unopened(fault);
    bind_number(&row, group->id);
    bind_number(&row, group->topic);
    bind_text(&row, group->name);
    bind_number(&row, group->pattern);
    bind_number(&row, group->start);
    bind_number(&row, group->floor);
    bind_number(&row, group->frontier);
    bind_number(&row, group->dead);
    bind_number(&row, group->event);
    bind_number(&row, (uint64_t)group->created);
    bind_later_text(&row, group->settings);
    bind_later_bytes(&row, group->totals, group->totals_size);
    bind_later_number(&row, (uint64_t)group->used);
    bind_checksum(&row);
    return row_put(&row, DIGEST_GROUPS, group->id, "write a group", fault);
}

enum mp_error store_each_group(struct store *store, enum mp_error (*each)(void *, const struct store_group *),
                               void *context, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_EACH_GROUP, fault))
        return row_unopened(fault);
    enum mp_error error = MP_OK;
    while (row_next(&row, "read the groups", &error, fault)) {
        struct store_group group = {0};
        group.id = (uint32_t)take_number(&row);
        group.topic = (uint32_t)take_number(&row);
        group.name = take_text(&row);
        group.pattern = (uint32_t)take_number(&row);
        group.start = take_number(&row);
        group.floor = take_number(&row);
        group.frontier = take_number(&row);
        group.dead = take_number(&row);
        group.event = take_number(&row);
        group.created = (int64_t)take_number(&row);
        group.settings = take_later_text(&row);
        group.totals = take_later_bytes(&row, &group.totals_size);
        group.used = (int64_t)take_later_number(&row);
        if (row_fits(&row, "groups", &error, fault))
            error = each(context, &group);
        if (error)
            break;
    }
    return row_end(&row, error);
}

enum mp_error store_put_session(struct store *store, const struct store_session *session, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_PUT_SESSION, fault))
        return row_unopened(fault);
    bind_number(&row, session->id);
    bind_number(&row, (uint64_t)session->created);
    bind_number(&row, (uint64_t)session->used);
    for (unsigned lane = 0; lane < 3; lane++)
        bind_number(&row, session->numbers[lane]);
    for (unsigned lane = 0; lane < 3; lane++)
        bind_number(&row, session->results[lane]);
    for (unsigned lane = 0; lane < 2; lane++)
        bind_number(&row, session->counts[lane]);
    bind_later_number(&row, session->keep);
    bind_checksum(&row);
    return row_put(&row, DIGEST_SESSIONS, (int64_t)session->id, "write a session", fault);
}

enum mp_error store_each_session(struct store *store, enum mp_error (*each)(void *, const struct store_session *),
                                 void *context, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_EACH_SESSION, fault))
        return row_unopened(fault);
    enum mp_error error = MP_OK;
    while (row_next(&row, "read the sessions", &error, fault)) {
        struct store_session session = {0};
        session.id = take_number(&row);
        session.created = (int64_t)take_number(&row);
        session.used = (int64_t)take_number(&row);
        for (unsigned lane = 0; lane < 3; lane++)
            session.numbers[lane] = take_number(&row);
        for (unsigned lane = 0; lane < 3; lane++)
            session.results[lane] = take_number(&row);
        for (unsigned lane = 0; lane < 2; lane++)
            session.counts[lane] = (uint32_t)take_number(&row);
        session.keep = (uint32_t)take_later_number(&row);
        if (row_fits(&row, "sessions", &error, fault))
            error = each(context, &session);
        if (error)
            break;
    }
    return row_end(&row, error);
}
