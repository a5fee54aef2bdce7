/*
 * check.c: holds an output against its input, and law 1.
 *
 *     headers ─► unchanged bytes and patches ─► code ─► tables ─► unwind
 *
 * SPDX-License-Identifier: MIT
 */
#include "rewriter/check_parts.h"
#include "rewriter/encode.h"

#include <string.h>

const MapPatch *check_patch_over(const MapFile *map, Vaddr addr)
{
    uint32_t low = 0, high = map->n_patches;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (map->patches[middle].site.v <= addr.v)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return NULL;
    const MapPatch *patch = &map->patches[low - 1];
    return addr.v - patch->site.v < patch->size ? patch : NULL;
}

bool check_in_overlay(const MapFile *map, uint64_t at)
{
    return at >= map->text_at.v && at - map->text_at.v < map->text_size;
}

/* Part of a load that may differ: headers and the jumps of patches. */
typedef struct Hole {
    uint64_t start, end;
} Hole;

/* The next hole at or after `at`: patches are sorted, the two header holes stand before them all in
 * the first load. */
static Hole next_hole(const Check *check, uint64_t at)
{
    const Image *input = check->input;
    Hole best = { UINT64_MAX, UINT64_MAX };
    Vaddr start;
    const FileOff offsets[] = { { 0 }, { input->header.e_phoff } };
    const uint64_t sizes[] = { sizeof(Elf64_Ehdr),
                               (uint64_t)input->header.e_phnum * sizeof(Elf64_Phdr) };
    for (int i = 0; i < 2; i++)
        if (image_addr_of_offset(input, offsets[i], &start) && start.v + sizes[i] > at &&
            start.v < best.start)
            best = (Hole){ start.v, start.v + sizes[i] };
    uint32_t low = 0, high = check->map->n_patches;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (check->map->patches[middle].site.v + JUMP_WIDE <= at)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < check->map->n_patches && check->map->patches[low].site.v < best.start) {
        best.start = check->map->patches[low].site.v;
        best.end = best.start + JUMP_WIDE;
    }
    return best;
}

static Status same_bytes(const Check *check, uint64_t start, uint64_t end, Error *err)
{
    Bytes before, after;
    if (start >= end)
        return ST_OK;
    if (!image_bytes_at(check->input, vaddr(start), end - start, &before) ||
        !image_bytes_at(check->output, vaddr(start), end - start, &after))
        return FAIL(err, ST_BAD_INPUT, image_place(check->output, vaddr(start)),
                    "%" PRIu64 " bytes of the input are not loaded there", end - start);
    for (uint64_t i = 0; i < before.len; i++)
        if (before.data[i] != after.data[i])
            return FAIL(err, ST_BAD_INPUT, image_place(check->output, vaddr(start + i)),
                        "byte 0x%02x of the input at 0x%" PRIx64 " became 0x%02x", before.data[i],
                        start + i, after.data[i]);
    return ST_OK;
}

static Status same_load(const Check *check, const Segment *load, Error *err)
{
    uint64_t at = load->addr.v, end = load->addr.v + load->file_size;
    while (at < end) {
        Hole hole = next_hole(check, at);
        uint64_t stop = hole.start < end ? hole.start : end;
        TRY(same_bytes(check, at, stop, err));
        at = hole.end < end ? hole.end : end;
    }
    return ST_OK;
}

static bool is_whole_insns(const Check *check, const MapPatch *patch)
{
    uint64_t at = 0;
    while (at < patch->size) {
        Vaddr target, addr = vaddr_add(patch->site, at);
        uint8_t size, flow;
        if (!insn_decode_fast(image_bytes_from(check->input, addr), addr, &size, &flow, &target))
            return false;
        at += size;
    }
    return at == patch->size && patch->size >= JUMP_WIDE;
}

static Status check_patch(const Check *check, const MapPatch *patch, Error *err)
{
    Place place = image_place(check->output, patch->site);
    Insn jump;
    Vaddr old;
    if (!is_whole_insns(check, patch))
        return FAIL(err, ST_BAD_INPUT, place, "a patch site of %u bytes is not whole instructions",
                    patch->size);
    if (!insn_decode(image_bytes_from(check->output, patch->site), patch->site, &jump) ||
        jump.flow != FLOW_JUMP || jump.size != JUMP_WIDE ||
        !check_in_overlay(check->map, jump.ref_to.v))
        return FAIL(err, ST_BAD_INPUT, place, "no jump into the overlay at a patch site");
    if (!check_meaning(check, jump.ref_to.v, &old) ||
        !vaddr_equal(old, check_settle(check, patch->site)))
        return FAIL(err, ST_BAD_INPUT, place, "the patch leads to the copy of 0x%" PRIx64, old.v);
    check->report->patches++;
    return ST_OK;
}

Status check_patches(const Check *check, Error *err)
{
    for (uint32_t i = 0; i < check->input->n_segments; i++)
        if (check->input->segments[i].type == PT_LOAD)
            TRY(same_load(check, &check->input->segments[i], err));
    for (uint32_t i = 0; i < check->map->n_patches; i++)
        TRY(check_patch(check, &check->map->patches[i], err));
    return ST_OK;
}

Status check_output(Arena *arena, const Image *input, const Image *output, CheckReport *report,
                    Error *err)
{
    Check check = { arena, input, output, NULL, report };
    Place place = { output->path, MAP_SECTION, PLACE_NO_OFFSET };
    *report = (CheckReport){ 0 };
    TRY(map_decode(arena, output, &check.map, err));
    if (check.map == NULL)
        return FAIL(err, ST_BAD_INPUT, place, "not there: this is no output of respin");
    if (!image_key_equal(&check.map->original, &input->key))
        return FAIL(err, ST_BAD_INPUT, place, "made from %s, not from %s (%s)",
                    image_key_text(arena, &check.map->original), input->path,
                    image_key_text(arena, &input->key));
    TRY(check_headers(&check, err));
    TRY(check_patches(&check, err));
    TRY(check_code(&check, err));
    TRY(check_tables(&check, err));
    return check_unwind(&check, err);
}
