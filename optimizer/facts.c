/*
 * facts.c: one checker per fact that a pass may claim.
 *
 * A checker reads the function only, trusts nothing, and names the first block that does not fit.
 * tests/unit/test_facts.c breaks each fact on purpose and expects to be told.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/passes.h"

static Place at_block(const Context *ctx, const Func *fn, const Block *block)
{
    return (Place){ ctx->image != NULL ? ctx->image->path : NULL, fn->name, block->start.v };
}

#define BROKEN(ctx, fn, block, ...) FAIL(err, ST_BUG, at_block((ctx), (fn), (block)), __VA_ARGS__)

static bool is_placed(const Block *block)
{
    return (block->facts & (BLOCK_HOT | BLOCK_COLD_COPY)) != 0;
}

static Status check_extents(const Context *ctx, const Func *fn, Error *err)
{
    const Block none = { .start = fn->entry };
    if (fn->n_extents == 0 || fn->entry.v < fn->extents[0].start.v ||
        fn->entry.v >= fn->extents[0].end.v)
        return BROKEN(ctx, fn, &none, "the first extent does not hold the entry");
    for (uint32_t i = 0; i < fn->n_extents; i++) {
        if (fn->extents[i].start.v >= fn->extents[i].end.v)
            return BROKEN(ctx, fn, &none, "extent %" PRIu32 " is empty", i);
    }
    return ST_OK;
}

/* How many successors of each kind the last instruction asks for; `calls` and the like fall. */
static bool successors_fit(const Block *block)
{
    uint32_t n[3] = { 0 };
    for (uint32_t i = 0; i < block->n_succ; i++) {
        if (block->succ[i].kind > SUCC_TABLE)
            return false;
        n[block->succ[i].kind]++;
    }
    const Insn *last = block_last(block);
    uint8_t flow = last != NULL ? last->flow : FLOW_NEXT;
    if ((block->facts & BLOCK_STOPS) != 0)
        return n[SUCC_TAKEN] == 0 && n[SUCC_TABLE] == 0;
    switch (flow) {
    case FLOW_COND:
    case FLOW_LOOP:
    case FLOW_XBEGIN:
        return n[SUCC_TAKEN] == 1 && n[SUCC_FALL] == 1 && n[SUCC_TABLE] == 0;
    case FLOW_JUMP:
        return n[SUCC_TAKEN] == 1 && n[SUCC_FALL] == 0 && n[SUCC_TABLE] == 0;
    case FLOW_JUMP_IND:
        return n[SUCC_TAKEN] == 0 && n[SUCC_FALL] == 0;
    case FLOW_RET:
    case FLOW_STOP:
        return block->n_succ == 0;
    default:
        return n[SUCC_TAKEN] == 0 && n[SUCC_FALL] <= 1 && n[SUCC_TABLE] == 0;
    }
}

static Status check_block(const Context *ctx, const Func *fn, const Block *block, Error *err)
{
    uint32_t at = (uint32_t)(block - fn->blocks);
    if (block->id.i != at)
        return BROKEN(ctx, fn, block, "block %" PRIu32 " has id %" PRIu32, at, block->id.i);
    if (is_block(block->copy_of) && block->copy_of.i >= at)
        return BROKEN(ctx, fn, block, "block %" PRIu32 " is a copy of a later one", at);
    if (!successors_fit(block))
        return BROKEN(ctx, fn, block, "successors do not fit the last instruction");
    for (uint32_t i = 0; i < block->n_succ; i++) {
        const Succ *succ = &block->succ[i];
        if (!is_block(succ->to))
            continue;
        if (succ->to.i >= fn->n_blocks)
            return BROKEN(ctx, fn, block, "successor %" PRIu32 " of %" PRIu32 " blocks", succ->to.i,
                          fn->n_blocks);
        if (!vaddr_equal(func_block(fn, succ->to)->start, succ->addr))
            return BROKEN(ctx, fn, block, "successor at 0x%" PRIx64 ", said to be at 0x%" PRIx64,
                          func_block(fn, succ->to)->start.v, succ->addr.v);
    }
    for (uint32_t i = 0; i + 1 < block->n_insns; i++) {
        uint8_t flow = block->insns[i].flow;
        if (flow == FLOW_JUMP || flow == FLOW_COND || flow == FLOW_JUMP_IND || flow == FLOW_RET ||
            flow == FLOW_LOOP)
            return BROKEN(ctx, fn, block, "a branch in the middle, instruction %" PRIu32, i);
    }
    return ST_OK;
}

static Status check_cfg(const Context *ctx, const Func *fn, Error *err)
{
    uint64_t end = 0;
    for (uint32_t i = 0; i < fn->n_blocks; i++) {
        const Block *block = &fn->blocks[i];
        TRY(check_block(ctx, fn, block, err));
        if (is_block(block->copy_of) || vaddr_is_none(block->start))
            continue;
        if (block->start.v < end)
            return BROKEN(ctx, fn, block, "overlaps the block before it, which ends at 0x%" PRIx64,
                          end);
        end = block->start.v + block->size;
    }
    return ST_OK;
}

static Status check_tables(const Context *ctx, const Func *fn, Error *err)
{
    for (uint32_t i = 0; i < fn->n_blocks; i++) {
        const Block *block = &fn->blocks[i];
        const Insn *last = block_last(block);
        bool indirect = last != NULL && last->flow == FLOW_JUMP_IND;
        if (block->table >= (int32_t)fn->n_tables)
            return BROKEN(ctx, fn, block, "table %" PRId32 " of %" PRIu32, block->table,
                          fn->n_tables);
        if (block->table >= 0 && !indirect)
            return BROKEN(ctx, fn, block, "has a table and no indirect jump");
        if (indirect && block->table < 0 && !fn->open_jump && tables_forms_inside(fn))
            return BROKEN(ctx, fn, block, "an indirect jump without a table in a closed function");
    }
    return ST_OK;
}

/* Out-flow of every block, and the sum over a block and its copies. */
static Status check_counts(const Context *ctx, const Func *fn, Error *err)
{
    uint64_t *sums = arena_many(ctx->scratch, uint64_t, fn->n_blocks);
    for (uint32_t i = 0; i < fn->n_blocks; i++) {
        const Block *block = &fn->blocks[i];
        uint64_t out = 0;
        uint32_t root = i;
        while (is_block(fn->blocks[root].copy_of))
            root = fn->blocks[root].copy_of.i;
        sums[root] += block->count;
        for (uint32_t s = 0; s < block->n_succ; s++)
            out += block->succ[s].count;
        const Insn *last = block_last(block);
        bool two_way = last != NULL && (last->flow == FLOW_COND || last->flow == FLOW_JUMP);
        if (two_way && out != block->end_count)
            return BROKEN(ctx, fn, block, "%" PRIu64 " leave a block that ends %" PRIu64 " times",
                          out, block->end_count);
    }
    for (uint32_t i = 0; i < fn->n_blocks && ctx->counts != NULL; i++) {
        const Block *block = &fn->blocks[i];
        if (is_block(block->copy_of) || vaddr_is_none(block->start))
            continue;
        uint64_t want = profile_count_at(ctx->counts, block->start);
        if (sums[i] != want)
            return BROKEN(ctx, fn, block, "count %" PRIu64 " with its copies, %" PRIu64 " executed",
                          sums[i], want);
    }
    return ST_OK;
}

static Status check_placed(const Context *ctx, const Func *fn, Error *err)
{
    for (uint32_t i = 0; i < fn->n_blocks; i++) {
        const Block *block = &fn->blocks[i];
        bool root = (block->facts & BLOCK_ROOT) != 0;
        if (root && (!is_placed(block) || is_block(block->copy_of)))
            return BROKEN(ctx, fn, block, "a root that is not placed, or a copy");
        if (is_placed(block) && block->n_insns == 0)
            return BROKEN(ctx, fn, block, "placed, and has no instruction");
        if (!is_placed(block) && is_block(block->copy_of))
            return BROKEN(ctx, fn, block, "a copy that is not placed");
        for (uint32_t s = 0; s < block->n_succ && !is_placed(block); s++) {
            BlockId to = block->succ[s].to;
            if (is_block(to) && is_placed(func_block(fn, to)) &&
                (func_block(fn, to)->facts & BLOCK_ROOT) == 0)
                return BROKEN(ctx, fn, func_block(fn, to),
                              "entered from original code at 0x%" PRIx64 " and no root",
                              block->start.v);
        }
    }
    return ST_OK;
}

static Status check_layout(const Context *ctx, const Func *fn, Error *err)
{
    uint32_t placed = 0;
    bool *seen = arena_many(ctx->scratch, bool, fn->n_blocks);
    const Block none = { .start = fn->entry };
    for (uint32_t i = 0; i < fn->n_blocks; i++)
        placed += is_placed(&fn->blocks[i]) ? 1 : 0;
    if (fn->n_layout != placed || fn->n_cold > fn->n_layout)
        return BROKEN(ctx, fn, &none,
                      "layout of %" PRIu32 " blocks (%" PRIu32 " cold), %" PRIu32 " placed",
                      fn->n_layout, fn->n_cold, placed);
    for (uint32_t i = 0; i < fn->n_layout; i++) {
        uint32_t at = fn->layout[i].i;
        if (at >= fn->n_blocks || seen[at] || !is_placed(&fn->blocks[at]))
            return BROKEN(ctx, fn, &none,
                          "block %" PRIu32 " at %" PRIu32
                          " of the layout: unknown, twice, or not placed",
                          at, i);
        seen[at] = true;
    }
    return ST_OK;
}

Status verify_facts(const Context *ctx, const Func *fn, Facts have, Error *err)
{
    static const struct {
        Facts fact;
        Status (*check)(const Context *ctx, const Func *fn, Error *err);
    } checkers[] = {
        { FACT_CODE, check_extents },  { FACT_CFG, check_cfg },       { FACT_TABLES, check_tables },
        { FACT_COUNTS, check_counts }, { FACT_PLACED, check_placed }, { FACT_LAYOUT, check_layout },
    };
    for (size_t i = 0; i < sizeof checkers / sizeof *checkers; i++) {
        if ((have & checkers[i].fact) != 0)
            TRY(checkers[i].check(ctx, fn, err));
    }
    return ST_OK;
}
