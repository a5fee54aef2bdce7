/*
 * What is hot: the functions and blocks of a profile, most executed instructions first.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CLI_HOT_H
#define RESPIN_CLI_HOT_H

#include "core/profile.h"

typedef struct HotFunc {
    const char *name;   /* symbol; else "0x1000-0x1200" by its unwind entry or its blocks */
    const char *module; /* path */
    Vaddr start;        /* of the symbol or the unwind entry, else of the first block */
    uint64_t calls;     /* executions of its first instruction */
    uint64_t insns;     /* executed */
    uint64_t bytes;     /* of executed blocks */
    uint32_t n_blocks;  /* executed */
} HotFunc;

typedef struct HotBlock {
    const ProfileBlock *block;
    const HotFunc *func;
    uint64_t insns;
} HotBlock;

typedef struct Hot {
    HotFunc **funcs; /* sorted by insns, descending; then by module and start */
    uint32_t n_funcs;
    HotBlock *blocks; /* sorted by insns, descending; then as above */
    uint32_t n_blocks;
    uint64_t insns; /* of all modules and of generated code */
} Hot;

/*
 * Result in `arena`. Names come from the modules' files where those are still the ones that ran;
 * where not, functions are ranges of blocks. Never fails for want of a file.
 */
void hot_collect(Arena *arena, const Profile *profile, Hot *out);

/* How many of the hottest blocks hold `percent` of the executed instructions, and their bytes. */
void hot_coverage(const Hot *hot, unsigned percent, uint32_t *n_blocks, uint64_t *bytes);

#endif
