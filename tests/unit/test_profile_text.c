/* The text form: round trips, order, each kind of bad line. SPDX-License-Identifier: MIT */
#include "core/profile_parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static Status read_text(Arena *arena, const char *text, const Profile **out, Error *err)
{
    return profile_read_bytes(arena, "t", (Bytes){ (const uint8_t *)text, strlen(text) },
                              images_new(arena), out, err);
}

static const char *write_text(Arena *arena, const Profile *profile)
{
    Buffer out = { .arena = arena };
    profile_write_text(profile, &out);
    buffer_u8(&out, 0);
    return (const char *)out.data;
}

static const char full[] = "respin-profile-text 1\n"
                           "command app with words\n"
                           "processes 2\n"
                           "flags incomplete counting-stopped sampled detached\n"
                           "bursts 100 90 1000000000 20000000\n"
                           "outside 77\n"
                           "remark a\n"
                           "remark b\n"
                           "module /usr/bin/app\n"
                           "build-id 00ff10\n"
                           "text-hash 0x0000000000000001 0x0000000000000002\n"
                           "text-written\n"
                           "block 0x1000 12 3 100 4,3,5\n"
                           "block 0x100c 4 1 5\n"
                           "edge taken 0x1007 0x1000 99\n"
                           "edge fall 0x1007 0x100c 1\n"
                           "edge call 0x100c 1:0x10 5\n"
                           "edge call-ind 0x100c -:0x7f0000000000 5\n"
                           "entry jump-ind 0x1000 3\n"
                           "read-page 0x2000\n"
                           "value index 0x1007 99 0 3:50 1:25 2:24\n"
                           "value shift 0x1007 9 0 3:9\n"
                           "value stride 0x1007 99 4 -8:50 16:25\n"
                           "module [vdso]\n"
                           "block 0x10 1 1 5 1\n"
                           "entry call 0x10 5\n";

static void what_is_written_reads_the_same(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    const Profile *profile = NULL;
    Error err;
    assert_int_equal(read_text(arena, full, &profile, &err), ST_OK);
    assert_string_equal(write_text(arena, profile), full);
    assert_int_equal(profile->n_modules, 2);
    assert_false(profile->complete);
    assert_true(profile->sampled);
    assert_int_equal(profile->bursts.moments, 100);
    assert_int_equal(profile->bursts.spent_ns, 20000000);
    assert_int_equal(profile->outside_insns, 77);
    assert_string_equal(profile->command, "app with words");
    arena_free(arena);
}

static void lines_may_be_in_any_order(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    const Profile *profile = NULL;
    Error err;
    const char *mixed = "respin-profile-text 1\n"
                        "# a remark to nobody\n"
                        "module m\n"
                        "  edge fall 7 8 1  # the rest\n"
                        "block 8 1 1 3\n"
                        "edge taken 7 0 1\n"
                        "\tblock 0 8 2 2 7,1\n";
    assert_int_equal(read_text(arena, mixed, &profile, &err), ST_OK);
    assert_string_equal(write_text(arena, profile), "respin-profile-text 1\n"
                                                    "processes 1\n"
                                                    "flags\n"
                                                    "module m\n"
                                                    "block 0x0 8 2 2 7,1\n"
                                                    "block 0x8 1 1 3\n"
                                                    "edge taken 0x7 0x0 1\n"
                                                    "edge fall 0x7 0x8 1\n");
    arena_free(arena);
}

static void questions_find_their_answers(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    const Profile *profile = NULL;
    Error err;
    assert_int_equal(read_text(arena, full, &profile, &err), ST_OK);
    const ProfileModule *module = &profile->modules[0];
    assert_int_equal(profile_count_at(module, vaddr(0xfff)), 0);
    assert_int_equal(profile_count_at(module, vaddr(0x1000)), 100);
    assert_int_equal(profile_count_at(module, vaddr(0x100b)), 100);
    assert_int_equal(profile_count_at(module, vaddr(0x100c)), 5);
    assert_int_equal(profile_count_at(module, vaddr(0x1010)), 0);
    assert_int_equal(profile_instructions(module), 305);
    uint32_t n;
    const ProfileEdge *edges = profile_edges_from(module, vaddr(0x1007), &n);
    assert_int_equal(n, 2);
    assert_int_equal(edges[0].kind, EDGE_TAKEN);
    assert_null(profile_edges_from(module, vaddr(0x1000), &n));
    assert_int_equal(n, 0);
    arena_free(arena);
}

static void figures_sum_the_edges_by_class(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    const Profile *profile = NULL;
    Error err;
    const char *text = "respin-profile-text 1\nmodule m\n"
                       "block 0 4 1 7\nblock 4 4 2 10\nblock 8 4 1 2\n"
                       "edge fall 0 4 7\n"
                       "edge taken 6 0 6\nedge fall 6 8 4\n"
                       "edge jump 8 0 1\nedge call-ind 8 0 20\nedge return-to 8 9 19\n";
    assert_int_equal(read_text(arena, text, &profile, &err), ST_OK);
    ProfileFigures figures;
    profile_figures(&profile->modules[0], &figures);
    assert_int_equal(figures.instructions, 29);
    assert_int_equal(figures.branches, 10);
    assert_int_equal(figures.taken_conditional, 6);
    assert_int_equal(figures.jumps, 1);
    assert_int_equal(figures.indirect_calls, 20);
    assert_int_equal(figures.returns, 19);
    assert_int_equal(figures.calls, 0);
    arena_free(arena);
}

static void the_digest_leaves_out_names_only(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    const Profile *profile = NULL;
    Error err;
    char first[33];
    char second[33];
    assert_int_equal(read_text(arena, full, &profile, &err), ST_OK);
    profile_digest(profile, first);
    ((ProfileModule *)profile->modules)[0].path = "other";
    profile_digest(profile, second);
    assert_string_equal(first, second);
    profile->modules[0].blocks[0].count++;
    profile_digest(profile, second);
    assert_string_not_equal(first, second);
    arena_free(arena);
}

static void bad_lines_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *lines;
        const char *text;
    } cases[] = {
        { "block 0 1 1 1\n", "line 2: \"block\" before the first module" },
        { "modul m\n", "line 2: \"modul\" begins no record" },
        { "module\n", "line 2: module without a path" },
        { "module m\nblock 0 1 1 x\n", "line 3: count is \"x\"" },
        { "module m\nblock 0 1 1 99999999999999999999\n", "line 3: count is \"9" },
        { "module m\nblock 0 4294967296 1 1\n", "line 3: size is \"4294967296\"" },
        { "module m\nblock 0 0 1 1\n", "block 0x0: 0 bytes" },
        { "module m\nblock 0 1 2 1\n", "block 0x0: 2 instructions in 1 bytes" },
        { "module m\nblock 0xffffffffffffffff 2 1 1\n", "block 0xffffffffffffffff: 2 bytes" },
        { "module m\nblock 0 4 1 1\nblock 3 1 1 1\n", "block 0x3 begins before 0x4" },
        { "module m\nblock 0 4 1 1 4,4\n", "line 3: 2 instruction sizes for 1" },
        { "module m\nblock 0 4 2 1 4,4\n", "block 0x0: instructions do not fit its 4 bytes" },
        { "module m\nblock 0 4 2 1 1,1\n", "block 0x0: instructions of 2 bytes in all (4)" },
        { "module m\nblock 0 4 1 1 16\n", "line 3: instruction size \"16\"" },
        { "module m\nblock 0 4 1 1 4 5\n", "line 3: \"5\" after the end" },
        { "module m\nblock 0 4 1 1\nedge hop 0 0 1\n", "line 4: \"hop\" is not a kind" },
        { "module m\nblock 0 4 1 1\nedge jump 4 0 1\n", "edge from 0x4, which is in no block" },
        { "module m\nblock 0 4 1 1\nedge jump 0 1:0 1\n", "edge from 0x0: to module 1 (of 1)" },
        { "module m\nblock 0 4 1 1\nedge jump 0 q:0 1\n", "line 4: \"q\" is not the number" },
        { "module m\nblock 0 4 1 1\nedge jump 0 0 1\nedge jump 0 0 1\n", "out of order or there" },
        { "module m\nbuild-id 0\n", "line 3: \"0\" is not 1 to 64 bytes" },
        { "module m\nentry jump 0 1\nentry jump 0 1\n", "entry at 0x0 is out of order" },
        { "module m\nread-page 1\n", "page 0x1 is out of order or no page" },
        { "module m\nvalue odd 0 1 0\n", "line 3: \"odd\" is not a kind of value" },
        { "module m\nvalue shift 0 1 0 x:1\n", "line 3: \"x:1\" is not a value and its count" },
        { "module m\nvalue shift 0 1 0 1\n", "line 3: \"1\" is not a value and its count" },
        { "module m\nvalue shift 0 0 0\n", "values at 0x0: 0 places, 0 missed of 0" },
        { "module m\nvalue shift 0 1 2\n", "values at 0x0: 0 places, 2 missed of 1" },
        { "module m\nvalue shift 0 9 0 1:5 1:5\n", "the count of 1 is out of order" },
        { "module m\nvalue shift 0 9 0 1:0\n", "the count of 1 is out of order" },
        { "module m\nvalue shift 0 9 0 1:5 2:5\n", "counts of 10 in all (9)" },
        { "module m\nvalue shift 0 1 0\nvalue shift 0 1 0\n", "out of order or there twice" },
        { "flags fast\n", "line 2: \"fast\" is not a flag" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Arena *arena = arena_new();
        const Profile *profile = NULL;
        Error err = { 0 };
        const char *text = arena_printf(arena, "respin-profile-text 1\n%s", cases[i].lines);
        assert_int_equal(read_text(arena, text, &profile, &err), ST_BAD_INPUT);
        if (strstr(err.text, cases[i].text) == NULL)
            fail_msg("\"%s\" does not hold \"%s\"", err.text, cases[i].text);
        arena_free(arena);
    }
}

static void other_files_are_no_profiles(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    const Profile *profile = NULL;
    Error err;
    assert_int_equal(read_text(arena, "", &profile, &err), ST_BAD_INPUT);
    assert_int_equal(read_text(arena, "respin-profile-text 2\n", &profile, &err), ST_BAD_INPUT);
    assert_int_equal(profile_read(arena, "/nonexistent", &profile, &err), ST_IO);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_reads_the_same),
        cmocka_unit_test(lines_may_be_in_any_order),
        cmocka_unit_test(questions_find_their_answers),
        cmocka_unit_test(figures_sum_the_edges_by_class),
        cmocka_unit_test(the_digest_leaves_out_names_only),
        cmocka_unit_test(bad_lines_are_named),
        cmocka_unit_test(other_files_are_no_profiles),
    };
    return cmocka_run_group_tests_name("profile text", tests, NULL, NULL);
}
