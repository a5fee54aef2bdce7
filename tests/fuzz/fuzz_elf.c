/*
 * fuzz_elf.c: any bytes as an ELF image; what is accepted must answer every question.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/image.h"
#include "core/unwind.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Arena *arena = arena_new();
    const Image *image;
    Error err;
    if (image_from_bytes(arena, "fuzz", (Bytes){ data, size }, &image, &err) == ST_OK) {
        const UnwindTable *table;
        Status status = unwind_read(arena, image, &table, &err);
        (void)status; /* an error is a result */
        for (uint32_t i = 0; i < image->n_symbols; i++)
            image_symbol_at(image, image->symbols[i].addr);
        for (uint32_t i = 0; i < image->n_relocs; i++)
            image_place(image, image->relocs[i].where);
        image_key_text(arena, &image->key);
    }
    arena_free(arena);
    return 0;
}
