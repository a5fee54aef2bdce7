/*
 * order_regions.c: the order of the regions in the overlay: hot parts by cache-directed sort over
 * the call graph, then the cold parts in original order.
 *
 *     overlay   [ main ][ parse ][ next_token ] ... | [ cold of main ][ cold of parse ] ...
 *
 * A call, direct or not, and a jump between functions all count as calls of the graph: what matters
 * is that one is executed soon after the other.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/bind_plt.h"
#include "optimizer/cdsort.h"
#include "optimizer/passes.h"

enum { ALIGN_HOT = 4 /* log2 */ };

typedef struct Regions {
    Context *ctx;
    const Plan *plan;
    uint32_t *node_of; /* by function, from 1; 0: has no hot part */
    CdNode *nodes;
    FuncId *funcs;
    uint32_t n_nodes;
} Regions;

static uint64_t block_bytes(const Block *block)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < block->n_insns; i++)
        bytes += block->insns[i].size;
    return bytes;
}

/* Times that the hot part is entered at a root, at least once; and its bytes. */
static CdNode measure(const Func *fn)
{
    CdNode node = { 1, 0 };
    for (uint32_t i = 0; i + fn->n_cold < fn->n_layout; i++) {
        const Block *block = func_block(fn, fn->layout[i]);
        node.size += block_bytes(block);
        if ((block->facts & BLOCK_ENTRY) != 0)
            node.count += block->count;
    }
    return node;
}

static void collect_nodes(Regions *regions)
{
    const Program *program = regions->ctx->program;
    for (uint32_t i = 0; i < program->n_funcs; i++) {
        const Func *fn = &program->funcs[i];
        if (fn->n_layout == fn->n_cold)
            continue;
        regions->nodes[regions->n_nodes] = measure(fn);
        regions->funcs[regions->n_nodes++] = fn->id;
        regions->node_of[i] = regions->n_nodes;
    }
}

static bool is_call_like(const ProfileEdge *edge)
{
    return edge->kind == EDGE_CALL || edge->kind == EDGE_CALL_IND || edge->kind == EDGE_JUMP ||
           edge->kind == EDGE_TAKEN || edge->kind == EDGE_JUMP_IND;
}

/* Bytes of the function's layout before the block that holds `addr`. */
static uint64_t offset_in_layout(const Func *fn, const uint64_t *offsets, Vaddr addr)
{
    BlockId block = func_block_over(fn, addr);
    return is_block(block) ? offsets[block.i] + (addr.v - func_block(fn, block)->start.v) : 0;
}

static const uint64_t *layout_offsets(Arena *arena, const Func *fn)
{
    uint64_t *offsets = arena_many(arena, uint64_t, fn->n_blocks);
    uint64_t at = 0;
    for (uint32_t i = 0; i < fn->n_layout; i++) {
        offsets[fn->layout[i].i] = at;
        at += block_bytes(func_block(fn, fn->layout[i]));
    }
    return offsets;
}

static CdCall *collect_calls(const Regions *regions, uint32_t *n_calls)
{
    const Context *ctx = regions->ctx;
    const ProfileModule *counts = ctx->counts;
    CdCall *calls = arena_many(ctx->scratch, CdCall, counts->n_edges);
    const uint64_t **offsets = arena_many(ctx->scratch, const uint64_t *, ctx->program->n_funcs);
    *n_calls = 0;
    for (uint32_t i = 0; i < counts->n_edges; i++) {
        const ProfileEdge *edge = &counts->edges[i];
        if (!is_call_like(edge) || edge->count == 0)
            continue;
        const Func *from = program_func_at(ctx->program, edge->from);
        const Bind *bind = plan_bind_at(regions->plan, edge->to);
        const Func *to = bind != NULL ? &ctx->program->funcs[bind->fn.i]
                                      : program_func_at(ctx->program, edge->to);
        if (from == NULL || to == NULL || from == to || regions->node_of[from->id.i] == 0 ||
            regions->node_of[to->id.i] == 0 || edge->to_module != regions->ctx->module)
            continue;
        if (offsets[from->id.i] == NULL)
            offsets[from->id.i] = layout_offsets(ctx->scratch, from);
        calls[(*n_calls)++] =
            (CdCall){ regions->node_of[from->id.i] - 1, regions->node_of[to->id.i] - 1,
                      offset_in_layout(from, offsets[from->id.i], edge->from), edge->count };
    }
    return calls;
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static void order_nodes(const Regions *regions, uint32_t *order)
{
    const OptimizeOptions *options = regions->ctx->options;
    uint32_t n = regions->n_nodes, n_calls;
    if (options->regions == ORDER_BEST) {
        CdCall *calls = collect_calls(regions, &n_calls);
        CdGraph graph = { regions->nodes, n, calls, n_calls };
        cdsort_order(regions->ctx->scratch, &graph, order);
        return;
    }
    uint64_t state = options->seed * 2 + 1;
    for (uint32_t i = 0; i < n; i++)
        order[i] = options->regions == ORDER_REVERSE ? n - 1 - i : i;
    for (uint32_t i = n; options->regions == ORDER_RANDOM && i > 1; i--) {
        uint32_t other = (uint32_t)(next_random(&state) % i), held = order[i - 1];
        order[i - 1] = order[other];
        order[other] = held;
    }
}

static void add_region(Plan *plan, const Func *fn, bool cold)
{
    uint32_t n_hot = fn->n_layout - fn->n_cold;
    uint32_t n = cold ? fn->n_cold : n_hot;
    if (n == 0)
        return;
    plan->regions[plan->n_regions++] = (Region){ .fn = fn->id,
                                                 .blocks = fn->layout + (cold ? n_hot : 0),
                                                 .n_blocks = n,
                                                 .cold = cold,
                                                 .align = cold ? 0 : ALIGN_HOT };
}

void order_regions(Context *ctx, Plan *plan)
{
    const Program *program = ctx->program;
    Regions regions = { .ctx = ctx, .plan = plan };
    regions.node_of = arena_many(ctx->scratch, uint32_t, program->n_funcs);
    regions.nodes = arena_many(ctx->scratch, CdNode, program->n_funcs);
    regions.funcs = arena_many(ctx->scratch, FuncId, program->n_funcs);
    collect_nodes(&regions);
    uint32_t *order = arena_many(ctx->scratch, uint32_t, regions.n_nodes);
    order_nodes(&regions, order);
    plan->regions = arena_many(ctx->arena, Region, 2 * (size_t)program->n_funcs);
    for (uint32_t i = 0; i < regions.n_nodes; i++)
        add_region(plan, &program->funcs[regions.funcs[order[i]].i], false);
    for (uint32_t i = 0; i < program->n_funcs; i++)
        add_region(plan, &program->funcs[i], true);
    arena_reset(ctx->scratch);
}
