/*
 * fuzz_eh_frame.c: any bytes as .eh_frame; what is accepted is run into rows, written anew with a
 * piece of each entry's code placed elsewhere, and must be read back.
 *
 * SPDX-License-Identifier: MIT
 */
#include "rewriter/unwind.h"
#include "tests/support/fake_image.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TABLE_AT = 0x1000, NEW_AT = 0x40000000, PIECE_SIZE = 16, MAX_ENTRIES = 64 };

static const UnwindTable *read_table(Arena *arena, uint64_t addr, Bytes bytes, Image **image)
{
    const UnwindTable *table;
    Error err;
    *image = fake_image(arena, ".eh_frame", addr, bytes);
    return unwind_read(arena, *image, &table, &err) == ST_OK ? table : NULL;
}

/* For each entry that can be carried, its first and last byte as two instructions in other order.
 */
static uint32_t make_fragments(Arena *arena, const Image *image, const UnwindTable *table,
                               Fragment *fragments)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < table->n_fdes && n < MAX_ENTRIES; i++) {
        const Fde *fde = &table->fdes[i];
        Error err;
        if (unwind_can_carry(image, table, fde, &err) != ST_OK)
            continue;
        Placed *placed = arena_many(arena, Placed, 2);
        NewAddr start = { NEW_AT + (uint64_t)n * PIECE_SIZE };
        placed[0] = (Placed){ start, vaddr_add(fde->start, fde->size - 1), 8, true };
        placed[1] = (Placed){ { start.v + 8 }, fde->start, 8, false };
        fragments[n++] =
            (Fragment){ .placed = placed, .n = 2, .start = start, .end = { start.v + PIECE_SIZE } };
    }
    return n;
}

static void rewrite_and_read(Arena *arena, const Image *image, const UnwindTable *table)
{
    Fragment fragments[MAX_ENTRIES];
    const Plan plan = { .image = image, .unwind = table };
    const NewAddr free_at = { NEW_AT + MAX_ENTRIES * PIECE_SIZE };
    UnwindSections out;
    Image *output;
    Error err;
    uint32_t n = make_fragments(arena, image, table, fragments);
    if (unwind_build(arena, &plan, fragments, n, free_at, &out, &err) != ST_OK)
        return;
    const UnwindTable *made = read_table(arena, out.frame_at.v, out.frame, &output);
    if (made == NULL || made->n_fdes != out.n_fdes)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Arena *arena = arena_new();
    Image *image;
    const UnwindTable *table = read_table(arena, TABLE_AT, (Bytes){ data, size }, &image);
    if (table != NULL)
        rewrite_and_read(arena, image, table);
    arena_free(arena);
    return 0;
}
