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

#include "profiler/lookup.h"
#include "profiler/translate.h"

#include <Zydis/Mnemonic.h>

enum {
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
    if (path->n == PATH_BLOCKS || path->n_insns + block->n_insns > PATH_INSNS || block->refused)
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

/* Where the last block's likely edge leads, and what is open there. False: nowhere known. */
static bool next_address(const Cpu *cpu, Path *path, uint64_t *next, uint8_t *within)
{
    PathBlock *last = &path->block[path->n - 1];
    const Block *block = last->block;
    *next = block->target;
    *within = last->within;
    switch (block->end) {
    case LIVE_END_COND:
        last->taken = cpu->counter[block->counter] > cpu->counter[block->counter + 1];
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
    for (const Trace *trace = block->traces; trace != NULL; trace = trace->same_head) {
        if (trace->from == 0 && trace->stale == 0)
            return true;
    }
    return false;
}

/* `round`: where on the path the head was passed last. */
static bool goes_on_with(const Path *path, uint32_t *round, const Block *next, uint8_t within)
{
    if (next == NULL || next->stale != 0)
        return false;
    if (next == path->block[0].block && within == NO_CALL) {
        *round = path->n;
        return path->n_insns <= UNROLL_INSNS;
    }
    return !has_trace(next) && !was_passed(path, *round, next, within);
}

bool trace_choose(const Cpu *cpu, Block *head, Path *path)
{
    path->n = path->n_insns = 0;
    uint8_t within = NO_CALL;
    Block *next = head;
    uint32_t round = 0;
    uint64_t address;
    while (add_block(path, next, within)) {
        if (!next_address(cpu, path, &address, &within))
            break;
        next = lookup_block(address);
        if (!goes_on_with(path, &round, next, within))
            break;
    }
    return path->n != 0;
}
