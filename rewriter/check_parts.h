/*
 * The parts of the check of an output. Private to rewriter/.
 *
 * Each takes nothing from the rewriter's own data: only the two files and the map in the output.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_REWRITER_CHECK_PARTS_H
#define RESPIN_REWRITER_CHECK_PARTS_H

#include "rewriter/address_map.h"

typedef struct Check {
    Arena *arena;
    const Image *input;
    const Image *output;
    const MapFile *map;
    CheckReport *report;
} Check;

/* ELF rules: segments, sections, and what the program headers were before (check_headers.c). */
MUST_CHECK Status check_headers(const Check *check, Error *err);
/* Law 1: loaded bytes unchanged but for headers and patches; patches lead to their own code. */
MUST_CHECK Status check_patches(const Check *check, Error *err);
/* Law 9: every overlay instruction is its original and goes on where that goes on (check_code.c).
 */
MUST_CHECK Status check_code(const Check *check, Error *err);
/* Cloned tables lead where the originals lead. */
MUST_CHECK Status check_tables(const Check *check, Error *err);
/* Law 6: rows before every overlay instruction are the original's; lookup table complete
 * (check_unwind.c). */
MUST_CHECK Status check_unwind(const Check *check, Error *err);

/* The patch whose bytes hold `addr`; NULL: none. */
const MapPatch *check_patch_over(const MapFile *map, Vaddr addr);
bool check_in_overlay(const MapFile *map, uint64_t at);
/* The original address that control at output address `at` stands for: padding and jumps skipped,
 * original jumps followed. False: it stands for none. */
bool check_meaning(const Check *check, uint64_t at, Vaddr *old);
/* The same of an original address. */
Vaddr check_settle(const Check *check, Vaddr old);

/* True when `at` is a guard (optimizer/bind_plt.c) that does what the PLT stub `stub` does: goes on
 * to the function that the stub's slot names when the slot holds it, else where the slot leads. */
bool check_guard(const Check *check, uint64_t at, Vaddr stub);

#endif
