/*
 * pool.c: small pieces cut from large ones.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/pool.h"

#include "profiler/vm.h"

enum { CHUNK = 64 * 1024 };

typedef struct PoolChunk {
    struct PoolChunk *next;
    size_t size;
} PoolChunk;

_Static_assert(sizeof(PoolChunk) % POOL_ALIGN == 0, "pieces behind it are aligned");

static Pool lasting;
static PoolChunk *spare; /* of CHUNK bytes each */
uint8_t *pool_base;

static size_t rounded(size_t size)
{
    return (size + POOL_ALIGN - 1) & ~(size_t)(POOL_ALIGN - 1);
}

static void add_chunk(Pool *pool, size_t size)
{
    PoolChunk *chunk = spare;
    size = size + sizeof *chunk > CHUNK ? size + sizeof *chunk : CHUNK;
    if (size == CHUNK && chunk != NULL)
        spare = chunk->next;
    else
        chunk = vm_alloc(size);
    if (pool_base == NULL)
        pool_base = (uint8_t *)chunk;
    *chunk = (PoolChunk){ pool->chunks, size };
    pool->chunks = chunk;
    pool->at = (uint8_t *)(chunk + 1);
    pool->end = (uint8_t *)chunk + size;
}

void *pool_take_from(Pool *pool, size_t size)
{
    if (pool == NULL)
        pool = &lasting;
    size = rounded(size);
    if ((size_t)(pool->end - pool->at) < size)
        add_chunk(pool, size);
    uint64_t *piece = (uint64_t *)(void *)pool->at;
    for (size_t i = 0; i < size / sizeof *piece; i++)
        piece[i] = 0;
    pool->at += size;
    return piece;
}

void *pool_take(size_t size)
{
    return pool_take_from(&lasting, size);
}

/* Chunks of another size are kept for nobody: there is hardly one. */
void pool_empty(Pool *pool)
{
    PoolChunk *next;
    for (PoolChunk *chunk = pool->chunks; chunk != NULL; chunk = next) {
        next = chunk->next;
        if (chunk->size != CHUNK)
            continue;
        chunk->next = spare;
        spare = chunk;
    }
    *pool = (Pool){ 0 };
}

PoolRef pool_ref(const void *piece)
{
    if (piece == NULL)
        return 0;
    int64_t units = ((const uint8_t *)piece - pool_base) / POOL_ALIGN;
    if (units != (PoolRef)units)
        vm_die("memory of the VM lies too far apart, bytes", (uint64_t)units * POOL_ALIGN);
    return (PoolRef)units;
}
