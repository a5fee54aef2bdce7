/*
 * test_cdsort.c: small call graphs whose best order is plain, and repeatability on a large one.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/cdsort.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static void sort_into(const CdGraph *graph, uint32_t *order)
{
    Arena *arena = arena_new();
    cdsort_order(arena, graph, order);
    arena_free(arena);
}

static void puts_caller_and_callee_side_by_side(void **state)
{
    (void)state;
    CdNode nodes[] = { { 100, 1000 }, { 90, 1000 }, { 100, 1000 }, { 90, 1000 } };
    CdCall calls[] = { { 0, 3, 900, 90 }, { 2, 1, 900, 90 } };
    CdGraph graph = { nodes, 4, calls, 2 };
    uint32_t order[4], wanted[] = { 0, 3, 2, 1 };
    sort_into(&graph, order);
    assert_memory_equal(order, wanted, sizeof wanted);
}

static void puts_the_callee_first_when_the_call_is_near_the_start(void **state)
{
    (void)state;
    CdNode nodes[] = { { 100, 4000 }, { 100, 50 } };
    CdCall calls[] = { { 0, 1, 8, 100 } };
    CdGraph graph = { nodes, 2, calls, 1 };
    uint32_t order[2], wanted[] = { 1, 0 };
    sort_into(&graph, order);
    assert_memory_equal(order, wanted, sizeof wanted);
}

static void lays_dense_chains_first(void **state)
{
    (void)state;
    CdNode nodes[] = { { 1, 100 }, { 50, 100 }, { 0, 100 }, { 9, 10 } };
    CdGraph graph = { nodes, 4, NULL, 0 };
    uint32_t order[4], wanted[] = { 3, 1, 0, 2 };
    sort_into(&graph, order);
    assert_memory_equal(order, wanted, sizeof wanted);
}

static void ignores_calls_of_a_node_to_itself(void **state)
{
    (void)state;
    CdNode nodes[] = { { 10, 10 } };
    CdCall calls[] = { { 0, 0, 5, 1000 } };
    CdGraph graph = { nodes, 1, calls, 1 };
    uint32_t order[1] = { 7 };
    sort_into(&graph, order);
    assert_int_equal(order[0], 0);
}

static void is_quick_and_repeatable_on_large_programs(void **state)
{
    (void)state;
    enum { N = 20000, CALLS = 80000 };
    static CdNode nodes[N];
    static CdCall calls[CALLS];
    static uint32_t order[2][N];
    static bool seen[N];
    uint32_t seed = 3;
    for (uint32_t i = 0; i < N; i++) {
        seed = seed * 1664525 + 1013904223;
        nodes[i] = (CdNode){ seed >> 20, 16 + (seed >> 8) % 4000 };
    }
    for (uint32_t i = 0; i < CALLS; i++) {
        seed = seed * 1664525 + 1013904223;
        uint32_t from = (seed >> 8) % N;
        seed = seed * 1664525 + 1013904223;
        /* a few functions are called from everywhere */
        uint32_t to = (seed >> 8) % (i % 3 == 0 ? 20 : N);
        calls[i] = (CdCall){ from, to, nodes[from].size / 2, nodes[from].count };
    }
    CdGraph graph = { nodes, N, calls, CALLS };
    clock_t begin = clock();
    sort_into(&graph, order[0]);
    sort_into(&graph, order[1]);
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    print_message("two sorts of %d functions: %.2f s\n", N, seconds);
    assert_memory_equal(order[0], order[1], sizeof order[0]);
    for (uint32_t i = 0; i < N; i++) {
        assert_true(order[0][i] < N && !seen[order[0][i]]);
        seen[order[0][i]] = true;
    }
    assert_true(seconds < 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(puts_caller_and_callee_side_by_side),
        cmocka_unit_test(puts_the_callee_first_when_the_call_is_near_the_start),
        cmocka_unit_test(lays_dense_chains_first),
        cmocka_unit_test(ignores_calls_of_a_node_to_itself),
        cmocka_unit_test(is_quick_and_repeatable_on_large_programs),
    };
    return cmocka_run_group_tests_name("cdsort", tests, NULL, NULL);
}
