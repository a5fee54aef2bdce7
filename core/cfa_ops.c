/* cfa_ops.c: call frame instructions taken apart. SPDX-License-Identifier: MIT */
#include "core/cfa_ops.h"
#include "core/eh_pointer.h"

enum { CFA_OP_LIMIT = CFA_RESTORE + 1 };

#define CFA_OPERANDS(name, opcode, operands, source) [opcode] = (operands),
static const char *const cfa_operands[CFA_OP_LIMIT] = { CFA_OPS(CFA_OPERANDS) };

static Bytes read_expression(Cursor *cursor)
{
    Bytes expr = { 0 };
    uint64_t size = cursor_uleb(cursor);
    if (!cursor->bad && !bytes_slice(cursor->bytes, cursor->at, size, &expr))
        cursor->bad = true;
    cursor_skip(cursor, size);
    return expr;
}

static void read_operand(Cursor *cursor, char letter, uint8_t encoding, CfaInsn *insn)
{
    switch (letter) {
    case 'u':
        insn->value = cursor_uleb(cursor);
        break;
    case 's':
        insn->value = (uint64_t)cursor_sleb(cursor);
        break;
    case '1':
        insn->value = cursor_u8(cursor);
        break;
    case '2':
        insn->value = cursor_u16(cursor);
        break;
    case '4':
        insn->value = cursor_u32(cursor);
        break;
    case 'a':
        insn->address = cursor->at;
        insn->value = eh_value_read(cursor, encoding);
        break;
    default:
        insn->expr = read_expression(cursor);
        break;
    }
}

bool cfa_insn_read(Cursor *cursor, uint8_t encoding, CfaInsn *out)
{
    uint8_t byte = cursor_u8(cursor);
    *out = (CfaInsn){ .op = byte };
    if ((byte & CFA_HIGH_MASK) != 0) {
        out->op = byte & CFA_HIGH_MASK;
        out->reg = out->value = byte & CFA_LOW_MASK;
    }
    const char *letters = out->op < CFA_OP_LIMIT ? cfa_operands[out->op] : NULL;
    if (letters == NULL)
        return false;
    if (letters[0] == 'r') {
        out->reg = cursor_uleb(cursor);
        letters++;
    }
    if (letters[0] == 'r')
        out->value = cursor_uleb(cursor);
    else if (letters[0] != 0)
        read_operand(cursor, letters[0], encoding, out);
    return true;
}
