/*
 * counts.c: the profile's counts on blocks and edges, checked for flow.
 *
 *          40 | | 60          in:  what predecessors and the outside send here
 *        [ count 100 ]
 *          99 | (a call in the middle did not return once)
 *          70 | | 29          out: what the last instruction sends on
 *
 * Exact counts conserve flow but for what the VM cannot see as an edge: calls that do not return,
 * handlers that signals enter, blocks that signals and faults leave in the middle, the end of a
 * thread. These are few, but for handlers (a function's entry may have more executions than edges)
 * and calls (whose returns are counted). Any more means that graph and profile disagree about the
 * code, and the function is refused. Samples and lower bounds are not checked.
 *
 * A block's count stays the profile's. `end_count` is the sum of what leaves a block that ends in a
 * branch, so that the two always agree.
 *
 * Needs CFG and TABLES; gives COUNTS; refuses FLOW_COUNTS.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/module_refs.h"
#include "optimizer/passes.h"

enum { SLACK = 64, SLACK_SHARE = 1024 }; /* unseen transfers allowed: SLACK + count / SLACK_SHARE */

static bool in_function(const Func *fn, Vaddr addr)
{
    for (uint32_t i = 0; i < fn->n_extents; i++)
        if (addr.v - fn->extents[i].start.v < fn->extents[i].end.v - fn->extents[i].start.v)
            return true;
    return false;
}

static bool agree(uint64_t left, uint64_t right)
{
    uint64_t larger = left > right ? left : right;
    uint64_t smaller = left > right ? right : left;
    return larger - smaller <= SLACK + larger / SLACK_SHARE;
}

/* --- edges -------------------------------------------------------------------------------------
 */

typedef struct Edges {
    const ProfileEdge *edges;
    uint32_t n;
    uint32_t module;
} Edges;

static Edges edges_from(const Context *ctx, const Insn *insn)
{
    Edges edges = { .module = ctx->module };
    edges.edges = profile_edges_from(ctx->counts, insn->addr, &edges.n);
    return edges;
}

static uint64_t sum_of_kind(const Edges *edges, EdgeKind kind)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < edges->n; i++)
        if (edges->edges[i].kind == kind)
            sum += edges->edges[i].count;
    return sum;
}

/* A block that ends without a branch: an edge of its own only when the profile ends one there. */
static uint64_t count_fall(const Edges *edges, const Block *block)
{
    switch ((Flow)block_last(block)->flow) {
    case FLOW_CALL:
    case FLOW_CALL_IND:
        return sum_of_kind(edges, EDGE_RETURN_TO);
    case FLOW_SYSCALL:
        return sum_of_kind(edges, EDGE_SYSCALL);
    default:
        return block->end_count;
    }
}

static void count_table(const Edges *edges, Block *block)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < edges->n; i++) {
        const ProfileEdge *edge = &edges->edges[i];
        if (edge->kind != EDGE_JUMP_IND || edge->to_module != edges->module)
            continue;
        for (uint32_t j = 0; j < block->n_succ; j++) {
            if (!vaddr_equal(block->succ[j].addr, edge->to))
                continue;
            block->succ[j].count += edge->count;
            sum += edge->count;
            break;
        }
    }
    block->end_count = sum;
}

static void count_branch(const Edges *edges, Block *block)
{
    bool conditional = block_last(block)->flow != FLOW_JUMP;
    block->end_count = 0;
    for (uint32_t i = 0; i < block->n_succ; i++) {
        Succ *succ = &block->succ[i];
        EdgeKind kind = conditional ? EDGE_TAKEN : EDGE_JUMP;
        succ->count = sum_of_kind(edges, succ->kind == SUCC_FALL ? EDGE_FALL : kind);
        block->end_count += succ->count;
    }
}

static void count_block(const Context *ctx, Block *block)
{
    const Insn *last = block_last(block);
    Edges edges = edges_from(ctx, last);
    block->count = profile_count_at(ctx->counts, block->start);
    block->end_count = profile_count_at(ctx->counts, last->addr);
    switch ((Flow)last->flow) {
    case FLOW_COND:
    case FLOW_LOOP:
    case FLOW_JUMP:
        count_branch(&edges, block);
        break;
    case FLOW_JUMP_IND:
        if (block->table >= 0)
            count_table(&edges, block);
        break;
    default:
        for (uint32_t i = 0; i < block->n_succ; i++)
            if (block->succ[i].kind == SUCC_FALL)
                block->succ[i].count = count_fall(&edges, block);
        break;
    }
}

/* --- flow --------------------------------------------------------------------------------------
 */

/* Edges into a block that are no successor of another block of the function. */
static uint64_t count_from_outside(const Context *ctx, const Func *fn, Vaddr start)
{
    const ModuleRefs *refs = ctx->refs;
    uint64_t sum = 0;
    for (uint32_t i = module_refs_inward_from(refs, start);
         i < refs->n_inward && vaddr_equal(refs->inward[i]->to, start); i++) {
        const ProfileEdge *edge = refs->inward[i];
        bool own = !vaddr_is_none(edge->from) && in_function(fn, edge->from);
        bool called = edge->kind == EDGE_CALL || edge->kind == EDGE_CALL_IND;
        if (!own || called || edge->kind == EDGE_RET)
            sum += edge->count;
        else if (edge->kind == EDGE_JUMP_IND) {
            BlockId from = func_block_over(fn, edge->from);
            if (!is_block(from) || func_block(fn, from)->table < 0)
                sum += edge->count;
        }
    }
    return sum;
}

static uint64_t *count_incoming(const Context *ctx, const Func *fn)
{
    uint64_t *in = arena_many(ctx->scratch, uint64_t, fn->n_blocks);
    for (uint32_t i = 0; i < fn->n_blocks; i++) {
        const Block *block = &fn->blocks[i];
        in[i] += count_from_outside(ctx, fn, block->start);
        for (uint32_t j = 0; j < block->n_succ; j++)
            if (is_block(block->succ[j].to))
                in[block->succ[j].to.i] += block->succ[j].count;
    }
    return in;
}

/* Calls in the middle of a block that did not come back. */
static uint64_t count_lost(const Context *ctx, const Block *block)
{
    uint64_t lost = 0;
    for (uint32_t i = 0; i + 1 < block->n_insns; i++) {
        const Insn *insn = &block->insns[i];
        if (insn->flow != FLOW_CALL && insn->flow != FLOW_CALL_IND && insn->flow != FLOW_SYSCALL)
            continue;
        Edges edges = edges_from(ctx, insn);
        bool syscall = insn->flow == FLOW_SYSCALL;
        uint64_t back = sum_of_kind(&edges, syscall ? EDGE_SYSCALL : EDGE_RETURN_TO);
        uint64_t count = profile_count_at(ctx->counts, insn->addr);
        lost += count > back ? count - back : 0;
    }
    return lost;
}

static Status refuse_flow(Func *fn, const Block *block, const char *what, uint64_t found,
                          uint64_t wanted)
{
    return refuse(fn, REFUSED_FLOW_COUNTS,
                  "block 0x%" PRIx64 ": %s %" PRIu64 ", executed %" PRIu64 " times", block->start.v,
                  what, found, wanted);
}

/* An observed target that a proven table does not hold: graph and run disagree. */
static Status check_table(const Context *ctx, Func *fn, const Block *block)
{
    const Insn *last = block_last(block);
    Edges edges = edges_from(ctx, last);
    uint64_t seen = sum_of_kind(&edges, EDGE_JUMP_IND);
    if (seen == block->end_count)
        return ST_OK;
    return refuse(fn, REFUSED_FLOW_COUNTS,
                  "the jump at 0x%" PRIx64 " went %" PRIu64 " times where its table leads %" PRIu64,
                  last->addr.v, seen, block->end_count);
}

static Status check_flow(const Context *ctx, Func *fn)
{
    const uint64_t *in = count_incoming(ctx, fn);
    for (uint32_t i = 0; i < fn->n_blocks && fn->refused == 0; i++) {
        const Block *block = &fn->blocks[i];
        uint64_t end = profile_count_at(ctx->counts, block_last(block)->addr);
        bool entry = (block->facts & BLOCK_ENTRY) != 0;
        if (!agree(in[i], block->count) && !(entry && in[i] < block->count))
            return refuse_flow(fn, block, "entered", in[i], block->count);
        if (!agree(end + count_lost(ctx, block), block->count))
            return refuse_flow(fn, block, "ended", end, block->count);
        if (!agree(end, block->end_count))
            return refuse_flow(fn, block, "left", block->end_count, end);
        if (block->table >= 0)
            TRY(check_table(ctx, fn, block));
    }
    return ST_OK;
}

static bool is_exact(const Profile *profile)
{
    return !profile->sampled && !profile->counting_stopped && !profile->detached;
}

Status attach_counts(Context *ctx, Func *fn, PassStats *stats, Error *err)
{
    (void)err;
    for (uint32_t i = 0; i < fn->n_blocks; i++)
        count_block(ctx, &fn->blocks[i]);
    fn->calls = profile_count_at(ctx->counts, fn->entry);
    stats->changed += fn->n_blocks;
    return is_exact(ctx->program->profile) ? check_flow(ctx, fn) : ST_OK;
}
