/*
 * pool.c: small pieces cut from large ones.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/pool.h"

#include "profiler/vm.h"

void *pool_take(size_t size)
{
    enum { CHUNK = 64 * 1024 };
    static uint8_t *at, *end;
    size = (size + 15) & ~(size_t)15;
    if (at == NULL || (size_t)(end - at) < size) {
        size_t chunk = size > CHUNK ? size : CHUNK;
        at = vm_alloc(chunk);
        end = at + chunk;
    }
    at += size;
    return at - size;
}
