/*
 * check.c: `respin check BEFORE AFTER`: holds an output against its input.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli/command.h"

#include "rewriter/rewriter.h"

#include <stdio.h>

static void print_report(const Command *command, const char *path, const CheckReport *report)
{
    if (command->json)
        printf("{\"file\": \"%s\", \"holds\": true, \"patches\": %" PRIu32
               ", \"instructions\": %" PRIu32 ", \"unwind_entries\": %" PRIu32
               ", \"tables\": %" PRIu32 "}\n",
               path, report->patches, report->insns, report->fdes, report->tables);
    else if (!command->quiet)
        printf("%s: holds: %" PRIu32 " patches, %" PRIu32 " instructions, %" PRIu32
               " unwind entries, %" PRIu32 " tables\n",
               path, report->patches, report->insns, report->fdes, report->tables);
}

static Status run_check(Command *command, const void *options, Error *err)
{
    const Image *before, *after;
    CheckReport report;
    (void)options;
    TRY(want_operands(command, 2, 2, "BEFORE and AFTER", err));
    TRY(image_open(command->arena, command->args[0], &before, err));
    TRY(image_open(command->arena, command->args[1], &after, err));
    TRY(check_output(command->arena, before, after, &report, err));
    print_report(command, command->args[1], &report);
    return ST_OK;
}

const Verb verb_check = {
    .name = "check",
    .usage = "BEFORE AFTER",
    .summary = "prove that an optimized file holds against its input",
    .help =
        "Reads both files and nothing else. Every byte of BEFORE must stand unchanged in AFTER,\n"
        "but for headers and the jumps of patch sites; every jump must lead to the copy of what\n"
        "it replaced; every copied instruction must equal its original and go on where that\n"
        "does; cloned tables, unwind tables and ELF headers must hold. Exit status 3 with the\n"
        "place of the first thing that does not hold.\n",
    .run = run_check,
};
