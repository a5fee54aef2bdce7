/*
 * cache.h: executable memory near the guest's modules, and which trace lies where in it.
 *
 *   arena   | hot: traces, one after the other ──►      | cold: stubs, cells ──►              |
 *
 * Near, so that RIP-relative operands of guest code only need another displacement. Each trace has
 * one piece of each part, in the order of their making: a search by halves finds it.
 *
 * An arena is also what is emptied at once when the cache has its size (evict.h).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_CACHE_H
#define RESPIN_PROFILER_CACHE_H

#include "profiler/emit.h"
#include "profiler/pool.h"
#include "profiler/translate.h"

typedef enum ArenaState {
    ARENA_FREE,    /* empty: to be filled when it is near */
    ARENA_USED,    /* filled, or being filled */
    ARENA_LEAVING, /* no way leads in; it is free when no thread can be inside any more */
    ARENA_DOORS,   /* no traces: what is never emptied (link.c) */
} ArenaState;

/* All but what readers without a lock look at is under code_lock. */
typedef struct CacheArena {
    uint8_t *start, *cold_start, *end;
    uint8_t *hot_at, *cold_at;
    const Trace **traces; /* in the order of their making, and so of both their addresses */
    volatile uint32_t n_traces;
    uint32_t capacity;
    ArenaState state;
    bool final;     /* for final traces only: what is executed most lies close together */
    uint32_t birth; /* when it began to be filled: the smallest is the oldest */
    volatile uint64_t left_at; /* the epoch that emptied it last (evict.h); 0: none did */
    uint32_t attempts;         /* to find room while it was being left */
    Pool pool;                 /* what describes its code */
} CacheArena;

/* Room being written to; both parts of one arena. */
typedef struct CacheRoom {
    CacheArena *arena;
    Code hot, cold;
} CacheRoom;

/*
 * Room of at least these sizes from which `near` is reached. False: none; cache_is_short() says if
 * there will be. May empty another arena: traces may be stale afterwards. code_lock is held.
 */
bool cache_room(uint64_t near, size_t hot, size_t cold, bool final, CacheRoom *room);
/* Room in the arena of what is at `code`, which is used. False: none. code_lock is held. */
bool cache_room_beside(const uint8_t *code, size_t hot, size_t cold, CacheRoom *room);
/* Room that lasts, for one of link.c's doors. */
bool cache_door_room(uint64_t near, size_t size, CacheRoom *room);
/* The last room that was not there: an arena is being emptied, it will be there soon. */
bool cache_is_short(void);
/* The oldest arena is emptied: something else of the cache's is used up. False: there is none. */
bool cache_empty_oldest(void);
/* What was written is kept. `trace`: it describes what was written; NULL: stubs of no trace. */
void cache_keep(const CacheRoom *room, const Trace *trace);

/* Arenas by number, for i < cache_n_arenas(). */
uint32_t cache_n_arenas(void);
CacheArena *cache_arena(uint32_t i);
/* No lock. */
CacheArena *cache_arena_at(uint64_t rip);
bool cache_owns(uint64_t rip);
const Trace *cache_trace_at(uint64_t rip);
/* In an arena that is being emptied: nothing new may lead there, or be noted about it. */
bool cache_is_leaving(const void *at);

#endif
