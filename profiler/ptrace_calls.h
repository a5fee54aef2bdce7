/*
 * ptrace_calls.h: the one use of ptrace inside the VM: a process stops the threads whose memory it
 * shares.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_PTRACE_CALLS_H
#define RESPIN_PROFILER_PTRACE_CALLS_H

#include "profiler/syscalls.h"

CallFate call_ptrace(Thread *thread, Call *call);

#endif
