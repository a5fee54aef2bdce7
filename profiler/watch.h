/*
 * watch.h: pages of code that the guest may write to.
 *
 *              decoded from               written to
 *     open ───────────────────► closed ──────────────► open, its blocks forgotten
 *                                                        └─► checked, when that happens too often
 *
 * A closed page is write-protected by the VM, behind the guest's back. A checked one is never
 * closed again: its blocks compare their bytes at each entry. Shared mappings are checked from the
 * start.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_WATCH_H
#define RESPIN_PROFILER_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Closes the pages of [start, end) that the guest may write to. code_lock is held. */
void watch_close(uint64_t start, uint64_t end);
/* The page is a checked one. No lock. */
bool watch_is_checked(uint64_t address);
/* Some page is closed. No lock. */
bool watch_any(void);

/*
 * A write to `address` was refused by the kernel. True: it will not be again, and the blocks of the
 * page are forgotten; the write is to be repeated. Async-signal-safe while the interrupted code
 * holds no lock of the VM's, and that of the guest's never does. Takes code_lock.
 */
bool watch_fault(uint64_t address);
/* The same before a write by the kernel or the VM to [start, end). True: a page was closed. */
bool watch_let_write(uint64_t start, uint64_t end);
/* The same for every page there is; it is not held against them. */
bool watch_let_write_all(void);

/*
 * For system calls that change mappings, under the lock of maps.h: the kernel's protections become
 * the guest's; the caller forgets the blocks. `anew`: what was known of the pages is void.
 */
void watch_open(uint64_t start, uint64_t end, bool anew);

#endif
