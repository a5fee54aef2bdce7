/*
 * record_room.h: where records lie, and the way from a record to its block and its instruction.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_RECORD_ROOM_H
#define RESPIN_PROFILER_RECORD_ROOM_H

#include "profiler/record.h"

/* Room for the records of one block, `most` slots: where the first goes. It stays free until
 * record_room_keep. code_lock is held, for both. */
Op *record_room_take(uint32_t most);
/* block->ops, block->n_slots are the records of a block; insn_of: per slot, which of the block's
 * instructions it stands for. From now on they are found. */
void record_room_keep(Block *block, const uint8_t *insn_of);

/* The block that holds record `op`, wherever in it; NULL: none. Needs no lock. */
Block *record_room_block_of(const Op *op);
/* Which of its block's instructions the record stands for. */
uint32_t record_room_insn_of(const Block *block, const Op *op);

#endif
