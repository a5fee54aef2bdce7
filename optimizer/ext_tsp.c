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
#include "optimizer/ext_tsp.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    FORWARD_BOUND = 1024,  /* bytes */
    BACKWARD_BOUND = 640,  /* bytes */
    CHAIN_SIZE_MAX = 512,  /* nodes */
    CHAIN_SPLIT_MAX = 128, /* nodes */
    DENSITY_RATIO_MAX = 100,
    NONE = -1,
};

static const double fall_weight = 1.0, fall_only_weight = 1.05, near_weight = 0.1, epsilon = 1e-8;

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

static double edge_score(const TspGraph *graph, const TspEdge *edge, uint64_t from, uint64_t to)
{
    uint64_t end = from + graph->nodes[edge->from].size;
    double count = (double)edge->count;
    if (to == end)
        return count * (graph->nodes[edge->from].branches ? fall_weight : fall_only_weight);
    if (to > end) {
        double distance = (double)(to - end);
        return distance > FORWARD_BOUND ? 0 : count * near_weight * (1 - distance / FORWARD_BOUND);
    }
    double distance = (double)(end - to);
    return distance > BACKWARD_BOUND ? 0 : count * near_weight * (1 - distance / BACKWARD_BOUND);
}

double ext_tsp_score(Arena *scratch, const TspGraph *graph, const uint32_t *order)
{
    uint64_t *at = arena_many(scratch, uint64_t, graph->n_nodes);
    uint64_t next = 0;
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        at[order[i]] = next;
        next += graph->nodes[order[i]].size;
    }
    double score = 0;
    for (uint32_t i = 0; i < graph->n_edges; i++)
        score +=
            edge_score(graph, &graph->edges[i], at[graph->edges[i].from], at[graph->edges[i].to]);
    return score;
}

/* Three runs of nodes, in the order of a merge under trial. */
typedef struct Runs {
    const uint32_t *nodes[3];
    uint32_t n[3];
} Runs;

static Runs merge_runs(const Chain *x, const Chain *y, uint32_t offset, MergeWay way)
{
    const uint32_t *x2 = x->nodes + offset;
    uint32_t n2 = x->n_nodes - offset;
    switch (way) {
    case MERGE_X1_Y_X2:
        return (Runs){ { x->nodes, y->nodes, x2 }, { offset, y->n_nodes, n2 } };
    case MERGE_Y_X2_X1:
        return (Runs){ { y->nodes, x2, x->nodes }, { y->n_nodes, n2, offset } };
    case MERGE_X2_X1_Y:
        return (Runs){ { x2, x->nodes, y->nodes }, { n2, offset, y->n_nodes } };
    case MERGE_X_Y:
        break;
    }
    return (Runs){ { x->nodes, y->nodes, y->nodes }, { x->n_nodes, y->n_nodes, 0 } };
}

static uint32_t runs_first(const Runs *runs)
{
    for (int r = 0; r < 3; r++) {
        if (runs->n[r] > 0)
            return runs->nodes[r][0];
    }
    return UINT32_MAX;
}

static bool holds_entry(const Layout *layout, const Chain *chain)
{
    return layout->graph->entry != UINT32_MAX && chain->nodes[0] == layout->graph->entry;
}

/* A merge under trial: how far the nodes of X before and after the cut, and those of Y, move. */
typedef struct Trial {
    uint32_t x;   /* chain */
    uint32_t cut; /* position in X */
    uint64_t before, after, y;
} Trial;

static Trial trial_of(const Layout *layout, const Chain *x, const Chain *y, uint32_t cut,
                      MergeWay way)
{
    uint64_t cut_at = cut < x->n_nodes ? layout->at[x->nodes[cut]] : x->size;
    Trial trial = { .x = layout->chain_of[x->nodes[0]], .cut = cut };
    switch (way) {
    case MERGE_X_Y:
        trial.y = x->size;
        break;
    case MERGE_X1_Y_X2:
        trial.after = y->size;
        trial.y = cut_at;
        break;
    case MERGE_Y_X2_X1:
        trial.after = y->size - cut_at;
        trial.before = y->size + x->size - cut_at;
        break;
    case MERGE_X2_X1_Y:
        trial.after = 0 - cut_at;
        trial.before = x->size - cut_at;
        trial.y = x->size;
        break;
    }
    return trial;
}

static uint64_t address_in(const Layout *layout, const Trial *trial, uint32_t node)
{
    if (layout->chain_of[node] != trial->x)
        return layout->at[node] + trial->y;
    return layout->at[node] + (layout->index[node] < trial->cut ? trial->before : trial->after);
}

static double pair_score(const Layout *layout, const Pair *pair, const Trial *trial)
{
    const TspGraph *graph = layout->graph;
    double score = 0;
    for (size_t i = 0; i < pair->n_edges; i++) {
        const TspEdge *edge = &graph->edges[pair->edges[i]];
        score += edge_score(graph, edge, address_in(layout, trial, edge->from),
                            address_in(layout, trial, edge->to));
    }
    return score;
}

static const Pair *inside_of(const Layout *layout, const Chain *chain)
{
    return chain->inside == NONE ? NULL : &layout->pairs[chain->inside];
}

/* Tries one way of merging and keeps it in `best` when it is better. */
static void try_merge(const Layout *layout, const Pair *pair, const Chain *x, const Chain *y,
                      uint32_t offset, MergeWay way, Gain *best)
{
    if (way != MERGE_X_Y && layout->glued[x->nodes[offset - 1]])
        return;
    Runs runs = merge_runs(x, y, offset, way);
    if ((holds_entry(layout, x) || holds_entry(layout, y)) &&
        runs_first(&runs) != layout->graph->entry)
        return;
    Trial trial = trial_of(layout, x, y, way == MERGE_X_Y ? x->n_nodes : offset, way);
    double gain = pair_score(layout, pair, &trial);
    if (way != MERGE_X_Y && x->inside != NONE)
        gain += pair_score(layout, inside_of(layout, x), &trial) - x->score;
    if (gain > best->score + epsilon)
        *best = (Gain){ gain, offset, (uint8_t)way };
}

static void try_offset(const Layout *layout, const Pair *pair, const Chain *x, const Chain *y,
                       uint32_t offset, Gain *best)
{
    if (offset == 0 || offset >= x->n_nodes)
        return;
    try_merge(layout, pair, x, y, offset, MERGE_X1_Y_X2, best);
    try_merge(layout, pair, x, y, offset, MERGE_Y_X2_X1, best);
    try_merge(layout, pair, x, y, offset, MERGE_X2_X1_Y, best);
}

/* Cuts of a long X only where an edge leads to the first, or from the last node of Y. */
static void try_along_edges(const Layout *layout, const Pair *pair, const Chain *x, const Chain *y,
                            Gain *best)
{
    const TspGraph *graph = layout->graph;
    uint32_t number = layout->chain_of[x->nodes[0]];
    for (uint32_t e = layout->in_first[y->nodes[0]]; e != UINT32_MAX; e = layout->in_next[e]) {
        uint32_t from = graph->edges[e].from;
        if (layout->chain_of[from] == number)
            try_offset(layout, pair, x, y, layout->index[from] + 1, best);
    }
    uint32_t last = y->nodes[y->n_nodes - 1];
    for (uint32_t e = layout->out_first[last]; e != UINT32_MAX; e = layout->out_next[e]) {
        uint32_t to = graph->edges[e].to;
        if (layout->chain_of[to] == number)
            try_offset(layout, pair, x, y, layout->index[to], best);
    }
}

/* What bounds the gain of every cut of X: no cut can win more than this. */
typedef struct Bound {
    double always;    /* all edges at their nearest without falling, less what they score now */
    double fall_more; /* what falling adds to an edge, per execution, at most */
    uint64_t ends;    /* count of edges from the last to the first node of X */
} Bound;

static Bound bound_of(const Layout *layout, const Pair *pair, const Chain *x)
{
    const TspGraph *graph = layout->graph;
    Bound bound = { .fall_more = fall_only_weight - near_weight };
    const Pair *inside = inside_of(layout, x);
    for (size_t i = 0; i < pair->n_edges; i++)
        bound.always += near_weight * (double)graph->edges[pair->edges[i]].count;
    for (size_t i = 0; inside != NULL && i < inside->n_edges; i++) {
        const TspEdge *edge = &graph->edges[inside->edges[i]];
        double now = edge_score(graph, edge, layout->at[edge->from], layout->at[edge->to]);
        double most = near_weight * (double)edge->count;
        bound.always += now < most ? most - now : 0;
        if (edge->from == x->nodes[x->n_nodes - 1] && edge->to == x->nodes[0])
            bound.ends += edge->count;
    }
    return bound;
}

/* Executions that fall from the node before the cut to the one after it. */
static uint64_t falls_at(const Layout *layout, const Chain *x, uint32_t cut)
{
    uint64_t count = 0;
    uint32_t from = x->nodes[cut - 1];
    for (uint32_t e = layout->out_first[from]; e != UINT32_MAX; e = layout->out_next[e]) {
        if (layout->graph->edges[e].to == x->nodes[cut])
            count += layout->graph->edges[e].count;
    }
    return count;
}

/* Counts, by position in X, the edges that a cut there could turn into falls from or to Y. */
static void set_joins(const Layout *layout, const Chain *x, const Chain *y, bool clear)
{
    const TspGraph *graph = layout->graph;
    uint32_t number = layout->chain_of[x->nodes[0]], last = y->nodes[y->n_nodes - 1];
    for (uint32_t e = layout->in_first[y->nodes[0]]; e != UINT32_MAX; e = layout->in_next[e]) {
        uint32_t from = graph->edges[e].from;
        if (layout->chain_of[from] == number)
            layout->join_in[layout->index[from]] =
                clear ? 0 : layout->join_in[layout->index[from]] + graph->edges[e].count;
    }
    for (uint32_t e = layout->out_first[last]; e != UINT32_MAX; e = layout->out_next[e]) {
        uint32_t to = graph->edges[e].to;
        if (layout->chain_of[to] == number)
            layout->join_out[layout->index[to]] =
                clear ? 0 : layout->join_out[layout->index[to]] + graph->edges[e].count;
    }
}

/* Tries all cuts of X, leaving out those that cannot beat `best` whatever the distances. */
static void try_cuts(const Layout *layout, const Pair *pair, const Chain *x, const Chain *y,
                     Gain *best)
{
    Bound bound = bound_of(layout, pair, x);
    double fall_less = fall_weight - near_weight;
    set_joins(layout, x, y, false);
    for (uint32_t cut = 1; cut < x->n_nodes; cut++) {
        double in = (double)layout->join_in[cut - 1], out = (double)layout->join_out[cut];
        double most = bound.always - fall_less * (double)falls_at(layout, x, cut) +
                      bound.fall_more * (in + out + (double)bound.ends);
        if (most > best->score + epsilon)
            try_offset(layout, pair, x, y, cut, best);
    }
    set_joins(layout, x, y, true);
}

static Gain best_merge(const Layout *layout, const Pair *pair, const Chain *x, const Chain *y)
{
    Gain best = { 0, 0, MERGE_X_Y };
    try_merge(layout, pair, x, y, 0, MERGE_X_Y, &best);
    if (x->n_nodes > CHAIN_SPLIT_MAX)
        try_along_edges(layout, pair, x, y, &best);
    else
        try_cuts(layout, pair, x, y, &best);
    return best;
}

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
    const Pair *inside = inside_of(layout, chain);
    const Trial still = { .x = number };
    chain->score = inside == NULL ? 0 : pair_score(layout, inside, &still);
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
    if (choice->gain.score > best->gain.score + epsilon)
        return true;
    if (choice->gain.score < best->gain.score - epsilon || best->gain.score <= epsilon)
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

static void merge_by_gain(Layout *layout)
{
    for (;;) {
        Choice best = { { 0, 0, MERGE_X_Y }, UINT32_MAX, UINT32_MAX };
        for (uint32_t i = 0; i < layout->n_live; i++) {
            const Chain *chain = &layout->chains[layout->live[i]];
            for (size_t p = 0; p < chain->n_pairs; p++) {
                if (layout->pairs[chain->pairs[p]].left == layout->live[i])
                    consider_pair(layout, &layout->pairs[chain->pairs[p]], &best);
            }
        }
        if (best.gain.score <= epsilon)
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
