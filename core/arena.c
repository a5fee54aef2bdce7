/*
 * arena.c: chunks in a list; the newest one is bumped.
 *
 *     newest -> older -> oldest
 *     [used|free]
 *
 * An allocation larger than a chunk gets a chunk of its own. The only place that calls malloc and
 * free, and the only one in core that ends the process: out of memory.
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

enum { ARENA_ALIGN = 16, ARENA_CHUNK = 1 << 16, ARENA_CHUNK_MAX = 1 << 24, EXIT_BUG = 70 };

typedef struct Chunk {
    struct Chunk *older;
    size_t size; /* of `data` */
    size_t used;
    _Alignas(ARENA_ALIGN) unsigned char data[];
} Chunk;

struct Arena {
    Chunk *newest;
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

void arena_free(Arena *arena)
{
    if (arena == NULL)
        return;
    free_chunks(arena->newest);
    free(arena);
}

void arena_reset(Arena *arena)
{
    Chunk *keep = arena->newest;
    if (keep == NULL)
        return;
    free_chunks(keep->older);
    keep->older = NULL;
    memset(keep->data, 0, keep->used);
    keep->used = 0;
    arena->used = 0;
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

void *arena_alloc(Arena *arena, size_t size)
{
    if (size > SIZE_MAX - ARENA_ALIGN)
        out_of_memory(size);
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

void *arena_grow(Arena *arena, void *array, size_t *cap, size_t need, size_t size)
{
    if (need <= *cap && array != NULL)
        return array;
    size_t want = *cap < 8 ? 8 : *cap;
    while (want < need)
        if (__builtin_mul_overflow(want, (size_t)2, &want))
            out_of_memory(SIZE_MAX);
    size_t bytes;
    if (__builtin_mul_overflow(want, size, &bytes) || bytes > SIZE_MAX - ARENA_ALIGN)
        out_of_memory(SIZE_MAX);
    size_t old = *cap * size;
    if (!grow_in_place(arena, array, old, bytes)) {
        void *moved = arena_alloc(arena, bytes);
        if (array != NULL)
            memcpy(moved, array, old);
        array = moved;
    }
    *cap = want;
    return array;
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
