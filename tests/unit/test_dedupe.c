/* The index of ids against a plain list, and its size. */
#include "queue/dedupe.h"

#include "base/clock.h"
#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>

enum { SEEDS = 60, STEPS = 400, MODEL_MAX = 8192 };

struct seen {
    uint64_t hash;
    uint64_t offset;
    int64_t time;
};

struct rig {
    uint64_t random;
    struct dedupe dedupe;
    int64_t now;
    int64_t window;
    uint64_t offset;
    struct seen seen[MODEL_MAX];
    size_t count;
};

static uint64_t bits(struct rig *rig)
{
    return random_next(&rig->random);
}

static uint64_t below(struct rig *rig, uint64_t limit)
{
    return bits(rig) % limit;
}

/* One of a few thousand hashes, some of which have the same tag, and some of which crowd at the ends of a table. */
static uint64_t some_hash(struct rig *rig)
{
    uint64_t number = below(rig, 3000);
    uint64_t tag = number * UINT64_C(0x9e3779b97f4a7c15) >> DEDUPE_OFFSET_BITS;
    if (number % 10 == 0)
        tag = (UINT64_C(1) << DEDUPE_TAG_BITS) - 1 - number / 50;
    else if (number % 10 == 1)
        tag = number / 50;
    return tag << DEDUPE_OFFSET_BITS | number;
}

static void add(struct rig *rig)
{
    uint64_t hash = some_hash(rig);
    assert_int_equal(dedupe_add(&rig->dedupe, rig->window, hash, rig->offset, rig->now), MP_OK);
    assert_true(rig->count < MODEL_MAX);
    rig->seen[rig->count++] = (struct seen){hash, rig->offset, rig->now};
    if (below(rig, 50) == 0) /* the same once more: nothing changes */
        assert_int_equal(dedupe_add(&rig->dedupe, rig->window, hash, rig->offset, rig->now), MP_OK);
    rig->offset += 1 + below(rig, 3);
    if (below(rig, 200) == 0)
        rig->offset += UINT64_C(1) << (DEDUPE_OFFSET_BITS - 1);
}

/* Each that is within the window is found, each that is found was there with that tag, and none twice. */
static void look(struct rig *rig)
{
    uint64_t hash = some_hash(rig), offset, found[MODEL_MAX];
    size_t count = 0;
    dedupe_prefetch(&rig->dedupe, hash);
    struct dedupe_cursor cursor = dedupe_find(&rig->dedupe, hash);
    while (dedupe_next(&cursor, &offset)) {
        assert_true(count < MODEL_MAX);
        found[count++] = offset;
    }
    size_t matches = 0;
    for (size_t i = 0; i < rig->count; i++) {
        const struct seen *seen = &rig->seen[i];
        size_t times = 0;
        for (size_t j = 0; j < count; j++)
            times += found[j] == seen->offset;
        bool same = seen->hash >> DEDUPE_OFFSET_BITS == hash >> DEDUPE_OFFSET_BITS;
        if (seen->time > rig->now - rig->window && same)
            assert_int_equal(times, 1);
        if (!same)
            assert_int_equal(times, 0);
        matches += times;
    }
    assert_int_equal(matches, count);
}

static void run_seed(uint64_t seed)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    rig->random = seed;
    rig->window = seed % 5 == 0 ? 1 : 1000;
    rig->offset = below(rig, UINT64_C(1) << 40);
    for (unsigned step = 0; step < STEPS; step++) {
        uint64_t dice = below(rig, 20);
        for (uint64_t i = below(rig, 30); dice < 12 && i > 0 && rig->count < MODEL_MAX; i--)
            add(rig);
        if (dice >= 12)
            rig->now += (int64_t)below(rig, 40);
        if (dice == 19)
            dedupe_expire(&rig->dedupe, rig->now - rig->window);
        look(rig);
    }
    /* An eighth of the window more than was asked for is the most that is kept. */
    dedupe_expire(&rig->dedupe, rig->now - rig->window);
    uint64_t kept = 0;
    for (size_t i = 0; i < rig->count; i++)
        kept += rig->seen[i].time > rig->now - rig->window - rig->window / DEDUPE_BUCKETS;
    assert_true(dedupe_count(&rig->dedupe) <= kept);
    rig->now += 2 * rig->window;
    dedupe_expire(&rig->dedupe, rig->now - rig->window);
    assert_int_equal(dedupe_count(&rig->dedupe), 0);
    assert_true(dedupe_bytes(&rig->dedupe) < 10000);
    dedupe_free(&rig->dedupe);
    free(rig);
}

static void what_is_in_the_window_is_found(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run_seed(seed);
}

static void an_undone_publication_leaves_its_offsets_to_another(void **state)
{
    struct dedupe dedupe = {0};
    uint64_t offset;
    (void)state;
    assert_int_equal(dedupe_add(&dedupe, 80, UINT64_C(1) << 60, 500, 7), MP_OK);
    assert_int_equal(dedupe_add(&dedupe, 80, UINT64_C(1) << 61, 100, 8), MP_OK);
    struct dedupe_cursor cursor = dedupe_find(&dedupe, UINT64_C(1) << 61);
    assert_true(dedupe_next(&cursor, &offset));
    assert_int_equal(offset, 100);
    assert_false(dedupe_next(&cursor, &offset));
    cursor = dedupe_find(&dedupe, UINT64_C(1) << 60);
    assert_true(dedupe_next(&cursor, &offset));
    assert_int_equal(offset, 500);
    dedupe_free(&dedupe);
    cursor = dedupe_find(&dedupe, 1);
    assert_false(dedupe_next(&cursor, &offset));
}

/* A steady stream of which the window holds ten million, at the worst moment: just before a bucket goes. */
static void ten_million_ids_fit_into_160_mebibytes(void **state)
{
    enum { WINDOW = 10000000 };
    struct rig *rig = calloc(1, sizeof *rig);
    size_t most = 0, hits = 0;
    (void)state;
    assert_non_null(rig);
    int64_t begun = clock_monotonic();
    for (int64_t time = 0; time < WINDOW + WINDOW / 4; time++) {
        uint64_t hash = bits(rig), offset;
        struct dedupe_cursor cursor = dedupe_find(&rig->dedupe, hash);
        while (dedupe_next(&cursor, &offset))
            hits++;
        assert_int_equal(dedupe_add(&rig->dedupe, WINDOW, hash, (uint64_t)time, time), MP_OK);
        if (time % 65536 == 0) {
            dedupe_expire(&rig->dedupe, time - WINDOW);
            size_t bytes = dedupe_bytes(&rig->dedupe);
            most = bytes > most ? bytes : most;
        }
    }
    int64_t took = clock_monotonic() - begun;
    print_message("# %zu MiB at most, %.2f M lookups and additions a second, %zu false hits\n", most >> 20,
                  (double)(WINDOW + WINDOW / 4) / (double)took, hits);
    assert_true(most < (size_t)160 << 20);
    assert_true(hits < 5000); /* 10^7 times 10^7 / 2 / 2^36 are 730 */
    dedupe_free(&rig->dedupe);
    free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_in_the_window_is_found),
        cmocka_unit_test(an_undone_publication_leaves_its_offsets_to_another),
        cmocka_unit_test(ten_million_ids_fit_into_160_mebibytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
