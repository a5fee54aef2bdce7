/*
 * fuzz_convert.c: any bytes as branch records of a small image, in the format that they look like;
 * what is accepted is written in every format.
 *
 * The image is code at 0x1000: loops, calls, conditional jumps, a return, so that records fit it
 * often enough.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/support/fake_image.h"

#include "core/profile_convert.h"
#include "core/profile_parts.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t code[] = {
    0x53, 0xbb, 3,    0,    0,    0,                /* 1000 push; mov */
    0xe8, 0x0d, 0,    0,    0,                      /* 1006 call 1018 */
    0xff, 0xcb, 0x75, 0xf7, 0x90, 0x0f, 0x05,       /* 100b dec; jne 1006; nop; syscall */
    0x5b, 0xc3, 0x0f, 0x0b, 0x90, 0x90,             /* 1012 pop; ret; ud2 */
    0x85, 0xff, 0x74, 0x02, 0xeb, 0x01, 0x90, 0xc3, /* 1018 test; je 101e; jmp 101f; nop; ret */
    0xff, 0xe0, 0xff, 0xd0, 0xc3,                   /* 1020 jmp *rax; call *rax; ret */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Arena *arena = arena_new();
    Image *image = fake_image(arena, ".text", 0x1000, (Bytes){ code, sizeof code });
    const Profile *profile;
    Error err;
    image->key.text_hash[0] = 1;
    image->is_pic = size > 0 && (data[0] & 1) != 0;
    Bytes file = { data, size };
    if (profile_read_foreign(arena, "fuzz", file, profile_foreign_format(file), image, &profile,
                             &err) == ST_OK) {
        Buffer out = { .arena = arena };
        const Profile *sum;
        profile_write_preagg(profile, 0, image, &out);
        profile_write_callgrind(profile, &out);
        profile_write_folded(profile, &out);
        profile_write_json(profile, &out);
        if (profile_merge(arena, &profile, 1, &sum, &err) != ST_OK)
            abort();
    }
    arena_free(arena);
    return 0;
}
