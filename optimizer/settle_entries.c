/*
 * settle_entries.c: entries that are better left as they are.
 *
 *     pointer ──► f:  jmp f.hot ──► f.hot: …  ret         1 + new jumps a call
 *     pointer ──► f:  …  ret                              old jumps a call
 *
 * A function that is entered through pointers pays a jump at its patched entry each time. Where the
 * original code takes no more jumps a call than the copy and that jump together, the entry stays
 * unpatched: pointers run the original, direct calls the copy. Calls that the
 * original makes to patched entries count as jumps of the original. A copy that then nobody enters
 * is left out. Law 4 holds, since code without a cycle (cold paths included) cannot be stranded; so
 * the joins of such a function need no patch either, which the original's way through them would
 * pay.
 *
 * Not with --hot=all-executed, which wants every path into the overlay to be used.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/bind_plt.h"

/* The entry's address that a call or jump to `to` arrives at, stubs of own functions included. */
static bool is_patched_entry(const Plan *plan, Vaddr to)
{
    const Bind *bind = plan_bind_at(plan, to);
    if (bind != NULL)
        to = plan->program->funcs[bind->fn.i].entry;
    return plan_patch_at(plan, to) != NULL;
}

/* Executions of calls and jumps of the original's code to patched entries. */
static uint64_t bounces_of_original(const Plan *plan, const Func *fn)
{
    uint64_t bounces = 0;
    for (uint32_t i = 0; i < fn->n_blocks; i++) {
        const Block *block = &fn->blocks[i];
        for (uint32_t k = 0; k < block->n_insns; k++) {
            const Insn *insn = &block->insns[k];
            bool leaves = insn->flow == FLOW_CALL || insn->flow == FLOW_JUMP;
            if (leaves && is_patched_entry(plan, insn->ref_to))
                bounces += block->count;
        }
    }
    return bounces;
}

/* Executions that come into a loop at a patched head: they pay the jump there. */
static uint64_t entries_of_loops(const Func *fn)
{
    uint64_t entries = 0;
    for (uint32_t i = 0; i < fn->n_blocks; i++) {
        const Block *block = &fn->blocks[i];
        for (uint32_t s = 0; s < block->n_succ && !is_block(block->copy_of); s++) {
            BlockId to = block->succ[s].to;
            if (is_block(to) && to.i > i && (func_block(fn, to)->facts & BLOCK_HEAD) != 0)
                entries += block->succ[s].count;
        }
    }
    return entries;
}

/* True when calls through the original cost no more jumps than calls through the patch. */
static bool original_is_as_good(const Context *ctx, const Plan *plan, const Func *fn)
{
    uint64_t calls = profile_count_at(ctx->counts, fn->entry);
    uint64_t before =
        func_taken_in_original(fn) + bounces_of_original(plan, fn) + entries_of_loops(fn);
    uint64_t after = func_taken_in_layout(fn);
    return fn->cut && calls > 0 && before <= after + calls;
}

/* Leaves the function the patches that cut its loops, if any. */
static void drop_patches(Plan *plan, const Func *fn, bool all)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < plan->n_patches; i++) {
        const Patch *patch = &plan->patches[i];
        bool head = patch->fn.i == fn->id.i && (func_block(fn, patch->to)->facts & BLOCK_HEAD) != 0;
        if (patch->fn.i != fn->id.i || (head && !all))
            plan->patches[kept++] = *patch;
    }
    plan->n_patches = kept;
}

void settle_entries(Context *ctx, Plan *plan)
{
    if (ctx->options->hot == HOT_ALL_EXECUTED)
        return;
    for (uint32_t i = 0; i < plan->program->n_funcs; i++) {
        Func *fn = &plan->program->funcs[i];
        const Patch *patch = fn->n_layout > 0 ? plan_patch_at(plan, fn->entry) : NULL;
        if (patch == NULL || patch->count == 0 || !original_is_as_good(ctx, plan, fn))
            continue;
        bool entered_directly = patch->count < profile_count_at(ctx->counts, fn->entry);
        plan->stats.entries_left++;
        plan->stats.entries_left_calls += patch->count;
        bool has_loop = entries_of_loops(fn) > 0;
        drop_patches(plan, fn, !entered_directly && !has_loop);
        if (!entered_directly && !has_loop)
            fn->n_layout = fn->n_cold = 0;
    }
}
