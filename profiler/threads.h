/*
 * The lives of guest threads: their slots, clone, exit, and the loop they run in.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_THREADS_H
#define RESPIN_PROFILER_THREADS_H

#include "profiler/syscalls.h"
#include "profiler/thread.h"

/* A slot with stacks and counters; cpu is zero but for its counters. */
Thread *thread_new(Vm *vm);
/* Gives back a slot that no thread runs in. */
void thread_free(Thread *thread);
/* Runs the guest on this thread's VM stack, from its cpu, for ever. */
__attribute__((noreturn)) void thread_start(Thread *thread);
/* The same, already on that stack. */
__attribute__((noreturn)) void thread_loop(Thread *thread);

/* clone with CLONE_VM (threads, vfork, posix_spawn): the child has a slot of its own. */
long thread_clone(Thread *thread, const Call *call, uint64_t flags, uint64_t child_stack);
/* SYS_exit of a thread that is not the process's last. */
__attribute__((noreturn)) void thread_exit(Thread *thread, uint64_t status);
/* SYS_exit_group in a process whose memory is another's: that one goes on. */
__attribute__((noreturn)) void thread_exit_borrowed(Thread *thread, uint64_t status);
/* `thread` is about to end. True: it is the last of its process. */
bool threads_leave(const Thread *thread);
/* No other thread runs in this memory: neither of this process nor of another. */
bool threads_is_only(const Thread *thread);
/* In a forked child: only `thread` is left. */
void threads_after_fork(Thread *thread);
/* Held across fork. */
void threads_lock(void);
void threads_unlock(void);

#endif
