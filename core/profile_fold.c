/*
 * profile_fold.c: many ended children → one file, while the run goes on.
 *
 *   live-RUN-7-0, live-RUN-8-0 …, sum-4  ─►  live-RUN-7-0.in-5, …, sum-4  ─►  sum-5
 *                                  renamed                          written, renamed; the others
 * removed
 *
 * Whatever dies in between, each count stands in exactly one place: a file that is called `.in-G`
 * counts as long as there is no sum G, and of the sums the last one. A process that folds has the
 * lock on OUT; the end of the run waits for it, and after it there is nothing to fold.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/profile_parts.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FOLD_LEAST = 16, FOLD_MOST = 1024 };

typedef struct Folding {
    ProfileSum sum;
    Images *images;
    uint64_t run;
} Folding;

/* `lock` is of the file that bears the name now, and that is the live file of the run. */
static bool still_live(const char *path, int lock, uint64_t run)
{
    struct stat held, named;
    LiveHeader header;
    return fstat(lock, &held) == 0 && stat(path, &named) == 0 && held.st_ino == named.st_ino &&
           held.st_dev == named.st_dev &&
           pread(lock, &header, sizeof header, 0) == (ssize_t)sizeof header &&
           header.magic == LIVE_MAGIC && header.run == run;
}

/* Renames what is to be folded; what cannot be read or renamed (another user's) stays. The number.
 */
static size_t claim(Arena *arena, Siblings *siblings, uint64_t generation)
{
    size_t n = 0;
    for (size_t i = 0; i < siblings->n && n < FOLD_MOST; i++) {
        Sibling *sibling = &siblings->items[i];
        if (profile_sibling_is_void(sibling))
            (void)unlink(sibling->path);
        if (sibling->is_sum || sibling->superseded || !profile_sibling_ended(sibling) ||
            access(sibling->path, R_OK) != 0)
            continue;
        size_t length = strlen(sibling->path);
        const char *in = strstr(sibling->path, ".in-");
        if (in != NULL)
            length = (size_t)(in - sibling->path);
        const char *name =
            arena_printf(arena, "%.*s.in-%" PRIu64, (int)length, sibling->path, generation);
        if (rename(sibling->path, name) != 0)
            continue;
        sibling->path = name;
        sibling->generation = generation;
        n++;
    }
    return n;
}

static bool goes_in(const Sibling *sibling, const Siblings *siblings)
{
    return sibling->is_sum ? !sibling->superseded : sibling->generation == siblings->last_sum + 1;
}

static Status fold(Arena *arena, const char *path, Folding *folding, Error *err)
{
    Siblings siblings = { 0 };
    profile_list_siblings(arena, path, folding->run, &siblings);
    uint64_t generation = siblings.last_sum + 1;
    if (siblings.n < FOLD_LEAST || claim(arena, &siblings, generation) == 0)
        return ST_OK;
    for (size_t i = 0; i < siblings.n; i++)
        if (goes_in(&siblings.items[i], &siblings))
            TRY(profile_sum_add(&folding->sum, siblings.items[i].path, folding->run,
                                folding->images, err));
    const Profile *sum;
    TRY(profile_sum_take(&folding->sum, arena, NULL, &sum, err));
    const char *name =
        arena_printf(arena, "%s.live-%016" PRIx64 "-sum-%" PRIu64, path, folding->run, generation);
    TRY(profile_write(sum, name, err));
    for (size_t i = 0; i < siblings.n; i++)
        if (goes_in(&siblings.items[i], &siblings) || siblings.items[i].superseded)
            (void)unlink(siblings.items[i].path); /* else the next one, or the end, does it */
    return ST_OK;
}

Status profile_fold(const char *path, uint64_t run, Error *err)
{
    int lock = profile_lock(path, LOCK_EX | LOCK_NB);
    if (lock < 0 || !still_live(path, lock, run)) {
        profile_unlock(lock);
        return ST_OK;
    }
    Arena *arena = arena_new();
    Folding folding = { .images = images_new(arena), .run = run };
    profile_sum_begin(&folding.sum);
    Status status = fold(arena, path, &folding, err);
    profile_unlock(lock);
    images_close(folding.images);
    profile_sum_end(&folding.sum);
    if (status != ST_OK && err != NULL) {
        err->place.file = path; /* other names were in the arena */
        err->place.section = NULL;
    }
    arena_free(arena);
    return status;
}
