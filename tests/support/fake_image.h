/*
 * An Image made by hand: bytes at an address, some of them a section. For readers of tables.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_TESTS_SUPPORT_FAKE_IMAGE_H
#define RESPIN_TESTS_SUPPORT_FAKE_IMAGE_H

#include "core/image.h"

/*
 * One PT_LOAD (R-X) at `addr` that holds `bytes`, which are section `section` as a whole.
 * The image lives in `arena`; bytes are borrowed.
 */
static inline Image *fake_image(Arena *arena, const char *section, uint64_t addr, Bytes bytes)
{
    Image *image = arena_one(arena, Image);
    image->path = "fake";
    image->file = bytes;
    image->segments = arena_one(arena, Segment);
    image->n_segments = 1;
    image->segments[0] = (Segment){ .type = PT_LOAD,
                                    .flags = PF_R | PF_X,
                                    .addr = { addr },
                                    .file_size = bytes.len,
                                    .mem_size = bytes.len,
                                    .align = 1 };
    image->sections = arena_many(arena, Section, 2);
    image->n_sections = 2;
    image->sections[1] = (Section){ .name = section,
                                    .type = SHT_PROGBITS,
                                    .flags = SHF_ALLOC,
                                    .addr = { addr },
                                    .size = bytes.len,
                                    .align = 1 };
    return image;
}

#endif
