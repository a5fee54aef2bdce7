/*
 * Call frame instructions (DW_CFA_*): one list for the reader, the writer and the tests.
 *
 * X(name, opcode, operands, defined by). Operands, one letter each:
 *   r register (uleb)   u uleb        s sleb       e expression (uleb length, bytes)
 *   1 2 4 unsigned bytes              a address in the CIE's FDE encoding
 * The three whose low six bits are an operand stand first.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CORE_CFA_OPS_H
#define RESPIN_CORE_CFA_OPS_H

#include "core/bytes.h"

// clang-format off
#define CFA_OPS(X)                                                          \
    X(ADVANCE_LOC,         0x40, "",   "DWARF5 6.4.2.1")                    \
    X(OFFSET,              0x80, "u",  "DWARF5 6.4.2.3")                    \
    X(RESTORE,             0xc0, "",   "DWARF5 6.4.2.3")                    \
    X(NOP,                 0x00, "",   "DWARF5 6.4.2.5")                    \
    X(SET_LOC,             0x01, "a",  "DWARF5 6.4.2.1")                    \
    X(ADVANCE_LOC1,        0x02, "1",  "DWARF5 6.4.2.1")                    \
    X(ADVANCE_LOC2,        0x03, "2",  "DWARF5 6.4.2.1")                    \
    X(ADVANCE_LOC4,        0x04, "4",  "DWARF5 6.4.2.1")                    \
    X(OFFSET_EXTENDED,     0x05, "ru", "DWARF5 6.4.2.3")                    \
    X(RESTORE_EXTENDED,    0x06, "r",  "DWARF5 6.4.2.3")                    \
    X(UNDEFINED,           0x07, "r",  "DWARF5 6.4.2.3")                    \
    X(SAME_VALUE,          0x08, "r",  "DWARF5 6.4.2.3")                    \
    X(REGISTER,            0x09, "rr", "DWARF5 6.4.2.3")                    \
    X(REMEMBER_STATE,      0x0a, "",   "DWARF5 6.4.2.4")                    \
    X(RESTORE_STATE,       0x0b, "",   "DWARF5 6.4.2.4")                    \
    X(DEF_CFA,             0x0c, "ru", "DWARF5 6.4.2.2")                    \
    X(DEF_CFA_REGISTER,    0x0d, "r",  "DWARF5 6.4.2.2")                    \
    X(DEF_CFA_OFFSET,      0x0e, "u",  "DWARF5 6.4.2.2")                    \
    X(DEF_CFA_EXPRESSION,  0x0f, "e",  "DWARF5 6.4.2.2")                    \
    X(EXPRESSION,          0x10, "re", "DWARF5 6.4.2.3")                    \
    X(OFFSET_EXTENDED_SF,  0x11, "rs", "DWARF5 6.4.2.3")                    \
    X(DEF_CFA_SF,          0x12, "rs", "DWARF5 6.4.2.2")                    \
    X(DEF_CFA_OFFSET_SF,   0x13, "s",  "DWARF5 6.4.2.2")                    \
    X(VAL_OFFSET,          0x14, "ru", "DWARF5 6.4.2.3")                    \
    X(VAL_OFFSET_SF,       0x15, "rs", "DWARF5 6.4.2.3")                    \
    X(VAL_EXPRESSION,      0x16, "re", "DWARF5 6.4.2.3")                    \
    X(GNU_ARGS_SIZE,       0x2e, "u",  "LSB Core, DWARF Extensions")        \
    X(GNU_NEGATIVE_OFFSET, 0x2f, "ru", "LSB Core, DWARF Extensions")
// clang-format on

#define CFA_ENUM(name, opcode, operands, source) CFA_##name = (opcode),
enum CfaOp { CFA_OPS(CFA_ENUM) };

enum { CFA_HIGH_MASK = 0xc0, CFA_LOW_MASK = 0x3f };

/* One instruction, operands as stored: neither factored nor resolved. */
typedef struct CfaInsn {
    uint8_t op; /* CfaOp */
    uint64_t reg;
    uint64_t value; /* the other operand, sign-extended where it is signed */
    size_t address; /* SET_LOC: where in the cursor's range its address stands */
    Bytes expr;
} CfaInsn;

/*
 * Reads one instruction.
 *
 * encoding: DW_EH_PE_* form of addresses.
 * Result:   false for an opcode that is not in the list. cursor->bad: operands run out.
 */
bool cfa_insn_read(Cursor *cursor, uint8_t encoding, CfaInsn *out);

#endif
