/*
 * handlers_fused.c: a compare or test and the conditional jump behind it, as one record.
 *
 * The pair is a fifth of all instructions in compiled integer code; fusing saves a dispatch and
 * the generic condition (field-notes section 5: about 10%). The lazy flags are left as the compare
 * alone would leave them. Conditions on overflow and parity are not fused.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/bodies.h"

// clang-format off
#define FUSED_CONDITIONS(X, def, bits) \
    X(def, B, bits)                    \
    X(def, NB, bits)                   \
    X(def, Z, bits)                    \
    X(def, NZ, bits)                   \
    X(def, BE, bits)                   \
    X(def, NBE, bits)                  \
    X(def, S, bits)                    \
    X(def, NS, bits)                   \
    X(def, L, bits)                    \
    X(def, NL, bits)                   \
    X(def, LE, bits)                   \
    X(def, NLE, bits)
// clang-format on

#define DEF_FUSED_R(cc, bits)                                                                      \
    HANDLER(h_cmp_rr_##cc##_##bits)                                                                \
    {                                                                                              \
        BODY_CMP_RR_JCC(cc, bits);                                                                 \
    }                                                                                              \
    HANDLER(h_cmp_ri_##cc##_##bits)                                                                \
    {                                                                                              \
        BODY_CMP_RI_JCC(cc, bits);                                                                 \
    }                                                                                              \
    HANDLER(h_test_rr_##cc##_##bits)                                                               \
    {                                                                                              \
        BODY_TEST_RR_JCC(cc, bits);                                                                \
    }                                                                                              \
    HANDLER(h_test_ri_##cc##_##bits)                                                               \
    {                                                                                              \
        BODY_TEST_RI_JCC(cc, bits);                                                                \
    }

#define ADDRESS_g (op[2].word[1]) /* as mode a, but slot 1 holds the links */
#define SEGMENT_g ""
#define DEF_FUSED_M(cc, bits, mode, from)                                                          \
    HANDLER(h_cmp_rm_##cc##_##bits##mode)                                                          \
    {                                                                                              \
        LOAD(y, bits, from);                                                                       \
        fa = (U64)REG(bits, op->a);                                                                \
        fb = (U64)y;                                                                               \
        FINISH(cc, bits);                                                                          \
    }                                                                                              \
    HANDLER(h_cmp_mr_##cc##_##bits##mode)                                                          \
    {                                                                                              \
        LOAD(x, bits, from);                                                                       \
        fa = (U64)x;                                                                               \
        fb = (U64)REG(bits, op->a);                                                                \
        FINISH(cc, bits);                                                                          \
    }
#define IMM_b ((S64)op[2].word[1])
#define IMM_x ((S64)op[2].word[1])
#define IMM_g ((S64)op->imm)
#define DEF_FUSED_I(cc, bits, mode, from)                                                          \
    HANDLER(h_cmp_mi_##cc##_##bits##mode)                                                          \
    {                                                                                              \
        LOAD(x, bits, from);                                                                       \
        fa = (U64)x;                                                                               \
        fb = (U64)IMM_##from;                                                                      \
        FINISH(cc, bits);                                                                          \
    }                                                                                              \
    HANDLER(h_test_mi_##cc##_##bits##mode)                                                         \
    {                                                                                              \
        LOAD(x, bits, from);                                                                       \
        fa = (U64)(x & IMM_##from);                                                                \
        fb = 0;                                                                                    \
        FINISH(cc, bits);                                                                          \
    }
#define DEF_FUSED_MODES(cc, bits)                                                                  \
    DEF_FUSED_M(cc, bits, b, b)                                                                    \
    DEF_FUSED_M(cc, bits, x, x)                                                                    \
    DEF_FUSED_M(cc, bits, a, g)                                                                    \
    DEF_FUSED_I(cc, bits, b, b) DEF_FUSED_I(cc, bits, x, x) DEF_FUSED_I(cc, bits, a, g)
#define DEF_FUSED(def, cc, bits) DEF_FUSED_R(cc, bits) DEF_FUSED_MODES(cc, bits)
FUSED_CONDITIONS(DEF_FUSED, x, 8)
FUSED_CONDITIONS(DEF_FUSED, x, 32)
FUSED_CONDITIONS(DEF_FUSED, x, 64)

#define AS_FUSED_R(shape, cc)                                                                      \
    [CC_##cc] = { h_##shape##_##cc##_8, NULL, h_##shape##_##cc##_32, h_##shape##_##cc##_64 },
#define AS_FUSED_M(shape, cc)                                                                      \
    [CC_##cc] = { h_##shape##_##cc##_8b,                                                           \
                  h_##shape##_##cc##_8x,                                                           \
                  h_##shape##_##cc##_8a,                                                           \
                  NULL,                                                                            \
                  NULL,                                                                            \
                  NULL,                                                                            \
                  NULL,                                                                            \
                  NULL,                                                                            \
                  h_##shape##_##cc##_32b,                                                          \
                  h_##shape##_##cc##_32x,                                                          \
                  h_##shape##_##cc##_32a,                                                          \
                  NULL,                                                                            \
                  h_##shape##_##cc##_64b,                                                          \
                  h_##shape##_##cc##_64x,                                                          \
                  h_##shape##_##cc##_64a,                                                          \
                  NULL },
#define FUSED_LIST(as, shape)                                                                      \
    as(shape, B) as(shape, NB) as(shape, Z) as(shape, NZ) as(shape, BE) as(shape, NBE)             \
        as(shape, S) as(shape, NS) as(shape, L) as(shape, NL) as(shape, LE) as(shape, NLE)

Handler *const h_fused_reg[FUSED_SHAPES][16][4] = {
    [FUSED_CMP_RR] = { FUSED_LIST(AS_FUSED_R, cmp_rr) },
    [FUSED_CMP_RI] = { FUSED_LIST(AS_FUSED_R, cmp_ri) },
    [FUSED_TEST_RR] = { FUSED_LIST(AS_FUSED_R, test_rr) },
    [FUSED_TEST_RI] = { FUSED_LIST(AS_FUSED_R, test_ri) },
};
Handler *const h_fused_mem[FUSED_MEMS][16][16] = {
    [FUSED_CMP_RM] = { FUSED_LIST(AS_FUSED_M, cmp_rm) },
    [FUSED_CMP_MR] = { FUSED_LIST(AS_FUSED_M, cmp_mr) },
    [FUSED_CMP_MI] = { FUSED_LIST(AS_FUSED_M, cmp_mi) },
    [FUSED_TEST_MI] = { FUSED_LIST(AS_FUSED_M, test_mi) },
};
