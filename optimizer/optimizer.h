/*
 * Image × Profile → Plan: what the overlay holds, in which order, and where the original is
 * patched to lead to it. Writes nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_OPTIMIZER_OPTIMIZER_H
#define RESPIN_OPTIMIZER_OPTIMIZER_H

#include "core/log.h"
#include "core/program.h"
#include "core/unwind.h"
#include "optimizer/refusals.h"

typedef enum OrderChoice { ORDER_BEST, ORDER_REVERSE, ORDER_RANDOM, ORDER_ORIGINAL } OrderChoice;

typedef enum HotChoice {
    HOT_PROFILE,      /* functions that matter by the profile */
    HOT_ALL_EXECUTED, /* every executed function */
} HotChoice;

enum { GROWTH_DEFAULT = 15 }; /* percent */

typedef struct OptimizeOptions {
    HotChoice hot;
    OrderChoice blocks; /* --layout=reverse|random:SEED|original */
    OrderChoice regions;
    uint64_t seed;
    uint32_t growth_percent; /* bound on tail duplication, of hot bytes; usually GROWTH_DEFAULT */
    bool no_patch_joins;     /* tests */
    const char *stop_after;  /* pass name; NULL */
    const char *dump;        /* pass name; NULL */
    const char *only;        /* "A-B": function index range, for bisecting; NULL: all */
    Log log;
} OptimizeOptions;

/* One run of placed blocks: the hot part or the copied cold part of one function. */
typedef struct Region {
    FuncId fn;
    const BlockId *blocks; /* order of placement; blocks[0] of the hot part need not be the entry */
    uint32_t n_blocks;
    bool cold;
    uint8_t align; /* log2 */
} Region;

typedef enum PatchKind { PATCH_ENTRY, PATCH_JOIN, PATCH_LABEL } PatchKind;

/* A jump written over original instructions; proven by law 1. */
typedef struct Patch {
    Vaddr site;    /* first byte overwritten (after endbr64 when the block begins with one) */
    uint32_t size; /* bytes of the whole instructions overwritten, at least 5 */
    FuncId fn;
    BlockId to;       /* the overlay block at which execution goes on… */
    uint32_t to_insn; /* …at this instruction of it (1 after an endbr64) */
    uint8_t kind;     /* PatchKind */
    uint64_t count;   /* times that the profile would pay this jump */
} Patch;

/* Calls from the overlay to a stub of the procedure linkage table go to a guard block before the
 * function's hot entry instead (bind_plt.c). */
typedef struct Bind {
    Vaddr stub; /* what the call instructions say */
    Vaddr slot; /* of the global offset table, read by the stub and by the guard */
    FuncId fn;
    BlockId to;     /* the guard */
    uint64_t count; /* calls by the profile */
} Bind;

typedef struct PlanStats {
    uint32_t funcs_executed;
    uint32_t funcs_placed;
    uint32_t funcs_stranded;               /* with a loop in which original code may stay (law 4) */
    uint32_t refused[REFUSED_COUNT];       /* functions, tables, sites by reason */
    uint64_t refused_insns[REFUSED_COUNT]; /* executed instructions concerned */
    uint64_t insns_total;                  /* executed in the module */
    uint64_t insns_placed;                 /* of them inside the overlay */
    uint64_t bounces[3]; /* jumps from patched sites that the profile pays, by PatchKind */
    uint32_t patches[3]; /* by PatchKind */
    uint32_t tables_found, tables_cloned, tables_escaping;
    uint64_t bytes_hot, bytes_cold_copied, bytes_duplicated;
    uint32_t stubs_bound;        /* PLT stubs of own functions that calls pass by now */
    uint64_t calls_bound;        /* how often, by the profile */
    uint32_t entries_left;       /* unpatched: the original is as good as a jump to the copy */
    uint64_t entries_left_calls; /* through pointers, by the profile */
    uint64_t taken_before, taken_after; /* estimated from the profile, in the placed functions */
} PlanStats;

typedef struct Plan {
    const Image *image;
    const Profile *profile;
    const UnwindTable *unwind;
    Program *program;
    Region *regions; /* order of placement: all hot ones, then all cold ones */
    uint32_t n_regions;
    Patch *patches; /* sorted by site; they do not overlap */
    uint32_t n_patches;
    Bind *binds; /* sorted by stub */
    uint32_t n_binds;
    PlanStats stats;
} Plan;

/*
 * Makes the plan.
 *
 * Result: in `arena`. A plan without regions is ST_OK (nothing executed).
 * Errors: ST_REFUSED with a module-wide reason in the text; ST_BAD_INPUT; ST_BUG.
 */
MUST_CHECK Status optimize(Arena *arena, const Image *image, const Profile *profile,
                           const OptimizeOptions *options, const Plan **out, Error *err);

/* The text of `--explain`: what is placed, patched, cloned, and what was refused and why. */
void plan_explain(const Plan *plan, Buffer *out);

/* The pipeline, one pass a line: name, facts it needs, gives, breaks; tabs between. */
void optimizer_list_passes(Buffer *out);

#endif
