/*
 * System calls of the guest: most go to the kernel as they are; the ones in syscalls.c's table do
 * not.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_SYSCALLS_H
#define RESPIN_PROFILER_SYSCALLS_H

#include "profiler/vm.h"

/* Its layout is known to start.S. */
typedef struct Call {
    int64_t number;
    uint64_t arg[6];
    int64_t result;
} Call;

/* What is left to do for the guest's registers after a system call. */
typedef enum CallFate {
    CALL_DONE,  /* call->result goes into RAX */
    CALL_AGAIN, /* a signal came first: the guest stays on its `syscall`, RAX = call->number */
    CALL_SET,   /* the registers are set already */
} CallFate;

/* Carries out the guest's system call at cpu.pc. */
void syscall_run(Thread *thread);
/* The same for the three entries of the vsyscall page: cpu.pc says which. */
void vsyscall_run(Thread *thread);
/* Hands `call` to the kernel, through the window that signals know. */
CallFate syscall_pass(Thread *thread, Call *call);

#endif
