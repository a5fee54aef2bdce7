/*
 * test_order_regions.c: regions of a small program: every placed block once, hot before cold, in
 * the order of the call graph or in the one that was asked for.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/passes.h"
#include "tests/support/cmocka.h"

enum { FUNCS = 6, APART = 0x1000, EDGES_MOST = 8, STUB = 0x100 };

typedef struct World {
    Arena *arena;
    Program program;
    Func funcs[FUNCS];
    ProfileModule counts;
    ProfileEdge edges[EDGES_MOST];
    OptimizeOptions options;
    Bind bind;
    Plan plan;
} World;

static uint64_t address(uint32_t fn)
{
    return (uint64_t)(fn + 1) * APART;
}

/* Functions of a hot entry A, a hot block B and a copied cold block C; the last one has no layout.
 */
static World *new_world(Arena *arena)
{
    World *world = arena_one(arena, World);
    world->arena = arena;
    for (uint32_t i = 0; i < FUNCS; i++) {
        unsigned at = (unsigned)address(i);
        const char *layout = i + 1 == FUNCS ? "" : "layout B A | C\n";
        const char *text =
            arena_printf(arena,
                         "func 0x%x\nextent 0x%x 0x%x\n"
                         "A 0x%x count 9 entry hot root:\n    0x%x nop | 90\n"
                         "    -> B fall 9\n"
                         "B 0x%x count 9 hot:\n    0x%x ret | c3\n"
                         "C 0x%x count 0 cold-copy:\n    0x%x ret | c3\n%s",
                         at, at, at + 3, at, at, at + 1, at + 1, at + 2, at + 2, layout);
        Func *fn;
        Error err;
        assert_ok(func_read_text(arena, text, &fn, &err), &err);
        world->funcs[i] = *fn;
        world->funcs[i].id = (FuncId){ i };
    }
    world->program = (Program){ .arena = arena, .funcs = world->funcs, .n_funcs = FUNCS };
    program_index_extents(&world->program);
    world->counts.edges = world->edges;
    return world;
}

static ProfileEdge *add_call(World *world, uint32_t from, uint64_t to, uint64_t count)
{
    ProfileEdge *edge = &world->edges[world->counts.n_edges++];
    *edge =
        (ProfileEdge){ .kind = EDGE_CALL, .from = { address(from) }, .to = { to }, .count = count };
    return edge;
}

static void order(World *world)
{
    Context ctx = { .arena = world->arena,
                    .scratch = arena_new(),
                    .counts = &world->counts,
                    .options = &world->options,
                    .program = &world->program };
    world->plan.regions = NULL;
    world->plan.n_regions = 0;
    order_regions(&ctx, &world->plan);
    arena_free(ctx.scratch);
}

/* Where the function's hot region stands. */
static uint32_t place_of(const World *world, uint32_t fn)
{
    for (uint32_t i = 0; i < world->plan.n_regions; i++)
        if (world->plan.regions[i].fn.i == fn && !world->plan.regions[i].cold)
            return i;
    fail_msg("function %u has no hot region", fn);
    return 0;
}

static bool are_neighbours(const World *world, uint32_t left, uint32_t right)
{
    uint32_t a = place_of(world, left), b = place_of(world, right);
    return a + 1 == b || b + 1 == a;
}

/* Each placed block stands in one region, and in no other; hot regions first, aligned. */
static void expect_whole(const World *world)
{
    uint32_t placed = 0, hot = 0;
    uint32_t seen[FUNCS] = { 0 };
    for (uint32_t i = 0; i < world->plan.n_regions; i++) {
        const Region *region = &world->plan.regions[i];
        assert_int_equal(region->align, region->cold ? 0 : 4);
        assert_true(region->cold || hot == i);
        hot += !region->cold;
        for (uint32_t b = 0; b < region->n_blocks; b++, placed++) {
            uint32_t bit = 1u << region->blocks[b].i;
            assert_int_equal(seen[region->fn.i] & bit, 0);
            seen[region->fn.i] |= bit;
        }
    }
    assert_int_equal(placed, 3 * (FUNCS - 1));
    assert_int_equal(seen[FUNCS - 1], 0);
}

static void every_block_stands_once(void **state)
{
    static const OrderChoice choices[] = { ORDER_BEST, ORDER_REVERSE, ORDER_RANDOM,
                                           ORDER_ORIGINAL };
    for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++) {
        World *world = new_world(*state);
        world->options.regions = choices[i];
        add_call(world, 0, address(3), 1000);
        order(world);
        assert_int_equal(world->plan.n_regions, 2 * (FUNCS - 1));
        expect_whole(world);
    }
}

static void the_hot_part_ends_where_the_cold_one_begins(void **state)
{
    World *world = new_world(*state);
    order(world);
    const Region *hot = &world->plan.regions[place_of(world, 0)];
    const Region *cold = &world->plan.regions[FUNCS - 1];
    assert_int_equal(hot->n_blocks, 2);
    assert_int_equal(hot->blocks[0].i, 1); /* the layout's order, not that of the blocks */
    assert_int_equal(cold->fn.i, 0);
    assert_int_equal(cold->n_blocks, 1);
    assert_int_equal(cold->blocks[0].i, 2);
}

static void who_calls_stands_beside_whom_it_calls(void **state)
{
    World *world = new_world(*state);
    add_call(world, 0, address(3), 100000);
    add_call(world, 4, address(1), 90000);
    add_call(world, 2, address(2), 99999); /* itself: says nothing */
    order(world);
    assert_true(are_neighbours(world, 0, 3));
    assert_true(are_neighbours(world, 4, 1));
    expect_whole(world);
}

static void jumps_and_indirect_calls_count_as_calls(void **state)
{
    static const uint8_t kinds[] = { EDGE_CALL_IND, EDGE_JUMP, EDGE_TAKEN, EDGE_JUMP_IND };
    for (size_t i = 0; i < sizeof kinds; i++) {
        World *world = new_world(*state);
        add_call(world, 0, address(3), 100000)->kind = kinds[i];
        order(world);
        assert_true(are_neighbours(world, 0, 3));
    }
}

static void a_call_of_another_module_counts_for_nothing(void **state)
{
    World *world = new_world(*state);
    add_call(world, 0, address(3), 100000)->to_module = 1;
    order(world);
    assert_false(are_neighbours(world, 0, 3));
}

static void a_bound_stub_stands_for_its_function(void **state)
{
    World *world = new_world(*state);
    add_call(world, 0, STUB, 100000);
    order(world);
    assert_false(are_neighbours(world, 0, 3));
    world->bind = (Bind){ .stub = { STUB }, .fn = { 3 } };
    world->plan.binds = &world->bind;
    world->plan.n_binds = 1;
    order(world);
    assert_true(are_neighbours(world, 0, 3));
}

static void a_seed_gives_an_order_and_gives_it_again(void **state)
{
    World *world = new_world(*state);
    uint32_t first[FUNCS], differ = 0;
    world->options.regions = ORDER_RANDOM;
    for (uint64_t seed = 0; seed < 20; seed++) {
        world->options.seed = seed;
        order(world);
        for (uint32_t i = 0; i + 1 < FUNCS; i++)
            first[i] = place_of(world, i);
        order(world);
        for (uint32_t i = 0; i + 1 < FUNCS; i++) {
            assert_int_equal(place_of(world, i), first[i]);
            differ += first[i] != i;
        }
    }
    assert_true(differ > 20);
}

static void the_order_can_be_the_original_or_its_reverse(void **state)
{
    World *world = new_world(*state);
    add_call(world, 0, address(3), 100000);
    world->options.regions = ORDER_ORIGINAL;
    order(world);
    for (uint32_t i = 0; i + 1 < FUNCS; i++)
        assert_int_equal(place_of(world, i), i);
    world->options.regions = ORDER_REVERSE;
    order(world);
    for (uint32_t i = 0; i + 1 < FUNCS; i++)
        assert_int_equal(place_of(world, i), FUNCS - 2 - i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_with_arena(every_block_stands_once),
        unit_test_with_arena(the_hot_part_ends_where_the_cold_one_begins),
        unit_test_with_arena(who_calls_stands_beside_whom_it_calls),
        unit_test_with_arena(jumps_and_indirect_calls_count_as_calls),
        unit_test_with_arena(a_call_of_another_module_counts_for_nothing),
        unit_test_with_arena(a_bound_stub_stands_for_its_function),
        unit_test_with_arena(a_seed_gives_an_order_and_gives_it_again),
        unit_test_with_arena(the_order_can_be_the_original_or_its_reverse),
    };
    return cmocka_run_group_tests_name("order-regions", tests, NULL, NULL);
}
