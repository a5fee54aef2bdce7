/*
 * row_cases.c: encodings and states for the rows of the table.
 *
 * The operand lies inside a page or at its end, with the next page inaccessible. Registers are
 * chosen freely: the same one twice, the stack pointer, high bytes. Flags come as they are or from
 * another instruction before, so that every kind of lazy flags meets every reader.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/row_cases.h"

#include <Zydis/Zydis.h>
#include <string.h>

enum { WINDOW_BYTES = BATCH_WINDOW * 8, FIXED_FLAGS = 0x202, ARITHMETIC = 0x8d5, DF = 0x400 };
enum { CF = 1, PF = 4, AF = 0x10, ZF = 0x40, SF = 0x80, OF = 0x800 };

static const unsigned sizes[4] = { 8, 16, 32, 64 };

/* Flags that an instruction leaves undefined whatever its operands are. */
static const struct {
    uint16_t mnemonic;
    uint16_t flags;
    const char *source;
} undefined[] = {
    { ZYDIS_MNEMONIC_AND, AF, "SDM vol. 2A AND" },
    { ZYDIS_MNEMONIC_OR, AF, "SDM vol. 2B OR" },
    { ZYDIS_MNEMONIC_XOR, AF, "SDM vol. 2D XOR" },
    { ZYDIS_MNEMONIC_TEST, AF, "SDM vol. 2B TEST" },
    { ZYDIS_MNEMONIC_IMUL, SF | ZF | AF | PF, "SDM vol. 2A IMUL" },
    { ZYDIS_MNEMONIC_BT, OF | SF | AF | PF, "SDM vol. 2A BT" },
};

/* And those of shifts: with a count that is not zero; not one; not less than the size. */
static const struct {
    uint16_t mnemonic;
    uint16_t not_zero, not_one, not_less;
    const char *source;
} undefined_by_count[] = {
    { ZYDIS_MNEMONIC_SHL, AF, OF, CF, "SDM vol. 2B SAL/SAR/SHL/SHR" },
    { ZYDIS_MNEMONIC_SHR, AF, OF, CF, "SDM vol. 2B SAL/SAR/SHL/SHR" },
    { ZYDIS_MNEMONIC_SAR, AF, OF, CF, "SDM vol. 2B SAL/SAR/SHL/SHR" },
    { ZYDIS_MNEMONIC_ROL, 0, OF, 0, "SDM vol. 2B RCL/RCR/ROL/ROR" },
    { ZYDIS_MNEMONIC_ROR, 0, OF, 0, "SDM vol. 2B RCL/RCR/ROL/ROR" },
};

/* ---- encoding ---- */

static ZydisRegister reg_of(unsigned number, unsigned bits, bool high)
{
    switch (bits) {
    case 8:
        if (high)
            return ZYDIS_REGISTER_AH + number % 4;
        return number < 4 ? ZYDIS_REGISTER_AL + number : ZYDIS_REGISTER_SPL + (number - 4);
    case 16:
        return ZYDIS_REGISTER_AX + number;
    case 32:
        return ZYDIS_REGISTER_EAX + number;
    default:
        return ZYDIS_REGISTER_RAX + number;
    }
}

static ZydisEncoderOperand reg_operand(unsigned number, unsigned bits, bool high)
{
    return (ZydisEncoderOperand){ .type = ZYDIS_OPERAND_TYPE_REGISTER,
                                  .reg.value = reg_of(number, bits, high) };
}

static ZydisEncoderOperand imm_operand(int64_t value)
{
    return (ZydisEncoderOperand){ .type = ZYDIS_OPERAND_TYPE_IMMEDIATE, .imm.s = value };
}

static ZydisEncoderOperand mem_operand(const Case *c, unsigned bits)
{
    ZydisEncoderOperand operand = { .type = ZYDIS_OPERAND_TYPE_MEMORY };
    operand.mem.size = (ZyanU16)(bits / 8);
    operand.mem.displacement = c->disp;
    if (c->mode == MODE_ABSOLUTE) {
        operand.mem.base = ZYDIS_REGISTER_RIP;
        operand.mem.displacement = (int64_t)c->operand;
        return operand;
    }
    operand.mem.base = ZYDIS_REGISTER_RAX + c->base;
    if (c->mode == MODE_INDEX) {
        operand.mem.index = ZYDIS_REGISTER_RAX + c->index;
        operand.mem.scale = (ZyanU8)c->scale;
    }
    return operand;
}

unsigned case_bits(const Case *c)
{
    return c->row->to_bits != 0 ? c->row->to_bits : sizes[c->size];
}

/* The operands of the row's shape; returns how many. */
static unsigned operands_of(const Case *c, ZydisEncoderOperand *out)
{
    unsigned bits = sizes[c->size], to = case_bits(c);
    switch (c->row->shape) {
    case SHAPE_NONE:
        return 0;
    case SHAPE_I:
        return out[0] = imm_operand(c->imm), 1;
    case SHAPE_R:
        return out[0] = reg_operand(c->a, bits, false), 1;
    case SHAPE_M:
        return out[0] = mem_operand(c, bits), 1;
    case SHAPE_RR:
        return out[0] = reg_operand(c->a, to, false), out[1] = reg_operand(c->b, bits, c->high), 2;
    case SHAPE_RI:
        return out[0] = reg_operand(c->a, bits, false), out[1] = imm_operand(c->imm), 2;
    case SHAPE_RM:
        return out[0] = reg_operand(c->a, to, false), out[1] = mem_operand(c, bits), 2;
    case SHAPE_MR:
        return out[0] = mem_operand(c, bits), out[1] = reg_operand(c->a, bits, c->high), 2;
    case SHAPE_MI:
        return out[0] = mem_operand(c, bits), out[1] = imm_operand(c->imm), 2;
    case SHAPE_RC:
        return out[0] = reg_operand(c->a, bits, false), out[1] = reg_operand(R_RCX, 8, false), 2;
    case SHAPE_RRI:
        return out[0] = reg_operand(c->a, bits, false), out[1] = reg_operand(c->b, bits, false),
               out[2] = imm_operand(c->imm), 3;
    default:
        return out[0] = reg_operand(c->a, bits, false), out[1] = mem_operand(c, bits),
               out[2] = imm_operand(c->imm), 3;
    }
}

/* At `at` behind machine_code(). */
static bool encode(const Case *c, size_t at, uint8_t *bytes, size_t *size)
{
    ZydisEncoderRequest request;
    memset(&request, 0, sizeof request);
    request.machine_mode = ZYDIS_MACHINE_MODE_LONG_64;
    request.mnemonic = c->row->mnemonic;
    request.operand_count = (ZyanU8)operands_of(c, request.operands);
    if (c->mode == MODE_FS)
        request.prefixes = ZYDIS_ATTRIB_HAS_SEGMENT_FS;
    ZyanUSize room = ZYDIS_MAX_INSTRUCTION_LENGTH;
    if (!ZYAN_SUCCESS(
            ZydisEncoderEncodeInstructionAbsolute(&request, bytes, &room, machine_code() + at)))
        return false;
    *size = room;
    return true;
}

bool case_has_memory(const Row *row)
{
    return row->shape == SHAPE_M || row->shape == SHAPE_RM || row->shape == SHAPE_MR ||
           row->shape == SHAPE_MI || row->shape == SHAPE_RMI;
}

bool case_is_shift(const Row *row)
{
    return strncmp(row->proof, "shift", 5) == 0;
}

Handler *case_handler(const Row *row, unsigned size, Mode mode)
{
    if (row->shape == SHAPE_NONE || row->shape == SHAPE_I)
        return row->handlers[0];
    return row->handlers[case_has_memory(row) ? size * MODE_COUNT + mode : size];
}

/* ---- flags before it ---- */

/* An instruction on registers that the case does not use; shifts by one, all their flags defined.
 */
static bool put_producer(Case *c, uint64_t *seed)
{
    static const uint16_t mnemonics[CASE_PRODUCERS] = {
        0,
        ZYDIS_MNEMONIC_CMP,
        ZYDIS_MNEMONIC_ADD,
        ZYDIS_MNEMONIC_INC,
        ZYDIS_MNEMONIC_DEC,
        ZYDIS_MNEMONIC_SHL,
        ZYDIS_MNEMONIC_SHR,
        ZYDIS_MNEMONIC_SAR,
        ZYDIS_MNEMONIC_AND,
    };
    unsigned used = 1u << c->a | 1u << c->b | 1u << c->base | 1u << c->index | 1u << R_RSP |
                    1u << R_RCX | 1u << R_RAX | 1u << R_RDX | 1u << R_RBP;
    unsigned reg[2], n = 0;
    for (unsigned i = 0; i < N_GUEST_REGS && n < 2; i++) {
        if ((used & 1u << i) == 0)
            reg[n++] = i;
    }
    if (c->producer == 0 || n < 2)
        return true;
    unsigned bits = sizes[machine_random(seed) % 4];
    ZydisEncoderRequest request;
    memset(&request, 0, sizeof request);
    request.machine_mode = ZYDIS_MACHINE_MODE_LONG_64;
    request.mnemonic = mnemonics[c->producer];
    request.operands[0] = reg_operand(reg[0], bits, false);
    request.operands[1] = reg_operand(reg[1], bits, false);
    request.operand_count = 2;
    if (c->producer == 3 || c->producer == 4)
        request.operand_count = 1;
    else if (c->producer >= 5 && c->producer <= 7)
        request.operands[1] = imm_operand(1);
    ZyanUSize room = ZYDIS_MAX_INSTRUCTION_LENGTH;
    if (!ZYAN_SUCCESS(ZydisEncoderEncodeInstruction(&request, c->bytes, &room)))
        return false;
    c->insn_at = room;
    c->defined &= ~(uint64_t)AF; /* undefined after and, shifts */
    return true;
}

/* ---- cases ---- */

static bool is_stack(const Row *row)
{
    return row->mnemonic == ZYDIS_MNEMONIC_PUSH || row->mnemonic == ZYDIS_MNEMONIC_POP ||
           row->mnemonic == ZYDIS_MNEMONIC_LEAVE;
}

/* Where the operand lies: at the end of the page for every other encoding. */
static void place_operand(Case *c, unsigned n, uint64_t *seed)
{
    enum { FROM = 64, SPAN = 3000 };
    uint64_t end = machine_hole();
    unsigned bytes = is_stack(c->row) ? 8 : sizes[c->size] / 8;
    if (n % 2 == 0) {
        c->operand = end - bytes;
        c->window = end - WINDOW_BYTES;
        return;
    }
    c->operand = machine_data() + FROM + machine_random(seed) % SPAN;
    c->window = c->operand - 8;
}

static void choose_registers(Case *c, unsigned n, uint64_t *seed)
{
    static const unsigned bases[] = { R_RBX, R_RBP, R_R12, R_R13, R_RSI, R_R9, R_RSP, R_RAX };
    static const unsigned indexes[] = { R_R14, R_RDX, R_R15, R_RDI, R_R10, R_R11, R_R8, R_RBP };
    static const int32_t disps[] = { 0, 8, -128, 300, -4000, 1, 127, 0x12345678 };
    c->scale = 1u << (n & 3);
    c->a = (unsigned)machine_random(seed) % N_GUEST_REGS;
    c->b = n == 1 ? c->a : (unsigned)machine_random(seed) % N_GUEST_REGS;
    c->base = bases[n % 8];
    c->index = indexes[n % 8];
    c->disp = disps[n % 8];
    if (n == 3 && case_has_memory(c->row) && c->row->shape != SHAPE_MR)
        c->a = c->base; /* loaded into its own base */
    c->high = (n == 2 || n == 5) && sizes[c->size] == 8;
    if (c->high) /* a REX prefix would make it another register */
        c->a %= 4, c->b %= 4, c->base = R_RBX, c->index = R_RDX;
}

static void choose_immediate(Case *c, unsigned n, uint64_t *seed)
{
    c->imm = (int32_t)machine_value(seed);
    if (sizes[c->size] == 16)
        c->imm = (int16_t)c->imm;
    if (sizes[c->size] == 8 || n == 3)
        c->imm = (int8_t)c->imm;
    if (case_is_shift(c->row))
        c->imm = n == 0 ? 1 : (int64_t)(1 + machine_random(seed) % (sizes[c->size] - 1));
}

static uint64_t always_defined(const Row *row)
{
    uint64_t flags = ARITHMETIC | DF;
    for (unsigned i = 0; i < sizeof undefined / sizeof undefined[0]; i++) {
        if (undefined[i].mnemonic == row->mnemonic)
            flags &= ~(uint64_t)undefined[i].flags;
    }
    return flags;
}

bool case_make(Case *c, const Row *row, unsigned size, Mode mode, unsigned n, uint64_t *seed)
{
    *c = (Case){ .row = row, .size = size, .mode = mode };
    choose_registers(c, n, seed);
    choose_immediate(c, n, seed);
    place_operand(c, n, seed);
    c->defined = always_defined(row);
    c->producer = n % 2 == 0 ? 0 : (unsigned)machine_random(seed) % CASE_PRODUCERS;
    size_t length;
    if (!put_producer(c, seed) || !encode(c, c->insn_at, c->bytes + c->insn_at, &length))
        return false;
    c->length = c->insn_at + length;
    return true;
}

/* ---- states ---- */

static void place_registers(const Case *c, RowState *state)
{
    uint64_t address = c->operand;
    if (c->row->mnemonic == ZYDIS_MNEMONIC_LEAVE)
        state->reg[R_RBP] = address;
    else if (is_stack(c->row))
        state->reg[R_RSP] = address + (c->row->mnemonic == ZYDIS_MNEMONIC_PUSH ? 8 : 0);
    if (!case_has_memory(c->row) || c->mode == MODE_ABSOLUTE ||
        c->row->mnemonic == ZYDIS_MNEMONIC_LEA)
        return;
    if (c->mode == MODE_FS)
        address -= machine_fs();
    state->reg[c->base] = address - (uint64_t)(int64_t)c->disp -
                          (c->mode == MODE_INDEX ? state->reg[c->index] * c->scale : 0);
}

void case_state(const Case *c, RowState *state, uint64_t *seed)
{
    for (unsigned i = 0; i < N_GUEST_REGS; i++)
        state->reg[i] = machine_value(seed);
    for (unsigned i = 0; i < BATCH_WINDOW; i++)
        state->window[i] = machine_value(seed);
    state->rflags = FIXED_FLAGS | (machine_random(seed) & ARITHMETIC);
    if (c->row->shape == SHAPE_RC)
        state->reg[R_RCX] = machine_random(seed);
    place_registers(c, state);
}

uint64_t case_flags(const Case *c, const RowState *before)
{
    uint64_t flags = c->defined;
    unsigned bits = sizes[c->size];
    uint64_t count = c->row->shape == SHAPE_RC ? before->reg[R_RCX] : (uint64_t)c->imm;
    count &= bits == 64 ? 63 : 31;
    for (unsigned i = 0; i < sizeof undefined_by_count / sizeof undefined_by_count[0]; i++) {
        if (undefined_by_count[i].mnemonic != c->row->mnemonic)
            continue;
        flags &= ~(uint64_t)(count != 0 ? undefined_by_count[i].not_zero : 0);
        flags &= ~(uint64_t)(count > 1 ? undefined_by_count[i].not_one : 0);
        flags &= ~(uint64_t)(count >= bits ? undefined_by_count[i].not_less : 0);
    }
    return flags;
}
