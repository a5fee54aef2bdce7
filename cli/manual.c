/*
 * manual.c: what `respin --man`, `--man=VERB` and `--completion=bash` print.
 *
 *     Verb { usage, help, options } --> man(7): NAME SYNOPSIS DESCRIPTION OPTIONS EXIT STATUS
 *                                   --> bash: which words may follow which
 *
 * The build keeps the pages under share/man and installs them, so a page cannot lag behind the
 * code.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli/manual.h"

#include <stdio.h>
#include <string.h>

/* ---- man(7) --------------------------------------------------------------------------------- */

/* One line or a part of one, as it shall be read: no requests, no escapes, hyphens as typed. */
static void put_text(const char *text, size_t len)
{
    if (len > 0 && (text[0] == '.' || text[0] == '\''))
        fputs("\\&", stdout);
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\\')
            fputs("\\e", stdout);
        else if (text[i] == '-')
            fputs("\\-", stdout);
        else
            putchar(text[i]);
    }
}

static void put_words(const char *text)
{
    put_text(text, strlen(text));
}

/* Paragraphs, one line each in the source; an indented line is an example and stays as it is. */
static void put_paragraphs(const char *text)
{
    bool is_example = false;
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        bool indented = *text == ' ';
        if (indented != is_example)
            puts(indented ? ".nf" : ".fi");
        is_example = indented;
        if (len == 0)
            puts(".PP");
        else {
            put_text(text, len);
            putchar('\n');
        }
        text += len + (text[len] == '\n');
    }
    if (is_example)
        puts(".fi");
}

static void put_option(const OptionRow *row)
{
    puts(".TP");
    if (row->letter != 0)
        printf("\\fB\\-%c\\fR, ", row->letter);
    fputs("\\fB\\-\\-", stdout);
    put_words(row->name);
    fputs("\\fR", stdout);
    if (row->argument != NULL) {
        fputs(row->kind == OPTION_MAYBE ? "[=\\fI" : "=\\fI", stdout);
        put_words(row->argument);
        fputs(row->kind == OPTION_MAYBE ? "\\fR]" : "\\fR", stdout);
    }
    putchar('\n');
    put_words(row->help);
    putchar('\n');
}

static void put_options(const OptionRow *rows)
{
    for (; rows != NULL && rows->name != NULL; rows++)
        if (rows->help != NULL)
            put_option(rows);
}

static void put_title(const char *verb, const char *summary)
{
    const char *joint = verb[0] != '\0' ? "-" : "";
    printf(".TH \"RESPIN%s%s\" 1 \"\" \"respin " RESPIN_VERSION "\"\n.SH NAME\nrespin%s%s \\- ",
           joint, verb, joint, verb);
    put_words(summary);
    putchar('\n');
}

static void put_exit_status(void)
{
    static const struct {
        const char *status;
        const char *means;
    } rows[] = {
        { "0", "done" },
        { "1", "done, but the answer is no: slower, differs" },
        { "2", "bad use" },
        { "3", "bad input file" },
        { "4", "refused" },
        { "5", "input or output failed" },
        { "70", "a fault of respin's own" },
    };
    puts(".SH EXIT STATUS\n\\fBrespin profile\\fR ends with the status of the program that it ran;"
         "\nall other verbs with");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        printf(".TP\n.B %s\n%s\n", rows[i].status, rows[i].means);
}

void manual_print_verb(const Verb *verb)
{
    put_title(verb->name, verb->summary);
    printf(".SH SYNOPSIS\n\\fBrespin %s\\fR ", verb->name);
    put_words(verb->usage);
    puts("\n.SH DESCRIPTION");
    put_paragraphs(verb->help);
    puts(".SH OPTIONS");
    put_options(verb->options);
    put_options(options_common);
    put_exit_status();
    puts(".SH SEE ALSO\n\\fBrespin\\fR(1)");
}

void manual_print_respin(const Verb *const *verbs, size_t n)
{
    put_title("", "make x86-64 Linux programs faster as they are");
    puts(".SH SYNOPSIS\n\\fBrespin\\fR \\fIVERB\\fR ...\n.SH DESCRIPTION\n"
         "Profiles a program under a process VM, without hardware support, and writes a binary "
         "whose\n"
         "hot code is laid out anew. It needs no source, no symbols and no relocations.\n"
         ".SH VERBS");
    for (size_t i = 0; i < n; i++)
        if (!verbs[i]->hidden) {
            printf(".TP\n\\fBrespin\\-%s\\fR(1)\n", verbs[i]->name);
            put_words(verbs[i]->summary);
            putchar('\n');
        }
    puts(
        ".SH OPTIONS\n.TP\n\\fB\\-\\-version\\fR\nprint the version\n"
        ".TP\n\\fB\\-\\-list\\-refusals\\fR, \\fB\\-\\-list\\-passes\\fR, "
        "\\fB\\-\\-list\\-forms\\fR\n"
        "print why code is left alone, the optimizer's passes, the instruction forms that move\n"
        ".TP\n\\fB\\-\\-man\\fR[=\\fIVERB\\fR]\nprint this page, or that of a verb\n"
        ".TP\n\\fB\\-\\-completion=bash\\fR\nprint a script that completes respin's words in bash");
    put_exit_status();
    puts(".SH ENVIRONMENT\n.TP\n.B NO_COLOR\nset and not empty: no colours\n"
         ".TP\n.B TMPDIR\nwhere \\fBcompare\\fR keeps what the runs printed");
}

/* ---- bash ----------------------------------------------------------------------------------- */

static void put_names(const OptionRow *rows)
{
    for (; rows != NULL && rows->name != NULL; rows++)
        if (rows->help != NULL)
            printf(" --%s%s", rows->name,
                   rows->argument != NULL && rows->kind != OPTION_MAYBE ? "=" : "");
}

void manual_print_completion(const Verb *const *verbs, size_t n)
{
    puts("# bash completion for respin, printed by respin --completion=bash\n"
         "_respin()\n{\n"
         "    local word=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]} names\n"
         "    COMPREPLY=()\n"
         "    if [ \"$COMP_CWORD\" -eq 1 ] || { [ \"$COMP_CWORD\" -eq 2 ] && [ \"$verb\" = help ]; "
         "}; then");
    fputs("        names=\"help", stdout);
    for (size_t i = 0; i < n; i++)
        if (!verbs[i]->hidden)
            printf(" %s", verbs[i]->name);
    puts("\"\n        COMPREPLY=($(compgen -W \"$names\" -- \"$word\"))\n        return\n    fi\n"
         "    case $verb in");
    for (size_t i = 0; i < n; i++) {
        if (verbs[i]->hidden)
            continue;
        printf("    %s) names=\"", verbs[i]->name);
        put_names(verbs[i]->options);
        put_names(options_common);
        puts("\" ;;");
    }
    puts("    esac\n"
         "    case $word in\n"
         "    -*) COMPREPLY=($(compgen -W \"$names\" -- \"$word\")) ;;\n"
         "    *) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n"
         "    esac\n"
         "    case ${COMPREPLY[0]} in *=) compopt -o nospace 2> /dev/null ;; esac\n"
         "}\n"
         "complete -o filenames -F _respin respin");
}
