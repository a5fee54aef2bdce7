/*
 * profile_run.c: a run is more than one process.
 *
 *     app.rsp                      live file of the first process, later the compact form
 *     app.rsp.live-RUN-PID-N       live files of its children, and of what it became by execve
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
#include <unistd.h>

static int order_names(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* Paths of the files beside `path` that are called as its run's live files are; sorted. */
static void list_siblings(Arena *arena, const char *path, LivePaths *out)
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
        out->paths = arena_grow(arena, out->paths, &out->cap, out->n + 1, sizeof *out->paths);
        out->paths[out->n++] =
            arena_printf(arena, "%.*s%s", (int)(base - path), path, entry->d_name);
    }
    closedir(dir);
    if (out->n > 1)
        qsort(out->paths, out->n, sizeof *out->paths, order_names);
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

/* True when no process writes to the file any more: it said so, or is gone. */
static bool has_ended(const LiveHeader *header)
{
    return (header->flags & LIVE_ENDED) != 0 ||
           (header->pid <= INT32_MAX && kill((pid_t)header->pid, 0) != 0 && errno == ESRCH) ||
           is_zombie(header->pid);
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

static const Profile *read_sibling(Arena *arena, const char *path, uint64_t run, Images *images)
{
    Error err;
    Bytes file;
    LiveData live;
    const Profile *profile;
    if (profile_slurp(arena, path, &file, &err) == ST_OK &&
        profile_parse_live(arena, path, file, &live, &err) == ST_OK &&
        profile_build(arena, &live, images, &profile, &err) == ST_OK)
        return profile;
    return only_remark(arena, path, run, &err);
}

Status profile_add_siblings(Arena *arena, const char *path, const Profile *base, Images *images,
                            bool only_ended, LivePaths *used, const Profile **out, Error *err)
{
    LivePaths found = { 0 };
    list_siblings(arena, path, &found);
    const Profile **parts = arena_many(arena, const Profile *, found.n + 1);
    uint32_t n = 0;
    parts[n++] = base;
    for (size_t i = 0; i < found.n; i++) {
        LiveHeader header;
        if (!read_header(found.paths[i], &header) || header.run != base->run)
            continue;
        if (only_ended && !has_ended(&header)) {
            if (used != NULL)
                used->n_alive++;
            continue;
        }
        parts[n++] = read_sibling(arena, found.paths[i], base->run, images);
        if (used == NULL)
            continue;
        used->paths = arena_grow(arena, used->paths, &used->cap, used->n + 1, sizeof *used->paths);
        used->paths[used->n++] = found.paths[i];
    }
    const Profile *sum;
    TRY(profile_merge(arena, parts, n, &sum, err));
    Profile *run = arena_copy(arena, sum, sizeof *sum);
    if (base->command[0] != '\0')
        run->command = base->command; /* what the user started, not what its children were */
    *out = run;
    return ST_OK;
}

static Status finish(Arena *arena, const char *path, Images *images, const Log *log, Error *err)
{
    Bytes file;
    const Profile *base;
    const Profile *all;
    LivePaths used = { 0 };
    TRY(profile_slurp(arena, path, &file, err));
    TRY(profile_read_bytes(arena, path, file, images, &base, err));
    TRY(profile_add_siblings(arena, path, base, images, true, &used, &all, err));
    TRY(profile_write(all, path, err));
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
    Status status = finish(arena, path, images, log, err);
    images_close(images);
    if (status != ST_OK && err != NULL && err->place.file != NULL)
        err->place.file = path; /* other names were in the arena */
    if (status != ST_OK && err != NULL)
        err->place.section = NULL;
    arena_free(arena);
    return status;
}
