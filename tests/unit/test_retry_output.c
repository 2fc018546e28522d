/* cli/retry_output.h: what commands print is kept until they have succeeded, or is known not to be whole. */
#include "cli/retry_output.h"

#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static void what_there_is_no_memory_for_is_not_printed(void **state)
{
    (void)state;
    struct retry_budget budget = {0};
    struct retry_output output = retry_output_of(&budget);
    struct receive_sink *nobody = NULL; /* whoever writes to it crashes */
    struct fault fault = {0};
    memory_fail(1);
    assert_int_equal(retry_output_add(&output, "line\n", 5, &fault), MP_ERR_MEMORY);
    memory_fail(0);
    assert_true(output.torn);
    assert_int_equal(output.size, 0);
    assert_int_equal(retry_output_print(&output, nobody, &fault), MP_OK);
    retry_output_clear(&output);
    assert_false(output.torn);
    assert_int_equal(budget.memory, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_there_is_no_memory_for_is_not_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
