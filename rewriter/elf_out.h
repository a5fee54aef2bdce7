/*
 * The output file: the input's bytes, one new segment, tables of sections and symbols at the end.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_REWRITER_ELF_OUT_H
#define RESPIN_REWRITER_ELF_OUT_H

#include "rewriter/header_slot.h"
#include "rewriter/symbols.h"

enum { PAGE_SIZE = 4096, OVERLAY_ALIGN = 64 };

/* One section of the new segment. Order is that of addresses. */
typedef struct NewSection {
    const char *name;
    uint32_t type; /* SHT_* */
    uint64_t flags;
    uint64_t align;
    NewAddr at;
    Bytes bytes;
} NewSection;

enum { NEW_SECTIONS_MAX = 8 };

typedef struct ElfOut {
    const Image *image;
    Arena *arena;
    HeaderTable headers; /* with free rows, see elf_out_begin */
    SymbolTables symbols;
    FileOff segment_offset; /* where the new segment's bytes begin in the file */
    NewAddr segment_at;     /* and in memory; same distance from a page start */
    NewSection sections[NEW_SECTIONS_MAX];
    uint32_t n_sections;
    NewAddr eh_frame_header_at;
    uint64_t eh_frame_header_size;
} ElfOut;

/*
 * Finds room: header slots, and the place of the new segment behind everything.
 * Errors: ST_REFUSED `no-header-slot`, `address-space`, or bytes behind the end of the ELF file
 *         (a program finds such a payload by the file's end, which moves).
 */
MUST_CHECK Status elf_out_begin(Arena *arena, const Image *image, ElfOut *out, Error *err);

/* Section index that the next elf_out_add will get; 0: the input has no section headers. */
uint16_t elf_out_next_index(const ElfOut *out);
void elf_out_add(ElfOut *out, NewSection section);

/* The whole file. Patches are not applied yet. */
MUST_CHECK Status elf_out_finish(ElfOut *out, uint8_t **data, size_t *len, Error *err);

#endif
