/*
 * test_ext_tsp.c: the score against figures worked out by hand, the order against brute force on
 * small graphs, time on a large one.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/ext_tsp.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 33;
}

static void assert_near(double got, double wanted)
{
    if (fabs(got - wanted) > 1e-6 * (1 + fabs(wanted)))
        fail_msg("got %f, wanted %f", got, wanted);
}

static double score_of(const TspGraph *graph, const uint32_t *order)
{
    Arena *arena = arena_new();
    double score = ext_tsp_score(arena, graph, order);
    arena_free(arena);
    return score;
}

static void scores_as_worked_out_by_hand(void **state)
{
    (void)state;
    TspNode nodes[] = { { 10, 16, true }, { 10, 32, false }, { 10, 64, false } };
    TspEdge edges[] = {
        { 0, 1, 100, false }, { 0, 2, 50, false }, { 1, 2, 40, false }, { 2, 0, 30, false }
    };
    TspGraph graph = { nodes, 3, edges, 4, 0 };
    uint32_t order[] = { 0, 1, 2 };
    double wanted =
        100 * 1.0 + 50 * 0.1 * (1 - 32.0 / 1024) + 40 * 1.05 + 30 * 0.1 * (1 - 112.0 / 640);
    assert_near(score_of(&graph, order), wanted);
}

static void an_edge_beyond_its_bound_scores_nothing(void **state)
{
    (void)state;
    TspNode nodes[] = { { 1, 4, true }, { 1, 1025, true }, { 1, 4, true } };
    TspEdge forward[] = { { 0, 2, 9, false } };
    TspEdge backward[] = { { 2, 0, 9, false } };
    uint32_t order[] = { 0, 1, 2 };
    TspGraph graph = { nodes, 3, forward, 1, 0 };
    assert_near(score_of(&graph, order), 0);
    graph.edges = backward;
    assert_near(score_of(&graph, order), 0);
    nodes[1].size = 1024;
    graph.edges = forward;
    assert_near(score_of(&graph, order), 0);
    nodes[1].size = 512;
    assert_near(score_of(&graph, order), 9 * 0.1 * 0.5);
}

static bool is_permutation(const uint32_t *order, uint32_t n)
{
    bool seen[8192] = { false };
    for (uint32_t i = 0; i < n; i++) {
        if (order[i] >= n || seen[order[i]])
            return false;
        seen[order[i]] = true;
    }
    return true;
}

static double brute_force(const TspGraph *graph, uint32_t *order, uint32_t fixed)
{
    if (fixed == graph->n_nodes)
        return score_of(graph, order);
    double best = -1;
    for (uint32_t i = fixed; i < graph->n_nodes; i++) {
        uint32_t held = order[fixed];
        order[fixed] = order[i];
        order[i] = held;
        double score = brute_force(graph, order, fixed + 1);
        best = score > best ? score : best;
        order[i] = order[fixed];
        order[fixed] = held;
    }
    return best;
}

/* A random graph whose counts are those of a walk, so that flow is conserved but for the ends. */
static TspGraph random_graph(uint64_t *seed, TspNode *nodes, uint32_t n, TspEdge *edges)
{
    uint32_t n_edges = 0;
    for (uint32_t i = 0; i < n; i++) {
        nodes[i] = (TspNode){ 0, (uint32_t)(1 + next_random(seed) % 40), true };
        uint32_t one = (uint32_t)(next_random(seed) % n), two = (i + 1) % n;
        edges[n_edges++] = (TspEdge){ i, two, 0, false };
        if (one != two)
            edges[n_edges++] = (TspEdge){ i, one, 0, false };
        else
            nodes[i].branches = false;
    }
    uint32_t at = 0;
    for (uint32_t step = 0; step < 50 * n; step++) {
        uint32_t first = 0;
        while (edges[first].from != at)
            first++;
        bool two = first + 1 < n_edges && edges[first + 1].from == at;
        uint32_t pick = two && next_random(seed) % 8 < at % 8 ? first + 1 : first;
        nodes[at].count++;
        edges[pick].count++;
        at = edges[pick].to;
    }
    return (TspGraph){ nodes, n, edges, n_edges, 0 };
}

static void is_close_to_the_best_order_of_small_graphs(void **state)
{
    (void)state;
    uint64_t seed = 7;
    double sum_got = 0, sum_best = 0;
    for (int round = 0; round < 60; round++) {
        TspNode nodes[7];
        TspEdge edges[14];
        TspGraph graph = random_graph(&seed, nodes, 7, edges);
        uint32_t order[7], all[] = { 0, 1, 2, 3, 4, 5, 6 };
        Arena *arena = arena_new();
        ext_tsp_order(arena, &graph, order);
        arena_free(arena);
        assert_true(is_permutation(order, 7));
        assert_int_equal(order[0], 0);
        double got = score_of(&graph, order), best = brute_force(&graph, all, 1);
        assert_true(got <= best + 1e-6);
        assert_true(got >= 0.80 * best);
        sum_got += got;
        sum_best += best;
    }
    assert_true(sum_got >= 0.985 * sum_best);
}

static void keeps_pairs_that_must_fall_together(void **state)
{
    (void)state;
    uint64_t seed = 99;
    for (int round = 0; round < 40; round++) {
        TspNode nodes[20];
        TspEdge edges[41];
        TspGraph graph = random_graph(&seed, nodes, 20, edges);
        uint32_t from = (uint32_t)(next_random(&seed) % 19), to = from + 1, order[20];
        edges[graph.n_edges++] = (TspEdge){ from, to, 0, true };
        Arena *arena = arena_new();
        ext_tsp_order(arena, &graph, order);
        arena_free(arena);
        assert_true(is_permutation(order, 20));
        uint32_t i = 0;
        while (order[i] != from)
            i++;
        assert_true(i + 1 < 20 && order[i + 1] == to);
    }
}

static void a_cut_puts_the_loop_body_between(void **state)
{
    (void)state;
    /* 0 → 1 mostly, but 0 → 2 → 1 more often: 0 2 1 needs node 2 between the chain 0 1. */
    TspNode nodes[] = { { 100, 10, true }, { 100, 10, false }, { 55, 10, false } };
    TspEdge edges[] = { { 0, 1, 45, false }, { 0, 2, 55, false }, { 2, 1, 55, false } };
    TspGraph graph = { nodes, 3, edges, 3, 0 };
    uint32_t order[3], wanted[] = { 0, 2, 1 };
    Arena *arena = arena_new();
    ext_tsp_order(arena, &graph, order);
    arena_free(arena);
    assert_memory_equal(order, wanted, sizeof wanted);
}

static void cold_chains_keep_the_original_order_at_the_end(void **state)
{
    (void)state;
    TspNode nodes[] = {
        { 5, 10, true }, { 0, 10, false }, { 0, 10, true }, { 5, 10, false }, { 0, 10, false }
    };
    TspEdge edges[] = { { 0, 1, 0, false },
                        { 0, 3, 5, false },
                        { 1, 2, 0, false },
                        { 2, 4, 0, false },
                        { 2, 1, 0, false } };
    TspGraph graph = { nodes, 5, edges, 5, 0 };
    uint32_t order[5], wanted[] = { 0, 3, 1, 2, 4 };
    Arena *arena = arena_new();
    ext_tsp_order(arena, &graph, order);
    arena_free(arena);
    assert_memory_equal(order, wanted, sizeof wanted);
}

static void is_quick_and_repeatable_on_large_functions(void **state)
{
    (void)state;
    enum { N = 2500 };
    static TspNode nodes[N];
    static TspEdge edges[2 * N];
    static uint32_t order[2][N];
    uint64_t seed = 5;
    uint32_t n_edges = 0;
    for (uint32_t i = 0; i < N; i++) {
        nodes[i] = (TspNode){ 1 + next_random(&seed) % 1000, 4 + next_random(&seed) % 60, true };
        uint32_t near = (i + 2 + (uint32_t)(next_random(&seed) % 30)) % N;
        edges[n_edges++] = (TspEdge){ i, (i + 1) % N, nodes[i].count / 2, false };
        edges[n_edges++] = (TspEdge){ i, near, nodes[i].count / 2, false };
    }
    TspGraph graph = { nodes, N, edges, n_edges, 0 };
    clock_t begin = clock();
    for (int round = 0; round < 2; round++) {
        Arena *arena = arena_new();
        ext_tsp_order(arena, &graph, order[round]);
        arena_free(arena);
    }
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    assert_memory_equal(order[0], order[1], sizeof order[0]);
    assert_true(is_permutation(order[0], N));
    print_message("two layouts of %d nodes: %.2f s\n", N, seconds);
    assert_true(seconds < 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_as_worked_out_by_hand),
        cmocka_unit_test(an_edge_beyond_its_bound_scores_nothing),
        cmocka_unit_test(is_close_to_the_best_order_of_small_graphs),
        cmocka_unit_test(keeps_pairs_that_must_fall_together),
        cmocka_unit_test(a_cut_puts_the_loop_body_between),
        cmocka_unit_test(cold_chains_keep_the_original_order_at_the_end),
        cmocka_unit_test(is_quick_and_repeatable_on_large_functions),
    };
    return cmocka_run_group_tests_name("ext_tsp", tests, NULL, NULL);
}
