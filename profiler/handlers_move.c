/*
 * handlers_move.c: instructions that move values and leave the flags alone.
 *
 * Operand shapes as in handlers_alu.c. `push` and `pop` access the stack first and move RSP after,
 * so that a fault leaves RSP as it was.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/bodies.h"
#include "profiler/rows.h"

#define DEF_MOV_RR(name, bits)                                                                     \
    HANDLER(h_mov_rr_##bits)                                                                       \
    {                                                                                              \
        BODY_MOV_RR(bits);                                                                         \
        NEXT(1);                                                                                   \
    }
#define DEF_MOV_RI(name, bits)                                                                     \
    HANDLER(h_mov_ri_##bits)                                                                       \
    {                                                                                              \
        BODY_MOV_RI(bits);                                                                         \
        NEXT(1);                                                                                   \
    }
#define DEF_MOV_RM(name, bits, mode)                                                               \
    HANDLER(h_mov_rm_##bits##mode)                                                                 \
    {                                                                                              \
        BODY_MOV_RM(bits, mode);                                                                   \
        NEXT(SLOTS_##mode);                                                                        \
    }
#define DEF_MOV_MR(name, bits, mode)                                                               \
    HANDLER(h_mov_mr_##bits##mode)                                                                 \
    {                                                                                              \
        BODY_MOV_MR(bits, mode);                                                                   \
        NEXT(SLOTS_##mode);                                                                        \
    }
#define DEF_MOV_MI(name, bits, mode)                                                               \
    HANDLER(h_mov_mi_##bits##mode)                                                                 \
    {                                                                                              \
        STORE(op[1].word[1], bits, mode);                                                          \
        NEXT(2);                                                                                   \
    }
DEF_SIZES_R(DEF_MOV_RR, mov)
DEF_SIZES_R(DEF_MOV_RI, mov)
DEF_SIZES_M(DEF_MOV_RM, mov)
DEF_SIZES_M(DEF_MOV_MR, mov)
DEF_SIZES_M(DEF_MOV_MI, mov)
TABLE_R(h_mov_rr)
TABLE_R(h_mov_ri)
TABLE_M(h_mov_rm)
TABLE_M(h_mov_mr)
TABLE_M(h_mov_mi)

HANDLER(h_mov_long)
{
    SET_REG64(op->a, op[1].word[0]);
    NEXT(2);
}

/* movzx: indexed by the size of the source; a 32-bit and a 64-bit target are the same. */
#define DEF_MOVZX_RR(name, bits)                                                                   \
    HANDLER(h_movzx_rr_##bits)                                                                     \
    {                                                                                              \
        BODY_MOVZX_RR(bits);                                                                       \
        NEXT(1);                                                                                   \
    }
#define DEF_MOVZX_RM(name, bits, mode)                                                             \
    HANDLER(h_movzx_rm_##bits##mode)                                                               \
    {                                                                                              \
        BODY_MOVZX_RM(bits, mode);                                                                 \
        NEXT(SLOTS_##mode);                                                                        \
    }
DEF_MOVZX_RR(movzx, 8)
DEF_MOVZX_RR(movzx, 16)
DEF_MODES(DEF_MOVZX_RM, movzx, 8)
DEF_MODES(DEF_MOVZX_RM, movzx, 16)
TABLE Handler *const h_movzx_rr[4] = { h_movzx_rr_8, h_movzx_rr_16, NULL, NULL };
TABLE Handler *const h_movzx_rm[16] = { ROW_M(h_movzx_rm, 8), ROW_M(h_movzx_rm, 16) };

/* movsx: one table per target size, indexed by the size of the source. */
#define DEF_MOVSX_RR(to, bits)                                                                     \
    HANDLER(h_movsx##to##_rr_##bits)                                                               \
    {                                                                                              \
        BODY_MOVSX_RR(to, bits);                                                                   \
        NEXT(1);                                                                                   \
    }
#define DEF_MOVSX_RM(to, bits, mode)                                                               \
    HANDLER(h_movsx##to##_rm_##bits##mode)                                                         \
    {                                                                                              \
        BODY_MOVSX_RM(to, bits, mode);                                                             \
        NEXT(SLOTS_##mode);                                                                        \
    }
DEF_MOVSX_RR(32, 8)
DEF_MOVSX_RR(32, 16)
DEF_MOVSX_RR(64, 8)
DEF_MOVSX_RR(64, 16)
DEF_MOVSX_RR(64, 32)
DEF_MODES(DEF_MOVSX_RM, 32, 8)
DEF_MODES(DEF_MOVSX_RM, 32, 16)
DEF_MODES(DEF_MOVSX_RM, 64, 8)
DEF_MODES(DEF_MOVSX_RM, 64, 16)
DEF_MODES(DEF_MOVSX_RM, 64, 32)
TABLE Handler *const h_movsx32_rr[4] = { h_movsx32_rr_8, h_movsx32_rr_16, NULL, NULL };
TABLE Handler *const h_movsx64_rr[4] = { h_movsx64_rr_8, h_movsx64_rr_16, h_movsx64_rr_32, NULL };
TABLE Handler *const h_movsx32_rm[16] = { ROW_M(h_movsx32_rm, 8), ROW_M(h_movsx32_rm, 16) };
TABLE Handler *const h_movsx64_rm[16] = { ROW_M(h_movsx64_rm, 8), ROW_M(h_movsx64_rm, 16),
                                          ROW_M(h_movsx64_rm, 32) };

#define DEF_LEA(name, bits, mode)                                                                  \
    HANDLER(h_lea_rm_##bits##mode)                                                                 \
    {                                                                                              \
        BODY_LEA(bits, mode);                                                                      \
        NEXT(SLOTS_##mode);                                                                        \
    }
DEF_LEA(lea, 32, b)
DEF_LEA(lea, 32, x)
DEF_LEA(lea, 32, a)
DEF_LEA(lea, 64, b)
DEF_LEA(lea, 64, x)
DEF_LEA(lea, 64, a)
TABLE Handler *const h_lea_rm[16] = {
    [8] = h_lea_rm_32b, h_lea_rm_32x, h_lea_rm_32a, NULL,
    h_lea_rm_64b,       h_lea_rm_64x, h_lea_rm_64a, NULL,
};

#define DEF_XCHG(name, bits)                                                                       \
    HANDLER(h_xchg_rr_##bits)                                                                      \
    {                                                                                              \
        U64 first = UREG(bits, op->a), second = UREG(bits, op->b);                                 \
        SET_REG(bits, op->a, second);                                                              \
        SET_REG(bits, op->b, first);                                                               \
        NEXT(1);                                                                                   \
    }
DEF_SIZES_R(DEF_XCHG, xchg)
TABLE_R(h_xchg_rr)

HANDLER(h_bswap_r_32)
{
    SET_REG32(op->a, __builtin_bswap32(REG_AT(U32, op->a)));
    NEXT(1);
}

HANDLER(h_bswap_r_64)
{
    SET_REG64(op->a, __builtin_bswap64(REG_AT(U64, op->a)));
    NEXT(1);
}
TABLE Handler *const h_bswap_r[4] = { NULL, NULL, h_bswap_r_32, h_bswap_r_64 };

/* ---- sign extension inside RAX and into RDX ---- */

HANDLER(h_cbw)
{
    SET_REG16(RAX, REG(8, RAX));
    NEXT(1);
}

HANDLER(h_cwde)
{
    SET_REG32(RAX, REG(16, RAX));
    NEXT(1);
}

HANDLER(h_cdqe)
{
    SET_REG64(RAX, REG(32, RAX));
    NEXT(1);
}

HANDLER(h_cdq)
{
    SET_REG32(RDX, REG(32, RAX) >> 31);
    NEXT(1);
}

HANDLER(h_cqo)
{
    SET_REG64(RDX, REG(64, RAX) >> 63);
    NEXT(1);
}

HANDLER(h_nop)
{
    NEXT(1);
}
TABLE Handler *const h_cbw_0[1] = { h_cbw };
TABLE Handler *const h_cwde_0[1] = { h_cwde };
TABLE Handler *const h_cdqe_0[1] = { h_cdqe };
TABLE Handler *const h_cdq_0[1] = { h_cdq };
TABLE Handler *const h_cqo_0[1] = { h_cqo };
TABLE Handler *const h_nop_0[1] = { h_nop };

/* ---- the stack ---- */

HANDLER(h_push_r_64)
{
    BODY_PUSH();
    NEXT(1);
}

HANDLER(h_push_imm)
{
    STORE((S64)op->imm, 64, push);
    REG_AT(U64, RSP) -= 8;
    NEXT(1);
}

HANDLER(h_pop_r_64)
{
    BODY_POP();
    NEXT(1);
}

HANDLER(h_leave)
{
    ZLOAD(value, 64, frame);
    REG_AT(U64, RSP) = REG_AT(U64, RBP) + 8;
    SET_REG64(RBP, value);
    NEXT(1);
}
TABLE Handler *const h_push_r[4] = { NULL, NULL, NULL, h_push_r_64 };
TABLE Handler *const h_push_i[1] = { h_push_imm };
TABLE Handler *const h_pop_r[4] = { NULL, NULL, NULL, h_pop_r_64 };
TABLE Handler *const h_leave_0[1] = { h_leave };
