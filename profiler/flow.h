/*
 * flow.h: records that end a block, and what they call.
 *
 *   record         imm        slot 1                                  slot 2
 *   jump           counter    link[0] target
 *   jcc            counter    link[0] not taken, link[1] taken
 *   compare + jcc  operands   as jcc                                  word[0] counter, word[1]
 * immediate or address call           counter    link[0] target, link[1] return          word[0]
 * return address call reg       counter    word[0] return address, link[1] return jump reg counter
 *   ret            counter    word[0] bytes to drop after
 *   syscall        counter    word[0] its address
 *   exit           RunExit    word[0] address
 *
 * A link leads to the first record of a block, or to what finds it and patches the link with one
 * 8-byte store. That is half a slot behind the record: h_link_2 or h_link_3, by the record's slots;
 * first the one of link[0]. Counters of a conditional are +0 taken, +1 not taken.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_FLOW_H
#define RESPIN_PROFILER_FLOW_H

#include "profiler/rows.h"

#ifndef STEP_ENGINE
Handler h_make_raw, h_to_raw, h_exit, h_exit_here, h_burst, h_link_2, h_link_3, h_nowhere, h_stale,
    h_check, h_model, h_pending;
Handler h_jump, h_fall, h_call, h_call_r, h_jump_r, h_ret, h_ret_drop, h_syscall;
Handler h_loop, h_loope, h_loopne, h_jrcxz, h_jecxz;
Handler h_zero_32, h_zero_64, h_xbegin, h_cpuid, h_pushf, h_popf, h_cld, h_std;
Handler h_indirect_miss, h_return_miss, h_changed;

extern Handler *const h_jcc[16];

/* Fused compare and conditional jump: by condition (NULL: O, NO, P, NP), then size 8 16 32 64. */
enum FusedShape { FUSED_CMP_RR, FUSED_CMP_RI, FUSED_TEST_RR, FUSED_TEST_RI, FUSED_SHAPES };
extern Handler *const h_fused_reg[FUSED_SHAPES][16][4];
/* By condition, then size and operand mode. */
enum FusedMem { FUSED_CMP_RM, FUSED_CMP_MR, FUSED_CMP_MI, FUSED_TEST_MI, FUSED_MEMS };
extern Handler *const h_fused_mem[FUSED_MEMS][16][16];
#endif

/* Makes cpu exact, with `pc` the next instruction; the result of interp_run. */
uint64_t flow_leave(Cpu *cpu, uint64_t raw, uint64_t pc, uint64_t why);
/* The records at `pc`, also to cpu->pc for those that leave; `found` may be NULL: as lookup_code.
 */
const Op *flow_find_code(Cpu *cpu, uint64_t pc, bool *found);

/* The first `n` instructions of the block were executed, once. Takes code_lock. */
void interp_count_partial(Cpu *cpu, const Block *block, uint32_t n);

/* ---- lookup.c, called from flow handlers ---- */

/*
 * The records for guest address `pc`, decoded if need be. Never NULL: where there is no code, a
 * record that leaves interp_run with the reason. `real` says which. Takes code_lock.
 */
const Op *lookup_code(uint64_t pc, bool *real);
/* The target record of an indirect branch, made on first use; NULL where there is no code. */
const Target *lookup_target(const Op *site, uint64_t pc);
/* The last new target of an indirect jump or call; the others follow. code_lock is held. */
const Target *lookup_targets(const Op *site);
/* The record of a call whose return address is `pc`; NULL: none was decoded. */
const Op *lookup_return(uint64_t pc);
/* A guest address for the record at which a block or a link begins. */
uint64_t lookup_pc(const Op *first);

static inline uint32_t target_slot(const Op *site, uint64_t pc)
{
    uint64_t mix = pc ^ ((uint64_t)(uintptr_t)site >> 4);
    return (uint32_t)(mix ^ (mix >> 12)) & (TARGET_CACHE - 1);
}

#endif
