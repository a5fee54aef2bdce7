/*
 * exec_plan.c: follows scripts to their program, and says what the VM can run.
 *
 *   ./job (#!/usr/bin/awk -f)   ->   program /usr/bin/awk, argv: /usr/bin/awk -f ./job arguments...
 *
 * Whatever looks as if execve would refuse it is left to execve: it gives the right error. What the
 * VM must not run (another architecture; programs that gain privileges by it) runs natively.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/exec_plan.h"
#include "profiler/load.h"
#include "profiler/text.h"
#include "profiler/thread.h"

#include <asm/errno.h>
#include <asm/stat.h>
#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/stat.h>

enum { MAY_EXECUTE = 1, CAPABILITY_MAX = 64 };
enum { SIGNAL_OF_LEASE = 10, SET_LEASE = 1024, LEASE_READ = 0, LEASE_NONE = 2 }; /* of fcntl */

static long open_file(const char *path)
{
    return raw_syscall(__NR_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC, 0, 0, 0);
}

static void close_file(long fd)
{
    raw_syscall(__NR_close, fd, 0, 0, 0, 0, 0);
}

static bool may_execute(const char *path)
{
    long result = raw_syscall(__NR_faccessat2, AT_FDCWD, (long)path, MAY_EXECUTE, AT_EACCESS, 0, 0);
    return result == 0 || result == -ENOSYS;
}

/*
 * Somebody has it open for writing: then it takes no lease for reading. Only the file's owner and
 * root may ask. Who opens it for writing just now waits for the lease to end, and the kernel tells
 * its holder, by a signal that means nothing to most.
 */
static bool is_being_written(long fd)
{
    raw_syscall(__NR_fcntl, fd, SIGNAL_OF_LEASE, SIGNAL_URG, 0, 0, 0);
    long result = raw_syscall(__NR_fcntl, fd, SET_LEASE, LEASE_READ, 0, 0, 0);
    if (result == 0)
        raw_syscall(__NR_fcntl, fd, SET_LEASE, LEASE_NONE, 0, 0, 0);
    return result == -EAGAIN;
}

static const char *privileges_gained(long fd, const struct stat *info)
{
    char capability[CAPABILITY_MAX];
    if ((info->st_mode & (S_ISUID | S_ISGID)) != 0)
        return "it is set-user-ID or set-group-ID";
    if (raw_syscall(__NR_fgetxattr, fd, (long)"security.capability", (long)capability,
                    sizeof capability, 0, 0) > 0)
        return "it has file capabilities";
    return NULL;
}

/* Cuts "#! interpreter argument\n" into its words; false: no interpreter there. */
static bool cut_script_line(char *line, char **interpreter, char **argument)
{
    char *at = line + 2;
    char *end = at;
    while (*end != '\n' && *end != '\0')
        end++;
    if (*end == '\0' && end == line + PLAN_LINE)
        return false; /* the kernel refuses a name that may have been cut */
    *end = '\0';
    while (end > at && (end[-1] == ' ' || end[-1] == '\t'))
        *--end = '\0';
    while (*at == ' ' || *at == '\t')
        at++;
    *interpreter = at;
    while (*at != '\0' && *at != ' ' && *at != '\t')
        at++;
    *argument = NULL;
    if (*at != '\0') {
        *at++ = '\0';
        while (*at == ' ' || *at == '\t')
            at++;
        *argument = at;
    }
    return **interpreter != '\0';
}

static void push_script(ExecPlan *plan, const char *script, const char *interpreter,
                        const char *argument)
{
    size_t n_new = argument != NULL ? 3 : 2;
    size_t old = plan->n_prefix > 0 ? plan->n_prefix - 1 : 0;
    memmove(&plan->prefix[n_new], &plan->prefix[1], old * sizeof plan->prefix[0]);
    plan->prefix[0] = interpreter;
    if (argument != NULL)
        plan->prefix[1] = argument;
    plan->prefix[n_new - 1] = script;
    plan->n_prefix = n_new + old;
}

/* An ELF program: can the VM load it, and would the kernel? */
static void judge_elf(ExecPlan *plan, long fd)
{
    ElfHead head;
    plan->why_native = elf_read_head(fd, &head);
    plan->native = plan->why_native != NULL;
    if (plan->native || head.interpreter[0] == '\0')
        return;
    ElfHead loader;
    long loader_fd = open_file(head.interpreter);
    plan->native = loader_fd < 0 || elf_read_head(loader_fd, &loader) != NULL;
    if (loader_fd >= 0)
        close_file(loader_fd);
}

/* One step: true when a script led to another file, *path. */
static bool follow(ExecPlan *plan, long fd, int depth, const char **path)
{
    struct stat info = { 0 };
    char *line = plan->line[depth];
    long got = raw_syscall(__NR_pread64, fd, (long)line, PLAN_LINE, 0, 0, 0);
    if (got < 4 || raw_syscall(__NR_fstat, fd, (long)&info, 0, 0, 0, 0) != 0 ||
        !S_ISREG(info.st_mode) || !may_execute(*path)) {
        plan->native = true;
        return false;
    }
    plan->busy |= is_being_written(fd);
    line[got] = '\0';
    if (line[0] == '#' && line[1] == '!') {
        char *interpreter, *argument;
        if (!cut_script_line(line, &interpreter, &argument)) {
            plan->native = true;
            return false;
        }
        push_script(plan, *path, interpreter, argument);
        *path = interpreter;
        return true;
    }
    plan->why_native = privileges_gained(fd, &info);
    plan->native = plan->why_native != NULL || memcmp(line, ELFMAG, SELFMAG) != 0;
    if (!plan->native)
        judge_elf(plan, fd);
    return false;
}

void exec_plan_make(ExecPlan *plan, const char *path)
{
    plan->n_prefix = 0;
    plan->native = plan->busy = false;
    plan->why_native = NULL;
    plan->name = path;
    for (int depth = 0; depth < PLAN_DEPTH_MAX; depth++) {
        long fd = open_file(path);
        bool again = fd >= 0 && follow(plan, fd, depth, &path);
        plan->native |= fd < 0;
        if (fd >= 0)
            close_file(fd);
        plan->program = path;
        if (!again)
            return;
    }
    plan->native = true;
}
