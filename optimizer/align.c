/*
 * align.c: where hot loops and functions begin on a boundary.
 *
 *     ... jmp        end of the block before: nothing falls into the padding
 *     .p2align
 *     head: ...      align 16: reached by its own loop far more often than from above
 *           jcc head
 *
 * A head is aligned when the jumps back to it outnumber what falls into it by far, because falling
 * through padding costs issue slots each time. Cold parts are never aligned. Needs CFG, COUNTS and
 * LAYOUT; breaks nothing; never refuses.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/passes.h"

enum {
    ALIGN_LOOP = 4,     /* log2 */
    ALIGN_ENTRY = 4,    /* log2 */
    BACK_PER_FALL = 16, /* jumps back for each fall-through into the head */
};

/* Executions of edges to `head` from blocks at or after it in the layout. */
static void count_back_edges(const Func *fn, const uint32_t *position, uint32_t n_hot,
                             uint64_t *back)
{
    for (uint32_t i = 0; i < n_hot; i++) {
        const Block *block = func_block(fn, fn->layout[i]);
        for (uint32_t s = 0; s < block->n_succ; s++) {
            const Succ *succ = &block->succ[s];
            if (succ->kind == SUCC_TABLE || !is_block(succ->to) || position[succ->to.i] == 0)
                continue;
            if (position[succ->to.i] <= i + 1)
                back[succ->to.i] += succ->count;
        }
    }
}

/* Executions that fall into the block at layout position `i` from the one before it. */
static uint64_t falls_into(const Func *fn, uint32_t i)
{
    if (i == 0)
        return 0;
    const Block *before = func_block(fn, fn->layout[i - 1]);
    uint64_t count = 0;
    for (uint32_t s = 0; s < before->n_succ; s++) {
        if (before->succ[s].kind != SUCC_TABLE && same_block(before->succ[s].to, fn->layout[i]))
            count += before->succ[s].count;
    }
    return count;
}

Status align_loops(Context *ctx, Func *fn, PassStats *stats, Error *err)
{
    (void)err;
    uint32_t n_hot = fn->n_layout - fn->n_cold;
    uint32_t *position = arena_many(ctx->scratch, uint32_t, fn->n_blocks); /* from 1 */
    uint64_t *back = arena_many(ctx->scratch, uint64_t, fn->n_blocks);
    for (uint32_t i = 0; i < n_hot; i++)
        position[fn->layout[i].i] = i + 1;
    count_back_edges(fn, position, n_hot, back);
    for (uint32_t i = 0; i < n_hot; i++) {
        Block *block = func_block(fn, fn->layout[i]);
        uint64_t falls = falls_into(fn, i);
        block->align = 0;
        if (back[block->id.i] >= ctx->hot_count && back[block->id.i] / BACK_PER_FALL >= falls &&
            back[block->id.i] > 0)
            block->align = ALIGN_LOOP;
        else if ((block->facts & BLOCK_ENTRY) != 0 && falls == 0 && block->count > ctx->hot_count)
            block->align = ALIGN_ENTRY;
        stats->changed += block->align > 0 ? 1 : 0;
    }
    return ST_OK;
}
