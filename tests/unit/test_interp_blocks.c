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
#include "support/pieces.h"
#include "support/vm_double.h"

#include <stdio.h>
#include <string.h>

enum { SNIPPETS = 6000, MAX_INSNS = 14, STATES = 3, ARITHMETIC_AND_DF = 0x8d5 | 0x400 };

typedef struct Snippet {
    uint8_t bytes[MACHINE_CODE];
    size_t size;
    uint64_t flags; /* that are defined at every point */
    unsigned piece[MAX_INSNS];
    unsigned n;
} Snippet;

static void append(Snippet *snippet, unsigned which)
{
    const Piece *piece = &pieces[which];
    memcpy(snippet->bytes + snippet->size, piece->bytes, piece->size);
    snippet->size += piece->size;
    if (piece_is_rip_relative(piece)) {
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
        unsigned which = (unsigned)(machine_random(seed) % n_pieces);
        if (piece_is_tail(&pieces[which]))
            continue;
        append(snippet, which);
        if (pieces[which].undefined != 0)
            append(snippet, (unsigned)piece_cmp); /* so that no later one reads what is undefined */
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
        compare(&snippet, &state, i); /* what translates has translated it */
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
