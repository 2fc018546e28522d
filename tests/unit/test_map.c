/* base/map.h against a plain array, and base/blob.h */
#include "base/map.h"

#include "base/blob.h"
#include "base/buffer.h"
#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

enum { KEYS = 300, STEPS = 20000 };

struct value {
    uint32_t key;
    bool there;
};

static uint32_t walk(const struct map *map)
{
    size_t at = 0;
    uint32_t count = 0;
    const struct value *value;
    while ((value = map_next(map, &at))) {
        assert_true(value->there);
        count++;
    }
    return count;
}

static void a_map_is_what_a_plain_array_says(void **state)
{
    static struct value values[KEYS];
    (void)state;
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct map map = {0};
        uint64_t random = seed;
        uint32_t count = 0;
        map_seed(seed);
        for (unsigned i = 0; i < STEPS; i++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
            struct value *value = &values[(random >> 33) % KEYS];
            value->key = (uint32_t)(value - values);
            assert_ptr_equal(map_get(&map, &value->key, sizeof value->key), value->there ? value : NULL);
            if ((random >> 60) < 8) {
                assert_int_equal(map_put(&map, &value->key, sizeof value->key, value), MP_OK);
                count += !value->there;
                value->there = true;
            } else {
                assert_ptr_equal(map_remove(&map, &value->key, sizeof value->key), value->there ? value : NULL);
                count -= value->there;
                value->there = false;
            }
            assert_int_equal(map.count, count);
        }
        assert_int_equal(walk(&map), count);
        map_free(&map);
        for (unsigned i = 0; i < KEYS; i++)
            values[i].there = false;
    }
}

static void keys_of_different_sizes_differ(void **state)
{
    struct map map = {0};
    int one = 1, other = 2;
    (void)state;
    assert_int_equal(map_put(&map, "ab", 1, &one), MP_OK);
    assert_int_equal(map_put(&map, "ab", 2, &other), MP_OK);
    assert_ptr_equal(map_get(&map, "a", 1), &one);
    assert_ptr_equal(map_get(&map, "ab", 2), &other);
    assert_null(map_get(&map, "", 0));
    map_free(&map);
    assert_null(map_get(&map, "a", 1));
    assert_null(map_remove(&map, "a", 1));
}

static unsigned released;

static void an_empty_key_may_be_no_bytes_at_all(void **state)
{
    (void)state;
    struct map map = {0};
    int one, other;
    assert_int_equal(map_put(&map, NULL, 0, &one), MP_OK);
    assert_int_equal(map_put(&map, "x", 1, &other), MP_OK);
    assert_ptr_equal(map_get(&map, NULL, 0), &one);
    assert_ptr_equal(map_get(&map, "", 0), &one);
    assert_ptr_equal(map_remove(&map, "", 0), &one);
    assert_null(map_get(&map, NULL, 0));
    map_free(&map);
}

static void release(void *owner)
{
    released++;
    assert_ptr_equal(owner, &released);
}

static void a_blob_goes_with_its_last_holder(void **state)
{
    (void)state;
    released = 0;
    struct blob *blob = blob_wrap("abc", 3, release, &released);
    assert_non_null(blob);
    blob_hold(blob);
    blob_drop(blob);
    assert_int_equal(released, 0);
    assert_memory_equal(blob->data, "abc", 3);
    blob_drop(blob);
    assert_int_equal(released, 1);
    blob_drop(NULL);
}

static void a_blob_has_bytes_of_its_own_or_a_buffers(void **state)
{
    uint8_t *bytes;
    struct buffer buffer = {0};
    (void)state;
    struct blob *blob = blob_make(4, &bytes);
    assert_non_null(blob);
    memcpy(bytes, "four", 4);
    assert_memory_equal(blob->data, "four", 4);
    blob_drop(blob);
    assert_null(blob_make(SIZE_MAX - 3, &bytes));
    assert_int_equal(buffer_append(&buffer, "taken", 5), MP_OK);
    blob = blob_of_buffer(&buffer);
    assert_non_null(blob);
    assert_null(buffer.data);
    assert_int_equal(blob->size, 5);
    assert_memory_equal(blob->data, "taken", 5);
    blob_drop(blob);
}

static void a_value_is_made_once_and_not_without_memory(void **state)
{
    struct map map = {0};
    uint32_t key = 7;
    (void)state;
    for (unsigned long nth = 1; nth < 3; nth++) { /* the value, the map's entries */
        memory_fail(nth);
        assert_null(map_make(&map, &key, sizeof key, sizeof(struct value)));
        assert_true(memory_failed());
        assert_int_equal(map.count, 0);
    }
    memory_fail(0);
    struct value *made = map_make(&map, &key, sizeof key, sizeof *made);
    assert_non_null(made);
    assert_int_equal(made->key, 7);
    assert_false(made->there);
    key = 8;
    struct value *other = map_make(&map, &key, sizeof key, sizeof *other);
    assert_ptr_not_equal(other, made);
    key = 7;
    assert_ptr_equal(map_make(&map, &key, sizeof key, sizeof *made), made);
    assert_int_equal(map.count, 2);
    map_free(&map);
    memory_release(made);
    memory_release(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_is_made_once_and_not_without_memory),
        cmocka_unit_test(a_map_is_what_a_plain_array_says),
        cmocka_unit_test(keys_of_different_sizes_differ),
        cmocka_unit_test(an_empty_key_may_be_no_bytes_at_all),
        cmocka_unit_test(a_blob_goes_with_its_last_holder),
        cmocka_unit_test(a_blob_has_bytes_of_its_own_or_a_buffers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
