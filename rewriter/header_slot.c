/*
 * header_slot.c: which program header can go.
 *
 *     PHDR INTERP LOAD LOAD LOAD LOAD DYNAMIC NOTE NOTE PROPERTY …
 *                                             ^ says what PROPERTY says: free
 *     PHDR INTERP LOAD LOAD LOAD LOAD [LOAD]  DYNAMIC   NOTE PROPERTY …
 *
 * In this order: a PT_NOTE with the bytes of PT_GNU_PROPERTY (kernel and loader read the latter);
 * PT_PHDR of a shared object (the loader then copies the table); two neighbouring loads, one R and
 * one R-X, at one distance between offset and address (the gap between them becomes readable file
 * content, and constants executable). A moved table would be simpler, but strip and objcopy then
 * write files that crash. The build-id note, GNU_STACK and RELRO never go.
 *
 * SPDX-License-Identifier: MIT
 */
#include "rewriter/header_slot.h"

#include <string.h>

void header_table_read(Arena *arena, const Image *image, HeaderTable *out)
{
    uint32_t n = image->header.e_phnum;
    Bytes bytes;
    *out = (HeaderTable){ .rows = arena_many(arena, Elf64_Phdr, (size_t)n + 1) };
    if (!bytes_slice(image->file, image->header.e_phoff, (uint64_t)n * sizeof(Elf64_Phdr), &bytes))
        return;
    if (n > 0)
        memcpy(out->rows, bytes.data, bytes.len);
    out->n = n;
    out->room = n;
}

static void drop_row(HeaderTable *table, uint32_t i)
{
    memmove(table->rows + i, table->rows + i + 1, (table->n - i - 1) * sizeof *table->rows);
    table->n--;
}

static bool drop_doubled_note(HeaderTable *table)
{
    const Elf64_Phdr *property = header_table_find(table, PT_GNU_PROPERTY);
    for (uint32_t i = 0; i < table->n && property != NULL; i++) {
        const Elf64_Phdr *row = &table->rows[i];
        if (row->p_type == PT_NOTE && row->p_offset == property->p_offset &&
            row->p_filesz == property->p_filesz && row->p_vaddr == property->p_vaddr) {
            drop_row(table, i);
            return true;
        }
    }
    return false;
}

static bool drop_library_phdr(const Image *image, HeaderTable *table)
{
    for (uint32_t i = 0; i < table->n && image->is_library; i++) {
        if (table->rows[i].p_type == PT_PHDR) {
            drop_row(table, i);
            return true;
        }
    }
    return false;
}

static bool can_merge(const Elf64_Phdr *low, const Elf64_Phdr *high)
{
    uint32_t both = low->p_flags | high->p_flags;
    return both == (PF_R | PF_X) && low->p_flags != high->p_flags &&
           (low->p_flags & high->p_flags & PF_R) != 0 && low->p_filesz == low->p_memsz &&
           low->p_offset - low->p_vaddr == high->p_offset - high->p_vaddr &&
           low->p_align == high->p_align && low->p_vaddr + low->p_memsz <= high->p_vaddr;
}

static bool merge_loads(HeaderTable *table)
{
    Elf64_Phdr *low = NULL;
    for (uint32_t i = 0; i < table->n; i++) {
        Elf64_Phdr *row = &table->rows[i];
        if (row->p_type != PT_LOAD)
            continue;
        if (low != NULL && can_merge(low, row)) {
            low->p_filesz = row->p_offset + row->p_filesz - low->p_offset;
            low->p_memsz = row->p_vaddr + row->p_memsz - low->p_vaddr;
            low->p_flags |= row->p_flags;
            drop_row(table, i);
            return true;
        }
        low = row;
    }
    return false;
}

Status header_slot_free(const Image *image, HeaderTable *table, Error *err)
{
    if (table->n < table->room || drop_doubled_note(table) || drop_library_phdr(image, table) ||
        merge_loads(table))
        return ST_OK;
    return FAIL(err, ST_REFUSED, ((Place){ image->path, NULL, image->header.e_phoff }),
                "no-header-slot: none of the %u program headers can be freed in place",
                table->room);
}

void header_table_add(HeaderTable *table, const Elf64_Phdr *row)
{
    uint32_t at = table->n;
    if (row->p_type == PT_LOAD) {
        at = 0;
        for (uint32_t i = 0; i < table->n; i++)
            if (table->rows[i].p_type == PT_LOAD)
                at = i + 1;
    }
    memmove(table->rows + at + 1, table->rows + at, (table->n - at) * sizeof *table->rows);
    table->rows[at] = *row;
    table->n++;
}

Elf64_Phdr *header_table_find(const HeaderTable *table, uint32_t type)
{
    for (uint32_t i = 0; i < table->n; i++)
        if (table->rows[i].p_type == type)
            return &table->rows[i];
    return NULL;
}
