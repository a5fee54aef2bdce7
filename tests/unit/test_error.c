/* test_error.c: errors and their printed form. SPDX-License-Identifier: MIT */
#include "tests/support/cmocka.h"

static void prints_place_text_and_who_noticed(void **state)
{
    (void)state;
    Error err;
    char text[200];
    Place place = { "a.out", ".eh_frame", 0x1c40 };
    assert_int_equal(error_set(&err, ST_BAD_INPUT, place, "core/image.c:25",
                               "%d bytes run past the end of the file (%d)", 24, 16),
                     ST_BAD_INPUT);
    error_format(&err, text, sizeof text);
    assert_string_equal(text, "a.out: .eh_frame+0x1c40: 24 bytes run past the end of the file (16) "
                              "[core/image.c:25]");
}

static void prints_places_that_are_partly_unknown(void **state)
{
    (void)state;
    Error err;
    char text[200];
    error_set(&err, ST_IO, (Place){ "a.out", NULL, PLACE_NO_OFFSET }, NULL, "cut");
    error_format(&err, text, sizeof text);
    assert_string_equal(text, "a.out: cut");
    error_set(&err, ST_IO, (Place){ "a.out", NULL, 16 }, NULL, "cut");
    error_format(&err, text, sizeof text);
    assert_string_equal(text, "a.out: offset 0x10: cut");
    error_set(&err, ST_IO, NOWHERE, NULL, "cut");
    error_format(&err, text, sizeof text);
    assert_string_equal(text, "cut");
}

static void cuts_what_does_not_fit(void **state)
{
    (void)state;
    Error err;
    char long_text[2 * ERROR_TEXT_MAX], text[8];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    FAIL(&err, ST_BUG, NOWHERE, "%s", long_text);
    assert_int_equal(strlen(err.text), ERROR_TEXT_MAX - 1);
    error_format(&err, text, sizeof text);
    assert_string_equal(text, "xxxxxxx");
    assert_int_equal(FAIL(NULL, ST_IO, NOWHERE, "nobody asks"), ST_IO);
}

/* design.md section 4. */
static void maps_statuses_to_exit_codes(void **state)
{
    (void)state;
    assert_int_equal(status_exit_code(ST_OK), 0);
    assert_int_equal(status_exit_code(ST_BAD_INPUT), 3);
    assert_int_equal(status_exit_code(ST_REFUSED), 4);
    assert_int_equal(status_exit_code(ST_IO), 5);
    assert_int_equal(status_exit_code(ST_BUG), 70);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prints_place_text_and_who_noticed),
        cmocka_unit_test(prints_places_that_are_partly_unknown),
        cmocka_unit_test(cuts_what_does_not_fit),
        cmocka_unit_test(maps_statuses_to_exit_codes),
    };
    return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
