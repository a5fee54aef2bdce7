/*
 * handlers_bits.c: one-operand arithmetic, shifts, rotates, multiplications, bit tests.
 *
 *   r  reg    m  mem    ri  reg, imm    rc  reg, cl    nf  flags are dead: none are made
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/bodies.h"
#include "profiler/rows.h"

/* Declares `carry`: the carry flag, which inc and dec keep. */
#define KEPT_CARRY()                                                                               \
    U64 carry;                                                                                     \
    if (kind >= FLAGS_INC8 && kind <= FLAGS_DEC64)                                                 \
        carry = fb;                                                                                \
    else if (kind == FLAGS_RAW)                                                                    \
        carry = (fa >> 8) & 1;                                                                     \
    else if (kind <= FLAGS_ADD64)                                                                  \
        carry = fa < fb;                                                                           \
    else                                                                                           \
        MAKE_RAW()

#define FIRST_inc KEPT_CARRY()
#define CALC_inc(bits) U64 r = (U64)x + 1
#define FLAG_inc(bits) SET_FLAGS((S##bits)r, carry, FLAGS_INC##bits)
#define FIRST_dec KEPT_CARRY()
#define CALC_dec(bits) U64 r = (U64)x - 1
#define FLAG_dec(bits) SET_FLAGS((S##bits)r, carry, FLAGS_DEC##bits)
#define FIRST_neg (void)0
#define CALC_neg(bits) U64 r = 0 - (U64)x
#define FLAG_neg(bits) SET_FLAGS(0, x, FLAGS_SUB##bits)
#define FIRST_not (void)0
#define CALC_not(bits) U64 r = ~(U64)x
#define FLAG_not(bits) (void)0

#define DEF_R(name, bits)                                                                          \
    HANDLER(h_##name##_r_##bits)                                                                   \
    {                                                                                              \
        FIRST_##name;                                                                              \
        S64 x = REG(bits, op->a);                                                                  \
        CALC_##name(bits);                                                                         \
        SET_REG(bits, op->a, r);                                                                   \
        FLAG_##name(bits);                                                                         \
        NEXT(1);                                                                                   \
    }
#define DEF_M(name, bits, mode)                                                                    \
    HANDLER(h_##name##_m_##bits##mode)                                                             \
    {                                                                                              \
        FIRST_##name;                                                                              \
        LOAD(x, bits, mode);                                                                       \
        CALC_##name(bits);                                                                         \
        STORE_BACK(r, bits, mode);                                                                 \
        FLAG_##name(bits);                                                                         \
        NEXT(SLOTS_##mode);                                                                        \
    }
#define DEF_UNARY(name)                                                                            \
    DEF_SIZES_R(DEF_R, name)                                                                       \
    DEF_SIZES_M(DEF_M, name)                                                                       \
    TABLE_R(h_##name##_r)                                                                          \
    TABLE_M(h_##name##_m)
DEF_UNARY(inc)
DEF_UNARY(dec)
DEF_UNARY(neg)
DEF_UNARY(not )

/* ---- shifts: n is 1 to the size for an immediate, 1 to 63 for cl ---- */

#define COUNT_MASK(bits) ((bits) == 64 ? 63 : 31)
#define DEF_SHIFT(name, bits)                                                                      \
    HANDLER(h_##name##_ri_##bits)                                                                  \
    {                                                                                              \
        BODY_SHIFT_RI(name, bits);                                                                 \
        NEXT(1);                                                                                   \
    }                                                                                              \
    HANDLER(h_##name##_rc_##bits)                                                                  \
    {                                                                                              \
        unsigned n = REG_AT(U8, R_RCX * 8) & COUNT_MASK(bits);                                     \
        if (n == 0) {                                                                              \
            SET_REG(bits, op->a, UREG(bits, op->a));                                               \
            NEXT(1);                                                                               \
        }                                                                                          \
        SHIFT_##name(bits);                                                                        \
        NEXT(1);                                                                                   \
    }
#define DEF_SHIFTS(name)                                                                           \
    DEF_SIZES_R(DEF_SHIFT, name)                                                                   \
    TABLE_R(h_##name##_ri)                                                                         \
    TABLE_R(h_##name##_rc)
DEF_SHIFTS(shl)
DEF_SHIFTS(shr)
DEF_SHIFTS(sar)

/* ---- rotates: carry and overflow only (SDM vol. 2B RCL/RCR/ROL/ROR) ---- */

#define ROTATE_rol(bits, v, n) ((v) << (n) | (v) >> ((bits) - (n)))
#define CARRY_rol(bits, r) ((r)&1)
#define OVERFLOW_rol(bits, r) ((((r) >> ((bits)-1)) ^ (r)) & 1)
#define ROTATE_ror(bits, v, n) ((v) >> (n) | (v) << ((bits) - (n)))
#define CARRY_ror(bits, r) ((r) >> ((bits)-1))
#define OVERFLOW_ror(bits, r) ((((r) >> ((bits)-1)) ^ ((r) >> ((bits)-2))) & 1)

#define DEF_ROTATE(name, bits)                                                                     \
    HANDLER(h_##name##_ri_nf_##bits)                                                               \
    {                                                                                              \
        U##bits v = (U##bits)UREG(bits, op->a);                                                    \
        SET_REG(bits, op->a, ROTATE_##name(bits, v, op->imm));                                     \
        NEXT(1);                                                                                   \
    }                                                                                              \
    HANDLER(h_##name##_ri_##bits)                                                                  \
    {                                                                                              \
        if (UNLIKELY(kind != FLAGS_RAW))                                                           \
            MAKE_RAW();                                                                            \
        U##bits v = (U##bits)UREG(bits, op->a);                                                    \
        U##bits r = ROTATE_##name(bits, v, op->imm);                                               \
        SET_REG(bits, op->a, r);                                                                   \
        fa = (fa & ~(U64)(RAW_CF | RAW_OF)) | (U64)CARRY_##name(bits, r) << 8 |                    \
             OVERFLOW_##name(bits, r);                                                             \
        NEXT(1);                                                                                   \
    }
DEF_ROTATE(rol, 32)
DEF_ROTATE(rol, 64)
DEF_ROTATE(ror, 32)
DEF_ROTATE(ror, 64)
TABLE Handler *const h_rol_ri[4] = { NULL, NULL, h_rol_ri_32, h_rol_ri_64 };
TABLE Handler *const h_ror_ri[4] = { NULL, NULL, h_ror_ri_32, h_ror_ri_64 };
TABLE Handler *const h_rol_ri_nf[4] = { NULL, NULL, h_rol_ri_nf_32, h_rol_ri_nf_64 };
TABLE Handler *const h_ror_ri_nf[4] = { NULL, NULL, h_ror_ri_nf_32, h_ror_ri_nf_64 };

/* ---- imul with a target: carry = overflow = the product does not fit ---- */

#define IMUL(bits)                                                                                 \
    S##bits r;                                                                                     \
    U64 over = __builtin_mul_overflow((S##bits)x, (S##bits)y, &r);                                 \
    SET_REG(bits, op->a, r);                                                                       \
    SET_FLAGS((S64)r, (0 - over) & (RFLAGS_CF | RFLAGS_OF), FLAGS_RES)
#define DEF_IMUL_R(name, bits)                                                                     \
    HANDLER(h_imul_rr_##bits)                                                                      \
    {                                                                                              \
        S64 x = REG(bits, op->a), y = REG(bits, op->b);                                            \
        IMUL(bits);                                                                                \
        NEXT(1);                                                                                   \
    }                                                                                              \
    HANDLER(h_imul_rri_##bits)                                                                     \
    {                                                                                              \
        S64 x = REG(bits, op->b), y = op->imm;                                                     \
        IMUL(bits);                                                                                \
        NEXT(1);                                                                                   \
    }
#define DEF_IMUL_M(name, bits, mode)                                                               \
    HANDLER(h_imul_rm_##bits##mode)                                                                \
    {                                                                                              \
        LOAD(y, bits, mode);                                                                       \
        S64 x = REG(bits, op->a);                                                                  \
        IMUL(bits);                                                                                \
        NEXT(SLOTS_##mode);                                                                        \
    }                                                                                              \
    HANDLER(h_imul_rmi_##bits##mode)                                                               \
    {                                                                                              \
        LOAD(x, bits, mode);                                                                       \
        S64 y = (S64)op[1].word[1];                                                                \
        IMUL(bits);                                                                                \
        NEXT(2);                                                                                   \
    }
DEF_IMUL_R(imul, 32)
DEF_IMUL_R(imul, 64)
DEF_MODES(DEF_IMUL_M, imul, 32)
DEF_MODES(DEF_IMUL_M, imul, 64)
TABLE Handler *const h_imul_rr[4] = { NULL, NULL, h_imul_rr_32, h_imul_rr_64 };
TABLE Handler *const h_imul_rri[4] = { NULL, NULL, h_imul_rri_32, h_imul_rri_64 };
TABLE Handler *const h_imul_rm[16] = { [8] = ROW_M(h_imul_rm, 32), ROW_M(h_imul_rm, 64) };
TABLE Handler *const h_imul_rmi[16] = { [8] = ROW_M(h_imul_rmi, 32), ROW_M(h_imul_rmi, 64) };

/* ---- bt: carry is the bit; zero is kept, the other flags are undefined (here: of the old zero)
 * ---- */

#define BIT_TEST(bits, index)                                                                      \
    U64 zero = kind < FLAGS_RAW ? fa == fb : kind == FLAGS_RAW ? (fa & RAW_ZF) != 0 : fa == 0;     \
    U64 bit = (UREG(bits, op->a) >> ((index) & ((bits)-1))) & 1;                                   \
    SET_FLAGS(zero ^ 1, bit, FLAGS_RES);                                                           \
    NEXT(1)
#define DEF_BT(name, bits)                                                                         \
    HANDLER(h_bt_rr_##bits)                                                                        \
    {                                                                                              \
        BIT_TEST(bits, UREG(bits, op->b));                                                         \
    }                                                                                              \
    HANDLER(h_bt_ri_##bits)                                                                        \
    {                                                                                              \
        BIT_TEST(bits, (unsigned)op->imm);                                                         \
    }
DEF_BT(bt, 32)
DEF_BT(bt, 64)
TABLE Handler *const h_bt_rr[4] = { NULL, NULL, h_bt_rr_32, h_bt_rr_64 };
TABLE Handler *const h_bt_ri[4] = { NULL, NULL, h_bt_ri_32, h_bt_ri_64 };
