/*
 * trace.h: which blocks a trace holds.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_TRACE_H
#define RESPIN_PROFILER_TRACE_H

#include "profiler/decode.h"

enum { PATH_BLOCKS = 48, PATH_INSNS = 320, NO_CALL = 255 };

typedef struct PathBlock {
    Block *block;
    const GuestInsn *insn;
    uint32_t n;           /* instructions */
    bool taken;           /* a conditional jump's more likely way… */
    bool both;            /* …and the other one is not rare */
    uint8_t within;       /* index of the innermost call of the path that is open here; NO_CALL */
    const Target *likely; /* of an indirect jump or call: what the path expects; NULL: nothing */
    uint8_t partner;      /* a call's return on the path, or a return's call; NO_CALL: none */
} PathBlock;

/* At least one block; each but the last is followed by where its likely edge leads. */
typedef struct Path {
    uint32_t n;
    uint32_t n_insns;
    PathBlock block[PATH_BLOCKS];
    GuestInsn insn[PATH_INSNS];
} Path;

/*
 * The path from `head` that `cpu`'s counters favour. `final`: a long one, also through blocks that
 * other traces hold. False: `head` itself cannot be translated.
 * code_lock is held.
 */
bool trace_choose(const Cpu *cpu, Block *head, bool final, Path *path);

#endif
