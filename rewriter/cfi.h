/*
 * Rows → call frame program: the shortest instructions that lead from one row to the next.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_REWRITER_CFI_H
#define RESPIN_REWRITER_CFI_H

#include "core/unwind.h"

/* What a program is written against. */
typedef struct CfiContext {
    const Cie *cie;    /* alignments; code_align is 1 */
    UnwindRow initial; /* what its initial instructions make */
} CfiContext;

/* Moves the location on by `delta` bytes. */
void cfi_put_advance(Buffer *out, uint64_t delta);

/*
 * Appends the instructions that change row `from` into row `to`.
 *
 * Result: false when there are none: a rule taken back to "nothing said", an offset that the data
 *         alignment does not divide, or a register over 16.
 */
bool cfi_put_change(Buffer *out, const CfiContext *context, const UnwindRow *from,
                    const UnwindRow *to);

/* Rows of an FDE as a program of their own, from its start. False as above. */
bool cfi_put_rows(Buffer *out, const CfiContext *context, const UnwindRows *rows);

#endif
