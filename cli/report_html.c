/*
 * report_html.c: the tables of `respin report` as a page.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli/html.h"
#include "cli/report.h"

static void put_modules(Buffer *page, const ProfileModule **sorted, const Profile *profile,
                        const Hot *hot)
{
    static const char *const columns[] = { "share", "instructions", "branches", "taken",   "jumps",
                                           "calls", "indirect",     "blocks",   "<module", NULL };
    html_table(page, "Modules", columns);
    for (uint32_t i = 0; i < profile->n_modules; i++) {
        ProfileFigures of;
        profile_figures(sorted[i], &of);
        html_row(page);
        html_share(page, report_percent(of.instructions, hot->insns));
        html_cell(page, "%" PRIu64, of.instructions);
        html_cell(page, "%" PRIu64, of.branches);
        html_cell(page, "%" PRIu64, of.taken_conditional);
        html_cell(page, "%" PRIu64, of.jumps);
        html_cell(page, "%" PRIu64, of.calls);
        html_cell(page, "%" PRIu64, of.indirect_calls + of.indirect_jumps);
        html_cell(page, "%" PRIu32, sorted[i]->n_blocks);
        html_words(page, sorted[i]->path);
    }
    html_table_end(page);
    if (profile->outside_insns > 0)
        html_paragraph(page, "%" PRIu64 " instructions (%.1f%%) in generated code.",
                       profile->outside_insns, report_percent(profile->outside_insns, hot->insns));
}

static void put_functions(Buffer *page, const Hot *hot, uint64_t top)
{
    static const char *const columns[] = { "share", "in all",    "instructions", "calls", "blocks",
                                           "bytes", "<function", "<module",      NULL };
    uint64_t sum = 0;
    html_table(page, "Functions", columns);
    for (uint32_t i = 0; i < hot->n_funcs && i < top; i++) {
        const HotFunc *func = hot->funcs[i];
        sum += func->insns;
        html_row(page);
        html_share(page, report_percent(func->insns, hot->insns));
        html_cell(page, "%.1f%%", report_percent(sum, hot->insns));
        html_cell(page, "%" PRIu64, func->insns);
        html_cell(page, "%" PRIu64, func->calls);
        html_cell(page, "%" PRIu32, func->n_blocks);
        html_cell(page, "%" PRIu64, func->bytes);
        html_words(page, func->name);
        html_words(page, report_base_name(func->module));
    }
    html_table_end(page);
    if (hot->n_funcs > top)
        html_paragraph(page, "%" PRIu64 " more functions were executed.", hot->n_funcs - top);
}

static void put_blocks(Buffer *page, const Hot *hot, uint64_t top)
{
    static const char *const columns[] = { "share",   "executions", "instructions",
                                           "address", "<function",  "<module",
                                           NULL };
    html_table(page, "Blocks", columns);
    for (uint32_t i = 0; i < hot->n_blocks && i < top; i++) {
        const HotBlock *block = &hot->blocks[i];
        html_row(page);
        html_share(page, report_percent(block->insns, hot->insns));
        html_cell(page, "%" PRIu64, block->block->count);
        html_cell(page, "%" PRIu32, block->block->n_insns);
        html_cell(page, "0x%" PRIx64, block->block->start.v);
        html_words(page, block->func->name);
        html_words(page, report_base_name(block->func->module));
    }
    html_table_end(page);
}

static void put_coverage(Buffer *page, const Hot *hot)
{
    static const char *const columns[] = { "of all instructions", "in blocks", "bytes", NULL };
    html_table(page, "How little code covers how much of the run", columns);
    for (unsigned i = 0; i < REPORT_COVERAGES; i++) {
        uint32_t n_blocks;
        uint64_t bytes;
        hot_coverage(hot, report_coverages[i], &n_blocks, &bytes);
        html_row(page);
        html_share(page, report_coverages[i]);
        html_cell(page, "%" PRIu32, n_blocks);
        html_cell(page, "%" PRIu64, bytes);
    }
    html_table_end(page);
}

Status report_write_html(Command *command, const Profile *profile, const Hot *hot, uint64_t top,
                         const char *path, Error *err)
{
    Buffer page = { .arena = command->arena };
    html_begin(&page, profile->command[0] != '\0' ? profile->command : profile->path);
    html_paragraph(&page, "%" PRIu64 " instructions in %" PRIu32 " process%s%s. Profile: %s",
                   hot->insns, profile->n_processes, profile->n_processes == 1 ? "" : "es",
                   report_limits(command->arena, profile), profile->path);
    for (uint32_t i = 0; i < profile->n_remarks; i++)
        html_paragraph(&page, "Note: %s", profile->remarks[i]);
    put_modules(&page, report_modules(command->arena, profile), profile, hot);
    put_functions(&page, hot, top);
    put_blocks(&page, hot, top);
    put_coverage(&page, hot);
    return html_write(&page, path, err);
}
