/*
 * test_interp_rows.c: proves every row of the handler table against the CPU.
 *
 * For each row, size and operand mode: encodings (row_cases.c) from random states with many
 * boundary values, at least STATES of them a row; registers, memory and every flag that the manual
 * defines must be what the CPU leaves. A row whose handler is not the one that the decoder picks
 * for its encodings fails, so no row is proven by another's handler. Memory operands also across
 * the end of a page: the fault, and all of the state, must be the CPU's.
 *
 * And the proof is proven: handlers are replaced by wrong ones (a flag turned, another size,
 * another operand), for every row, and each must be noticed.
 *
 * VM_ENGINE=switch and indirect prove the same of their own copies of the routines.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/decode.h"
#include "profiler/fetch.h"
#include "profiler/flags.h"
#include "profiler/flow.h"
#include "profiler/forms.h"
#include "support/cmocka.h"
#include "support/row_cases.h"

#include <Zydis/Mnemonic.h>
#include <stdio.h>
#include <string.h>

enum {
    STATES = 10000, /* a row, at least */
    ENCODINGS = 16, /* of a form */
    FEW = 64,       /* states an encoding, at least */
    CROSSINGS = 6,  /* faulting states an encoding */
    WRONG_STATES = 400,
    ARITHMETIC = 0x8d5,
};

static RowPair pairs[BATCH_MAX];
static uint64_t n_states, n_crossings, n_encodings;
static unsigned n_forms;

/* ---- one encoding ---- */

static void describe(const Case *c, const char *what)
{
    fprintf(stderr, "row %s, size %u, mode %u, producer %u: %s, bytes", c->row->form, 8u << c->size,
            (unsigned)c->mode, c->producer, what);
    for (size_t i = 0; i < c->length; i++)
        fprintf(stderr, " %02x", c->bytes[i]);
    fprintf(stderr, "\n");
}

static bool same(const RowState *cpu, const RowState *interp, uint64_t flags)
{
    return memcmp(cpu->reg, interp->reg, sizeof cpu->reg) == 0 &&
           memcmp(cpu->window, interp->window, sizeof cpu->window) == 0 &&
           ((cpu->rflags ^ interp->rflags) & flags) == 0;
}

static void show_difference(const RowPair *pair, const RowState *interp, uint64_t flags)
{
    for (unsigned i = 0; i < N_GUEST_REGS; i++) {
        if (pair->after.reg[i] != interp->reg[i])
            fprintf(stderr, "  register %u: before %#llx, cpu %#llx, interpreter %#llx\n", i,
                    (unsigned long long)pair->before.reg[i], (unsigned long long)pair->after.reg[i],
                    (unsigned long long)interp->reg[i]);
    }
    for (unsigned i = 0; i < BATCH_WINDOW; i++) {
        if (pair->after.window[i] != interp->window[i])
            fprintf(stderr, "  memory %u: cpu %#llx, interpreter %#llx\n", i,
                    (unsigned long long)pair->after.window[i],
                    (unsigned long long)interp->window[i]);
    }
    fprintf(stderr, "  flags: before %#llx, cpu %#llx, interpreter %#llx\n",
            (unsigned long long)pair->before.rflags,
            (unsigned long long)(pair->after.rflags & flags),
            (unsigned long long)(interp->rflags & flags));
}

/* The CPU's side of `n` states. */
static void prepare(const Case *c, size_t n, uint64_t *seed)
{
    batch_load(c->bytes, c->length, c->window);
    for (size_t i = 0; i < n; i++)
        case_state(c, &pairs[i].before, seed);
    batch_run_native(pairs, n);
    batch_to_interp();
}

/* How many of them the interpreter agrees on before it does not. */
static size_t count_agreed(const Case *c, size_t n, bool loud)
{
    RowState after;
    for (size_t i = 0; i < n; i++) {
        uint64_t flags = case_flags(c, &pairs[i].before);
        batch_run_interp(&pairs[i].before, &after);
        if (same(&pairs[i].after, &after, flags))
            continue;
        if (loud)
            show_difference(&pairs[i], &after, flags);
        return i;
    }
    return n;
}

/* ---- which handler ---- */

static bool picks_its_handler(const Case *c)
{
    static DecodedRun run;
    unsigned slots;
    decode_run(machine_code() + c->insn_at, &run);
    if (run.n == 0)
        return false;
    Handler *picked = form_handler(&run.insn[0], &slots);
    if (run.insn[0].shape != c->row->shape)
        return true; /* the encoder chose another form of the same instruction */
    bool zeroing = c->row->mnemonic == ZYDIS_MNEMONIC_XOR && c->a == c->b;
    bool own = run.insn[0].routine / ROUTINES_OF_ROW == (unsigned)(c->row - interp_rows);
    return (picked == case_handler(c->row, c->size, c->mode) && own) || zeroing ||
           picked == h_mov_long;
}

/* ---- faults ---- */

/* The operand crosses the end of the page. */
static bool crosses_alike(const Case *c, uint64_t *seed)
{
    static MachineState native, interp;
    RowState state;
    unsigned bytes = c->row->shape == SHAPE_NONE || c->row->shape == SHAPE_I ? 8 : 1u << c->size;
    Case crossing = *c;
    if (!case_has_memory(c->row) || c->row->mnemonic == ZYDIS_MNEMONIC_LEA ||
        c->mode == MODE_ABSOLUTE)
        return true;
    for (unsigned i = 0; i < CROSSINGS; i++) {
        machine_randomize(&native, seed);
        crossing.operand = machine_hole() - (bytes - 1) + machine_random(seed) % bytes;
        case_state(&crossing, &state, seed);
        memcpy(native.reg, state.reg, sizeof state.reg);
        native.rflags = state.rflags;
        interp = native;
        machine_run_native(&native);
        machine_run_interp(&interp);
        n_crossings++;
        if (native.signal == 0 || !machine_same(&native, &interp, ARITHMETIC))
            return false;
    }
    return true;
}

/* ---- every row ---- */

static void check(const Case *c, bool good, const char *what)
{
    if (good)
        return;
    describe(c, what);
    fail();
}

static size_t prove(const Case *c, size_t n, uint64_t *seed)
{
    prepare(c, n, seed);
    check(c, picks_its_handler(c), "another handler");
    check(c, count_agreed(c, n, true) == n, "differs");
    if (c->producer == 0)
        check(c, crosses_alike(c, seed), "differs across the end of a page");
    n_encodings++;
    n_states += n;
    return n;
}

/* Calls `visit` for each form of a row: a size and an operand mode that have a handler. */
typedef void Visit(const Row *row, unsigned size, Mode mode, void *argument);
static void each_form(const Row *row, Visit *visit, void *argument)
{
    bool plain = row->shape == SHAPE_NONE || row->shape == SHAPE_I;
    for (unsigned size = plain ? 3 : 0; size < 4; size++) {
        for (Mode mode = 0; mode < (case_has_memory(row) ? MODE_COUNT : 1); mode++) {
            if (case_handler(row, size, mode) != NULL)
                visit(row, size, mode, argument);
        }
    }
}

static void count_form(const Row *row, unsigned size, Mode mode, void *argument)
{
    (void)row, (void)size, (void)mode;
    ++*(unsigned *)argument;
}

typedef struct Proof {
    size_t wanted; /* states an encoding */
    size_t done;   /* states of the row */
    uint64_t seed;
} Proof;

static void prove_form(const Row *row, unsigned size, Mode mode, void *argument)
{
    Proof *proof = argument;
    Case c;
    for (unsigned n = 0; n < ENCODINGS; n++) {
        if (case_make(&c, row, size, mode, n, &proof->seed))
            proof->done += prove(&c, proof->wanted, &proof->seed);
    }
}

static void every_row_does_what_the_cpu_does(void **state)
{
    (void)state;
    Proof proof = { .seed = 1 };
    for (unsigned i = 0; i < ROW_COUNT; i++) {
        const Row *row = &interp_rows[i];
        unsigned forms = 0;
        each_form(row, count_form, &forms);
        n_forms += forms;
        /* Up to a fifth of the encodings may not exist (high bytes, REX). */
        proof.wanted = STATES / (forms * (ENCODINGS - 3)) + 1;
        proof.wanted = proof.wanted < FEW ? FEW : proof.wanted;
        for (proof.done = 0; proof.done < STATES;) {
            size_t before = proof.done;
            each_form(row, prove_form, &proof);
            if (proof.done == before) {
                fprintf(stderr, "row %s: no encoding was tried\n", row->form);
                fail();
            }
        }
    }
    printf("rows: %u, forms: %u, encodings: %llu, states: %llu (at least %u a row), faults: %llu\n",
           (unsigned)ROW_COUNT, n_forms, (unsigned long long)n_encodings,
           (unsigned long long)n_states, (unsigned)STATES, (unsigned long long)n_crossings);
}

/* ---- wrong handlers ---- */

typedef enum Wrong { WRONG_FLAG, WRONG_SIZE, WRONG_OPERAND, WRONG_VALUE, WRONG_KINDS } Wrong;
static const char *const wrong_names[] = { "flag", "size", "operand", "value" };

static Handler *end_handler;
static uint64_t turned_flag;
static size_t lost_reg;

/* In place of the record behind the row's: with one flag turned, or one register changed. */
static uint64_t end_with_wrong_flag(Cpu *cpu, const Op *op, uint64_t fa, uint64_t fb, uint64_t kind)
{
    uint64_t raw = flags_raw(kind, fa, fb) ^ raw_of_rflags(turned_flag);
    return end_handler(cpu, op, raw, 0, FLAGS_RAW);
}

static uint64_t end_with_wrong_value(Cpu *cpu, const Op *op, uint64_t fa, uint64_t fb,
                                     uint64_t kind)
{
    *(uint8_t *)((char *)cpu + lost_reg) ^= 1;
    return end_handler(cpu, op, fa, fb, kind);
}

/* The records of the encoding, made anew; `end`: the one behind the row's. */
static Op *fresh_records(const Case *c, Op **end)
{
    bool real;
    unsigned slots;
    static DecodedRun run;
    interp_invalidate(machine_code(), machine_code() + MACHINE_CODE);
    decode_run(machine_code(), &run);
    form_handler(&run.insn[0], &slots);
    Op *ops = (Op *)(uintptr_t)lookup_code(machine_code(), &real);
    *end = ops + slots;
    return c->producer == 0 && run.insn[0].shape == c->row->shape ? ops : NULL;
}

static bool break_flag(Op *end, uint64_t flag)
{
    turned_flag = flag;
    end_handler = end->run;
    end->run = end_with_wrong_flag;
    return true;
}

static bool break_size(const Case *c, Op *op)
{
    for (unsigned size = 0; size < 4; size++) {
        Handler *other = c->row->shape == SHAPE_NONE || c->row->shape == SHAPE_I
                             ? NULL
                             : case_handler(c->row, size, c->mode);
        if (size == c->size || other == NULL || other == op->run)
            continue;
        op->run = other;
        return true;
    }
    return false;
}

/* Another register for the first operand, or another base, or another value. */
static bool break_operand(const Case *c, Op *op)
{
    if (c->row->shape == SHAPE_NONE)
        return false;
    if (c->row->shape == SHAPE_I)
        op->imm ^= 1;
    else if ((c->row->shape == SHAPE_M || c->row->shape == SHAPE_MI) && c->mode == MODE_ABSOLUTE)
        op[1].word[0] -= 1;
    else if (c->row->shape == SHAPE_M || c->row->shape == SHAPE_MI)
        op->imm -= 1;
    else
        op->a = (uint8_t)((op->a + 8) % (N_GUEST_REGS * 8));
    return true;
}

static bool break_value(const Case *c, Op *end)
{
    if (case_has_memory(c->row))
        return false;
    lost_reg = c->a * 8;
    end_handler = end->run;
    end->run = end_with_wrong_value;
    return true;
}

static unsigned n_broken[WRONG_KINDS];

/* One wrong handler; it must be noticed. */
static void must_notice(const Case *c, Wrong wrong, uint64_t flag)
{
    Op *end, *op = fresh_records(c, &end);
    if (op == NULL || (wrong == WRONG_FLAG && !break_flag(end, flag)) ||
        (wrong == WRONG_SIZE && !break_size(c, op)) ||
        (wrong == WRONG_OPERAND && !break_operand(c, op)) ||
        (wrong == WRONG_VALUE && !break_value(c, end)))
        return;
    n_broken[wrong]++;
    check(c, count_agreed(c, WRONG_STATES, false) < WRONG_STATES, wrong_names[wrong]);
}

/* A wrong size shows in what is written, or in flags. */
static bool size_shows(const Case *c)
{
    return c->row->mnemonic != ZYDIS_MNEMONIC_MOVZX && c->row->mnemonic != ZYDIS_MNEMONIC_BT;
}

/* An encoding whose flags come as they are and whose operand is not at a page's end: a wrong
 * handler may access more. */
static bool make_inside(Case *c, const Row *row, unsigned size, Mode mode, uint64_t *seed)
{
    for (unsigned n = 1; n < 16 * CASE_PRODUCERS; n += 2) {
        if (case_make(c, row, size, mode, n, seed) && c->producer == 0 && c->a != c->b &&
            (c->imm < 0 || case_is_shift(row)))
            return true;
    }
    return false;
}

static void break_form(const Row *row, unsigned size, Mode mode, void *argument)
{
    uint64_t *seed = argument;
    static const uint16_t flags[] = { RFLAGS_CF, RFLAGS_PF, RFLAGS_AF,
                                      RFLAGS_ZF, RFLAGS_SF, RFLAGS_OF };
    Case c;
    if (!make_inside(&c, row, size, mode, seed))
        return;
    prepare(&c, WRONG_STATES, seed);
    for (unsigned i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        RowState with_count = { .reg[R_RCX] = 1 };
        if ((case_flags(&c, &with_count) & flags[i]) != 0)
            must_notice(&c, WRONG_FLAG, flags[i]);
    }
    if (size_shows(&c) && mode == MODE_BASE)
        must_notice(&c, WRONG_SIZE, 0);
    if (mode != MODE_INDEX && mode != MODE_FS)
        must_notice(&c, WRONG_OPERAND, 0);
    must_notice(&c, WRONG_VALUE, 0);
}

static void every_wrong_handler_is_noticed(void **state)
{
    (void)state;
    uint64_t seed = 7;
    if (the_vm.options.engine != ENGINE_THREADED)
        skip(); /* there are no records to break */
    for (unsigned i = 0; i < ROW_COUNT; i++)
        each_form(&interp_rows[i], break_form, &seed);
    printf("handlers broken on purpose, each noticed:");
    for (unsigned i = 0; i < WRONG_KINDS; i++) {
        printf(" %s %u", wrong_names[i], n_broken[i]);
        assert_true(n_broken[i] > ROW_COUNT / 4);
    }
    printf("\n");
}

int main(void)
{
    machine_init();
    batch_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_does_what_the_cpu_does),
        cmocka_unit_test(every_wrong_handler_is_noticed),
    };
    return cmocka_run_group_tests_name("interp-rows", tests, NULL, NULL);
}
