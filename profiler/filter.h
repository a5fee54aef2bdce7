/*
 * filter.h: would the guest's filter of system calls (seccomp) let the VM live?
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_FILTER_H
#define RESPIN_PROFILER_FILTER_H

#include <stdbool.h>
#include <stdint.h>

/*
 * `program`: the guest's struct sock_fprog. True: it allows every system call that the VM makes by
 * itself. False: it does not, or nobody can tell.
 */
bool filter_lets_vm_live(uint64_t program);

#endif
