/* mtrace stats: how much, and how long it took. */
#include "trace/stats.h"

#include "base/units.h"
#include "cli/admin_ask.h"
#include "cli/exit.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/trace_view.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

enum { WATCH_PAUSE = 1000, BAR = 40 };

static const double shares[] = {0.5, 0.9, 0.99, 0.999};
static const char *const share_names[] = {"p50", "p90", "p99", "p99.9"};
enum { SHARES = sizeof shares / sizeof shares[0] };

struct shown {
    const struct trace_view *view;
    const struct trace_select *select;
    const struct trace_stats *stats;
    double seconds;
};

static double rate_of(const struct shown *shown, uint64_t count)
{
    return shown->seconds > 0 ? (double)count / shown->seconds : 0;
}

static void add_rate(const struct shown *shown, struct table *table, uint64_t count)
{
    char text[32];
    double rate = rate_of(shown, count);
    if (rate >= 100) {
        units_count_text((uint64_t)rate, text, sizeof text);
        table_add(table, "%s/s", text);
    } else {
        table_add(table, "%.1f/s", rate);
    }
}

static bool is_empty(const struct trace_group_stats *group)
{
    return group->attempts + group->expired + group->dropped + group->duplicate == 0;
}

/* ---- tables ---------------------------------------------------------------------------------------------------- */

static void print_topics(const struct shown *shown)
{
    static const char *const headings[] = {"TOPIC", ">PUBLISHED", ">RATE", ">BYTES", ">EXPIRED", ">DROPPED", NULL};
    struct table table = table_of(headings);
    char name[TRACE_NAME_TEXT], bytes[32];
    for (size_t i = 0; i < shown->stats->topics_count; i++) {
        const struct trace_topic_stats *topic = &shown->stats->topics[i];
        table_add(&table, "%s", trace_log_topic_name(shown->view->log, topic->topic, name));
        table_add(&table, "%" PRIu64, topic->published);
        add_rate(shown, &table, topic->published);
        units_size_text(topic->bytes, bytes, sizeof bytes);
        table_add(&table, "%s", bytes);
        table_add(&table, "%" PRIu64, topic->expired);
        table_add(&table, "%" PRIu64, topic->dropped);
    }
    table_print(&table);
    table_free(&table);
}

static void print_groups(const struct shown *shown)
{
    static const char *const headings[] = {"TOPIC", "GROUP",   ">ACKED",   ">RATE", ">RETRIED",
                                           ">DEAD", ">LAPSED", ">EXPIRED", NULL};
    struct table table = table_of(headings);
    char name[TRACE_NAME_TEXT];
    for (size_t i = 0; i < shown->stats->groups_count; i++) {
        const struct trace_group_stats *group = shown->stats->groups[i];
        if (is_empty(group))
            continue;
        table_add(&table, "%s", trace_log_topic_name(shown->view->log, group->topic, name));
        table_add(&table, "%s", trace_log_group_name(shown->view->log, group->group, name));
        table_add(&table, "%" PRIu64, group->acked);
        add_rate(shown, &table, group->acked);
        table_add(&table, "%" PRIu64, group->retried);
        table_add(&table, "%" PRIu64, group->dead);
        table_add(&table, "%" PRIu64, group->lapsed);
        table_add(&table, "%" PRIu64, group->expired);
    }
    if (table.rows > 0) {
        putchar('\n');
        table_print(&table);
    }
    table_free(&table);
}

static void add_times(const struct shown *shown, struct table *table, const struct trace_group_stats *group,
                      const char *what, const struct trace_times *times)
{
    char text[32];
    char name[TRACE_NAME_TEXT];
    if (times->histogram.count == 0)
        return;
    table_add(table, "%s", trace_log_topic_name(shown->view->log, group->topic, name));
    table_add(table, "%s", trace_log_group_name(shown->view->log, group->group, name));
    table_add(table, "%s", what);
    for (int i = 0; i < SHARES; i++) {
        int64_t value = histogram_quantile(&times->histogram, shares[i]);
        units_duration_text(value < times->longest ? value : times->longest, text, sizeof text);
        table_add(table, "%s", text);
    }
    units_duration_text(times->longest, text, sizeof text);
    table_add(table, "%s", text);
}

static void print_times(const struct shown *shown)
{
    static const char *const headings[] = {"TOPIC", "GROUP", "TIME", ">P50", ">P90", ">P99", ">P99.9", ">MAX", NULL};
    struct table table = table_of(headings);
    for (size_t i = 0; i < shown->stats->groups_count; i++) {
        const struct trace_group_stats *group = shown->stats->groups[i];
        add_times(shown, &table, group, "waiting", &group->waiting);
        add_times(shown, &table, group, "working", &group->working);
        add_times(shown, &table, group, "in all", &group->whole);
    }
    if (table.rows > 0) {
        putchar('\n');
        table_print(&table);
    }
    table_free(&table);
}

/* ---- histograms ------------------------------------------------------------------------------------------------ */

/* Messages that took up to 2^POWER microseconds, and more than the power before. */
static uint64_t count_of_power(const struct histogram *histogram, unsigned power)
{
    uint64_t count = 0;
    unsigned begin = power < 3 ? 0 : (power - 2) * HISTOGRAM_STEPS, end = power < 3 ? 8 : begin + HISTOGRAM_STEPS;
    for (unsigned i = begin; i < end && i < HISTOGRAM_CELLS; i++)
        count += histogram->cells[i];
    return count;
}

static void print_bar(const struct trace_view *view, unsigned power, uint64_t count, uint64_t most)
{
    char text[32];
    unsigned width = (unsigned)(count * BAR / most);
    units_duration_text((int64_t)1 << (power + 1), text, sizeof text);
    printf("  < %-8s %s", text, trace_colour(view, TRACE_BUSY));
    for (unsigned i = 0; i < (width > 0 || count == 0 ? width : 1); i++)
        fputs("▇", stdout);
    units_count_text(count, text, sizeof text);
    printf("%s %s\n", trace_colour(view, TRACE_PLAIN), text);
}

static void print_histogram(const struct trace_view *view, const char *what, const struct trace_times *times)
{
    enum { POWERS = 41, LOWEST = 2 };
    uint64_t most = 0;
    unsigned first = POWERS, last = 0;
    for (unsigned power = LOWEST; power < POWERS; power++) {
        uint64_t count = count_of_power(&times->histogram, power);
        most = count > most ? count : most;
        if (count > 0 && first == POWERS)
            first = power;
        last = count > 0 ? power : last;
    }
    if (most == 0)
        return;
    printf("  %s\n", what);
    for (unsigned power = first; power <= last; power++)
        print_bar(view, power, count_of_power(&times->histogram, power), most);
}

static void print_histograms(const struct shown *shown)
{
    char topic[TRACE_NAME_TEXT], name[TRACE_NAME_TEXT];
    const struct trace_view *view = shown->view;
    for (size_t i = 0; i < shown->stats->groups_count; i++) {
        const struct trace_group_stats *group = shown->stats->groups[i];
        if (group->working.histogram.count + group->waiting.histogram.count == 0)
            continue;
        printf("\n%s%s%s of %s\n", trace_colour(view, TRACE_NAME), trace_log_group_name(view->log, group->group, name),
               trace_colour(view, TRACE_PLAIN), trace_log_topic_name(view->log, group->topic, topic));
        print_histogram(view, "waiting", &group->waiting);
        print_histogram(view, "working", &group->working);
    }
}

/* ---- JSON ------------------------------------------------------------------------------------------------------ */

static json_t *times_json(const struct trace_times *times)
{
    json_t *object = json_object();
    json_object_set_new(object, "count", json_integer((json_int_t)times->histogram.count));
    for (int i = 0; i < SHARES; i++) {
        int64_t value = histogram_quantile(&times->histogram, shares[i]);
        json_object_set_new(object, share_names[i],
                            json_real((double)(value < times->longest ? value : times->longest) / 1e6));
    }
    json_object_set_new(object, "max", json_real((double)times->longest / 1e6));
    return object;
}

static json_t *group_json(const struct shown *shown, const struct trace_group_stats *group)
{
    char topic[TRACE_NAME_TEXT], name[TRACE_NAME_TEXT];
    return json_pack("{s:s,s:s,s:I,s:f,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o,s:o,s:o}", "topic",
                     trace_log_topic_name(shown->view->log, group->topic, topic), "group",
                     trace_log_group_name(shown->view->log, group->group, name), "acked", (json_int_t)group->acked,
                     "rate", rate_of(shown, group->acked), "retried", (json_int_t)group->retried, "released",
                     (json_int_t)group->released, "lapsed", (json_int_t)group->lapsed, "dead", (json_int_t)group->dead,
                     "expired", (json_int_t)group->expired, "dropped", (json_int_t)group->dropped, "duplicate",
                     (json_int_t)group->duplicate, "waiting", times_json(&group->waiting), "working",
                     times_json(&group->working), "whole", times_json(&group->whole));
}

static void print_json(const struct shown *shown)
{
    char name[TRACE_NAME_TEXT], since[UNITS_TIME_TEXT], until[UNITS_TIME_TEXT];
    json_t *topics = json_array(), *groups = json_array();
    for (size_t i = 0; i < shown->stats->topics_count; i++) {
        const struct trace_topic_stats *topic = &shown->stats->topics[i];
        json_array_append_new(topics,
                              json_pack("{s:s,s:I,s:f,s:I,s:I,s:I,s:I}", "topic",
                                        trace_log_topic_name(shown->view->log, topic->topic, name), "published",
                                        (json_int_t)topic->published, "rate", rate_of(shown, topic->published), "bytes",
                                        (json_int_t)topic->bytes, "duplicates", (json_int_t)topic->duplicates,
                                        "expired", (json_int_t)topic->expired, "dropped", (json_int_t)topic->dropped));
    }
    for (size_t i = 0; i < shown->stats->groups_count; i++)
        if (!is_empty(shown->stats->groups[i]))
            json_array_append_new(groups, group_json(shown, shown->stats->groups[i]));
    units_time_text(trace_log_wall(shown->view->log, shown->stats->since), since);
    units_time_text(trace_log_wall(shown->view->log, shown->stats->until), until);
    trace_print_json(json_pack("{s:s,s:s,s:f,s:o,s:o}", "since", since, "until", until, "seconds", shown->seconds,
                               "topics", topics, "groups", groups));
}

/* ---- the verb -------------------------------------------------------------------------------------------------- */

static void print(const struct shown *shown)
{
    const struct trace_settings *settings = shown->view->settings;
    char since[TRACE_TIME_TEXT], until[TRACE_TIME_TEXT];
    if (settings->watch && output_is_terminal(STDOUT_FILENO))
        fputs("\033[H\033[J", stdout); /* home, and everything behind it */
    if (settings->json) {
        print_json(shown);
        return;
    }
    if (shown->stats->topics_count + shown->stats->groups_count == 0) {
        puts("nothing happened in that time");
        return;
    }
    trace_time_text(shown->view, trace_log_wall(shown->view->log, shown->stats->since), since);
    trace_time_text(shown->view, trace_log_wall(shown->view->log, shown->stats->until), until);
    printf("%sfrom %s to %s%s\n\n", trace_colour(shown->view, TRACE_DIM), since, until,
           trace_colour(shown->view, TRACE_PLAIN));
    print_topics(shown);
    print_groups(shown);
    print_times(shown);
    if (settings->histogram)
        print_histograms(shown);
}

static int count_and_print(const struct trace_settings *settings)
{
    struct trace_view view;
    struct trace_select select = {0};
    struct trace_stats stats = {0};
    struct fault fault = {0};
    int code = trace_view_open(&view, settings);
    if (!code)
        code = trace_view_select(&view, &select);
    if (!code && trace_log_hold(view.log, &fault))
        code = tell_fault(&fault);
    if (!code && trace_stats_count(&stats, view.log, &select, &fault))
        code = tell_fault(&fault);
    if (!code) {
        trace_log_let_go(view.log); /* who reads slowly holds nothing */
        const struct shown shown = {&view, &select, &stats, (double)(stats.until - stats.since) / 1e6};
        print(&shown);
    }
    trace_stats_free(&stats);
    trace_select_free(&select);
    trace_view_close(&view);
    return code;
}

int trace_stats(const struct trace_settings *settings, const struct options *options)
{
    struct trace_settings shown = *settings;
    (void)options;
    if (settings->watch && !settings->since)
        shown.since = "10s";
    if (settings->watch && !settings->until)
        shown.until = "0s";
    int code = count_and_print(&shown);
    while (!code && settings->watch && fflush(stdout) == 0) {
        struct pollfd reader = {.fd = STDOUT_FILENO}; /* who has gone ends the pause */
        poll(&reader, 1, WATCH_PAUSE);
        if (!settings->json && !output_is_terminal(STDOUT_FILENO))
            putchar('\n');
        code = count_and_print(&shown);
    }
    return code ? code : admin_finish();
}
