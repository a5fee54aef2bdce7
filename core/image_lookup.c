/*
 * image_lookup.c: questions about an image that has been read.
 *
 * An address is looked up in segments (what the loader maps), never in sections, which may be
 * stripped. There are few segments, so they are walked.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/image_read.h"

#include <string.h>

enum {
    RELRO_PAGE = 4096,
    SYMBOL_LOOK_BACK = 64, /* symbols before an address that are looked at: bounds nesting */
};

const Section *image_section(const Image *image, const char *name)
{
    for (uint32_t i = 1; i < image->n_sections; i++)
        if (strcmp(image->sections[i].name, name) == 0)
            return &image->sections[i];
    return NULL;
}

Status image_section_bytes(const Image *image, const Section *section, Bytes *out, Error *err)
{
    Place place = { image->path, section->name, 0 };
    if (section->type == SHT_NOBITS)
        return FAIL(err, ST_REFUSED, place, "has no bytes in the file (SHT_NOBITS)");
    if (!bytes_slice(image->file, section->offset.v, section->size, out))
        return FAIL(err, ST_BAD_INPUT, place,
                    "%" PRIu64 " bytes run past the end of the file (%zu)", section->size,
                    image->file.len);
    return ST_OK;
}

const Segment *image_segment_at(const Image *image, Vaddr addr)
{
    for (uint32_t i = 0; i < image->n_segments; i++) {
        const Segment *segment = &image->segments[i];
        if (segment->type == PT_LOAD && addr.v >= segment->addr.v &&
            addr.v - segment->addr.v < segment->mem_size)
            return segment;
    }
    return NULL;
}

const Segment *image_segment(const Image *image, uint32_t type)
{
    for (uint32_t i = 0; i < image->n_segments; i++)
        if (image->segments[i].type == type)
            return &image->segments[i];
    return NULL;
}

Bytes image_bytes_from(const Image *image, Vaddr addr)
{
    const Segment *segment = image_segment_at(image, addr);
    if (segment == NULL || addr.v - segment->addr.v >= segment->file_size)
        return (Bytes){ NULL, 0 };
    uint64_t skip = addr.v - segment->addr.v;
    return (Bytes){ image->file.data + segment->offset.v + skip, segment->file_size - skip };
}

bool image_bytes_at(const Image *image, Vaddr addr, uint64_t size, Bytes *out)
{
    Bytes bytes = image_bytes_from(image, addr);
    return bytes.data != NULL && bytes_slice(bytes, 0, size, out);
}

bool image_is_code(const Image *image, Vaddr addr)
{
    const Segment *segment = image_segment_at(image, addr);
    return segment != NULL && (segment->flags & PF_X) != 0 &&
           addr.v - segment->addr.v < segment->file_size;
}

/* The loader protects whole pages: from the page of the start to that of the end, exclusive. */
static bool in_relro(const Image *image, Vaddr addr)
{
    const uint64_t mask = ~(uint64_t)(RELRO_PAGE - 1);
    for (uint32_t i = 0; i < image->n_segments; i++) {
        const Segment *segment = &image->segments[i];
        if (segment->type == PT_GNU_RELRO && addr.v >= (segment->addr.v & mask) &&
            addr.v < ((segment->addr.v + segment->mem_size) & mask))
            return true;
    }
    return false;
}

bool image_is_writable(const Image *image, Vaddr addr)
{
    const Segment *segment = image_segment_at(image, addr);
    return segment != NULL && (segment->flags & PF_W) != 0 && !in_relro(image, addr);
}

bool image_addr_of_offset(const Image *image, FileOff offset, Vaddr *out)
{
    for (uint32_t i = 0; i < image->n_segments; i++) {
        const Segment *segment = &image->segments[i];
        if (segment->type == PT_LOAD && offset.v >= segment->offset.v &&
            offset.v - segment->offset.v < segment->file_size) {
            *out = vaddr_add(segment->addr, offset.v - segment->offset.v);
            return true;
        }
    }
    return false;
}

bool image_offset_of_addr(const Image *image, Vaddr addr, FileOff *out)
{
    const Segment *segment = image_segment_at(image, addr);
    if (segment == NULL || addr.v - segment->addr.v >= segment->file_size)
        return false;
    *out = (FileOff){ segment->offset.v + (addr.v - segment->addr.v) };
    return true;
}

/* ---- symbols and relocations ---------------------------------------------------------------- */

/* Number of symbols whose address is at most `addr`. */
static uint32_t symbols_up_to(const Image *image, Vaddr addr)
{
    uint32_t low = 0, high = image->n_symbols;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (image->symbols[middle].addr.v <= addr.v)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Larger is better: covers with a size, nearer, of .symtab, global. */
static bool is_better(const Symbol *symbol, const Symbol *than)
{
    if (than == NULL)
        return true;
    if ((symbol->size != 0) != (than->size != 0))
        return symbol->size != 0;
    if (symbol->addr.v != than->addr.v)
        return symbol->addr.v > than->addr.v;
    if (symbol->dynamic != than->dynamic)
        return !symbol->dynamic;
    return symbol->bind == STB_GLOBAL && than->bind != STB_GLOBAL;
}

const Symbol *image_symbol_at(const Image *image, Vaddr addr)
{
    const Symbol *best = NULL;
    uint32_t end = symbols_up_to(image, addr);
    uint32_t start = end > SYMBOL_LOOK_BACK ? end - SYMBOL_LOOK_BACK : 0;
    for (uint32_t i = end; i > start; i--) {
        const Symbol *symbol = &image->symbols[i - 1];
        bool covers = symbol->size == 0 || addr.v - symbol->addr.v < symbol->size;
        if (symbol->type != STT_OBJECT && covers && is_better(symbol, best))
            best = symbol;
    }
    return best;
}

const Reloc *image_reloc_at(const Image *image, Vaddr where)
{
    uint32_t low = 0, high = image->n_relocs;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (image->relocs[middle].where.v < where.v)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < image->n_relocs && image->relocs[low].where.v == where.v)
        return &image->relocs[low];
    return NULL;
}

Place image_place(const Image *image, Vaddr addr)
{
    for (uint32_t i = 1; i < image->n_sections; i++) {
        const Section *section = &image->sections[i];
        if ((section->flags & SHF_ALLOC) != 0 && addr.v >= section->addr.v &&
            addr.v - section->addr.v < section->size)
            return (Place){ image->path, section->name, addr.v - section->addr.v };
    }
    FileOff offset;
    if (image_offset_of_addr(image, addr, &offset))
        return image_file_place(image, offset.v);
    return image_file_place(image, PLACE_NO_OFFSET);
}
