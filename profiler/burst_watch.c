/*
 * burst_watch.c: what happens outside while a program is sampled.
 *
 *   every step (20 ms, or at once when a process ends)
 *     each process with a core:  threads that came or went: a clock more or less
 *     now and then:              children; programs that were executed; masks
 *     a process without one:     gets it when it has used some CPU time
 *
 * A thread is found through the number of links of /proc/PID/task. What lives shorter than a step
 * is not seen; a process that uses less CPU time than a core costs is not worth one.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/burst_watch.h"

#include "core/live_format.h"
#include "core/profile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    STEP_MS = 20,
    STEPS_THREADS = 10, /* between full looks at threads… */
    STEPS_CHILDREN = 5, /* …for children and new programs… */
    STEPS_MASKS = 50,   /* …and at signal masks */
    WORTH_MS = 100,     /* CPU time after which a process gets a core */
    QUIET_TRIES = 2000,
    MS_PER_S = 1000,
    NS_PER_MS = 1000000,
};

typedef struct Watched {
    pid_t pid;
    int handle; /* pidfd; -1: ended */
    bool has_core;
    bool is_refused; /* runs natively */
    bool is_child;
    size_t parent;   /* index of the process that it was forked from; its own: none */
    uint64_t cpu_ms; /* when its program began */
    Core core;       /* the last one */
    Clock *clocks;
    size_t n_clocks, clocks_cap;
} Watched;

struct Watch {
    Arena *arena;
    WatchOptions options;
    ClockKind clock;
    Watched **all;
    size_t n, cap;
    const char **files; /* live files that were written */
    size_t n_files, files_cap;
};

/* ---- /proc -------------------------------------------------------------------------------- */

static uint64_t cpu_ms_of(pid_t pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "re");
    size_t n = file != NULL ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file != NULL)
        fclose(file);
    text[n] = '\0';
    unsigned long user = 0, system = 0;
    const char *rest = strrchr(text, ')');
    if (rest == NULL ||
        sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
        return 0;
    return (user + system) * MS_PER_S / (unsigned long)sysconf(_SC_CLK_TCK);
}

static size_t count_threads(pid_t pid)
{
    char path[64];
    struct stat info;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    return stat(path, &info) == 0 && info.st_nlink > 2 ? info.st_nlink - 2 : 0;
}

/* Threads of a process, sorted by nothing; n of them. */
static pid_t *list_threads(Arena *arena, pid_t pid, size_t *n)
{
    char path[64];
    size_t cap = 0;
    pid_t *threads = NULL;
    *n = 0;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *folder = opendir(path);
    if (folder == NULL)
        return NULL;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        pid_t thread = (pid_t)strtol(entry->d_name, NULL, 10);
        if (thread <= 0)
            continue;
        threads = arena_grow(arena, threads, &cap, *n + 1, sizeof *threads);
        threads[(*n)++] = thread;
    }
    closedir(folder);
    return threads;
}

/* ---- clocks ------------------------------------------------------------------------------- */

static Status start_clock(Watch *watch, Watched *process, pid_t thread, Error *err)
{
    Clock clock;
    TRY(clock_start(watch->clock, &process->core, watch->options.core.burst_ns, thread, &clock,
                    err));
    process->clocks = arena_grow(watch->arena, process->clocks, &process->clocks_cap,
                                 process->n_clocks + 1, sizeof *process->clocks);
    process->clocks[process->n_clocks++] = clock;
    return ST_OK;
}

static bool has_clock(const Watched *process, pid_t thread)
{
    for (size_t i = 0; i < process->n_clocks; i++)
        if (process->clocks[i].thread == thread)
            return true;
    return false;
}

static void stop_clocks(Watched *process)
{
    for (size_t i = 0; i < process->n_clocks; i++)
        clock_stop(&process->clocks[i]);
}

static bool is_listed(const pid_t *threads, size_t n, pid_t thread)
{
    for (size_t i = 0; i < n; i++)
        if (threads[i] == thread)
            return true;
    return false;
}

/* Timers of threads that ended stay in the process until the core goes. */
static void drop_clocks(Watched *process, const pid_t *threads, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < process->n_clocks; i++) {
        Clock *clock = &process->clocks[i];
        if (!is_listed(threads, n, clock->thread))
            clock_stop(clock);
        if (is_listed(threads, n, clock->thread) || clock->has_timer)
            process->clocks[kept++] = *clock;
    }
    process->n_clocks = kept;
}

/* A program without our handler must have no clock; the first signal is a whole period away. */
static void lose_core(Watched *process)
{
    stop_clocks(process);
    process->n_clocks = 0;
    process->has_core = false;
    process->is_child = true;
    process->cpu_ms = cpu_ms_of(process->pid);
}

static void update_clocks(Watch *watch, Watched *process)
{
    Arena *scratch = arena_new();
    size_t n;
    const pid_t *threads = list_threads(scratch, process->pid, &n);
    Error ignored;
    drop_clocks(process, threads, n);
    for (size_t i = 0; i < n && core_is_there(&process->core); i++)
        if (!has_clock(process, threads[i]) &&
            start_clock(watch, process, threads[i], &ignored) != ST_OK)
            break;
    if (n != 0 && !core_is_there(&process->core))
        lose_core(process);
    arena_free(scratch);
}

/* Threads that block the signal have no clock until they do not; others lose theirs when they do.
 */
static void check_masks(Watched *process)
{
    size_t kept = 0;
    for (size_t i = 0; i < process->n_clocks; i++) {
        Clock *clock = &process->clocks[i];
        bool blocks = clock_would_wait(&process->core, clock->thread);
        if (blocks != clock->is_blocked && !clock->has_timer)
            clock_stop(clock);
        else
            process->clocks[kept++] = *clock;
    }
    process->n_clocks = kept;
}

/* ---- processes ---------------------------------------------------------------------------- */

static Watched *add_process(Watch *watch, pid_t pid, size_t parent)
{
    Watched *process = arena_one(watch->arena, Watched);
    *process = (Watched){ .pid = pid,
                          .handle = (int)syscall(SYS_pidfd_open, pid, 0),
                          .is_child = watch->n != 0,
                          .parent = parent };
    watch->all = arena_grow(watch->arena, watch->all, &watch->cap, watch->n + 1, sizeof(Watched *));
    watch->all[watch->n++] = process;
    return process;
}

static void note_file(Watch *watch, const char *path)
{
    watch->files = arena_grow(watch->arena, watch->files, &watch->files_cap, watch->n_files + 1,
                              sizeof *watch->files);
    watch->files[watch->n_files++] = arena_string(watch->arena, path);
}

/* `remote` is stopped, and goes on. */
static Status give_core(Watch *watch, Watched *process, Remote *remote, Error *err)
{
    Status status = core_load(remote, &watch->options.core, process->is_child, &process->core, err);
    remote_resume(remote);
    if (status != ST_OK)
        return status;
    process->has_core = true;
    note_file(watch, process->core.live_path);
    update_clocks(watch, process);
    return ST_OK;
}

static void try_core(Watch *watch, Watched *process)
{
    Error err;
    Remote remote;
    if (cpu_ms_of(process->pid) < process->cpu_ms + WORTH_MS)
        return;
    Status status = remote_stop(&remote, process->pid, &err);
    if (status == ST_OK)
        status = give_core(watch, process, &remote, &err);
    if (status == ST_OK)
        return;
    process->is_refused = true;
    log_print(watch->options.log, LOG_INFO, "%s: it runs on without a profile", err.text);
}

static bool knows_process(const Watch *watch, pid_t pid)
{
    for (size_t i = 0; i < watch->n; i++)
        if (watch->all[i]->pid == pid && watch->all[i]->handle >= 0)
            return true;
    return false;
}

static void add_children_of(Watch *watch, size_t parent, pid_t thread)
{
    char path[64];
    int child;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", watch->all[parent]->pid, thread);
    FILE *file = fopen(path, "re");
    while (file != NULL && fscanf(file, "%d", &child) == 1)
        if (!knows_process(watch, child))
            add_process(watch, child, parent);
    if (file != NULL)
        fclose(file);
}

static void find_children(Watch *watch)
{
    for (size_t i = 0; i < watch->n; i++) {
        Arena *scratch = arena_new();
        size_t n = 0;
        const pid_t *threads =
            watch->all[i]->handle >= 0 ? list_threads(scratch, watch->all[i]->pid, &n) : NULL;
        for (size_t j = 0; j < n; j++)
            add_children_of(watch, i, threads[j]);
        arena_free(scratch);
    }
}

/* ---- steps -------------------------------------------------------------------------------- */

static void end_process(Watched *process)
{
    stop_clocks(process);
    process->n_clocks = 0;
    process->has_core = false;
    close(process->handle);
    process->handle = -1;
}

static void step_process(Watch *watch, Watched *process, uint64_t step)
{
    if (!process->has_core) {
        bool wanted = !process->is_refused && !(watch->options.no_follow && process->is_child);
        if (wanted)
            try_core(watch, process);
        return;
    }
    if (step % STEPS_MASKS == 0)
        check_masks(process);
    if (step % STEPS_CHILDREN == 0 && !core_is_there(&process->core))
        lose_core(process);
    else if (step % STEPS_THREADS == 0 || count_threads(process->pid) != process->n_clocks)
        update_clocks(watch, process);
}

/* Waits for a step's time or the end of a process; how many live on. */
static size_t wait_step(Watch *watch)
{
    Arena *scratch = arena_new();
    struct pollfd *handles = arena_many(scratch, struct pollfd, watch->n);
    size_t n_live = 0;
    for (size_t i = 0; i < watch->n; i++)
        handles[i] = (struct pollfd){ .fd = watch->all[i]->handle, .events = POLLIN };
    if (poll(handles, watch->n, STEP_MS) > 0)
        for (size_t i = 0; i < watch->n; i++)
            if (watch->all[i]->handle >= 0 && (handles[i].revents & (POLLIN | POLLNVAL)) != 0)
                end_process(watch->all[i]);
    for (size_t i = 0; i < watch->n; i++)
        n_live += watch->all[i]->handle >= 0;
    arena_free(scratch);
    return n_live;
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * MS_PER_S + (uint64_t)now.tv_nsec / NS_PER_MS;
}

/* ---- the end ------------------------------------------------------------------------------ */

static Status unload(const Watched *process, Remote *remote, Error *err)
{
    Status status = ST_OK;
    if (process->n_clocks != 0 && process->clocks[0].has_timer) {
        TRY(remote_begin(remote, remote->threads[0], err));
        for (size_t i = 0; i < process->n_clocks && status == ST_OK; i++)
            status = clock_delete_timer(remote, &process->clocks[i], err);
        remote_end(remote);
    }
    return status == ST_OK ? core_unload(remote, &process->core, err) : status;
}

/* Stops the process until no thread of it is in the core; a burst is over in a millisecond. */
static Status take_core(Watched *process, Error *err)
{
    const struct timespec nap = { 0, NS_PER_MS };
    stop_clocks(process);
    core_turn_off(&process->core);
    for (int i = 0; i < QUIET_TRIES; i++) {
        Remote remote;
        bool quiet;
        if (process_state(process->pid) == 'Z' || !core_is_there(&process->core))
            return ST_OK;
        TRY(remote_stop(&remote, process->pid, err));
        Status status = core_is_quiet(&remote, &process->core, &quiet, err);
        if (status == ST_OK && quiet)
            status = unload(process, &remote, err);
        remote_resume(&remote);
        if (status != ST_OK || quiet)
            return status;
        nanosleep(&nap, NULL);
    }
    return FAIL(err, ST_BUG, NOWHERE, "process %d stays in the VM core", process->pid);
}

/* Children that were forked from a process with a core, and have none of their own. */
static void clear_child(Watch *watch, const Watched *process)
{
    const Core *core = &watch->all[process->parent]->core;
    Remote remote;
    Error ignored;
    if (core->signal == 0 ||
        (process_mask(process->pid, process->pid, "SigCgt:") >> (core->signal - 1) & 1) == 0 ||
        remote_stop(&remote, process->pid, &ignored) != ST_OK)
        return;
    if (core_clear_child(&remote, core, &ignored) != ST_OK)
        log_print(watch->options.log, LOG_WARN, "process %d keeps a handler for signal %u",
                  process->pid, core->signal);
    remote_resume(&remote);
}

static void take_all(Watch *watch)
{
    Error err;
    for (size_t i = 0; i < watch->n; i++) {
        Watched *process = watch->all[i];
        if (process->has_core && take_core(process, &err) != ST_OK)
            log_print(watch->options.log, LOG_WARN, "the VM core could not be taken away: %s",
                      err.text);
    }
    find_children(watch);
    for (size_t i = 0; i < watch->n; i++)
        if (watch->all[i]->handle >= 0 && !watch->all[i]->has_core)
            clear_child(watch, watch->all[i]);
}

/* Nobody writes to the file any more. */
static void mark_ended(const char *path)
{
    LiveHeader header;
    int file = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0)
        return;
    if (pread(file, &header, sizeof header, 0) == (ssize_t)sizeof header &&
        header.magic == LIVE_MAGIC) {
        header.flags |= LIVE_ENDED;
        if (pwrite(file, &header.flags, sizeof header.flags, offsetof(LiveHeader, flags)) < 0)
            header.flags = 0; /* it is read as not complete */
    }
    close(file);
}

static Status finish(Watch *watch, Error *err)
{
    for (size_t i = 0; i < watch->n_files; i++)
        mark_ended(watch->files[i]);
    return profile_finish(watch->options.core.out, watch->options.log, err);
}

static void allow_many_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

Status watch_begin(Arena *arena, const WatchOptions *options, Remote *remote, Watch **out,
                   Error *err)
{
    Watch *watch = arena_one(arena, Watch);
    *watch = (Watch){ .arena = arena, .options = *options, .clock = clock_kind(options->clock) };
    *out = watch;
    allow_many_files();
    Watched *first = add_process(watch, remote->pid, 0);
    return give_core(watch, first, remote, err);
}

Status watch_run(Watch *watch, const volatile int *stop, Error *err)
{
    uint64_t end = now_ms() + watch->options.seconds * MS_PER_S;
    for (uint64_t step = 1; wait_step(watch) != 0 && *stop == 0; step++) {
        if (watch->options.seconds != 0 && now_ms() >= end)
            break;
        remote_let_go();
        if (step % STEPS_CHILDREN == 0 && !watch->options.no_follow)
            find_children(watch);
        for (size_t i = 0; i < watch->n; i++)
            if (watch->all[i]->handle >= 0)
                step_process(watch, watch->all[i], step);
    }
    take_all(watch);
    return finish(watch, err);
}
