/*
 * test_image.c: images read from stock files, and from files broken in one place.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/support/cmocka.h"

#include "core/image.h"

#include <stdio.h>

#define PIE_FILE "/usr/bin/perl"
#define FIXED_FILE "/usr/bin/python3.11"
#define LIBRARY_FILE "/lib/x86_64-linux-gnu/libc.so.6"
#define SMALL_FILE "/bin/true"

static const Image *open_image(Arena *arena, const char *path)
{
    const Image *image = NULL;
    Error err;
    assert_ok(image_open(arena, path, &image, &err), &err);
    return image;
}

/* A copy of a file's bytes that a test may break. */
static uint8_t *copy_file(Arena *arena, const char *path, size_t *len)
{
    const Image *image = open_image(arena, path);
    uint8_t *copy = arena_copy(arena, image->file.data, image->file.len);
    *len = image->file.len;
    image_close(image);
    return copy;
}

static Status read_copy(Arena *arena, const uint8_t *copy, size_t len, const Image **image,
                        Error *err)
{
    return image_from_bytes(arena, "copy", (Bytes){ copy, len }, image, err);
}

/* ---- what stock files say ------------------------------------------------------------------- */

static void knows_the_kinds_of_files(void **state)
{
    const Image *pie = open_image(*state, PIE_FILE);
    const Image *fixed = open_image(*state, FIXED_FILE);
    const Image *library = open_image(*state, LIBRARY_FILE);
    assert_true(pie->is_pic && !pie->is_library);
    assert_true(!fixed->is_pic && !fixed->is_library);
    assert_true(library->is_pic && library->is_library);
    assert_string_equal(pie->interp, "/lib64/ld-linux-x86-64.so.2");
    assert_string_equal(library->soname, "libc.so.6");
    assert_null(pie->soname);
    assert_int_equal(library->key.build_id_len, 20);
    image_close(pie);
    image_close(fixed);
    image_close(library);
}

static const Symbol *symbol_named(const Image *image, const char *name)
{
    for (uint32_t i = 0; i < image->n_symbols; i++)
        if (strcmp(image->symbols[i].name, name) == 0)
            return &image->symbols[i];
    return NULL;
}

static void finds_symbols_by_address(void **state)
{
    const Image *image = open_image(*state, LIBRARY_FILE);
    const Symbol *symbol = symbol_named(image, "qsort");
    assert_non_null(symbol);
    assert_int_equal(symbol->type, STT_FUNC);
    assert_true(image_is_code(image, symbol->addr));
    assert_false(image_is_writable(image, symbol->addr));
    const Symbol *inside = image_symbol_at(image, vaddr_add(symbol->addr, symbol->size - 1));
    assert_non_null(inside);
    assert_true(vaddr_equal(inside->addr, symbol->addr));
    for (uint32_t i = 1; i < image->n_symbols; i++)
        assert_true(image->symbols[i - 1].addr.v <= image->symbols[i].addr.v);
    image_close(image);
}

static void maps_offsets_and_addresses_both_ways(void **state)
{
    const Image *image = open_image(*state, FIXED_FILE);
    const Section *data = image_section(image, ".data");
    FileOff offset;
    Vaddr addr;
    Bytes by_addr, by_section;
    Error err;
    assert_non_null(data);
    assert_true(image_offset_of_addr(image, data->addr, &offset));
    assert_true(offset.v == data->offset.v);
    assert_true(image_addr_of_offset(image, offset, &addr));
    assert_true(vaddr_equal(addr, data->addr));
    assert_true(image_bytes_at(image, data->addr, data->size, &by_addr));
    assert_ok(image_section_bytes(image, data, &by_section, &err), &err);
    assert_ptr_equal(by_addr.data, by_section.data);
    assert_true(image_is_writable(image, data->addr));
    Place place = image_place(image, vaddr_add(data->addr, 5));
    assert_string_equal(place.section, ".data");
    assert_true(place.offset == 5);
    image_close(image);
}

static void has_no_file_bytes_for_zeroed_memory(void **state)
{
    const Image *image = open_image(*state, FIXED_FILE);
    const Section *bss = image_section(image, ".bss");
    Bytes out;
    FileOff offset;
    Vaddr last = vaddr_add(bss->addr, bss->size - 1);
    assert_int_equal(image_section_bytes(image, bss, &out, NULL), ST_REFUSED);
    assert_non_null(image_segment_at(image, last));
    assert_false(image_bytes_at(image, last, 1, &out));
    assert_false(image_offset_of_addr(image, last, &offset));
    assert_int_equal(image_bytes_from(image, last).len, 0);
    image_close(image);
}

static void counts_relro_as_not_writable(void **state)
{
    const Image *image = open_image(*state, PIE_FILE);
    const Section *section = image_section(image, ".data.rel.ro");
    assert_non_null(section);
    assert_true((section->flags & SHF_WRITE) != 0);
    assert_false(image_is_writable(image, section->addr));
    image_close(image);
}

static void finds_relocations_by_place(void **state)
{
    const Image *image = open_image(*state, PIE_FILE);
    assert_true(image->n_relocs > 1000);
    for (uint32_t i = 0; i < image->n_relocs; i++) {
        const Reloc *reloc = image_reloc_at(image, image->relocs[i].where);
        assert_non_null(reloc);
        assert_true(vaddr_equal(reloc->where, image->relocs[i].where));
    }
    assert_null(image_reloc_at(image, vaddr_add(image->relocs[0].where, 1)));
    image_close(image);
}

/* gABI SHT_RELR, on tests/support/relr.c: 100 words in a run, then one 29 words further on. */
static void expands_relr(void **state)
{
    const Image *image = open_image(*state, RELR_FILE);
    const Symbol *run = symbol_named(image, "relr_run");
    const Symbol *words = symbol_named(image, "relr_words");
    uint64_t size;
    assert_true(image_dynamic(image, DT_RELRSZ, &size) && size >= 16);
    for (uint64_t i = 0; i < 130; i++) {
        const Reloc *reloc = image_reloc_at(image, vaddr_add(run->addr, i * 8));
        if (i >= 100 && i < 129) {
            assert_null(reloc);
            continue;
        }
        assert_non_null(reloc);
        assert_int_equal(reloc->type, R_X86_64_RELATIVE);
        assert_true((uint64_t)reloc->addend == words->addr.v + (i == 129 ? 8 : 4));
    }
    image_close(image);
}

static void reads_the_same_without_section_headers(void **state)
{
    const Image *with = open_image(*state, PIE_FILE);
    const Image *without = NULL;
    size_t len;
    Error err;
    uint8_t *copy = copy_file(*state, PIE_FILE, &len);
    memset(copy + offsetof(Elf64_Ehdr, e_shoff), 0, 8);
    memset(copy + offsetof(Elf64_Ehdr, e_shentsize), 0, 6);
    assert_ok(read_copy(*state, copy, len, &without, &err), &err);
    assert_int_equal(without->n_sections, 0);
    assert_int_equal(without->n_symbols, with->n_symbols);
    assert_int_equal(without->n_relocs, with->n_relocs);
    assert_memory_equal(without->relocs, with->relocs, with->n_relocs * sizeof(Reloc));
    assert_true(image_key_equal(&without->key, &with->key));
    assert_null(image_section(without, ".text"));
    image_close(with);
}

static void tells_builds_apart_by_their_code(void **state)
{
    const Image *one = NULL, *other = NULL;
    size_t len;
    Error err;
    uint8_t *copy = copy_file(*state, SMALL_FILE, &len);
    assert_ok(read_copy(*state, copy, len, &one, &err), &err);
    const Section *text = image_section(one, ".text");
    uint8_t *changed = arena_copy(*state, copy, len);
    changed[text->offset.v] ^= 1;
    assert_ok(read_copy(*state, changed, len, &other, &err), &err);
    assert_int_equal(one->key.build_id_len, other->key.build_id_len);
    assert_false(image_key_equal(&one->key, &other->key));
    ImageKey bare = one->key;
    bare.build_id_len = 0;
    assert_int_equal(strlen(image_key_text(*state, &one->key)), one->key.build_id_len * 2);
    assert_memory_equal(image_key_text(*state, &bare), "xxh3:", 5);
}

/* ---- broken files --------------------------------------------------------------------------- */

static void refuses_every_truncation(void **state)
{
    size_t len;
    const uint8_t *copy = copy_file(*state, SMALL_FILE, &len);
    for (size_t cut = 0; cut < len; cut += cut < 1024 ? 1 : 61) {
        Arena *arena = arena_new();
        Error err;
        const Image *image;
        uint8_t *exact = arena_copy(arena, copy, cut); /* ASan sees reads past the cut */
        assert_int_equal(read_copy(arena, exact, cut, &image, &err), ST_BAD_INPUT);
        assert_true(err.place.section != NULL || err.place.offset != PLACE_NO_OFFSET);
        arena_free(arena);
    }
}

static void refuses_what_is_no_x86_64_program(void **state)
{
    const struct {
        size_t at;
        uint8_t value;
        Status want;
    } cases[] = {
        { EI_CLASS, ELFCLASS32, ST_REFUSED },
        { EI_DATA, ELFDATA2MSB, ST_REFUSED },
        { offsetof(Elf64_Ehdr, e_machine), EM_386, ST_REFUSED },
        { offsetof(Elf64_Ehdr, e_type), ET_REL, ST_REFUSED },
        { offsetof(Elf64_Ehdr, e_type), ET_CORE, ST_REFUSED },
        { 1, 'X', ST_BAD_INPUT },
    };
    size_t len;
    const uint8_t *copy = copy_file(*state, SMALL_FILE, &len);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t *broken = arena_copy(*state, copy, len);
        const Image *image;
        broken[cases[i].at] = cases[i].value;
        assert_int_equal(read_copy(*state, broken, len, &image, NULL), cases[i].want);
    }
}

/* Overwrites `size` bytes at `at` of a copy; the reading must fail with `text` at `section`. */
static void expect_bad(Arena *arena, const uint8_t *copy, size_t len, size_t at, uint64_t value,
                       size_t size, const char *section, const char *text)
{
    uint8_t *broken = arena_copy(arena, copy, len);
    const Image *image;
    Error err = { .text = "" };
    memcpy(broken + at, &value, size);
    assert_int_equal(read_copy(arena, broken, len, &image, &err), ST_BAD_INPUT);
    if (strstr(err.text, text) == NULL)
        fail_msg("'%s' does not say '%s'", err.text, text);
    if (section == NULL)
        assert_null(err.place.section);
    else
        assert_string_equal(err.place.section, section);
}

static void names_the_broken_header_field(void **state)
{
    size_t len;
    const uint8_t *copy = copy_file(*state, SMALL_FILE, &len);
    const struct {
        size_t at;
        size_t size;
        uint64_t value;
        const char *text;
    } cases[] = {
        { offsetof(Elf64_Ehdr, e_phentsize), 2, 0, "program headers of 0 bytes" },
        { offsetof(Elf64_Ehdr, e_phnum), 2, 0, "no program headers" },
        { offsetof(Elf64_Ehdr, e_phoff), 8, UINT64_MAX - 8, "program headers run past" },
        { offsetof(Elf64_Ehdr, e_shentsize), 2, 0, "section headers of 0 bytes" },
        { offsetof(Elf64_Ehdr, e_shoff), 8, UINT64_MAX - 8, "section headers run past" },
        { offsetof(Elf64_Ehdr, e_shnum), 2, 0xfeff, "section headers run past" },
        { offsetof(Elf64_Ehdr, e_shnum), 2, 0, "section headers run past" },
        { offsetof(Elf64_Ehdr, e_shstrndx), 2, 0xfe00, "section name table" },
        { offsetof(Elf64_Ehdr, e_shstrndx), 2, 1, "no string table" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_bad(*state, copy, len, cases[i].at, cases[i].value, cases[i].size, NULL,
                   cases[i].text);
}

/* File offset of the header of the nth segment of a type. */
static size_t phdr_at(const uint8_t *copy, uint32_t type, unsigned nth)
{
    Elf64_Ehdr header;
    memcpy(&header, copy, sizeof header);
    for (size_t i = 0; i < header.e_phnum; i++) {
        size_t at = header.e_phoff + i * sizeof(Elf64_Phdr);
        if (load_u32(copy + at) == type && nth-- == 0)
            return at;
    }
    fail_msg("no segment of type 0x%x", (unsigned)type);
    return 0;
}

static void names_the_broken_segment(void **state)
{
    size_t len;
    const uint8_t *copy = copy_file(*state, SMALL_FILE, &len);
    size_t load = phdr_at(copy, PT_LOAD, 1), interp = phdr_at(copy, PT_INTERP, 0);
    const struct {
        size_t at;
        uint64_t value;
        const char *text;
    } cases[] = {
        { load + offsetof(Elf64_Phdr, p_filesz), UINT64_MAX, "run past the end of the file" },
        { load + offsetof(Elf64_Phdr, p_memsz), 1, "more bytes in the file" },
        { load + offsetof(Elf64_Phdr, p_memsz), UINT64_MAX, "leaves the address space" },
        { load + offsetof(Elf64_Phdr, p_vaddr), 0, "begins before the end" },
        { load + offsetof(Elf64_Phdr, p_vaddr), 0x800001, "differ within a page" },
        { load + offsetof(Elf64_Phdr, p_align), 12, "not a power of two" },
        { interp + offsetof(Elf64_Phdr, p_filesz), 3, "no terminated string" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_bad(*state, copy, len, cases[i].at, cases[i].value, 8, NULL, cases[i].text);
}

/* File offset of the header of a section. */
static size_t shdr_at(const Image *image, const char *name)
{
    const Section *section = image_section(image, name);
    assert_non_null(section);
    return image->header.e_shoff + (size_t)(section - image->sections) * sizeof(Elf64_Shdr);
}

static void names_the_broken_section(void **state)
{
    size_t len;
    const Image *image = open_image(*state, SELF_FILE);
    const uint8_t *copy = copy_file(*state, SELF_FILE, &len);
    const struct {
        const char *section;
        size_t field;
        uint64_t value;
        const char *text;
    } cases[] = {
        { ".text", offsetof(Elf64_Shdr, sh_size), UINT64_MAX, "run past the end of the file" },
        { ".text", offsetof(Elf64_Shdr, sh_offset), UINT64_MAX, "run past the end of the file" },
        { ".text", offsetof(Elf64_Shdr, sh_addr), image_section(image, ".text")->addr.v + 1,
          "is not where" },
        { ".text", offsetof(Elf64_Shdr, sh_addr), UINT64_MAX - 8, "are not all in one PT_LOAD" },
        { ".bss", offsetof(Elf64_Shdr, sh_size), UINT64_MAX - 8, "are not all in one PT_LOAD" },
        { ".bss", offsetof(Elf64_Shdr, sh_type), SHT_PROGBITS | (uint64_t)(SHF_ALLOC) << 32,
          "are not all in one PT_LOAD" },
        { ".symtab", offsetof(Elf64_Shdr, sh_entsize), 0, "symbols of 0 bytes" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_bad(*state, copy, len, shdr_at(image, cases[i].section) + cases[i].field,
                   cases[i].value, 8, cases[i].section, cases[i].text);
    expect_bad(*state, copy, len, shdr_at(image, ".symtab") + offsetof(Elf64_Shdr, sh_link), 9999,
               4, ".symtab", "string table 9999");
    image_close(image);
}

/* File offset of the value of an entry of the dynamic section. */
static size_t dyn_at(const uint8_t *copy, int64_t tag)
{
    Elf64_Phdr phdr;
    memcpy(&phdr, copy + phdr_at(copy, PT_DYNAMIC, 0), sizeof phdr);
    for (size_t at = phdr.p_offset; at < phdr.p_offset + phdr.p_filesz; at += sizeof(Elf64_Dyn))
        if ((int64_t)load_u64(copy + at) == tag)
            return at + 8;
    fail_msg("no dynamic entry %d", (int)tag);
    return 0;
}

static void names_the_broken_dynamic_entry(void **state)
{
    size_t len;
    const uint8_t *copy = copy_file(*state, LIBRARY_FILE, &len);
    const struct {
        int64_t tag;
        uint64_t value;
        const char *text;
    } cases[] = {
        { DT_SONAME, UINT64_MAX, "no string of the dynamic string table" },
        { DT_RELASZ, UINT64_MAX, "DT_RELA: 18446744073709551615 bytes" },
        { DT_RELA, 0x7fffffff0000, "DT_RELA: " },
        { DT_RELAENT, 0, "DT_RELAENT is 0, not 24" },
        { DT_PLTRELSZ, UINT64_MAX / 2, "DT_JMPREL: " },
        { DT_STRSZ, UINT64_MAX, "DT_STRTAB: " },
        { DT_SYMTAB, UINT64_MAX - 1, "DT_SYMTAB: " },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_bad(*state, copy, len, dyn_at(copy, cases[i].tag), cases[i].value, 8, ".dynamic",
                   cases[i].text);
}

static void names_the_broken_relocation(void **state)
{
    size_t len;
    const Image *image = open_image(*state, LIBRARY_FILE);
    const uint8_t *copy = copy_file(*state, LIBRARY_FILE, &len);
    const Section *rela = image_section(image, ".rela.dyn");
    expect_bad(*state, copy, len, rela->offset.v + 48, UINT64_C(0x700000000000), 8, ".rela.dyn",
               "is in no PT_LOAD");
    image_close(image);
}

static void refuses_what_cannot_be_opened(void **state)
{
    const Image *image;
    Error err;
    assert_int_equal(image_open(*state, "/nonexistent/file", &image, &err), ST_IO);
    assert_string_equal(err.place.file, "/nonexistent/file");
    assert_int_equal(image_open(*state, "/", &image, &err), ST_IO);
    assert_int_equal(image_open(*state, "/dev/null", &image, &err), ST_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_with_arena(knows_the_kinds_of_files),
        unit_test_with_arena(finds_symbols_by_address),
        unit_test_with_arena(maps_offsets_and_addresses_both_ways),
        unit_test_with_arena(has_no_file_bytes_for_zeroed_memory),
        unit_test_with_arena(counts_relro_as_not_writable),
        unit_test_with_arena(finds_relocations_by_place),
        unit_test_with_arena(expands_relr),
        unit_test_with_arena(reads_the_same_without_section_headers),
        unit_test_with_arena(tells_builds_apart_by_their_code),
        unit_test_with_arena(refuses_every_truncation),
        unit_test_with_arena(refuses_what_is_no_x86_64_program),
        unit_test_with_arena(names_the_broken_header_field),
        unit_test_with_arena(names_the_broken_segment),
        unit_test_with_arena(names_the_broken_section),
        unit_test_with_arena(names_the_broken_dynamic_entry),
        unit_test_with_arena(names_the_broken_relocation),
        unit_test_with_arena(refuses_what_cannot_be_opened),
    };
    return cmocka_run_group_tests_name("image", tests, NULL, NULL);
}
