/*
 * gs.h: the guest's GS base while host GS belongs to the VM (vm_keeps_gs).
 *
 *     mov rax, gs:[rcx + 8]   =>   scratch = cpu->gs_base + rcx + 8     a record of its own
 *                                  mov rax, [scratch]                   the usual handler or thunk
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_GS_H
#define RESPIN_PROFILER_GS_H

#include "profiler/decode.h"

/* Where the address of a GS operand is kept for the record behind, as a byte offset into Cpu. */
enum { GS_ADDRESS_REG = offsetof(Cpu, scratch) + 2 * sizeof(uint64_t) };

/* The memory operand that insn->mem holds is GS-relative: takes its address apart from it. */
void gs_take_operand(GuestInsn *insn, bool wide);

/* rdgsbase, wrgsbase; NULL: another instruction, or host GS is the guest's. */
Handler *gs_base_handler(const GuestInsn *insn);

/* slot 0: b c d as in every memory operand, imm: addresses are 32 bits wide; word[1] slot 1: disp
 */
Handler h_gs_address;

#endif
