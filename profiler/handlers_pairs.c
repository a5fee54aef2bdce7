/*
 * handlers_pairs.c: every first half with every other: one dispatch for two records.
 *
 * Evidence: on sqlite3 a record cost 17 cycles, most of it mispredicted indirect jumps; half as
 * many of them is the cure (docs/interpretation.md has the figures).
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/pair_bodies.h"

#define DEF_PAIR(first, second)                                                                    \
    HANDLER(h_##first##__##second)                                                                 \
    {                                                                                              \
        {                                                                                          \
            HALF_##first;                                                                          \
        }                                                                                          \
        op++;                                                                                      \
        {                                                                                          \
            HALF_##second;                                                                         \
        }                                                                                          \
        NEXT(1);                                                                                   \
    }

/* A list macro cannot be expanded inside itself, so the outer list is written out. */
// clang-format off
PAIR_FIRSTS(DEF_PAIR, mov_rm_64b)
PAIR_FIRSTS(DEF_PAIR, mov_rm_32b)
PAIR_FIRSTS(DEF_PAIR, mov_rm_64x)
PAIR_FIRSTS(DEF_PAIR, mov_mr_64b)
PAIR_FIRSTS(DEF_PAIR, mov_mr_32b)
PAIR_FIRSTS(DEF_PAIR, mov_rr_64)
PAIR_FIRSTS(DEF_PAIR, mov_rr_32)
PAIR_FIRSTS(DEF_PAIR, mov_ri_32)
PAIR_FIRSTS(DEF_PAIR, push_r_64)
PAIR_FIRSTS(DEF_PAIR, pop_r_64)
PAIR_FIRSTS(DEF_PAIR, movzx_rm_8b)
PAIR_FIRSTS(DEF_PAIR, movzx_rm_16b)
PAIR_FIRSTS(DEF_PAIR, movzx_rr_8)
PAIR_FIRSTS(DEF_PAIR, movsx64_rm_32b)
PAIR_FIRSTS(DEF_PAIR, movsx64_rr_32)
PAIR_FIRSTS(DEF_PAIR, lea_rm_64b)
PAIR_FIRSTS(DEF_PAIR, lea_rm_64x)
PAIR_FIRSTS(DEF_PAIR, add_ri_64)
PAIR_FIRSTS(DEF_PAIR, add_rr_64)
PAIR_FIRSTS(DEF_PAIR, sub_ri_64)
PAIR_FIRSTS(DEF_PAIR, sub_rr_64)
PAIR_FIRSTS(DEF_PAIR, and_ri_32)
PAIR_FIRSTS(DEF_PAIR, add_ri_32)
PAIR_FIRSTS(DEF_PAIR, shl_ri_64)
PAIR_FIRSTS(DEF_PAIR, zero_32)

#define AS_MOVE(first, second) h_##first##__##second,
#define MOVES(first) [PAIR_##first] = { PAIR_FIRSTS(AS_MOVE, first) },
Handler *const pair_moves[PAIR_N_FIRSTS][PAIR_N_FIRSTS] = {
    MOVES(mov_rm_64b)
    MOVES(mov_rm_32b)
    MOVES(mov_rm_64x)
    MOVES(mov_mr_64b)
    MOVES(mov_mr_32b)
    MOVES(mov_rr_64)
    MOVES(mov_rr_32)
    MOVES(mov_ri_32)
    MOVES(push_r_64)
    MOVES(pop_r_64)
    MOVES(movzx_rm_8b)
    MOVES(movzx_rm_16b)
    MOVES(movzx_rr_8)
    MOVES(movsx64_rm_32b)
    MOVES(movsx64_rr_32)
    MOVES(lea_rm_64b)
    MOVES(lea_rm_64x)
    MOVES(add_ri_64)
    MOVES(add_rr_64)
    MOVES(sub_ri_64)
    MOVES(sub_rr_64)
    MOVES(and_ri_32)
    MOVES(add_ri_32)
    MOVES(shl_ri_64)
    MOVES(zero_32)
};
// clang-format on

/* ---- runs of pushes and pops, as prologues and epilogues have them ---- */

#define STEP(half)                                                                                 \
    {                                                                                              \
        half;                                                                                      \
    }                                                                                              \
    op++;
#define STEPS_3(half) STEP(half) STEP(half) STEP(half)
#define STEPS_4(half) STEPS_3(half) STEP(half)
#define STEPS_5(half) STEPS_4(half) STEP(half)
#define STEPS_6(half) STEPS_5(half) STEP(half)
#define DEF_RUN(n)                                                                                 \
    HANDLER(h_push_run_##n)                                                                        \
    {                                                                                              \
        STEPS_##n(BODY_PUSH()) JUMP_TO(op);                                                        \
    }                                                                                              \
    HANDLER(h_pop_run_##n)                                                                         \
    {                                                                                              \
        STEPS_##n(BODY_POP()) JUMP_TO(op);                                                         \
    }                                                                                              \
    HANDLER(h_pop_run_ret_##n)                                                                     \
    {                                                                                              \
        STEPS_##n(BODY_POP()) BODY_RETURN(0);                                                      \
    }
DEF_RUN(3)
DEF_RUN(4)
DEF_RUN(5)
DEF_RUN(6)
Handler *const push_runs[] = { [3] = h_push_run_3, h_push_run_4, h_push_run_5, h_push_run_6 };
Handler *const pop_runs[] = { [3] = h_pop_run_3, h_pop_run_4, h_pop_run_5, h_pop_run_6 };
Handler *const pop_runs_ret[] = {
    [3] = h_pop_run_ret_3, h_pop_run_ret_4, h_pop_run_ret_5, h_pop_run_ret_6
};

/* jmp [rip + slot]: the load of the slot and the jump, as in every PLT entry. */
HANDLER(h_plt_jump)
{
    {
        BODY_MOV_RM(64, a);
    }
    op += 2;
    HALF_jump_r;
}
