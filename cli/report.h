/*
 * What `respin report` shows, beside the terminal.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CLI_REPORT_H
#define RESPIN_CLI_REPORT_H

#include "cli/command.h"
#include "cli/hot.h"

/* Percentages of all instructions for which the code that covers them is shown. */
enum { REPORT_COVERAGES = 5 };
extern const unsigned report_coverages[REPORT_COVERAGES];

/* part/whole in percent; 0 of nothing. */
double report_percent(uint64_t part, uint64_t whole);
/* The last part of a path. */
const char *report_base_name(const char *path);
/* Modules with the most executed instructions first; equal ones as in the profile. */
const ProfileModule **report_modules(Arena *arena, const Profile *profile);
/* What limits what the counts say: ", not complete (…)" and the like; "" when nothing does. */
const char *report_limits(Arena *arena, const Profile *profile);

/* The report as a page at `path`; `top` functions, the same number of blocks. Errors: ST_IO. */
MUST_CHECK Status report_write_html(Command *command, const Profile *profile, const Hot *hot,
                                    uint64_t top, const char *path, Error *err);

#endif
