/*
 * A plan without a profile: every function that decodes is placed whole, so that the rewriter is
 * tested on all code of a file, executed or not.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_TESTS_SUPPORT_FORCE_PLAN_H
#define RESPIN_TESTS_SUPPORT_FORCE_PLAN_H

#include "rewriter/rewriter.h"

typedef struct ForceOptions {
    OrderChoice order; /* of blocks and regions */
    uint64_t seed;
    uint32_t first, last; /* functions by index, for bisecting; last 0: all */
    bool keep_third;      /* leave every third function where it is */
} ForceOptions;

MUST_CHECK Status force_plan(Arena *arena, const Image *image, const ForceOptions *options,
                             const Plan **out, Error *err);

#endif
