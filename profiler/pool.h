/*
 * pool.h: small pieces of memory that are never freed one by one: what is looked at seldom.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_POOL_H
#define RESPIN_PROFILER_POOL_H

#include <stddef.h>
#include <stdint.h>

/* Pieces that are all given back together. All zero: an empty one. */
typedef struct Pool {
    struct PoolChunk *chunks; /* newest first */
    uint8_t *at, *end;        /* of the first of them */
} Pool;

/* Zeroed, 8-byte aligned, never freed. code_lock is held. */
void *pool_take(size_t size);
/* The same until pool_empty. NULL: as pool_take. */
void *pool_take_from(Pool *pool, size_t size);
void pool_empty(Pool *pool);

#endif
