/*
 * discover.c: which functions there are, and which bytes are theirs.
 *
 *     unwind entries  [ f ][ g ][ f.cold ][ h ]
 *     profile           x    x              .       (x: executed)
 *     functions       f = { f, f.cold }   g = { g }
 *
 * A function is an executed unwind entry. An entry that nobody calls, that only one function jumps
 * to, and that enters that function's middle or is entered in its own middle, is a fragment of it:
 * gcc's cold partition, under whatever name.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/module_refs.h"
#include "optimizer/passes.h"

#include <string.h>

enum { NOBODY = UINT32_MAX };

typedef struct Entry {
    uint64_t insns; /* executed instructions */
    uint32_t owner; /* the one entry whose code jumps into this one; NOBODY: none or several */
    bool jumped;    /* some entry's code jumps into this one */
    bool inside;    /* ...past its start */
    bool back;      /* this one's code jumps past its owner's start */
    bool entered;   /* the profile saw its start called, or jumped to indirectly */
    bool fragment;
} Entry;

/* --- what the profile says -------------------------------------------------------------------- */

static void count_entries(const Context *ctx, Entry *entries)
{
    const ProfileModule *counts = ctx->counts;
    const UnwindTable *unwind = ctx->unwind;
    uint32_t at = 0;
    for (uint32_t i = 0; i < counts->n_blocks; i++) {
        const ProfileBlock *block = &counts->blocks[i];
        while (at + 1 < unwind->n_fdes && unwind->fdes[at + 1].start.v <= block->start.v)
            at++;
        if (at < unwind->n_fdes &&
            block->start.v - unwind->fdes[at].start.v < unwind->fdes[at].size)
            entries[at].insns += block->count * block->n_insns;
    }
}

static bool enters(const ProfileEdge *edge)
{
    switch (edge->kind) {
    case EDGE_CALL:
    case EDGE_CALL_IND:
    case EDGE_JUMP_IND:
    case EDGE_RET:
        return true;
    default:
        return vaddr_is_none(edge->from);
    }
}

static void find_entered(const Context *ctx, Entry *entries)
{
    const ModuleRefs *refs = ctx->refs;
    uint32_t edge = 0;
    for (uint32_t i = 0; i < ctx->unwind->n_fdes; i++) {
        Vaddr start = ctx->unwind->fdes[i].start;
        while (edge < refs->n_inward && refs->inward[edge]->to.v < start.v)
            edge++;
        for (uint32_t j = edge; j < refs->n_inward && refs->inward[j]->to.v == start.v; j++)
            entries[i].entered |= enters(refs->inward[j]);
    }
}

/* --- fragments -------------------------------------------------------------------------------- */

static void find_owner(Entry *entry, const CrossJump *jump, const Fde *fde)
{
    entry->inside |= jump->to.v != fde->start.v;
    if (jump->call || (entry->jumped && entry->owner != jump->fde))
        entry->owner = NOBODY;
    else if (!entry->jumped)
        entry->owner = jump->fde;
    entry->jumped = true;
}

typedef void EachJump(Entry *entries, uint32_t target, const CrossJump *jump, const Fde *fde);

/* Calls `each` for all jumps that lead into an unwind entry. */
static void each_jump(const Context *ctx, Entry *entries, EachJump *each)
{
    const UnwindTable *unwind = ctx->unwind;
    uint32_t at = 0;
    for (uint32_t i = 0; i < ctx->refs->n_jumps; i++) {
        const CrossJump *jump = &ctx->refs->jumps[i];
        while (at + 1 < unwind->n_fdes && unwind->fdes[at + 1].start.v <= jump->to.v)
            at++;
        if (jump->to.v - unwind->fdes[at].start.v < unwind->fdes[at].size)
            each(entries, at, jump, &unwind->fdes[at]);
    }
}

static void note_owner(Entry *entries, uint32_t target, const CrossJump *jump, const Fde *fde)
{
    find_owner(&entries[target], jump, fde);
}

static void note_back(Entry *entries, uint32_t target, const CrossJump *jump, const Fde *fde)
{
    if (entries[jump->fde].owner == target && !jump->call && jump->to.v != fde->start.v)
        entries[jump->fde].back = true;
}

static bool is_formed(const ModuleRefs *refs, Vaddr addr)
{
    uint32_t i = module_refs_formed_from(refs, addr);
    return i < refs->n_formed && vaddr_equal(refs->formed[i], addr);
}

/* A fragment and its function jump into each other, so each may look like the other's: the function
 * is the one that is called. */
static bool looks_like_fragment(const Context *ctx, const Entry *entries, uint32_t index)
{
    const Entry *entry = &entries[index];
    return entry->owner != NOBODY && (entry->inside || entry->back) && !entry->entered &&
           !ctx->refs->called[index] && !is_formed(ctx->refs, ctx->unwind->fdes[index].start);
}

static void find_fragments(const Context *ctx, Entry *entries)
{
    for (uint32_t i = 0; i < ctx->unwind->n_fdes; i++)
        entries[i].owner = NOBODY;
    each_jump(ctx, entries, note_owner);
    each_jump(ctx, entries, note_back);
    for (uint32_t i = 0; i < ctx->unwind->n_fdes; i++) {
        const Entry *entry = &entries[i];
        if (!looks_like_fragment(ctx, entries, i))
            continue;
        bool owner_called = entries[entry->owner].entered || ctx->refs->called[entry->owner] ||
                            is_formed(ctx->refs, ctx->unwind->fdes[entry->owner].start);
        entries[i].fragment = owner_called && entry->owner != i;
    }
}

/* --- functions -------------------------------------------------------------------------------- */

static bool in_linkage_table(const Image *image, Vaddr addr)
{
    for (uint32_t i = 1; i < image->n_sections; i++) {
        const Section *section = &image->sections[i];
        if (addr.v - section->addr.v < section->size && section->addr.v != 0 &&
            strncmp(section->name, ".plt", 4) == 0)
            return true;
    }
    return false;
}

static const char *name_of(const Image *image, Vaddr entry)
{
    const Symbol *symbol = image_symbol_at(image, entry);
    return symbol != NULL && vaddr_equal(symbol->addr, entry) ? symbol->name : NULL;
}

static Extent extent_of(const UnwindTable *unwind, uint32_t index)
{
    const Fde *fde = &unwind->fdes[index];
    return (Extent){ fde->start, vaddr_add(fde->start, fde->size), index };
}

static bool overlaps_next(const UnwindTable *unwind, uint32_t index)
{
    const Fde *fde = &unwind->fdes[index];
    return index + 1 < unwind->n_fdes && fde->size > unwind->fdes[index + 1].start.v - fde->start.v;
}

static void begin_func(Context *ctx, const Entry *entry, uint32_t index)
{
    Program *program = ctx->program;
    Func *fn = &program->funcs[program->n_funcs];
    const Fde *fde = &ctx->unwind->fdes[index];
    *fn = (Func){ .id = { program->n_funcs++ },
                  .name = name_of(ctx->image, fde->start),
                  .entry = fde->start,
                  .n_extents = 1,
                  .count = entry->insns,
                  .calls = profile_count_at(ctx->counts, fde->start),
                  .arena = ctx->arena };
    fn->extents = arena_one(ctx->arena, Extent);
    fn->extents[0] = extent_of(ctx->unwind, index);
}

static void add_fragment(Context *ctx, Func *fn, const Entry *entry, uint32_t index)
{
    size_t cap = fn->n_extents;
    fn->extents =
        arena_grow(ctx->arena, fn->extents, &cap, (size_t)fn->n_extents + 1, sizeof fn->extents[0]);
    fn->extents[fn->n_extents++] = extent_of(ctx->unwind, index);
    fn->count += entry->insns;
}

static bool in_code(const Image *image, const Extent *extent)
{
    Bytes bytes;
    return image_is_code(image, extent->start) &&
           image_bytes_at(image, extent->start, extent->end.v - extent->start.v, &bytes);
}

static void refuse_odd_ones(const Context *ctx, Func *fn)
{
    Error err = { .text = "" };
    Status done = ST_OK;
    if (in_linkage_table(ctx->image, fn->entry))
        done = refuse(fn, REFUSED_PLT, "in a .plt section");
    for (uint32_t i = 0; i < fn->n_extents && fn->refused == 0; i++) {
        const Extent *extent = &fn->extents[i];
        if (overlaps_next(ctx->unwind, extent->fde))
            done = refuse(fn, REFUSED_UNWIND,
                          "the unwind entry at 0x%" PRIx64 " runs into the next", extent->start.v);
        else if (!in_code(ctx->image, extent))
            done =
                refuse(fn, REFUSED_UNWIND,
                       "the unwind entry at 0x%" PRIx64 " covers what is no code", extent->start.v);
        else if (unwind_can_carry(ctx->image, ctx->unwind, &ctx->unwind->fdes[extent->fde], &err) !=
                 ST_OK)
            done = refuse(fn, REFUSED_UNWIND, "%s", err.text);
    }
    (void)done;
}

static bool is_fragment(const Entry *entries, uint32_t index)
{
    const Entry *entry = &entries[index];
    return entry->fragment && entries[entry->owner].insns > 0 && !entries[entry->owner].fragment;
}

/* A fragment whose function was not executed is a function of its own, when it was. */
static void make_funcs(Context *ctx, const Entry *entries)
{
    uint32_t n = ctx->unwind->n_fdes;
    Program *program = ctx->program;
    uint32_t *func_of = arena_many(ctx->scratch, uint32_t, n);
    size_t n_executed = 0;
    for (uint32_t i = 0; i < n; i++)
        n_executed += entries[i].insns > 0 ? 1 : 0;
    program->funcs = arena_many(ctx->arena, Func, n_executed);
    program->n_funcs = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (entries[i].insns == 0 || is_fragment(entries, i))
            continue;
        func_of[i] = program->n_funcs;
        begin_func(ctx, &entries[i], i);
    }
    for (uint32_t i = 0; i < n; i++)
        if (is_fragment(entries, i))
            add_fragment(ctx, &program->funcs[func_of[entries[i].owner]], &entries[i], i);
    for (uint32_t i = 0; i < program->n_funcs; i++)
        refuse_odd_ones(ctx, &program->funcs[i]);
    program_index_extents(program);
}

/* Executed code that no unwind entry covers is counted as refused, and no more. */
static void count_uncovered(Context *ctx, const Entry *entries)
{
    uint64_t left = profile_instructions(ctx->counts);
    for (uint32_t i = 0; i < ctx->unwind->n_fdes; i++)
        left -= entries[i].insns;
    ctx->stats->refused[REFUSED_NO_FDE] += left > 0 ? 1 : 0;
    ctx->stats->refused_insns[REFUSED_NO_FDE] += left;
}

Status discover_functions(Context *ctx, Error *err)
{
    (void)err;
    ctx->refs = module_refs_read(ctx->arena, ctx->image, ctx->unwind, ctx->counts, ctx->module);
    Entry *entries = arena_many(ctx->scratch, Entry, ctx->unwind->n_fdes);
    count_entries(ctx, entries);
    find_entered(ctx, entries);
    find_fragments(ctx, entries);
    make_funcs(ctx, entries);
    count_uncovered(ctx, entries);
    return ST_OK;
}
