/*
 * Golden tests: cases are directories that are found, their input and what is expected are text.
 *
 * GOLDEN_UPDATE=1 in the environment writes what is expected; review the difference.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_TESTS_SUPPORT_GOLDEN_H
#define RESPIN_TESTS_SUPPORT_GOLDEN_H

#include "tests/support/cmocka.h"

#include <limits.h>

/* …/STAGE/CASE/INPUT */
typedef struct GoldenCase {
    char dir[PATH_MAX]; /* …/STAGE/CASE */
    char stage[64];
} GoldenCase;

/* The text of a file; NULL: there is none. */
const char *golden_slurp(Arena *arena, const char *dir, const char *name);
void golden_spill(const char *path, const char *text);

/* Fails unless the file holds `got`. */
void golden_compare(Arena *arena, const char *dir, const char *name, const char *got);

/* Runs `test` once for each file that matches, with its GoldenCase as state; 1 when there is none.
 */
int golden_run(const char *group, const char *pattern, CMUnitTestFunction test);

#endif
