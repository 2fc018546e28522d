#include "store_rig.h"

#include "message/frame.h"

#include <sqlite3.h>
#include <string.h>

int rig_set_up(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    folder_make(rig->folder);
    snprintf(rig->path, sizeof rig->path, "%s/a.db", rig->folder);
    *state = rig;
    return 0;
}

int rig_tear_down(void **state)
{
    struct rig *rig = *state;
    store_close(rig->store);
    folder_remove(rig->folder);
    free(rig);
    return 0;
}

void rig_open(struct rig *rig)
{
    struct fault fault = {0};
    if (store_open(rig->path, &rig->store, &fault))
        fail_msg("%s", fault_text(&fault));
}

void rig_close(struct rig *rig)
{
    store_close(rig->store);
    rig->store = NULL;
}

void rig_execute(const struct rig *rig, const char *text)
{
    sqlite3 *database;
    char *message = NULL;
    assert_int_equal(sqlite3_open(rig->path, &database), SQLITE_OK);
    if (sqlite3_exec(database, text, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", text, message);
    sqlite3_close(database);
}

struct buffer rig_frame(uint64_t producer, unsigned count)
{
    struct frame_builder builder = {0};
    assert_int_equal(frame_begin(&builder, producer, 1), MP_OK);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(frame_add(&builder, "a message", 9, NULL, 0), MP_OK);
    frame_finish(&builder, 1700000000000000);
    return builder.bytes;
}
