/*
 * merge.c: `respin merge A… -o OUT`: the sum of profiles of the same builds.
 *
 *     sum := A;   sum := sum + B;   sum := sum + C;   …
 *
 * One input at a time: memory is that of the sum, of one input and of their sum, whatever the
 * number of inputs. Sums of sums are sums (core/profile_merge.c), so neither the order nor where
 * the work is cut matters, and hosts may reduce in any tree.
 *
 * Counts of two builds of one program do not add up to anything that can be used: two modules of
 * one path and two keys are refused by name, unless the user says that both shall be kept.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli/command.h"

#include "core/profile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct MergeOptions {
    const char *out;
    const char *list;
    OptionList weighted;
    bool mixed;
} MergeOptions;

/* A build that some input holds. */
typedef struct Build {
    const char *path;
    ImageKey key;
    const char *source; /* the first profile that holds it */
} Build;

typedef struct Merging {
    Command *command;
    bool mixed;   /* keep several builds of one path */
    Arena *arena; /* of `sum`; NULL: no input yet */
    const Profile *sum;
    Build *builds;
    size_t n_builds, builds_cap;
    uint32_t n_inputs;
} Merging;

static bool has_key(const ImageKey *key)
{
    return key->build_id_len > 0 || key->text_hash[0] != 0 || key->text_hash[1] != 0;
}

static Status refuse_mixed(const Merging *merging, const Build *build, const ProfileModule *module,
                           const char *source, Error *err)
{
    Arena *arena = merging->command->arena;
    return FAIL(err, ST_REFUSED, ((Place){ source, NULL, PLACE_NO_OFFSET }),
                "%s is build %s here and build %s in %s: not the same program (--mixed keeps both)",
                module->path, image_key_text(arena, &module->key),
                image_key_text(arena, &build->key), build->source);
}

static Status note_build(Merging *merging, const ProfileModule *module, const char *source,
                         Error *err)
{
    for (size_t i = 0; i < merging->n_builds; i++) {
        const Build *build = &merging->builds[i];
        if (strcmp(build->path, module->path) != 0)
            continue;
        if (image_key_equal(&build->key, &module->key))
            return ST_OK;
        return refuse_mixed(merging, build, module, source, err);
    }
    Arena *arena = merging->command->arena;
    merging->builds = arena_grow(arena, merging->builds, &merging->builds_cap,
                                 merging->n_builds + 1, sizeof *merging->builds);
    merging->builds[merging->n_builds++] =
        (Build){ arena_string(arena, module->path), module->key, arena_string(arena, source) };
    return ST_OK;
}

static Status note_builds(Merging *merging, const Profile *part, const char *source, Error *err)
{
    for (uint32_t i = 0; i < part->n_modules && !merging->mixed; i++)
        if (has_key(&part->modules[i].key))
            TRY(note_build(merging, &part->modules[i], source, err));
    return ST_OK;
}

/* What an error names may stand in an arena that is about to go. */
static Status keep_error(const Merging *merging, Status status, Error *err)
{
    Arena *arena = merging->command->arena;
    if (status != ST_OK && err->place.file != NULL)
        err->place.file = arena_string(arena, err->place.file);
    if (status != ST_OK && err->place.section != NULL)
        err->place.section = arena_string(arena, err->place.section);
    return status;
}

/* sum := sum + part; the old sum is gone. */
static Status add_part(Merging *merging, const Profile *part, Error *err)
{
    const Profile *parts[2] = { part, merging->sum };
    Arena *arena = arena_new();
    const Profile *sum;
    Status status = keep_error(
        merging, profile_merge(arena, parts, merging->sum != NULL ? 2 : 1, &sum, err), err);
    if (status != ST_OK) {
        arena_free(arena);
        return status;
    }
    if (merging->arena != NULL)
        arena_free(merging->arena);
    merging->arena = arena;
    merging->sum = sum;
    merging->n_inputs++;
    return ST_OK;
}

static Status add_read(Merging *merging, Arena *arena, const char *path, uint64_t weight,
                       Error *err)
{
    const Profile *part;
    const char *source = strcmp(path, "-") == 0 ? "standard input" : path;
    TRY(profile_read(arena, path, &part, err));
    TRY(note_builds(merging, part, source, err));
    if (weight != 1)
        part = profile_scale(arena, part, weight);
    return add_part(merging, part, err);
}

static Status add_file(Merging *merging, const char *path, uint64_t weight, Error *err)
{
    Arena *arena = arena_new();
    Status status = keep_error(merging, add_read(merging, arena, path, weight, err), err);
    arena_free(arena);
    return status;
}

/* Each line of the file is the path of a profile. */
static Status add_listed(Merging *merging, const char *path, Error *err)
{
    Bytes file;
    TRY(profile_slurp(merging->command->arena, path, &file, err));
    for (size_t at = 0; at < file.len;) {
        const uint8_t *end = memchr(file.data + at, '\n', file.len - at);
        size_t len = end != NULL ? (size_t)(end - (file.data + at)) : file.len - at;
        const char *line =
            arena_printf(merging->command->arena, "%.*s", (int)len, (const char *)file.data + at);
        if (*line != '\0')
            TRY(add_file(merging, line, 1, err));
        at += len + 1;
    }
    return ST_OK;
}

/* N,FILE as llvm-profdata takes it. */
static Status add_weighted(Merging *merging, const char *word, Error *err)
{
    char *end;
    errno = 0;
    uint64_t weight = strtoull(word, &end, 10);
    if (errno != 0 || end == word || *end != ',' || end[1] == '\0' || word[0] == '-' || weight == 0)
        return usage_error(merging->command, err,
                           "--weighted-input wants N,PROFILE with N from 1, not '%s'", word);
    return add_file(merging, end + 1, weight, err);
}

static Status add_all(Merging *merging, const MergeOptions *options, Error *err)
{
    const Command *command = merging->command;
    for (int i = 0; i < command->n_args; i++)
        TRY(add_file(merging, command->args[i], 1, err));
    for (size_t i = 0; i < options->weighted.n; i++)
        TRY(add_weighted(merging, options->weighted.items[i], err));
    if (options->list != NULL)
        TRY(add_listed(merging, options->list, err));
    if (merging->sum == NULL)
        return usage_error(merging->command, err, "%s names no profile", options->list);
    TRY(profile_write(merging->sum, options->out, err));
    log_print(&command->log, LOG_NOTE, "%s: %" PRIu32 " profiles, %" PRIu32 " processes",
              options->out, merging->n_inputs, merging->sum->n_processes);
    return ST_OK;
}

static Status run_merge(Command *command, const void *options_given, Error *err)
{
    const MergeOptions *options = options_given;
    Merging merging = { .command = command, .mixed = options->mixed };
    if (options->list == NULL && options->weighted.n == 0)
        TRY(want_operands(command, 1, INT32_MAX, "one or more profiles", err));
    if (options->out == NULL)
        return usage_error(command, err, "-o OUT is missing");
    Status status = add_all(&merging, options, err);
    if (merging.arena != NULL)
        arena_free(merging.arena);
    return status;
}

static const OptionRow merge_options[] = {
    { 'o', "out", "OUT", OPTION_STRING, offsetof(MergeOptions, out), "the profile to write" },
    { 0, "list", "FILE", OPTION_STRING, offsetof(MergeOptions, list),
      "also the profiles whose paths FILE holds, one a line (- : standard input)" },
    { 0, "weighted-input", "N,PROFILE", OPTION_LIST, offsetof(MergeOptions, weighted),
      "also PROFILE, its counts N times; may be repeated" },
    { 0, "mixed", NULL, OPTION_FLAG, offsetof(MergeOptions, mixed),
      "keep different builds of one path side by side" },
    { 0, NULL, NULL, OPTION_FLAG, 0, NULL },
};

const Verb verb_merge = {
    .name = "merge",
    .usage = "PROFILE... -o OUT",
    .summary = "add profiles up",
    .help =
        "Writes the sum of the profiles: counts of the same module (equal key) are added. The\n"
        "order does not matter, and a sum of sums is the sum of all: any number of hosts may\n"
        "reduce in any order. Memory is that of the sum and of one profile.\n\n"
        "Two builds of one path are refused, with both named: their addresses do not mean the\n"
        "same. --mixed keeps them side by side; the optimizer takes the one that its input is.\n"
        "A PROFILE may be - (standard input).\n",
    .options = merge_options,
    .options_size = sizeof(MergeOptions),
    .run = run_merge,
};
