/*
 * options.c: reads a verb's options by its table, and prints its help from the same table.
 *
 *     --name VALUE   --name=VALUE   -n VALUE   -nVALUE   --flag   -f   --
 *
 * A table of our own and not argp: argp keeps its help in the parser's hands, prints and exits by
 * itself, and has no notion of verbs; the table here is also what completion and man pages are made
 * from.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli/command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Options that every verb knows. */
typedef struct CommonOptions {
    bool quiet;
    bool verbose;
    bool json;
    bool help;
} CommonOptions;

const OptionRow options_common[] = {
    { 'q', "quiet", NULL, OPTION_FLAG, offsetof(CommonOptions, quiet), "say nothing but errors" },
    { 'v', "verbose", NULL, OPTION_FLAG, offsetof(CommonOptions, verbose), "say more" },
    { 0, "json", NULL, OPTION_FLAG, offsetof(CommonOptions, json),
      "print the result as JSON, where the verb has one" },
    { 'h', "help", NULL, OPTION_FLAG, offsetof(CommonOptions, help), "print this help" },
    { 0, NULL, NULL, OPTION_FLAG, 0, NULL },
};

/* An option as found on the command line. */
typedef struct Found {
    const OptionRow *row;
    void *into;        /* the struct that its offset counts in */
    const char *value; /* attached value; NULL: none */
} Found;

static const OptionRow *row_by_name(const OptionRow *rows, const char *name, size_t len)
{
    for (; rows != NULL && rows->name != NULL; rows++)
        if (strlen(rows->name) == len && memcmp(rows->name, name, len) == 0)
            return rows;
    return NULL;
}

static const OptionRow *row_by_letter(const OptionRow *rows, char letter)
{
    for (; rows != NULL && rows->name != NULL; rows++)
        if (rows->letter == letter)
            return rows;
    return NULL;
}

/* Finds the row for the word "--name[=value]" or "-l[value]". */
static bool find_option(const Verb *verb, const char *word, void *options, CommonOptions *common,
                        Found *found)
{
    const OptionRow *rows[2] = { verb->options, options_common };
    void *into[2] = { options, common };
    bool is_long = word[1] == '-';
    size_t len = is_long ? strcspn(word + 2, "=") : 1;
    for (int i = 0; i < 2; i++) {
        found->row =
            is_long ? row_by_name(rows[i], word + 2, len) : row_by_letter(rows[i], word[1]);
        if (found->row == NULL)
            continue;
        found->into = into[i];
        const char *after = is_long ? word + 2 + len : word + 2;
        found->value = *after == '\0' ? NULL : after + (is_long && *after == '=');
        return true;
    }
    return false;
}

static Status set_number(Command *command, const Found *found, uint64_t *out, Error *err)
{
    char *end;
    errno = 0;
    *out = strtoull(found->value, &end, 0);
    if (errno != 0 || end == found->value || *end != '\0' || found->value[0] == '-')
        return usage_error(command, err, "--%s wants a number, not '%s'", found->row->name,
                           found->value);
    return ST_OK;
}

/* Stores the option; a value that stands in the next word is taken from `*next`. */
static Status set_option(Command *command, Found *found, char ***next, Error *err)
{
    const OptionRow *row = found->row;
    char *field = (char *)found->into + row->offset;
    if (row->kind == OPTION_FLAG) {
        if (found->value != NULL)
            return usage_error(command, err, "--%s takes no value", row->name);
        *(bool *)field = true;
        return ST_OK;
    }
    if (row->kind == OPTION_MAYBE && found->value == NULL)
        found->value = "";
    if (found->value == NULL && **next == NULL)
        return usage_error(command, err, "--%s wants %s", row->name, row->argument);
    if (found->value == NULL)
        found->value = *(*next)++;
    if (row->kind == OPTION_NUMBER)
        return set_number(command, found, (uint64_t *)field, err);
    if (row->kind == OPTION_LIST) {
        OptionList *list = (OptionList *)field;
        list->items =
            arena_grow(command->arena, list->items, &list->cap, list->n + 1, sizeof *list->items);
        list->items[list->n++] = found->value;
        return ST_OK;
    }
    *(const char **)field = found->value;
    return ST_OK;
}

static void take_rest(Command *command, char **words)
{
    command->has_rest = true;
    command->rest = words;
    for (command->n_rest = 0; words[command->n_rest] != NULL;)
        command->n_rest++;
}

static Status parse_words(Command *command, const Verb *verb, char **next, void *options,
                          CommonOptions *common, Error *err)
{
    while (*next != NULL) {
        char *word = *next++;
        Found found;
        if (strcmp(word, "--") == 0) {
            take_rest(command, next);
            return ST_OK;
        }
        if (word[0] != '-' || word[1] == '\0') { /* "-" is an operand: standard input */
            if (verb->options_stop_at_operand) {
                take_rest(command, next - 1);
                return ST_OK;
            }
            command->args[command->n_args++] = word;
            continue;
        }
        if (!find_option(verb, word, options, common, &found))
            return usage_error(command, err, "unknown option %s", word);
        TRY(set_option(command, &found, &next, err));
    }
    return ST_OK;
}

Status options_parse(Command *command, const Verb *verb, char **argv, void *options, bool *help,
                     Error *err)
{
    CommonOptions common = { 0 };
    static char *none[] = { NULL };
    size_t n = 0;
    while (argv[n] != NULL)
        n++;
    command->args = arena_many(command->arena, char *, n + 1);
    command->n_args = 0;
    command->rest = none;
    TRY(parse_words(command, verb, argv, options, &common, err));
    command->quiet = common.quiet;
    command->verbose = common.verbose;
    command->json = common.json;
    *help = common.help;
    return ST_OK;
}

Status usage_error(Command *command, Error *err, const char *format, ...)
{
    char text[ERROR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    command->bad_use = true;
    return error_set(err, ST_BAD_INPUT, NOWHERE, NULL, "%s", text);
}

Status want_operands(Command *command, int min, int max, const char *what, Error *err)
{
    if (command->n_args < min)
        return usage_error(command, err, "wants %s", what);
    if (command->n_args > max)
        return usage_error(command, err, "wants %s%s: '%s' is one too many", max > 0 ? "only " : "",
                           what, command->args[max]);
    return ST_OK;
}

static void print_rows(const OptionRow *rows)
{
    for (; rows != NULL && rows->name != NULL; rows++) {
        char left[64];
        const char *argument = rows->argument != NULL ? rows->argument : "";
        const char *joint = rows->argument == NULL ? "" : rows->kind == OPTION_MAYBE ? "[=" : "=";
        const char *close = rows->kind == OPTION_MAYBE ? "]" : "";
        if (rows->help == NULL)
            continue;
        if (rows->letter != 0)
            snprintf(left, sizeof left, "-%c, --%s%s%s%s", rows->letter, rows->name, joint,
                     argument, close);
        else
            snprintf(left, sizeof left, "    --%s%s%s%s", rows->name, joint, argument, close);
        printf("  %-28s %s\n", left, rows->help);
    }
}

void options_print_help(const Verb *verb)
{
    printf("usage: respin %s %s\n\n%s\noptions:\n", verb->name, verb->usage, verb->help);
    print_rows(verb->options);
    print_rows(options_common);
}
