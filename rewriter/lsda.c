/*
 * lsda.c: a language-specific data area for each piece of the overlay.
 *
 * Landing pads are not moved: the unwinder enters them at their original addresses, where a patch
 * leads back into the overlay when they are hot. So LPStart is explicit and lies in the original
 * function. A pad's offset of 0 means "no pad", so LPStart is the function's start only while every
 * pad lies above it, and one byte below the lowest pad otherwise.
 *
 * "No entry" (the personality terminates) and "an entry without a pad" (unwinding goes on) differ:
 * an instruction without an entry gets none here either. Neighbours with equal pad and action are
 * one entry.
 *
 * The type table's end is an unsigned distance forward, so it cannot be shared with the original's
 * and is copied. Words that are pc-relative are computed anew; absolute ones mean the same
 * anywhere.
 *
 * SPDX-License-Identifier: MIT
 */
#include "rewriter/lsda.h"
#include "core/eh_pointer.h"

/* Index of the call site that covers `addr`; n_sites: none. They are in order of address. */
static uint32_t site_at(const Lsda *lsda, Vaddr addr)
{
    uint32_t low = 0;
    uint32_t high = lsda->n_sites;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (lsda->sites[mid].start.v + lsda->sites[mid].size <= addr.v)
            low = mid + 1;
        else
            high = mid;
    }
    return low < lsda->n_sites && lsda->sites[low].start.v <= addr.v ? low : lsda->n_sites;
}

static bool same_outcome(const Lsda *lsda, uint32_t left, uint32_t right)
{
    if (left == right)
        return true;
    if (left == lsda->n_sites || right == lsda->n_sites)
        return false;
    return vaddr_equal(lsda->sites[left].landing_pad, lsda->sites[right].landing_pad) &&
           lsda->sites[left].action == lsda->sites[right].action;
}

static Vaddr landing_base(const Lsda *lsda, Vaddr function)
{
    Vaddr base = function;
    for (uint32_t i = 0; i < lsda->n_sites; i++)
        if (lsda->sites[i].landing_pad.v <= base.v)
            base = vaddr(lsda->sites[i].landing_pad.v - 1);
    return base;
}

static void put_sites(const Lsda *lsda, const UnwindPiece *piece, Vaddr base, Buffer *out)
{
    uint32_t i = 0;
    while (i < piece->n) {
        uint32_t site = site_at(lsda, piece->placed[i].old);
        uint32_t end = i + 1;
        while (end < piece->n && same_outcome(lsda, site, site_at(lsda, piece->placed[end].old)))
            end++;
        if (site != lsda->n_sites) {
            const LsdaSite *old = &lsda->sites[site];
            const Placed *last = &piece->placed[end - 1];
            bool has_pad = !vaddr_is_none(old->landing_pad);
            buffer_uleb(out, piece->placed[i].at.v - piece->start.v);
            buffer_uleb(out, last->at.v + last->size - piece->placed[i].at.v);
            buffer_uleb(out, has_pad ? old->landing_pad.v - base.v : 0);
            buffer_uleb(out, old->action);
        }
        i = end;
    }
}

static uint8_t new_type_encoding(const Lsda *lsda)
{
    if (lsda->n_types == 0 && lsda->filters.len == 0)
        return EH_OMIT;
    if ((lsda->type_encoding & EH_BASE_MASK) == EH_PCREL)
        return EH_PCREL4 | (lsda->type_encoding & EH_INDIRECT);
    return lsda->type_encoding;
}

/* Type words from the highest index down to 1; `at` is where `out` ends now. */
static Status put_types(const Image *image, const Lsda *lsda, uint64_t at, Buffer *out, Error *err)
{
    uint64_t size = eh_pointer_size(lsda->type_encoding);
    bool is_pcrel = (lsda->type_encoding & EH_BASE_MASK) == EH_PCREL;
    for (uint64_t i = lsda->n_types; i > 0; i--) {
        Vaddr word = vaddr(lsda->types_end.v - i * size);
        Bytes bytes;
        EhPointer type;
        if (!image_bytes_at(image, word, size, &bytes))
            return FAIL(err, ST_BAD_INPUT, image_place(image, word), "a type word is not there");
        if (!is_pcrel) {
            buffer_put(out, bytes.data, bytes.len);
            continue;
        }
        Cursor cursor = cursor_at(bytes, 0);
        TRY(eh_pointer_read(image, &cursor, word, VADDR_NONE, lsda->type_encoding, &type, err));
        if (type.is_null)
            buffer_u32(out, 0);
        else if (!eh_pcrel4_put(out, at, type.to.v))
            return FAIL(err, ST_REFUSED, image_place(image, word),
                        "address-space: type 0x%" PRIx64 " is over 2 GiB away", type.to.v);
        at += 4;
    }
    return ST_OK;
}

static uint64_t uleb_size(uint64_t value)
{
    uint64_t size = 1;
    for (; value >= 0x80; value >>= 7)
        size++;
    return size;
}

Status lsda_put(Arena *arena, const Image *image, const Lsda *lsda, const UnwindPiece *piece,
                NewAddr at, Buffer *out, Error *err)
{
    Vaddr base = landing_base(lsda, piece->fde->start);
    uint8_t type_encoding = new_type_encoding(lsda);
    uint64_t origin = at.v - out->len; /* address of out's first byte */
    Buffer sites = { .arena = arena };
    put_sites(lsda, piece, base, &sites);

    buffer_u8(out, EH_PCREL4);
    if (!eh_pcrel4_put(out, origin + out->len, base.v))
        return FAIL(err, ST_REFUSED, image_place(image, base),
                    "address-space: function 0x%" PRIx64 " is over 2 GiB away", base.v);
    buffer_u8(out, type_encoding);
    if (type_encoding != EH_OMIT) {
        uint64_t types = (uint64_t)lsda->n_types * eh_pointer_size(type_encoding);
        buffer_uleb(out, 1 + uleb_size(sites.len) + sites.len + lsda->actions.len + types);
    }
    buffer_u8(out, EH_ULEB128);
    buffer_uleb(out, sites.len);
    buffer_put(out, sites.data, sites.len);
    buffer_put(out, lsda->actions.data, lsda->actions.len);
    if (type_encoding != EH_OMIT)
        TRY(put_types(image, lsda, origin + out->len, out, err));
    buffer_put(out, lsda->filters.data, lsda->filters.len);
    return ST_OK;
}
