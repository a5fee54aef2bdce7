/* Sums of profiles: splitting, order, sums of sums. SPDX-License-Identifier: MIT */
#include "core/profile_parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const Profile *read_text(Arena *arena, const char *lines)
{
    const Profile *profile = NULL;
    Error err = { 0 };
    const char *text = arena_printf(arena, "respin-profile-text 1\n%s", lines);
    Status status = profile_read_bytes(arena, "t", (Bytes){ (const uint8_t *)text, strlen(text) },
                                       images_new(arena), &profile, &err);
    if (status != ST_OK)
        fail_msg("%s", err.text);
    return profile;
}

static const char *text_of(Arena *arena, const Profile *profile)
{
    Buffer out = { .arena = arena };
    profile_write_text(profile, &out);
    buffer_u8(&out, 0);
    return (const char *)out.data;
}

static const Profile *sum(Arena *arena, const Profile *left, const Profile *right)
{
    const Profile *parts[] = { left, right };
    const Profile *out = NULL;
    Error err = { 0 };
    if (profile_merge(arena, parts, 2, &out, &err) != ST_OK)
        fail_msg("%s", err.text);
    return out;
}

static const char first[] = "command b\n"
                            "remark seen by both\n"
                            "module /lib/a\nbuild-id 01\n"
                            "block 0x10 10 4 5 1,2,3,4\n"
                            "edge jump 0x16 1:0x0 5\n"
                            "read-page 0x1000\n"
                            "module /lib/z\nbuild-id 02\n"
                            "block 0x0 4 1 5 4\n"
                            "entry jump 0x0 5\n"
                            "module [vdso]\n"
                            "block 0x0 8 5 2\n";

static const char second[] = "command a\n"
                             "flags incomplete\n"
                             "outside 3\n"
                             "remark seen by both\n"
                             "module /lib/z\nbuild-id 02\n"
                             "block 0x0 4 1 1 4\n"
                             "module /opt/a\nbuild-id 01\n"
                             "block 0x13 7 2 3 3,4\n"
                             "edge jump 0x16 0:0x0 2\n"
                             "edge jump 0x16 -:0x9000 1\n"
                             "read-page 0x0\n"
                             "read-page 0x1000\n"
                             "text-written\n"
                             "module [vdso]\n"
                             "block 0x4 4 3 7\n";

static const char third[] = "module /lib/a\nbuild-id 01\n"
                            "block 0x11 2 1 100 2\n"
                            "edge fall 0x11 0x13 100\n"
                            "block 0x13 3 1 100 3\n"
                            "module /lib/a\n"
                            "build-id 03\n"
                            "block 0x10 1 1 1 1\n";

static void blocks_are_split_where_any_part_begins_one(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    const Profile *both = sum(arena, read_text(arena, first), read_text(arena, second));
    assert_string_equal(text_of(arena, both), "respin-profile-text 1\n"
                                              "command a\n"
                                              "processes 2\n"
                                              "flags incomplete\n"
                                              "outside 3\n"
                                              "remark seen by both\n"
                                              "module /lib/a\n"
                                              "build-id 01\n"
                                              "text-written\n"
                                              "block 0x10 3 2 5 1,2\n"
                                              "block 0x13 7 2 8 3,4\n"
                                              "edge fall 0x11 0x13 5\n"
                                              "edge jump 0x16 1:0x0 7\n"
                                              "edge jump 0x16 -:0x9000 1\n"
                                              "read-page 0x0\n"
                                              "read-page 0x1000\n"
                                              "module /lib/z\n"
                                              "build-id 02\n"
                                              "block 0x0 4 1 6 4\n"
                                              "entry jump 0x0 5\n"
                                              "module [vdso]\n"
                                              "block 0x0 4 2 2\n"
                                              "block 0x4 4 3 9\n"
                                              "edge fall 0x0 0x4 2\n");
    arena_free(arena);
}

static void order_does_not_matter(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    const Profile *a = read_text(arena, first);
    const Profile *b = read_text(arena, second);
    const Profile *c = read_text(arena, third);
    const char *wanted = text_of(arena, sum(arena, sum(arena, a, b), c));
    assert_string_equal(text_of(arena, sum(arena, a, sum(arena, b, c))), wanted);
    assert_string_equal(text_of(arena, sum(arena, sum(arena, c, a), b)), wanted);
    assert_string_equal(text_of(arena, sum(arena, c, sum(arena, b, a))), wanted);
    arena_free(arena);
}

static void the_sum_of_one_is_itself(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    const Profile *a = sum(arena, read_text(arena, first), read_text(arena, third));
    const Profile *out = NULL;
    Error err;
    assert_int_equal(profile_merge(arena, &a, 1, &out, &err), ST_OK);
    assert_string_equal(text_of(arena, out), text_of(arena, a));
    assert_int_equal(profile_merge(arena, NULL, 0, &out, &err), ST_OK);
    assert_int_equal(out->n_modules, 0);
    arena_free(arena);
}

static void other_builds_stay_apart(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    const Profile *both =
        sum(arena, read_text(arena, "module /lib/a\nbuild-id 01\nblock 0 1 1 1\n"),
            read_text(arena, "module /lib/a\nbuild-id 02\nblock 0 1 1 1\n"));
    assert_int_equal(both->n_modules, 2);
    both = sum(arena, both, read_text(arena, "module /lib/a\nblock 0 1 1 1\n"));
    assert_int_equal(both->n_modules, 3);
    arena_free(arena);
}

static void counts_do_not_wrap(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    const char *most = "module m\nblock 0 1 1 18446744073709551615\n";
    const Profile *both = sum(arena, read_text(arena, most), read_text(arena, most));
    assert_true(both->modules[0].blocks[0].count == UINT64_MAX);
    assert_true(profile_instructions(&both->modules[0]) == UINT64_MAX);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_split_where_any_part_begins_one),
        cmocka_unit_test(order_does_not_matter),
        cmocka_unit_test(the_sum_of_one_is_itself),
        cmocka_unit_test(other_builds_stay_apart),
        cmocka_unit_test(counts_do_not_wrap),
    };
    return cmocka_run_group_tests_name("sums of profiles", tests, NULL, NULL);
}
