/* test_arena.c: arenas. SPDX-License-Identifier: MIT */
#include "tests/support/cmocka.h"

static void gives_zeroed_aligned_memory(void **state)
{
    for (size_t size = 0; size < 200; size++) {
        unsigned char *at = arena_alloc(*state, size);
        assert_int_equal((uintptr_t)at % 16, 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(at[i], 0);
        memset(at, 0xff, size);
    }
}

static void keeps_allocations_larger_than_a_chunk_apart(void **state)
{
    unsigned char *small = arena_alloc(*state, 100);
    unsigned char *large = arena_alloc(*state, 40 << 20);
    unsigned char *after = arena_alloc(*state, 100);
    memset(large, 1, 40 << 20);
    assert_int_equal(small[99], 0);
    assert_int_equal(after[0], 0);
}

static void zeroes_again_after_a_reset(void **state)
{
    memset(arena_alloc(*state, 5000), 0xaa, 5000);
    arena_reset(*state);
    assert_int_equal(arena_used(*state), 0);
    unsigned char *at = arena_alloc(*state, 5000);
    for (size_t i = 0; i < 5000; i++)
        assert_int_equal(at[i], 0);
}

static void grows_in_place_when_last(void **state)
{
    size_t cap = 0;
    uint32_t *array = arena_grow(*state, NULL, &cap, 1, sizeof *array);
    array[0] = 7;
    uint32_t *same = arena_grow(*state, array, &cap, 100, sizeof *array);
    assert_ptr_equal(array, same);
    assert_true(cap >= 100);
    assert_int_equal(same[0], 7);
}

static void grows_by_moving_with_zeroed_tail(void **state)
{
    size_t cap = 0;
    uint32_t *array = arena_grow(*state, NULL, &cap, 8, sizeof *array);
    for (uint32_t i = 0; i < 8; i++)
        array[i] = i + 1;
    memset(arena_alloc(*state, 16), 0xff, 16);
    array = arena_grow(*state, array, &cap, 5000, sizeof *array);
    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(array[i], i + 1);
    for (uint32_t i = 8; i < cap; i++)
        assert_int_equal(array[i], 0);
}

/* What is behind a large array does not stop it from growing, and nothing stays where it was. */
static void grows_large_arrays_as_a_whole(void **state)
{
    enum { FIRST = 1 << 17, MORE = 1 << 22 };
    size_t cap = 0;
    uint32_t *array = arena_grow(*state, NULL, &cap, FIRST, sizeof *array);
    for (uint32_t i = 0; i < FIRST; i++)
        array[i] = i + 1;
    memset(arena_alloc(*state, 1 << 20), 0xff, 1 << 20);
    array = arena_grow(*state, array, &cap, MORE, sizeof *array);
    for (uint32_t i = 0; i < FIRST; i++)
        assert_int_equal(array[i], i + 1);
    for (size_t i = FIRST; i < cap; i++)
        assert_int_equal(array[i], 0);
    assert_true(arena_used(*state) < cap * sizeof *array + (2 << 20));
}

static void prints_and_copies_strings(void **state)
{
    assert_string_equal(arena_printf(*state, "%s-%d", "block", 12), "block-12");
    char source[] = "abc";
    const char *copy = arena_string(*state, source);
    source[0] = 'x';
    assert_string_equal(copy, "abc");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_with_arena(gives_zeroed_aligned_memory),
        unit_test_with_arena(keeps_allocations_larger_than_a_chunk_apart),
        unit_test_with_arena(zeroes_again_after_a_reset),
        unit_test_with_arena(grows_in_place_when_last),
        unit_test_with_arena(grows_by_moving_with_zeroed_tail),
        unit_test_with_arena(grows_large_arrays_as_a_whole),
        unit_test_with_arena(prints_and_copies_strings),
    };
    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
