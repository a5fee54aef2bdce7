/* Live files made by hand → blocks and edges; broken ones → errors. SPDX-License-Identifier: MIT */
#include "core/profile_parts.h"
#include "tests/support/cmocka.h"
#include "tests/support/live_app.h"

static Status read_live(Arena *arena, Bytes file, const Profile **out, Error *err)
{
    Images *images = images_new(arena);
    Status status = profile_read_bytes(arena, "live", file, images, out, err);
    images_close(images);
    return status;
}

/* The profile of what must be readable. */
static const Profile *profile_of(Arena *arena, const LiveMaker *maker)
{
    const Profile *profile = NULL;
    Error err;
    assert_ok(read_live(arena, live_maker_file(arena, maker), &profile, &err), &err);
    return profile;
}

/* Blocks, edges and entries of the modules, without what differs from machine to machine. */
static const char *records_of(Arena *arena, const Profile *profile)
{
    Buffer text = { .arena = arena };
    Buffer out = { .arena = arena };
    profile_write_text(profile, &text);
    buffer_u8(&text, 0);
    char *state = NULL;
    for (char *line = strtok_r((char *)text.data, "\n", &state); line != NULL;
         line = strtok_r(NULL, "\n", &state)) {
        if (strncmp(line, "block", 5) != 0 && strncmp(line, "e", 1) != 0)
            continue;
        buffer_put(&out, line, strlen(line));
        buffer_u8(&out, '\n');
    }
    buffer_u8(&out, 0);
    return (const char *)out.data;
}

static void expect_records(const LiveMaker *maker, const char *records)
{
    Arena *arena = arena_new();
    assert_string_equal(records_of(arena, profile_of(arena, maker)), records);
    arena_free(arena);
}

static const char usual_records[] = "block 0x2000 6 2 4 1,5\n"
                                    "block 0x2006 4 2 12 2,2\n"
                                    "block 0x200a 5 1 4 5\n"
                                    "block 0x200f 1 1 4 1\n"
                                    "block 0x2010 1 1 4 1\n"
                                    "edge fall 0x2001 0x2006 4\n"
                                    "edge taken 0x2008 0x2006 8\n"
                                    "edge fall 0x2008 0x200a 4\n"
                                    "edge call 0x200a 0x2010 4\n"
                                    "edge return-to 0x200a 0x200f 4\n";

static void overlapping_runs_become_blocks(void **state)
{
    (void)state;
    LiveMaker maker = usual_maker(1);
    expect_records(&maker, usual_records);
}

static void counters_are_summed_over_threads(void **state)
{
    (void)state;
    LiveMaker maker = usual_maker(1);
    maker.counters[0][0] = 1;
    maker.counters[1][0] = 1;
    maker.counters[2][0] = 1;
    expect_records(&maker, usual_records);
}

static void a_jump_behind_a_lock_prefix_is_another_instruction(void **state)
{
    (void)state;
    LiveMaker maker = maker_with_app(1);
    live_maker_block(&maker, 0, at(0x2011), 5, 2, 4, LIVE_END_RET, 0, 7, 0);
    live_maker_block(&maker, 0, at(0x2012), 4, 2, 3, LIVE_END_RET, 0, 2, 0);
    expect_records(&maker, "block 0x2011 1 1 7 4\n"
                           "block 0x2012 3 1 2 3\n"
                           "block 0x2015 1 1 9 1\n"
                           "edge fall 0x2011 0x2015 7\n"
                           "edge fall 0x2012 0x2015 2\n");
}

/* The trace 200a → 2010 → 200f: its exits alone are counted, in counters of its own. */
static void sums_stand_for_the_blocks_of_a_trace(void **state)
{
    (void)state;
    LiveMaker maker = usual_maker(1);
    enum { CALL = 2, CALLEE = 4, LAST = 3, PASSED = 3 };
    uint32_t call = maker.blocks[CALL].counter, back = call + 1;
    uint32_t callee = maker.blocks[CALLEE].counter, last = maker.blocks[LAST].counter;
    maker.counters[0][call] = 1; /* 1 of 4 was interpreted */
    maker.counters[0][back] = 1;
    maker.counters[0][callee] = 1;
    maker.counters[0][last] = 1;
    uint32_t in_callee = live_maker_virtual(&maker), in_last = live_maker_virtual(&maker);
    uint32_t exit = live_maker_virtual(&maker);
    maker.counters[0][exit] = PASSED;
    live_maker_sum(&maker, call, in_callee);
    live_maker_sum(&maker, in_callee, in_last);
    live_maker_sum(&maker, back, in_last);
    live_maker_sum(&maker, callee, in_last);
    live_maker_sum(&maker, in_last, exit);
    live_maker_sum(&maker, last, exit);
    expect_records(&maker, usual_records);
}

static void sums_saturate_and_need_no_chunk(void **state)
{
    Arena *arena = *state;
    LiveMaker maker = usual_maker(1);
    LiveData live;
    Error err;
    enum { BEYOND = 2000 };
    maker.counters[0][0] = UINT64_MAX - 1;
    maker.counters[0][2] = 5;
    live_maker_sum(&maker, 0, BEYOND);
    live_maker_sum(&maker, BEYOND, 2);
    Bytes file = live_maker_file(arena, &maker);
    LiveHeader *header = arena_copy(arena, file.data, file.len);
    header->n_counters = BEYOND + 1;
    file.data = (const uint8_t *)header;
    assert_int_equal(profile_parse_live(arena, "live", file, &live, &err), ST_OK);
    assert_true(live_count(&live, 0) == UINT64_MAX);
    assert_int_equal(live_count(&live, BEYOND), 5);
    assert_int_equal(live_count(&live, BEYOND - 1), 0);
}

static void text_read_as_data_is_named_by_page(void **state)
{
    Arena *arena = *state;
    LiveMaker maker = usual_maker(1);
    const Profile *profile;
    live_maker_text(&maker, LIVE_TEXT_READ, 0, at(0x2fff));
    live_maker_text(&maker, LIVE_TEXT_READ, LIVE_NO_MAP, at(0x2000));   /* its map is found */
    live_maker_text(&maker, LIVE_TEXT_READ, LIVE_NO_MAP, at(0x900000)); /* in no module */
    profile = profile_of(arena, &maker);
    assert_int_equal(profile->modules[0].n_read_pages, 1);
    assert_int_equal(profile->modules[0].read_pages[0].v, 0x2000);
    assert_false(profile->modules[0].text_written);
    live_maker_text(&maker, LIVE_TEXT_WRITTEN, 0, at(0x2000));
    profile = profile_of(arena, &maker);
    assert_true(profile->modules[0].text_written);
    assert_int_equal(profile->modules[0].n_read_pages, 1);
}

static void values_are_named_by_instruction(void **state)
{
    Arena *arena = *state;
    LiveMaker maker = usual_maker(1);
    const Profile *profile;
    LiveValue *value = live_maker_value(&maker, LIVE_VALUE_STRIDE, 0, at(0x2006));
    value->n = 50;
    value->missed = 2;
    value->top[3] = (LiveTop){ (uint64_t)-8, 20 };
    value->top[5] = (LiveTop){ 16, 25 };
    live_maker_value(&maker, LIVE_VALUE_DIVISOR, 0, at(0x2000)); /* never executed */
    value = live_maker_value(&maker, LIVE_VALUE_DIVISOR, LIVE_NO_MAP, at(0x2000));
    value->n = 1; /* killed between two stores */
    value->top[0] = (LiveTop){ 7, 3 };
    live_maker_value(&maker, LIVE_VALUE_ARGUMENT, 0, at(0x200a))->n = 9; /* of no known function */
    profile = profile_of(arena, &maker);
    const ProfileModule *module = &profile->modules[0];
    assert_int_equal(module->n_values, 2);
    assert_int_equal(module->values[0].kind, OBSERVED_DIVISOR);
    assert_int_equal(module->values[0].n, 3);
    assert_int_equal(module->values[1].at.v, 0x2006);
    assert_int_equal(module->values[1].n_top, 2);
    assert_int_equal(module->values[1].top[0].value, 16);
    assert_int_equal(module->values[1].missed, 2);
    maker.header.flags |= LIVE_VALUES_FULL;
    profile = profile_of(arena, &maker);
    assert_non_null(strstr(profile->remarks[0], "more instructions"));
}

static void a_run_left_early_counts_what_it_ran(void **state)
{
    (void)state;
    LiveMaker maker = maker_with_app(1);
    live_maker_block(&maker, 0, at(0x2000), 10, 4, 8, LIVE_END_COND, at(0x2006), 0, 5);
    live_maker_block(&maker, 0, at(0x2000), 6, 2, 1, LIVE_END_PARTIAL, 0, 1, 0);
    live_maker_block(&maker, 0, at(0x200a), 5, 1, 0, LIVE_END_PARTIAL, 0, 5, 0);
    expect_records(&maker, "block 0x2000 6 2 6 1,5\n"
                           "block 0x2006 4 2 5 2,2\n"
                           "block 0x200a 5 1 5 5\n"
                           "edge fall 0x2001 0x2006 5\n"
                           "edge taken 0x2008 0x2006 0\n"
                           "edge fall 0x2008 0x200a 5\n");
}

static void a_run_cut_by_the_vm_is_no_block_of_its_own(void **state)
{
    (void)state;
    LiveMaker maker = maker_with_app(1);
    live_maker_block(&maker, 0, at(0x2000), 1, 1, 0, LIVE_END_FALL, 0, 4, 0);
    live_maker_block(&maker, 0, at(0x2001), 9, 3, 7, LIVE_END_COND, at(0x2000), 3, 1);
    expect_records(&maker, "block 0x2000 10 4 4 1,5,2,2\n"
                           "edge taken 0x2008 0x2000 3\n"
                           "edge fall 0x2008 0x200a 1\n");
}

static void returns_go_to_the_call_they_come_back_to(void **state)
{
    (void)state;
    LiveMaker maker = usual_maker(1);
    maker.counters[0][5] = 1; /* 1 of 4 predicted; 2 by address, 1 to where no call stands */
    live_maker_edge(&maker, 4, 0, at(0x200f), 2);
    live_maker_edge(&maker, 4, 0, at(0x2015), 1);
    maker.counters[0][10] = 1;
    expect_records(&maker, "block 0x2000 6 2 4 1,5\n"
                           "block 0x2006 4 2 12 2,2\n"
                           "block 0x200a 5 1 4 5\n"
                           "block 0x200f 1 1 4 1\n"
                           "block 0x2010 1 1 4 1\n"
                           "block 0x2015 1 1 1 1\n"
                           "edge fall 0x2001 0x2006 4\n"
                           "edge taken 0x2008 0x2006 8\n"
                           "edge fall 0x2008 0x200a 4\n"
                           "edge call 0x200a 0x2010 4\n"
                           "edge return-to 0x200a 0x200f 3\n"
                           "edge ret 0x2010 0x2015 1\n");
}

static void other_modules_are_entered(void **state)
{
    Arena *arena = *state;
    const Profile *profile;
    LiveMaker maker = maker_with_app(1);
    /* the last of all paths in order */
    uint32_t gone = live_maker_map(&maker, 0x7000, 0x9000, 0x3000, "/~nonexistent/lib");
    uint32_t jit = live_maker_map(&maker, 0xa000, 0xb000, 0, "");
    uint32_t call = live_maker_block(&maker, 0, at(0x2018), 2, 1, 0, LIVE_END_CALL_IND, 0, 5, 3);
    live_maker_edge(&maker, call, gone, 0x7010, 3);
    live_maker_edge(&maker, call, jit, 0xa010, 2);
    live_maker_block(&maker, gone, 0x7010, 6, 3, 5, LIVE_END_RET, 0, 3, 0);
    live_maker_block(&maker, gone, 0x7014, 2, 2, 1, LIVE_END_RET, 0, 1, 0);
    live_maker_block(&maker, jit, 0xa010, 5, 2, 0, LIVE_END_JUMP, at(0x2015), 2, 0);
    live_maker_block(&maker, 0, at(0x2015), 1, 1, 0, LIVE_END_RET, 0, 2, 0);
    live_maker_block(&maker, 0, at(0x2016), 2, 1, 0, LIVE_END_SYSCALL, 0, 9, 8);
    profile = profile_of(arena, &maker);
    assert_string_equal(records_of(arena, profile), "block 0x2015 1 1 2 1\n"
                                                    "block 0x2016 2 1 9 2\n"
                                                    "block 0x2018 2 1 5 2\n"
                                                    "edge syscall 0x2016 0x2018 8\n"
                                                    "edge call-ind 0x2018 1:0x3010 3\n"
                                                    "edge call-ind 0x2018 -:0xa010 2\n"
                                                    "edge return-to 0x2018 0x201a 3\n"
                                                    "entry jump 0x2015 2\n"
                                                    "block 0x3010 4 1 3\n"
                                                    "block 0x3014 2 2 4\n"
                                                    "edge fall 0x3010 0x3014 3\n"
                                                    "entry call-ind 0x3010 3\n");
    assert_int_equal(profile->outside_insns, 4);
    assert_true(profile_key_empty(&profile->modules[1].key));
    assert_int_equal(profile->n_remarks, 1);
    assert_non_null(strstr(profile->remarks[0], "/~nonexistent/lib cannot be read any more"));
}

static void a_file_that_changed_is_not_believed(void **state)
{
    Arena *arena = *state;
    const Profile *profile;
    LiveMaker maker = usual_maker(1);
    maker.maps[0].mtime_ns++;
    profile = profile_of(arena, &maker);
    assert_true(profile_key_empty(&profile->modules[0].key));
    assert_int_equal(profile->modules[0].blocks[0].start.v, 0x1000);
    assert_non_null(strstr(profile->remarks[0], "is not the file that was run any more"));

    live_app_write(0x05); /* add eax, imm32: not the nop that was run */
    maker = usual_maker(1);
    profile = profile_of(arena, &maker);
    assert_false(profile_key_empty(&profile->modules[0].key));
    assert_non_null(strstr(profile->remarks[0], "code was executed that its file does not hold"));
    assert_int_equal(profile_count_at(&profile->modules[0], vaddr(0x2006)), 12);
    live_app_write(LIVE_APP_FIRST_BYTE);
}

/* ---- broken files ------------------------------------------------------------------------- */

static void expect_error(Arena *arena, Bytes file, const char *section, const char *text)
{
    const Profile *profile = NULL;
    Error err = { 0 };
    assert_int_equal(read_live(arena, file, &profile, &err), ST_BAD_INPUT);
    assert_string_equal(err.place.section, section);
    if (strstr(err.text, text) == NULL)
        fail_msg("\"%s\" does not hold \"%s\"", err.text, text);
}

static void expect_broken(Arena *arena, const LiveMaker *maker, const char *section,
                          const char *text)
{
    expect_error(arena, live_maker_file(arena, maker), section, text);
}

static void broken_records_are_named(void **state)
{
    Arena *arena = *state;
    LiveMaker maker = usual_maker(1);
    maker.blocks[2].map = 1;
    expect_broken(arena, &maker, "blocks", "in map 1 (of 1)");
    maker = usual_maker(1);
    maker.blocks[0].n_insns = 11;
    expect_broken(arena, &maker, "blocks", "11 instructions in 10 bytes");
    maker = usual_maker(1);
    maker.blocks[0].start = at(0x1000);
    expect_broken(arena, &maker, "blocks", "outside its map");
    maker = usual_maker(1);
    live_maker_text(&maker, LIVE_TEXT_READ, 1, at(0x2000));
    expect_broken(arena, &maker, "texts", "in map 1 (of 1)");
    maker = usual_maker(1);
    live_maker_text(&maker, LIVE_TEXT_WRITTEN + 1, 0, at(0x2000));
    expect_broken(arena, &maker, "texts", "of kind 2");
    maker = usual_maker(1);
    live_maker_value(&maker, LIVE_VALUE_STRIDE, 3, at(0x2000));
    expect_broken(arena, &maker, "values", "in map 3 (of 1)");
    maker = usual_maker(1);
    live_maker_value(&maker, LIVE_VALUE_STRIDE + 1, 0, at(0x2000));
    expect_broken(arena, &maker, "values", "of kind 6");
    maker = usual_maker(1);
    maker.blocks[0].end = 9;
    expect_broken(arena, &maker, "blocks", "ends in way 9");
    maker = usual_maker(1);
    live_maker_edge(&maker, 0, 0, 0, 1);
    expect_broken(arena, &maker, "edges", "which ends in way 0");
    maker = usual_maker(1);
    live_maker_sum(&maker, 0, 1);
    live_maker_sum(&maker, 12, 1);
    expect_broken(arena, &maker, "sums", "adds counter 1 to counter 12 (of 12)");
    maker = usual_maker(1);
    live_maker_sum(&maker, 1, UINT32_MAX);
    expect_broken(arena, &maker, "sums", "adds counter 4294967295");
}

static void broken_headers_are_named(void **state)
{
    Arena *arena = *state;
    LiveMaker maker = usual_maker(1);
    maker.maps[0].end = maker.maps[0].start;
    expect_broken(arena, &maker, "maps", "from 0x");
    maker = usual_maker(1);
    maker.header.version = LIVE_VERSION + 1;
    expect_broken(arena, &maker, "header", "version 7");
    maker = usual_maker(1);
    Bytes file = live_maker_file(arena, &maker);
    expect_error(arena, (Bytes){ file.data, 100 }, "header", "ends after 100 bytes");
    expect_error(arena, (Bytes){ file.data, file.len - 1 }, "chunk directory", "run past the end");
}

static void no_mutation_is_more_than_an_error(void **state)
{
    Arena *arena = *state;
    LiveMaker maker = usual_maker(1);
    live_maker_edge(&maker, 4, 0, at(0x200f), 2);
    live_maker_sum(&maker, 0, 1);
    Bytes good = live_maker_file(arena, &maker);
    uint8_t *bad = malloc(good.len);
    uint32_t seed = 1;
    unsigned errors = 0;
    for (int round = 0; round < 3000; round++) {
        Arena *scratch = arena_new();
        const Profile *profile = NULL;
        Error err;
        memcpy(bad, good.data, good.len);
        for (int flips = 0; flips < 4; flips++) {
            seed = seed * 1664525 + 1013904223;
            size_t where = (seed >> 8) % (good.len - LIVE_DATA_OFFSET + 1024);
            where = where < 1024 ? (where % 128) + (where / 128 % 2) * LIVE_DIRECTORY_OFFSET
                                 : where - 1024 + LIVE_DATA_OFFSET;
            bad[where] ^= (uint8_t)(1u << (seed >> 5 & 7));
        }
        errors += read_live(scratch, (Bytes){ bad, good.len }, &profile, &err) != ST_OK;
        arena_free(scratch);
    }
    assert_in_range(errors, 100, 3000);
    free(bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_with_arena(overlapping_runs_become_blocks),
        unit_test_with_arena(counters_are_summed_over_threads),
        unit_test_with_arena(a_jump_behind_a_lock_prefix_is_another_instruction),
        unit_test_with_arena(sums_stand_for_the_blocks_of_a_trace),
        unit_test_with_arena(sums_saturate_and_need_no_chunk),
        unit_test_with_arena(text_read_as_data_is_named_by_page),
        unit_test_with_arena(values_are_named_by_instruction),
        unit_test_with_arena(a_run_left_early_counts_what_it_ran),
        unit_test_with_arena(a_run_cut_by_the_vm_is_no_block_of_its_own),
        unit_test_with_arena(returns_go_to_the_call_they_come_back_to),
        unit_test_with_arena(other_modules_are_entered),
        unit_test_with_arena(a_file_that_changed_is_not_believed),
        unit_test_with_arena(broken_records_are_named),
        unit_test_with_arena(broken_headers_are_named),
        unit_test_with_arena(no_mutation_is_more_than_an_error),
    };
    return cmocka_run_group_tests_name("live profiles", tests, live_app_set_up, live_app_tear_down);
}
