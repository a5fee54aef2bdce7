/*
 * force_plan.c: decode linearly, cut at branches, place everything.
 *
 * Entries are patched where five bytes are free of every direct branch target in the file and the
 * function has no indirect jump; others are reached from their callers' copies only. No tables are
 * cloned: indirect jumps go to original code.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/support/force_plan.h"
#include "core/lsda.h"

#include <stdlib.h>
#include <string.h>

typedef struct Maker {
    Arena *arena;
    const Image *image;
    const UnwindTable *unwind;
    const ForceOptions *options;
    Program *program;
    uint64_t *targets; /* of all direct branches, sorted */
    size_t n_targets, cap_targets;
    uint64_t random;
    uint64_t end_so_far; /* of the unwind entries seen */
} Maker;

static uint64_t next_random(Maker *maker)
{
    maker->random ^= maker->random << 13;
    maker->random ^= maker->random >> 7;
    maker->random ^= maker->random << 17;
    return maker->random;
}

static int by_value(const void *left, const void *right)
{
    const uint64_t *a = left, *b = right;
    return *a < *b ? -1 : *a > *b;
}

/* All instructions of an extent; 0: they do not decode, or cannot be moved alone. */
static uint32_t decode_all(Maker *maker, const Fde *fde, Insn **out)
{
    Bytes code;
    size_t cap = 0;
    uint32_t n = 0;
    *out = NULL;
    if (!image_bytes_at(maker->image, fde->start, fde->size, &code))
        return 0;
    for (uint64_t at = 0; at < fde->size; n++) {
        *out = arena_grow(maker->arena, *out, &cap, (size_t)n + 1, sizeof(Insn));
        Insn *insn = &(*out)[n];
        if (!insn_decode((Bytes){ code.data + at, code.len - at }, vaddr_add(fde->start, at), insn))
            return 0;
        at += insn->size;
        if (insn->flow == FLOW_CALL && insn->ref_to.v == insn->addr.v + insn->size)
            return 0;
    }
    return n;
}

/* Code outside .text (PLT stubs), and signal trampolines: unwinders know those by their bytes. */
static bool is_skipped(const Maker *maker, const Fde *fde)
{
    if (maker->unwind->cies[fde->cie].is_signal)
        return true;
    for (uint32_t i = 1; i < maker->image->n_sections; i++) {
        const Section *section = &maker->image->sections[i];
        if (fde->start.v >= section->addr.v && fde->start.v - section->addr.v < section->size &&
            (section->flags & SHF_EXECINSTR) != 0)
            return strncmp(section->name, ".text", 5) != 0;
    }
    return true;
}

/* Entries of broken files: which one holds where two do is for no one to say. */
static bool overlaps(Maker *maker, uint32_t index)
{
    const Fde *fdes = maker->unwind->fdes;
    uint64_t end = fdes[index].start.v + fdes[index].size;
    bool found = fdes[index].start.v < maker->end_so_far ||
                 (index + 1 < maker->unwind->n_fdes && fdes[index + 1].start.v < end);
    if (end > maker->end_so_far)
        maker->end_so_far = end;
    return found;
}

static bool is_branch(const Insn *insn)
{
    return insn->ref == REF_BRANCH && insn->flow != FLOW_CALL;
}

static bool ends_block(const Insn *insn)
{
    return insn->flow != FLOW_NEXT && insn->flow != FLOW_CALL && insn->flow != FLOW_CALL_IND &&
           insn->flow != FLOW_SYSCALL;
}

static uint32_t insn_index(const Insn *insns, uint32_t n, Vaddr addr)
{
    uint32_t low = 0, high = n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (insns[middle].addr.v < addr.v)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && insns[low].addr.v == addr.v ? low : UINT32_MAX;
}

static bool mark_leaders(const Insn *insns, uint32_t n, const Fde *fde, bool *leader)
{
    leader[0] = true;
    for (uint32_t i = 0; i < n; i++) {
        if (ends_block(&insns[i]) && i + 1 < n)
            leader[i + 1] = true;
        if (!is_branch(&insns[i]) || insns[i].ref_to.v - fde->start.v >= fde->size)
            continue;
        uint32_t to = insn_index(insns, n, insns[i].ref_to);
        if (to == UINT32_MAX)
            return false;
        leader[to] = true;
    }
    return true;
}

static void add_succ(Maker *maker, const Func *fn, Block *block, SuccKind kind, Vaddr to)
{
    size_t cap = block->n_succ;
    block->succ =
        arena_grow(maker->arena, block->succ, &cap, (size_t)block->n_succ + 1, sizeof(Succ));
    block->succ[block->n_succ++] = (Succ){ func_block_at(fn, to), to, 1, (uint8_t)kind };
}

static void link_block(Maker *maker, Func *fn, Block *block)
{
    const Insn *last = block_last(block);
    Vaddr after = vaddr_add(last->addr, last->size);
    bool inside = after.v < fn->extents[0].end.v;
    if (is_branch(last))
        add_succ(maker, fn, block, SUCC_TAKEN, last->ref_to);
    if (last->flow == FLOW_COND || (inside && last->flow != FLOW_JUMP && last->flow != FLOW_RET &&
                                    last->flow != FLOW_JUMP_IND && last->flow != FLOW_STOP))
        add_succ(maker, fn, block, SUCC_FALL, after);
}

static void make_blocks(Maker *maker, Func *fn, Insn *insns, uint32_t n, const bool *leader)
{
    for (uint32_t i = 0; i < n;) {
        uint32_t end = i + 1;
        while (end < n && !leader[end])
            end++;
        Block *block = func_block(fn, func_add_block(fn));
        block->start = insns[i].addr;
        block->size = (uint32_t)(insns[end - 1].addr.v + insns[end - 1].size - block->start.v);
        block->facts = BLOCK_HOT | BLOCK_ROOT | (i == 0 ? BLOCK_ENTRY : 0u);
        block->copy_of = NO_BLOCK;
        block->table = -1;
        block->insns = insns + i;
        block->n_insns = block->cap_insns = end - i;
        i = end;
    }
    for (uint32_t i = 0; i < fn->n_blocks; i++)
        link_block(maker, fn, &fn->blocks[i]);
}

static void add_target(Maker *maker, Vaddr target)
{
    maker->targets = arena_grow(maker->arena, maker->targets, &maker->cap_targets,
                                maker->n_targets + 1, sizeof(uint64_t));
    maker->targets[maker->n_targets++] = target.v;
}

static void add_targets(Maker *maker, const Insn *insns, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (insns[i].ref == REF_BRANCH)
            add_target(maker, insns[i].ref_to);
}

/* The unwinder jumps to landing pads, which lie in other entries' code too (.cold parts). */
static void add_landing_pads(Maker *maker, const Fde *fde)
{
    const Lsda *lsda;
    if (vaddr_is_none(fde->lsda) ||
        lsda_read(maker->arena, maker->image, fde, &lsda, NULL) != ST_OK)
        return;
    for (uint32_t i = 0; i < lsda->n_sites; i++)
        if (!vaddr_is_none(lsda->sites[i].landing_pad))
            add_target(maker, lsda->sites[i].landing_pad);
}

static Status add_func(Maker *maker, uint32_t index, Error *err)
{
    const Fde *fde = &maker->unwind->fdes[index];
    Insn *insns;
    (void)err;
    add_landing_pads(maker, fde);
    if (overlaps(maker, index) || is_skipped(maker, fde))
        return ST_OK;
    uint32_t n = decode_all(maker, fde, &insns);
    if (n == 0)
        return ST_OK;
    add_targets(maker, insns, n);
    bool *leader = arena_many(maker->arena, bool, (size_t)n + 1);
    if (!mark_leaders(insns, n, fde, leader) ||
        unwind_can_carry(maker->image, maker->unwind, fde, NULL) != ST_OK)
        return ST_OK;
    Func *fn = &maker->program->funcs[maker->program->n_funcs];
    const Symbol *symbol = image_symbol_at(maker->image, fde->start);
    *fn = (Func){ .id = { maker->program->n_funcs++ }, .arena = maker->arena };
    fn->name = symbol != NULL ? symbol->name : NULL;
    fn->entry = fde->start;
    fn->extents = arena_one(maker->arena, Extent);
    fn->extents[0] = (Extent){ fde->start, vaddr_add(fde->start, fde->size), index };
    fn->n_extents = 1;
    make_blocks(maker, fn, insns, n, leader);
    for (uint32_t i = 0; i < n; i++)
        fn->open_jump |= insns[i].flow == FLOW_JUMP_IND;
    return ST_OK;
}

static bool has_target_between(const Maker *maker, uint64_t low, uint64_t high)
{
    size_t from = 0, to = maker->n_targets;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (maker->targets[middle] <= low)
            from = middle + 1;
        else
            to = middle;
    }
    return from < maker->n_targets && maker->targets[from] < high;
}

static void add_patch(Maker *maker, Plan *plan, Func *fn)
{
    const Block *block = &fn->blocks[0];
    uint32_t first = (block->insns[0].facts & INSN_ENDBR) != 0, i = first, size = 0;
    if (fn->open_jump || block->n_insns == first)
        return;
    Vaddr site = block->insns[first].addr;
    for (; i < block->n_insns && size < 5; i++) {
        const Insn *insn = &block->insns[i];
        size += insn->size;
        if ((insn->flow == FLOW_CALL || insn->flow == FLOW_CALL_IND ||
             insn->flow == FLOW_SYSCALL) &&
            size < 5)
            return;
    }
    if (size < 5 || has_target_between(maker, site.v, site.v + size))
        return;
    plan->patches[plan->n_patches++] =
        (Patch){ site, size, fn->id, block->id, first, PATCH_ENTRY, 1 };
}

/* Order of n things by the option: identity, reversed or shuffled. */
static uint32_t *order_of(Maker *maker, uint32_t n)
{
    uint32_t *order = arena_many(maker->arena, uint32_t, (size_t)n + 1);
    for (uint32_t i = 0; i < n; i++)
        order[i] = maker->options->order == ORDER_REVERSE ? n - 1 - i : i;
    for (uint32_t i = n; i > 1 && maker->options->order == ORDER_RANDOM; i--) {
        uint32_t k = (uint32_t)(next_random(maker) % i), swap = order[k];
        order[k] = order[i - 1];
        order[i - 1] = swap;
    }
    return order;
}

static void add_regions(Maker *maker, Plan *plan)
{
    uint32_t n = maker->program->n_funcs;
    const ForceOptions *options = maker->options;
    uint32_t *order = order_of(maker, n);
    plan->regions = arena_many(maker->arena, Region, (size_t)n + 1);
    for (uint32_t i = 0; i < n; i++) {
        Func *fn = &maker->program->funcs[order[i]];
        bool inside =
            order[i] >= options->first && (options->last == 0 || order[i] <= options->last);
        if (!inside || (options->keep_third && order[i] % 3 == 2))
            continue;
        uint32_t *blocks = order_of(maker, fn->n_blocks);
        fn->layout = arena_many(maker->arena, BlockId, fn->n_blocks);
        fn->n_layout = fn->n_blocks;
        for (uint32_t k = 0; k < fn->n_blocks; k++)
            fn->layout[k] = (BlockId){ blocks[k] };
        plan->regions[plan->n_regions++] = (Region){ fn->id, fn->layout, fn->n_layout, false, 4 };
    }
    for (uint32_t i = 0; i < n; i++)
        if (maker->program->funcs[i].n_layout > 0)
            add_patch(maker, plan, &maker->program->funcs[i]);
}

Status force_plan(Arena *arena, const Image *image, const ForceOptions *options, const Plan **out,
                  Error *err)
{
    Maker maker = { .arena = arena, .image = image, .options = options };
    maker.random = options->seed * 2654435761u + 88172645463325252u;
    TRY(unwind_read(arena, image, &maker.unwind, err));
    maker.program = arena_one(arena, Program);
    *maker.program = (Program){ .arena = arena, .image = image };
    maker.program->funcs = arena_many(arena, Func, (size_t)maker.unwind->n_fdes + 1);
    for (uint32_t i = 0; i < maker.unwind->n_fdes; i++)
        TRY(add_func(&maker, i, err));
    if (maker.n_targets > 0)
        qsort(maker.targets, maker.n_targets, sizeof(uint64_t), by_value);
    Plan *plan = arena_one(arena, Plan);
    *plan = (Plan){ .image = image, .unwind = maker.unwind, .program = maker.program };
    plan->patches = arena_many(arena, Patch, (size_t)maker.program->n_funcs + 1);
    add_regions(&maker, plan);
    *out = plan;
    return ST_OK;
}
