/*
 * test_flow.c: cycles and liveness, held against plain searches on random functions.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/support/cmocka.h"

#include "optimizer/cycles.h"
#include "optimizer/liveness.h"

enum { BLOCKS = 9, ROUNDS = 300 };

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 10;
}

static void add(Func *fn, BlockId block, const uint8_t *bytes, size_t size)
{
    Insn insn;
    assert_true(insn_decode((Bytes){ bytes, size }, func_block(fn, block)->start, &insn));
    block_add_insn(fn, block, &insn);
}

/* A block of moves between registers, and a branch, a return or a fall-through at its end. */
static void fill_block(Func *fn, BlockId id, uint32_t *seed)
{
    static const uint8_t jcc[] = { 0x0f, 0x85, 0, 0, 0, 0 }, jmp[] = { 0xe9, 0, 0, 0, 0 },
                         ret[] = { 0xc3 }, call[] = { 0xe8, 0, 0, 0, 0 };
    uint32_t kind = next_random(seed) % 8;
    for (uint32_t i = next_random(seed) % 4; i > 0; i--) {
        uint8_t mov[] = { 0x89, (uint8_t)(0xc0 | (next_random(seed) % 64)) };
        add(fn, id, mov, sizeof mov);
    }
    if (next_random(seed) % 12 == 0)
        add(fn, id, call, sizeof call);
    if (kind < 4)
        add(fn, id, jcc, sizeof jcc);
    else if (kind < 6)
        add(fn, id, jmp, sizeof jmp);
    else if (kind == 6)
        add(fn, id, ret, sizeof ret);
    Block *block = func_block(fn, id);
    block->n_succ = kind < 4 ? 2 : kind == 6 ? 0 : 1;
    block->succ = arena_many(fn->arena, Succ, 2);
    for (uint32_t s = 0; s < block->n_succ; s++) {
        BlockId to = { next_random(seed) % BLOCKS };
        bool leaves = next_random(seed) % 16 == 0;
        block->succ[s] = (Succ){ leaves ? NO_BLOCK : to, vaddr(0x100 * (uint64_t)to.i), 0,
                                 s == 0 ? SUCC_TAKEN : SUCC_FALL };
    }
}

static Func *random_func(Arena *arena, uint32_t *seed)
{
    Func *fn = arena_one(arena, Func);
    fn->arena = arena;
    for (uint32_t i = 0; i < BLOCKS; i++)
        func_block(fn, func_add_block(fn))->start = vaddr(0x100 * (uint64_t)i);
    for (uint32_t i = 0; i < BLOCKS; i++)
        fill_block(fn, (BlockId){ i }, seed);
    return fn;
}

/* reach[i][k]: a path of at least one edge leads from i to k inside `in`. */
static void find_reach(const Func *fn, const bool *in, bool reach[BLOCKS][BLOCKS])
{
    for (uint32_t i = 0; i < BLOCKS; i++) {
        for (uint32_t s = 0; in[i] && s < fn->blocks[i].n_succ; s++) {
            BlockId to = fn->blocks[i].succ[s].to;
            if (is_block(to) && in[to.i])
                reach[i][to.i] = true;
        }
    }
    for (uint32_t via = 0; via < BLOCKS; via++) {
        for (uint32_t i = 0; i < BLOCKS; i++) {
            for (uint32_t k = 0; k < BLOCKS; k++)
                reach[i][k] |= reach[i][via] && reach[via][k];
        }
    }
}

static void cycles_are_blocks_that_reach_each_other(void **state)
{
    (void)state;
    uint32_t seed = 1;
    for (int round = 0; round < ROUNDS; round++) {
        Arena *arena = arena_new();
        const Func *fn = random_func(arena, &seed);
        bool in[BLOCKS], reach[BLOCKS][BLOCKS] = { { false } };
        for (uint32_t i = 0; i < BLOCKS; i++)
            in[i] = next_random(&seed) % 4 != 0;
        find_reach(fn, in, reach);
        const uint32_t *part = find_cycles(arena, fn, in);
        for (uint32_t i = 0; i < BLOCKS; i++) {
            assert_int_equal(part[i] != NO_CYCLE, reach[i][i]);
            for (uint32_t k = 0; k < BLOCKS; k++) {
                bool together = part[i] != NO_CYCLE && part[i] == part[k];
                assert_int_equal(together, reach[i][k] && reach[k][i]);
            }
        }
        arena_free(arena);
    }
}

/* True when some path from instruction `insn` of the block reads `reg` before writing it. */
static bool may_read(const Func *fn, uint32_t block, uint32_t insn, int reg, bool *seen)
{
    const Block *at = &fn->blocks[block];
    const Insn *last = block_last(at);
    if (insn == 0 && seen[block])
        return false;
    if (insn == 0)
        seen[block] = true;
    for (uint32_t i = insn; i < at->n_insns; i++) {
        InsnEffects effects;
        insn_effects(&at->insns[i], &effects);
        if (effects.barrier || at->insns[i].flow == FLOW_CALL || at->insns[i].flow == FLOW_RET ||
            (effects.reads >> reg & 1) != 0)
            return true;
        if ((effects.writes >> reg & 1) != 0)
            return false;
    }
    if (at->n_succ == 0 || last == NULL)
        return true;
    for (uint32_t s = 0; s < at->n_succ; s++) {
        if (!is_block(at->succ[s].to) || may_read(fn, at->succ[s].to.i, 0, reg, seen))
            return true;
    }
    return false;
}

static void a_register_is_live_when_a_path_reads_it(void **state)
{
    (void)state;
    uint32_t seed = 2, dead = 0;
    for (int round = 0; round < ROUNDS; round++) {
        Arena *arena = arena_new();
        const Func *fn = random_func(arena, &seed);
        Liveness liveness = liveness_of(arena, fn);
        for (uint32_t i = 0; i < BLOCKS; i++) {
            uint32_t insn = next_random(&seed) % (fn->blocks[i].n_insns + 1);
            Live live = live_before(&liveness, (BlockId){ i }, insn);
            for (int reg = 0; reg < 8; reg++) {
                bool seen[BLOCKS] = { false };
                bool wanted = may_read(fn, i, insn, reg, seen);
                assert_int_equal(live.regs >> reg & 1, wanted);
                dead += wanted ? 0 : 1;
            }
        }
        arena_free(arena);
    }
    assert_true(dead > ROUNDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cycles_are_blocks_that_reach_each_other),
        cmocka_unit_test(a_register_is_live_when_a_path_reads_it),
    };
    return cmocka_run_group_tests_name("flow", tests, NULL, NULL);
}
