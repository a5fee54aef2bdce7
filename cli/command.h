/*
 * What a verb of the `respin` command is, and what it is given.
 *
 * To add a verb:
 *   1. cli/NAME.c with `const Verb verb_NAME = { ... }`: its help, its options and `run`;
 *   2. a line in cli/verbs.h, the file in cli/CMakeLists.txt.
 * A verb prints its result to standard output with printf and says everything else through
 * command->log. It never prints an error and never exits: it returns a Status, and main.c does
 * both.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CLI_COMMAND_H
#define RESPIN_CLI_COMMAND_H

#include "core/arena.h"
#include "core/error.h"
#include "core/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EXIT_DONE = 0, EXIT_ANSWER_IS_NO = 1, EXIT_BAD_USE = 2 }; /* the others: core/error.h */

/* One run of one verb. */
typedef struct Command {
    Arena *arena; /* lives as long as the process */
    Log log;
    bool quiet;   /* --quiet: errors only */
    bool verbose; /* --verbose */
    bool json;    /* --json: the result as one JSON object on standard output */
    bool color;   /* standard output is a terminal and NO_COLOR is not set */
    char **args;  /* operands before "--", NULL-terminated */
    int n_args;
    char **rest; /* words after "--" (or from the first operand on), NULL-terminated */
    int n_rest;
    bool has_rest; /* "--" was given, or options_stop_at_operand and an operand was */
    int exit_code; /* set to EXIT_ANSWER_IS_NO by a verb that is done with that answer */
    bool bad_use;  /* usage_error was called */
} Command;

typedef enum OptionKind {
    OPTION_FLAG,   /* bool: true when given */
    OPTION_STRING, /* const char *: the last one given */
    OPTION_MAYBE,  /* const char *: --name gives "", --name=VALUE gives VALUE */
    OPTION_NUMBER, /* uint64_t: decimal or 0x hexadecimal */
    OPTION_LIST,   /* OptionList: every one given, in order */
} OptionKind;

typedef struct OptionList {
    const char **items;
    size_t n, cap;
} OptionList;

/* One option of a verb. `offset` is that of its field in the verb's own options struct. */
typedef struct OptionRow {
    char letter;          /* 0: no short form */
    const char *name;     /* "out" for --out; NULL ends the table */
    const char *argument; /* name of its argument in the help; NULL for flags */
    OptionKind kind;
    size_t offset;
    const char *help; /* one line; NULL: hidden */
} OptionRow;

typedef struct Verb {
    const char *name;
    const char *usage;   /* what follows "respin NAME" */
    const char *summary; /* one line */
    const char *help;    /* paragraphs, each line under 80 columns, ends with a newline */
    const OptionRow *options;
    size_t options_size;          /* of the options struct */
    const void *options_default;  /* what it holds before; NULL: zeroes */
    bool options_stop_at_operand; /* the first operand and all after it go to `rest` */
    bool hidden;                  /* not in `respin help` */
    /* Runs with command->options parsed. `options` points to the filled struct. */
    Status (*run)(Command *command, const void *options, Error *err);
} Verb;

/* The options that every verb has. */
extern const OptionRow options_common[];

/*
 * Reads `argv` (NULL-terminated, without the verb) by the verb's table into `options` and
 * command->args/rest. The common options --quiet --verbose --json are known to every verb.
 * `*help` is set when --help was among them.
 */
MUST_CHECK Status options_parse(Command *command, const Verb *verb, char **argv, void *options,
                                bool *help, Error *err);
/* Prints the help of a verb to standard output. */
void options_print_help(const Verb *verb);

/* Bad use, exit status 2. Returns a Status for `return usage_error(...)`. */
__attribute__((format(printf, 3, 4))) Status usage_error(Command *command, Error *err,
                                                         const char *format, ...);
/* usage_error unless the number of operands is in [min, max]. `what` names them: "BINARY". */
MUST_CHECK Status want_operands(Command *command, int min, int max, const char *what, Error *err);

#endif
