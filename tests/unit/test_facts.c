/*
 * test_facts.c: each fact broken on purpose; the checker has to say so.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/support/cmocka.h"

#include "optimizer/passes.h"

static const char good[] = "func 0x10 count 210 calls 100\n"
                           "extent 0x10 0x40\n"
                           "table 0x4000 abs64 sites 1 : 0x20\n"
                           "A 0x10 count 100 entry hot root:\n"
                           "    jnz C\n"
                           "    -> C taken 40, B fall 60\n"
                           "B 0x16 count 60 hot uses 0:\n"
                           "    0x16 jmp [rax*8+0x4000] | ff 24 c5 00 40 00 00\n"
                           "    -> C table 60\n"
                           "C 0x20 count 100 table-target hot root:\n"
                           "    0x20 ret | c3\n"
                           "D 0x21 count 0:\n"
                           "    jmp C\n"
                           "    -> C taken 0\n"
                           "layout A B C\n";

static const Facts all =
    FACT_CODE | FACT_CFG | FACT_COUNTS | FACT_TABLES | FACT_PLACED | FACT_LAYOUT;

static Func *read_good(Arena *arena)
{
    Func *fn;
    Error err;
    assert_ok(func_read_text(arena, good, &fn, &err), &err);
    return fn;
}

static Status check(Arena *arena, const Func *fn, Facts facts)
{
    Context ctx = { .arena = arena, .scratch = arena };
    Error err;
    return verify_facts(&ctx, fn, facts, &err);
}

/* The fact no longer holds; all facts but it and those that build on it still do. */
static void assert_broken(Arena *arena, const Func *fn, Facts fact)
{
    assert_int_equal(check(arena, fn, fact), ST_BUG);
    assert_int_equal(check(arena, fn, all), ST_BUG);
}

static void a_good_function_holds_all_facts(void **state)
{
    assert_int_equal(check(*state, read_good(*state), all), ST_OK);
}

static void code_wants_the_entry_in_the_first_extent(void **state)
{
    Func *fn = read_good(*state);
    fn->entry = vaddr(0x50);
    assert_broken(*state, fn, FACT_CODE);
}

static void cfg_wants_ids_successors_and_order(void **state)
{
    Func *fn = read_good(*state);
    fn->blocks[1].id.i = 2;
    assert_broken(*state, fn, FACT_CFG);
    fn = read_good(*state);
    fn->blocks[0].n_succ = 1;
    assert_broken(*state, fn, FACT_CFG);
    fn = read_good(*state);
    fn->blocks[0].succ[0].to.i = 9;
    assert_broken(*state, fn, FACT_CFG);
    fn = read_good(*state);
    fn->blocks[0].succ[0].addr = vaddr(0x21);
    assert_broken(*state, fn, FACT_CFG);
    fn = read_good(*state);
    fn->blocks[1].size = 11;
    assert_broken(*state, fn, FACT_CFG);
}

static void counts_want_what_comes_in_to_go_out(void **state)
{
    Func *fn = read_good(*state);
    fn->blocks[0].succ[0].count = 41;
    assert_broken(*state, fn, FACT_COUNTS);
}

static void counts_want_copies_to_sum_to_the_profile(void **state)
{
    Func *fn = read_good(*state);
    ProfileBlock blocks[] = { { .start = { 0x10 }, .size = 6, .n_insns = 1, .count = 100 },
                              { .start = { 0x16 }, .size = 7, .n_insns = 1, .count = 60 },
                              { .start = { 0x20 }, .size = 1, .n_insns = 1, .count = 100 } };
    ProfileModule counts = { .blocks = blocks, .n_blocks = 3 };
    Context ctx = { .arena = *state, .scratch = *state, .counts = &counts };
    Error err;
    assert_ok(verify_facts(&ctx, fn, FACT_COUNTS, &err), &err);
    func_block(fn, func_copy_block(fn, (BlockId){ 2 }))->count = 1;
    assert_int_equal(verify_facts(&ctx, fn, FACT_COUNTS, &err), ST_BUG);
    fn->blocks[2].count = 99;
    assert_ok(verify_facts(&ctx, fn, FACT_COUNTS, &err), &err);
}

static void tables_want_every_indirect_jump_explained(void **state)
{
    Func *fn = read_good(*state);
    fn->blocks[1].table = -1;
    assert_int_equal(check(*state, fn, all), ST_OK);
    fn->blocks[2].facts |= BLOCK_ESCAPES;
    assert_broken(*state, fn, FACT_TABLES);
    fn->open_jump = true;
    assert_int_equal(check(*state, fn, all), ST_OK);
    fn = read_good(*state);
    fn->blocks[1].table = 1;
    assert_broken(*state, fn, FACT_TABLES);
    fn = read_good(*state);
    fn->blocks[2].table = 0;
    assert_broken(*state, fn, FACT_TABLES);
}

static void placed_wants_roots_where_original_code_enters(void **state)
{
    Func *fn = read_good(*state);
    fn->blocks[2].facts &= ~(uint32_t)BLOCK_ROOT;
    assert_broken(*state, fn, FACT_PLACED);
    fn = read_good(*state);
    fn->blocks[3].facts = BLOCK_ROOT;
    assert_broken(*state, fn, FACT_PLACED);
    fn = read_good(*state);
    fn->blocks[1].n_insns = 0;
    assert_broken(*state, fn, FACT_PLACED);
}

static void layout_wants_every_placed_block_once(void **state)
{
    Func *fn = read_good(*state);
    fn->n_layout = 2;
    assert_broken(*state, fn, FACT_LAYOUT);
    fn = read_good(*state);
    fn->layout[1] = fn->layout[0];
    assert_broken(*state, fn, FACT_LAYOUT);
    fn = read_good(*state);
    fn->layout[1].i = 3;
    assert_broken(*state, fn, FACT_LAYOUT);
    fn = read_good(*state);
    fn->n_cold = 4;
    assert_broken(*state, fn, FACT_LAYOUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_with_arena(a_good_function_holds_all_facts),
        unit_test_with_arena(code_wants_the_entry_in_the_first_extent),
        unit_test_with_arena(cfg_wants_ids_successors_and_order),
        unit_test_with_arena(counts_want_what_comes_in_to_go_out),
        unit_test_with_arena(counts_want_copies_to_sum_to_the_profile),
        unit_test_with_arena(tables_want_every_indirect_jump_explained),
        unit_test_with_arena(placed_wants_roots_where_original_code_enters),
        unit_test_with_arena(layout_wants_every_placed_block_once),
    };
    return cmocka_run_group_tests_name("facts", tests, NULL, NULL);
}
