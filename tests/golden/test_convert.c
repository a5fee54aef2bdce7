/*
 * test_convert.c: an assembled program, a profile of it, and that in every format; and files of
 * other tools, read as profiles of it.
 *
 *     tests/golden/convert/CASE/a.s, b.s …      "# link FLAGS" in the first line of a.s
 *     tests/golden/convert/CASE/profile.txt     text form; @KEY stands for the lines that tell the
 *                                               image, whose path is convert-CASE
 *     tests/golden/convert/CASE/expect.FORMAT   what is written of it
 *     tests/golden/convert/CASE/from-N.FORMAT   what is read, and
 *     tests/golden/convert/CASE/from-N.FORMAT.expect   the profile as text, or the error
 *
 * Sections stand at fixed addresses. Cases are found, not listed. GOLDEN_UPDATE=1 writes what is
 * expected; review the difference.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/support/golden.h"

#include "core/profile_convert.h"
#include "core/profile_parts.h"

#include <glob.h>
#include <stdio.h>
#include <unistd.h>

typedef struct Case {
    char file[PATH_MAX]; /* expect.FORMAT or from-N.FORMAT */
    char dir[PATH_MAX];
    const char *name;   /* of the case: the last part of dir */
    const char *format; /* behind the point */
    bool reads;
} Case;

static const char *file_name(const Case *test)
{
    return strrchr(test->file, '/') + 1;
}

static const Image *assemble(Arena *arena, const Case *test)
{
    Error err;
    const Image *image = NULL;
    const char *source = golden_slurp(arena, test->dir, "a.s");
    assert_non_null(source);
    const char *flags = arena_printf(arena, "%.*s", (int)strcspn(source + 7, "\n"), source + 7);
    const char *path = arena_printf(arena, "convert-%s", test->name);
    const char *command =
        arena_printf(arena,
                     "gcc -nostdlib -nostartfiles %s -Wl,--build-id=0x0102,-z,noseparate-code"
                     ",--section-start=.text=0x10000,--section-start=.rodata=0x20000"
                     ",--section-start=.plt=0x18000 -o %s.new %s/*.s && mv %s.new %s",
                     flags, path, test->dir, path, path);
    if (system(command) != 0)
        fail_msg("%s does not assemble: %s", test->dir, command);
    if (image_open(arena, path, &image, &err) != ST_OK)
        fail_msg("%s: %s", path, err.text);
    return image;
}

static const Profile *read_profile(Arena *arena, const Case *test, const Image *image)
{
    const char *text = golden_slurp(arena, test->dir, "profile.txt");
    assert_non_null(text);
    const char *at = strstr(text, "@KEY");
    assert_non_null(at);
    const char *whole = arena_printf(arena, "%.*sbuild-id 0102\ntext-hash 0x%lx 0x%lx%s",
                                     (int)(at - text), text, (unsigned long)image->key.text_hash[0],
                                     (unsigned long)image->key.text_hash[1], at + 4);
    const Profile *profile = NULL;
    Error err;
    if (profile_read_memory(arena, "profile.txt", (Bytes){ (const uint8_t *)whole, strlen(whole) },
                            &profile, &err) != ST_OK)
        fail_msg("%s: %s", test->dir, err.text);
    return profile;
}

static void write_format(const Case *test, const Profile *profile, const Image *image, Buffer *out)
{
    const ProfileModule *module = profile_module_for(profile, image);
    assert_non_null(module);
    uint32_t index = (uint32_t)(module - profile->modules);
    Error err;
    if (strcmp(test->format, "preagg") == 0)
        profile_write_preagg(profile, index, image, out);
    else if (strcmp(test->format, "callgrind") == 0)
        profile_write_callgrind(profile, out);
    else if (strcmp(test->format, "folded") == 0)
        profile_write_folded(profile, out);
    else if (strcmp(test->format, "json") == 0)
        profile_write_json(profile, out);
    else if (strcmp(test->format, "fdata") == 0)
        assert_int_equal(profile_write_fdata(profile, index, image, out, &err), ST_OK);
    else
        fail_msg("no format %s", test->format);
}

static ForeignFormat format_of(const char *name)
{
    if (strcmp(name, "preagg") == 0)
        return FOREIGN_PREAGG;
    return strcmp(name, "fdata") == 0 ? FOREIGN_FDATA : FOREIGN_PERF;
}

/* The profile as text, or what is wrong with the file. */
static void read_format(Arena *arena, const Case *test, const Image *image, Buffer *out)
{
    const char *name = file_name(test);
    const char *text = golden_slurp(arena, test->dir, name);
    assert_non_null(text);
    Bytes file = { (const uint8_t *)text, strlen(text) };
    const Profile *profile;
    Error err;
    Status status =
        profile_read_foreign(arena, name, file, format_of(test->format), image, &profile, &err);
    if (status == ST_OK) {
        assert_int_equal(profile_foreign_format(file), format_of(test->format));
        profile_write_text(profile, out);
    } else {
        err.noticed_at = NULL;
        char message[1024];
        error_format(&err, message, sizeof message);
        buffer_print(out, "status %d: %s\n", status_exit_code(status), message);
    }
}

/* The text hash is the linker's; build ids tell images apart as well here. */
static void hide_hash(Buffer *out)
{
    static const char *const words[] = { "text-hash 0x", " 0x", "code_hash\":\"" };
    char *text = (char *)out->data;
    for (char *at = strstr(text, words[0]); at != NULL; at = strstr(at + 1, words[0]))
        for (char *digit = at + 10; *digit != '\n' && *digit != '\0'; digit++)
            if (*digit != ' ')
                *digit = '-';
    for (char *at = strstr(text, words[2]); at != NULL; at = strstr(at + 1, words[2]))
        for (char *digit = at + strlen(words[2]); *digit != '"' && *digit != '\0'; digit++)
            *digit = '-';
    char *digest = strstr(text, "digest\":\"");
    for (char *digit = digest != NULL ? digest + 9 : NULL; digit != NULL && *digit != '"'; digit++)
        *digit = '-';
}

static void golden_case(void **state)
{
    const Case *test = *state;
    Arena *arena = arena_new();
    const Image *image = assemble(arena, test);
    Buffer out = { .arena = arena };
    const char *expect = file_name(test);
    if (test->reads) {
        read_format(arena, test, image, &out);
        expect = arena_printf(arena, "%s.expect", expect);
    } else {
        write_format(test, read_profile(arena, test, image), image, &out);
    }
    buffer_u8(&out, 0);
    hide_hash(&out);
    golden_compare(arena, test->dir, expect, (const char *)out.data);
    image_close(image);
    arena_free(arena);
}

static size_t find_cases(const char *pattern, bool reads, Case *cases, size_t n)
{
    glob_t found;
    if (glob(pattern, 0, NULL, &found) != 0)
        return n;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const char *path = found.gl_pathv[i];
        const char *slash = strrchr(path, '/');
        if (reads && strcmp(strrchr(path, '.'), ".expect") == 0)
            continue;
        Case *test = &cases[n++];
        snprintf(test->file, sizeof test->file, "%s", path);
        snprintf(test->dir, sizeof test->dir, "%.*s", (int)(slash - path), path);
        test->name = strrchr(test->dir, '/') + 1;
        test->format = strrchr(test->file, '.') + 1;
        test->reads = reads;
    }
    globfree(&found);
    return n;
}

enum { CASES_MOST = 200 };

int main(void)
{
    Case *cases = calloc(CASES_MOST, sizeof *cases);
    size_t n = find_cases(GOLDEN_DIR "/convert/*/expect.*", false, cases, 0);
    n = find_cases(GOLDEN_DIR "/convert/*/from-*", true, cases, n);
    struct CMUnitTest *tests = calloc(n, sizeof *tests);
    for (size_t i = 0; i < n; i++)
        tests[i] = (struct CMUnitTest){ .name = strstr(cases[i].file, "/convert/") + 9,
                                        .test_func = golden_case,
                                        .initial_state = &cases[i] };
    int failed = n == 0 || _cmocka_run_group_tests("convert", tests, n, NULL, NULL) != 0;
    free(tests);
    free(cases);
    return failed;
}
