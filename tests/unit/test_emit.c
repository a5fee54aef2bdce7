/*
 * test_emit.c: what emit.c writes, read by Zydis.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/emit.h"
#include "support/cmocka.h"

#include <Zydis/Zydis.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { ROOM = 64, TEXT = 96 };

static const char *const names[] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                     "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15" };
static const int32_t displacements[] = {
    0, 8, 127, 128, -1, -128, -129, -4096, 1 << 20, INT32_MIN
};
enum { N_DISPLACEMENTS = sizeof displacements / sizeof displacements[0] };

static _Alignas(16) uint8_t bytes[ROOM + 16];
static Code code;

static void begin(unsigned at)
{
    code = (Code){ bytes + at, bytes + sizeof bytes };
}

/* The instruction at `at`; where the next one begins. */
static const uint8_t *read_insn(const uint8_t *at, ZydisDecodedInstruction *insn,
                                ZydisDecodedOperand *operands)
{
    ZydisDecoder decoder;
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    if (ZYAN_FAILED(
            ZydisDecoderDecodeFull(&decoder, at, (ZyanUSize)(code.at - at), insn, operands)))
        fail_msg("no instruction at byte %td", at - bytes);
    return at + insn->length;
}

/* All that was emitted since begin(0) is this one instruction. */
static void expect(const char *wanted)
{
    ZydisFormatter formatter;
    ZydisDecodedInstruction insn;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    char text[TEXT];
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    ZydisFormatterSetProperty(&formatter, ZYDIS_FORMATTER_PROP_DISP_PADDING,
                              ZYDIS_PADDING_DISABLED);
    ZydisFormatterSetProperty(&formatter, ZYDIS_FORMATTER_PROP_IMM_PADDING, ZYDIS_PADDING_DISABLED);
    assert_ptr_equal(read_insn(bytes, &insn, operands), code.at);
    ZydisFormatterFormatInstruction(&formatter, &insn, operands, insn.operand_count_visible, text,
                                    sizeof text, (ZyanU64)(uintptr_t)bytes, NULL);
    assert_string_equal(text, wanted);
}

/* As the formatter writes it: upper case after 0x, a sign before it. */
static void put_displacement(char *text, size_t size, int64_t value)
{
    snprintf(text, size, "%c0x%" PRIX64, value < 0 ? '-' : '+',
             (uint64_t)(value < 0 ? -value : value));
}

static void expect_gs(const char *before, int32_t displacement, const char *after)
{
    char wanted[4 * TEXT], number[TEXT];
    /* Alone, an address is shown as 64 bits. */
    snprintf(number, sizeof number, "0x%016" PRIX64, (uint64_t)(int64_t)displacement);
    snprintf(wanted, sizeof wanted, "%s gs:[%s]%s", before, number, after);
    expect(wanted);
}

static void area_operands(void **state)
{
    (void)state;
    char text[TEXT];
    for (unsigned d = 0; d < N_DISPLACEMENTS; d++) {
        int32_t at = displacements[d];
        for (unsigned reg = 0; reg < 16; reg++) {
            begin(0);
            emit_gs_load(&code, reg, at);
            snprintf(text, sizeof text, "mov %s,", names[reg]);
            expect_gs(text, at, "");
            begin(0);
            emit_gs_store(&code, at, reg);
            snprintf(text, sizeof text, ", %s", names[reg]);
            expect_gs("mov", at, text);
        }
        begin(0);
        emit_gs_inc(&code, at);
        expect_gs("inc", at, "");
        begin(0);
        emit_gs_pop(&code, at);
        expect_gs("pop", at, "");
        begin(0);
        emit_gs_jump(&code, at);
        expect_gs("jmp", at, "");
        begin(0);
        emit_gs_store4(&code, at, 0x12345678);
        expect_gs("mov dword ptr", at, ", 0x12345678");
    }
    begin(0);
    emit_gs_jump_table(&code, R_RCX, -0x1000);
    expect("jmp gs:[rcx*8-0x1000]");
    begin(0);
    emit_gs_jump_table(&code, R_RAX, 0x20);
    expect("jmp gs:[rax*8+0x20]");
}

static void expect_lea(unsigned reg, unsigned base, int32_t displacement)
{
    char wanted[2 * TEXT], number[TEXT] = "";
    begin(0);
    emit_lea(&code, true, reg, base, displacement);
    if (displacement != 0)
        put_displacement(number, sizeof number, displacement);
    snprintf(wanted, sizeof wanted, "lea %s, [%s%s]", names[reg], names[base], number);
    expect(wanted);
}

static void registers(void **state)
{
    (void)state;
    char wanted[2 * TEXT];
    for (unsigned reg = 0; reg < 8; reg++) {
        for (unsigned base = 0; base < 8; base++) {
            for (unsigned d = 0; d < N_DISPLACEMENTS; d++)
                expect_lea(reg, base, displacements[d]);
        }
    }
    for (unsigned reg = 0; reg < 16; reg++) {
        begin(0);
        emit_constant(&code, reg, UINT64_C(0xFEDCBA9876543210));
        snprintf(wanted, sizeof wanted, "mov %s, 0xFEDCBA9876543210", names[reg]);
        expect(wanted);
        for (unsigned from = 0; from < 16; from++) {
            begin(0);
            emit_move(&code, reg, from);
            snprintf(wanted, sizeof wanted, "mov %s, %s", names[reg], names[from]);
            expect(wanted);
        }
    }
    begin(0);
    emit_lea_sum(&code, R_RCX, R_RCX, R_RAX);
    expect("lea rcx, [rcx+rax*1]");
    begin(0);
    emit_low_word(&code, R_RAX, R_RCX);
    expect("movzx eax, cx");
    begin(0);
    emit_stack_load(&code, R_RCX, -8);
    expect("mov rcx, [rsp-0x8]");
    begin(0);
    emit_stack_load(&code, R_RCX, 0);
    expect("mov rcx, [rsp]");
}

/* The last instruction is a jump whose field is aligned and leads to `target`. */
static void expect_jump(const uint8_t *field, const uint8_t *target)
{
    ZydisDecodedInstruction insn;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    ZyanU64 address;
    assert_ptr_equal(read_insn(field - 1, &insn, operands), code.at);
    assert_int_equal(insn.mnemonic, ZYDIS_MNEMONIC_JMP);
    assert_true(ZYAN_SUCCESS(
        ZydisCalcAbsoluteAddress(&insn, &operands[0], (ZyanU64)(uintptr_t)(field - 1), &address)));
    assert_ptr_equal((const uint8_t *)(uintptr_t)address, target);
}

static void links_are_aligned(void **state)
{
    (void)state;
    ZydisDecodedInstruction insn;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    for (unsigned at = 0; at < 16; at++) {
        begin(at);
        uint8_t *field = emit_link(&code, bytes);
        assert_int_equal((uintptr_t)field & 3, 0);
        for (const uint8_t *before = bytes + at; before < field - 1;) {
            before = read_insn(before, &insn, operands);
            assert_int_equal(insn.mnemonic, ZYDIS_MNEMONIC_NOP);
        }
        expect_jump(field, bytes);
        emit_patch(field, bytes + ROOM);
        expect_jump(field, bytes + ROOM);
    }
}

/* A guest instruction with a RIP-relative operand, and what its copy is. */
typedef struct Case {
    uint8_t size, modrm;
    uint8_t insn[15];
    unsigned reg;
    const char *far;
} Case;

// clang-format off
static const Case cases[] = {
    { 7, 2, { 0x48, 0x8b, 0x15, 1, 2, 3, 4 },                R_RAX, "mov rdx, [rax]" },
    { 7, 2, { 0x48, 0x8d, 0x05, 1, 2, 3, 4 },                R_RCX, "lea rax, [rcx]" },
    { 7, 1, { 0x83, 0x05, 1, 2, 3, 4, 5 },                   R_RAX, "add dword ptr [rax], 0x5" },
    { 8, 3, { 0x66, 0x0f, 0xef, 0x15, 1, 2, 3, 4 },          R_RCX, "pxor xmm2, [rcx]" },
    { 8, 3, { 0xc5, 0xe5, 0xd4, 0x1d, 1, 2, 3, 4 },          R_RAX, "vpaddq ymm3, ymm3, [rax]" },
    { 10, 5, { 0x62, 0xf1, 0x7d, 0x48, 0xfe, 0x0d, 1, 2, 3, 4 }, R_RCX, "vpaddd zmm1, zmm0, [rcx]" },
};
// clang-format on

static void far_operands(void **state)
{
    (void)state;
    enum { LOAD_ADDRESS = 10 };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        GuestInsn insn = { .size = cases[i].size,
                           .rip_modrm = cases[i].modrm,
                           .rip_target = (uint64_t)(uintptr_t)bytes + (UINT64_C(1) << 33) };
        memcpy(insn.bytes, cases[i].insn, sizeof cases[i].insn);
        begin(0);
        assert_false(emit_copy_reaches(&code, &insn));
        emit_copy_by(&code, &insn, cases[i].reg);
        assert_int_equal(code.at - bytes, LOAD_ADDRESS + cases[i].size);
        assert_memory_equal(bytes + 2, &insn.rip_target, sizeof insn.rip_target);
        memmove(bytes, bytes + LOAD_ADDRESS, cases[i].size);
        code.at = bytes + cases[i].size;
        char text[TEXT];
        snprintf(text, sizeof text, "%s", cases[i].far);
        expect(text);
        insn.rip_target = (uint64_t)(uintptr_t)bytes + (1 << 30);
        begin(0);
        assert_true(emit_copy_reaches(&code, &insn));
        emit_copy(&code, &insn);
        int32_t distance;
        memcpy(&distance, bytes + cases[i].modrm + 1, sizeof distance);
        assert_int_equal((uint64_t)(uintptr_t)code.at + (uint64_t)(int64_t)distance,
                         insn.rip_target);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(area_operands),
        cmocka_unit_test(registers),
        cmocka_unit_test(links_are_aligned),
        cmocka_unit_test(far_operands),
    };
    return cmocka_run_group_tests_name("emit", tests, NULL, NULL);
}
