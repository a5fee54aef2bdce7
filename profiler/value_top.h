/*
 * value_top.h: the most frequent values of one site, in fixed memory.
 *
 * The summary of Misra and Gries: while there are no more different values than places, every count
 * is exact. A value that finds no place takes one off every count (and `missed` up by one); places
 * at zero are free again. So of n values, one that occurred c times is there with a count from
 * c - missed to c, and missed is at most n / (places + 1): what makes up more than that share is
 * always there. Freestanding; core/profile_values.c sums such summaries.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_VALUE_TOP_H
#define RESPIN_PROFILER_VALUE_TOP_H

#include "core/live_format.h"

/* One more observation of `value`. Not for two threads at a time. */
void value_top_add(LiveValue *site, uint64_t value);
/* As if there had been none. */
void value_top_clear(LiveValue *site);

#endif
