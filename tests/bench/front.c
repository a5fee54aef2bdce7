/*
 * front.c: what the front of the optimizer makes of whole modules.
 *
 *     front-stats [-v] IMAGE [PROFILE]
 *
 * Without a profile every function with an unwind entry counts as executed once. Prints how many
 * were refused by reason, tables found, jumps open, seconds and memory; -v prints each refusal and
 * each open jump.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/passes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static long peak_kib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

static void must(Status status, const Error *err)
{
    char text[1024];
    if (status == ST_OK)
        return;
    error_format(err, text, sizeof text);
    fprintf(stderr, "front-stats: %s\n", text);
    exit(status_exit_code(status));
}

/* One block of one byte at each entry, executed once. */
static const Profile *profile_of_entries(Arena *arena, const Image *image,
                                         const UnwindTable *unwind)
{
    Profile *profile = arena_one(arena, Profile);
    ProfileModule *module = arena_one(arena, ProfileModule);
    module->path = image->path;
    module->key = image->key;
    module->blocks = arena_many(arena, ProfileBlock, unwind->n_fdes);
    for (uint32_t i = 0; i < unwind->n_fdes; i++)
        module->blocks[module->n_blocks++] = (ProfileBlock){ unwind->fdes[i].start, 1, 1, 1, NULL };
    *profile =
        (Profile){ .path = "(entries)", .modules = module, .n_modules = 1, .complete = true };
    return profile;
}

typedef struct Totals {
    uint32_t funcs;
    uint32_t refused[REFUSED_COUNT];
    uint32_t open_plain, open_any, with_jumps, fragments;
    uint32_t n_tables, n_loose;
    uint64_t blocks, insns, jumps, proven, executed, executed_any;
    double cfg, tables, counts;
} Totals;

static void count_jumps(const Func *fn, Totals *totals, bool verbose)
{
    bool jumps = false;
    for (uint32_t i = 0; i < fn->n_blocks; i++) {
        const Block *block = &fn->blocks[i];
        totals->insns += block->n_insns;
        if (block_last(block)->flow != FLOW_JUMP_IND)
            continue;
        jumps = true;
        totals->jumps++;
        totals->proven += block->table >= 0 ? 1 : 0;
        if (verbose && block->table < 0 && fn->open_jump)
            printf("  0x%lx %s: open jump at 0x%lx%s count %lu\n", fn->entry.v,
                   fn->name != NULL ? fn->name : "", block_last(block)->addr.v,
                   fn->open_any ? " (any)" : "", block->end_count);
    }
    totals->with_jumps += jumps ? 1 : 0;
}

/* Some entry is no block of the function: its bound reaches past the table. */
static bool leads_outside(const Func *fn, const Table *table)
{
    for (uint32_t i = 0; i < table->n; i++)
        if (!is_block(func_block_at(fn, table->entries[i])))
            return true;
    return false;
}

static void count_func(const Func *fn, Totals *totals, bool verbose)
{
    totals->funcs++;
    totals->refused[fn->refused]++;
    totals->fragments += fn->n_extents - 1;
    if (fn->refused != 0) {
        if (verbose)
            printf("  0x%lx %s: %s: %s\n", fn->entry.v, fn->name != NULL ? fn->name : "",
                   refusal_rows[fn->refused].name, fn->why);
        return;
    }
    totals->executed += fn->count;
    totals->executed_any += fn->open_any ? fn->count : 0;
    totals->open_any += fn->open_any ? 1 : 0;
    totals->open_plain += fn->open_jump && !fn->open_any ? 1 : 0;
    totals->blocks += fn->n_blocks;
    totals->n_tables += fn->n_tables;
    for (uint32_t i = 0; i < fn->n_tables; i++)
        totals->n_loose += leads_outside(fn, &fn->tables[i]) ? 1 : 0;
    count_jumps(fn, totals, verbose);
}

static void run_pass(Context *ctx, PassRun *pass, Func *fn, double *spent)
{
    Error err = { .text = "" };
    PassStats stats = { 0 };
    double start = seconds();
    if (fn->refused == 0)
        must(pass(ctx, fn, &stats, &err), &err);
    arena_reset(ctx->scratch);
    *spent += seconds() - start;
}

static void print_totals(const Totals *totals, const PlanStats *stats)
{
    printf("functions %u, fragments %u, blocks %lu, instructions %lu\n", totals->funcs,
           totals->fragments, totals->blocks, totals->insns);
    for (int i = 1; i < REFUSED_COUNT; i++)
        if (totals->refused[i] != 0)
            printf("  refused %s: %u\n", refusal_rows[i].name, totals->refused[i]);
    printf("indirect jumps %lu in %u functions, proven %lu; tables %u (%u loose); escaping %u, no "
           "bound %u\n",
           totals->jumps, totals->with_jumps, totals->proven, totals->n_tables, totals->n_loose,
           stats->tables_escaping, stats->refused[REFUSED_TABLE_BOUND]);
    printf("open: plain %u, any %u functions (%.2f%% of %lu executed instructions)\n",
           totals->open_plain, totals->open_any,
           100.0 * (double)totals->executed_any / (double)(totals->executed + 1), totals->executed);
    printf("seconds: cfg %.2f tables %.2f counts %.2f; peak %ld MiB\n", totals->cfg, totals->tables,
           totals->counts, peak_kib() / 1024);
}

static void run_functions(Context *ctx, bool verbose)
{
    Error err = { .text = "" };
    Totals totals = { 0 };
    double start = seconds();
    must(discover_functions(ctx, &err), &err);
    printf(", discovered %.2f s\n", seconds() - start);
    arena_reset(ctx->scratch);
    for (uint32_t i = 0; i < ctx->program->n_funcs; i++) {
        Func *fn = &ctx->program->funcs[i];
        run_pass(ctx, build_cfg, fn, &totals.cfg);
        double before = totals.tables;
        run_pass(ctx, find_tables, fn, &totals.tables);
        if (verbose && totals.tables - before > 0.1)
            printf("  0x%lx %s: %u blocks, %.2f s for tables, peak %ld MiB\n", fn->entry.v,
                   fn->name != NULL ? fn->name : "", fn->n_blocks, totals.tables - before,
                   peak_kib() / 1024);
        run_pass(ctx, attach_counts, fn, &totals.counts);
        count_func(fn, &totals, verbose);
    }
    print_totals(&totals, ctx->stats);
}

int main(int argc, char **argv)
{
    bool verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
    Arena *arena = arena_new();
    Error err = { .text = "" };
    const Image *image;
    const UnwindTable *unwind;
    const Profile *profile;
    argv += verbose ? 1 : 0;
    argc -= verbose ? 1 : 0;
    if (argc < 2) {
        fprintf(stderr, "usage: front-stats [-v] IMAGE [PROFILE]\n");
        return 2;
    }
    double start = seconds();
    must(image_open(arena, argv[1], &image, &err), &err);
    must(unwind_read(arena, image, &unwind, &err), &err);
    if (argc > 2)
        must(profile_read(arena, argv[2], &profile, &err), &err);
    else
        profile = profile_of_entries(arena, image, unwind);
    OptimizeOptions options = { .hot = HOT_ALL_EXECUTED };
    PlanStats stats = { 0 };
    Program program = { .arena = arena, .image = image, .profile = profile };
    program.counts = profile_module_for(profile, image);
    if (program.counts == NULL) {
        fprintf(stderr, "front-stats: the profile does not know %s\n", argv[1]);
        return 4;
    }
    Context ctx = { .arena = arena,
                    .scratch = arena_new(),
                    .image = image,
                    .counts = program.counts,
                    .module = (uint32_t)(program.counts - profile->modules),
                    .unwind = unwind,
                    .options = &options,
                    .stats = &stats,
                    .program = &program };
    printf("%s: read %.2f s", argv[1], seconds() - start);
    run_functions(&ctx, verbose);
    image_close(image);
    arena_free(ctx.scratch);
    arena_free(arena);
    return 0;
}
