/*
 * record_room.c: records in chunks, which are never freed.
 *
 *   slots:  [block | records … | table] [block | records …] …     … index: where blocks begin ]
 *            its Block           which instruction each slot stands for, where that does not fit
 * into and a table         the slot in front
 *
 * The index grows from a chunk's end downwards; so the block of a record is found by halves.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/record_room.h"

#include "profiler/vm.h"

enum {
    CHUNK_SLOTS = 16 * 1024,
    MOST_CHUNKS = 16384,
    IN_FRONT = sizeof(((Op *)0)->word[1]), /* bytes of a table */
    STEP_BITS = 2,                         /* slots whose instructions are this close… */
    MOST_STEP = (1 << STEP_BITS) - 1,
    STEPS_IN_FRONT = IN_FRONT * 8 / STEP_BITS, /* …and no more than that */
};

typedef struct Chunk {
    Op *start, *next, *end;
    volatile uint32_t n; /* blocks */
} Chunk;

static Chunk chunks[MOST_CHUNKS];
static volatile uint32_t n_chunks;

/* ---- which instruction ---- */

/*
 * In the slot before the records: a byte each; or, by the block's `has_steps`, how far each slot's
 * instruction is from that of the slot before, two bits each. Else bytes in slots behind them.
 */
static uint8_t *byte_table(Op *first, uint32_t n_slots)
{
    return (uint8_t *)(n_slots <= IN_FRONT ? &first[-1].word[1] : &first[n_slots].word[0]);
}

static bool fits_steps(uint32_t n_slots, const uint8_t *insn_of)
{
    unsigned last = 0;
    for (uint32_t i = 0; i < n_slots; last = insn_of[i++]) {
        if (insn_of[i] - last > MOST_STEP)
            return false;
    }
    return n_slots > IN_FRONT && n_slots <= STEPS_IN_FRONT;
}

static uint64_t pack_steps(uint32_t n_slots, const uint8_t *insn_of)
{
    uint64_t steps = 0;
    unsigned last = 0;
    for (uint32_t i = 0; i < n_slots; last = insn_of[i++])
        steps |= (uint64_t)(insn_of[i] - last) << (i * STEP_BITS);
    return steps;
}

static uint32_t sum_steps(uint64_t steps, uint32_t slot)
{
    uint32_t insn = 0;
    for (uint32_t i = 0; i <= slot; i++)
        insn += steps >> (i * STEP_BITS) & MOST_STEP;
    return insn;
}

/* The slots that the table takes behind the records, at most. */
static uint32_t table_slots(uint32_t n_slots)
{
    return n_slots <= IN_FRONT ? 0 : (n_slots + (uint32_t)sizeof(Op) - 1) / (uint32_t)sizeof(Op);
}

static void keep_table(Block *block, const uint8_t *insn_of)
{
    block->has_steps = fits_steps(block->n_slots, insn_of);
    if (block->has_steps) {
        block->ops[-1].word[1] = pack_steps(block->n_slots, insn_of);
        return;
    }
    uint8_t *table = byte_table(block->ops, block->n_slots);
    for (uint32_t i = 0; i < block->n_slots; i++)
        table[i] = insn_of[i];
}

/* ---- room ---- */

/* Where block `i` of the chunk begins, in slots from its start. */
static uint16_t *index_at(const Chunk *chunk, uint32_t i)
{
    return (uint16_t *)(void *)chunk->end - 1 - i;
}

static bool has_room(const Chunk *chunk, uint32_t slots)
{
    return (uintptr_t)(chunk->next + slots) <= (uintptr_t)index_at(chunk, chunk->n);
}

Op *record_room_take(uint32_t most)
{
    if (n_chunks == 0 || !has_room(&chunks[n_chunks - 1], 1 + most + table_slots(most))) {
        if (n_chunks == MOST_CHUNKS)
            vm_die("too much decoded code", MOST_CHUNKS);
        Op *start = vm_alloc(CHUNK_SLOTS * sizeof *start);
        chunks[n_chunks] = (Chunk){ start, start, start + CHUNK_SLOTS, 0 };
        __atomic_store_n(&n_chunks, n_chunks + 1, __ATOMIC_RELEASE);
    }
    return chunks[n_chunks - 1].next + 1;
}

void record_room_keep(Block *block, const uint8_t *insn_of)
{
    Op *slots = block->ops - 1;
    Chunk *chunk = &chunks[n_chunks - 1];
    keep_table(block, insn_of);
    uint32_t behind = block->has_steps ? 0 : table_slots(block->n_slots);
    slots->word[0] = (uint64_t)(uintptr_t)block;
    *index_at(chunk, chunk->n) = (uint16_t)(slots - chunk->start);
    __atomic_store_n(&chunk->n, chunk->n + 1, __ATOMIC_RELEASE);
    __atomic_store_n(&chunk->next, slots + 1 + block->n_slots + behind, __ATOMIC_RELEASE);
}

uint32_t record_room_insn_of(const Block *block, const Op *op)
{
    uint32_t slot = (uint32_t)(op - block->ops);
    return block->has_steps ? sum_steps(block->ops[-1].word[1], slot)
                            : byte_table(block->ops, block->n_slots)[slot];
}

/* The last block that begins at or before `op`. */
static Block *block_in(const Chunk *chunk, const Op *op)
{
    uint32_t low = 0, high = __atomic_load_n(&chunk->n, __ATOMIC_ACQUIRE);
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (chunk->start + *index_at(chunk, middle) <= op)
            low = middle;
        else
            high = middle;
    }
    return block_of_first(chunk->start + *index_at(chunk, low) + 1);
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
