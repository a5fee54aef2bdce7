/*
 * compare_model.c: one run under the process VM with the front-end model.
 *
 *     respin-vm -> FOLDER/run.rsp    branches by class and module, exact
 *               -> FOLDER/run.model  lines, pages, cache and TLB misses (profiler/model.h)
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli/compare.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- a folder that goes away ---------------------------------------------------------------- */

static Status make_folder(Arena *arena, char **out, Error *err)
{
    const char *parent = getenv("TMPDIR");
    *out = arena_printf(arena, "%s/respin-compare.XXXXXX",
                        parent != NULL && parent[0] != '\0' ? parent : "/tmp");
    if (mkdtemp(*out) == NULL)
        return FAIL(err, ST_IO, ((Place){ *out, NULL, PLACE_NO_OFFSET }),
                    "cannot make a folder: %s", strerror(errno));
    return ST_OK;
}

static void remove_folder(Arena *arena, const char *path)
{
    DIR *folder = opendir(path);
    if (folder != NULL) {
        for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
            unlink(arena_printf(arena, "%s/%s", path, entry->d_name));
        closedir(folder);
    }
    rmdir(path);
}

/* ---- the model's figures -------------------------------------------------------------------- */

/* Sums over all processes that wrote their figures. */
typedef struct ModelSums {
    uint64_t windows;
    uint64_t window_lines;
    uint64_t window_pages;
    uint64_t lines_per_million; /* the largest that a process wrote */
    uint64_t pages_per_million;
} ModelSums;

static void take_figure(const char *name, uint64_t value, ModelFigures *figures, ModelSums *sums)
{
    const struct {
        const char *name;
        uint64_t *sum;
    } names[] = {
        { "instructions", &figures->instructions },
        { "icache_misses", &figures->icache_misses },
        { "itlb_misses", &figures->itlb_misses },
        { "btb_misses", &figures->btb_misses },
        { "windows", &sums->windows },
        { "window_lines", &sums->window_lines },
        { "window_pages", &sums->window_pages },
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i].name, name) == 0)
            *names[i].sum += value;
    if (strcmp(name, "lines_per_million") == 0 && value > sums->lines_per_million)
        sums->lines_per_million = value;
    if (strcmp(name, "pages_per_million") == 0 && value > sums->pages_per_million)
        sums->pages_per_million = value;
}

static Status read_model(const char *path, ModelFigures *out, Error *err)
{
    char line[256], name[64];
    uint64_t value;
    ModelSums sums = { 0 };
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return FAIL(err, ST_IO, ((Place){ path, NULL, PLACE_NO_OFFSET }),
                    "the process VM wrote no model figures: %s", strerror(errno));
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "%63s %" SCNu64, name, &value) == 2)
            take_figure(name, value, out, &sums);
    fclose(file);
    /* A program shorter than a window has one incomplete one. */
    out->lines_per_million = sums.windows > 0 ? (double)sums.window_lines / (double)sums.windows
                                              : (double)sums.lines_per_million;
    out->pages_per_million = sums.windows > 0 ? (double)sums.window_pages / (double)sums.windows
                                              : (double)sums.pages_per_million;
    return ST_OK;
}

/* ---- branches ------------------------------------------------------------------------------- */

static void add_figures(ProfileFigures *sum, const ProfileModule *module)
{
    ProfileFigures figures;
    profile_figures(module, &figures);
    sum->instructions += figures.instructions;
    sum->branches += figures.branches;
    sum->taken_conditional += figures.taken_conditional;
    sum->jumps += figures.jumps;
    sum->indirect_jumps += figures.indirect_jumps;
    sum->calls += figures.calls;
    sum->indirect_calls += figures.indirect_calls;
    sum->returns += figures.returns;
    sum->syscalls += figures.syscalls;
}

/* Without a key (generated code, the vDSO) the name decides. */
static bool same_module(const ProfileModule *left, const ProfileModule *right)
{
    static const ImageKey none;
    if (image_key_equal(&left->key, &none) || image_key_equal(&right->key, &none))
        return strcmp(left->path, right->path) == 0;
    return image_key_equal(&left->key, &right->key);
}

static bool has_module(const Profile *profile, const ProfileModule *module)
{
    for (uint32_t i = 0; i < profile->n_modules; i++)
        if (same_module(&profile->modules[i], module))
            return true;
    return false;
}

static uint32_t add_changed(ModelFigures *figures, const Profile *other)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < figures->profile->n_modules; i++) {
        const ProfileModule *module = &figures->profile->modules[i];
        if (has_module(other, module))
            continue;
        add_figures(&figures->changed, module);
        n++;
    }
    return n;
}

uint32_t model_compare(ModelFigures *before, ModelFigures *after)
{
    add_changed(after, before->profile);
    return add_changed(before, after->profile);
}

/* ---- the run -------------------------------------------------------------------------------- */

static Status run_and_read(Arena *arena, const RunSpec *spec, const char *folder, RunResult *result,
                           ModelFigures *out, Error *err)
{
    const ProfileOptions options = {
        .out = arena_printf(arena, "%s/run.rsp", folder),
        .engine = "threaded",
        .model = true,
        .model_out = arena_printf(arena, "%s/run.model", folder),
        .fixed_addresses = true,
    };
    RunSpec under_vm = *spec;
    under_vm.profile = &options;
    TRY(run_command(&under_vm, result, err));
    TRY(read_model(options.model_out, out, err));
    TRY(profile_read(arena, options.out, &out->profile, err));
    for (uint32_t i = 0; i < out->profile->n_modules; i++)
        add_figures(&out->all, &out->profile->modules[i]);
    return ST_OK;
}

Status model_run(Arena *arena, const RunSpec *spec, RunResult *result, ModelFigures *out,
                 Error *err)
{
    char *folder;
    TRY(make_folder(arena, &folder, err));
    *out = (ModelFigures){ 0 };
    Status status = run_and_read(arena, spec, folder, result, out, err);
    remove_folder(arena, folder);
    return status;
}
