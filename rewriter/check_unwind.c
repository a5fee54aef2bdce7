/*
 * check_unwind.c: the unwind tables of an output against those of its input.
 *
 *     .eh_frame_hdr: sorted, one row for each entry      (libgcc looks nowhere else)
 *     for each overlay instruction: its row = the row before its original
 *     for each entry of the input: the same range, with equal rows at its ends
 *
 * SPDX-License-Identifier: MIT
 */
#include "rewriter/check_parts.h"

enum {
    SCRATCH_MAX = 64 << 20, /* bytes of rows kept before the scratch arena is reset */
    HEADER_SIZE = 12,
    ENC_PCREL_SDATA4 = 0x1b,
    ENC_UDATA4 = 0x03,
    ENC_DATAREL_SDATA4 = 0x3b,
};

static Place at_header(const Check *check, uint64_t offset)
{
    return (Place){ check->output->path, ".eh_frame_hdr", offset };
}

static Status check_header_row(const Check *check, const UnwindTable *table, Vaddr header,
                               Cursor *cursor, uint32_t i, Error *err)
{
    uint64_t start = header.v + (uint64_t)(int32_t)cursor_u32(cursor);
    uint64_t entry = header.v + (uint64_t)(int32_t)cursor_u32(cursor);
    const Fde *fde = &table->fdes[i];
    if (cursor->bad || start != fde->start.v || entry != table->addr.v + fde->offset)
        return FAIL(err, ST_BAD_INPUT, at_header(check, cursor->at - 8),
                    "row %u is (0x%" PRIx64 ", 0x%" PRIx64 "), entry %u of .eh_frame is (0x%" PRIx64
                    ", 0x%" PRIx64 ")",
                    i, start, entry, i, fde->start.v, table->addr.v + fde->offset);
    return ST_OK;
}

static Status check_header(const Check *check, const UnwindTable *table, Error *err)
{
    const Segment *segment = image_segment(check->output, PT_GNU_EH_FRAME);
    Bytes bytes;
    if (segment == NULL ||
        !image_bytes_at(check->output, segment->addr, segment->file_size, &bytes))
        return FAIL(err, ST_BAD_INPUT, at_header(check, PLACE_NO_OFFSET), "is not loaded");
    Cursor cursor = cursor_at(bytes, 0);
    uint8_t version = cursor_u8(&cursor), pointer = cursor_u8(&cursor);
    uint8_t count = cursor_u8(&cursor), rows = cursor_u8(&cursor);
    uint64_t frame = segment->addr.v + 4 + (uint64_t)(int32_t)cursor_u32(&cursor);
    uint32_t n = cursor_u32(&cursor);
    if (version != 1 || pointer != ENC_PCREL_SDATA4 || count != ENC_UDATA4 ||
        rows != ENC_DATAREL_SDATA4 || frame != table->addr.v || n != table->n_fdes)
        return FAIL(err, ST_BAD_INPUT, at_header(check, 0),
                    "%u rows of a table at 0x%" PRIx64 " where .eh_frame at 0x%" PRIx64 " has %u",
                    n, frame, table->addr.v, table->n_fdes);
    for (uint32_t i = 0; i < n; i++)
        TRY(check_header_row(check, table, segment->addr, &cursor, i, err));
    return ST_OK;
}

/* The rows of the entry used last, of one image. */
typedef struct RowCache {
    const Image *image;
    const UnwindTable *table;
    const Fde *fde;
    UnwindRows rows;
} RowCache;

static Status row_at(RowCache *cache, Arena *scratch, Vaddr addr, const UnwindRow **row, Error *err)
{
    bool inside = cache->fde != NULL && addr.v - cache->fde->start.v < cache->fde->size;
    *row = NULL;
    if (!inside) {
        cache->fde = unwind_fde_at(cache->table, addr);
        if (cache->fde == NULL)
            return ST_OK;
        Status status =
            unwind_rows(scratch, cache->image, cache->table, cache->fde, &cache->rows, err);
        if (status != ST_OK) {
            cache->fde = NULL;
            return status;
        }
    }
    uint32_t i = unwind_row_at(&cache->rows, addr);
    if (i < cache->rows.n)
        *row = &cache->rows.rows[i];
    return ST_OK;
}

typedef struct Rows {
    Arena *scratch;
    RowCache now;
    RowCache was;
} Rows;

static void forget(Rows *rows)
{
    if (arena_used(rows->scratch) < SCRATCH_MAX)
        return;
    arena_reset(rows->scratch);
    rows->now.fde = NULL;
    rows->was.fde = NULL;
}

static Status check_row(const Check *check, Rows *rows, Vaddr now, Vaddr was, Error *err)
{
    const UnwindRow *now_row, *was_row;
    forget(rows);
    TRY(row_at(&rows->now, rows->scratch, now, &now_row, err));
    if (now_row == NULL)
        return FAIL(err, ST_BAD_INPUT, image_place(check->output, now),
                    "no unwind entry covers 0x%" PRIx64, now.v);
    if (vaddr_is_none(was))
        return ST_OK;
    TRY(row_at(&rows->was, rows->scratch, was, &was_row, err));
    if (was_row == NULL || !unwind_row_equal(now_row, was_row))
        return FAIL(err, ST_BAD_INPUT, image_place(check->output, now),
                    "unwind row before 0x%" PRIx64 " is not that before 0x%" PRIx64, now.v, was.v);
    return ST_OK;
}

/* Traps between regions need no unwinding: nothing runs there. */
static bool is_gap(const Check *check, const MapRun *run)
{
    Bytes bytes = image_bytes_from(check->output, vaddr(run->at.v));
    for (uint64_t i = 0; i < run->size; i++)
        if (i >= bytes.len || bytes.data[i] != 0xcc)
            return false;
    return run->kind == RUN_MADE;
}

static Status check_run(const Check *check, Rows *rows, const MapRun *run, Error *err)
{
    uint64_t now = run->at.v, end = run->at.v + run->size;
    if (is_gap(check, run))
        return ST_OK;
    while (now < end) {
        uint8_t size, flow;
        Vaddr target, old = VADDR_NONE;
        Bytes code = image_bytes_from(check->output, vaddr(now));
        if (run->kind != RUN_MADE)
            old = vaddr(run->old.v + (run->kind == RUN_SAME ? now - run->at.v : 0));
        if (!insn_decode_fast(code, vaddr(now), &size, &flow, &target))
            return FAIL(err, ST_BAD_INPUT, image_place(check->output, vaddr(now)),
                        "no instruction at 0x%" PRIx64, now);
        bool trap = run->kind == RUN_MADE && code.data[0] == 0xcc;
        if (!trap)
            TRY(check_row(check, rows, vaddr(now), old, err));
        now += size;
    }
    return ST_OK;
}

/* False where the input says nothing that could be compared: its entry is malformed, or another one
 * that ends before `addr` begins inside it. */
static bool input_says(Rows *rows, Vaddr addr)
{
    const UnwindRow *row;
    forget(rows);
    return row_at(&rows->was, rows->scratch, addr, &row, NULL) == ST_OK && row != NULL;
}

/* Every entry of the input lives on: same range, same rows at start and end. */
static Status check_old_entries(const Check *check, Rows *rows, Error *err)
{
    const UnwindTable *table = rows->was.table;
    for (uint32_t i = 0; i < table->n_fdes; i++) {
        Vaddr start = table->fdes[i].start;
        Vaddr last = vaddr_add(start, table->fdes[i].size - 1);
        if (input_says(rows, start))
            TRY(check_row(check, rows, start, start, err));
        if (input_says(rows, last))
            TRY(check_row(check, rows, last, last, err));
    }
    return ST_OK;
}

Status check_unwind(const Check *check, Error *err)
{
    Rows rows = { .now = { .image = check->output }, .was = { .image = check->input } };
    TRY(unwind_read(check->arena, check->output, &rows.now.table, err));
    TRY(unwind_read(check->arena, check->input, &rows.was.table, err));
    TRY(check_header(check, rows.now.table, err));
    check->report->fdes = rows.now.table->n_fdes;
    rows.scratch = arena_new();
    Status status = check_old_entries(check, &rows, err);
    for (uint32_t i = 0; i < check->map->n_runs && status == ST_OK; i++)
        status = check_run(check, &rows, &check->map->runs[i], err);
    arena_free(rows.scratch);
    return status;
}
