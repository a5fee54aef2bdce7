/*
 * row_cases.h: encodings of every row of the table, and states for them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_TESTS_ROW_CASES_H
#define RESPIN_TESTS_ROW_CASES_H

#include "profiler/rows.h"
#include "support/row_batch.h"

/* One encoding. */
typedef struct Case {
    const Row *row;
    unsigned size; /* index: of the operands, or of the source where the row extends */
    Mode mode;
    unsigned a, b, base, index, scale; /* register numbers */
    int32_t disp;
    int64_t imm;
    bool high;         /* the source is a high byte */
    uint64_t operand;  /* address of the memory operand, or what RSP or RBP is for stack rows */
    uint64_t window;   /* address of the window */
    unsigned producer; /* what sets the flags before it; 0: nothing, they are as loaded */
    uint64_t defined;  /* flags that are compared, but for what depends on a count */
    uint8_t bytes[64];
    size_t length;
    size_t insn_at; /* in bytes: behind the producer */
} Case;

enum { CASE_PRODUCERS = 9 };

bool case_has_memory(const Row *row);
bool case_is_shift(const Row *row);
unsigned case_bits(const Case *c);
/* Indices into the row's handlers; 0 where there is none. */
Handler *case_handler(const Row *row, unsigned size, Mode mode);
/* The n-th encoding of a form. False: there is none with these registers. */
bool case_make(Case *c, const Row *row, unsigned size, Mode mode, unsigned n, uint64_t *seed);
void case_state(const Case *c, RowState *state, uint64_t *seed);
/* The flags to compare after the encoding has run from `before`. */
uint64_t case_flags(const Case *c, const RowState *before);

#endif
