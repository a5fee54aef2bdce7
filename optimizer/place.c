/*
 * place.c: which blocks get a copy in the overlay, and where original code jumps over to it.
 *
 *     original                      overlay
 *     entry  ── patch ───────────►  entry
 *     hot      (never runs now)     hot ──┐ side exit
 *     cold  ◄─────────────────────────────┘
 *     join   ── patch ───────────►  join
 *
 * Every block executed at least `place_count` times is placed. A placed block that original code
 * may enter gets a patch where law 1 proves one. Where none is proven, original code runs on
 * through that block, and what follows it is entered in turn and patched instead: so execution
 * leaves the original within a few instructions. Only a cycle without any patch could hold it there
 * (law 4): then the cold blocks that lead to the cycle are copied too, within a budget; what still
 * remains is counted.
 *
 * A site may overwrite the beginning of the next blocks; those are placed as well, since no side
 * exit may lead there. Needs CFG, COUNTS and TABLES; gives PLACED; refuses what never ran.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/cycles.h"
#include "optimizer/patch_sites.h"

enum {
    COPY_BUDGET = 2048, /* bytes of cold code copied against stranding, or the hot bytes if more */
    COPY_ROUNDS = 3,
};

enum BlockState {
    STATE_ENTERED = 1u << 0, /* original code may arrive at it */
    STATE_PATCHED = 1u << 1,
    STATE_UNSAFE = 1u << 2, /* no site is proven */
};

typedef struct Placer {
    Context *ctx;
    Func *fn;
    bool every_start;
    uint8_t *state; /* BlockState, by block */
    PatchSite *sites;
    uint32_t *work;
    uint32_t n_work;
    uint32_t refused[REFUSED_COUNT];
} Placer;

static const uint32_t entered_facts =
    BLOCK_ENTRY | BLOCK_LANDING_PAD | BLOCK_TABLE | BLOCK_ESCAPES | BLOCK_OBSERVED;

static bool is_placed(const Block *block)
{
    return (block->facts & (BLOCK_HOT | BLOCK_COLD_COPY)) != 0;
}

static void enter(Placer *placer, BlockId id)
{
    if (!is_block(id) || !is_placed(func_block(placer->fn, id)) ||
        (placer->state[id.i] & STATE_ENTERED) != 0)
        return;
    placer->state[id.i] |= STATE_ENTERED;
    placer->work[placer->n_work++] = id.i;
}

static void enter_successors(Placer *placer, const Block *block)
{
    for (uint32_t i = 0; i < block->n_succ; i++)
        enter(placer, block->succ[i].to);
}

static bool find_site(Placer *placer, const Block *block)
{
    Refusal why;
    const OptimizeOptions *options = placer->ctx->options;
    if (options->no_patch_joins && (block->facts & BLOCK_ENTRY) == 0)
        return false;
    if (patch_site_find(placer->ctx->proof, placer->fn, block->id, placer->every_start,
                        &placer->sites[block->id.i], &why))
        return true;
    placer->refused[why]++;
    return false;
}

/* Patches an entered block, or lets original code run on through it. */
static void handle_entered(Placer *placer, uint32_t number)
{
    const Block *block = &placer->fn->blocks[number];
    if (!find_site(placer, block)) {
        placer->state[number] |= STATE_UNSAFE;
        enter_successors(placer, block);
        return;
    }
    placer->state[number] |= STATE_PATCHED;
    const PatchSite *site = &placer->sites[number];
    for (uint32_t i = 0; i < site->n_over; i++) {
        Block *over = func_block(placer->fn, site->over[i]);
        if (!is_placed(over))
            over->facts |= BLOCK_COLD_COPY;
    }
}

/* Finds all placed blocks that original code may enter, and patches them as far as proven. */
static void find_entered(Placer *placer)
{
    Func *fn = placer->fn;
    for (int i = 0; i < REFUSED_COUNT; i++)
        placer->refused[i] = 0;
    for (uint32_t i = 0; i < fn->n_blocks; i++)
        placer->state[i] = 0;
    for (uint32_t i = 0; i < fn->n_blocks; i++) {
        const Block *block = &fn->blocks[i];
        if (!is_placed(block))
            enter_successors(placer, block);
        else if ((block->facts & entered_facts) != 0)
            enter(placer, block->id);
    }
    while (placer->n_work > 0)
        handle_entered(placer, placer->work[--placer->n_work]);
}

/* Marks the cycles of original code that hold a placed block. False: there are none. */
static bool find_stranded(const Placer *placer, bool *stranded)
{
    const Func *fn = placer->fn;
    Arena *scratch = placer->ctx->scratch;
    bool *runs = arena_many(scratch, bool, fn->n_blocks);
    bool *bad = arena_many(scratch, bool, fn->n_blocks);
    bool any = false;
    for (uint32_t i = 0; i < fn->n_blocks; i++)
        runs[i] = !is_placed(&fn->blocks[i]) || (placer->state[i] & STATE_UNSAFE) != 0;
    const uint32_t *part = find_cycles(scratch, fn, runs);
    for (uint32_t i = 0; i < fn->n_blocks; i++) {
        if (part[i] != NO_CYCLE && (fn->blocks[i].facts & BLOCK_HOT) != 0)
            bad[part[i]] = any = true;
    }
    for (uint32_t i = 0; i < fn->n_blocks; i++)
        stranded[i] = part[i] != NO_CYCLE && bad[part[i]];
    return any;
}

/* All blocks that run as original code and lead to a stranded cycle. */
static void mark_leading(const Placer *placer, bool *leading)
{
    const Func *fn = placer->fn;
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = fn->n_blocks; i-- > 0;) {
            const Block *block = &fn->blocks[i];
            if (leading[i] || (is_placed(block) && (placer->state[i] & STATE_UNSAFE) == 0))
                continue;
            for (uint32_t s = 0; s < block->n_succ && !leading[i]; s++)
                leading[i] = is_block(block->succ[s].to) && leading[block->succ[s].to.i];
            changed |= leading[i];
        }
    }
}

/* Copies the cold blocks that lead to stranded cycles. False: none, or more than the budget. */
static bool copy_leading(Placer *placer, const bool *leading)
{
    Func *fn = placer->fn;
    uint64_t hot = 0, cold = 0;
    for (uint32_t i = 0; i < fn->n_blocks; i++) {
        if (is_placed(&fn->blocks[i]))
            hot += fn->blocks[i].size;
        else if (leading[i])
            cold += fn->blocks[i].size;
    }
    if (cold == 0 || cold > (hot > COPY_BUDGET ? hot : COPY_BUDGET))
        return false;
    for (uint32_t i = 0; i < fn->n_blocks; i++) {
        if (leading[i] && !is_placed(&fn->blocks[i]))
            fn->blocks[i].facts |= BLOCK_COLD_COPY;
    }
    return true;
}

static void avoid_stranding(Placer *placer)
{
    const Func *fn = placer->fn;
    bool *stranded = arena_many(placer->ctx->scratch, bool, fn->n_blocks);
    for (int round = 0; find_stranded(placer, stranded); round++) {
        bool *leading = arena_copy(placer->ctx->scratch, stranded, fn->n_blocks * sizeof(bool));
        mark_leading(placer, leading);
        if (round == COPY_ROUNDS || !copy_leading(placer, leading)) {
            placer->ctx->stats->funcs_stranded++;
            return;
        }
        find_entered(placer);
    }
}

/* Patches a block to which a loop comes back; false: no site is proven. */
static bool patch_head(Placer *placer, Block *head)
{
    uint32_t number = head->id.i;
    const PatchSite *site = &placer->sites[number];
    if (!is_placed(head))
        return false;
    if ((placer->state[number] & STATE_PATCHED) == 0 && !find_site(placer, head))
        return false;
    for (uint32_t i = 0; i < site->n_over; i++) {
        if (!is_placed(func_block(placer->fn, site->over[i])))
            return false;
    }
    placer->state[number] |= STATE_PATCHED | STATE_ENTERED;
    head->facts |= BLOCK_HEAD;
    return true;
}

/* Patches where loops with hot blocks come back (a cycle has an edge that does not lead forward),
 * so that the entry may do without a patch. False: a loop stays, or a jump leads nobody knows
 * where. */
static bool cut_cycles(Placer *placer)
{
    const Func *fn = placer->fn;
    bool *all = arena_many(placer->ctx->scratch, bool, fn->n_blocks);
    bool *hot = arena_many(placer->ctx->scratch, bool, fn->n_blocks);
    bool cut = !fn->open_jump && !fn->has_calls_to_self;
    for (uint32_t i = 0; i < fn->n_blocks; i++)
        all[i] = true;
    const uint32_t *part = find_cycles(placer->ctx->scratch, fn, all);
    for (uint32_t i = 0; i < fn->n_blocks; i++) {
        if (part[i] != NO_CYCLE && (fn->blocks[i].facts & BLOCK_HOT) != 0)
            hot[part[i]] = true;
    }
    for (uint32_t i = 0; i < fn->n_blocks && cut; i++) {
        const Block *block = &fn->blocks[i];
        if (part[i] == NO_CYCLE || !hot[part[i]])
            continue;
        for (uint32_t s = 0; s < block->n_succ && cut; s++) {
            BlockId to = block->succ[s].to;
            if (is_block(to) && to.i <= i && part[to.i] == part[i])
                cut = patch_head(placer, func_block(fn, to));
        }
    }
    return cut;
}

static void add_patch(Context *ctx, const Func *fn, const Block *block, const PatchSite *site)
{
    const uint32_t labels = BLOCK_TABLE | BLOCK_ESCAPES | BLOCK_OBSERVED;
    PatchKind kind = (block->facts & BLOCK_ENTRY) != 0 ? PATCH_ENTRY
                     : (block->facts & labels) != 0    ? PATCH_LABEL
                                                       : PATCH_JOIN;
    ctx->patches = arena_grow(ctx->arena, ctx->patches, &ctx->cap_patches, ctx->n_patches + 1,
                              sizeof *ctx->patches);
    ctx->patches[ctx->n_patches++] = (Patch){ .site = site->addr,
                                              .size = site->size,
                                              .fn = fn->id,
                                              .to = block->id,
                                              .to_insn = site->to_insn,
                                              .kind = (uint8_t)kind };
}

static void write_results(const Placer *placer, PassStats *stats)
{
    Func *fn = placer->fn;
    for (uint32_t i = 0; i < fn->n_blocks; i++) {
        Block *block = &fn->blocks[i];
        if (!is_placed(block))
            continue;
        stats->changed++;
        stats->bytes_added += block->size;
        if ((placer->state[i] & STATE_ENTERED) != 0)
            block->facts |= BLOCK_ROOT;
        if ((placer->state[i] & STATE_PATCHED) != 0)
            add_patch(placer->ctx, fn, block, &placer->sites[i]);
    }
    for (int i = 0; i < REFUSED_COUNT; i++)
        placer->ctx->stats->refused[i] += placer->refused[i];
}

/* True when nothing leads into the overlay, and pages that were read as data are among the reasons.
 */
static bool stays_for_readers(const Placer *placer)
{
    for (uint32_t i = 0; i < placer->fn->n_blocks; i++)
        if ((placer->state[i] & STATE_PATCHED) != 0)
            return false;
    return placer->refused[REFUSED_SITE_DATA] > 0;
}

Status place_blocks(Context *ctx, Func *fn, PassStats *stats, Error *err)
{
    (void)err;
    bool any = false;
    for (uint32_t i = 0; i < fn->n_blocks; i++) {
        Block *block = &fn->blocks[i];
        uint64_t count = block->count > block->end_count ? block->count : block->end_count;
        if (count > 0 && count >= ctx->place_count && block->n_insns > 0) {
            block->facts |= BLOCK_HOT;
            any = true;
        }
    }
    if (!any)
        return refuse(fn, REFUSED_NOT_EXECUTED, "no block is executed often enough");
    Placer placer = { .ctx = ctx,
                      .fn = fn,
                      .every_start = fn->open_any && patch_needs_every_start(fn) };
    placer.state = arena_many(ctx->scratch, uint8_t, fn->n_blocks);
    placer.sites = arena_many(ctx->scratch, PatchSite, fn->n_blocks);
    placer.work = arena_many(ctx->scratch, uint32_t, fn->n_blocks);
    patch_proof_add_func(ctx->proof, fn);
    find_entered(&placer);
    avoid_stranding(&placer);
    fn->cut = cut_cycles(&placer);
    if (stays_for_readers(&placer))
        return refuse(fn, REFUSED_TEXT_READ, "the program reads the bytes of its patch sites");
    write_results(&placer, stats);
    return ST_OK;
}
