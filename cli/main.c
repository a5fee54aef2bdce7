/*
 * main.c: the `respin` command: finds the verb, runs it, prints what went wrong, exits.
 *
 *     argv -> verb -> options -> run -> Status -> message on standard error, exit status
 *
 * The only place that prints errors and exits. Exit status: 0 done, 1 done but the answer is no,
 * 2 bad use, 3 bad input file, 4 refused, 5 I/O, 70 a fault of respin's own; `profile` ends with
 * the guest's own.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli/lists.h"
#include "cli/manual.h"
#include "cli/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VERB_ROW(name) &verb_##name,
static const Verb *const verbs[] = { VERBS(VERB_ROW) };
enum { N_VERBS = sizeof verbs / sizeof verbs[0] };

static const Verb *find_verb(const char *name)
{
    for (size_t i = 0; i < N_VERBS; i++)
        if (strcmp(verbs[i]->name, name) == 0)
            return verbs[i];
    return NULL;
}

static bool wants_color(int fd)
{
    const char *no_color = getenv("NO_COLOR"); /* https://no-color.org: set and not empty */
    return isatty(fd) == 1 && (no_color == NULL || no_color[0] == '\0');
}

/* The sink of core/log.h. */
static void write_log(void *context, LogLevel level, const char *text)
{
    const Command *command = context;
    if (command->quiet || (level == LOG_INFO && !command->verbose))
        return;
    bool color = wants_color(STDERR_FILENO);
    const char *tag = level == LOG_WARN ? "warning: " : "";
    fprintf(stderr, "respin: %s%s%s%s\n", color && *tag != '\0' ? "\033[33m" : "", tag,
            color && *tag != '\0' ? "\033[0m" : "", text);
}

static void print_usage(FILE *out)
{
    fputs("usage: respin VERB ...\n\n"
          "Makes x86-64 Linux programs faster as they are: no source, no symbols, no rebuild.\n\n",
          out);
    for (size_t i = 0; i < N_VERBS; i++)
        if (!verbs[i]->hidden)
            fprintf(out, "  %-10s %s\n", verbs[i]->name, verbs[i]->summary);
    fputs("\nrespin help VERB tells more about one of them.\n"
          "respin --version, --list-refusals, --list-passes, --list-forms print what they say;\n"
          "--man[=VERB] and --completion=bash print manual pages and completion for bash.\n",
          out);
}

static void print_error(const Command *command, const Verb *verb, const Error *err)
{
    char text[ERROR_TEXT_MAX * 2];
    error_format(err, text, sizeof text);
    if (command->bad_use)
        fprintf(stderr, "respin %s: %s\nTry 'respin help %s'.\n", verb->name, text, verb->name);
    else
        fprintf(stderr, "respin: %s\n", text);
}

static int exit_code_of(const Command *command, Status status)
{
    if (command->bad_use)
        return EXIT_BAD_USE;
    return status == ST_OK ? command->exit_code : status_exit_code(status);
}

/* What was printed must have arrived: a full disk or a closed pipe is an I/O error. */
static Status close_output(Error *err)
{
    if (fflush(stdout) != 0 || ferror(stdout) != 0)
        return FAIL(err, ST_IO, NOWHERE, "cannot write standard output: %s", strerror(errno));
    return ST_OK;
}

static int run_verb(const Verb *verb, char **argv)
{
    Command command = { .arena = arena_new(), .color = wants_color(STDOUT_FILENO) };
    Error err = { .place = NOWHERE };
    bool help = false;
    command.log = (Log){ write_log, &command };
    void *options = verb->options_default != NULL
                        ? arena_copy(command.arena, verb->options_default, verb->options_size)
                        : arena_alloc(command.arena, verb->options_size);
    Status status = options_parse(&command, verb, argv, options, &help, &err);
    if (status == ST_OK && help)
        options_print_help(verb);
    else if (status == ST_OK)
        status = verb->run(&command, options, &err);
    if (status == ST_OK)
        status = close_output(&err);
    if (status != ST_OK)
        print_error(&command, verb, &err);
    int code = exit_code_of(&command, status);
    arena_free(command.arena);
    return code;
}

static int bad_use(const char *text, const char *word)
{
    fprintf(stderr, "respin: %s%s\nTry 'respin help'.\n", text, word);
    return EXIT_BAD_USE;
}

static int finish_output(void)
{
    Error err = { .place = NOWHERE };
    Status status = close_output(&err);
    if (status != ST_OK)
        fprintf(stderr, "respin: %s\n", err.text);
    return status_exit_code(status);
}

static int run_help(char **argv)
{
    const Verb *verb = argv[0] != NULL ? find_verb(argv[0]) : NULL;
    if (argv[0] != NULL && verb == NULL)
        return bad_use("no such verb: ", argv[0]);
    if (verb != NULL)
        options_print_help(verb);
    else
        print_usage(stdout);
    return finish_output();
}

/* --man, --man=VERB, --completion=bash. False: `word` is none of them. */
static bool print_manual(const char *word)
{
    static const char man[] = "--man=";
    const Verb *verb =
        strncmp(word, man, sizeof man - 1) == 0 ? find_verb(word + sizeof man - 1) : NULL;
    if (verb != NULL)
        manual_print_verb(verb);
    else if (strcmp(word, "--man") == 0)
        manual_print_respin(verbs, N_VERBS);
    else if (strcmp(word, "--completion=bash") == 0)
        manual_print_completion(verbs, N_VERBS);
    else
        return false;
    return true;
}

/*
 * The next file that is opened would take a standard descriptor that is closed, and what is printed
 * would land in it. What stands there now can be neither read nor written, and no program that is
 * executed gets it.
 */
static void hold_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)open("/dev/null", (fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
}

int main(int argc, char **argv)
{
    hold_standard_descriptors();
    const char *word = argc > 1 ? argv[1] : NULL;
    if (word == NULL) {
        print_usage(stderr);
        return EXIT_BAD_USE;
    }
    if (strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        return run_help(argv + 2);
    if (lists_print(word) || print_manual(word))
        return finish_output();
    const Verb *verb = find_verb(word);
    if (verb == NULL)
        return bad_use("no such verb: ", word);
    return run_verb(verb, argv + 2);
}
