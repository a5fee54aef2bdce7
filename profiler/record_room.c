/*
 * record_room.c: records in chunks, which are never freed.
 *
 *   slots:  [block | records … | table] [block | records …] …
 *            its Block           which instruction each slot stands for; a short one is in the
 *            and a short table   slot in front
 *
 * Each chunk lists where its blocks begin, so the block of a record is found by halves.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/record_room.h"

#include "profiler/vm.h"

enum { CHUNK_SLOTS = 16 * 1024, MOST_CHUNKS = 16384 };

typedef struct Chunk {
    Op *start, *next, *end;
    uint16_t *blocks; /* where each block's slots begin */
    volatile uint32_t n;
} Chunk;

static Chunk chunks[MOST_CHUNKS];
static volatile uint32_t n_chunks;

/* The table of record_room_insn_of: in the slot before the records, or in slots behind them. */
static uint8_t *insn_table(Op *first, uint32_t n_slots)
{
    return (uint8_t *)(n_slots <= sizeof first->word[1] ? &first[-1].word[1]
                                                        : &first[n_slots].word[0]);
}

/* The slots that the table takes behind the records. */
static uint32_t table_slots(uint32_t n_slots)
{
    enum { IN_FRONT = sizeof(((Op *)0)->word[1]) };
    return n_slots <= IN_FRONT ? 0 : (n_slots + (uint32_t)sizeof(Op) - 1) / (uint32_t)sizeof(Op);
}

Op *record_room_take(uint32_t most)
{
    if (n_chunks == 0 || chunks[n_chunks - 1].end - chunks[n_chunks - 1].next <
                             1 + (int64_t)most + table_slots(most)) {
        if (n_chunks == MOST_CHUNKS)
            vm_die("too much decoded code", MOST_CHUNKS);
        Op *start = vm_alloc(CHUNK_SLOTS * sizeof *start);
        uint16_t *blocks = vm_alloc(CHUNK_SLOTS * sizeof *blocks);
        chunks[n_chunks] = (Chunk){ start, start, start + CHUNK_SLOTS, blocks, 0 };
        __atomic_store_n(&n_chunks, n_chunks + 1, __ATOMIC_RELEASE);
    }
    return chunks[n_chunks - 1].next + 1;
}

void record_room_keep(Block *block, const uint8_t *insn_of)
{
    Op *slots = block->ops - 1;
    Chunk *chunk = &chunks[n_chunks - 1];
    uint8_t *table = insn_table(block->ops, block->n_slots);
    for (uint32_t i = 0; i < block->n_slots; i++)
        table[i] = insn_of[i];
    slots->word[0] = (uint64_t)(uintptr_t)block;
    chunk->blocks[chunk->n] = (uint16_t)(slots - chunk->start);
    __atomic_store_n(&chunk->n, chunk->n + 1, __ATOMIC_RELEASE);
    __atomic_store_n(&chunk->next, slots + 1 + block->n_slots + table_slots(block->n_slots),
                     __ATOMIC_RELEASE);
}

uint32_t record_room_insn_of(const Block *block, const Op *op)
{
    return insn_table(block->ops, block->n_slots)[op - block->ops];
}

/* The last block that begins at or before `op`. */
static Block *block_in(const Chunk *chunk, const Op *op)
{
    uint32_t low = 0, high = __atomic_load_n(&chunk->n, __ATOMIC_ACQUIRE);
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (chunk->start + chunk->blocks[middle] <= op)
            low = middle;
        else
            high = middle;
    }
    return block_of_first(chunk->start + chunk->blocks[low] + 1);
}

Block *record_room_block_of(const Op *op)
{
    for (uint32_t i = __atomic_load_n(&n_chunks, __ATOMIC_ACQUIRE); i-- > 0;) {
        const Op *end = __atomic_load_n(&chunks[i].next, __ATOMIC_ACQUIRE);
        if (op >= chunks[i].start && op < end)
            return block_in(&chunks[i], op);
    }
    return NULL;
}
