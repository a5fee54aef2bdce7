/*
 * Finds what a run needs. Every path that comes out is absolute; all errors are ST_IO.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_FIND_H
#define RESPIN_PROFILER_FIND_H

#include "core/error.h"

#include <limits.h>

/* respin-vm, and this program. */
MUST_CHECK Status find_own_paths(char vm[PATH_MAX], char own[PATH_MAX], Error *err);
MUST_CHECK Status find_zydis(char zydis[PATH_MAX], Error *err);
/* As execvp: a name with a slash is a path, any other is looked for in PATH. */
MUST_CHECK Status find_program(const char *name, char program[PATH_MAX], Error *err);
MUST_CHECK Status find_absolute(const char *path, char out[PATH_MAX], Error *err);

#endif
