/*
 * profiler.c: starts a program under the process VM.
 *
 * Finds respin-vm, the Zydis library and the program, makes every path absolute, and becomes
 * respin-vm in the same process.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/profiler.h"

#include "core/arena.h"
#include "profiler/find.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/random.h>
#include <unistd.h>

enum {
    WORDS_MAX = 12,
    WORD_MAX = PATH_MAX + 32,
    ASK_PERSONALITY = -1,
};

/* respin-vm's command line under construction. */
typedef struct Words {
    size_t n;
    char text[WORDS_MAX][WORD_MAX];
} Words;

__attribute__((format(printf, 2, 3))) static void add(Words *words, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(words->text[words->n++], WORD_MAX, format, args);
    va_end(args);
}

/* ---- engines ------------------------------------------------------------------------------ */

/* Name and number: respin-vm is told an engine's number (Engine). */
#define ENGINES(FIRST, NEXT)                                                                       \
    FIRST("switch", 0)                                                                             \
    NEXT("indirect", 1)                                                                            \
    NEXT("threaded", 2)                                                                            \
    NEXT("translate", 3)                                                                           \
    NEXT("auto", 4)

#define AS_ROW(name, number) { name, number },
static const struct {
    const char *name;
    int number;
} engines[] = { ENGINES(AS_ROW, AS_ROW) };

#define AS_WORD(name, number) name
#define AS_NEXT_WORD(name, number) ", " name
const char *profiler_engines(void)
{
    return ENGINES(AS_WORD, AS_NEXT_WORD);
}

static int engine_number(const char *name)
{
    for (size_t i = 0; i < sizeof engines / sizeof engines[0]; i++) {
        if (strcmp(name, engines[i].name) == 0)
            return engines[i].number;
    }
    return -1;
}

bool profiler_has_engine(const char *name)
{
    return engine_number(name) >= 0;
}

/* ---- the command line --------------------------------------------------------------------- */

static Status add_path(Words *words, const char *key, const char *path, Error *err)
{
    char absolute[PATH_MAX];
    TRY(find_absolute(path, absolute, err));
    add(words, "--%s=%s", key, absolute);
    return ST_OK;
}

static Status build_words(const ProfileOptions *options, Words *words, Error *err)
{
    char vm[PATH_MAX], own[PATH_MAX], zydis[PATH_MAX];
    uint64_t run = 0;
    TRY(find_own_paths(vm, own, err));
    TRY(find_zydis(zydis, err));
    if (getrandom(&run, sizeof run, 0) != (ssize_t)sizeof run)
        run = (uint64_t)getpid();
    add(words, "%s", vm);
    add(words, "--vm=%s", vm);
    add(words, "--zydis=%s", zydis);
    add(words, "--run=%" PRIx64, run);
    add(words, "--first");
    add(words, "--engine=%d", engine_number(options->engine));
    if (options->cache != 0)
        add(words, "--cache=%" PRIx64, options->cache);
    if (options->values)
        add(words, "--values");
    if (options->no_follow)
        add(words, "--no-follow");
    if (!options->no_profile) {
        TRY(add_path(words, "out", options->out, err));
        add(words, "--respin=%s", own);
    }
    if (options->model)
        TRY(add_path(words, "model", options->model_out, err));
    add(words, "--");
    return ST_OK;
}

static Status fix_addresses(Error *err)
{
    int now = personality((unsigned long)ASK_PERSONALITY & 0xffffffff);
    if (now < 0 || personality((unsigned long)now | ADDR_NO_RANDOMIZE) < 0)
        return FAIL(err, ST_IO, NOWHERE, "address randomization cannot be turned off: %s",
                    strerror(errno));
    return ST_OK;
}

Status profiler_exec(const ProfileOptions *options, char *const argv[], Error *err)
{
    static Words words;
    char program[PATH_MAX];
    size_t n_args = 0;
    while (argv[n_args] != NULL)
        n_args++;
    if (n_args == 0)
        return FAIL(err, ST_REFUSED, NOWHERE, "no program to run");
    if (!profiler_has_engine(options->engine))
        return FAIL(err, ST_REFUSED, NOWHERE, "no engine of the name '%s' (there is: %s)",
                    options->engine, profiler_engines());
    TRY(find_program(argv[0], program, err));
    words.n = 0;
    TRY(build_words(options, &words, err));
    if (options->fixed_addresses)
        TRY(fix_addresses(err));
    Arena *arena = arena_new();
    char **all = arena_many(arena, char *, words.n + 1 + n_args + 1);
    for (size_t i = 0; i < words.n; i++)
        all[i] = words.text[i];
    all[words.n] = program;
    memcpy(all + words.n + 1, argv, (n_args + 1) * sizeof *all);
    execv(words.text[0], all);
    int code = errno;
    arena_free(arena);
    return FAIL(err, ST_IO, ((Place){ words.text[0], NULL, PLACE_NO_OFFSET }),
                "cannot be executed: %s", strerror(code));
}
