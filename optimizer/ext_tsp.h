/*
 * Extended-TSP block layout: an order of nodes that turns the most executed edges into
 * fall-throughs and keeps the other ones short.
 *
 * score = sum over edges of count * weight * (1 - distance / bound), 0 beyond the bound:
 *
 *     edge         weight                                   bound, bytes
 *     falls        1.0, or 1.05 when its source has no other successor
 *     forward      0.1                                      1024
 *     backward     0.1                                      640
 *
 * Objective, constants and merging as in "Improved Basic Block Reordering" (Newell, Pupyrev, IEEE
 * TC 2020) with the limits that production compilers ended up with (docs/passes.md).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_OPTIMIZER_EXT_TSP_H
#define RESPIN_OPTIMIZER_EXT_TSP_H

#include "core/arena.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct TspNode {
    uint64_t count; /* executions */
    uint32_t size;  /* bytes */
    bool branches;  /* ends in a conditional branch: a fall-through from it weighs 1.0 */
} TspNode;

typedef struct TspEdge {
    uint32_t from;
    uint32_t to;
    uint64_t count;
    bool must_fall; /* `to` has to follow `from`; at most one such edge leaves or enters a node */
} TspEdge;

/* Node numbers are the original order. Edges that can never become a fall-through (jump tables)
 * are left out by the caller. */
typedef struct TspGraph {
    const TspNode *nodes;
    uint32_t n_nodes;
    const TspEdge *edges;
    uint32_t n_edges;
    uint32_t entry; /* the node to stay first; UINT32_MAX: any */
} TspGraph;

/* Fills order[0..n_nodes) with a permutation. Deterministic: ties go to the lower number. */
void ext_tsp_order(Arena *scratch, const TspGraph *graph, uint32_t *order);

/* The score of an order. `order` holds every node once. */
double ext_tsp_score(Arena *scratch, const TspGraph *graph, const uint32_t *order);

#endif
