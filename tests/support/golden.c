/* Cases found, files read and written. SPDX-License-Identifier: MIT */
#include "tests/support/golden.h"

#include <glob.h>
#include <stdio.h>

const char *golden_slurp(Arena *arena, const char *dir, const char *name)
{
    FILE *file = fopen(arena_printf(arena, "%s/%s", dir, name), "r");
    if (file == NULL)
        return NULL;
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file);
    rewind(file);
    char *text = arena_alloc(arena, size + 1);
    assert_int_equal(fread(text, 1, size, file), size);
    fclose(file);
    return text;
}

void golden_spill(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    if (file == NULL)
        fail_msg("cannot write %s", path);
    fputs(text, file);
    fclose(file);
}

void golden_compare(Arena *arena, const char *dir, const char *name, const char *got)
{
    if (getenv("GOLDEN_UPDATE") != NULL)
        golden_spill(arena_printf(arena, "%s/%s", dir, name), got);
    const char *expect = golden_slurp(arena, dir, name);
    if (expect == NULL)
        fail_msg("%s has no %s", dir, name);
    assert_string_equal(got, expect);
}

static const char *part_before(const char *path, const char *end)
{
    while (end > path && end[-1] != '/')
        end--;
    return end;
}

/* Directory and stage of …/STAGE/CASE/INPUT; returns "STAGE/CASE". */
static const char *name_case(GoldenCase *test, const char *path)
{
    snprintf(test->dir, sizeof test->dir, "%.*s", (int)(strrchr(path, '/') - path), path);
    const char *name = strrchr(test->dir, '/');
    const char *stage = part_before(test->dir, name);
    snprintf(test->stage, sizeof test->stage, "%.*s", (int)(name - stage), stage);
    return stage;
}

int golden_run(const char *group, const char *pattern, CMUnitTestFunction test)
{
    glob_t found;
    if (glob(pattern, 0, NULL, &found) != 0 || found.gl_pathc == 0)
        return 1;
    GoldenCase *cases = calloc(found.gl_pathc, sizeof *cases);
    struct CMUnitTest *tests = calloc(found.gl_pathc, sizeof *tests);
    for (size_t i = 0; i < found.gl_pathc; i++)
        tests[i] = (struct CMUnitTest){ .name = name_case(&cases[i], found.gl_pathv[i]),
                                        .test_func = test,
                                        .initial_state = &cases[i] };
    int failed = _cmocka_run_group_tests(group, tests, found.gl_pathc, NULL, NULL);
    free(tests);
    free(cases);
    globfree(&found);
    return failed;
}
