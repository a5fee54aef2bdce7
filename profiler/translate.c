/*
 * translate.c: between the interpreter and the code cache: warm blocks, entries, exits, links.
 *
 *   h_warm ── patience is out ──► trace ──► h_enter_trace ──► cache
 *     ▲                                                        │ an exit that is not linked
 *     └──────────────── records of its target ◄────────────────┘ (and is linked, if there is a
 * trace)
 *
 * To the interpreter a visit to the cache is one record. An exit may leave with flags that its
 * target overwrites first of all, so a signal that waits is looked at one block later.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/translate.h"

#include "profiler/cache_doors.h"
#include "profiler/evict.h"
#include "profiler/flow.h"
#include "profiler/handler.h"
#include "profiler/link.h"
#include "profiler/lookup.h"
#include "profiler/pool.h"
#include "profiler/weave.h"

#include <asm/prctl.h>
#include <asm/unistd.h>

static bool is_later; /* of make_trace; code_lock is held */

#define COUNT(id) (cpu->counter[(U32)(id)]++)

enum {
    AGAIN = 16,    /* times that, when it was translated and that was evicted: hot code comes back,
                      and a cache that is far too small does not translate all the time */
    LATER = 64,    /* and how often before it is tried again, where the cache had no room */
    PATIENCE = 16, /* executions of a block before it is translated (docs/translate.md) */
    IF_AND_ONE = 0x202,
};

_Static_assert(AREA_SLOT(rax) == DOOR_RAX && AREA_SLOT(rcx) == DOOR_RCX &&
                   AREA_SLOT(cpu) == DOOR_CPU && AREA_SLOT(host_sp) == DOOR_HOST_SP &&
                   AREA_SLOT(target) == DOOR_TARGET && AREA_SLOT(exit) == DOOR_EXIT &&
                   offsetof(Cpu, reg) == 0 && offsetof(Cpu, pending) == DOOR_PENDING &&
                   RUN_PENDING == DOOR_RUN_PENDING,
               "cache_doors.h");

/* ---- threads ---- */

int32_t translate_patience(void)
{
    return the_vm.options.engine == ENGINE_TRANSLATE ? 1 : PATIENCE;
}

static void fill_tables(Cpu *cpu)
{
    AreaSlots *slots = area_slots(cpu);
    uint64_t *indirect = (uint64_t *)(void *)((char *)cpu->counter + AREA_INDIRECT);
    uint64_t *returns = (uint64_t *)(void *)((char *)cpu->counter + AREA_RETURNS);
    slots->leave[0] = (uint64_t)cache_leave;
    slots->leave[SPILLED_RAX] = (uint64_t)cache_leave_rax;
    slots->leave[SPILLED_RCX] = (uint64_t)cache_leave_rcx;
    slots->leave[SPILLED_RAX | SPILLED_RCX] = (uint64_t)cache_leave_both;
    slots->miss_indirect = (uint64_t)cache_miss_indirect;
    slots->miss_return = (uint64_t)cache_miss_return;
    slots->ring_top = (uint64_t)(slots->ring + sizeof slots->ring / sizeof slots->ring[0]);
    for (unsigned i = 0; i < AREA_TARGETS; i++) {
        indirect[i] = slots->miss_indirect;
        returns[i] = slots->miss_return;
    }
    slots->cpu = cpu;
}

void translate_init_thread(Thread *thread)
{
    Cpu *cpu = &thread->cpu;
    if (area_slots(cpu)->cpu == NULL)
        fill_tables(cpu);
    evict_note_thread(cpu);
    raw_syscall(__NR_arch_prctl, ARCH_SET_GS, (long)cpu->counter, 0, 0, 0, 0);
}

/* ---- traces ---- */

Trace *translate_find(const Block *block, uint32_t from)
{
    for (Trace *trace = pool_at(block->traces); trace != NULL; trace = pool_at(trace->same_head)) {
        if (trace->from == from && trace->stale == 0)
            return trace;
    }
    return NULL;
}

static void note_block(Trace *trace, uint32_t i)
{
    TraceBlock *at = &trace->at[i];
    Block *block = pool_at(at->block);
    at->next = block->through;
    block->through = pool_ref(at);
}

static void drop_trace(Block *block, const Trace *trace)
{
    for (PoolRef *link = &block->through; *link != 0;) {
        TraceBlock *at = pool_at(*link);
        if (trace_that_holds(at) == trace)
            *link = at->next;
        else
            link = &at->next;
    }
}

/* NULL: not possible, or (is_later) not now: the cache is being emptied. code_lock is held. */
static Trace *make_trace(const Cpu *cpu, Block *block, uint32_t from, bool final)
{
    static Path path;
    is_later = false;
    if (block->refused || block->stale != 0 || live_is_full() ||
        !trace_choose(cpu, block, final, &path))
        return NULL;
    is_later = !stub_has_numbers() && cache_empty_oldest();
    Trace *trace = is_later ? NULL : weave_trace(&path, from, final);
    if (trace == NULL) {
        is_later |= cache_is_short();
        block->refused = !is_later;
        return NULL;
    }
    for (uint32_t i = 0; i < path.n; i++)
        note_block(trace, i);
    trace->same_head = block->traces;
    __atomic_store_n(&block->traces, pool_ref(trace), __ATOMIC_RELEASE);
    link_open(trace);
    return trace;
}

const Trace *translate_block(const Cpu *cpu, Block *block)
{
    const Trace *trace = translate_find(block, 0);
    return trace != NULL ? trace : make_trace(cpu, block, 0, false);
}

/* ---- forgetting ---- */

/* The entry becomes a jump. Whoever is inside goes on to an exit. */
static void divert_entry(Trace *trace, const uint8_t *target)
{
    trace->stale = 1;
    emit_divert(trace->code, target);
}

/* `patience`: of the head, which is warm no more. */
static void retire(Trace *trace, int32_t patience)
{
    if (trace->stale != 0)
        return;
    divert_entry(trace, trace->way_out);
    Block *head = trace_block(trace, 0);
    if (trace->from == 0 && head->stale == 0) {
        head->ops->imm = patience;
        __atomic_store_n(&head->ops->run, h_warm, __ATOMIC_RELEASE);
    }
}

/* What led to `old` leads to `made`, at once or by way of its entry. */
static void supersede(Trace *old, Trace *made)
{
    if (old->stale != 0 || !emit_reaches(old->code, made->code))
        return;
    divert_entry(old, made->code);
    link_note(made, (uint8_t *)(uintptr_t)old->code + 1);
    link_supersede(old, made);
}

/* False: there is no room now. */
static bool try_promote(const Cpu *cpu, Block *block, uint32_t from)
{
    vm_lock(&the_vm.code_lock);
    is_later = false;
    Trace *old = translate_find(block, from);
    if (old != NULL && !old->final) {
        Trace *made = make_trace(cpu, block, from, true);
        if (made != NULL)
            supersede(old, made);
    }
    bool done = !is_later;
    vm_unlock(&the_vm.code_lock);
    return done;
}

/* The exit that led here is held no more. */
static void promote(Cpu *cpu, Block *block, uint32_t from)
{
    if (try_promote(cpu, block, from))
        return;
    evict_say_clear(cpu);
    try_promote(cpu, block, from);
}

static void unlist(Block *head, Trace *trace)
{
    PoolRef own = pool_ref(trace);
    PoolRef *at = &head->traces;
    while (*at != own && *at != 0)
        at = &((Trace *)pool_at(*at))->same_head;
    if (*at != 0)
        __atomic_store_n(at, trace->same_head, __ATOMIC_RELEASE);
}

void translate_withdraw(Trace *trace)
{
    retire(trace, translate_patience() * AGAIN);
    unlist(trace_block(trace, 0), trace);
    for (uint32_t i = 0; i < trace->n_blocks; i++)
        drop_trace(trace_block(trace, i), trace);
}

void translate_forget(const Block *block)
{
    for (const TraceBlock *at = pool_at(block->through); at != NULL; at = pool_at(at->next))
        retire(trace_that_holds(at), translate_patience());
}

/* ---- records ---- */

/* A block that was warm and cannot be translated. */
static HANDLER(h_cold)
{
    NEXT(1);
}

static HANDLER(h_enter_trace)
{
    if (UNLIKELY(cpu->pending != 0))
        return h_pending(cpu, op, fa, fb, kind);
    if (UNLIKELY(evict_is_due(cpu)))
        evict_say_clear(cpu);
    const Trace *trace = translate_find(block_of_first(op), 0);
    if (UNLIKELY(trace == NULL))
        NEXT(1);
    U64 raw = flags_raw(kind, fa, fb);
    U64 flags = rflags_of_raw(raw) | (cpu->rflags & RFLAGS_DF) | IF_AND_ONE;
    flow_leave(cpu, raw, block_of_first(op)->pc, RUN_PENDING);
    return cache_enter(cpu, trace->code, flags);
}

/* False: there is no room now. */
static bool try_warm_up(const Cpu *cpu, Block *block)
{
    vm_lock(&the_vm.code_lock);
    Op *first = block->ops;
    is_later = false;
    if (first->run == h_warm) {
        bool made = translate_block(cpu, block) != NULL;
        if (is_later)
            first->imm = LATER;
        else
            __atomic_store_n(&first->run, made ? h_enter_trace : h_cold, __ATOMIC_RELEASE);
    }
    bool done = !is_later;
    vm_unlock(&the_vm.code_lock);
    return done;
}

/* Records are being executed: nothing of the cache is held. */
static __attribute__((noinline)) void warm_up(Cpu *cpu, Block *block)
{
    if (try_warm_up(cpu, block))
        return;
    evict_say_clear(cpu);
    try_warm_up(cpu, block);
}

/* Threads may lose a count to each other: patience is no exact thing. */
HANDLER(h_warm)
{
    Op *own = (Op *)(uintptr_t)op; /* the first of its block */
    if (LIKELY(--own->imm > 0))
        NEXT(1);
    warm_up(cpu, block_of_first(op));
    if (op->run == h_warm)
        NEXT(1);
    JUMP_TO(op);
}

/* ---- exits ---- */

/* An indirect branch whose own counter has counted it arrives at cpu->pc. */
static const Op *arrive(Cpu *cpu, const Op *site, const Target **target)
{
    bool real;
    *target = lookup_target(site, cpu->pc);
    if (*target != NULL) {
        COUNT((*target)->counter);
        return (*target)->ops;
    }
    cpu->missed = site;
    cpu->missed_pc = cpu->pc;
    return lookup_code(cpu->pc, &real);
}

static __attribute__((noinline)) const Op *find_returned(Cpu *cpu, uint64_t pc)
{
    const Target *target;
    cpu->pc = pc;
    const Op *call = lookup_return(pc);
    if (call == NULL)
        return arrive(cpu, stub_return((uint32_t)area_slots(cpu)->site), &target);
    COUNT(call->imm + 1);
    return call[1].link[1];
}

/* The record behind the one that would enter a trace or look at signals. */
static const Op *inside_block(const Op *first)
{
    bool door = first->run == h_enter_trace || first->run == h_warm || first->run == h_cold;
    return door ? first + 1 : first;
}

/* The trace that begins where a call returned to. code_lock is held. */
static Trace *landing_trace(const Cpu *cpu, Block *block, uint32_t from)
{
    Trace *trace = translate_find(block, from);
    bool warm =
        block->ops->run == h_enter_trace || (block->ops->run == h_warm && block->ops->imm <= 1);
    if (trace == NULL && warm) {
        trace = make_trace(cpu, block, from, false);
        block->ops->imm = translate_patience() + 1;
    }
    return trace;
}

static void link_exit(const Cpu *cpu, const Exit *leave, Block *block)
{
    vm_lock(&the_vm.code_lock);
    Trace *trace = leave->kind == EXIT_LANDING ? landing_trace(cpu, block, leave->counter)
                                               : translate_find(block, 0);
    if (trace != NULL && leave->field != NULL && !cache_is_leaving(leave->field))
        link_lead(leave->field, trace, leave->target, trace->from);
    vm_unlock(&the_vm.code_lock);
}

/* Its stub is made, for the next time, when there is somewhere to lead. */
static void open_way(Exit *way, const Block *to)
{
    vm_lock(&the_vm.code_lock);
    Trace *trace = way->trace;
    bool usable =
        !way->is_open && trace->stale == 0 && !live_is_full() && !cache_is_leaving(way->field);
    if (usable && (to == NULL || translate_find(to, 0) != NULL) && !side_open(way))
        retire(trace, translate_patience());
    vm_unlock(&the_vm.code_lock);
}

/* A return that its path did not expect: its record executes it. */
static const Op *follow_return(Exit *way, const Block *block)
{
    enum { OFTEN = 4 };
    if (++way->times == OFTEN)
        open_way(way, NULL);
    return stub_return(block->number);
}

static const Op *follow_side(Cpu *cpu, Exit *way)
{
    bool real;
    uint64_t target = way->target;
    Block *block = trace_block(way->trace, way->block);
    uint32_t passed = trace_passed(way->trace, way->block);
    if (passed != 0)
        COUNT(passed);
    if (way->is_return)
        return follow_return(way, block);
    COUNT(block->counter + (way->trace->at[way->block].taken ? 1 : 0));
    cpu->pc = target;
    const Op *to = lookup_code(target, &real);
    if (!real)
        return to;
    if (to->run == h_enter_trace)
        open_way(way, block_of_first(to));
    return cpu->pending != 0 ? inside_block(to) : to;
}

static const Op *execute_return(Cpu *cpu, const Block *block)
{
    uint64_t pc = *(const uint64_t *)cpu->reg[R_RSP];
    cpu->reg[R_RSP] += 8;
    area_slots(cpu)->site = block->number;
    return find_returned(cpu, pc);
}

/* Nothing of `leave` is held when the trace is made anew. */
static const Op *follow_often(Cpu *cpu, const Exit *leave)
{
    bool real;
    uint64_t target = leave->target;
    const Trace *trace = leave->trace;
    const Block *last = trace_block(trace, trace->n_blocks - 1u);
    promote(cpu, trace_block(trace, 0), trace->from);
    if (target == NO_TARGET)
        return execute_return(cpu, last);
    cpu->pc = target;
    const Op *to = lookup_code(target, &real);
    return real && cpu->pending != 0 ? inside_block(to) : to;
}

static __attribute__((noinline)) const Op *follow(Cpu *cpu, const Exit *leave)
{
    bool real;
    if (leave->kind == EXIT_SIDE)
        return follow_side(cpu, (Exit *)(uintptr_t)leave);
    if (leave->kind == EXIT_OFTEN)
        return follow_often(cpu, leave);
    if (leave->kind == EXIT_RECORD) {
        if (leave->counter != 0)
            COUNT(leave->counter);
        return leave->op;
    }
    if (leave->counter != 0) /* PROMOTE, LANDING */
        COUNT(leave->counter);
    cpu->pc = leave->target;
    const Op *to = lookup_code(leave->target, &real);
    if (!real)
        return to;
    if (leave->kind == EXIT_PROMOTE)
        promote(cpu, block_of_first(to), leave->counter);
    else if (leave->kind == EXIT_LANDING || to->run == h_enter_trace)
        link_exit(cpu, leave, block_of_first(to));
    return cpu->pending != 0 ? inside_block(to) : to;
}

static void keep_direction(Cpu *cpu, uint64_t rflags)
{
    cpu->rflags = (cpu->rflags & ~(U64)RFLAGS_DF) | (rflags & RFLAGS_DF);
}

uint64_t translate_left(Cpu *cpu, PoolRef leave, uint64_t rflags)
{
    keep_direction(cpu, rflags);
    const Op *to = follow(cpu, pool_at(leave));
    return to->run(cpu, to, raw_of_rflags(rflags), 0, FLAGS_RAW);
}

static __attribute__((noinline)) const Op *find_missed(Cpu *cpu, uint64_t pc, uint32_t index)
{
    Site *site = stub_site(index - (uint32_t)pc);
    const Target *target;
    if (site->in_rax)
        cpu->reg[R_RAX] = pc;
    COUNT(site->counter);
    cpu->pc = pc;
    const Op *to = arrive(cpu, site->op, &target);
    if (target == NULL || to->run != h_enter_trace)
        return to;
    vm_lock(&the_vm.code_lock);
    Trace *trace = translate_find(block_of_first(to), 0);
    if (trace != NULL && !cache_is_leaving(site->code))
        stub_install(cpu, site, target, trace);
    vm_unlock(&the_vm.code_lock);
    return to;
}

uint64_t translate_missed(Cpu *cpu, uint64_t pc, uint64_t rflags, uint64_t index)
{
    keep_direction(cpu, rflags);
    const Op *to = find_missed(cpu, pc, (uint32_t)index);
    return to->run(cpu, to, raw_of_rflags(rflags), 0, FLAGS_RAW);
}

uint64_t translate_returned(Cpu *cpu, uint64_t pc, uint64_t rflags)
{
    keep_direction(cpu, rflags);
    const Op *to = find_returned(cpu, pc);
    return to->run(cpu, to, raw_of_rflags(rflags), 0, FLAGS_RAW);
}

/* ---- asked by the system side ---- */

bool translate_owns(uint64_t rip)
{
    return cache_owns(rip) ||
           (rip >= (uint64_t)cache_doors_start && rip < (uint64_t)cache_doors_end);
}

const Trace *translate_trace_at(uint64_t rip)
{
    return cache_trace_at(rip);
}
