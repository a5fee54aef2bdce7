/*
 * check_headers.c: the ELF rules that an output must keep.
 *
 *     loads ascend and do not overlap; offset and address agree within a page; one load more than
 *     the input; every other header as it was, but for the slot; sections inside the file
 *
 * SPDX-License-Identifier: MIT
 */
#include "rewriter/check_parts.h"
#include "rewriter/elf_out.h"

#include <string.h>

static Place at_headers(const Check *check)
{
    return (Place){ check->output->path, NULL, check->output->header.e_phoff };
}

static Status check_loads(const Check *check, Error *err)
{
    uint64_t end = 0;
    for (uint32_t i = 0; i < check->output->n_segments; i++) {
        const Segment *load = &check->output->segments[i];
        if (load->type != PT_LOAD)
            continue;
        if (load->addr.v < end)
            return FAIL(err, ST_BAD_INPUT, at_headers(check),
                        "load %u at 0x%" PRIx64 " begins before 0x%" PRIx64, i, load->addr.v, end);
        if (load->addr.v % PAGE_SIZE != load->offset.v % PAGE_SIZE)
            return FAIL(err, ST_BAD_INPUT, at_headers(check),
                        "offset and address of load %u differ within a page", i);
        if (load->file_size > load->mem_size ||
            load->offset.v + load->file_size > check->output->file.len)
            return FAIL(err, ST_BAD_INPUT, at_headers(check), "load %u runs past the file", i);
        if ((load->flags & (PF_W | PF_X)) == (PF_W | PF_X))
            return FAIL(err, ST_BAD_INPUT, at_headers(check), "load %u is writable and executable",
                        i);
        end = load->addr.v + load->mem_size;
    }
    return ST_OK;
}

/* True when some output row says all that `want` says. */
static bool is_kept(const Check *check, const Segment *want)
{
    for (uint32_t i = 0; i < check->output->n_segments; i++) {
        const Segment *have = &check->output->segments[i];
        if (have->type != want->type)
            continue;
        if (want->type == PT_GNU_EH_FRAME)
            return true;
        uint64_t skip = want->addr.v - have->addr.v;
        if (want->type == PT_LOAD && skip <= have->file_size &&
            want->offset.v == have->offset.v + skip && (want->flags & ~have->flags) == 0 &&
            want->file_size <= have->file_size - skip && want->mem_size <= have->mem_size - skip)
            return true;
        if (have->addr.v == want->addr.v && have->offset.v == want->offset.v &&
            have->flags == want->flags && have->mem_size == want->mem_size &&
            have->file_size == want->file_size)
            return true;
    }
    return false;
}

static bool may_go(const Check *check, const Segment *row)
{
    const Segment *property = image_segment(check->input, PT_GNU_PROPERTY);
    if (row->type == PT_PHDR)
        return check->input->is_library;
    return row->type == PT_NOTE && property != NULL && property->addr.v == row->addr.v &&
           property->file_size == row->file_size;
}

static Status check_rows(const Check *check, Error *err)
{
    for (uint32_t i = 0; i < check->input->n_segments; i++) {
        const Segment *row = &check->input->segments[i];
        if (!is_kept(check, row) && !may_go(check, row))
            return FAIL(err, ST_BAD_INPUT, at_headers(check),
                        "program header %u of the input (type 0x%x) is gone", i, row->type);
    }
    const Segment *load = image_segment_at(check->output, vaddr(check->map->text_at.v));
    if (load == NULL || (load->flags & PF_X) == 0 ||
        image_segment_at(check->input, vaddr(check->map->text_at.v)) != NULL)
        return FAIL(err, ST_BAD_INPUT, at_headers(check),
                    "the overlay at 0x%" PRIx64 " is in no new executable load",
                    check->map->text_at.v);
    return ST_OK;
}

/* True when the input says the same of it: what was wrong there is not the output's. */
static bool is_inherited(const Check *check, const Section *section)
{
    for (uint32_t i = 1; i < check->input->n_sections; i++) {
        const Section *old = &check->input->sections[i];
        if (old->addr.v == section->addr.v && old->offset.v == section->offset.v &&
            old->size == section->size)
            return true;
    }
    return false;
}

static Status check_sections(const Check *check, Error *err)
{
    const Image *output = check->output;
    for (uint32_t i = 1; i < output->n_sections; i++) {
        const Section *section = &output->sections[i];
        Place place = { output->path, section->name, PLACE_NO_OFFSET };
        if (section->type == SHT_NOBITS || is_inherited(check, section))
            continue;
        if (section->offset.v > output->file.len ||
            section->size > output->file.len - section->offset.v)
            return FAIL(err, ST_BAD_INPUT, place, "runs past the end of the file");
        /* By address: loads may share file bytes, so an offset can have two addresses. */
        FileOff offset;
        if ((section->flags & SHF_ALLOC) != 0 && section->size > 0 &&
            (!image_offset_of_addr(output, section->addr, &offset) ||
             offset.v != section->offset.v))
            return FAIL(err, ST_BAD_INPUT, place, "is not loaded where it says, at 0x%" PRIx64,
                        section->addr.v);
    }
    return ST_OK;
}

Status check_headers(const Check *check, Error *err)
{
    TRY(check_loads(check, err));
    TRY(check_rows(check, err));
    return check_sections(check, err);
}
