/*
 * emit.h: bytes of host code, one small function for each form that translated code is made of.
 *
 * Nothing emitted by these writes flags, but for emit_gs_inc, emit_gs_compare4 and emit_test.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_EMIT_H
#define RESPIN_PROFILER_EMIT_H

#include "profiler/area.h"
#include "profiler/decode.h"

/* Where code goes. Whoever makes one sees to it that there is room. */
typedef struct Code {
    uint8_t *at;
    uint8_t *end;
} Code;

enum { CELL = 8, JUMP_SIZE = 5 };

void emit_bytes(Code *code, const void *bytes, unsigned n);
void emit1(Code *code, unsigned a);
void emit4(Code *code, uint32_t value);

/* ---- the thread's area and counters: [gs:displacement] ---- */

void emit_gs_load(Code *code, unsigned reg, int32_t displacement);
void emit_gs_store(Code *code, int32_t displacement, unsigned reg);
void emit_gs_store4(Code *code, int32_t displacement, uint32_t value);
void emit_gs_inc(Code *code, int32_t displacement);
void emit_gs_compare4(Code *code, int32_t displacement, uint32_t value);
void emit_gs_pop(Code *code, int32_t displacement);
void emit_gs_jump(Code *code, int32_t displacement);
/* [gs:index * 8 + displacement] */
void emit_gs_jump_table(Code *code, unsigned index, int32_t displacement);
/* Adds one to a counter by way of `reg`, which is lost. */
void emit_count(Code *code, uint32_t counter, unsigned reg);

/* ---- registers and the stack ---- */

void emit_constant(Code *code, unsigned reg, uint64_t value);
void emit_constant4(Code *code, unsigned reg, uint32_t value);
/* lea reg, [base + displacement]; of 32 bits, for `wide` false */
void emit_lea(Code *code, bool wide, unsigned reg, unsigned base, int32_t displacement);
/* lea reg, [base + index] */
void emit_lea_sum(Code *code, unsigned reg, unsigned base, unsigned index);
/* movzx reg, low 16 bits of `from`; neither is R8 to R15 */
void emit_low_word(Code *code, unsigned reg, unsigned from);
void emit_move(Code *code, unsigned to, unsigned from);
/* test reg, reg; of 32 bits, for `wide` false. Writes flags */
void emit_test(Code *code, bool wide, unsigned reg);
void emit_stack_load(Code *code, unsigned reg, int8_t displacement);
/* push [cell] */
void emit_cell_push(Code *code, const void *cell);
void emit_push_constant(Code *code, int32_t value);

/* ---- transfers ---- */

/* Both return where the 4 bytes of the relative target are. */
uint8_t *emit_jump(Code *code, const void *target);
uint8_t *emit_jcc(Code *code, unsigned cc);
/* A jump whose relative target is aligned, so that it can be changed while threads run it. */
uint8_t *emit_link(Code *code, const void *target);
void emit_cell_jump(Code *code, const void *cell);
void emit_call(Code *code, const void *target);
/* jrcxz over the next `skip` bytes */
void emit_skip_if_zero(Code *code, unsigned skip);

/* The relative target at `field` lies in 8 aligned bytes: one store changes it for all threads. */
static inline bool emit_is_in_word(const uint8_t *field)
{
    return ((uintptr_t)field & 7) <= 4;
}

/* Where the relative target at `field` leads. */
const uint8_t *emit_target(const uint8_t *field);
/* Makes a jump to `target` of the code at `at`, which is 8-byte aligned, by one store. */
void emit_divert(const uint8_t *at, const void *target);
/* Points the relative target at `field` to `target`. */
void emit_patch(uint8_t *field, const void *target);
bool emit_reaches(const void *from, const void *target);

/* ---- guest instructions ---- */

/* Its RIP-relative operand, if it has one, is in reach of a copy here. */
bool emit_copy_reaches(const Code *code, const GuestInsn *insn);
void emit_copy(Code *code, const GuestInsn *insn);
/* A copy whose operand is reached through `reg`, RAX or RCX, which it does not use; not where
 * GuestInsn.rip_high is set. */
void emit_copy_by(Code *code, const GuestInsn *insn, unsigned reg);
/* The operand of an indirect branch into RAX. */
void emit_branch_operand(Code *code, const GuestInsn *insn);

#endif
