/*
 * forms.c: which handler an instruction gets, by the table of rows.
 *
 * SPDX-License-Identifier: MIT
 */
#define ZYAN_NO_LIBC 1
#include "profiler/forms.h"

#include "profiler/flow.h"
#include "profiler/gs.h"

#include <Zydis/Mnemonic.h>

#define AS_ROW(form, mnemonic, shape, bits, handlers, source, proof)                               \
    { #form, ZYDIS_MNEMONIC_##mnemonic, SHAPE_##shape, bits, handlers, source, proof },
const Row interp_rows[ROW_COUNT] = { INTERP_ROWS(AS_ROW) };

enum { MNEMONICS = ZYDIS_MNEMONIC_MAX_VALUE + 1 };

/* Rows of one mnemonic are chained; entries are 1 + the row, 0 ends. */
static uint16_t first_row[MNEMONICS];
static uint16_t next_row[ROW_COUNT];

void forms_init(void)
{
    for (uint16_t i = ROW_COUNT; i-- > 0;) {
        next_row[i] = first_row[interp_rows[i].mnemonic];
        first_row[interp_rows[i].mnemonic] = i + 1;
    }
}

int form_size_index(unsigned bits)
{
    return bits == 8 ? 0 : bits == 16 ? 1 : bits == 32 ? 2 : bits == 64 ? 3 : -1;
}

bool form_has_long_immediate(unsigned shape)
{
    return shape == SHAPE_MI || shape == SHAPE_RMI;
}

bool form_is_shift(const GuestInsn *insn)
{
    return insn->mnemonic == ZYDIS_MNEMONIC_SHL || insn->mnemonic == ZYDIS_MNEMONIC_SHR ||
           insn->mnemonic == ZYDIS_MNEMONIC_SAR || insn->mnemonic == ZYDIS_MNEMONIC_ROL ||
           insn->mnemonic == ZYDIS_MNEMONIC_ROR;
}

/* Immediates as handlers take them: shift counts masked; others must fit 32 bits, signed. */
bool form_immediate_serves(const GuestInsn *insn)
{
    if (form_is_shift(insn) && insn->shape == SHAPE_RI) {
        unsigned count = insn->imm & (insn->bits == 64 ? 63 : 31);
        return count >= 1 && count < insn->bits;
    }
    return form_has_long_immediate(insn->shape) ||
           insn->imm == (uint64_t)(int64_t)(int32_t)insn->imm;
}

static Handler *row_handler(const Row *row, const GuestInsn *insn)
{
    if (row->shape == SHAPE_NONE || row->shape == SHAPE_I)
        return row->handlers[0];
    int size = form_size_index(row->to_bits != 0 ? insn->source_bits : insn->bits);
    if (size < 0 || (row->to_bits != 0 && row->to_bits != insn->bits))
        return NULL;
    if (!form_has_memory(row->shape))
        return row->handlers[size];
    if (!insn->mem.usable || (row->mnemonic == ZYDIS_MNEMONIC_LEA && insn->mem.mode == MODE_FS))
        return NULL;
    return row->handlers[size * MODE_COUNT + (int)insn->mem.mode];
}

static bool is_zeroing(const GuestInsn *insn)
{
    return insn->mnemonic == ZYDIS_MNEMONIC_XOR && insn->shape == SHAPE_RR && insn->a == insn->b &&
           insn->bits >= 32;
}

Handler *form_special(const GuestInsn *insn)
{
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_NOP:
    case ZYDIS_MNEMONIC_ENDBR64:
    case ZYDIS_MNEMONIC_ENDBR32:
        return h_nop;
    case ZYDIS_MNEMONIC_PUSHFQ:
        return h_pushf;
    case ZYDIS_MNEMONIC_POPFQ:
        return h_popf;
    case ZYDIS_MNEMONIC_CLD:
        return h_cld;
    case ZYDIS_MNEMONIC_STD:
        return h_std;
    case ZYDIS_MNEMONIC_CPUID:
        return h_cpuid;
    case ZYDIS_MNEMONIC_RDGSBASE:
    case ZYDIS_MNEMONIC_WRGSBASE:
        return gs_base_handler(insn);
    default:
        if (is_zeroing(insn))
            return insn->bits == 64 ? h_zero_64 : h_zero_32;
        return NULL;
    }
}

Handler *form_handler(const GuestInsn *insn, unsigned *slots)
{
    *slots = 1;
    Handler *special = form_special(insn);
    if (special != NULL || insn->shape == SHAPE_COUNT)
        return special;
    if (insn->mnemonic == ZYDIS_MNEMONIC_MOV && insn->shape == SHAPE_RI &&
        !form_immediate_serves(insn)) {
        *slots = 2;
        return h_mov_long;
    }
    if (!form_immediate_serves(insn))
        return NULL;
    for (unsigned i = first_row[insn->mnemonic]; i != 0; i = next_row[i - 1]) {
        const Row *row = &interp_rows[i - 1];
        if (row->shape != insn->shape)
            continue;
        Handler *handler = row_handler(row, insn);
        if (handler == NULL)
            continue;
        bool absolute = form_has_memory(row->shape) && insn->mem.mode == MODE_ABSOLUTE;
        *slots = absolute || form_has_long_immediate(row->shape) ? 2 : 1;
        return handler;
    }
    return NULL;
}
