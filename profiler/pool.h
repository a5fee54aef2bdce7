/*
 * pool.h: small pieces of memory that are never freed: what is looked at seldom.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_POOL_H
#define RESPIN_PROFILER_POOL_H

#include <stddef.h>

/* Zeroed, 16-byte aligned. code_lock is held. */
void *pool_take(size_t size);

#endif
