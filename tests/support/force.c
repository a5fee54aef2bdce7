/*
 * force IN OUT [original|reverse|random] [SEED] [FIRST LAST]: rewrites IN with a forced plan,
 * checks OUT against IN, and says how much was placed.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/support/force_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int complain(const Error *err)
{
    char text[1024];
    error_format(err, text, sizeof text);
    fprintf(stderr, "force: %s\n", text);
    return status_exit_code(err->status);
}

static Status run(Arena *arena, const char *in, const char *out, const ForceOptions *options,
                  Error *err)
{
    const Image *input, *output;
    const Plan *plan;
    RewriteStats stats;
    CheckReport report;
    TRY(image_open(arena, in, &input, err));
    TRY(force_plan(arena, input, options, &plan, err));
    TRY(rewrite(arena, plan, out, &stats, err));
    TRY(image_open(arena, out, &output, err));
    TRY(check_output(arena, input, output, &report, err));
    printf("%u functions, %u placed, %u patches; %u instructions checked, %u resized; %u FDEs; "
           "%" PRIu64 " -> %" PRIu64 " bytes\n",
           plan->unwind->n_fdes, plan->n_regions, report.patches, report.insns,
           stats.insns_changed_size, report.fdes, stats.input_size, stats.output_size);
    return ST_OK;
}

int main(int argc, char **argv)
{
    static const char *const names[] = { "best", "reverse", "random", "original" };
    ForceOptions options = { .order = ORDER_ORIGINAL };
    Error err = { 0 };
    if (argc < 3)
        return 2;
    for (unsigned i = 0; i < sizeof names / sizeof *names && argc > 3; i++)
        if (strcmp(argv[3], names[i]) == 0)
            options.order = (OrderChoice)i;
    if (argc > 4)
        options.seed = strtoull(argv[4], NULL, 0);
    if (argc > 6) {
        options.first = (uint32_t)strtoul(argv[5], NULL, 0);
        options.last = (uint32_t)strtoul(argv[6], NULL, 0);
    }
    Arena *arena = arena_new();
    Status status = run(arena, argv[1], argv[2], &options, &err);
    arena_free(arena);
    return status == ST_OK ? 0 : complain(&err);
}
