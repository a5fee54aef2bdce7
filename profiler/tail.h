/*
 * tail.h: where interp_run begins when it is not at a block: in the middle of one, or at a single
 * instruction.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_TAIL_H
#define RESPIN_PROFILER_TAIL_H

#include "profiler/record.h"

/*
 * The records that cpu->tail asks for, which is cleared; NULL: none are asked for, or the code is
 * not what it was, and execution goes on at cpu->pc as at a new block. Takes code_lock.
 */
const Op *tail_take(Cpu *cpu);

/*
 * From a host signal handler: execution stops at instruction `index` of `block`, whose first ones
 * were executed and are counted by a partial block. Sets cpu->pc. Takes code_lock.
 */
void interp_stop_at(Cpu *cpu, const Block *block, uint32_t index);

/* uc_mcontext.gregs, by guest register number, and the others that matter (sys/ucontext.h). */
extern const uint8_t interp_greg_of[N_GUEST_REGS];
enum { GREG_RIP = 16, GREG_FLAGS = 17 };

#endif
