/*
 * The program model: functions, basic blocks, instructions, as passes see and change them.
 *
 * A Func is a transaction: refused means dropped, and its original bytes stay. Handles, not
 * pointers, between objects. `core/program_text.c` gives the text form for tests and dumps.
 *
 * A basic block here ends at a branch, before a leader, or after a call that never returns; other
 * calls do not end one. Blocks are whole original instructions until a pass changes them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CORE_PROGRAM_H
#define RESPIN_CORE_PROGRAM_H

#include "core/image.h"
#include "core/insn.h"
#include "core/profile.h"

typedef struct FuncId {
    uint32_t i;
} FuncId;

typedef struct BlockId {
    uint32_t i;
} BlockId;

#define NO_BLOCK ((BlockId){ UINT32_MAX })
#define NO_FUNC ((FuncId){ UINT32_MAX })

typedef enum SuccKind {
    SUCC_FALL,  /* the next instruction (also: a conditional branch not taken) */
    SUCC_TAKEN, /* target of a direct branch */
    SUCC_TABLE, /* one target of a proven jump table */
} SuccKind;

typedef struct Succ {
    BlockId to;     /* NO_BLOCK: leaves the function (tail call, cold fragment not taken in) */
    Vaddr addr;     /* original address of the target, always set */
    uint64_t count; /* executions */
    uint8_t kind;   /* SuccKind */
} Succ;

enum BlockFact {
    BLOCK_ENTRY = 1u << 0,       /* a function entry */
    BLOCK_LANDING_PAD = 1u << 1, /* the unwinder enters it, at its original address */
    BLOCK_TABLE = 1u << 2,       /* target of a jump table (proven or suspected) */
    BLOCK_ESCAPES = 1u << 3,  /* its address is formed by something: relocation, lea, immediate */
    BLOCK_OBSERVED = 1u << 4, /* entered by an indirect transfer or from elsewhere in the profile */
    BLOCK_HOT = 1u << 5,      /* placed in the overlay because it is executed */
    BLOCK_COLD_COPY = 1u << 6, /* placed in the overlay so that no loop is stranded (law 4) */
    BLOCK_ROOT = 1u << 7,      /* original code may enter its overlay copy: entry state is the
                                  original's; a root for every pass */
    BLOCK_STOPS = 1u << 8,     /* ends in a call that never returns */
    BLOCK_HEAD = 1u << 9,      /* a loop of the original comes back here, and it is patched */
};

typedef struct Block {
    BlockId id;
    Vaddr start;        /* of the original; copies keep their original's */
    uint32_t size;      /* bytes of the original */
    uint32_t facts;     /* BlockFact */
    BlockId copy_of;    /* made by tail duplication from; NO_BLOCK */
    uint64_t count;     /* executions of its first instruction */
    uint64_t end_count; /* executions of its last instruction (a call in between may not return) */
    Insn *insns;
    uint32_t n_insns;
    uint32_t cap_insns;
    Succ *succ; /* of a two-way branch: SUCC_TAKEN and SUCC_FALL in any order */
    uint32_t n_succ;
    int32_t table; /* index in Func.tables of the table its indirect jump uses; -1 */
    uint8_t align; /* wanted alignment of its overlay copy, log2; 0 none */
} Block;

/* One contiguous extent of a function: the main part, or a .cold fragment. */
typedef struct Extent {
    Vaddr start;
    Vaddr end;
    uint32_t fde; /* index in the UnwindTable; UINT32_MAX: none */
} Extent;

typedef enum TableForm {
    TABLE_ABS64,      /* 8-byte absolute addresses (relocated in position-independent images) */
    TABLE_REL32,      /* 4-byte signed offsets from `base`, which in a clone moves along with it */
    TABLE_REL32_BASE, /* clones only: 4-byte signed offsets from the original's `base` */
} TableForm;

/* A jump table or computed-goto table whose bounds are proven. */
typedef struct Table {
    Vaddr addr;       /* of entry 0 */
    uint8_t form;     /* TableForm in the original */
    uint8_t new_form; /* TableForm of the clone */
    bool clone;       /* the overlay gets its own */
    bool is_goto;     /* more than one dispatch site */
    Vaddr base;       /* TABLE_REL32, TABLE_REL32_BASE: what offsets count from */
    uint32_t n;       /* entries */
    Vaddr *entries;   /* targets, original addresses; VADDR_NONE: not a code address: the clone's
                         entry leads to `fallback` */
    Vaddr fallback;   /* original dispatch instruction to go to for such entries; VADDR_NONE */
    uint32_t n_sites; /* dispatch jumps that use it */
} Table;

typedef struct Func {
    FuncId id;
    const char *name; /* NULL: no symbol */
    Vaddr entry;
    Extent *extents; /* [0] holds the entry */
    uint32_t n_extents;
    Block *blocks; /* first those of the original, sorted by start; then copies and made ones */
    uint32_t n_blocks;
    size_t cap_blocks;
    BlockId
        *layout; /* overlay order of placed blocks; hot part first, then n_cold copied cold ones */
    uint32_t n_layout;
    uint32_t n_cold;
    Table *tables;
    uint32_t n_tables;
    uint64_t count;   /* executed instructions */
    uint64_t calls;   /* executions of the entry */
    uint32_t refused; /* Refusal (optimizer/refusals.h); 0: not */
    const char *why;  /* detail of the refusal; NULL */
    bool open_jump;   /* has an indirect jump without a proven table that may stay inside */
    bool open_any; /* one of these computes its target: any instruction may be it; else only blocks
                      with BLOCK_ESCAPES may be */
    bool has_calls_to_self;
    bool cut;     /* no way through the original leads back to a hot block but over a patched
                     BLOCK_HEAD;     set by place_blocks */
    Arena *arena; /* where its arrays live */
} Func;

/* An extent and whose it is. */
typedef struct ExtentRef {
    Vaddr start;
    Vaddr end;
    FuncId fn;
} ExtentRef;

typedef struct Program {
    Arena *arena;
    const Image *image;
    const Profile *profile;
    const ProfileModule *counts; /* the module of the profile that is this image */
    Func *funcs;                 /* sorted by entry */
    uint32_t n_funcs;
    ExtentRef *extents; /* of all functions, sorted by start; written by program_index_extents */
    uint32_t n_extents;
} Program;

static inline bool same_block(BlockId left, BlockId right)
{
    return left.i == right.i;
}

static inline bool is_block(BlockId id)
{
    return id.i != UINT32_MAX;
}

static inline Block *func_block(const Func *fn, BlockId id)
{
    return &fn->blocks[id.i];
}

/* NULL: the block has no instructions. */
const Insn *block_last(const Block *block);
/* Block that starts at the original address and is no copy; NO_BLOCK: none. */
BlockId func_block_at(const Func *fn, Vaddr start);
/* Block (no copy) that contains the address. */
BlockId func_block_over(const Func *fn, Vaddr addr);
/* A new block after all others, `start` VADDR_NONE; pointers to blocks become invalid. */
BlockId func_add_block(Func *fn);
/* A copy of a block, `copy_of` set, counts zero. */
BlockId func_copy_block(Func *fn, BlockId of);
void block_add_insn(Func *fn, BlockId block, const Insn *insn);
/* Fills program->extents; call again when a function got another extent. */
void program_index_extents(Program *program);
/* The function whose extents contain `addr`; NULL: none. Needs program_index_extents. */
Func *program_func_at(const Program *program, Vaddr addr);

/*
 * Text form, one function:
 *
 *     func 0x1139 "main" count 100 calls 1
 *     extent 0x1139 0x1200 fde 3
 *     table 0x4000 rel32 base 0x4000 goto sites 2 fallback 0x1150 : 0x1160 - 0x1170
 *     A 0x1139 count 100 end 99 hot root align 4:   (letters are block ids: A..Z, then B26, B27
 * ...) 0x1139 push rbp | 55
 *         - jmp 0x1160 | e9 22 00 00 00
 *         -> B taken 70, C fall 30, 0x1500 taken 2
 *     layout A C B | D
 *
 * The reader takes what the writer writes; bytes after '|' are decoded, the text before it is for
 * people. `jmp B` / `jCC B` without bytes make branch instructions (rel32) to blocks. A block's
 * `size` is written only when it is not the sum of its instructions' sizes, `end` only when it is
 * not `count`. `-` in place of an address is VADDR_NONE.
 *
 * Errors of the reader: ST_BAD_INPUT with the byte offset of the line and what is wrong with it.
 */
void func_write_text(const Func *fn, Buffer *out);
MUST_CHECK Status func_read_text(Arena *arena, const char *text, Func **out, Error *err);

#endif
