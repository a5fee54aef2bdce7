/*
 * image_dynamic.c: what the loader is told: interpreter, dynamic section, relocations.
 *
 *     PT_DYNAMIC -> DT_RELA DT_JMPREL DT_REL DT_RELR -> Reloc[] sorted by place
 *
 * The dynamic section is read through PT_DYNAMIC, as the loader does, so that files without section
 * headers give the same answers. Fixed static executables have no dynamic section but do have
 * IRELATIVE relocations: theirs come from allocated SHT_RELA sections. gABI 5; psABI x86-64 4.4.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/image_read.h"
#include "core/sort.h"

#include <stdlib.h>
#include <string.h>

/* ---- the dynamic section -------------------------------------------------------------------- */

static Bytes dynamic_bytes(const Image *image)
{
    Bytes bytes = { NULL, 0 };
    const Segment *segment = image_segment(image, PT_DYNAMIC);
    if (segment != NULL && !image_bytes_at(image, segment->addr, segment->file_size, &bytes))
        bytes = (Bytes){ NULL, 0 };
    return bytes;
}

/* Finds an entry; `*entry` is its offset in the dynamic section. */
static bool find_entry(const Image *image, int64_t tag, uint64_t *value, uint64_t *entry)
{
    Bytes bytes = dynamic_bytes(image);
    for (size_t at = 0; at + sizeof(Elf64_Dyn) <= bytes.len; at += sizeof(Elf64_Dyn)) {
        int64_t found = (int64_t)load_u64(bytes.data + at);
        if (found == DT_NULL)
            return false;
        if (found != tag)
            continue;
        *value = load_u64(bytes.data + at + offsetof(Elf64_Dyn, d_un));
        *entry = at;
        return true;
    }
    return false;
}

bool image_dynamic(const Image *image, int64_t tag, uint64_t *out)
{
    uint64_t entry;
    return find_entry(image, tag, out, &entry);
}

bool image_dynamic_symbol(const Image *image, uint32_t index, Elf64_Sym *out)
{
    uint64_t table;
    Bytes bytes;
    if (index == 0 || !image_dynamic(image, DT_SYMTAB, &table) ||
        !image_bytes_at(image, vaddr(table + (uint64_t)index * sizeof *out), sizeof *out, &bytes))
        return false;
    memcpy(out, bytes.data, sizeof *out);
    return true;
}

/* The place of an entry of the dynamic section. */
static Place at_entry(const Image *image, uint64_t entry)
{
    const Segment *segment = image_segment(image, PT_DYNAMIC);
    return image_place(image, vaddr_add(segment->addr, entry));
}

Status image_dyn_table(const Image *image, int64_t addr_tag, const char *name, uint64_t size,
                       DynTable *out, Error *err)
{
    uint64_t addr, entry;
    *out = (DynTable){ VADDR_NONE, { NULL, 0 } };
    if (!find_entry(image, addr_tag, &addr, &entry))
        return ST_OK;
    out->addr = vaddr(addr);
    out->bytes = image_bytes_from(image, out->addr);
    if (out->bytes.data == NULL || size > out->bytes.len)
        return FAIL(err, ST_BAD_INPUT, at_entry(image, entry),
                    "%s: %" PRIu64 " bytes at address 0x%" PRIx64 " are not all in the file", name,
                    size, addr);
    if (size > 0)
        out->bytes.len = size;
    return ST_OK;
}

static Status read_interp(Image *image, Error *err)
{
    Bytes bytes;
    const Segment *segment = image_segment(image, PT_INTERP);
    if (segment == NULL)
        return ST_OK;
    if (!bytes_slice(image->file, segment->offset.v, segment->file_size, &bytes))
        return FAIL(err, ST_BAD_INPUT, image_file_place(image, segment->offset.v),
                    "PT_INTERP runs past the end of the file");
    Cursor cursor = cursor_at(bytes, 0);
    image->interp = cursor_string(&cursor);
    if (cursor.bad)
        return FAIL(err, ST_BAD_INPUT, image_file_place(image, segment->offset.v),
                    "PT_INTERP of %zu bytes is no terminated string", bytes.len);
    return ST_OK;
}

static Status read_soname(Image *image, Error *err)
{
    uint64_t offset, entry, size = 0;
    DynTable strings;
    if (!find_entry(image, DT_SONAME, &offset, &entry))
        return ST_OK;
    image_dynamic(image, DT_STRSZ, &size);
    TRY(image_dyn_table(image, DT_STRTAB, "DT_STRTAB", size, &strings, err));
    Cursor cursor = cursor_at(strings.bytes, offset < strings.bytes.len ? offset : SIZE_MAX);
    image->soname = cursor_string(&cursor);
    if (cursor.bad)
        return FAIL(err, ST_BAD_INPUT, at_entry(image, entry),
                    "DT_SONAME 0x%" PRIx64 " is no string of the dynamic string table (%zu bytes)",
                    offset, strings.bytes.len);
    return ST_OK;
}

Status image_read_dynamic(ImageReader *reader, Error *err)
{
    Image *image = reader->image;
    const Segment *segment = image_segment(image, PT_DYNAMIC);
    uint64_t flags = 0;
    if (segment != NULL && dynamic_bytes(image).data == NULL)
        return FAIL(err, ST_BAD_INPUT, image_file_place(image, segment->offset.v),
                    "PT_DYNAMIC: %" PRIu64 " bytes at address 0x%" PRIx64
                    " are in no PT_LOAD's file part",
                    segment->file_size, segment->addr.v);
    TRY(read_interp(image, err));
    TRY(read_soname(image, err));
    image->is_pic = image->header.e_type == ET_DYN;
    image_dynamic(image, DT_FLAGS_1, &flags);
    /* libc.so.6 has an interpreter too; executables have no soname and, since 2016, DF_1_PIE. */
    image->is_library = image->is_pic && (flags & DF_1_PIE) == 0 &&
                        (image->interp == NULL || image->soname != NULL);
    return ST_OK;
}

/* ---- relocations ---------------------------------------------------------------------------- */

typedef struct RelocList {
    Arena *arena;
    const Image *image;
    Reloc *items;
    size_t n;
    size_t cap;
} RelocList;

static Status add_reloc(RelocList *list, Reloc reloc, Place place, Error *err)
{
    if (reloc.type == R_X86_64_NONE)
        return ST_OK;
    if (image_segment_at(list->image, reloc.where) == NULL)
        return FAIL(err, ST_BAD_INPUT, place,
                    "relocation of type %" PRIu32 " at address 0x%" PRIx64 " is in no PT_LOAD",
                    reloc.type, reloc.where.v);
    /* A RELR bitmap makes 63 from one word, so its table does not bound the number. */
    if (list->n > list->image->file.len / 8)
        return FAIL(err, ST_BAD_INPUT, place, "more relocations (%zu) than words in the file",
                    list->n);
    list->items = arena_grow(list->arena, list->items, &list->cap, list->n + 1, sizeof(Reloc));
    list->items[list->n++] = reloc;
    return ST_OK;
}

/* The word that a relocation without addend of its own adds to; 0 outside the file part. */
static int64_t word_at(const Image *image, Vaddr where)
{
    Bytes word;
    return image_bytes_at(image, where, 8, &word) ? (int64_t)load_u64(word.data) : 0;
}

static Status add_rela(RelocList *list, DynTable table, Error *err)
{
    for (size_t at = 0; at + sizeof(Elf64_Rela) <= table.bytes.len; at += sizeof(Elf64_Rela)) {
        const uint8_t *entry = table.bytes.data + at;
        uint64_t info = load_u64(entry + offsetof(Elf64_Rela, r_info));
        Reloc reloc = { vaddr(load_u64(entry)), (uint32_t)ELF64_R_TYPE(info),
                        (uint32_t)ELF64_R_SYM(info),
                        (int64_t)load_u64(entry + offsetof(Elf64_Rela, r_addend)) };
        TRY(add_reloc(list, reloc, image_place(list->image, vaddr_add(table.addr, at)), err));
    }
    return ST_OK;
}

static Status add_rel(RelocList *list, DynTable table, Error *err)
{
    for (size_t at = 0; at + sizeof(Elf64_Rel) <= table.bytes.len; at += sizeof(Elf64_Rel)) {
        Vaddr where = vaddr(load_u64(table.bytes.data + at));
        uint64_t info = load_u64(table.bytes.data + at + offsetof(Elf64_Rel, r_info));
        Reloc reloc = { where, (uint32_t)ELF64_R_TYPE(info), (uint32_t)ELF64_R_SYM(info),
                        word_at(list->image, where) };
        TRY(add_reloc(list, reloc, image_place(list->image, vaddr_add(table.addr, at)), err));
    }
    return ST_OK;
}

/*
 * gABI, SHT_RELR: an even word is an address to relocate; an odd one is a bitmap of the 63 words
 * that follow the last address or bitmap.
 */
static Status add_relr(RelocList *list, DynTable table, Error *err)
{
    uint64_t base = 0;
    for (size_t at = 0; at + 8 <= table.bytes.len; at += 8) {
        uint64_t word = load_u64(table.bytes.data + at);
        Place place = image_place(list->image, vaddr_add(table.addr, at));
        if ((word & 1) == 0) {
            Reloc reloc = { vaddr(word), R_X86_64_RELATIVE, 0, word_at(list->image, vaddr(word)) };
            TRY(add_reloc(list, reloc, place, err));
            base = word + 8;
            continue;
        }
        for (unsigned bit = 0; bit < 63; bit++) {
            Vaddr where = vaddr(base + 8 * bit);
            Reloc reloc = { where, R_X86_64_RELATIVE, 0, word_at(list->image, where) };
            if ((word >> (bit + 1) & 1) != 0)
                TRY(add_reloc(list, reloc, place, err));
        }
        base += UINT64_C(63) * 8;
    }
    return ST_OK;
}

/* An entry-size tag (or the size of a table without entries) must be what the format says. */
static Status check_entry_size(const Image *image, int64_t tag, const char *name, uint64_t want,
                               Error *err)
{
    uint64_t size, entry;
    if (find_entry(image, tag, &size, &entry) && size != want)
        return FAIL(err, ST_BAD_INPUT, at_entry(image, entry), "%s is %" PRIu64 ", not %" PRIu64,
                    name, size, want);
    return ST_OK;
}

typedef Status AddTable(RelocList *list, DynTable table, Error *err);

static Status add_table(RelocList *list, int64_t addr_tag, int64_t size_tag, const char *name,
                        AddTable *add, Error *err)
{
    uint64_t size = 0;
    DynTable table;
    if (!image_dynamic(list->image, size_tag, &size) || size == 0)
        return ST_OK;
    TRY(image_dyn_table(list->image, addr_tag, name, size, &table, err));
    return add(list, table, err);
}

/* Some linkers count the PLT's relocations in DT_RELASZ too. */
static bool plt_is_inside_rela(const Image *image)
{
    uint64_t plt, rela, size;
    return image_dynamic(image, DT_JMPREL, &plt) && image_dynamic(image, DT_RELA, &rela) &&
           image_dynamic(image, DT_RELASZ, &size) && plt >= rela && plt - rela < size;
}

static Status add_dynamic_relocs(RelocList *list, Error *err)
{
    const Image *image = list->image;
    uint64_t plt_kind = DT_RELA;
    image_dynamic(image, DT_PLTREL, &plt_kind);
    TRY(check_entry_size(image, DT_RELAENT, "DT_RELAENT", sizeof(Elf64_Rela), err));
    TRY(check_entry_size(image, DT_RELENT, "DT_RELENT", sizeof(Elf64_Rel), err));
    TRY(check_entry_size(image, DT_RELRENT, "DT_RELRENT", sizeof(Elf64_Relr), err));
    TRY(add_table(list, DT_RELA, DT_RELASZ, "DT_RELA", add_rela, err));
    TRY(add_table(list, DT_REL, DT_RELSZ, "DT_REL", add_rel, err));
    TRY(add_table(list, DT_RELR, DT_RELRSZ, "DT_RELR", add_relr, err));
    if (plt_is_inside_rela(image))
        return ST_OK;
    return add_table(list, DT_JMPREL, DT_PLTRELSZ, "DT_JMPREL",
                     plt_kind == DT_REL ? add_rel : add_rela, err);
}

static Status add_section_relocs(RelocList *list, Error *err)
{
    const Image *image = list->image;
    for (uint32_t i = 1; i < image->n_sections; i++) {
        const Section *section = &image->sections[i];
        DynTable table = { section->addr, { NULL, 0 } };
        if (section->type != SHT_RELA || (section->flags & SHF_ALLOC) == 0)
            continue;
        TRY(image_section_bytes(image, section, &table.bytes, err));
        TRY(add_rela(list, table, err));
    }
    return ST_OK;
}

static int compare_relocs(const void *left_item, const void *right_item)
{
    const Reloc *left = left_item, *right = right_item;
    if (left->where.v != right->where.v)
        return left->where.v < right->where.v ? -1 : 1;
    if (left->type != right->type)
        return left->type < right->type ? -1 : 1;
    if (left->symbol != right->symbol)
        return left->symbol < right->symbol ? -1 : 1;
    return (left->addend > right->addend) - (left->addend < right->addend);
}

static uint64_t reloc_where(const void *reloc)
{
    return ((const Reloc *)reloc)->where.v;
}

Status image_read_relocs(ImageReader *reader, Error *err)
{
    RelocList list = { reader->arena, reader->image, NULL, 0, 0 };
    if (image_segment(reader->image, PT_DYNAMIC) != NULL)
        TRY(add_dynamic_relocs(&list, err));
    else
        TRY(add_section_relocs(&list, err));
    if (list.n > 0)
        sort_records(list.items, list.n, sizeof(Reloc), reloc_where, compare_relocs);
    reader->image->relocs = list.items;
    reader->image->n_relocs = (uint32_t)list.n;
    return ST_OK;
}
