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
#include "profiler/handler.h"
#include "profiler/rows.h"

#define CALC_add(bits) U64 r = (U64)x + (U64)y
#define FLAG_add(bits) SET_FLAGS((S##bits)r, y, FLAGS_ADD##bits)
#define KEEP_add(write) write
#define CALC_sub(bits) U64 r = (U64)x - (U64)y
#define FLAG_sub(bits) SET_FLAGS(x, y, FLAGS_SUB##bits)
#define KEEP_sub(write) write
#define CALC_cmp(bits) (void)0
#define FLAG_cmp(bits) SET_FLAGS(x, y, FLAGS_SUB##bits)
#define KEEP_cmp(write) (void)0
#define CALC_and(bits) U64 r = (U64)x & (U64)y
#define FLAG_and(bits) SET_FLAGS((S##bits)r, 0, FLAGS_SUB##bits)
#define KEEP_and(write) write
#define CALC_or(bits) U64 r = (U64)x | (U64)y
#define FLAG_or(bits) SET_FLAGS((S##bits)r, 0, FLAGS_SUB##bits)
#define KEEP_or(write) write
#define CALC_xor(bits) U64 r = (U64)x ^ (U64)y
#define FLAG_xor(bits) SET_FLAGS((S##bits)r, 0, FLAGS_SUB##bits)
#define KEEP_xor(write) write
#define CALC_test(bits) U64 r = (U64)x & (U64)y
#define FLAG_test(bits) SET_FLAGS((S##bits)r, 0, FLAGS_SUB##bits)
#define KEEP_test(write) (void)0

/* Carry in, all flags out: the host's own adc and sbb, with their flags taken by lahf and seto. */
#define CARRY_IN()                                                                                 \
    U64 carry;                                                                                     \
    if (LIKELY(kind == FLAGS_RAW))                                                                 \
        carry = (fa >> 8) & 1;                                                                     \
    else if (kind <= FLAGS_ADD64)                                                                  \
        carry = fa < fb;                                                                           \
    else                                                                                           \
        MAKE_RAW()
#define CARRY_ASM(name, bits)                                                                      \
    U##bits sum_ = (U##bits)x;                                                                     \
    U64 raw;                                                                                       \
    __asm__("negq %[carry]\n\t" #name " %[y], %[x]\n\tmovl $0, %%eax\n\tlahf\n\tseto %%al"         \
            : [x] "+&r"(sum_), "=&a"(raw), [carry] "+&r"(carry)                                    \
            : [y] "r"((U##bits)y)                                                                  \
            : "cc");                                                                               \
    U64 r = sum_
#define CALC_adc(bits) CARRY_ASM(adc, bits)
#define FLAG_adc(bits) SET_FLAGS(raw, 0, FLAGS_RAW)
#define KEEP_adc(write) write
#define CALC_sbb(bits) CARRY_ASM(sbb, bits)
#define FLAG_sbb(bits) SET_FLAGS(raw, 0, FLAGS_RAW)
#define KEEP_sbb(write) write

#define FIRST_add (void)0
#define FIRST_sub (void)0
#define FIRST_cmp (void)0
#define FIRST_and (void)0
#define FIRST_or (void)0
#define FIRST_xor (void)0
#define FIRST_test (void)0
#define FIRST_adc CARRY_IN()
#define FIRST_sbb CARRY_IN()

#define DEF_RR(name, bits)                                                                         \
    HANDLER(h_##name##_rr_##bits)                                                                  \
    {                                                                                              \
        FIRST_##name;                                                                              \
        S64 x = REG(bits, op->a), y = REG(bits, op->b);                                            \
        CALC_##name(bits);                                                                         \
        KEEP_##name(SET_REG(bits, op->a, r));                                                      \
        FLAG_##name(bits);                                                                         \
        NEXT(1);                                                                                   \
    }
#define DEF_RI(name, bits)                                                                         \
    HANDLER(h_##name##_ri_##bits)                                                                  \
    {                                                                                              \
        FIRST_##name;                                                                              \
        S64 x = REG(bits, op->a), y = op->imm;                                                     \
        CALC_##name(bits);                                                                         \
        KEEP_##name(SET_REG(bits, op->a, r));                                                      \
        FLAG_##name(bits);                                                                         \
        NEXT(1);                                                                                   \
    }
#define DEF_RM(name, bits, mode)                                                                   \
    HANDLER(h_##name##_rm_##bits##mode)                                                            \
    {                                                                                              \
        FIRST_##name;                                                                              \
        LOAD(y, bits, mode);                                                                       \
        S64 x = REG(bits, op->a);                                                                  \
        CALC_##name(bits);                                                                         \
        KEEP_##name(SET_REG(bits, op->a, r));                                                      \
        FLAG_##name(bits);                                                                         \
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
