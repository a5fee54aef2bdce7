/*
 * test_cache_blocks.c: random programs of a few basic blocks, in the code cache and on the CPU.
 *
 *     block 0   pieces, a random end ─┬─► a later block          R12  rounds that are left
 *     block 1   pieces, a random end ─┤                          R14  table of block addresses
 *     ...                             └─► an earlier one,        R15  index into it
 *     function  pieces, ret                while R12 is left
 *
 * Ends are jcc of all conditions, loop and jrcxz, jmp, call, indirect jumps and calls through
 * registers and memory, with one target or several. Each program runs from several states: the
 * first visit interprets and translates, later ones run what was translated. The cache has the
 * smallest bound: the arenas are emptied all the time.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/evict.h"
#include "support/cmocka.h"
#include "support/machine.h"
#include "support/pieces.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PROGRAMS = 3000,
    STATES = 6,
    BLOCKS = 6,
    FUNCTIONS = 2, /* the last of them */
    MOST_PIECES = 4,
    MOST_PATCHES = 4 * BLOCKS,
    ROUNDS = 9,
    MANY_ROUNDS = 70000, /* a trace is made anew, longer, after 20,000 entries */
    MANY_EVERY = 100,
    TABLE = 2000, /* in the data */
    TABLE_SIZE = 4,
    SPARE = 80, /* bytes that a block may need */
    COMPARED_FLAGS = 0x8d5 | 0x400,
};

typedef struct Patch {
    unsigned at; /* of a 4-byte distance */
    unsigned to; /* block */
} Patch;

typedef struct Program {
    uint8_t bytes[MACHINE_CODE];
    size_t size;
    unsigned start[BLOCKS + 1]; /* the last is the end of it all */
    Patch patch[MOST_PATCHES];
    unsigned n_patches;
    unsigned target[TABLE_SIZE]; /* blocks that the table has: functions behind the others */
    uint64_t *seed;
} Program;

static uint64_t pick(Program *program, uint64_t n)
{
    return machine_random(program->seed) % n;
}

static void put(Program *program, const void *bytes, size_t n)
{
    memcpy(program->bytes + program->size, bytes, n);
    program->size += n;
}

#define PUT(program, ...)                                                                          \
    put(program, (uint8_t[]){ __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ }))

static void put_distance(Program *program, unsigned to)
{
    program->patch[program->n_patches++] = (Patch){ (unsigned)program->size, to };
    PUT(program, 0, 0, 0, 0);
}

static void put_piece(Program *program, size_t which)
{
    put(program, pieces[which].bytes, pieces[which].size);
    if (piece_is_rip_relative(&pieces[which])) {
        int32_t distance = (int32_t)(machine_data() + 128 - (machine_code() + program->size));
        memcpy(program->bytes + program->size - 4, &distance, 4);
    }
}

/* A stack that is left as it was: the block may be a function. */
static bool is_balanced(const Piece *piece)
{
    return strcmp(piece->text, "push rdi") != 0;
}

static void put_pieces(Program *program)
{
    for (uint64_t n = pick(program, MOST_PIECES + 1); n-- > 0;) {
        size_t which = pick(program, n_pieces);
        if (piece_is_tail(&pieces[which]) || !is_balanced(&pieces[which]))
            continue;
        put_piece(program, which);
        if (which + 1 < n_pieces && piece_is_tail(&pieces[which + 1]))
            put_piece(program, which + 1);
        if (pieces[which].undefined != 0)
            put_piece(program, piece_cmp);
    }
}

/* ---- ends of blocks ---- */

/* A later block of the main part, or the end. */
static unsigned later(Program *program, unsigned block)
{
    unsigned last = BLOCKS - FUNCTIONS;
    unsigned to = block + 1 + (unsigned)pick(program, last - block);
    return to == last ? BLOCKS : to;
}

static void end_jcc(Program *program, unsigned block)
{
    PUT(program, 0x0f, (uint8_t)(0x80 | pick(program, 16)));
    put_distance(program, later(program, block));
}

/* jrcxz or a loop of none: a short jump over nothing, the block behind is the same either way. */
static void end_count(Program *program, unsigned block)
{
    (void)block;
    static const uint8_t opcodes[] = { 0xe0, 0xe1, 0xe2, 0xe3 };
    PUT(program, opcodes[pick(program, sizeof opcodes)], 0x03, 0x48, 0xff, 0xc7); /* over inc rdi */
}

static void end_jump(Program *program, unsigned block)
{
    PUT(program, 0xe9);
    put_distance(program, later(program, block));
}

static void end_loop(Program *program, unsigned block)
{
    PUT(program, 0x41, 0xff, 0xcc, 0x0f, 0x8f); /* dec r12d; jg */
    put_distance(program, (unsigned)pick(program, block + 1));
}

static void end_call(Program *program, unsigned block)
{
    (void)block;
    PUT(program, 0xe8);
    put_distance(program, BLOCKS - 1 - (unsigned)pick(program, FUNCTIONS));
}

/* Which entry of the table: a constant, or one that changes from round to round. */
static void put_index(Program *program)
{
    if (pick(program, 3) == 0)
        PUT(program, 0x41, 0xbf, (uint8_t)pick(program, 2), 0, 0, 0); /* mov r15d, entry */
    else
        PUT(program, 0x45, 0x89, 0xe7, 0x41, 0x83, 0xe7, 0x01); /* mov r15d, r12d; and r15d, 1 */
    put_piece(program, piece_cmp);
}

/* The first half of the table has functions. */
static void end_call_indirect(Program *program, unsigned block)
{
    (void)block;
    put_index(program);
    switch (pick(program, 3)) {
    case 0:
        PUT(program, 0x43, 0xff, 0x14, 0xfe); /* call [r14 + r15 * 8] */
        break;
    case 1:
        PUT(program, 0x4b, 0x8b, 0x04, 0xfe, 0xff, 0xd0); /* mov rax, [...]; call rax */
        break;
    default:
        PUT(program, 0x4b, 0x8b, 0x0c, 0xfe, 0xff, 0xd1); /* mov rcx, [...]; call rcx */
    }
}

/* The second half has blocks of the main part that end it. */
static void end_jump_indirect(Program *program, unsigned block)
{
    if (block + 1 < BLOCKS - FUNCTIONS) {
        end_call_indirect(program, block);
        return;
    }
    put_index(program);
    if (pick(program, 2) == 0)
        PUT(program, 0x43, 0xff, 0x64, 0xfe, 0x10); /* jmp [r14 + r15 * 8 + 16] */
    else
        PUT(program, 0x4f, 0x8b, 0x5c, 0xfe, 0x10, 0x41, 0xff, 0xe3); /* mov r11, [...]; jmp r11 */
}

static void put_block(Program *program, unsigned block)
{
    static void (*const ends[])(
        Program *, unsigned) = { end_jcc,  end_jcc,  end_jcc,           end_count,        end_jump,
                                 end_loop, end_call, end_call_indirect, end_jump_indirect };
    program->start[block] = (unsigned)program->size;
    put_pieces(program);
    if (program->size + SPARE > BLOCKS * SPARE)
        program->size = program->start[block]; /* too long: no pieces */
    if (block + FUNCTIONS >= BLOCKS)
        PUT(program, 0xc3);
    else
        ends[pick(program, sizeof ends / sizeof ends[0])](program, block);
}

static void make_program(Program *program, uint64_t *seed)
{
    *program = (Program){ .seed = seed };
    for (unsigned block = 0; block < BLOCKS; block++) {
        if (block == BLOCKS - FUNCTIONS) { /* over the functions */
            PUT(program, 0xe9);
            put_distance(program, BLOCKS);
        }
        put_block(program, block);
    }
    program->start[BLOCKS] = (unsigned)program->size;
    for (unsigned i = 0; i < program->n_patches; i++) {
        const Patch *patch = &program->patch[i];
        int32_t distance = (int32_t)(program->start[patch->to] - (patch->at + 4));
        memcpy(program->bytes + patch->at, &distance, 4);
    }
    for (unsigned i = 0; i < TABLE_SIZE; i++)
        program->target[i] = i < TABLE_SIZE / 2 ? BLOCKS - 1 - i % FUNCTIONS : BLOCKS;
}

/* ---- running ---- */

static void set_state(const Program *program, MachineState *state, uint64_t rounds)
{
    machine_randomize(state, program->seed);
    state->reg[R_RBX] = machine_data() + 64 + machine_random(program->seed) % 256;
    state->reg[R_R13] = machine_data() + 600 + machine_random(program->seed) % 256;
    state->reg[R_R12] = rounds;
    state->reg[R_R14] = machine_data() + TABLE;
    for (unsigned i = 0; i < TABLE_SIZE; i++) {
        uint64_t address = machine_code() + program->start[program->target[i]];
        memcpy(state->data + TABLE + 8 * i, &address, sizeof address);
    }
}

static void dump(const Program *program, unsigned long long number, unsigned n)
{
    fprintf(stderr, "program %llu, state %u:", number, n);
    for (size_t i = 0; i < program->size; i++)
        fprintf(stderr, "%s%02x", i % 32 == 0 ? "\n  " : " ", program->bytes[i]);
    fprintf(stderr, "\n");
}

static void run_program(const Program *program, unsigned long long number)
{
    static MachineState native, cached;
    machine_load(program->bytes, program->size);
    for (unsigned n = 0; n < STATES; n++) {
        bool many = number % MANY_EVERY == 0 && n == STATES - 2;
        set_state(program, &native, many ? MANY_ROUNDS : 1 + n * ROUNDS);
        cached = native;
        machine_run_native(&native);
        machine_run_interp(&cached);
        if (machine_same(&native, &cached, COMPARED_FLAGS))
            continue;
        dump(program, number, n);
        fail();
    }
}

static void random_programs(void **cmocka_state)
{
    (void)cmocka_state;
    static Program program;
    for (unsigned long long i = 1; i <= PROGRAMS; i++) {
        uint64_t seed = i * 2000003;
        make_program(&program, &seed);
        run_program(&program, i);
    }
    printf("%d programs of %d blocks, %d states each; arenas emptied: %llu\n", PROGRAMS, BLOCKS,
           STATES, (unsigned long long)evict_epoch);
    assert_true(evict_epoch > PROGRAMS / 200);
}

int main(void)
{
    setenv("VM_ENGINE", "translate", 1);
    the_vm.options.cache_bytes = 1;
    machine_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_programs),
    };
    return cmocka_run_group_tests_name("cache-blocks", tests, NULL, NULL);
}
