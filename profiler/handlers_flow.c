/*
 * handlers_flow.c: records that end a block: jumps, calls, returns, links, exits.
 *
 * Each counts its edge in the thread's own counters, looks for a pending signal, and goes on at the
 * next block through a link. The pending test stands at every block end, so no loop escapes it.
 *
 * Returns: a call pushes {return address, its record} on the thread's shadow ring; a return whose
 * address is on top counts in the call's own counter and follows the call's link. Others (longjmp,
 * coroutines, unwinding, recursion deeper than the ring) are resolved in the slow path.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/bodies.h"
#include "profiler/flow.h"

enum { SHADOW_SEARCH = 24 };

static uint64_t leave(Cpu *cpu, uint64_t raw, uint64_t pc, uint64_t why)
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
    return leave(cpu, flags_raw(kind, fa, fb), op[1].word[0], (U32)op->imm);
}

/* At cpu->pc, which the handler that came here has set. */
HANDLER(h_exit_here)
{
    return leave(cpu, flags_raw(kind, fa, fb), cpu->pc, (U32)op->imm);
}

HANDLER(h_pending)
{
    U64 pc = op->run == h_exit_here ? cpu->pc : lookup_pc(op);
    return leave(cpu, flags_raw(kind, fa, fb), pc, RUN_PENDING);
}

HANDLER(h_syscall)
{
    COUNT(op->imm);
    cpu->came_back = (U32)op->imm + 1;
    cpu->after_syscall = op[1].word[1];
    return leave(cpu, flags_raw(kind, fa, fb), op[1].word[0], RUN_SYSCALL);
}

/* ---- links ---- */

/*
 * The records at `pc`; cpu->pc is set for those that leave. A function of its own: a handler that
 * took the address of a local could not end in a tail call.
 */
static __attribute__((noinline)) const Op *find_code(Cpu *cpu, uint64_t pc, bool *found)
{
    bool real;
    cpu->pc = pc;
    const Op *to = lookup_code(pc, &real);
    if (found != NULL)
        *found = real;
    return to;
}

static __attribute__((noinline)) const Op *resolve_link(Cpu *cpu, const Op *op)
{
    bool real;
    const Op *to = find_code(cpu, op[1].word[0], &real);
    if (real)
        __atomic_store_n((const Op **)op[1].word[1], to, __ATOMIC_RELEASE);
    return to;
}

HANDLER(h_link)
{
    JUMP_TO(resolve_link(cpu, op));
}

/* The first record of a forgotten block: finds what is at its address now. */
HANDLER(h_stale)
{
    JUMP_TO(find_code(cpu, block_of_first(op)->pc, NULL));
}

/* A checked block whose bytes differ from those decoded: forgets it and starts over. */
HANDLER(h_changed)
{
    const Block *block = block_of_first(op);
    interp_invalidate(block->pc, block->pc + block->size);
    return h_stale(cpu, op, fa, fb, kind);
}

HANDLER(h_jump)
{
    BODY_JUMP();
}

HANDLER(h_fall)
{
    COUNT(op->imm);
    JUMP_TO(op[1].link[0]);
}

/* ---- conditional jumps ---- */

#define DEF_JCC(cc)                                                                                \
    HANDLER(h_j_##cc)                                                                              \
    {                                                                                              \
        BODY_JCC(cc);                                                                              \
    }
CONDITIONS(DEF_JCC)
#define AS_JCC(cc) h_j_##cc,
Handler *const h_jcc[16] = { CONDITIONS(AS_JCC) };

HANDLER(h_jrcxz)
{
    TAKE(REG_AT(U64, RCX) == 0, op->imm);
}

HANDLER(h_jecxz)
{
    TAKE(REG_AT(U32, RCX) == 0, op->imm);
}

HANDLER(h_loop)
{
    U64 left = --REG_AT(U64, RCX);
    TAKE(left != 0, op->imm);
}

HANDLER(h_loope)
{
    if (kind != FLAGS_RAW)
        MAKE_RAW();
    U64 left = --REG_AT(U64, RCX);
    TAKE(left != 0 && (fa & RAW_ZF) != 0, op->imm);
}

HANDLER(h_loopne)
{
    if (kind != FLAGS_RAW)
        MAKE_RAW();
    U64 left = --REG_AT(U64, RCX);
    TAKE(left != 0 && (fa & RAW_ZF) == 0, op->imm);
}

/* ---- calls ---- */

HANDLER(h_call)
{
    BODY_CALL();
}

/* cpu->pc is the target. */
HANDLER(h_indirect_miss)
{
    const Target *target = lookup_target(op, cpu->pc);
    if (target == NULL) {
        cpu->missed = op;
        cpu->missed_pc = cpu->pc;
        JUMP_TO(find_code(cpu, cpu->pc, NULL));
    }
    ((const Target **)cpu->targets)[target_slot(op, target->pc)] = target;
    COUNT(target->counter);
    GO(target->ops);
}

HANDLER(h_call_r)
{
    U64 back = op[1].word[0];
    U64 address = REG_AT(U64, op->a);
    STORE(back, 64, push);
    REG_AT(U64, RSP) -= 8;
    SHADOW_PUSH(back);
    COUNT(op->imm);
    GO_TARGET(address);
}

HANDLER(h_jump_r)
{
    COUNT(op->imm);
    GO_TARGET(REG_AT(U64, op->a));
}

/* A return that the top of the ring did not predict. cpu->pc is the target. */
HANDLER(h_return_miss)
{
    const Op *call = NULL;
    U32 top = cpu->shadow_top;
    for (U32 depth = 1; depth < SHADOW_SEARCH && call == NULL; depth++) {
        const ShadowEntry *entry = &cpu->shadow[(top - depth) & (SHADOW_SLOTS - 1)];
        if (entry->return_to == cpu->pc && entry->call != NULL) {
            call = entry->call;
            cpu->shadow_top = (top - depth - 1) & (SHADOW_SLOTS - 1);
        }
    }
    if (call == NULL)
        call = lookup_return(cpu->pc);
    if (call == NULL)
        GO_TARGET(cpu->pc);
    COUNT(call->imm + 1);
    GO(call[1].link[1]);
}

HANDLER(h_ret)
{
    BODY_RETURN(0);
}

HANDLER(h_ret_drop)
{
    BODY_RETURN(op[1].word[0]);
}
