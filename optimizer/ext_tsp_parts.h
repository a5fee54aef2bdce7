/*
 * What ext_tsp.c (merging) and ext_tsp_gain.c (what a merge gains) share.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_OPTIMIZER_EXT_TSP_PARTS_H
#define RESPIN_OPTIMIZER_EXT_TSP_PARTS_H

#include "optimizer/ext_tsp.h"

enum {
    CHAIN_SIZE_MAX = 512,  /* nodes */
    CHAIN_SPLIT_MAX = 128, /* nodes */
    DENSITY_RATIO_MAX = 100,
    NONE = -1,
};

#define TSP_EPSILON 1e-8

typedef enum MergeWay { MERGE_X_Y, MERGE_X1_Y_X2, MERGE_Y_X2_X1, MERGE_X2_X1_Y } MergeWay;

typedef struct Gain {
    double score;
    uint32_t offset; /* where X is cut */
    uint8_t way;     /* MergeWay */
} Gain;

/* Edges between one pair of chains (or inside one), and the gains of merging the two. */
typedef struct Pair {
    uint32_t left, right; /* chains; equal: edges inside one chain */
    uint32_t *edges;
    size_t n_edges, cap_edges;
    Gain gain[2]; /* [0]: X is left, [1]: X is right */
    bool fresh[2];
} Pair;

typedef struct Chain {
    uint32_t *nodes;
    uint32_t n_nodes;
    uint32_t size; /* bytes */
    uint64_t count;
    double score;
    uint32_t *pairs; /* with other chains, by number */
    size_t n_pairs, cap_pairs;
    int64_t inside; /* the pair with itself; NONE */
    bool dead;      /* merged into another */
} Chain;

typedef struct Layout {
    Arena *arena;
    const TspGraph *graph;
    Chain *chains;
    uint32_t *chain_of; /* node → chain */
    uint32_t *index;    /* node → position in its chain */
    uint64_t *at;       /* node → offset in its chain, bytes */
    uint64_t *join_in;  /* position in X → count of edges from it to the first node of Y */
    uint64_t *join_out; /* position in X → count of edges to it from the last node of Y */
    bool *glued;        /* node has to be followed by the next of its chain */
    uint32_t *in_first, *in_next, *out_first, *out_next; /* edge lists per node, UINT32_MAX ends */
    Pair *pairs;
    size_t n_pairs, cap_pairs;
    uint32_t *live; /* chains still there that ran, in order of number */
    uint32_t n_live;
} Layout;

/* Three runs of nodes, in the order of a merge. */
typedef struct Runs {
    const uint32_t *nodes[3];
    uint32_t n[3];
} Runs;

Runs merge_runs(const Chain *x, const Chain *y, uint32_t offset, MergeWay way);
bool holds_entry(const Layout *layout, const Chain *chain);
/* The score of the edges inside a chain as it stands. */
double chain_score(const Layout *layout, uint32_t chain);
/* The best way to merge X and Y with X first or cut; score 0: none gains. */
Gain best_merge(const Layout *layout, const Pair *pair, const Chain *x, const Chain *y);

#endif
