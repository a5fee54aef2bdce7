/*
 * Which general registers and flags may still be read: liveness over one function.
 *
 * Conservative wherever code outside the function goes on: at side exits, returns, calls, system
 * calls and indirect jumps without a proven table everything is live, since callers and callees
 * compiled together may agree on more than the ABI (gcc's -fipa-ra does).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_OPTIMIZER_LIVENESS_H
#define RESPIN_OPTIMIZER_LIVENESS_H

#include "core/program.h"

typedef struct Live {
    RegSet regs;
    uint8_t flags; /* FlagBit */
} Live;

#define LIVE_ALL ((Live){ 0xffff, 0xff })

typedef struct Liveness {
    const Func *fn;
    Live *in;  /* by block: before its first instruction */
    Live *out; /* by block: after its last instruction */
} Liveness;

/* Computes both for every block; in `arena`. Blocks made later are not known to it. */
Liveness liveness_of(Arena *arena, const Func *fn);

/* What is live before instruction `insn` of the block (n_insns: after the last one). */
Live live_before(const Liveness *liveness, BlockId block, uint32_t insn);

#endif
