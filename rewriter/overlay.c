/*
 * overlay.c: from regions to slots, and from slots to bytes.
 *
 *     region: B A D            slots:  [gap] B… jcc  A… [pad] D… jmp
 *
 * The end of each block is made for the block that follows it in the layout:
 *
 *     jmp X     X next: nothing                 else jmp X
 *     jcc X     X next: inverted jcc fall       fall next: jcc X      else jcc hotter, jmp other
 *     other     fall next: nothing              else jmp fall
 *
 * A block whose last instruction goes on where no successor is known (a call that never returned,
 * ud2 with a handler behind it) gets a jump to the original bytes after it: an unexpected return
 * finds what it would have found.
 *
 * SPDX-License-Identifier: MIT
 */
#include "rewriter/overlay.h"
#include "rewriter/encode.h"
#include "rewriter/move.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGN_LOG2_MAX = 12 };

static Slot *add_slot(Overlay *overlay, SlotKind kind)
{
    overlay->slots = arena_grow(overlay->arena, overlay->slots, &overlay->cap_slots,
                                (size_t)overlay->n_slots + 1, sizeof(Slot));
    Slot *slot = &overlay->slots[overlay->n_slots++];
    *slot = (Slot){ .kind = (uint8_t)kind, .row = VADDR_NONE };
    return slot;
}

static void add_padding(Overlay *overlay, SlotKind kind, uint8_t align, Vaddr row)
{
    Slot *slot = add_slot(overlay, kind);
    slot->align = align < ALIGN_LOG2_MAX ? align : ALIGN_LOG2_MAX;
    slot->row = row;
}

static void add_jump(Overlay *overlay, Dest dest, Vaddr row)
{
    Slot *slot = add_slot(overlay, SLOT_JUMP);
    slot->dest = dest;
    slot->row = row;
}

bool overlay_block(const Overlay *overlay, FuncId fn, BlockId block, Dest *dest)
{
    uint32_t base = overlay->label_base[fn.i];
    if (!is_block(block) || base == UINT32_MAX || overlay->first_slot[base + block.i] == UINT32_MAX)
        return false;
    *dest = (Dest){ .kind = DEST_LABEL, .index = base + block.i };
    return true;
}

/* The patch whose bytes hold `to`; NULL: none. */
static const Patch *patch_over(const Plan *plan, Vaddr to)
{
    uint32_t low = 0, high = plan->n_patches;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (plan->patches[middle].site.v <= to.v)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return NULL;
    const Patch *patch = &plan->patches[low - 1];
    return to.v - patch->site.v < patch->size ? patch : NULL;
}

static const Root *root_at(const Overlay *overlay, Vaddr at)
{
    uint32_t low = 0, high = overlay->n_roots;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (overlay->roots[middle].at.v < at.v)
            low = middle + 1;
        else
            high = middle;
    }
    return low < overlay->n_roots && overlay->roots[low].at.v == at.v ? &overlay->roots[low] : NULL;
}

Status overlay_exit(const Overlay *overlay, Vaddr to, Dest *dest, Error *err)
{
    const Root *root = root_at(overlay, to);
    if (root != NULL) {
        *dest = (Dest){ .kind = DEST_LABEL, .index = root->label };
        return ST_OK;
    }
    if (to.v >= overlay->text_at.v)
        return FAIL(err, ST_REFUSED, image_place(overlay->plan->image, to),
                    "a branch to 0x%" PRIx64 ", behind the end of the image", to.v);
    const Patch *patch = patch_over(overlay->plan, to);
    if (patch == NULL) {
        *dest = (Dest){ .kind = DEST_ADDR, .value = to.v };
        return ST_OK;
    }
    if (to.v != patch->site.v || !overlay_block(overlay, patch->fn, patch->to, dest))
        return FAIL(err, ST_BUG, image_place(overlay->plan->image, to),
                    "an exit to 0x%" PRIx64 " lands inside the patch site at 0x%" PRIx64, to.v,
                    patch->site.v);
    dest->plus = (uint8_t)patch->to_insn;
    return ST_OK;
}

/* Where a successor of a block of `fn` goes: its copy, else out of the overlay. */
static Status dest_of(const Overlay *overlay, const Func *fn, const Succ *succ, Dest *dest,
                      Error *err)
{
    if (overlay_block(overlay, fn->id, succ->to, dest))
        return ST_OK;
    return overlay_exit(overlay, succ->addr, dest, err);
}

static const Succ *succ_of_kind(const Block *block, SuccKind kind)
{
    for (uint32_t i = 0; i < block->n_succ; i++)
        if (block->succ[i].kind == kind)
            return &block->succ[i];
    return NULL;
}

static bool leads_to(const Succ *succ, BlockId next)
{
    return is_block(next) && is_block(succ->to) && same_block(succ->to, next);
}

static bool in_extents(const Func *fn, Vaddr addr)
{
    for (uint32_t i = 0; i < fn->n_extents; i++)
        if (addr.v >= fn->extents[i].start.v && addr.v < fn->extents[i].end.v)
            return true;
    return false;
}

/* The place whose row holds before instruction `i`: itself, or the nearest original one. */
static Vaddr row_of(const Block *block, uint32_t i)
{
    for (uint32_t k = i; k < block->n_insns; k++)
        if (!vaddr_is_none(block->insns[k].addr))
            return block->insns[k].addr;
    for (uint32_t k = i; k > 0; k--)
        if (!vaddr_is_none(block->insns[k - 1].addr))
            return block->insns[k - 1].addr;
    return block->start;
}

static Place at_block(const Overlay *overlay, const Block *block)
{
    return image_place(overlay->plan->image, block->start);
}

/* Distance of a reference into a cloned table from its start. */
static Status table_dest(const Overlay *overlay, const Func *fn, const Block *block,
                         const Insn *insn, Dest *dest, Error *err)
{
    uint32_t index = overlay->clone_base[fn->id.i];
    for (uint32_t i = 0; i < (uint32_t)insn->table && i < fn->n_tables; i++)
        index += fn->tables[i].clone;
    if ((uint32_t)insn->table >= fn->n_tables || !fn->tables[insn->table].clone)
        return FAIL(err, ST_BUG, at_block(overlay, block), "refers to table %d, which has no clone",
                    insn->table);
    const Table *table = &fn->tables[insn->table];
    if (insn->ref == REF_DISP) {
        *dest = (Dest){ .kind = DEST_TABLE, .index = index, .value = 0 - table->base.v };
        return ST_OK;
    }
    uint64_t delta = vaddr_is_none(insn->ref_to) ? 0 : insn->ref_to.v - table->addr.v;
    if (delta != 0 && table->form != table->new_form)
        return FAIL(err, ST_BUG, at_block(overlay, block),
                    "refers to byte %" PRId64 " of a table whose clone has another form",
                    (int64_t)delta);
    *dest = (Dest){ .kind = DEST_TABLE, .index = index, .value = delta };
    return ST_OK;
}

static Status insn_dest(const Overlay *overlay, const Func *fn, const Block *block,
                        const Insn *insn, Dest *dest, Error *err)
{
    *dest = (Dest){ .kind = DEST_NONE };
    if (insn->table >= 0 && insn->ref != REF_NONE && insn->ref != REF_BRANCH)
        return table_dest(overlay, fn, block, insn, dest, err);
    if (insn->ref == REF_BRANCH)
        return overlay_exit(overlay, insn->ref_to, dest, err);
    if (insn->ref != REF_NONE)
        *dest = (Dest){ .kind = DEST_ADDR, .value = insn->ref_to.v };
    return ST_OK;
}

static Status add_moved(Overlay *overlay, const Func *fn, const Block *block, uint32_t i,
                        Error *err)
{
    const Insn *insn = &block->insns[i];
    Dest dest;
    if (move_form(insn) == FORM_NONE)
        return FAIL(err, ST_REFUSED, at_block(overlay, block),
                    "instruction at 0x%" PRIx64 " cannot be moved", insn->addr.v);
    TRY(insn_dest(overlay, fn, block, insn, &dest, err));
    Slot *slot = add_slot(overlay, SLOT_MOVED);
    slot->insn = insn;
    slot->row = row_of(block, i);
    slot->dest = dest;
    slot->size = move_size(insn, false);
    return ST_OK;
}

static void invert_last(Overlay *overlay, Dest dest)
{
    Slot *slot = &overlay->slots[overlay->n_slots - 1];
    slot->invert = true;
    slot->dest = dest;
}

/* A conditional branch, now the last slot, made for what follows it. */
static Status end_cond(Overlay *overlay, const Func *fn, const Block *block, BlockId next,
                       Error *err)
{
    const Succ *taken = succ_of_kind(block, SUCC_TAKEN);
    const Succ *fall = succ_of_kind(block, SUCC_FALL);
    if (taken == NULL || fall == NULL)
        return FAIL(err, ST_BUG, at_block(overlay, block),
                    "a conditional branch without two successors");
    Dest to_taken, to_fall;
    TRY(dest_of(overlay, fn, taken, &to_taken, err));
    TRY(dest_of(overlay, fn, fall, &to_fall, err));
    Slot *slot = &overlay->slots[overlay->n_slots - 1];
    slot->dest = to_taken;
    if (leads_to(fall, next))
        return ST_OK;
    Vaddr row = slot->row;
    if (leads_to(taken, next)) {
        invert_last(overlay, to_fall);
    } else if (fall->count > taken->count) {
        invert_last(overlay, to_fall);
        add_jump(overlay, to_taken, row);
    } else {
        add_jump(overlay, to_fall, row);
    }
    return ST_OK;
}

/* loop and jrcxz reach 127 bytes only: an island that relax.c wakes up when the target is farther.
 *     loop I; jmp over; I: jmp target; over: */
static void add_loop_island(Overlay *overlay, Dest target, Vaddr row)
{
    uint32_t hop = overlay->n_slots;
    add_jump(overlay, (Dest){ .kind = DEST_SLOT, .index = hop + 2 }, row);
    add_jump(overlay, target, row);
    overlay->slots[hop].asleep = true;
    overlay->slots[hop + 1].asleep = true;
}

static Status end_going_on(Overlay *overlay, const Func *fn, const Block *block, BlockId next,
                           Error *err)
{
    const Insn *last = block_last(block);
    const Succ *fall = succ_of_kind(block, SUCC_FALL);
    if (fall != NULL && leads_to(fall, next))
        return ST_OK;
    Dest dest;
    Vaddr row = block->start;
    if (fall != NULL) {
        TRY(dest_of(overlay, fn, fall, &dest, err));
        row = fall->addr;
    } else {
        Vaddr after = vaddr_add(block->start, block->size);
        if (last != NULL && !vaddr_is_none(last->addr))
            after = vaddr_add(last->addr, last->size);
        TRY(overlay_exit(overlay, after, &dest, err));
    }
    if (fall == NULL || !in_extents(fn, row))
        row = block->n_insns > 0 ? row_of(block, block->n_insns - 1) : block->start;
    add_jump(overlay, dest, row);
    return ST_OK;
}

/* Loops and xbegin: a direct target beside the way on. */
static Status end_two_way(Overlay *overlay, const Func *fn, const Block *block, BlockId next,
                          Error *err)
{
    const Succ *taken = succ_of_kind(block, SUCC_TAKEN);
    Slot *slot = &overlay->slots[overlay->n_slots - 1];
    if (taken != NULL)
        TRY(dest_of(overlay, fn, taken, &slot->dest, err));
    if (block_last(block)->flow == FLOW_LOOP)
        add_loop_island(overlay, slot->dest, slot->row);
    return end_going_on(overlay, fn, block, next, err);
}

static Status end_jump(Overlay *overlay, const Func *fn, const Block *block, BlockId next,
                       Error *err)
{
    const Succ *taken = succ_of_kind(block, SUCC_TAKEN);
    Slot *slot = &overlay->slots[overlay->n_slots - 1];
    if (taken == NULL)
        return ST_OK;
    if (leads_to(taken, next)) {
        overlay->n_slots--;
        return ST_OK;
    }
    return dest_of(overlay, fn, taken, &slot->dest, err);
}

static Status add_block(Overlay *overlay, const Func *fn, const Block *block, BlockId next,
                        Error *err)
{
    overlay->first_slot[overlay->label_base[fn->id.i] + block->id.i] = overlay->n_slots;
    for (uint32_t i = 0; i < block->n_insns; i++)
        TRY(add_moved(overlay, fn, block, i, err));
    const Insn *last = block_last(block);
    switch (last != NULL ? last->flow : FLOW_NEXT) {
    case FLOW_JUMP:
        return end_jump(overlay, fn, block, next, err);
    case FLOW_COND:
        return end_cond(overlay, fn, block, next, err);
    case FLOW_JUMP_IND:
    case FLOW_RET:
        return ST_OK;
    case FLOW_LOOP:
    case FLOW_XBEGIN:
        return end_two_way(overlay, fn, block, next, err);
    default:
        return end_going_on(overlay, fn, block, next, err);
    }
}

static Status add_region(Overlay *overlay, uint32_t index, Error *err)
{
    const Region *region = &overlay->plan->regions[index];
    const Func *fn = &overlay->plan->program->funcs[region->fn.i];
    uint8_t align = region->align;
    if (region->n_blocks > 0 && func_block(fn, region->blocks[0])->align > align)
        align = func_block(fn, region->blocks[0])->align;
    add_padding(overlay, SLOT_GAP, align, VADDR_NONE);
    uint32_t first = overlay->n_slots;
    for (uint32_t i = 0; i < region->n_blocks; i++) {
        const Block *block = func_block(fn, region->blocks[i]);
        BlockId next = i + 1 < region->n_blocks ? region->blocks[i + 1] : NO_BLOCK;
        if (i > 0 && block->align > 0)
            add_padding(overlay, SLOT_PAD, block->align, block->start);
        TRY(add_block(overlay, fn, block, next, err));
    }
    if (overlay->n_slots > first)
        overlay->spans[overlay->n_spans++] = (Span){ index, first, overlay->n_slots };
    return ST_OK;
}

static int by_address(const void *left, const void *right)
{
    const Root *a = left, *b = right;
    if (a->at.v != b->at.v)
        return a->at.v < b->at.v ? -1 : 1;
    return a->label < b->label ? -1 : a->label > b->label;
}

/* A label for every block of every function that has a region. */
static void number_blocks(Overlay *overlay)
{
    const Plan *plan = overlay->plan;
    uint32_t n_labels = 0;
    memset(overlay->label_base, 0xff, plan->program->n_funcs * sizeof *overlay->label_base);
    for (uint32_t i = 0; i < plan->n_regions; i++) {
        FuncId id = plan->regions[i].fn;
        if (overlay->label_base[id.i] != UINT32_MAX)
            continue;
        overlay->label_base[id.i] = n_labels;
        n_labels += plan->program->funcs[id.i].n_blocks;
    }
    overlay->n_labels = n_labels;
    overlay->first_slot = arena_many(overlay->arena, uint32_t, (size_t)n_labels + 1);
    memset(overlay->first_slot, 0xff, ((size_t)n_labels + 1) * sizeof *overlay->first_slot);
}

static void add_root(Overlay *overlay, Vaddr at, uint32_t label)
{
    overlay->roots = arena_grow(overlay->arena, overlay->roots, &overlay->cap_roots,
                                (size_t)overlay->n_roots + 1, sizeof(Root));
    overlay->roots[overlay->n_roots++] = (Root){ at, label };
}

/* Marks the blocks of a region as placed (their slots follow in add_block) and finds its roots. */
static Status mark_region(Overlay *overlay, const Region *region, Error *err)
{
    const Func *fn = &overlay->plan->program->funcs[region->fn.i];
    for (uint32_t k = 0; k < region->n_blocks; k++) {
        const Block *block = func_block(fn, region->blocks[k]);
        uint32_t label = overlay->label_base[fn->id.i] + block->id.i;
        if (overlay->first_slot[label] != UINT32_MAX)
            return FAIL(err, ST_BUG, at_block(overlay, block), "a block is placed twice");
        overlay->first_slot[label] = 0;
        if (!is_block(block->copy_of) && (block->facts & (BLOCK_ROOT | BLOCK_ENTRY)) != 0)
            add_root(overlay, block->start, label);
    }
    return ST_OK;
}

static Status find_roots(Overlay *overlay, Error *err)
{
    const Plan *plan = overlay->plan;
    for (uint32_t i = 0; i < plan->n_regions; i++)
        TRY(mark_region(overlay, &plan->regions[i], err));
    /* A stub whose function was taken out again is called as it was. */
    for (uint32_t i = 0; i < plan->n_binds; i++) {
        Dest guard;
        if (overlay_block(overlay, plan->binds[i].fn, plan->binds[i].to, &guard))
            add_root(overlay, plan->binds[i].stub, guard.index);
    }
    if (overlay->n_roots > 0)
        qsort(overlay->roots, overlay->n_roots, sizeof(Root), by_address);
    return ST_OK;
}

static Status check_patches(const Overlay *overlay, Error *err)
{
    const Plan *plan = overlay->plan;
    for (uint32_t i = 0; i < plan->n_patches; i++) {
        const Patch *patch = &plan->patches[i];
        const Func *fn = &plan->program->funcs[patch->fn.i];
        Place place = image_place(plan->image, patch->site);
        Dest dest;
        Bytes bytes;
        if (patch->size < JUMP_WIDE ||
            !image_bytes_at(plan->image, patch->site, patch->size, &bytes))
            return FAIL(err, ST_BUG, place, "a patch of %u bytes does not fit", patch->size);
        if (!overlay_block(overlay, patch->fn, patch->to, &dest) ||
            patch->to_insn >= func_block(fn, patch->to)->n_insns)
            return FAIL(err, ST_BUG, place, "a patch leads to a block that is not placed");
        if (i > 0 && patch->site.v < plan->patches[i - 1].site.v + plan->patches[i - 1].size)
            return FAIL(err, ST_BUG, place, "patch sites overlap");
    }
    return ST_OK;
}

Status overlay_build(Arena *arena, const Plan *plan, NewAddr base, Overlay **out, Error *err)
{
    Overlay *overlay = arena_one(arena, Overlay);
    uint32_t n_funcs = plan->program->n_funcs;
    overlay->arena = arena;
    overlay->plan = plan;
    overlay->text_at = base;
    overlay->label_base = arena_many(arena, uint32_t, (size_t)n_funcs + 1);
    overlay->clone_base = arena_many(arena, uint32_t, (size_t)n_funcs + 1);
    overlay->spans = arena_many(arena, Span, (size_t)plan->n_regions + 1);
    number_blocks(overlay);
    TRY(find_roots(overlay, err));
    TRY(check_patches(overlay, err));
    clones_collect(overlay);
    for (uint32_t i = 0; i < plan->n_regions; i++)
        TRY(add_region(overlay, i, err));
    overlay_relax(overlay);
    clones_place(overlay, (NewAddr){ overlay->text_at.v + overlay->text_size });
    *out = overlay;
    return ST_OK;
}
