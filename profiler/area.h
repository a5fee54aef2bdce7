/*
 * The thread's area: what translated code reaches through GS. Host GS base = cpu->counter.
 *
 *   gs:[-AREA_BYTES]   indirect[AREA_TARGETS]   code addresses, by site and target
 *                      returns[AREA_TARGETS]    code addresses, by return address
 *                      AreaSlots                the last AREA_SLOTS_BYTES before the counters
 *   gs:[0]             counters, 8 bytes each
 *
 * Table entries that hold nothing hold the address of the miss code, never 0.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_AREA_H
#define RESPIN_PROFILER_AREA_H

#include "profiler/vm.h"

enum {
    AREA_TARGETS = 1 << 16, /* indexed by 16 bits: movzx is the mask that leaves flags alone */
    AREA_SLOTS_BYTES = 4096,
    AREA_BYTES = 2 * AREA_TARGETS * 8 + AREA_SLOTS_BYTES,
};

/* Spilled guest registers and the way back to the VM. At gs:[-AREA_SLOTS_BYTES]. */
typedef struct AreaSlots {
    uint64_t rax;
    uint64_t rcx;
    Cpu *cpu;          /* from here on cache_doors.S knows the offsets */
    uint64_t host_sp;  /* the VM stack, as interp_enter left it */
    uint64_t target;   /* where an entry, or a missed indirect branch, leads to */
    uint64_t exit;     /* refers to the Exit by which it leaves */
    uint64_t site;     /* number of the return that was missed */
    uint64_t guest_sp; /* while RSP is at `ring` */
    uint64_t ring[4];  /* a stack of one word, for calls that are made for the CPU's sake only… */
    uint64_t ring_top; /* …and its end */
    uint64_t leave[4]; /* addresses of the doors (cache_doors.S): by what is in the area… */
    uint64_t miss_indirect, miss_return; /* …and where a table has nothing */
    /* Of evict.h. The thread itself writes them, but for what is said there. */
    uint64_t tables_at;       /* epoch for which its tables were cleaned */
    volatile uint64_t seen;   /* epoch in which it was last seen to hold nothing of the cache */
    volatile uint32_t inside; /* it may be in the cache, or hold something of it */
    uint32_t process;         /* its ids, for the kernel */
    uint32_t task;
    struct AreaSlots *other; /* list of all areas ever made */
} AreaSlots;

/* Displacement from GS of a field of AreaSlots, of a counter, of a table. */
#define AREA_SLOT(field) (-(int32_t)AREA_SLOTS_BYTES + (int32_t)offsetof(AreaSlots, field))
#define AREA_COUNTER(id) ((int32_t)((id)*8u))
#define AREA_INDIRECT (-(int32_t)AREA_BYTES)
#define AREA_RETURNS (-(int32_t)AREA_BYTES + (int32_t)AREA_TARGETS * 8)

static inline AreaSlots *area_slots(const Cpu *cpu)
{
    return (AreaSlots *)(void *)((char *)cpu->counter - AREA_SLOTS_BYTES);
}

#endif
