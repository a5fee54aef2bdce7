/*
 * values_lattice.c: single values, and the join of two states.
 *
 * An id stands for the value that its place made last. When the place makes another one, older
 * holders of the id become equal to nothing (id 0); so two registers with one id are always equal,
 * in loops too.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/values.h"

#include <string.h>

static uint64_t low_mask(unsigned bits)
{
    return bits >= 64 ? UINT64_MAX : ((uint64_t)1 << bits) - 1;
}

Value value_unknown(uint32_t id)
{
    return (Value){ .kind = VALUE_NUM,
                    .width = 64,
                    .id = id,
                    .max8 = UINT8_MAX,
                    .max16 = UINT16_MAX,
                    .max32 = UINT32_MAX,
                    .max64 = UINT64_MAX };
}

Value value_const(uint64_t addr)
{
    return (Value){ .kind = VALUE_CONST, .width = 64, .addr = addr };
}

uint64_t value_max(const Value *value, unsigned bits)
{
    if (value->kind == VALUE_CONST)
        return value->addr & low_mask(bits);
    if (value->kind == VALUE_ENTRY && value->entry_size == 4 && bits == 64)
        return UINT32_MAX;
    if (value->kind != VALUE_NUM)
        return low_mask(bits);
    switch (bits) {
    case 8:
        return value->max8;
    case 16:
        return value->max16;
    case 32:
        return value->max32;
    default:
        return value->max64;
    }
}

static void lower(Value *value, unsigned bits, uint64_t max)
{
    if (bits == 8 && max < value->max8)
        value->max8 = (uint8_t)max;
    if (bits == 16 && max < value->max16)
        value->max16 = (uint16_t)max;
    if (bits == 32 && max < value->max32)
        value->max32 = (uint32_t)max;
    if (bits == 64 && max < value->max64)
        value->max64 = max;
}

/* When a wide part is known to fit a narrow one, both have the smaller bound. */
static void spread(Value *value, unsigned wide, unsigned narrow)
{
    uint64_t wide_max = value_max(value, wide);
    if (wide_max > low_mask(narrow))
        return;
    lower(value, narrow, wide_max);
    lower(value, wide, value_max(value, narrow));
}

void value_bound(Value *value, unsigned bits, uint64_t max)
{
    static const uint8_t widths[4] = { 8, 16, 32, 64 };
    if (value->kind != VALUE_NUM)
        return;
    lower(value, bits, max);
    for (int round = 0; round < 2; round++)
        for (int wide = 3; wide > 0; wide--)
            for (int narrow = wide - 1; narrow >= 0; narrow--)
                spread(value, widths[wide], widths[narrow]);
}

void values_forget(ValueState *state, uint32_t id)
{
    for (int i = 0; i < VALUE_REGS; i++)
        if (state->regs[i].id == id)
            state->regs[i].id = 0;
    for (int i = 0; i < VALUE_CELLS; i++) {
        ValueCell *cell = &state->cells[i];
        if (cell->value.id == id)
            cell->value.id = 0;
        if (cell->base_id == id)
            cell->used = false;
    }
    if (state->flags.id == id)
        state->flags.used = false;
}

static bool same_table(const Value *left, const Value *right)
{
    return left->kind == right->kind && left->kind >= VALUE_ENTRY && left->addr == right->addr &&
           left->base == right->base && left->entry_size == right->entry_size;
}

/* A constant seen as a bounded number. */
static Value as_number(const Value *value)
{
    Value number = value_unknown(0);
    if (value->kind == VALUE_NUM)
        return *value;
    if (value->kind == VALUE_CONST) {
        static const uint8_t widths[4] = { 8, 16, 32, 64 };
        for (int i = 0; i < 4; i++)
            value_bound(&number, widths[i], value_max(value, widths[i]));
        number.plain = true;
    }
    if (value->kind == VALUE_ENTRY) {
        number.plain = value->entry_size == 8;
        value_bound(&number, 64, value_max(value, 64));
    }
    return number;
}

static Value join_numbers(const Value *left, const Value *right, uint32_t phi)
{
    Value out = as_number(left);
    Value other = as_number(right);
    if (out.id == 0 || out.id != other.id || out.width != other.width) {
        out.id = phi;
        out.width = 64;
    }
    out.plain = out.plain && other.plain;
    out.align = out.align < other.align ? out.align : other.align;
    out.max8 = out.max8 > other.max8 ? out.max8 : other.max8;
    out.max16 = out.max16 > other.max16 ? out.max16 : other.max16;
    out.max32 = out.max32 > other.max32 ? out.max32 : other.max32;
    out.max64 = out.max64 > other.max64 ? out.max64 : other.max64;
    return out;
}

static Value join_values(const Value *left, const Value *right, uint32_t phi)
{
    Value out = *left;
    if (left->kind == VALUE_CONST && right->kind == VALUE_CONST && left->addr == right->addr)
        return out;
    if (!same_table(left, right))
        return join_numbers(left, right, phi);
    if (left->n == 0 || right->n == 0)
        out.n = 0;
    else
        out.n = left->n > right->n ? left->n : right->n;
    return out;
}

static bool same_value(const Value *left, const Value *right)
{
    return left->kind == right->kind && left->width == right->width &&
           left->align == right->align && left->entry_size == right->entry_size &&
           left->plain == right->plain && left->max8 == right->max8 &&
           left->max16 == right->max16 && left->max32 == right->max32 && left->id == right->id &&
           left->n == right->n && left->max64 == right->max64 && left->addr == right->addr &&
           left->base == right->base;
}

static void give_up_growth(Value *joined, const Value *before)
{
    if (joined->kind == VALUE_NUM && before->kind == VALUE_NUM) {
        if (joined->max8 > before->max8)
            joined->max8 = UINT8_MAX;
        if (joined->max16 > before->max16)
            joined->max16 = UINT16_MAX;
        if (joined->max32 > before->max32)
            joined->max32 = UINT32_MAX;
        if (joined->max64 > before->max64)
            joined->max64 = joined->max64 <= UINT32_MAX ? UINT32_MAX : UINT64_MAX;
    } else if (joined->n > before->n) {
        joined->n = 0;
    }
}

static bool join_into(Value *into, const Value *from, uint32_t phi, bool widen)
{
    Value joined = join_values(into, from, phi);
    if (widen)
        give_up_growth(&joined, into);
    bool changed = !same_value(&joined, into);
    *into = joined;
    return changed;
}

static bool same_flags(const ValueFlags *left, const ValueFlags *right)
{
    return left->used && right->used && left->test == right->test && left->bits == right->bits &&
           left->id == right->id && left->imm == right->imm;
}

static const ValueCell *find_cell(const ValueState *state, const ValueCell *like)
{
    for (int i = 0; i < VALUE_CELLS; i++) {
        const ValueCell *cell = &state->cells[i];
        if (cell->used && cell->size == like->size && cell->base_id == like->base_id &&
            cell->disp == like->disp)
            return cell;
    }
    return NULL;
}

bool values_equal(const ValueState *left, const ValueState *right)
{
    for (int i = 0; i < VALUE_REGS; i++)
        if (!same_value(&left->regs[i], &right->regs[i]))
            return false;
    for (int i = 0; i < VALUE_CELLS; i++) {
        const ValueCell *cell = &left->cells[i];
        const ValueCell *other = &right->cells[i];
        if (cell->used != other->used)
            return false;
        if (cell->used && (cell->base_id != other->base_id || cell->disp != other->disp ||
                           cell->size != other->size || !same_value(&cell->value, &other->value)))
            return false;
    }
    return left->flags.used == right->flags.used &&
           (!left->flags.used || same_flags(&left->flags, &right->flags));
}

/* A copy of `from` in which nothing is called by an id that this join may give. */
static ValueState without_phis(const ValueState *from, uint32_t phi)
{
    ValueState state = *from;
    for (uint32_t i = 0; i < VALUE_REGS + VALUE_CELLS; i++)
        values_forget(&state, phi + i);
    return state;
}

bool values_join(ValueState *into, const ValueState *from, uint32_t phi, bool widen)
{
    ValueState other = without_phis(from, phi);
    bool changed = false;
    for (uint32_t i = 0; i < VALUE_REGS; i++)
        changed |= join_into(&into->regs[i], &other.regs[i], phi + i, widen);
    for (uint32_t i = 0; i < VALUE_CELLS; i++) {
        ValueCell *cell = &into->cells[i];
        const ValueCell *twin = cell->used ? find_cell(&other, cell) : NULL;
        if (cell->used && twin == NULL) {
            cell->used = false;
            changed = true;
        } else if (cell->used) {
            changed |= join_into(&cell->value, &twin->value, phi + VALUE_REGS + i, widen);
        }
    }
    if (into->flags.used && !same_flags(&into->flags, &other.flags)) {
        into->flags.used = false;
        changed = true;
    }
    return changed;
}
