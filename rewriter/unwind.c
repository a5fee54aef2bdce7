/*
 * unwind.c: the unwind tables of an output.
 *
 *     fragments ─► pieces (one FDE of the original each)
 *     .eh_frame      every CIE │ every old FDE, re-encoded │ one FDE for each piece │ 0
 *     .eh_frame_hdr  sorted starts of all of them
 *     .respin.lsda   one LSDA for each piece whose original has one
 *
 * The whole table is written again because gdb reads one section named .eh_frame and libdw looks
 * only inside it: entries in a second section are not found. Old call frame programs are copied as
 * bytes (they do not know where they stand, but for DW_CFA_set_loc, whose entries are written from
 * their rows); pointers become 4-byte pc-relative ones throughout. The original table stays where
 * it was, for static programs that register it by address.
 *
 * An entry is padded to 4 bytes, not 8, and old ones lose the padding that they had: on libLLVM
 * that is 650 KB.
 *
 * SPDX-License-Identifier: MIT
 */
#include "rewriter/unwind.h"
#include "core/cfa_ops.h"
#include "core/eh_pointer.h"
#include "rewriter/cfi.h"
#include "rewriter/lsda.h"

#include <stdlib.h>
#include <string.h>

enum { HEADER_FIXED = 12, HEADER_ENTRY = 8 };

/* A row of .eh_frame_hdr before it is sorted. */
typedef struct Found {
    uint64_t start; /* address that the FDE covers from */
    uint64_t fde;   /* address of the FDE */
} Found;

typedef struct Builder {
    Arena *arena;
    Arena *scratch; /* reset after each entry */
    const Image *image;
    const UnwindTable *table;
    UnwindPiece *pieces;
    size_t *lsda_fields; /* for each piece, where in .eh_frame its LSDA pointer stands; 0: none */
    uint32_t n_pieces;
    size_t cap_pieces;
    uint64_t *cie_at; /* for each CIE, its offset in the new .eh_frame */
    Found *found;
    uint32_t n_found;
    uint64_t frame_at;
    Buffer frame;
    bool out_of_reach; /* some 32-bit field could not hold its distance */
} Builder;

static Place place_of(const Builder *builder, uint64_t offset)
{
    return image_place(builder->image, vaddr_add(builder->table->addr, offset));
}

static uint64_t here(const Builder *builder)
{
    return builder->frame_at + builder->frame.len;
}

static void put_pcrel(Builder *builder, uint64_t to)
{
    if (!eh_pcrel4_put(&builder->frame, here(builder), to))
        builder->out_of_reach = true;
}

static void put_size(Builder *builder, uint64_t size)
{
    if (size > INT32_MAX)
        builder->out_of_reach = true;
    buffer_u32(&builder->frame, (uint32_t)size);
}

/* An entry's length word, filled in by end_entry; where the entry starts. */
static size_t begin_entry(Builder *builder)
{
    buffer_u32(&builder->frame, 0);
    return builder->frame.len - 4;
}

static void end_entry(Builder *builder, size_t from)
{
    buffer_align(&builder->frame, 4, CFA_NOP);
    store_u32(builder->frame.data + from, (uint32_t)(builder->frame.len - from - 4));
}

static bool has_lsda(const Cie *cie)
{
    return cie->lsda_encoding != EH_OMIT;
}

static Status put_cie(Builder *builder, uint32_t index, Error *err)
{
    const Cie *cie = &builder->table->cies[index];
    Buffer *frame = &builder->frame;
    bool has_personality = !vaddr_is_none(cie->personality);
    if (cie->return_reg > UINT8_MAX)
        return FAIL(err, ST_REFUSED, place_of(builder, cie->offset),
                    "return address in register %" PRIu64, cie->return_reg);
    builder->cie_at[index] = frame->len;
    size_t from = begin_entry(builder);
    buffer_u32(frame, 0);
    buffer_u8(frame, 1); /* version */
    buffer_u8(frame, 'z');
    if (has_personality)
        buffer_u8(frame, 'P');
    if (has_lsda(cie))
        buffer_u8(frame, 'L');
    buffer_u8(frame, 'R');
    if (cie->is_signal)
        buffer_u8(frame, 'S');
    buffer_u8(frame, 0);
    buffer_uleb(frame, cie->code_align);
    buffer_sleb(frame, cie->data_align);
    buffer_u8(frame, (uint8_t)cie->return_reg);
    buffer_uleb(frame, (has_personality ? 5u : 0u) + (has_lsda(cie) ? 1u : 0u) + 1u);
    if (has_personality) {
        buffer_u8(frame, EH_PCREL4 | (cie->personality_encoding & EH_INDIRECT));
        put_pcrel(builder, cie->personality.v);
    }
    if (has_lsda(cie))
        buffer_u8(frame, EH_PCREL4);
    buffer_u8(frame, EH_PCREL4);
    buffer_put(frame, cie->program.data, cie->program.len);
    end_entry(builder, from);
    return ST_OK;
}

/* Up to the call frame program; where the LSDA pointer stands (0: the CIE has none). */
static size_t put_fde_head(Builder *builder, uint32_t cie, uint64_t start, uint64_t size,
                           Vaddr lsda)
{
    Buffer *frame = &builder->frame;
    builder->found[builder->n_found++] = (Found){ start, here(builder) - 4 };
    buffer_u32(frame, (uint32_t)(frame->len - builder->cie_at[cie]));
    put_pcrel(builder, start);
    put_size(builder, size);
    if (!has_lsda(&builder->table->cies[cie])) {
        buffer_u8(frame, 0);
        return 0;
    }
    buffer_u8(frame, 4);
    if (vaddr_is_none(lsda))
        buffer_u32(frame, 0);
    else
        put_pcrel(builder, lsda.v);
    return frame->len - 4;
}

/* Whether a program holds DW_CFA_set_loc, whose operand knows where it stands. */
static Status has_set_loc(const Builder *builder, const Cie *cie, Bytes program, uint64_t offset,
                          bool *out, Error *err)
{
    *out = false;
    if (program.len == 0 || memchr(program.data, CFA_SET_LOC, program.len) == NULL)
        return ST_OK;
    Cursor cursor = cursor_at(program, 0);
    while (cursor.at < program.len && !cursor.bad) {
        CfaInsn insn;
        if (!cfa_insn_read(&cursor, cie->fde_encoding, &insn))
            return FAIL(err, ST_REFUSED, place_of(builder, offset),
                        "call frame instruction 0x%02x is not known", insn.op);
        *out |= insn.op == CFA_SET_LOC;
    }
    return ST_OK;
}

/* The program up to its last instruction that is no nop; all of it when one is not known. */
static Bytes without_padding(const Cie *cie, Bytes program)
{
    Cursor cursor = cursor_at(program, 0);
    size_t end = 0;
    while (cursor.at < program.len) {
        CfaInsn insn;
        if (!cfa_insn_read(&cursor, cie->fde_encoding, &insn) || cursor.bad)
            return program;
        if (insn.op != CFA_NOP)
            end = cursor.at;
    }
    return (Bytes){ program.data, end };
}

static Status read_context(const Builder *builder, const Fde *fde, CfiContext *out,
                           UnwindRows *rows, Error *err)
{
    out->cie = &builder->table->cies[fde->cie];
    TRY(unwind_initial_row(builder->image, builder->table, out->cie, &out->initial, err));
    return unwind_rows(builder->scratch, builder->image, builder->table, fde, rows, err);
}

static Status refuse_rows(const Builder *builder, const Fde *fde, Error *err)
{
    return FAIL(err, ST_REFUSED, place_of(builder, fde->offset),
                "unwind rows of 0x%" PRIx64 " cannot be carried over", fde->start.v);
}

static Status put_old_fde(Builder *builder, const Fde *fde, Error *err)
{
    bool set_loc;
    const Cie *cie = &builder->table->cies[fde->cie];
    TRY(has_set_loc(builder, cie, fde->program, fde->offset, &set_loc, err));
    size_t from = begin_entry(builder);
    put_fde_head(builder, fde->cie, fde->start.v, fde->size, fde->lsda);
    if (set_loc) {
        CfiContext context;
        UnwindRows rows;
        arena_reset(builder->scratch);
        TRY(read_context(builder, fde, &context, &rows, err));
        if (cie->code_align != 1 || !cfi_put_rows(&builder->frame, &context, &rows))
            return refuse_rows(builder, fde, err);
    } else {
        Bytes program = without_padding(cie, fde->program);
        buffer_put(&builder->frame, program.data, program.len);
    }
    end_entry(builder, from);
    return ST_OK;
}

/* Before each placed instruction holds what held before its original. */
static Status put_piece_program(Builder *builder, const UnwindPiece *piece, Error *err)
{
    CfiContext context;
    UnwindRows rows;
    arena_reset(builder->scratch);
    TRY(read_context(builder, piece->fde, &context, &rows, err));
    if (context.cie->code_align != 1)
        return refuse_rows(builder, piece->fde, err);
    const UnwindRow *now = &context.initial;
    uint64_t at = piece->start.v;
    for (uint32_t i = 0; i < piece->n; i++) {
        const Placed *placed = &piece->placed[i];
        const UnwindRow *row = &rows.rows[unwind_row_at(&rows, placed->old)];
        if (row == now || unwind_row_equal(row, now))
            continue;
        cfi_put_advance(&builder->frame, placed->at.v - at);
        if (!cfi_put_change(&builder->frame, &context, now, row))
            return refuse_rows(builder, piece->fde, err);
        at = placed->at.v;
        now = row;
    }
    return ST_OK;
}

static Status put_piece_fde(Builder *builder, uint32_t index, Error *err)
{
    const UnwindPiece *piece = &builder->pieces[index];
    size_t from = begin_entry(builder);
    size_t field = put_fde_head(builder, piece->fde->cie, piece->start.v,
                                piece->end.v - piece->start.v, VADDR_NONE);
    builder->lsda_fields[index] = vaddr_is_none(piece->fde->lsda) ? 0 : field;
    TRY(put_piece_program(builder, piece, err));
    end_entry(builder, from);
    return ST_OK;
}

static void add_piece(Builder *builder, const UnwindPiece *piece)
{
    builder->pieces = arena_grow(builder->arena, builder->pieces, &builder->cap_pieces,
                                 (size_t)builder->n_pieces + 1, sizeof(UnwindPiece));
    builder->pieces[builder->n_pieces++] = *piece;
}

/* Cuts a fragment where the original's FDE changes. */
static Status split_fragment(Builder *builder, const Fragment *fragment, Error *err)
{
    UnwindPiece piece = { .start = fragment->start };
    for (uint32_t i = 0; i < fragment->n; i++) {
        const Placed *placed = &fragment->placed[i];
        if (piece.fde != NULL && placed->old.v - piece.fde->start.v < piece.fde->size) {
            piece.n++;
            continue;
        }
        const Fde *fde = unwind_fde_at(builder->table, placed->old);
        if (fde == NULL)
            return FAIL(err, ST_REFUSED, image_place(builder->image, placed->old),
                        "no unwind entry covers 0x%" PRIx64, placed->old.v);
        piece.end = placed->at;
        if (piece.fde != NULL)
            add_piece(builder, &piece);
        NewAddr start = piece.fde != NULL ? placed->at : fragment->start;
        piece = (UnwindPiece){ .fde = fde, .placed = placed, .n = 1, .start = start };
    }
    piece.end = fragment->end;
    if (piece.fde != NULL)
        add_piece(builder, &piece);
    return ST_OK;
}

static Status put_frame(Builder *builder, Error *err)
{
    const UnwindTable *table = builder->table;
    for (uint32_t i = 0; i < table->n_cies; i++)
        TRY(put_cie(builder, i, err));
    for (uint32_t i = 0; i < table->n_fdes; i++)
        TRY(put_old_fde(builder, &table->fdes[i], err));
    for (uint32_t i = 0; i < builder->n_pieces; i++)
        TRY(put_piece_fde(builder, i, err));
    buffer_u32(&builder->frame, 0);
    return ST_OK;
}

static Status put_lsdas(Builder *builder, NewAddr lsda_at, Buffer *out, Error *err)
{
    for (uint32_t i = 0; i < builder->n_pieces; i++) {
        size_t field = builder->lsda_fields[i];
        const Lsda *lsda;
        if (field == 0)
            continue;
        arena_reset(builder->scratch);
        TRY(lsda_read(builder->scratch, builder->image, builder->pieces[i].fde, &lsda, err));
        buffer_align(out, 4, 0);
        NewAddr at = { lsda_at.v + out->len };
        store_u32(builder->frame.data + field, (uint32_t)(at.v - (builder->frame_at + field)));
        TRY(lsda_put(builder->scratch, builder->image, lsda, &builder->pieces[i], at, out, err));
    }
    return ST_OK;
}

static int compare_found(const void *left, const void *right)
{
    const Found *a = left;
    const Found *b = right;
    if (a->start != b->start)
        return a->start < b->start ? -1 : 1;
    return (a->fde > b->fde) - (a->fde < b->fde);
}

/* LSB Core ".eh_frame_hdr": distances of the table are from the header's own start. */
static Bytes make_header(Builder *builder, uint64_t at)
{
    Buffer out = { .arena = builder->arena };
    buffer_u8(&out, 1);
    buffer_u8(&out, EH_PCREL4);
    buffer_u8(&out, EH_UDATA4);
    buffer_u8(&out, EH_DATAREL | EH_SDATA4);
    if (!eh_pcrel4_put(&out, at + out.len, builder->frame_at))
        builder->out_of_reach = true;
    buffer_u32(&out, builder->n_found);
    qsort(builder->found, builder->n_found, sizeof(Found), compare_found);
    for (uint32_t i = 0; i < builder->n_found; i++)
        if (!eh_pcrel4_put(&out, at, builder->found[i].start) ||
            !eh_pcrel4_put(&out, at, builder->found[i].fde))
            builder->out_of_reach = true;
    return buffer_bytes(&out);
}

static uint64_t round_up(uint64_t value, uint64_t alignment)
{
    return (value + alignment - 1) & ~(alignment - 1);
}

static Status build(Builder *builder, NewAddr free_at, UnwindSections *out, Error *err)
{
    uint32_t n_fdes = builder->table->n_fdes + builder->n_pieces;
    builder->lsda_fields = arena_many(builder->arena, size_t, builder->n_pieces);
    builder->cie_at = arena_many(builder->arena, uint64_t, builder->table->n_cies);
    builder->found = arena_many(builder->arena, Found, n_fdes);
    out->n_fdes = n_fdes;
    out->header_at.v = round_up(free_at.v, 4);
    out->frame_at.v =
        round_up(out->header_at.v + HEADER_FIXED + (uint64_t)HEADER_ENTRY * n_fdes, 8);
    builder->frame_at = out->frame_at.v;
    TRY(put_frame(builder, err));

    Buffer lsda = { .arena = builder->arena };
    out->lsda_at.v = round_up(builder->frame_at + builder->frame.len, 4);
    TRY(put_lsdas(builder, out->lsda_at, &lsda, err));
    out->header = make_header(builder, out->header_at.v);
    out->frame = buffer_bytes(&builder->frame);
    out->lsda = buffer_bytes(&lsda);
    if (builder->out_of_reach)
        return FAIL(err, ST_REFUSED, image_place(builder->image, builder->table->addr),
                    "address-space: the new tables at 0x%" PRIx64 " are over 2 GiB away",
                    out->frame_at.v);
    return ST_OK;
}

Status unwind_build(Arena *arena, const Plan *plan, const Fragment *fragments, uint32_t n,
                    NewAddr free_at, UnwindSections *out, Error *err)
{
    Builder builder = {
        .arena = arena, .image = plan->image, .table = plan->unwind, .frame = { .arena = arena }
    };
    *out = (UnwindSections){ 0 };
    for (uint32_t i = 0; i < n; i++)
        TRY(split_fragment(&builder, &fragments[i], err));
    builder.scratch = arena_new();
    Status status = build(&builder, free_at, out, err);
    arena_free(builder.scratch);
    return status;
}
