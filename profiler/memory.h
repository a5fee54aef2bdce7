/*
 * The VM's own memory: one reserved range of address space, parts of which are made usable.
 *
 *   | heap (vm_alloc) | code (vm_alloc_code) | thread slots, counters, live records ... | free |
 *
 * Everything the VM maps lies inside, so one comparison tells whether a guest's system call is
 * about to harm the VM.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_MEMORY_H
#define RESPIN_PROFILER_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VM_PAGE = 4096, VM_LARGE_PAGE = 2 << 20 };

/* Reserves the range. False: no address space. */
bool memory_init(void);
/* `size` bytes of inaccessible addresses, aligned to `align` (a power of two); dies when none. */
void *memory_reserve(size_t size, size_t align);
/* The range divided by `parts`, but at least `least` bytes: how much a part of the VM may reserve.
 */
size_t memory_share(size_t parts, size_t least);
/* Makes whole pages of reserved addresses readable and writable. False: no memory. */
bool memory_commit(void *start, size_t size);
/* Whole large pages that are read and written at places far apart: fewer waits for the TLB. */
void memory_prefer_large(uint64_t start, uint64_t size);
/* Addresses that the range and the image take, in bytes. */
uint64_t memory_vm_size(void);
/* Burst mode: so much of the two heaps is usable without asking the kernel. False: it said no. */
bool memory_make_room(size_t heap, size_t code);
/* The reserved range. */
void memory_range(uint64_t *start, uint64_t *end);
/* Burst mode: forked children of the guest do not get these pages. */
void memory_keep_from_children(void *start, size_t size);
/* [start, end) touches the VM: its memory or its image. */
bool memory_is_vm(uint64_t start, uint64_t end);
/* Held across fork so that the child finds it free. */
void memory_lock_for_fork(void);
void memory_unlock_for_fork(void);

/* Scratch pages outside the range, to be given back with memory_scratch_free. NULL: none. */
void *memory_scratch(size_t size);
void memory_scratch_free(void *start, size_t size);

/*
 * Guest memory, touched only after the kernel said that it may be: a bad address gives false, as a
 * system call would give EFAULT. Stacks grow as they would for the kernel.
 * Writes are of 8 bytes or more.
 */
bool guest_readable(uint64_t address, size_t size);
bool guest_writable(uint64_t address, size_t size);
bool guest_read(void *to, uint64_t from, size_t size);
bool guest_write(uint64_t to, const void *from, size_t size);
/* Copies a string with its terminator; length, or -1: bad address, -2: longer than size - 1. */
long guest_read_string(char *to, size_t size, uint64_t from);

static inline uint64_t page_down(uint64_t address)
{
    return address & ~(uint64_t)(VM_PAGE - 1);
}

static inline uint64_t page_up(uint64_t address)
{
    return page_down(address + VM_PAGE - 1);
}

#endif
