/*
 * Writes the live profile (core/live_format.h). live_new_counters, live_add_block and live_add_edge
 * are in vm.h. Everything here takes code_lock as held, or runs before there are other threads.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_LIVE_H
#define RESPIN_PROFILER_LIVE_H

#include "profiler/thread.h"

/* Makes this process's live file; `command` is for people. Never fails: see LIVE_STOPPED. */
void live_start(Vm *vm, const char *command);
/* Gives a new slot its counters (os->counters_mapped, cpu.counter). */
void live_attach_thread(Thread *thread);
/* In a forked child, whose only thread is `thread`: a file of its own, counters zero. */
void live_fork_child(Vm *vm, Thread *thread);
/*
 * What became of text. A record is added under guard.c's lock alone (in a handler of faults, which
 * may have come while code_lock was held): so room for it is made before, under both.
 */
void live_text_room(uint64_t more);
void live_add_text(const LiveText *text);
/* Says that the process ended in order. Can be taken back when an execve fails after all. */
void live_mark(uint32_t flag, bool on);
/* Burst mode: marks the profile as sampled. */
void live_sample(uint64_t burst_ns);
/* Burst mode: one more moment at which a look is due. Any thread, without the lock, as below. */
uint64_t live_note_moment(void);
/* Burst mode: the CPU time of all looks so far. */
uint64_t live_burst_spent(void);
/* Burst mode: a look was taken, and what it took. */
void live_note_burst(uint64_t spent_ns);
/* Burst mode: what one burst may add fits into the file. */
bool live_has_room(void);
/*
 * Before the process becomes `user`, or (LIVE_SAME_USER) another root: from then on the file may be
 * out of reach. It becomes that user's, and gets room ahead.
 */
#define LIVE_SAME_USER UINT32_MAX
void live_prepare_change(uint32_t user);
/* The file's name; NULL: there is none. */
const char *live_path(void);

#endif
