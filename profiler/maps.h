/*
 * The guest's executable mappings: map_find_code of vm.h answers from here.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_MAPS_H
#define RESPIN_PROFILER_MAPS_H

#include "profiler/vm.h"

/* What a mapping is made from. */
typedef struct MapFile {
    uint64_t inode;
    uint64_t device;
    uint64_t size;
    uint64_t mtime_ns;
    char path[LIVE_PATH_MAX]; /* "" anonymous */
} MapFile;

typedef struct MapAccess {
    bool writable;
    bool shared;
} MapAccess;

/*
 * Held round system calls that change mappings, so that the table and the kernel agree. Never held
 * while code_lock is taken: interp_invalidate comes after maps_unlock.
 */
void maps_lock(void);
void maps_unlock(void);

/* These take the lock as held. */

/* [start, end) became executable. fd -1: anonymous. */
void maps_add(uint64_t start, uint64_t end, long fd, uint64_t file_offset, MapAccess access);
/* [start, end) is executable no more. True: some of it was. */
bool maps_remove(uint64_t start, uint64_t end);
/* What the kernel says of [start, end) replaces what the table says. */
void maps_refresh(uint64_t start, uint64_t end);

/* ---- without the lock --------------------------------------------------------------------- */

bool maps_touch_code(uint64_t start, uint64_t end);
/* Fills all but the counts of a LiveMap. */
bool map_describe(uint64_t address, LiveMap *out);
void map_set_live(uint64_t address, uint32_t live);
/*
 * Asks the kernel (/proc/self/maps) about `address`: shared memory, stacks and the like can be
 * executable without a system call that the table saw. True: it is executable, and in the table
 * now. *mapped says whether there is any mapping.
 */
bool maps_ask_kernel(uint64_t address, bool *mapped);
/* The kernel's first mapping that ends above `address`, whoever made it. False: none. */
bool maps_next(uint64_t address, uint64_t *start, uint64_t *end);
/* The kernel would let the guest write there now. */
bool maps_kernel_writable(uint64_t address);

#endif
