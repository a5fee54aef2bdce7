/*
 * records.h: from decoded instructions to the records of a block.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_RECORDS_H
#define RESPIN_PROFILER_RECORDS_H

#include "profiler/decode.h"

/*
 * Makes a block of a run of at least one instruction that is not refused, and its counters and live
 * record. code_lock is held. `run` may be cut short before a refused instruction.
 */
Block *records_make(DecodedRun *run);
/*
 * The same for the end of a block, from instruction `first` on: same live record, same counters, so
 * what it counts is counted for the whole. `run` is all of the block. whole NULL: a block of its
 * own that is executed once and found by nobody: it is not compared and not translated.
 */
Block *records_make_tail(DecodedRun *run, const Block *whole, uint32_t first);
/* The parts of it that do not depend on records: a refused instruction at the end goes; a block
 * with where its instructions start, and the bytes of checked code; the live record and its
 * counters, the first of which is the result. code_lock is held. */
void records_drop_refused(DecodedRun *run);
Block *records_new_block(const DecodedRun *run);
uint32_t records_add_live(const DecodedRun *run, Block *block);

#endif
