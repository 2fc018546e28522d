#include "trace/audit_private.h"

#include "base/memory.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const tables[AUDIT_TABLES] = {
    [AUDIT_NUMBERS] = "numbers",   [AUDIT_TOPICS] = "topics", [AUDIT_PATTERNS] = "patterns",
    [AUDIT_GROUPS] = "groups",     [AUDIT_BLOCKS] = "blocks", [AUDIT_SESSIONS] = "sessions",
    [AUDIT_SCHEDULE] = "schedule", [AUDIT_HASHES] = "hashes", [AUDIT_FRAMES] = "frames",
    [AUDIT_EVENTS] = "events",
};

const char *audit_kind_name(enum audit_kind kind)
{
    switch (kind) {
    case AUDIT_DAMAGED:
        return "damaged";
    case AUDIT_MISSING:
        return "missing";
    case AUDIT_PHANTOM:
        return "phantom";
    case AUDIT_DOUBLE:
        return "double";
    case AUDIT_MISMATCH:
    case AUDIT_KINDS:
        break;
    }
    return "mismatch";
}

/* ---- lists ---------------------------------------------------------------------------------------------------- */

bool audit_room(void **items, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return true;
    void *grown = memory_grow(*items, room, size, 64);
    if (!grown)
        return false;
    *items = grown;
    return true;
}

static int compare_ids(const void *key, const void *item)
{
    uint32_t id = *(const uint32_t *)key, other = *(const uint32_t *)item; /* the first member of a row */
    return id < other ? -1 : id > other;
}

struct audit_topic_row *audit_topic_row(const struct audit *audit, uint32_t id)
{
    return audit->topics_count > 0
               ? bsearch(&id, audit->topics, audit->topics_count, sizeof *audit->topics, compare_ids)
               : NULL;
}

struct audit_group_row *audit_group_row(const struct audit *audit, uint32_t id)
{
    return audit->groups_count > 0
               ? bsearch(&id, audit->groups, audit->groups_count, sizeof *audit->groups, compare_ids)
               : NULL;
}

static int compare_sessions(const void *key, const void *item)
{
    uint64_t id = *(const uint64_t *)key, other = ((const struct audit_session *)item)->id;
    return id < other ? -1 : id > other;
}

const struct audit_session *audit_session(const struct audit *audit, uint64_t id)
{
    return audit->sessions_count > 0
               ? bsearch(&id, audit->sessions, audit->sessions_count, sizeof *audit->sessions, compare_sessions)
               : NULL;
}

void audit_request(struct audit *audit, const struct audit_place *place, uint64_t session, uint64_t request)
{
    const struct audit_session *known = session ? audit_session(audit, session) : NULL;
    uint64_t number = request & (UINT64_MAX >> 2);
    unsigned lane = (unsigned)(request >> 62);
    if (known && lane < 3 && number > known->numbers[lane])
        audit_found(audit, AUDIT_MISMATCH, place,
                    "it was written for request %" PRIu64 " of session %016" PRIx64
                    ", whose row in sessions knows none after %" PRIu64,
                    number, session, known->numbers[lane]);
}

/* ---- what is asked for ---------------------------------------------------------------------------------------- */

static bool is_wanted(const char *const *asked, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(asked[i], name) == 0 || name_matches(asked[i], name))
            return true;
    return count == 0;
}

static bool is_wanted_topic(const struct audit *audit, const char *name)
{
    return is_wanted(audit->settings->topics, audit->settings->topics_count, name);
}

static bool wants_all(const struct audit *audit)
{
    return audit->settings->topics_count + audit->settings->groups_count == 0;
}

bool audit_wants(const struct audit *audit, uint32_t id)
{
    struct examined_topic topic;
    if (audit->settings->topics_count == 0 || !audit->examination)
        return true;
    return examine_topic(audit->examination, id, &topic) && is_wanted_topic(audit, topic.name);
}

bool audit_wants_group(const struct audit *audit, uint32_t id)
{
    struct examined_group group;
    if (wants_all(audit) || !audit->examination)
        return true;
    if (!examine_group(audit->examination, id, &group))
        return false;
    return (is_wanted_topic(audit, group.topic_name) || (group.matches && is_wanted_topic(audit, group.matches))) &&
           is_wanted(audit->settings->groups, audit->settings->groups_count, group.name);
}

bool audit_goes_on(const struct audit *audit)
{
    return !audit->settings->go_on || audit->settings->go_on(audit->settings->context);
}

/* ---- findings ------------------------------------------------------------------------------------------------- */

static bool is_about_another(const struct audit *audit, const struct audit_place *place)
{
    if (place->topic && !audit_wants(audit, place->topic))
        return true;
    return place->group && !audit_wants_group(audit, place->group);
}

static struct audit_table *table_of_name(struct audit_report *report, const char *name)
{
    for (unsigned i = 0; name && i < AUDIT_TABLES; i++)
        if (strcmp(tables[i], name) == 0)
            return &report->tables[i];
    return NULL;
}

void audit_found(struct audit *audit, enum audit_kind kind, const struct audit_place *place, const char *format, ...)
{
    static const struct audit_place nowhere = {0};
    struct audit_report *report = audit->report;
    char words[FAULT_TEXT];
    if (!place)
        place = &nowhere;
    if (is_about_another(audit, place))
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    report->found++;
    if (report->findings_count == AUDIT_FINDINGS_MAX || !audit_room((void **)&report->findings, report->findings_count,
                                                                    &audit->findings_room, sizeof *report->findings))
        return;
    report->findings[report->findings_count++] = (struct audit_finding){.kind = kind,
                                                                        .table = place->table,
                                                                        .key = place->key,
                                                                        .topic_id = place->topic,
                                                                        .group_id = place->group,
                                                                        .has_offset = place->has_offset,
                                                                        .offset = place->offset,
                                                                        .words = strdup(words)};
}

enum mp_error audit_failed(struct audit *audit, enum mp_error error)
{
    if (error != MP_ERR_DAMAGED && error != MP_ERR_FORMAT && error != MP_ERR_INTERNAL)
        return error;
    audit_found(audit, AUDIT_DAMAGED, NULL, "%s", audit->fault->code ? fault_text(audit->fault) : "it cannot be read");
    if (audit->fault)
        audit->fault->code = MP_OK;
    return MP_OK;
}

/* Each row is told of once, however many walks meet it. */
static void damaged(void *context, const char *table, int64_t key, const char *name)
{
    struct audit *audit = context;
    struct audit_report *report = audit->report;
    struct audit_place place = {.table = table, .key = key};
    uint64_t number = (uint64_t)key;
    char row[FAULT_QUOTE];
    bool of_topic = strcmp(table, "frames") == 0 || strcmp(table, "hashes") == 0;
    if (of_topic) {
        place = *PLACE_FRAME((uint32_t)(number >> 44), number & ((UINT64_C(1) << 44) - 1));
        place.table = table;
    } else if (strcmp(table, "topics") == 0) {
        place.topic = (uint32_t)number;
    } else if (strcmp(table, "groups") == 0) {
        place.group = (uint32_t)number;
    } else if (strcmp(table, "blocks") == 0) {
        place.group = (uint32_t)(number >> 32);
        place.has_offset = true;
        place.offset = (number & UINT32_MAX) << STATES_BLOCK_BITS;
    }
    if (name)
        fault_quote(row, name, strlen(name));
    else
        snprintf(row, sizeof row, "%" PRId64, key);
    char words[FAULT_TEXT];
    snprintf(words, sizeof words, "row %s of %s is damaged: its checksum does not fit", row, table);
    for (size_t i = 0; i < report->findings_count; i++)
        if (report->findings[i].words && strcmp(report->findings[i].words, words) == 0)
            return;
    struct audit_table *counted = table_of_name(report, table);
    if (counted)
        counted->damaged++;
    audit_found(audit, AUDIT_DAMAGED, &place, "%s", words);
}

struct made {
    uint32_t topics; /* the highest number */
};

static enum mp_error note_topic(void *context, const struct store_topic *row)
{
    struct made *made = context;
    made->topics = row->id > made->topics ? row->id : made->topics;
    return MP_OK;
}

static enum mp_error note_number(void *context, const char *name, int64_t value)
{
    struct made *made = context;
    if (strcmp(name, STORE_TOPICS_MADE) == 0 && value > made->topics && value <= UINT32_MAX)
        made->topics = (uint32_t)value;
    return MP_OK;
}

static void passed_over(void *context, const char *table, int64_t key, const char *name)
{
    (void)context;
    (void)table;
    (void)key;
    (void)name;
}

bool audit_topic_made(struct audit *audit, uint32_t topic)
{
    struct made made = {.topics = examine_topics_made(audit->examination)};
    if (topic <= made.topics)
        return true;
    store_on_damage(audit->store, passed_over, NULL); /* what is damaged was told */
    if (store_each_topic(audit->store, note_topic, &made, NULL) == MP_OK)
        (void)store_each_number(audit->store, note_number, &made, NULL);
    store_on_damage(audit->store, damaged, audit);
    return topic <= made.topics;
}

static void problem(void *context, uint32_t topic, uint32_t group, uint64_t offset, const char *words)
{
    struct audit_place place = {.topic = topic, .group = group, .has_offset = topic != 0, .offset = offset};
    audit_found(context, AUDIT_MISMATCH, &place, "%s", words);
}

/* Names for numbers, when all is known that is known. */
static void name_findings(const struct audit *audit)
{
    struct audit_report *report = audit->report;
    for (size_t i = 0; i < report->findings_count && audit->examination; i++) {
        struct audit_finding *finding = &report->findings[i];
        struct examined_group group;
        struct examined_topic topic;
        if (finding->group_id && examine_group(audit->examination, finding->group_id, &group)) {
            snprintf(finding->group, sizeof finding->group, "%s", group.name);
            finding->topic_id = group.topic;
        }
        if (finding->topic_id && examine_topic(audit->examination, finding->topic_id, &topic))
            snprintf(finding->topic, sizeof finding->topic, "%s", topic.name);
    }
}

/* ---- the run -------------------------------------------------------------------------------------------------- */

/* What has to agree with each other. */
static enum mp_error look_at_moment(struct audit *audit)
{
    enum mp_error error = audit_rows(audit);
    if (error)
        return error;
    error = examine_open(audit->store, audit->settings->now, problem, audit, &audit->examination, audit->fault);
    if ((error = audit_failed(audit, error)) || !audit->examination)
        return error;
    if (!wants_all(audit)) {
        /* What was found before is of all of them. */
        for (size_t i = 0; i < audit->report->findings_count; i++) {
            struct audit_finding *finding = &audit->report->findings[i];
            const struct audit_place place = {.topic = finding->topic_id, .group = finding->group_id};
            if (!is_about_another(audit, &place))
                continue;
            free(finding->words);
            *finding = audit->report->findings[--audit->report->findings_count];
            audit->report->found--;
            i--;
        }
    }
    if ((error = audit_states(audit)))
        return error;
    return audit_new_events(audit);
}

static enum mp_error check_asked(const struct audit *audit)
{
    const struct audit_settings *settings = audit->settings;
    const struct audit_report *report = audit->report;
    if (!audit->examination)
        return MP_OK;
    if (settings->topics_count > 0 && report->topics_count == 0)
        return fault_set(audit->fault, MP_ERR_NOT_FOUND, "%s: there is no topic %s", store_path(audit->store),
                         settings->topics[0]);
    if (settings->groups_count > 0 && report->groups_count == 0)
        return fault_set(audit->fault, MP_ERR_NOT_FOUND, "%s: there is no group %s%s%s", store_path(audit->store),
                         settings->groups[0], settings->topics_count > 0 ? " on topic " : "",
                         settings->topics_count > 0 ? settings->topics[0] : "");
    return MP_OK;
}

enum mp_error audit_run(struct store *store, const struct audit_settings *settings, struct audit_report *report,
                        struct fault *fault)
{
    struct fault own = {0};
    *report = (struct audit_report){0};
    struct audit *audit = calloc(1, sizeof *audit);
    if (!audit)
        return fault_memory(fault);
    *audit = (struct audit){
        .store = store, .settings = settings, .report = report, .fault = fault ? fault : &own, .events_first = 1};
    report->audit = audit;
    for (unsigned i = 0; i < AUDIT_TABLES; i++)
        report->tables[i].name = tables[i];
    store_on_damage(store, damaged, audit);
    int64_t begun = clock_monotonic();
    enum mp_error error = store_hold(store, audit->fault);
    if (!error) {
        error = look_at_moment(audit);
        store_let_go(store);
    }
    report->held = clock_monotonic() - begun;
    if (!error && !(error = check_asked(audit)) && !(error = audit_old_events(audit)) && !(error = audit_frames(audit)))
        error = audit_schedule(audit);
    name_findings(audit);
    store_on_damage(store, NULL, NULL);
    audit->fault = NULL;
    return audit_goes_on(audit) ? error : fault_set(fault, MP_ERR_INTERRUPTED, "interrupted");
}

void audit_free(struct audit_report *report)
{
    struct audit *audit = report->audit;
    for (size_t i = 0; i < report->findings_count; i++)
        free(report->findings[i].words);
    free(report->findings);
    free(report->topics);
    free(report->groups);
    if (audit) {
        examine_close(audit->examination);
        free(audit->sessions);
        free(audit->topics);
        free(audit->groups);
        free(audit->hashes);
        free(audit);
    }
    *report = (struct audit_report){0};
}
