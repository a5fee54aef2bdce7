/*
 * superblocks.c: removes side entrances of hot paths by duplicating their tails.
 *
 *     layout   A → T → ret           A: ...          A: ...
 *              B: jmp T              T: ...; ret     T: ...; ret
 *                                    B: ...; jmp T   B: ...
 *                                              =>    T': ...; ret
 *
 * A path is a run of the layout in which each block falls into its most likely successor; only one
 * predecessor of a block can fall into it, every other one pays a jump. Where the path from that
 * block on soon ends in a return, an indirect jump or a jump that is taken anyway, the other
 * predecessor gets a copy of the rest of the path and the jump is gone. A copy that would have to
 * jump back into the middle of the path saves nothing and is not made: the executions that leave
 * the copy by an edge that falls in the original are set against the jumps saved, and the end with
 * the best balance is taken.
 *
 * Counts are split by the share of the executions that come along the duplicated edge, in integers,
 * so that a block and its copies always sum to what was executed. Growth is bounded by --growth per
 * function. Needs CFG, COUNTS, PLACED and LAYOUT; breaks LAYOUT; never refuses. Roots stay with the
 * original: what comes from outside enters there.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/passes.h"

#include <stdlib.h>

enum {
    PATH_BLOCKS_MAX = 6,
    PATH_BYTES_MAX = 96,
    GAIN_SHARE_MIN = 4, /* a copy has to save at least 1/4 of the jumps along its edge */
    BUDGET_MIN = 64,    /* bytes that any function may grow by */
};

/* An edge of the layout that pays a jump. */
typedef struct SideEntry {
    BlockId from;
    uint32_t succ; /* of `from` */
    uint64_t count;
} SideEntry;

typedef struct Path {
    uint32_t succ[PATH_BLOCKS_MAX]; /* edge by which the path goes on from its block */
    BlockId blocks[PATH_BLOCKS_MAX];
    uint32_t n;
    uint32_t bytes;
} Path;

typedef struct Former {
    Func *fn;
    uint32_t
        *position; /* in the hot part of the layout, from 1; by block that was there at first */
    uint32_t n_originals;
    uint64_t hot_count;
} Former;

static uint32_t bytes_of(const Block *block)
{
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < block->n_insns; i++)
        bytes += block->insns[i].size;
    return bytes;
}

static uint32_t position_of(const Former *former, BlockId id)
{
    return is_block(id) && id.i < former->n_originals ? former->position[id.i] : 0;
}

static bool falls(const Former *former, const Block *block, const Succ *succ)
{
    uint32_t from = position_of(former, block->id), to = position_of(former, succ->to);
    return succ->kind != SUCC_TABLE && from != 0 && to == from + 1;
}

/* The most executed direct successor in the hot part; n_succ: none. */
static uint32_t likely_succ(const Former *former, const Block *block)
{
    uint32_t best = block->n_succ;
    for (uint32_t i = 0; i < block->n_succ; i++) {
        const Succ *succ = &block->succ[i];
        if (succ->kind == SUCC_TABLE || position_of(former, succ->to) == 0 || succ->count == 0)
            continue;
        if (best == block->n_succ || succ->count > block->succ[best].count)
            best = i;
    }
    return best;
}

static bool may_copy(const Block *block)
{
    return (block->facts & BLOCK_LANDING_PAD) == 0 && !is_block(block->copy_of) &&
           block->n_insns > 0 && block->count > 0;
}

/* Executions, out of `flow` into the block, that a copy ending here would have to jump back for. */
static uint64_t cost_of_end(const Former *former, const Block *block, double flow)
{
    double cost = 0;
    for (uint32_t i = 0; i < block->n_succ; i++) {
        if (falls(former, block, &block->succ[i]))
            cost += flow * (double)block->succ[i].count / (double)block->count;
    }
    return (uint64_t)cost;
}

/* The best path to copy for an edge; returns the jumps it saves, 0: none. */
static uint64_t find_path(const Former *former, const SideEntry *entry, Path *best)
{
    const Func *fn = former->fn;
    BlockId at = func_block(fn, entry->from)->succ[entry->succ].to;
    double flow = (double)entry->count;
    uint64_t best_gain = 0, lost = 0;
    Path path = { .n = 0 };
    while (path.n < PATH_BLOCKS_MAX) {
        const Block *block = func_block(fn, at);
        path.bytes += bytes_of(block);
        if (!may_copy(block) || path.bytes > PATH_BYTES_MAX || same_block(at, entry->from))
            break;
        path.blocks[path.n] = at;
        uint32_t next = likely_succ(former, block);
        path.succ[path.n++] = next;
        uint64_t cost = lost + cost_of_end(former, block, flow);
        if (cost < entry->count && entry->count - cost > best_gain) {
            best_gain = entry->count - cost;
            *best = path;
        }
        if (next == block->n_succ)
            break;
        const Succ *on = &block->succ[next];
        for (uint32_t i = 0; i < block->n_succ; i++) {
            if (i != next && falls(former, block, &block->succ[i]))
                lost += (uint64_t)(flow * (double)block->succ[i].count / (double)block->count);
        }
        flow *= (double)on->count / (double)block->count;
        at = on->to;
    }
    return best_gain;
}

static uint64_t share(uint64_t count, uint64_t part, uint64_t whole)
{
    return (uint64_t)((unsigned __int128)count * part / whole);
}

/* Moves `part` of the block's executions to its copy, edges included; sums stay what they were. */
static void split_counts(Block *block, Block *copy, uint64_t part)
{
    uint64_t whole = block->count, before = 0, sum = 0;
    copy->end_count = share(block->end_count, part, whole);
    for (uint32_t i = 0; i < block->n_succ; i++) {
        sum += block->succ[i].count;
        uint64_t moved = share(sum, part, whole) - before;
        before += moved;
        copy->succ[i].count = moved;
        block->succ[i].count -= moved;
    }
    copy->count = part;
    block->count -= part;
    block->end_count -= copy->end_count;
}

static void copy_path(Former *former, const SideEntry *entry, const Path *path)
{
    Func *fn = former->fn;
    BlockId from = entry->from;
    uint32_t edge = entry->succ;
    for (uint32_t i = 0; i < path->n; i++) {
        uint64_t flow = func_block(fn, from)->succ[edge].count;
        Block *original = func_block(fn, path->blocks[i]);
        if (flow == 0 || flow > original->count)
            return;
        BlockId id = func_copy_block(fn, path->blocks[i]);
        Block *copy = func_block(fn, id);
        copy->facts = BLOCK_HOT | (copy->facts & BLOCK_STOPS);
        split_counts(func_block(fn, path->blocks[i]), copy, flow);
        func_block(fn, from)->succ[edge].to = id;
        if (copy->table >= 0)
            fn->tables[copy->table].n_sites++;
        from = id;
        edge = path->succ[i];
    }
}

static int by_count_down(const void *left, const void *right)
{
    const SideEntry *a = left, *b = right;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    return a->from.i < b->from.i ? -1 : a->from.i > b->from.i;
}

/* Blocks of the hot part of which no successor is next: the most executed edge pays a jump. */
static uint32_t find_side_entries(const Former *former, SideEntry *entries)
{
    const Func *fn = former->fn;
    uint32_t n = 0;
    for (uint32_t i = 0; i + fn->n_cold < fn->n_layout; i++) {
        const Block *block = func_block(fn, fn->layout[i]);
        uint32_t likely = likely_succ(former, block);
        bool any_falls = likely == block->n_succ;
        for (uint32_t s = 0; s < block->n_succ; s++)
            any_falls |= falls(former, block, &block->succ[s]);
        if (!any_falls && block->succ[likely].count >= former->hot_count)
            entries[n++] = (SideEntry){ block->id, likely, block->succ[likely].count };
    }
    qsort(entries, n, sizeof *entries, by_count_down);
    return n;
}

static Former former_start(const Context *ctx, Func *fn, uint64_t *hot_bytes)
{
    Former former = { .fn = fn, .n_originals = fn->n_blocks, .hot_count = ctx->hot_count };
    former.position = arena_many(ctx->scratch, uint32_t, fn->n_blocks);
    *hot_bytes = 0;
    for (uint32_t i = 0; i + fn->n_cold < fn->n_layout; i++) {
        former.position[fn->layout[i].i] = i + 1;
        *hot_bytes += bytes_of(func_block(fn, fn->layout[i]));
    }
    return former;
}

Status form_superblocks(Context *ctx, Func *fn, PassStats *stats, Error *err)
{
    (void)err;
    uint64_t hot_bytes;
    Former former = former_start(ctx, fn, &hot_bytes);
    uint64_t budget = hot_bytes * ctx->options->growth_percent / 100;
    if (ctx->options->growth_percent > 0 && budget < BUDGET_MIN)
        budget = BUDGET_MIN;
    SideEntry *entries = arena_many(ctx->scratch, SideEntry, fn->n_blocks);
    uint32_t n = find_side_entries(&former, entries);
    for (uint32_t i = 0; i < n; i++) {
        Path path = { .n = 0 };
        entries[i].count = func_block(fn, entries[i].from)->succ[entries[i].succ].count;
        uint64_t gain = find_path(&former, &entries[i], &path);
        if (gain < former.hot_count || gain < entries[i].count / GAIN_SHARE_MIN ||
            stats->bytes_added + path.bytes > budget)
            continue;
        copy_path(&former, &entries[i], &path);
        stats->changed++;
        stats->bytes_added += path.bytes;
    }
    return ST_OK;
}
