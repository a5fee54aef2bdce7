/*
 * unwind_rows.c: call frame programs run into rows.
 *
 *     CIE program            → initial row
 *     FDE program  advance 4 → row [start, start + 4)
 *                  advance 1 → row [start + 4, start + 5)   …
 *
 * DW_CFA_GNU_args_size stands outside the state that remember and restore handle: it says what the
 * call in progress pushed, not how to find a register.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/cfa_ops.h"
#include "core/eh_pointer.h"
#include "core/unwind.h"

#include <string.h>

typedef struct Machine {
    Arena *arena;
    const Image *image;
    const UnwindTable *table;
    const Cie *cie;
    const UnwindRow *initial; /* what restore goes back to; NULL while the CIE's program runs */
    uint64_t offset;          /* of the entry, for errors */
    Vaddr loc;
    Vaddr end;
    UnwindRow row;
    UnwindRow *stack;
    size_t depth;
    size_t cap_stack;
    UnwindRows *out; /* NULL: rows are not wanted */
    size_t cap_at;
    size_t cap_rows;
} Machine;

static Place place_of(const Machine *machine)
{
    return image_place(machine->image, vaddr_add(machine->table->addr, machine->offset));
}

static bool rule_equal(const UnwindRule *left, const UnwindRule *right)
{
    return left->kind == right->kind && left->reg == right->reg && left->value == right->value &&
           left->expr.len == right->expr.len &&
           (left->expr.len == 0 || memcmp(left->expr.data, right->expr.data, left->expr.len) == 0);
}

bool unwind_row_equal(const UnwindRow *left, const UnwindRow *right)
{
    for (int reg = 0; reg < UNWIND_REGS; reg++)
        if (!rule_equal(&left->regs[reg], &right->regs[reg]))
            return false;
    return rule_equal(&left->cfa, &right->cfa) && left->args_size == right->args_size &&
           left->regs_beyond == right->regs_beyond;
}

/* Ends the row that holds up to `machine->loc`, exclusive of it. */
static void end_row(Machine *machine, Vaddr from)
{
    UnwindRows *out = machine->out;
    if (out == NULL || from.v >= machine->end.v)
        return;
    if (out->n > 0 && unwind_row_equal(&out->rows[out->n - 1], &machine->row))
        return;
    size_t need = (size_t)out->n + 1;
    out->at = arena_grow(machine->arena, out->at, &machine->cap_at, need, sizeof(Vaddr));
    out->rows = arena_grow(machine->arena, out->rows, &machine->cap_rows, need, sizeof(UnwindRow));
    out->at[out->n] = from;
    out->rows[out->n++] = machine->row;
}

/* SET_LOC's address, for its place in the table. */
static Status resolve_address(const Machine *machine, Cursor cursor, CfaInsn *insn, Error *err)
{
    EhPointer pointer;
    Vaddr base =
        vaddr_add(machine->table->addr, (uint64_t)(cursor.bytes.data - machine->table->bytes.data));
    cursor = cursor_at(cursor.bytes, insn->address);
    TRY(eh_pointer_read(machine->image, &cursor, base, VADDR_NONE, machine->cie->fde_encoding,
                        &pointer, err));
    insn->value = pointer.to.v;
    return ST_OK;
}

static Status read_insn(const Machine *machine, Cursor *cursor, CfaInsn *insn, Error *err)
{
    if (!cfa_insn_read(cursor, machine->cie->fde_encoding, insn))
        return FAIL(err, ST_REFUSED, place_of(machine),
                    "call frame instruction 0x%02x is not known", insn->op);
    if (cursor->bad)
        return FAIL(err, ST_BAD_INPUT, place_of(machine),
                    "call frame instruction 0x%02x runs past the end of its entry", insn->op);
    return insn->op == CFA_SET_LOC ? resolve_address(machine, *cursor, insn, err) : ST_OK;
}

static void set_rule(Machine *machine, uint64_t reg, UnwindRule rule)
{
    if (reg < UNWIND_REGS)
        machine->row.regs[reg] = rule;
    else
        machine->row.regs_beyond = true;
}

static void restore_rule(Machine *machine, uint64_t reg)
{
    UnwindRule none = { .kind = RULE_NONE };
    if (reg < UNWIND_REGS)
        machine->row.regs[reg] = machine->initial != NULL ? machine->initial->regs[reg] : none;
}

static void set_register_rule(Machine *machine, const CfaInsn *insn)
{
    if (insn->value >= UNWIND_REGS)
        machine->row.regs_beyond = true;
    set_rule(machine, insn->reg, (UnwindRule){ .kind = RULE_REG, .value = (int64_t)insn->value });
}

static void set_cfa(Machine *machine, uint64_t reg, uint64_t value)
{
    if (reg >= UNWIND_REGS)
        machine->row.regs_beyond = true;
    machine->row.cfa =
        (UnwindRule){ .kind = RULE_CFA_REG, .reg = (uint16_t)reg, .value = (int64_t)value };
}

/* DWARF5 6.4.2.2: only a CFA that is a register and an offset has either of them to change. */
static Status change_cfa(Machine *machine, bool change_reg, uint64_t value, Error *err)
{
    UnwindRule *cfa = &machine->row.cfa;
    if (cfa->kind != RULE_CFA_REG)
        return FAIL(err, ST_BAD_INPUT, place_of(machine),
                    "changes half of a CFA that is no register and offset");
    set_cfa(machine, change_reg ? value : cfa->reg, change_reg ? (uint64_t)cfa->value : value);
    return ST_OK;
}

static Status advance_to(Machine *machine, uint64_t to, Error *err)
{
    if (to < machine->loc.v)
        return FAIL(err, ST_BAD_INPUT, place_of(machine),
                    "goes back from 0x%" PRIx64 " to 0x%" PRIx64, machine->loc.v, to);
    if (to > machine->loc.v)
        end_row(machine, machine->loc);
    machine->loc = vaddr(to);
    return ST_OK;
}

static Status advance_by(Machine *machine, uint64_t units, Error *err)
{
    uint64_t delta;
    uint64_t to;
    if (__builtin_mul_overflow(units, machine->cie->code_align, &delta) ||
        __builtin_add_overflow(machine->loc.v, delta, &to))
        return FAIL(err, ST_BAD_INPUT, place_of(machine),
                    "advances by %" PRIu64 " units of %" PRIu64 " bytes", units,
                    machine->cie->code_align);
    return advance_to(machine, to, err);
}

static void remember(Machine *machine)
{
    machine->stack = arena_grow(machine->arena, machine->stack, &machine->cap_stack,
                                machine->depth + 1, sizeof(UnwindRow));
    machine->stack[machine->depth++] = machine->row;
}

static Status restore(Machine *machine, Error *err)
{
    if (machine->depth == 0)
        return FAIL(err, ST_BAD_INPUT, place_of(machine), "restores a state never remembered");
    uint64_t args_size = machine->row.args_size;
    machine->row = machine->stack[--machine->depth];
    machine->row.args_size = args_size;
    return ST_OK;
}

/* Instructions that give one register a rule. */
static void run_rule_insn(Machine *machine, const CfaInsn *insn, uint64_t factored)
{
    UnwindRule saved = { .kind = RULE_OFFSET, .value = (int64_t)factored };
    switch (insn->op) {
    case CFA_RESTORE:
    case CFA_RESTORE_EXTENDED:
        restore_rule(machine, insn->reg);
        return;
    case CFA_UNDEFINED:
        set_rule(machine, insn->reg, (UnwindRule){ .kind = RULE_UNDEFINED });
        return;
    case CFA_SAME_VALUE:
        set_rule(machine, insn->reg, (UnwindRule){ .kind = RULE_SAME });
        return;
    case CFA_REGISTER:
        set_register_rule(machine, insn);
        return;
    case CFA_EXPRESSION:
        set_rule(machine, insn->reg, (UnwindRule){ .kind = RULE_EXPR, .expr = insn->expr });
        return;
    case CFA_VAL_EXPRESSION:
        set_rule(machine, insn->reg, (UnwindRule){ .kind = RULE_VAL_EXPR, .expr = insn->expr });
        return;
    case CFA_GNU_NEGATIVE_OFFSET:
        saved.value = (int64_t)-factored;
        break;
    case CFA_VAL_OFFSET:
    case CFA_VAL_OFFSET_SF:
        saved.kind = RULE_VAL_OFFSET;
        break;
    default: /* the three forms of "saved at CFA + offset" */
        break;
    }
    set_rule(machine, insn->reg, saved);
}

static Status run_insn(Machine *machine, const CfaInsn *insn, Error *err)
{
    uint64_t factored = insn->value * (uint64_t)machine->cie->data_align;
    switch (insn->op) {
    case CFA_NOP:
        return ST_OK;
    case CFA_SET_LOC:
        return advance_to(machine, insn->value, err);
    case CFA_ADVANCE_LOC:
    case CFA_ADVANCE_LOC1:
    case CFA_ADVANCE_LOC2:
    case CFA_ADVANCE_LOC4:
        return advance_by(machine, insn->value, err);
    case CFA_REMEMBER_STATE:
        remember(machine);
        return ST_OK;
    case CFA_RESTORE_STATE:
        return restore(machine, err);
    case CFA_DEF_CFA_REGISTER:
        return change_cfa(machine, true, insn->reg, err);
    case CFA_DEF_CFA_OFFSET:
        return change_cfa(machine, false, insn->value, err);
    case CFA_DEF_CFA_OFFSET_SF:
        return change_cfa(machine, false, factored, err);
    case CFA_DEF_CFA:
        set_cfa(machine, insn->reg, insn->value);
        return ST_OK;
    case CFA_DEF_CFA_SF:
        set_cfa(machine, insn->reg, factored);
        return ST_OK;
    case CFA_DEF_CFA_EXPRESSION:
        machine->row.cfa = (UnwindRule){ .kind = RULE_VAL_EXPR, .expr = insn->expr };
        return ST_OK;
    case CFA_GNU_ARGS_SIZE:
        machine->row.args_size = insn->value;
        return ST_OK;
    default:
        run_rule_insn(machine, insn, factored);
        return ST_OK;
    }
}
static Status run_program(Machine *machine, Bytes program, Error *err)
{
    Cursor cursor = cursor_at(program, 0);
    while (cursor.at < program.len) {
        CfaInsn insn;
        TRY(read_insn(machine, &cursor, &insn, err));
        TRY(run_insn(machine, &insn, err));
    }
    return ST_OK;
}

static Status run_initial(Machine *machine, Error *err)
{
    machine->offset = machine->cie->offset;
    TRY(run_program(machine, machine->cie->program, err));
    machine->depth = 0;
    machine->loc = vaddr(0);
    return ST_OK;
}

Status unwind_initial_row(const Image *image, const UnwindTable *table, const Cie *cie,
                          UnwindRow *out, Error *err)
{
    Arena *scratch = arena_new();
    Machine machine = { .arena = scratch, .image = image, .table = table, .cie = cie };
    Status status = run_initial(&machine, err);
    *out = machine.row;
    arena_free(scratch);
    return status;
}

Status unwind_rows(Arena *arena, const Image *image, const UnwindTable *table, const Fde *fde,
                   UnwindRows *out, Error *err)
{
    Machine machine = {
        .arena = arena, .image = image, .table = table, .cie = &table->cies[fde->cie]
    };
    *out = (UnwindRows){ 0 };
    TRY(run_initial(&machine, err));
    UnwindRow initial = machine.row;
    machine.initial = &initial;
    machine.out = out;
    machine.offset = fde->offset;
    machine.loc = fde->start;
    machine.end = vaddr_add(fde->start, fde->size);
    TRY(run_program(&machine, fde->program, err));
    end_row(&machine, machine.loc);
    return ST_OK;
}

uint32_t unwind_row_at(const UnwindRows *rows, Vaddr addr)
{
    uint32_t low = 0;
    uint32_t high = rows->n;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (rows->at[mid].v <= addr.v)
            low = mid + 1;
        else
            high = mid;
    }
    return low > 0 ? low - 1 : rows->n;
}
