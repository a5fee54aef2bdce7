/*
 * order_blocks.c: the order of a function's placed blocks: ext-TSP over the hot ones; the rest as
 * in the original.
 *
 *     placed  A90 B2 C88 D0          layout  A C | B D
 *                                            hot   cold
 *
 * Blocks that ran less often than the module's hot count share the cold part with the copied cold
 * ones: between hot blocks they would only take room in the cache. Edges of jump tables are left
 * out, since they can never fall through. Roots may stand anywhere: patches and calls name them by
 * address. Needs CFG, COUNTS and PLACED; gives LAYOUT; never refuses.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/ext_tsp.h"
#include "optimizer/passes.h"

typedef struct Part {
    BlockId *blocks;
    uint32_t n;
} Part;

static bool is_placed(const Block *block)
{
    return (block->facts & (BLOCK_HOT | BLOCK_COLD_COPY)) != 0;
}

static bool is_cold(const Context *ctx, const Block *block)
{
    return (block->facts & BLOCK_HOT) == 0 || block->count < ctx->hot_count;
}

static Part collect(const Context *ctx, const Func *fn, bool cold)
{
    Part part = { arena_many(ctx->scratch, BlockId, fn->n_blocks), 0 };
    for (uint32_t i = 0; i < fn->n_blocks; i++) {
        const Block *block = &fn->blocks[i];
        if (is_placed(block) && is_cold(ctx, block) == cold)
            part.blocks[part.n++] = block->id;
    }
    return part;
}

static uint32_t bytes_of(const Block *block)
{
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < block->n_insns; i++)
        bytes += block->insns[i].size;
    return bytes;
}

static TspGraph make_graph(const Context *ctx, const Func *fn, const Part *part)
{
    uint32_t *node_of = arena_many(ctx->scratch, uint32_t, fn->n_blocks);
    TspNode *nodes = arena_many(ctx->scratch, TspNode, part->n);
    uint32_t n_edges = 0;
    for (uint32_t i = 0; i < part->n; i++) {
        const Block *block = func_block(fn, part->blocks[i]);
        const Insn *last = block_last(block);
        node_of[block->id.i] = i + 1;
        nodes[i] =
            (TspNode){ block->count, bytes_of(block), last != NULL && last->flow == FLOW_COND };
        n_edges += block->n_succ;
    }
    TspEdge *edges = arena_many(ctx->scratch, TspEdge, n_edges);
    n_edges = 0;
    for (uint32_t i = 0; i < part->n; i++) {
        const Block *block = func_block(fn, part->blocks[i]);
        for (uint32_t s = 0; s < block->n_succ; s++) {
            const Succ *succ = &block->succ[s];
            if (succ->kind == SUCC_TABLE || !is_block(succ->to) || node_of[succ->to.i] == 0)
                continue;
            edges[n_edges++] = (TspEdge){ i, node_of[succ->to.i] - 1, succ->count, false };
        }
    }
    return (TspGraph){ nodes, part->n, edges, n_edges, UINT32_MAX };
}

/* A fixed sequence for a seed, different for every function (xorshift64*, Vigna 2016). */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717u;
}

static void shuffle(const Part *part, uint64_t seed)
{
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
    for (uint32_t i = part->n; i > 1; i--) {
        uint32_t other = (uint32_t)(next_random(&state) % i);
        BlockId held = part->blocks[i - 1];
        part->blocks[i - 1] = part->blocks[other];
        part->blocks[other] = held;
    }
}

static void reverse(const Part *part)
{
    for (uint32_t i = 0; i < part->n / 2; i++) {
        BlockId held = part->blocks[i];
        part->blocks[i] = part->blocks[part->n - 1 - i];
        part->blocks[part->n - 1 - i] = held;
    }
}

static void order_best(const Context *ctx, const Func *fn, const Part *part)
{
    TspGraph graph = make_graph(ctx, fn, part);
    uint32_t *order = arena_many(ctx->scratch, uint32_t, part->n);
    BlockId *blocks = arena_copy(ctx->scratch, part->blocks, part->n * sizeof *part->blocks);
    ext_tsp_order(ctx->scratch, &graph, order);
    for (uint32_t i = 0; i < part->n; i++)
        part->blocks[i] = blocks[order[i]];
}

static void order_part(const Context *ctx, const Func *fn, const Part *part, bool cold)
{
    switch (ctx->options->blocks) {
    case ORDER_BEST:
        if (!cold)
            order_best(ctx, fn, part);
        break;
    case ORDER_REVERSE:
        reverse(part);
        break;
    case ORDER_RANDOM:
        shuffle(part, ctx->options->seed + fn->id.i);
        break;
    case ORDER_ORIGINAL:
        break;
    }
}

/* True when an order was made before and no block has been placed since. */
static bool is_ordered(const Func *fn)
{
    uint32_t placed = 0;
    for (uint32_t i = 0; i < fn->n_blocks; i++)
        placed += is_placed(&fn->blocks[i]) ? 1 : 0;
    return fn->n_layout > 0 && fn->n_layout == placed;
}

Status order_blocks(Context *ctx, Func *fn, PassStats *stats, Error *err)
{
    (void)err;
    if (is_ordered(fn))
        return ST_OK;
    fn->layout = arena_many(fn->arena, BlockId, fn->n_blocks);
    fn->n_layout = 0;
    for (int cold = 0; cold < 2; cold++) {
        Part part = collect(ctx, fn, cold == 1);
        order_part(ctx, fn, &part, cold == 1);
        for (uint32_t i = 0; i < part.n; i++)
            fn->layout[fn->n_layout++] = part.blocks[i];
        fn->n_cold = part.n;
    }
    stats->changed += fn->n_layout;
    return ST_OK;
}
