/* Copies of a store: of one that is written to, of a damaged one, back into its place. */
#include "store_rig.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char copy[128];

static int set_up(void **state)
{
    int result = rig_set_up(state);
    struct rig *rig = *state;
    snprintf(copy, sizeof copy, "%s/copy", rig->folder);
    return result;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    char name[512];
    DIR *folder = opendir(rig->folder);
    store_close(rig->store);
    rig->store = NULL;
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        snprintf(name, sizeof name, "%s/%s", rig->folder, entry->d_name);
        if (entry->d_name[0] != '.')
            unlink(name);
    }
    closedir(folder);
    return rig_tear_down(state);
}

static void add_frames(struct store *store, unsigned from, unsigned to)
{
    struct buffer bytes = rig_frame(1, 500);
    for (unsigned i = from; i < to; i++) {
        struct store_frame row = {
            .topic = 1, .first = (uint64_t)i * 500, .count = 500, .data = bytes.data, .size = bytes.size};
        assert_int_equal(store_begin(store, NULL), MP_OK);
        assert_int_equal(store_add_frame(store, &row, NULL), MP_OK);
        assert_int_equal(store_commit(store, NULL), MP_OK);
    }
    buffer_free(&bytes);
}

static enum mp_error count_frame(void *context, const struct store_frame *row)
{
    (void)row;
    ++*(unsigned *)context;
    return MP_OK;
}

/* Frames in the store at PATH. */
static unsigned frames_of(const char *path)
{
    struct store *store;
    struct fault fault = {0};
    unsigned count = 0;
    if (store_open(path, &store, &fault))
        fail_msg("%s", fault_text(&fault));
    assert_int_equal(store_each_frame(store, 1, 0, count_frame, &count, &fault), MP_OK);
    store_close(store);
    return count;
}

/* Files in the rig's folder whose names begin with NAME. */
static unsigned files(const struct rig *rig, const char *name)
{
    unsigned count = 0;
    DIR *folder = opendir(rig->folder);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));)
        count += strncmp(entry->d_name, name, strlen(name)) == 0;
    closedir(folder);
    return count;
}

static void make_copy(struct rig *rig, enum mp_error expected, const char *words)
{
    struct fault fault = {0};
    enum mp_error error = store_backup(rig->path, copy, NULL, NULL, &fault);
    if (error != expected)
        fail_msg("%d: %s", error, fault_text(&fault));
    if (error && !strstr(fault_text(&fault), words))
        fail_msg("no \"%s\" in: %s", words, fault_text(&fault));
}

struct meanwhile {
    struct rig *rig;
    unsigned frames, calls;
    uint64_t done, total;
};

/* A relay at work: commits between two steps of the copy. */
static bool write_meanwhile(void *context, uint64_t done, uint64_t total)
{
    struct meanwhile *meanwhile = context;
    add_frames(meanwhile->rig->store, meanwhile->frames, meanwhile->frames + 50);
    meanwhile->frames += 50;
    meanwhile->calls++;
    assert_true(done >= meanwhile->done && done <= total);
    meanwhile->done = done;
    meanwhile->total = total;
    return true;
}

static void a_store_is_copied_while_it_is_written_to(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    struct stat status;
    struct meanwhile meanwhile = {.rig = rig, .frames = 2500};
    rig_open(rig);
    add_frames(rig->store, 0, 2500);
    assert_int_equal(store_backup(rig->path, copy, write_meanwhile, &meanwhile, &fault), MP_OK);
    assert_true(meanwhile.calls > 2);
    assert_int_equal(stat(copy, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(files(rig, "copy"), 1);
    assert_int_equal(store_verify(copy, &fault), MP_OK);
    assert_int_equal(store_verify(rig->path, &fault), MP_OK);
    assert_int_equal(files(rig, "copy"), 1); /* looking left nothing behind */
    assert_int_equal(frames_of(copy), 2500);
    rig_close(rig);
    assert_int_equal(frames_of(rig->path), meanwhile.frames);
}

static void a_copy_of_a_store_that_nobody_has(void **state)
{
    struct rig *rig = *state;
    rig_open(rig);
    add_frames(rig->store, 0, 10);
    rig_close(rig);
    make_copy(rig, MP_OK, "");
    make_copy(rig, MP_OK, ""); /* over the old one */
    assert_int_equal(frames_of(copy), 10);
    assert_int_equal(frames_of(rig->path), 10);
}

static bool stop(void *context, uint64_t done, uint64_t total)
{
    (void)context;
    (void)done;
    (void)total;
    return false;
}

static void what_goes_wrong_leaves_nothing(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    make_copy(rig, MP_ERR_NOT_FOUND, rig->path);
    rig_open(rig);
    add_frames(rig->store, 0, 1000);
    assert_int_equal(store_backup(rig->path, copy, stop, NULL, &fault), MP_ERR_INTERRUPTED);
    assert_int_equal(store_backup(rig->path, rig->path, NULL, NULL, &fault), MP_ERR_INVALID);
    assert_int_equal(store_backup(rig->path, rig->folder, NULL, NULL, &fault), MP_ERR_INVALID);
    assert_int_equal(store_backup(rig->path, "/nowhere/at/all", NULL, NULL, &fault), MP_ERR_IO);
    rig_close(rig);
    rig_execute(rig, "UPDATE frames SET session = 7 WHERE id = (SELECT max(id) FROM frames)");
    make_copy(rig, MP_ERR_DAMAGED, "topic number 1 is damaged");
    assert_int_equal(files(rig, "copy"), 0);
}

/* A byte that no checksum of a row covers: in the middle of a frame. */
static void a_damaged_frame_is_found(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    rig_open(rig);
    add_frames(rig->store, 0, 3);
    rig_close(rig);
    assert_int_equal(store_verify(rig->path, &fault), MP_OK);
    rig_execute(rig, "UPDATE frames SET frame = CAST(substr(frame, 1, 70) || x'fe' || substr(frame, 72) AS BLOB)"
                     " WHERE id = (SELECT max(id) FROM frames)");
    assert_int_equal(store_verify(rig->path, &fault), MP_ERR_DAMAGED);
    assert_non_null(strstr(fault_text(&fault), rig->path));
}

static void a_page_of_another_kind_is_found(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    rig_open(rig);
    add_frames(rig->store, 0, 100);
    rig_close(rig);
    int file = open(rig->path, O_WRONLY);
    char zeros[300] = {0};
    assert_int_equal(pwrite(file, zeros, sizeof zeros, 16384 * 9), sizeof zeros);
    close(file);
    assert_int_equal(store_verify(rig->path, &fault), MP_ERR_DAMAGED);
}

static void a_backup_takes_the_stores_place(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    char kept[160];
    snprintf(kept, sizeof kept, "%s.replaced", rig->path);
    rig_open(rig);
    add_frames(rig->store, 0, 10);
    make_copy(rig, MP_OK, "");
    add_frames(rig->store, 10, 30);
    pid_t child = fork(); /* a lock is its process's */
    if (child == 0)
        _exit((int)store_restore(copy, rig->path, NULL, NULL, NULL));
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == MP_ERR_BUSY);
    rig_close(rig);
    if (store_restore(copy, rig->path, NULL, NULL, &fault))
        fail_msg("%s", fault_text(&fault));
    assert_int_equal(frames_of(rig->path), 10);
    assert_int_equal(frames_of(kept), 30);
    unlink(rig->path);
    assert_int_equal(store_restore(copy, rig->path, NULL, NULL, &fault), MP_OK); /* where nothing was */
    assert_int_equal(frames_of(rig->path), 10);
}

/* A relay that was killed leaves commits in its log: they belong to what is kept, not to what comes. */
static void the_log_of_the_old_store_is_not_taken_for_the_new_ones(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    char kept[160];
    snprintf(kept, sizeof kept, "%s.replaced", rig->path);
    rig_open(rig);
    add_frames(rig->store, 0, 5);
    rig_close(rig);
    make_copy(rig, MP_OK, "");
    pid_t child = fork();
    if (child == 0) {
        rig_open(rig);
        add_frames(rig->store, 5, 25);
        raise(SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    if (store_restore(copy, rig->path, NULL, NULL, &fault))
        fail_msg("%s", fault_text(&fault));
    assert_int_equal(frames_of(rig->path), 5);
    assert_int_equal(frames_of(kept), 25);
}

static void a_damaged_backup_is_not_taken(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    rig_open(rig);
    add_frames(rig->store, 0, 5);
    rig_close(rig);
    int file = open(copy, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(file, "not a store", 11), 11);
    close(file);
    assert_int_equal(store_restore(copy, rig->path, NULL, NULL, &fault), MP_ERR_DAMAGED);
    assert_int_equal(frames_of(rig->path), 5);
    assert_int_equal(files(rig, "a.db.replaced"), 0);
    assert_int_equal(truncate(copy, 0), 0);
    assert_int_equal(store_restore(copy, rig->path, NULL, NULL, &fault), MP_ERR_DAMAGED);
    assert_int_equal(store_restore(rig->path, rig->path, NULL, NULL, &fault), MP_ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_store_is_copied_while_it_is_written_to, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_copy_of_a_store_that_nobody_has, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_goes_wrong_leaves_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_frame_is_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_page_of_another_kind_is_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_backup_takes_the_stores_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_log_of_the_old_store_is_not_taken_for_the_new_ones, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_backup_is_not_taken, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
