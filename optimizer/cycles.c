/*
 * cycles.c: strongly connected parts, after Tarjan, with a stack of its own.
 *
 *     A -> B -> C -> B        part 0: B C        A lies on no cycle
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/cycles.h"

typedef struct Visit {
    uint32_t block;
    uint32_t next_succ;
} Visit;

typedef struct Finder {
    const Func *fn;
    const bool *in;
    uint32_t *number; /* order of visit, from 1; 0: not yet */
    uint32_t *low;
    bool *open; /* on the stack of blocks without a part */
    uint32_t *stack;
    uint32_t n_stack;
    Visit *visits;
    uint32_t n_visits;
    uint32_t last_number;
    uint32_t *part;
    uint32_t n_parts;
} Finder;

static void begin_visit(Finder *finder, uint32_t block)
{
    finder->number[block] = finder->low[block] = ++finder->last_number;
    finder->open[block] = true;
    finder->stack[finder->n_stack++] = block;
    finder->visits[finder->n_visits++] = (Visit){ block, 0 };
}

static bool leads_to_itself(const Block *block)
{
    for (uint32_t i = 0; i < block->n_succ; i++) {
        if (same_block(block->succ[i].to, block->id))
            return true;
    }
    return false;
}

/* Takes the blocks of one part off the stack; it bears a number when it holds an edge. */
static void end_part(Finder *finder, uint32_t root)
{
    bool has_edge =
        finder->stack[finder->n_stack - 1] != root || leads_to_itself(&finder->fn->blocks[root]);
    uint32_t number = has_edge ? finder->n_parts++ : NO_CYCLE;
    uint32_t block;
    do {
        block = finder->stack[--finder->n_stack];
        finder->open[block] = false;
        finder->part[block] = number;
    } while (block != root);
}

static void visit_from(Finder *finder, uint32_t root)
{
    begin_visit(finder, root);
    while (finder->n_visits > 0) {
        Visit *visit = &finder->visits[finder->n_visits - 1];
        const Block *block = &finder->fn->blocks[visit->block];
        if (visit->next_succ < block->n_succ) {
            BlockId to = block->succ[visit->next_succ++].to;
            if (!is_block(to) || !finder->in[to.i])
                continue;
            if (finder->number[to.i] == 0)
                begin_visit(finder, to.i);
            else if (finder->open[to.i] && finder->number[to.i] < finder->low[block->id.i])
                finder->low[block->id.i] = finder->number[to.i];
            continue;
        }
        uint32_t done = visit->block;
        finder->n_visits--;
        if (finder->low[done] == finder->number[done])
            end_part(finder, done);
        if (finder->n_visits > 0) {
            uint32_t above = finder->visits[finder->n_visits - 1].block;
            if (finder->low[done] < finder->low[above])
                finder->low[above] = finder->low[done];
        }
    }
}

uint32_t *find_cycles(Arena *arena, const Func *fn, const bool *in)
{
    uint32_t n = fn->n_blocks;
    Finder finder = { .fn = fn, .in = in };
    finder.number = arena_many(arena, uint32_t, n);
    finder.low = arena_many(arena, uint32_t, n);
    finder.open = arena_many(arena, bool, n);
    finder.stack = arena_many(arena, uint32_t, n);
    finder.visits = arena_many(arena, Visit, n);
    finder.part = arena_many(arena, uint32_t, n);
    for (uint32_t i = 0; i < n; i++)
        finder.part[i] = NO_CYCLE;
    for (uint32_t i = 0; i < n; i++) {
        if (in[i] && finder.number[i] == 0)
            visit_from(&finder, i);
    }
    return finder.part;
}
