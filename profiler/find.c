/*
 * find.c: what a run needs, by its absolute path: respin-vm, the Zydis library, the program.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/find.h"

#include <Zydis/Zydis.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static Place at_file(const char *path)
{
    return (Place){ path, NULL, PLACE_NO_OFFSET };
}

/* Where respin-vm stands, seen from the folder of `respin`: beside it, installed, in a build tree.
 */
static const char *const vm_places[] = { "respin-vm", "../libexec/respin/respin-vm",
                                         "../profiler/respin-vm" };

Status find_own_paths(char vm[PATH_MAX], char own[PATH_MAX], Error *err)
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

Status find_zydis(char zydis[PATH_MAX], Error *err)
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
Status find_program(const char *name, char program[PATH_MAX], Error *err)
{
    if (strlen(name) >= PATH_MAX)
        return FAIL(err, ST_IO, NOWHERE, "a program's name of %zu bytes, at most %d", strlen(name),
                    PATH_MAX - 1);
    if (strchr(name, '/') != NULL) {
        memcpy(program, name, strlen(name) + 1);
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

Status find_absolute(const char *path, char out[PATH_MAX], Error *err)
{
    char folder[PATH_MAX] = "";
    if (path[0] != '/' && getcwd(folder, sizeof folder) == NULL)
        return FAIL(err, ST_IO, NOWHERE, "the working directory is unknown: %s", strerror(errno));
    int n = snprintf(out, PATH_MAX, "%s%s%s", folder, path[0] != '/' ? "/" : "", path);
    if (n < 0 || n >= PATH_MAX)
        return FAIL(err, ST_IO, at_file(path), "the path is longer than %d bytes", PATH_MAX - 1);
    return ST_OK;
}
