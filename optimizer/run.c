/*
 * run.c: runs the table of passes over one function and holds every pass to its row.
 *
 *     facts have = { CODE }
 *     for each pass:  needs ⊆ have?  run  have = (have | gives) - breaks  verify  dump
 *
 * A refused function ends here: it is counted, its layout is emptied, and its original bytes stay.
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

static void drop(Context *ctx, Func *fn)
{
    fn->n_layout = fn->n_cold = 0;
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
    const char *stop_after = ctx->options->stop_after;
    for (size_t i = 0; i < n_pipeline && fn->refused == REFUSED_NOT; i++) {
        Status status = run_pass(ctx, fn, &pipeline[i], &have, err);
        arena_reset(ctx->scratch);
        TRY(status);
        if (stop_after != NULL && strcmp(stop_after, pipeline[i].name) == 0)
            break;
    }
    if (fn->refused != REFUSED_NOT)
        drop(ctx, fn);
    else if ((have & FACT_PLACED) != 0 && (have & FACT_LAYOUT) == 0)
        layout_as_original(fn);
    return ST_OK;
}
