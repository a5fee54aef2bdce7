/* test_words.c: quoted commands taken apart. SPDX-License-Identifier: MIT */
#include "tests/support/cmocka.h"

#include "cli/words.h"

static char *const no_args[] = { NULL };

static void expect_list(char *const *got, const char *const *want)
{
    size_t i = 0;
    for (; want[i] != NULL; i++) {
        assert_non_null(got[i]);
        assert_string_equal(got[i], want[i]);
    }
    assert_null(got[i]);
}

#define LIST(...) ((const char *const[]){ __VA_ARGS__, NULL })

static Words split(Arena *arena, const char *text, char *const *args)
{
    Words words;
    Error err;
    assert_ok(words_split(arena, text, args, &words, &err), &err);
    return words;
}

static void splits_words_assignments_and_input(void **state)
{
    Words words = split(*state, " LD_LIBRARY_PATH=a:b X=  sqlite3  :memory: <work.sql", no_args);
    expect_list(words.assignments, LIST("LD_LIBRARY_PATH=a:b", "X="));
    expect_list(words.argv, LIST("sqlite3", ":memory:"));
    assert_string_equal(words.input, "work.sql");
}

/* POSIX shell 2.2: quoting. */
static void keeps_what_is_quoted(void **state)
{
    Words words = split(*state, "prog 'a  b|$c' \"d \\\"e\\\" \\n\" f\\ g '' h\"i\"'j'", no_args);
    expect_list(words.argv, LIST("prog", "a  b|$c", "d \"e\" \\n", "f g", "", "hij"));
    assert_null(words.input);
}

static void appends_arguments_as_they_are(void **state)
{
    char *const args[] = { "a b", "$x", "<y", NULL };
    Words words = split(*state, "A=1 prog -v", args);
    expect_list(words.argv, LIST("prog", "-v", "a b", "$x", "<y"));
}

static void takes_the_name_of_a_file_as_one_word(void **state)
{
    Words words = split(*state, "/usr", no_args);
    expect_list(words.argv, LIST("/usr"));
}

static void leaves_the_rest_to_a_shell(void **state)
{
    static const char *const texts[] = { "a | b", "echo $HOME", "a > b", "ls *.c", "a << x",
                                         "a; b",  "\"$x\"",     "~/a",   "{ a; }", "a < x < y" };
    char *const args[] = { "z", NULL };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        Words words = split(*state, texts[i], no_args);
        expect_list(words.argv, LIST("/bin/sh", "-c", texts[i], "sh"));
        assert_null(words.input);
    }
    expect_list(split(*state, "X=$Y a", args).argv,
                LIST("/bin/sh", "-c", "X=$Y a \"$@\"", "sh", "z"));
    expect_list(split(*state, "X=$Y a", args).assignments, LIST(NULL));
}

static void refuses_unclosed_quotes_and_nothing(void **state)
{
    Words words;
    assert_int_equal(words_split(*state, "a 'b", no_args, &words, NULL), ST_BAD_INPUT);
    assert_int_equal(words_split(*state, "a \"b", no_args, &words, NULL), ST_BAD_INPUT);
    assert_int_equal(words_split(*state, "  ", no_args, &words, NULL), ST_BAD_INPUT);
    assert_int_equal(words_split(*state, "A=1", no_args, &words, NULL), ST_BAD_INPUT);
}

static void makes_assignments_in_the_environment(void **state)
{
    char *const environment[] = { "A=1", "AB=2", "C=3", NULL };
    char *const assignments[] = { "A=9", "D=4", "D=5", NULL };
    expect_list(words_environment(*state, environment, assignments),
                LIST("A=9", "AB=2", "C=3", "D=5"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_with_arena(splits_words_assignments_and_input),
        unit_test_with_arena(keeps_what_is_quoted),
        unit_test_with_arena(appends_arguments_as_they_are),
        unit_test_with_arena(takes_the_name_of_a_file_as_one_word),
        unit_test_with_arena(leaves_the_rest_to_a_shell),
        unit_test_with_arena(refuses_unclosed_quotes_and_nothing),
        unit_test_with_arena(makes_assignments_in_the_environment),
    };
    return cmocka_run_group_tests_name("words", tests, NULL, NULL);
}
