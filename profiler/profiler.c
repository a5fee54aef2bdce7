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

#include <Zydis/Zydis.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/random.h>
#include <sys/stat.h>
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

static Place at_file(const char *path)
{
    return (Place){ path, NULL, PLACE_NO_OFFSET };
}

/* ---- finding things ----------------------------------------------------------------------- */

/* Where respin-vm stands, seen from the folder of `respin`: beside it, installed, in a build tree.
 */
static const char *const vm_places[] = { "respin-vm", "../libexec/respin/respin-vm",
                                         "../profiler/respin-vm" };

static Status find_own_paths(char vm[PATH_MAX], char own[PATH_MAX], Error *err)
{
    ssize_t len = readlink("/proc/self/exe", own, PATH_MAX - 1);
    if (len <= 0)
        return FAIL(err, ST_IO, at_file("/proc/self/exe"), "cannot be read: %s", strerror(errno));
    own[len] = '\0';
    const char *slash = strrchr(own, '/');
    for (size_t i = 0; i < sizeof vm_places / sizeof vm_places[0]; i++) {
        char candidate[PATH_MAX + 64];
        snprintf(candidate, sizeof candidate, "%.*s/%s", (int)(slash - own), own, vm_places[i]);
        if (access(candidate, X_OK) == 0 && realpath(candidate, vm) != NULL)
            return ST_OK;
    }
    return FAIL(err, ST_IO, at_file(own),
                "respin-vm is not where this program looks for it (%s, %s)", vm_places[0],
                vm_places[1]);
}

static Status find_zydis(char zydis[PATH_MAX], Error *err)
{
    Dl_info info;
    void *symbol = dlsym(RTLD_DEFAULT, "ZydisGetVersion");
    if (symbol == NULL || dladdr(symbol, &info) == 0 || realpath(info.dli_fname, zydis) == NULL)
        return FAIL(err, ST_IO, NOWHERE, "the Zydis library is not loaded as a shared object");
    return ST_OK;
}

static bool is_program(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode) && access(path, X_OK) == 0;
}

/* As execvp: a name with a slash is a path, any other is looked for in PATH. */
static Status find_program(const char *name, char program[PATH_MAX], Error *err)
{
    if (strlen(name) >= PATH_MAX)
        return FAIL(err, ST_IO, NOWHERE, "a program's name of %zu bytes, at most %d", strlen(name),
                    PATH_MAX - 1);
    if (strchr(name, '/') != NULL) {
        strcpy(program, name);
        if (is_program(name))
            return ST_OK;
        int code = access(name, X_OK) == 0 ? EACCES : errno;
        return FAIL(err, ST_IO, at_file(name), "cannot be executed: %s", strerror(code));
    }
    const char *folders = getenv("PATH");
    for (const char *at = folders != NULL ? folders : "/bin:/usr/bin"; at != NULL;) {
        size_t len = strcspn(at, ":");
        int wrote =
            snprintf(program, PATH_MAX, "%.*s%s%s", (int)len, at, len != 0 ? "/" : "", name);
        if (wrote < PATH_MAX && is_program(program))
            return ST_OK;
        at = at[len] == ':' ? at + len + 1 : NULL;
    }
    return FAIL(err, ST_IO, at_file(name), "not found in PATH");
}

static Status make_absolute(const char *path, char out[PATH_MAX], Error *err)
{
    char folder[PATH_MAX] = "";
    if (path[0] != '/' && getcwd(folder, sizeof folder) == NULL)
        return FAIL(err, ST_IO, NOWHERE, "the working directory is unknown: %s", strerror(errno));
    int n = snprintf(out, PATH_MAX, "%s%s%s", folder, path[0] != '/' ? "/" : "", path);
    if (n < 0 || n >= PATH_MAX)
        return FAIL(err, ST_IO, at_file(path), "the path is longer than %d bytes", PATH_MAX - 1);
    return ST_OK;
}

/* ---- engines ------------------------------------------------------------------------------ */

static const char *const engine_names[] = { "threaded" };

const char *profiler_engines(void)
{
    static char names[64];
    names[0] = '\0';
    for (size_t i = 0; i < sizeof engine_names / sizeof engine_names[0]; i++) {
        strcat(names, i == 0 ? "" : ", ");
        strcat(names, engine_names[i]);
    }
    return names;
}

bool profiler_has_engine(const char *name)
{
    for (size_t i = 0; i < sizeof engine_names / sizeof engine_names[0]; i++) {
        if (strcmp(name, engine_names[i]) == 0)
            return true;
    }
    return false;
}

/* ---- the command line --------------------------------------------------------------------- */

static Status add_path(Words *words, const char *key, const char *path, Error *err)
{
    char absolute[PATH_MAX];
    TRY(make_absolute(path, absolute, err));
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
    add(words, "--engine=%s", options->engine);
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
    return FAIL(err, ST_IO, at_file(words.text[0]), "cannot be executed: %s", strerror(code));
}
