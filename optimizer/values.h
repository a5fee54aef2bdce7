/*
 * What registers hold: the value analysis behind the proofs about jump tables.
 *
 *     cmp  $20, %edi          flags say: (id 7, 32 bits) against 20
 *     ja   default            below: low 32 bits of id 7 are at most 20
 *     lea  table(%rip), %rdx  rdx is the constant `table`
 *     mov  %edi, %edi         rdi is at most 20
 *     movslq (%rdx,%rdi,4), %rax   rax is one of 21 entries of 4 bytes at `table`, extended
 *     add  %rdx, %rax         rax is a target: `table` + entry
 *     jmp  *%rax
 *
 * A forward analysis over a function's blocks to a fixpoint. Values are told apart by the place
 * that made them (`id`), so that a bound found on one copy holds for all; at joins what is not
 * equal is forgotten. Calls keep the registers that the psABI (3.2.1) says they keep, and nothing
 * in memory. A word of memory keeps its value until anything is written to memory.
 *
 * Sound only for code entered where it is told: blocks that are entered otherwise must be given to
 * values_run as unknown.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_OPTIMIZER_VALUES_H
#define RESPIN_OPTIMIZER_VALUES_H

#include "core/program.h"

typedef enum ValueKind {
    VALUE_NUM,    /* some number, bounded by max */
    VALUE_CONST,  /* `addr` */
    VALUE_ENTRY,  /* one of `n` entries of `entry_size` bytes from `addr` on (4: zero-extended) */
    VALUE_SIGNED, /* such an entry of 4 bytes, sign-extended to 64 bits */
    VALUE_TARGET, /* `base` + a sign-extended entry of 4 bytes */
} ValueKind;

typedef struct Value {
    uint8_t kind;       /* ValueKind */
    uint8_t width;      /* low bits that equal those of `id`: 8, 16, 32, 64 */
    uint8_t align;      /* VALUE_NUM: a multiple of 1 << align */
    uint8_t entry_size; /* 4 or 8 */
    bool plain;   /* VALUE_NUM: as loaded, passed or returned in 64 bits; nothing computed it */
    uint8_t max8; /* VALUE_NUM: the low 8 bits are at most this; so on */
    uint16_t max16;
    uint32_t max32;
    uint32_t id; /* VALUE_NUM: where it was made; 0: equal to nothing else */
    uint32_t n;  /* entries; 0: no bound is known */
    uint64_t max64;
    uint64_t addr;
    uint64_t base;
} Value;

enum { VALUE_REGS = 16, VALUE_CELLS = 4, VALUE_ENTRIES_MAX = 1 << 16 };

/* A word of memory: [base + disp], base being told by the id of its value. */
typedef struct ValueCell {
    bool used;
    uint8_t size;
    uint32_t base_id; /* 0: absolute */
    int64_t disp;
    Value value;
} ValueCell;

/* What the flags compare: the low `bits` bits of value `id` with `imm`, by cmp or by test. */
typedef struct ValueFlags {
    bool used;
    bool test;
    uint8_t bits;
    uint32_t id;
    uint64_t imm;
} ValueFlags;

typedef struct ValueState {
    Value regs[VALUE_REGS];
    ValueCell cells[VALUE_CELLS];
    ValueFlags flags;
} ValueState;

/* One instruction with all that the analysis asks of it. */
typedef struct ValueInsn {
    const Insn *insn;
    uint8_t op; /* InsnOp */
    Operand operands[3];
    InsnEffects effects;
} ValueInsn;

/* What is jumped to by the indirect jump that ends a block. */
typedef struct ValueJump {
    BlockId block;
    Value target;
} ValueJump;

/*
 * Runs the analysis. `unknown` by block: entered with unknown registers.
 * Result: one ValueJump for each block that ends in an indirect jump and that the analysis reached,
 * in order of blocks; in `scratch`.
 */
const ValueJump *values_run(Arena *scratch, const Func *fn, const bool *unknown, uint32_t *n);

/* values_step.c: one instruction. `index` numbers it in the function. */
void values_step(ValueState *state, const ValueInsn *insn, uint32_t index);
/* The value of an operand as read before the instruction; loads from tables are entries. */
Value values_read(const ValueState *state, const Operand *operand);
/* values_read.c */
uint64_t value_mask(unsigned size);          /* of so many bytes */
Value value_cut(Value value, unsigned size); /* the low `size` bytes, zero-extended */
/* How a word of memory is known again: false when it cannot be. */
bool values_name_cell(const ValueState *state, const InsnMem *mem, ValueCell *out);
const ValueCell *values_find_cell(const ValueState *state, const InsnMem *mem);

/* An address as a constant plus at most one scaled number. */
typedef struct ValueSum {
    uint64_t known;
    const Value *number; /* the one part that is not known; NULL: none */
    unsigned scale;
    bool based; /* a constant or an absolute displacement takes part */
} ValueSum;

bool values_sum(const ValueState *state, const InsnMem *mem, ValueSum *sum);

/* values_branch.c */
/* What the branch that ends a block says about values when its condition holds, or does not. */
void values_refine(ValueState *state, uint8_t cond, bool holds);

/* values_lattice.c */
Value value_unknown(uint32_t id);
Value value_const(uint64_t addr);
void value_bound(Value *value, unsigned bits, uint64_t max); /* the low `bits` are at most `max` */
uint64_t value_max(const Value *value, unsigned bits);
/* Forgets that anything equals `id`: its place is about to make another value. */
void values_forget(ValueState *state, uint32_t id);
bool values_equal(const ValueState *left, const ValueState *right);
/* Joins `from` into `into`; ids of what differs are `phi` + register. True: `into` changed.
 * `widen`: bounds that grow are given up. */
bool values_join(ValueState *into, const ValueState *from, uint32_t phi, bool widen);

#endif
