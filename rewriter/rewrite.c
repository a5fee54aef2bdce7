/*
 * rewrite.c: the order of work from a plan to a file.
 *
 *     room in the file ─► overlay ─► unwind tables ─► map ─► file bytes ─► patches ─► rename
 *
 * SPDX-License-Identifier: MIT
 */
#include "rewriter/address_map.h"
#include "rewriter/elf_out.h"
#include "rewriter/patch.h"
#include "rewriter/rewriter.h"

#include "core/out_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAP_ALIGN = 4 };

static uint64_t align_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) / unit * unit;
}

static void add_section(ElfOut *out, const char *name, uint32_t type, uint64_t flags,
                        uint64_t align, NewAddr at, Bytes bytes)
{
    if (bytes.len > 0)
        elf_out_add(out, (NewSection){ name, type, flags, align, at, bytes });
}

/* Type of the input's .eh_frame: PROGBITS, or the processor-specific one of some linkers. */
static uint32_t frame_type(const Image *image)
{
    const Section *section = image_section(image, ".eh_frame");
    return section != NULL ? section->type : SHT_PROGBITS;
}

static Status add_code(const Overlay *overlay, ElfOut *out, RewriteStats *stats, Error *err)
{
    Buffer text = { .arena = out->arena }, tables = { .arena = out->arena };
    TRY(overlay_emit(overlay, &text, &tables, stats, err));
    add_section(out, ".respin.text", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, OVERLAY_ALIGN,
                overlay->text_at, buffer_bytes(&text));
    add_section(out, ".respin.rodata", SHT_PROGBITS, SHF_ALLOC, OVERLAY_ALIGN, overlay->tables_at,
                buffer_bytes(&tables));
    stats->overlay_bytes = text.len + tables.len;
    return ST_OK;
}

static Status add_unwind(const Overlay *overlay, ElfOut *out, NewAddr *end, RewriteStats *stats,
                         Error *err)
{
    const Plan *plan = overlay->plan;
    Fragment *fragments;
    uint32_t n;
    UnwindSections unwind;
    overlay_fragments(overlay, &fragments, &n);
    NewAddr from = { overlay->tables_at.v + overlay->tables_size };
    TRY(unwind_build(out->arena, plan, fragments, n, from, &unwind, err));
    add_section(out, ".eh_frame_hdr", SHT_PROGBITS, SHF_ALLOC, 4, unwind.header_at, unwind.header);
    add_section(out, ".eh_frame", frame_type(plan->image), SHF_ALLOC, 8, unwind.frame_at,
                unwind.frame);
    add_section(out, ".respin.lsda", SHT_PROGBITS, SHF_ALLOC, 4, unwind.lsda_at, unwind.lsda);
    out->eh_frame_header_at = unwind.header_at;
    out->eh_frame_header_size = unwind.header.len;
    end->v = unwind.lsda_at.v + unwind.lsda.len;
    stats->unwind_bytes = unwind.header.len + unwind.frame.len + unwind.lsda.len;
    if (out->symbols.symbols != 0 && out->image->n_sections > 0)
        symbols_add(out->arena, plan, fragments, n, (uint16_t)out->image->n_sections,
                    &out->symbols);
    return ST_OK;
}

/* An entry that reaches past the image would cover the overlay too. */
static Status check_entries_end(const Plan *plan, NewAddr overlay, Error *err)
{
    const UnwindTable *table = plan->unwind;
    for (uint32_t i = 0; i < table->n_fdes; i++) {
        const Fde *fde = &table->fdes[i];
        if (fde->start.v + fde->size > overlay.v || fde->start.v + fde->size < fde->start.v)
            return FAIL(err, ST_BAD_INPUT, ((Place){ plan->image->path, ".eh_frame", fde->offset }),
                        "an entry covers 0x%" PRIx64 "..0x%" PRIx64
                        ", the image ends at 0x%" PRIx64,
                        fde->start.v, fde->start.v + fde->size, overlay.v);
    }
    return ST_OK;
}

static Status build(Arena *arena, const Plan *plan, Bytes *bytes, RewriteStats *stats, Error *err)
{
    ElfOut out;
    Overlay *overlay;
    NewAddr end;
    uint8_t *data;
    size_t len;
    TRY(elf_out_begin(arena, plan->image, &out, err));
    TRY(check_entries_end(plan, out.segment_at, err));
    TRY(overlay_build(arena, plan, out.segment_at, &overlay, err));
    TRY(add_code(overlay, &out, stats, err));
    TRY(add_unwind(overlay, &out, &end, stats, err));
    end.v = align_up(end.v, MAP_ALIGN);
    add_section(&out, MAP_SECTION, SHT_PROGBITS, SHF_ALLOC, MAP_ALIGN, end,
                map_encode(arena, overlay));
    TRY(elf_out_finish(&out, &data, &len, err));
    TRY(patches_apply(overlay, data, len, err));
    *bytes = (Bytes){ data, len };
    return ST_OK;
}

Status rewrite_to_bytes(Arena *arena, const Plan *plan, Bytes *out, RewriteStats *stats, Error *err)
{
    *stats = (RewriteStats){ .input_size = plan->image->file.len };
    if (plan->n_regions == 0)
        *out = plan->image->file; /* nothing to place: the same bytes */
    else
        TRY(build(arena, plan, out, stats, err));
    stats->output_size = out->len;
    return ST_OK;
}

static Status write_all(int file, Bytes bytes, const char *path, Error *err)
{
    size_t done = 0;
    while (done < bytes.len) {
        ssize_t n = write(file, bytes.data + done, bytes.len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return FAIL(err, ST_IO, ((Place){ path, NULL, done }), "cannot write %zu bytes: %s",
                        bytes.len, n < 0 ? strerror(errno) : "no progress");
        done += (size_t)n;
    }
    return ST_OK;
}

/* The input's permissions; set-id bits only for the same owner, whom they would speak for. */
static mode_t output_mode(const char *input)
{
    struct stat status;
    if (stat(input, &status) != 0)
        return 0755;
    bool same = status.st_uid == geteuid() && status.st_gid == getegid();
    return status.st_mode & (same ? 07777 : 0777);
}

static Status finish_file(int file, Bytes bytes, mode_t mode, const char *path, Error *err)
{
    Place place = { path, NULL, PLACE_NO_OFFSET };
    Status status = write_all(file, bytes, path, err);
    if (status == ST_OK && fchmod(file, mode) != 0)
        status = FAIL(err, ST_IO, place, "cannot set its mode: %s", strerror(errno));
    if (close(file) != 0 && status == ST_OK)
        status = FAIL(err, ST_IO, place, "cannot write: %s", strerror(errno));
    return status;
}

static Status write_file(Arena *arena, const Plan *plan, Bytes bytes, const char *path, Error *err)
{
    Place place = { path, NULL, PLACE_NO_OFFSET };
    char *temporary = arena_printf(arena, "%s.XXXXXX", path);
    int file = mkostemp(temporary, O_CLOEXEC);
    if (file < 0)
        return FAIL(err, ST_IO, place, "cannot create a file beside it: %s", strerror(errno));
    Status status = finish_file(file, bytes, output_mode(plan->image->path), path, err);
    if (status == ST_OK && rename(temporary, path) != 0)
        status = FAIL(err, ST_IO, place, "cannot rename to it: %s", strerror(errno));
    if (status != ST_OK)
        unlink(temporary);
    return status;
}

Status rewrite(Arena *arena, const Plan *plan, const char *path, RewriteStats *stats, Error *err)
{
    Bytes bytes;
    TRY(rewrite_to_bytes(arena, plan, &bytes, stats, err));
    if (out_file_is_special(path)) /* -o /dev/null */
        return out_file_write(path, bytes, err);
    return write_file(arena, plan, bytes, path, err);
}
