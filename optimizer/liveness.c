/*
 * liveness.c: backward data flow to a fixed point.
 *
 *     in = (out - writes) | reads           through each instruction, last to first
 *     out = union of in over successors     or everything, where control leaves the function
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/liveness.h"

static Live join(Live left, Live right)
{
    return (Live){ left.regs | right.regs, left.flags | right.flags };
}

static Live through(const Insn *insn, Live after)
{
    InsnEffects effects;
    insn_effects(insn, &effects);
    bool leaves = effects.barrier || insn->flow == FLOW_CALL || insn->flow == FLOW_CALL_IND ||
                  insn->flow == FLOW_SYSCALL || insn->flow == FLOW_RET ||
                  insn->flow == FLOW_XBEGIN || insn->flow == FLOW_STOP;
    if (leaves)
        return LIVE_ALL;
    return (Live){ (after.regs & ~effects.writes) | effects.reads,
                   (uint8_t)((after.flags & ~effects.flags_written) | effects.flags_read) };
}

/* True when every way out of the block is one of its successors. */
static bool is_closed(const Block *block)
{
    const Insn *last = block_last(block);
    if (last == NULL || block->n_succ == 0 || (block->facts & BLOCK_STOPS) != 0)
        return false;
    for (uint32_t i = 0; i < block->n_succ; i++) {
        if (!is_block(block->succ[i].to))
            return false;
    }
    return last->flow != FLOW_JUMP_IND || block->table >= 0;
}

static Live out_of(const Liveness *liveness, const Block *block)
{
    Live out = { 0, 0 };
    if (!is_closed(block))
        return LIVE_ALL;
    for (uint32_t i = 0; i < block->n_succ; i++)
        out = join(out, liveness->in[block->succ[i].to.i]);
    return out;
}

static Live into(const Block *block, Live out, uint32_t from)
{
    for (uint32_t i = block->n_insns; i > from; i--)
        out = through(&block->insns[i - 1], out);
    return out;
}

Liveness liveness_of(Arena *arena, const Func *fn)
{
    Liveness liveness = { fn, arena_many(arena, Live, fn->n_blocks),
                          arena_many(arena, Live, fn->n_blocks) };
    /* Transfer is bitwise, so two runs through a block tell all: what it reads, what it lets pass.
     */
    Live *reads = arena_many(arena, Live, fn->n_blocks);
    Live *passes = arena_many(arena, Live, fn->n_blocks);
    for (uint32_t i = 0; i < fn->n_blocks; i++) {
        reads[i] = into(&fn->blocks[i], (Live){ 0, 0 }, 0);
        passes[i] = into(&fn->blocks[i], LIVE_ALL, 0);
    }
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = fn->n_blocks; i-- > 0;) {
            Live out = out_of(&liveness, &fn->blocks[i]);
            Live in = join(reads[i], (Live){ out.regs & passes[i].regs,
                                             (uint8_t)(out.flags & passes[i].flags) });
            changed |= in.regs != liveness.in[i].regs || in.flags != liveness.in[i].flags;
            liveness.in[i] = in;
            liveness.out[i] = out;
        }
    }
    return liveness;
}

Live live_before(const Liveness *liveness, BlockId block, uint32_t insn)
{
    return into(func_block(liveness->fn, block), liveness->out[block.i], insn);
}
