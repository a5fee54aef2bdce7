/*
 * The overlay: where every placed instruction and cloned table goes, and its bytes.
 *
 *     Plan.regions ──► slots (one per emitted instruction) ──► sizes and addresses ──► bytes
 *
 * A slot is a moved original instruction, a jump made because the layout needs one, or padding.
 * Destinations are labels (first slot of a placed block) until addresses are final.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_REWRITER_OVERLAY_H
#define RESPIN_REWRITER_OVERLAY_H

#include "rewriter/rewriter.h"
#include "rewriter/unwind.h"

typedef enum DestKind {
    DEST_NONE,
    DEST_ADDR,  /* an address of the original: value */
    DEST_LABEL, /* a placed block: index is its label, plus slots on */
    DEST_SLOT,  /* a slot: index */
    DEST_TABLE, /* a cloned table: index; value is added to its address */
} DestKind;

typedef struct Dest {
    uint64_t value;
    uint32_t index;
    uint8_t plus;
    uint8_t kind; /* DestKind */
} Dest;

typedef enum SlotKind {
    SLOT_MOVED, /* `insn` at its new place */
    SLOT_JUMP,  /* made: jmp to `dest`; size 0 while asleep (see SLOT_FAR_LOOP in relax.c) */
    SLOT_PAD,   /* nops up to 1 << align */
    SLOT_GAP,   /* int3 up to 1 << align, between regions: no control reaches it */
} SlotKind;

typedef struct Slot {
    const Insn *insn; /* SLOT_MOVED */
    NewAddr at;
    Vaddr row; /* original instruction whose unwind row holds before this one */
    Dest dest;
    uint16_t size; /* bytes */
    uint8_t kind;  /* SlotKind */
    uint8_t align; /* SLOT_PAD, SLOT_GAP: log2 */
    bool invert;   /* FLOW_COND: emitted with the opposite condition */
    bool asleep;   /* SLOT_JUMP that only a far loop needs */
} Slot;

/* One region as placed: slots [first, end), the leading SLOT_GAP left out. */
typedef struct Span {
    uint32_t region; /* index in Plan.regions */
    uint32_t first;
    uint32_t end;
} Span;

typedef struct Clone {
    FuncId fn;
    uint32_t table; /* index in Func.tables */
    NewAddr at;
    uint64_t size; /* bytes */
} Clone;

/* A block that may be entered from anywhere, by its original address. */
typedef struct Root {
    Vaddr at;
    uint32_t label;
} Root;

typedef struct Overlay {
    Arena *arena;
    const Plan *plan;
    Slot *slots;
    uint32_t n_slots;
    size_t cap_slots;
    Span *spans;
    uint32_t n_spans;
    Clone *clones;
    uint32_t n_clones;
    size_t cap_clones;
    uint32_t *label_base; /* per function: label of its block 0; UINT32_MAX: none placed */
    uint32_t *clone_base; /* per function: index of its first clone */
    uint32_t *first_slot; /* per label; UINT32_MAX: block not placed */
    uint32_t n_labels;
    Root *roots; /* sorted by `at` */
    uint32_t n_roots;
    size_t cap_roots;
    NewAddr text_at;
    uint64_t text_size;
    NewAddr tables_at;
    uint64_t tables_size;
} Overlay;

/*
 * Places everything from `base` (a multiple of 64) on and fixes all sizes.
 * Errors: ST_BUG when the plan contradicts itself (a patch to a block that is not placed, an exit
 *         into a patch site); ST_REFUSED for instructions that cannot be moved.
 */
MUST_CHECK Status overlay_build(Arena *arena, const Plan *plan, NewAddr base, Overlay **out,
                                Error *err);

/* Sizes and addresses of all slots from overlay->text_at on (relax.c). */
void overlay_relax(Overlay *overlay);

/* Bytes of the code and of the tables; every instruction is decoded again and compared. */
MUST_CHECK Status overlay_emit(const Overlay *overlay, Buffer *text, Buffer *tables,
                               RewriteStats *stats, Error *err);

/* The emitted regions, for the unwind tables. In overlay->arena. */
void overlay_fragments(const Overlay *overlay, Fragment **out, uint32_t *n);

/* Where control that means the original address `to` must go so that it never lands on a patch
 * site: a placed root, the target of a patch, else the address itself. ST_BUG inside a patch. */
MUST_CHECK Status overlay_exit(const Overlay *overlay, Vaddr to, Dest *dest, Error *err);
/* The copy of a block, if it is placed. */
bool overlay_block(const Overlay *overlay, FuncId fn, BlockId block, Dest *dest);
/* Final address of a destination. */
uint64_t overlay_address(const Overlay *overlay, Dest dest);

/* Clones of the tables of the placed functions: addresses from overlay->tables_at on, and bytes
 * (clones.c). */
void clones_collect(Overlay *overlay);
void clones_place(Overlay *overlay, NewAddr from);
MUST_CHECK Status clones_emit(const Overlay *overlay, Buffer *tables, Error *err);

#endif
