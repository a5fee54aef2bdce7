/*
 * cdsort.c: greedy joining of chains of functions, best gain first, from a heap.
 *
 *     heap: (gain, P, S)    popped → still current? → join as P S or S P, whichever gains more
 *
 * Gains of pairs that touch the joined chain are computed anew and pushed again; older entries of
 * the pair are known by their version and dropped when popped. A chain holds at most
 * CHAIN_FUNCS_MAX functions. At the end chains are laid out by density. Only whole chains are
 * joined: functions are too large for cutting chains to pay.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/cdsort.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    CACHE_ENTRIES = 16,
    CACHE_SIZE = 2048, /* bytes */
    CHAIN_FUNCS_MAX = 128,
};

static const double distance_power = 0.25, count_scale = 0.25, distance_none = 0.1;

typedef struct Pair {
    uint32_t left, right;
    uint32_t *calls;
    size_t n_calls, cap_calls;
    uint32_t version; /* of the entry in the heap that counts */
    bool right_first; /* the better order */
    bool dead;
} Pair;

typedef struct Chain {
    uint32_t *nodes;
    uint32_t n_nodes;
    uint64_t count;
    uint64_t size;
    uint32_t *pairs;
    size_t n_pairs, cap_pairs;
    bool dead;
} Chain;

typedef struct Entry {
    double gain;
    uint32_t pair;
    uint32_t version;
} Entry;

typedef struct Sorter {
    Arena *arena;
    const CdGraph *graph;
    Chain *chains;
    uint32_t *chain_of;
    uint64_t *at; /* node → offset in its chain */
    Pair *pairs;
    size_t n_pairs, cap_pairs;
    Entry *heap;
    size_t n_heap, cap_heap;
    double total_count;
    double far; /* T^-0.25 */
} Sorter;

static bool entry_above(const Entry *left, const Entry *right)
{
    if (left->gain != right->gain)
        return left->gain > right->gain;
    return left->pair < right->pair;
}

static void heap_push(Sorter *sorter, Entry entry)
{
    sorter->heap = arena_grow(sorter->arena, sorter->heap, &sorter->cap_heap, sorter->n_heap + 1,
                              sizeof *sorter->heap);
    size_t i = sorter->n_heap++;
    while (i > 0 && entry_above(&entry, &sorter->heap[(i - 1) / 2])) {
        sorter->heap[i] = sorter->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    sorter->heap[i] = entry;
}

static Entry heap_pop(Sorter *sorter)
{
    Entry top = sorter->heap[0];
    Entry moved = sorter->heap[--sorter->n_heap];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= sorter->n_heap)
            break;
        if (child + 1 < sorter->n_heap &&
            entry_above(&sorter->heap[child + 1], &sorter->heap[child]))
            child++;
        if (!entry_above(&sorter->heap[child], &moved))
            break;
        sorter->heap[i] = sorter->heap[child];
        i = child;
    }
    sorter->heap[i] = moved;
    return top;
}

static double miss(const Sorter *sorter, double count, double size)
{
    double samples = count / size * CACHE_SIZE;
    if (samples >= sorter->total_count)
        return 0;
    return pow(1 - samples / sorter->total_count, CACHE_ENTRIES);
}

static double miss_gain(const Sorter *sorter, const Chain *left, const Chain *right)
{
    double left_count = (double)left->count, right_count = (double)right->count;
    double left_size = (double)left->size, right_size = (double)right->size;
    double both = left_count + right_count;
    return left_count * miss(sorter, left_count, left_size) +
           right_count * miss(sorter, right_count, right_size) -
           both * miss(sorter, both, left_size + right_size);
}

/* `shift`: bytes that the chains of `right` resp. `left` begin after the start of the joined one.
 */
static double distance_gain(const Sorter *sorter, const Pair *pair, bool right_first)
{
    const Chain *left = &sorter->chains[pair->left], *right = &sorter->chains[pair->right];
    uint64_t left_shift = right_first ? right->size : 0;
    uint64_t right_shift = right_first ? 0 : left->size;
    double gain = 0;
    for (size_t i = 0; i < pair->n_calls; i++) {
        const CdCall *call = &sorter->graph->calls[pair->calls[i]];
        bool from_left = sorter->chain_of[call->from] == pair->left;
        uint64_t from =
            sorter->at[call->from] + call->offset + (from_left ? left_shift : right_shift);
        uint64_t to = sorter->at[call->to] + (from_left ? right_shift : left_shift);
        double distance = from > to ? (double)(from - to) : (double)(to - from);
        double near = distance > 0 ? pow(distance, -distance_power) : distance_none;
        gain += (double)call->count * (near - sorter->far);
    }
    return gain;
}

/* Computes the gain of a pair and puts it in the heap when there is one. */
static void push_pair(Sorter *sorter, uint32_t number)
{
    Pair *pair = &sorter->pairs[number];
    const Chain *left = &sorter->chains[pair->left], *right = &sorter->chains[pair->right];
    pair->version++;
    if (left->n_nodes + right->n_nodes > CHAIN_FUNCS_MAX)
        return;
    double in_order = distance_gain(sorter, pair, false);
    double reversed = distance_gain(sorter, pair, true);
    pair->right_first = reversed > in_order;
    double gain = pair->right_first ? reversed : in_order;
    gain += count_scale * miss_gain(sorter, left, right);
    uint64_t smaller = left->size < right->size ? left->size : right->size;
    if (gain > 0)
        heap_push(sorter, (Entry){ gain / (double)smaller, number, pair->version });
}

static uint32_t pair_of(Sorter *sorter, uint32_t left, uint32_t right)
{
    Chain *one = &sorter->chains[left], *two = &sorter->chains[right];
    const Chain *fewer = one->n_pairs <= two->n_pairs ? one : two;
    uint32_t wanted = fewer == one ? right : left;
    for (size_t i = 0; i < fewer->n_pairs; i++) {
        const Pair *pair = &sorter->pairs[fewer->pairs[i]];
        if (pair->left == wanted || pair->right == wanted)
            return fewer->pairs[i];
    }
    sorter->pairs = arena_grow(sorter->arena, sorter->pairs, &sorter->cap_pairs,
                               sorter->n_pairs + 1, sizeof *sorter->pairs);
    uint32_t made = (uint32_t)sorter->n_pairs++;
    sorter->pairs[made] = (Pair){ .left = left, .right = right };
    Chain *both[2] = { one, two };
    for (int i = 0; i < 2; i++) {
        both[i]->pairs = arena_grow(sorter->arena, both[i]->pairs, &both[i]->cap_pairs,
                                    both[i]->n_pairs + 1, sizeof *both[i]->pairs);
        both[i]->pairs[both[i]->n_pairs++] = made;
    }
    return made;
}

static void pair_add_calls(Sorter *sorter, Pair *pair, const uint32_t *calls, size_t n)
{
    assert(pair != NULL);
    pair->calls = arena_grow(sorter->arena, pair->calls, &pair->cap_calls, pair->n_calls + n,
                             sizeof *pair->calls);
    memcpy(pair->calls + pair->n_calls, calls, n * sizeof *calls);
    pair->n_calls += n;
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

static void move_pairs(Sorter *sorter, uint32_t into, uint32_t from)
{
    Chain *gone = &sorter->chains[from];
    for (size_t i = 0; i < gone->n_pairs; i++) {
        uint32_t number = gone->pairs[i];
        uint32_t other = sorter->pairs[number].left == from ? sorter->pairs[number].right
                                                            : sorter->pairs[number].left;
        sorter->pairs[number].dead = true;
        remove_pair(&sorter->chains[other], number);
        if (other == into)
            continue;
        uint32_t target = pair_of(sorter, into, other);
        const Pair *old = &sorter->pairs[number];
        pair_add_calls(sorter, &sorter->pairs[target], old->calls, old->n_calls);
    }
    gone->n_pairs = 0;
    gone->dead = true;
}

/* Puts the nodes of chain `second` after those of `first`; the joined chain is `first`. */
static void join(Sorter *sorter, uint32_t first, uint32_t second)
{
    Chain *head = &sorter->chains[first];
    const Chain *tail = &sorter->chains[second];
    uint32_t *nodes = arena_many(sorter->arena, uint32_t, head->n_nodes + (size_t)tail->n_nodes);
    memcpy(nodes, head->nodes, head->n_nodes * sizeof *nodes);
    memcpy(nodes + head->n_nodes, tail->nodes, tail->n_nodes * sizeof *nodes);
    for (uint32_t i = 0; i < tail->n_nodes; i++) {
        sorter->chain_of[tail->nodes[i]] = first;
        sorter->at[tail->nodes[i]] += head->size;
    }
    head->nodes = nodes;
    head->n_nodes += tail->n_nodes;
    head->count += tail->count;
    head->size += tail->size;
    move_pairs(sorter, first, second);
    for (size_t i = 0; i < head->n_pairs; i++)
        push_pair(sorter, head->pairs[i]);
}

static void sorter_start(Sorter *sorter)
{
    const CdGraph *graph = sorter->graph;
    Arena *arena = sorter->arena;
    sorter->chains = arena_many(arena, Chain, graph->n_nodes);
    sorter->chain_of = arena_many(arena, uint32_t, graph->n_nodes);
    sorter->at = arena_many(arena, uint64_t, graph->n_nodes);
    uint32_t *nodes = arena_many(arena, uint32_t, graph->n_nodes);
    double total_size = 0;
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        const CdNode *node = &graph->nodes[i];
        nodes[i] = i;
        sorter->chain_of[i] = i;
        sorter->chains[i] = (Chain){ .nodes = &nodes[i],
                                     .n_nodes = 1,
                                     .count = node->count,
                                     .size = node->size > 0 ? node->size : 1 };
        sorter->total_count += (double)node->count;
        total_size += (double)sorter->chains[i].size;
    }
    sorter->far = pow(total_size, -distance_power);
    for (uint32_t i = 0; i < graph->n_calls; i++) {
        const CdCall *call = &graph->calls[i];
        if (call->from == call->to || call->count == 0)
            continue;
        uint32_t pair = pair_of(sorter, call->from, call->to);
        pair_add_calls(sorter, &sorter->pairs[pair], &i, 1);
    }
    for (uint32_t i = 0; i < sorter->n_pairs; i++)
        push_pair(sorter, i);
}

typedef struct Ranked {
    double density;
    uint32_t first;
    uint32_t chain;
} Ranked;

static int rank_order(const void *left, const void *right)
{
    const Ranked *a = left, *b = right;
    if (a->density != b->density)
        return a->density > b->density ? -1 : 1;
    return a->first < b->first ? -1 : a->first > b->first;
}

static void write_order(const Sorter *sorter, uint32_t *order)
{
    uint32_t n_nodes = sorter->graph->n_nodes, n = 0, at = 0;
    Ranked *ranked = arena_many(sorter->arena, Ranked, n_nodes);
    for (uint32_t i = 0; i < n_nodes; i++) {
        const Chain *chain = &sorter->chains[i];
        if (chain->dead)
            continue;
        uint32_t first = chain->nodes[0];
        for (uint32_t j = 1; j < chain->n_nodes; j++)
            first = chain->nodes[j] < first ? chain->nodes[j] : first;
        ranked[n++] = (Ranked){ (double)chain->count / (double)chain->size, first, i };
    }
    qsort(ranked, n, sizeof *ranked, rank_order);
    for (uint32_t i = 0; i < n; i++) {
        const Chain *chain = &sorter->chains[ranked[i].chain];
        memcpy(order + at, chain->nodes, chain->n_nodes * sizeof *order);
        at += chain->n_nodes;
    }
    assert(at == n_nodes);
}

void cdsort_order(Arena *scratch, const CdGraph *graph, uint32_t *order)
{
    if (graph->n_nodes == 0)
        return;
    Sorter sorter = { .arena = scratch, .graph = graph };
    sorter_start(&sorter);
    while (sorter.n_heap > 0) {
        Entry best = heap_pop(&sorter);
        const Pair *pair = &sorter.pairs[best.pair];
        if (pair->dead || pair->version != best.version)
            continue;
        if (pair->right_first)
            join(&sorter, pair->right, pair->left);
        else
            join(&sorter, pair->left, pair->right);
    }
    write_order(&sorter, order);
}
