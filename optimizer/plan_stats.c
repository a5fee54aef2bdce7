/*
 * plan_stats.c: what a plan amounts to, counted with the profile it was made from.
 *
 *     edge of the profile ──► original address with a patch?
 *        from a placed block, direct, or through a cloned table   the overlay goes there by itself
 *        anything else                                            one jump paid: a bounce
 *
 * Taken branches before and after are those of placed functions: conditional branches taken and
 * direct jumps; afterwards also the jumps that the layout adds and the bounces.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/bind_plt.h"

enum { ENDBR_SIZE = 4 };

static bool is_placed(const Block *block)
{
    return (block->facts & (BLOCK_HOT | BLOCK_COLD_COPY)) != 0;
}

static bool func_is_placed(const Func *fn)
{
    return fn->refused == REFUSED_NOT && fn->n_layout > 0;
}

static Patch *patch_at(const Plan *plan, Vaddr start)
{
    uint32_t low = 0, high = plan->n_patches;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (plan->patches[middle].site.v < start.v)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == plan->n_patches)
        return NULL;
    Patch *patch = &plan->patches[low];
    uint64_t distance = patch->site.v - start.v;
    return distance == 0 || (distance == ENDBR_SIZE && patch->to_insn == 1) ? patch : NULL;
}

const Patch *plan_patch_at(const Plan *plan, Vaddr start)
{
    return patch_at(plan, start);
}

/* True when overlay code makes this transfer without leaving the overlay. */
static bool stays_inside(const Context *ctx, const ProfileEdge *edge)
{
    const Func *from = program_func_at(ctx->program, edge->from);
    if (from == NULL || !func_is_placed(from))
        return false;
    BlockId id = func_block_over(from, edge->from);
    if (!is_block(id) || !is_placed(func_block(from, id)))
        return false;
    int32_t table = func_block(from, id)->table;
    switch (edge->kind) {
    case EDGE_CALL_IND:
    case EDGE_RET:
        return false;
    case EDGE_JUMP_IND:
        return table >= 0 && from->tables[table].clone;
    default:
        return true;
    }
}

static void add_bounce(Plan *plan, Vaddr to, uint64_t count)
{
    Patch *patch = patch_at(plan, to);
    if (patch == NULL)
        return;
    patch->count += count;
    plan->stats.bounces[patch->kind] += count;
}

/* What of an indirect jump's count is left once calls pass the stub by; stubs jump at their start
 * or after an endbr64. */
static uint64_t beyond_binds(const Plan *plan, const ProfileEdge *edge)
{
    const Bind *bind = edge->kind == EDGE_JUMP_IND ? plan_bind_at(plan, edge->from) : NULL;
    if (bind == NULL && edge->kind == EDGE_JUMP_IND && edge->from.v >= ENDBR_SIZE)
        bind = plan_bind_at(plan, vaddr(edge->from.v - ENDBR_SIZE));
    if (bind == NULL)
        return edge->count;
    return edge->count > bind->count ? edge->count - bind->count : 0;
}

void count_bounces(const Context *ctx, Plan *plan)
{
    const ProfileModule *counts = ctx->counts;
    for (int kind = 0; kind < 3; kind++)
        plan->stats.bounces[kind] = 0;
    for (uint32_t i = 0; i < plan->n_patches; i++)
        plan->patches[i].count = 0;
    for (uint32_t i = 0; i < counts->n_edges; i++) {
        const ProfileEdge *edge = &counts->edges[i];
        bool returns = edge->kind == EDGE_RETURN_TO || edge->kind == EDGE_SYSCALL;
        if (edge->to_module == ctx->module && !returns && !stays_inside(ctx, edge))
            add_bounce(plan, edge->to, beyond_binds(plan, edge));
    }
    for (uint32_t i = 0; i < counts->n_entries; i++) {
        if (counts->entries[i].kind != EDGE_RETURN_TO && counts->entries[i].kind != EDGE_SYSCALL)
            add_bounce(plan, counts->entries[i].to, counts->entries[i].count);
    }
}

static void count_blocks(const Func *fn, PlanStats *stats)
{
    for (uint32_t i = 0; i < fn->n_blocks; i++) {
        const Block *block = &fn->blocks[i];
        uint64_t bytes = 0, insns = 0;
        for (uint32_t k = 0; k < block->n_insns; k++) {
            if (vaddr_is_none(block->insns[k].addr))
                continue; /* made, and stands for no original instruction */
            bytes += block->insns[k].size;
            insns++;
        }
        if (!is_placed(block))
            continue;
        stats->insns_placed += block->count * insns;
        if (is_block(block->copy_of))
            stats->bytes_duplicated += bytes;
        else if ((block->facts & BLOCK_HOT) != 0)
            stats->bytes_hot += bytes;
        else
            stats->bytes_cold_copied += bytes;
    }
}

static uint64_t taken_in_original(const Block *block)
{
    const Insn *last = block_last(block);
    uint64_t taken = 0;
    for (uint32_t s = 0; last != NULL && s < block->n_succ; s++) {
        bool jumps = last->flow == FLOW_COND || last->flow == FLOW_JUMP || last->flow == FLOW_LOOP;
        if (jumps && block->succ[s].kind == SUCC_TAKEN)
            taken += block->succ[s].count;
    }
    return taken;
}

/* Every edge of a placed block that does not lead to the next one in the layout is a taken jump. */
static uint64_t taken_in_layout(const Block *block, BlockId next)
{
    uint64_t taken = 0;
    for (uint32_t s = 0; s < block->n_succ; s++) {
        const Succ *succ = &block->succ[s];
        bool falls = is_block(succ->to) && same_block(succ->to, next);
        if (succ->kind != SUCC_TABLE && !falls)
            taken += succ->count;
    }
    return taken;
}

uint64_t func_taken_in_original(const Func *fn)
{
    uint64_t taken = 0;
    for (uint32_t i = 0; i < fn->n_blocks; i++)
        taken += taken_in_original(&fn->blocks[i]);
    return taken;
}

uint64_t func_taken_in_layout(const Func *fn)
{
    uint64_t taken = 0;
    uint32_t n_hot = fn->n_layout - fn->n_cold;
    for (uint32_t i = 0; i < fn->n_blocks; i++) {
        if (!is_placed(&fn->blocks[i]))
            taken += taken_in_original(&fn->blocks[i]);
    }
    for (uint32_t i = 0; i < fn->n_layout; i++) {
        bool ends_part = i + 1 == n_hot || i + 1 == fn->n_layout;
        BlockId next = ends_part ? NO_BLOCK : fn->layout[i + 1];
        taken += taken_in_layout(func_block(fn, fn->layout[i]), next);
    }
    return taken;
}

static void count_tables(const Func *fn, PlanStats *stats)
{
    for (uint32_t i = 0; i < fn->n_tables; i++) {
        stats->tables_found++;
        stats->tables_cloned += fn->tables[i].clone ? 1 : 0;
    }
}

void measure_plan(Context *ctx, Plan *plan)
{
    PlanStats *stats = &plan->stats;
    stats->insns_total = profile_instructions(ctx->counts);
    for (uint32_t i = 0; i < ctx->program->n_funcs; i++) {
        const Func *fn = &ctx->program->funcs[i];
        stats->funcs_executed += fn->count > 0 ? 1 : 0;
        if (!func_is_placed(fn))
            continue;
        stats->funcs_placed++;
        count_blocks(fn, stats);
        stats->taken_before += func_taken_in_original(fn);
        stats->taken_after += func_taken_in_layout(fn);
        count_tables(fn, stats);
    }
    for (uint32_t i = 0; i < plan->n_patches; i++)
        stats->patches[plan->patches[i].kind]++;
    count_bounces(ctx, plan);
    for (int kind = 0; kind < 3; kind++)
        stats->taken_after += stats->bounces[kind];
}
