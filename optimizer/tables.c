/*
 * tables.c: jump tables and computed-goto tables with proven bounds.
 *
 *     jmp *table(,%rax,8)                        entries are addresses        (TABLE_ABS64)
 *     movslq (%rdx,%rax,4),%rax; add %rdx,%rax   entries are offsets from rdx (TABLE_REL32)
 *
 * The value analysis (values.h) says what each indirect jump takes. A table found gives the graph
 * new edges, the edges may show new code or spoil a proof, so graph and tables are made in turns
 * until nothing changes. A proof that was spoilt once is not tried again: its table's targets are
 * then entered with unknown registers.
 *
 * All proofs of a function stand together: each assumes that no jump goes where the graph has no
 * edge. By induction over the run, the first transfer that did would have been a proven one. So a
 * jump that stays unproven must be accounted for: one that takes an address as it is reaches only
 * addresses that something forms (design.md, law 1), one that computes its target reaches any
 * block. The proofs are made once more with these entered as unknown, and what then fails is
 * dropped.
 *
 * Needs CFG; gives TABLES; keeps CFG; refuses what build_cfg refuses.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/module_refs.h"
#include "optimizer/tables.h"

#include <stdlib.h>

enum { ROUNDS_MAX = 64 };

static bool has_indirect_jump(const Func *fn)
{
    for (uint32_t i = 0; i < fn->n_blocks; i++) {
        const Insn *last = block_last(&fn->blocks[i]);
        if (last != NULL && last->flow == FLOW_JUMP_IND)
            return true;
    }
    return false;
}

/* --- where registers are unknown ---------------------------------------------------------------
 */

static bool in_function(const Func *fn, Vaddr addr)
{
    for (uint32_t i = 0; i < fn->n_extents; i++)
        if (addr.v - fn->extents[i].start.v < fn->extents[i].end.v - fn->extents[i].start.v)
            return true;
    return false;
}

static bool jumped_from_outside(const Context *ctx, const Func *fn, Vaddr start)
{
    const ModuleRefs *refs = ctx->refs;
    for (uint32_t i = module_refs_jump_from(refs, start);
         i < refs->n_jumps && vaddr_equal(refs->jumps[i].to, start); i++)
        if (!in_function(fn, refs->jumps[i].from))
            return true;
    return false;
}

/* A return or a longjmp to just behind a call finds there what the call left. */
static bool follows_call(const Func *fn, const Block *block)
{
    BlockId id = func_block_over(fn, vaddr(block->start.v - 1));
    if (!is_block(id))
        return false;
    const Block *before = func_block(fn, id);
    const Insn *last = block_last(before);
    return (last->flow == FLOW_CALL || last->flow == FLOW_CALL_IND) &&
           (before->facts & BLOCK_STOPS) == 0 && last->addr.v + last->size == block->start.v;
}

/* An observed transfer that the graph has an edge for, or (in the closed world) will have. */
static bool is_known_edge(const Func *fn, const ProfileEdge *edge, World world)
{
    if (vaddr_is_none(edge->from) || !in_function(fn, edge->from))
        return false;
    if (edge->kind != EDGE_JUMP_IND)
        return edge->kind != EDGE_RET && edge->kind != EDGE_CALL && edge->kind != EDGE_CALL_IND;
    BlockId from = func_block_over(fn, edge->from);
    return world == WORLD_CLOSED || (is_block(from) && func_block(fn, from)->table >= 0);
}

static bool comes_back(const Func *fn, const ProfileEdge *edge)
{
    bool own = !vaddr_is_none(edge->from) && in_function(fn, edge->from);
    return edge->kind == EDGE_RET || (edge->kind == EDGE_JUMP_IND && !own);
}

static bool observed_otherwise(const Context *ctx, const Func *fn, const Block *block, World world)
{
    const ModuleRefs *refs = ctx->refs;
    bool behind_call = follows_call(fn, block);
    for (uint32_t i = module_refs_inward_from(refs, block->start);
         i < refs->n_inward && vaddr_equal(refs->inward[i]->to, block->start); i++) {
        const ProfileEdge *edge = refs->inward[i];
        if (edge->kind == EDGE_RETURN_TO || edge->kind == EDGE_SYSCALL ||
            is_known_edge(fn, edge, world) || (behind_call && comes_back(fn, edge)))
            continue;
        return true;
    }
    return false;
}

static bool is_unknown(const Context *ctx, const Func *fn, const Block *block, World world)
{
    if ((block->facts & (BLOCK_ENTRY | BLOCK_LANDING_PAD)) != 0)
        return true;
    if ((block->facts & BLOCK_OBSERVED) == 0)
        return false;
    return jumped_from_outside(ctx, fn, block->start) || observed_otherwise(ctx, fn, block, world);
}

/* Targets of tables whose proof was spoilt. */
static void mark_suspects(const Func *fn, bool *unknown)
{
    for (uint32_t i = 0; i < fn->n_tables; i++) {
        const Table *table = &fn->tables[i];
        for (uint32_t j = 0; j < table->n && table->n_sites == 0; j++) {
            BlockId id = func_block_at(fn, table->entries[j]);
            if (is_block(id))
                unknown[id.i] = true;
        }
    }
}

static const bool *find_unknown(const Finder *finder, World world)
{
    const Func *fn = finder->fn;
    bool *unknown = arena_many(finder->ctx->scratch, bool, fn->n_blocks);
    for (uint32_t i = 0; i < fn->n_blocks; i++) {
        const Block *block = &fn->blocks[i];
        bool formed = world == WORLD_FORMED && (block->facts & BLOCK_ESCAPES) != 0;
        unknown[i] = world == WORLD_ANY || formed || is_unknown(finder->ctx, fn, block, world);
    }
    mark_suspects(fn, unknown);
    return unknown;
}

/* --- sites -------------------------------------------------------------------------------------
 */

static TableSite *site_at(Finder *finder, Vaddr addr)
{
    for (uint32_t i = 0; i < finder->n_sites; i++)
        if (vaddr_equal(finder->sites[i].addr, addr))
            return &finder->sites[i];
    finder->sites = arena_grow(finder->ctx->arena, finder->sites, &finder->cap_sites,
                               (size_t)finder->n_sites + 1, sizeof finder->sites[0]);
    TableSite *site = &finder->sites[finder->n_sites++];
    *site = (TableSite){ .addr = addr };
    return site;
}

static bool same_claim(const Value *left, const Value *right)
{
    return left->kind == right->kind && left->addr == right->addr && left->base == right->base &&
           left->n == right->n && left->entry_size == right->entry_size;
}

/* Takes what the analysis says of a jump; true: something changed. */
static bool update_site(Finder *finder, TableSite *site, const Value *target)
{
    bool proven = table_is_proven(finder->ctx->image, finder->fn, target);
    if (site->spoilt || (proven && site->proven && same_claim(&site->value, target)))
        return false;
    if (!proven) {
        bool spoilt = site->proven;
        site->spoilt = spoilt;
        site->proven = false;
        if (!spoilt)
            site->value = *target; /* of a spoilt one the table is kept, as a suspicion */
        return spoilt;
    }
    site->value = *target;
    site->proven = true;
    return true;
}

static bool analyse(Finder *finder, World world)
{
    Func *fn = finder->fn;
    uint32_t n;
    const ValueJump *jumps = values_run(finder->ctx->scratch, fn, find_unknown(finder, world), &n);
    bool changed = false;
    for (uint32_t i = 0; i < n; i++) {
        const Insn *jump = block_last(func_block(fn, jumps[i].block));
        changed |= update_site(finder, site_at(finder, jump->addr), &jumps[i].target);
    }
    return changed;
}

/* --- the tables of a function ------------------------------------------------------------------
 */

static int32_t find_table(const Func *fn, const Value *value)
{
    for (uint32_t i = 0; i < fn->n_tables; i++) {
        const Table *table = &fn->tables[i];
        bool form = (table->form == TABLE_REL32) == (value->kind == VALUE_TARGET);
        if (form && table->addr.v == value->addr &&
            (table->form == TABLE_ABS64 || table->base.v == value->base))
            return (int32_t)i;
    }
    return -1;
}

static int32_t take_table(Finder *finder, const Value *value)
{
    Func *fn = finder->fn;
    int32_t index = find_table(fn, value);
    if (index < 0) {
        fn->tables = arena_grow(fn->arena, fn->tables, &finder->cap_tables,
                                (size_t)fn->n_tables + 1, sizeof fn->tables[0]);
        index = (int32_t)fn->n_tables++;
        fn->tables[index] = (Table){ .addr = vaddr(value->addr), .fallback = VADDR_NONE };
    }
    table_read(finder->ctx->image, fn->arena, value, &fn->tables[index]);
    return index;
}

static void set_tables(Finder *finder)
{
    Func *fn = finder->fn;
    fn->n_tables = 0;
    for (uint32_t i = 0; i < fn->n_blocks; i++)
        fn->blocks[i].table = -1;
    for (uint32_t i = 0; i < finder->n_sites; i++) {
        TableSite *site = &finder->sites[i];
        BlockId id = func_block_over(fn, site->addr);
        if (NEVER(!is_block(id)) || (!site->proven && !site->spoilt))
            continue;
        int32_t index = take_table(finder, &site->value);
        if (!site->proven)
            continue;
        fn->tables[index].n_sites++;
        func_block(fn, id)->table = index;
    }
    for (uint32_t i = 0; i < fn->n_tables; i++)
        fn->tables[i].is_goto = fn->tables[i].n_sites > 1;
}

/* Graph and tables in turns, in one world. */
static Status settle(Finder *finder, World world, PassStats *stats, Error *err)
{
    Func *fn = finder->fn;
    for (int round = 0; round < ROUNDS_MAX; round++) {
        if (!analyse(finder, world))
            return ST_OK;
        set_tables(finder);
        TRY(build_cfg(finder->ctx, fn, stats, err));
        if (fn->refused != 0)
            return ST_OK;
    }
    return refuse(fn, REFUSED_TABLE_BOUND, "no end after %d rounds", ROUNDS_MAX);
}

/* --- jumps that stay open ----------------------------------------------------------------------
 */

bool tables_forms_inside(const Func *fn)
{
    for (uint32_t i = 0; i < fn->n_blocks; i++)
        if ((fn->blocks[i].facts & BLOCK_ESCAPES) != 0 &&
            !vaddr_equal(fn->blocks[i].start, fn->entry))
            return true;
    return false;
}

static bool is_plain(const Value *value)
{
    if (value->kind == VALUE_NUM)
        return value->plain;
    return value->kind == VALUE_CONST || (value->kind == VALUE_ENTRY && value->entry_size == 8);
}

/* What the jumps without a table mean for the rest of the function. */
static World judge_open_jumps(Finder *finder)
{
    Func *fn = finder->fn;
    World world = WORLD_CLOSED;
    bool inside = tables_forms_inside(fn);
    fn->open_jump = false;
    fn->open_any = false;
    for (uint32_t i = 0; i < finder->n_sites; i++) {
        const TableSite *site = &finder->sites[i];
        if (site->proven)
            continue;
        world = WORLD_OBSERVED;
        if (is_plain(&site->value) && !inside)
            continue; /* nowhere to go inside: it leaves the function */
        fn->open_jump = true;
        fn->open_any |= !is_plain(&site->value);
    }
    if (fn->open_jump)
        world = fn->open_any ? WORLD_ANY : WORLD_FORMED;
    return world;
}

/* Jumps in code that the analysis never reached stay open as well. */
static void judge_unreached(Finder *finder)
{
    const Func *fn = finder->fn;
    for (uint32_t i = 0; i < fn->n_blocks; i++) {
        const Insn *last = block_last(&fn->blocks[i]);
        if (last->flow == FLOW_JUMP_IND)
            site_at(finder, last->addr);
    }
}

static void count_tables(Finder *finder)
{
    PlanStats *stats = finder->ctx->stats;
    const Func *fn = finder->fn;
    for (uint32_t i = 0; i < finder->n_sites; i++) {
        const TableSite *site = &finder->sites[i];
        if (site->proven)
            continue;
        if (site->value.kind == VALUE_NUM && is_plain(&site->value)) {
            if (fn->open_jump)
                stats->tables_escaping++;
            continue;
        }
        stats->refused[REFUSED_TABLE_BOUND]++;
        stats->refused_insns[REFUSED_TABLE_BOUND] +=
            profile_count_at(finder->ctx->counts, site->addr);
    }
}

/* Suspicions have done their work: only proven tables stay. */
static void drop_suspects(Func *fn)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < fn->n_tables; i++) {
        if (fn->tables[i].n_sites == 0)
            continue;
        for (uint32_t j = 0; j < fn->n_blocks; j++)
            if (fn->blocks[j].table == (int32_t)i)
                fn->blocks[j].table = (int32_t)n;
        fn->tables[n++] = fn->tables[i];
    }
    fn->n_tables = n;
}

Status find_tables(Context *ctx, Func *fn, PassStats *stats, Error *err)
{
    Finder finder = { .ctx = ctx, .fn = fn };
    if (!has_indirect_jump(fn))
        return ST_OK;
    World world = WORLD_CLOSED;
    World next = WORLD_CLOSED;
    do {
        world = next;
        TRY(settle(&finder, world, stats, err));
        if (fn->refused != 0)
            return ST_OK;
        judge_unreached(&finder);
        next = judge_open_jumps(&finder);
    } while (next > world);
    drop_suspects(fn);
    tables_set_fallbacks(fn);
    count_tables(&finder);
    stats->changed += fn->n_tables;
    return ST_OK;
}
