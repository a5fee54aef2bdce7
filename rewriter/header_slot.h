/*
 * Room for one more program header in a table that cannot grow and must not move.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_REWRITER_HEADER_SLOT_H
#define RESPIN_REWRITER_HEADER_SLOT_H

#include "core/image.h"

/* The program header table as it will be written: never more rows than the input has. */
typedef struct HeaderTable {
    Elf64_Phdr *rows;
    uint32_t n;
    uint32_t room; /* rows in the input */
} HeaderTable;

/* The input's rows, in `arena`. */
void header_table_read(Arena *arena, const Image *image, HeaderTable *out);

/* Frees one row if none is free. Errors: ST_REFUSED `no-header-slot`. */
MUST_CHECK Status header_slot_free(const Image *image, HeaderTable *table, Error *err);

/* Adds a row where one is free: a PT_LOAD behind the last one, any other type at the end. */
void header_table_add(HeaderTable *table, const Elf64_Phdr *row);

/* First row of a type; NULL: none. */
Elf64_Phdr *header_table_find(const HeaderTable *table, uint32_t type);

#endif
