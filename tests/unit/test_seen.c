/* A set that forgets. */
#include "policy/seen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct seen_id id_of(unsigned number)
{
    char text[16];
    int size = snprintf(text, sizeof(text), "%u", number);
    return seen_id_of(text, (size_t)size, 7);
}

static void test_what_was_added_is_there_for_the_window(void **state)
{
    (void)state;
    struct seen seen = {.window = 1000};
    assert_false(seen_has(&seen, id_of(1), 0));
    assert_int_equal(seen_add(&seen, id_of(1), 0, 50), MP_OK);
    assert_true(seen_has(&seen, id_of(1), 50));
    assert_true(seen_has(&seen, id_of(1), 1049));
    assert_false(seen_has(&seen, id_of(1), 1050));
    assert_false(seen_has(&seen, id_of(2), 50));
    assert_int_equal(seen_add(&seen, id_of(1), 0, 900), MP_OK);
    assert_true(seen_has(&seen, id_of(1), 1899));
    seen_free(&seen);
}

static void test_many_are_kept_apart(void **state)
{
    (void)state;
    enum { MANY = 100000 };
    struct seen seen = {.window = INT64_MAX};
    for (unsigned i = 0; i < MANY; i++) {
        assert_false(seen_has(&seen, id_of(i), i));
        assert_int_equal(seen_add(&seen, id_of(i), 0, i), MP_OK);
    }
    for (unsigned i = 0; i < MANY; i++) {
        assert_true(seen_has(&seen, id_of(i), MANY));
        assert_false(seen_has(&seen, id_of(MANY + i), MANY));
    }
    assert_int_equal(seen.used, MANY);
    seen_free(&seen);
}

static void test_its_size_is_that_of_the_window(void **state)
{
    (void)state;
    struct seen seen = {.window = 1000};
    size_t largest = 0;
    for (unsigned i = 0; i < 1000000; i++) {
        assert_int_equal(seen_add(&seen, id_of(i), 0, i), MP_OK);
        largest = seen.capacity > largest ? seen.capacity : largest;
        if (i >= 999 && i % 1009 == 0)
            assert_true(seen_has(&seen, id_of(i - 999), i) && (i < 1000 || !seen_has(&seen, id_of(i - 1000), i)));
    }
    assert_in_range(largest, 1000, 8192);
    seen_free(&seen);
}

static void test_seeds_give_other_ids(void **state)
{
    (void)state;
    assert_false(seen_same(seen_id_of("a", 1, 1), seen_id_of("a", 1, 2)));
    assert_true(seen_same(seen_id_of("a", 1, 1), seen_id_of("a", 1, 1)));
}

static void test_what_was_removed_is_not_there(void **state)
{
    (void)state;
    enum { MANY = 20000 };
    struct seen seen = {.window = INT64_MAX};
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(seen_add(&seen, id_of(i), i, i), MP_OK);
    for (unsigned i = 0; i < MANY; i += 3)
        seen_remove(&seen, id_of(i));
    seen_remove(&seen, id_of(MANY));
    for (unsigned i = 0; i < MANY; i++) {
        const struct seen_entry *entry = seen_find(&seen, id_of(i), MANY);
        assert_int_equal(entry != NULL, i % 3 != 0);
        if (entry != NULL)
            assert_int_equal(entry->tag, i);
    }
    assert_int_equal(seen.used, MANY - (MANY + 2) / 3);
    seen_free(&seen);
}

/* Adding and removing for ever takes no more room. */
static void test_holes_are_filled(void **state)
{
    (void)state;
    struct seen seen = {.window = INT64_MAX};
    for (unsigned i = 0; i < 100000; i++) {
        assert_int_equal(seen_add(&seen, id_of(i), 0, i), MP_OK);
        if (i >= 10)
            seen_remove(&seen, id_of(i % 2 == 0 ? i : i - 10));
    }
    assert_in_range(seen.used, 0, 20);
    assert_in_range(seen.capacity, 1, 128);
    seen_free(&seen);
}

static void test_past_the_limit_the_oldest_goes(void **state)
{
    (void)state;
    struct seen seen = {.window = 1000, .limit = 100};
    for (unsigned i = 0; i < 150; i++)
        assert_int_equal(seen_add(&seen, id_of(i), 0, i), MP_OK);
    assert_int_equal(seen.used, 100);
    assert_int_equal(seen.lost, 50);
    assert_false(seen_has(&seen, id_of(49), 150));
    assert_true(seen_has(&seen, id_of(50), 150));
    /* What was old anyway is not lost. */
    assert_int_equal(seen_add(&seen, id_of(1000), 0, 5000), MP_OK);
    assert_int_equal(seen.lost, 50);
    assert_int_equal(seen.used, 1);
    seen_free(&seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_added_is_there_for_the_window),
        cmocka_unit_test(test_many_are_kept_apart),
        cmocka_unit_test(test_its_size_is_that_of_the_window),
        cmocka_unit_test(test_what_was_removed_is_not_there),
        cmocka_unit_test(test_holes_are_filled),
        cmocka_unit_test(test_past_the_limit_the_oldest_goes),
        cmocka_unit_test(test_seeds_give_other_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
