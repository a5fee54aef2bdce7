/*
 * handlers_flow.c: records that no guest instruction stands for (links, exits, checks), and those
 * that only records need. What ends a block stands in handlers_ends.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/bodies.h"
#include "profiler/flow.h"
#include "profiler/model.h"

uint64_t flow_leave(Cpu *cpu, uint64_t raw, uint64_t pc, uint64_t why)
{
    cpu->rflags = (cpu->rflags & ~(U64)RFLAGS_ARITH) | rflags_of_raw(raw);
    cpu->flag_kind = FLAGS_RAW;
    cpu->pc = pc;
    return why;
}

HANDLER(h_make_raw)
{
    fa = flags_raw(kind, fa, fb);
    return op->run(cpu, op, fa, 0, FLAGS_RAW);
}

/* A record of its own, before a thunk that loads the flags. */
HANDLER(h_to_raw)
{
    if (kind != FLAGS_RAW)
        SET_FLAGS(flags_raw(kind, fa, fb), 0, FLAGS_RAW);
    NEXT(1);
}

/* ---- leaving ---- */

HANDLER(h_exit)
{
    return flow_leave(cpu, flags_raw(kind, fa, fb), op[1].word[0], (U32)op->imm);
}

/* At cpu->pc, which the handler that came here has set. */
HANDLER(h_exit_here)
{
    return flow_leave(cpu, flags_raw(kind, fa, fb), cpu->pc, (U32)op->imm);
}

HANDLER(h_pending)
{
    U64 pc = op->run == h_exit_here ? cpu->pc : lookup_pc(op);
    return flow_leave(cpu, flags_raw(kind, fa, fb), pc, RUN_PENDING);
}

/* ---- links ---- */

/* A function of its own: a handler that took the address of a local could not end in a tail call.
 */
__attribute__((noinline)) const Op *flow_find_code(Cpu *cpu, uint64_t pc, bool *found)
{
    bool real;
    cpu->pc = pc;
    const Op *to = lookup_code(pc, &real);
    if (found != NULL)
        *found = real;
    return to;
}

/* `op`: behind the `slots` of the record whose link it is; as far as that is from slot 1. */
static __attribute__((noinline)) const Op *resolve_link(Cpu *cpu, const Op *op, unsigned slots)
{
    bool real;
    const Op *to = flow_find_code(cpu, lookup_pc(op), &real);
    if (real)
        __atomic_store_n((const Op **)(uintptr_t)(op - (slots - 1)), to, __ATOMIC_RELEASE);
    return to;
}

HANDLER(h_link_2)
{
    JUMP_TO(resolve_link(cpu, op, 2));
}

HANDLER(h_link_3)
{
    JUMP_TO(resolve_link(cpu, op, 3));
}

/* Where the call that was never made goes on. */
HANDLER(h_nowhere)
{
    JUMP_TO(flow_find_code(cpu, UINT64_MAX, NULL));
}

/* The first record of a forgotten block: finds what is at its address now. */
HANDLER(h_stale)
{
    JUMP_TO(flow_find_code(cpu, block_of_first(op)->pc, NULL));
}

/* A checked block whose bytes differ from those decoded: forgets it and starts over. */
HANDLER(h_changed)
{
    const Block *block = block_of_first(op);
    interp_invalidate(block->pc, block->pc + block->size);
    return h_stale(cpu, op, fa, fb, kind);
}

HANDLER(h_fall)
{
    COUNT(op->imm);
    JUMP_TO(op[1].link[0]);
}

/* The jump to the fallback follows as a record of its own. */
HANDLER(h_xbegin)
{
    SET_REG32(R_RAX * 8, 0);
    NEXT(1);
}

/* xor of a register with itself. */
HANDLER(h_zero_32)
{
    BODY_ZERO(32);
    NEXT(1);
}

HANDLER(h_zero_64)
{
    BODY_ZERO(64);
    NEXT(1);
}

/* First record of a block in a checked map: goes on only where the bytes are still the same. */
HANDLER(h_check)
{
    const Block *block = block_of_first(op);
    U64 here = block->pc, end = block->pc + block->size;
    const uint8_t *was = block_bytes(block);
    for (; here < end; here++, was++) {
        register U64 kind_ __asm__("r8") = kind;
        U32 byte;
        __asm__ volatile(ACCESS("movzbl %[m], %[v]")
                         : [v] "=r"(byte)
                         : [m] "m"(*(const U8 *)here), PINNED(kind_)
                         : "memory");
        if (UNLIKELY(byte != *was))
            return h_changed(cpu, op, fa, fb, kind);
    }
    JUMP_TO(op + 1);
}

/* First record of a block while the front-end model runs; slot 1: address, size, instructions. */
HANDLER(h_model)
{
    model_block(((Thread *)cpu)->model, op[1].word[0], (U32)op[1].word[1],
                (U32)(op[1].word[1] >> 32));
    NEXT(2);
}
