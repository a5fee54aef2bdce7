/*
 * profile_run.c: a run is more than one process.
 *
 *     app.rsp                      live file of the first process, later the compact form
 *     app.rsp.live-RUN-PID-N       live files of its children, and of what it became by execve
 *     app.rsp.live-RUN-sum-G       children that have ended, summed up (profile_fold.c)…
 *     app.rsp.live-RUN-PID-N.in-G  …and those that are in it: they count only until it is there
 *
 * At the end of the first process what has ended is summed into the compact form. A child that
 * lives on keeps its file; whoever reads app.rsp finds it by the number of the run, so nothing is
 * lost and nobody has to wait.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/profile_parts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* What the name of a file beside OUT says, after "OUT.live-": RUN-PID-N, RUN-PID-N.in-G, RUN-sum-G.
 */
static Sibling sibling_of_name(const char *path, const char *rest)
{
    char *end;
    Sibling sibling = { .path = path, .run = strtoull(rest, &end, 16) };
    const char *in = strstr(end, ".in-");
    if (strncmp(end, "-sum-", 5) == 0) {
        sibling.is_sum = true;
        sibling.generation = strtoull(end + 5, NULL, 10);
    } else if (in != NULL) {
        sibling.generation = strtoull(in + 4, NULL, 10);
    }
    if (*end == '-' && !sibling.is_sum)
        sibling.pid = (uint32_t)strtoul(end + 1, NULL, 10);
    return sibling;
}

/* Which are in a sum already, or are a sum that a later one took the place of. */
static void mark_superseded(Siblings *siblings)
{
    for (size_t i = 0; i < siblings->n; i++)
        if (siblings->items[i].is_sum && siblings->items[i].generation > siblings->last_sum)
            siblings->last_sum = siblings->items[i].generation;
    for (size_t i = 0; i < siblings->n; i++) {
        Sibling *sibling = &siblings->items[i];
        uint64_t generation = sibling->generation;
        sibling->superseded =
            generation != 0 &&
            (sibling->is_sum ? generation < siblings->last_sum : generation <= siblings->last_sum);
    }
}

static int order_siblings(const void *left, const void *right)
{
    return strcmp(((const Sibling *)left)->path, ((const Sibling *)right)->path);
}

void profile_list_siblings(Arena *arena, const char *path, uint64_t run, Siblings *out)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash != NULL ? slash + 1 : path;
    const char *folder =
        slash == NULL ? "." : arena_printf(arena, "%.*s/", (int)(slash - path), path);
    const char *prefix = arena_printf(arena, "%s.live-", base);
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return;
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
            continue;
        const char *name = arena_printf(arena, "%.*s%s", (int)(base - path), path, entry->d_name);
        Sibling sibling = sibling_of_name(name, entry->d_name + strlen(prefix));
        if (sibling.run != run)
            continue;
        out->items = arena_grow(arena, out->items, &out->cap, out->n + 1, sizeof *out->items);
        out->items[out->n++] = sibling;
    }
    closedir(dir);
    if (out->n > 1)
        qsort(out->items, out->n, sizeof *out->items, order_siblings);
    mark_superseded(out);
}

/* The header of a live file; false: it is none (yet). */
static bool read_header(const char *path, LiveHeader *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, out, sizeof *out);
    close(fd);
    return got == (ssize_t)sizeof *out && out->magic == LIVE_MAGIC;
}

/* The process has ended and nobody has waited for it: state Z behind "PID (NAME) " in its stat. */
static bool is_zombie(uint32_t pid)
{
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/%" PRIu32 "/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    if (got <= 0)
        return false;
    text[got] = '\0';
    const char *name_end = strrchr(text, ')');
    return name_end != NULL &&
           (strncmp(name_end, ") Z", 3) == 0 || strncmp(name_end, ") X", 3) == 0);
}

static bool is_gone(uint32_t pid)
{
    return (pid <= INT32_MAX && kill((pid_t)pid, 0) != 0 && errno == ESRCH) || is_zombie(pid);
}

/* True when no process writes to the file any more: it said so, or is gone. */
static bool has_ended(const LiveHeader *header)
{
    return (header->flags & LIVE_ENDED) != 0 || is_gone(header->pid);
}

/* A profile with nothing in it but a remark. */
static const Profile *only_remark(Arena *arena, const char *path, uint64_t run, const Error *err)
{
    const char **remarks = arena_many(arena, const char *, 1);
    char text[ERROR_TEXT_MAX];
    Error plain = *err;
    plain.noticed_at = NULL;
    error_format(&plain, text, sizeof text);
    remarks[0] = arena_printf(arena, "left out: %s", text);
    Profile *profile = arena_one(arena, Profile);
    *profile =
        (Profile){ .path = path, .command = "", .run = run, .remarks = remarks, .n_remarks = 1 };
    return profile;
}

bool profile_sibling_is_void(const Sibling *sibling)
{
    LiveHeader header;
    return sibling->pid != 0 && is_gone(sibling->pid) && !read_header(sibling->path, &header);
}

bool profile_sibling_ended(const Sibling *sibling)
{
    LiveHeader header;
    return sibling->is_sum || (read_header(sibling->path, &header) && has_ended(&header));
}

const Profile *profile_read_sibling(Arena *arena, const char *path, uint64_t run, Images *images)
{
    Error err;
    const Profile *profile;
    if (profile_read_path(arena, path, path, images, &profile, &err) == ST_OK)
        return profile;
    return only_remark(arena, path, run, &err);
}

/* Is to be read: whole, of this run, in no sum yet. */
static bool counts(const Sibling *sibling, uint64_t run)
{
    LiveHeader header;
    return !sibling->superseded &&
           (sibling->is_sum || (read_header(sibling->path, &header) && header.run == run));
}

static void note_used(Arena *arena, LivePaths *used, const char *path)
{
    used->paths = arena_grow(arena, used->paths, &used->cap, used->n + 1, sizeof *used->paths);
    used->paths[used->n++] = path;
}

static Status sum_siblings(Arena *arena, const Siblings *found, uint64_t run, Images *images,
                           bool only_ended, LivePaths *used, ProfileSum *sum, Error *err)
{
    for (size_t i = 0; i < found->n; i++) {
        const Sibling *sibling = &found->items[i];
        if (used != NULL && (sibling->superseded || profile_sibling_is_void(sibling)))
            note_used(arena, used, sibling->path);
        if (!counts(sibling, run))
            continue;
        if (only_ended && !profile_sibling_ended(sibling)) {
            if (used != NULL)
                used->n_alive++;
            continue;
        }
        TRY(profile_sum_add(sum, sibling->path, run, images, err));
        if (used != NULL)
            note_used(arena, used, sibling->path);
    }
    return ST_OK;
}

Status profile_add_siblings(Arena *arena, const char *path, const Profile *base, Images *images,
                            bool only_ended, LivePaths *used, const Profile **out, Error *err)
{
    Siblings found = { 0 };
    ProfileSum sum;
    const Profile *all;
    profile_list_siblings(arena, path, base->run, &found);
    profile_sum_begin(&sum);
    Status status = sum_siblings(arena, &found, base->run, images, only_ended, used, &sum, err);
    if (status == ST_OK)
        status = profile_sum_take(&sum, arena, base, &all, err);
    profile_sum_end(&sum);
    TRY(status);
    Profile *run = arena_copy(arena, all, sizeof *all);
    if (base->command[0] != '\0')
        run->command = base->command; /* what the user started, not what its children were */
    *out = run;
    return ST_OK;
}

int profile_lock(const char *path, int operation)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && flock(fd, operation) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

void profile_unlock(int lock)
{
    if (lock >= 0)
        close(lock);
}

static Status finish(Arena *arena, const char *path, Images *images, const Log *log, Error *err)
{
    const Profile *base;
    const Profile *all;
    LivePaths used = { 0 };
    TRY(profile_read_path(arena, path, path, images, &base, err));
    TRY(profile_add_siblings(arena, path, base, images, true, &used, &all, err));
    Profile *whole = arena_copy(arena, all, sizeof *all);
    if (used.n_alive == 0)
        whole->run = 0; /* who reads it from now on looks for no other files: they are in it */
    TRY(profile_write(whole, path, err));
    for (size_t i = 0; i < used.n; i++)
        if (unlink(used.paths[i]) != 0)
            log_print(log, LOG_WARN, "%s: counts are in %s now, but it cannot be removed: %s",
                      used.paths[i], path, strerror(errno));
    for (uint32_t i = 0; i < all->n_remarks; i++)
        log_print(log, LOG_WARN, "%s", all->remarks[i]);
    if (used.n_alive > 0)
        log_print(log, LOG_NOTE,
                  "%u processes of this run go on: what they count stands in %s.live-… and is "
                  "added whenever the profile is read",
                  used.n_alive, path);
    return ST_OK;
}

Status profile_finish(const char *path, const Log *log, Error *err)
{
    Arena *arena = arena_new();
    Images *images = images_new(arena);
    int lock = profile_lock(path, LOCK_EX);
    Status status = finish(arena, path, images, log, err);
    profile_unlock(lock);
    images_close(images);
    if (status != ST_OK && err != NULL && err->place.file != NULL)
        err->place.file = path; /* other names were in the arena */
    if (status != ST_OK && err != NULL)
        err->place.section = NULL;
    arena_free(arena);
    return status;
}
