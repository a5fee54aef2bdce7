/*
 * An x86-64 ELF image: headers, segments, sections, symbols, relocations, read once and const.
 *
 * Reads through libelf; every offset is checked against the file before use. Works without section
 * headers (segments and the dynamic section are enough). Written nowhere: outputs are new files.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CORE_IMAGE_H
#define RESPIN_CORE_IMAGE_H

#include "core/addr.h"
#include "core/arena.h"
#include "core/bytes.h"
#include "core/error.h"

#include <elf.h>

typedef struct Segment {
    uint32_t type;  /* PT_* */
    uint32_t flags; /* PF_* */
    FileOff offset;
    Vaddr addr;
    uint64_t file_size;
    uint64_t mem_size;
    uint64_t align;
} Segment;

typedef struct Section {
    const char *name; /* "" when unnamed; borrowed from the image */
    uint32_t type;    /* SHT_* */
    uint64_t flags;   /* SHF_* */
    Vaddr addr;       /* 0 when not allocated */
    FileOff offset;
    uint64_t size;
    uint64_t align;
    uint64_t entry_size;
    uint32_t link;
    uint32_t info;
} Section;

typedef struct Symbol {
    const char *name;
    Vaddr addr;
    uint64_t size;
    uint8_t type;     /* STT_* */
    uint8_t bind;     /* STB_* */
    uint16_t section; /* SHN_* or index */
    bool dynamic;     /* from .dynsym, else .symtab */
} Symbol;

/* A dynamic (load-time) relocation. RELR entries appear as R_X86_64_RELATIVE. */
typedef struct Reloc {
    Vaddr where;
    uint32_t type;   /* R_X86_64_* */
    uint32_t symbol; /* index in .dynsym; 0: none */
    int64_t addend;  /* for REL and RELR: the word in place */
} Reloc;

/* Who a file is, whatever it is called. */
typedef struct ImageKey {
    uint8_t build_id[64];
    uint32_t build_id_len; /* 0: the file has none */
    uint64_t
        text_hash[2]; /* xxh3-128 over the file bytes of all PF_X PT_LOADs, in order; low, high */
} ImageKey;

typedef struct Image {
    const char *path; /* as given; for messages */
    Bytes file;       /* the whole file, mapped private and read-only */
    Elf64_Ehdr header;
    Segment *segments;
    uint32_t n_segments;
    Section *sections; /* index = section index; [0] is the null section; may be empty */
    uint32_t n_sections;
    Symbol *symbols; /* sorted by address, then by size descending; functions and objects only */
    uint32_t n_symbols;
    Reloc *relocs; /* sorted by `where` */
    uint32_t n_relocs;
    const char *interp; /* NULL: none */
    const char *soname; /* NULL: none */
    bool is_pic;        /* ET_DYN: addresses get a load bias */
    bool is_library;    /* ET_DYN, no DF_1_PIE, and no PT_INTERP or (libc.so.6) a soname */
    ImageKey key;
} Image;

/*
 * Opens and reads an image.
 *
 * path:   the file; never opened for writing.
 * Result: in `arena`; the file mapping lives until image_close.
 * Errors: ST_IO; ST_BAD_INPUT with section and offset; ST_REFUSED for ELF files that are not
 *         64-bit little-endian x86-64 executables or shared objects.
 */
MUST_CHECK Status image_open(Arena *arena, const char *path, const Image **out, Error *err);
/* The same without symbols and relocations: for who wants code and key only. */
MUST_CHECK Status image_open_code(Arena *arena, const char *path, const Image **out, Error *err);
/* As image_open from bytes in memory (tests, fuzzers); `path` is for messages. Bytes are borrowed.
 */
MUST_CHECK Status image_from_bytes(Arena *arena, const char *path, Bytes file, const Image **out,
                                   Error *err);
void image_close(const Image *image);
/* What was read of the file leaves this process's memory; it comes back where it is read again. */
void image_drop_pages(const Image *image);

/* First section of that name; NULL: none. */
const Section *image_section(const Image *image, const char *name);
/* The bytes a section has in the file. ST_REFUSED for SHT_NOBITS. */
MUST_CHECK Status image_section_bytes(const Image *image, const Section *section, Bytes *out,
                                      Error *err);
/* The PT_LOAD that holds `addr` (within mem_size); NULL: none. */
const Segment *image_segment_at(const Image *image, Vaddr addr);
/* First segment of a PT_* type; NULL: none. */
const Segment *image_segment(const Image *image, uint32_t type);
/* `size` file-backed bytes at a link-time address; false when not wholly in one PT_LOAD's file
 * part. */
bool image_bytes_at(const Image *image, Vaddr addr, uint64_t size, Bytes *out);
/* As many file-backed bytes as follow `addr` in its PT_LOAD; empty when none. */
Bytes image_bytes_from(const Image *image, Vaddr addr);
/* True when `addr` lies in a PF_X PT_LOAD's file part. */
bool image_is_code(const Image *image, Vaddr addr);
/* True when `addr` lies in memory that the program may write after relocation (RELRO counts as not
 * writable). */
bool image_is_writable(const Image *image, Vaddr addr);
/* File offset to link-time address through PT_LOADs and back. */
bool image_addr_of_offset(const Image *image, FileOff offset, Vaddr *out);
bool image_offset_of_addr(const Image *image, Vaddr addr, FileOff *out);
/* The function symbol that covers `addr`; NULL: none. Prefers sized symbols, .symtab, STB_GLOBAL.
 */
const Symbol *image_symbol_at(const Image *image, Vaddr addr);
/* The relocation at exactly `where`; NULL: none. */
const Reloc *image_reloc_at(const Image *image, Vaddr where);
/* Value of a DT_* entry; false: absent. */
bool image_dynamic(const Image *image, int64_t tag, uint64_t *out);
/* Entry `index` of .dynsym; false: 0, or outside the file. */
bool image_dynamic_symbol(const Image *image, uint32_t index, Elf64_Sym *out);
/* Place in this image for an error: section + offset when sections cover `addr`. */
Place image_place(const Image *image, Vaddr addr);

bool image_key_equal(const ImageKey *left, const ImageKey *right);
/* "3a4f…" build id or, without one, "xxh3:…"; in `arena`. */
const char *image_key_text(Arena *arena, const ImageKey *key);

#endif
