/*
 * inject.c: stops a process and works in it.
 *
 * PTRACE_SEIZE and PTRACE_INTERRUPT: no signal is sent, so none is lost or seen. A thread that is
 * found in a system call shows the kernel's restart code in RAX and its number in ORIG_RAX; while
 * it works for us ORIG_RAX is -1, and when both are back the kernel restarts the call as it would
 * have.
 *
 * System calls are single-stepped over a `syscall` instruction of the process's own vDSO: no byte
 * of its memory is changed for them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/inject.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

enum {
    STOP_MS = 3000, /* to wait for a thread to stop */
    MASK_BYTES = 8,
    NAP_NS = 50000,
    NS_PER_MS = 1000000,
};
#define MASK_OF(signal) (UINT64_C(1) << ((signal)-1))
#define FAULTS                                                                                     \
    (MASK_OF(SIGSEGV) | MASK_OF(SIGBUS) | MASK_OF(SIGFPE) | MASK_OF(SIGILL) | MASK_OF(SIGTRAP) |   \
     MASK_OF(SIGSYS))

static Place at_process(const Remote *remote)
{
    return (Place){ arena_printf(remote->arena, "process %d", remote->pid), NULL, PLACE_NO_OFFSET };
}

/* ---- memory and /proc --------------------------------------------------------------------- */

bool process_read(pid_t pid, void *to, uint64_t from, size_t size)
{
    struct iovec local = { to, size };
    struct iovec there = { (void *)from, size };
    return process_vm_readv(pid, &local, 1, &there, 1, 0) == (ssize_t)size;
}

bool process_write(pid_t pid, uint64_t to, const void *from, size_t size)
{
    struct iovec local = { (void *)(uintptr_t)from, size };
    struct iovec there = { (void *)to, size };
    return process_vm_writev(pid, &local, 1, &there, 1, 0) == (ssize_t)size;
}

static bool status_line(pid_t pid, pid_t thread, const char *name, char *line, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/status", pid, thread);
    FILE *file = fopen(path, "re");
    bool found = false;
    while (file != NULL && !found && fgets(line, (int)size, file) != NULL)
        found = strncmp(line, name, strlen(name)) == 0;
    if (file != NULL)
        fclose(file);
    return found;
}

uint64_t process_mask(pid_t pid, pid_t thread, const char *name)
{
    char line[256];
    return status_line(pid, thread, name, line, sizeof line)
               ? strtoull(line + strlen(name), NULL, 16)
               : 0;
}

char process_state(pid_t pid)
{
    char line[256];
    if (!status_line(pid, pid, "State:", line, sizeof line))
        return 0;
    return line[strspn(line + 6, " \t") + 6];
}

/* ---- stopping ----------------------------------------------------------------------------- */

static bool is_event_stop(int status)
{
    return WIFSTOPPED(status) && status >> 16 == PTRACE_EVENT_STOP;
}

/*
 * A fault whose signal is not delivered yet. It would come out between the steps of our system
 * call, before the step's own SIGTRAP, blocked or not (the kernel looks for any synchronous
 * signal), and that one then would be the process's.
 */
static bool has_fault(pid_t pid, pid_t thread)
{
    return (process_mask(pid, thread, "SigPnd:") & FAULTS &
            ~process_mask(pid, thread, "SigBlk:")) != 0;
}

/*
 * Waits for the stop that PTRACE_INTERRUPT asks for; signals that come first, and faults that are
 * under way, are passed on.
 */
static bool wait_stop(pid_t pid, pid_t thread, bool *gone)
{
    const struct timespec nap = { 0, NAP_NS };
    *gone = false;
    for (int naps = 0; naps < STOP_MS * (NS_PER_MS / NAP_NS); naps++) {
        int status;
        pid_t got = waitpid(thread, &status, __WALL | WNOHANG);
        if (got < 0 || (got == thread && !WIFSTOPPED(status))) {
            *gone = true;
            return false;
        }
        if (got != thread) {
            nanosleep(&nap, NULL);
            continue;
        }
        if (is_event_stop(status) && !has_fault(pid, thread))
            return true;
        if (!is_event_stop(status))
            ptrace(PTRACE_INTERRUPT, thread, 0, 0); /* the stop may have been before a fault */
        ptrace(PTRACE_CONT, thread, 0, status >> 16 != 0 ? 0 : WSTOPSIG(status));
    }
    return false;
}

static bool knows(const Remote *remote, pid_t thread)
{
    for (size_t i = 0; i < remote->n_threads; i++)
        if (remote->threads[i] == thread)
            return true;
    return false;
}

static void add_thread(Remote *remote, pid_t thread)
{
    remote->threads = arena_grow(remote->arena, remote->threads, &remote->threads_cap,
                                 remote->n_threads + 1, sizeof *remote->threads);
    remote->threads[remote->n_threads++] = thread;
}

static Status stop_thread(Remote *remote, pid_t thread, Error *err)
{
    bool gone;
    if (ptrace(PTRACE_SEIZE, thread, 0, 0) != 0) {
        if (errno == ESRCH)
            return ST_OK;
        return FAIL(err, ST_REFUSED, at_process(remote), "cannot be traced: %s", strerror(errno));
    }
    ptrace(PTRACE_INTERRUPT, thread, 0, 0);
    if (wait_stop(remote->pid, thread, &gone)) {
        add_thread(remote, thread);
        return ST_OK;
    }
    if (gone)
        return ST_OK;
    /* It stays seized, and is let go when it stops after all or we end. */
    return FAIL(err, ST_REFUSED, at_process(remote), "thread %d does not stop", thread);
}

/* Stops the threads that are not stopped yet; *n_new says how many. */
static Status stop_new(Remote *remote, size_t *n_new, Error *err)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", remote->pid);
    DIR *folder = opendir(path);
    Status status = ST_OK;
    size_t before = remote->n_threads;
    if (folder == NULL)
        return FAIL(err, ST_REFUSED, at_process(remote), "is not there: %s", strerror(errno));
    for (struct dirent *entry = readdir(folder); entry != NULL && status == ST_OK;
         entry = readdir(folder)) {
        pid_t thread = (pid_t)strtol(entry->d_name, NULL, 10);
        if (thread > 0 && !knows(remote, thread))
            status = stop_thread(remote, thread, err);
    }
    closedir(folder);
    *n_new = remote->n_threads - before;
    return status;
}

Status remote_stop(Remote *remote, pid_t pid, Error *err)
{
    size_t n_new = 1;
    Status status = ST_OK;
    *remote = (Remote){ .arena = arena_new(), .pid = pid };
    while (n_new != 0 && status == ST_OK)
        status = stop_new(remote, &n_new, err);
    if (status == ST_OK && remote->n_threads == 0)
        status = FAIL(err, ST_REFUSED, at_process(remote), "has ended");
    if (status != ST_OK) {
        if (err != NULL)
            err->place = NOWHERE; /* its name goes with the arena */
        remote_resume(remote);
    }
    return status;
}

Status remote_stop_thread(Remote *remote, pid_t pid, pid_t thread, Error *err)
{
    *remote = (Remote){ .arena = arena_new(), .pid = pid };
    Status status = stop_thread(remote, thread, err);
    if (status == ST_OK && remote->n_threads == 0)
        status = FAIL(err, ST_REFUSED, NOWHERE, "thread %d has ended", thread);
    if (status != ST_OK) {
        if (err != NULL)
            err->place = NOWHERE;
        remote_resume(remote);
    }
    return status;
}

void remote_let_go(void)
{
    int status;
    pid_t thread;
    while ((thread = waitpid(-1, &status, __WALL | WNOHANG)) > 0)
        if (WIFSTOPPED(status))
            ptrace(PTRACE_DETACH, thread, 0, status >> 16 != 0 ? 0 : WSTOPSIG(status));
}

void remote_adopt(Remote *remote, pid_t pid)
{
    *remote = (Remote){ .arena = arena_new(), .pid = pid };
    add_thread(remote, pid);
}

void remote_resume(Remote *remote)
{
    for (size_t i = 0; i < remote->n_threads; i++)
        ptrace(PTRACE_DETACH, remote->threads[i], 0, 0);
    arena_free(remote->arena);
    *remote = (Remote){ 0 };
}

uint64_t remote_pc(pid_t thread)
{
    struct user_regs_struct regs;
    return ptrace(PTRACE_GETREGS, thread, 0, &regs) == 0 ? regs.rip : 0;
}

/* ---- working ------------------------------------------------------------------------------ */

enum { SCAN_BYTES = 1 << 16 };

/* Looks for `syscall` (0f 05) in [start, end) of the process. */
static uint64_t scan_for_syscall(pid_t pid, uint64_t start, uint64_t end)
{
    static uint8_t bytes[SCAN_BYTES];
    size_t size = end - start < SCAN_BYTES ? end - start : SCAN_BYTES;
    if (!process_read(pid, bytes, start, size))
        return 0;
    for (size_t i = 0; i + 1 < size; i++)
        if (bytes[i] == 0x0f && bytes[i + 1] == 0x05)
            return start + i;
    return 0;
}

/* In the vDSO; where there is none, at the start of any code. */
static uint64_t find_syscall(pid_t pid)
{
    char path[64], line[4500];
    uint64_t found = 0;
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        char *at;
        uint64_t start = strtoull(line, &at, 16);
        uint64_t end = strtoull(at + 1, &at, 16);
        bool is_vdso = strstr(line, "[vdso]") != NULL;
        if (at[3] != 'x' || at[1] != 'r' || (found != 0 && !is_vdso))
            continue;
        uint64_t here = scan_for_syscall(pid, start, end);
        found = here != 0 ? here : found;
    }
    if (file != NULL)
        fclose(file);
    return found;
}

Status remote_begin(Remote *remote, pid_t worker, Error *err)
{
    /* Blocked, the step's signal would take the process's action for it away. */
    uint64_t all = ~MASK_OF(SIGTRAP);
    remote->worker = worker;
    if (remote->syscall_at == 0)
        remote->syscall_at = find_syscall(remote->pid);
    if (remote->syscall_at == 0)
        return FAIL(err, ST_REFUSED, NOWHERE, "process %d has no vDSO and no code to call from",
                    remote->pid);
    if (ptrace(PTRACE_GETREGS, worker, 0, &remote->saved) != 0 ||
        ptrace(PTRACE_GETSIGMASK, worker, MASK_BYTES, &remote->saved_mask) != 0 ||
        ptrace(PTRACE_SETSIGMASK, worker, MASK_BYTES, &all) != 0)
        return FAIL(err, ST_REFUSED, NOWHERE, "thread %d of process %d cannot be worked in: %s",
                    worker, remote->pid, strerror(errno));
    return ST_OK;
}

void remote_end(Remote *remote)
{
    ptrace(PTRACE_SETREGS, remote->worker, 0, &remote->saved);
    ptrace(PTRACE_SETSIGMASK, remote->worker, MASK_BYTES, &remote->saved_mask);
}

/* Goes on (`how`) until SIGTRAP; stops of other kinds that come between are passed over. */
static Status until_trap(Remote *remote, enum __ptrace_request how, Error *err)
{
    for (;;) {
        int status;
        if (ptrace(how, remote->worker, 0, 0) != 0)
            break;
        while (waitpid(remote->worker, &status, __WALL) < 0)
            if (errno != EINTR)
                return FAIL(err, ST_REFUSED, NOWHERE, "process %d was lost: %s", remote->pid,
                            strerror(errno));
        if (!WIFSTOPPED(status))
            break;
        if (status >> 16 != 0)
            continue;
        if (WSTOPSIG(status) == SIGTRAP)
            return ST_OK;
        struct user_regs_struct regs = { 0 };
        ptrace(PTRACE_GETREGS, remote->worker, 0, &regs);
        return FAIL(err, ST_BUG, NOWHERE, "signal %d in the core in process %d, at 0x%llx",
                    WSTOPSIG(status), remote->pid, regs.rip);
    }
    return FAIL(err, ST_REFUSED, NOWHERE, "process %d ended meanwhile", remote->pid);
}

Status remote_call(Remote *remote, long number, const uint64_t arg[6], int64_t *result, Error *err)
{
    struct user_regs_struct regs = remote->saved;
    regs.orig_rax = (unsigned long long)-1;
    regs.rip = remote->syscall_at;
    regs.rax = (unsigned long long)number;
    regs.rdi = arg[0];
    regs.rsi = arg[1];
    regs.rdx = arg[2];
    regs.r10 = arg[3];
    regs.r8 = arg[4];
    regs.r9 = arg[5];
    if (ptrace(PTRACE_SETREGS, remote->worker, 0, &regs) != 0)
        return FAIL(err, ST_REFUSED, NOWHERE, "process %d was lost: %s", remote->pid,
                    strerror(errno));
    TRY(until_trap(remote, PTRACE_SINGLESTEP, err));
    ptrace(PTRACE_GETREGS, remote->worker, 0, &regs);
    *result = (int64_t)regs.rax;
    return ST_OK;
}

Status remote_run(Remote *remote, uint64_t pc, uint64_t sp, Error *err)
{
    struct user_regs_struct regs = remote->saved;
    regs.orig_rax = (unsigned long long)-1;
    regs.rip = pc;
    regs.rsp = sp;
    regs.eflags &= ~0x40500ull; /* TF DF AC */
    if (ptrace(PTRACE_SETREGS, remote->worker, 0, &regs) != 0)
        return FAIL(err, ST_REFUSED, NOWHERE, "process %d was lost: %s", remote->pid,
                    strerror(errno));
    return until_trap(remote, PTRACE_CONT, err);
}
