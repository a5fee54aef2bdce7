/*
 * burst_share.h: which of the clock's moments are for a look.
 *
 *   moment   1    2    3    4    5    6    7    8    9  …
 *   look     new code       (left out: too dear)     warm …
 *
 * A look that finds new code decodes it, and takes a hundred times longer than one that finds its
 * records ready. It is made all the same (new code has to become known), and the next ones are left
 * out until the time of all looks is within the share again. So the cost has a bound that holds for
 * every program: the share, and one look.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_BURST_SHARE_H
#define RESPIN_PROFILER_BURST_SHARE_H

#include <stdbool.h>
#include <stdint.h>

/* At moment number `moments` (from 1), period_ns of user time apart, when looks have taken spent_ns
 * so far and may take `share` per mille. */
static inline bool burst_share_allows(uint64_t period_ns, uint32_t share, uint64_t moments,
                                      uint64_t spent_ns)
{
    const uint64_t per_mille = 1000;
    uint64_t allowed;
    return __builtin_mul_overflow(moments, period_ns, &allowed) ||
           __builtin_mul_overflow(allowed / per_mille, (uint64_t)share, &allowed) ||
           spent_ns <= allowed;
}

#endif
