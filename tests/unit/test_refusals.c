/*
 * test_refusals.c: docs/refusals.md tells every reason, in order, with its sentence.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/support/cmocka.h"

#include "core/image.h"
#include "optimizer/passes.h"

#include <stdio.h>

static char *read_page(Arena *arena)
{
    FILE *file = fopen(SOURCE_DIR "/docs/refusals.md", "r");
    assert_non_null(file);
    char *text = arena_alloc(arena, 1 << 16);
    size_t len = fread(text, 1, (1 << 16) - 1, file);
    text[len] = '\0';
    fclose(file);
    return text;
}

static void the_page_tells_every_reason(void **state)
{
    static const char *const scopes[] = { "Function", "Table", "Site", "Module" };
    Arena *arena = *state;
    const char *at = read_page(arena);
    for (int i = 1; i < REFUSED_COUNT; i++) {
        const RefusalRow *row = &refusal_rows[i];
        const char *head =
            arena_printf(arena, "\n## %s\n*%s: %s.*", row->name, scopes[row->scope], row->sentence);
        const char *found = strstr(at, head);
        if (found == NULL) {
            fail_msg("docs/refusals.md lacks, at its place: %s", head);
            return;
        }
        at = found + 4;
        const char *next = strstr(at, "\n## ");
        bool last = i + 1 == REFUSED_COUNT;
        assert_true(last == (next == NULL));
    }
}

static void refusing_names_reason_and_detail(void **state)
{
    Func fn = { .arena = *state };
    assert_int_equal(refuse(&fn, REFUSED_DECODE, "at 0x%x", 0x10), ST_OK);
    assert_int_equal(fn.refused, REFUSED_DECODE);
    assert_string_equal(fn.why, "at 0x10");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_page_tells_every_reason, arena_setup, arena_teardown),
        cmocka_unit_test_setup_teardown(refusing_names_reason_and_detail, arena_setup,
                                        arena_teardown),
    };
    return cmocka_run_group_tests_name("refusals", tests, NULL, NULL);
}
