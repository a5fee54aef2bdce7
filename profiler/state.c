/*
 * state.c: from a host address in the code cache to exact guest state.
 *
 *   fault    rip ──► point ──► registers, flags, pc; edges passed and the part of the block counted
 *   signal   at a clean point the same, and the interpreter is to finish the block
 *            (tail.h), so that it counts as it would have; anywhere else the thread is
 *            single-stepped until it stands at a clean point or is out of the cache
 *
 * Points are the trace's own list of where copies begin and where glue may fault (point.h).
 * Everything here runs in a host signal handler; translated code holds no lock.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/flags.h"
#include "profiler/tail.h"
#include "profiler/translate.h"

static void take_registers(Cpu *cpu, const TracePoint *point, const int64_t *gregs)
{
    const AreaSlots *slots = area_slots(cpu);
    const uint64_t kept = ~(uint64_t)(RFLAGS_ARITH | RFLAGS_DF);
    for (unsigned reg = 0; reg < N_GUEST_REGS; reg++)
        cpu->reg[reg] = (uint64_t)gregs[interp_greg_of[reg]];
    if ((point->spilled & SPILLED_RAX) != 0)
        cpu->reg[R_RAX] = slots->rax;
    if ((point->spilled & SPILLED_RCX) != 0)
        cpu->reg[R_RCX] = slots->rcx;
    cpu->reg[R_RSP] += point->flat;
    cpu->rflags = (cpu->rflags & kept) | ((uint64_t)gregs[GREG_FLAGS] & ~kept);
    cpu->flag_kind = FLAGS_RAW;
}

/* False: none covers `rip`, which may be among the trace's constants, too. */
static bool find_point(const Trace *trace, uint64_t rip, TracePoint *point)
{
    uint64_t offset = rip - (uint64_t)trace->code;
    return offset < trace->size &&
           point_find(pool_at(trace->points), trace->n_points, (uint32_t)offset, point);
}

StateAnswer translate_state(Thread *thread, const int64_t *host_gregs, bool fault)
{
    Cpu *cpu = &thread->cpu;
    uint64_t rip = (uint64_t)host_gregs[GREG_RIP];
    if (!translate_owns(rip))
        return STATE_NOT_OURS;
    const Trace *trace = translate_trace_at(rip);
    TracePoint point;
    if (trace == NULL || !find_point(trace, rip, &point) || !(fault || point.clean))
        return STATE_STEP;
    const Block *block = trace_block(trace, point.block);
    take_registers(cpu, &point, host_gregs);
    uint32_t passed = trace_passed(trace, point.block);
    if (passed != 0)
        cpu->counter[passed]++;
    if (fault) {
        interp_stop_at(cpu, block, point.insn);
        return STATE_EXACT;
    }
    cpu->pc = block->pc + block->offset[point.insn];
    if (point.insn != 0) {
        cpu->tail.block = block;
        cpu->tail.insn = point.insn;
    }
    return STATE_EXACT;
}

StateAnswer translate_interrupted(Thread *thread, int64_t *host_gregs)
{
    enum { FLAG_TF = 1 << 8 };
    StateAnswer answer = translate_state(thread, host_gregs, false);
    if (answer == STATE_STEP)
        host_gregs[GREG_FLAGS] |= FLAG_TF;
    else
        host_gregs[GREG_FLAGS] &= ~(int64_t)FLAG_TF;
    return answer;
}

bool translate_is_stale(uint64_t rip)
{
    const Trace *trace = translate_trace_at(rip);
    return trace != NULL && trace->stale != 0;
}
