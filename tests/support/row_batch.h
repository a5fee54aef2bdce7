/*
 * row_batch.h: many machine states through one snippet, on the CPU in one call and in the
 * interpreter.
 *
 * A state is registers, flags and a window of 24 bytes of memory at a fixed address, which holds
 * the snippet's operand. machine.h is for single states with all of memory and for faults.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_TESTS_ROW_BATCH_H
#define RESPIN_TESTS_ROW_BATCH_H

#include "support/machine.h"

enum { BATCH_WINDOW = 3, BATCH_MAX = 2048 };

typedef struct RowState {
    uint64_t reg[N_GUEST_REGS];
    uint64_t rflags;
    uint64_t window[BATCH_WINDOW];
} RowState;

typedef struct RowPair {
    RowState before, after;
} RowPair;

/* Once, after machine_init. */
void batch_init(void);
/* Puts a snippet at machine_code(); `window`: address of the window. */
void batch_load(const uint8_t *code, size_t size, uint64_t window);
/* The snippet on the CPU, for each pair: after = snippet(before). */
void batch_run_native(RowPair *pairs, size_t n);
/* Then in the interpreter. */
void batch_to_interp(void);
void batch_run_interp(const RowState *before, RowState *after);

#endif
