/*
 * Cache-directed sort: an order of functions (or regions) that keeps callers and callees close and
 * the dense ones together.
 *
 * Gain of joining chains P and S:
 *
 *     (distance gain + 0.25 * miss gain) / min(size P, size S)
 *     distance gain = sum over calls between them of count * (D^-0.25 - T^-0.25)
 *                     D: bytes from call site to callee start (0 counts 0.1 in all); T: total size
 *     miss gain     = cP*miss(dP) + cS*miss(dS) - cM*miss(dM)       c: count, d: count per byte
 *     miss(d)       = (1 - d * 2048 / total count)^16, 0 when the product reaches the total
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_OPTIMIZER_CDSORT_H
#define RESPIN_OPTIMIZER_CDSORT_H

#include "core/arena.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct CdNode {
    uint64_t count; /* executions of the entry, or of its instructions: one measure for all nodes */
    uint64_t size;  /* bytes, over 0 */
} CdNode;

typedef struct CdCall {
    uint32_t from;
    uint32_t to;
    uint64_t offset; /* of the call site in `from`, bytes */
    uint64_t count;
} CdCall;

typedef struct CdGraph {
    const CdNode *nodes;
    uint32_t n_nodes;
    const CdCall *calls; /* calls of a node to itself are ignored */
    uint32_t n_calls;
} CdGraph;

/* Fills order[0..n_nodes) with a permutation. Deterministic: ties go to the lower number. */
void cdsort_order(Arena *scratch, const CdGraph *graph, uint32_t *order);

#endif
