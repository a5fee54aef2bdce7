/*
 * Plan → ELF: the overlay, patches, unwind tables, symbols; and the check of an output.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_REWRITER_REWRITER_H
#define RESPIN_REWRITER_REWRITER_H

#include "optimizer/optimizer.h"

typedef struct RewriteStats {
    uint64_t input_size;
    uint64_t output_size;
    uint64_t overlay_bytes;
    uint64_t unwind_bytes;
    uint32_t insns_checked;
    uint32_t insns_changed_size; /* widened or shortened branches */
} RewriteStats;

/*
 * Writes the optimized image.
 *
 * path:   the output; written under a temporary name in the same folder and renamed at the end.
 *         Mode bits are the input's. Deterministic.
 * Errors: ST_IO (nothing is left behind); ST_REFUSED (`no-header-slot`, `address-space`); ST_BUG
 *         when an emitted instruction does not equal its original.
 */
MUST_CHECK Status rewrite(Arena *arena, const Plan *plan, const char *path, RewriteStats *stats,
                          Error *err);

/* The same into memory: for tests and fuzzers. */
MUST_CHECK Status rewrite_to_bytes(Arena *arena, const Plan *plan, Bytes *out, RewriteStats *stats,
                                   Error *err);

typedef struct CheckReport {
    uint32_t patches;
    uint32_t insns; /* overlay instructions held against their originals */
    uint32_t fdes;
    uint32_t tables;
} CheckReport;

/*
 * Holds an output against its input: unchanged bytes outside patch sites, headers and named dynamic
 * entries; every patch leads to a mapped overlay instruction; every overlay instruction equals its
 * original up to its address; unwind tables complete and sorted; ELF rules.
 *
 * Errors: ST_BAD_INPUT with section and offset of the first thing that does not hold.
 */
MUST_CHECK Status check_output(Arena *arena, const Image *input, const Image *output,
                               CheckReport *report, Error *err);

/* New→old address map of an output (docs/formats/map.md). NULL in *out: not an output of respin. */
typedef struct AddressMap {
    NewAddr *at; /* sorted; entry i maps [at[i], at[i+1]) or one instruction start */
    Vaddr *old;  /* VADDR_NONE: made code or data */
    uint32_t n;
    ImageKey original;
} AddressMap;
MUST_CHECK Status address_map_read(Arena *arena, const Image *output, const AddressMap **out,
                                   Error *err);

/* The instruction forms that can be moved, one a line: name, where it is defined, proof; tabs. */
void rewriter_list_forms(Buffer *out);

#endif
