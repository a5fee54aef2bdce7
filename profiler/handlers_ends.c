/*
 * handlers_ends.c: instructions that end a block: jumps, calls, returns, system calls.
 *
 * Each counts its edge in the thread's own counters, looks for a pending signal, and goes on at the
 * next block through a link. The pending test stands at every block end, so no loop escapes it.
 *
 * Returns: a call pushes {return address, its site} on the thread's shadow ring; a return whose
 * address is on top counts in the call's own counter and follows the call's link. Others (longjmp,
 * coroutines, unwinding, recursion deeper than the ring) are resolved in the slow path.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/bodies.h"

enum { SHADOW_SEARCH = 24 };

HANDLER(h_jump)
{
    BODY_JUMP();
}

HANDLER(h_syscall)
{
    COUNT(op->imm);
    cpu->came_back = (U32)op->imm + 1;
    cpu->after_syscall = op[1].word[1];
    return flow_leave(cpu, flags_raw(kind, fa, fb), op[1].word[0], RUN_SYSCALL);
}

/* ---- conditional jumps ---- */

#define DEF_JCC(cc)                                                                                \
    HANDLER(h_j_##cc)                                                                              \
    {                                                                                              \
        BODY_JCC(cc);                                                                              \
    }
CONDITIONS(DEF_JCC)
#define AS_JCC(cc) h_j_##cc,
TABLE Handler *const h_jcc[16] = { CONDITIONS(AS_JCC) };

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
    const Target *target = lookup_target(SITE, cpu->pc);
    if (target == NULL) {
        cpu->missed = SITE;
        cpu->missed_pc = cpu->pc;
        JUMP_TO(flow_find_code(cpu, cpu->pc, NULL));
    }
    ((const Target **)cpu->targets)[target_slot(SITE, target->pc)] = target;
    COUNT(target->counter);
    GO(TARGET_LINK(target));
}

HANDLER(h_call_r)
{
    BODY_CALL_R(REG_AT(U64, op->a));
}

HANDLER(h_jump_r)
{
    BODY_JUMP_R(REG_AT(U64, op->a));
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
