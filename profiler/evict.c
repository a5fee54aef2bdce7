/*
 * evict.c: emptying an arena of the code cache while threads run.
 *
 * Threads leave a trace by themselves, at its next exit: paths have no loops, and the entries of
 * all traces of the arena lead out. But a thread that runs elsewhere in the cache for long still
 * has its tables, which may lead there: it is asked to come out by a SIGTRAP, which is never
 * blocked and which the VM handles anyway. Its siginfo has a code that nobody else gives.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/evict.h"

#include "profiler/link.h"
#include "profiler/signals.h"
#include "profiler/tail.h"
#include "profiler/thread.h"
#include "profiler/weave.h"

#include <asm/errno.h>
#include <asm/unistd.h>

enum {
    REQUEST_CODE = -0x5e1f, /* si_code */
    REQUEST_EVERY = 16,     /* attempts to find room */
    GREG_RAX = 13,
    MOST_LEFT = 8, /* arenas that a thread missed: beyond, its tables are emptied */
};

volatile uint64_t evict_epoch;
static AreaSlots *areas;

/* ---- threads ---- */

static void set_ids(AreaSlots *slots)
{
    slots->process = (uint32_t)raw_syscall(__NR_getpid, 0, 0, 0, 0, 0, 0);
    slots->task = (uint32_t)raw_syscall(__NR_gettid, 0, 0, 0, 0, 0, 0);
}

static void add_area(AreaSlots *slots)
{
    AreaSlots *first = __atomic_load_n(&areas, __ATOMIC_RELAXED);
    do
        slots->other = first;
    while (!__atomic_compare_exchange_n(&areas, &first, slots, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_RELAXED));
}

void evict_note_thread(Cpu *cpu)
{
    AreaSlots *slots = area_slots(cpu);
    if (slots->task == 0)
        add_area(slots);
    set_ids(slots);
}

bool evict_is_alone(void)
{
    const AreaSlots *first = __atomic_load_n(&areas, __ATOMIC_ACQUIRE);
    return first == NULL || first->other == NULL;
}

/* Arenas that were emptied after `since`. More than there is room for: MOST_LEFT + 1. */
static unsigned find_left(uint64_t since, const CacheArena *left[MOST_LEFT])
{
    unsigned n = 0;
    for (uint32_t i = 0; i < cache_n_arenas(); i++) {
        const CacheArena *arena = cache_arena(i);
        if (arena->left_at <= since)
            continue;
        if (n == MOST_LEFT)
            return MOST_LEFT + 1;
        left[n++] = arena;
    }
    return n;
}

static bool leads_to(const CacheArena *const *left, unsigned n, uint64_t code)
{
    if (n > MOST_LEFT)
        return true;
    for (unsigned i = 0; i < n; i++) {
        if (code - (uint64_t)left[i]->start < (uint64_t)(left[i]->end - left[i]->start))
            return true;
    }
    return false;
}

/* Nothing in its tables leads to what was emptied after `since`. */
static void clean_tables(const Cpu *cpu, uint64_t since)
{
    const CacheArena *left[MOST_LEFT];
    unsigned n = find_left(since, left);
    const AreaSlots *slots = area_slots(cpu);
    uint64_t *indirect = (uint64_t *)(void *)((char *)cpu->counter + AREA_INDIRECT);
    uint64_t *returns = (uint64_t *)(void *)((char *)cpu->counter + AREA_RETURNS);
    for (unsigned i = 0; i < AREA_TARGETS; i++) {
        if (returns[i] != slots->miss_return && leads_to(left, n, returns[i]))
            returns[i] = slots->miss_return;
        if (indirect[i] != slots->miss_indirect &&
            (leads_to(left, n, indirect[i]) || stub_is_dead((const uint8_t *)indirect[i])))
            indirect[i] = slots->miss_indirect;
    }
}

void evict_say_clear(Cpu *cpu)
{
    AreaSlots *slots = area_slots(cpu);
    uint64_t now = __atomic_load_n(&evict_epoch, __ATOMIC_ACQUIRE);
    if (slots->tables_at != now)
        clean_tables(cpu, slots->tables_at);
    slots->tables_at = now;
    __atomic_store_n(&slots->seen, now, __ATOMIC_RELEASE);
}

void evict_come_in(Cpu *cpu)
{
    AreaSlots *slots = area_slots(cpu);
    if (slots->inside == 0)
        __atomic_store_n(&slots->inside, 1, __ATOMIC_SEQ_CST);
    if (evict_is_due(cpu))
        evict_say_clear(cpu);
}

void evict_go_out(const Cpu *cpu)
{
    __atomic_store_n(&area_slots(cpu)->inside, 0, __ATOMIC_RELEASE);
}

void evict_forked(Cpu *cpu)
{
    AreaSlots *own = area_slots(cpu);
    for (AreaSlots *slots = areas; slots != NULL; slots = slots->other) {
        if (slots != own)
            slots->inside = 0;
    }
    set_ids(own);
}

/* ---- emptying ---- */

void evict_begin(CacheArena *arena)
{
    arena->state = ARENA_LEAVING;
    for (uint32_t i = 0; i < arena->n_traces; i++)
        translate_withdraw((Trace *)(uintptr_t)arena->traces[i]);
    link_drop_fields(arena->start, arena->end);
    bool all = true;
    for (uint32_t i = 0; i < arena->n_traces; i++)
        all &= link_lead_elsewhere((Trace *)(uintptr_t)arena->traces[i]);
    stub_withdraw(arena);
    if (!all) /* what still leads in leaves by the traces' ways out, for good */
        arena->state = ARENA_DOORS;
    arena->attempts = 0;
    arena->left_at = evict_epoch + 1;
    __atomic_store_n(&evict_epoch, evict_epoch + 1, __ATOMIC_SEQ_CST);
}

static bool is_inside(const AreaSlots *slots, const CacheArena *arena)
{
    return __atomic_load_n(&slots->inside, __ATOMIC_SEQ_CST) != 0 &&
           __atomic_load_n(&slots->seen, __ATOMIC_ACQUIRE) < arena->left_at;
}

bool evict_is_left(const CacheArena *arena)
{
    const AreaSlots *slots = __atomic_load_n(&areas, __ATOMIC_ACQUIRE);
    while (slots != NULL && !is_inside(slots, arena))
        slots = slots->other;
    return slots == NULL;
}

static void ask_out(AreaSlots *slots)
{
    uint64_t info[SIGINFO_BYTES / 8] = { 0 };
    int32_t *head = (int32_t *)(void *)info;
    head[0] = SIGNAL_TRAP;
    head[2] = REQUEST_CODE;
    long result = raw_syscall(__NR_rt_tgsigqueueinfo, slots->process, slots->task, SIGNAL_TRAP,
                              (long)info, 0, 0);
    if (result == -ESRCH)
        slots->inside = 0; /* killed, while others of its process go on */
}

void evict_hurry(CacheArena *arena)
{
    if (arena->attempts++ % REQUEST_EVERY != 0)
        return;
    uint32_t own = (uint32_t)raw_syscall(__NR_gettid, 0, 0, 0, 0, 0, 0);
    for (AreaSlots *slots = areas; slots != NULL; slots = slots->other) {
        if (slots->task != own && is_inside(slots, arena))
            ask_out(slots);
    }
}

bool evict_is_request(Thread *thread, const uint64_t *info, int64_t *host_gregs)
{
    if (((const int32_t *)(const void *)info)[2] != REQUEST_CODE)
        return false;
    uint64_t rip = (uint64_t)host_gregs[GREG_RIP];
    if (interp_owns(rip))
        thread->cpu.pending = 1;
    else if ((const char *)rip == vm_syscall_done && host_gregs[GREG_RAX] == -EINTR &&
             thread->cpu.pending == 0)
        host_gregs[GREG_RIP] = (int64_t)vm_syscall_again;
    return true;
}

void evict_finish(CacheArena *arena)
{
    stub_finish(arena);
    pool_empty(&arena->pool);
}
