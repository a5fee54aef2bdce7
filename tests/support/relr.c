/*
 * relr.c: a shared object with DT_RELR: runs, gaps, and an address beyond one bitmap.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stddef.h>

__attribute__((visibility("hidden"))) int relr_words[3] = { 1, 2, 3 };
int *relr_run[130] = { [0 ... 99] = &relr_words[1], [129] = &relr_words[2] };
