/*
 * System calls that change the guest's address space.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_MAPPING_CALLS_H
#define RESPIN_PROFILER_MAPPING_CALLS_H

#include "profiler/syscalls.h"

/* Where the guest's heap begins. `kernel_knows`: so the kernel's brk serves. */
/* Held across fork so that the child finds it free. */
void brk_lock_for_fork(void);
void brk_unlock_for_fork(void);
void brk_init(uint64_t start, bool kernel_knows);

CallFate call_brk(Thread *thread, Call *call);
CallFate call_mmap(Thread *thread, Call *call);
CallFate call_munmap(Thread *thread, Call *call);
CallFate call_mprotect(Thread *thread, Call *call);
CallFate call_mremap(Thread *thread, Call *call);
CallFate call_madvise(Thread *thread, Call *call);
CallFate call_shmat(Thread *thread, Call *call);
CallFate call_shmdt(Thread *thread, Call *call);
CallFate call_remap_file_pages(Thread *thread, Call *call);
CallFate call_mseal(Thread *thread, Call *call);

#endif
