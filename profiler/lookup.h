/*
 * lookup.h: from guest addresses to records, and what is remembered of calls and targets.
 *
 * Readers take no lock: every table is a set of buckets whose lists only grow at the head.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_LOOKUP_H
#define RESPIN_PROFILER_LOOKUP_H

#include "profiler/record.h"

void lookup_init(void);
/* The block at `pc`, if it was decoded and not forgotten; else NULL. */
Block *lookup_block(uint64_t pc);
/* Gives a new thread its target cache and an empty shadow ring. */
void lookup_init_thread(Cpu *cpu);
/* A call record whose return address is `pc`. code_lock is held. */
void lookup_note_call(const Op *call, uint64_t pc);
/* The counter for "the first `n` instructions of the block and no more". code_lock is held. */
uint32_t lookup_partial(const Block *block, uint32_t n);
/* Marks the blocks in [start, end) stale. code_lock is held. */
void lookup_forget(uint64_t start, uint64_t end);

#endif
