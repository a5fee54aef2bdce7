/*
 * handlers_cond.c: setcc and cmovcc for all sixteen conditions.
 *
 * A condition that the lazy state cannot answer turns the flags into the raw word and starts over.
 * cmovcc reads its memory operand, and clears the upper half of a 32-bit register, whatever the
 * condition says (SDM vol. 2A CMOVcc).
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/handler.h"
#include "profiler/rows.h"

#define CONDITION(cc)                                                                              \
    unsigned cond = cond_any(cc, fa, fb, kind);                                                    \
    if (UNLIKELY(cond == COND_UNKNOWN))                                                            \
    MAKE_RAW()

#define DEF_SET_M(cc, bits, mode)                                                                  \
    HANDLER(h_set_##cc##_m_##mode)                                                                 \
    {                                                                                              \
        CONDITION(CC_##cc);                                                                        \
        STORE(cond, 8, mode);                                                                      \
        NEXT(SLOTS_##mode);                                                                        \
    }
#define DEF_CMOV_RR(cc, bits)                                                                      \
    HANDLER(h_cmov_##cc##_rr_##bits)                                                               \
    {                                                                                              \
        CONDITION(CC_##cc);                                                                        \
        U64 value = cond != 0 ? UREG(bits, op->b) : UREG(bits, op->a);                             \
        SET_REG(bits, op->a, value);                                                               \
        NEXT(1);                                                                                   \
    }
#define DEF_CMOV_RM(cc, bits, mode)                                                                \
    HANDLER(h_cmov_##cc##_rm_##bits##mode)                                                         \
    {                                                                                              \
        CONDITION(CC_##cc);                                                                        \
        ZLOAD(value, bits, mode);                                                                  \
        if (cond == 0)                                                                             \
            value = UREG(bits, op->a);                                                             \
        SET_REG(bits, op->a, value);                                                               \
        NEXT(SLOTS_##mode);                                                                        \
    }
#define DEF_CC(cc)                                                                                 \
    HANDLER(h_set_##cc##_r_8)                                                                      \
    {                                                                                              \
        CONDITION(CC_##cc);                                                                        \
        SET_REG8(op->a, cond);                                                                     \
        NEXT(1);                                                                                   \
    }                                                                                              \
    DEF_MODES(DEF_SET_M, cc, 8)                                                                    \
    DEF_CMOV_RR(cc, 32)                                                                            \
    DEF_CMOV_RR(cc, 64)                                                                            \
    DEF_MODES(DEF_CMOV_RM, cc, 32)                                                                 \
    DEF_MODES(DEF_CMOV_RM, cc, 64)                                                                 \
    TABLE Handler *const h_set_##cc##_r[4] = { h_set_##cc##_r_8 };                                 \
    TABLE Handler *const h_set_##cc##_m[16] = { h_set_##cc##_m_b, h_set_##cc##_m_x,                \
                                                h_set_##cc##_m_a, h_set_##cc##_m_f };              \
    TABLE Handler *const h_cmov_##cc##_rr[4] = { NULL, NULL, h_cmov_##cc##_rr_32,                  \
                                                 h_cmov_##cc##_rr_64 };                            \
    TABLE Handler *const h_cmov_##cc##_rm[16] = { [8] = ROW_M(h_cmov_##cc##_rm, 32),               \
                                                  ROW_M(h_cmov_##cc##_rm, 64) };
CONDITIONS(DEF_CC)
