/*
 * Words of the text form of functions, shared by its writer and its reader. Private to core/.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CORE_PROGRAM_TEXT_H
#define RESPIN_CORE_PROGRAM_TEXT_H

#include "core/program.h"

typedef struct FactWord {
    uint32_t fact; /* BlockFact */
    const char *word;
} FactWord;

extern const FactWord fact_words[];
extern const size_t n_fact_words;
extern const char *const succ_words[SUCC_TABLE + 1];
extern const char *const form_words[TABLE_REL32_BASE + 1];

#endif
