/*
 * Signals: taken by one host handler, given to the guest between instructions, in frames as the
 * kernel makes them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_SIGNALS_H
#define RESPIN_PROFILER_SIGNALS_H

#include "profiler/thread.h"

#define SIG_BIT(signal) ((SigMask)1 << ((signal)-1))
#define SIG_UNBLOCKABLE (SIG_BIT(SIGNAL_KILL) | SIG_BIT(SIGNAL_STOP))

/* The table of a program that just started: what it inherited. */
SigTable *signals_initial_table(void);
/* A copy for a clone without CLONE_SIGHAND; `clear`: handlers become the default. */
SigTable *signals_copy_table(SigTable *table, bool clear);
/* CLONE_CLEAR_SIGHAND: what the kernel did in a forked child. */
void signals_clear_handlers(SigTable *table);
/* Forgets what was captured: it was the parent's. */
void signals_forget(Thread *thread);
/* Held across fork so that the child finds the tables whole. */
void signals_lock_for_fork(void);
void signals_unlock_for_fork(void);
void signals_share_table(SigTable *table);
void signals_drop_table(SigTable *table);

/* The host's alternate stack of this thread: its slot's. Called by the thread itself. */
void signals_use_alt_stack(Thread *thread);

/*
 * Between hold and release no signal arrives (none at all), and os->guest_mask is the guest's mask.
 * release blocks what guest_mask says; captured signals stay for signals_deliver.
 */
void signals_hold(Thread *thread);
void signals_release(Thread *thread);
/* Signals are held: one was captured that signals_deliver would give to the guest. */
bool signals_wait(Thread *thread);
/* What the kernel gets to see of a guest's action. Result as the kernel's. */
long signals_install(uint64_t signal, const GuestAction *action);

/* Gives the guest what was captured; cpu is exact and is exact afterwards, perhaps in a handler. */
void signals_deliver(Thread *thread);
/* The guest's instruction at cpu.pc raised `signal` (no host fault did): delivered at once. */
void signals_raise(Thread *thread, int signal, int code, uint64_t address, uint64_t trapno,
                   uint64_t err);

/* The kernel gets the guest's own handlers, alternate stack and mask; captured signals go back. */
void signals_give_back(Thread *thread);

/* System calls; results as the kernel's. */
long signals_action(Thread *thread, uint64_t signal, uint64_t new_action, uint64_t old_action,
                    uint64_t mask_size);
long signals_alt_stack(Thread *thread, uint64_t new_stack, uint64_t old_stack);
void signals_return(Thread *thread);

/* Set in start.S. */
extern const char vm_syscall_window[] __attribute__((visibility("hidden")));
extern const char vm_syscall_again[] __attribute__((visibility("hidden")));
extern const char vm_syscall_done[] __attribute__((visibility("hidden")));
extern const char vm_syscall_interrupted[] __attribute__((visibility("hidden")));

#endif
