/*
 * What core/insn*.c share: an instruction decoded in full by Zydis. Private to core/.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CORE_INSN_ZYDIS_H
#define RESPIN_CORE_INSN_ZYDIS_H

#include "core/insn.h"

#include <Zydis/Zydis.h>

typedef struct InsnFull {
    ZydisDecodedInstruction raw;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
} InsnFull;

/* False only for an Insn whose bytes were never decoded. */
bool insn_decode_full(const Insn *insn, InsnFull *out);

/* insn_effects.c; `full` NULL: not decoded. */
void insn_effects_of(const Insn *insn, const InsnFull *full, InsnEffects *out);

/* 0..15 for general registers (any part of one), -2 for RIP, else -1. */
int8_t insn_reg_number(ZydisRegister reg);

#endif
