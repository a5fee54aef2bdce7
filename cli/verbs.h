/*
 * The verbs, in the order in which `respin help` prints them.
 *
 * X(name): `verb_name` is defined in cli/name.c.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CLI_VERBS_H
#define RESPIN_CLI_VERBS_H

#include "cli/command.h"

// clang-format off
#define VERBS(X) \
    X(profile)   \
    X(optimize)  \
    X(compare)   \
    X(check)     \
    X(report)    \
    X(info)      \
    X(finish)    \
    X(merge)     \
    X(convert)   \
    /* the last one */
// clang-format on

#define VERB_DECLARE(name) extern const Verb verb_##name;
VERBS(VERB_DECLARE)

#endif
