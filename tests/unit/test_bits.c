/* base/bits.h against arrays of booleans. */
#include "base/bits.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { COUNT = 45 };

static uint64_t random_state = 1;

static unsigned next_random(void)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(random_state >> 33);
}

/* A set, sometimes with long runs, as bits and as booleans. */
static void any_set(uint8_t bits[], bool plain[COUNT])
{
    unsigned run = 1 + next_random() % 20;
    memset(bits, 0, bits_size(COUNT));
    for (unsigned i = 0; i < COUNT; i++) {
        plain[i] = i % run == 0 ? next_random() % 2 : plain[i - 1];
        if (plain[i])
            bits_set(bits, i);
    }
}

static void ranges_are_what_single_bits_are(void **state)
{
    uint8_t bits[(COUNT + 7) / 8], other[(COUNT + 7) / 8];
    bool plain[COUNT];
    (void)state;
    for (unsigned turn = 0; turn < 300; turn++) {
        any_set(bits, plain);
        for (unsigned first = 0; first < COUNT; first++) {
            size_t sum = 0, run = 0;
            assert_int_equal(bits_get(bits, first), plain[first]);
            for (unsigned end = first; end <= COUNT; end++) {
                assert_int_equal(bits_count(bits, first, end - first), sum);
                assert_int_equal(bits_run(bits, first, end), run);
                if (end == COUNT)
                    break;
                sum += plain[end];
                run += run == end - first && plain[end] == plain[first];
            }
        }
        unsigned first = next_random() % COUNT, count = next_random() % (COUNT - first);
        memcpy(other, bits, sizeof other);
        bits_set_range(other, first, count);
        for (unsigned i = 0; i < COUNT; i++)
            assert_int_equal(bits_get(other, i), plain[i] || (i >= first && i < first + count));
        bits_clear(other, first);
        assert_false(bits_get(other, first));
    }
}

static void copies_begin_at_any_bit(void **state)
{
    uint8_t bits[(COUNT + 7) / 8], copy[(COUNT + 7) / 8 + 1];
    bool plain[COUNT];
    (void)state;
    any_set(bits, plain);
    for (unsigned first = 0; first < COUNT; first++)
        for (unsigned count = 0; count <= COUNT - first; count++) {
            memset(copy, 0xa5, sizeof copy);
            bits_copy(copy, bits, first, count);
            for (unsigned i = 0; i < count; i++)
                assert_int_equal(bits_get(copy, i), plain[first + i]);
            for (size_t i = count; i < bits_size(count) * 8; i++)
                assert_false(bits_get(copy, i));
            assert_int_equal(copy[bits_size(count)], 0xa5);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_are_what_single_bits_are),
        cmocka_unit_test(copies_begin_at_any_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
