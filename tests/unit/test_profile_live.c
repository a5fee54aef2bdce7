/* Live files made by hand → blocks and edges; broken ones → errors. SPDX-License-Identifier: MIT */
#include "core/profile_parts.h"
#include "tests/support/live_maker.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* A folder with `app` in it, a shared object whose code stands at 0x2000, at offset 0x1000. */
static char folder[] = "/tmp/respin-live-XXXXXX";
static char app[64];
static char out_path[64];

enum { RUN = 0x1234, BIAS = 0x10000000 };

// clang-format off
static const uint8_t code[] = {
    0x90,                         /* 2000 nop                      */
    0xb8, 0x01, 0x00, 0x00, 0x00, /* 2001 mov eax, 1               */
    0x85, 0xc0,                   /* 2006 test eax, eax            */
    0x75, 0xfc,                   /* 2008 jne 2006                 */
    0xe8, 0x01, 0x00, 0x00, 0x00, /* 200a call 2010                */
    0xc3,                         /* 200f ret                      */
    0xc3,                         /* 2010 ret                      */
    0xf0, 0x0f, 0xb1, 0x0f,       /* 2011 lock cmpxchg [rdi], ecx  */
    0xc3,                         /* 2015 ret                      */
    0x0f, 0x05,                   /* 2016 syscall                  */
    0xff, 0xd0,                   /* 2018 call rax                 */
    0xc3,                         /* 201a ret                      */
};
// clang-format on

static void write_file(const char *path, Bytes bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0755);
    assert_int_equal(write(fd, bytes.data, bytes.len), bytes.len);
    close(fd);
}

static void write_app(Arena *arena, uint8_t first_byte)
{
    Elf64_Ehdr header = { .e_type = ET_DYN, .e_machine = EM_X86_64, .e_version = EV_CURRENT };
    memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    header.e_phoff = header.e_ehsize = sizeof header;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = 1;
    header.e_shentsize = sizeof(Elf64_Shdr);
    Elf64_Phdr load = { .p_type = PT_LOAD,
                        .p_flags = PF_R | PF_X,
                        .p_offset = 0x1000,
                        .p_vaddr = 0x2000,
                        .p_paddr = 0x2000,
                        .p_filesz = sizeof code,
                        .p_memsz = sizeof code,
                        .p_align = 0x1000 };
    Buffer file = { .arena = arena };
    buffer_put(&file, &header, sizeof header);
    buffer_put(&file, &load, sizeof load);
    buffer_align(&file, 0x1000, 0);
    buffer_put(&file, code, sizeof code);
    file.data[0x1000] = first_byte;
    write_file(app, buffer_bytes(&file));
}

static int set_up(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    if (mkdtemp(folder) == NULL)
        return 1;
    snprintf(app, sizeof app, "%s/app", folder);
    snprintf(out_path, sizeof out_path, "%s/out", folder);
    write_app(arena, code[0]);
    arena_free(arena);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(app);
    unlink(out_path);
    return rmdir(folder);
}

static uint64_t at(uint64_t address)
{
    return BIAS + address;
}

/* A maker with the app's code mapped as map 0. */
static LiveMaker maker_with_app(uint32_t pid)
{
    LiveMaker maker = live_maker(RUN, pid);
    live_maker_map(&maker, at(0x2000), at(0x3000), 0x1000, app);
    return maker;
}

/* The loop, the call and the returns of `code`. */
static LiveMaker usual_maker(uint32_t pid)
{
    LiveMaker maker = maker_with_app(pid);
    live_maker_block(&maker, 0, at(0x2000), 10, 4, 8, LIVE_END_COND, at(0x2006), 3, 1);
    live_maker_block(&maker, 0, at(0x2006), 4, 2, 2, LIVE_END_COND, at(0x2006), 5, 3);
    live_maker_block(&maker, 0, at(0x200a), 5, 1, 0, LIVE_END_CALL, at(0x2010), 4, 4);
    live_maker_block(&maker, 0, at(0x200f), 1, 1, 0, LIVE_END_RET, 0, 4, 0);
    live_maker_block(&maker, 0, at(0x2010), 1, 1, 0, LIVE_END_RET, 0, 4, 0);
    live_maker_block(&maker, 0, at(0x2015), 1, 1, 0, LIVE_END_RET, 0, 0, 0); /* never run */
    return maker;
}

static Status read_maker(Arena *arena, const LiveMaker *maker, const Profile **out, Error *err)
{
    Images *images = images_new(arena);
    Status status =
        profile_read_bytes(arena, "live", live_maker_file(arena, maker), images, out, err);
    images_close(images);
    return status;
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
    const Profile *profile = NULL;
    Error err = { 0 };
    if (read_maker(arena, maker, &profile, &err) != ST_OK)
        fail_msg("%s", err.text);
    assert_string_equal(records_of(arena, profile), records);
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
    (void)state;
    Arena *arena = arena_new();
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
    arena_free(arena);
}

static void text_read_as_data_is_named_by_page(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    LiveMaker maker = usual_maker(1);
    const Profile *profile;
    Error err;
    live_maker_text(&maker, LIVE_TEXT_READ, 0, at(0x2fff));
    live_maker_text(&maker, LIVE_TEXT_READ, LIVE_NO_MAP, at(0x2000));   /* its map is found */
    live_maker_text(&maker, LIVE_TEXT_READ, LIVE_NO_MAP, at(0x900000)); /* in no module */
    assert_int_equal(read_maker(arena, &maker, &profile, &err), ST_OK);
    assert_int_equal(profile->modules[0].n_read_pages, 1);
    assert_int_equal(profile->modules[0].read_pages[0].v, 0x2000);
    assert_false(profile->modules[0].text_written);
    live_maker_text(&maker, LIVE_TEXT_WRITTEN, 0, at(0x2000));
    assert_int_equal(read_maker(arena, &maker, &profile, &err), ST_OK);
    assert_true(profile->modules[0].text_written);
    assert_int_equal(profile->modules[0].n_read_pages, 1);
    arena_free(arena);
}

static void values_are_named_by_instruction(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    LiveMaker maker = usual_maker(1);
    const Profile *profile;
    Error err;
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
    assert_int_equal(read_maker(arena, &maker, &profile, &err), ST_OK);
    const ProfileModule *module = &profile->modules[0];
    assert_int_equal(module->n_values, 2);
    assert_int_equal(module->values[0].kind, OBSERVED_DIVISOR);
    assert_int_equal(module->values[0].n, 3);
    assert_int_equal(module->values[1].at.v, 0x2006);
    assert_int_equal(module->values[1].n_top, 2);
    assert_int_equal(module->values[1].top[0].value, 16);
    assert_int_equal(module->values[1].missed, 2);
    maker.header.flags |= LIVE_VALUES_FULL;
    assert_int_equal(read_maker(arena, &maker, &profile, &err), ST_OK);
    assert_non_null(strstr(profile->remarks[0], "more instructions"));
    arena_free(arena);
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
    (void)state;
    Arena *arena = arena_new();
    const Profile *profile = NULL;
    Error err;
    LiveMaker maker = maker_with_app(1);
    uint32_t gone = live_maker_map(&maker, 0x7000, 0x9000, 0x3000, "/nonexistent/lib");
    uint32_t jit = live_maker_map(&maker, 0xa000, 0xb000, 0, "");
    uint32_t call = live_maker_block(&maker, 0, at(0x2018), 2, 1, 0, LIVE_END_CALL_IND, 0, 5, 3);
    live_maker_edge(&maker, call, gone, 0x7010, 3);
    live_maker_edge(&maker, call, jit, 0xa010, 2);
    live_maker_block(&maker, gone, 0x7010, 6, 3, 5, LIVE_END_RET, 0, 3, 0);
    live_maker_block(&maker, gone, 0x7014, 2, 2, 1, LIVE_END_RET, 0, 1, 0);
    live_maker_block(&maker, jit, 0xa010, 5, 2, 0, LIVE_END_JUMP, at(0x2015), 2, 0);
    live_maker_block(&maker, 0, at(0x2015), 1, 1, 0, LIVE_END_RET, 0, 2, 0);
    live_maker_block(&maker, 0, at(0x2016), 2, 1, 0, LIVE_END_SYSCALL, 0, 9, 8);
    assert_int_equal(read_maker(arena, &maker, &profile, &err), ST_OK);
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
    assert_non_null(strstr(profile->remarks[0], "/nonexistent/lib cannot be read any more"));
    arena_free(arena);
}

static void a_file_that_changed_is_not_believed(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    const Profile *profile = NULL;
    Error err;
    LiveMaker maker = usual_maker(1);
    maker.maps[0].mtime_ns++;
    assert_int_equal(read_maker(arena, &maker, &profile, &err), ST_OK);
    assert_true(profile_key_empty(&profile->modules[0].key));
    assert_int_equal(profile->modules[0].blocks[0].start.v, 0x1000);
    assert_non_null(strstr(profile->remarks[0], "is not the file that was run any more"));

    write_app(arena, 0x05); /* add eax, imm32: not the nop that was run */
    maker = usual_maker(1);
    assert_int_equal(read_maker(arena, &maker, &profile, &err), ST_OK);
    assert_false(profile_key_empty(&profile->modules[0].key));
    assert_non_null(strstr(profile->remarks[0], "code was executed that its file does not hold"));
    assert_int_equal(profile_count_at(&profile->modules[0], vaddr(0x2006)), 12);
    write_app(arena, code[0]);
    arena_free(arena);
}

/* ---- processes ---------------------------------------------------------------------------- */

static uint32_t dead_pid(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    waitpid(pid, NULL, 0);
    return (uint32_t)pid;
}

static const char *sibling_path(Arena *arena, unsigned n)
{
    return arena_printf(arena, "%s.live-%016x-7-%u", out_path, RUN, n);
}

static void finishing_sums_what_has_ended(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    const Profile *profile = NULL;
    Error err = { 0 };
    LiveMaker first = usual_maker(1);
    LiveMaker ended = usual_maker(2);
    LiveMaker killed = usual_maker(dead_pid());
    LiveMaker alive = usual_maker((uint32_t)getpid());
    LiveMaker stranger = usual_maker(3);
    killed.header.flags = alive.header.flags = 0;
    strcpy(ended.header.command, "a child");
    stranger.header.run = RUN + 1;
    write_file(out_path, live_maker_file(arena, &first));
    write_file(sibling_path(arena, 0), live_maker_file(arena, &ended));
    write_file(sibling_path(arena, 1), live_maker_file(arena, &killed));
    write_file(sibling_path(arena, 2), live_maker_file(arena, &alive));
    write_file(sibling_path(arena, 3), live_maker_file(arena, &stranger));

    assert_int_equal(profile_read(arena, out_path, &profile, &err), ST_OK);
    assert_int_equal(profile->n_processes, 4);
    assert_int_equal(profile->modules[0].blocks[0].count, 16);
    assert_string_equal(profile->command, "made by hand");
    assert_int_equal(profile_finish(out_path, NULL, &err), ST_OK);
    assert_int_not_equal(access(sibling_path(arena, 0), F_OK), 0);
    assert_int_not_equal(access(sibling_path(arena, 1), F_OK), 0);
    assert_int_equal(access(sibling_path(arena, 2), F_OK), 0);

    assert_int_equal(profile_read(arena, out_path, &profile, &err), ST_OK);
    assert_int_equal(profile->n_processes, 4);
    assert_false(profile->complete);
    alive.counters[0][0] += 10; /* goes on, and ends */
    alive.header.flags = LIVE_ENDED;
    write_file(sibling_path(arena, 2), live_maker_file(arena, &alive));
    assert_int_equal(profile_read(arena, out_path, &profile, &err), ST_OK);
    assert_int_equal(profile->modules[0].blocks[0].count, 26);
    assert_int_equal(profile_finish(out_path, NULL, &err), ST_OK);
    assert_int_not_equal(access(sibling_path(arena, 2), F_OK), 0);
    assert_int_equal(profile_read(arena, out_path, &profile, &err), ST_OK);
    assert_int_equal(profile->modules[0].blocks[0].count, 26);
    assert_int_equal(unlink(sibling_path(arena, 3)), 0);
    arena_free(arena);
}

/* The first block's count in all of the run, and how many processes it is of. */
static void expect_run(Arena *arena, uint64_t count, uint32_t n_processes)
{
    const Profile *profile = NULL;
    Error err = { 0 };
    assert_int_equal(profile_read(arena, out_path, &profile, &err), ST_OK);
    assert_int_equal(profile->modules[0].blocks[0].count, count);
    assert_int_equal(profile->n_processes, n_processes);
}

static const char *with_end(Arena *arena, const char *name, const char *end)
{
    return arena_printf(arena, "%s%s", name, end);
}

/* Each child counts 4 at the first block; whatever folding leaves behind, each counts once. */
static void ended_children_are_folded_once(void **state)
{
    enum { CHILDREN = 30, EACH = 4 };
    (void)state;
    Arena *arena = arena_new();
    Error err = { 0 };
    LiveMaker first = usual_maker(1);
    LiveMaker ended = usual_maker(2);
    LiveMaker alive = usual_maker((uint32_t)getpid());
    alive.header.flags = 0;
    const char *sum = arena_printf(arena, "%s.live-%016x-sum-", out_path, RUN);
    write_file(out_path, live_maker_file(arena, &first));
    for (unsigned i = 0; i < CHILDREN; i++)
        write_file(sibling_path(arena, i), live_maker_file(arena, i == 7 ? &alive : &ended));
    expect_run(arena, EACH * (CHILDREN + 1), CHILDREN + 1);
    assert_int_equal(profile_fold(out_path, RUN + 1, &err), ST_OK);
    assert_int_equal(access(sibling_path(arena, 0), F_OK), 0); /* another run's */
    assert_int_equal(profile_fold(out_path, RUN, &err), ST_OK);
    assert_int_equal(access(with_end(arena, sum, "1"), F_OK), 0);
    assert_int_not_equal(access(sibling_path(arena, 0), F_OK), 0);
    assert_int_equal(access(sibling_path(arena, 7), F_OK), 0);
    expect_run(arena, EACH * (CHILDREN + 1), CHILDREN + 1);

    /* It died before it removed what it had summed up; before it wrote the next sum. */
    write_file(with_end(arena, sibling_path(arena, 0), ".in-1"), live_maker_file(arena, &ended));
    expect_run(arena, EACH * (CHILDREN + 1), CHILDREN + 1);
    write_file(with_end(arena, sibling_path(arena, 1), ".in-2"), live_maker_file(arena, &ended));
    expect_run(arena, EACH * (CHILDREN + 2), CHILDREN + 2);
    for (unsigned i = 40; i < 60; i++)
        write_file(sibling_path(arena, i), live_maker_file(arena, &ended));
    assert_int_equal(profile_fold(out_path, RUN, &err), ST_OK);
    const char *stillborn =
        arena_printf(arena, "%s.live-%016x-%u-0", out_path, RUN, (unsigned)dead_pid());
    write_file(stillborn, (Bytes){ (const uint8_t *)"\0\0\0\0", 4 });
    expect_run(arena, EACH * (CHILDREN + 22), CHILDREN + 22);
    assert_int_not_equal(access(with_end(arena, sum, "1"), F_OK), 0);
    assert_int_not_equal(access(with_end(arena, sibling_path(arena, 0), ".in-1"), F_OK), 0);
    assert_int_equal(profile_finish(out_path, NULL, &err), ST_OK);
    assert_int_not_equal(access(with_end(arena, sum, "2"), F_OK), 0);
    assert_int_not_equal(access(stillborn, F_OK), 0);
    expect_run(arena, EACH * (CHILDREN + 22), CHILDREN + 22);
    assert_int_equal(profile_fold(out_path, RUN, &err), ST_OK); /* not live any more */
    assert_int_equal(unlink(sibling_path(arena, 7)), 0);
    arena_free(arena);
}

/* ---- broken files ------------------------------------------------------------------------- */

static void expect_error(Arena *arena, Bytes file, const char *section, const char *text)
{
    const Profile *profile = NULL;
    Error err = { 0 };
    assert_int_equal(profile_read_bytes(arena, "live", file, images_new(arena), &profile, &err),
                     ST_BAD_INPUT);
    assert_string_equal(err.place.section, section);
    if (strstr(err.text, text) == NULL)
        fail_msg("\"%s\" does not hold \"%s\"", err.text, text);
}

static void broken_records_are_named(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    LiveMaker maker = usual_maker(1);
    maker.blocks[2].map = 1;
    expect_error(arena, live_maker_file(arena, &maker), "blocks", "in map 1 (of 1)");
    maker = usual_maker(1);
    maker.blocks[0].n_insns = 11;
    expect_error(arena, live_maker_file(arena, &maker), "blocks", "11 instructions in 10 bytes");
    maker = usual_maker(1);
    maker.blocks[0].start = at(0x1000);
    expect_error(arena, live_maker_file(arena, &maker), "blocks", "outside its map");
    maker = usual_maker(1);
    live_maker_text(&maker, LIVE_TEXT_READ, 1, at(0x2000));
    expect_error(arena, live_maker_file(arena, &maker), "texts", "in map 1 (of 1)");
    maker = usual_maker(1);
    live_maker_text(&maker, LIVE_TEXT_WRITTEN + 1, 0, at(0x2000));
    expect_error(arena, live_maker_file(arena, &maker), "texts", "of kind 2");
    maker = usual_maker(1);
    live_maker_value(&maker, LIVE_VALUE_STRIDE, 3, at(0x2000));
    expect_error(arena, live_maker_file(arena, &maker), "values", "in map 3 (of 1)");
    maker = usual_maker(1);
    live_maker_value(&maker, LIVE_VALUE_STRIDE + 1, 0, at(0x2000));
    expect_error(arena, live_maker_file(arena, &maker), "values", "of kind 6");
    maker = usual_maker(1);
    maker.blocks[0].end = 9;
    expect_error(arena, live_maker_file(arena, &maker), "blocks", "ends in way 9");
    maker = usual_maker(1);
    live_maker_edge(&maker, 0, 0, 0, 1);
    expect_error(arena, live_maker_file(arena, &maker), "edges", "which ends in way 0");
    maker = usual_maker(1);
    live_maker_sum(&maker, 0, 1);
    live_maker_sum(&maker, 12, 1);
    expect_error(arena, live_maker_file(arena, &maker), "sums",
                 "adds counter 1 to counter 12 (of 12)");
    maker = usual_maker(1);
    live_maker_sum(&maker, 1, UINT32_MAX);
    expect_error(arena, live_maker_file(arena, &maker), "sums", "adds counter 4294967295");
    maker = usual_maker(1);
    maker.maps[0].end = maker.maps[0].start;
    expect_error(arena, live_maker_file(arena, &maker), "maps", "from 0x");
    maker = usual_maker(1);
    maker.header.version = LIVE_VERSION + 1;
    expect_error(arena, live_maker_file(arena, &maker), "header", "version 6");
    maker = usual_maker(1);
    Bytes file = live_maker_file(arena, &maker);
    expect_error(arena, (Bytes){ file.data, 100 }, "header", "ends after 100 bytes");
    expect_error(arena, (Bytes){ file.data, file.len - 1 }, "chunk directory", "run past the end");
    arena_free(arena);
}

static void no_mutation_is_more_than_an_error(void **state)
{
    (void)state;
    Arena *arena = arena_new();
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
        errors += profile_read_bytes(scratch, "live", (Bytes){ bad, good.len }, images_new(scratch),
                                     &profile, &err) != ST_OK;
        arena_free(scratch);
    }
    assert_in_range(errors, 100, 3000);
    free(bad);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(overlapping_runs_become_blocks),
        cmocka_unit_test(counters_are_summed_over_threads),
        cmocka_unit_test(a_jump_behind_a_lock_prefix_is_another_instruction),
        cmocka_unit_test(sums_stand_for_the_blocks_of_a_trace),
        cmocka_unit_test(sums_saturate_and_need_no_chunk),
        cmocka_unit_test(text_read_as_data_is_named_by_page),
        cmocka_unit_test(values_are_named_by_instruction),
        cmocka_unit_test(a_run_left_early_counts_what_it_ran),
        cmocka_unit_test(a_run_cut_by_the_vm_is_no_block_of_its_own),
        cmocka_unit_test(returns_go_to_the_call_they_come_back_to),
        cmocka_unit_test(other_modules_are_entered),
        cmocka_unit_test(a_file_that_changed_is_not_believed),
        cmocka_unit_test(finishing_sums_what_has_ended),
        cmocka_unit_test(ended_children_are_folded_once),
        cmocka_unit_test(broken_records_are_named),
        cmocka_unit_test(no_mutation_is_more_than_an_error),
    };
    return cmocka_run_group_tests_name("live profiles", tests, set_up, tear_down);
}
