/*
 * ext_tsp.c: greedy merging of chains of nodes, best gain first.
 *
 *     chains  [A B]  [C]  [D E F]          every node starts as a chain
 *     pair    X = [D E F], Y = [C]         best gain over all pairs that an edge connects
 *     ways    X Y | X1 Y X2 | Y X2 X1 | X2 X1 Y      X1 X2: X cut at some offset
 *
 * 1. pairs that have to fall, or that have nothing else to do, are merged first;
 * 2. the pair with the best gain is merged until no gain is left;
 * 3. chains that never ran are joined in original order;
 * 4. chains are laid out by density (count per byte), the one with the entry first.
 *
 * A gain depends on two chains only, so it is kept with the pair and computed again when one of the
 * two has changed. Before a cut is tried, a bound on what it can gain is held against the best so
 * far: most cuts break a fall-through for nothing, and are never computed. Long chains (over
 * CHAIN_SPLIT_MAX) are cut only beside an edge that leads to an end of the other chain; else the
 * work would be cubic. tests/unit/test_ext_tsp.c holds it against brute force on small graphs and
 * bounds its time on large ones.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/ext_tsp_parts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static uint32_t add_pair(Layout *layout, uint32_t left, uint32_t right)
{
    layout->pairs = arena_grow(layout->arena, layout->pairs, &layout->cap_pairs,
                               layout->n_pairs + 1, sizeof *layout->pairs);
    Pair *pair = &layout->pairs[layout->n_pairs];
    *pair = (Pair){ .left = left, .right = right };
    return (uint32_t)layout->n_pairs++;
}

static void chain_add_pair(Layout *layout, Chain *chain, uint32_t pair)
{
    chain->pairs = arena_grow(layout->arena, chain->pairs, &chain->cap_pairs, chain->n_pairs + 1,
                              sizeof *chain->pairs);
    chain->pairs[chain->n_pairs++] = pair;
}

/* The pair of two chains, made when there is none. */
static uint32_t pair_of(Layout *layout, uint32_t left, uint32_t right)
{
    Chain *chain = &layout->chains[left];
    if (left == right) {
        if (chain->inside == NONE)
            chain->inside = add_pair(layout, left, right);
        return (uint32_t)chain->inside;
    }
    const Chain *other = &layout->chains[right];
    const Chain *fewer = chain->n_pairs <= other->n_pairs ? chain : other;
    uint32_t wanted = fewer == chain ? right : left;
    for (size_t i = 0; i < fewer->n_pairs; i++) {
        const Pair *pair = &layout->pairs[fewer->pairs[i]];
        if (pair->left == wanted || pair->right == wanted)
            return fewer->pairs[i];
    }
    uint32_t made = add_pair(layout, left, right);
    chain_add_pair(layout, chain, made);
    chain_add_pair(layout, &layout->chains[right], made);
    return made;
}

static void pair_add_edges(Layout *layout, Pair *pair, const uint32_t *edges, size_t n)
{
    assert(pair != NULL);
    pair->edges = arena_grow(layout->arena, pair->edges, &pair->cap_edges, pair->n_edges + n,
                             sizeof *pair->edges);
    memcpy(pair->edges + pair->n_edges, edges, n * sizeof *edges);
    pair->n_edges += n;
    pair->fresh[0] = pair->fresh[1] = false;
}

static void remove_pair(Chain *chain, uint32_t pair)
{
    size_t kept = 0;
    for (size_t i = 0; i < chain->n_pairs; i++) {
        if (chain->pairs[i] != pair)
            chain->pairs[kept++] = chain->pairs[i];
    }
    chain->n_pairs = kept;
}

/* Moves the pairs of a merged chain over to the chain that took it in. */
static void move_pairs(Layout *layout, uint32_t into, uint32_t from)
{
    Chain *gone = &layout->chains[from];
    if (gone->inside != NONE) {
        uint32_t inside = pair_of(layout, into, into);
        const Pair *old = &layout->pairs[gone->inside];
        pair_add_edges(layout, &layout->pairs[inside], old->edges, old->n_edges);
    }
    for (size_t i = 0; i < gone->n_pairs; i++) {
        assert(layout->pairs != NULL);
        uint32_t number = gone->pairs[i];
        uint32_t other = layout->pairs[number].left == from ? layout->pairs[number].right
                                                            : layout->pairs[number].left;
        remove_pair(&layout->chains[other], number);
        uint32_t target = pair_of(layout, into, other);
        const Pair *old = &layout->pairs[number];
        pair_add_edges(layout, &layout->pairs[target], old->edges, old->n_edges);
    }
    gone->n_pairs = 0;
    gone->dead = true;
}

static void place_nodes(Layout *layout, uint32_t number)
{
    Chain *chain = &layout->chains[number];
    uint64_t at = 0;
    for (uint32_t i = 0; i < chain->n_nodes; i++) {
        uint32_t node = chain->nodes[i];
        layout->chain_of[node] = number;
        layout->index[node] = i;
        layout->at[node] = at;
        at += layout->graph->nodes[node].size;
    }
    chain->score = chain_score(layout, number);
}

static void merge_chains(Layout *layout, uint32_t x_number, uint32_t y_number, uint32_t offset,
                         MergeWay way)
{
    Chain *x = &layout->chains[x_number];
    Chain *y = &layout->chains[y_number];
    Runs runs = merge_runs(x, y, offset, way);
    uint32_t *nodes = arena_many(layout->arena, uint32_t, x->n_nodes + (size_t)y->n_nodes);
    uint32_t n = 0;
    for (int r = 0; r < 3; r++) {
        memcpy(nodes + n, runs.nodes[r], runs.n[r] * sizeof *nodes);
        n += runs.n[r];
    }
    x->nodes = nodes;
    x->n_nodes = n;
    x->size += y->size;
    x->count += y->count;
    move_pairs(layout, x_number, y_number);
    for (size_t i = 0; i < x->n_pairs; i++) {
        Pair *pair = &layout->pairs[x->pairs[i]];
        pair->fresh[0] = pair->fresh[1] = false;
    }
    place_nodes(layout, x_number);
}

static double density(const Chain *chain)
{
    return (double)chain->count / (double)(chain->size > 0 ? chain->size : 1);
}

static bool may_merge(const Chain *x, const Chain *y)
{
    if (x->count == 0 || y->count == 0 || x->n_nodes + y->n_nodes > CHAIN_SIZE_MAX)
        return false;
    double one = density(x), two = density(y);
    return one <= two * DENSITY_RATIO_MAX && two <= one * DENSITY_RATIO_MAX;
}

typedef struct Choice {
    Gain gain;
    uint32_t x, y;
} Choice;

static bool is_better(const Choice *choice, const Choice *best)
{
    if (choice->gain.score > best->gain.score + TSP_EPSILON)
        return true;
    if (choice->gain.score < best->gain.score - TSP_EPSILON || best->gain.score <= TSP_EPSILON)
        return false;
    return choice->x != best->x ? choice->x < best->x : choice->y < best->y;
}

static void consider_pair(Layout *layout, Pair *pair, Choice *best)
{
    const Chain *left = &layout->chains[pair->left];
    const Chain *right = &layout->chains[pair->right];
    if (!may_merge(left, right))
        return;
    for (int side = 0; side < 2; side++) {
        const Chain *x = side == 0 ? left : right;
        const Chain *y = side == 0 ? right : left;
        if (!pair->fresh[side]) {
            pair->gain[side] = best_merge(layout, pair, x, y);
            pair->fresh[side] = true;
        }
        Choice choice = { pair->gain[side], side == 0 ? pair->left : pair->right,
                          side == 0 ? pair->right : pair->left };
        if (is_better(&choice, best))
            *best = choice;
    }
}

static void drop_dead(Layout *layout)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < layout->n_live; i++) {
        if (!layout->chains[layout->live[i]].dead)
            layout->live[kept++] = layout->live[i];
    }
    layout->n_live = kept;
}

/* Every pair is looked at from its left chain. */
static Choice best_choice(Layout *layout)
{
    Choice best = { { 0, 0, MERGE_X_Y }, UINT32_MAX, UINT32_MAX };
    for (uint32_t i = 0; i < layout->n_live; i++) {
        const Chain *chain = &layout->chains[layout->live[i]];
        for (size_t p = 0; p < chain->n_pairs; p++) {
            assert(layout->pairs != NULL);
            Pair *pair = &layout->pairs[chain->pairs[p]];
            if (pair->left == layout->live[i])
                consider_pair(layout, pair, &best);
        }
    }
    return best;
}

static void merge_by_gain(Layout *layout)
{
    for (;;) {
        Choice best = best_choice(layout);
        if (best.gain.score <= TSP_EPSILON)
            return;
        merge_chains(layout, best.x, best.y, best.gain.offset, (MergeWay)best.gain.way);
        drop_dead(layout);
    }
}

/* Merges X before Y when they are different chains, `from` ends X, and `to` begins Y. */
static bool concat(Layout *layout, uint32_t from, uint32_t to)
{
    uint32_t x = layout->chain_of[from], y = layout->chain_of[to];
    const Chain *first = &layout->chains[x];
    if (x == y || first->nodes[first->n_nodes - 1] != from || layout->chains[y].nodes[0] != to)
        return false;
    if (to == layout->graph->entry)
        return false;
    merge_chains(layout, x, y, 0, MERGE_X_Y);
    return true;
}

static bool is_only_edge(const Layout *layout, uint32_t edge)
{
    const TspEdge *e = &layout->graph->edges[edge];
    return layout->out_first[e->from] == edge && layout->out_next[edge] == UINT32_MAX &&
           layout->in_first[e->to] == edge && layout->in_next[edge] == UINT32_MAX;
}

static void merge_forced(Layout *layout)
{
    const TspGraph *graph = layout->graph;
    for (uint32_t i = 0; i < graph->n_edges; i++) {
        if (graph->edges[i].must_fall && concat(layout, graph->edges[i].from, graph->edges[i].to))
            layout->glued[graph->edges[i].from] = true;
    }
    for (uint32_t i = 0; i < graph->n_edges; i++) {
        const TspEdge *edge = &graph->edges[i];
        if (!edge->must_fall && !graph->nodes[edge->from].branches && is_only_edge(layout, i) &&
            concat(layout, edge->from, edge->to))
            layout->glued[edge->from] = true;
    }
}

/* Chains that never ran: in original order where an edge would fall. */
static void merge_cold(Layout *layout)
{
    const TspGraph *graph = layout->graph;
    for (uint32_t from = 0; from < graph->n_nodes; from++) {
        for (uint32_t e = layout->out_first[from]; e != UINT32_MAX; e = layout->out_next[e]) {
            uint32_t to = graph->edges[e].to;
            bool cold = layout->chains[layout->chain_of[from]].count == 0 &&
                        layout->chains[layout->chain_of[to]].count == 0;
            if (cold && concat(layout, from, to))
                break;
        }
    }
}

typedef struct Ranked {
    double density;
    uint32_t first; /* lowest node: original order among equals */
    uint32_t chain;
    bool entry;
} Ranked;

static int rank_order(const void *left, const void *right)
{
    const Ranked *a = left, *b = right;
    if (a->entry != b->entry)
        return a->entry ? -1 : 1;
    if (a->density != b->density)
        return a->density > b->density ? -1 : 1;
    return a->first < b->first ? -1 : a->first > b->first;
}

static void write_order(Layout *layout, uint32_t *order)
{
    uint32_t n_nodes = layout->graph->n_nodes, n = 0, at = 0;
    Ranked *ranked = arena_many(layout->arena, Ranked, n_nodes);
    for (uint32_t i = 0; i < n_nodes; i++) {
        const Chain *chain = &layout->chains[i];
        if (chain->dead)
            continue;
        uint32_t first = chain->nodes[0];
        for (uint32_t j = 1; j < chain->n_nodes; j++)
            first = chain->nodes[j] < first ? chain->nodes[j] : first;
        ranked[n++] = (Ranked){ density(chain), first, i, holds_entry(layout, chain) };
    }
    qsort(ranked, n, sizeof *ranked, rank_order);
    for (uint32_t i = 0; i < n; i++) {
        const Chain *chain = &layout->chains[ranked[i].chain];
        memcpy(order + at, chain->nodes, chain->n_nodes * sizeof *order);
        at += chain->n_nodes;
    }
    assert(at == n_nodes);
}

/* Edge lists in the order given, so built from the last. */
static void link_edges(Layout *layout)
{
    const TspGraph *graph = layout->graph;
    memset(layout->in_first, 0xff, graph->n_nodes * sizeof *layout->in_first);
    memset(layout->out_first, 0xff, graph->n_nodes * sizeof *layout->out_first);
    for (uint32_t i = graph->n_edges; i-- > 0;) {
        const TspEdge *edge = &graph->edges[i];
        layout->in_next[i] = layout->in_first[edge->to];
        layout->in_first[edge->to] = i;
        layout->out_next[i] = layout->out_first[edge->from];
        layout->out_first[edge->from] = i;
    }
}

static void layout_start(Layout *layout)
{
    const TspGraph *graph = layout->graph;
    Arena *arena = layout->arena;
    uint32_t n = graph->n_nodes;
    layout->chains = arena_many(arena, Chain, n);
    layout->chain_of = arena_many(arena, uint32_t, n);
    layout->index = arena_many(arena, uint32_t, n);
    layout->at = arena_many(arena, uint64_t, n);
    layout->join_in = arena_many(arena, uint64_t, n);
    layout->join_out = arena_many(arena, uint64_t, n);
    layout->glued = arena_many(arena, bool, n);
    layout->live = arena_many(arena, uint32_t, n);
    layout->in_first = arena_many(arena, uint32_t, n);
    layout->out_first = arena_many(arena, uint32_t, n);
    layout->in_next = arena_many(arena, uint32_t, graph->n_edges);
    layout->out_next = arena_many(arena, uint32_t, graph->n_edges);
    link_edges(layout);
    uint32_t *nodes = arena_many(arena, uint32_t, n);
    for (uint32_t i = 0; i < n; i++) {
        nodes[i] = i;
        layout->chains[i] = (Chain){ .nodes = &nodes[i],
                                     .n_nodes = 1,
                                     .inside = NONE,
                                     .size = graph->nodes[i].size,
                                     .count = graph->nodes[i].count };
        layout->chain_of[i] = i;
    }
    for (uint32_t i = 0; i < graph->n_edges; i++) {
        uint32_t pair = pair_of(layout, graph->edges[i].from, graph->edges[i].to);
        pair_add_edges(layout, &layout->pairs[pair], &i, 1);
    }
    for (uint32_t i = 0; i < n; i++)
        place_nodes(layout, i);
}

void ext_tsp_order(Arena *scratch, const TspGraph *graph, uint32_t *order)
{
    if (graph->n_nodes == 0)
        return;
    Layout layout = { .arena = scratch, .graph = graph };
    layout_start(&layout);
    merge_forced(&layout);
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        if (!layout.chains[i].dead && layout.chains[i].count > 0)
            layout.live[layout.n_live++] = i;
    }
    merge_by_gain(&layout);
    merge_cold(&layout);
    write_order(&layout, order);
}
