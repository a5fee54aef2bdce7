/*
 * gs_calls.c: the guest's GS base, as system calls and the way out of the VM see it.
 *
 * Children of clone and fork have their parent's base, because they have a copy of its Cpu; a
 * program that execve starts has base 0, as from the kernel.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/gs_calls.h"
#include "profiler/memory.h"

#include <asm/errno.h>
#include <asm/prctl.h>
#include <asm/unistd.h>

/* The kernel's TASK_SIZE_MAX with four levels of page tables. */
#define TASK_END (((uint64_t)1 << 47) - VM_PAGE)

bool gs_arch_prctl(Thread *thread, Call *call)
{
    uint64_t value = call->arg[1];
    if (!vm_keeps_gs(thread->vm))
        return false;
    switch (call->arg[0]) {
    case ARCH_SET_GS:
        call->result = value >= TASK_END ? -EPERM : 0;
        if (call->result == 0)
            thread->cpu.gs_base = value;
        return true;
    case ARCH_GET_GS:
        call->result =
            guest_write(value, &thread->cpu.gs_base, sizeof thread->cpu.gs_base) ? 0 : -EFAULT;
        return true;
    default:
        return false;
    }
}

void gs_give_back(const Thread *thread)
{
    if (vm_keeps_gs(thread->vm))
        raw_syscall(__NR_arch_prctl, ARCH_SET_GS, (long)thread->cpu.gs_base, 0, 0, 0, 0);
}
