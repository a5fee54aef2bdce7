/*
 * test_interp_blocks.c: random straight code and branches, in the interpreter and on the CPU.
 *
 * What single rows cannot show: flags that live across instructions, fused pairs, thunks over runs
 * with and without flags, RIP-relative operands in thunks, and exact state where an instruction in
 * the middle of it all faults. A snippet is a dozen instructions from a list of encodings whose
 * memory operands lie in the data (RBX, R13) or, for one of them in some snippets, in a hole.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/record.h"
#include "support/cmocka.h"
#include "support/machine.h"
#include "support/vm_double.h"

#include <stdio.h>
#include <string.h>

enum { SNIPPETS = 6000, MAX_INSNS = 14, STATES = 3, ARITHMETIC_AND_DF = 0x8d5 | 0x400 };

typedef struct Piece {
    uint8_t size;
    uint8_t bytes[15];
    uint16_t undefined; /* RFLAGS bits that it leaves undefined */
    const char *text;
} Piece;

#define PIECE(undefined, text, ...)                                                                \
    {                                                                                              \
        sizeof((uint8_t[]){ __VA_ARGS__ }), { __VA_ARGS__ }, undefined, text                       \
    }

enum { AF = 0x10, ZF = 0x40, SF = 0x80, PF = 4, CF = 1, OF = 0x800 };

// clang-format off
static const Piece pieces[] = {
    PIECE(0, "add rax, rcx",           0x48, 0x01, 0xc8),
    PIECE(0, "add edx, [rbx + 8]",     0x03, 0x53, 0x08),
    PIECE(0, "add [rbx + 16], rsi",    0x48, 0x01, 0x73, 0x10),
    PIECE(0, "sub r8d, 5",             0x41, 0x83, 0xe8, 0x05),
    PIECE(0, "sub cl, dl",             0x28, 0xd1),
    PIECE(0, "cmp rax, r9",            0x4c, 0x39, 0xc8),
    PIECE(0, "cmp word [r13 + 2], 7",  0x66, 0x41, 0x83, 0x7d, 0x02, 0x07),
    PIECE(AF, "and edi, edx",          0x21, 0xd7),
    PIECE(AF, "xor r10d, r10d",        0x45, 0x31, 0xd2),
    PIECE(AF, "test al, al",           0x84, 0xc0),
    PIECE(0, "adc rax, rdx",           0x48, 0x11, 0xd0),
    PIECE(0, "sbb ecx, ecx",           0x19, 0xc9),
    PIECE(0, "inc rsi",                0x48, 0xff, 0xc6),
    PIECE(0, "dec dword [rbx]",        0xff, 0x0b),
    PIECE(0, "neg r11",                0x49, 0xf7, 0xdb),
    PIECE(0, "not edx",                0xf7, 0xd2),
    PIECE(AF, "shl rax, 1",            0x48, 0xd1, 0xe0),
    PIECE(AF | OF, "shr edx, 7",       0xc1, 0xea, 0x07),
    PIECE(AF | OF, "sar r9, 63",       0x49, 0xc1, 0xf9, 0x3f),
    PIECE(OF, "rol eax, 13",           0xc1, 0xc0, 0x0d),
    PIECE(SF | ZF | AF | PF, "imul rdx, rax", 0x48, 0x0f, 0xaf, 0xd0),
    PIECE(SF | ZF | AF | PF, "mul rcx",       0x48, 0xf7, 0xe1),
    PIECE(OF | SF | AF | PF, "bt rax, 5",     0x48, 0x0f, 0xba, 0xe0, 0x05),
    PIECE(0, "setl al",                0x0f, 0x9c, 0xc0),
    PIECE(0, "seto [rbx + 3]",         0x0f, 0x90, 0x43, 0x03),
    PIECE(0, "cmovbe rdx, rdi",        0x48, 0x0f, 0x46, 0xd7),
    PIECE(0, "cmovs ecx, [rbx + 4]",   0x0f, 0x48, 0x4b, 0x04),
    PIECE(0, "setp r8b",               0x41, 0x0f, 0x9a, 0xc0),
    PIECE(0, "mov rax, [r13]",         0x49, 0x8b, 0x45, 0x00),
    PIECE(0, "mov [rbx + 24], ch",     0x88, 0x6b, 0x18),
    PIECE(0, "mov dh, al",             0x88, 0xc6),
    PIECE(0, "movzx ecx, ah",          0x0f, 0xb6, 0xcc),
    PIECE(0, "movsx rsi, byte [rbx]",  0x48, 0x0f, 0xbe, 0x33),
    PIECE(0, "lea rdx, [rax+rcx*4+1]", 0x48, 0x8d, 0x54, 0x88, 0x01),
    PIECE(0, "push rdi",               0x57),
    PIECE(0, "pushf; pop r10",         0x9c, 0x41, 0x5a),
    PIECE(0, "push r10; popf",         0x41, 0x52, 0x81, 0x24, 0x24, 0xd5, 0x08, 0x00, 0x00, 0x9d),
    PIECE(0, "lahf",                   0x9f),
    PIECE(0, "sahf",                   0x9e),
    PIECE(0, "stc",                    0xf9),
    PIECE(0, "cmc",                    0xf5),
    PIECE(0, "std; cld",               0xfd, 0xfc),
    PIECE(0, "cqo",                    0x48, 0x99),
    PIECE(0, "bswap rdi",              0x48, 0x0f, 0xcf),
    PIECE(0, "xchg rax, rsi",          0x48, 0x96),
    PIECE(0, "lock xadd [rbx], rax",   0xf0, 0x48, 0x0f, 0xc1, 0x03),
    PIECE(0, "lock cmpxchg [rbx], edx", 0xf0, 0x0f, 0xb1, 0x13),
    PIECE(0, "popcnt rax, rdx",        0xf3, 0x48, 0x0f, 0xb8, 0xc2),
    PIECE(OF | SF | AF | PF, "tzcnt ecx, edx", 0xf3, 0x0f, 0xbc, 0xca),
    PIECE(0, "movups xmm1, [rbx]",     0x0f, 0x10, 0x0b),
    PIECE(0, "movups [r13 + 32], xmm2", 0x41, 0x0f, 0x11, 0x55, 0x20),
    PIECE(0, "paddd xmm1, xmm2",       0x66, 0x0f, 0xfe, 0xca),
    PIECE(0, "ucomisd xmm1, xmm3",     0x66, 0x0f, 0x2e, 0xcb),
    PIECE(0, "ptest xmm0, xmm1",       0x66, 0x0f, 0x38, 0x17, 0xc1),
    PIECE(0, "movq rax, xmm1",         0x66, 0x48, 0x0f, 0x7e, 0xc8),
    PIECE(0, "pmovmskb edx, xmm1",     0x66, 0x0f, 0xd7, 0xd1),
    PIECE(0, "pxor xmm2, [rip + data]", 0x66, 0x0f, 0xef, 0x15, 0, 0, 0, 0),
    PIECE(0, "movq r8, [rip + data]",  0x4c, 0x8b, 0x05, 0, 0, 0, 0),
    PIECE(0, "vpaddq ymm3, ymm3, [rip + data]", 0xc5, 0xe5, 0xd4, 0x1d, 0, 0, 0, 0),
    PIECE(0, "rep movsb, 3 bytes",     0x51, 0x56, 0x57, 0xb9, 3, 0, 0, 0, 0x48, 0x89, 0xde, 0x4c, 0x89, 0xef, 0xf3),
    PIECE(0, "rep tail",               0xa4, 0x5f, 0x5e, 0x59),
    PIECE(0, "movsb backwards",        0x57, 0x56, 0x48, 0x89, 0xde, 0x4c, 0x89, 0xef, 0xfd, 0xa4, 0xfc, 0x5e, 0x5f),
    PIECE(0, "fld [rbx]; fstp [r13]",  0xd9, 0x03, 0x41, 0xd9, 0x5d, 0x00),
    PIECE(0, "xadd rsp-relative",      0x48, 0x0f, 0xc1, 0x44, 0x24, 0xf0),
    PIECE(0, "cmp eax, 7; jl +3 over bswap", 0x83, 0xf8, 0x07, 0x7c, 0x03, 0x48, 0x0f, 0xc8),
    PIECE(AF, "test cl, 3; jnz +2 over not", 0xf6, 0xc1, 0x03, 0x75, 0x02, 0xf7, 0xd1),
    PIECE(0, "cmp [rbx], rax; ja +2 over inc", 0x48, 0x39, 0x03, 0x77, 0x02, 0xff, 0xc0),
    PIECE(0, "jo +3 over add",         0x70, 0x03, 0x48, 0x01, 0xf6),
    PIECE(0, "jp +3 over sub",         0x7a, 0x03, 0x48, 0x29, 0xf6),
    PIECE(0, "call +1; ret; add rsp",  0xe8, 0x02, 0, 0, 0, 0xeb, 0x01, 0xc3),
    PIECE(0, "nop",                    0x0f, 0x1f, 0x44, 0x00, 0x00),
};
// clang-format on

enum { N_PIECES = sizeof pieces / sizeof pieces[0], CMP_RAX_R9 = 5 };

typedef struct Snippet {
    uint8_t bytes[MACHINE_CODE];
    size_t size;
    uint64_t flags; /* that are defined at every point */
    unsigned piece[MAX_INSNS];
    unsigned n;
} Snippet;

static bool is_rip_relative(const Piece *piece)
{
    return strstr(piece->text, "[rip") != NULL;
}

static void append(Snippet *snippet, unsigned which)
{
    const Piece *piece = &pieces[which];
    memcpy(snippet->bytes + snippet->size, piece->bytes, piece->size);
    snippet->size += piece->size;
    if (is_rip_relative(piece)) {
        int32_t distance = (int32_t)(machine_data() + 128 - (machine_code() + snippet->size));
        memcpy(snippet->bytes + snippet->size - 4, &distance, 4);
    }
    snippet->flags &= ~(uint64_t)piece->undefined;
    snippet->piece[snippet->n++] = which;
}

static void make_snippet(Snippet *snippet, uint64_t *seed)
{
    *snippet = (Snippet){ .flags = ARITHMETIC_AND_DF };
    unsigned wanted = 1 + (unsigned)(machine_random(seed) % (MAX_INSNS - 2));
    while (snippet->n + 1 < wanted || snippet->n == 0) {
        unsigned which = (unsigned)(machine_random(seed) % N_PIECES);
        if (strcmp(pieces[which].text, "rep tail") == 0)
            continue;
        append(snippet, which);
        if (pieces[which].undefined != 0)
            append(snippet, CMP_RAX_R9); /* so that no later one reads what is undefined */
        if (strcmp(pieces[which].text, "rep movsb, 3 bytes") == 0)
            append(snippet, which + 1);
    }
}

static void compare(const Snippet *snippet, MachineState *native, uint64_t seed)
{
    static MachineState interp;
    interp = *native;
    machine_run_native(native);
    machine_run_interp(&interp);
    if (machine_same(native, &interp, snippet->flags))
        return;
    fprintf(stderr, "snippet of seed %llu:\n", (unsigned long long)seed);
    for (unsigned i = 0; i < snippet->n; i++)
        fprintf(stderr, "  %s\n", pieces[snippet->piece[i]].text);
    fail();
}

static void put_pointers(MachineState *state, uint64_t *seed)
{
    state->reg[R_RBX] = machine_data() + 64 + machine_random(seed) % 256;
    state->reg[R_R13] = machine_data() + 600 + machine_random(seed) % 256;
}

static void straight_code_and_branches(void **cmocka_state)
{
    (void)cmocka_state;
    static Snippet snippet;
    static MachineState state;
    for (uint64_t i = 1; i <= SNIPPETS; i++) {
        uint64_t seed = i * 1000003;
        make_snippet(&snippet, &seed);
        machine_load(snippet.bytes, snippet.size);
        for (unsigned n = 0; n < STATES; n++) {
            machine_randomize(&state, &seed);
            put_pointers(&state, &seed);
            compare(&snippet, &state, i);
            assert_int_equal(state.signal, 0);
        }
    }
}

static void state_is_exact_where_it_faults(void **cmocka_state)
{
    (void)cmocka_state;
    static Snippet snippet;
    static MachineState state;
    unsigned faults = 0;
    for (uint64_t i = 1; i <= SNIPPETS; i++) {
        uint64_t seed = i * 7000003;
        make_snippet(&snippet, &seed);
        machine_load(snippet.bytes, snippet.size);
        machine_randomize(&state, &seed);
        put_pointers(&state, &seed);
        uint64_t which = machine_random(&seed) % 3;
        uint64_t hole = machine_hole() + machine_random(&seed) % 512;
        if (which == 0)
            state.reg[R_RBX] = hole;
        else if (which == 1)
            state.reg[R_R13] = hole;
        else
            state.reg[R_RSP] = machine_hole() + 1024;
        compare(&snippet, &state, i);
        faults += state.signal != 0;
    }
    assert_in_range(faults, SNIPPETS / 3, SNIPPETS);
}

/* Loads, runs once in the interpreter only, and says how many instructions the counters counted. */
static uint64_t counted(const uint8_t *code, size_t size, MachineState *state)
{
    machine_load(code, size);
    uint64_t before = vm_double_instructions();
    machine_run_interp(state);
    return vm_double_instructions() - before;
}

static void counts_what_was_executed(void **cmocka_state)
{
    (void)cmocka_state;
    static MachineState state;
    uint64_t seed = 5;
    static const uint8_t loop[] = { 0xb9, 10,   0,    0, 0, /* mov ecx, 10 */
                                    0x48, 0x83, 0xc0, 1,    /* add rax, 1 */
                                    0xff, 0xc9,             /* dec ecx */
                                    0x75, 0xf8 };           /* jnz add */
    static const uint8_t fault[] = { 0x48, 0xff, 0xc0, 0x48, 0xff, 0xc0, 0x8b, 0x03, 0x90 };
    machine_randomize(&state, &seed);
    assert_int_equal(counted(loop, sizeof loop, &state), 1 + 10 * 3 + 1); /* and the syscall */
    state.reg[R_RBX] = machine_hole();
    assert_int_equal(counted(fault, sizeof fault, &state), 2);
}

static void a_trap_is_behind_its_instruction(void **cmocka_state)
{
    (void)cmocka_state;
    static Snippet snippet = { .size = 4,
                               .bytes = { 0x90, 0xcc, 0xff, 0xc0 },
                               .flags = ARITHMETIC_AND_DF };
    static MachineState state;
    uint64_t seed = 9;
    machine_load(snippet.bytes, snippet.size);
    machine_randomize(&state, &seed);
    compare(&snippet, &state, 9);
    assert_int_equal(state.pc, machine_code() + 2);
}

int main(void)
{
    machine_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(straight_code_and_branches),
        cmocka_unit_test(state_is_exact_where_it_faults),
        cmocka_unit_test(counts_what_was_executed),
        cmocka_unit_test(a_trap_is_behind_its_instruction),
    };
    return cmocka_run_group_tests_name("interp-blocks", tests, NULL, NULL);
}
