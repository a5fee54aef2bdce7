/*
 * info.c: `respin info FILE`: what a file is, as far as respin is concerned.
 *
 * An ELF file begins with its magic; everything else is read as a profile.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli/command.h"

#include "core/image.h"
#include "core/profile.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct InfoOptions {
    bool digest;
} InfoOptions;

/* ---- images --------------------------------------------------------------------------------- */

typedef struct ImageFigures {
    const char *kind;
    uint32_t n_loads;
    uint64_t code_bytes; /* in the file, of executable segments */
    uint32_t n_functions;
    bool stripped; /* no .symtab */
} ImageFigures;

static const char *kind_of(const Image *image)
{
    bool is_dynamic = image_segment(image, PT_DYNAMIC) != NULL;
    if (image->is_library)
        return "shared object";
    if (!image->is_pic)
        return is_dynamic ? "executable at fixed addresses, dynamic"
                          : "executable at fixed addresses, static";
    return image->interp != NULL ? "position-independent executable, dynamic"
                                 : "position-independent executable, static";
}

static ImageFigures image_figures(const Image *image)
{
    ImageFigures figures = { .kind = kind_of(image), .stripped = true };
    for (uint32_t i = 0; i < image->n_segments; i++) {
        const Segment *segment = &image->segments[i];
        if (segment->type != PT_LOAD)
            continue;
        figures.n_loads++;
        if ((segment->flags & PF_X) != 0)
            figures.code_bytes += segment->file_size;
    }
    for (uint32_t i = 1; i < image->n_sections; i++)
        if (image->sections[i].type == SHT_SYMTAB)
            figures.stripped = false;
    for (uint32_t i = 0; i < image->n_symbols; i++)
        if (image->symbols[i].type != STT_OBJECT)
            figures.n_functions++;
    return figures;
}

static void print_image(Command *command, const Image *image)
{
    ImageFigures figures = image_figures(image);
    printf("%s: x86-64 %s%s\n", image->path, figures.kind, figures.stripped ? ", stripped" : "");
    printf("  key           %s\n", image_key_text(command->arena, &image->key));
    printf("  code hash     %016" PRIx64 "%016" PRIx64 "\n", image->key.text_hash[1],
           image->key.text_hash[0]);
    if (image->soname != NULL)
        printf("  soname        %s\n", image->soname);
    if (image->interp != NULL)
        printf("  interpreter   %s\n", image->interp);
    printf("  file          %zu bytes, %" PRIu32 " sections\n", image->file.len, image->n_sections);
    printf("  segments      %" PRIu32 ", %" PRIu32 " of them loaded; %" PRIu64 " bytes of code\n",
           image->n_segments, figures.n_loads, figures.code_bytes);
    printf("  symbols       %" PRIu32 " of functions, %" PRIu32 " of objects\n",
           figures.n_functions, image->n_symbols - figures.n_functions);
    printf("  relocations   %" PRIu32 "\n", image->n_relocs);
}

static json_t *image_to_json(Command *command, const Image *image)
{
    ImageFigures figures = image_figures(image);
    char hash[33];
    snprintf(hash, sizeof hash, "%016" PRIx64 "%016" PRIx64, image->key.text_hash[1],
             image->key.text_hash[0]);
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s?, s:s?, s:b, s:I, s:i, s:i, s:I, s:i, s:i, s:i}", "file",
        image->path, "type", "image", "kind", figures.kind, "key",
        image_key_text(command->arena, &image->key), "code_hash", hash, "soname", image->soname,
        "interpreter", image->interp, "stripped", figures.stripped, "bytes",
        (json_int_t)image->file.len, "sections", (int)image->n_sections, "segments",
        (int)image->n_segments, "code_bytes", (json_int_t)figures.code_bytes, "function_symbols",
        (int)figures.n_functions, "object_symbols", (int)(image->n_symbols - figures.n_functions),
        "relocations", (int)image->n_relocs);
}

/* ---- profiles ------------------------------------------------------------------------------- */

static uint64_t all_instructions(const Profile *profile)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < profile->n_modules; i++)
        sum += profile_instructions(&profile->modules[i]);
    return sum;
}

static uint64_t all_values(const Profile *profile)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < profile->n_modules; i++)
        n += profile->modules[i].n_values;
    return n;
}

static void print_bursts(const ProfileBursts *bursts)
{
    const double ns_per_s = 1e9;
    if (bursts->moments == 0)
        return;
    printf("  bursts        %" PRIu64 " in %" PRIu64
           " moments, one each %.1f ms: %.3f of %.1f s user "
           "time (%.2f%%)\n",
           bursts->taken, bursts->moments, (double)bursts->time_ns / (double)bursts->moments * 1e-6,
           (double)bursts->spent_ns / ns_per_s, (double)bursts->time_ns / ns_per_s,
           bursts->time_ns > 0 ? 100.0 * (double)bursts->spent_ns / (double)bursts->time_ns : 0.0);
}

static void print_profile(Command *command, const Profile *profile)
{
    char digest[33];
    uint64_t all = all_instructions(profile);
    profile_digest(profile, digest);
    printf("%s: profile of %" PRIu32 " process%s, %s%s%s%s\n", profile->path, profile->n_processes,
           profile->n_processes == 1 ? "" : "es",
           profile->complete ? "complete" : "not complete (killed, or still running)",
           profile->counting_stopped ? ", counting stopped: the disk was full" : "",
           profile->sampled ? ", sampled" : "", profile->detached ? ", partly detached" : "");
    if (profile->command[0] != '\0')
        printf("  command       %s\n", profile->command);
    printf("  digest        %s\n", digest);
    printf("  instructions  %" PRIu64 "\n", all);
    print_bursts(&profile->bursts);
    if (all_values(profile) > 0)
        printf("  values        of %" PRIu64 " instructions\n", all_values(profile));
    putchar('\n');
    printf("  %6s %16s %8s %8s  %-16s  %s\n", "share", "instructions", "blocks", "edges", "key",
           "module");
    for (uint32_t i = 0; i < profile->n_modules; i++) {
        const ProfileModule *module = &profile->modules[i];
        uint64_t n = profile_instructions(module);
        printf("  %5.1f%% %16" PRIu64 " %8" PRIu32 " %8" PRIu32 "  %-16.16s  %s\n",
               all > 0 ? 100.0 * (double)n / (double)all : 0.0, n, module->n_blocks,
               module->n_edges, image_key_text(command->arena, &module->key), module->path);
    }
}

static json_t *profile_to_json(Command *command, const Profile *profile)
{
    char digest[33];
    json_t *modules = json_array();
    for (uint32_t i = 0; i < profile->n_modules; i++) {
        const ProfileModule *module = &profile->modules[i];
        json_array_append_new(
            modules, json_pack("{s:s, s:s, s:I, s:i, s:i, s:i, s:b}", "path", module->path, "key",
                               image_key_text(command->arena, &module->key), "instructions",
                               (json_int_t)profile_instructions(module), "blocks",
                               (int)module->n_blocks, "edges", (int)module->n_edges, "values",
                               (int)module->n_values, "text_written", module->text_written));
    }
    profile_digest(profile, digest);
    const ProfileBursts *bursts = &profile->bursts;
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:i, s:b, s:b, s:b, s:b, s:I, s:{s:I, s:I, s:I, s:I}, s:o}", "file",
        profile->path, "type", "profile", "digest", digest, "command", profile->command,
        "processes", (int)profile->n_processes, "complete", profile->complete, "counting_stopped",
        profile->counting_stopped, "sampled", profile->sampled, "detached", profile->detached,
        "instructions", (json_int_t)all_instructions(profile), "bursts", "moments",
        (json_int_t)bursts->moments, "taken", (json_int_t)bursts->taken, "time_ns",
        (json_int_t)bursts->time_ns, "spent_ns", (json_int_t)bursts->spent_ns, "modules", modules);
}

/* ---- the verb ------------------------------------------------------------------------------- */

static Status print_json(json_t *value, const char *path, Error *err)
{
    if (value == NULL) /* json_pack refuses strings that are not UTF-8 */
        return FAIL(err, ST_BAD_INPUT, ((Place){ path, NULL, PLACE_NO_OFFSET }),
                    "holds a name that is not UTF-8: no JSON for it");
    json_dumpf(value, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(value);
    return ST_OK;
}

static bool begins_like_elf(const char *path)
{
    char magic[SELFMAG] = { 0 };
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return false;
    size_t n = fread(magic, 1, sizeof magic, file);
    fclose(file);
    return n == sizeof magic && memcmp(magic, ELFMAG, SELFMAG) == 0;
}

static Status info_image(Command *command, const char *path, Error *err)
{
    const Image *image;
    Status status = ST_OK;
    TRY(image_open(command->arena, path, &image, err));
    if (command->json)
        status = print_json(image_to_json(command, image), path, err);
    else
        print_image(command, image);
    image_close(image);
    return status;
}

static Status info_profile(Command *command, const char *path, bool only_digest, Error *err)
{
    const Profile *profile;
    char digest[33];
    TRY(profile_read(command->arena, path, &profile, err));
    if (command->json)
        return print_json(profile_to_json(command, profile), path, err);
    if (only_digest) {
        profile_digest(profile, digest);
        puts(digest);
        return ST_OK;
    }
    print_profile(command, profile);
    return ST_OK;
}

static Status run_info(Command *command, const void *options_given, Error *err)
{
    const InfoOptions *options = options_given;
    TRY(want_operands(command, 1, 1, "one FILE", err));
    const char *path = command->args[0];
    if (!begins_like_elf(path))
        return info_profile(command, path, options->digest, err);
    if (options->digest)
        return usage_error(command, err, "--digest is for profiles: %s is an ELF file", path);
    return info_image(command, path, err);
}

static const OptionRow info_options[] = {
    { 0, "digest", NULL, OPTION_FLAG, offsetof(InfoOptions, digest),
      "print only the digest of a profile's counts" },
    { 0, NULL, NULL, OPTION_FLAG, 0, NULL },
};

const Verb verb_info = {
    .name = "info",
    .usage = "FILE",
    .summary = "what an ELF file or a profile is",
    .help = "Prints what FILE is. Of an ELF file: its kind, its key (build-id), how much code it\n"
            "has. Of a profile: where it comes from, and the modules that were executed. Two\n"
            "profiles with the same digest hold the same counts.\n",
    .options = info_options,
    .options_size = sizeof(InfoOptions),
    .run = run_info,
};
