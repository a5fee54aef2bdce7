/*
 * image_symbols.c: function and object symbols of .symtab and of the dynamic symbol table.
 *
 * The dynamic table has no size of its own: it is as long as its hash table says (DT_HASH: nchain;
 * DT_GNU_HASH: the end of the last chain), so files without section headers work.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/image_read.h"
#include "core/sort.h"

#include <stdlib.h>
#include <string.h>

typedef struct SymbolList {
    Arena *arena;
    const Image *image;
    Symbol *items;
    size_t n;
    size_t cap;
} SymbolList;

/* One symbol table and its strings. `place` is where the table begins. */
typedef struct SymbolTable {
    Bytes entries;
    Bytes strings;
    Place place;
    bool dynamic;
} SymbolTable;

static bool is_wanted(const Elf64_Sym *symbol)
{
    unsigned type = ELF64_ST_TYPE(symbol->st_info);
    bool defined = symbol->st_shndx != SHN_UNDEF && symbol->st_shndx != SHN_ABS &&
                   symbol->st_shndx != SHN_COMMON;
    return defined && (type == STT_FUNC || type == STT_OBJECT || type == STT_GNU_IFUNC);
}

/* Adds a symbol; one outside loaded memory is left out, one that leaves its segment is cut. */
static void add_symbol(SymbolList *list, const Elf64_Sym *symbol, const char *name, bool dynamic)
{
    const Segment *segment = image_segment_at(list->image, vaddr(symbol->st_value));
    if (segment == NULL)
        return;
    uint64_t room = segment->mem_size - (symbol->st_value - segment->addr.v);
    list->items = arena_grow(list->arena, list->items, &list->cap, list->n + 1, sizeof(Symbol));
    list->items[list->n++] = (Symbol){ name,
                                       vaddr(symbol->st_value),
                                       symbol->st_size < room ? symbol->st_size : room,
                                       ELF64_ST_TYPE(symbol->st_info),
                                       ELF64_ST_BIND(symbol->st_info),
                                       symbol->st_shndx,
                                       dynamic };
}

static Status add_symbols(SymbolList *list, const SymbolTable *table, Error *err)
{
    for (size_t at = 0; at + sizeof(Elf64_Sym) <= table->entries.len; at += sizeof(Elf64_Sym)) {
        Elf64_Sym symbol;
        memcpy(&symbol, table->entries.data + at, sizeof symbol);
        if (!is_wanted(&symbol))
            continue;
        Cursor cursor = cursor_at(table->strings, symbol.st_name);
        const char *name = cursor_string(&cursor);
        if (cursor.bad) {
            Place place = table->place;
            place.offset += at;
            return FAIL(err, ST_BAD_INPUT, place,
                        "symbol name 0x%" PRIx32 " is no string of its string table (%zu bytes)",
                        symbol.st_name, table->strings.len);
        }
        add_symbol(list, &symbol, name, table->dynamic);
    }
    return ST_OK;
}

/* ---- .symtab -------------------------------------------------------------------------------- */

static Status add_symtab(SymbolList *list, const Section *section, Error *err)
{
    const Image *image = list->image;
    SymbolTable table = { .place = { image->path, section->name, 0 } };
    if (section->entry_size != sizeof(Elf64_Sym))
        return FAIL(err, ST_BAD_INPUT, table.place, "symbols of %" PRIu64 " bytes each, not %zu",
                    section->entry_size, sizeof(Elf64_Sym));
    if (section->link == 0 || section->link >= image->n_sections ||
        image->sections[section->link].type != SHT_STRTAB)
        return FAIL(err, ST_BAD_INPUT, table.place,
                    "string table %" PRIu32 " is no string table of %" PRIu32 " sections",
                    section->link, image->n_sections);
    TRY(image_section_bytes(image, section, &table.entries, err));
    TRY(image_section_bytes(image, &image->sections[section->link], &table.strings, err));
    return add_symbols(list, &table, err);
}

/* ---- dynamic symbols ------------------------------------------------------------------------ */

/* gABI 5: nbucket, nchain, …; nchain is the number of symbols. */
static Status count_by_hash(const Image *image, uint64_t *out, Error *err)
{
    DynTable table;
    TRY(image_dyn_table(image, DT_HASH, "DT_HASH", 8, &table, err));
    *out = load_u32(table.bytes.data + 4);
    return ST_OK;
}

/* The highest symbol index that a bucket of a GNU hash table starts with; 0: all are empty. */
static uint32_t last_bucket(Bytes buckets)
{
    uint32_t last = 0;
    for (size_t at = 0; at + 4 <= buckets.len; at += 4)
        if (load_u32(buckets.data + at) > last)
            last = load_u32(buckets.data + at);
    return last;
}

/* Header nbuckets, first hashed symbol, words of the Bloom filter, shift; filter, buckets, chains.
 */
static Status count_by_gnu_hash(const Image *image, uint64_t *out, Error *err)
{
    DynTable table;
    Bytes buckets, link;
    TRY(image_dyn_table(image, DT_GNU_HASH, "DT_GNU_HASH", 16, &table, err));
    Bytes all = image_bytes_from(image, table.addr);
    uint64_t n_buckets = load_u32(all.data);
    uint64_t first = load_u32(all.data + 4);
    uint64_t buckets_at = 16 + (uint64_t)load_u32(all.data + 8) * 8;
    if (!bytes_slice(all, buckets_at, n_buckets * 4, &buckets))
        return FAIL(err, ST_BAD_INPUT, image_place(image, table.addr),
                    "%" PRIu64 " hash buckets run past the end of the segment", n_buckets);
    uint64_t last = last_bucket(buckets);
    *out = first;
    if (last < first)
        return ST_OK;
    uint64_t chains_at = buckets_at + n_buckets * 4;
    for (;; last++) { /* the end of a chain has its low bit set */
        if (!bytes_slice(all, chains_at + (last - first) * 4, 4, &link))
            return FAIL(err, ST_BAD_INPUT, image_place(image, table.addr),
                        "hash chain of symbol %" PRIu64 " runs past the end of the segment", last);
        if ((load_u32(link.data) & 1) != 0)
            break;
    }
    *out = last + 1;
    return ST_OK;
}

static Status add_dynsym(SymbolList *list, Error *err)
{
    const Image *image = list->image;
    uint64_t value, n = 0, strings_size = 0;
    DynTable entries, strings;
    if (image_dynamic(image, DT_HASH, &value))
        TRY(count_by_hash(image, &n, err));
    else if (image_dynamic(image, DT_GNU_HASH, &value))
        TRY(count_by_gnu_hash(image, &n, err));
    if (n == 0)
        return ST_OK;
    image_dynamic(image, DT_STRSZ, &strings_size);
    TRY(image_dyn_table(image, DT_SYMTAB, "DT_SYMTAB", n * sizeof(Elf64_Sym), &entries, err));
    TRY(image_dyn_table(image, DT_STRTAB, "DT_STRTAB", strings_size, &strings, err));
    SymbolTable table = { entries.bytes, strings.bytes, image_place(image, entries.addr), true };
    return add_symbols(list, &table, err);
}

/* ---- all ------------------------------------------------------------------------------------ */

static int compare_symbols(const void *left_item, const void *right_item)
{
    const Symbol *left = left_item, *right = right_item;
    if (left->addr.v != right->addr.v)
        return left->addr.v < right->addr.v ? -1 : 1;
    if (left->size != right->size)
        return left->size > right->size ? -1 : 1;
    if (left->dynamic != right->dynamic)
        return left->dynamic ? 1 : -1;
    if (left->bind != right->bind)
        return left->bind > right->bind ? -1 : 1;
    return strcmp(left->name, right->name);
}

static uint64_t symbol_addr(const void *symbol)
{
    return ((const Symbol *)symbol)->addr.v;
}

Status image_read_symbols(ImageReader *reader, Error *err)
{
    SymbolList list = { reader->arena, reader->image, NULL, 0, 0 };
    for (uint32_t i = 1; i < reader->image->n_sections; i++)
        if (reader->image->sections[i].type == SHT_SYMTAB)
            TRY(add_symtab(&list, &reader->image->sections[i], err));
    TRY(add_dynsym(&list, err));
    if (list.n > 0)
        sort_records(list.items, list.n, sizeof(Symbol), symbol_addr, compare_symbols);
    reader->image->symbols = list.items;
    reader->image->n_symbols = (uint32_t)list.n;
    return ST_OK;
}
