/*
 * Makes live profiles by hand, in memory: what a VM would have written.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_TESTS_SUPPORT_LIVE_MAKER_H
#define RESPIN_TESTS_SUPPORT_LIVE_MAKER_H

#include "core/bytes.h"
#include "core/live_format.h"

enum { LIVE_MAKER_MOST = 64, LIVE_MAKER_THREADS = 3 };

typedef struct LiveMaker {
    LiveHeader header;
    LiveMap maps[LIVE_MAKER_MOST];
    LiveBlock blocks[LIVE_MAKER_MOST];
    LiveEdge edges[LIVE_MAKER_MOST];
    LiveSum sums[LIVE_MAKER_MOST];
    LiveText texts[LIVE_MAKER_MOST];
    LiveValue values[LIVE_MAKER_MOST];
    uint64_t counters[LIVE_MAKER_THREADS][2 * LIVE_MAKER_MOST]; /* of each thread */
} LiveMaker;

LiveMaker live_maker(uint64_t run, uint32_t pid);

/* A mapping of a file; with its inode, size and time when it is there. */
uint32_t live_maker_map(LiveMaker *maker, uint64_t start, uint64_t end, uint64_t offset,
                        const char *path);

/* A run at `start` with counters `first` and `second` (in thread 0). `last`: offset of its last
 * instruction. Returns its index. */
uint32_t live_maker_block(LiveMaker *maker, uint32_t map, uint64_t start, uint32_t size,
                          uint32_t n_insns, uint32_t last, LiveEnd end, uint64_t target,
                          uint64_t first, uint64_t second);

void live_maker_edge(LiveMaker *maker, uint32_t block, uint32_t map, uint64_t target,
                     uint64_t count);

/* A counter that no thread owns. */
uint32_t live_maker_virtual(LiveMaker *maker);

void live_maker_sum(LiveMaker *maker, uint32_t to, uint32_t from);

void live_maker_text(LiveMaker *maker, LiveTextKind kind, uint32_t map, uint64_t address);

/* A site; to be filled in. */
LiveValue *live_maker_value(LiveMaker *maker, LiveValueKind kind, uint32_t map, uint64_t pc);

/* The bytes of the file. */
Bytes live_maker_file(Arena *arena, const LiveMaker *maker);

#endif
