/*
 * The table of opcodes: which encodings mean a row of rows.h, or a special instruction. Everything
 * that the decoder of forms (fetch.c) knows about opcodes stands here; test_fetch.c holds it
 * against Zydis for every opcode, ModRM byte and the prefixes that compilers emit.
 *
 * What is not here (vector code, string operations, locked operations, division ...) has no
 * routine; it is decoded by Zydis, through the gate, and runs natively.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_OPCODES_H
#define RESPIN_PROFILER_OPCODES_H

/* How operands are encoded, in the words of SDM vol. 2D A.2. */
typedef enum Operands {
    OPS_NO_FORM, /* not in the table */
    OPS_NONE,
    OPS_N,   /* no operand, and another instruction with REX.B */
    OPS_EG,  /* ModRM.rm, ModRM.reg */
    OPS_GE,  /* ModRM.reg, ModRM.rm */
    OPS_E,   /* ModRM.rm */
    OPS_EI,  /* ModRM.rm, immediate of the operand size, at most 32 bits */
    OPS_EIB, /* ModRM.rm, immediate byte */
    OPS_E1,  /* ModRM.rm, 1 */
    OPS_EC,  /* ModRM.rm, CL */
    OPS_GEI, /* ModRM.reg, ModRM.rm, immediate */
    OPS_GEIB,
    OPS_AI, /* RAX, immediate */
    OPS_O,  /* register in the opcode */
    OPS_OA, /* register in the opcode, RAX */
    OPS_OI, /* register in the opcode, immediate of the operand size */
    OPS_I,  /* immediate */
    OPS_IB, /* immediate byte */
    OPS_IW, /* immediate word, unsigned */
    OPS_JB, /* distance, a byte */
    OPS_JZ, /* distance, 32 bits */
    OPS_XB, /* ModRM F8, distance, 32 bits: xbegin */
} Operands;

typedef enum OpSize {
    SIZE_B,     /* bytes */
    SIZE_V,     /* 16, 32 or 64 bits, by prefixes */
    SIZE_64,    /* 64 bits, whatever REX.W says; no 16-bit form in the table */
    SIZE_XB,    /* from bytes to 32 bits; to 64: two rows on */
    SIZE_XW,    /* from words to 32 bits; to 64: two rows on */
    SIZE_XD,    /* from 32 bits to 64 */
    SIZE_ROW,   /* the row itself is chosen by size: 16, 32, 64 */
    SIZE_ROW32, /* 32, 64 */
} OpSize;

/* Which prefix an opcode wants; all others are refused but for branches, which take what is there.
 */
typedef enum OpPrefix { PREFIX_NO, PREFIX_F3, PREFIX_ANY } OpPrefix;

enum { TWO_BYTE = 256, ANY_REG = 8, NO_ROW = 0xffff };

// clang-format off
/* Instructions with a routine of their own; after the rows in numbering.
 *       name       mnemonic  flow */
#define SPECIALS(X)                                                         \
    X(nop,          NOP,      NEXT)     X(endbr64,     ENDBR64, NEXT)       \
    X(mov_long,     MOV,      NEXT)     X(pushf,       PUSHFQ,  NEXT)       \
    X(popf,         POPFQ,    NEXT)     X(cld,         CLD,     NEXT)       \
    X(std,          STD,      NEXT)     X(cpuid,       CPUID,   NEXT)       \
    X(jump,         JMP,      JUMP)     X(call,        CALL,    CALL)       \
    X(jump_r,       JMP,      JUMP_IND) X(call_r,      CALL,    CALL_IND)   \
    X(jump_m,       JMP,      JUMP_IND) X(call_m,      CALL,    CALL_IND)   \
    X(ret,          RET,      RET)      X(ret_drop,    RET,     RET)        \
    X(syscall,      SYSCALL,  SYSCALL)  X(abort,       XBEGIN,  ABORT)      \
    X(loop,         LOOP,     COUNT)    X(loope,       LOOPE,   COUNT)      \
    X(loopne,       LOOPNE,   COUNT)    X(jrcxz,       JRCXZ,   COUNT)      \
    X(jecxz,        JECXZ,    COUNT)                                        \
    X(j_O,  JO,  COND) X(j_NO,  JNO,  COND) X(j_B,  JB,  COND) X(j_NB,  JNB,  COND) \
    X(j_Z,  JZ,  COND) X(j_NZ,  JNZ,  COND) X(j_BE, JBE, COND) X(j_NBE, JNBE, COND) \
    X(j_S,  JS,  COND) X(j_NS,  JNS,  COND) X(j_P,  JP,  COND) X(j_NP,  JNP,  COND) \
    X(j_L,  JL,  COND) X(j_NL,  JNL,  COND) X(j_LE, JLE, COND) X(j_NLE, JNLE, COND)

/* opcode, ModRM.reg, operands, size, prefix, row or special where rm is a register, where it is memory.
 * ROW(x), SPECIAL(x), NO_ROW. */
#define OP_ALU(X, base, reg, NAME)                                                                   \
    X((base) + 0, ANY_REG, EG,  B, NO, ROW(NAME##_RR), ROW(NAME##_MR))                               \
    X((base) + 1, ANY_REG, EG,  V, NO, ROW(NAME##_RR), ROW(NAME##_MR))                               \
    X((base) + 2, ANY_REG, GE,  B, NO, ROW(NAME##_RR), ROW(NAME##_RM))                               \
    X((base) + 3, ANY_REG, GE,  V, NO, ROW(NAME##_RR), ROW(NAME##_RM))                               \
    X((base) + 4, ANY_REG, AI,  B, NO, ROW(NAME##_RI), NO_ROW)                                       \
    X((base) + 5, ANY_REG, AI,  V, NO, ROW(NAME##_RI), NO_ROW)                                       \
    X(0x80,       reg,     EI,  B, NO, ROW(NAME##_RI), ROW(NAME##_MI))                               \
    X(0x81,       reg,     EI,  V, NO, ROW(NAME##_RI), ROW(NAME##_MI))                               \
    X(0x83,       reg,     EIB, V, NO, ROW(NAME##_RI), ROW(NAME##_MI))
#define OP_SHIFT_RI(X, reg, NAME)                                                                    \
    X(0xc0, reg, EIB, B, NO, ROW(NAME##_RI), NO_ROW) X(0xc1, reg, EIB, V, NO, ROW(NAME##_RI), NO_ROW) \
    X(0xd0, reg, E1,  B, NO, ROW(NAME##_RI), NO_ROW) X(0xd1, reg, E1,  V, NO, ROW(NAME##_RI), NO_ROW)
#define OP_SHIFT(X, reg, NAME)                                                                       \
    OP_SHIFT_RI(X, reg, NAME)                                                                        \
    X(0xd2, reg, EC,  B, NO, ROW(NAME##_RC), NO_ROW) X(0xd3, reg, EC,  V, NO, ROW(NAME##_RC), NO_ROW)
#define OP_UNARY(X, byte, reg, NAME)                                                                 \
    X((byte) + 0, reg, E, B, NO, ROW(NAME##_R), ROW(NAME##_M))                                       \
    X((byte) + 1, reg, E, V, NO, ROW(NAME##_R), ROW(NAME##_M))
#define OP_CC(X, n, cc)                                                                              \
    X(0x70 + (n),            ANY_REG, JB, 64, ANY, SPECIAL(j_##cc), NO_ROW)                          \
    X(TWO_BYTE + 0x80 + (n), ANY_REG, JZ, 64, ANY, SPECIAL(j_##cc), NO_ROW)                          \
    X(TWO_BYTE + 0x90 + (n), ANY_REG, E,  B,  NO,  ROW(SET##cc##_R), ROW(SET##cc##_M))               \
    X(TWO_BYTE + 0x40 + (n), ANY_REG, GE, V,  NO,  ROW(CMOV##cc##_RR), ROW(CMOV##cc##_RM))
#define OP_EIGHT(X, base, ops, size, row)                                                            \
    X((base) + 0, ANY_REG, ops, size, NO, row, NO_ROW) X((base) + 1, ANY_REG, ops, size, NO, row, NO_ROW) \
    X((base) + 2, ANY_REG, ops, size, NO, row, NO_ROW) X((base) + 3, ANY_REG, ops, size, NO, row, NO_ROW) \
    X((base) + 4, ANY_REG, ops, size, NO, row, NO_ROW) X((base) + 5, ANY_REG, ops, size, NO, row, NO_ROW) \
    X((base) + 6, ANY_REG, ops, size, NO, row, NO_ROW) X((base) + 7, ANY_REG, ops, size, NO, row, NO_ROW)

#define OPCODES(X)                                                                                   \
    OP_ALU(X, 0x00, 0, ADD) OP_ALU(X, 0x08, 1, OR)  OP_ALU(X, 0x10, 2, ADC) OP_ALU(X, 0x18, 3, SBB)  \
    OP_ALU(X, 0x20, 4, AND) OP_ALU(X, 0x28, 5, SUB) OP_ALU(X, 0x30, 6, XOR) OP_ALU(X, 0x38, 7, CMP)  \
    OP_EIGHT(X, 0x50, O, 64, ROW(PUSH_R))                                                            \
    OP_EIGHT(X, 0x58, O, 64, ROW(POP_R))                                                             \
    X(0x63, ANY_REG, GE,   XD, NO, ROW(MOVSXD_RR), ROW(MOVSXD_RM))                                   \
    X(0x68, ANY_REG, I,    64, NO, ROW(PUSH_I),    NO_ROW)                                           \
    X(0x69, ANY_REG, GEI,  V,  NO, ROW(IMUL_RRI),  ROW(IMUL_RMI))                                    \
    X(0x6a, ANY_REG, IB,   64, NO, ROW(PUSH_I),    NO_ROW)                                           \
    X(0x6b, ANY_REG, GEIB, V,  NO, ROW(IMUL_RRI),  ROW(IMUL_RMI))                                    \
    X(0x84, ANY_REG, EG,   B,  NO, ROW(TEST_RR),   ROW(TEST_MR))                                     \
    X(0x85, ANY_REG, EG,   V,  NO, ROW(TEST_RR),   ROW(TEST_MR))                                     \
    X(0x86, ANY_REG, EG,   B,  NO, ROW(XCHG_RR),   NO_ROW)                                           \
    X(0x87, ANY_REG, EG,   V,  NO, ROW(XCHG_RR),   NO_ROW)                                           \
    X(0x88, ANY_REG, EG,   B,  NO, ROW(MOV_RR),    ROW(MOV_MR))                                      \
    X(0x89, ANY_REG, EG,   V,  NO, ROW(MOV_RR),    ROW(MOV_MR))                                      \
    X(0x8a, ANY_REG, GE,   B,  NO, ROW(MOV_RR),    ROW(MOV_RM))                                      \
    X(0x8b, ANY_REG, GE,   V,  NO, ROW(MOV_RR),    ROW(MOV_RM))                                      \
    X(0x8d, ANY_REG, GE,   V,  NO, NO_ROW,         ROW(LEA_RM))                                      \
    X(0x8f, 0,       E,    64, NO, ROW(POP_R),     NO_ROW)                                           \
    OP_EIGHT(X, 0x90, OA, V, ROW(XCHG_RR)) /* but 90 itself: */                                      \
    X(0x90, ANY_REG, N,    V,   NO, SPECIAL(nop),  NO_ROW)                                           \
    X(0x98, ANY_REG, NONE, ROW, NO, ROW(CBW),      NO_ROW)                                           \
    X(0x99, ANY_REG, NONE, ROW32, NO, ROW(CDQ),    NO_ROW)                                           \
    X(0x9c, ANY_REG, NONE, 64,  NO, SPECIAL(pushf), NO_ROW)                                          \
    X(0x9d, ANY_REG, NONE, 64,  NO, SPECIAL(popf), NO_ROW)                                           \
    X(0xa8, ANY_REG, AI,   B,   NO, ROW(TEST_RI),  NO_ROW)                                           \
    X(0xa9, ANY_REG, AI,   V,   NO, ROW(TEST_RI),  NO_ROW)                                           \
    OP_EIGHT(X, 0xb0, OI, B, ROW(MOV_RI))                                                            \
    OP_EIGHT(X, 0xb8, OI, V, ROW(MOV_RI))                                                            \
    OP_SHIFT_RI(X, 0, ROL) OP_SHIFT_RI(X, 1, ROR)                                                    \
    OP_SHIFT(X, 4, SHL) OP_SHIFT(X, 5, SHR) OP_SHIFT(X, 7, SAR)                                      \
    X(0xc2, ANY_REG, IW,   64, ANY, SPECIAL(ret_drop), NO_ROW)                                       \
    X(0xc3, ANY_REG, NONE, 64, ANY, SPECIAL(ret),  NO_ROW)                                           \
    X(0xc6, 0,       EI,   B,  NO, ROW(MOV_RI),    ROW(MOV_MI))                                      \
    X(0xc7, 0,       EI,   V,  NO, ROW(MOV_RI),    ROW(MOV_MI))                                      \
    X(0xc7, 7,       XB,   64, ANY, SPECIAL(abort), NO_ROW)                                           \
    X(0xc9, ANY_REG, NONE, 64, NO, ROW(LEAVE),     NO_ROW)                                           \
    X(0xe0, ANY_REG, JB,   64, ANY, SPECIAL(loopne), NO_ROW)                                         \
    X(0xe1, ANY_REG, JB,   64, ANY, SPECIAL(loope), NO_ROW)                                          \
    X(0xe2, ANY_REG, JB,   64, ANY, SPECIAL(loop), NO_ROW)                                           \
    X(0xe3, ANY_REG, JB,   64, ANY, SPECIAL(jrcxz), NO_ROW)                                          \
    X(0xe8, ANY_REG, JZ,   64, ANY, SPECIAL(call), NO_ROW)                                           \
    X(0xe9, ANY_REG, JZ,   64, ANY, SPECIAL(jump), NO_ROW)                                           \
    X(0xeb, ANY_REG, JB,   64, ANY, SPECIAL(jump), NO_ROW)                                           \
    X(0xf6, 0,       EI,   B,  NO, ROW(TEST_RI),   ROW(TEST_MI))                                     \
    X(0xf7, 0,       EI,   V,  NO, ROW(TEST_RI),   ROW(TEST_MI))                                     \
    OP_UNARY(X, 0xf6, 2, NOT) OP_UNARY(X, 0xf6, 3, NEG)                                              \
    X(0xfc, ANY_REG, NONE, V,  NO, SPECIAL(cld),   NO_ROW)                                           \
    X(0xfd, ANY_REG, NONE, V,  NO, SPECIAL(std),   NO_ROW)                                           \
    OP_UNARY(X, 0xfe, 0, INC) OP_UNARY(X, 0xfe, 1, DEC)                                              \
    X(0xff, 2,       E,    64, ANY, SPECIAL(call_r), SPECIAL(call_m))                                \
    X(0xff, 4,       E,    64, ANY, SPECIAL(jump_r), SPECIAL(jump_m))                                \
    X(0xff, 6,       E,    64, NO, ROW(PUSH_R),    NO_ROW)                                           \
    X(TWO_BYTE + 0x05, ANY_REG, NONE, V,  ANY, SPECIAL(syscall), NO_ROW)                             \
    X(TWO_BYTE + 0x1e, 7,       E,    V,  F3,  SPECIAL(endbr64), NO_ROW)                             \
    X(TWO_BYTE + 0x1f, 0,       E,    V,  NO,  SPECIAL(nop),     SPECIAL(nop))                       \
    X(TWO_BYTE + 0xa2, ANY_REG, NONE, V,  NO,  SPECIAL(cpuid),   NO_ROW)                             \
    X(TWO_BYTE + 0xa3, ANY_REG, EG,   V,  NO,  ROW(BT_RR),       NO_ROW)                             \
    X(TWO_BYTE + 0xaf, ANY_REG, GE,   V,  NO,  ROW(IMUL_RR),     ROW(IMUL_RM))                       \
    X(TWO_BYTE + 0xb6, ANY_REG, GE,   XB, NO,  ROW(MOVZX_RR32),  ROW(MOVZX_RM32))                    \
    X(TWO_BYTE + 0xb7, ANY_REG, GE,   XW, NO,  ROW(MOVZX_RR32),  ROW(MOVZX_RM32))                    \
    X(TWO_BYTE + 0xba, 4,       EIB,  V,  NO,  ROW(BT_RI),       NO_ROW)                             \
    X(TWO_BYTE + 0xbe, ANY_REG, GE,   XB, NO,  ROW(MOVSX_RR32),  ROW(MOVSX_RM32))                    \
    X(TWO_BYTE + 0xbf, ANY_REG, GE,   XW, NO,  ROW(MOVSX_RR32),  ROW(MOVSX_RM32))                    \
    OP_EIGHT(X, TWO_BYTE + 0xc8, O, V, ROW(BSWAP_R))                                                 \
    OP_CC(X, 0, O)   OP_CC(X, 1, NO)  OP_CC(X, 2, B)   OP_CC(X, 3, NB)                               \
    OP_CC(X, 4, Z)   OP_CC(X, 5, NZ)  OP_CC(X, 6, BE)  OP_CC(X, 7, NBE)                              \
    OP_CC(X, 8, S)   OP_CC(X, 9, NS)  OP_CC(X, 10, P)  OP_CC(X, 11, NP)                              \
    OP_CC(X, 12, L)  OP_CC(X, 13, NL) OP_CC(X, 14, LE) OP_CC(X, 15, NLE)
// clang-format on

#endif
