/*
 * cache.c: executable memory near the guest's modules.
 *
 * An arena is asked for a gigabyte below the code that needs it (programs linked low: below 2 GiB),
 * where neither the heap of a program nor the kernel's next mapping goes, and never over anything.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/cache.h"

#include <asm/unistd.h>
#include <linux/mman.h>

enum {
    ARENAS = 8, /* 256 MiB: what comes later stays with the interpreter (docs/limits.md) */
    ARENA_SIZE = 32 << 20,
    ARENA_HOT = 12 << 20,
    HOT_ALIGN = 16,
    FIRST_LIST = 1024,
};

struct CacheArena {
    uint8_t *start, *cold_start, *end;
    uint8_t *hot_at, *cold_at;
    const Trace **traces; /* in the order of their making, and so of both their addresses */
    volatile uint32_t n_traces;
    uint32_t capacity;
};

static CacheArena arenas[ARENAS];
static volatile uint32_t n_arenas;

/* ---- making arenas ---- */

static const uint64_t near_enough = UINT64_C(3) << 29;

static bool is_near(uint64_t a, uint64_t b)
{
    const uint64_t most = near_enough;
    return a < b ? b - a < most : a - b < most;
}

static uint8_t *map_at(uint64_t at)
{
    long got =
        raw_syscall(__NR_mmap, (long)at, ARENA_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (got == (long)at)
        return (uint8_t *)at;
    if (got > 0)
        raw_syscall(__NR_munmap, got, ARENA_SIZE, 0, 0, 0, 0);
    return NULL;
}

/*
 * From a gigabyte below `near` downwards, then from half of one above it upwards. Programs linked
 * low have their heap above them: as far beyond it as can be, downwards.
 */
static uint8_t *map_near(uint64_t near)
{
    const uint64_t step = UINT64_C(1) << 26, gigabyte = UINT64_C(1) << 30;
    const uint64_t here = near & ~(step - 1);
    bool low = near < 2 * gigabyte;
    uint64_t below = low ? here + near_enough - 2 * step : here - gigabyte;
    for (uint64_t at = below; is_near(at, near) && at > (low ? near : step); at -= step) {
        uint8_t *got = map_at(at);
        if (got != NULL)
            return got;
    }
    for (uint64_t at = here + gigabyte / 2; is_near(at + ARENA_SIZE, near) && !low; at += step) {
        uint8_t *got = map_at(at);
        if (got != NULL)
            return got;
    }
    return NULL;
}

static CacheArena *new_arena(uint64_t near)
{
    if (n_arenas == ARENAS)
        return NULL;
    uint8_t *start = map_near(near);
    if (start == NULL)
        return NULL;
    vm_claim((uint64_t)start, (uint64_t)start + ARENA_SIZE);
    /* Large pages: a compiler's hot traces are more code than the TLB covers in small ones. */
    raw_syscall(__NR_madvise, (long)start, ARENA_SIZE, MADV_HUGEPAGE, 0, 0, 0);
    raw_syscall(__NR_madvise, (long)start, ARENA_SIZE, MADV_DONTDUMP, 0, 0,
                0); /* the guest's core */
    CacheArena *arena = &arenas[n_arenas];
    *arena = (CacheArena){ .start = start,
                           .cold_start = start + ARENA_HOT,
                           .end = start + ARENA_SIZE,
                           .hot_at = start,
                           .cold_at = start + ARENA_HOT };
    __atomic_store_n(&n_arenas, n_arenas + 1, __ATOMIC_RELEASE);
    return arena;
}

/* ---- room ---- */

static bool has_room(const CacheArena *arena, uint64_t near, size_t hot, size_t cold)
{
    return is_near((uint64_t)arena->start, near) && is_near((uint64_t)arena->end, near) &&
           (size_t)(arena->cold_start - arena->hot_at) >= hot + HOT_ALIGN &&
           (size_t)(arena->end - arena->cold_at) >= cold + CELL;
}

bool cache_room(uint64_t near, size_t hot, size_t cold, CacheRoom *room)
{
    CacheArena *arena = NULL;
    for (uint32_t i = n_arenas; i-- > 0 && arena == NULL;) {
        if (has_room(&arenas[i], near, hot, cold))
            arena = &arenas[i];
    }
    if (arena == NULL)
        arena = new_arena(near);
    if (arena == NULL)
        return false;
    uint64_t hot_at = ((uint64_t)arena->hot_at + HOT_ALIGN - 1) & ~(uint64_t)(HOT_ALIGN - 1);
    uint64_t cold_at = ((uint64_t)arena->cold_at + CELL - 1) & ~(uint64_t)(CELL - 1);
    *room = (CacheRoom){ arena,
                         { (uint8_t *)hot_at, arena->cold_start },
                         { (uint8_t *)cold_at, arena->end } };
    return true;
}

static void add_trace(CacheArena *arena, const Trace *trace)
{
    if (arena->n_traces == arena->capacity) {
        uint32_t capacity = arena->capacity == 0 ? FIRST_LIST : 2 * arena->capacity;
        const Trace **list = vm_alloc(capacity * sizeof *list);
        for (uint32_t i = 0; i < arena->n_traces; i++)
            list[i] = arena->traces[i];
        __atomic_store_n(&arena->traces, list, __ATOMIC_RELEASE);
        arena->capacity = capacity;
    }
    arena->traces[arena->n_traces] = trace;
    __atomic_store_n(&arena->n_traces, arena->n_traces + 1, __ATOMIC_RELEASE);
}

void cache_keep(const CacheRoom *room, const Trace *trace)
{
    CacheArena *arena = room->arena;
    if (room->hot.at > arena->cold_start || room->cold.at > arena->end)
        vm_die("translated code is larger than its room", (uint64_t)room->hot.at);
    if (trace != NULL)
        add_trace(arena, trace);
    arena->hot_at = room->hot.at;
    arena->cold_at = room->cold.at;
}

const uint8_t *cache_reach(const uint8_t *from, const uint8_t *target)
{
    enum { FAR_JUMP = 32 };
    CacheRoom room;
    if (emit_reaches(from, target))
        return target;
    if (!cache_room((uint64_t)from, 0, FAR_JUMP, &room))
        return NULL;
    uint8_t *cell = room.cold.at;
    emit_bytes(&room.cold, &target, sizeof target);
    const uint8_t *jump = room.cold.at;
    emit_cell_jump(&room.cold, cell);
    room.hot.at = room.arena->hot_at;
    cache_keep(&room, NULL);
    return jump;
}

/* ---- finding ---- */

static const CacheArena *arena_at(uint64_t rip)
{
    uint32_t n = __atomic_load_n(&n_arenas, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i < n; i++) {
        if (rip >= (uint64_t)arenas[i].start && rip < (uint64_t)arenas[i].end)
            return &arenas[i];
    }
    return NULL;
}

bool cache_owns(uint64_t rip)
{
    return arena_at(rip) != NULL;
}

const Trace *cache_trace_at(uint64_t rip)
{
    const CacheArena *arena = arena_at(rip);
    if (arena == NULL)
        return NULL;
    uint32_t low = 0, high = __atomic_load_n(&arena->n_traces, __ATOMIC_ACQUIRE);
    const Trace **traces = __atomic_load_n(&arena->traces, __ATOMIC_ACQUIRE);
    bool cold = rip >= (uint64_t)arena->cold_start;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const Trace *trace = traces[middle];
        uint64_t start = (uint64_t)(cold ? trace->cold : trace->code);
        uint64_t size = cold ? trace->cold_size : trace->size;
        if (rip < start)
            high = middle;
        else if (rip - start < size)
            return trace;
        else
            low = middle + 1;
    }
    return NULL;
}
