/*
 * merge.c: `respin merge A… -o OUT`: the sum of profiles of the same builds.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli/command.h"

#include "core/profile.h"

typedef struct MergeOptions {
    const char *out;
} MergeOptions;

static Status run_merge(Command *command, const void *options_given, Error *err)
{
    const MergeOptions *options = options_given;
    TRY(want_operands(command, 1, INT32_MAX, "one or more profiles", err));
    if (options->out == NULL)
        return usage_error(command, err, "-o OUT is missing");
    const Profile **parts = arena_many(command->arena, const Profile *, (size_t)command->n_args);
    for (int i = 0; i < command->n_args; i++)
        TRY(profile_read(command->arena, command->args[i], &parts[i], err));
    const Profile *sum;
    TRY(profile_merge(command->arena, parts, (uint32_t)command->n_args, &sum, err));
    TRY(profile_write(sum, options->out, err));
    log_print(&command->log, LOG_NOTE, "%s: %d profiles, %" PRIu32 " processes", options->out,
              command->n_args, sum->n_processes);
    return ST_OK;
}

static const OptionRow merge_options[] = {
    { 'o', "out", "OUT", OPTION_STRING, offsetof(MergeOptions, out), "the profile to write" },
    { 0, NULL, NULL, OPTION_FLAG, 0, NULL },
};

const Verb verb_merge = {
    .name = "merge",
    .usage = "PROFILE… -o OUT",
    .summary = "add profiles up",
    .help = "Writes the sum of the profiles: counts of the same module (equal key) are added. The\n"
            "order does not matter.\n",
    .options = merge_options,
    .options_size = sizeof(MergeOptions),
    .run = run_merge,
};
