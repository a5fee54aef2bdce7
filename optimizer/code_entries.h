/*
 * Where a function's code may be entered: marks of optimizer/code.h set from everything that is
 * known outside the instruction stream itself.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_OPTIMIZER_CODE_ENTRIES_H
#define RESPIN_OPTIMIZER_CODE_ENTRIES_H

#include "optimizer/code.h"
#include "optimizer/passes.h"

/* Instructions to decode from, and the first address that should be one and is not. */
typedef struct Roots {
    Arena *arena;
    uint32_t *insns;
    uint32_t n;
    size_t cap;
    Vaddr bad;       /* VADDR_NONE: none */
    const char *who; /* what led there */
} Roots;

/*
 * Marks leaders and block facts, and collects roots: entry, extents, symbols, landing pads, other
 * functions' branches, the profile's targets and blocks, formed addresses. Refuses `fn` when its
 * LSDA cannot be read.
 */
void code_find_entries(Context *ctx, Func *fn, Code *code, Roots *roots);

#endif
