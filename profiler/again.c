/*
 * again.c: flags that are lost to a counter and made again by the compare that made them.
 *
 *   cmp rax, 5          the path
 *   jne stub
 *   ...
 *   stub: inc counter   flags are lost here,
 *         cmp rax, 5    and here they are what they were
 *         jmp target
 *
 * Two instructions and a third of the bytes of a counter that spills a register and leaves flags
 * alone. and, or and xor are made again as a test of their result: CF and OF are 0 after all
 * four, and ZF, SF and PF are of the result (SDM vol. 2; AF is undefined, and processors clear it).
 *
 * SPDX-License-Identifier: MIT
 */
#define ZYAN_NO_LIBC 1
#include "profiler/again.h"

#include "profiler/flags.h"

#include <Zydis/Mnemonic.h>

static bool is_compare(const GuestInsn *insn)
{
    return (insn->mnemonic == ZYDIS_MNEMONIC_CMP || insn->mnemonic == ZYDIS_MNEMONIC_TEST) &&
           (insn->shape == SHAPE_RR || insn->shape == SHAPE_RI);
}

/* Its flags are those of a test of its first operand, a whole register. */
static bool is_logic(const GuestInsn *insn)
{
    bool logic = insn->mnemonic == ZYDIS_MNEMONIC_AND || insn->mnemonic == ZYDIS_MNEMONIC_OR ||
                 insn->mnemonic == ZYDIS_MNEMONIC_XOR;
    return logic && insn->bits >= 32 &&
           (insn->shape == SHAPE_RR || insn->shape == SHAPE_RI || insn->shape == SHAPE_RM);
}

static uint16_t registers_of(const GuestInsn *insn)
{
    return is_logic(insn) ? (uint16_t)(1u << insn->a / 8) : insn->regs;
}

/* What a transfer writes. */
static uint16_t moved_by(const GuestInsn *insn)
{
    switch (insn->flow) {
    case FLOW_NEXT:
        return 0;
    case FLOW_COUNT:
        return 1u << R_RCX;
    default:
        return 1u << R_RSP;
    }
}

const GuestInsn *again_find(const Path *path, uint32_t *i, uint32_t *k)
{
    uint16_t written = 0;
    for (uint32_t block = *i + 1; block-- > 0;) {
        const PathBlock *at = &path->block[block];
        for (uint32_t insn_at = at->n; insn_at-- > 0;) {
            const GuestInsn *insn = &at->insn[insn_at];
            if ((insn->flags_out & RFLAGS_ARITH) != 0) {
                bool whole = (insn->flags_out & RFLAGS_ARITH) == RFLAGS_ARITH;
                bool again = whole && (is_compare(insn) || is_logic(insn));
                *i = block;
                *k = insn_at;
                return again && (registers_of(insn) & written) == 0 ? insn : NULL;
            }
            written |= insn->written | moved_by(insn);
        }
    }
    return NULL;
}

Again again_with(const GuestInsn *insn, uint32_t at)
{
    if (is_compare(insn))
        return (Again){ .at = (uint16_t)at, .size = insn->size };
    return (Again){ .tested = (uint8_t)(1 + insn->a / 8 * 2 + (insn->bits == 64 ? 1 : 0)) };
}

void again_emit(Code *code, const uint8_t *start, Again again)
{
    if (again.size != 0)
        emit_bytes(code, start + again.at, again.size);
    else if (again.tested != 0)
        emit_test(code, (again.tested - 1) % 2 != 0, (again.tested - 1u) / 2);
}
