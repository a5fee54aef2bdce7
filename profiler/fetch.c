/*
 * fetch.c: the tables of the decoder of forms, and what it gives to records.
 *
 *     opcodes.h ──► cells: by operand size, opcode and ModRM.reg      fetch_form.h ──► GuestInsn
 *
 * The decoder itself (fetch_form.h) runs at each execution in the engines `switch` and `indirect`
 * (step.c) and once per instruction in the others (here).
 *
 * SPDX-License-Identifier: MIT
 */
#define ZYAN_NO_LIBC 1
#include "profiler/fetch_form.h"

#include "profiler/forms.h"

#include <Zydis/Mnemonic.h>

/* MODE: the first of an indirect branch's memory operands. IMM: bytes of the operand's size. */
enum { MAX_INSN = 15, SPECIAL_MODES = 12, IMM_AT_MOST_4 = 16, IMM_WHOLE };

typedef struct Opcode {
    uint8_t operands, size, prefix;
    uint16_t row_reg, row_mem;
} Opcode;

static Opcode opcodes[CELL_OPCODES][CELL_REGS];

Cell fetch_cells[CELL_SIZES][CELL_OPCODES][CELL_REGS];

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

#define AS_SPECIAL_FACTS(name, mnem, to)                                                           \
    { .valid = 0xffff, .mnemonic = ZYDIS_MNEMONIC_##mnem, .flow = FLOW_##to, .cc = 16 },
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
    complete_init();
}

const uint8_t fetch_prefix_bits[256] = {
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

#define AT(n) (n) * 8
#define HIGH(n) (n) * 8 + 1
#define AT_8 AT(8), AT(9), AT(10), AT(11), AT(12), AT(13), AT(14), AT(15)
const uint8_t fetch_register_at[2][16] = {
    { AT(0), AT(1), AT(2), AT(3), AT(4), AT(5), AT(6), AT(7), AT_8 },
    { AT(0), AT(1), AT(2), AT(3), HIGH(0), HIGH(1), HIGH(2), HIGH(3), AT_8 },
};

/* ---- cells ---- */

static unsigned size_index(unsigned bits)
{
    return bits == 8 ? 0 : bits == 16 ? 1 : bits == 32 ? 2 : 3;
}

typedef struct Sizes {
    uint8_t bits, source_bits; /* of operands 0 and 1 */
    uint8_t more;              /* what the row's number grows by */
} Sizes;

/* False: a size that the table does not have. `wide`: as fetch_cells. */
static bool take_size(unsigned wide, OpSize size, Sizes *out)
{
    uint8_t plain = (uint8_t)(16u << wide);
    *out = (Sizes){ plain, plain, 0 };
    switch (size) {
    case SIZE_B:
        out->bits = out->source_bits = 8;
        return true;
    case SIZE_V:
        return true;
    case SIZE_64:
        out->bits = out->source_bits = 64;
        return plain != 16;
    case SIZE_XB:
    case SIZE_XW:
        out->source_bits = size == SIZE_XB ? 8 : 16;
        out->more = plain == 64 ? 2 : 0;
        return plain != 16;
    case SIZE_XD:
        out->source_bits = 32;
        return plain == 64;
    case SIZE_ROW:
        out->more = (uint8_t)wide;
        return true;
    default:
        out->more = plain == 64;
        return plain != 16;
    }
}

/* The row's routine for a register operand, or for memory of MODE_BASE. */
static uint16_t row_routine(unsigned row, const Sizes *sizes)
{
    if (row == NO_ROW)
        return NO_ROUTINE;
    if (row >= ROW_COUNT) {
        bool memory = row == ROW_COUNT + SPECIAL_jump_m || row == ROW_COUNT + SPECIAL_call_m;
        return (uint16_t)(row * ROUTINES_OF_ROW + (memory ? SPECIAL_MODES : 0));
    }
    const RowFacts *fact = &fetch_facts[row + sizes->more];
    unsigned at = fact->shape == SHAPE_NONE || fact->shape == SHAPE_I ? 0
                  : form_has_memory(fact->shape) ? size_index(sizes->source_bits) * MODE_COUNT
                                                 : size_index(sizes->source_bits);
    if ((fact->valid >> at & 1) == 0)
        return NO_ROUTINE;
    return (uint16_t)((row + sizes->more) * ROUTINES_OF_ROW + at);
}

static const struct OperandFacts {
    uint8_t is;
    uint8_t imm; /* bytes of the immediate; IMM_…: of the operand size */
} operand_facts[] = {
    [OPS_NO_FORM] = { 0, 0 },
    [OPS_NONE] = { 0, 0 },
    [OPS_N] = { CELL_ODD, 0 },
    [OPS_EG] = { CELL_MODRM, 0 },
    [OPS_GE] = { CELL_MODRM | CELL_REG_FIRST, 0 },
    [OPS_E] = { CELL_MODRM, 0 },
    [OPS_EI] = { CELL_MODRM, IMM_AT_MOST_4 },
    [OPS_EIB] = { CELL_MODRM, 1 },
    [OPS_E1] = { CELL_MODRM | CELL_ONE, 0 },
    [OPS_EC] = { CELL_MODRM, 0 },
    [OPS_GEI] = { CELL_MODRM | CELL_REG_FIRST, IMM_AT_MOST_4 },
    [OPS_GEIB] = { CELL_MODRM | CELL_REG_FIRST, 1 },
    [OPS_AI] = { 0, IMM_AT_MOST_4 },
    [OPS_O] = { CELL_IN_OPCODE, 0 },
    [OPS_OA] = { CELL_IN_OPCODE, 0 },
    [OPS_OI] = { CELL_IN_OPCODE, IMM_WHOLE },
    [OPS_I] = { 0, 4 },
    [OPS_IB] = { 0, 1 },
    [OPS_IW] = { 0, 2 },
    [OPS_JB] = { 0, 1 },
    [OPS_JZ] = { 0, 4 },
    [OPS_XB] = { CELL_MODRM | CELL_ODD, 4 },
};

static bool is_shift(unsigned mnemonic)
{
    return mnemonic == ZYDIS_MNEMONIC_SHL || mnemonic == ZYDIS_MNEMONIC_SHR ||
           mnemonic == ZYDIS_MNEMONIC_SAR || mnemonic == ZYDIS_MNEMONIC_ROL ||
           mnemonic == ZYDIS_MNEMONIC_ROR;
}

/* What the bits of byte registers, counts and odd conditions are. */
static uint8_t more_bits(const Opcode *opcode, const Sizes *sizes, unsigned row)
{
    unsigned is = 0;
    bool names_reg = opcode->operands == OPS_EG || opcode->operands == OPS_GE;
    if (names_reg && sizes->bits == 8)
        is |= CELL_BYTE_REG;
    if (sizes->source_bits == 8)
        is |= CELL_BYTE_RM;
    if (opcode->prefix == PREFIX_F3)
        is |= CELL_ODD;
    if (row < ROW_COUNT && is_shift(fetch_facts[row].mnemonic) &&
        fetch_facts[row].shape == SHAPE_RI)
        is |= CELL_COUNT_CHECK;
    return (uint8_t)is;
}

static uint8_t immediate_bytes(uint8_t imm, unsigned bits)
{
    if (imm == IMM_WHOLE)
        return (uint8_t)(bits / 8);
    if (imm == IMM_AT_MOST_4)
        return bits >= 32 ? 4 : (uint8_t)(bits / 8);
    return imm;
}

static Cell make_cell(const Opcode *opcode, unsigned wide)
{
    const struct OperandFacts *operands = &operand_facts[opcode->operands];
    Cell cell = { .reg = NO_ROUTINE, .mem = NO_ROUTINE };
    Sizes sizes;
    if (opcode->operands == OPS_NO_FORM || !take_size(wide, (OpSize)opcode->size, &sizes))
        return cell;
    cell.reg = row_routine(opcode->row_reg, &sizes);
    cell.mem = row_routine(opcode->row_mem, &sizes);
    if (opcode->row_mem == SPECIAL(nop))
        cell.mem = SPECIAL(nop) * ROUTINES_OF_ROW + SPECIAL_MODES;
    cell.imm = immediate_bytes(operands->imm, sizes.bits);
    cell.is = operands->is | more_bits(opcode, &sizes, opcode->row_reg);
    cell.bits = sizes.bits;
    if (opcode->row_reg >= ROW_COUNT && opcode->row_reg != NO_ROW)
        cell.flow = fetch_facts[opcode->row_reg].flow;
    return cell;
}

static void init_cells(unsigned code, unsigned reg)
{
    for (unsigned wide = 0; wide < CELL_SIZES; wide++)
        fetch_cells[wide][code][reg] = make_cell(&opcodes[code][reg], wide);
}

void fetch_init(void)
{
    init_facts();
    for (unsigned i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        const struct OpcodeLine *line = &lines[i];
        for (unsigned reg = 0; reg < CELL_REGS; reg++) {
            if (line->reg == ANY_REG || line->reg == reg)
                opcodes[line->opcode][reg] = line->is;
        }
    }
    for (unsigned code = 0; code < CELL_OPCODES; code++) {
        for (unsigned reg = 0; reg < CELL_REGS; reg++)
            init_cells(code, reg);
    }
}

/* ---- what is rare ---- */

static const Opcode *opcode_of(const Cell *cell)
{
    size_t at = (size_t)(cell - &fetch_cells[0][0][0]);
    return &opcodes[0][0] + at % (CELL_OPCODES * CELL_REGS);
}

static bool prefixes_serve(const Opcode *opcode, unsigned prefixes)
{
    enum { REPEATS = HAS_F2 | HAS_F3 };
    if (opcode->prefix == PREFIX_ANY)
        return true;
    return (prefixes & (REPEATS | HAS_67)) == (opcode->prefix == PREFIX_F3 ? HAS_F3 : 0);
}

/* The routine for an operand in FS. */
static unsigned with_fs(unsigned routine, bool rip)
{
    unsigned at = routine | MODE_FS;
    bool valid = (fetch_facts[at / ROUTINES_OF_ROW].valid >> at % ROUTINES_OF_ROW & 1) != 0;
    return valid && !rip ? at : NO_ROUTINE;
}

/* Specials whose encoding or operands say more than the table does. */
static unsigned odd_special(unsigned routine, unsigned prefixes, unsigned modrm)
{
    bool narrow = (prefixes & HAS_67) != 0;
    switch (routine / ROUTINES_OF_ROW - ROW_COUNT) {
    case SPECIAL_endbr64:
        return modrm == 0xfa ? routine : NO_ROUTINE;
    case SPECIAL_abort:
        return modrm == 0xf8 ? routine : NO_ROUTINE;
    case SPECIAL_jrcxz:
        return narrow ? SPECIAL(jecxz) * ROUTINES_OF_ROW : routine;
    case SPECIAL_loop:
    case SPECIAL_loope:
    case SPECIAL_loopne:
        return narrow ? NO_ROUTINE : routine;
    default:
        return routine;
    }
}

unsigned fetch_odd(const Cell *cell, unsigned routine, uint8_t prefixes, uint8_t rex, uint8_t modrm,
                   bool rip)
{
    const Opcode *opcode = opcode_of(cell);
    bool memory = (cell->is & CELL_MODRM) != 0 && modrm < REGISTER_FORM;
    if (routine == NO_ROUTINE || !prefixes_serve(opcode, prefixes) ||
        (opcode->operands == OPS_N && (rex & REX_B) != 0))
        return NO_ROUTINE;
    if (memory && (prefixes & (HAS_67 | HAS_GS)) != 0)
        return NO_ROUTINE;
    if (memory && (prefixes & HAS_FS) != 0)
        routine = with_fs(routine, rip);
    return odd_special(routine, prefixes, modrm);
}

unsigned fetch_high(unsigned routine, uint8_t a, uint8_t b)
{
    const RowFacts *fact = &fetch_facts[routine / ROUTINES_OF_ROW];
    bool written = (fact->writes_a && (a & 1) != 0) || (fact->writes_b && (b & 1) != 0);
    return written ? NO_ROUTINE : routine;
}

/* ---- instructions for records ---- */

static uint64_t word_at(const uint8_t *bytes)
{
    return *(const uint64_t *)(const void *)bytes;
}

static void put_registers(GuestInsn *insn, const Form *f)
{
    bool one = insn->shape == SHAPE_R || insn->shape == SHAPE_RI || insn->shape == SHAPE_RM ||
               insn->shape == SHAPE_MR || insn->shape == SHAPE_RMI;
    bool two = insn->shape == SHAPE_RR || insn->shape == SHAPE_RRI;
    insn->a = one || two || insn->shape == SHAPE_RC ? f->a : NO_REG;
    insn->b = two ? f->b : insn->shape == SHAPE_RC ? R_RCX * 8 : NO_REG;
}

static void put_memory(GuestInsn *insn, const Form *f)
{
    insn->mem = (GuestMem){ .base = f->base,
                            .index = f->index,
                            .scale = f->scale,
                            .mode = (Mode)(insn->routine % MODE_COUNT),
                            .usable = true,
                            .disp = f->disp };
    if (f->rip) {
        insn->rip_modrm = f->modrm_at;
        insn->rip_high = (f->rex & REX_B) != 0;
        insn->mem.disp += (int64_t)(insn->pc + insn->size);
        insn->rip_target = (uint64_t)insn->mem.disp;
    }
}

static bool is_direct(uint8_t flow)
{
    return flow == FLOW_COND || flow == FLOW_COUNT || flow == FLOW_JUMP || flow == FLOW_CALL ||
           flow == FLOW_ABORT;
}

/* Of specials the table gives no shape: it depends on the operand. */
static uint8_t special_shape(const GuestInsn *insn, unsigned special, const Form *f)
{
    if (special == SPECIAL_mov_long)
        return SHAPE_RI;
    if (f->memory)
        return SHAPE_M;
    if (is_direct(insn->flow) || special == SPECIAL_ret_drop)
        return SHAPE_I;
    return insn->flow == FLOW_JUMP_IND || insn->flow == FLOW_CALL_IND ? SHAPE_R : SHAPE_NONE;
}

/* A FormTaker: into the GuestInsn `to`, whose pc is there. */
static unsigned take_insn(const Form *f, unsigned routine, void *to)
{
    GuestInsn *insn = to;
    unsigned row = routine / ROUTINES_OF_ROW;
    const RowFacts *fact = &fetch_facts[row];
    Sizes sizes;
    take_size((unsigned)(f->cell - &fetch_cells[0][0][0]) / (CELL_OPCODES * CELL_REGS),
              (OpSize)opcode_of(f->cell)->size, &sizes);
    insn->size = (uint8_t)f->size;
    insn->routine = (uint16_t)routine;
    insn->mnemonic = fact->mnemonic;
    insn->flow = fact->flow;
    insn->cc = fact->cc;
    insn->bits = sizes.bits;
    insn->source_bits = sizes.source_bits;
    insn->imm = row == SPECIAL(ret_drop) ? (uint16_t)f->imm : f->imm;
    insn->rip_modrm = 0;
    insn->shape = row < ROW_COUNT ? fact->shape : special_shape(insn, row - ROW_COUNT, f);
    put_registers(insn, f);
    if (f->memory)
        put_memory(insn, f);
    if (is_direct(insn->flow))
        insn->target = insn->pc + f->size + f->imm;
    return routine;
}

bool fetch_insn(GuestInsn *insn, const uint8_t *bytes, unsigned room, uint64_t pc)
{
    uint64_t low = word_at(bytes), high = word_at(bytes + 8);
    insn->pc = pc;
    unsigned routine = fetch_form(FETCH_SHORT, low, high, NO_REG, take_insn, insn);
    if (routine == NO_ROUTINE)
        routine = fetch_form(FETCH_WHOLE, low, high, NO_REG, take_insn, insn);
    return routine != NO_ROUTINE && insn->size <= room && insn->size <= MAX_INSN;
}
