/*
 * What the kernel believes of the process's layout, and shows in /proc: set to the guest's.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_PROC_VIEW_H
#define RESPIN_PROFILER_PROC_VIEW_H

#include "profiler/load.h"

/*
 * `stack`: the guest's start-up block (its argc). `heap`: where brk begins. True: done, and the
 * kernel's brk is now the guest's. False: the kernel does not offer this; nothing has changed.
 */
bool proc_view_set(const uint64_t *stack, const Loaded *loaded, uint64_t heap);

#endif
