/*
 * System calls that lock memory.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_LOCK_CALLS_H
#define RESPIN_PROFILER_LOCK_CALLS_H

#include "profiler/syscalls.h"

CallFate call_mlock(Thread *thread, Call *call); /* and mlock2 */
CallFate call_mlockall(Thread *thread, Call *call);

#endif
