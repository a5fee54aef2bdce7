/*
 * compare_html.c: a comparison as a page: the tables, and a dot for the ratio of every pair of
 * runs.
 *
 *     . .: ...::|::.. . :        |  median, over a band for its 95% interval; 1 is marked
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli/compare.h"
#include "cli/html.h"

#include <math.h>

/* The drawing, in its own units. */
enum { WIDTH = 720, HEIGHT = 90, EDGE = 30, MIDDLE = 40, SPREAD = 10, DOT = 3 };

typedef struct Scale {
    double low, high; /* ratios at the left and right edges */
} Scale;

static double x_of(Scale scale, double ratio)
{
    return EDGE + (ratio - scale.low) / (scale.high - scale.low) * (WIDTH - 2 * EDGE);
}

static void put_dots(Buffer *page, Scale scale, const double *before, const double *after,
                     uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (after[i] > 0)
            buffer_print(page, "<circle cx=\"%.1f\" cy=\"%d\" r=\"%d\" opacity=\".5\"/>",
                         x_of(scale, before[i] / after[i]),
                         MIDDLE + (int)(i % 5) * SPREAD / 2 - SPREAD, DOT);
}

static void put_mark(Buffer *page, Scale scale, double ratio)
{
    buffer_print(page,
                 "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"20\" y2=\"60\" stroke=\"currentColor\"/>"
                 "<text x=\"%.1f\" y=\"78\" text-anchor=\"middle\">%.3f</text>",
                 x_of(scale, ratio), x_of(scale, ratio), x_of(scale, ratio), ratio);
}

static void put_drawing(Buffer *page, const char *what, const double *before, const double *after,
                        uint32_t n, Interval ratio)
{
    Scale scale = { fmin(1, ratio.low), fmax(1, ratio.high) };
    for (uint32_t i = 0; i < n; i++) {
        if (after[i] <= 0)
            continue;
        scale.low = fmin(scale.low, before[i] / after[i]);
        scale.high = fmax(scale.high, before[i] / after[i]);
    }
    if (scale.high - scale.low < 0.02)
        scale = (Scale){ scale.low - 0.01, scale.high + 0.01 };
    html_paragraph(page, "%s, before/after of each pair; to the right of 1 is faster:", what);
    buffer_print(page,
                 "<svg viewBox=\"0 0 %d %d\" width=\"%d\" fill=\"currentColor\" role=\"img\">",
                 WIDTH, HEIGHT, WIDTH);
    buffer_print(page, "<rect x=\"%.1f\" y=\"20\" width=\"%.1f\" height=\"40\" opacity=\".15\"/>",
                 x_of(scale, ratio.low), x_of(scale, ratio.high) - x_of(scale, ratio.low));
    put_dots(page, scale, before, after, n);
    put_mark(page, scale, ratio.middle);
    if (fabs(x_of(scale, 1) - x_of(scale, ratio.middle)) > 2 * EDGE)
        put_mark(page, scale, 1);
    html_raw(page, "</svg>\n");
}

static void put_figures(Buffer *page, const char *heading, const char *change,
                        const Figure *figures, uint32_t n)
{
    const char *const columns[] = { "<", "before", "after", change, NULL };
    html_table(page, heading, columns);
    for (uint32_t i = 0; i < n; i++) {
        html_row(page);
        html_words(page, figures[i].text);
        html_cell(page, "%s", figures[i].before);
        html_cell(page, "%s", figures[i].after);
        html_raw(page, figures[i].verdict > 0   ? "<td class=\"good\">"
                       : figures[i].verdict < 0 ? "<td class=\"bad\">"
                                                : "<td>");
        html_text(page, "%s", figures[i].change);
        html_raw(page, "</td>");
    }
    html_table_end(page);
}

static void put_measured(Buffer *page, const Comparison *comparison)
{
    const Side *before = &comparison->side[BEFORE], *after = &comparison->side[AFTER];
    Figure figures[FIGURES_MOST];
    uint32_t n = comparison_measured(comparison, figures);
    put_figures(page, "Measured", "before/after [95% interval]", figures, n);
    html_paragraph(page, "%" PRIu32 " interleaved pairs of runs.%s", comparison->pairs,
                   comparison->too_short ? " Runs this short show little but the cost of starting."
                                         : "");
    put_drawing(page, "Wall time", before->wall, after->wall, comparison->pairs, comparison->wall);
    put_drawing(page, "User time", before->user, after->user, comparison->pairs, comparison->user);
}

Status comparison_write_html(const Comparison *comparison, const char *path, Error *err)
{
    Arena *arena = comparison->command->arena;
    Buffer page = { .arena = arena };
    html_begin(&page, "respin compare");
    html_paragraph(&page, "Before: %s", comparison->side[BEFORE].spec.name);
    html_paragraph(&page, "After: %s", comparison->side[AFTER].spec.name);
    if (comparison->difference != NULL) {
        html_paragraph(&page, "Not the same: %s.", comparison->difference);
        return html_write(&page, path, err);
    }
    html_paragraph(&page, "Standard output and %s are the same in every run.%s",
                   run_status_text(arena, comparison->status),
                   comparison->slower ? " After is slower." : "");
    if (comparison->pairs > 0)
        put_measured(&page, comparison);
    if (comparison->has_model) {
        Figure figures[FIGURES_MOST];
        uint32_t n = comparison_counted(comparison, figures);
        put_figures(&page, "Counted by the process VM, no noise", "change", figures, n);
    }
    return html_write(&page, path, err);
}
