/*
 * patch.c: from a proven site to the overlay.
 *
 *     site: push rbp; mov rbp,rsp; …     =>     site: jmp overlay   (5 bytes; the rest stays)
 *
 * Bytes of the site behind the jump keep their old values: law 1 proves that no control reaches
 * them, so a filler would only change more of the image than is needed.
 *
 * SPDX-License-Identifier: MIT
 */
#include "rewriter/patch.h"
#include "rewriter/encode.h"

static Status apply(const Overlay *overlay, const Patch *patch, uint8_t *data, size_t len,
                    Error *err)
{
    const Image *image = overlay->plan->image;
    Place place = image_place(image, patch->site);
    FileOff offset;
    Dest dest;
    if (!image_offset_of_addr(image, patch->site, &offset) || offset.v + JUMP_WIDE > len ||
        !overlay_block(overlay, patch->fn, patch->to, &dest))
        return FAIL(err, ST_BUG, place, "a patch without place or target");
    dest.plus = (uint8_t)patch->to_insn;
    NewAddr to = { overlay_address(overlay, dest) };
    if (!encode_patch(data + offset.v, patch->site, to))
        return FAIL(err, ST_BUG, place, "a patch that does not reach 0x%" PRIx64, to.v);
    return ST_OK;
}

Status patches_apply(const Overlay *overlay, uint8_t *data, size_t len, Error *err)
{
    for (uint32_t i = 0; i < overlay->plan->n_patches; i++)
        TRY(apply(overlay, &overlay->plan->patches[i], data, len, err));
    return ST_OK;
}
