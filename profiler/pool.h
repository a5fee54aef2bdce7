/*
 * pool.h: small pieces of memory that are never freed one by one: what is looked at seldom.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_POOL_H
#define RESPIN_PROFILER_POOL_H

#include <stddef.h>
#include <stdint.h>

/*
 * A piece, in half the room of a pointer: 0 is none. Pieces lie within 16 GiB of the first one.
 */
typedef int32_t PoolRef;

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

/* `piece`: what one of the above gave, or a multiple of 8 bytes behind that; NULL: none. */
PoolRef pool_ref(const void *piece);

enum { POOL_ALIGN = 8 };
extern uint8_t *pool_base; /* the first of all pieces lies here; only for what follows */

static inline void *pool_at(PoolRef ref)
{
    return ref != 0 ? pool_base + (int64_t)ref * POOL_ALIGN : NULL;
}

#endif
