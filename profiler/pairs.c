/*
 * pairs.c: chooses superinstructions for the records of a block.
 *
 *     push push push mov mov cmp+jcc   =>   [push push push] [mov mov] [cmp+jcc]
 *
 * From the end of the block backwards: the fewest dispatches from each record on, taking one
 * record, a pair, or a run of pushes or pops (with its return).
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/pairs.h"

#include "profiler/decode.h"

#define AS_DECLARED(with, name) h_##name,
Handler PAIR_FIRSTS(AS_DECLARED, x) PAIR_ENDS(AS_DECLARED, x) h_mov_rm_64a;
#define AS_HALF(with, name) [PAIR_##name] = h_##name,
Handler *const pair_halves[PAIR_N_SECONDS] = { PAIR_FIRSTS(AS_HALF, x) PAIR_ENDS(AS_HALF, x) };

enum { MAX_RECORDS = 3 * BLOCK_MAX_INSNS + 2, NO_HALF = PAIR_N_SECONDS, HALF_SLOTS = 256 };

_Static_assert(2 * (int)PAIR_N_SECONDS < HALF_SLOTS, "most slots are free");

typedef struct Choice {
    Handler *run;    /* instead of the record's own */
    uint16_t length; /* records that it does */
    uint16_t total;  /* dispatches from here to the end of the block */
} Choice;

/* 1 + the half, by its handler's address; 0: free. */
static uint8_t half_at[HALF_SLOTS];

static unsigned half_slot(Handler *handler)
{
    return (unsigned)((uint64_t)(uintptr_t)handler * UINT64_C(0x9e3779b97f4a7c15) >> 56);
}

void pairs_init(void)
{
    for (unsigned i = 0; i < PAIR_N_SECONDS; i++) {
        unsigned at = half_slot(pair_halves[i]);
        while (half_at[at] != 0)
            at = (at + 1) % HALF_SLOTS;
        half_at[at] = (uint8_t)(i + 1);
    }
}

static unsigned half_of(Handler *handler)
{
    for (unsigned at = half_slot(handler); half_at[at] != 0; at = (at + 1) % HALF_SLOTS) {
        if (pair_halves[half_at[at] - 1] == handler)
            return half_at[at] - 1u;
    }
    return NO_HALF;
}

static Handler *pair_of(unsigned first, unsigned second)
{
    if (first >= PAIR_N_FIRSTS || second == NO_HALF)
        return NULL;
    return second < PAIR_N_FIRSTS ? pair_moves[first][second]
                                  : pair_ends[first][second - PAIR_N_FIRSTS];
}

/* Records in a row, from `at`, that are this half. */
static uint32_t run_length(const uint8_t *half, uint32_t at, uint32_t n, unsigned wanted)
{
    uint32_t length = 0;
    while (at + length < n && length < RUN_MOST && half[at + length] == wanted)
        length++;
    return length;
}

static void consider(Choice *choice, uint32_t at, uint32_t length, Handler *run)
{
    uint16_t total = (uint16_t)(1 + choice[at + length].total);
    if (run != NULL && total < choice[at].total)
        choice[at] = (Choice){ run, (uint16_t)length, total };
}

static void choose_at(Choice *choice, const uint8_t *half, uint32_t at, uint32_t n)
{
    if (at + 1 < n)
        consider(choice, at, 2, pair_of(half[at], half[at + 1]));
    uint32_t pushes = run_length(half, at, n, PAIR_push_r_64);
    uint32_t pops = run_length(half, at, n, PAIR_pop_r_64);
    if (pushes >= RUN_LEAST)
        consider(choice, at, pushes, push_runs[pushes]);
    if (pops >= RUN_LEAST)
        consider(choice, at, pops, pop_runs[pops]);
    if (pops >= RUN_LEAST && at + pops < n && half[at + pops] == PAIR_ret)
        consider(choice, at, pops + 1, pop_runs_ret[pops]);
}

void pairs_choose(Op *ops, const uint16_t *start, uint32_t n)
{
    static uint8_t half[MAX_RECORDS]; /* under code_lock */
    static Choice choice[MAX_RECORDS + 1];
    choice[n] = (Choice){ NULL, 0, 0 };
    for (uint32_t at = n; at-- > 0;) {
        half[at] = (uint8_t)half_of(ops[start[at]].run);
        choice[at] = (Choice){ NULL, 1, (uint16_t)(1 + choice[at + 1].total) };
        choose_at(choice, half, at, n);
        bool plt = at + 1 < n && ops[start[at]].run == h_mov_rm_64a && half[at + 1] == PAIR_jump_r;
        if (plt)
            consider(choice, at, 2, h_plt_jump);
    }
    for (uint32_t at = 0; at < n; at += choice[at].length) {
        if (choice[at].run != NULL)
            ops[start[at]].run = choice[at].run;
    }
}
