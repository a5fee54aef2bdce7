/*
 * cache.h: executable memory near the guest's modules, and which trace lies where in it.
 *
 *   arena   | hot: traces, one after the other ──►      | cold: stubs, cells ──►              |
 *
 * Near, so that RIP-relative operands of guest code only need another displacement. Each trace has
 * one piece of each part, in the order of their making: a search by halves finds it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_CACHE_H
#define RESPIN_PROFILER_CACHE_H

#include "profiler/emit.h"
#include "profiler/translate.h"

typedef struct CacheArena CacheArena;

/* Room being written to; both parts of one arena. */
typedef struct CacheRoom {
    CacheArena *arena;
    Code hot, cold;
} CacheRoom;

/* Room of at least these sizes from which `near` is reached. False: none. code_lock is held. */
bool cache_room(uint64_t near, size_t hot, size_t cold, CacheRoom *room);
/* What was written is kept. `trace`: it describes what was written; NULL: stubs of no trace. */
void cache_keep(const CacheRoom *room, const Trace *trace);
/* `target`, or a jump to it within reach of `from`; NULL: no room for one. code_lock is held. */
const uint8_t *cache_reach(const uint8_t *from, const uint8_t *target);
/* No lock. */
bool cache_owns(uint64_t rip);
const Trace *cache_trace_at(uint64_t rip);

#endif
