/*
 * relax.c: sizes and addresses of slots.
 *
 *     every branch starts narrow ─► addresses ─► widen what does not reach ─► again
 *
 * Branches only grow, so it ends; padding may shrink meanwhile, which costs a byte here and there
 * and never correctness: the last round found every branch in reach at the final addresses.
 *
 * loop and jrcxz cannot grow. When the target is out of reach, the two jumps behind them wake up:
 *
 *     loop T            loop I
 *     next       =>     jmp next      (SLOT_JUMP asleep until then)
 *                    I: jmp T         (SLOT_JUMP asleep until then)
 *                       next
 *
 * SPDX-License-Identifier: MIT
 */
#include "rewriter/encode.h"
#include "rewriter/move.h"
#include "rewriter/overlay.h"

uint64_t overlay_address(const Overlay *overlay, Dest dest)
{
    switch ((DestKind)dest.kind) {
    case DEST_ADDR:
        return dest.value;
    case DEST_LABEL:
        return overlay->slots[overlay->first_slot[dest.index] + dest.plus].at.v;
    case DEST_SLOT:
        return overlay->slots[dest.index].at.v;
    case DEST_TABLE:
        return overlay->clones[dest.index].at.v + dest.value;
    case DEST_NONE:
        break;
    }
    return 0;
}

static uint16_t padding(uint64_t at, uint8_t align)
{
    uint64_t unit = UINT64_C(1) << align;
    return (uint16_t)((unit - at % unit) % unit);
}

static void assign_addresses(Overlay *overlay)
{
    uint64_t at = overlay->text_at.v;
    for (uint32_t i = 0; i < overlay->n_slots; i++) {
        Slot *slot = &overlay->slots[i];
        if (slot->kind == SLOT_PAD || slot->kind == SLOT_GAP)
            slot->size = padding(at, slot->align);
        slot->at.v = at;
        at += slot->size;
    }
    overlay->text_size = at - overlay->text_at.v;
}

/* Bytes of the displacement field as the slot now stands; 0: nothing that could grow. */
static bool is_narrow(const Slot *slot)
{
    if (slot->kind == SLOT_JUMP)
        return slot->size == JUMP_NARROW;
    if (slot->kind != SLOT_MOVED || slot->insn->ref != REF_BRANCH)
        return false;
    if (!move_can_widen(slot->insn))
        return true;
    return slot->size < move_size(slot->insn, true);
}

static bool reaches(const Overlay *overlay, const Slot *slot)
{
    int64_t distance = (int64_t)(overlay_address(overlay, slot->dest) - (slot->at.v + slot->size));
    return distance >= INT8_MIN && distance <= INT8_MAX;
}

/* The target of the loop in slot `i` moves to the island behind it. */
static void wake_island(Overlay *overlay, uint32_t i)
{
    Slot *slots = overlay->slots;
    slots[i].dest = (Dest){ .kind = DEST_SLOT, .index = i + 2 };
    for (uint32_t k = i + 1; k <= i + 2; k++) {
        slots[k].asleep = false;
        slots[k].size = JUMP_NARROW;
    }
}

static void widen(Overlay *overlay, uint32_t i)
{
    Slot *slot = &overlay->slots[i];
    if (slot->kind == SLOT_JUMP)
        slot->size = JUMP_WIDE;
    else if (move_can_widen(slot->insn))
        slot->size = move_size(slot->insn, true);
    else
        wake_island(overlay, i);
}

static bool widen_all(Overlay *overlay)
{
    bool changed = false;
    for (uint32_t i = 0; i < overlay->n_slots; i++) {
        if (!is_narrow(&overlay->slots[i]) || reaches(overlay, &overlay->slots[i]))
            continue;
        widen(overlay, i);
        changed = true;
    }
    return changed;
}

void overlay_relax(Overlay *overlay)
{
    for (uint32_t i = 0; i < overlay->n_slots; i++)
        if (overlay->slots[i].kind == SLOT_JUMP)
            overlay->slots[i].size = overlay->slots[i].asleep ? 0 : JUMP_NARROW;
    do
        assign_addresses(overlay);
    while (widen_all(overlay));
}
