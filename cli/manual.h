/*
 * Manual pages and shell completion, made from the tables by which the verbs read their options.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CLI_MANUAL_H
#define RESPIN_CLI_MANUAL_H

#include "cli/command.h"

/* man(7) text on standard output: of respin, with its verbs; of one verb. */
void manual_print_respin(const Verb *const *verbs, size_t n);
void manual_print_verb(const Verb *verb);
/* A bash script on standard output that completes verbs, options and file names. */
void manual_print_completion(const Verb *const *verbs, size_t n);

#endif
