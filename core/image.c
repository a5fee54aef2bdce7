/*
 * image.c: opens an ELF file and reads its headers, segments and sections.
 *
 *     file bytes -> libelf -> checked, native structs in the arena
 *
 * libelf gives the tables in native form whatever their alignment in the file. It is lenient about
 * what they say, so nothing it returns is used before the checks here: every offset, size and
 * address that later code relies on is held against the file first (core/image_read.h lists what
 * holds). gABI chapter 4 and 5; psABI x86-64 chapter 4.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/image_read.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096 };

/* User addresses of x86-64 with four-level tables. */
#define ADDRESS_LIMIT (UINT64_C(1) << 47)

/* What image_open hands out; `image` first, so that image_close finds the rest. */
typedef struct OpenImage {
    Image image;
    bool mapped; /* image.file is ours to unmap */
} OpenImage;

/* ---- header --------------------------------------------------------------------------------- */

static Status check_ident(const Image *image, Error *err)
{
    const uint8_t *ident = image->file.data;
    if (image->file.len < EI_NIDENT || memcmp(ident, ELFMAG, SELFMAG) != 0)
        return FAIL(err, ST_BAD_INPUT, image_file_place(image, 0),
                    "not an ELF file (%zu bytes, no ELF magic)", image->file.len);
    if (ident[EI_CLASS] != ELFCLASS64 || ident[EI_DATA] != ELFDATA2LSB)
        return FAIL(err, ST_REFUSED, image_file_place(image, EI_CLASS),
                    "ELF class %u, data %u: only 64-bit little-endian files are supported",
                    ident[EI_CLASS], ident[EI_DATA]);
    if (image->file.len < sizeof(Elf64_Ehdr))
        return FAIL(err, ST_BAD_INPUT, image_file_place(image, image->file.len),
                    "ELF header is cut: %zu bytes of %zu", image->file.len, sizeof(Elf64_Ehdr));
    return ST_OK;
}

static Status check_header(const Image *image, Error *err)
{
    const Elf64_Ehdr *header = &image->header;
    if (header->e_machine != EM_X86_64)
        return FAIL(err, ST_REFUSED, image_file_place(image, offsetof(Elf64_Ehdr, e_machine)),
                    "ELF machine %u: only x86-64 (%d) is supported", header->e_machine, EM_X86_64);
    if (header->e_type != ET_EXEC && header->e_type != ET_DYN)
        return FAIL(err, ST_REFUSED, image_file_place(image, offsetof(Elf64_Ehdr, e_type)),
                    "ELF type %u: only executables (%d) and shared objects (%d) are supported",
                    header->e_type, ET_EXEC, ET_DYN);
    if (header->e_phentsize != sizeof(Elf64_Phdr))
        return FAIL(err, ST_BAD_INPUT, image_file_place(image, offsetof(Elf64_Ehdr, e_phentsize)),
                    "program headers of %u bytes each, not %zu", header->e_phentsize,
                    sizeof(Elf64_Phdr));
    return ST_OK;
}

/* ---- segments ------------------------------------------------------------------------------- */

static Status check_load(const Image *image, const Segment *load, const Segment *before, Error *err)
{
    Place place = image_file_place(image, load->offset.v);
    if (load->file_size > load->mem_size)
        return FAIL(err, ST_BAD_INPUT, place,
                    "PT_LOAD at 0x%" PRIx64 " has more bytes in the file (%" PRIu64
                    ") than in memory (%" PRIu64 ")",
                    load->addr.v, load->file_size, load->mem_size);
    if (load->addr.v >= ADDRESS_LIMIT || load->mem_size > ADDRESS_LIMIT - load->addr.v)
        return FAIL(err, ST_BAD_INPUT, place,
                    "PT_LOAD at 0x%" PRIx64 " of %" PRIu64 " bytes leaves the address space (2^47)",
                    load->addr.v, load->mem_size);
    if ((load->addr.v - load->offset.v) % PAGE != 0)
        return FAIL(err, ST_BAD_INPUT, place,
                    "PT_LOAD at 0x%" PRIx64 ": address and file offset differ within a page",
                    load->addr.v);
    if (before != NULL && load->addr.v < before->addr.v + before->mem_size)
        return FAIL(err, ST_BAD_INPUT, place,
                    "PT_LOAD at 0x%" PRIx64 " begins before the end of the one before (0x%" PRIx64
                    ")",
                    load->addr.v, before->addr.v + before->mem_size);
    return ST_OK;
}

/* Segments that have bytes in the file must have them there. PT_GNU_STACK and the like have none.
 */
static Status check_segments(const Image *image, Error *err)
{
    const Segment *before = NULL;
    for (uint32_t i = 0; i < image->n_segments; i++) {
        const Segment *segment = &image->segments[i];
        Bytes bytes;
        if (segment->type == PT_NULL)
            continue;
        if (!bytes_slice(image->file, segment->offset.v, segment->file_size, &bytes))
            return FAIL(err, ST_BAD_INPUT, image_file_place(image, segment->offset.v),
                        "segment %" PRIu32 " (type 0x%" PRIx32 "): %" PRIu64
                        " bytes run past the end of the file (%zu)",
                        i, segment->type, segment->file_size, image->file.len);
        if (segment->align != 0 && (segment->align & (segment->align - 1)) != 0)
            return FAIL(err, ST_BAD_INPUT, image_file_place(image, segment->offset.v),
                        "segment %" PRIu32 ": alignment %" PRIu64 " is not a power of two", i,
                        segment->align);
        if (segment->type != PT_LOAD)
            continue;
        TRY(check_load(image, segment, before, err));
        before = segment;
    }
    if (before == NULL)
        return FAIL(err, ST_BAD_INPUT, image_file_place(image, image->header.e_phoff),
                    "none of %" PRIu32 " program headers is a PT_LOAD", image->n_segments);
    return ST_OK;
}

static Status read_segments(ImageReader *reader, Elf *elf, Error *err)
{
    Image *image = reader->image;
    uint64_t offset = image->header.e_phoff;
    size_t n;
    Bytes table;
    if (image->header.e_phnum == 0)
        return FAIL(err, ST_BAD_INPUT, image_file_place(image, offsetof(Elf64_Ehdr, e_phnum)),
                    "no program headers");
    if (elf_getphdrnum(elf, &n) != 0 ||
        !bytes_slice(image->file, offset, (uint64_t)n * sizeof(Elf64_Phdr), &table) || n == 0)
        return FAIL(err, ST_BAD_INPUT, image_file_place(image, offset),
                    "%u program headers run past the end of the file (%zu)", image->header.e_phnum,
                    image->file.len);
    image->segments = arena_many(reader->arena, Segment, n);
    for (size_t i = 0; i < n; i++) {
        GElf_Phdr phdr;
        if (gelf_getphdr(elf, (int)i, &phdr) == NULL)
            return FAIL(err, ST_BAD_INPUT, image_file_place(image, offset),
                        "program header %zu cannot be read: %s", i, elf_errmsg(-1));
        image->segments[i] =
            (Segment){ phdr.p_type,         phdr.p_flags,  (FileOff){ phdr.p_offset },
                       vaddr(phdr.p_vaddr), phdr.p_filesz, phdr.p_memsz,
                       phdr.p_align };
    }
    image->n_segments = (uint32_t)n;
    return check_segments(image, err);
}

/* ---- sections ------------------------------------------------------------------------------- */

static Place at_section(const Image *image, const Section *section)
{
    return (Place){ image->path, section->name, 0 };
}

/* Thread-local zeroes have addresses, but no memory of their own (gABI 5, SHF_TLS). */
static bool takes_memory(const Section *section)
{
    bool is_tbss = section->type == SHT_NOBITS && (section->flags & SHF_TLS) != 0;
    return (section->flags & SHF_ALLOC) != 0 && section->size > 0 && !is_tbss;
}

static Status check_section(const Image *image, const Section *section, Error *err)
{
    Bytes bytes;
    if (section->type == SHT_NULL)
        return ST_OK;
    if (section->type != SHT_NOBITS &&
        !bytes_slice(image->file, section->offset.v, section->size, &bytes))
        return FAIL(err, ST_BAD_INPUT, at_section(image, section),
                    "%" PRIu64 " bytes at offset 0x%" PRIx64 " run past the end of the file (%zu)",
                    section->size, section->offset.v, image->file.len);
    if (!takes_memory(section))
        return ST_OK;
    const Segment *load = image_segment_at(image, section->addr);
    uint64_t end = load == NULL                  ? 0
                   : section->type == SHT_NOBITS ? load->addr.v + load->mem_size
                                                 : load->addr.v + load->file_size;
    if (section->addr.v >= end || section->size > end - section->addr.v)
        return FAIL(err, ST_BAD_INPUT, at_section(image, section),
                    "%" PRIu64 " bytes at address 0x%" PRIx64 " are not all in one PT_LOAD",
                    section->size, section->addr.v);
    if (section->type != SHT_NOBITS &&
        section->offset.v - load->offset.v != section->addr.v - load->addr.v)
        return FAIL(err, ST_BAD_INPUT, at_section(image, section),
                    "file offset 0x%" PRIx64 " is not where address 0x%" PRIx64 " is loaded from",
                    section->offset.v, section->addr.v);
    return ST_OK;
}

/* Name at `offset` of the name table; NULL: not a terminated string inside it. */
static const char *section_name(Bytes names, uint64_t offset)
{
    if (offset >= names.len)
        return offset == 0 ? "" : NULL;
    Cursor cursor = cursor_at(names, offset);
    const char *name = cursor_string(&cursor);
    return cursor.bad ? NULL : name;
}

/* Bytes of the section name table; empty when the file has none. */
static Status read_section_names(const Image *image, Elf *elf, size_t n, Bytes *out, Error *err)
{
    size_t index;
    GElf_Shdr shdr;
    *out = (Bytes){ NULL, 0 };
    if (elf_getshdrstrndx(elf, &index) != 0 || index >= n)
        return FAIL(err, ST_BAD_INPUT, image_file_place(image, offsetof(Elf64_Ehdr, e_shstrndx)),
                    "section name table %u is not one of %zu sections", image->header.e_shstrndx,
                    n);
    if (index == SHN_UNDEF)
        return ST_OK;
    if (gelf_getshdr(elf_getscn(elf, index), &shdr) == NULL || shdr.sh_type != SHT_STRTAB ||
        !bytes_slice(image->file, shdr.sh_offset, shdr.sh_size, out))
        return FAIL(err, ST_BAD_INPUT, image_file_place(image, image->header.e_shoff),
                    "section name table (section %zu) is no string table inside the file", index);
    return ST_OK;
}

static Status read_section(ImageReader *reader, Elf *elf, size_t i, Bytes names, Error *err)
{
    Image *image = reader->image;
    Section *section = &image->sections[i];
    GElf_Shdr shdr;
    if (gelf_getshdr(elf_getscn(elf, i), &shdr) == NULL)
        return FAIL(err, ST_BAD_INPUT, image_file_place(image, image->header.e_shoff),
                    "section header %zu cannot be read: %s", i, elf_errmsg(-1));
    *section = (Section){ section_name(names, shdr.sh_name),
                          shdr.sh_type,
                          shdr.sh_flags,
                          vaddr(shdr.sh_addr),
                          (FileOff){ shdr.sh_offset },
                          shdr.sh_size,
                          shdr.sh_addralign,
                          shdr.sh_entsize,
                          shdr.sh_link,
                          shdr.sh_info };
    if (section->name == NULL)
        return FAIL(err, ST_BAD_INPUT, image_file_place(image, image->header.e_shoff),
                    "name of section %zu (offset %" PRIu32 ") lies outside the name table (%zu)", i,
                    shdr.sh_name, names.len);
    return check_section(image, section, err);
}

/* gABI 4: with e_shnum 0 the number of sections is the size field of section 0. */
static uint64_t section_count(const Image *image)
{
    Bytes first;
    uint64_t offset = image->header.e_shoff;
    if (image->header.e_shnum != 0)
        return image->header.e_shnum;
    if (!bytes_slice(image->file, offset, sizeof(Elf64_Shdr), &first))
        return 0;
    return load_u64(first.data + offsetof(Elf64_Shdr, sh_size));
}

static Status read_sections(ImageReader *reader, Elf *elf, Error *err)
{
    Image *image = reader->image;
    const Elf64_Ehdr *header = &image->header;
    Bytes table, names;
    size_t n;
    if (header->e_shoff == 0)
        return ST_OK;
    if (header->e_shentsize != sizeof(Elf64_Shdr))
        return FAIL(err, ST_BAD_INPUT, image_file_place(image, offsetof(Elf64_Ehdr, e_shentsize)),
                    "section headers of %u bytes each, not %zu", header->e_shentsize,
                    sizeof(Elf64_Shdr));
    uint64_t want = section_count(image);
    if (want == 0 || want > image->file.len / sizeof(Elf64_Shdr) ||
        !bytes_slice(image->file, header->e_shoff, want * sizeof(Elf64_Shdr), &table))
        return FAIL(err, ST_BAD_INPUT, image_file_place(image, header->e_shoff),
                    "%" PRIu64 " section headers run past the end of the file (%zu)", want,
                    image->file.len);
    if (elf_getshdrnum(elf, &n) != 0 || n != want)
        return FAIL(err, ST_BAD_INPUT, image_file_place(image, header->e_shoff),
                    "section headers cannot be read: %s", elf_errmsg(-1));
    TRY(read_section_names(image, elf, n, &names, err));
    image->sections = arena_many(reader->arena, Section, n);
    image->n_sections = (uint32_t)n;
    for (size_t i = 0; i < n; i++)
        TRY(read_section(reader, elf, i, names, err));
    return ST_OK;
}

/* ---- opening -------------------------------------------------------------------------------- */

static Status read_headers(ImageReader *reader, Elf *elf, Error *err)
{
    Image *image = reader->image;
    GElf_Ehdr header;
    if (elf == NULL || elf_kind(elf) != ELF_K_ELF || gelf_getehdr(elf, &header) == NULL)
        return FAIL(err, ST_BAD_INPUT, image_file_place(image, 0), "not an ELF file: %s",
                    elf_errmsg(-1));
    image->header = header;
    TRY(check_header(image, err));
    TRY(read_segments(reader, elf, err));
    return read_sections(reader, elf, err);
}

/* What an image is opened for. */
typedef enum ImageUse {
    USE_CODE,
    USE_WHOLE, /* with symbols and relocations */
} ImageUse;

static Status read_image(ImageReader *reader, ImageUse use, Error *err)
{
    Image *image = reader->image;
    TRY(check_ident(image, err));
    elf_version(EV_CURRENT);
    /* libelf wants a pointer to non-const, but writes nothing it was not asked to write. */
    Elf *elf = elf_memory((char *)(uintptr_t)image->file.data, image->file.len);
    Status status = read_headers(reader, elf, err);
    elf_end(elf);
    TRY(status);
    TRY(image_read_key(reader, err));
    TRY(image_read_dynamic(reader, err));
    if (use == USE_CODE)
        return ST_OK;
    TRY(image_read_relocs(reader, err));
    return image_read_symbols(reader, err);
}

static Status read_file(Arena *arena, const char *path, Bytes file, bool mapped, ImageUse use,
                        const Image **out, Error *err)
{
    OpenImage *opened = arena_one(arena, OpenImage);
    opened->mapped = mapped;
    opened->image.path = arena_string(arena, path);
    opened->image.file = file;
    ImageReader reader = { arena, &opened->image };
    TRY(read_image(&reader, use, err));
    *out = &opened->image;
    return ST_OK;
}

Status image_from_bytes(Arena *arena, const char *path, Bytes file, const Image **out, Error *err)
{
    return read_file(arena, path, file, false, USE_WHOLE, out, err);
}

/* Maps the whole file, read-only. An empty file is {NULL, 0}. */
static Status map_file(const char *path, Bytes *out, Error *err)
{
    Place place = { path, NULL, PLACE_NO_OFFSET };
    struct stat info;
    *out = (Bytes){ NULL, 0 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return FAIL(err, ST_IO, place, "cannot open: %s", strerror(errno));
    Status status = ST_OK;
    if (fstat(fd, &info) != 0) {
        status = FAIL(err, ST_IO, place, "cannot stat: %s", strerror(errno));
    } else if (!S_ISREG(info.st_mode)) {
        status = FAIL(err, ST_IO, place, "not a regular file");
    } else if (info.st_size > 0) {
        void *map = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED)
            status = FAIL(err, ST_IO, place, "cannot map: %s", strerror(errno));
        else
            *out = (Bytes){ map, (size_t)info.st_size };
    }
    close(fd);
    return status;
}

static void unmap_file(Bytes file)
{
    if (file.data != NULL)
        munmap((void *)(uintptr_t)file.data, file.len);
}

static Status open_for(ImageUse use, Arena *arena, const char *path, const Image **out, Error *err)
{
    Bytes file;
    TRY(map_file(path, &file, err));
    const Image *image;
    Status status = read_file(arena, path, file, true, use, &image, err);
    if (status != ST_OK) {
        if (err != NULL && err->place.section != NULL) /* it may point into the mapping */
            err->place.section = arena_string(arena, err->place.section);
        unmap_file(file);
        return status;
    }
    *out = image;
    return ST_OK;
}

Status image_open(Arena *arena, const char *path, const Image **out, Error *err)
{
    return open_for(USE_WHOLE, arena, path, out, err);
}

Status image_open_code(Arena *arena, const char *path, const Image **out, Error *err)
{
    return open_for(USE_CODE, arena, path, out, err);
}

void image_drop_pages(const Image *image)
{
    if (((const OpenImage *)image)->mapped)
        madvise((void *)(uintptr_t)image->file.data, image->file.len, MADV_DONTNEED);
}

void image_close(const Image *image)
{
    const OpenImage *opened = (const OpenImage *)image;
    if (image != NULL && opened->mapped)
        unmap_file(image->file);
}
