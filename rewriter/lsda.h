/*
 * The language-specific data area of one piece of the overlay.
 *
 *     original: call sites over the function      piece: call sites over the piece
 *               pads from LPStart                        the same pads, at their original addresses
 *               actions, types, filters                  copied; pc-relative words for the new
 * place
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_REWRITER_LSDA_H
#define RESPIN_REWRITER_LSDA_H

#include "core/lsda.h"
#include "rewriter/unwind.h"

/* A contiguous run of placed instructions under one FDE. */
typedef struct UnwindPiece {
    const Fde *fde; /* of the originals */
    const Placed *placed;
    uint32_t n;
    NewAddr start;
    NewAddr end;
} UnwindPiece;

/*
 * Appends the LSDA of `piece`.
 *
 * lsda:   of piece->fde.
 * at:     its address, where `out` ends now.
 * Errors: ST_REFUSED when a type or LPStart is out of a 32-bit displacement's reach.
 */
MUST_CHECK Status lsda_put(Arena *arena, const Image *image, const Lsda *lsda,
                           const UnwindPiece *piece, NewAddr at, Buffer *out, Error *err);

#endif
