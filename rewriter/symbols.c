/*
 * symbols.c: .symtab with the overlay's names.
 *
 *     locals… | globals…   =>   locals…  f.hot g.hot … | globals…
 *
 * Local symbols stand before global ones (gABI, sh_info), so indices of globals move: an input
 * whose relocation sections (--emit-relocs) refer to them keeps its table as it is. The IRELATIVE
 * relocations of a static program are in a section that names the table and refer to none of it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "rewriter/symbols.h"

#include <string.h>

/* True when a relocation refers to a symbol from `first` on, or may. */
static bool relocs_refer(const Image *image, const Section *section, uint32_t first)
{
    uint64_t size = section->type == SHT_RELA ? sizeof(Elf64_Rela) : sizeof(Elf64_Rel);
    Bytes bytes;
    if (image_section_bytes(image, section, &bytes, NULL) != ST_OK || bytes.len % size != 0)
        return true;
    for (uint64_t at = 0; at < bytes.len; at += size)
        if (ELF64_R_SYM(load_u64(bytes.data + at + offsetof(Elf64_Rela, r_info))) >= first)
            return true;
    return false;
}

/* True when global entries of the symbol table are referred to by index from another section. */
static bool is_counted(const Image *image, uint32_t table)
{
    for (uint32_t i = 0; i < image->n_sections; i++) {
        const Section *section = &image->sections[i];
        bool relocs = section->type == SHT_RELA || section->type == SHT_REL;
        bool refers = section->type == SHT_GROUP || section->type == SHT_SYMTAB_SHNDX;
        if (relocs && section->link == table)
            refers = relocs_refer(image, section, image->sections[table].info);
        if (refers && section->link == table)
            return true;
    }
    return false;
}

static bool is_unallocated(const Section *section, uint32_t type)
{
    return section->type == type && (section->flags & SHF_ALLOC) == 0;
}

bool symbols_can_add(const Image *image, SymbolTables *out)
{
    *out = (SymbolTables){ 0 };
    for (uint32_t i = 1; i < image->n_sections; i++) {
        const Section *section = &image->sections[i];
        if (!is_unallocated(section, SHT_SYMTAB))
            continue;
        uint32_t strings = section->link;
        if (strings == 0 || strings >= image->n_sections || strings == image->header.e_shstrndx ||
            !is_unallocated(&image->sections[strings], SHT_STRTAB) || is_counted(image, i) ||
            section->entry_size != sizeof(Elf64_Sym) ||
            section->info > section->size / sizeof(Elf64_Sym) ||
            image_section_bytes(image, section, &out->symbols_bytes, NULL) != ST_OK ||
            image_section_bytes(image, &image->sections[strings], &out->strings_bytes, NULL) !=
                ST_OK)
            return false;
        out->symbols = i;
        out->strings = strings;
        out->first_global = section->info;
        return true;
    }
    return false;
}

static void add_one(const Plan *plan, const Fragment *fragment, uint16_t section, Buffer *symbols,
                    Buffer *strings)
{
    const char *name = plan->program->funcs[fragment->fn.i].name;
    const char *suffix = fragment->cold ? ".copy" : ".hot";
    Elf64_Sym symbol = { .st_name = (Elf64_Word)strings->len,
                         .st_info = ELF64_ST_INFO(STB_LOCAL, STT_FUNC),
                         .st_shndx = section,
                         .st_value = fragment->start.v,
                         .st_size = fragment->end.v - fragment->start.v };
    buffer_put(symbols, &symbol, sizeof symbol);
    buffer_put(strings, name, strlen(name));
    buffer_put(strings, suffix, strlen(suffix) + 1);
}

void symbols_add(Arena *arena, const Plan *plan, const Fragment *fragments, uint32_t n,
                 uint16_t section, SymbolTables *tables)
{
    Buffer symbols = { .arena = arena }, strings = { .arena = arena };
    size_t locals = (size_t)tables->first_global * sizeof(Elf64_Sym);
    Bytes old = tables->symbols_bytes;
    buffer_put(&symbols, old.data, locals);
    buffer_put(&strings, tables->strings_bytes.data, tables->strings_bytes.len);
    for (uint32_t i = 0; i < n; i++) {
        if (plan->program->funcs[fragments[i].fn.i].name == NULL)
            continue;
        add_one(plan, &fragments[i], section, &symbols, &strings);
        tables->first_global++;
    }
    buffer_put(&symbols, old.data + locals, old.len - locals);
    tables->symbols_bytes = buffer_bytes(&symbols);
    tables->strings_bytes = buffer_bytes(&strings);
}
