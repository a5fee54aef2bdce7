/*
 * fuzz_program.c: any bytes as the text form of a function; what is accepted is written and read
 * again, and must be written the same.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/program.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Arena *arena = arena_new();
    Buffer first = { .arena = arena }, second = { .arena = arena };
    Func *fn, *again;
    Error err;
    char *text = arena_alloc(arena, size + 1);
    if (size > 0)
        memcpy(text, data, size);
    if (func_read_text(arena, text, &fn, &err) == ST_OK) {
        func_write_text(fn, &first);
        buffer_u8(&first, 0);
        if (func_read_text(arena, (const char *)first.data, &again, &err) != ST_OK)
            abort();
        func_write_text(again, &second);
        buffer_u8(&second, 0);
        if (strcmp((const char *)first.data, (const char *)second.data) != 0)
            abort();
    }
    arena_free(arena);
    return 0;
}
