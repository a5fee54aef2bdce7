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
/* The block that holds record `op`, wherever in it; NULL: none. */
Block *records_block_of(const Op *op);

#endif
