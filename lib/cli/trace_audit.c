/* mtrace audit: whether everything in a store is accounted for. */
#include "cli/trace_view.h"

#include "base/units.h"
#include "cli/admin_ask.h"
#include "cli/exit.h"
#include "cli/table.h"
#include "trace/audit.h"

#include <inttypes.h>
#include <stdio.h>

/* The states of messages as they are told. */
static const char *const states[STATE_COUNT] = {
    [STATE_WAITING] = "waiting", [STATE_DELAYED] = "delayed",     [STATE_LEASED] = "leased",
    [STATE_ACKED] = "acked",     [STATE_DEAD] = "dead",           [STATE_EXPIRED] = "expired",
    [STATE_DROPPED] = "dropped", [STATE_DUPLICATE] = "duplicate", [STATE_FOREIGN] = "others",
};
static const char *const headings[STATE_COUNT] = {
    [STATE_WAITING] = ">WAITING", [STATE_DELAYED] = ">DELAYED", [STATE_LEASED] = ">LEASED",
    [STATE_ACKED] = ">ACKED",     [STATE_DEAD] = ">DEAD",       [STATE_EXPIRED] = ">EXPIRED",
    [STATE_DROPPED] = ">DROPPED", [STATE_DUPLICATE] = ">TWICE", [STATE_FOREIGN] = ">OTHERS",
};

enum { FINDINGS_SHOWN = 100 };

/* ---- for people ----------------------------------------------------------------------------------------------- */

static void print_tables(const struct audit_report *report)
{
    static const char *const columns[] = {"TABLE", ">ROWS", ">DAMAGED", NULL};
    struct table table = table_of(columns);
    for (unsigned i = 0; i < AUDIT_TABLES; i++) {
        table_add(&table, "%s", report->tables[i].name);
        table_add(&table, "%" PRIu64, report->tables[i].rows);
        table_add(&table, "%" PRIu64, report->tables[i].damaged);
    }
    table_print(&table);
    table_free(&table);
}

static bool occurs(const struct audit_report *report, unsigned state)
{
    for (size_t i = 0; i < report->groups_count; i++)
        if (report->groups[i].counts[state] > 0)
            return true;
    return state == STATE_WAITING || state == STATE_ACKED;
}

/* A row a group, with those states in which there is something; a topic without groups has a row too. */
static void print_messages(const struct audit_report *report)
{
    const char *columns[TABLE_COLUMNS + 1] = {"TOPIC", "GROUP", ">ALL"};
    unsigned count = 3;
    for (unsigned state = 0; state < STATE_COUNT; state++)
        if (occurs(report, state))
            columns[count++] = headings[state];
    columns[count] = NULL;
    struct table table = table_of(columns);
    for (size_t i = 0, at = 0; i < report->topics_count; i++) {
        const struct audit_topic *topic = &report->topics[i];
        bool grouped = false;
        for (; at < report->groups_count && report->groups[at].topic == topic->name; at++) {
            const struct audit_group *group = &report->groups[at];
            grouped = true;
            table_add(&table, "%s", group->topic);
            table_add(&table, "%s", group->group);
            table_add(&table, "%" PRIu64, group->end - group->first);
            for (unsigned state = 0; state < STATE_COUNT; state++)
                if (occurs(report, state))
                    table_add(&table, "%" PRIu64, group->counts[state]);
        }
        for (unsigned column = 0; !grouped && column < count; column++)
            if (column == 2)
                table_add(&table, "%" PRIu64, topic->end - topic->first);
            else
                table_add(&table, "%s", column == 0 ? topic->name : "-");
    }
    table_print(&table);
    table_free(&table);
}

static void print_finding(const struct trace_view *view, const struct audit_finding *finding)
{
    printf("%s%s%s", trace_colour(view, TRACE_BAD), audit_kind_name(finding->kind), trace_colour(view, TRACE_PLAIN));
    if (finding->topic[0] != '\0')
        printf(" · topic %s", finding->topic);
    if (finding->group[0] != '\0')
        printf(" · group %s", finding->group);
    if (finding->has_offset && finding->topic[0] != '\0')
        printf(" · offset %" PRIu64, finding->offset);
    printf(": %s\n", finding->words ? finding->words : "");
}

static void print_report(const struct trace_view *view, const struct audit_report *report)
{
    char held[32], now[TRACE_TIME_TEXT];
    trace_time_text(view, view->now, now);
    units_duration_text(report->held, held, sizeof held);
    printf("%s at %s, read in %s\n\n", view->path, now, held);
    print_tables(report);
    putchar('\n');
    print_messages(report);
    putchar('\n');
    for (size_t i = 0; i < report->findings_count && i < FINDINGS_SHOWN; i++)
        print_finding(view, &report->findings[i]);
    if (report->findings_count > FINDINGS_SHOWN)
        printf("and %" PRIu64 " more: all with --json\n", report->found - FINDINGS_SHOWN);
    if (report->found == 0)
        printf("%severy message is in exactly one state, and every row is as it was written%s\n",
               trace_colour(view, TRACE_GOOD), trace_colour(view, TRACE_PLAIN));
    else
        printf("%" PRIu64 " %s wrong\n", report->found, report->found == 1 ? "thing is" : "things are");
}

/* ---- for programs --------------------------------------------------------------------------------------------- */

static json_t *json_of_tables(const struct audit_report *report)
{
    json_t *tables = json_array();
    for (unsigned i = 0; i < AUDIT_TABLES; i++)
        json_array_append_new(tables, json_pack("{s:s,s:I,s:I}", "table", report->tables[i].name, "rows",
                                                (json_int_t)report->tables[i].rows, "damaged",
                                                (json_int_t)report->tables[i].damaged));
    return tables;
}

static json_t *json_of_topics(const struct audit_report *report)
{
    json_t *topics = json_array();
    for (size_t i = 0; i < report->topics_count; i++) {
        const struct audit_topic *topic = &report->topics[i];
        json_array_append_new(topics, json_pack("{s:s,s:b,s:I,s:I,s:I,s:I}", "topic", topic->name, "letters",
                                                (int)topic->letters, "first", (json_int_t)topic->first, "end",
                                                (json_int_t)topic->end, "frames", (json_int_t)topic->frames, "bytes",
                                                (json_int_t)topic->bytes));
    }
    return topics;
}

static json_t *json_of_groups(const struct audit_report *report)
{
    json_t *groups = json_array();
    for (size_t i = 0; i < report->groups_count; i++) {
        const struct audit_group *group = &report->groups[i];
        json_t *object = json_pack("{s:s,s:s,s:s,s:I}", "topic", group->topic, "group", group->group, "pattern",
                                   group->pattern, "messages", (json_int_t)(group->end - group->first));
        for (unsigned state = 0; state < STATE_COUNT; state++)
            json_object_set_new(object, states[state], json_integer((json_int_t)group->counts[state]));
        json_array_append_new(groups, object);
    }
    return groups;
}

static json_t *json_of_findings(const struct audit_report *report)
{
    json_t *findings = json_array();
    for (size_t i = 0; i < report->findings_count; i++) {
        const struct audit_finding *finding = &report->findings[i];
        json_t *object = json_pack("{s:s,s:s}", "kind", audit_kind_name(finding->kind), "words",
                                   finding->words ? finding->words : "");
        if (finding->table)
            json_object_set_new(object, "table", json_string(finding->table));
        if (finding->table && finding->key != 0)
            json_object_set_new(object, "row", json_integer((json_int_t)finding->key));
        if (finding->topic[0] != '\0')
            json_object_set_new(object, "topic", json_string(finding->topic));
        if (finding->group[0] != '\0')
            json_object_set_new(object, "group", json_string(finding->group));
        if (finding->has_offset)
            json_object_set_new(object, "offset", json_integer((json_int_t)finding->offset));
        json_array_append_new(findings, object);
    }
    return findings;
}

static void print_json(const struct trace_view *view, const struct audit_report *report)
{
    trace_print_json(json_pack("{s:s,s:I,s:I,s:I,s:I,s:o,s:o,s:o,s:o}", "store", view->path, "time",
                               (json_int_t)view->now, "event", (json_int_t)report->events_last, "held",
                               (json_int_t)report->held, "found", (json_int_t)report->found, "findings",
                               json_of_findings(report), "tables", json_of_tables(report), "topics",
                               json_of_topics(report), "groups", json_of_groups(report)));
}

/* ---- the verb ------------------------------------------------------------------------------------------------- */

static int audit(const struct trace_view *view, struct store *store)
{
    const struct trace_settings *settings = view->settings;
    const struct audit_settings asked = {.now = clock_moment(),
                                         .topics = settings->topics.values,
                                         .topics_count = settings->topics.count,
                                         .groups = settings->groups.values,
                                         .groups_count = settings->groups.count};
    struct audit_report report;
    struct fault fault = {0};
    enum mp_error error = audit_run(store, &asked, &report, &fault);
    bool wrong = report.found > 0;
    if (!error && settings->json)
        print_json(view, &report);
    else if (!error)
        print_report(view, &report);
    audit_free(&report);
    if (error)
        return trace_view_unreadable(view, &fault);
    int code = admin_finish();
    return code ? code : wrong ? EXIT_FAILED : EXIT_DONE;
}

int trace_audit(const struct trace_settings *settings, const struct options *options)
{
    struct trace_view view;
    struct store *store = NULL;
    struct fault fault = {0};
    (void)options;
    int code = trace_view_find(&view, settings);
    if (!code && store_open_reader(view.path, &store, &fault))
        code = trace_view_unreadable(&view, &fault);
    else if (!code)
        code = audit(&view, store);
    store_close(store);
    trace_view_close(&view);
    return code;
}
