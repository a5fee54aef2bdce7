/*
 * again.h: flags that are lost to a counter and made again by the compare that made them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_AGAIN_H
#define RESPIN_PROFILER_AGAIN_H

#include "profiler/emit.h"
#include "profiler/trace.h"

/* How to make them: with the `size` bytes `at` from the trace's code on, which are the compare; or
 * with a test of a register. All zero: not at all. */
typedef struct Again {
    uint16_t at;
    uint8_t size;
    uint8_t tested; /* 1 + 2 * register, + 1 for all 64 bits of it; 0: none */
} Again;

/*
 * The instruction on the path that made the flags at the end of block `i`, if they can be made
 * again there: it reads registers only, which are unchanged since. NULL: they cannot. `i` and `k`
 * become its block and its place there.
 */
const GuestInsn *again_find(const Path *path, uint32_t *i, uint32_t *k);
/* `insn` is what again_find found, and its copy lies `at` from the trace's code on. */
Again again_with(const GuestInsn *insn, uint32_t at);
/* Makes them: no register and no memory is written. `start` is the trace's code. */
void again_emit(Code *code, const uint8_t *start, Again again);

static inline bool again_is_possible(Again again)
{
    return again.size != 0 || again.tested != 0;
}

#endif
