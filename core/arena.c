/*
 * arena.c: chunks in a list; the newest one is bumped.
 *
 *     newest -> older -> oldest         large -> large ...
 *     [used|free]                       [one allocation]
 *
 * A large allocation has pages of its own: those that are never touched cost nothing, and an array
 * grows without a copy that stays behind (a profile is a few arrays of tens of megabytes). The only
 * place that calls malloc and free, and the only one in core that ends the process: out of memory.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/arena.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    ARENA_ALIGN = 16,
    ARENA_CHUNK = 1 << 16,
    ARENA_CHUNK_MAX = 1 << 20,
    ARENA_LARGE = 1 << 18, /* bytes of an allocation that has pages of its own */
    ARENA_PAGE = 4096,
    EXIT_BUG = 70,
};

typedef struct Chunk {
    struct Chunk *older;
    size_t size; /* of `data` */
    size_t used;
    _Alignas(ARENA_ALIGN) unsigned char data[];
} Chunk;

/* An allocation with pages of its own. */
typedef struct Large {
    struct Large *older;
    unsigned char *data;
    size_t size; /* whole pages */
} Large;

struct Arena {
    Chunk *newest;
    Large *large;
    size_t used; /* bytes handed out */
    size_t next; /* size of the next ordinary chunk */
};

static _Noreturn void out_of_memory(size_t size)
{
    fprintf(stderr, "respin: out of memory: %zu bytes wanted\n", size);
    exit(EXIT_BUG);
}

Arena *arena_new(void)
{
    Arena *arena = calloc(1, sizeof *arena);
    if (arena == NULL)
        out_of_memory(sizeof *arena);
    arena->next = ARENA_CHUNK;
    return arena;
}

static void free_chunks(Chunk *chunk)
{
    while (chunk != NULL) {
        Chunk *older = chunk->older;
        free(chunk);
        chunk = older;
    }
}

static void free_large(Large *large)
{
    while (large != NULL) {
        Large *older = large->older;
        munmap(large->data, large->size);
        free(large);
        large = older;
    }
}

void arena_free(Arena *arena)
{
    if (arena == NULL)
        return;
    free_chunks(arena->newest);
    free_large(arena->large);
    free(arena);
}

void arena_reset(Arena *arena)
{
    Chunk *keep = arena->newest;
    free_large(arena->large);
    arena->large = NULL;
    arena->used = 0;
    if (keep == NULL)
        return;
    free_chunks(keep->older);
    keep->older = NULL;
    memset(keep->data, 0, keep->used);
    keep->used = 0;
}

static Chunk *add_chunk(Arena *arena, size_t size)
{
    size_t want = size > arena->next ? size : arena->next;
    if (want > SIZE_MAX - sizeof(Chunk))
        out_of_memory(size);
    Chunk *chunk = calloc(1, sizeof *chunk + want);
    if (chunk == NULL)
        out_of_memory(size);
    if (arena->next < ARENA_CHUNK_MAX)
        arena->next *= 2;
    chunk->size = want;
    chunk->older = arena->newest;
    arena->newest = chunk;
    return chunk;
}

static size_t whole_pages(size_t size)
{
    return (size + ARENA_PAGE - 1) & ~(size_t)(ARENA_PAGE - 1);
}

static void *add_large(Arena *arena, size_t size)
{
    Large *large = calloc(1, sizeof *large);
    void *data =
        mmap(NULL, whole_pages(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (large == NULL || data == MAP_FAILED)
        out_of_memory(size);
    *large = (Large){ arena->large, data, whole_pages(size) };
    arena->large = large;
    arena->used += large->size;
    return data;
}

void *arena_alloc(Arena *arena, size_t size)
{
    if (size > SIZE_MAX - ARENA_PAGE)
        out_of_memory(size);
    if (size >= ARENA_LARGE)
        return add_large(arena, size);
    size_t rounded = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    Chunk *chunk = arena->newest;
    if (chunk == NULL || chunk->size - chunk->used < rounded)
        chunk = add_chunk(arena, rounded);
    void *result = chunk->data + chunk->used;
    chunk->used += rounded;
    arena->used += rounded;
    return result;
}

void *arena_array(Arena *arena, size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        out_of_memory(SIZE_MAX);
    return arena_alloc(arena, total);
}

/* True when `array` (of `old` bytes) is the last allocation and could grow to `want` in place. */
static bool grow_in_place(Arena *arena, const void *array, size_t old, size_t want)
{
    Chunk *chunk = arena->newest;
    size_t old_rounded = (old + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    size_t new_rounded = (want + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (chunk == NULL || array == NULL || chunk->used < old_rounded ||
        (const unsigned char *)array != chunk->data + chunk->used - old_rounded)
        return false;
    if (chunk->size - chunk->used < new_rounded - old_rounded)
        return false;
    chunk->used += new_rounded - old_rounded;
    arena->used += new_rounded - old_rounded;
    return true;
}

/* A large array with room for `want`, moved as a whole; NULL: it is not large. */
static void *grow_large(Arena *arena, const void *array, size_t want)
{
    Large *large = arena->large;
    while (large != NULL && large->data != array)
        large = large->older;
    if (large == NULL)
        return NULL;
    void *moved = mremap(large->data, large->size, whole_pages(want), MREMAP_MAYMOVE);
    if (moved == MAP_FAILED)
        out_of_memory(want);
    arena->used += whole_pages(want) - large->size;
    large->data = moved;
    large->size = whole_pages(want);
    return moved;
}

void *arena_grow_more(Arena *arena, void *array, size_t *cap, size_t need, size_t size)
{
    size_t want = *cap < 8 ? 8 : *cap;
    while (want < need)
        if (__builtin_mul_overflow(want, (size_t)2, &want))
            out_of_memory(SIZE_MAX);
    size_t bytes;
    if (__builtin_mul_overflow(want, size, &bytes) || bytes > SIZE_MAX - ARENA_PAGE)
        out_of_memory(SIZE_MAX);
    size_t old = *cap * size;
    void *moved = old >= ARENA_LARGE ? grow_large(arena, array, bytes) : NULL;
    if (moved == NULL && !grow_in_place(arena, array, old, bytes)) {
        moved = arena_alloc(arena, bytes);
        if (array != NULL)
            memcpy(moved, array, old);
    }
    *cap = want;
    return moved != NULL ? moved : array;
}

void *arena_copy(Arena *arena, const void *data, size_t size)
{
    void *copy = arena_alloc(arena, size);
    if (size > 0)
        memcpy(copy, data, size);
    return copy;
}

char *arena_string(Arena *arena, const char *text)
{
    return arena_copy(arena, text, strlen(text) + 1);
}

char *arena_printf(Arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0)
        out_of_memory(0);
    char *text = arena_alloc(arena, (size_t)n + 1);
    vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    return text;
}

size_t arena_used(const Arena *arena)
{
    return arena->used;
}
