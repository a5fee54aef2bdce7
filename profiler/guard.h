/*
 * guard.h: text of modules that the guest cannot read without the VM's knowing.
 *
 *   guest      |------ text, PROT_NONE ------|        a load faults: the page is noted as read as
 *                  |                    |             data, and is readable from then on
 *   VM         |------ view, PROT_READ ------|        the same bytes of the same file: decoding
 *
 * The VM never executes the guest's text in place, so its pages need not be accessible; only
 * private, read-only, executable mappings of files are guarded, which is where patches would go
 * (design.md 3.1, "pages of text that were read as data"). What is once open stays open, so a page
 * costs one fault. A system call that reads from a closed page fails with EFAULT and is made again.
 *
 * This is the one table of protections that differ from the guest's.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_GUARD_H
#define RESPIN_PROFILER_GUARD_H

#include "profiler/syscalls.h"

/*
 * Guards the new mapping [start, start + size) of `fd` at `offset`: read-only, executable, private.
 * code_lock is held, or there is no other thread yet. Where it cannot be done nothing happens: the
 * text stays readable.
 */
void guard_text(uint64_t start, uint64_t size, long fd, uint64_t offset);
/* There is a new live profile, a child's perhaps: what was guarded before may be noted from now on.
 * code_lock is held, or there is no other thread yet. */
void guard_start(void);

/* What becomes of a guard that ends. */
typedef enum GuardEnd {
    GUARD_GONE, /* unmapped, or mapped anew */
    GUARD_READ, /* readable: reads would not be noticed, so all pages are noted as read */
} GuardEnd;
void guard_end(uint64_t start, uint64_t end, GuardEnd how);
/* Text of files in [start, end) becomes writable: guarded no more. code_lock is held. */
void guard_note_written(uint64_t start, uint64_t end);

/* Makes closed pages in the range accessible for a moment, and closed again. */
void guard_lift(uint64_t start, uint64_t end);
void guard_close(uint64_t start, uint64_t end);
/* Before the guest goes on natively. */
void guard_lift_all(void);

/* From the handler of SIGSEGV, with the page fault's error code. True: the page is open now, or was
 * opened by another thread meanwhile; the access is to be made again. */
bool guard_fault(uint64_t address, uint64_t error);
/* From the same: it was code_read that met the end of a file; it goes on with what it has. */
bool code_read_fault(int64_t *gregs);

/* Set in start.S. */
size_t vm_copy_code(uint8_t *to, uint64_t from, size_t size) __attribute__((visibility("hidden")));
extern const char vm_copy_code_reads[] __attribute__((visibility("hidden")));
extern const char vm_copy_code_ends[] __attribute__((visibility("hidden")));
/* Opens the page that holds `address` and notes it. False: it is not closed. */
bool guard_open(uint64_t address);
/* `address` lies in guarded text, be its page open or closed. */
bool guard_covers(uint64_t address);

/* Before a system call that the kernel would cut short at a closed page. */
void guard_open_buffers(const Call *call);
/* After one that failed with EFAULT, for the n-th time. True: a closed page was the reason,
 * perhaps, and is open now. */
bool guard_open_arguments(const Call *call, unsigned n);

void guard_lock_for_fork(void);
void guard_unlock_for_fork(void);

#endif
