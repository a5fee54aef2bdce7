/*
 * pairs.h: superinstructions: two or more neighbouring records done by one handler.
 *
 * The records stay as they are, one after the other; only the first one's `run` is another. So a
 * fault in the second half is exact, and a jump never lands between: blocks have one entry.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_PAIRS_H
#define RESPIN_PROFILER_PAIRS_H

#include "profiler/flow.h"

// clang-format off
/* First halves: the most frequent records of sqlite3, perl, lua5.4 and python3.11. */
#define PAIR_FIRSTS(X, with)                                                                       \
    X(with, mov_rm_64b) X(with, mov_rm_32b) X(with, mov_rm_64x) X(with, mov_mr_64b)                \
    X(with, mov_mr_32b) X(with, mov_rr_64) X(with, mov_rr_32) X(with, mov_ri_32)                   \
    X(with, push_r_64) X(with, pop_r_64) X(with, movzx_rm_8b) X(with, movzx_rm_16b)                \
    X(with, movzx_rr_8) X(with, movsx64_rm_32b) X(with, movsx64_rr_32) X(with, lea_rm_64b)         \
    X(with, lea_rm_64x) X(with, add_ri_64) X(with, add_rr_64) X(with, sub_ri_64)                   \
    X(with, sub_rr_64) X(with, and_ri_32) X(with, add_ri_32) X(with, shl_ri_64) X(with, zero_32)
/* Second halves: the same, and these. */
#define PAIR_ENDS(X, with)                                                                         \
    X(with, call) X(with, ret) X(with, jump) X(with, jump_r) X(with, j_Z) X(with, j_NZ)            \
    X(with, test_rr_Z_64) X(with, test_rr_NZ_64) X(with, test_rr_Z_32) X(with, test_rr_NZ_32)      \
    X(with, test_rr_Z_8) X(with, test_rr_NZ_8) X(with, test_ri_Z_8) X(with, test_ri_NZ_8)          \
    X(with, cmp_ri_Z_32) X(with, cmp_ri_NZ_32) X(with, cmp_ri_NB_32) X(with, cmp_ri_NBE_32)        \
    X(with, cmp_ri_BE_32) X(with, cmp_ri_Z_8) X(with, cmp_ri_NZ_8) X(with, cmp_ri_NBE_8)           \
    X(with, cmp_rr_Z_64) X(with, cmp_rr_NZ_64) X(with, cmp_rr_B_64) X(with, cmp_rr_NB_64)          \
    X(with, cmp_rr_L_32) X(with, cmp_rr_NZ_32)
// clang-format on

#define AS_FIRST(with, name) PAIR_##name,
enum PairHalf { PAIR_FIRSTS(AS_FIRST, x) PAIR_N_FIRSTS };
enum PairSecond { PAIR_BEFORE_ENDS = PAIR_N_FIRSTS - 1, PAIR_ENDS(AS_FIRST, x) PAIR_N_SECONDS };

enum { RUN_LEAST = 3, RUN_MOST = 6 }; /* pushes or pops in one record */

extern Handler *const pair_halves[PAIR_N_SECONDS];
extern Handler *const pair_moves[PAIR_N_FIRSTS][PAIR_N_FIRSTS];
extern Handler *const pair_ends[PAIR_N_FIRSTS][PAIR_N_SECONDS - PAIR_N_FIRSTS];
extern Handler *const push_runs[RUN_MOST + 1], *const pop_runs[RUN_MOST + 1];
extern Handler *const pop_runs_ret[RUN_MOST + 1];
extern Handler h_plt_jump;

/* Once. */
void pairs_init(void);
/*
 * Chooses superinstructions for a block whose records start at ops[start[0]] ... ops[start[n - 1]]:
 * as few dispatches as the tables allow.
 */
void pairs_choose(Op *ops, const uint16_t *start, uint32_t n);

#endif
