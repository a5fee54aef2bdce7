/*
 * hot.c: blocks are grouped into functions by symbol, then by unwind entry, then by nearness.
 *
 *     blocks sorted by address:  | main      | main+40 | 0x1200 (FDE) | 0x1210 (FDE) | ...
 *     functions:                 | main                | 0x1200-0x1280               |
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli/hot.h"

#include "core/unwind.h"

#include <stdlib.h>
#include <string.h>

enum { NEAR = 64 }; /* bytes between blocks of one unnamed range */

/* The module's file, when it still is the one that ran. */
typedef struct Names {
    const Image *image;        /* NULL: not known */
    const UnwindTable *unwind; /* NULL: none */
} Names;

typedef struct Extent {
    const char *name; /* NULL: none but its range */
    Vaddr start;
    uint64_t end;
} Extent;

static Names open_names(Arena *arena, const ProfileModule *module)
{
    Names names = { NULL, NULL };
    if (image_open(arena, module->path, &names.image, NULL) != ST_OK)
        return (Names){ NULL, NULL };
    if (!image_key_equal(&names.image->key, &module->key)) {
        image_close(names.image);
        return (Names){ NULL, NULL };
    }
    if (unwind_read(arena, names.image, &names.unwind, NULL) != ST_OK)
        names.unwind = NULL;
    return names;
}

/* The function that a block belongs to; without a file, the block itself. */
static Extent extent_of(const Names *names, const ProfileBlock *block)
{
    Extent extent = { NULL, block->start, block->start.v + block->size };
    if (names->image == NULL)
        return extent;
    const Symbol *symbol = image_symbol_at(names->image, block->start);
    if (symbol != NULL && symbol->type != STT_OBJECT)
        return (Extent){ symbol->name, symbol->addr, symbol->addr.v + symbol->size };
    const Fde *fde = names->unwind != NULL ? unwind_fde_at(names->unwind, block->start) : NULL;
    if (fde != NULL)
        extent = (Extent){ NULL, fde->start, fde->start.v + fde->size };
    return extent;
}

/* True when a block with this extent goes on with the function of the one before it. */
static bool goes_on(const HotFunc *func, const Extent *extent, uint64_t last_end, bool named,
                    uint64_t start)
{
    if (named || extent->name != NULL)
        return vaddr_equal(func->start, extent->start);
    return vaddr_equal(func->start, extent->start) || start < last_end ||
           (start - last_end <= NEAR && vaddr_equal(extent->start, vaddr(start)));
}

static void name_range(Arena *arena, HotFunc *func, uint64_t end)
{
    func->name = arena_printf(arena, "0x%" PRIx64 "-0x%" PRIx64, func->start.v, end);
}

static void collect_module(Arena *arena, const ProfileModule *module, Hot *hot)
{
    Arena *scratch = arena_new();
    Names names = open_names(scratch, module);
    HotFunc *func = NULL;
    uint64_t end = 0;
    for (uint32_t i = 0; i < module->n_blocks; i++) {
        const ProfileBlock *block = &module->blocks[i];
        Extent extent = extent_of(&names, block);
        if (func == NULL || !goes_on(func, &extent, end, func->name != NULL, block->start.v)) {
            if (func != NULL && func->name == NULL)
                name_range(arena, func, end);
            func = arena_one(arena, HotFunc);
            hot->funcs[hot->n_funcs++] = func;
            *func = (HotFunc){ .module = module->path, .start = extent.start };
            func->name = extent.name != NULL ? arena_string(arena, extent.name) : NULL;
            func->calls = profile_count_at(module, extent.start);
            end = extent.end;
        }
        end = extent.end > end ? extent.end : end;
        uint64_t insns = block->count * block->n_insns;
        func->insns += insns;
        func->bytes += block->size;
        func->n_blocks++;
        hot->blocks[hot->n_blocks++] = (HotBlock){ block, func, insns };
    }
    if (func != NULL && func->name == NULL)
        name_range(arena, func, end);
    if (names.image != NULL)
        image_close(names.image);
    arena_free(scratch);
}

static int order_places(const HotFunc *left, Vaddr left_start, const HotFunc *right,
                        Vaddr right_start)
{
    int order = strcmp(left->module, right->module);
    return order != 0 ? order : (left_start.v > right_start.v) - (left_start.v < right_start.v);
}

static int order_funcs(const void *left, const void *right)
{
    const HotFunc *a = *(const HotFunc *const *)left;
    const HotFunc *b = *(const HotFunc *const *)right;
    if (a->insns != b->insns)
        return a->insns > b->insns ? -1 : 1;
    return order_places(a, a->start, b, b->start);
}

static int order_blocks(const void *left, const void *right)
{
    const HotBlock *a = left;
    const HotBlock *b = right;
    if (a->insns != b->insns)
        return a->insns > b->insns ? -1 : 1;
    return order_places(a->func, a->block->start, b->func, b->block->start);
}

void hot_collect(Arena *arena, const Profile *profile, Hot *out)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < profile->n_modules; i++)
        most += profile->modules[i].n_blocks;
    *out = (Hot){ .funcs = arena_many(arena, HotFunc *, most),
                  .blocks = arena_many(arena, HotBlock, most),
                  .insns = profile->outside_insns };
    for (uint32_t i = 0; i < profile->n_modules; i++) {
        collect_module(arena, &profile->modules[i], out);
        out->insns += profile_instructions(&profile->modules[i]);
    }
    if (out->n_funcs > 1)
        qsort(out->funcs, out->n_funcs, sizeof(HotFunc *), order_funcs);
    if (out->n_blocks > 1)
        qsort(out->blocks, out->n_blocks, sizeof(HotBlock), order_blocks);
}

void hot_coverage(const Hot *hot, unsigned percent, uint32_t *n_blocks, uint64_t *bytes)
{
    double wanted = (double)hot->insns * percent / 100;
    double have = 0;
    *bytes = 0;
    for (*n_blocks = 0; *n_blocks < hot->n_blocks && have < wanted; (*n_blocks)++) {
        have += (double)hot->blocks[*n_blocks].insns;
        *bytes += hot->blocks[*n_blocks].block->size;
    }
}
