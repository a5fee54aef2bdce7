/*
 * explain.c: the text of `respin optimize --explain`.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/optimizer.h"

#include <stdarg.h>
#include <stdio.h>

__attribute__((format(printf, 2, 3))) static void say(Buffer *out, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (length > 0)
        buffer_put(out, line, (size_t)length < sizeof line ? (size_t)length : sizeof line - 1);
}

static double percent(uint64_t part, uint64_t whole)
{
    return whole > 0 ? 100.0 * (double)part / (double)whole : 0;
}

static void say_functions(const PlanStats *stats, Buffer *out)
{
    say(out, "  functions executed      %10" PRIu32 "\n", stats->funcs_executed);
    say(out, "  functions placed        %10" PRIu32 "\n", stats->funcs_placed);
    say(out, "  instructions executed   %10" PRIu64 "\n", stats->insns_total);
    say(out, "  inside the overlay      %10" PRIu64 "  %6.2f%%\n", stats->insns_placed,
        percent(stats->insns_placed, stats->insns_total));
    say(out, "  with a stranded loop    %10" PRIu32 "  functions\n", stats->funcs_stranded);
    say(out, "  bytes hot               %10" PRIu64 "\n", stats->bytes_hot);
    say(out, "  bytes duplicated        %10" PRIu64 "  %6.2f%% of hot\n", stats->bytes_duplicated,
        percent(stats->bytes_duplicated, stats->bytes_hot));
    say(out, "  bytes cold copied       %10" PRIu64 "\n", stats->bytes_cold_copied);
}

static void say_patches(const PlanStats *stats, Buffer *out)
{
    static const char *const names[3] = { "entries", "joins", "labels" };
    say(out, "  %-22s  %10s  %14s\n", "patch sites", "sites", "jumps paid");
    for (int kind = 0; kind < 3; kind++)
        say(out, "    %-20s  %10" PRIu32 "  %14" PRIu64 "\n", names[kind], stats->patches[kind],
            stats->bounces[kind]);
    say(out, "  entries left as they are %9" PRIu32 "  %14" PRIu64 "  calls through pointers\n",
        stats->entries_left, stats->entries_left_calls);
    say(out, "  PLT stubs passed by     %10" PRIu32 "  %14" PRIu64 "  calls\n", stats->stubs_bound,
        stats->calls_bound);
    say(out, "  jump tables found       %10" PRIu32 "\n", stats->tables_found);
    say(out, "  jump tables cloned      %10" PRIu32 "\n", stats->tables_cloned);
    say(out, "  jump tables escaping    %10" PRIu32 "\n", stats->tables_escaping);
    say(out, "  taken branches, by the profile: %" PRIu64 " before, %" PRIu64 " after (%+.1f%%)\n",
        stats->taken_before, stats->taken_after,
        stats->taken_before > 0 ? percent(stats->taken_after, stats->taken_before) - 100 : 0.0);
}

static void say_refusals(const PlanStats *stats, Buffer *out)
{
    static const char *const scopes[] = { "function", "table", "site", "module" };
    say(out, "  %-18s  %-8s  %8s  %14s  %s\n", "refused", "what", "times", "instructions", "why");
    for (int i = REFUSED_NOT + 1; i < REFUSED_COUNT; i++) {
        const RefusalRow *row = &refusal_rows[i];
        if (stats->refused[i] == 0)
            continue;
        say(out, "    %-16s  %-8s  %8" PRIu32 "  %14" PRIu64 "  %s\n", row->name,
            scopes[row->scope], stats->refused[i], stats->refused_insns[i], row->sentence);
    }
}

void plan_explain(const Plan *plan, Buffer *out)
{
    say(out, "%s\n", plan->image->path);
    say_functions(&plan->stats, out);
    say_patches(&plan->stats, out);
    say_refusals(&plan->stats, out);
}
