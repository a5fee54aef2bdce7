/*
 * Branches of one binary, and the stretches of straight code between them → a profile.
 *
 *     branch  0x1150 → 0x1140  99 times          blocks 0x1140..0x1152 (100), …
 *     stretch 0x1140 .. 0x1150 100 times    →    edges taken 99, fall 1, …
 *
 * What a branch is (a call, a conditional jump, …) and where blocks and instructions are is decoded
 * from the image. Records that do not fit its code are left out and counted. Private to core/.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CORE_PROFILE_BRANCHES_H
#define RESPIN_CORE_PROFILE_BRANCHES_H

#include "core/profile.h"

typedef struct Branch {
    Vaddr from; /* VADDR_NONE: outside the image */
    Vaddr to;   /* likewise */
    uint64_t count;
} Branch;

typedef struct BranchStretch {
    Vaddr start; /* of its first instruction */
    Vaddr end;   /* of its last instruction */
    uint64_t count;
} BranchStretch;

typedef struct Branches {
    Arena *arena;
    const Image *image;
    Branch *items;
    size_t n, cap;
    BranchStretch *stretches;
    size_t n_stretches, stretches_cap;
    uint32_t n_processes;
} Branches;

void branches_add(Branches *branches, Vaddr from, Vaddr to, uint64_t count);
void branches_add_stretch(Branches *branches, Vaddr start, Vaddr end, uint64_t count);

/*
 * Makes stretches from branches alone, where fall-throughs between blocks are among them: each
 * target begins one that goes on to the next target or to the end of its path. `starts` begin one,
 * too; what leaves it says how often.
 */
void branches_derive_stretches(Branches *branches, const Vaddr *starts, size_t n_starts);

/* ST_REFUSED when no record fits the image, or fewer than half do. */
MUST_CHECK Status branches_finish(Branches *branches, const char *path, const Profile **out,
                                  Error *err);

/* preagg or fdata, for profile_read_foreign. */
MUST_CHECK Status profile_read_bolt(Arena *arena, const char *path, Bytes file, bool fdata,
                                    const Image *image, const Profile **out, Error *err);

#endif
