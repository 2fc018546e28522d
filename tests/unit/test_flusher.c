/* Files flushed in a thread. */
#include "base/spawn.h"
#include "runner/flusher.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <unistd.h>

enum { NOT_TOLD = -1 };

static struct event_base *base;
static struct flusher *flusher;
static int told;

static void on_done(void *context, int number)
{
    assert_ptr_equal(context, &told);
    told = number;
}

static int set_up(void **state)
{
    (void)state;
    struct fault fault = {0};
    told = NOT_TOLD;
    base = event_base_new();
    return base && flusher_open(base, on_done, &told, &flusher, &fault) == MP_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    flusher_close(flusher);
    event_base_free(base);
    return 0;
}

static void await(void)
{
    while (told == NOT_TOLD)
        assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
}

static void a_flush_ends_in_the_loop(void **state)
{
    (void)state;
    FILE *file = tmpfile();
    assert_non_null(file);
    for (int i = 0; i < 3; i++) {
        told = NOT_TOLD;
        fprintf(file, "line %d\n", i);
        fflush(file);
        flusher_start(flusher, fileno(file));
        assert_int_equal(told, NOT_TOLD);
        await();
        assert_int_equal(told, 0);
    }
    fclose(file);
}

static void what_cannot_be_flushed_is_told(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(spawn_pipe(ends), 0);
    flusher_start(flusher, ends[1]);
    await();
    assert_int_equal(told, EINVAL);
    assert_int_equal(flusher_flush(ends[1]), EINVAL);
    close(ends[0]);
    close(ends[1]);
}

static void closed_it_tells_nothing_more(void **state)
{
    (void)state;
    FILE *file = tmpfile();
    assert_non_null(file);
    flusher_start(flusher, fileno(file));
    flusher_close(flusher);
    flusher = NULL;
    assert_int_equal(event_base_loop(base, EVLOOP_NONBLOCK), 1); /* there is nothing to be waited for */
    assert_int_equal(told, NOT_TOLD);
    fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_flush_ends_in_the_loop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_flushed_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closed_it_tells_nothing_more, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
