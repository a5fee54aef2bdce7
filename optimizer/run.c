/*
 * run.c: runs the table of passes over one function and holds every pass to its row.
 *
 *     facts have = { CODE }
 *     for each pass:  needs ⊆ have?  run  have = (have | gives) - breaks  verify  dump
 *
 * A refused function ends here: it is counted, its layout is emptied, and its original bytes stay.
 * Passes work in an arena of the function's own; what the plan needs of a placed function is copied
 * out of it at the end (libLLVM: 2.9 GB without that, most of it cold code and earlier states).
 *
 * `--stop-after` leaves the remaining passes out; a function that is placed but has no order yet
 * keeps the original order, so every prefix of the table makes a working output.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/passes.h"

#include <string.h>

static bool is_placed(const Block *block)
{
    return (block->facts & (BLOCK_HOT | BLOCK_COLD_COPY)) != 0;
}

/* Original order: hot blocks, then copied cold ones. */
static void layout_as_original(Func *fn)
{
    fn->layout = arena_many(fn->arena, BlockId, fn->n_blocks);
    fn->n_layout = fn->n_cold = 0;
    for (int cold = 0; cold < 2; cold++) {
        for (uint32_t i = 0; i < fn->n_blocks; i++) {
            const Block *block = &fn->blocks[i];
            bool is_cold = (block->facts & BLOCK_HOT) == 0;
            if (!is_placed(block) || is_cold != (cold == 1))
                continue;
            fn->layout[fn->n_layout++] = block->id;
            fn->n_cold += is_cold ? 1 : 0;
        }
    }
}

static void dump(const Context *ctx, const Func *fn, const Pass *pass, const PassStats *stats)
{
    const OptimizeOptions *options = ctx->options;
    if (options->dump == NULL || strcmp(options->dump, pass->name) != 0)
        return;
    Buffer text = { .arena = ctx->scratch };
    func_write_text(fn, &text);
    buffer_u8(&text, 0);
    log_print(&options->log, LOG_NOTE,
              "after %s (changed %" PRIu64 ", bytes +%" PRIu64 " -%" PRIu64 "):\n%s", pass->name,
              stats->changed, stats->bytes_added, stats->bytes_saved, (const char *)text.data);
}

/* Copies the function out of the passes' arena: all blocks, instructions of placed ones only. */
static void keep(Arena *arena, Func *fn)
{
    fn->arena = arena;
    fn->blocks = arena_copy(arena, fn->blocks, fn->n_blocks * sizeof *fn->blocks);
    fn->cap_blocks = fn->n_blocks;
    for (uint32_t i = 0; i < fn->n_blocks; i++) {
        Block *block = &fn->blocks[i];
        if (!is_placed(block))
            block->n_insns = block->n_succ = 0;
        block->insns = arena_copy(arena, block->insns, block->n_insns * sizeof *block->insns);
        block->cap_insns = block->n_insns;
        block->succ = arena_copy(arena, block->succ, block->n_succ * sizeof *block->succ);
    }
    fn->tables = arena_copy(arena, fn->tables, fn->n_tables * sizeof *fn->tables);
    for (uint32_t i = 0; i < fn->n_tables; i++) {
        Table *table = &fn->tables[i];
        if (!table->clone)
            table->n = 0;
        table->entries = arena_copy(arena, table->entries, table->n * sizeof *table->entries);
    }
    fn->layout = arena_copy(arena, fn->layout, fn->n_layout * sizeof *fn->layout);
}

static void drop(Context *ctx, Func *fn)
{
    fn->arena = ctx->arena;
    fn->n_layout = fn->n_cold = fn->n_blocks = fn->n_tables = 0;
    fn->why = fn->why != NULL ? arena_string(ctx->arena, fn->why) : NULL;
    ctx->stats->refused[fn->refused]++;
    ctx->stats->refused_insns[fn->refused] += fn->count;
    log_print(&ctx->options->log, LOG_INFO, "0x%" PRIx64 " %s: refused: %s: %s", fn->entry.v,
              fn->name != NULL ? fn->name : "", refusal_rows[fn->refused].name,
              fn->why != NULL ? fn->why : refusal_rows[fn->refused].sentence);
}

static Status run_pass(Context *ctx, Func *fn, const Pass *pass, Facts *have, Error *err)
{
    PassStats stats = { 0 };
    if ((pass->needs & ~*have) != 0)
        return FAIL(err, ST_BUG, NOWHERE, "%s needs facts 0x%" PRIx32, pass->name,
                    pass->needs & ~*have);
    TRY(pass->run(ctx, fn, &stats, err));
    if (fn->refused != REFUSED_NOT)
        return ST_OK;
    *have = (*have | pass->gives) & ~(pass->breaks & ~pass->gives);
    TRY(verify_facts(ctx, fn, *have, err));
    dump(ctx, fn, pass, &stats);
    return ST_OK;
}

Status run_pipeline(Context *ctx, Func *fn, Error *err)
{
    Facts have = FACT_CODE;
    Arena *trial = arena_new();
    Status status = ST_OK;
    fn->arena = trial;
    const char *stop_after = ctx->options->stop_after;
    for (size_t i = 0; i < n_pipeline && fn->refused == REFUSED_NOT && status == ST_OK; i++) {
        status = run_pass(ctx, fn, &pipeline[i], &have, err);
        arena_reset(ctx->scratch);
        if (stop_after != NULL && strcmp(stop_after, pipeline[i].name) == 0)
            break;
    }
    if (status == ST_OK && fn->refused == REFUSED_NOT && (have & FACT_PLACED) != 0 &&
        (have & FACT_LAYOUT) == 0)
        layout_as_original(fn);
    if (status == ST_OK && fn->refused == REFUSED_NOT)
        keep(ctx->arena, fn);
    else
        drop(ctx, fn);
    arena_free(trial);
    return status;
}
