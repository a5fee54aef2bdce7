/* words.c: takes a quoted command apart (POSIX shell, 2.2 and 2.9.1). SPDX-License-Identifier: MIT
 */
#include "cli/words.h"

#include "core/bytes.h"

#include <string.h>
#include <unistd.h>

/* A list of words that stays NULL-terminated. */
typedef struct WordList {
    Arena *arena;
    char **items;
    size_t n;
    size_t cap;
} WordList;

/* Reading position, and whether the rest is beyond us. */
typedef struct Reader {
    Arena *arena;
    const char *at;
    bool needs_shell;
    bool unclosed;
} Reader;

static void list_add(WordList *list, char *word)
{
    list->items = arena_grow(list->arena, list->items, &list->cap, list->n + 2, sizeof(char *));
    list->items[list->n++] = word;
    list->items[list->n] = NULL;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n';
}

/* Characters that mean something to a shell when they are not quoted. */
static bool is_shell_character(char c)
{
    return strchr("|&;()$`*?[]>{}!", c) != NULL;
}

static void read_single_quoted(Reader *reader, Buffer *word)
{
    const char *end = strchr(reader->at, '\'');
    if (end == NULL) {
        reader->unclosed = true;
        return;
    }
    buffer_put(word, reader->at, (size_t)(end - reader->at));
    reader->at = end + 1;
}

static void read_double_quoted(Reader *reader, Buffer *word)
{
    while (*reader->at != '\0' && *reader->at != '"') {
        char c = *reader->at++;
        if (c == '$' || c == '`')
            reader->needs_shell = true;
        if (c == '\\' && *reader->at != '\0' && strchr("$`\"\\", *reader->at) != NULL)
            c = *reader->at++;
        buffer_u8(word, (uint8_t)c);
    }
    if (*reader->at == '"')
        reader->at++;
    else
        reader->unclosed = true;
}

/* One word, up to an unquoted blank or '<'. */
static char *read_word(Reader *reader)
{
    Buffer word = { .arena = reader->arena };
    if (*reader->at == '#' || *reader->at == '~')
        reader->needs_shell = true;
    while (*reader->at != '\0' && !is_blank(*reader->at) && *reader->at != '<') {
        char c = *reader->at++;
        if (c == '\'') {
            read_single_quoted(reader, &word);
        } else if (c == '"') {
            read_double_quoted(reader, &word);
        } else {
            reader->needs_shell |= is_shell_character(c);
            if (c == '\\' && *reader->at != '\0')
                c = *reader->at++;
            buffer_u8(&word, (uint8_t)c);
        }
        if (reader->unclosed)
            break;
    }
    buffer_u8(&word, 0);
    return (char *)word.data;
}

/* NAME=... with NAME as the shell wants it. Quoting of the name is not looked at. */
static bool is_assignment(const char *word)
{
    size_t len = strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
    return len > 0 && word[len] == '=' && (word[0] < '0' || word[0] > '9');
}

static void skip_blanks(Reader *reader)
{
    while (is_blank(*reader->at))
        reader->at++;
}

static void read_all(Reader *reader, WordList *assignments, WordList *argv, const char **input)
{
    for (skip_blanks(reader); *reader->at != '\0' && !reader->unclosed; skip_blanks(reader)) {
        if (*reader->at == '<') {
            reader->at++;
            reader->needs_shell |= *reader->at == '<' || *reader->at == '&' || *input != NULL;
            skip_blanks(reader);
            *input = read_word(reader);
            reader->needs_shell |= **input == '\0';
            if (reader->needs_shell)
                return;
            continue;
        }
        char *word = read_word(reader);
        list_add(argv->n == 0 && is_assignment(word) ? assignments : argv, word);
    }
}

/* sh -c 'TEXT "$@"' sh ARGS… */
static void use_shell(Arena *arena, const char *text, char *const *args, WordList *argv)
{
    argv->n = 0;
    list_add(argv, arena_string(arena, "/bin/sh"));
    list_add(argv, arena_string(arena, "-c"));
    list_add(argv,
             args[0] != NULL ? arena_printf(arena, "%s \"$@\"", text) : arena_string(arena, text));
    list_add(argv, arena_string(arena, "sh"));
}

Status words_split(Arena *arena, const char *text, char *const *args, Words *out, Error *err)
{
    Reader reader = { .arena = arena, .at = text };
    WordList assignments = { .arena = arena }, argv = { .arena = arena };
    const char *input = NULL;
    if (access(text, F_OK) == 0)
        list_add(&argv, arena_string(arena, text));
    else
        read_all(&reader, &assignments, &argv, &input);
    if (reader.unclosed)
        return FAIL(err, ST_BAD_INPUT, NOWHERE, "unclosed quote in: %s", text);
    if (reader.needs_shell) {
        use_shell(arena, text, args, &argv);
        assignments.n = 0;
        input = NULL;
    }
    if (argv.n == 0)
        return FAIL(err, ST_BAD_INPUT, NOWHERE, "no command in: '%s'", text);
    for (size_t i = 0; args[i] != NULL; i++)
        list_add(&argv, arena_string(arena, args[i]));
    if (assignments.n == 0)
        assignments.items = arena_many(arena, char *, 1);
    *out = (Words){ assignments.items, argv.items, input };
    return ST_OK;
}

/* Index of the variable that `assignment` names in a NULL-terminated list; its length when absent.
 */
static size_t find_variable(char *const *list, size_t n, const char *assignment)
{
    size_t len = strcspn(assignment, "=") + 1;
    for (size_t i = 0; i < n; i++)
        if (strncmp(list[i], assignment, len) == 0)
            return i;
    return n;
}

char **words_environment(Arena *arena, char *const *environment, char *const *assignments)
{
    size_t n = 0, more = 0;
    while (environment[n] != NULL)
        n++;
    while (assignments[more] != NULL)
        more++;
    char **result = arena_many(arena, char *, n + more + 1);
    memcpy(result, environment, n * sizeof *result);
    for (size_t i = 0; i < more; i++) {
        size_t at = find_variable(result, n, assignments[i]);
        result[at] = assignments[i];
        n += at == n;
    }
    return result;
}
