/*
 * What execve would do with a file: which program runs in the end, and with which arguments.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_EXEC_PLAN_H
#define RESPIN_PROFILER_EXEC_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PLAN_PATH_MAX = 4096,
    PLAN_DEPTH_MAX = 5, /* scripts that run scripts: as the kernel */
    PLAN_PREFIX_MAX = 2 * PLAN_DEPTH_MAX + 1,
    PLAN_LINE = 256, /* of a script's first line, the kernel reads so much */
};

/* `prefix` replaces argv[0] when a script was met: interpreter, its argument, the script's name. */
typedef struct ExecPlan {
    const char *program; /* the ELF file to load */
    const char *name;    /* as execve was told: AT_EXECFN and the process's name */
    const char
        *why_native; /* runs without the VM, for a reason that a person wants to know; or NULL */
    bool native;     /* the kernel decides: an error, or why_native */
    bool busy;       /* the file is open for writing: ETXTBSY */
    size_t n_prefix;
    const char *prefix[PLAN_PREFIX_MAX];
    char path[PLAN_PATH_MAX];
    char line[PLAN_DEPTH_MAX][PLAN_LINE + 1]; /* first lines, cut into words */
} ExecPlan;

/* `path`: as given, absolute or relative to the working directory. */
void exec_plan_make(ExecPlan *plan, const char *path);

#endif
