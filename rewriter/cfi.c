/*
 * cfi.c: the shortest call frame instructions from one row to the next.
 *
 *     rsp+8            def_cfa_offset 16
 *     rsp+16 rbp=c-16  offset rbp, 2                 one instruction for each rule that differs
 *     rbp+16 rbp=c-16  def_cfa_register rbp
 *
 * Restore is the only way back to a register of which nothing was said, and is used for nothing
 * else: by the standard it brings back the CIE's rule, but libgcc forgets the register altogether,
 * so a return address "restored" to CFA-8 is lost to it. Remember and restore state are not used: a
 * block that follows an epilogue differs from it in the CFA's offset alone, three bytes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "rewriter/cfi.h"
#include "core/cfa_ops.h"

#include <string.h>

void cfi_put_advance(Buffer *out, uint64_t delta)
{
    for (; delta > UINT32_MAX; delta -= UINT32_MAX) {
        buffer_u8(out, CFA_ADVANCE_LOC4);
        buffer_u32(out, UINT32_MAX);
    }
    if (delta == 0)
        return;
    if (delta <= CFA_LOW_MASK) {
        buffer_u8(out, (uint8_t)(CFA_ADVANCE_LOC | delta));
    } else if (delta <= UINT8_MAX) {
        buffer_u8(out, CFA_ADVANCE_LOC1);
        buffer_u8(out, (uint8_t)delta);
    } else if (delta <= UINT16_MAX) {
        buffer_u8(out, CFA_ADVANCE_LOC2);
        buffer_u16(out, (uint16_t)delta);
    } else {
        buffer_u8(out, CFA_ADVANCE_LOC4);
        buffer_u32(out, (uint32_t)delta);
    }
}

static void put_op_reg(Buffer *out, uint8_t op, uint64_t reg)
{
    buffer_u8(out, op);
    buffer_uleb(out, reg);
}

static void put_expression(Buffer *out, Bytes expr)
{
    buffer_uleb(out, expr.len);
    buffer_put(out, expr.data, expr.len);
}

static bool rule_equal(const UnwindRule *left, const UnwindRule *right)
{
    return left->kind == right->kind && left->reg == right->reg && left->value == right->value &&
           left->expr.len == right->expr.len &&
           (left->expr.len == 0 || memcmp(left->expr.data, right->expr.data, left->expr.len) == 0);
}

/* value / data_align when that is whole. */
static bool factor(const Cie *cie, int64_t value, int64_t *out)
{
    if (cie->data_align == 0 || (cie->data_align == -1 && value == INT64_MIN) ||
        value % cie->data_align != 0)
        return false;
    *out = value / cie->data_align;
    return true;
}

/* DWARF5 6.4.2.2: the plain forms take unsigned bytes, the _sf forms signed factored ones. */
static bool put_cfa(Buffer *out, const Cie *cie, const UnwindRule *from, const UnwindRule *to)
{
    bool same_reg = from->kind == RULE_CFA_REG && from->reg == to->reg;
    bool same_value = from->kind == RULE_CFA_REG && from->value == to->value;
    int64_t factored;
    if (to->kind == RULE_VAL_EXPR) {
        buffer_u8(out, CFA_DEF_CFA_EXPRESSION);
        put_expression(out, to->expr);
        return true;
    }
    if (to->kind != RULE_CFA_REG || to->reg >= UNWIND_REGS)
        return false;
    if (same_value) {
        put_op_reg(out, CFA_DEF_CFA_REGISTER, to->reg);
        return true;
    }
    if (to->value >= 0) {
        if (same_reg)
            buffer_u8(out, CFA_DEF_CFA_OFFSET);
        else
            put_op_reg(out, CFA_DEF_CFA, to->reg);
        buffer_uleb(out, (uint64_t)to->value);
        return true;
    }
    if (!factor(cie, to->value, &factored))
        return false;
    if (same_reg)
        buffer_u8(out, CFA_DEF_CFA_OFFSET_SF);
    else
        put_op_reg(out, CFA_DEF_CFA_SF, to->reg);
    buffer_sleb(out, factored);
    return true;
}

static bool put_offset(Buffer *out, const Cie *cie, uint8_t reg, const UnwindRule *to)
{
    bool is_value = to->kind == RULE_VAL_OFFSET;
    int64_t factored;
    if (!factor(cie, to->value, &factored))
        return false;
    if (factored < 0) {
        put_op_reg(out, is_value ? CFA_VAL_OFFSET_SF : CFA_OFFSET_EXTENDED_SF, reg);
        buffer_sleb(out, factored);
        return true;
    }
    if (is_value)
        put_op_reg(out, CFA_VAL_OFFSET, reg);
    else
        buffer_u8(out, (uint8_t)(CFA_OFFSET | reg));
    buffer_uleb(out, (uint64_t)factored);
    return true;
}

static bool put_rule(Buffer *out, const CfiContext *context, uint8_t reg, const UnwindRule *to)
{
    switch (to->kind) {
    case RULE_NONE:
        buffer_u8(out, (uint8_t)(CFA_RESTORE | reg));
        return context->initial.regs[reg].kind == RULE_NONE;
    case RULE_UNDEFINED:
        put_op_reg(out, CFA_UNDEFINED, reg);
        return true;
    case RULE_SAME:
        put_op_reg(out, CFA_SAME_VALUE, reg);
        return true;
    case RULE_OFFSET:
    case RULE_VAL_OFFSET:
        return put_offset(out, context->cie, reg, to);
    case RULE_REG:
        put_op_reg(out, CFA_REGISTER, reg);
        buffer_uleb(out, (uint64_t)to->value);
        return to->value >= 0 && to->value < UNWIND_REGS;
    default:
        put_op_reg(out, to->kind == RULE_EXPR ? CFA_EXPRESSION : CFA_VAL_EXPRESSION, reg);
        put_expression(out, to->expr);
        return true;
    }
}

bool cfi_put_change(Buffer *out, const CfiContext *context, const UnwindRow *from,
                    const UnwindRow *to)
{
    if (to->regs_beyond)
        return false;
    if (!rule_equal(&from->cfa, &to->cfa) && !put_cfa(out, context->cie, &from->cfa, &to->cfa))
        return false;
    for (uint8_t reg = 0; reg < UNWIND_REGS; reg++)
        if (!rule_equal(&from->regs[reg], &to->regs[reg]) &&
            !put_rule(out, context, reg, &to->regs[reg]))
            return false;
    if (from->args_size != to->args_size) {
        buffer_u8(out, CFA_GNU_ARGS_SIZE);
        buffer_uleb(out, to->args_size);
    }
    return true;
}

bool cfi_put_rows(Buffer *out, const CfiContext *context, const UnwindRows *rows)
{
    const UnwindRow *now = &context->initial;
    for (uint32_t i = 0; i < rows->n; i++) {
        if (i > 0)
            cfi_put_advance(out, rows->at[i].v - rows->at[i - 1].v);
        if (!cfi_put_change(out, context, now, &rows->rows[i]))
            return false;
        now = &rows->rows[i];
    }
    return true;
}
