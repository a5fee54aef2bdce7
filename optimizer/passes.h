/*
 * The passes of the pipeline and what they share. Private to optimizer/.
 *
 * A pass works on one function, keeps the facts its table row (pipeline.c) promises, and refuses by
 * setting fn->refused and fn->why and returning ST_OK: the runner then drops the function. A Status
 * other than ST_OK ends the whole run.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_OPTIMIZER_PASSES_H
#define RESPIN_OPTIMIZER_PASSES_H

#include "optimizer/optimizer.h"

typedef uint32_t Facts;

enum Fact {
    FACT_CODE = 1u << 0,   /* extents are known */
    FACT_CFG = 1u << 1,    /* blocks and successors are complete and consistent */
    FACT_COUNTS = 1u << 2, /* counts are attached and flow is conserved */
    FACT_TABLES = 1u << 3, /* every indirect jump has a proven table or leaves the function, or
                              open_jump is set */
    FACT_PLACED =
        1u << 4, /* BLOCK_HOT, BLOCK_COLD_COPY, BLOCK_ROOT are decided, patch sites proven */
    FACT_LAYOUT = 1u << 5, /* fn->layout is a permutation of the placed blocks */
};

typedef struct PassStats {
    uint64_t changed;
    uint64_t bytes_added;
    uint64_t bytes_saved;
} PassStats;

/* What every pass may read. Const but for the two arenas and the statistics. */
typedef struct Context {
    Arena *arena;   /* lives as long as the plan */
    Arena *scratch; /* reset after each pass */
    const Image *image;
    const ProfileModule *counts;
    uint32_t module; /* index of `counts` in the profile: edges that stay inside say so */
    const UnwindTable *unwind;
    const OptimizeOptions *options;
    PlanStats *stats;
    Program *program;
    const struct ModuleRefs *refs; /* module_refs.h; written by discover_functions */
    struct PatchProof *proof;      /* module-wide knowledge of possible targets: patch_sites.h */
    Patch *patches; /* found by place_blocks; those of functions refused later as well */
    size_t n_patches, cap_patches;
    uint64_t place_count; /* blocks with fewer executions stay in the original */
    uint64_t hot_count;   /* blocks with fewer executions go to the cold part of their function */
} Context;

typedef Status PassRun(Context *ctx, Func *fn, PassStats *stats, Error *err);

typedef struct Pass {
    const char *name;
    PassRun *run;
    Facts needs;
    Facts gives;
    Facts breaks;
} Pass;

extern const Pass pipeline[];
extern const size_t n_pipeline;

/* Front: which functions there are, what their code is, how often it ran. */

/* discover.c: extents of all functions that the profile executed (or the options want). */
MUST_CHECK Status discover_functions(Context *ctx, Error *err);
PassRun build_cfg;     /* cfg.c: decode linearly and recursively, blocks, successors */
PassRun find_tables;   /* tables.c: jump tables and computed goto with proven bounds */
PassRun attach_counts; /* counts.c: block and edge counts, checked for flow */

/* Back: what is placed, and how. */
PassRun place_blocks;     /* place.c: hot set, roots, joins, cold copies, patch sites (law 1, 4) */
PassRun clone_tables;     /* clone_tables.c: decide clones, rewrite dispatch where needed */
PassRun form_superblocks; /* superblocks.c: mutually most likely paths, tail duplication */
PassRun order_blocks;     /* order_blocks.c: ext-TSP */
PassRun align_loops;      /* align.c */

/* tables.c: something forms an address inside the function; without that, a jump without a table
 * that takes an address as it is leaves the function. */
bool tables_forms_inside(const Func *fn);
/* refuse_module.c: what about the image as a whole forbids an overlay; ST_REFUSED with the reason.
 */
MUST_CHECK Status check_module(const Image *image, const UnwindTable *unwind,
                               const Profile *profile, const ProfileModule *counts, Error *err);
/* plan_stats.c: what the plan amounts to by the profile; fills patch counts and statistics. */
void measure_plan(Context *ctx, Plan *plan);
/* The patch at the start of a block, or after its endbr64; NULL: none. */
const Patch *plan_patch_at(const Plan *plan, Vaddr start);
/* Fills Patch.count and stats.bounces anew. */
void count_bounces(const Context *ctx, Plan *plan);
/* Taken branches by the profile: of the original, and of the layout with what is not placed. */
uint64_t func_taken_in_original(const Func *fn);
uint64_t func_taken_in_layout(const Func *fn);
/* settle_entries.c: leaves entries unpatched where the original is as good as the jump to the copy.
 * Needs counted bounces. */
void settle_entries(Context *ctx, Plan *plan);
/* order_regions.c: makes plan->regions from the layouts of the functions that were not refused. */
void order_regions(Context *ctx, Plan *plan);

/* run.c: the passes over one function. A refused function is counted; ST_OK. */
MUST_CHECK Status run_pipeline(Context *ctx, Func *fn, Error *err);

/* One checker per fact; ST_BUG when a claimed fact does not hold (facts.c). */
MUST_CHECK Status verify_facts(const Context *ctx, const Func *fn, Facts have, Error *err);

/* Marks the function refused; returns ST_OK so that a pass can `return refuse(...)`. */
__attribute__((format(printf, 3, 4))) Status refuse(Func *fn, Refusal reason, const char *format,
                                                    ...);

#endif
