/*
 * convert.c: `respin convert IN --to=FORMAT`: profiles to and from the formats of other tools.
 *
 *     app.rsp ──► rsp text json callgrind folded          all modules
 *             ──► preagg fdata                            one binary: the program, or as asked
 *     preagg, fdata, perf script ─(BINARY)─► a profile ──► any of them
 *
 * Formats are one table; what they hold is the work of core/profile_convert.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli/command.h"

#include "core/out_file.h"
#include "core/profile_convert.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct ConvertOptions {
    const char *out;
    const char *to;
    const char *from;
    const char *module;
} ConvertOptions;

typedef struct Converting {
    Command *command;
    const ConvertOptions *options;
    const Profile *profile;
    const char *binary; /* operand that picks a module of `profile`; NULL: none */
    Buffer out;
} Converting;

/* ---- the module of a binary -------------------------------------------------------------------
 */

/* What BOLT's formats are written of. */
typedef struct Chosen {
    const Image *image;
    uint32_t module;
} Chosen;

static Place at_file(const char *path)
{
    return (Place){ path, NULL, PLACE_NO_OFFSET };
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static Status choose_by_binary(const Converting *converting, Chosen *out, Error *err)
{
    TRY(image_open(converting->command->arena, converting->binary, &out->image, err));
    const ProfileModule *module = profile_module_for(converting->profile, out->image);
    if (module == NULL)
        return FAIL(err, ST_REFUSED, at_file(converting->binary),
                    "is build %s, which %s holds no counts of",
                    image_key_text(converting->command->arena, &out->image->key),
                    converting->profile->path);
    out->module = (uint32_t)(module - converting->profile->modules);
    return ST_OK;
}

/* The module's file, when it still is the one that ran. */
static const Image *open_module(const Converting *converting, const ProfileModule *module)
{
    const Image *image;
    if (module->n_blocks == 0 || module->path[0] != '/' ||
        image_open(converting->command->arena, module->path, &image, NULL) != ST_OK)
        return NULL;
    if (image_key_equal(&image->key, &module->key))
        return image;
    image_close(image);
    return NULL;
}

static Status choose_by_name(const Converting *converting, Chosen *out, Error *err)
{
    const char *name = converting->options->module;
    const Profile *profile = converting->profile;
    for (uint32_t i = 0; i < profile->n_modules; i++) {
        const ProfileModule *module = &profile->modules[i];
        if (strcmp(module->path, name) != 0 && strcmp(base_name(module->path), name) != 0)
            continue;
        out->module = i;
        out->image = open_module(converting, module);
        if (out->image != NULL)
            return ST_OK;
        return FAIL(err, ST_REFUSED, at_file(module->path),
                    "is not the file that ran any more: name one of its build as BINARY");
    }
    return FAIL(err, ST_REFUSED, at_file(profile->path), "has no module %s (see respin info)",
                name);
}

/* True when the command that was profiled began with the module's name. */
static bool is_command(const Profile *profile, const ProfileModule *module)
{
    size_t len = strcspn(profile->command, " ");
    const char *word = profile->command;
    for (size_t i = 0; i < len; i++)
        if (profile->command[i] == '/')
            word = profile->command + i + 1;
    len -= (size_t)(word - profile->command);
    const char *name = base_name(module->path);
    return strlen(name) == len && strncmp(name, word, len) == 0;
}

/* The one executable of the profile; of several the one that was started. */
static Status choose_main(const Converting *converting, Chosen *out, Error *err)
{
    const Profile *profile = converting->profile;
    uint32_t n = 0;
    bool found = false;
    for (uint32_t i = 0; i < profile->n_modules; i++) {
        const Image *image = open_module(converting, &profile->modules[i]);
        if (image == NULL || image->is_library)
            continue;
        n++;
        bool started = is_command(profile, &profile->modules[i]);
        if (n > 1 && !started)
            continue;
        found = n == 1 || started;
        *out = (Chosen){ image, i };
    }
    if (n == 1 || (found && is_command(profile, &profile->modules[out->module])))
        return ST_OK;
    if (n == 0)
        return FAIL(err, ST_REFUSED, at_file(profile->path),
                    "none of its executables is the file that ran any more: name one of its build "
                    "as BINARY");
    return FAIL(err, ST_REFUSED, at_file(profile->path),
                "%" PRIu32 " executables of it are there: say which by --module=NAME or BINARY "
                "(see respin info)",
                n);
}

static Status choose_module(const Converting *converting, Chosen *out, Error *err)
{
    if (converting->binary != NULL)
        return choose_by_binary(converting, out, err);
    if (converting->options->module != NULL)
        return choose_by_name(converting, out, err);
    return choose_main(converting, out, err);
}

/* ---- formats ----------------------------------------------------------------------------------
 */

static Status to_text(Converting *converting, Error *err)
{
    (void)err;
    profile_write_text(converting->profile, &converting->out);
    return ST_OK;
}

static Status to_json(Converting *converting, Error *err)
{
    (void)err;
    profile_write_json(converting->profile, &converting->out);
    return ST_OK;
}

static Status to_callgrind(Converting *converting, Error *err)
{
    (void)err;
    profile_write_callgrind(converting->profile, &converting->out);
    return ST_OK;
}

static Status to_folded(Converting *converting, Error *err)
{
    (void)err;
    profile_write_folded(converting->profile, &converting->out);
    return ST_OK;
}

static Status to_preagg(Converting *converting, Error *err)
{
    Chosen chosen;
    TRY(choose_module(converting, &chosen, err));
    profile_write_preagg(converting->profile, chosen.module, chosen.image, &converting->out);
    return ST_OK;
}

static Status to_fdata(Converting *converting, Error *err)
{
    Chosen chosen;
    TRY(choose_module(converting, &chosen, err));
    return profile_write_fdata(converting->profile, chosen.module, chosen.image, &converting->out,
                               err);
}

typedef struct FormatRow {
    const char *name;
    bool one_binary;
    Status (*write)(Converting *converting, Error *err); /* NULL: respin's own, compact form */
} FormatRow;

// clang-format off
static const FormatRow formats[] = {
    { "rsp",       false, NULL         },
    { "text",      false, to_text      },
    { "json",      false, to_json      },
    { "callgrind", false, to_callgrind },
    { "folded",    false, to_folded    },
    { "preagg",    true,  to_preagg    },
    { "fdata",     true,  to_fdata     },
};
// clang-format on

static const FormatRow *find_format(const char *name)
{
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
        if (strcmp(formats[i].name, name) == 0)
            return &formats[i];
    return NULL;
}

static Status write_out(Converting *converting, const FormatRow *format, Error *err)
{
    const char *path = converting->options->out;
    if (format->write == NULL)
        return profile_write(converting->profile, path, err);
    TRY(format->write(converting, err));
    Bytes text = buffer_bytes(&converting->out);
    if (path == NULL) {
        fwrite(text.data, 1, text.len, stdout); /* main.c looks whether it arrived */
        return ST_OK;
    }
    return out_file_write(path, text, err);
}

/* ---- reading ----------------------------------------------------------------------------------
 */

static Status parse_from(Command *command, const char *name, ForeignFormat *out, Error *err)
{
    static const struct {
        const char *name;
        ForeignFormat format;
    } names[] = { { "respin", FOREIGN_NONE },
                  { "preagg", FOREIGN_PREAGG },
                  { "fdata", FOREIGN_FDATA },
                  { "perf", FOREIGN_PERF } };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i].name, name) != 0)
            continue;
        *out = names[i].format;
        return ST_OK;
    }
    return usage_error(command, err, "--from=%s is none of respin, preagg, fdata, perf", name);
}

/* Branch records: of each BINARY a module. */
static Status read_foreign(Converting *converting, const char *path, Bytes file,
                           ForeignFormat format, Error *err)
{
    Command *command = converting->command;
    int n = command->n_args - 1;
    if (n == 0)
        return usage_error(command, err,
                           "%s holds branches of a program: which BINARY are they of?", path);
    if (n > 1 && format != FOREIGN_PERF)
        return usage_error(command, err, "%s is of one binary, not of %d", path, n);
    const Profile **parts = arena_many(command->arena, const Profile *, (size_t)n);
    for (int i = 0; i < n; i++) {
        const Image *image;
        char whole[PATH_MAX]; /* the profile is read from other folders, too */
        const char *binary = command->args[i + 1];
        if (realpath(binary, whole) != NULL)
            binary = arena_string(command->arena, whole);
        TRY(image_open(command->arena, binary, &image, err));
        TRY(profile_read_foreign(command->arena, path, file, format, image, &parts[i], err));
    }
    TRY(profile_merge(command->arena, parts, (uint32_t)n, &converting->profile, err));
    for (uint32_t i = 0; i < converting->profile->n_remarks; i++)
        log_print(&command->log, LOG_WARN, "%s", converting->profile->remarks[i]);
    return ST_OK;
}

static Status read_in(Converting *converting, const FormatRow *to, Error *err)
{
    Command *command = converting->command;
    const char *path = command->args[0];
    bool standard_input = strcmp(path, "-") == 0;
    ForeignFormat format = FOREIGN_NONE;
    Bytes file = { NULL, 0 };
    if (converting->options->from != NULL)
        TRY(parse_from(command, converting->options->from, &format, err));
    if (converting->options->from == NULL || format != FOREIGN_NONE)
        TRY(profile_slurp(command->arena, path, &file, err));
    if (converting->options->from == NULL && !profile_is_own(file))
        format = profile_foreign_format(file);
    const char *name = standard_input ? "standard input" : path;
    if (format != FOREIGN_NONE)
        return read_foreign(converting, name, file, format, err);
    if (command->n_args > 2 || (command->n_args == 2 && !to->one_binary))
        return usage_error(command, err, "BINARY is for preagg and fdata: '%s' is one too many",
                           command->args[command->n_args > 2 ? 2 : 1]);
    converting->binary = command->n_args == 2 ? command->args[1] : NULL;
    if (standard_input && file.len > 0)
        return profile_read_memory(command->arena, name, file, &converting->profile, err);
    return profile_read(command->arena, path, &converting->profile, err);
}

static Status run_convert(Command *command, const void *options_given, Error *err)
{
    const ConvertOptions *options = options_given;
    Converting converting = { .command = command,
                              .options = options,
                              .out = { .arena = command->arena } };
    TRY(want_operands(command, 1, INT32_MAX, "IN [BINARY…]", err));
    if (options->to == NULL)
        return usage_error(command, err, "--to=FORMAT is missing");
    const FormatRow *format = find_format(options->to);
    if (format == NULL)
        return usage_error(command, err,
                           "--to=%s is none of rsp, text, json, callgrind, folded, preagg, fdata",
                           options->to);
    if (format->write == NULL && options->out == NULL)
        return usage_error(command, err, "-o OUT is missing: a profile is no text");
    if (options->module != NULL && !format->one_binary)
        return usage_error(command, err, "--module is for preagg and fdata");
    bool is_profile = format->write == NULL || strcmp(format->name, "text") == 0;
    if (!is_profile && options->out != NULL && out_file_is_same(options->out, command->args[0]))
        return usage_error(command, err, "'%s' is the profile: it would be lost", options->out);
    TRY(read_in(&converting, format, err));
    return write_out(&converting, format, err);
}

static const OptionRow convert_options[] = {
    { 'o', "out", "OUT", OPTION_STRING, offsetof(ConvertOptions, out),
      "where to write; standard output when left out" },
    { 0, "to", "FORMAT", OPTION_STRING, offsetof(ConvertOptions, to),
      "rsp, text, json, callgrind, folded, preagg, fdata" },
    { 0, "from", "FORMAT", OPTION_STRING, offsetof(ConvertOptions, from),
      "respin, preagg, fdata, perf; found out when left out" },
    { 0, "module", "NAME", OPTION_STRING, offsetof(ConvertOptions, module),
      "preagg, fdata: the module to write, by path or file name" },
    { 0, NULL, NULL, OPTION_FLAG, 0, NULL },
};

const Verb verb_convert = {
    .name = "convert",
    .usage = "IN [-o OUT] --to=FORMAT [BINARY...]",
    .summary = "profiles to and from other tools' formats",
    .help = "Writes the profile IN (- : standard input) in another format:\n\n"
            "  rsp        respin's own, compact; text: the same for people and for diff\n"
            "  json       everything, for scripts\n"
            "  callgrind  for callgrind_annotate and KCachegrind\n"
            "  folded     one line a stack, for flame graphs\n"
            "  preagg     for BOLT: perf2bolt -pa -p OUT BINARY, or llvm-bolt -pa -p OUT BINARY\n"
            "  fdata      for BOLT: llvm-bolt -data=OUT BINARY\n\n"
            "BOLT's formats are of one binary: the executable that was started, or --module=NAME,\n"
            "or BINARY, which must be of the build that ran.\n\n"
            "IN may also be preagg, fdata or what perf script -F pid,brstack --show-mmap-events\n"
            "prints; then BINARY says what ran, and the result is marked as sampled. Of perf's\n"
            "records, several binaries may be read at once.\n\n"
            "Costs of calls in callgrind and folded are shares: a profile knows how often a call\n"
            "was made, not what each cost.\n",
    .options = convert_options,
    .options_size = sizeof(ConvertOptions),
    .run = run_convert,
};
