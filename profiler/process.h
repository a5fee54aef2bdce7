/*
 * Processes: fork, execve, the end, and the guest's own name.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_PROCESS_H
#define RESPIN_PROFILER_PROCESS_H

#include "profiler/syscalls.h"

/* Remembers which file the guest is (what /proc/self/exe must lead to). */
void process_set_exe(const char *path);
/* Absolute, without links. */
const char *process_exe(void);
/* The guest string at `path` names this entry ("/exe") of this process's folder in /proc. */
bool process_is_own(uint64_t path, const char *entry);
/* The same of a host string. */
bool process_owns_path(const char *path, const char *entry);

/* Every lock of the VM, so that what is copied or stopped meanwhile holds none. */
void process_lock_all(Thread *thread);
void process_unlock_all(Thread *thread);

/* clone without CLONE_VM. */
long process_fork(Thread *thread, const Call *call, uint64_t flags, uint64_t child_stack);
/* exit_group, or the last thread's exit. */
__attribute__((noreturn)) void process_end(Thread *thread, uint64_t status);
CallFate process_execve(Thread *thread, Call *call);
CallFate process_execveat(Thread *thread, Call *call);

#endif
