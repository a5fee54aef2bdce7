/*
 * limit_calls.h: the guest's limits on its address space and its data.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_LIMIT_CALLS_H
#define RESPIN_PROFILER_LIMIT_CALLS_H

#include "profiler/syscalls.h"

CallFate call_setrlimit(Thread *thread, Call *call);
CallFate call_getrlimit(Thread *thread, Call *call);
CallFate call_prlimit(Thread *thread, Call *call);

/* The kernel's limit becomes the guest's, because what follows runs natively. */
void limits_give_back(const Thread *thread);
/* After all it runs on in the VM. */
void limits_take_again(const Thread *thread);

#endif
