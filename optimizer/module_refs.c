/*
 * module_refs.c: one scan over code and data for what leads into functions.
 *
 * A function's own code does not tell all its entries: a .cold fragment jumps back into the middle,
 * hand-written code jumps to a shared tail of another function, a table of labels stands in data.
 * The entry states of such places are unknown, so no proof about values may pass through them.
 *
 * The words of a fixed image are tried at every byte offset: nothing says that they are aligned.
 * In a position-independent image an address of code in data bears a relocation.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/module_refs.h"

#include "optimizer/no_return.h"

#include <stdlib.h>

/* --- jumps across unwind entries -------------------------------------------------------------- */

typedef struct Found {
    Arena *arena;
    ModuleRefs *refs;
    const Image *image;
    const UnwindTable *unwind;
    uint32_t *starts; /* hash of entries by start: 1 + index, 0 is free; open addressing */
    uint32_t mask;
    size_t cap_jumps;
    size_t cap_formed;
} Found;

static uint32_t hash_of(const Found *found, Vaddr addr)
{
    return (uint32_t)(addr.v * 0x9e3779b97f4a7c15 >> 32) & found->mask;
}

static void hash_starts(Arena *scratch, Found *found)
{
    const UnwindTable *unwind = found->unwind;
    found->mask = 15;
    while (found->mask / 2 < unwind->n_fdes)
        found->mask = found->mask * 2 + 1;
    found->starts = arena_many(scratch, uint32_t, (size_t)found->mask + 1);
    for (uint32_t i = 0; i < unwind->n_fdes; i++) {
        uint32_t slot = hash_of(found, unwind->fdes[i].start);
        while (found->starts[slot] != 0)
            slot = (slot + 1) & found->mask;
        found->starts[slot] = i + 1;
    }
}

/* The entry that starts at `addr`; UINT32_MAX: none. */
static uint32_t entry_at(const Found *found, Vaddr addr)
{
    for (uint32_t slot = hash_of(found, addr); found->starts[slot] != 0;
         slot = (slot + 1) & found->mask)
        if (vaddr_equal(found->unwind->fdes[found->starts[slot] - 1].start, addr))
            return found->starts[slot] - 1;
    return UINT32_MAX;
}

static void add_jump(Found *found, CrossJump jump)
{
    ModuleRefs *refs = found->refs;
    if (jump.call) {
        uint32_t entry = entry_at(found, jump.to);
        if (entry != UINT32_MAX) {
            refs->called[entry] = true;
            return;
        }
    }
    refs->jumps = arena_grow(found->arena, refs->jumps, &found->cap_jumps,
                             (size_t)refs->n_jumps + 1, sizeof refs->jumps[0]);
    refs->jumps[refs->n_jumps++] = jump;
}

/* Bytes of an entry up to the next one: malformed tables may overlap, and are scanned once. */
static uint64_t own_size(const UnwindTable *unwind, uint32_t index)
{
    const Fde *fde = &unwind->fdes[index];
    if (index + 1 == unwind->n_fdes)
        return fde->size;
    uint64_t gap = unwind->fdes[index + 1].start.v - fde->start.v;
    return fde->size < gap ? fde->size : gap;
}

/* A function has a way back when it returns, jumps to where only a register knows, or runs off its
 * end; jumps to others are looked at when all are known. */
static bool may_leave(uint8_t flow)
{
    return flow == FLOW_RET || flow == FLOW_JUMP_IND;
}

static bool may_fall_off(uint8_t flow)
{
    return flow != FLOW_JUMP && flow != FLOW_STOP && flow != FLOW_CALL && flow != FLOW_CALL_IND;
}

/* The forms that pad: 90 and 0F 1F behind prefixes (SDM vol. 2B, NOP). */
static bool is_nop(Bytes code, size_t size)
{
    size_t at = 0;
    while (at < size && (code.data[at] == 0x66 || code.data[at] == 0x2e))
        at++;
    if (size - at == 1)
        return code.data[at] == 0x90;
    return size - at >= 3 && code.data[at] == 0x0f && code.data[at + 1] == 0x1f;
}

static void scan_entry(Found *found, uint32_t index)
{
    const Fde *fde = &found->unwind->fdes[index];
    uint64_t own = own_size(found->unwind, index);
    Bytes code;
    uint8_t last = FLOW_NEXT;
    bool leaves = false;
    if (!image_bytes_at(found->image, fde->start, own, &code))
        return;
    for (size_t at = 0; at < code.len;) {
        uint8_t size;
        uint8_t flow;
        Vaddr target;
        Vaddr from = vaddr_add(fde->start, at);
        Bytes rest = { code.data + at, code.len - at };
        if (!insn_decode_fast(rest, from, &size, &flow, &target))
            return;
        at += size;
        leaves |= may_leave(flow);
        if (flow != FLOW_NEXT || leaves || !is_nop(rest, size))
            last = flow;
        if (!vaddr_is_none(target) && target.v - fde->start.v >= fde->size)
            add_jump(found, (CrossJump){ target, from, index, flow == FLOW_CALL });
    }
    found->refs->no_return[index] = !leaves && !may_fall_off(last);
}

static int compare(uint64_t left, uint64_t right)
{
    return (left > right) - (left < right);
}

static int by_target(const void *left, const void *right)
{
    const CrossJump *a = left;
    const CrossJump *b = right;
    int order = compare(a->to.v, b->to.v);
    return order != 0 ? order : compare(a->from.v, b->from.v);
}

/* --- formed addresses ------------------------------------------------------------------------- */

static void add_formed(Found *found, uint64_t addr)
{
    ModuleRefs *refs = found->refs;
    refs->formed = arena_grow(found->arena, refs->formed, &found->cap_formed,
                              (size_t)refs->n_formed + 1, sizeof refs->formed[0]);
    refs->formed[refs->n_formed++] = vaddr(addr);
}

static void formed_by_relocs(Found *found)
{
    const Image *image = found->image;
    for (uint32_t i = 0; i < image->n_relocs; i++) {
        const Reloc *reloc = &image->relocs[i];
        if ((reloc->type == R_X86_64_RELATIVE || reloc->type == R_X86_64_IRELATIVE) &&
            image_is_code(image, vaddr((uint64_t)reloc->addend)))
            add_formed(found, (uint64_t)reloc->addend);
    }
}

typedef struct CodeRange {
    uint64_t low;
    uint64_t size;
} CodeRange;

static CodeRange range_of_code(const UnwindTable *unwind)
{
    if (unwind->n_fdes == 0)
        return (CodeRange){ 0, 0 };
    const Fde *last = &unwind->fdes[unwind->n_fdes - 1];
    uint64_t low = unwind->fdes[0].start.v;
    return (CodeRange){ low, last->start.v + last->size - low };
}

static void formed_by_words(Found *found, Bytes data, CodeRange range, unsigned width)
{
    for (size_t at = 0; at + width <= data.len; at++) {
        uint64_t value = width == 8 ? load_u64(data.data + at) : load_u32(data.data + at);
        if (value - range.low < range.size)
            add_formed(found, value);
    }
}

/* Immediates of code are four bytes wide in fixed images (below 2 GiB), or eight after movabs. */
static void formed_in_fixed_image(Found *found, CodeRange range)
{
    const Image *image = found->image;
    for (uint32_t i = 0; i < image->n_segments; i++) {
        const Segment *segment = &image->segments[i];
        Bytes data;
        if (segment->type != PT_LOAD ||
            !image_bytes_at(image, segment->addr, segment->file_size, &data))
            continue;
        formed_by_words(found, data, range, (segment->flags & PF_X) != 0 ? 4 : 8);
    }
}

static int by_addr(const void *left, const void *right)
{
    return compare(((const Vaddr *)left)->v, ((const Vaddr *)right)->v);
}

static void sort_formed(ModuleRefs *refs)
{
    uint32_t n = 0;
    if (refs->n_formed == 0)
        return;
    qsort(refs->formed, refs->n_formed, sizeof refs->formed[0], by_addr);
    for (uint32_t i = 0; i < refs->n_formed; i++)
        if (n == 0 || refs->formed[n - 1].v != refs->formed[i].v)
            refs->formed[n++] = refs->formed[i];
    refs->n_formed = n;
}

/* --- the profile's edges by target ------------------------------------------------------------ */

static int by_edge_target(const void *left, const void *right)
{
    const ProfileEdge *a = *(const ProfileEdge *const *)left;
    const ProfileEdge *b = *(const ProfileEdge *const *)right;
    int order = compare(a->to.v, b->to.v);
    order = order != 0 ? order : compare(a->from.v, b->from.v);
    return order != 0 ? order : (int)a->kind - (int)b->kind;
}

static void sort_inward(Arena *arena, ModuleRefs *refs, const ProfileModule *counts,
                        uint32_t module)
{
    if (counts == NULL)
        return;
    refs->inward =
        arena_many(arena, const ProfileEdge *, (size_t)counts->n_edges + counts->n_entries);
    for (uint32_t i = 0; i < counts->n_edges; i++)
        if (counts->edges[i].to_module == module)
            refs->inward[refs->n_inward++] = &counts->edges[i];
    for (uint32_t i = 0; i < counts->n_entries; i++)
        refs->inward[refs->n_inward++] = &counts->entries[i];
    if (refs->n_inward > 0)
        qsort(refs->inward, refs->n_inward, sizeof(ProfileEdge *), by_edge_target);
}

const ModuleRefs *module_refs_read(Arena *arena, const Image *image, const UnwindTable *unwind,
                                   const ProfileModule *counts, uint32_t module)
{
    ModuleRefs *refs = arena_one(arena, ModuleRefs);
    Found found = { .arena = arena, .refs = refs, .image = image, .unwind = unwind };
    Arena *scratch = arena_new();
    refs->no_return = arena_many(arena, bool, unwind->n_fdes);
    refs->called = arena_many(arena, bool, unwind->n_fdes);
    hash_starts(scratch, &found);
    for (uint32_t i = 0; i < unwind->n_fdes; i++)
        scan_entry(&found, i);
    arena_free(scratch);
    if (refs->n_jumps > 0)
        qsort(refs->jumps, refs->n_jumps, sizeof refs->jumps[0], by_target);
    no_return_settle(unwind, refs);
    no_return_imports(arena, image, refs);
    if (image->is_pic)
        formed_by_relocs(&found);
    else
        formed_in_fixed_image(&found, range_of_code(unwind));
    sort_formed(refs);
    sort_inward(arena, refs, counts, module);
    return refs;
}

/* --- look-ups --------------------------------------------------------------------------------- */

uint32_t module_refs_jump_from(const ModuleRefs *refs, Vaddr addr)
{
    uint32_t low = 0;
    uint32_t high = refs->n_jumps;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (refs->jumps[mid].to.v < addr.v)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

uint32_t module_refs_formed_from(const ModuleRefs *refs, Vaddr addr)
{
    uint32_t low = 0;
    uint32_t high = refs->n_formed;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (refs->formed[mid].v < addr.v)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

uint32_t module_refs_inward_from(const ModuleRefs *refs, Vaddr addr)
{
    uint32_t low = 0;
    uint32_t high = refs->n_inward;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (refs->inward[mid]->to.v < addr.v)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}
