/*
 * profile.c: `respin profile`: runs a program under the process VM.
 *
 * The process that the user started becomes the guest: same pid, terminal and signals. The exit
 * status is the guest's own. At its end the VM runs `respin finish`, which compacts the profile.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli/command.h"

#include "core/out_file.h"
#include "profiler/profiler.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct ProfileVerbOptions {
    const char *out;
    const char *engine;
    const char *cache; /* NULL: the default */
    bool values;
    bool no_follow;
    bool fixed_addresses;
    const char *burst; /* "": the default rate; NULL: no bursts */
    uint64_t attach;
    uint64_t seconds;
    uint64_t burst_edges;
    uint64_t burst_share;
    const char *burst_clock;
} ProfileVerbOptions;

static Status read_burst(Command *command, const ProfileVerbOptions *given, BurstOptions *out,
                         Error *err)
{
    const char *text = given->burst != NULL ? given->burst : "";
    char *end;
    *out = (BurstOptions){ .out = given->out,
                           .hz = *text == '\0' ? BURST_HZ : strtoul(text, &end, 10),
                           .edges = given->burst_edges,
                           .share = given->burst_share,
                           .clock = given->burst_clock,
                           .no_follow = given->no_follow,
                           .seconds = given->seconds };
    if (*text != '\0' && (*end != '\0' || out->hz < 1 || out->hz > BURST_HZ_MOST))
        return usage_error(command, err, "--burst wants a rate from 1 to %d, not '%s'",
                           BURST_HZ_MOST, text);
    if (out->share < 1 || out->share > 1000)
        return usage_error(command, err, "--burst-share is not from 1 to 1000");
    if (out->edges < 1 || out->edges > UINT32_MAX)
        return usage_error(command, err, "--burst-edges is %llu, not from 1 to %u",
                           (unsigned long long)out->edges, UINT32_MAX);
    return ST_OK;
}

static Status run_attach(Command *command, const ProfileVerbOptions *given, Error *err)
{
    BurstOptions options;
    TRY(read_burst(command, given, &options, err));
    if (command->n_rest != 0)
        return usage_error(command, err, "--attach takes no program");
    if (given->attach > INT_MAX)
        return usage_error(command, err, "--attach wants a process id");
    return profiler_attach(&options, (pid_t)given->attach, &command->log, err);
}

static Status run_burst(Command *command, const ProfileVerbOptions *given, Error *err)
{
    BurstOptions options;
    TRY(read_burst(command, given, &options, err));
    if (given->seconds != 0)
        return usage_error(command, err, "--seconds is for --attach");
    return profiler_burst_exec(&options, command->rest, err);
}

/* A number of MiB, or of KiB with a K behind it. */
static Status read_cache(Command *command, const char *text, uint64_t *bytes, Error *err)
{
    enum { KIB = 1 << 10, MOST_MIB = 1 << 14 };
    char *end;
    *bytes = 0;
    if (text == NULL)
        return ST_OK;
    uint64_t n = *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;
    bool small = n != 0 && *end == 'K';
    if (n == 0 || n > (uint64_t)MOST_MIB * (small ? KIB : 1) || end[small] != '\0')
        return usage_error(command, err, "--cache wants a number of MiB up to %d, not '%s'",
                           MOST_MIB, text);
    *bytes = n * KIB * (small ? 1 : KIB);
    return ST_OK;
}

/* What stands at `out` is replaced: a device or a program is nobody's to replace. */
static Status check_out(const char *out, Error *err)
{
    struct stat info;
    if (stat(out, &info) == 0 && !S_ISREG(info.st_mode))
        return FAIL(err, ST_IO, ((Place){ out, NULL, PLACE_NO_OFFSET }),
                    "is there and is no regular file");
    return out_file_check(out, err);
}

/* Said before a long run, not behind it. An attached process may see other folders. */
static Status check_folder(Arena *arena, const char *out, Error *err)
{
    const char *slash = strrchr(out, '/');
    const char *folder = slash == NULL  ? "."
                         : slash == out ? "/"
                                        : arena_printf(arena, "%.*s", (int)(slash - out), out);
    if (access(folder, W_OK | X_OK) != 0)
        return FAIL(err, ST_IO, ((Place){ out, NULL, PLACE_NO_OFFSET }),
                    "no file can be made beside it: %s", strerror(errno));
    return ST_OK;
}

static Status run_profile(Command *command, const void *options_given, Error *err)
{
    const ProfileVerbOptions *given = options_given;
    ProfileOptions options = {
        .out = given->out,
        .engine = given->engine,
        .values = given->values,
        .no_follow = given->no_follow,
        .fixed_addresses = given->fixed_addresses,
    };
    if (given->values && (given->attach != 0 || given->burst != NULL))
        return usage_error(command, err, "--values is for whole runs, not for bursts");
    TRY(check_out(given->out, err));
    if (given->attach != 0)
        return run_attach(command, given, err);
    if (command->n_rest == 0)
        return usage_error(command, err, "wants a program to run");
    TRY(check_folder(command->arena, given->out, err));
    if (given->burst != NULL)
        return run_burst(command, given, err);
    if (!profiler_has_engine(given->engine))
        return usage_error(command, err, "no engine '%s'; there is: %s", given->engine,
                           profiler_engines());
    if (given->values &&
        (strcmp(given->engine, "switch") == 0 || strcmp(given->engine, "indirect") == 0))
        return usage_error(command, err, "--values and --engine=%s exclude each other",
                           given->engine);
    TRY(read_cache(command, given->cache, &options.cache, err));
    return profiler_exec(&options, command->rest, err);
}

static const ProfileVerbOptions profile_defaults = {
    .out = "app.rsp", .engine = "auto", .burst_edges = BURST_EDGES, .burst_share = BURST_SHARE
};

static const OptionRow profile_options[] = {
    { 'o', "out", "FILE", OPTION_STRING, offsetof(ProfileVerbOptions, out),
      "where the profile goes (default app.rsp)" },
    { 0, "engine", "ENGINE", OPTION_STRING, offsetof(ProfileVerbOptions, engine),
      "(default auto) how the VM runs code: switch, indirect, threaded, translate, auto" },
    { 0, "values", NULL, OPTION_FLAG, offsetof(ProfileVerbOptions, values),
      "record values, too: divisors, shift counts, lengths, table indices, strides" },
    { 0, "cache", "MIB", OPTION_STRING, offsetof(ProfileVerbOptions, cache),
      "(default 256) translated code kept at a time; what is over is made again when needed" },
    { 0, "no-follow", NULL, OPTION_FLAG, offsetof(ProfileVerbOptions, no_follow),
      "run child processes natively, without counting" },
    { 0, "fixed-addresses", NULL, OPTION_FLAG, offsetof(ProfileVerbOptions, fixed_addresses),
      "no address space randomisation for the program" },
    { 0, "burst", "HZ", OPTION_MAYBE, offsetof(ProfileVerbOptions, burst),
      "run natively and look HZ times a second of CPU time (default 100): samples" },
    { 0, "attach", "PID", OPTION_NUMBER, offsetof(ProfileVerbOptions, attach),
      "join a running process and its children, in bursts, and leave it as it was" },
    { 0, "seconds", "N", OPTION_NUMBER, offsetof(ProfileVerbOptions, seconds),
      "with --attach: for how long (default: until it ends)" },
    { 0, "burst-edges", "N", OPTION_NUMBER, offsetof(ProfileVerbOptions, burst_edges), NULL },
    { 0, "burst-share", "N", OPTION_NUMBER, offsetof(ProfileVerbOptions, burst_share), NULL },
    { 0, "burst-clock", "KIND", OPTION_STRING, offsetof(ProfileVerbOptions, burst_clock), NULL },
    { 0, NULL, NULL, OPTION_FLAG, 0, NULL },
};

const Verb verb_profile = {
    .name = "profile",
    .usage = "[-o FILE] [--burst[=HZ]] [--] PROGRAM [ARGS...] | --attach PID [--seconds N]",
    .summary = "run a program under the process VM and record where its time goes",
    .help = "Runs PROGRAM with exact counting of every block and branch, and writes a profile.\n"
            "The program keeps its process id, terminal, signals, output and exit status; it is\n"
            "about 2 times slower, and 4 times where much code runs briefly, as in a compiler.\n"
            "Child processes are counted too. The profile is whole even if the program is\n"
            "killed. Exit status: the program's own.\n"
            "\n"
            "With --burst the program runs natively and is looked at now and then, at a few\n"
            "percent of its time; --attach does so with a process that runs already. The counts\n"
            "are then estimates.\n",
    .options = profile_options,
    .options_size = sizeof(ProfileVerbOptions),
    .options_default = &profile_defaults,
    .options_stop_at_operand = true,
    .run = run_profile,
};
