/*
 * evict.h: emptying an arena of the code cache while threads run.
 *
 *   evict_begin     no way leads in any more: entries, links, stubs; a new epoch begins
 *       │           every thread is seen to hold nothing of the cache, and takes what leads there
 *       │           out of its own tables; threads in system calls hold nothing
 *   evict_is_left   all have been
 *       │
 *   evict_finish    what described its code is gone, its room is free
 *
 * A thread says so itself: before it enters the cache, and whenever interp_run begins. Nobody waits
 * for it: what is to be translated meanwhile finds other room, or is interpreted a while longer.
 * docs/translate.md has the argument.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_EVICT_H
#define RESPIN_PROFILER_EVICT_H

#include "profiler/cache.h"

extern volatile uint64_t evict_epoch; /* how many arenas were emptied so far */

/* ---- on the thread itself; it holds no lock ---- */

/* A thread is about to run for the first time, or in a new process. */
void evict_note_thread(Cpu *cpu);
/* It may enter the cache from now on. Cheap when it might before. */
void evict_come_in(Cpu *cpu);
/* It will not before evict_come_in: it is about to make a system call, or has ended (then another
 * thread may say so). */
void evict_go_out(const Cpu *cpu);
/* It holds nothing of the cache: no exit, no trace, no host address. */
void evict_say_clear(Cpu *cpu);

static inline bool evict_is_due(const Cpu *cpu)
{
    return area_slots(cpu)->seen != evict_epoch;
}

/* ---- others ---- */

/* No other thread was ever in the cache, of this process. code_lock is held. */
bool evict_is_alone(void);
/* In a forked child, whose only thread it is. */
void evict_forked(Cpu *cpu);

/* code_lock is held by the callers of these. */
void evict_begin(CacheArena *arena);
bool evict_is_left(const CacheArena *arena);
/* Threads that are still inside are asked to come out, now and then. */
void evict_hurry(CacheArena *arena);
void evict_finish(CacheArena *arena);

/* From the host's handler of SIGTRAP: it is what evict_hurry sends. Then the cache is to be left if
 * it was interrupted; the interpreter will be, and a system call that it cut short is made again.
 */
bool evict_is_request(Thread *thread, const uint64_t *info, int64_t *host_gregs);

#endif
