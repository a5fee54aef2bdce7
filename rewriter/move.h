/*
 * Moving one instruction to another address without changing what it does.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_REWRITER_MOVE_H
#define RESPIN_REWRITER_MOVE_H

#include "core/insn.h"

/* What is to be done with one instruction. Addresses are the output's. */
typedef struct Move {
    const Insn *insn; /* as decoded at its original address */
    uint64_t at;      /* where it goes */
    uint64_t target;  /* what its reference must denote there; unused for REF_NONE */
    uint8_t size;     /* bytes it must take: insn->size, or that of a branch's other width */
    bool invert;      /* FLOW_COND: the opposite condition */
} Move;

/* Writes the moved instruction, whole, displacement included. False: out of range. */
typedef bool MoveHandler(const Move *move, Insn *out);

/*
 * How each instruction form whose meaning depends on its own address is moved. A form that is not
 * here is refused, never guessed. `proof` names the case in tests/unit/test_move.c, which fails if
 * that case is missing. Sources are of the Intel SDM, volume 2.
 */
// clang-format off
/*    form          handler        defined by                                      proof           */
#define MOVE_FORMS(X)                                                                              \
    X(PLAIN,        move_same,     "2.1: no field counts from RIP",                "plain")        \
    X(CALL_REL32,   move_same,     "CALL, E8 cd",                                  "call_rel32")   \
    X(JMP_REL8,     move_jump,     "JMP, EB cb",                                   "jmp_rel8")     \
    X(JMP_REL32,    move_jump,     "JMP, E9 cd",                                   "jmp_rel32")    \
    X(JCC_REL8,     move_cond,     "Jcc, 70+cc cb",                                "jcc_rel8")     \
    X(JCC_REL32,    move_cond,     "Jcc, 0F 80+cc cd",                             "jcc_rel32")    \
    X(LOOP_REL8,    move_same,     "LOOP/JrCXZ, E0..E3 cb: no rel32 form",         "loop_rel8")    \
    X(XBEGIN_REL32, move_same,     "XBEGIN, C7 F8 cd",                             "xbegin_rel32") \
    X(RIP_MEM,      move_same,     "2.2.1.6: RIP-relative addressing",             "rip_mem")      \
    X(ABS_MEM,      move_same,     "2.1.5: disp32 without base",                   "abs_mem")
// clang-format on

#define MOVE_AS_ENUM(form, handler, source, proof) FORM_##form,
typedef enum Form { MOVE_FORMS(MOVE_AS_ENUM) FORM_COUNT, FORM_NONE = FORM_COUNT } Form;

typedef struct MoveRow {
    const char *form;
    MoveHandler *handler;
    const char *source;
    const char *proof;
} MoveRow;

extern const MoveRow move_rows[FORM_COUNT];

/* FORM_NONE: not known; such instructions cannot be moved. */
Form move_form(const Insn *insn);

/* Bytes of the instruction with a rel8 (narrow) or rel32 (wide) field; its own size when it has
 * only one width. */
uint8_t move_size(const Insn *insn, bool wide);
/* True when a rel32 form of the branch exists (or it is no branch with a rel8 field at all). */
bool move_can_widen(const Insn *insn);

/*
 * Moves the instruction, decodes what was written and holds it against the original: same
 * operation, prefixes and operands up to the displacement, which must denote `target`.
 *
 * Errors: ST_REFUSED when the form is not known or the displacement out of range; ST_BUG when the
 *         result is not the original.
 */
MUST_CHECK Status move_insn(const Move *move, Insn *out, Error *err);

/* True when `moved` (decoded at its own address) does what `insn` does, reaching `target`. */
bool move_is_same(const Insn *insn, const Insn *moved, uint64_t target, bool inverted);

#endif
