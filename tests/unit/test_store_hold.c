/* Readers beside a writer: they do not keep its log from beginning anew. */
#include "store_rig.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

enum { READERS = 2, HELD_MS = 20, TURNS = 600, TURN_FRAMES = 16, FRAME_BYTES = 64 * 1024, ENOUGH = 3 };

/* How often the log has begun anew: sqlite.org/fileformat2.html, 4.1. */
static uint32_t begun(const struct rig *rig)
{
    char name[sizeof rig->path + 8];
    uint8_t head[16] = {0};
    snprintf(name, sizeof name, "%s-wal", rig->path);
    int descriptor = open(name, O_RDONLY | O_CLOEXEC);
    assert_true(descriptor >= 0);
    assert_int_equal(read(descriptor, head, sizeof head), sizeof head);
    close(descriptor);
    return (uint32_t)head[12] << 24 | (uint32_t)head[13] << 16 | (uint32_t)head[14] << 8 | head[15];
}

/* Asks one question after the other until it is killed; what it writes to READY says that it has asked one. */
static void ask(const char *path, int ready)
{
    struct store *store = NULL;
    struct store_frame frame;
    const struct timespec held = {.tv_nsec = HELD_MS * 1000 * 1000};
    if (store_open_reader(path, &store, NULL) != MP_OK)
        _exit(1);
    for (bool first = true;; first = false) {
        if (store_hold(store, NULL) != MP_OK || store_find_frame(store, 1, 0, &frame, NULL) != MP_OK)
            _exit(1);
        if (first && write(ready, "", 1) != 1)
            _exit(1);
        nanosleep(&held, NULL);
        store_let_go(store);
    }
}

static void write_turn(struct rig *rig, uint64_t turn)
{
    static uint8_t bytes[FRAME_BYTES];
    assert_int_equal(store_begin(rig->store, NULL), MP_OK);
    for (uint64_t i = 0; i < TURN_FRAMES; i++) {
        struct store_frame row = {
            .topic = 1, .first = turn * TURN_FRAMES + i, .count = 1, .data = bytes, .size = sizeof bytes};
        assert_int_equal(store_add_frame(rig->store, &row, NULL), MP_OK);
    }
    assert_int_equal(store_commit(rig->store, NULL), MP_OK);
}

static void readers_let_the_log_begin_anew(void **state)
{
    struct rig *rig = *state;
    pid_t readers[READERS];
    int ready[2];
    char byte;
    rig_open(rig);
    write_turn(rig, 0);
    assert_int_equal(pipe(ready), 0);
    for (int i = 0; i < READERS; i++) {
        readers[i] = fork();
        assert_true(readers[i] >= 0);
        if (readers[i] == 0)
            ask(rig->path, ready[1]);
    }
    close(ready[1]);
    for (int i = 0; i < READERS; i++)
        assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    uint32_t before = begun(rig);
    unsigned turn = 1;
    while (turn < TURNS && begun(rig) - before < ENOUGH)
        write_turn(rig, turn++);
    for (int i = 0; i < READERS; i++) {
        int status;
        kill(readers[i], SIGKILL);
        assert_int_equal(waitpid(readers[i], &status, 0), readers[i]);
        assert_true(WIFSIGNALED(status)); /* it has not failed */
    }
    assert_true(begun(rig) - before >= ENOUGH);
    rig_close(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(readers_let_the_log_begin_anew, rig_set_up, rig_tear_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
