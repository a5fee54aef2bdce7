/*
 * cache.c: executable memory near the guest's modules.
 *
 * An arena is asked for a gigabyte below the code that needs it (programs linked low: below 2 GiB),
 * where neither the heap of a program nor the kernel's next mapping goes, and never over anything.
 * Its addresses stay the cache's when it is emptied.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/cache.h"

#include "profiler/evict.h"
#include "profiler/memory.h"
#include "profiler/weave.h"

#include <asm/unistd.h>
#include <linux/mman.h>

enum {
    PLACES = 64, /* ranges of addresses that arenas have had */
    ARENAS = 8,  /* at once: an eighth of the cache is emptied at a time… */
    LEAST_ARENAS = 2,
    LARGEST_ARENA = 32 << 20,
    LEAST_ARENA = 2 * (HOT_ROOM + COLD_ROOM),
    HOT_SHARE = 5, /* …of 8 parts of an arena are for traces */
    SHARES = 8,
    DOOR_ARENA = 64 << 10,
    LARGE_PAGE = 2 << 20,
    HOT_ALIGN = 16,
    ANYWHERE = 0, /* for `near` */
    FIRST_LIST = 1024,
};

static CacheArena arenas[PLACES];
static volatile uint32_t n_arenas;
static uint32_t births;
static bool is_short;

static uint64_t cache_bytes(void)
{
    uint64_t asked = the_vm.options.cache_bytes;
    return asked != 0 ? asked : (uint64_t)ARENAS * LARGEST_ARENA;
}

static uint64_t arena_size(void)
{
    uint64_t size = cache_bytes() / ARENAS & ~(uint64_t)(VM_PAGE - 1);
    if (size < LEAST_ARENA)
        return LEAST_ARENA;
    return size < LARGEST_ARENA ? size : LARGEST_ARENA;
}

static uint32_t most_arenas(void)
{
    uint64_t n = cache_bytes() / arena_size();
    return n < LEAST_ARENAS ? LEAST_ARENAS : (uint32_t)n;
}

/* ---- making arenas ---- */

static const uint64_t near_enough = UINT64_C(3) << 29;

static bool is_near(uint64_t a, uint64_t b)
{
    const uint64_t most = near_enough;
    return a < b ? b - a < most : a - b < most;
}

static uint8_t *map_at(uint64_t at, uint64_t size)
{
    long got =
        raw_syscall(__NR_mmap, (long)at, (long)size, PROT_READ | PROT_WRITE | PROT_EXEC,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (got == (long)at)
        return (uint8_t *)at;
    if (got > 0)
        raw_syscall(__NR_munmap, got, (long)size, 0, 0, 0, 0);
    return NULL;
}

/*
 * From a gigabyte below `near` downwards, then from half of one above it upwards. Programs linked
 * low have their heap above them: as far beyond it as can be, downwards.
 */
static uint8_t *map_near(uint64_t near, uint64_t size)
{
    const uint64_t step = UINT64_C(1) << 26, gigabyte = UINT64_C(1) << 30;
    const uint64_t here = near & ~(step - 1);
    bool low = near < 2 * gigabyte;
    uint64_t below = low ? here + near_enough - 2 * step : here - gigabyte;
    for (uint64_t at = below; is_near(at, near) && at > (low ? near : step); at -= step) {
        uint8_t *got = map_at(at, size);
        if (got != NULL)
            return got;
    }
    for (uint64_t at = here + gigabyte / 2; is_near(at + size, near) && !low; at += step) {
        uint8_t *got = map_at(at, size);
        if (got != NULL)
            return got;
    }
    return NULL;
}

/* What is free, but elsewhere, gives its memory back. */
static void release_free(void)
{
    for (uint32_t i = 0; i < n_arenas; i++) {
        if (arenas[i].state == ARENA_FREE)
            raw_syscall(__NR_madvise, (long)arenas[i].start, arenas[i].end - arenas[i].start,
                        MADV_DONTNEED, 0, 0, 0);
    }
}

static CacheArena *new_place(uint64_t near, uint64_t size)
{
    if (n_arenas == PLACES)
        return NULL;
    uint8_t *start = map_near(near, size);
    if (start == NULL)
        return NULL;
    release_free();
    vm_claim((uint64_t)start, (uint64_t)start + size);
    /* Large pages: a compiler's hot traces are more code than the TLB covers in small ones. */
    if (size >= LARGE_PAGE)
        raw_syscall(__NR_madvise, (long)start, (long)size, MADV_HUGEPAGE, 0, 0, 0);
    raw_syscall(__NR_madvise, (long)start, (long)size, MADV_DONTDUMP, 0, 0,
                0); /* the guest's core */
    CacheArena *arena = &arenas[n_arenas];
    *arena = (CacheArena){ .start = start, .cold_start = start, .end = start + size };
    __atomic_store_n(&n_arenas, n_arenas + 1, __ATOMIC_RELEASE);
    return arena;
}

/* ---- taking and emptying arenas ---- */

static bool is_beside(const CacheArena *arena, uint64_t near)
{
    return is_near((uint64_t)arena->start, near) && is_near((uint64_t)arena->end, near);
}

static CacheArena *find_free(uint64_t near)
{
    for (uint32_t i = 0; i < n_arenas; i++) {
        if (arenas[i].state == ARENA_FREE && is_beside(&arenas[i], near))
            return &arenas[i];
    }
    return NULL;
}

/* Those that all threads have left are free; how many are not. */
static uint32_t collect_left(void)
{
    uint32_t taken = 0;
    for (uint32_t i = 0; i < n_arenas; i++) {
        CacheArena *arena = &arenas[i];
        if (arena->state == ARENA_LEAVING && evict_is_left(arena)) {
            evict_finish(arena);
            arena->n_traces = 0;
            arena->state = ARENA_FREE;
        }
        taken += arena->state == ARENA_USED || arena->state == ARENA_LEAVING;
    }
    return taken;
}

bool cache_empty_oldest(void)
{
    CacheArena *oldest = NULL;
    for (uint32_t i = 0; i < n_arenas; i++) {
        CacheArena *arena = &arenas[i];
        if (arena->state == ARENA_LEAVING) {
            evict_hurry(arena);
            return true;
        }
        if (arena->state == ARENA_USED && (oldest == NULL || arena->birth < oldest->birth))
            oldest = arena;
    }
    if (oldest == NULL)
        return false;
    evict_begin(oldest);
    return true;
}

static bool has_beside(uint64_t near)
{
    for (uint32_t i = 0; i < n_arenas; i++) {
        if (arenas[i].state != ARENA_DOORS && is_beside(&arenas[i], near))
            return true;
    }
    return false;
}

/* `wanted`: code far from all there is puts up with another one's room rather than emptying it. */
static CacheArena *take_arena(uint64_t near, bool final, CacheArena *wanted)
{
    uint32_t taken = collect_left();
    if (taken >= most_arenas() && wanted != NULL && !has_beside(near))
        return wanted;
    if (taken >= most_arenas()) {
        is_short = cache_empty_oldest();
        return NULL;
    }
    CacheArena *arena = find_free(near);
    if (arena == NULL)
        arena = new_place(near, arena_size());
    if (arena == NULL)
        return wanted;
    /* The next one is needed when this one is full: it is left meanwhile. */
    if (taken + 1 == most_arenas())
        cache_empty_oldest();
    uint64_t hot = (uint64_t)(arena->end - arena->start) / SHARES * HOT_SHARE;
    arena->cold_start = arena->start + (hot & ~(uint64_t)(VM_PAGE - 1));
    arena->hot_at = arena->start;
    arena->cold_at = arena->cold_start;
    arena->birth = births++;
    arena->final = final;
    arena->state = ARENA_USED;
    return arena;
}

/* ---- room ---- */

typedef struct RoomRequest {
    ArenaState state;
    uint64_t near;
    size_t hot, cold;
    bool final; /* hot != 0: for a final trace */
} RoomRequest;

/* Of the hot part: for stubs of ways that are taken when no trace finds room any more. */
static size_t kept_for_stubs(const CacheArena *arena)
{
    enum { PART = 12 };
    return (size_t)(arena->cold_start - arena->start) / PART;
}

static bool has_room(const CacheArena *arena, uint64_t near, size_t hot, size_t cold)
{
    return (near == ANYWHERE || is_beside(arena, near)) &&
           (size_t)(arena->cold_start - arena->hot_at) >= hot + HOT_ALIGN &&
           (size_t)(arena->end - arena->cold_at) >= cold + CELL;
}

static CacheArena *find_room(const RoomRequest *asked)
{
    CacheArena *newest = NULL;
    for (uint32_t i = 0; i < n_arenas; i++) {
        CacheArena *arena = &arenas[i];
        size_t kept = asked->hot != 0 ? kept_for_stubs(arena) : 0;
        if (arena->state == asked->state && (newest == NULL || arena->birth > newest->birth) &&
            (asked->hot == 0 || arena->final == asked->final) &&
            has_room(arena, asked->near, asked->hot + kept, asked->cold))
            newest = arena;
    }
    return newest;
}

static void set_room(CacheArena *arena, CacheRoom *room)
{
    uint64_t hot_at = ((uint64_t)arena->hot_at + HOT_ALIGN - 1) & ~(uint64_t)(HOT_ALIGN - 1);
    uint64_t cold_at = ((uint64_t)arena->cold_at + CELL - 1) & ~(uint64_t)(CELL - 1);
    *room = (CacheRoom){ arena,
                         { (uint8_t *)hot_at, arena->cold_start },
                         { (uint8_t *)cold_at, arena->end } };
}

bool cache_room(uint64_t near, size_t hot, size_t cold, bool final, CacheRoom *room)
{
    enum { ENOUGH = 4 }; /* arenas, for some of them to be for final traces alone */
    RoomRequest asked = { ARENA_USED, near, hot, cold, final && most_arenas() >= ENOUGH };
    is_short = false;
    CacheArena *arena = find_room(&asked);
    if (arena == NULL) {
        asked.near = ANYWHERE;
        arena = take_arena(near, asked.final, find_room(&asked));
    }
    if (arena == NULL)
        return false;
    set_room(arena, room);
    return true;
}

bool cache_room_beside(const uint8_t *code, size_t hot, size_t cold, CacheRoom *room)
{
    CacheArena *arena = cache_arena_at((uint64_t)code);
    if (arena == NULL || arena->state != ARENA_USED || !has_room(arena, ANYWHERE, hot, cold))
        return false;
    set_room(arena, room);
    return true;
}

bool cache_door_room(uint64_t near, size_t size, CacheRoom *room)
{
    CacheArena *arena = find_room(&(RoomRequest){ ARENA_DOORS, near, 0, size, false });
    if (arena == NULL) {
        arena = new_place(near, DOOR_ARENA);
        if (arena == NULL)
            return false;
        arena->cold_start = arena->start + HOT_ALIGN;
        arena->hot_at = arena->start;
        arena->cold_at = arena->cold_start;
        arena->state = ARENA_DOORS;
    }
    set_room(arena, room);
    return true;
}

bool cache_is_short(void)
{
    return is_short;
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
    if (arena->state != ARENA_DOORS)
        arena->hot_at = room->hot.at;
    arena->cold_at = room->cold.at;
}

/* ---- finding ---- */

uint32_t cache_n_arenas(void)
{
    return __atomic_load_n(&n_arenas, __ATOMIC_ACQUIRE);
}

CacheArena *cache_arena(uint32_t i)
{
    return &arenas[i];
}

CacheArena *cache_arena_at(uint64_t rip)
{
    uint32_t n = cache_n_arenas();
    for (uint32_t i = 0; i < n; i++) {
        if (rip >= (uint64_t)arenas[i].start && rip < (uint64_t)arenas[i].end)
            return &arenas[i];
    }
    return NULL;
}

bool cache_is_leaving(const void *at)
{
    const CacheArena *arena = cache_arena_at((uint64_t)at);
    return arena != NULL && arena->state == ARENA_LEAVING;
}

bool cache_owns(uint64_t rip)
{
    return cache_arena_at(rip) != NULL;
}

const Trace *cache_trace_at(uint64_t rip)
{
    const CacheArena *arena = cache_arena_at(rip);
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
