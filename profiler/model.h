/*
 * The front-end model: what a simple instruction fetcher would have met on the guest's path.
 *
 * Deterministic (it sees addresses, not time), so two builds of a program can be compared without
 * hardware counters. One Model per thread, as if each had a core of its own; freestanding like all
 * of the VM core. What it models:
 *
 *   I-cache  32 KiB, 8 ways, 64-byte lines, least recently used; a block fetches each line it spans
 *   iTLB     64 entries, fully associative, 4 KiB pages, least recently used
 *   BTB      4096 branches, 4 ways, by the address where they end: one that is taken and not in it
 * is a miss, and goes in (where it leads to is not held against it: other predictors know) windows
 * runs of 1,000,000 executed instructions (each ends with the block that reaches it): how many
 * different lines and pages were fetched in each
 *
 * A line fetched again at once (by the next block, nothing else between) is one fetch; a window
 * begins with a fetch. Branches
 * are not counted here: their classes follow exactly, and per module, from the edge counts of the
 * profile (profile_figures in core/profile.h).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_MODEL_H
#define RESPIN_PROFILER_MODEL_H

#include <stddef.h>
#include <stdint.h>

typedef struct Model Model;

/*
 * A Model for a thread that begins. `memory`: MODEL_BYTES zeroed bytes, aligned to 16 (vm_alloc),
 * kept for the life of the process; model_recycle serves a thread that reuses it.
 * `list`: where the process keeps its Models; safe against other threads.
 */
Model *model_new(void *memory, Model **list);
extern const size_t model_bytes;

/* The thread that owned `model` ended: the next thread to use it starts with empty caches. */
void model_recycle(Model *model);

/* In a forked child, before its first instruction: figures of all Models begin at nothing. */
void model_forked(Model *list);

/* The guest runs `n_insns` instructions in the bytes [start, start + size); size 0 fetches nothing.
 */
void model_block(Model *model, uint64_t start, uint32_t size, uint32_t n_insns);

/*
 * Appends the sums over `list` to the file `path` in one write, as lines "name value" behind a line
 * "model 1":
 *   instructions, line_fetches, icache_misses, itlb_misses, btb_misses,
 *   windows (complete ones), window_lines, window_pages (sums over them), lines_per_million,
 *   pages_per_million (averages over complete windows, rounded; of the only window when none is
 *   complete)
 * Opens the file, writes and closes it by raw system calls. False: could not.
 */
_Bool model_write(const Model *list, const char *path);

/* The same text into `out`; its length, cut at `size`. */
size_t model_text(const Model *list, char *out, size_t size);

#endif
