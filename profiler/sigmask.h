/*
 * sigmask.h: the signals that the VM itself lives by.
 *
 *   guest's mask   HUP INT SEGV ...   ──►   kernel's mask   HUP INT ...      blocked_here   SEGV
 *
 * A fault on a page whose protection differs from the guest's (guard.h, watch.h) is the VM's own
 * affair at any time, and so is a single step in the code cache (state.c): its host handler is
 * always installed, whatever the guest's action, and the kernel never has it blocked while guest
 * instructions run. What the guest blocks of these signals is kept in ThreadOs.blocked_here; one
 * that is sent meanwhile waits in ThreadOs.captured.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_SIGMASK_H
#define RESPIN_PROFILER_SIGMASK_H

#include "profiler/syscalls.h"
#include "profiler/thread.h"

#include <asm/unistd.h>

enum { MASK_BYTES = 8 };

#define VM_SIGNALS ((SigMask)1 << (SIGNAL_SEGV - 1) | (SigMask)1 << (SIGNAL_TRAP - 1))

static inline SigMask swap_kernel_mask(SigMask mask)
{
    enum { SET_MASK = 2 };
    SigMask old = 0;
    raw_syscall(__NR_rt_sigprocmask, SET_MASK, (long)&mask, (long)&old, MASK_BYTES, 0, 0);
    return old;
}

static inline long host_action(uint64_t signal, const GuestAction *action, GuestAction *old)
{
    return raw_syscall(__NR_rt_sigaction, (long)signal, (long)action, (long)old, MASK_BYTES, 0, 0);
}

/* The guest's mask as the kernel gets it, and back. */
static inline SigMask mask_for_kernel(ThreadOs *os, SigMask guest)
{
    os->blocked_here = guest & VM_SIGNALS;
    return guest & ~VM_SIGNALS;
}

static inline SigMask mask_of_guest(const ThreadOs *os, SigMask kernel)
{
    return (kernel & ~VM_SIGNALS) | os->blocked_here;
}

/* The VM's handlers of its own signals; also where a clone dropped them (CLONE_CLEAR_SIGHAND). */
void sigmask_install(Thread *thread);
/* The kernel's handlers and mask of the calling thread become the VM's: at the start of a program,
 * and after an execve that failed. */
void sigmask_open(Thread *thread);
/* Before an execve: what the new program inherits is what the guest ignores and blocks. */
void sigmask_close(Thread *thread);
/* The guest's rt_sigprocmask. */
CallFate call_sigprocmask(Thread *thread, Call *call);

#endif
