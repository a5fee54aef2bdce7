/*
 * ext_tsp_gain.c: the score of an order, and what merging two chains would gain.
 *
 *     X = [D E F], Y = [C]      X Y | X1 Y X2 | Y X2 X1 | X2 X1 Y
 *
 * Only edges between the two chains, and those inside X when it is cut, change their length. Before
 * a cut is tried, a bound on what it can gain is held against the best so far: most cuts break a
 * fall-through for nothing, and are never computed.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/ext_tsp_parts.h"

enum {
    FORWARD_BOUND = 1024, /* bytes */
    BACKWARD_BOUND = 640, /* bytes */
};

static const double fall_weight = 1.0, fall_only_weight = 1.05, near_weight = 0.1;

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

Runs merge_runs(const Chain *x, const Chain *y, uint32_t offset, MergeWay way)
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

bool holds_entry(const Layout *layout, const Chain *chain)
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
    if (gain > best->score + TSP_EPSILON)
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
        if (most > best->score + TSP_EPSILON)
            try_offset(layout, pair, x, y, cut, best);
    }
    set_joins(layout, x, y, true);
}

double chain_score(const Layout *layout, uint32_t chain)
{
    const Pair *inside = inside_of(layout, &layout->chains[chain]);
    const Trial still = { .x = chain };
    return inside == NULL ? 0 : pair_score(layout, inside, &still);
}

Gain best_merge(const Layout *layout, const Pair *pair, const Chain *x, const Chain *y)
{
    Gain best = { 0, 0, MERGE_X_Y };
    try_merge(layout, pair, x, y, 0, MERGE_X_Y, &best);
    if (x->n_nodes > CHAIN_SPLIT_MAX)
        try_along_edges(layout, pair, x, y, &best);
    else
        try_cuts(layout, pair, x, y, &best);
    return best;
}
