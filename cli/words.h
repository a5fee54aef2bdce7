/*
 * A command as a person writes it in quotes, taken apart without a shell where that can be done.
 *
 *     "LD_LIBRARY_PATH=fast sqlite3 ':memory:' < work.sql"
 *      assignment           words              input
 *
 * Not starting a shell keeps it out of what is measured. What needs one (pipes, variables,
 * patterns, other redirections) is left to `sh -c`.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CLI_WORDS_H
#define RESPIN_CLI_WORDS_H

#include "core/arena.h"
#include "core/error.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct Words {
    char **assignments; /* NAME=VALUE before the first word; NULL-terminated */
    char **argv;        /* NULL-terminated */
    const char *input;  /* file after "<"; NULL: none */
} Words;

/*
 * Takes `text` apart by the shell's rules of quoting and appends `args` (NULL-terminated).
 *
 * A text that is the name of a file is one word, whatever is in it.
 * Result: in `arena`. Errors: ST_BAD_INPUT for an unclosed quote or no word at all.
 */
MUST_CHECK Status words_split(Arena *arena, const char *text, char *const *args, Words *out,
                              Error *err);

/* `environment` (NULL-terminated) with the assignments made. */
char **words_environment(Arena *arena, char *const *environment, char *const *assignments);

#endif
