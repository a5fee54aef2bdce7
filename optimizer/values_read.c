/*
 * values_read.c: what an operand holds before an instruction: registers, entries of tables, words
 * of memory that were looked at before.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/values.h"

uint64_t value_mask(unsigned size)
{
    return size >= 8 ? UINT64_MAX : ((uint64_t)1 << (8 * size)) - 1;
}

/* The low `size` bytes of a value, zero-extended. */
Value value_cut(Value value, unsigned size)
{
    if (size >= 8)
        return value;
    if (value.kind == VALUE_CONST)
        return value_const(value.addr & value_mask(size));
    if (value.kind == VALUE_ENTRY && value.entry_size == 4 && size == 4)
        return value;
    if (value.kind != VALUE_NUM)
        value = value_unknown(0);
    if (value.width > 8 * size)
        value.width = (uint8_t)(8 * size);
    value.plain = false;
    value_bound(&value, 64, value_max(&value, 8 * size));
    return value;
}

static bool add_part(ValueSum *sum, const Value *value, unsigned scale)
{
    if (value->kind == VALUE_CONST) {
        sum->known += value->addr * scale;
        sum->based = true;
        return true;
    }
    if (value->kind != VALUE_NUM || sum->number != NULL)
        return false;
    sum->number = value;
    sum->scale = scale;
    return true;
}

/* The address as a constant plus at most one scaled number. */
bool values_sum(const ValueState *state, const InsnMem *mem, ValueSum *sum)
{
    *sum = (ValueSum){ .known = (uint64_t)mem->disp, .based = mem->base < 0, .scale = 1 };
    if (mem->segment != 0)
        return false;
    if (mem->base >= 0 && !add_part(sum, &state->regs[mem->base], 1))
        return false;
    return mem->index < 0 || add_part(sum, &state->regs[mem->index], mem->scale);
}

/* An entry of a table: constant + number, stepping by the size of the entry. */
static bool read_entry(const ValueState *state, const InsnMem *mem, Value *out)
{
    ValueSum sum;
    if ((mem->size != 4 && mem->size != 8) || !values_sum(state, mem, &sum) || sum.number == NULL)
        return false;
    unsigned align = sum.number->align;
    bool scaled = sum.based || align > 0;
    if (!scaled || align > 3 || sum.scale << align != mem->size)
        return false;
    uint64_t last = value_max(sum.number, 64) >> align;
    *out = (Value){ .kind = VALUE_ENTRY,
                    .width = 64,
                    .entry_size = mem->size,
                    .addr = sum.known,
                    .n = last < VALUE_ENTRIES_MAX ? (uint32_t)last + 1 : 0 };
    return true;
}

/* How a word of memory is known again: false when it cannot be. */
bool values_name_cell(const ValueState *state, const InsnMem *mem, ValueCell *out)
{
    *out = (ValueCell){ .used = true, .size = mem->size, .disp = mem->disp };
    if (mem->segment != 0 || mem->index >= 0 || mem->size == 0 || mem->size > 8)
        return false;
    if (mem->base < 0)
        return true;
    const Value *base = &state->regs[mem->base];
    if (base->kind == VALUE_CONST) {
        out->disp += (int64_t)base->addr;
        return true;
    }
    out->base_id = base->id;
    return base->kind == VALUE_NUM && base->id != 0 && base->width == 64;
}

const ValueCell *values_find_cell(const ValueState *state, const InsnMem *mem)
{
    ValueCell name;
    if (!values_name_cell(state, mem, &name))
        return NULL;
    for (int i = 0; i < VALUE_CELLS; i++) {
        const ValueCell *cell = &state->cells[i];
        if (cell->used && cell->size == name.size && cell->base_id == name.base_id &&
            cell->disp == name.disp)
            return cell;
    }
    return NULL;
}

static Value read_memory(const ValueState *state, const InsnMem *mem)
{
    Value value;
    if (read_entry(state, mem, &value))
        return value;
    const ValueCell *cell = values_find_cell(state, mem);
    value = cell != NULL ? cell->value : value_unknown(0);
    value = value_cut(value, mem->size);
    value.plain = mem->size == 8;
    return value;
}

Value values_read(const ValueState *state, const Operand *operand)
{
    switch (operand->kind) {
    case OPERAND_REG:
        if (!operand->high_byte)
            return value_cut(state->regs[operand->reg], operand->size);
        return value_cut(value_unknown(0), 1);
    case OPERAND_MEM:
        return read_memory(state, &operand->mem);
    case OPERAND_IMM:
        return value_const((uint64_t)operand->imm);
    default:
        return value_unknown(0);
    }
}
