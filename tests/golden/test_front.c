/*
 * test_front.c: an assembled image, perhaps a profile, and what the front of the optimizer makes of
 * it.
 *
 *     tests/golden/front/STAGE/CASE/in.s         functions with .cfi_startproc; "# link FLAGS" in
 *                                                the first line replaces -shared
 *     tests/golden/front/STAGE/CASE/profile.txt  text form; @name and @name+N stand for addresses,
 *                                                @KEY for the lines that tell the image;
 *                                                without it every function was executed once
 *     tests/golden/front/STAGE/CASE/expect       all functions as text (core/program.h)
 *
 * STAGE is the last pass that runs: build-cfg, find-tables or attach-counts. Sections stand at
 * fixed addresses, so that no linker's habits show. Cases are found, not listed. GOLDEN_UPDATE=1
 * writes expect; review the difference.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/support/golden.h"

#include "optimizer/passes.h"

#include <ctype.h>
#include <stdio.h>
#include <unistd.h>

static void must(const GoldenCase *test, Status status, const Error *err)
{
    char text[1024];
    if (status == ST_OK)
        return;
    error_format(err, text, sizeof text);
    fail_msg("%s: %s", test->dir, text);
}

/* --- the image ---------------------------------------------------------------------------------
 */

static const char *link_flags(Arena *arena, const char *source)
{
    if (strncmp(source, "# link ", 7) != 0)
        return "-shared";
    return arena_printf(arena, "%.*s", (int)strcspn(source + 7, "\n"), source + 7);
}

static const Image *assemble(Arena *arena, const GoldenCase *test, const char *stem)
{
    Error err;
    const Image *image;
    const char *source = golden_slurp(arena, test->dir, "in.s");
    assert_non_null(source);
    const char *command = arena_printf(
        arena,
        "gcc -nostdlib -nostartfiles %s -Wl,--build-id=0x0102,-z,noseparate-code,-z,relro,-e,0"
        ",--section-start=.text=0x10000,--section-start=.rodata=0x20000"
        ",--section-start=.plt.sec=0x18000"
        ",--section-start=.data=0x40000 -o %s %s/in.s",
        link_flags(arena, source), stem, test->dir);
    if (system(command) != 0)
        fail_msg("%s: does not assemble: %s", test->dir, command);
    must(test, image_open(arena, stem, &image, &err), &err);
    return image;
}

/* --- the profile -------------------------------------------------------------------------------
 */

static uint64_t address_of(const GoldenCase *test, const Image *image, const char *name, size_t len)
{
    for (uint32_t i = 0; i < image->n_symbols; i++)
        if (strncmp(image->symbols[i].name, name, len) == 0 && image->symbols[i].name[len] == '\0')
            return image->symbols[i].addr.v;
    fail_msg("%s: no symbol %.*s", test->dir, (int)len, name);
    return 0;
}

static const char *key_lines(Arena *arena, const Image *image)
{
    const ImageKey *key = &image->key;
    return arena_printf(arena, "build-id 0102\ntext-hash 0x%lx 0x%lx",
                        (unsigned long)key->text_hash[0], (unsigned long)key->text_hash[1]);
}

/* Replaces @KEY, @name and @name+N. */
static void write_profile(Arena *arena, const GoldenCase *test, const Image *image,
                          const char *text, const char *path)
{
    Buffer out = { .arena = arena };
    while (*text != '\0') {
        if (*text != '@') {
            buffer_u8(&out, (uint8_t)*text++);
            continue;
        }
        size_t len = 1;
        while (isalnum((unsigned char)text[len]) || text[len] == '_')
            len++;
        if (len == 4 && strncmp(text, "@KEY", 4) == 0) {
            const char *lines = key_lines(arena, image);
            buffer_put(&out, lines, strlen(lines));
            text += len;
            continue;
        }
        uint64_t addr = address_of(test, image, text + 1, len - 1);
        char *end = NULL;
        if (text[len] == '+')
            addr += strtoul(text + len + 1, &end, 0);
        text = end != NULL ? end : text + len;
        const char *number = arena_printf(arena, "0x%lx", (unsigned long)addr);
        buffer_put(&out, number, strlen(number));
    }
    buffer_u8(&out, 0);
    golden_spill(path, (const char *)out.data);
}

static const Profile *profile_of_entries(Arena *arena, const Image *image,
                                         const UnwindTable *unwind)
{
    Profile *profile = arena_one(arena, Profile);
    ProfileModule *module = arena_one(arena, ProfileModule);
    module->path = image->path;
    module->key = image->key;
    module->blocks = arena_many(arena, ProfileBlock, unwind->n_fdes);
    for (uint32_t i = 0; i < unwind->n_fdes; i++)
        module->blocks[module->n_blocks++] = (ProfileBlock){ unwind->fdes[i].start, 1, 1, 1, NULL };
    *profile = (Profile){ .modules = module, .n_modules = 1, .complete = true };
    return profile;
}

static const Profile *read_profile(Arena *arena, const GoldenCase *test, const Image *image,
                                   const UnwindTable *unwind, const char *stem)
{
    const Profile *profile;
    Error err;
    const char *path = arena_printf(arena, "%s.profile", stem);
    const char *text = golden_slurp(arena, test->dir, "profile.txt");
    if (text == NULL)
        return profile_of_entries(arena, image, unwind);
    write_profile(arena, test, image, text, path);
    must(test, profile_read(arena, path, &profile, &err), &err);
    unlink(path);
    return profile;
}

/* --- the stages --------------------------------------------------------------------------------
 */

static void run_stages(const GoldenCase *test, Context *ctx, Func *fn)
{
    Facts have = FACT_CODE;
    for (size_t i = 0; i < n_pipeline && fn->refused == REFUSED_NOT; i++) {
        PassStats stats = { 0 };
        Error err;
        must(test, pipeline[i].run(ctx, fn, &stats, &err), &err);
        have = (have | pipeline[i].gives) & ~pipeline[i].breaks;
        if (fn->refused == REFUSED_NOT)
            must(test, verify_facts(ctx, fn, have, &err), &err);
        if (strcmp(pipeline[i].name, test->stage) == 0)
            return;
    }
}

static void print_func(Arena *arena, const Func *fn, Buffer *out)
{
    if (fn->refused == REFUSED_NOT) {
        func_write_text(fn, out);
        return;
    }
    const char *text =
        arena_printf(arena, "func 0x%lx refused %s: %s\n", (unsigned long)fn->entry.v,
                     refusal_rows[fn->refused].name, fn->why);
    buffer_put(out, text, strlen(text));
}

static const char *run_case(Arena *arena, const GoldenCase *test, const char *stem)
{
    const Image *image = assemble(arena, test, stem);
    const UnwindTable *unwind;
    Error err;
    must(test, unwind_read(arena, image, &unwind, &err), &err);
    const Profile *profile = read_profile(arena, test, image, unwind, stem);
    OptimizeOptions options = { .hot = HOT_ALL_EXECUTED };
    PlanStats stats = { 0 };
    Program program = { .arena = arena, .image = image, .profile = profile };
    program.counts = profile_module_for(profile, image);
    assert_non_null(program.counts);
    Context ctx = { .arena = arena,
                    .scratch = arena_new(),
                    .image = image,
                    .counts = program.counts,
                    .module = (uint32_t)(program.counts - profile->modules),
                    .unwind = unwind,
                    .options = &options,
                    .stats = &stats,
                    .program = &program };
    must(test, discover_functions(&ctx, &err), &err);
    Buffer out = { .arena = arena };
    for (uint32_t i = 0; i < program.n_funcs; i++) {
        run_stages(test, &ctx, &program.funcs[i]);
        print_func(arena, &program.funcs[i], &out);
    }
    buffer_u8(&out, 0);
    arena_free(ctx.scratch);
    image_close(image);
    return (const char *)out.data;
}

static void golden_case(void **state)
{
    const GoldenCase *test = *state;
    Arena *arena = arena_new();
    char stem[] = "front-XXXXXX";
    int fd = mkstemp(stem);
    assert_true(fd >= 0);
    close(fd);
    const char *got = run_case(arena, test, stem);
    unlink(stem);
    golden_compare(arena, test->dir, "expect", got);
    arena_free(arena);
}

int main(void)
{
    return golden_run("front", GOLDEN_DIR "/front/*/*/in.s", golden_case);
}
