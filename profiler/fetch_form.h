/*
 * fetch_form.h: the decoder of forms itself, inlined where instructions are decoded at each
 * execution (step.c) and where they are decoded once (fetch.c).
 *
 *     prefixes  [REX]  opcode  [ModRM [SIB] [displacement]]  [immediate]
 *        │        │      │        │
 *        └────────┴──┐   │        └─ reg field
 *                    ▼   ▼        ▼
 *      cells[operand size][map + opcode][ModRM.reg] ──► routines, where operands are, immediate
 *
 * An instruction costs one look into one table. Its bytes are in registers, which are shifted as
 * they are taken: read from memory behind two stores, a displacement across both would wait for
 * them. Lengths are chosen by branches, not by arithmetic: the next fetch then waits for a guess
 * and not for this decoding.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_FETCH_FORM_H
#define RESPIN_PROFILER_FETCH_FORM_H

#include "profiler/fetch.h"

/* What there is of an encoding before its operands are read. */
typedef struct Cell {
    uint16_t reg; /* routine where the operand is a register; NO_ROUTINE: none */
    uint16_t mem; /* where it is memory, of MODE_BASE; those of the other modes follow */
    uint8_t imm;  /* bytes of the immediate */
    uint8_t flow; /* InsnFlow */
    uint8_t is;   /* CellBits */
    uint8_t bits; /* of operand 0 */
} Cell;

enum CellBits {
    CELL_MODRM = 1,        /* ModRM follows */
    CELL_REG_FIRST = 2,    /* its reg field is operand 0 */
    CELL_IN_OPCODE = 4,    /* the opcode's low bits are the register; without this and ModRM: RAX */
    CELL_BYTE_REG = 8,     /* the reg field names a byte register */
    CELL_BYTE_RM = 16,     /* so does the rm field, or the opcode */
    CELL_COUNT_CHECK = 32, /* the immediate is a shift count */
    CELL_ONE = 64,         /* the immediate is 1, and not there */
    CELL_ODD = 128,        /* fetch_odd knows more */
};

enum { CELL_SIZES = 3, CELL_OPCODES = 512, CELL_REGS = 8, REGISTER_FORM = 0xc0, SHORT_MAX = 8 };

extern Cell fetch_cells[CELL_SIZES][CELL_OPCODES][CELL_REGS];

enum PrefixBits {
    REX_B = 1,
    REX_X = 2,
    REX_R = 4,
    REX_W = 8,
    REX = 0x40,
    HAS_66 = 1,
    HAS_67 = 2,
    HAS_FS = 4,
    HAS_OTHER_SEGMENT = 8,
    HAS_F2 = 16,
    HAS_F3 = 32,
    HAS_GS = 128,
};

extern const uint8_t fetch_prefix_bits[256];
/* The offset into Cpu of a register; without REX, byte registers 4 to 7 are second bytes. */
extern const uint8_t fetch_register_at[2][16];

/* An encoding, read. Registers are offsets into Cpu. */
typedef struct Form {
    const Cell *cell;
    int64_t disp; /* of a RIP-relative operand: to be added to the next instruction's address */
    uint64_t imm; /* sign-extended */
    uint8_t a, b; /* where the routine has register operands */
    uint8_t base, index, scale;
    uint8_t prefixes, rex; /* PrefixBits; the REX byte */
    uint8_t modrm, modrm_at;
    bool memory, rip;
    unsigned size;
} Form;

/* What is made of a form that has a routine; what fetch_form returns. */
typedef unsigned FormTaker(const Form *f, unsigned routine, void *to);

/* The routine that prefixes, or conditions that no cell can state, leave of `routine`. */
unsigned fetch_odd(const Cell *cell, unsigned routine, uint8_t prefixes, uint8_t rex, uint8_t modrm,
                   bool rip);
/* The same for second-byte registers among the operands, which no routine can write. */
unsigned fetch_high(unsigned routine, uint8_t a, uint8_t b);

#define FETCH_INLINE static inline __attribute__((always_inline))
#define FETCH_RARELY(x) __builtin_expect(!!(x), 0)

/* Which encodings are known: those of no prefix but REX and of 8 bytes at most, which are nearly
 * all and need one register, or all. A constant wherever it is used. */
typedef enum FetchReach { FETCH_SHORT, FETCH_WHOLE } FetchReach;

/* The bytes that were not taken yet; `high` only of the whole. */
typedef struct FetchBytes {
    FetchReach reach;
    uint64_t low, high;
} FetchBytes;

FETCH_INLINE void fetch_drop(FetchBytes *rest, unsigned n)
{
    rest->low >>= 8 * n;
    if (rest->reach == FETCH_WHOLE) {
        rest->low |= rest->high << (64 - 8 * n);
        rest->high >>= 8 * n;
    }
}

FETCH_INLINE int64_t fetch_take_8(Form *f, FetchBytes *rest)
{
    int64_t value = (int8_t)rest->low;
    fetch_drop(rest, 1);
    f->size += 1;
    return value;
}

FETCH_INLINE int64_t fetch_take_32(Form *f, FetchBytes *rest)
{
    int64_t value = (int32_t)rest->low;
    fetch_drop(rest, 4);
    f->size += 4;
    return value;
}

FETCH_INLINE void fetch_sib(Form *f, FetchBytes *rest, unsigned mod)
{
    enum { NO_INDEX = 4, NO_BASE = 5 };
    unsigned sib = (unsigned)fetch_take_8(f, rest) & 0xff;
    unsigned index = (sib >> 3 & 7) | (f->rex & REX_X) << 2;
    if (index != NO_INDEX) {
        f->index = (uint8_t)(index * 8);
        f->scale = (uint8_t)(1u << (sib >> 6));
    }
    if ((sib & 7) != NO_BASE || mod != 0)
        f->base = (uint8_t)(((sib & 7) | (f->rex & REX_B) << 3) * 8);
    else
        f->disp = fetch_take_32(f, rest);
}

/* SDM vol. 2A tables 2-2 and 2-3. The operand's mode. */
FETCH_INLINE unsigned fetch_memory(Form *f, FetchBytes *rest, uint8_t none)
{
    enum { SIB_FOLLOWS = 4, IS_RIP = 5 };
    unsigned mod = f->modrm >> 6, rm = f->modrm & 7;
    f->memory = true;
    f->base = f->index = none;
    if (rm == SIB_FOLLOWS) {
        fetch_sib(f, rest, mod);
    } else if (mod == 0 && rm == IS_RIP) {
        f->rip = true;
        f->disp = fetch_take_32(f, rest);
        return MODE_ABSOLUTE;
    } else {
        f->base = (uint8_t)((rm | (f->rex & REX_B) << 3) * 8);
    }
    if (mod == 1)
        f->disp = fetch_take_8(f, rest);
    else if (mod == 2)
        f->disp = fetch_take_32(f, rest);
    return f->index != none ? MODE_INDEX : f->base != none ? MODE_BASE : MODE_ABSOLUTE;
}

/* The register that a field with its REX bit names; `byte`: the cell's bit that it is a byte's. */
FETCH_INLINE uint8_t fetch_register(const Form *f, unsigned number, unsigned byte)
{
    bool second = f->rex == 0 && (f->cell->is & byte) != 0;
    return fetch_register_at[second][number];
}

FETCH_INLINE void fetch_immediate(Form *f, const FetchBytes *rest)
{
    unsigned bytes = f->cell->imm;
    f->size += bytes;
    if (bytes == 0)
        f->imm = f->cell->is / CELL_ONE & 1;
    else if (bytes == 1)
        f->imm = (uint64_t)(int8_t)rest->low;
    else if (bytes == 4)
        f->imm = (uint64_t)(int32_t)rest->low;
    else
        f->imm = bytes == 8 ? rest->low : (uint64_t)(int16_t)rest->low;
}

/* A shift count that the routine cannot take leaves none. */
FETCH_INLINE unsigned fetch_count(const Form *f, unsigned routine)
{
    unsigned bits = f->cell->bits, count = f->imm & (bits == 64 ? 63 : 31);
    return count >= 1 && count < bits ? routine : NO_ROUTINE;
}

/* The immediate, and what may still be against the routine. */
FETCH_INLINE unsigned fetch_finish(Form *f, const FetchBytes *rest, unsigned routine,
                                   FormTaker *take, void *to)
{
    unsigned is = f->cell->is;
    fetch_immediate(f, rest);
    if (rest->reach == FETCH_SHORT) {
        if (FETCH_RARELY(routine == NO_ROUTINE || f->size > SHORT_MAX || (is & CELL_ODD) != 0))
            return NO_ROUTINE;
    } else {
        if (f->cell->imm == 8 && f->imm != (uint64_t)(int32_t)f->imm)
            routine = (ROW_COUNT + SPECIAL_mov_long) * ROUTINES_OF_ROW;
        routine = fetch_odd(f->cell, routine, f->prefixes, f->rex, f->modrm, f->rip);
    }
    if ((is & CELL_COUNT_CHECK) != 0)
        routine = fetch_count(f, routine);
    if (FETCH_RARELY(((f->a | f->b) & 1) != 0))
        routine = fetch_high(routine, f->a, f->b);
    return routine == NO_ROUTINE ? NO_ROUTINE : take(f, routine, to);
}

/* Prefixes; a REX counts only right before the opcode (SDM vol. 2A 2.2.1). Those that short
 * encodings do not have are opcodes without a routine there. */
FETCH_INLINE void fetch_prefixes(Form *f, FetchBytes *rest)
{
    unsigned prefix;
    if (rest->reach == FETCH_SHORT) {
        if ((rest->low & 0xf0) == REX)
            f->rex = (uint8_t)fetch_take_8(f, rest);
        return;
    }
    while ((prefix = fetch_prefix_bits[rest->low & 0xff]) != 0) {
        uint8_t byte = (uint8_t)fetch_take_8(f, rest);
        f->rex = prefix == REX ? byte : 0;
        f->prefixes |= (uint8_t)(prefix & ~(unsigned)REX);
    }
}

/*
 * What `take` makes of the encoding in the 16 bytes low, high; NO_ROUTINE: the table has none in
 * this reach. Sizes beyond 15 are the taker's to refuse. `none`: what stands for no base and no
 * index.
 */
FETCH_INLINE unsigned fetch_form(FetchReach reach, uint64_t low, uint64_t high, uint8_t none,
                                 FormTaker *take, void *to)
{
    FetchBytes rest = { reach, low, high };
    Form f = { .size = 0 };
    fetch_prefixes(&f, &rest);
    unsigned opcode = (uint8_t)fetch_take_8(&f, &rest);
    if (opcode == 0x0f)
        opcode = TWO_BYTE + (uint8_t)fetch_take_8(&f, &rest);
    unsigned wide = (f.rex & REX_W) != 0 ? 2 : (f.prefixes & HAS_66) == 0;
    f.modrm = (uint8_t)rest.low;
    f.cell = &fetch_cells[wide][opcode][f.modrm >> 3 & 7];
    __asm__("" : "+r"(f.cell)); /* one register, not the sum of its indices at each use */
    if ((f.cell->is & CELL_MODRM) == 0) {
        unsigned number = (opcode & 7) | (f.rex & REX_B) << 3;
        if ((f.cell->is & CELL_IN_OPCODE) != 0)
            f.a = fetch_register(&f, number, CELL_BYTE_RM);
        return fetch_finish(&f, &rest, f.cell->reg, take, to);
    }
    f.modrm_at = (uint8_t)f.size;
    fetch_take_8(&f, &rest);
    unsigned reg = (f.modrm >> 3 & 7) | (f.rex & REX_R) << 1;
    uint8_t first = fetch_register(&f, reg, CELL_BYTE_REG);
    if (f.modrm < REGISTER_FORM) {
        unsigned mode = fetch_memory(&f, &rest, none);
        f.a = first;
        return fetch_finish(&f, &rest, f.cell->mem == NO_ROUTINE ? NO_ROUTINE : f.cell->mem + mode,
                            take, to);
    }
    unsigned rm = (f.modrm & 7) | (f.rex & REX_B) << 3;
    uint8_t second = fetch_register(&f, rm, CELL_BYTE_RM);
    bool reg_first = (f.cell->is & CELL_REG_FIRST) != 0;
    f.a = reg_first ? first : second;
    f.b = reg_first ? second : first;
    return fetch_finish(&f, &rest, f.cell->reg, take, to);
}

#endif
