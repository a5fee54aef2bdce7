/* Summaries of values: of one site in the VM, and their sums. SPDX-License-Identifier: MIT */
#include "core/profile_parts.h"
#include "profiler/value_top.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { RANGE = 200, ROUNDS = 300 };

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

static uint64_t count_of(const LiveValue *site, uint64_t value)
{
    uint64_t count = 0;
    for (int i = 0; i < LIVE_TOPS; i++)
        if (site->top[i].value == value)
            count += site->top[i].count;
    return count;
}

/* Small values are frequent ones. */
static uint64_t skewed(uint64_t *state, uint64_t range)
{
    uint64_t most = 1 + next_random(state) % range;
    return next_random(state) % (1 + next_random(state) % most);
}

static void few_values_are_counted_exactly(void **state)
{
    (void)state;
    uint64_t random = 1;
    for (int round = 0; round < ROUNDS; round++) {
        LiveValue site = { 0 };
        uint64_t exact[LIVE_TOPS] = { 0 };
        for (int i = 0; i < 1000; i++) {
            uint64_t value = skewed(&random, LIVE_TOPS);
            exact[value]++;
            value_top_add(&site, value);
        }
        assert_int_equal(site.n, 1000);
        assert_int_equal(site.missed, 0);
        for (uint64_t i = 0; i < LIVE_TOPS; i++)
            assert_int_equal(count_of(&site, i), exact[i]);
    }
}

static void of_many_values_the_bounds_hold(void **state)
{
    (void)state;
    uint64_t random = 2;
    for (int round = 0; round < ROUNDS; round++) {
        LiveValue site = { 0 };
        uint64_t exact[RANGE] = { 0 };
        uint64_t n = 1 + next_random(&random) % 5000;
        for (uint64_t i = 0; i < n; i++) {
            uint64_t value = skewed(&random, RANGE);
            exact[value]++;
            value_top_add(&site, value);
        }
        assert_int_equal(site.n, n);
        assert_true(site.missed <= n / (LIVE_TOPS + 1));
        for (uint64_t i = 0; i < RANGE; i++) {
            uint64_t count = count_of(&site, i);
            assert_true(count <= exact[i]);
            assert_true(exact[i] <= count + site.missed);
        }
    }
}

static void a_cleared_site_has_seen_nothing(void **state)
{
    (void)state;
    LiveValue site = { .pc = 5, .kind = LIVE_VALUE_SHIFT };
    for (uint64_t i = 0; i < 100; i++)
        value_top_add(&site, i);
    value_top_clear(&site);
    value_top_add(&site, 3);
    assert_int_equal(site.n, 1);
    assert_int_equal(site.missed, 0);
    assert_int_equal(count_of(&site, 3), 1);
    assert_int_equal(site.pc, 5);
}

/* ---- sums --------------------------------------------------------------------------------- */

typedef struct Counted {
    ProfileValue value;
    uint64_t exact[RANGE];
} Counted;

static Counted random_site(Arena *arena, uint64_t *random, uint64_t range)
{
    LiveValue site = { 0 };
    Counted out = { .value = { .at = vaddr(0x10), .kind = OBSERVED_DIVISOR } };
    for (uint64_t n = next_random(random) % 2000; n > 0; n--) {
        uint64_t value = skewed(random, range);
        out.exact[value]++;
        value_top_add(&site, value);
    }
    out.value.n = site.n;
    out.value.missed = site.missed;
    out.value.top = arena_many(arena, ProfileTop, LIVE_TOPS);
    for (int i = 0; i < LIVE_TOPS; i++)
        if (site.top[i].count > 0)
            out.value.top[out.value.n_top++] = (ProfileTop){ site.top[i].value, site.top[i].count };
    return out;
}

static ProfileValue sum_of(Arena *arena, const ProfileValue *parts, uint32_t n)
{
    ProfileValue *values = arena_copy(arena, parts, n * sizeof *parts);
    uint32_t left = profile_sum_values(arena, values, n);
    assert_true(left <= 1);
    return left == 1 ? values[0] : (ProfileValue){ .at = parts[0].at, .kind = parts[0].kind };
}

static void assert_same(const ProfileValue *left, const ProfileValue *right)
{
    assert_int_equal(left->n, right->n);
    assert_int_equal(left->missed, right->missed);
    assert_int_equal(left->n_top, right->n_top);
    for (uint32_t i = 0; i < left->n_top; i++) {
        assert_int_equal(left->top[i].value, right->top[i].value);
        assert_int_equal(left->top[i].count, right->top[i].count);
    }
}

static void sums_do_not_depend_on_the_order(void **state)
{
    (void)state;
    uint64_t random = 3;
    for (int round = 0; round < ROUNDS; round++) {
        Arena *arena = arena_new();
        ProfileValue parts[3], turned[3];
        for (int i = 0; i < 3; i++)
            parts[i] = turned[2 - i] = random_site(arena, &random, RANGE).value;
        ProfileValue left = sum_of(arena, parts, 3);
        ProfileValue right = sum_of(arena, turned, 3);
        assert_same(&left, &right);
        arena_free(arena);
    }
}

static void sums_of_sums_are_sums_where_nothing_is_left_out(void **state)
{
    (void)state;
    uint64_t random = 4;
    for (int round = 0; round < ROUNDS; round++) {
        Arena *arena = arena_new();
        ProfileValue parts[3];
        for (int i = 0; i < 3; i++)
            parts[i] = random_site(arena, &random, LIVE_TOPS).value;
        ProfileValue pair[2] = { sum_of(arena, parts, 2), parts[2] };
        ProfileValue other[2] = { parts[0], sum_of(arena, parts + 1, 2) };
        ProfileValue left = sum_of(arena, pair, 2), right = sum_of(arena, other, 2);
        ProfileValue all = sum_of(arena, parts, 3);
        assert_same(&left, &right);
        assert_same(&left, &all);
        assert_int_equal(all.missed, 0);
        arena_free(arena);
    }
}

static void bounds_hold_for_sums_of_sums(void **state)
{
    (void)state;
    uint64_t random = 5;
    for (int round = 0; round < ROUNDS; round++) {
        Arena *arena = arena_new();
        uint64_t exact[RANGE] = { 0 };
        ProfileValue sum = { .at = vaddr(0x10), .kind = OBSERVED_DIVISOR };
        for (int i = 0; i < 4; i++) {
            Counted part = random_site(arena, &random, RANGE);
            for (int value = 0; value < RANGE; value++)
                exact[value] += part.exact[value];
            sum = sum_of(arena, (ProfileValue[]){ sum, part.value }, 2);
        }
        for (uint32_t i = 0; i < sum.n_top; i++) {
            assert_true(sum.top[i].count <= exact[sum.top[i].value]);
            assert_true(exact[sum.top[i].value] <= sum.top[i].count + sum.missed);
            exact[sum.top[i].value] = 0;
        }
        for (int value = 0; value < RANGE; value++) /* what is not there */
            assert_true(exact[value] <= sum.missed);
        assert_true(sum.missed <= sum.n / (LIVE_TOPS + 1));
        arena_free(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_values_are_counted_exactly),
        cmocka_unit_test(of_many_values_the_bounds_hold),
        cmocka_unit_test(a_cleared_site_has_seen_nothing),
        cmocka_unit_test(sums_do_not_depend_on_the_order),
        cmocka_unit_test(sums_of_sums_are_sums_where_nothing_is_left_out),
        cmocka_unit_test(bounds_hold_for_sums_of_sums),
    };
    return cmocka_run_group_tests_name("values", tests, NULL, NULL);
}
