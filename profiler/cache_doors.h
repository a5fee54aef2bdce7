/*
 * cache_doors.h: the way into the code cache and the ways out of it (cache_doors.S).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_CACHE_DOORS_H
#define RESPIN_PROFILER_CACHE_DOORS_H

/* Offsets of AreaSlots' fields from GS, of Cpu's from itself; translate.c asserts them. */
#define DOOR_RAX -4096
#define DOOR_RCX -4088
#define DOOR_CPU -4080
#define DOOR_HOST_SP -4072
#define DOOR_TARGET -4064
#define DOOR_EXIT -4056
#define DOOR_PENDING 164
#define DOOR_RUN_PENDING 1

#ifndef __ASSEMBLER__

#include "profiler/record.h"

/*
 * Loads the guest's registers and flags and jumps to `code`; the caller's frame must be gone. Where
 * a signal waits it is RUN_PENDING instead: cpu->pc and cpu->rflags are exact already.
 */
uint64_t cache_enter(Cpu *cpu, const void *code, uint64_t rflags);

/* Never called: translated code jumps here. */
extern const uint8_t cache_doors_start[], cache_doors_end[];
extern const uint8_t cache_leave[], cache_leave_rax[], cache_leave_rcx[], cache_leave_both[];
extern const uint8_t cache_miss_indirect[], cache_miss_return[];

/*
 * Where the doors lead, on the VM's stack, with the guest's registers in `cpu`: they end as
 * handlers do. `leave` refers to the Exit (pool.h).
 */
uint64_t translate_left(Cpu *cpu, int32_t leave, uint64_t rflags);
uint64_t translate_missed(Cpu *cpu, uint64_t target, uint64_t rflags, uint64_t index);
uint64_t translate_returned(Cpu *cpu, uint64_t target, uint64_t rflags);

#endif
#endif
