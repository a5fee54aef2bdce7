/*
 * fuzz_eh_frame.c: any bytes as .eh_frame; the rows of every entry that is accepted.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/unwind.h"
#include "tests/support/fake_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Arena *arena = arena_new();
    const UnwindTable *table;
    Error err;
    Image *image = fake_image(arena, ".eh_frame", 0x1000, (Bytes){ data, size });
    if (unwind_read(arena, image, &table, &err) == ST_OK) {
        for (uint32_t i = 0; i < table->n_fdes; i++) {
            UnwindRows rows;
            Status status = unwind_rows(arena, image, table, &table->fdes[i], &rows, &err);
            (void)status; /* an error is a result */
        }
    }
    arena_free(arena);
    return 0;
}
