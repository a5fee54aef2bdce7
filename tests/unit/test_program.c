/*
 * test_program.c: look-ups in functions and programs, and their text form there and back.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/support/cmocka.h"

#include "core/program.h"

#include <string.h>

static const char whole[] =
    "func 0x1139 \"ma\\x22in\" count 300 calls 1 open-any self-calls\n"
    "extent 0x1139 0x1160 fde 3\n"
    "extent 0x900 0x910\n"
    "table 0x4000 rel32 base 0x4000 goto clone abs64 sites 2 fallback 0x1150 : 0x1140 - 0x900\n"
    "A 0x900 count 0 escapes:\n"
    "    0x900 jmp 0x0000000000001140 | e9 3b 08 00 00\n"
    "    -> C taken 0\n"
    "B 0x1139 count 100 end 99 entry hot root align 4:\n"
    "    0x1139 push rbp | 55\n"
    "    0x113a lea rdi, [0x0000000000004000] | 48 8d 3d bf 2e 00 00 table 0\n"
    "    -> C fall 99\n"
    "C 0x1140 count 100 table-target observed size 9 uses 0:\n"
    "    0x1140 jnz 0x0000000000001140 | 75 fe\n"
    "    - jmp 0x000000000000009A | e9 95 00 00 00 made to 0x1500\n"
    "    -> C taken 70, 0x1500 fall 30, A table 0\n"
    "D 0x1140 copy C count 0 stops:\n"
    "    0x1140 ret | c3\n"
    "layout B C | A\n";

static Func *read_text(Arena *arena, const char *text)
{
    Func *fn = NULL;
    Error err;
    if (func_read_text(arena, text, &fn, &err) != ST_OK)
        fail_msg("%s at %lu", err.text, err.place.offset);
    return fn;
}

static const char *write_text(Arena *arena, const Func *fn)
{
    Buffer out = { .arena = arena };
    func_write_text(fn, &out);
    buffer_u8(&out, 0);
    return (const char *)out.data;
}

static void text_comes_back_as_it_was(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    assert_string_equal(write_text(arena, read_text(arena, whole)), whole);
    arena_free(arena);
}

static void short_branches_lead_to_blocks(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    const Func *fn = read_text(arena, "func 0x10\n"
                                      "A 0x10:\n"
                                      " jnz B\n"
                                      " jmp A\n"
                                      "B 0x20:\n"
                                      " 0x20 ret | c3\n");
    const Block *block = &fn->blocks[0];
    assert_int_equal(block->n_insns, 2);
    assert_int_equal(block->size, 11);
    assert_int_equal(block->insns[0].cond, 5);
    assert_int_equal(block->insns[0].ref_to.v, 0x20);
    assert_int_equal(block->insns[1].ref_to.v, 0x10);
    assert_int_equal(block->insns[1].table, -1);
    arena_free(arena);
}

static void is_bad(const char *text, uint64_t offset, const char *word)
{
    Arena *arena = arena_new();
    Func *fn;
    Error err;
    assert_int_equal(func_read_text(arena, text, &fn, &err), ST_BAD_INPUT);
    assert_int_equal(err.place.offset, offset);
    if (strstr(err.text, word) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, word);
    arena_free(arena);
}

static void bad_text_is_named_by_line(void **state)
{
    (void)state;
    is_bad("", 0, "func");
    is_bad("func 0x10 colour\n", 0, "colour");
    is_bad("func 0x10\n ret | c3\n", 10, "before the first block");
    is_bad("func 0x10\nB 0x10:\n", 10, "block 0 is wanted");
    is_bad("func 0x10\nA 0x10:\n 0x10 x | 06\n", 18, "no instruction");
    is_bad("func 0x10\nA 0x10:\n -> C taken 1\n", 0, "successor 2 of 1");
    is_bad("func 0x10\nA 0x10:\nB 0x8:\n", 18, "after");
    is_bad("func 0x10\nA 0x10 count 1x:\n", 10, "a number is wanted");
    is_bad("func 0x10 \"open\n", 0, "does not end");
    is_bad("func 0x10\nA 0x10:\n jmp Z\n", 0, "block 25 of 1");
}

static void finds_blocks_by_address(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    Func *fn = read_text(arena, whole);
    assert_int_equal(func_block_at(fn, vaddr(0x1140)).i, 2);
    assert_false(is_block(func_block_at(fn, vaddr(0x1141))));
    assert_int_equal(func_block_over(fn, vaddr(0x1148)).i, 2);
    assert_false(is_block(func_block_over(fn, vaddr(0x1149))));
    assert_false(is_block(func_block_over(fn, vaddr(0x8ff))));
    BlockId made = func_add_block(fn);
    assert_true(vaddr_is_none(func_block(fn, made)->start));
    assert_int_equal(func_block_at(fn, vaddr(0x1140)).i, 2);
    arena_free(arena);
}

static void copies_blocks_with_counts_zero(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    Func *fn = read_text(arena, whole);
    BlockId id = func_copy_block(fn, (BlockId){ 1 });
    Block *copy = func_block(fn, id);
    assert_int_equal(copy->copy_of.i, 1);
    assert_int_equal(copy->count, 0);
    assert_int_equal(copy->end_count, 0);
    assert_int_equal(copy->succ[0].count, 0);
    assert_int_equal(copy->n_insns, 2);
    block_add_insn(fn, id, &copy->insns[0]);
    assert_int_equal(func_block(fn, id)->n_insns, 3);
    assert_int_equal(func_block(fn, (BlockId){ 1 })->n_insns, 2);
    assert_int_equal(func_block(fn, (BlockId){ 1 })->succ[0].count, 99);
    arena_free(arena);
}

static void finds_functions_by_any_extent(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    Extent first[] = { { vaddr(0x100), vaddr(0x120), 0 }, { vaddr(0x20), vaddr(0x30), 1 } };
    Extent second[] = { { vaddr(0x130), vaddr(0x140), 2 } };
    Func funcs[] = { { .entry = vaddr(0x100), .extents = first, .n_extents = 2 },
                     { .entry = vaddr(0x130), .extents = second, .n_extents = 1 } };
    Program program = { .arena = arena, .funcs = funcs, .n_funcs = 2 };
    program_index_extents(&program);
    assert_ptr_equal(program_func_at(&program, vaddr(0x2f)), &funcs[0]);
    assert_null(program_func_at(&program, vaddr(0x30)));
    assert_ptr_equal(program_func_at(&program, vaddr(0x11f)), &funcs[0]);
    assert_null(program_func_at(&program, vaddr(0x120)));
    assert_ptr_equal(program_func_at(&program, vaddr(0x130)), &funcs[1]);
    assert_null(program_func_at(&program, vaddr(0)));
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_comes_back_as_it_was),
        cmocka_unit_test(short_branches_lead_to_blocks),
        cmocka_unit_test(bad_text_is_named_by_line),
        cmocka_unit_test(finds_blocks_by_address),
        cmocka_unit_test(copies_blocks_with_counts_zero),
        cmocka_unit_test(finds_functions_by_any_extent),
    };
    return cmocka_run_group_tests_name("program", tests, NULL, NULL);
}
