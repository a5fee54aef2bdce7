/*
 * Names for the overlay: `f.hot` for the hot part of f, `f.copy` for cold code copied beside it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_REWRITER_SYMBOLS_H
#define RESPIN_REWRITER_SYMBOLS_H

#include "rewriter/unwind.h"

typedef struct SymbolTables {
    uint32_t symbols; /* section index of .symtab in the input; 0: left as it is, nothing below */
    uint32_t strings; /* section index of its string table */
    Bytes symbols_bytes;
    Bytes strings_bytes;
    uint32_t first_global; /* sh_info */
} SymbolTables;

/* True when the input has a .symtab that new local symbols can be put into: no relocation section
 * of the file counts its entries. */
bool symbols_can_add(const Image *image, SymbolTables *out);

/* Fills the two byte ranges of `tables`: the input's, and one symbol for each fragment of a
 * function with a name, in section `section`. */
void symbols_add(Arena *arena, const Plan *plan, const Fragment *fragments, uint32_t n,
                 uint16_t section, SymbolTables *tables);

#endif
