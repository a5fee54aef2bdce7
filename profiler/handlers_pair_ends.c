/*
 * handlers_pair_ends.c: every first half with the ends of blocks.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/pair_bodies.h"

#define DEF_END(first, second)                                                                     \
    HANDLER(h_##first##__##second)                                                                 \
    {                                                                                              \
        {                                                                                          \
            HALF_##first;                                                                          \
        }                                                                                          \
        op++;                                                                                      \
        HALF_##second;                                                                             \
    }

/* A list macro cannot be expanded inside itself, so the outer list is written out. */
// clang-format off
PAIR_ENDS(DEF_END, mov_rm_64b)
PAIR_ENDS(DEF_END, mov_rm_32b)
PAIR_ENDS(DEF_END, mov_rm_64x)
PAIR_ENDS(DEF_END, mov_mr_64b)
PAIR_ENDS(DEF_END, mov_mr_32b)
PAIR_ENDS(DEF_END, mov_rr_64)
PAIR_ENDS(DEF_END, mov_rr_32)
PAIR_ENDS(DEF_END, mov_ri_32)
PAIR_ENDS(DEF_END, push_r_64)
PAIR_ENDS(DEF_END, pop_r_64)
PAIR_ENDS(DEF_END, movzx_rm_8b)
PAIR_ENDS(DEF_END, movzx_rm_16b)
PAIR_ENDS(DEF_END, movzx_rr_8)
PAIR_ENDS(DEF_END, movsx64_rm_32b)
PAIR_ENDS(DEF_END, movsx64_rr_32)
PAIR_ENDS(DEF_END, lea_rm_64b)
PAIR_ENDS(DEF_END, lea_rm_64x)
PAIR_ENDS(DEF_END, add_ri_64)
PAIR_ENDS(DEF_END, add_rr_64)
PAIR_ENDS(DEF_END, sub_ri_64)
PAIR_ENDS(DEF_END, sub_rr_64)
PAIR_ENDS(DEF_END, and_ri_32)
PAIR_ENDS(DEF_END, add_ri_32)
PAIR_ENDS(DEF_END, shl_ri_64)
PAIR_ENDS(DEF_END, zero_32)

#define AS_END(first, second) h_##first##__##second,
#define ENDS(first) [PAIR_##first] = { PAIR_ENDS(AS_END, first) },
Handler *const pair_ends[PAIR_N_FIRSTS][PAIR_N_SECONDS - PAIR_N_FIRSTS] = {
    ENDS(mov_rm_64b)
    ENDS(mov_rm_32b)
    ENDS(mov_rm_64x)
    ENDS(mov_mr_64b)
    ENDS(mov_mr_32b)
    ENDS(mov_rr_64)
    ENDS(mov_rr_32)
    ENDS(mov_ri_32)
    ENDS(push_r_64)
    ENDS(pop_r_64)
    ENDS(movzx_rm_8b)
    ENDS(movzx_rm_16b)
    ENDS(movzx_rr_8)
    ENDS(movsx64_rm_32b)
    ENDS(movsx64_rr_32)
    ENDS(lea_rm_64b)
    ENDS(lea_rm_64x)
    ENDS(add_ri_64)
    ENDS(add_rr_64)
    ENDS(sub_ri_64)
    ENDS(sub_rr_64)
    ENDS(and_ri_32)
    ENDS(add_ri_32)
    ENDS(shl_ri_64)
    ENDS(zero_32)
};
// clang-format on
