/* The audit of a store in which a relay goes on writing: what comes meanwhile is nothing that is wrong. */
#include "folder.h"
#include "time_rig.h"
#include "trace/audit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rig {
    struct time_rig engine;
    struct store *reader;
    struct audit_report report;
    char folder[FOLDER_PATH];
    bool written; /* the relay's part is done */
};

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    char path[FOLDER_PATH + 16];
    struct fault fault = {0};
    assert_non_null(rig);
    folder_make(rig->folder);
    snprintf(path, sizeof path, "%s/store.db", rig->folder);
    time_rig_begin(&rig->engine);
    struct store *memory = rig->engine.store;
    if (store_open(path, &rig->engine.store, &fault))
        fail_msg("%s", fault_text(&fault));
    time_rig_restart(&rig->engine);
    store_close(memory);
    if (store_open_reader(path, &rig->reader, &fault))
        fail_msg("%s", fault_text(&fault));
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    audit_free(&rig->report);
    store_close(rig->reader);
    time_rig_end(&rig->engine);
    folder_remove(rig->folder);
    free(rig);
    return 0;
}

/* As soon as the audit has let go of the moment that it looks at, the relay makes topics, and schedules for one. */
static bool go_on(void *context)
{
    struct rig *rig = context;
    if (rig->report.held == 0 || rig->written)
        return true;
    rig->written = true;
    time_rig_send(&rig->engine, "new", 0, "x", 3);
    time_rig_join(&rig->engine, "new", "group");
    time_rig_send(&rig->engine, "newer", SECOND, "y", 1);
    time_rig_send(&rig->engine, "old", 0, "z", 1);
    return true;
}

static void a_topic_that_is_made_meanwhile_is_no_phantom(void **state)
{
    struct rig *rig = *state;
    const struct audit_settings settings = {.now = rig->engine.now, .go_on = go_on, .context = rig};
    struct fault fault = {0};
    time_rig_send(&rig->engine, "old", 0, "a", 2);
    if (audit_run(rig->reader, &settings, &rig->report, &fault))
        fail_msg("%s", fault_text(&fault));
    assert_true(rig->written);
    for (size_t i = 0; i < rig->report.findings_count; i++)
        print_error("%s: %s\n", audit_kind_name(rig->report.findings[i].kind), rig->report.findings[i].words);
    assert_int_equal(rig->report.found, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_topic_that_is_made_meanwhile_is_no_phantom, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
