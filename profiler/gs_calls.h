/*
 * gs_calls.h: the guest's GS base, as system calls and the way out of the VM see it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_GS_CALLS_H
#define RESPIN_PROFILER_GS_CALLS_H

#include "profiler/syscalls.h"

/* arch_prctl(ARCH_SET_GS or ARCH_GET_GS) while host GS is the VM's. False: another call. */
bool gs_arch_prctl(Thread *thread, Call *call);
/* Host GS becomes the guest's. */
void gs_give_back(const Thread *thread);

#endif
