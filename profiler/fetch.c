/*
 * fetch.c: the decoder of forms.
 *
 *     prefixes  [REX]  opcode  [ModRM [SIB] [displacement]]  [immediate]
 *                        │       │
 *                        └───────┴──► opcodes[map + opcode][ModRM.reg]: operands, size, rows
 *
 * One table (opcodes.h), spread out at start by the field that chooses among instructions, so that
 * an instruction costs one look. It runs at each execution in the engines `switch` and `indirect`
 * and once per instruction in the others.
 *
 * SPDX-License-Identifier: MIT
 */
#define ZYAN_NO_LIBC 1
#include "profiler/fetch.h"

#include "profiler/forms.h"

#include <Zydis/Mnemonic.h>

enum { OPCODE_COUNT = 512, MAX_INSN = 15, NO_BASE = 5, SIB_FOLLOWS = 4, TABLE_ROW_MAX = 16 };

typedef struct Opcode {
    uint8_t operands, size, prefix;
    uint16_t row_reg, row_mem;
} Opcode;

static Opcode opcodes[OPCODE_COUNT][ANY_REG];

RowFacts fetch_facts[ROW_COUNT + SPECIAL_COUNT];

/* ---- tables ---- */

#define ROW(row) ROW_##row
#define SPECIAL(name) (ROW_COUNT + SPECIAL_##name)
#define AS_OPCODE(opcode, reg, ops, size, prefix, row_reg, row_mem)                                \
    { opcode, reg, { OPS_##ops, SIZE_##size, PREFIX_##prefix, row_reg, row_mem } },
static const struct OpcodeLine {
    uint16_t opcode;
    uint8_t reg;
    Opcode is;
} lines[] = { OPCODES(AS_OPCODE) };

#define AS_HANDLER_COUNT(form, mnemonic, shape, bits, handlers, source, proof)                     \
    SHAPE_##shape == SHAPE_NONE || SHAPE_##shape == SHAPE_I ? 1                                    \
    : SHAPE_##shape == SHAPE_M || SHAPE_##shape == SHAPE_RM || SHAPE_##shape == SHAPE_MR ||        \
            SHAPE_##shape == SHAPE_MI || SHAPE_##shape == SHAPE_RMI                                \
        ? 16                                                                                       \
        : 4,
static const uint8_t handler_count[ROW_COUNT] = { INTERP_ROWS(AS_HANDLER_COUNT) };

#define AS_SPECIAL_FACTS(name, mnemonic, flow)                                                     \
    { 0xffff, ZYDIS_MNEMONIC_##mnemonic, SHAPE_NONE, FLOW_##flow, 16, false, false },
static const RowFacts special_facts[SPECIAL_COUNT] = { SPECIALS(AS_SPECIAL_FACTS) };

static bool only_reads(unsigned mnemonic)
{
    return mnemonic == ZYDIS_MNEMONIC_CMP || mnemonic == ZYDIS_MNEMONIC_TEST ||
           mnemonic == ZYDIS_MNEMONIC_BT || mnemonic == ZYDIS_MNEMONIC_PUSH;
}

static void init_facts(void)
{
    for (unsigned i = 0; i < ROW_COUNT; i++) {
        const Row *row = &interp_rows[i];
        RowFacts *fact = &fetch_facts[i];
        *fact = (RowFacts){ .mnemonic = row->mnemonic, .shape = row->shape, .cc = 16 };
        for (unsigned k = 0; k < handler_count[i]; k++)
            fact->valid |= row->handlers[k] != NULL ? (uint16_t)(1u << k) : 0;
        fact->writes_a = row->shape != SHAPE_MR && !only_reads(row->mnemonic);
        fact->writes_b = row->mnemonic == ZYDIS_MNEMONIC_XCHG;
    }
    for (unsigned i = 0; i < SPECIAL_COUNT; i++) {
        fetch_facts[ROW_COUNT + i] = special_facts[i];
        if (i >= SPECIAL_j_O)
            fetch_facts[ROW_COUNT + i].cc = (uint8_t)(i - SPECIAL_j_O);
    }
}

void fetch_init(void)
{
    init_facts();
    for (unsigned i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        const struct OpcodeLine *line = &lines[i];
        for (unsigned reg = 0; reg < ANY_REG; reg++) {
            if (line->reg == ANY_REG || line->reg == reg)
                opcodes[line->opcode][reg] = line->is;
        }
    }
}

/* ---- prefixes ---- */

enum {
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

typedef struct Fetch {
    const uint8_t *at;
    const uint8_t *start;
    unsigned prefixes, rex;
    unsigned modrm;
    bool memory; /* an operand is memory */
} Fetch;

static const uint8_t prefix_bits[256] = {
    [0x66] = HAS_66,
    [0x67] = HAS_67,
    [0x64] = HAS_FS,
    [0x65] = HAS_GS,
    [0xf2] = HAS_F2,
    [0xf3] = HAS_F3,
    [0x26] = HAS_OTHER_SEGMENT,
    [0x2e] = HAS_OTHER_SEGMENT,
    [0x36] = HAS_OTHER_SEGMENT,
    [0x3e] = HAS_OTHER_SEGMENT,
    [0x40 ... 0x4f] = REX,
};

/* SDM vol. 2A 2.2.1: a REX prefix counts only right before the opcode. */
static inline void take_prefixes(Fetch *f)
{
    for (; f->at - f->start < MAX_INSN; f->at++) {
        unsigned prefix = prefix_bits[*f->at];
        if (prefix == 0)
            return;
        f->rex = prefix == REX ? *f->at : 0;
        f->prefixes |= prefix & ~(unsigned)REX;
    }
}

/* ---- operands ---- */

static inline int64_t take_signed(Fetch *f, unsigned bytes)
{
    int64_t value;
    switch (bytes) {
    case 1:
        value = *(const int8_t *)f->at;
        break;
    case 2:
        value = *(const int16_t *)(const void *)f->at;
        break;
    case 4:
        value = *(const int32_t *)(const void *)f->at;
        break;
    default:
        value = *(const int64_t *)(const void *)f->at;
    }
    f->at += bytes;
    return value;
}

/* The offset into Cpu of register `number`; without REX, byte registers 4 to 7 are second bytes. */
static inline uint8_t register_at(const Fetch *f, unsigned number, unsigned bits)
{
    if (bits == 8 && f->rex == 0 && number >= 4)
        return (uint8_t)((number - 4) * 8 + 1);
    return (uint8_t)(number * 8);
}

static inline uint8_t reg_operand(const Fetch *f, unsigned bits)
{
    return register_at(f, (f->modrm >> 3 & 7) | ((f->rex & REX_R) != 0 ? 8 : 0), bits);
}

static inline uint8_t rm_operand(const Fetch *f, unsigned bits)
{
    return register_at(f, (f->modrm & 7) | ((f->rex & REX_B) != 0 ? 8 : 0), bits);
}

static inline void take_sib(Fetch *f, GuestMem *mem, unsigned mod)
{
    unsigned sib = *f->at++;
    unsigned index = (sib >> 3 & 7) | ((f->rex & REX_X) != 0 ? 8 : 0);
    if (index != R_RSP) {
        mem->index = (uint8_t)(index * 8);
        mem->scale = (uint8_t)(1u << (sib >> 6));
    }
    if ((sib & 7) != NO_BASE || mod != 0)
        mem->base = (uint8_t)(((sib & 7) | ((f->rex & REX_B) != 0 ? 8 : 0)) * 8);
    else
        mem->disp = take_signed(f, 4);
}

/* SDM vol. 2A tables 2-2 and 2-3. A RIP-relative address is finished when the length is known. */
static inline void take_memory(Fetch *f, GuestInsn *insn)
{
    GuestMem *mem = &insn->mem;
    unsigned mod = f->modrm >> 6, rm = f->modrm & 7;
    *mem = (GuestMem){ .base = NO_REG, .index = NO_REG, .usable = true };
    if (rm == SIB_FOLLOWS) {
        take_sib(f, mem, mod);
    } else if (mod == 0 && rm == NO_BASE) {
        insn->rip_modrm = (uint8_t)(f->at - f->start - 1);
        insn->rip_high = (f->rex & REX_B) != 0;
        mem->disp = take_signed(f, 4);
    } else {
        mem->base = (uint8_t)((rm | ((f->rex & REX_B) != 0 ? 8 : 0)) * 8);
    }
    if (mod == 1)
        mem->disp = take_signed(f, 1);
    else if (mod == 2)
        mem->disp = take_signed(f, 4);
    if ((f->prefixes & HAS_FS) != 0)
        mem->mode = MODE_FS;
    else if (mem->index != NO_REG)
        mem->mode = MODE_INDEX;
    else
        mem->mode = mem->base == NO_REG ? MODE_ABSOLUTE : MODE_BASE;
}

/* ModRM and what follows it; true: the operand is memory. */
static inline bool take_rm(Fetch *f, GuestInsn *insn)
{
    f->modrm = *f->at++;
    if (f->modrm >= 0xc0)
        return false;
    take_memory(f, insn);
    return f->memory = true;
}

static inline unsigned immediate_bytes(unsigned bits)
{
    return bits >= 32 ? 4 : bits / 8;
}

/* The operands of `opcode`; the row that it is, NO_ROW: none. */
static inline unsigned take_operands(Fetch *f, const Opcode *opcode, GuestInsn *insn)
{
    unsigned bits = insn->bits, source = insn->source_bits;
    switch ((Operands)opcode->operands) {
    case OPS_EG:
        if (take_rm(f, insn)) {
            insn->a = reg_operand(f, bits);
            return opcode->row_mem;
        }
        insn->a = rm_operand(f, bits);
        insn->b = reg_operand(f, bits);
        return opcode->row_reg;
    case OPS_GE:
    case OPS_GEI:
    case OPS_GEIB: {
        bool memory = take_rm(f, insn);
        insn->a = reg_operand(f, bits);
        if (!memory)
            insn->b = rm_operand(f, source);
        if (opcode->operands != OPS_GE)
            insn->imm =
                (uint64_t)take_signed(f, opcode->operands == OPS_GEIB ? 1 : immediate_bytes(bits));
        return memory ? opcode->row_mem : opcode->row_reg;
    }
    case OPS_E:
    case OPS_EI:
    case OPS_EIB:
    case OPS_E1:
    case OPS_EC: {
        bool memory = take_rm(f, insn);
        if (!memory)
            insn->a = rm_operand(f, bits);
        if (opcode->operands == OPS_EI)
            insn->imm = (uint64_t)take_signed(f, immediate_bytes(bits));
        else if (opcode->operands == OPS_EIB)
            insn->imm = (uint64_t)take_signed(f, 1);
        else if (opcode->operands == OPS_E1)
            insn->imm = 1;
        else if (opcode->operands == OPS_EC)
            insn->b = R_RCX * 8;
        return memory ? opcode->row_mem : opcode->row_reg;
    }
    case OPS_AI:
        insn->a = R_RAX * 8;
        insn->imm = (uint64_t)take_signed(f, immediate_bytes(bits));
        return opcode->row_reg;
    case OPS_O:
    case OPS_OA:
    case OPS_OI:
        f->modrm = f->at[-1];
        insn->a = rm_operand(f, bits);
        if (opcode->operands == OPS_OA)
            insn->b = R_RAX * 8;
        else if (opcode->operands == OPS_OI)
            insn->imm = (uint64_t)take_signed(f, bits / 8);
        return opcode->row_reg;
    case OPS_I:
    case OPS_JZ:
        insn->imm = (uint64_t)take_signed(f, 4);
        return opcode->row_reg;
    case OPS_IB:
    case OPS_JB:
        insn->imm = (uint64_t)take_signed(f, 1);
        return opcode->row_reg;
    case OPS_IW:
        insn->imm = (uint16_t)take_signed(f, 2);
        return opcode->row_reg;
    case OPS_XB:
        if (*f->at++ != 0xf8)
            return NO_ROW;
        insn->imm = (uint64_t)take_signed(f, 4);
        return opcode->row_reg;
    case OPS_N:
        return (f->rex & REX_B) != 0 ? NO_ROW : opcode->row_reg;
    case OPS_NONE:
        return opcode->row_reg;
    default:
        return NO_ROW;
    }
}

/* Operand sizes; what the row's number grows by. False: a size that the table does not have. */
static inline bool take_size(const Fetch *f, const Opcode *opcode, GuestInsn *insn, unsigned *more)
{
    unsigned plain = (f->rex & REX_W) != 0 ? 64 : (f->prefixes & HAS_66) != 0 ? 16 : 32;
    *more = 0;
    insn->bits = insn->source_bits = (uint8_t)plain;
    switch ((OpSize)opcode->size) {
    case SIZE_B:
        insn->bits = insn->source_bits = 8;
        return true;
    case SIZE_V:
        return true;
    case SIZE_64:
        insn->bits = insn->source_bits = 64;
        return plain != 16;
    case SIZE_XB:
    case SIZE_XW:
        insn->source_bits = opcode->size == SIZE_XB ? 8 : 16;
        *more = plain == 64 ? 2 : 0;
        return plain != 16;
    case SIZE_XD:
        insn->source_bits = 32;
        return plain == 64;
    case SIZE_ROW:
        *more = plain == 16 ? 0 : plain == 32 ? 1 : 2;
        return true;
    default:
        *more = plain == 64;
        return plain != 16;
    }
}

static inline bool prefixes_serve(const Fetch *f, const Opcode *opcode)
{
    enum { REPEATS = HAS_F2 | HAS_F3 };
    if (opcode->prefix == PREFIX_ANY)
        return true;
    return (f->prefixes & (REPEATS | HAS_67)) == (opcode->prefix == PREFIX_F3 ? HAS_F3 : 0);
}

/* ---- routines ---- */

static inline unsigned size_index(unsigned bits)
{
    return bits == 8 ? 0 : bits == 16 ? 1 : bits == 32 ? 2 : 3;
}

static inline bool is_high(uint8_t reg)
{
    return reg != NO_REG && (reg & 1) != 0;
}

/* Index into the row's handlers; 16: there is none. */
static inline unsigned index_in_row(const RowFacts *fact, const GuestInsn *insn)
{
    unsigned at;
    if (fact->shape == SHAPE_NONE || fact->shape == SHAPE_I)
        at = 0;
    else if (form_has_memory(fact->shape))
        at = size_index(insn->source_bits) * MODE_COUNT + (unsigned)insn->mem.mode;
    else
        at = size_index(insn->source_bits);
    return (fact->valid >> at & 1) != 0 ? at : TABLE_ROW_MAX;
}

static bool choose_row(GuestInsn *insn, unsigned row, const RowFacts *fact)
{
    if ((fact->writes_a && is_high(insn->a)) || (fact->writes_b && is_high(insn->b)))
        return false;
    bool immediate = fact->shape == SHAPE_RI || fact->shape == SHAPE_MI ||
                     fact->shape == SHAPE_RRI || fact->shape == SHAPE_RMI;
    if (immediate && !form_immediate_serves(insn)) {
        insn->routine = (ROW_COUNT + SPECIAL_mov_long) * ROUTINES_OF_ROW;
        return row == ROW_MOV_RI && insn->bits == 64;
    }
    unsigned at = index_in_row(fact, insn);
    insn->routine = (uint16_t)(row * ROUTINES_OF_ROW + at);
    return at < TABLE_ROW_MAX;
}

static uint8_t special_shape(const Fetch *f, unsigned special, bool direct, bool indirect)
{
    if (f->memory)
        return SHAPE_M;
    if (direct || special == SPECIAL_ret_drop)
        return SHAPE_I;
    return indirect ? SHAPE_R : SHAPE_NONE;
}

/* Specials whose encoding, prefixes or operands say more than the table does. */
static bool choose_special(const Fetch *f, GuestInsn *insn, unsigned special)
{
    unsigned at = 0;
    insn->flow = fetch_facts[ROW_COUNT + special].flow;
    insn->cc = fetch_facts[ROW_COUNT + special].cc;
    switch (special) {
    case SPECIAL_endbr64:
        if (f->modrm != 0xfa)
            return false;
        break;
    case SPECIAL_jump_m:
    case SPECIAL_call_m:
        at = 12 + (unsigned)insn->mem.mode;
        break;
    case SPECIAL_jrcxz:
        if ((f->prefixes & HAS_67) != 0)
            special = SPECIAL_jecxz;
        break;
    case SPECIAL_loop:
    case SPECIAL_loope:
    case SPECIAL_loopne:
        if ((f->prefixes & HAS_67) != 0)
            return false;
        break;
    default:
        break;
    }
    bool direct = insn->flow == FLOW_COND || insn->flow == FLOW_COUNT || insn->flow == FLOW_JUMP ||
                  insn->flow == FLOW_CALL || insn->flow == FLOW_ABORT;
    if (direct)
        insn->target = insn->pc + insn->size + insn->imm;
    insn->mnemonic = fetch_facts[ROW_COUNT + special].mnemonic;
    bool indirect = insn->flow == FLOW_JUMP_IND || insn->flow == FLOW_CALL_IND;
    insn->shape = special_shape(f, special, direct, indirect);
    insn->routine = (uint16_t)((ROW_COUNT + special) * ROUTINES_OF_ROW + at);
    return true;
}

static inline bool finish_memory(const Fetch *f, GuestInsn *insn)
{
    GuestMem *mem = &insn->mem;
    if ((f->prefixes & (HAS_67 | HAS_GS)) != 0)
        return false;
    if (insn->rip_modrm != 0) {
        mem->disp += (int64_t)(insn->pc + insn->size);
        insn->rip_target = (uint64_t)mem->disp;
    }
    return mem->mode == MODE_ABSOLUTE || mem->disp == (int32_t)mem->disp;
}

bool fetch_insn(GuestInsn *insn, const uint8_t *bytes, unsigned room, uint64_t pc)
{
    Fetch f = { .at = bytes, .start = bytes };
    unsigned more;
    take_prefixes(&f);
    unsigned opcode_byte = *f.at++;
    if (opcode_byte == 0x0f)
        opcode_byte = TWO_BYTE + *f.at++;
    const Opcode *opcode = &opcodes[opcode_byte][*f.at >> 3 & 7];
    if (opcode->operands == OPS_NO_FORM || !prefixes_serve(&f, opcode) ||
        !take_size(&f, opcode, insn, &more))
        return false;
    insn->pc = pc;
    insn->a = insn->b = NO_REG;
    insn->rip_modrm = 0;
    insn->imm = 0;
    unsigned row = take_operands(&f, opcode, insn);
    if (row == NO_ROW)
        return false;
    row += more;
    insn->size = (uint8_t)(f.at - bytes);
    if (insn->size > room || insn->size > MAX_INSN || (f.memory && !finish_memory(&f, insn)))
        return false;
    if (row >= ROW_COUNT)
        return choose_special(&f, insn, row - ROW_COUNT);
    const RowFacts *fact = &fetch_facts[row];
    insn->mnemonic = fact->mnemonic;
    insn->shape = fact->shape;
    insn->flow = FLOW_NEXT;
    insn->cc = 16;
    return choose_row(insn, row, fact);
}
