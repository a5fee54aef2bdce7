/*
 * Instructions that passes make: encoded by hand, decoded at once.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_OPTIMIZER_MADE_H
#define RESPIN_OPTIMIZER_MADE_H

#include "core/program.h"

/* All are 64-bit, touch no flag, bear INSN_MADE, and stand for the original instruction `at`.
 * Registers are 0..15; an index register is never 4 (rsp). */

/* movsxd to, dword [base + index * 4 + distance from the base of table `table` to its clone] */
Insn made_load_offset(Vaddr at, int8_t to, int8_t base, int8_t index, int32_t table);
/* lea to, [base + index] */
Insn made_lea_sum(Vaddr at, int8_t to, int8_t base, int8_t index);
/* jmp reg, with a notrack prefix if wanted */
Insn made_jump_reg(Vaddr at, int8_t reg, bool notrack);

#endif
