/*
 * fuzz_profile.c: any bytes as a profile of any form; what is accepted is written and read again.
 *
 * The compact form is checksummed, so its payload is also taken without the file round it: an
 * input that begins with 'P' is a payload.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/profile_parts.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_and_read_again(Arena *arena, const Profile *profile)
{
    Buffer payload = { .arena = arena };
    const Profile *again;
    char before[33], after[33];
    Error err;
    profile_encode(profile, &payload);
    if (profile_decode(arena, "again", buffer_bytes(&payload), &again, &err) != ST_OK)
        abort();
    profile_digest(profile, before);
    profile_digest(again, after);
    if (strcmp(before, after) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Arena *arena = arena_new();
    Images *images = images_new(arena);
    const Profile *profile;
    Error err;
    Status status =
        size > 0 && data[0] == 'P'
            ? profile_decode(arena, "fuzz", (Bytes){ data + 1, size - 1 }, &profile, &err)
            : profile_read_bytes(arena, "fuzz", (Bytes){ data, size }, images, &profile, &err);
    if (status == ST_OK)
        write_and_read_again(arena, profile);
    images_close(images);
    arena_free(arena);
    return 0;
}
