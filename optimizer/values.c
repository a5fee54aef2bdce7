/*
 * values.c: the value analysis run over a function until nothing changes.
 *
 * Blocks are taken in order of address, again and again while their entry states change; after a
 * few changes of one block, bounds that still grow are given up (a counter that a loop increments
 * has none). The order does not matter for the result, only for the time.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/values.h"

#include <string.h>

enum { IDS_PER_PLACE = 32, CHANGES_BEFORE_WIDENING = 6 };

typedef struct Run {
    Arena *scratch;
    const Func *fn;
    ValueInsn *insns; /* of all blocks, in order */
    uint32_t *first;  /* by block: index of its first instruction */
    uint32_t n_insns;
    ValueState *states; /* by block: at its begin */
    uint32_t *n_before; /* by block: edges into it */
    bool *reached;
    bool *dirty;
    uint8_t *changes;
    const bool *unknown;
    ValueJump *jumps;
    uint32_t n_jumps;
} Run;

static void describe_insns(Run *run)
{
    const Func *fn = run->fn;
    run->first = arena_many(run->scratch, uint32_t, fn->n_blocks);
    for (uint32_t i = 0; i < fn->n_blocks; i++) {
        run->first[i] = run->n_insns;
        run->n_insns += fn->blocks[i].n_insns;
    }
    run->insns = arena_many(run->scratch, ValueInsn, run->n_insns);
    for (uint32_t i = 0; i < fn->n_blocks; i++) {
        const Block *block = &fn->blocks[i];
        for (uint32_t j = 0; j < block->n_insns; j++) {
            ValueInsn *insn = &run->insns[run->first[i] + j];
            insn->insn = &block->insns[j];
            insn->op = (uint8_t)insn_describe(insn->insn, insn->operands, &insn->effects);
        }
    }
}

static uint32_t phi_of(const Run *run, uint32_t block)
{
    return 1 + (run->n_insns + block) * IDS_PER_PLACE;
}

/* `phi` 0: nothing has a name. */
static ValueState unknown_state(uint32_t phi)
{
    ValueState state;
    memset(&state, 0, sizeof state);
    for (uint32_t i = 0; i < VALUE_REGS; i++) {
        state.regs[i] = value_unknown(phi != 0 ? phi + i : 0);
        state.regs[i].plain = true;
    }
    return state;
}

static void count_edges(Run *run)
{
    run->n_before = arena_many(run->scratch, uint32_t, run->fn->n_blocks);
    for (uint32_t i = 0; i < run->fn->n_blocks; i++) {
        const Block *block = &run->fn->blocks[i];
        for (uint32_t j = 0; j < block->n_succ; j++)
            if (is_block(block->succ[j].to))
                run->n_before[block->succ[j].to.i]++;
    }
}

/* A block with one edge into it follows that edge; others join, which loses the names that values
 * had before a join further up renamed them. */
static void flow_into(Run *run, BlockId to, const ValueState *state)
{
    if (!is_block(to) || run->unknown[to.i])
        return;
    uint32_t phi = phi_of(run, to.i);
    ValueState *into = &run->states[to.i];
    bool changed;
    if (!run->reached[to.i] || run->n_before[to.i] == 1) {
        ValueState before = *into;
        *into = *state;
        for (uint32_t i = 0; i < IDS_PER_PLACE; i++)
            values_forget(into, phi + i);
        changed = !run->reached[to.i] || !values_equal(into, &before);
        run->reached[to.i] = true;
    } else {
        bool widen = run->changes[to.i] >= CHANGES_BEFORE_WIDENING;
        changed = values_join(into, state, phi, widen);
        if (changed && !widen)
            run->changes[to.i]++;
    }
    run->dirty[to.i] |= changed;
}

static void flow_out(Run *run, const Block *block, const ValueState *state)
{
    const Insn *last = block_last(block);
    if ((block->facts & BLOCK_STOPS) != 0)
        return; /* the call does not come back */
    for (uint32_t i = 0; i < block->n_succ; i++) {
        const Succ *succ = &block->succ[i];
        if (last->flow == FLOW_COND) {
            ValueState refined = *state;
            values_refine(&refined, last->cond, succ->kind == SUCC_TAKEN);
            flow_into(run, succ->to, &refined);
        } else if (last->flow == FLOW_XBEGIN && succ->kind == SUCC_TAKEN) {
            ValueState aborted = unknown_state(0);
            flow_into(run, succ->to, &aborted);
        } else {
            flow_into(run, succ->to, state);
        }
    }
}

static void run_block(Run *run, uint32_t index)
{
    const Block *block = &run->fn->blocks[index];
    ValueState state = run->states[index];
    run->dirty[index] = false;
    for (uint32_t i = 0; i < block->n_insns; i++)
        values_step(&state, &run->insns[run->first[index] + i], run->first[index] + i);
    flow_out(run, block, &state);
}

static void run_to_fixpoint(Run *run)
{
    bool again = true;
    while (again) {
        again = false;
        for (uint32_t i = 0; i < run->fn->n_blocks; i++) {
            if (!run->dirty[i])
                continue;
            run_block(run, i);
            again = true;
        }
    }
}

/* The target before the jump itself is taken. */
static void collect_jump(Run *run, uint32_t index)
{
    const Block *block = &run->fn->blocks[index];
    const Insn *last = block_last(block);
    if (!run->reached[index] || last == NULL || last->flow != FLOW_JUMP_IND)
        return;
    ValueState state = run->states[index];
    uint32_t first = run->first[index];
    for (uint32_t i = 0; i + 1 < block->n_insns; i++)
        values_step(&state, &run->insns[first + i], first + i);
    const ValueInsn *jump = &run->insns[first + block->n_insns - 1];
    run->jumps[run->n_jumps++] = (ValueJump){ block->id, values_read(&state, &jump->operands[0]) };
}

const ValueJump *values_run(Arena *scratch, const Func *fn, const bool *unknown, uint32_t *n)
{
    Run run = { .scratch = scratch, .fn = fn, .unknown = unknown };
    describe_insns(&run);
    count_edges(&run);
    run.states = arena_many(scratch, ValueState, fn->n_blocks);
    run.reached = arena_many(scratch, bool, fn->n_blocks);
    run.dirty = arena_many(scratch, bool, fn->n_blocks);
    run.changes = arena_many(scratch, uint8_t, fn->n_blocks);
    run.jumps = arena_many(scratch, ValueJump, fn->n_blocks);
    for (uint32_t i = 0; i < fn->n_blocks; i++) {
        if (!unknown[i])
            continue;
        run.states[i] = unknown_state(phi_of(&run, i));
        run.reached[i] = true;
        run.dirty[i] = true;
    }
    run_to_fixpoint(&run);
    for (uint32_t i = 0; i < fn->n_blocks; i++)
        collect_jump(&run, i);
    *n = run.n_jumps;
    return run.jumps;
}
