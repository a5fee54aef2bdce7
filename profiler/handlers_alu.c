/*
 * handlers_alu.c: two-operand arithmetic and logic, at every size and operand shape.
 *
 *   rr  reg, reg      ri  reg, imm      rm  reg, mem     mr  mem, reg     mi  mem, imm
 *
 * `a` is the left operand's register, `b` the right one's; memory operands take b c d imm. The
 * immediate of mi stands in slot 1 (word[1]). Each operation is three macros: what it computes,
 * which flags state it leaves, whether it writes its result.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/bodies.h"
#include "profiler/rows.h"

#define DEF_RR(name, bits)                                                                         \
    HANDLER(h_##name##_rr_##bits)                                                                  \
    {                                                                                              \
        BODY_RR(name, bits);                                                                       \
        NEXT(1);                                                                                   \
    }
#define DEF_RI(name, bits)                                                                         \
    HANDLER(h_##name##_ri_##bits)                                                                  \
    {                                                                                              \
        BODY_RI(name, bits);                                                                       \
        NEXT(1);                                                                                   \
    }
#define DEF_RM(name, bits, mode)                                                                   \
    HANDLER(h_##name##_rm_##bits##mode)                                                            \
    {                                                                                              \
        BODY_RM(name, bits, mode);                                                                 \
        NEXT(SLOTS_##mode);                                                                        \
    }
#define DEF_MR(name, bits, mode)                                                                   \
    HANDLER(h_##name##_mr_##bits##mode)                                                            \
    {                                                                                              \
        FIRST_##name;                                                                              \
        LOAD(x, bits, mode);                                                                       \
        S64 y = REG(bits, op->a);                                                                  \
        CALC_##name(bits);                                                                         \
        KEEP_##name(STORE_BACK(r, bits, mode));                                                    \
        FLAG_##name(bits);                                                                         \
        NEXT(SLOTS_##mode);                                                                        \
    }
#define DEF_MI(name, bits, mode)                                                                   \
    HANDLER(h_##name##_mi_##bits##mode)                                                            \
    {                                                                                              \
        FIRST_##name;                                                                              \
        LOAD(x, bits, mode);                                                                       \
        S64 y = (S64)op[1].word[1];                                                                \
        CALC_##name(bits);                                                                         \
        KEEP_##name(STORE_BACK(r, bits, mode));                                                    \
        FLAG_##name(bits);                                                                         \
        NEXT(2);                                                                                   \
    }

#define DEF_ALU(name)                                                                              \
    DEF_SIZES_R(DEF_RR, name)                                                                      \
    DEF_SIZES_R(DEF_RI, name)                                                                      \
    DEF_SIZES_M(DEF_MR, name)                                                                      \
    DEF_SIZES_M(DEF_MI, name)                                                                      \
    TABLE_R(h_##name##_rr)                                                                         \
    TABLE_R(h_##name##_ri)                                                                         \
    TABLE_M(h_##name##_mr)                                                                         \
    TABLE_M(h_##name##_mi)
#define DEF_ALU_RM(name)                                                                           \
    DEF_SIZES_M(DEF_RM, name)                                                                      \
    TABLE_M(h_##name##_rm)

DEF_ALU(add)
DEF_ALU(sub)
DEF_ALU(cmp)
DEF_ALU(and)
DEF_ALU(or)
DEF_ALU(xor)
DEF_ALU(test)
DEF_ALU(adc)
DEF_ALU(sbb)
DEF_ALU_RM(add)
DEF_ALU_RM(sub)
DEF_ALU_RM(cmp)
DEF_ALU_RM(and)
DEF_ALU_RM(or)
DEF_ALU_RM(xor)
DEF_ALU_RM(adc)
DEF_ALU_RM(sbb)
