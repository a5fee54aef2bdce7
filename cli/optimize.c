/*
 * optimize.c: `respin optimize BINARY -p PROFILE`: the faster file, from a profile.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli/command.h"

#include "core/out_file.h"
#include "rewriter/rewriter.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct Given {
    const char *profile;
    const char *out;
    const char *all;
    bool explain;
    const char *hot;
    const char *layout;
    const char *regions;
    uint64_t seed;
    const char *growth_text;
    const char *only;
    const char *stop_after;
    const char *dump;
} Given;

enum { GROWTH_MAX = 1000 };

/* "best", "original", "reverse", "random", "random:SEED". */
static bool read_order(const char *text, OrderChoice *order, uint64_t *seed)
{
    static const struct {
        const char *name;
        OrderChoice order;
    } orders[] = { { "best", ORDER_BEST },
                   { "original", ORDER_ORIGINAL },
                   { "reverse", ORDER_REVERSE },
                   { "random", ORDER_RANDOM } };
    size_t len = text != NULL ? strcspn(text, ":") : 0;
    if (text == NULL)
        return true;
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        if (strlen(orders[i].name) != len || strncmp(orders[i].name, text, len) != 0)
            continue;
        *order = orders[i].order;
        if (text[len] == '\0')
            return true;
        char *end;
        *seed = strtoull(text + len + 1, &end, 0);
        return *order == ORDER_RANDOM && text[len + 1] != '\0' && *end == '\0';
    }
    return false;
}

static Status read_options(Command *command, const Given *given, OptimizeOptions *options,
                           Error *err)
{
    *options = (OptimizeOptions){ .seed = given->seed,
                                  .growth_percent = GROWTH_DEFAULT,
                                  .stop_after = given->stop_after,
                                  .dump = given->dump,
                                  .only = given->only,
                                  .log = command->log };
    if (given->hot != NULL && strcmp(given->hot, "all-executed") == 0)
        options->hot = HOT_ALL_EXECUTED;
    else if (given->hot != NULL && strcmp(given->hot, "profile") != 0)
        return usage_error(command, err, "--hot is profile or all-executed, not '%s'", given->hot);
    if (!read_order(given->layout, &options->blocks, &options->seed))
        return usage_error(command, err, "--layout knows no '%s'", given->layout);
    if (!read_order(given->regions, &options->regions, &options->seed))
        return usage_error(command, err, "--regions knows no '%s'", given->regions);
    if (given->growth_text != NULL) {
        char *end;
        unsigned long percent = strtoul(given->growth_text, &end, 10);
        if (*end != '\0' || end == given->growth_text || percent > GROWTH_MAX)
            return usage_error(command, err, "--growth is a number of percent up to %d, not '%s'",
                               GROWTH_MAX, given->growth_text);
        options->growth_percent = (uint32_t)percent;
    }
    return ST_OK;
}

static void print_explanation(Command *command, const Plan *plan)
{
    Buffer text = { .arena = command->arena };
    plan_explain(plan, &text);
    fwrite(text.data, 1, text.len, stdout);
}

static void print_result(Command *command, const Plan *plan, const RewriteStats *stats,
                         const char *out)
{
    const PlanStats *figures = &plan->stats;
    double inside = figures->insns_total > 0
                        ? 100.0 * (double)figures->insns_placed / (double)figures->insns_total
                        : 0.0;
    double growth = 100.0 * ((double)stats->output_size / (double)stats->input_size - 1.0);
    if (command->json) {
        json_t *value =
            json_pack("{s:s, s:i, s:i, s:I, s:I, s:I, s:I, s:i, s:i}", "file", out,
                      "functions_executed", (int)figures->funcs_executed, "functions_placed",
                      (int)figures->funcs_placed, "instructions", (json_int_t)figures->insns_total,
                      "instructions_placed", (json_int_t)figures->insns_placed, "input_bytes",
                      (json_int_t)stats->input_size, "output_bytes", (json_int_t)stats->output_size,
                      "patches", (int)plan->n_patches, "copies_proven", (int)stats->insns_checked);
        if (value != NULL)
            json_dumpf(value, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(value);
        return;
    }
    log_print(&command->log, LOG_NOTE,
              "%s: %" PRIu32 " of %" PRIu32 " executed functions placed, %.1f%% of what was "
              "executed is inside, %+.1f%% bytes",
              out, figures->funcs_placed, figures->funcs_executed, inside, growth);
    log_print(&command->log, LOG_INFO,
              "%" PRIu32 " patches, %" PRIu32 " instructions proven, %" PRIu32
              " of another size, %" PRIu64 " bytes of code, %" PRIu64 " of unwind tables",
              plan->n_patches, stats->insns_checked, stats->insns_changed_size,
              stats->overlay_bytes, stats->unwind_bytes);
}

static Status optimize_image(Command *command, const Given *given, const Image *image,
                             const Profile *profile, const char *out, Error *err)
{
    OptimizeOptions options;
    const Plan *plan;
    RewriteStats stats;
    TRY(read_options(command, given, &options, err));
    TRY(optimize(command->arena, image, profile, &options, &plan, err));
    if (given->explain)
        print_explanation(command, plan);
    if (given->stop_after != NULL) {
        log_print(&command->log, LOG_NOTE, "stopped after %s: nothing is written",
                  given->stop_after);
        return ST_OK;
    }
    if (plan->n_regions == 0)
        log_print(&command->log, LOG_WARN, "%s: nothing to place: the output is a copy",
                  image->path);
    if (out_file_is_same(image->path, out))
        log_print(&command->log, LOG_WARN, "%s: the input is replaced", out);
    TRY(rewrite(command->arena, plan, out, &stats, err));
    print_result(command, plan, &stats, out);
    return ST_OK;
}

static Status optimize_one(Command *command, const Given *given, const Profile *profile,
                           const char *path, const char *out, Error *err)
{
    const Image *image;
    TRY(image_open(command->arena, path, &image, err));
    TRY(optimize_image(command, given, image, profile, out, err)); /* errors name its sections */
    image_close(image);
    return ST_OK;
}

static bool has_key(const ProfileModule *module)
{
    const ImageKey *key = &module->key;
    return key->build_id_len > 0 || key->text_hash[0] != 0 || key->text_hash[1] != 0;
}

static const char *file_name(const ProfileModule *module)
{
    const char *slash = strrchr(module->path, '/');
    return slash != NULL ? slash + 1 : module->path;
}

/* An earlier module's file would be replaced by the one of module `i`. */
static bool name_is_taken(const Profile *profile, uint32_t i)
{
    for (uint32_t j = 0; j < i; j++)
        if (has_key(&profile->modules[j]) &&
            strcmp(file_name(&profile->modules[j]), file_name(&profile->modules[i])) == 0)
            return true;
    return false;
}

/* Every module of the profile that can be: refusals are said, and the others go on. */
static Status optimize_all(Command *command, const Given *given, const Profile *profile, Error *err)
{
    uint32_t written = 0;
    if (mkdir(given->all, 0777) != 0 && errno != EEXIST)
        return FAIL(err, ST_IO, ((Place){ given->all, NULL, PLACE_NO_OFFSET }),
                    "no folder can be made: %s", strerror(errno));
    for (uint32_t i = 0; i < profile->n_modules; i++) {
        const char *path = profile->modules[i].path;
        if (!has_key(&profile->modules[i]))
            continue;
        const char *name = file_name(&profile->modules[i]);
        if (name_is_taken(profile, i)) {
            log_print(&command->log, LOG_WARN, "%s: left alone: another module is called %s, too",
                      path, name);
            continue;
        }
        const char *out = arena_printf(command->arena, "%s/%s", given->all, name);
        Status status = optimize_one(command, given, profile, path, out, err);
        if (status != ST_OK && status != ST_REFUSED && status != ST_BAD_INPUT)
            return status;
        if (status == ST_OK)
            written++;
        else
            log_print(&command->log, LOG_WARN, "%s: left alone: %s", path, err->text);
    }
    if (written > 0)
        return ST_OK;
    return FAIL(err, ST_REFUSED, ((Place){ profile->path, NULL, PLACE_NO_OFFSET }),
                "none of its %" PRIu32 " modules could be optimized", profile->n_modules);
}

static Status run_optimize(Command *command, const void *options, Error *err)
{
    const Given *given = options;
    const Profile *profile;
    OptimizeOptions parsed;
    TRY(read_options(command, given, &parsed, err));
    if (given->profile == NULL)
        return usage_error(command, err, "a profile is wanted: -p FILE");
    TRY(want_operands(command, given->all == NULL ? 1 : 0, given->all == NULL ? 1 : 0,
                      given->all == NULL ? "one BINARY" : "no BINARY beside --all", err));
    TRY(profile_read(command->arena, given->profile, &profile, err));
    if (given->all != NULL)
        return optimize_all(command, given, profile, err);
    const char *path = command->args[0];
    const char *out =
        given->out != NULL ? given->out : arena_printf(command->arena, "%s.fast", path);
    if (out_file_is_same(out, given->profile))
        return usage_error(command, err, "'%s' is the profile: it would be lost", out);
    return optimize_one(command, given, profile, path, out, err);
}

static const OptionRow rows[] = {
    { 'p', "profile", "FILE", OPTION_STRING, offsetof(Given, profile),
      "profile to optimize for, written by respin profile" },
    { 'o', "out", "FILE", OPTION_STRING, offsetof(Given, out),
      "where to write (default BINARY.fast)" },
    { 0, "all", "DIR", OPTION_STRING, offsetof(Given, all),
      "optimize every module of the profile into DIR" },
    { 0, "explain", NULL, OPTION_FLAG, offsetof(Given, explain),
      "print what was placed, patched and refused, and why" },
    { 0, "hot", "WHAT", OPTION_STRING, offsetof(Given, hot),
      "profile (default) or all-executed: every function that ran" },
    { 0, "layout", "ORDER", OPTION_STRING, offsetof(Given, layout),
      "order of blocks: best, original, reverse, random[:SEED]" },
    { 0, "regions", "ORDER", OPTION_STRING, offsetof(Given, regions),
      "order of functions: best, original, reverse, random[:SEED]" },
    { 0, "seed", "N", OPTION_NUMBER, offsetof(Given, seed), "seed of random orders" },
    { 0, "growth", "PERCENT", OPTION_STRING, offsetof(Given, growth_text),
      "bound on duplicated code, of hot bytes (default 15)" },
    { 0, "only", "A-B", OPTION_STRING, offsetof(Given, only),
      "only the functions with these indices, to find a bad one" },
    { 0, "stop-after", "PASS", OPTION_STRING, offsetof(Given, stop_after),
      "end after this pass and write nothing" },
    { 0, "dump", "PASS", OPTION_STRING, offsetof(Given, dump),
      "print each function after this pass" },
    { 0, NULL, NULL, OPTION_FLAG, 0, NULL },
};

const Verb verb_optimize = {
    .name = "optimize",
    .usage = "BINARY -p PROFILE [-o OUT]",
    .summary = "write a faster binary from a profile",
    .help = "Writes a copy of BINARY with its hot code laid out anew in one segment behind the\n"
            "original, which stays where it is: executables and shared objects, stripped or not.\n"
            "The input is never opened for writing; the output appears whole or not at all.\n"
            "What cannot be moved soundly is left alone, and --explain says why.\n",
    .options = rows,
    .options_size = sizeof(Given),
    .run = run_optimize,
};
