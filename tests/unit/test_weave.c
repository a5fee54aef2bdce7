/*
 * test_weave.c: overlapping runs → blocks, held against a table of all addresses.
 *
 * Code is made up: the instruction at each address has a size drawn for that address, so runs that
 * begin at different addresses read the same bytes in different ways until they meet.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/support/cmocka.h"

#include "core/profile_parts.h"

enum { CODE = 1 << 16, RUN_MOST = 24 };

typedef struct Code {
    uint8_t size[CODE]; /* of the instruction at each address */
    uint64_t count[CODE];
    uint64_t passes[CODE]; /* executions that went on to the next address without a branch */
    bool leader[CODE];
} Code;

static uint32_t next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*seed >> 33);
}

static Run make_run(Arena *arena, Code *code, uint64_t *seed, uint32_t within)
{
    uint32_t at = next_random(seed) % within;
    Run run = { .start = at, .n_insns = 1 + next_random(seed) % RUN_MOST };
    uint8_t *sizes = arena_many(arena, uint8_t, run.n_insns);
    run.count = next_random(seed) % 100;
    run.falls = next_random(seed) % 3 == 0;
    run.sizes = sizes;
    for (uint32_t i = 0; i < run.n_insns; i++) {
        bool goes_on = i + 1 < run.n_insns || run.falls;
        sizes[i] = code->size[at];
        code->count[at] += run.count;
        code->passes[at] += goes_on ? run.count : 0;
        run.last = at - (uint32_t)run.start;
        at += sizes[i];
    }
    run.size = at - (uint32_t)run.start;
    return run;
}

/* Every instruction of the block has its size and its count, and none but the first is a leader. */
static uint32_t expect_block(const Code *code, const ProfileBlock *block)
{
    uint64_t at = block->start.v;
    assert_non_null(block->insn_sizes);
    for (uint32_t i = 0; i < block->n_insns; i++) {
        assert_int_equal(block->insn_sizes[i], code->size[at]);
        assert_int_equal(block->count, code->count[at]);
        assert_true(i == 0 || !code->leader[at]);
        at += block->insn_sizes[i];
    }
    return block->n_insns;
}

static void expect_woven(Arena *arena, uint32_t n, uint32_t within, uint64_t seed)
{
    Code *code = arena_one(arena, Code);
    bool *begun = arena_many(arena, bool, CODE);
    for (uint32_t i = 0; i < CODE; i++)
        code->size[i] = (uint8_t)(1 + next_random(&seed) % 7);
    Run *runs = arena_many(arena, Run, n);
    uint64_t *leaders = arena_many(arena, uint64_t, n);
    for (uint32_t i = 0; i < n; i++)
        runs[i] = make_run(arena, code, &seed, within);
    for (uint32_t i = 0; i < n; i++) {
        leaders[i] = runs[next_random(&seed) % n].start;
        code->leader[leaders[i]] = true;
    }
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0, at = (uint32_t)runs[i].start; j < runs[i].n_insns;
             at += runs[i].sizes[j++])
            begun[at] = true;
    Woven woven;
    profile_weave(arena, runs, n, leaders, n, true, &woven);
    uint32_t n_insns = 0;
    for (uint32_t i = 0; i < woven.n_blocks; i++) {
        assert_true(i == 0 || woven.blocks[i - 1].start.v + woven.blocks[i - 1].size <=
                                  woven.blocks[i].start.v);
        n_insns += expect_block(code, &woven.blocks[i]);
    }
    for (uint32_t i = 0; i < CODE; i++)
        n_insns -= begun[i];
    assert_int_equal(n_insns, 0);
    for (uint32_t i = 0; i < woven.n_falls; i++)
        assert_int_equal(woven.falls[i].count, code->passes[woven.falls[i].from.v]);
}

static void weaves_runs_that_read_bytes_in_one_way_or_another(void **state)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        expect_woven(*state, 1, 100, seed);
        expect_woven(*state, 200, 1000, seed);
        expect_woven(*state, 3000, 4000, seed);
        expect_woven(*state, 3000, CODE - RUN_MOST * 7, seed); /* with gaps */
        arena_reset(*state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_with_arena(weaves_runs_that_read_bytes_in_one_way_or_another),
    };
    return cmocka_run_group_tests_name("weave", tests, NULL, NULL);
}
