/*
 * compare_print.c: the result of a comparison as figures, as a table, and as JSON.
 *
 * One table of rows (model_rows) serves all.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli/compare.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define GREEN "\033[32m"
#define RED "\033[31m"
#define PLAIN "\033[0m"

/* ---- rows ----------------------------------------------------------------------------------- */

static double per_thousand(uint64_t misses, uint64_t instructions)
{
    return instructions > 0 ? 1000.0 * (double)misses / (double)instructions : 0;
}

static double taken_branches(const ProfileFigures *figures)
{
    return (double)figures->taken_conditional + (double)figures->jumps;
}

static double model_instructions(const ModelFigures *model)
{
    return (double)model->instructions;
}

static double model_taken(const ModelFigures *model)
{
    return taken_branches(&model->all);
}

static double model_branches(const ModelFigures *model)
{
    return (double)model->all.branches;
}

static double model_calls(const ModelFigures *model)
{
    return (double)model->all.calls + (double)model->all.indirect_calls;
}

static double model_returns(const ModelFigures *model)
{
    return (double)model->all.returns;
}

static double model_indirect(const ModelFigures *model)
{
    return (double)model->all.indirect_jumps;
}

static double model_lines(const ModelFigures *model)
{
    return model->lines_per_million;
}

static double model_pages(const ModelFigures *model)
{
    return model->pages_per_million;
}

static double model_icache(const ModelFigures *model)
{
    return per_thousand(model->icache_misses, model->instructions);
}

static double model_itlb(const ModelFigures *model)
{
    return per_thousand(model->itlb_misses, model->instructions);
}

static double model_btb(const ModelFigures *model)
{
    return per_thousand(model->btb_misses, model->instructions);
}

static double changed_instructions(const ModelFigures *model)
{
    return (double)model->changed.instructions;
}

static double changed_taken(const ModelFigures *model)
{
    return taken_branches(&model->changed);
}

/* `text`, name in JSON, value, digits after the point, only shown when modules changed. */
static const struct {
    const char *text;
    const char *name;
    double (*value)(const ModelFigures *);
    int digits;
    bool of_changed;
} model_rows[] = {
    { "instructions", "instructions", model_instructions, 0, false },
    { "  in the changed modules", "changed_instructions", changed_instructions, 0, true },
    { "taken branches", "taken_branches", model_taken, 0, false },
    { "  in the changed modules", "changed_taken_branches", changed_taken, 0, true },
    { "conditional branches", "conditional_branches", model_branches, 0, false },
    { "calls", "calls", model_calls, 0, false },
    { "returns", "returns", model_returns, 0, false },
    { "indirect jumps", "indirect_jumps", model_indirect, 0, false },
    { "code lines per 1M instructions", "lines_per_million", model_lines, 1, false },
    { "code pages per 1M instructions", "pages_per_million", model_pages, 1, false },
    { "I-cache misses per 1000", "icache_misses_per_thousand", model_icache, 3, false },
    { "iTLB misses per 1000", "itlb_misses_per_thousand", model_itlb, 3, false },
    { "BTB misses per 1000", "btb_misses_per_thousand", model_btb, 3, false },
};
enum { N_MODEL_ROWS = sizeof model_rows / sizeof model_rows[0] };
_Static_assert((int)N_MODEL_ROWS <= (int)FIGURES_MOST && PERF_COUNTERS + 3 <= (int)FIGURES_MOST,
               "figures have room");

/* Median of a hardware counter over all runs of a side; false: some run lacks it. */
static bool counter_median(const Comparison *comparison, int which, int counter, double *out)
{
    Arena *arena = comparison->command->arena;
    double *values = arena_many(arena, double, comparison->pairs);
    for (uint32_t i = 0; i < comparison->pairs; i++) {
        const PerfCounts *counts = &comparison->side[which].counts[i];
        if (!counts->has[counter])
            return false;
        values[i] = counts->value[counter];
    }
    if (comparison->pairs == 0)
        return false;
    *out = statistics_median(arena, values, comparison->pairs);
    return true;
}

/* ---- figures -------------------------------------------------------------------------------- */

/* A number with commas between thousands. */
static const char *grouped(Arena *arena, double value, int digits)
{
    char plain[64];
    int n = snprintf(plain, sizeof plain, "%.*f", digits, value);
    char *out = arena_alloc(arena, (size_t)n * 2 + 1), *to = out;
    int whole = (int)strcspn(plain, ".");
    for (int i = 0; i < n; i++) {
        if (i > 0 && i < whole && (whole - i) % 3 == 0 && plain[i - 1] != '-')
            *to++ = ',';
        *to++ = plain[i];
    }
    *to = '\0';
    return out;
}

static Figure figure_of(const Comparison *comparison, const char *text, double before, double after,
                        int digits)
{
    Arena *arena = comparison->command->arena;
    Figure figure = { text, grouped(arena, before, digits), grouped(arena, after, digits), "", 0 };
    if (strpbrk(figure.before, "123456789") != NULL) /* not all zeroes */
        figure.change = arena_printf(arena, "%+.1f%%", 100 * (after - before) / before);
    return figure;
}

static Figure time_of(const Comparison *comparison, const char *text, const double *before,
                      const double *after, Interval ratio)
{
    Arena *arena = comparison->command->arena;
    uint32_t n = comparison->pairs;
    return (Figure){
        .text = text,
        .before = arena_printf(arena, "%.3f s", statistics_median(arena, before, n)),
        .after = arena_printf(arena, "%.3f s", statistics_median(arena, after, n)),
        .change = arena_printf(arena, "%.3f [%.3f, %.3f]", ratio.middle, ratio.low, ratio.high),
        .verdict = ratio.low > 1    ? 1
                   : ratio.high < 1 ? -1
                                    : 0,
    };
}

uint32_t comparison_measured(const Comparison *comparison, Figure *out)
{
    const Side *before = &comparison->side[BEFORE], *after = &comparison->side[AFTER];
    uint32_t n = 0;
    out[n++] =
        time_of(comparison, "wall time, median", before->wall, after->wall, comparison->wall);
    out[n++] =
        time_of(comparison, "user time, median", before->user, after->user, comparison->user);
    for (int i = 0; i < PERF_COUNTERS; i++) {
        double left, right;
        if (counter_median(comparison, BEFORE, i, &left) &&
            counter_median(comparison, AFTER, i, &right))
            out[n++] = figure_of(comparison, perf_counter_names[i], left, right, 0);
    }
    out[n++] = figure_of(comparison, "peak memory, KiB", (double)before->peak_bytes / 1024,
                         (double)after->peak_bytes / 1024, 0);
    return n;
}

uint32_t comparison_counted(const Comparison *comparison, Figure *out)
{
    uint32_t n = 0;
    for (size_t i = 0; i < N_MODEL_ROWS; i++)
        if (!model_rows[i].of_changed || comparison->n_changed > 0)
            out[n++] = figure_of(comparison, model_rows[i].text,
                                 model_rows[i].value(&comparison->side[BEFORE].model),
                                 model_rows[i].value(&comparison->side[AFTER].model),
                                 model_rows[i].digits);
    return n;
}

/* ---- text ----------------------------------------------------------------------------------- */

static void print_figure(const Comparison *comparison, const Figure *figure)
{
    const char *tint = figure->verdict > 0 ? GREEN : figure->verdict < 0 ? RED : "";
    bool is_time = strchr(figure->change, '[') != NULL, color = comparison->command->color;
    printf("  %-32s %16s %16s", figure->text, figure->before, figure->after);
    if (is_time)
        printf("   %s%s%s", color ? tint : "", figure->change, color ? PLAIN : "");
    else if (figure->change[0] != '\0')
        printf(" %9s", figure->change);
    putchar('\n');
}

static void print_measured(const Comparison *comparison)
{
    Figure figures[FIGURES_MOST];
    uint32_t n = comparison_measured(comparison, figures);
    if (comparison->cpu >= 0)
        printf("\nmeasured on CPU %d, %" PRIu32 " interleaved pairs\n", comparison->cpu,
               comparison->pairs);
    else
        printf("\nmeasured, %" PRIu32 " interleaved pairs\n", comparison->pairs);
    printf("  %-32s %16s %16s   %s\n", "", "before", "after", "before/after [95% interval]");
    for (uint32_t i = 0; i < n; i++)
        print_figure(comparison, &figures[i]);
    if (comparison->too_short)
        puts("  (runs this short show little but the cost of starting)");
}

static void print_model(const Comparison *comparison)
{
    Figure figures[FIGURES_MOST];
    uint32_t n = comparison_counted(comparison, figures);
    puts("\ncounted by the process VM, no noise");
    printf("  %-32s %16s %16s %9s\n", "", "before", "after", "change");
    for (uint32_t i = 0; i < n; i++)
        print_figure(comparison, &figures[i]);
}

void comparison_print_text(const Comparison *comparison)
{
    Arena *arena = comparison->command->arena;
    printf("before  %s\nafter   %s\n", comparison->side[BEFORE].spec.name,
           comparison->side[AFTER].spec.name);
    if (comparison->difference != NULL) {
        printf("\nnot the same: %s\n", comparison->difference);
        return;
    }
    printf("same    standard output and %s in every run\n",
           run_status_text(arena, comparison->status));
    if (comparison->pairs > 0)
        print_measured(comparison);
    if (comparison->has_model)
        print_model(comparison);
    if (comparison->slower)
        puts("\nafter is slower");
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static json_t *time_to_json(const Comparison *comparison, const double *before, const double *after,
                            Interval ratio)
{
    Arena *arena = comparison->command->arena;
    return json_pack("{s:f, s:f, s:f, s:f, s:f}", "before",
                     statistics_median(arena, before, comparison->pairs), "after",
                     statistics_median(arena, after, comparison->pairs), "ratio", ratio.middle,
                     "low", ratio.low, "high", ratio.high);
}

static json_t *counters_to_json(const Comparison *comparison, int which)
{
    json_t *object = json_object();
    for (int i = 0; i < PERF_COUNTERS; i++) {
        double value;
        if (counter_median(comparison, which, i, &value))
            json_object_set_new(object, perf_counter_names[i], json_real(value));
    }
    return object;
}

static json_t *model_to_json(const Comparison *comparison, int which)
{
    json_t *object = json_object();
    for (size_t i = 0; i < N_MODEL_ROWS; i++) {
        double value = model_rows[i].value(&comparison->side[which].model);
        if (model_rows[i].of_changed && comparison->n_changed == 0)
            continue;
        json_object_set_new(object, model_rows[i].name,
                            model_rows[i].digits == 0 ? json_integer((json_int_t)value)
                                                      : json_real(value));
    }
    return object;
}

static json_t *side_to_json(const Comparison *comparison, int which)
{
    const Side *side = &comparison->side[which];
    json_t *object = json_pack("{s:s, s:I}", "command", side->spec.name, "peak_bytes",
                               (json_int_t)side->peak_bytes);
    if (object == NULL)
        return NULL;
    json_object_set_new(object, "counters", counters_to_json(comparison, which));
    if (comparison->has_model)
        json_object_set_new(object, "model", model_to_json(comparison, which));
    return object;
}

Status comparison_print_json(const Comparison *comparison, Error *err)
{
    const Side *before = &comparison->side[BEFORE], *after = &comparison->side[AFTER];
    json_t *object = json_pack(
        "{s:b, s:s?, s:s, s:i, s:i, s:b, s:o, s:o}", "same", comparison->difference == NULL,
        "difference", comparison->difference, "status",
        run_status_text(comparison->command->arena, comparison->status), "pairs",
        (int)comparison->pairs, "cpu", comparison->cpu, "slower", comparison->slower, "before",
        side_to_json(comparison, BEFORE), "after", side_to_json(comparison, AFTER));
    if (object == NULL)
        return FAIL(err, ST_BAD_INPUT, NOWHERE, "a command is not UTF-8: no JSON for it");
    if (comparison->pairs > 0 && comparison->difference == NULL) {
        json_object_set_new(object, "wall",
                            time_to_json(comparison, before->wall, after->wall, comparison->wall));
        json_object_set_new(object, "user",
                            time_to_json(comparison, before->user, after->user, comparison->user));
    }
    json_dumpf(object, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(object);
    return ST_OK;
}
