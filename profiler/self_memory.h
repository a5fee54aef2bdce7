/*
 * self_memory.h: the guest's own memory as a file (/proc/self/mem), and as another process's.
 *
 * Writes that go this way pass by the protections that the VM sees writes to code by, and land in
 * pages where the kernel alone knows of them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_SELF_MEMORY_H
#define RESPIN_PROFILER_SELF_MEMORY_H

#include "profiler/syscalls.h"

/* The guest string at `path` was opened, perhaps as such a file. */
void self_memory_opened(uint64_t path);
/* The call reads or writes the process's own memory in a way that the VM must know of. */
bool self_memory_takes(const Call *call);
/* Makes such a call: what is read counts as read, code that is written is forgotten. */
CallFate self_memory_call(Thread *thread, Call *call);

#endif
