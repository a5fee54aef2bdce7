/*
 * emit.c: bytes of placed slots, and the same slots as the unwind tables want them.
 *
 * Law 9 is kept here: nothing gets into the text that move_insn has not decoded again and held
 * against its original.
 *
 * SPDX-License-Identifier: MIT
 */
#include "rewriter/encode.h"
#include "rewriter/move.h"
#include "rewriter/overlay.h"

static Status emit_insn(const Overlay *overlay, const Slot *slot, const Insn *insn, Buffer *text,
                        RewriteStats *stats, Error *err)
{
    Insn moved;
    Move move = { .insn = insn,
                  .at = slot->at.v,
                  .target = overlay_address(overlay, slot->dest),
                  .size = (uint8_t)slot->size,
                  .invert = slot->invert };
    TRY(move_insn(&move, &moved, err));
    buffer_put(text, moved.bytes, moved.size);
    stats->insns_checked++;
    if (moved.size != insn->size)
        stats->insns_changed_size++;
    return ST_OK;
}

static void emit_nops(uint16_t count, Buffer *text)
{
    for (uint8_t size; (size = encode_nop_size(count)) > 0; count -= size) {
        uint8_t nop[NOP_MAX];
        encode_nop(nop, size);
        buffer_put(text, nop, size);
    }
}

static Status emit_slot(const Overlay *overlay, const Slot *slot, Buffer *text, RewriteStats *stats,
                        Error *err)
{
    Insn jump;
    switch ((SlotKind)slot->kind) {
    case SLOT_MOVED:
        return emit_insn(overlay, slot, slot->insn, text, stats, err);
    case SLOT_JUMP:
        if (slot->size == 0)
            return ST_OK;
        jump = encode_jump(slot->size == JUMP_WIDE);
        return emit_insn(overlay, slot, &jump, text, stats, err);
    case SLOT_PAD:
        emit_nops(slot->size, text);
        return ST_OK;
    case SLOT_GAP:
        buffer_fill(text, 0xcc, slot->size);
        return ST_OK;
    }
    return ST_OK;
}

Status overlay_emit(const Overlay *overlay, Buffer *text, Buffer *tables, RewriteStats *stats,
                    Error *err)
{
    for (uint32_t i = 0; i < overlay->n_slots; i++) {
        const Slot *slot = &overlay->slots[i];
        TRY(emit_slot(overlay, slot, text, stats, err));
        if (NEVER(text->len != slot->at.v + slot->size - overlay->text_at.v))
            return FAIL(err, ST_BUG, NOWHERE, "slot %u at 0x%" PRIx64 " is not %u bytes", i,
                        slot->at.v, slot->size);
    }
    return clones_emit(overlay, tables, err);
}

static uint32_t pieces_of(const Slot *slot)
{
    if (slot->kind == SLOT_PAD || slot->kind == SLOT_GAP)
        return (slot->size + NOP_MAX - 1) / NOP_MAX;
    return slot->size > 0;
}

static void add_pieces(const Slot *slot, Placed *placed, uint32_t *n)
{
    uint16_t left = slot->size;
    uint64_t at = slot->at.v;
    bool call = slot->kind == SLOT_MOVED &&
                (slot->insn->flow == FLOW_CALL || slot->insn->flow == FLOW_CALL_IND);
    while (left > 0) {
        uint8_t size = slot->kind == SLOT_PAD ? encode_nop_size(left) : (uint8_t)left;
        placed[(*n)++] = (Placed){ { at }, slot->row, size, call };
        at += size;
        left = (uint16_t)(left - size);
    }
}

void overlay_fragments(const Overlay *overlay, Fragment **out, uint32_t *n)
{
    Fragment *fragments = arena_many(overlay->arena, Fragment, (size_t)overlay->n_spans + 1);
    uint32_t n_pieces = 0, used = 0;
    for (uint32_t i = 0; i < overlay->n_slots; i++)
        n_pieces += pieces_of(&overlay->slots[i]);
    Placed *placed = arena_many(overlay->arena, Placed, (size_t)n_pieces + 1);
    *n = 0;
    for (uint32_t i = 0; i < overlay->n_spans; i++) {
        const Span *span = &overlay->spans[i];
        const Region *region = &overlay->plan->regions[span->region];
        const Slot *last = &overlay->slots[span->end - 1];
        uint32_t start = used;
        for (uint32_t k = span->first; k < span->end; k++)
            add_pieces(&overlay->slots[k], placed, &used);
        if (used == start)
            continue;
        fragments[(*n)++] = (Fragment){ .fn = region->fn,
                                        .cold = region->cold,
                                        .placed = placed + start,
                                        .n = used - start,
                                        .start = overlay->slots[span->first].at,
                                        .end = { last->at.v + last->size } };
    }
    *out = fragments;
}
