/*
 * thunk.h: native code for runs of instructions that have no handler.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_THUNK_H
#define RESPIN_PROFILER_THUNK_H

#include "profiler/decode.h"

/* Where one copied instruction stands. */
typedef struct ThunkInsn {
    uint16_t start, end; /* in the thunk's code */
    uint8_t index;       /* of the guest instruction in its block */
    bool flags_native;   /* the guest's flags are in the host's RFLAGS when it starts */
} ThunkInsn;

typedef struct Thunk {
    const uint8_t *code;
    uint32_t size;
    uint32_t n;
    const Block *block;
    uint16_t regs;                       /* guest registers that are in host registers */
    uint8_t home_fa, home_fb, home_kind; /* host register; NO_REG: in cpu->flag_a and so on */
    ThunkInsn insn[];
} Thunk;

/* A planned run: instructions [first, first + n) of a block. */
typedef struct ThunkPlan {
    uint32_t first, n;
    uint16_t regs, written;
    uint16_t flags_out;        /* RFLAGS bits that any of them writes */
    uint8_t rip_low, rip_high; /* host registers for RIP-relative addresses; NO_REG: not needed */
    uint8_t cpu;               /* host register that holds the Cpu */
    bool needs_flags;          /* the flags must be in RFLAGS when it starts (kind FLAGS_RAW) */
    bool writes_flags;
    bool is_string;
} ThunkPlan;

/* The longest run from `first` of instructions for which `wanted` is true, that one thunk can hold.
 */
ThunkPlan thunk_plan(const DecodedRun *run, uint32_t first, const bool *wanted);
/* Its code; obeys the convention of handlers; goes on at record `next`. code_lock is held. */
Handler *thunk_make(const DecodedRun *run, const ThunkPlan *plan, const Block *block,
                    const Op *next, bool flags_live_after);
/* The thunk that holds host address `rip`; NULL: none. */
const Thunk *thunk_at(uint64_t rip);

#endif
