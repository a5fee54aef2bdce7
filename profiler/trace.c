/*
 * trace.c: which blocks a trace holds: from a head along the likely edges.
 *
 *   head ─► block ─► call ─► callee ─► return ─► block ...      the return of a call on the path is
 *                                                               on the path, too
 *
 * It ends where the next block is not known, cannot be translated, is the head of another trace, or
 * was passed already. A loop to the head is passed a few times over, so that it is counted once
 * for several rounds.
 *
 * SPDX-License-Identifier: MIT
 */
#define ZYAN_NO_LIBC 1
#include "profiler/trace.h"

#include "profiler/flow.h"
#include "profiler/lookup.h"
#include "profiler/translate.h"

#include <Zydis/Mnemonic.h>

enum {
    LONG_INSNS = 32, /* beyond it, a final trace ends at the heads of others, too */
    MOST_ASKED =
        6, /* passages of traces through a block whose counters are asked for its likely edge */
    LIKELY_SHARE = 45, /* percent of an indirect branch's targets */
    UNROLL_INSNS = 64, /* a loop is not passed again beyond this size */
    PREFIX_GS = 0x65,
};

/* ---- what cannot be translated ---- */

static bool is_prefix(uint8_t byte)
{
    static const uint8_t prefixes[] = {
        0x26, 0x2e, 0x36, 0x3e, 0x64, 0x66, 0x67, 0xf0, 0xf2, 0xf3
    };
    for (unsigned i = 0; i < sizeof prefixes; i++) {
        if (byte == prefixes[i])
            return true;
    }
    return false;
}

/* Uses GS, or loads a segment register. */
static bool touches_segments(const GuestInsn *insn)
{
    enum {
        MOV_TO_SEGMENT = 0x8e,
        TWO_BYTES = 0x0f,
        POP_FS = 0xa1,
        POP_GS = 0xa9,
        LSS = 0xb2,
        LFS = 0xb4,
        LGS = 0xb5
    };
    unsigned at = 0;
    while (is_prefix(insn->bytes[at]))
        at++;
    if (insn->bytes[at] == PREFIX_GS)
        return true;
    if ((insn->bytes[at] & 0xf0) == 0x40)
        at++;
    uint8_t second = insn->bytes[at + 1];
    return insn->bytes[at] == MOV_TO_SEGMENT ||
           (insn->bytes[at] == TWO_BYTES && (second == POP_FS || second == POP_GS ||
                                             second == LSS || second == LFS || second == LGS));
}

static bool is_virtual(unsigned mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_PUSHF:
    case ZYDIS_MNEMONIC_PUSHFQ:
    case ZYDIS_MNEMONIC_POPF:
    case ZYDIS_MNEMONIC_POPFQ:
    case ZYDIS_MNEMONIC_CPUID:
    case ZYDIS_MNEMONIC_INT:
    case ZYDIS_MNEMONIC_INT1:
    case ZYDIS_MNEMONIC_INT3:
    case ZYDIS_MNEMONIC_RDGSBASE:
    case ZYDIS_MNEMONIC_WRGSBASE:
    case ZYDIS_MNEMONIC_SWAPGS:
        return true;
    default:
        return false;
    }
}

static bool can_be_copied(const GuestInsn *insn)
{
    if (is_virtual(insn->mnemonic) || touches_segments(insn))
        return false;
    if (insn->flow == FLOW_RET && insn->shape == SHAPE_I)
        return false;
    return insn->flow != FLOW_ABORT && insn->flow != FLOW_REFUSED;
}

/* Decodes the block again, behind the path's instructions. False: refused, or other code now. */
static bool decode_block(Path *path, Block *block)
{
    static DecodedRun run; /* under code_lock */
    decode_run(block->pc, &run);
    if (run.map.checked || run.n < block->n_insns)
        return false;
    const GuestInsn *last = &run.insn[block->n_insns - 1];
    if (last->pc + last->size != block->pc + block->size)
        return false;
    for (uint32_t i = 0; i < block->n_insns; i++) {
        if (!can_be_copied(&run.insn[i]))
            return false;
        path->insn[path->n_insns + i] = run.insn[i];
    }
    return true;
}

/* ---- the path ---- */

static bool add_block(Path *path, Block *block, uint8_t within)
{
    if (path->n == PATH_BLOCKS || path->n_insns + block->n_insns > PATH_INSNS || block->refused ||
        block->observed)
        return false;
    if (!decode_block(path, block)) {
        block->refused = true;
        return false;
    }
    path->block[path->n++] = (PathBlock){ .block = block,
                                          .insn = &path->insn[path->n_insns],
                                          .n = block->n_insns,
                                          .within = within,
                                          .partner = NO_CALL };
    path->n_insns += block->n_insns;
    return true;
}

/* A return meets the innermost open call; false: there is none. */
static bool close_call(Path *path, uint64_t *next)
{
    PathBlock *last = &path->block[path->n - 1];
    if (last->within == NO_CALL)
        return false;
    PathBlock *call = &path->block[last->within];
    call->partner = (uint8_t)(path->n - 1);
    last->partner = last->within;
    *next = call->block->pc + call->block->size;
    return true;
}

/* How often `trace` passed its block `i`, and how often it left the path there. */
static void count_in_trace(const Cpu *cpu, const Trace *trace, uint32_t i, uint64_t *stayed,
                           uint64_t *left)
{
    uint64_t out = trace->ended != 0 && trace->visits == 0 ? cpu->counter[trace->ended] : 0;
    *stayed = *left = 0;
    for (uint32_t k = 0; k < trace->n_blocks; k++) {
        uint32_t counter = trace->at[k].left;
        uint64_t n = counter != 0 ? cpu->counter[counter] : 0;
        if (k == i)
            *left = n;
        if (trace->visits != 0 ? k <= i : k > i)
            out += n;
    }
    if (trace->visits == 0)
        *stayed = out;
    else if (cpu->counter[trace->visits] > out)
        *stayed = cpu->counter[trace->visits] - out;
}

/* A conditional jump was mostly taken: in the interpreter, and in the traces that hold it. */
static bool mostly_taken(const Cpu *cpu, const Block *block, bool *both)
{
    enum { RARE = 8 }; /* one in so many */
    uint64_t taken = cpu->counter[block->counter];
    uint64_t not_taken = cpu->counter[block->counter + 1];
    unsigned asked = 0;
    for (const TraceBlock *at = pool_at(block->through); at != NULL && asked < MOST_ASKED;
         at = pool_at(at->next), asked++) {
        uint64_t stayed, left;
        count_in_trace(cpu, trace_that_holds(at), at->index, &stayed, &left);
        taken += at->taken ? stayed : left;
        not_taken += at->taken ? left : stayed;
    }
    *both = (taken < not_taken ? taken : not_taken) * RARE >= taken + not_taken;
    return taken > not_taken;
}

/* The target that an indirect branch had most often, if that was often. */
static const Target *likely_target(const Cpu *cpu, const Block *block)
{
    const Target *best = NULL;
    uint64_t all = 0, most = 0;
    const Op *site = block_last_record(block);
    for (const Target *target = lookup_targets(site); target != NULL; target = target->other) {
        uint64_t n = cpu->counter[target->counter];
        for (const CountNode *node = target->counts; node != NULL; node = node->next)
            n += cpu->counter[node->counter];
        all += n;
        if (n > most) {
            most = n;
            best = target;
        }
    }
    return most * 100 >= all * LIKELY_SHARE ? best : NULL;
}

/* Where the last block's likely edge leads, and what is open there. False: nowhere known. */
static bool next_address(const Cpu *cpu, Path *path, bool final, uint64_t *next, uint8_t *within)
{
    PathBlock *last = &path->block[path->n - 1];
    const Block *block = last->block;
    *next = block->target;
    *within = last->within;
    switch (block->end) {
    case LIVE_END_COND:
        last->taken = mostly_taken(cpu, block, &last->both);
        if (!last->taken)
            *next = block->pc + block->size;
        return true;
    case LIVE_END_JUMP:
        return true;
    case LIVE_END_CALL:
        *within = (uint8_t)(path->n - 1);
        return true;
    case LIVE_END_FALL:
        *next = block->pc + block->size;
        return true;
    case LIVE_END_RET:
        if (!close_call(path, next))
            return false;
        *within = path->block[last->partner].within;
        return true;
    case LIVE_END_CALL_IND:
    case LIVE_END_JUMP_IND:
        last->likely = final ? likely_target(cpu, block) : NULL;
        if (last->likely == NULL)
            return false;
        *next = last->likely->pc;
        if (block->end == LIVE_END_CALL_IND)
            *within = (uint8_t)(path->n - 1);
        return true;
    default:
        return false;
    }
}

/* In this round: from block `first` of the path on. */
static bool was_passed(const Path *path, uint32_t first, const Block *block, uint8_t within)
{
    for (uint32_t i = first; i < path->n; i++) {
        if (path->block[i].block == block && path->block[i].within == within)
            return true;
    }
    return false;
}

static bool has_trace(const Block *block)
{
    for (const Trace *trace = pool_at(block->traces); trace != NULL;
         trace = pool_at(trace->same_head)) {
        if (trace->from == 0 && trace->stale == 0)
            return true;
    }
    return false;
}

/* Operands of its code may be out of reach. */
static bool is_far(uint64_t a, uint64_t b)
{
    const uint64_t most = UINT64_C(1) << 28;
    return a < b ? b - a > most : a - b > most;
}

/* `round`: where on the path the head was passed last. */
static bool goes_on_with(const Path *path, bool final, uint32_t *round, const Block *next,
                         uint8_t within)
{
    if (next == NULL || next->stale != 0 || is_far(next->pc, path->block[0].block->pc))
        return false;
    if (next == path->block[0].block && within == NO_CALL) {
        *round = path->n;
        return final && path->n_insns <= UNROLL_INSNS;
    }
    bool other = final ? path->n_insns >= LONG_INSNS && has_trace(next) : has_trace(next);
    return !other && !was_passed(path, *round, next, within);
}

bool trace_choose(const Cpu *cpu, Block *head, bool final, Path *path)
{
    path->n = path->n_insns = 0;
    uint8_t within = NO_CALL;
    Block *next = head;
    uint32_t round = 0;
    uint64_t address;
    while (add_block(path, next, within)) {
        if (!next_address(cpu, path, final, &address, &within))
            break;
        next = lookup_block(address);
        if (!goes_on_with(path, final, &round, next, within))
            break;
    }
    return path->n != 0;
}
