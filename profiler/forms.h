/*
 * forms.h: which handler an instruction gets.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_FORMS_H
#define RESPIN_PROFILER_FORMS_H

#include "profiler/decode.h"

/* Once: the index of rows by mnemonic. */
void forms_init(void);
/* The handler and number of slots for an instruction; NULL: it needs a thunk. */
Handler *form_handler(const GuestInsn *insn, unsigned *slots);
/* The handler where it is not one of the table's: it may not go into a thunk. NULL: none. */
Handler *form_special(const GuestInsn *insn);

/* 0 to 3 for 8 to 64 bits; -1: another size. */
int form_size_index(unsigned bits);
static inline bool form_has_memory(unsigned shape)
{
    const unsigned shapes =
        1u << SHAPE_M | 1u << SHAPE_RM | 1u << SHAPE_MR | 1u << SHAPE_MI | 1u << SHAPE_RMI;
    return (shapes >> shape & 1) != 0;
}

/* The immediate stands in slot 1. */
bool form_has_long_immediate(unsigned shape);
bool form_is_shift(const GuestInsn *insn);
/* Handlers can take its immediate: a shift count in range, or 32 bits, signed. */
bool form_immediate_serves(const GuestInsn *insn);

#endif
