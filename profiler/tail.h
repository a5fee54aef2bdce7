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

#endif
