/* progress.c: progress on a terminal. SPDX-License-Identifier: MIT */
#include "cli/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define WIPE_LINE "\r\033[K"

static bool is_wanted(const Command *command)
{
    return !command->quiet && isatty(STDERR_FILENO) == 1;
}

void progress_show(const Command *command, const char *format, ...)
{
    va_list args;
    if (!is_wanted(command))
        return;
    va_start(args, format);
    fputs(WIPE_LINE, stderr);
    vfprintf(stderr, format, args);
    fflush(stderr);
    va_end(args);
}

void progress_end(const Command *command)
{
    if (is_wanted(command))
        fputs(WIPE_LINE, stderr);
}
