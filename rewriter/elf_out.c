/*
 * elf_out.c: where the bytes of the output stand.
 *
 *     input:   headers | loads … | debug … | .symtab .strtab .shstrtab | section headers
 *     output:  headers'| loads … | debug … | new segment | .symtab' .strtab' .shstrtab' | headers'
 *
 * What is rewritten anyway (symbols, section names, section headers) is not kept twice: when it
 * stands at the end, as linkers put it, the new segment begins there. The segment's address follows
 * its offset within a page, so nothing is padded to a page.
 *
 * SPDX-License-Identifier: MIT
 */
#include "rewriter/elf_out.h"

#include <string.h>

/* Displacements reach 2 GiB; leave room for what follows the code in the segment. */
static const uint64_t reach = (UINT64_C(1) << 31) - (UINT64_C(1) << 24);

static uint64_t align_up(uint64_t value, uint64_t unit)
{
    return unit > 1 ? (value + unit - 1) / unit * unit : value;
}

static uint64_t larger(uint64_t left, uint64_t right)
{
    return left > right ? left : right;
}

static bool is_rewritten(const ElfOut *out, uint32_t section)
{
    return section == out->image->header.e_shstrndx ||
           (out->symbols.symbols != 0 &&
            (section == out->symbols.symbols || section == out->symbols.strings));
}

/* End of the bytes that must be kept; with `all`, of everything that the headers know. */
static uint64_t known_end(const ElfOut *out, bool all)
{
    const Image *image = out->image;
    const Elf64_Ehdr *header = &image->header;
    uint64_t end =
        larger(header->e_ehsize, header->e_phoff + (uint64_t)header->e_phnum * header->e_phentsize);
    for (uint32_t i = 0; i < image->n_segments; i++)
        end = larger(end, image->segments[i].offset.v + image->segments[i].file_size);
    for (uint32_t i = 1; i < image->n_sections; i++) {
        const Section *section = &image->sections[i];
        if (section->type != SHT_NOBITS && (all || !is_rewritten(out, i)))
            end = larger(end, section->offset.v + section->size);
    }
    if (all)
        end = larger(end, header->e_shoff + (uint64_t)header->e_shnum * header->e_shentsize);
    return end;
}

static Status check_nothing_behind(const ElfOut *out, Error *err)
{
    const Image *image = out->image;
    for (uint64_t at = known_end(out, true); at < image->file.len; at++)
        if (image->file.data[at] != 0)
            return FAIL(err, ST_REFUSED, ((Place){ image->path, NULL, at }),
                        "trailing-data: %" PRIu64 " bytes behind the end of the ELF file",
                        image->file.len - at);
    return ST_OK;
}

static Status place_segment(ElfOut *out, Error *err)
{
    const Image *image = out->image;
    uint64_t low = UINT64_MAX, high = 0;
    for (uint32_t i = 0; i < image->n_segments; i++) {
        const Segment *segment = &image->segments[i];
        if (segment->type != PT_LOAD)
            continue;
        low = segment->addr.v < low ? segment->addr.v : low;
        high = larger(high, segment->addr.v + segment->mem_size);
    }
    out->segment_offset.v = align_up(known_end(out, false), OVERLAY_ALIGN);
    out->segment_at.v = align_up(high, PAGE_SIZE) + out->segment_offset.v % PAGE_SIZE;
    if (low > high || out->segment_at.v - low > reach)
        return FAIL(err, ST_REFUSED, ((Place){ image->path, NULL, PLACE_NO_OFFSET }),
                    "address-space: %" PRIu64 " bytes of memory leave no room for the overlay",
                    high - low);
    return ST_OK;
}

Status elf_out_begin(Arena *arena, const Image *image, ElfOut *out, Error *err)
{
    *out = (ElfOut){ .image = image, .arena = arena };
    header_table_read(arena, image, &out->headers);
    TRY(header_slot_free(image, &out->headers, err));
    if (header_table_find(&out->headers, PT_GNU_EH_FRAME) == NULL) {
        out->headers.room--; /* kept for the new segment */
        TRY(header_slot_free(image, &out->headers, err));
        out->headers.room++;
    }
    symbols_can_add(image, &out->symbols);
    TRY(check_nothing_behind(out, err));
    return place_segment(out, err);
}

uint16_t elf_out_next_index(const ElfOut *out)
{
    return out->image->n_sections == 0 ? 0 : (uint16_t)(out->image->n_sections + out->n_sections);
}

void elf_out_add(ElfOut *out, NewSection section)
{
    out->sections[out->n_sections++] = section;
}

static uint64_t segment_size(const ElfOut *out)
{
    const NewSection *last = &out->sections[out->n_sections - 1];
    return last->at.v + last->bytes.len - out->segment_at.v;
}

static void finish_program_headers(ElfOut *out, uint8_t *data)
{
    const Image *image = out->image;
    Elf64_Phdr load = { .p_type = PT_LOAD,
                        .p_flags = PF_R | PF_X,
                        .p_offset = out->segment_offset.v,
                        .p_vaddr = out->segment_at.v,
                        .p_paddr = out->segment_at.v,
                        .p_filesz = segment_size(out),
                        .p_memsz = segment_size(out),
                        .p_align = PAGE_SIZE };
    Elf64_Phdr frame = { .p_type = PT_GNU_EH_FRAME,
                         .p_flags = PF_R,
                         .p_offset =
                             out->eh_frame_header_at.v - out->segment_at.v + out->segment_offset.v,
                         .p_vaddr = out->eh_frame_header_at.v,
                         .p_paddr = out->eh_frame_header_at.v,
                         .p_filesz = out->eh_frame_header_size,
                         .p_memsz = out->eh_frame_header_size,
                         .p_align = 4 };
    header_table_add(&out->headers, &load);
    Elf64_Phdr *old = header_table_find(&out->headers, PT_GNU_EH_FRAME);
    if (old != NULL)
        *old = frame;
    else
        header_table_add(&out->headers, &frame);
    Elf64_Ehdr header = image->header;
    header.e_phnum = (Elf64_Half)out->headers.n;
    memset(data + header.e_phoff, 0, out->headers.room * sizeof(Elf64_Phdr));
    memcpy(data + header.e_phoff, out->headers.rows, out->headers.n * sizeof(Elf64_Phdr));
    memcpy(data, &header, sizeof header);
}

/* The tables behind the new segment, and where each part of them goes. */
typedef struct Tail {
    Buffer bytes;
    uint64_t offset; /* in the file */
    uint64_t symbols_at, strings_at, names_at, headers_at;
    uint64_t names_size;
} Tail;

static uint64_t tail_put(Tail *tail, Bytes bytes, uint64_t align)
{
    uint64_t at = align_up(tail->offset + tail->bytes.len, align);
    buffer_fill(&tail->bytes, 0, at - tail->offset - tail->bytes.len);
    buffer_put(&tail->bytes, bytes.data, bytes.len);
    return at;
}

/* The input's tables keep their bytes under another name: one .eh_frame only. */
static const char *output_name(const Section *section)
{
    if (strcmp(section->name, ".eh_frame") == 0)
        return ".eh_frame.orig";
    if (strcmp(section->name, ".eh_frame_hdr") == 0)
        return ".eh_frame_hdr.orig";
    return section->name;
}

static Elf64_Word put_name(Buffer *names, const char *name)
{
    if (name[0] == '\0')
        return 0;
    Elf64_Word at = (Elf64_Word)names->len;
    buffer_put(names, name, strlen(name) + 1);
    return at;
}

static Elf64_Shdr old_header(const ElfOut *out, uint32_t i, Buffer *names)
{
    const Section *section = &out->image->sections[i];
    return (Elf64_Shdr){ .sh_name = put_name(names, output_name(section)),
                         .sh_type = section->type,
                         .sh_flags = section->flags,
                         .sh_addr = section->addr.v,
                         .sh_offset = section->offset.v,
                         .sh_size = section->size,
                         .sh_link = section->link,
                         .sh_info = section->info,
                         .sh_addralign = section->align,
                         .sh_entsize = section->entry_size };
}

static Elf64_Shdr new_header(const ElfOut *out, uint32_t i, Buffer *names)
{
    const NewSection *section = &out->sections[i];
    return (Elf64_Shdr){ .sh_name = put_name(names, section->name),
                         .sh_type = section->type,
                         .sh_flags = section->flags,
                         .sh_addr = section->at.v,
                         .sh_offset = section->at.v - out->segment_at.v + out->segment_offset.v,
                         .sh_size = section->bytes.len,
                         .sh_addralign = section->align };
}

static void move_tables(const ElfOut *out, const Tail *tail, Elf64_Shdr *headers)
{
    const SymbolTables *tables = &out->symbols;
    if (tables->symbols != 0) {
        headers[tables->symbols].sh_offset = tail->symbols_at;
        headers[tables->symbols].sh_size = tables->symbols_bytes.len;
        headers[tables->symbols].sh_info = tables->first_global;
        headers[tables->strings].sh_offset = tail->strings_at;
        headers[tables->strings].sh_size = tables->strings_bytes.len;
    }
    headers[out->image->header.e_shstrndx].sh_offset = tail->names_at;
    headers[out->image->header.e_shstrndx].sh_size = tail->names_size;
}

/* Symbols, names and section headers, behind the segment. */
static Status build_tail(const ElfOut *out, Tail *tail, Error *err)
{
    const Image *image = out->image;
    uint32_t n = image->n_sections + out->n_sections;
    if (n >= SHN_LORESERVE || image->header.e_shstrndx >= image->n_sections)
        return FAIL(err, ST_REFUSED, ((Place){ image->path, NULL, image->header.e_shoff }),
                    "%u sections, the bound is %u", n, SHN_LORESERVE - 1);
    Buffer names = { .arena = out->arena };
    Elf64_Shdr *headers = arena_many(out->arena, Elf64_Shdr, n);
    buffer_u8(&names, 0);
    for (uint32_t i = 0; i < image->n_sections; i++)
        headers[i] = old_header(out, i, &names);
    for (uint32_t i = 0; i < out->n_sections; i++)
        headers[image->n_sections + i] = new_header(out, i, &names);
    if (out->symbols.symbols != 0) {
        tail->symbols_at = tail_put(tail, out->symbols.symbols_bytes, 8);
        tail->strings_at = tail_put(tail, out->symbols.strings_bytes, 1);
    }
    tail->names_at = tail_put(tail, buffer_bytes(&names), 1);
    tail->names_size = names.len;
    move_tables(out, tail, headers);
    Bytes table = { (const uint8_t *)headers, n * sizeof *headers };
    tail->headers_at = tail_put(tail, table, 8);
    return ST_OK;
}

static void finish_section_headers(const ElfOut *out, const Tail *tail, uint8_t *data)
{
    Elf64_Ehdr header;
    memcpy(&header, data, sizeof header);
    if (out->image->n_sections > 0) {
        header.e_shoff = tail->headers_at;
        header.e_shnum = (Elf64_Half)(out->image->n_sections + out->n_sections);
    } else {
        header.e_shoff = 0;
        header.e_shnum = 0;
        header.e_shstrndx = 0;
    }
    memcpy(data, &header, sizeof header);
}

Status elf_out_finish(ElfOut *out, uint8_t **data, size_t *len, Error *err)
{
    const Image *image = out->image;
    Tail tail = { .bytes = { .arena = out->arena } };
    tail.offset = out->segment_offset.v + segment_size(out);
    if (image->n_sections > 0)
        TRY(build_tail(out, &tail, err));
    *len = tail.offset + tail.bytes.len;
    *data = arena_alloc(out->arena, *len);
    uint64_t kept = known_end(out, false);
    memcpy(*data, image->file.data, kept);
    for (uint32_t i = 0; i < out->n_sections; i++) {
        const NewSection *section = &out->sections[i];
        if (section->bytes.len > 0)
            memcpy(*data + (section->at.v - out->segment_at.v + out->segment_offset.v),
                   section->bytes.data, section->bytes.len);
    }
    if (tail.bytes.len > 0)
        memcpy(*data + tail.offset, tail.bytes.data, tail.bytes.len);
    finish_program_headers(out, *data);
    finish_section_headers(out, &tail, *data);
    return ST_OK;
}
