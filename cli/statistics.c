/* statistics.c: medians and the bootstrap. SPDX-License-Identifier: MIT */
#include "cli/statistics.h"

#include <stdlib.h>
#include <string.h>

enum { RESAMPLES = 10000 };

static int compare_doubles(const void *left_item, const void *right_item)
{
    double left = *(const double *)left_item, right = *(const double *)right_item;
    return (left > right) - (left < right);
}

static double median_of_sorted(const double *values, size_t n)
{
    return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

double statistics_median(Arena *arena, const double *values, size_t n)
{
    double *sorted = arena_copy(arena, values, n * sizeof *values);
    qsort(sorted, n, sizeof *sorted, compare_doubles);
    return median_of_sorted(sorted, n);
}

/* SplitMix64 (Steele, Lea, Flood 2014): any seed serves, and one word is its whole state. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/*
 * A resample of sorted values is known by how often each was drawn, so its median is found by
 * counting, without sorting again.
 */
static double resampled_median(const double *sorted, size_t n, uint32_t *drawn, uint64_t *state)
{
    memset(drawn, 0, n * sizeof *drawn);
    for (size_t i = 0; i < n; i++)
        drawn[next_random(state) % n]++;
    size_t seen = 0, lower_rank = (n - 1) / 2, upper_rank = n / 2, lower = n;
    for (size_t i = 0; i < n; i++) {
        seen += drawn[i];
        if (lower == n && seen > lower_rank)
            lower = i;
        if (seen > upper_rank)
            return (sorted[lower] + sorted[i]) / 2;
    }
    return sorted[n - 1];
}

Interval statistics_bootstrap(Arena *arena, const double *values, size_t n, uint64_t seed)
{
    uint64_t state = seed;
    double *sorted = arena_copy(arena, values, n * sizeof *values);
    double *medians = arena_many(arena, double, RESAMPLES);
    uint32_t *drawn = arena_many(arena, uint32_t, n);
    qsort(sorted, n, sizeof *sorted, compare_doubles);
    for (size_t i = 0; i < RESAMPLES; i++)
        medians[i] = resampled_median(sorted, n, drawn, &state);
    qsort(medians, RESAMPLES, sizeof *medians, compare_doubles);
    return (Interval){ median_of_sorted(sorted, n), medians[RESAMPLES * 25 / 1000],
                       medians[RESAMPLES * 975 / 1000 - 1] };
}
