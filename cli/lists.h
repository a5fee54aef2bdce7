/*
 * Lists that the documentation is held against, printed from the tables that the code uses.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CLI_LISTS_H
#define RESPIN_CLI_LISTS_H

#include <stdbool.h>

/* --version, --list-refusals, --list-passes, --list-forms. False: `word` is none of them. */
bool lists_print(const char *word);

#endif
