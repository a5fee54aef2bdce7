/*
 * image_key.c: who a file is: its build-id and a hash of its code.
 *
 * Many files have no build-id, and outputs keep their input's, so neither alone names a build.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/image_read.h"

#include <string.h>

#define XXH_STATIC_LINKING_ONLY /* the size of the hash state */
#include <xxhash.h>

/* gABI 5, note section: each of the three parts is padded to the alignment of the notes. */
static uint64_t padded(uint64_t size, uint64_t align)
{
    return (size + align - 1) & ~(align - 1);
}

static void keep_build_id(ImageKey *key, Bytes desc)
{
    key->build_id_len =
        desc.len < sizeof key->build_id ? (uint32_t)desc.len : (uint32_t)sizeof key->build_id;
    memcpy(key->build_id, desc.data, key->build_id_len);
}

/* Looks for NT_GNU_BUILD_ID in one run of notes. False: the notes are malformed, at *bad. */
static bool scan_notes(Bytes notes, uint64_t align, ImageKey *key, uint64_t *bad)
{
    uint64_t at = 0;
    align = align == 8 ? 8 : 4;
    while (at < notes.len && key->build_id_len == 0) {
        Bytes head, name, desc;
        *bad = at;
        if (!bytes_slice(notes, at, sizeof(Elf64_Nhdr), &head))
            return false;
        uint64_t name_size = load_u32(head.data);
        uint64_t desc_size = load_u32(head.data + 4);
        uint64_t name_at = at + sizeof(Elf64_Nhdr);
        uint64_t desc_at = at + padded(sizeof(Elf64_Nhdr) + name_size, align);
        if (!bytes_slice(notes, name_at, name_size, &name) ||
            !bytes_slice(notes, desc_at, desc_size, &desc))
            return false;
        if (load_u32(head.data + 8) == NT_GNU_BUILD_ID && name.len == sizeof ELF_NOTE_GNU &&
            memcmp(name.data, ELF_NOTE_GNU, sizeof ELF_NOTE_GNU) == 0)
            keep_build_id(key, desc);
        at = desc_at + padded(desc_size, align);
    }
    return true;
}

static Status read_build_id(Image *image, Error *err)
{
    Bytes notes;
    uint64_t bad;
    for (uint32_t i = 0; i < image->n_segments && image->key.build_id_len == 0; i++) {
        const Segment *segment = &image->segments[i];
        if (segment->type != PT_NOTE ||
            !bytes_slice(image->file, segment->offset.v, segment->file_size, &notes))
            continue;
        if (!scan_notes(notes, segment->align, &image->key, &bad))
            return FAIL(err, ST_BAD_INPUT, image_file_place(image, segment->offset.v + bad),
                        "a note runs past the end of its PT_NOTE (%zu bytes)", notes.len);
    }
    for (uint32_t i = 1; i < image->n_sections && image->key.build_id_len == 0; i++) {
        const Section *section = &image->sections[i];
        if (section->type != SHT_NOTE ||
            !bytes_slice(image->file, section->offset.v, section->size, &notes))
            continue;
        if (!scan_notes(notes, section->align, &image->key, &bad))
            return FAIL(err, ST_BAD_INPUT, ((Place){ image->path, section->name, bad }),
                        "a note runs past the end of its section (%zu bytes)", notes.len);
    }
    return ST_OK;
}

/* In pieces, so that no more of a large file than one is in memory at once. */
static void hash_code(const Image *image, Bytes code, XXH3_state_t *state)
{
    enum { PIECE = 4 << 20 };
    for (size_t at = 0; at < code.len; at += PIECE) {
        size_t left = code.len - at;
        XXH3_128bits_update(state, code.data + at, left < PIECE ? left : PIECE);
        if (left > PIECE)
            image_drop_pages(image);
    }
}

Status image_read_key(ImageReader *reader, Error *err)
{
    Image *image = reader->image;
    /* The state wants 64-byte alignment, more than the arena gives. */
    uintptr_t room = (uintptr_t)arena_alloc(reader->arena, sizeof(XXH3_state_t) + 63);
    XXH3_state_t *state = (XXH3_state_t *)((room + 63) & ~(uintptr_t)63);
    XXH3_128bits_reset(state);
    for (uint32_t i = 0; i < image->n_segments; i++) {
        const Segment *segment = &image->segments[i];
        Bytes code;
        if (segment->type == PT_LOAD && (segment->flags & PF_X) != 0 &&
            bytes_slice(image->file, segment->offset.v, segment->file_size, &code))
            hash_code(image, code, state);
    }
    XXH128_hash_t hash = XXH3_128bits_digest(state);
    image->key.text_hash[0] = hash.low64;
    image->key.text_hash[1] = hash.high64;
    return read_build_id(image, err);
}

bool image_key_equal(const ImageKey *left, const ImageKey *right)
{
    return left->build_id_len == right->build_id_len &&
           memcmp(left->build_id, right->build_id, left->build_id_len) == 0 &&
           left->text_hash[0] == right->text_hash[0] && left->text_hash[1] == right->text_hash[1];
}

const char *image_key_text(Arena *arena, const ImageKey *key)
{
    if (key->build_id_len == 0)
        return arena_printf(arena, "xxh3:%016" PRIx64 "%016" PRIx64, key->text_hash[1],
                            key->text_hash[0]);
    char *text = arena_alloc(arena, (size_t)key->build_id_len * 2 + 1);
    for (uint32_t i = 0; i < key->build_id_len; i++) {
        text[i * 2] = "0123456789abcdef"[key->build_id[i] >> 4];
        text[i * 2 + 1] = "0123456789abcdef"[key->build_id[i] & 15];
    }
    return text;
}
