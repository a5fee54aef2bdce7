/*
 * The table of instruction forms that have handlers: one row per form; every size and operand mode
 * of a form is in its handler table. What is not here runs natively in a thunk.
 *
 * `handlers` is a table of 4 by size (8 16 32 64), of 16 by size and mode (b x a f) where the shape
 * has a memory operand, or of 1 for the shapes NONE and I; NULL entries have no handler. `proof`
 * names the generator of test_interp_rows.c that proves the row against the CPU.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_ROWS_H
#define RESPIN_PROFILER_ROWS_H

#include "profiler/record.h"

typedef enum Shape {
    SHAPE_NONE, /* no explicit operand */
    SHAPE_I,    /* imm */
    SHAPE_R,    /* reg */
    SHAPE_M,    /* mem */
    SHAPE_RR,   /* reg, reg */
    SHAPE_RI,   /* reg, imm */
    SHAPE_RM,   /* reg, mem */
    SHAPE_MR,   /* mem, reg */
    SHAPE_MI,   /* mem, imm */
    SHAPE_RC,   /* reg, cl */
    SHAPE_RRI,  /* reg, reg, imm */
    SHAPE_RMI,  /* reg, mem, imm */
    SHAPE_COUNT
} Shape;

typedef enum Mode { MODE_BASE, MODE_INDEX, MODE_ABSOLUTE, MODE_FS, MODE_COUNT } Mode;

/* By condition code, 0 to 15. The second name is what Zydis calls it. */
#define CONDITIONS(X)                                                                              \
    X(O) X(NO) X(B) X(NB) X(Z) X(NZ) X(BE) X(NBE) X(S) X(NS) X(P) X(NP) X(L) X(NL) X(LE) X(NLE)

// clang-format off
#define ALU_ROWS(X, NAME, name, source)                                   \
    X(NAME##_RR, NAME, RR, 0, h_##name##_rr, source, "binary")            \
    X(NAME##_RI, NAME, RI, 0, h_##name##_ri, source, "binary_imm")        \
    X(NAME##_MR, NAME, MR, 0, h_##name##_mr, source, "store")             \
    X(NAME##_MI, NAME, MI, 0, h_##name##_mi, source, "store_imm")
#define ALU_ROWS_RM(X, NAME, name, source)                                \
    ALU_ROWS(X, NAME, name, source)                                       \
    X(NAME##_RM, NAME, RM, 0, h_##name##_rm, source, "load")
#define UNARY_ROWS(X, NAME, name, source)                                 \
    X(NAME##_R, NAME, R, 0, h_##name##_r, source, "unary")                \
    X(NAME##_M, NAME, M, 0, h_##name##_m, source, "unary_mem")
#define SHIFT_ROWS(X, NAME, name, source)                                 \
    X(NAME##_RI, NAME, RI, 0, h_##name##_ri, source, "shift_imm")         \
    X(NAME##_RC, NAME, RC, 0, h_##name##_rc, source, "shift_cl")
#define CC_ROWS(X, cc)                                                                \
    X(SET##cc##_R,   SET##cc,  R,  0, h_set_##cc##_r,   "vol. 2B SETcc",  "unary")     \
    X(SET##cc##_M,   SET##cc,  M,  0, h_set_##cc##_m,   "vol. 2B SETcc",  "unary_mem") \
    X(CMOV##cc##_RR, CMOV##cc, RR, 0, h_cmov_##cc##_rr, "vol. 2A CMOVcc", "binary")    \
    X(CMOV##cc##_RM, CMOV##cc, RM, 0, h_cmov_##cc##_rm, "vol. 2A CMOVcc", "load")

/*  form      mnemonic shape  target bits (0: as operand 0; else the index is the source's size)
                                 handlers       defined by (Intel SDM)      proof        */
#define INTERP_ROWS(X)                                                                     \
    ALU_ROWS_RM(X, ADD, add, "vol. 2A ADD")                                                \
    ALU_ROWS_RM(X, SUB, sub, "vol. 2B SUB")                                                \
    ALU_ROWS_RM(X, CMP, cmp, "vol. 2A CMP")                                                \
    ALU_ROWS_RM(X, AND, and, "vol. 2A AND")                                                \
    ALU_ROWS_RM(X, OR,  or,  "vol. 2B OR")                                                 \
    ALU_ROWS_RM(X, XOR, xor, "vol. 2D XOR")                                                \
    ALU_ROWS_RM(X, ADC, adc, "vol. 2A ADC")                                                \
    ALU_ROWS_RM(X, SBB, sbb, "vol. 2B SBB")                                                \
    ALU_ROWS(X, TEST, test,  "vol. 2B TEST")                                               \
    X(MOV_RR,     MOV,    RR,   0,  h_mov_rr,     "vol. 2B MOV",     "binary")             \
    X(MOV_RI,     MOV,    RI,   0,  h_mov_ri,     "vol. 2B MOV",     "binary_imm")         \
    X(MOV_RM,     MOV,    RM,   0,  h_mov_rm,     "vol. 2B MOV",     "load")               \
    X(MOV_MR,     MOV,    MR,   0,  h_mov_mr,     "vol. 2B MOV",     "store")              \
    X(MOV_MI,     MOV,    MI,   0,  h_mov_mi,     "vol. 2B MOV",     "store_imm")          \
    X(MOVZX_RR32, MOVZX,  RR,   32, h_movzx_rr,   "vol. 2B MOVZX",   "extend")             \
    X(MOVZX_RM32, MOVZX,  RM,   32, h_movzx_rm,   "vol. 2B MOVZX",   "extend_load")        \
    X(MOVZX_RR64, MOVZX,  RR,   64, h_movzx_rr,   "vol. 2B MOVZX",   "extend")             \
    X(MOVZX_RM64, MOVZX,  RM,   64, h_movzx_rm,   "vol. 2B MOVZX",   "extend_load")        \
    X(MOVSX_RR32, MOVSX,  RR,   32, h_movsx32_rr, "vol. 2B MOVSX",   "extend")             \
    X(MOVSX_RM32, MOVSX,  RM,   32, h_movsx32_rm, "vol. 2B MOVSX",   "extend_load")        \
    X(MOVSX_RR64, MOVSX,  RR,   64, h_movsx64_rr, "vol. 2B MOVSX",   "extend")             \
    X(MOVSX_RM64, MOVSX,  RM,   64, h_movsx64_rm, "vol. 2B MOVSX",   "extend_load")        \
    X(MOVSXD_RR,  MOVSXD, RR,   64, h_movsx64_rr, "vol. 2B MOVSXD",  "extend")             \
    X(MOVSXD_RM,  MOVSXD, RM,   64, h_movsx64_rm, "vol. 2B MOVSXD",  "extend_load")        \
    X(LEA_RM,     LEA,    RM,   0,  h_lea_rm,     "vol. 2A LEA",     "load")               \
    X(XCHG_RR,    XCHG,   RR,   0,  h_xchg_rr,    "vol. 2D XCHG",    "binary")             \
    X(BSWAP_R,    BSWAP,  R,    0,  h_bswap_r,    "vol. 2A BSWAP",   "unary")              \
    X(CBW,        CBW,    NONE, 0,  h_cbw_0,      "vol. 2A CBW",     "plain")              \
    X(CWDE,       CWDE,   NONE, 0,  h_cwde_0,     "vol. 2A CBW",     "plain")              \
    X(CDQE,       CDQE,   NONE, 0,  h_cdqe_0,     "vol. 2A CBW",     "plain")              \
    X(CDQ,        CDQ,    NONE, 0,  h_cdq_0,      "vol. 2A CWD",     "plain")              \
    X(CQO,        CQO,    NONE, 0,  h_cqo_0,      "vol. 2A CWD",     "plain")              \
    X(PUSH_R,     PUSH,   R,    0,  h_push_r,     "vol. 2B PUSH",    "unary")              \
    X(PUSH_I,     PUSH,   I,    0,  h_push_i,     "vol. 2B PUSH",    "immediate")          \
    X(POP_R,      POP,    R,    0,  h_pop_r,      "vol. 2B POP",     "unary")              \
    X(LEAVE,      LEAVE,  NONE, 0,  h_leave_0,    "vol. 2A LEAVE",   "frame")              \
    UNARY_ROWS(X, INC, inc, "vol. 2A INC")                                                 \
    UNARY_ROWS(X, DEC, dec, "vol. 2A DEC")                                                 \
    UNARY_ROWS(X, NEG, neg, "vol. 2B NEG")                                                 \
    UNARY_ROWS(X, NOT, not, "vol. 2B NOT")                                                 \
    SHIFT_ROWS(X, SHL, shl, "vol. 2B SAL/SAR/SHL/SHR")                                     \
    SHIFT_ROWS(X, SHR, shr, "vol. 2B SAL/SAR/SHL/SHR")                                     \
    SHIFT_ROWS(X, SAR, sar, "vol. 2B SAL/SAR/SHL/SHR")                                     \
    X(ROL_RI,     ROL,    RI,   0,  h_rol_ri,     "vol. 2B RCL/RCR/ROL/ROR", "shift_imm")  \
    X(ROR_RI,     ROR,    RI,   0,  h_ror_ri,     "vol. 2B RCL/RCR/ROL/ROR", "shift_imm")  \
    X(IMUL_RR,    IMUL,   RR,   0,  h_imul_rr,    "vol. 2A IMUL",    "binary")             \
    X(IMUL_RM,    IMUL,   RM,   0,  h_imul_rm,    "vol. 2A IMUL",    "load")               \
    X(IMUL_RRI,   IMUL,   RRI,  0,  h_imul_rri,   "vol. 2A IMUL",    "three")              \
    X(IMUL_RMI,   IMUL,   RMI,  0,  h_imul_rmi,   "vol. 2A IMUL",    "three_load")         \
    X(BT_RR,      BT,     RR,   0,  h_bt_rr,      "vol. 2A BT",      "binary")             \
    X(BT_RI,      BT,     RI,   0,  h_bt_ri,      "vol. 2A BT",      "shift_imm")          \
    CC_ROWS(X, O)  CC_ROWS(X, NO)  CC_ROWS(X, B)  CC_ROWS(X, NB)                           \
    CC_ROWS(X, Z)  CC_ROWS(X, NZ)  CC_ROWS(X, BE) CC_ROWS(X, NBE)                          \
    CC_ROWS(X, S)  CC_ROWS(X, NS)  CC_ROWS(X, P)  CC_ROWS(X, NP)                           \
    CC_ROWS(X, L)  CC_ROWS(X, NL)  CC_ROWS(X, LE) CC_ROWS(X, NLE)
// clang-format on

#define AS_ROW_ENUM(form, mnemonic, shape, bits, handlers, source, proof) ROW_##form,
typedef enum RowId { INTERP_ROWS(AS_ROW_ENUM) ROW_COUNT } RowId;

#define AS_ROW_EXTERN(form, mnemonic, shape, bits, handlers, source, proof)                        \
    extern Handler *const handlers[];
#ifndef STEP_ENGINE
INTERP_ROWS(AS_ROW_EXTERN)
#endif

typedef struct Row {
    const char *form;
    uint16_t mnemonic; /* ZydisMnemonic */
    uint8_t shape;     /* Shape */
    uint8_t to_bits;   /* size of the target, for sign and zero extension; 0: any */
    Handler *const *handlers;
    const char *source;
    const char *proof;
} Row;

extern const Row interp_rows[ROW_COUNT];

/* Handlers that decode.c and records.c choose by themselves. */
#ifndef STEP_ENGINE
extern Handler *const h_rol_ri_nf[4], *const h_ror_ri_nf[4];
Handler h_mov_long, h_nop;
#endif

#endif
