/*
 * fuzz_lsda.c: any bytes as the LSDA of a function of 256 bytes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/lsda.h"
#include "tests/support/fake_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Arena *arena = arena_new();
    const Lsda *lsda;
    Error err;
    const Fde fde = { .start = { 0x400 }, .size = 256, .lsda = { 0x1000 } };
    Image *image = fake_image(arena, ".gcc_except_table", 0x1000, (Bytes){ data, size });
    Status status = lsda_read(arena, image, &fde, &lsda, &err);
    (void)status; /* an error is a result */
    arena_free(arena);
    return 0;
}
