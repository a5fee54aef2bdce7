/*
 * Medians with their confidence intervals, for measurements whose noise has no known shape.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CLI_STATISTICS_H
#define RESPIN_CLI_STATISTICS_H

#include "core/arena.h"

#include <stddef.h>
#include <stdint.h>

typedef struct Interval {
    double middle; /* the median */
    double low;    /* 95% bounds */
    double high;
} Interval;

/* The median; of an even number of values, the mean of the middle two. n >= 1. */
double statistics_median(Arena *arena, const double *values, size_t n);

/*
 * The median and its bootstrap 95% interval: 10,000 resamples with replacement, percentile method.
 * Deterministic: the generator is seeded with `seed` alone. n >= 1.
 */
Interval statistics_bootstrap(Arena *arena, const double *values, size_t n, uint64_t seed);

#endif
