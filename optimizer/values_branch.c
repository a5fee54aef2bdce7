/*
 * values_branch.c: what a branch says about the values that the flags compared.
 *
 *     cmp $20, %edi; ja out     not taken: every register that holds this edi is at most 20
 *     test $-8, %eax; jne out   not taken: eax is at most 7
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/values.h"

static void bound_all(ValueState *state, uint64_t max)
{
    const ValueFlags *flags = &state->flags;
    for (int i = 0; i < VALUE_REGS + VALUE_CELLS; i++) {
        Value *value = i < VALUE_REGS ? &state->regs[i] : &state->cells[i - VALUE_REGS].value;
        if (value->kind == VALUE_NUM && value->id == flags->id)
            value_bound(value, value->width < flags->bits ? value->width : flags->bits, max);
    }
}

/* Below 2^(bits-1) signed comparison is unsigned comparison. */
static bool is_positive(const ValueState *state)
{
    const ValueFlags *flags = &state->flags;
    uint64_t half = (uint64_t)1 << (flags->bits - 1);
    if (flags->imm >= half)
        return false;
    for (int i = 0; i < VALUE_REGS + VALUE_CELLS; i++) {
        const Value *value = i < VALUE_REGS ? &state->regs[i] : &state->cells[i - VALUE_REGS].value;
        bool live = i < VALUE_REGS || state->cells[i - VALUE_REGS].used;
        if (live && value->kind == VALUE_NUM && value->id == flags->id &&
            value->width >= flags->bits && value_max(value, flags->bits) < half)
            return true;
    }
    return false;
}

void values_refine(ValueState *state, uint8_t cond, bool holds)
{
    enum { BELOW = 2, EQUAL = 4, NOT_ABOVE = 6, LESS = 12, NOT_GREATER = 14 };
    const ValueFlags *flags = &state->flags;
    uint8_t cc = holds ? cond : cond ^ 1;
    if (!flags->used)
        return;
    if (flags->test) {
        /* (v & imm) is 0: v fits what imm leaves out, when that is a run of low bits */
        uint64_t rest = ~flags->imm & value_mask(flags->bits / 8);
        if (cc == EQUAL && (rest & (rest + 1)) == 0)
            bound_all(state, rest);
        return;
    }
    if ((cc == LESS || cc == NOT_GREATER) && is_positive(state))
        cc = cc == LESS ? BELOW : NOT_ABOVE;
    if (cc == EQUAL || cc == NOT_ABOVE)
        bound_all(state, flags->imm);
    if (cc == BELOW && flags->imm > 0)
        bound_all(state, flags->imm - 1);
}
