/*
 * tail.c: records that begin in the middle of a block, and those of a single instruction.
 *
 *   tail    block   i0 i1 i2 i3 jmp      interrupted in the code cache before i2
 *                         i2 i3 jmp      these records finish it, with the block's own counters
 *   alone           i2                   a write to a page of code, executed by itself: what
 * follows is decoded anew, from the bytes that it wrote
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/tail.h"

#include "profiler/lookup.h"
#include "profiler/pool.h"
#include "profiler/records.h"
#include "profiler/step.h"

enum { TAIL_BUCKETS = 1 << 10 };

typedef struct TailNode {
    const Block *whole;
    const Block *tail;
    uint32_t insn;
    struct TailNode *next;
} TailNode;

static TailNode *tails[TAIL_BUCKETS];
static DecodedRun run; /* under code_lock */

static TailNode **bucket_for(const Block *block, uint32_t insn)
{
    uint64_t key = ((uint64_t)(uintptr_t)block + insn) * UINT64_C(0x9e3779b97f4a7c15);
    return &tails[(key >> 40) & (TAIL_BUCKETS - 1)];
}

/* Decodes the block again. False: its bytes are others by now. */
static bool decode_whole(const Block *block)
{
    decode_run(block->pc, &run);
    if (run.n < block->n_insns)
        return false;
    for (uint32_t i = 0; i < block->n_insns; i++) {
        if (run.insn[i].pc != block->pc + block->offset[i])
            return false;
    }
    if (run.n > block->n_insns)
        run.end = DECODE_LIMIT;
    run.n = block->n_insns;
    run.size = block->offset[block->n_insns];
    return run.insn[run.n - 1].pc + run.insn[run.n - 1].size == block->pc + block->size;
}

/* code_lock is held. */
static const Op *find_tail(const Block *block, uint32_t insn)
{
    TailNode **head = bucket_for(block, insn);
    for (const TailNode *node = *head; node != NULL; node = node->next) {
        if (node->whole == block && node->insn == insn)
            return node->tail->ops;
    }
    if (!decode_whole(block))
        return NULL;
    TailNode *node = pool_take(sizeof *node);
    *node = (TailNode){ block, records_make_tail(&run, block, insn), insn, *head };
    *head = node;
    return node->tail->ops;
}

/* code_lock is held. */
static const Op *make_alone(uint64_t pc)
{
    decode_run(pc, &run);
    if (run.n == 0 || run.insn[0].flow == FLOW_REFUSED)
        return NULL;
    if (run.n > 1)
        run.end = DECODE_LIMIT;
    run.n = 1;
    run.size = run.insn[0].size;
    run.map.checked = false;
    return (step_is_on() ? step_make_block(&run) : records_make_tail(&run, NULL, 0))->ops;
}

const Op *tail_take(Cpu *cpu)
{
    const Op *op = NULL;
    const Block *block = cpu->tail.block;
    bool alone = cpu->tail.alone;
    if (block == NULL && !alone)
        return NULL;
    cpu->tail.block = NULL;
    cpu->tail.alone = false;
    vm_lock(&the_vm.code_lock);
    if (alone)
        op = make_alone(cpu->pc);
    else if (block->stale == 0)
        op = find_tail(block, cpu->tail.insn);
    vm_unlock(&the_vm.code_lock);
    return op;
}
