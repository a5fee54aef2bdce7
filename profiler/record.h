/*
 * Records: what the interpreter executes. One guest instruction is one record (or a fused pair is),
 * 16 bytes a slot; operands that do not fit take following slots.
 *
 *     slot 0   [ run (8) | a b c d (4) | imm (4) ]     a b c: byte offsets into Cpu; d: scale
 *     slot 1+  [ word[0] (8) | word[1] (8) ]           addresses, links, long immediates
 *
 * Direct threaded by tail calls: a handler does its work and jumps to the `run` of the next record.
 * The five arguments stay in their registers from the first record to the last (rdi rsi rdx rcx
 * r8), so a fault handler can read them from the interrupted context. A thunk is native code that
 * obeys the same convention, so `run` may point to generated code.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_RECORD_H
#define RESPIN_PROFILER_RECORD_H

#include "profiler/pool.h"
#include "profiler/vm.h"

typedef uint64_t Handler(Cpu *cpu, const Op *op, uint64_t fa, uint64_t fb, uint64_t kind);

struct Op {
    union {
        struct {
            Handler *run;
            uint8_t a, b, c, d;
            int32_t imm;
        };
        uint64_t word[2];
        const Op *link[2];
    };
};

_Static_assert(sizeof(Op) == 16, "a record slot is 16 bytes");

/*
 * A decoded run of guest instructions. Its records lie in an arena of their own, so that what is
 * executed is dense in the cache; the slot before the first record leads back here. Never freed,
 * and there is one for each block that was ever executed: docs/vm.md has the bytes.
 */
typedef struct Block {
    /* What is asked when it is looked up, and on the way to its trace: in one line of the cache,
     * mostly. */
    uint64_t pc; /* guest address of its first instruction */
    union {
        struct Block *next;        /* in its bucket (lookup.c) */
        const struct Block *whole; /* is_tail: the block that this is the end of (tail.h) */
    };
    Op *ops;
    PoolRef traces; /* whose head it is: Trace */
    uint16_t n_slots;
    uint8_t size; /* bytes of guest code */
    uint8_t n_insns;
    uint8_t end;            /* LiveEnd */
    volatile uint8_t stale; /* set once: forgotten */
    bool is_tail : 1;
    bool is_checked : 1; /* the bytes that were decoded are behind `offset` */
    bool refused : 1;    /* cannot be translated */
    bool observed : 1;   /* holds value points: not to be translated yet */
    bool has_steps : 1;  /* how record_room.c notes which instruction a slot stands for */
    bool flags_dead : 1; /* flags are overwritten before anything that may fault or leave */
    uint32_t counter;    /* first counter of its end */

    struct Block *same_page; /* list of all blocks that start in the same page */
    uint64_t target;         /* of a direct branch */
    PoolRef through;         /* all that pass through it: TraceBlock */
    uint32_t live;           /* index of its LiveBlock */
    uint32_t number;         /* of the return at its end (stub.c); 0: none yet */
    uint8_t offset[]; /* per instruction: where it starts in the block; n_insns + 1 entries */
} Block;

/* An instruction offset in a block is one byte. */
enum { BLOCK_MAX_BYTES = 240, BLOCK_MAX_INSNS = 64 };

/* The code that was decoded; checked blocks only. */
static inline const uint8_t *block_bytes(const Block *block)
{
    return block->offset + block->n_insns + 1;
}

/* The slot before a block's records: word[0] its Block. word[1]: record_room_insn_of. */
static inline Block *block_of_first(const Op *op)
{
    return (Block *)(uintptr_t)op[-1].word[0];
}

/* The record of the indirect branch, the return or the system call at its end. */
Op *block_last_record(const Block *block);

/* One target of one indirect branch; immutable once published. */
typedef struct Target {
    uint64_t pc;
    const Op *site;
    const Op *ops;
    uint32_t counter;
    struct Target *next;
    struct Target *other;     /* of the same site, seen before */
    struct CountNode *counts; /* further counters whose sums it holds; code_lock is held */
} Target;

typedef struct CountNode {
    uint32_t counter;
    struct CountNode *next;
} CountNode;

enum { TARGET_CACHE = 4096 }; /* entries per thread, a power of two */

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#endif
