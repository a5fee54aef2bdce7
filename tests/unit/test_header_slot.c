/*
 * Which program header goes, and where the new ones stand.
 *
 * SPDX-License-Identifier: MIT
 */
#include "rewriter/header_slot.h"
#include "tests/support/cmocka.h"

static Elf64_Phdr row(uint32_t type, uint32_t flags, uint64_t offset, uint64_t addr, uint64_t size)
{
    return (Elf64_Phdr){ .p_type = type,
                         .p_flags = flags,
                         .p_offset = offset,
                         .p_vaddr = addr,
                         .p_filesz = size,
                         .p_memsz = size,
                         .p_align = 0x1000 };
}

static HeaderTable table_of(Arena *arena, const Elf64_Phdr *rows, uint32_t n)
{
    HeaderTable table = { arena_many(arena, Elf64_Phdr, n + 1), n, n };
    memcpy(table.rows, rows, n * sizeof *rows);
    return table;
}

static const Image executable = { .path = "a" }, library = { .path = "a.so", .is_library = true };

static void takes_the_note_that_says_what_the_property_says(void **state)
{
    const Elf64_Phdr rows[] = {
        row(PT_LOAD, PF_R, 0, 0, 0x600),
        row(PT_LOAD, PF_R | PF_X, 0x1000, 0x1000, 0x200),
        row(PT_NOTE, PF_R, 0x338, 0x338, 0x20),
        row(PT_NOTE, PF_R, 0x358, 0x358, 0x44),
        row(PT_GNU_PROPERTY, PF_R, 0x338, 0x338, 0x20),
    };
    HeaderTable table = table_of(*state, rows, 5);
    Error err;
    assert_ok(header_slot_free(&executable, &table, &err), &err);
    assert_int_equal(table.n, 4);
    assert_int_equal(header_table_find(&table, PT_NOTE)->p_offset, 0x358);
    assert_ok(header_slot_free(&executable, &table, &err),
              &err); /* still free: nothing more goes */
    assert_int_equal(table.n, 4);
}

static void takes_phdr_of_a_library_only(void **state)
{
    const Elf64_Phdr rows[] = {
        row(PT_PHDR, PF_R, 0x40, 0x40, 0x100),
        row(PT_LOAD, PF_R, 0, 0, 0x600),
        row(PT_LOAD, PF_R | PF_W, 0x1000, 0x2000, 0x200),
        row(PT_NOTE, PF_R, 0x358, 0x358, 0x44),
        row(PT_GNU_STACK, PF_R, 0, 0, 0),
        row(PT_GNU_RELRO, PF_R, 0x1000, 0x2000, 0x200),
    };
    HeaderTable table = table_of(*state, rows, 6);
    Error err;
    assert_ok(header_slot_free(&library, &table, &err), &err);
    assert_int_equal(table.n, 5);
    assert_null(header_table_find(&table, PT_PHDR));
    table = table_of(*state, rows, 6);
    assert_int_equal(header_slot_free(&executable, &table, &err), ST_REFUSED);
    assert_non_null(strstr(err.text, "no-header-slot"));
}

static void merges_loads_at_one_distance(void **state)
{
    const Elf64_Phdr rows[] = {
        row(PT_LOAD, PF_R, 0, 0x400000, 0x600),
        row(PT_LOAD, PF_R | PF_X, 0x1000, 0x401000, 0x200),
        row(PT_LOAD, PF_R, 0x2000, 0x403000, 0x80),
    };
    HeaderTable table = table_of(*state, rows, 3);
    Error err;
    assert_ok(header_slot_free(&executable, &table, &err), &err);
    assert_int_equal(table.n, 2);
    assert_int_equal(table.rows[0].p_filesz, 0x1200);
    assert_int_equal(table.rows[0].p_memsz, 0x1200);
    assert_int_equal(table.rows[0].p_flags, PF_R | PF_X);
    table.room = 2; /* the last one stands at another distance: no second slot */
    assert_int_equal(header_slot_free(&executable, &table, &err), ST_REFUSED);
}

static void never_merges_writable_loads(void **state)
{
    const Elf64_Phdr rows[] = {
        row(PT_LOAD, PF_R | PF_W, 0, 0x400000, 0x600),
        row(PT_LOAD, PF_R | PF_X, 0x1000, 0x401000, 0x200),
    };
    HeaderTable table = table_of(*state, rows, 2);
    assert_int_equal(header_slot_free(&executable, &table, NULL), ST_REFUSED);
}

static void loads_stay_ascending(void **state)
{
    const Elf64_Phdr rows[] = {
        row(PT_PHDR, PF_R, 0x40, 0x40, 0x100),
        row(PT_LOAD, PF_R, 0, 0, 0x600),
        row(PT_LOAD, PF_R | PF_W, 0x1000, 0x2000, 0x200),
        row(PT_DYNAMIC, PF_R, 0x1000, 0x2000, 0x20),
    };
    const Elf64_Phdr load = row(PT_LOAD, PF_R | PF_X, 0x2000, 0x5000, 0x10);
    const Elf64_Phdr frame = row(PT_GNU_EH_FRAME, PF_R, 0x2000, 0x5000, 0x10);
    HeaderTable table = { arena_many(*state, Elf64_Phdr, 6), 4, 6 };
    memcpy(table.rows, rows, sizeof rows);
    header_table_add(&table, &frame);
    header_table_add(&table, &load);
    static const uint32_t want[] = {
        PT_PHDR, PT_LOAD, PT_LOAD, PT_LOAD, PT_DYNAMIC, PT_GNU_EH_FRAME
    };
    assert_int_equal(table.n, 6);
    for (int i = 0; i < 6; i++)
        assert_int_equal(table.rows[i].p_type, want[i]);
    assert_int_equal(table.rows[3].p_vaddr, 0x5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_with_arena(takes_the_note_that_says_what_the_property_says),
        unit_test_with_arena(takes_phdr_of_a_library_only),
        unit_test_with_arena(merges_loads_at_one_distance),
        unit_test_with_arena(never_merges_writable_loads),
        unit_test_with_arena(loads_stay_ascending),
    };
    return cmocka_run_group_tests_name("header-slot", tests, NULL, NULL);
}
