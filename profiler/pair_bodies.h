/*
 * pair_bodies.h: the body of each half of a pair, by its name in pairs.h.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_PAIR_BODIES_H
#define RESPIN_PROFILER_PAIR_BODIES_H

#include "profiler/bodies.h"
#include "profiler/pairs.h"

#define HALF_mov_rm_64b BODY_MOV_RM(64, b)
#define HALF_mov_rm_32b BODY_MOV_RM(32, b)
#define HALF_mov_rm_64x BODY_MOV_RM(64, x)
#define HALF_mov_mr_64b BODY_MOV_MR(64, b)
#define HALF_mov_mr_32b BODY_MOV_MR(32, b)
#define HALF_mov_rr_64 BODY_MOV_RR(64)
#define HALF_mov_rr_32 BODY_MOV_RR(32)
#define HALF_mov_ri_32 BODY_MOV_RI(32)
#define HALF_push_r_64 BODY_PUSH()
#define HALF_pop_r_64 BODY_POP()
#define HALF_movzx_rm_8b BODY_MOVZX_RM(8, b)
#define HALF_movzx_rm_16b BODY_MOVZX_RM(16, b)
#define HALF_movzx_rr_8 BODY_MOVZX_RR(8)
#define HALF_movsx64_rm_32b BODY_MOVSX_RM(64, 32, b)
#define HALF_movsx64_rr_32 BODY_MOVSX_RR(64, 32)
#define HALF_lea_rm_64b BODY_LEA(64, b)
#define HALF_lea_rm_64x BODY_LEA(64, x)
#define HALF_add_ri_64 BODY_RI(add, 64)
#define HALF_add_rr_64 BODY_RR(add, 64)
#define HALF_sub_ri_64 BODY_RI(sub, 64)
#define HALF_sub_rr_64 BODY_RR(sub, 64)
#define HALF_and_ri_32 BODY_RI(and, 32)
#define HALF_add_ri_32 BODY_RI(add, 32)
#define HALF_shl_ri_64 BODY_SHIFT_RI(shl, 64)
#define HALF_zero_32 BODY_ZERO(32)

#define HALF_call BODY_CALL()
#define HALF_ret BODY_RETURN(0)
#define HALF_jump BODY_JUMP()
#define HALF_jump_r                                                                                \
    COUNT(op->imm);                                                                                \
    GO_TARGET(REG_AT(U64, op->a))
#define HALF_j_Z BODY_JCC(Z)
#define HALF_j_NZ BODY_JCC(NZ)
#define HALF_test_rr_Z_64 BODY_TEST_RR_JCC(Z, 64)
#define HALF_test_rr_NZ_64 BODY_TEST_RR_JCC(NZ, 64)
#define HALF_test_rr_Z_32 BODY_TEST_RR_JCC(Z, 32)
#define HALF_test_rr_NZ_32 BODY_TEST_RR_JCC(NZ, 32)
#define HALF_test_rr_Z_8 BODY_TEST_RR_JCC(Z, 8)
#define HALF_test_rr_NZ_8 BODY_TEST_RR_JCC(NZ, 8)
#define HALF_test_ri_Z_8 BODY_TEST_RI_JCC(Z, 8)
#define HALF_test_ri_NZ_8 BODY_TEST_RI_JCC(NZ, 8)
#define HALF_cmp_ri_Z_32 BODY_CMP_RI_JCC(Z, 32)
#define HALF_cmp_ri_NZ_32 BODY_CMP_RI_JCC(NZ, 32)
#define HALF_cmp_ri_NB_32 BODY_CMP_RI_JCC(NB, 32)
#define HALF_cmp_ri_NBE_32 BODY_CMP_RI_JCC(NBE, 32)
#define HALF_cmp_ri_BE_32 BODY_CMP_RI_JCC(BE, 32)
#define HALF_cmp_ri_Z_8 BODY_CMP_RI_JCC(Z, 8)
#define HALF_cmp_ri_NZ_8 BODY_CMP_RI_JCC(NZ, 8)
#define HALF_cmp_ri_NBE_8 BODY_CMP_RI_JCC(NBE, 8)
#define HALF_cmp_rr_Z_64 BODY_CMP_RR_JCC(Z, 64)
#define HALF_cmp_rr_NZ_64 BODY_CMP_RR_JCC(NZ, 64)
#define HALF_cmp_rr_B_64 BODY_CMP_RR_JCC(B, 64)
#define HALF_cmp_rr_NB_64 BODY_CMP_RR_JCC(NB, 64)
#define HALF_cmp_rr_L_32 BODY_CMP_RR_JCC(L, 32)
#define HALF_cmp_rr_NZ_32 BODY_CMP_RR_JCC(NZ, 32)

#endif
