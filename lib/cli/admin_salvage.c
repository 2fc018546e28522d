/* What is sound of a damaged store, taken into a new one, and what is missing, told. */
#include "cli/admin_ask.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/units.h"
#include "cli/exit.h"
#include "cli/output.h"
#include "relay/rebuild.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_BYTES = 16384 };

/* What was taken, and what was told, is kept until it is known that there is a new store. */
struct telling {
    struct progress progress;
    json_t *losses;
    struct recover_report report;
    struct salvage_figures figures;
};

static bool on_progress(void *context, uint64_t done, uint64_t total)
{
    struct telling *telling = context;
    telling->progress.total = total * PAGE_BYTES;
    progress_show(&telling->progress, "looked at", done * PAGE_BYTES, 0, clock_monotonic());
    return admin_interrupted() == 0;
}

static void on_loss(void *context, const struct recover_loss *loss)
{
    struct telling *telling = context;
    json_t *object = json_object();
    if (loss->topic[0] != '\0')
        json_object_set_new(object, "topic", json_string(loss->topic));
    if (loss->group[0] != '\0')
        json_object_set_new(object, "group", json_string(loss->group));
    if (loss->count > 0) {
        json_object_set_new(object, "first", json_integer((json_int_t)loss->first));
        json_object_set_new(object, "last", json_integer((json_int_t)(loss->first + loss->count - 1)));
        json_object_set_new(object, "messages", json_integer((json_int_t)loss->count));
        json_object_set_new(object, "settled", json_boolean(loss->settled));
    }
    json_object_set_new(object, "words", json_string(loss->words));
    json_array_append_new(telling->losses, object);
}

/* ---- in words ----------------------------------------------------------------------------------------------------- */

static void print_loss(const json_t *loss)
{
    const char *topic = admin_string(loss, "topic"), *group = admin_string(loss, "group");
    uint64_t count = admin_number(loss, "messages"), first = admin_number(loss, "first");
    printf("missing: ");
    if (topic[0] != '\0')
        printf("topic %s, ", topic);
    if (group[0] != '\0')
        printf("group %s, ", group);
    if (count == 1)
        printf("offset %" PRIu64 ": ", first);
    else if (count > 1)
        printf("offsets %" PRIu64 " to %" PRIu64 " (%" PRIu64 " messages): ", first, first + count - 1, count);
    printf("%s\n", admin_string(loss, "words"));
}

static void print_words(const struct telling *telling, const char *from, const char *to)
{
    const struct recover_report *report = &telling->report;
    char size[24];
    units_size_text(report->bytes, size, sizeof size);
    printf("taken: %" PRIu64 " messages (%" PRIu64 " frames, %s) of %" PRIu64 " topics, %" PRIu64 " groups, %" PRIu64
           " sessions, %" PRIu64 " scheduled publications, %" PRIu64 " events\n",
           report->messages, report->frames, size, report->topics, report->groups, report->sessions, report->scheduled,
           report->events);
    size_t index;
    const json_t *loss;
    json_array_foreach(telling->losses, index, loss) print_loss(loss);
    if (report->losses == 0)
        printf("nothing is missing\n");
    printf("to go on with it: mrelay restore %s --store %s --force\n", to, from);
}

/* ---- for programs ------------------------------------------------------------------------------------------------- */

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *taken_of(const struct recover_report *report)
{
    json_t *taken = json_object();
    json_object_set_new(taken, "messages", number(report->messages));
    json_object_set_new(taken, "frames", number(report->frames));
    json_object_set_new(taken, "bytes", number(report->bytes));
    json_object_set_new(taken, "topics", number(report->topics));
    json_object_set_new(taken, "groups", number(report->groups));
    json_object_set_new(taken, "patterns", number(report->patterns));
    json_object_set_new(taken, "sessions", number(report->sessions));
    json_object_set_new(taken, "scheduled", number(report->scheduled));
    json_object_set_new(taken, "events", number(report->events));
    return taken;
}

static json_t *damage_of(const struct salvage_figures *figures)
{
    json_t *damage = json_object();
    for (unsigned i = 0; i < SALVAGE_TABLES; i++)
        if (figures->damaged[i] > 0)
            json_object_set_new(damage, salvage_table_name((enum salvage_table)i), number(figures->damaged[i]));
    if (figures->nothing > 0)
        json_object_set_new(damage, "unknown", number(figures->nothing));
    if (figures->unreadable > 0)
        json_object_set_new(damage, "unreadable_pages", number(figures->unreadable));
    if (figures->log_damaged)
        json_object_set_new(damage, "log", json_true());
    return damage;
}

static void print_answer(const struct telling *telling, const char *from, const char *to)
{
    json_t *answer = json_object();
    json_object_set_new(answer, "store", json_string(from));
    json_object_set_new(answer, "to", json_string(to));
    json_object_set_new(answer, "whole", json_boolean(telling->report.losses == 0));
    json_object_set_new(answer, "taken", taken_of(&telling->report));
    json_object_set_new(answer, "lost", number(telling->report.lost));
    json_object_set_new(answer, "damaged", damage_of(&telling->figures));
    json_object_set(answer, "missing", telling->losses);
    admin_print_json(answer);
    json_decref(answer);
}

/* ---- the verb ----------------------------------------------------------------------------------------------------- */

static int tell_failure(const struct fault *fault)
{
    if (admin_interrupted())
        exit_by_signal(admin_interrupted());
    if (fault->code == MP_ERR_NOT_FOUND || fault->code == MP_ERR_EXISTS) {
        tell("%s", fault_text(fault));
        return fault->code == MP_ERR_EXISTS ? EXIT_USAGE : EXIT_NO_INPUT;
    }
    if (fault->code == MP_ERR_DAMAGED) {
        tell("nothing can be taken: %s", fault_text(fault));
        return EXIT_FAILED;
    }
    return tell_fault(fault);
}

int admin_salvage(const struct admin_settings *settings)
{
    char path[ADMIN_PATH];
    struct fault fault = {0};
    struct telling telling = {.report = {.loss = on_loss, .context = &telling}};
    if (settings->operands_count != 1) {
        tell("into which file? mrelay salvage FILE [-r RELAY | --store STORE]");
        return EXIT_USAGE;
    }
    int code = admin_find_resting_store(settings, "salvage", path);
    if (code)
        return code;
    admin_catch_signals();
    progress_begin(&telling.progress, 0, clock_monotonic());
    telling.losses = json_array();
    enum mp_error error = rebuild_store(path, settings->operands[0], clock_moment(), on_progress, &telling,
                                        &telling.report, &telling.figures, &fault);
    progress_end(&telling.progress);
    if (error) {
        code = tell_failure(&fault);
    } else {
        if (settings->json)
            print_answer(&telling, path, settings->operands[0]);
        else
            print_words(&telling, path, settings->operands[0]);
        code = admin_finish();
        if (code == EXIT_DONE && telling.report.losses > 0)
            code = EXIT_FAILED;
    }
    json_decref(telling.losses);
    return code;
}
