/*
 * unwind_carry.c: can the rows of a function hold at another address?
 *
 * A row is copied to new code as it is, so nothing in it may depend on where it stands. Register
 * and offset rules never do. Expressions do when they read the instruction pointer (as those of
 * .plt do) or hold an address; an operation that is not in the list below is not guessed.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/unwind.h"

enum { OP_BREG0 = 0x70, OP_BREGX = 0x92, REG_RIP = 16 };

/* Operations that expressions of call frames use: first, last, operands (letters as in cfa_ops.h).
 * DWARF5 7.7.1. */
typedef struct ExprOps {
    uint8_t first;
    uint8_t last;
    const char *operands;
} ExprOps;

static const ExprOps expr_ops[] = {
    { 0x06, 0x06, "" },   /* deref */
    { 0x08, 0x09, "1" },  /* const1 */
    { 0x0a, 0x0b, "2" },  /* const2 */
    { 0x0c, 0x0d, "4" },  /* const4 */
    { 0x0e, 0x0f, "8" },  /* const8 */
    { 0x10, 0x11, "u" },  /* constu, consts */
    { 0x12, 0x14, "" },   /* dup drop over */
    { 0x15, 0x15, "1" },  /* pick */
    { 0x16, 0x17, "" },   /* swap rot */
    { 0x19, 0x22, "" },   /* abs … plus */
    { 0x23, 0x23, "u" },  /* plus_uconst */
    { 0x24, 0x27, "" },   /* shl shr shra xor */
    { 0x28, 0x28, "2" },  /* bra */
    { 0x29, 0x2e, "" },   /* eq … ne */
    { 0x2f, 0x2f, "2" },  /* skip */
    { 0x30, 0x4f, "" },   /* lit */
    { 0x70, 0x8f, "u" },  /* breg */
    { 0x92, 0x92, "ru" }, /* bregx */
    { 0x94, 0x94, "1" },  /* deref_size */
    { 0x96, 0x96, "" },   /* nop */
};

static const char *expr_operands(uint8_t op)
{
    for (size_t i = 0; i < sizeof(expr_ops) / sizeof(expr_ops[0]); i++)
        if (op >= expr_ops[i].first && op <= expr_ops[i].last)
            return expr_ops[i].operands;
    return NULL;
}

/* What in `expr` depends on its place or is not known; NULL: nothing. */
static const char *expr_objection(Bytes expr)
{
    Cursor cursor = cursor_at(expr, 0);
    while (cursor.at < expr.len) {
        uint8_t op = cursor_u8(&cursor);
        const char *letters = expr_operands(op);
        uint64_t reg = op - (uint64_t)OP_BREG0;
        if (letters == NULL)
            return "an expression with an operation that is not known";
        if (letters[0] == 'r') {
            reg = cursor_uleb(&cursor);
            letters++;
        }
        if (reg == REG_RIP)
            return "an expression that reads the instruction pointer";
        if (letters[0] == 'u')
            cursor_uleb(&cursor); /* the signed form is as long */
        else if (letters[0] != 0)
            cursor_skip(&cursor, (uint64_t)(letters[0] - '0'));
        if (cursor.bad)
            return "an expression cut short";
    }
    return NULL;
}

static const char *row_objection(const UnwindRow *row)
{
    if (row->regs_beyond)
        return "a rule for a register over 16";
    if (row->cfa.kind == RULE_NONE)
        return "no rule for the CFA";
    const char *objection = expr_objection(row->cfa.expr);
    for (int reg = 0; reg < UNWIND_REGS && objection == NULL; reg++)
        objection = expr_objection(row->regs[reg].expr);
    return objection;
}

Status unwind_can_carry(const Image *image, const UnwindTable *table, const Fde *fde, Error *err)
{
    Arena *scratch = arena_new();
    UnwindRows rows;
    const char *objection = NULL;
    Status status = unwind_rows(scratch, image, table, fde, &rows, err);
    if (status == ST_OK && table->cies[fde->cie].code_align != 1)
        objection = "a code alignment over 1";
    for (uint32_t i = 0; status == ST_OK && i < rows.n && objection == NULL; i++)
        objection = row_objection(&rows.rows[i]);
    arena_free(scratch);
    if (objection == NULL)
        return status;
    return FAIL(err, ST_REFUSED, image_place(image, vaddr_add(table->addr, fde->offset)),
                "unwind rows cannot be carried over: %s", objection);
}
