/*
 * Cycles of a function's control flow, restricted to some of its blocks.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_OPTIMIZER_CYCLES_H
#define RESPIN_OPTIMIZER_CYCLES_H

#include "core/program.h"

#define NO_CYCLE UINT32_MAX

/*
 * Numbers the strongly connected parts of the blocks with in[block] set that hold at least one
 * edge.
 *
 * Result: part[block] for every block of the function, NO_CYCLE when it lies on none; in `arena`.
 */
uint32_t *find_cycles(Arena *arena, const Func *fn, const bool *in);

#endif
