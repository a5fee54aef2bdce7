/*
 * The stack on which the guest begins: the kernel's own, with respin-vm's traces taken out.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_GUEST_STACK_H
#define RESPIN_PROFILER_GUEST_STACK_H

#include "profiler/load.h"
#include "profiler/options.h"

/* Rewrites the start-up block at `sp` in place; the guest's stack pointer. */
uint64_t guest_stack_build(uint64_t *sp, const Start *start, const Loaded *loaded);

#endif
