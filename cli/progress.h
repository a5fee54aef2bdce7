/*
 * One line of progress on a terminal; nothing when standard error is none.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CLI_PROGRESS_H
#define RESPIN_CLI_PROGRESS_H

#include "cli/command.h"

/* Replaces the line. */
__attribute__((format(printf, 2, 3))) void progress_show(const Command *command, const char *format,
                                                         ...);
/* Wipes it, before anything else is printed. */
void progress_end(const Command *command);

#endif
