/*
 * profile.c: `respin profile`: runs a program under the process VM.
 *
 * The process that the user started becomes the guest: same pid, terminal and signals. The exit
 * status is the guest's own. At its end the VM runs `respin finish`, which compacts the profile.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli/command.h"

#include "profiler/profiler.h"

typedef struct ProfileVerbOptions {
    const char *out;
    const char *engine;
    bool no_follow;
    bool fixed_addresses;
} ProfileVerbOptions;

static Status run_profile(Command *command, const void *options_given, Error *err)
{
    const ProfileVerbOptions *given = options_given;
    const ProfileOptions options = {
        .out = given->out,
        .engine = given->engine,
        .no_follow = given->no_follow,
        .fixed_addresses = given->fixed_addresses,
    };
    if (command->n_rest == 0)
        return usage_error(command, err, "wants a program to run");
    if (!profiler_has_engine(given->engine))
        return usage_error(command, err, "no engine '%s'; there is: %s", given->engine,
                           profiler_engines());
    return profiler_exec(&options, command->rest, err);
}

static const ProfileVerbOptions profile_defaults = { .out = "app.rsp", .engine = "threaded" };

static const OptionRow profile_options[] = {
    { 'o', "out", "FILE", OPTION_STRING, offsetof(ProfileVerbOptions, out),
      "where the profile goes (default app.rsp)" },
    { 0, "engine", "ENGINE", OPTION_STRING, offsetof(ProfileVerbOptions, engine),
      "how the VM runs code: threaded" },
    { 0, "no-follow", NULL, OPTION_FLAG, offsetof(ProfileVerbOptions, no_follow),
      "run child processes natively, without counting" },
    { 0, "fixed-addresses", NULL, OPTION_FLAG, offsetof(ProfileVerbOptions, fixed_addresses),
      "no address space randomisation for the program" },
    { 0, NULL, NULL, OPTION_FLAG, 0, NULL },
};

const Verb verb_profile = {
    .name = "profile",
    .usage = "[-o FILE] [--] PROGRAM [ARGS...]",
    .summary = "run a program under the process VM and record where its time goes",
    .help = "Runs PROGRAM with exact counting of every block and branch, and writes a profile.\n"
            "The program keeps its process id, terminal, signals, output and exit status; it is\n"
            "10 to 30 times slower. Child processes are counted too. The profile is whole even if\n"
            "the program is killed. Exit status: the program's own.\n",
    .options = profile_options,
    .options_size = sizeof(ProfileVerbOptions),
    .options_default = &profile_defaults,
    .options_stop_at_operand = true,
    .run = run_profile,
};
