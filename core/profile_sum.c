/*
 * profile_sum.c: the sum of many profiles, of which a few are in memory at a time.
 *
 *     part part part ──► sum ──► part part ──► sum ──► …
 *
 * Parts are kept until they are as large as the sum, and then added to it together: so no more than
 * a few times the sum is in memory, and each merge at least doubles what went in.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/profile_parts.h"

enum { PARTS_LEAST = 4 << 20 }; /* bytes of parts that are added together at least */

void profile_sum_begin(ProfileSum *sum)
{
    *sum = (ProfileSum){ .arena = arena_new(), .reading = arena_new() };
}

void profile_sum_end(ProfileSum *sum)
{
    arena_free(sum->arena);
    arena_free(sum->reading);
}

/* All of it, with `first` (may be NULL), into `arena`. */
static Status merge_into(ProfileSum *sum, Arena *arena, const Profile *first, const Profile **out,
                         Error *err)
{
    const Profile *all[PROFILE_SUM_PARTS + 2];
    uint32_t n = 0;
    if (first != NULL)
        all[n++] = first;
    if (sum->so_far != NULL)
        all[n++] = sum->so_far;
    for (uint32_t i = 0; i < sum->n_parts; i++)
        all[n++] = sum->parts[i];
    return profile_merge(arena, all, n, out, err);
}

static Status settle(ProfileSum *sum, Error *err)
{
    Arena *arena = arena_new();
    const Profile *all;
    Status status = merge_into(sum, arena, NULL, &all, err);
    if (status != ST_OK) {
        arena_free(arena);
        return status;
    }
    arena_free(sum->arena);
    arena_free(sum->reading);
    sum->arena = arena;
    sum->reading = arena_new();
    sum->so_far = all;
    sum->n_parts = 0;
    return ST_OK;
}

Status profile_sum_add(ProfileSum *sum, const char *path, uint64_t run, Images *images, Error *err)
{
    sum->parts[sum->n_parts++] = profile_read_sibling(sum->reading, path, run, images);
    size_t least = arena_used(sum->arena);
    if (least < PARTS_LEAST)
        least = PARTS_LEAST;
    if (sum->n_parts < PROFILE_SUM_PARTS && arena_used(sum->reading) < least)
        return ST_OK;
    return settle(sum, err);
}

Status profile_sum_take(ProfileSum *sum, Arena *arena, const Profile *base, const Profile **out,
                        Error *err)
{
    if (base != NULL && sum->so_far == NULL && sum->n_parts == 0 && profile_is_sum(base)) {
        *out = base;
        return ST_OK;
    }
    return merge_into(sum, arena, base, out, err);
}
