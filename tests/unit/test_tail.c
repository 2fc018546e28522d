/* The tail of a command's stderr. */
#include "stage/tail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { WRITTEN = 100000 };
static char written[WRITTEN];

/* Whatever the pieces, the tail is that of all bytes. */
static void test_the_tail_is_the_last_bytes_in_whatever_pieces_they_came(void **state)
{
    (void)state;
    static const size_t pieces[] = {1, 7, 1000, STAGE_TAIL - 1, STAGE_TAIL, STAGE_TAIL + 1, 2 * STAGE_TAIL, 30000};
    for (size_t i = 0; i < WRITTEN; i++)
        written[i] = (char)(i % 251);
    for (size_t i = 0; i < sizeof(pieces) / sizeof(*pieces); i++) {
        struct stage_tail tail = {.size = 0};
        size_t at = 0, size;
        while (at < WRITTEN) {
            size_t piece = pieces[i] < WRITTEN - at ? pieces[i] : WRITTEN - at;
            stage_tail_add(&tail, written + at, piece);
            at += piece;
            const char *text = stage_tail_text(&tail, &size);
            assert_int_equal(size, at < STAGE_TAIL ? at : STAGE_TAIL);
            if (pieces[i] > 1 || at % 997 == 0)
                assert_memory_equal(text, written + at - size, size);
        }
        assert_memory_equal(stage_tail_text(&tail, &size), written + WRITTEN - STAGE_TAIL, STAGE_TAIL);
    }
}

static void test_an_empty_tail_is_empty(void **state)
{
    (void)state;
    struct stage_tail tail = {.size = 0};
    size_t size = 1;
    stage_tail_text(&tail, &size);
    assert_int_equal(size, 0);
    stage_tail_add(&tail, "", 0);
    stage_tail_text(&tail, &size);
    assert_int_equal(size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_tail_is_the_last_bytes_in_whatever_pieces_they_came),
        cmocka_unit_test(test_an_empty_tail_is_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
