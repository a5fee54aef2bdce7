/*
 * The unwind tables of an output: every old entry re-encoded for its new place, one entry for every
 * piece of the overlay, and the sorted lookup table over both.
 *
 *     overlay end ─► .eh_frame_hdr ─ .eh_frame ─ .respin.lsda
 *
 * Called once, after the overlay's addresses are final. What stands before each emitted instruction
 * in the original (its row) is what must hold before the emitted one.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_REWRITER_UNWIND_H
#define RESPIN_REWRITER_UNWIND_H

#include "optimizer/optimizer.h"

/* One emitted instruction. Pieces of one fragment are contiguous: at + size is the next one's at.
 */
typedef struct Placed {
    NewAddr at;
    Vaddr old;    /* original instruction whose unwind row holds before this one (for made jumps and
                     padding: the place where control stands). Never VADDR_NONE, always inside an
                     extent of the fragment's function */
    uint8_t size; /* bytes, 1..15 */
    bool call;    /* pushes a return address: the landing pad of `old`'s call site must be found */
} Placed;

/* One region as emitted: [start, end) is covered by `placed` without gaps. */
typedef struct Fragment {
    FuncId fn;
    bool cold;
    const Placed *placed;
    uint32_t n;
    NewAddr start;
    NewAddr end;
} Fragment;

/* Bytes of the new sections and where they go. */
typedef struct UnwindSections {
    NewAddr header_at; /* .eh_frame_hdr, complete and sorted; 4-aligned */
    Bytes header;
    NewAddr frame_at; /* .eh_frame, all entries, terminated; 8-aligned */
    Bytes frame;
    NewAddr lsda_at; /* one LSDA for each piece that needs one; 4-aligned; may be empty */
    Bytes lsda;
    uint32_t n_fdes; /* old and new */
} UnwindSections;

/*
 * Builds the tables.
 *
 * fragments: in address order; not empty ones.
 * free_at:   first free address of the output after the overlay's code and tables; the three
 *            sections are laid out from there.
 * Result:    in `arena`.
 * Errors:    ST_REFUSED when a table cannot be carried over (the optimizer should have refused the
 *            function); ST_BAD_INPUT with section and offset.
 */
MUST_CHECK Status unwind_build(Arena *arena, const Plan *plan, const Fragment *fragments,
                               uint32_t n, NewAddr free_at, UnwindSections *out, Error *err);

#endif
