/*
 * fused.c: which record a compare and the conditional jump behind it share.
 *
 * SPDX-License-Identifier: MIT
 */
#define ZYAN_NO_LIBC 1
#include "profiler/fused.h"

#include "profiler/flow.h"
#include "profiler/forms.h"

#include <Zydis/Mnemonic.h>

static Handler *fused_reg(const GuestInsn *insn, unsigned cc, int size)
{
    bool test = insn->mnemonic == ZYDIS_MNEMONIC_TEST;
    if (insn->shape == SHAPE_RR)
        return h_fused_reg[test ? FUSED_TEST_RR : FUSED_CMP_RR][cc][size];
    return h_fused_reg[test ? FUSED_TEST_RI : FUSED_CMP_RI][cc][size];
}

static Handler *fused_mem(const GuestInsn *insn, unsigned cc, int size)
{
    bool test = insn->mnemonic == ZYDIS_MNEMONIC_TEST;
    int at = size * MODE_COUNT + (int)insn->mem.mode;
    if (!insn->mem.usable || (test && insn->shape != SHAPE_MI))
        return NULL;
    if (insn->shape == SHAPE_RM)
        return h_fused_mem[FUSED_CMP_RM][cc][at];
    if (insn->shape == SHAPE_MR)
        return h_fused_mem[FUSED_CMP_MR][cc][at];
    return h_fused_mem[test ? FUSED_TEST_MI : FUSED_CMP_MI][cc][at];
}

Handler *fused_handler(const GuestInsn *insn, const GuestInsn *jump)
{
    int size = form_size_index(insn->bits);
    if ((insn->mnemonic != ZYDIS_MNEMONIC_CMP && insn->mnemonic != ZYDIS_MNEMONIC_TEST) ||
        jump->flow != FLOW_COND || size < 0 || !form_immediate_serves(insn))
        return NULL;
    switch (insn->shape) {
    case SHAPE_RR:
    case SHAPE_RI:
        return fused_reg(insn, jump->cc, size);
    case SHAPE_RM:
    case SHAPE_MR:
    case SHAPE_MI:
        return fused_mem(insn, jump->cc, size);
    default:
        return NULL;
    }
}
