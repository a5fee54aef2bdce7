/*
 * values_step.c: what one instruction does to the values, and what a branch says about them.
 *
 * An instruction without a rule here makes unknown values of what it writes: a rule can only be
 * missing, never wrong by omission. Rules follow SDM vol. 1 3.4.1.1 (a 32-bit result is
 * zero-extended, an 8- or 16-bit one leaves the rest).
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/values.h"

enum {
    IDS_PER_INSN = 32,
    ID_CELL = VALUE_REGS, /* + slot */
    ID_COMPARED = ID_CELL + VALUE_CELLS,
    RAX = 0,
    /* psABI 3.2.1: rbx rsp rbp r12..r15 belong to the caller. */
    REGS_OF_CALLEE = 0x0fc7, /* rax rcx rdx rsi rdi r8..r11 */
    REGS_OF_KERNEL = 1 << 0 | 1 << 1 | 1 << 11,
};

static uint32_t id_of(uint32_t index, uint32_t slot)
{
    return 1 + index * IDS_PER_INSN + slot;
}

static unsigned bits_of(const Operand *operand)
{
    return 8u * operand->size;
}

static bool is_reg(const Operand *operand)
{
    return operand->kind == OPERAND_REG;
}

/* --- writing -----------------------------------------------------------------------------------
 */

static void set_copy(ValueState *state, int reg, Value value)
{
    state->regs[reg] = value;
}

static void set_new(ValueState *state, int reg, Value value, uint32_t index)
{
    uint32_t id = id_of(index, (uint32_t)reg);
    values_forget(state, id);
    value.id = value.kind == VALUE_NUM ? id : 0;
    value.width = 64;
    state->regs[reg] = value;
}

/* A copy when it is one; a value without a name gets one. */
static void set_value(ValueState *state, int reg, Value value, uint32_t index)
{
    if (value.kind == VALUE_NUM && value.id == 0)
        set_new(state, reg, value, index);
    else
        set_copy(state, reg, value);
}

static void forget_memory(ValueState *state)
{
    for (int i = 0; i < VALUE_CELLS; i++)
        state->cells[i].used = false;
}

/* The part of a register that an instruction leaves alone still bounds the whole. */
static Value unknown_part(const Value *old, const Operand *operand)
{
    Value value = value_unknown(0);
    if (operand->size == 4)
        value_bound(&value, 64, UINT32_MAX);
    if (operand->size < 4 && !operand->high_byte)
        value_bound(&value, 64, value_max(old, 64) | value_mask(operand->size));
    return value;
}

static void step_unknown(ValueState *state, const ValueInsn *insn, uint32_t index)
{
    const Operand *to = &insn->operands[0];
    for (int reg = 0; reg < VALUE_REGS; reg++) {
        if ((insn->effects.writes >> reg & 1) == 0)
            continue;
        Value value = value_unknown(0);
        if (is_reg(to) && to->reg == reg)
            value = unknown_part(&state->regs[reg], to);
        set_new(state, reg, value, index);
    }
}

static void set_result(ValueState *state, const Operand *to, uint64_t max, uint32_t index)
{
    Value value = unknown_part(&state->regs[to->reg], to);
    value_bound(&value, bits_of(to), max);
    set_new(state, to->reg, value, index);
}

/* --- moves -------------------------------------------------------------------------------------
 */

static void step_mov(ValueState *state, const ValueInsn *insn, uint32_t index)
{
    const Operand *to = &insn->operands[0];
    if (!is_reg(to) || to->size < 4) {
        step_unknown(state, insn, index);
        return;
    }
    set_value(state, to->reg, value_cut(values_read(state, &insn->operands[1]), to->size), index);
}

/* Remembers what a load loaded, so that a comparison with memory and a load agree. */
static void keep_cell(ValueState *state, const ValueInsn *insn, uint32_t index)
{
    const Operand *to = &insn->operands[0];
    const Operand *from = &insn->operands[1];
    ValueCell cell;
    bool moved = insn->op == INSN_OP_MOV || insn->op == INSN_OP_MOVZX;
    if (!moved || from->kind != OPERAND_MEM || !is_reg(to) || to->size < 4)
        return;
    const Value *value = &state->regs[to->reg];
    if (from->mem.base == to->reg || value->kind != VALUE_NUM || value->id == 0 ||
        values_find_cell(state, &from->mem) != NULL || !values_name_cell(state, &from->mem, &cell))
        return;
    cell.value = value_cut(*value, from->mem.size);
    state->cells[index % VALUE_CELLS] = cell;
}

static void step_movzx(ValueState *state, const ValueInsn *insn, uint32_t index)
{
    const Operand *to = &insn->operands[0];
    Value value = value_cut(values_read(state, &insn->operands[1]), insn->operands[1].size);
    if (to->size < 4)
        step_unknown(state, insn, index);
    else
        set_value(state, to->reg, value, index);
}

/* Sign extension of what cannot be negative is zero extension. */
static void extend_sign(ValueState *state, int reg, Value value, unsigned from_size, uint32_t index)
{
    unsigned bits = 8 * from_size;
    if (value.kind == VALUE_ENTRY && from_size == 4) {
        value.kind = VALUE_SIGNED;
        set_copy(state, reg, value);
    } else if (value.kind == VALUE_CONST) {
        uint64_t sign = (uint64_t)1 << (bits - 1);
        set_copy(state, reg, value_const(((value.addr & value_mask(from_size)) ^ sign) - sign));
    } else if (value.kind == VALUE_NUM && value_max(&value, bits) >> (bits - 1) == 0) {
        set_value(state, reg, value, index);
    } else {
        set_new(state, reg, value_unknown(0), index);
    }
}

static void step_movsx(ValueState *state, const ValueInsn *insn, uint32_t index)
{
    const Operand *to = &insn->operands[0];
    const Operand *from = &insn->operands[1];
    if (to->size == 8)
        extend_sign(state, to->reg, value_cut(values_read(state, from), from->size), from->size,
                    index);
    else
        step_unknown(state, insn, index);
}

static void step_cdqe(ValueState *state, uint32_t index)
{
    extend_sign(state, RAX, value_cut(state->regs[RAX], 4), 4, index);
}

/* Either the old value, under the opposite condition, or the new one. */
static void step_cmov(ValueState *state, const ValueInsn *insn, uint32_t index)
{
    const Operand *to = &insn->operands[0];
    uint8_t cond = 0; /* 0F 40+cc, right before modrm */
    for (unsigned i = 0; i + 1 < insn->insn->size; i++)
        if (insn->insn->bytes[i] == 0x0f) {
            cond = insn->insn->bytes[i + 1] & 15;
            break;
        }
    ValueState kept = *state;
    ValueState moved = *state;
    values_refine(&kept, cond, false);
    values_refine(&moved, cond, true);
    Value left = values_read(&kept, to);
    Value right = values_read(&moved, &insn->operands[1]);
    uint64_t max = value_max(&left, bits_of(to));
    uint64_t other = value_max(&right, bits_of(to));
    bool plain = (left.plain || left.kind == VALUE_CONST) &&
                 (right.plain || right.kind == VALUE_CONST) && to->size == 8;
    set_result(state, to, max > other ? max : other, index);
    state->regs[to->reg].plain = plain;
}

/* --- arithmetic --------------------------------------------------------------------------------
 */

/* base + entry, in either order: a target. */
static bool make_target(const Value *left, const Value *right, Value *out)
{
    const Value *base = left->kind == VALUE_CONST ? left : right;
    const Value *entry = left->kind == VALUE_CONST ? right : left;
    if (base->kind != VALUE_CONST || entry->kind != VALUE_SIGNED)
        return false;
    *out = *entry;
    out->kind = VALUE_TARGET;
    out->base = base->addr;
    return true;
}

static void set_sum(ValueState *state, const Operand *to, const Value *left, const Value *right,
                    uint32_t index)
{
    unsigned bits = bits_of(to);
    uint64_t left_max = value_max(left, bits);
    uint64_t right_max = value_max(right, bits);
    Value value;
    if (to->size == 8 && make_target(left, right, &value))
        set_copy(state, to->reg, value);
    else if (left->kind == VALUE_CONST && right->kind == VALUE_CONST && to->size >= 4)
        set_copy(state, to->reg, value_const((left->addr + right->addr) & value_mask(to->size)));
    else if (left_max > value_mask(to->size) / 2 || right_max > value_mask(to->size) / 2)
        set_result(state, to, UINT64_MAX, index);
    else
        set_result(state, to, left_max + right_max, index);
}

static void step_add(ValueState *state, const ValueInsn *insn, uint32_t index)
{
    const Operand *to = &insn->operands[0];
    Value left = values_read(state, to);
    Value right = values_read(state, &insn->operands[1]);
    set_sum(state, to, &left, &right, index);
}

static void step_sub(ValueState *state, const ValueInsn *insn, uint32_t index)
{
    const Operand *to = &insn->operands[0];
    Value left = values_read(state, to);
    Value right = values_read(state, &insn->operands[1]);
    if (left.kind == VALUE_CONST && right.kind == VALUE_CONST && to->size >= 4)
        set_copy(state, to->reg, value_const((left.addr - right.addr) & value_mask(to->size)));
    else
        step_unknown(state, insn, index);
}

static void step_and(ValueState *state, const ValueInsn *insn, uint32_t index)
{
    const Operand *to = &insn->operands[0];
    Value left = values_read(state, to);
    Value right = values_read(state, &insn->operands[1]);
    uint64_t max = value_max(&left, bits_of(to));
    uint64_t other = value_max(&right, bits_of(to));
    set_result(state, to, max < other ? max : other, index);
}

/* Results of scaling know that they are multiples: unscaled addressing may use them. */
static void set_scaled(ValueState *state, const Operand *to, const Value *from, unsigned shift,
                       uint32_t index)
{
    uint64_t max = value_max(from, bits_of(to));
    bool fits = max <= value_mask(to->size) >> shift;
    set_result(state, to, fits ? max << shift : UINT64_MAX, index);
    /* Modulo 2^32 or 2^64, a shifted value is still a multiple. */
    state->regs[to->reg].align = (uint8_t)(shift + (from->kind == VALUE_NUM ? from->align : 0));
}

static void step_shift(ValueState *state, const ValueInsn *insn, uint32_t index)
{
    const Operand *to = &insn->operands[0];
    const Operand *by = &insn->operands[1];
    unsigned count = (unsigned)by->imm & (to->size == 8 ? 63 : 31);
    if (by->kind != OPERAND_IMM || to->size < 4 || count == 0) {
        step_unknown(state, insn, index);
        return;
    }
    Value from = values_read(state, to);
    if (insn->op == INSN_OP_SHL)
        set_scaled(state, to, &from, count, index);
    else
        set_result(state, to, value_max(&from, bits_of(to)) >> count, index);
}

static void step_lea(ValueState *state, const ValueInsn *insn, uint32_t index)
{
    const Operand *to = &insn->operands[0];
    const InsnMem *mem = &insn->operands[1].mem;
    ValueSum sum;
    if (to->size < 4 || mem->segment != 0) {
        step_unknown(state, insn, index);
        return;
    }
    if (mem->base >= 0 && mem->index >= 0 && mem->scale == 1 && mem->disp == 0) {
        set_sum(state, to, &state->regs[mem->base], &state->regs[mem->index], index);
        return;
    }
    if (!values_sum(state, mem, &sum)) {
        step_unknown(state, insn, index);
        return;
    }
    Value known = value_const(sum.known & value_mask(to->size));
    if (sum.number == NULL) {
        set_copy(state, to->reg, known);
    } else if (sum.known == 0) {
        Value number = *sum.number;
        set_scaled(state, to, &number, (unsigned)__builtin_ctz(sum.scale), index);
    } else {
        Value number = *sum.number;
        if (sum.scale == 1)
            set_sum(state, to, &number, &known, index);
        else
            step_unknown(state, insn, index);
    }
}

/* --- comparisons -------------------------------------------------------------------------------
 */

/* A name for the whole of what a comparison looks at. */
static bool name_compared(ValueState *state, const Operand *operand, uint32_t index, uint32_t *id)
{
    Value *value = NULL;
    uint32_t fresh = id_of(index, ID_COMPARED);
    if (is_reg(operand) && !operand->high_byte) {
        value = &state->regs[operand->reg];
    } else if (operand->kind == OPERAND_MEM) {
        const ValueCell *known = values_find_cell(state, &operand->mem);
        ValueCell *cell = &state->cells[known != NULL ? known - state->cells : index % VALUE_CELLS];
        if (known == NULL && !values_name_cell(state, &operand->mem, cell)) {
            cell->used = false;
            return false;
        }
        if (known == NULL)
            cell->value = value_cut(value_unknown(0), operand->size);
        value = &cell->value;
    }
    if (value == NULL || value->kind != VALUE_NUM)
        return false;
    if (value->id == 0 || value->width < bits_of(operand)) {
        values_forget(state, fresh);
        value->id = fresh;
        value->width = operand->kind == OPERAND_MEM ? (uint8_t)bits_of(operand) : 64;
    }
    *id = value->id;
    return true;
}

static bool same_reg(const ValueInsn *insn)
{
    const Operand *left = &insn->operands[0];
    const Operand *right = &insn->operands[1];
    return is_reg(left) && is_reg(right) && left->reg == right->reg && left->size == right->size &&
           left->high_byte == right->high_byte;
}

static void step_compare(ValueState *state, const ValueInsn *insn, uint32_t index)
{
    const Operand *left = &insn->operands[0];
    Value right = values_read(state, &insn->operands[1]);
    ValueFlags flags = { .test = insn->op == INSN_OP_TEST, .bits = (uint8_t)bits_of(left) };
    if (flags.test && same_reg(insn))
        right = value_const(UINT64_MAX);
    flags.imm = right.addr & value_mask(left->size);
    flags.used = right.kind == VALUE_CONST && name_compared(state, left, index, &flags.id);
    state->flags = flags;
}

/* --- steps -------------------------------------------------------------------------------------
 */

static void clobber(ValueState *state, RegSet regs, uint32_t index)
{
    for (int reg = 0; reg < VALUE_REGS; reg++) {
        Value value = value_unknown(0);
        value.plain = true;
        if ((regs >> reg & 1) != 0)
            set_new(state, reg, value, index);
    }
    forget_memory(state);
    state->flags.used = false;
}

static void step_pop(ValueState *state, const ValueInsn *insn, uint32_t index)
{
    const Operand *to = &insn->operands[0];
    step_unknown(state, insn, index);
    if (is_reg(to) && to->size == 8)
        state->regs[to->reg].plain = true;
}

static void step_to_reg(ValueState *state, const ValueInsn *insn, uint32_t index)
{
    switch ((InsnOp)insn->op) {
    case INSN_OP_MOVZX:
        step_movzx(state, insn, index);
        break;
    case INSN_OP_MOVSX:
    case INSN_OP_MOVSXD:
        step_movsx(state, insn, index);
        break;
    case INSN_OP_LEA:
        step_lea(state, insn, index);
        break;
    case INSN_OP_ADD:
        step_add(state, insn, index);
        break;
    case INSN_OP_SUB:
        step_sub(state, insn, index);
        break;
    case INSN_OP_AND:
        step_and(state, insn, index);
        break;
    case INSN_OP_SHL:
    case INSN_OP_SHR:
        step_shift(state, insn, index);
        break;
    case INSN_OP_CMOV:
        step_cmov(state, insn, index);
        break;
    case INSN_OP_MOV:
    case INSN_OP_MOVABS:
        step_mov(state, insn, index);
        break;
    default:
        step_unknown(state, insn, index);
        break;
    }
}

static bool is_zeroing(const ValueInsn *insn)
{
    return (insn->op == INSN_OP_XOR || insn->op == INSN_OP_SUB) && same_reg(insn) &&
           insn->operands[0].size >= 4;
}

static void step_registers(ValueState *state, const ValueInsn *insn, uint32_t index)
{
    const Operand *to = &insn->operands[0];
    if (is_zeroing(insn))
        set_copy(state, to->reg, value_const(0));
    else if (insn->op == INSN_OP_CLTQ)
        step_cdqe(state, index);
    else if (insn->op == INSN_OP_POP)
        step_pop(state, insn, index);
    else if (is_reg(to) && !to->high_byte)
        step_to_reg(state, insn, index);
    else
        step_unknown(state, insn, index);
}

/* Shifts by cl and repeated comparisons may keep the flags, so they only count as reading them;
 * they alone read AF. */
static bool may_write_flags(const InsnEffects *effects)
{
    return effects->flags_written != 0 || (effects->flags_read & FLAG_AF) != 0;
}

void values_step(ValueState *state, const ValueInsn *insn, uint32_t index)
{
    switch ((Flow)insn->insn->flow) {
    case FLOW_CALL:
    case FLOW_CALL_IND:
        clobber(state, REGS_OF_CALLEE, index);
        return;
    case FLOW_SYSCALL:
        clobber(state, REGS_OF_KERNEL, index);
        return;
    default:
        break;
    }
    if (insn->op == INSN_OP_CMP || insn->op == INSN_OP_TEST) {
        step_compare(state, insn, index);
        return;
    }
    step_registers(state, insn, index);
    if (may_write_flags(&insn->effects))
        state->flags.used = false;
    if (insn->effects.writes_mem)
        forget_memory(state);
    else
        keep_cell(state, insn, index);
}
