/*
 * Arenas: memory that is freed all at once.
 *
 * A job has one arena for what lives to its end and one scratch arena that the pass runner
 * resets. Allocation never returns NULL: out of memory is one message and exit status 70 here.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CORE_ARENA_H
#define RESPIN_CORE_ARENA_H

#include <stddef.h>

typedef struct Arena Arena;

/* The analyzer takes what a malloc-like function returns for uninitialised; ours is zeroed. */
#ifdef __clang_analyzer__
#define ARENA_FRESH __attribute__((returns_nonnull))
#else
#define ARENA_FRESH __attribute__((malloc, returns_nonnull))
#endif

/* A new empty arena; free it with arena_free. */
Arena *arena_new(void);
void arena_free(Arena *arena);

/* Frees everything allocated since arena_new, keeps one chunk for what comes. */
void arena_reset(Arena *arena);

/* Zeroed bytes, aligned for any type. size 0 gives a valid pointer to nothing. */
void *arena_alloc(Arena *arena, size_t size) ARENA_FRESH;

/* Zeroed array; overflow of count * size is out of memory. */
void *arena_array(Arena *arena, size_t count, size_t size) ARENA_FRESH;

/*
 * Grows an array of `size`-byte elements so that it can hold `need` elements. `*cap` is its
 * capacity in elements and is updated; new elements are zero. Amortised doubling; the old block is
 * reused when it is the last allocation, or large. Returns the (possibly moved) array.
 */
static inline void *arena_grow(Arena *arena, void *array, size_t *cap, size_t need, size_t size)
    __attribute__((returns_nonnull));
void *arena_grow_more(Arena *arena, void *array, size_t *cap, size_t need, size_t size)
    __attribute__((returns_nonnull));
static inline void *arena_grow(Arena *arena, void *array, size_t *cap, size_t need, size_t size)
{
    return need <= *cap && array != NULL ? array : arena_grow_more(arena, array, cap, need, size);
}

void *arena_copy(Arena *arena, const void *data, size_t size) __attribute__((returns_nonnull));
char *arena_string(Arena *arena, const char *text) __attribute__((returns_nonnull));
__attribute__((format(printf, 2, 3), returns_nonnull)) char *arena_printf(Arena *arena,
                                                                          const char *format, ...);

/* Bytes handed out and still held, for reports. */
size_t arena_used(const Arena *arena);

#define arena_one(arena, Type) ((Type *)arena_alloc((arena), sizeof(Type)))
#define arena_many(arena, Type, count) ((Type *)arena_array((arena), (count), sizeof(Type)))

#endif
