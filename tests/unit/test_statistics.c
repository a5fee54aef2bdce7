/* test_statistics.c: medians and bootstrap intervals. SPDX-License-Identifier: MIT */
#include "tests/support/cmocka.h"

#include "cli/statistics.h"

static void finds_medians(void **state)
{
    const double odd[] = { 3, 1, 2 }, even[] = { 4, 1, 3, 2 };
    assert_true(statistics_median(*state, odd, 3) == 2);
    assert_true(statistics_median(*state, even, 4) == 2.5);
    assert_true(statistics_median(*state, odd, 1) == 3);
}

static void gives_equal_values_an_interval_of_no_width(void **state)
{
    const double values[] = { 1.25, 1.25, 1.25, 1.25 };
    Interval interval = statistics_bootstrap(*state, values, 4, 1);
    assert_true(interval.low == 1.25 && interval.middle == 1.25 && interval.high == 1.25);
}

/*
 * The interval of the median of 0, 1 … 40: the bootstrap's bounds lie near the order statistics of
 * rank 14 and 28 that the binomial distribution gives for 95%.
 */
static void brackets_the_median_as_order_statistics_do(void **state)
{
    double values[41];
    for (int i = 0; i < 41; i++)
        values[i] = (i * 17) % 41;
    Interval interval = statistics_bootstrap(*state, values, 41, 42);
    assert_true(interval.middle == 20);
    assert_in_range((int)interval.low, 12, 15);
    assert_in_range((int)interval.high, 25, 28);
}

static void depends_on_nothing_but_values_and_seed(void **state)
{
    const double values[] = { 1, 5, 2, 4, 3, 9, 7 };
    Interval one = statistics_bootstrap(*state, values, 7, 7);
    Interval two = statistics_bootstrap(*state, values, 7, 7);
    assert_memory_equal(&one, &two, sizeof one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_with_arena(finds_medians),
        unit_test_with_arena(gives_equal_values_an_interval_of_no_width),
        unit_test_with_arena(brackets_the_median_as_order_statistics_do),
        unit_test_with_arena(depends_on_nothing_but_values_and_seed),
    };
    return cmocka_run_group_tests_name("statistics", tests, NULL, NULL);
}
