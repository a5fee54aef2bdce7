/*
 * sigmask.c: the guest's signal mask where it is not the kernel's.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/sigmask.h"
#include "profiler/memory.h"
#include "profiler/signals.h"

#include <asm/errno.h>

enum { HOW_BLOCK, HOW_UNBLOCK, HOW_SET };

void sigmask_install(Thread *thread)
{
    for (uint64_t signal = 1; signal <= N_SIGNALS; signal++)
        if ((SIG_BIT(signal) & VM_SIGNALS) != 0)
            signals_install(signal, &thread->os->actions->action[signal]);
}

void sigmask_open(Thread *thread)
{
    ThreadOs *os = thread->os;
    SigMask own = VM_SIGNALS;
    SigMask old = 0;
    sigmask_install(thread);
    raw_syscall(__NR_rt_sigprocmask, HOW_UNBLOCK, (long)&own, (long)&old, MASK_BYTES, 0, 0);
    os->blocked_here |= old & VM_SIGNALS;
}

void sigmask_close(Thread *thread)
{
    enum { IGNORED = 1 };
    ThreadOs *os = thread->os;
    SigMask blocked = os->blocked_here;
    for (uint64_t signal = 1; signal <= N_SIGNALS; signal++)
        if ((SIG_BIT(signal) & VM_SIGNALS) != 0 && os->actions->action[signal].handler == IGNORED)
            host_action(signal, &os->actions->action[signal], NULL);
    raw_syscall(__NR_rt_sigprocmask, HOW_BLOCK, (long)&blocked, 0, MASK_BYTES, 0, 0);
}

static SigMask changed(SigMask old, uint64_t how, SigMask given)
{
    if (how == HOW_BLOCK)
        return old | given;
    return how == HOW_UNBLOCK ? old & ~given : given;
}

/* The kernel does it, unless signals of the VM's are blocked or are to be. */
CallFate call_sigprocmask(Thread *thread, Call *call)
{
    ThreadOs *os = thread->os;
    bool sets = call->arg[1] != 0;
    SigMask given = 0;
    if (call->arg[3] != MASK_BYTES || (sets && call->arg[0] > HOW_SET) ||
        (sets && !guest_read(&given, call->arg[1], sizeof given)) ||
        ((given | os->blocked_here) & VM_SIGNALS) == 0)
        return syscall_pass(thread, call);
    signals_hold(thread);
    if (signals_wait(thread)) {
        signals_release(thread);
        return CALL_AGAIN;
    }
    SigMask old = os->guest_mask;
    if (sets)
        os->guest_mask = os->base_mask = changed(old, call->arg[0], given) & ~SIG_UNBLOCKABLE;
    signals_release(thread);
    call->result = 0;
    if (call->arg[2] != 0 && !guest_write(call->arg[2], &old, sizeof old))
        call->result = -EFAULT;
    return CALL_DONE;
}
