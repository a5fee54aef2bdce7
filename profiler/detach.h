/*
 * Leaves the guest to the processor: from here on the process runs natively and uncounted.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_DETACH_H
#define RESPIN_PROFILER_DETACH_H

#include "profiler/thread.h"

/*
 * `why` completes "the program runs on natively, without a profile: ". The guest goes on with the
 * `syscall` instruction at cpu.pc. Dies with a message when other threads of the guest are running:
 * they cannot be made to leave the VM.
 */
__attribute__((noreturn)) void detach(Thread *thread, const char *why);

#endif
