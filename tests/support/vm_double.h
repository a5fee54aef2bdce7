/*
 * vm_double.h: the system side of the VM for tests of the interpreter: one code range, counters and
 * live records in memory.
 *
 * Compiled as the VM core is: the guest's vector registers live in the host's while it runs.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_TESTS_VM_DOUBLE_H
#define RESPIN_TESTS_VM_DOUBLE_H

#include "profiler/vm.h"

/* The one executable range. */
void vm_double_code(uint64_t start, uint64_t end);
uint64_t *vm_double_counters(void);
/* Guest instructions executed so far, by the counters. */
uint64_t vm_double_instructions(void);

#endif
