/*
 * What the files that make up the profile share with each other and with nobody else.
 *
 *   profile.c        queries, digest, which form a file has
 *   profile_check.c  order and bounds: every reader ends here
 *   profile_text.c   the text form          docs/formats/profile-text.md
 *   profile_file.c   the compact form       docs/formats/profile.md
 *   profile_live.c   the live form          docs/formats/live.md
 *   profile_build.c  runs and counters of one process → blocks and edges
 *   profile_merge.c  sums
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CORE_PROFILE_PARTS_H
#define RESPIN_CORE_PROFILE_PARTS_H

#include "core/profile.h"

/* First bytes of the text form. */
#define PROFILE_TEXT_MAGIC "respin-profile-text 1"
enum { INSN_SIZE_MAX = 15 };

/* Counts never wrap: a sum that does not fit stays at the largest value. Associative. */
static inline uint64_t count_add(uint64_t left, uint64_t right)
{
    uint64_t sum;
    return __builtin_add_overflow(left, right, &sum) ? UINT64_MAX : sum;
}

/* The orders of ProfileModule.edges and of ProfileModule.entries, for qsort. */
int profile_edge_order(const void *left, const void *right);
int profile_entry_order(const void *left, const void *right);

/*
 * Holds the invariants of profile.h against what a reader made: order, no overlap, indices, sizes.
 * ST_BAD_INPUT with `file` and the module's path as section.
 */
MUST_CHECK Status profile_check(const Profile *profile, const char *file, Error *err);

bool profile_key_equal(const ImageKey *left, const ImageKey *right);

/* What profile_read does, from bytes in memory; fuzzers start here. Bytes are borrowed. */
MUST_CHECK Status profile_read_bytes(Arena *arena, const char *path, Bytes file,
                                     const Profile **out, Error *err);
MUST_CHECK Status profile_read_text(Arena *arena, const char *path, Bytes file, const Profile **out,
                                    Error *err);

#endif
