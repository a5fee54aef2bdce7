/*
 * A guest thread as the system side sees it. One slot of address space holds all of it:
 *
 *   slot + 0          Thread, ThreadOs       found from any address inside the slot
 *        + 128 KiB    alternate stack for host signal handlers, with a guard page below
 *        + 384 KiB    VM stack, with a guard page below
 *        + 1 MiB      the next slot
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_THREAD_H
#define RESPIN_PROFILER_THREAD_H

#include "profiler/vm.h"

enum {
    SLOT_SIZE = 1 << 20, /* and its alignment */
    SLOT_HEAD = 128 << 10,
    SLOT_ALT_END = 384 << 10,
    N_SIGNALS = 64,
    SIGINFO_BYTES = 128,
};

/* Signal numbers of x86-64, and flags of stack_t: the kernel's headers and libc's exclude each
 * other. */
enum {
    SIGNAL_QUIT = 3,
    SIGNAL_ILL = 4,
    SIGNAL_TRAP = 5,
    SIGNAL_ABRT = 6,
    SIGNAL_BUS = 7,
    SIGNAL_FPE = 8,
    SIGNAL_KILL = 9,
    SIGNAL_SEGV = 11,
    SIGNAL_CHLD = 17,
    SIGNAL_CONT = 18,
    SIGNAL_STOP = 19,
    SIGNAL_URG = 23,
    SIGNAL_XCPU = 24,
    SIGNAL_XFSZ = 25,
    SIGNAL_WINCH = 28,
    SIGNAL_SYS = 31,
    ALT_STACK_ACTIVE = 1,   /* SS_ONSTACK */
    ALT_STACK_DISABLED = 2, /* SS_DISABLE */
};

/* A signal's number n is bit n - 1. */
typedef uint64_t SigMask;

/* What the kernel's struct sigaction holds on x86-64. */
typedef struct GuestAction {
    uint64_t handler;
    uint64_t flags;
    uint64_t restorer;
    SigMask mask;
} GuestAction;

/* The guest's signal actions; shared by threads as CLONE_SIGHAND says. */
typedef struct SigTable {
    volatile uint32_t lock;
    uint32_t users;
    struct SigTable *next_free;
    GuestAction action[N_SIGNALS + 1];
} SigTable;

/* The kernel's stack_t. */
typedef struct GuestAltStack {
    uint64_t sp;
    uint32_t flags;
    uint32_t pad;
    uint64_t size;
} GuestAltStack;

/* A signal that the host handler took and the guest has not had yet. */
typedef struct Captured {
    uint32_t signal; /* 0: the place is free */
    bool is_fault;   /* raised by the guest's own instruction: cannot wait or be ignored */
    uint64_t err;
    uint64_t trapno;
    uint64_t cr2;
    uint64_t info[SIGINFO_BYTES / 8];
} Captured;

/*
 * Places for captured signals: one for each signal that a fault can raise (never blocked by the VM)
 * and one for all others, which are blocked in the kernel while it is taken: so no queue of the
 * VM's can overflow, and the kernel keeps the order.
 */
enum {
    CAPTURE_SEGV,
    CAPTURE_BUS,
    CAPTURE_FPE,
    CAPTURE_ILL,
    CAPTURE_TRAP,
    CAPTURE_SYS,
    CAPTURE_OTHER,
    N_CAPTURE
};

typedef struct ThreadOs {
    Thread *thread;
    volatile uint32_t in_use;   /* the slot is taken; cleared by a dying thread as its last store */
    uint32_t number;            /* of the slot */
    struct ThreadOs *next_slot; /* all slots ever made */
    struct ThreadOs *next_live; /* all slots with counters */
    bool borrowed;              /* runs in another process's memory (vfork and its like) */
    bool vfork_child;           /* its slot is given back by its parent */
    SigTable *actions;
    GuestAltStack alt_stack;

    bool stepping;      /* by single steps through the code cache, a signal waits (state.c) */
    volatile bool held; /* guest_mask, not the kernel's mask, is the guest's signal mask */
    SigMask guest_mask;
    SigMask base_mask;    /* what a handler's mask starts from: guest_mask, or a sigsuspend's */
    SigMask blocked_here; /* of VM_SIGNALS (sigmask.h): what the guest blocks */
    bool has_wait_mask;   /* the system call under way waits with wait_mask */
    SigMask wait_mask;
    Captured captured[N_CAPTURE];

    void *scratch; /* of an execve in a vfork child: given back by its parent */
    size_t scratch_size;
    uint64_t counters_mapped;         /* bytes at cpu.counter that are usable */
    uint64_t burst_began;             /* its CPU time then */
    struct GuestContext *interrupted; /* burst mode: the frame that the burst goes back to */
} ThreadOs;

typedef struct Slot {
    Thread thread; /* first */
    ThreadOs os;
} Slot;

_Static_assert(sizeof(Slot) <= SLOT_HEAD - 4096, "a slot's head holds its Thread");

/* The thread whose slot holds `address` (one of its stacks). */
static inline Thread *slot_thread(const void *address)
{
    return (Thread *)((uintptr_t)address & ~(uintptr_t)(SLOT_SIZE - 1));
}

static inline uint64_t slot_stack_top(const Thread *thread)
{
    return (uint64_t)thread + SLOT_SIZE;
}

#endif
