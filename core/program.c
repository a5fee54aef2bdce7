/*
 * program.c: finding and adding blocks and functions.
 *
 *     blocks of a function:  [ originals, sorted by start | copies and made ones, in order ]
 *
 * The split point is found by bisection (a copy never stands before an original), so a look-up by
 * address needs no index of its own and passes may add blocks freely.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/program.h"

#include <stdlib.h>

const Insn *block_last(const Block *block)
{
    return block->n_insns > 0 ? &block->insns[block->n_insns - 1] : NULL;
}

static bool is_original(const Block *block)
{
    return !is_block(block->copy_of) && !vaddr_is_none(block->start);
}

static uint32_t count_originals(const Func *fn)
{
    uint32_t low = 0;
    uint32_t high = fn->n_blocks;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (is_original(&fn->blocks[mid]))
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* The last original block that starts at or before `addr`; NO_BLOCK: none. */
static BlockId last_block_before(const Func *fn, Vaddr addr)
{
    uint32_t low = 0;
    uint32_t high = count_originals(fn);
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (fn->blocks[mid].start.v <= addr.v)
            low = mid + 1;
        else
            high = mid;
    }
    return low > 0 ? (BlockId){ low - 1 } : NO_BLOCK;
}

BlockId func_block_at(const Func *fn, Vaddr start)
{
    BlockId id = last_block_before(fn, start);
    return is_block(id) && vaddr_equal(func_block(fn, id)->start, start) ? id : NO_BLOCK;
}

BlockId func_block_over(const Func *fn, Vaddr addr)
{
    BlockId id = last_block_before(fn, addr);
    if (!is_block(id))
        return NO_BLOCK;
    const Block *block = func_block(fn, id);
    return addr.v - block->start.v < block->size ? id : NO_BLOCK;
}

BlockId func_add_block(Func *fn)
{
    BlockId id = { fn->n_blocks };
    fn->blocks = arena_grow(fn->arena, fn->blocks, &fn->cap_blocks, (size_t)fn->n_blocks + 1,
                            sizeof fn->blocks[0]);
    fn->blocks[fn->n_blocks++] =
        (Block){ .id = id, .start = VADDR_NONE, .copy_of = NO_BLOCK, .table = -1 };
    return id;
}

BlockId func_copy_block(Func *fn, BlockId of)
{
    BlockId id = func_add_block(fn);
    const Block *from = func_block(fn, of);
    Block *copy = func_block(fn, id);
    *copy = *from;
    copy->id = id;
    copy->copy_of = of;
    copy->count = 0;
    copy->end_count = 0;
    copy->insns = arena_copy(fn->arena, from->insns, from->n_insns * sizeof from->insns[0]);
    copy->cap_insns = from->n_insns;
    copy->succ = arena_copy(fn->arena, from->succ, from->n_succ * sizeof from->succ[0]);
    for (uint32_t i = 0; i < copy->n_succ; i++)
        copy->succ[i].count = 0;
    return id;
}

void block_add_insn(Func *fn, BlockId id, const Insn *insn)
{
    Block *block = func_block(fn, id);
    size_t cap = block->cap_insns;
    block->insns = arena_grow(fn->arena, block->insns, &cap, (size_t)block->n_insns + 1,
                              sizeof block->insns[0]);
    block->cap_insns = (uint32_t)cap;
    block->insns[block->n_insns++] = *insn;
}

static int by_start(const void *left, const void *right)
{
    const ExtentRef *a = left;
    const ExtentRef *b = right;
    return (a->start.v > b->start.v) - (a->start.v < b->start.v);
}

void program_index_extents(Program *program)
{
    size_t n = 0;
    for (uint32_t i = 0; i < program->n_funcs; i++)
        n += program->funcs[i].n_extents;
    program->extents = arena_many(program->arena, ExtentRef, n);
    program->n_extents = 0;
    for (uint32_t i = 0; i < program->n_funcs; i++) {
        const Func *fn = &program->funcs[i];
        for (uint32_t j = 0; j < fn->n_extents; j++)
            program->extents[program->n_extents++] =
                (ExtentRef){ fn->extents[j].start, fn->extents[j].end, { i } };
    }
    if (n > 0)
        qsort(program->extents, n, sizeof program->extents[0], by_start);
}

Func *program_func_at(const Program *program, Vaddr addr)
{
    uint32_t low = 0;
    uint32_t high = program->n_extents;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (program->extents[mid].start.v <= addr.v)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == 0 || addr.v >= program->extents[low - 1].end.v)
        return NULL;
    return &program->funcs[program->extents[low - 1].fn.i];
}
