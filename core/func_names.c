/*
 * func_names.c: function symbols, linkage table entries and unwind entries → functions that do not
 * overlap.
 *
 *     .symtab:  FILE a.c | help (local) | FILE b.c | help (local) | main (global)
 *     BOLT:              help/a.c/1, help/1         help/b.c/1, help/2    main
 *
 * BOLT makes local names unique by a number, counted in the order of addresses, once with the name
 * of the source file (that of the FILE symbol before it in the table) and once without; a profile
 * may use either. We write the first, which does not change when other files of the program do.
 * Code under an unwind entry without a symbol is __BOLT_FDE_FUNCat and its address. The rules are
 * those of llvm-bolt 22, and tests/bench/bolt.sh holds them against it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/func_names.h"

#include "core/insn.h"
#include "core/unwind.h"

#include <stdlib.h>
#include <string.h>

/* A symbol of .symtab in loaded memory. */
typedef struct RawSymbol {
    Elf64_Sym symbol;
    uint32_t index;   /* in the table */
    const char *name; /* borrowed */
    const char *file; /* of the FILE symbol before it; NULL or "": none */
} RawSymbol;

typedef struct NameReader {
    Arena *arena;
    Arena *scratch;
    const Image *image;
    RawSymbol *symbols;
    size_t n_symbols, symbols_cap;
    FuncName *funcs;
    size_t n_funcs, funcs_cap;
    FuncAlias *aliases;
    size_t n_aliases, aliases_cap;
} NameReader;

static bool is_function(const Elf64_Sym *symbol)
{
    unsigned type = ELF64_ST_TYPE(symbol->st_info);
    return type == STT_FUNC || type == STT_GNU_IFUNC;
}

static bool is_local(const Elf64_Sym *symbol)
{
    return ELF64_ST_BIND(symbol->st_info) == STB_LOCAL;
}

/* ---- .symtab -------------------------------------------------------------------------------- */

/* True when BOLT counts the symbol: absolute, or inside an allocated section. */
static bool is_in_memory(const Image *image, const Elf64_Sym *symbol)
{
    if (symbol->st_value == 0 || symbol->st_shndx == SHN_UNDEF || symbol->st_shndx == SHN_COMMON)
        return false;
    if (symbol->st_shndx == SHN_ABS)
        return true;
    if (symbol->st_shndx >= image->n_sections)
        return false;
    const Section *section = &image->sections[symbol->st_shndx];
    uint64_t offset = symbol->st_value - section->addr.v;
    return (section->flags & SHF_ALLOC) != 0 && offset <= section->size &&
           symbol->st_size <= section->size - offset;
}

static void read_symtab(NameReader *reader, const Section *section)
{
    const Image *image = reader->image;
    Bytes entries, strings;
    if (image_section_bytes(image, section, &entries, NULL) != ST_OK ||
        image_section_bytes(image, &image->sections[section->link], &strings, NULL) != ST_OK)
        return;
    const char *file = NULL;
    for (size_t at = 0; at + sizeof(Elf64_Sym) <= entries.len; at += sizeof(Elf64_Sym)) {
        RawSymbol raw = { .index = (uint32_t)(at / sizeof(Elf64_Sym)) };
        memcpy(&raw.symbol, entries.data + at, sizeof raw.symbol);
        Cursor cursor = cursor_at(strings, raw.symbol.st_name);
        raw.name = cursor_string(&cursor);
        if (ELF64_ST_TYPE(raw.symbol.st_info) == STT_FILE)
            file = raw.name;
        else if (is_in_memory(image, &raw.symbol)) {
            raw.file = file;
            reader->symbols = arena_grow(reader->scratch, reader->symbols, &reader->symbols_cap,
                                         reader->n_symbols + 1, sizeof raw);
            reader->symbols[reader->n_symbols++] = raw;
        }
    }
}

/* By address; functions first, section symbols last; else as in the table. */
static int order_symbols(const void *left, const void *right)
{
    const RawSymbol *a = left;
    const RawSymbol *b = right;
    if (a->symbol.st_value != b->symbol.st_value)
        return a->symbol.st_value < b->symbol.st_value ? -1 : 1;
    int rank_a = is_function(&a->symbol) ? 0 : ELF64_ST_TYPE(a->symbol.st_info) == STT_SECTION;
    int rank_b = is_function(&b->symbol) ? 0 : ELF64_ST_TYPE(b->symbol.st_info) == STT_SECTION;
    rank_a += !is_function(&a->symbol);
    rank_b += !is_function(&b->symbol);
    if (rank_a != rank_b)
        return rank_a - rank_b;
    return (a->index > b->index) - (a->index < b->index);
}

/* ---- unique names --------------------------------------------------------------------------- */

/* A name that is to be made unique; `file` is NULL for the form without it. */
typedef struct Twin {
    const char *name;
    const char *file;
    uint32_t symbol; /* index in reader->symbols */
} Twin;

static int order_twins(const void *left, const void *right)
{
    const Twin *a = left;
    const Twin *b = right;
    int order = strcmp(a->name, b->name);
    if (order == 0)
        order = strcmp(a->file != NULL ? a->file : "", b->file != NULL ? b->file : "");
    return order != 0 ? order : (a->symbol > b->symbol) - (a->symbol < b->symbol);
}

static void add_alias(NameReader *reader, const char *name, uint64_t addr)
{
    reader->aliases = arena_grow(reader->arena, reader->aliases, &reader->aliases_cap,
                                 reader->n_aliases + 1, sizeof *reader->aliases);
    reader->aliases[reader->n_aliases++] = (FuncAlias){ name, vaddr(addr) };
}

/* Numbers twins of one name (and file) in the order of their addresses. `names[symbol]`: the name
 * that was made, where it is the wanted one. */
static void number_twins(NameReader *reader, Twin *twins, size_t n, const char **names)
{
    if (n == 0)
        return;
    qsort(twins, n, sizeof *twins, order_twins);
    uint32_t number = 0;
    for (size_t i = 0; i < n; i++) {
        const Twin *twin = &twins[i];
        bool same = i > 0 && strcmp(twin[-1].name, twin->name) == 0 &&
                    (twin->file == NULL || strcmp(twin[-1].file, twin->file) == 0);
        number = same ? number + 1 : 1;
        const RawSymbol *raw = &reader->symbols[twin->symbol];
        if (!is_function(&raw->symbol))
            continue;
        const char *name =
            twin->file != NULL
                ? arena_printf(reader->arena, "%s/%s/%u", twin->name, twin->file, number)
                : arena_printf(reader->arena, "%s/%u", twin->name, number);
        names[twin->symbol] = name;
        add_alias(reader, name, raw->symbol.st_value);
    }
}

/* The name that BOLT gives each symbol; NULL: none of ours. */
static const char **bolt_names(NameReader *reader)
{
    const char **names = arena_many(reader->scratch, const char *, reader->n_symbols);
    Twin *plain = arena_many(reader->scratch, Twin, reader->n_symbols);
    Twin *filed = arena_many(reader->scratch, Twin, reader->n_symbols);
    size_t n_plain = 0;
    size_t n_filed = 0;
    for (uint32_t i = 0; i < reader->n_symbols; i++) {
        const RawSymbol *raw = &reader->symbols[i];
        if (*raw->name == '\0')
            continue;
        const char *name = strncmp(raw->name, ".L", 2) == 0
                               ? arena_printf(reader->arena, "PG%s", raw->name)
                               : raw->name;
        if (!is_local(&raw->symbol)) {
            names[i] = name;
            if (is_function(&raw->symbol))
                add_alias(reader, name, raw->symbol.st_value);
            continue;
        }
        plain[n_plain++] = (Twin){ name, NULL, i };
        if (is_function(&raw->symbol) && raw->file != NULL && *raw->file != '\0')
            filed[n_filed++] = (Twin){ name, raw->file, i };
    }
    number_twins(reader, plain, n_plain, names);
    number_twins(reader, filed, n_filed, names);
    return names;
}

/* ---- extents -------------------------------------------------------------------------------- */

/* The first of them; they are sorted and apart, so at most one covers `addr`. */
static bool is_covered(const NameReader *reader, size_t n, uint64_t start, uint64_t end)
{
    size_t low = 0;
    while (low < n) {
        size_t middle = low + (n - low) / 2;
        if (reader->funcs[middle].end <= start)
            low = middle + 1;
        else
            n = middle;
    }
    return low < reader->n_funcs && reader->funcs[low].start.v < end &&
           reader->funcs[low].end > start;
}

static void add_func(NameReader *reader, uint64_t start, uint64_t end, const char *name,
                     const char *bolt)
{
    reader->funcs = arena_grow(reader->arena, reader->funcs, &reader->funcs_cap,
                               reader->n_funcs + 1, sizeof *reader->funcs);
    reader->funcs[reader->n_funcs++] = (FuncName){ vaddr(start), end, name, bolt };
}

static int order_funcs(const void *left, const void *right)
{
    const FuncName *a = left;
    const FuncName *b = right;
    return (a->start.v > b->start.v) - (a->start.v < b->start.v);
}

static void sort_funcs(NameReader *reader)
{
    if (reader->n_funcs > 1)
        qsort(reader->funcs, reader->n_funcs, sizeof *reader->funcs, order_funcs);
}

/* The end of the section, without sections of the segment, that `start` lies in. */
static uint64_t end_of_code(const Image *image, uint64_t start)
{
    for (uint32_t i = 1; i < image->n_sections; i++) {
        const Section *section = &image->sections[i];
        if ((section->flags & SHF_ALLOC) != 0 && start >= section->addr.v &&
            start - section->addr.v < section->size)
            return section->addr.v + section->size;
    }
    return start + image_bytes_from(image, vaddr(start)).len;
}

/* As far as the symbol or the unwind entry at its start says; without either, to the next one. */
static uint64_t end_of(const NameReader *reader, const UnwindTable *unwind, uint64_t start,
                       uint64_t size, uint64_t next)
{
    const Fde *fde = unwind != NULL ? unwind_fde_at(unwind, vaddr(start)) : NULL;
    if (fde != NULL && fde->start.v == start && fde->size > size)
        size = fde->size;
    uint64_t most = end_of_code(reader->image, start);
    if (next < most)
        most = next;
    return size > 0 && size < most - start ? start + size : most;
}

/* Outermost functions of .symtab. A symbol inside the one before it is another entry of that. */
static void add_symtab_funcs(NameReader *reader, const UnwindTable *unwind)
{
    const char **names = bolt_names(reader);
    uint64_t covered = 0;
    for (size_t i = 0; i < reader->n_symbols; i++) {
        const RawSymbol *raw = &reader->symbols[i];
        uint64_t start = raw->symbol.st_value;
        if (!is_function(&raw->symbol) || !image_is_code(reader->image, vaddr(start)) ||
            start < covered)
            continue;
        uint64_t next = UINT64_MAX;
        uint64_t own = start + raw->symbol.st_size;
        for (size_t j = i + 1; j < reader->n_symbols && next == UINT64_MAX; j++)
            if (is_function(&reader->symbols[j].symbol) &&
                reader->symbols[j].symbol.st_value >= (own > start ? own : start + 1))
                next = reader->symbols[j].symbol.st_value;
        covered = end_of(reader, unwind, start, raw->symbol.st_size, next);
        add_func(reader, start, covered, raw->name, names[i]);
    }
}

/* Of a stripped file: what it exports. BOLT does not read that table. */
static void add_dynamic_funcs(NameReader *reader, const UnwindTable *unwind)
{
    const Image *image = reader->image;
    uint64_t covered = 0;
    for (uint32_t i = 0; i < image->n_symbols; i++) {
        const Symbol *symbol = &image->symbols[i];
        if (symbol->type == STT_OBJECT || symbol->addr.v < covered ||
            !image_is_code(image, symbol->addr))
            continue;
        uint64_t next = UINT64_MAX;
        for (uint32_t j = i + 1; j < image->n_symbols && next == UINT64_MAX; j++)
            if (image->symbols[j].type != STT_OBJECT && image->symbols[j].addr.v > symbol->addr.v)
                next = image->symbols[j].addr.v;
        covered = end_of(reader, unwind, symbol->addr.v, symbol->size, next);
        add_func(reader, symbol->addr.v, covered, symbol->name, NULL);
    }
}

/* The symbol whose slot the linkage table entry that begins with `code` jumps through; NULL: none.
 */
static const char *plt_symbol(NameReader *reader, Bytes code, Vaddr addr)
{
    for (size_t at = 0; at < code.len;) {
        Insn insn;
        Elf64_Sym symbol;
        uint64_t strings;
        if (!insn_decode((Bytes){ code.data + at, code.len - at }, vaddr_add(addr, at), &insn))
            return NULL;
        at += insn.size;
        if (insn.flow != FLOW_JUMP_IND)
            continue;
        const Reloc *reloc =
            insn.ref == REF_MEM ? image_reloc_at(reader->image, insn.ref_to) : NULL;
        if (reloc == NULL || !image_dynamic_symbol(reader->image, reloc->symbol, &symbol) ||
            !image_dynamic(reader->image, DT_STRTAB, &strings))
            return NULL;
        Cursor cursor = cursor_at(image_bytes_from(reader->image, vaddr(strings)), symbol.st_name);
        const char *name = cursor_string(&cursor);
        return *name != '\0' ? name : NULL;
    }
    return NULL;
}

enum { PLT_ENTRY = 16 }; /* bytes; of .plt.got without endbr64: 8, said by sh_entsize */

static void add_plt(NameReader *reader, const Section *section)
{
    uint64_t size = section->entry_size == 8 ? 8 : PLT_ENTRY;
    for (uint64_t at = 0; at + size <= section->size; at += size) {
        Bytes code;
        Vaddr addr = vaddr_add(section->addr, at);
        if (!image_bytes_at(reader->image, addr, size, &code))
            return;
        const char *symbol = plt_symbol(reader, code, addr);
        const char *name = symbol != NULL
                               ? arena_printf(reader->arena, "%s@plt", symbol)
                               : arena_printf(reader->arena, "%s+0x%" PRIx64, section->name, at);
        const char *bolt = NULL;
        if (symbol != NULL)
            bolt = arena_printf(reader->arena, "%s@PLT", symbol);
        else if (at == 0)
            bolt = arena_printf(reader->arena, "__BOLT_PSEUDO_%s", section->name);
        if (bolt != NULL)
            add_alias(reader, bolt, addr.v);
        add_func(reader, addr.v, addr.v + size, name, bolt);
    }
}

static void add_plts(NameReader *reader)
{
    for (uint32_t i = 1; i < reader->image->n_sections; i++) {
        const Section *section = &reader->image->sections[i];
        if (strncmp(section->name, ".plt", 4) == 0 && (section->flags & SHF_EXECINSTR) != 0 &&
            section->size > 0 &&
            !is_covered(reader, reader->n_funcs, section->addr.v,
                        section->addr.v + section->size)) {
            add_plt(reader, section);
            sort_funcs(reader);
        }
    }
}

static void add_unwind_funcs(NameReader *reader, const UnwindTable *unwind, bool stripped)
{
    size_t n = reader->n_funcs;
    for (uint32_t i = 0; i < unwind->n_fdes; i++) {
        uint64_t start = unwind->fdes[i].start.v;
        uint64_t end = start + unwind->fdes[i].size;
        if (!image_is_code(reader->image, vaddr(start)) || is_covered(reader, n, start, end))
            continue;
        if (reader->n_funcs > n && reader->funcs[reader->n_funcs - 1].end > start)
            continue;
        const char *bolt = arena_printf(reader->arena, "__BOLT_FDE_FUNCat%" PRIx64, start);
        add_func(reader, start, end,
                 arena_printf(reader->arena, "0x%" PRIx64 "-0x%" PRIx64, start, end),
                 stripped ? NULL : bolt);
        if (!stripped)
            add_alias(reader, bolt, start);
    }
    sort_funcs(reader);
}

static int order_aliases(const void *left, const void *right)
{
    const FuncAlias *a = left;
    const FuncAlias *b = right;
    int order = strcmp(a->name, b->name);
    return order != 0 ? order : (a->addr.v > b->addr.v) - (a->addr.v < b->addr.v);
}

void func_names_read(Arena *arena, const Image *image, FuncNames *out)
{
    NameReader reader = { .arena = arena, .scratch = arena_new(), .image = image };
    const UnwindTable *unwind = NULL;
    if (unwind_read(arena, image, &unwind, NULL) != ST_OK)
        unwind = NULL;
    *out = (FuncNames){ .stripped = true };
    for (uint32_t i = 1; i < image->n_sections; i++) {
        if (image->sections[i].type != SHT_SYMTAB)
            continue;
        out->stripped = false;
        read_symtab(&reader, &image->sections[i]);
    }
    if (reader.n_symbols > 1)
        qsort(reader.symbols, reader.n_symbols, sizeof *reader.symbols, order_symbols);
    if (out->stripped)
        add_dynamic_funcs(&reader, unwind);
    else
        add_symtab_funcs(&reader, unwind);
    add_plts(&reader);
    if (unwind != NULL)
        add_unwind_funcs(&reader, unwind, out->stripped);
    if (reader.n_aliases > 1)
        qsort(reader.aliases, reader.n_aliases, sizeof *reader.aliases, order_aliases);
    arena_free(reader.scratch);
    out->funcs = reader.funcs;
    out->n = (uint32_t)reader.n_funcs;
    out->aliases = reader.aliases;
    out->n_aliases = (uint32_t)reader.n_aliases;
}

const FuncName *func_names_at(const FuncNames *names, Vaddr addr)
{
    uint32_t low = 0;
    uint32_t high = names->n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (names->funcs[middle].end <= addr.v)
            low = middle + 1;
        else
            high = middle;
    }
    return low < names->n && names->funcs[low].start.v <= addr.v ? &names->funcs[low] : NULL;
}

Vaddr func_names_find(const FuncNames *names, const char *name)
{
    uint32_t low = 0;
    uint32_t high = names->n_aliases;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (strcmp(names->aliases[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < names->n_aliases && strcmp(names->aliases[low].name, name) == 0;
    return found ? names->aliases[low].addr : VADDR_NONE;
}
