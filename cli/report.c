/*
 * report.c: `respin report app.rsp [BINARY]`: where a program spent its instructions.
 *
 * Everything printed follows from the profile; names come from the files that it was taken from.
 * With BINARY the optimizer is asked what it would do with it, and what it would refuse.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli/report.h"
#include "core/out_file.h"
#include "optimizer/optimizer.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FUNCS_SHOWN = 25, BLOCKS_SHOWN = 15, HTML_SHOWN = 200 };

typedef struct ReportOptions {
    bool records;
    uint64_t top;
    const char *html; /* file; NULL: none */
} ReportOptions;

double report_percent(uint64_t part, uint64_t whole)
{
    return whole > 0 ? 100.0 * (double)part / (double)whole : 0.0;
}

const char *report_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

const char *report_limits(Arena *arena, const Profile *profile)
{
    return arena_printf(arena, "%s%s%s%s",
                        profile->complete ? "" : ", not complete (killed, or still running)",
                        profile->counting_stopped ? ", counting stopped: the disk was full" : "",
                        profile->detached ? ", partly native" : "",
                        profile->sampled ? ", estimated from samples" : "");
}

static void print_heading(Command *command, const Profile *profile, const Hot *hot)
{
    printf("%s: %s\n", profile->path,
           profile->command[0] != '\0' ? profile->command : "(command not known)");
    printf("%" PRIu64 " instructions in %" PRIu32 " process%s%s\n", hot->insns,
           profile->n_processes, profile->n_processes == 1 ? "" : "es",
           report_limits(command->arena, profile));
    for (uint32_t i = 0; i < profile->n_remarks; i++)
        printf("note: %s\n", profile->remarks[i]);
}

static int order_shares(const void *left, const void *right)
{
    uint64_t a = profile_instructions(*(const ProfileModule *const *)left);
    uint64_t b = profile_instructions(*(const ProfileModule *const *)right);
    return (a < b) - (a > b);
}

const ProfileModule **report_modules(Arena *arena, const Profile *profile)
{
    const ProfileModule **sorted = arena_many(arena, const ProfileModule *, profile->n_modules);
    for (uint32_t i = 0; i < profile->n_modules; i++)
        sorted[i] = &profile->modules[i];
    if (profile->n_modules > 1)
        qsort(sorted, profile->n_modules, sizeof(const ProfileModule *), order_shares);
    return sorted;
}

static void print_modules(Command *command, const Profile *profile, const Hot *hot)
{
    const ProfileModule **sorted = report_modules(command->arena, profile);
    printf("\n  share     instructions   branches taken  jumps  calls  indirect   blocks  module\n"
           "                              (per 100 instructions)\n");
    for (uint32_t i = 0; i < profile->n_modules; i++) {
        ProfileFigures of;
        profile_figures(sorted[i], &of);
        printf("  %5.1f%% %16" PRIu64 "     %6.2f %6.2f %6.2f %6.2f    %6.2f %8" PRIu32 "  %s\n",
               report_percent(of.instructions, hot->insns), of.instructions,
               report_percent(of.branches, of.instructions),
               report_percent(of.taken_conditional, of.instructions),
               report_percent(of.jumps, of.instructions), report_percent(of.calls, of.instructions),
               report_percent(of.indirect_calls + of.indirect_jumps, of.instructions),
               sorted[i]->n_blocks, sorted[i]->path);
    }
    if (profile->outside_insns > 0)
        printf("  %5.1f%% %16" PRIu64 "  in generated code\n",
               report_percent(profile->outside_insns, hot->insns), profile->outside_insns);
}

static void print_functions(const Hot *hot, uint64_t top)
{
    uint64_t sum = 0;
    printf("\n  share   in all     instructions         calls   blocks    bytes  function\n");
    for (uint32_t i = 0; i < hot->n_funcs && i < top; i++) {
        const HotFunc *func = hot->funcs[i];
        sum += func->insns;
        printf(
            "  %5.1f%%  %5.1f%% %16" PRIu64 " %13" PRIu64 " %8" PRIu32 " %8" PRIu64 "  %s (%s)\n",
            report_percent(func->insns, hot->insns), report_percent(sum, hot->insns), func->insns,
            func->calls, func->n_blocks, func->bytes, func->name, report_base_name(func->module));
    }
    if (hot->n_funcs > top)
        printf("  %" PRIu64 " more functions were executed\n", hot->n_funcs - top);
}

static void print_blocks(const Hot *hot, uint64_t top)
{
    printf("\n  share          count  instructions  address             in function\n");
    for (uint32_t i = 0; i < hot->n_blocks && i < top; i++) {
        const HotBlock *hot_block = &hot->blocks[i];
        const ProfileBlock *block = hot_block->block;
        printf("  %5.1f%% %14" PRIu64 " %13" PRIu32 "  0x%-16" PRIx64 "  %s (%s)\n",
               report_percent(hot_block->insns, hot->insns), block->count, block->n_insns,
               block->start.v, hot_block->func->name, report_base_name(hot_block->func->module));
    }
}

const unsigned report_coverages[REPORT_COVERAGES] = { 50, 75, 90, 99, 100 };

static void print_coverage(const Hot *hot)
{
    printf("\n  of all instructions    in blocks        bytes\n");
    for (size_t i = 0; i < REPORT_COVERAGES; i++) {
        uint32_t n_blocks;
        uint64_t bytes;
        hot_coverage(hot, report_coverages[i], &n_blocks, &bytes);
        printf("  %18u%% %12" PRIu32 " %12" PRIu64 "\n", report_coverages[i], n_blocks, bytes);
    }
}

static void print_kinds(const Profile *profile)
{
    uint64_t counts[EDGE_KINDS] = { 0 };
    uint32_t edges[EDGE_KINDS] = { 0 };
    for (uint32_t i = 0; i < profile->n_modules; i++) {
        const ProfileModule *module = &profile->modules[i];
        for (uint32_t j = 0; j < module->n_edges; j++) {
            counts[module->edges[j].kind] += module->edges[j].count;
            edges[module->edges[j].kind]++;
        }
    }
    printf("\n  kind of edge      edges            count\n");
    for (int kind = 0; kind < EDGE_KINDS; kind++)
        if (edges[kind] > 0)
            printf("  %-12s %10" PRIu32 " %16" PRIu64 "\n", profile_edge_name((EdgeKind)kind),
                   edges[kind], counts[kind]);
}

typedef struct ValueRow {
    const ProfileModule *module;
    const ProfileValue *value;
} ValueRow;

static int order_rows(const void *left, const void *right)
{
    const ProfileValue *a = ((const ValueRow *)left)->value;
    const ProfileValue *b = ((const ValueRow *)right)->value;
    if (a->n != b->n)
        return a->n < b->n ? 1 : -1;
    return (a->at.v > b->at.v) - (a->at.v < b->at.v);
}

static void print_row(const ValueRow *row)
{
    enum { SHOWN = 4 };
    const ProfileValue *value = row->value;
    printf("  %13" PRIu64 "  %-8s  0x%-14" PRIx64 " %-20s", value->n,
           profile_value_name((ObservedKind)value->kind), value->at.v,
           report_base_name(row->module->path));
    for (uint32_t i = 0; i < value->n_top && i < SHOWN; i++)
        printf(value->kind == OBSERVED_STRIDE ? "  %" PRId64 " %.1f%%" : "  %" PRIu64 " %.1f%%",
               value->top[i].value, report_percent(value->top[i].count, value->n));
    printf("%s\n", value->n_top > SHOWN || value->missed > 0 ? "  ..." : "");
}

/* The instructions that were observed most. */
static void print_values(Command *command, const Profile *profile, uint64_t top)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < profile->n_modules; i++)
        n += profile->modules[i].n_values;
    if (n == 0)
        return;
    ValueRow *rows = arena_many(command->arena, ValueRow, n);
    n = 0;
    for (uint32_t i = 0; i < profile->n_modules; i++)
        for (uint32_t j = 0; j < profile->modules[i].n_values; j++)
            rows[n++] = (ValueRow){ &profile->modules[i], &profile->modules[i].values[j] };
    qsort(rows, n, sizeof *rows, order_rows);
    printf("\n       observed  kind      address          module                values\n");
    for (uint64_t i = 0; i < n && i < top; i++)
        print_row(&rows[i]);
    if (n > top)
        printf("  %" PRIu64 " more instructions were observed\n", n - top);
}

/* What the optimizer makes of `path` with this profile, by its usual options. */
/* What the optimizer would do with the file, or nothing where none is named. */
static Status explain_binary(Command *command, const Profile *profile, Buffer *text, Error *err)
{
    if (command->n_args == 1)
        return ST_OK;
    const Image *image;
    const Plan *plan;
    OptimizeOptions options = { .growth_percent = GROWTH_DEFAULT, .log = command->log };
    TRY(image_open(command->arena, command->args[1], &image, err));
    TRY(optimize(command->arena, image, profile, &options, &plan, err));
    buffer_u8(text, '\n');
    plan_explain(plan, text);
    return ST_OK; /* the image stays open: an error names its sections */
}

static json_t *modules_to_json(Command *command, const Profile *profile)
{
    const ProfileModule **sorted = report_modules(command->arena, profile);
    json_t *modules = json_array();
    for (uint32_t i = 0; i < profile->n_modules; i++) {
        ProfileFigures of;
        profile_figures(sorted[i], &of);
        json_array_append_new(
            modules,
            json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "path", sorted[i]->path,
                      "instructions", (json_int_t)of.instructions, "branches",
                      (json_int_t)of.branches, "taken", (json_int_t)of.taken_conditional, "jumps",
                      (json_int_t)of.jumps, "indirect_jumps", (json_int_t)of.indirect_jumps,
                      "calls", (json_int_t)of.calls, "indirect_calls",
                      (json_int_t)of.indirect_calls, "returns", (json_int_t)of.returns));
    }
    return modules;
}

static json_t *functions_to_json(const Hot *hot, uint64_t top)
{
    json_t *functions = json_array();
    for (uint32_t i = 0; i < hot->n_funcs && i < top; i++) {
        const HotFunc *func = hot->funcs[i];
        json_array_append_new(
            functions,
            json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "name", func->name, "module",
                      func->module, "start", (json_int_t)func->start.v, "instructions",
                      (json_int_t)func->insns, "calls", (json_int_t)func->calls, "blocks",
                      (json_int_t)func->n_blocks, "bytes", (json_int_t)func->bytes));
    }
    return functions;
}

static Status print_json(Command *command, const Profile *profile, const Hot *hot, uint64_t top,
                         Error *err)
{
    json_t *value = json_pack(
        "{s:s, s:s, s:i, s:b, s:I, s:I, s:o, s:o}", "file", profile->path, "command",
        profile->command, "processes", (int)profile->n_processes, "complete", profile->complete,
        "instructions", (json_int_t)hot->insns, "outside", (json_int_t)profile->outside_insns,
        "modules", modules_to_json(command, profile), "functions", functions_to_json(hot, top));
    if (value == NULL) /* json_pack refuses strings that are not UTF-8 */
        return FAIL(err, ST_BAD_INPUT, ((Place){ profile->path, NULL, PLACE_NO_OFFSET }),
                    "holds a name that is not UTF-8: no JSON for it");
    json_dumpf(value, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(value);
    return ST_OK;
}

static Status run_report(Command *command, const void *parsed, Error *err)
{
    const ReportOptions *options = parsed;
    const Profile *profile;
    Buffer plan = { .arena = command->arena };
    TRY(want_operands(command, 1, 2, "PROFILE [BINARY]", err));
    if (command->n_args > 1 && (options->records || command->json))
        return usage_error(command, err, "--records and --json say nothing of a BINARY");
    if (options->html != NULL && out_file_is_same(options->html, command->args[0]))
        return usage_error(command, err, "'%s' is the profile: it would be lost", options->html);
    TRY(profile_read(command->arena, command->args[0], &profile, err));
    TRY(explain_binary(command, profile, &plan, err));
    if (options->records) {
        Buffer text = { .arena = command->arena };
        profile_write_text(profile, &text);
        fwrite(text.data, 1, text.len, stdout);
        return ST_OK;
    }
    Hot hot;
    hot_collect(command->arena, profile, &hot);
    if (options->html != NULL)
        TRY(report_write_html(command, profile, &hot, options->top > 0 ? options->top : HTML_SHOWN,
                              options->html, err));
    if (command->json)
        return print_json(command, profile, &hot, options->top > 0 ? options->top : UINT64_MAX,
                          err);
    print_heading(command, profile, &hot);
    print_modules(command, profile, &hot);
    print_functions(&hot, options->top > 0 ? options->top : FUNCS_SHOWN);
    print_blocks(&hot, options->top > 0 ? options->top : BLOCKS_SHOWN);
    print_coverage(&hot);
    print_kinds(profile);
    print_values(command, profile, options->top > 0 ? options->top : FUNCS_SHOWN);
    if (plan.len != 0)
        fwrite(plan.data, 1, plan.len, stdout);
    return ST_OK;
}

static const OptionRow report_options[] = {
    { 'n', "top", "N", OPTION_NUMBER, offsetof(ReportOptions, top),
      "how many functions and blocks to print" },
    { 0, "records", NULL, OPTION_FLAG, offsetof(ReportOptions, records),
      "print every record, in the text form of profiles" },
    { 0, "html", "FILE", OPTION_STRING, offsetof(ReportOptions, html),
      "write the report as a page for a browser, too" },
    { 0, NULL, NULL, OPTION_FLAG, 0, NULL },
};

const Verb verb_report = {
    .name = "report",
    .usage = "PROFILE [BINARY]",
    .summary = "where a program spent its instructions",
    .help = "Prints what PROFILE holds: modules by their share of the executed instructions, the\n"
            "hottest functions and blocks, how little code covers how much of the run, and the\n"
            "counts of branches, calls and returns. With BINARY, also what the optimizer would\n"
            "place and patch in it, and what it would refuse and why.\n",
    .options = report_options,
    .options_size = sizeof(ReportOptions),
    .run = run_report,
};
