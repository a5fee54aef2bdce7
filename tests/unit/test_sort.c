/* test_sort.c: sorting by numbers. SPDX-License-Identifier: MIT */
#include "tests/support/cmocka.h"

#include "core/sort.h"

#include <stdlib.h>

typedef struct Record {
    uint64_t key;
    uint32_t rest;
    uint32_t number; /* of the record as it was made */
} Record;

static uint64_t record_key(const void *record)
{
    return ((const Record *)record)->key;
}

static int record_order(const void *left, const void *right)
{
    const Record *a = left;
    const Record *b = right;
    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    return (a->rest > b->rest) - (a->rest < b->rest);
}

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 11;
}

/* `n` records with keys from `least` on, below `span` more; each of them is there once afterwards.
 */
static void expect_sorted(Arena *arena, size_t n, uint64_t least, uint64_t span)
{
    Record *made = arena_many(arena, Record, n);
    uint64_t seed = n + span;
    for (size_t i = 0; i < n; i++)
        made[i] = (Record){ .key = least + next_random(&seed) % span,
                            .rest = (uint32_t)(next_random(&seed) % 4),
                            .number = (uint32_t)i };
    Record *sorted = arena_copy(arena, made, n * sizeof *made);
    sort_records(sorted, n, sizeof *sorted, record_key, record_order);
    unsigned char *seen = arena_alloc(arena, n);
    for (size_t i = 0; i < n; i++) {
        assert_true(i == 0 || record_order(&sorted[i - 1], &sorted[i]) <= 0);
        assert_memory_equal(&sorted[i], &made[sorted[i].number], sizeof *made);
        assert_int_equal(seen[sorted[i].number]++, 0);
    }
}

static void sorts_few_and_many_records(void **state)
{
    static const size_t numbers[] = { 0, 1, 2, 63, 64, 65, 1000, 50000 };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        expect_sorted(*state, numbers[i], 0x401000, 0x100000);
        expect_sorted(*state, numbers[i], UINT64_MAX - 5, 5);
        expect_sorted(*state, numbers[i], 7, 1);
    }
}

static void sorts_what_is_nearly_sorted(void **state)
{
    Record *records = arena_many(*state, Record, 10000);
    uint64_t seed = 3;
    for (uint32_t i = 0; i < 10000; i++)
        records[i] = (Record){ .key = i / 3 + next_random(&seed) % 3, .number = i };
    sort_records(records, 10000, sizeof *records, record_key, record_order);
    for (uint32_t i = 1; i < 10000; i++)
        assert_true(record_order(&records[i - 1], &records[i]) <= 0);
}

static void joins_two_sorted_tables(void **state)
{
    for (uint32_t n_first = 0; n_first <= 7; n_first++) {
        Record *records = arena_many(*state, Record, 7);
        for (uint32_t i = 0; i < 7; i++)
            records[i].key = i < n_first ? 5 * i : 3 * (i - n_first);
        uint64_t sum = 0;
        for (uint32_t i = 0; i < 7; i++)
            sum += records[i].key;
        sort_join(records, n_first, 7, sizeof *records, record_order);
        for (uint32_t i = 0; i < 7; i++) {
            assert_true(i == 0 || records[i - 1].key <= records[i].key);
            sum -= records[i].key;
        }
        assert_int_equal(sum, 0);
    }
}

/* Keys that leave no room for a place in 64 bits. */
static void sorts_records_whose_keys_are_far_apart(void **state)
{
    Record *records = arena_many(*state, Record, 1000);
    uint64_t seed = 1;
    for (uint32_t i = 0; i < 1000; i++)
        records[i] = (Record){ .key = next_random(&seed) << 20 | i, .number = i };
    records[500].key = UINT64_MAX;
    records[501].key = 0;
    sort_records(records, 1000, sizeof *records, record_key, record_order);
    for (uint32_t i = 1; i < 1000; i++)
        assert_true(records[i - 1].key < records[i].key);
    assert_int_equal(records[0].number, 501);
    assert_int_equal(records[999].number, 500);
}

static void sorts_numbers(void **state)
{
    for (size_t n = 0; n < 3000; n = n * 3 + 1) {
        uint64_t *numbers = arena_many(*state, uint64_t, n);
        uint64_t seed = n;
        uint64_t sum = 0;
        for (size_t i = 0; i < n; i++) {
            numbers[i] = next_random(&seed) << (i % 12);
            sum += numbers[i];
        }
        sort_numbers(numbers, n);
        for (size_t i = 0; i < n; i++) {
            assert_true(i == 0 || numbers[i - 1] <= numbers[i]);
            sum -= numbers[i];
        }
        assert_int_equal(sum, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_with_arena(sorts_few_and_many_records),
        unit_test_with_arena(sorts_records_whose_keys_are_far_apart),
        unit_test_with_arena(sorts_what_is_nearly_sorted),
        unit_test_with_arena(joins_two_sorted_tables),
        unit_test_with_arena(sorts_numbers),
    };
    return cmocka_run_group_tests_name("sort", tests, NULL, NULL);
}
