/*
 * test_interp_rows.c: proves every row of the handler table against the CPU.
 *
 * For each row, size and operand mode: encodings with several registers (the same one twice, high
 * bytes as sources), each run from random states with many boundary values; registers, defined
 * flags and memory must be what the CPU leaves. A row whose handler is not the one that the decoder
 * picks for its encodings fails, so no row is proven by another's handler.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/decode.h"
#include "profiler/forms.h"
#include "support/cmocka.h"
#include "support/machine.h"

#include <Zydis/Zydis.h>
#include <stdio.h>
#include <string.h>

enum { STATES = 12, ENCODINGS = 6, DATA_SPAN = 1024 };

static const unsigned sizes[4] = { 8, 16, 32, 64 };

typedef struct Case {
    const Row *row;
    unsigned size; /* index: of the operands, or of the source where the row extends */
    Mode mode;
    unsigned a, b, base, index, scale; /* register numbers */
    int32_t disp;
    int64_t imm;
    uint64_t target; /* MODE_ABSOLUTE: the address */
    bool high;       /* the source is a high byte */
} Case;

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
        operand.mem.displacement = (int64_t)c->target;
        return operand;
    }
    operand.mem.base = ZYDIS_REGISTER_RAX + c->base;
    if (c->mode == MODE_INDEX) {
        operand.mem.index = ZYDIS_REGISTER_RAX + c->index;
        operand.mem.scale = (ZyanU8)c->scale;
    }
    return operand;
}

static unsigned target_bits(const Case *c)
{
    return c->row->to_bits != 0 ? c->row->to_bits : sizes[c->size];
}

/* The operands of the row's shape; returns how many. */
static unsigned operands_of(const Case *c, ZydisEncoderOperand *out)
{
    unsigned bits = sizes[c->size], to = target_bits(c);
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

static bool encode(const Case *c, uint8_t *bytes, size_t *size)
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
            ZydisEncoderEncodeInstructionAbsolute(&request, bytes, &room, machine_code())))
        return false;
    *size = room;
    return true;
}

static bool has_memory(const Row *row)
{
    return row->shape == SHAPE_M || row->shape == SHAPE_RM || row->shape == SHAPE_MR ||
           row->shape == SHAPE_MI || row->shape == SHAPE_RMI;
}

static bool is_shift(const Row *row)
{
    return strncmp(row->proof, "shift", 5) == 0;
}

static Handler *wanted_handler(const Case *c)
{
    if (c->row->shape == SHAPE_NONE || c->row->shape == SHAPE_I)
        return c->row->handlers[0];
    return c->row->handlers[has_memory(c->row) ? c->size * MODE_COUNT + c->mode : c->size];
}

/* A state in which the memory operand lies in the data. */
static void make_state(const Case *c, MachineState *state, uint64_t *seed)
{
    uint64_t address = machine_data() + 64 + machine_random(seed) % DATA_SPAN;
    machine_randomize(state, seed);
    if (strcmp(c->row->proof, "frame") == 0)
        state->reg[R_RBP] = address;
    if (!has_memory(c->row) || c->mode == MODE_ABSOLUTE || c->row->mnemonic == ZYDIS_MNEMONIC_LEA)
        return;
    if (c->mode == MODE_FS)
        address -= machine_fs();
    if (c->mode == MODE_INDEX)
        state->reg[c->index] = machine_random(seed) % 64 - 32;
    state->reg[c->base] = address - (uint64_t)(int64_t)c->disp -
                          (c->mode == MODE_INDEX ? state->reg[c->index] * c->scale : 0);
}

/* Flags that the instruction defines. SDM vol. 2B: overflow only for a count of one. */
static uint64_t defined_flags(const Case *c, const uint8_t *bytes, size_t size,
                              const MachineState *before)
{
    enum { CF = 1, AF = 0x10, OF = 0x800, ARITHMETIC = 0x8d5, DF = 0x400 };
    ZydisDecoder decoder;
    ZydisDecodedInstruction insn;
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    ZydisDecoderDecodeFull(&decoder, bytes, size, &insn, operands);
    uint64_t mask = ARITHMETIC | DF;
    if (insn.cpu_flags != NULL)
        mask &= ~(uint64_t)insn.cpu_flags->undefined;
    uint64_t count = c->row->shape == SHAPE_RC ? before->reg[R_RCX] : (uint64_t)c->imm;
    count &= sizes[c->size] == 64 ? 63 : 31;
    if (is_shift(c->row) && c->row->mnemonic != ZYDIS_MNEMONIC_BT && count != 1)
        mask &= ~(uint64_t)(OF | (c->row->mnemonic == ZYDIS_MNEMONIC_ROL ||
                                          c->row->mnemonic == ZYDIS_MNEMONIC_ROR
                                      ? 0
                                      : AF));
    if (c->row->shape == SHAPE_RC && count >= sizes[c->size])
        mask &= ~(uint64_t)CF;
    return mask;
}

static void check_case(const Case *c, const uint8_t *bytes, size_t size, uint64_t *seed)
{
    static MachineState native, interp;
    for (unsigned i = 0; i < STATES; i++) {
        make_state(c, &native, seed);
        interp = native;
        uint64_t flags = defined_flags(c, bytes, size, &native);
        machine_run_native(&native);
        machine_run_interp(&interp);
        if (native.signal == 0 && machine_same(&native, &interp, flags))
            continue;
        fprintf(stderr, "row %s, %u bits, mode %u, signal %d, bytes", c->row->form, sizes[c->size],
                (unsigned)c->mode, native.signal);
        for (size_t j = 0; j < size; j++)
            fprintf(stderr, " %02x", bytes[j]);
        fprintf(stderr, "\n");
        fail();
    }
}

static void check_handler(const Case *c)
{
    static DecodedRun run;
    unsigned slots;
    decode_run(machine_code(), &run);
    assert_true(run.n > 0);
    Handler *picked = form_handler(&run.insn[0], &slots);
    if (picked == wanted_handler(c) || run.insn[0].shape != c->row->shape)
        return; /* the encoder chose another form of the same instruction */
    bool zeroing = c->row->mnemonic == ZYDIS_MNEMONIC_XOR && c->a == c->b;
    bool long_mov = picked == h_mov_long;
    if (!zeroing && !long_mov) {
        fprintf(stderr, "row %s, %u bits, mode %u: another handler\n", c->row->form, sizes[c->size],
                (unsigned)c->mode);
        fail();
    }
}

/* Registers and numbers of the n-th encoding. */
static Case make_case(const Row *row, unsigned size, Mode mode, unsigned n, uint64_t *seed)
{
    static const unsigned bases[] = { R_RBX, R_RBP, R_R12, R_R13, R_RSI, R_R9 };
    static const unsigned indexes[] = { R_R14, R_RDX, R_R15, R_RDI, R_R10, R_R11 };
    static const int32_t disps[] = { 0, 8, -128, 300, -4000, 1 };
    Case c = { .row = row, .size = size, .mode = mode, .scale = 1u << (n & 3) };
    c.a = (unsigned)machine_random(seed) % N_GUEST_REGS;
    c.b = n == 1 ? c.a : (unsigned)machine_random(seed) % N_GUEST_REGS;
    c.base = bases[n % 6];
    c.index = indexes[n % 6];
    c.disp = disps[n % 6];
    c.high = n == 2 && sizes[size] == 8 && c.a < 8;
    c.target = machine_data() + 64 + machine_random(seed) % DATA_SPAN;
    c.imm = (int32_t)machine_value(seed);
    if (sizes[size] < 32 || n == 3)
        c.imm = (int8_t)c.imm;
    if (is_shift(row))
        c.imm = n == 0 ? 1 : (int64_t)(1 + machine_random(seed) % (sizes[size] - 1));
    while (c.a == R_RSP && has_memory(row))
        c.a = R_R8;
    if (c.high) /* a REX prefix would make it another register */
        c.a %= 4, c.b %= 4, c.base = R_RBX, c.index = R_RDX;
    return c;
}

static unsigned prove(const Row *row, unsigned size, Mode mode, uint64_t *seed)
{
    unsigned encoded = 0;
    for (unsigned n = 0; n < ENCODINGS; n++) {
        Case c = make_case(row, size, mode, n, seed);
        uint8_t bytes[ZYDIS_MAX_INSTRUCTION_LENGTH];
        size_t length;
        if (c.a == R_RSP || (c.b == R_RSP && row->mnemonic == ZYDIS_MNEMONIC_XCHG))
            c.a = R_RDI, c.b = R_RSI;
        if (!encode(&c, bytes, &length))
            continue;
        encoded++;
        machine_load(bytes, length);
        check_handler(&c);
        check_case(&c, bytes, length, seed);
    }
    return encoded;
}

static void every_row_does_what_the_cpu_does(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (unsigned i = 0; i < ROW_COUNT; i++) {
        const Row *row = &interp_rows[i];
        unsigned encoded = 0;
        bool plain = row->shape == SHAPE_NONE || row->shape == SHAPE_I;
        for (unsigned size = plain ? 3 : 0; size < 4; size++) {
            for (Mode mode = 0; mode < (has_memory(row) ? MODE_COUNT : 1); mode++) {
                Case c = { .row = row, .size = size, .mode = mode };
                if (plain || wanted_handler(&c) != NULL)
                    encoded += prove(row, size, mode, &seed);
            }
        }
        if (encoded == 0) {
            fprintf(stderr, "row %s: no encoding was tried\n", row->form);
            fail();
        }
    }
}

int main(void)
{
    machine_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_does_what_the_cpu_does),
    };
    return cmocka_run_group_tests_name("interp-rows", tests, NULL, NULL);
}
