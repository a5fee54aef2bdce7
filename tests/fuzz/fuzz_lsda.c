/*
 * fuzz_lsda.c: any bytes as the LSDA of a function; what is accepted is written for a piece of the
 * overlay and must be read back there.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/lsda.h"
#include "rewriter/lsda.h"
#include "tests/support/fake_image.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { AREA_AT = 0x1000, NEW_AREA_AT = 0x40001000, PIECE_AT = 0x40000000, CODE_SIZE = 256 };

/* Every fourth byte of the function as an instruction, from its end to its start. */
static UnwindPiece make_piece(Arena *arena, const Fde *fde)
{
    enum { N = CODE_SIZE / 4 };
    Placed *placed = arena_many(arena, Placed, N);
    for (uint32_t i = 0; i < N; i++)
        placed[i] = (Placed){ { PIECE_AT + 4 * (uint64_t)i },
                              vaddr_add(fde->start, CODE_SIZE - 4 * (uint64_t)(i + 1)),
                              4,
                              true };
    return (UnwindPiece){ fde, placed, N, { PIECE_AT }, { PIECE_AT + 4 * N } };
}

static void write_and_read(Arena *arena, const Image *image, const Fde *fde, const Lsda *lsda)
{
    UnwindPiece piece = make_piece(arena, fde);
    Buffer out = { .arena = arena };
    Error err;
    if (lsda_put(arena, image, lsda, &piece, (NewAddr){ NEW_AREA_AT }, &out, &err) != ST_OK)
        return;
    Image *output = fake_image(arena, ".respin.lsda", NEW_AREA_AT, buffer_bytes(&out));
    Segment *segments = arena_many(arena, Segment, 2);
    segments[0] = output->segments[0];
    segments[1] = image->segments[0]; /* landing pads stay there */
    output->segments = segments;
    output->n_segments = 2;
    const Fde made = { .start = { PIECE_AT }, .size = CODE_SIZE, .lsda = { NEW_AREA_AT } };
    const Lsda *again;
    if (lsda_read(arena, output, &made, &again, &err) != ST_OK || again->n_types > lsda->n_types)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Arena *arena = arena_new();
    const Lsda *lsda;
    Error err;
    const Fde fde = { .start = { 0x400 }, .size = CODE_SIZE, .lsda = { AREA_AT } };
    Image *image = fake_image(arena, ".gcc_except_table", AREA_AT, (Bytes){ data, size });
    if (lsda_read(arena, image, &fde, &lsda, &err) == ST_OK)
        write_and_read(arena, image, &fde, lsda);
    arena_free(arena);
    return 0;
}
