/*
 * made.c: three encodings that clones of tables need (SDM vol. 2: LEA, MOVSXD, JMP; 2.1.5 for
 * ModRM).
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/made.h"

#include <assert.h>

enum {
    REX_W = 0x48,
    REX_R = 4,
    REX_X = 2,
    REX_B = 1,
    MODRM_SIB = 4, /* rm: a SIB byte follows */
    MOD_DISP8 = 0x40,
    MOD_DISP32 = 0x80,
    DISP_AT = 4,         /* after REX, opcode, ModRM and SIB */
    BASE_NEEDS_DISP = 5, /* rbp and r13 have no form without a displacement */
    NOTRACK = 0x3e,
};

static Insn finish(const uint8_t *bytes, uint8_t size, Vaddr at)
{
    Insn insn;
    bool good = insn_decode((Bytes){ bytes, size }, at, &insn) && insn.size == size;
    assert(good);
    (void)good;
    insn.facts |= INSN_MADE;
    return insn;
}

static uint8_t rex(int8_t reg, int8_t index, int8_t base)
{
    return (uint8_t)(REX_W | (reg >= 8 ? REX_R : 0) | (index >= 8 ? REX_X : 0) |
                     (base >= 8 ? REX_B : 0));
}

/* opcode reg, [base + index * (1 << scale) + 0], the displacement of 4 bytes. */
static Insn with_sib(Vaddr at, uint8_t opcode, int8_t reg, int8_t base, int8_t index,
                     unsigned scale)
{
    assert(index != 4);
    const uint8_t bytes[DISP_AT + 4] = {
        rex(reg, index, base),
        opcode,
        (uint8_t)(MOD_DISP32 | (reg & 7) << 3 | MODRM_SIB),
        (uint8_t)(scale << 6 | (unsigned)(index & 7) << 3 | (unsigned)(base & 7)),
    };
    return finish(bytes, sizeof bytes, at);
}

Insn made_load_offset(Vaddr at, int8_t to, int8_t base, int8_t index, int32_t table)
{
    Insn insn = with_sib(at, 0x63, to, base, index, 2);
    insn.ref = REF_DISP;
    insn.ref_offset = DISP_AT;
    insn.ref_size = 4;
    insn.table = table;
    return insn;
}

Insn made_lea_sum(Vaddr at, int8_t to, int8_t base, int8_t index)
{
    bool disp = (base & 7) == BASE_NEEDS_DISP;
    const uint8_t bytes[DISP_AT + 1] = {
        rex(to, index, base),
        0x8d,
        (uint8_t)((disp ? MOD_DISP8 : 0) | (to & 7) << 3 | MODRM_SIB),
        (uint8_t)((unsigned)(index & 7) << 3 | (unsigned)(base & 7)),
    };
    assert(index != 4);
    return finish(bytes, disp ? DISP_AT + 1 : DISP_AT, at);
}

Insn made_jump_reg(Vaddr at, int8_t reg, bool notrack)
{
    uint8_t bytes[4], size = 0;
    if (notrack)
        bytes[size++] = NOTRACK;
    if (reg >= 8)
        bytes[size++] = 0x40 | REX_B;
    bytes[size++] = 0xff;
    bytes[size++] = (uint8_t)(0xe0 | (reg & 7));
    return finish(bytes, size, at);
}
