/* Burst mode's arithmetic: which moments are for a look, what samples stand for, sums of them.
 * SPDX-License-Identifier: MIT */
#include "core/profile_parts.h"
#include "profiler/burst_share.h"
#include "tests/support/cmocka.h"
#include "tests/support/live_app.h"

/* ---- moments ------------------------------------------------------------------------------ */

enum { PERIOD = 10000000, SHARE = 10, MOMENTS = 6000 };

typedef struct Looks {
    uint64_t spent, taken;
} Looks;

/* Moments of a program whose look number n takes costs[n] ns; of all later ones `later`. */
static Looks run(const uint64_t *costs, uint64_t n_costs, uint64_t later, uint64_t moments)
{
    Looks looks = { 0 };
    for (uint64_t moment = 1; moment <= moments; moment++) {
        if (!burst_share_allows(PERIOD, SHARE, moment, looks.spent))
            continue;
        looks.spent += looks.taken < n_costs ? costs[looks.taken] : later;
        looks.taken++;
    }
    return looks;
}

static void cheap_looks_are_all_made(void **state)
{
    (void)state;
    Looks cheap = run(NULL, 0, PERIOD / 1000 * SHARE, MOMENTS);
    assert_int_equal(cheap.taken, MOMENTS);
}

static void a_dear_look_is_made_and_the_next_ones_pay(void **state)
{
    (void)state;
    const uint64_t dear = PERIOD / 1000 * SHARE * 50;
    assert_true(burst_share_allows(PERIOD, SHARE, 1, 0));
    assert_false(burst_share_allows(PERIOD, SHARE, 2, dear));
    assert_false(burst_share_allows(PERIOD, SHARE, 49, dear));
    assert_true(burst_share_allows(PERIOD, SHARE, 50, dear));
    Looks first = run(&dear, 1, 1, MOMENTS);
    assert_int_equal(first.taken, MOMENTS - 48);
}

/* Whatever looks cost, and whenever the program ends: the share, and one look. */
static void all_looks_cost_the_share_and_one_look_at_most(void **state)
{
    (void)state;
    enum { LOOKS = 64 };
    uint64_t costs[LOOKS], seed = 1;
    const uint64_t dearest = 7000000, share_of_moment = PERIOD / 1000 * SHARE;
    for (int i = 0; i < LOOKS; i++) {
        seed = seed * UINT64_C(6364136223846793005) + 1;
        costs[i] = (seed >> 33) % dearest;
    }
    for (uint64_t moments = 1; moments < MOMENTS; moments += 7)
        assert_true(run(costs, LOOKS, share_of_moment * 3, moments).spent <=
                    moments * share_of_moment + dearest);
}

static void a_run_without_end_goes_on(void **state)
{
    (void)state;
    assert_true(burst_share_allows(PERIOD, SHARE, UINT64_MAX, UINT64_MAX));
    assert_true(burst_share_allows(1000, 1000, UINT64_MAX / 1000, UINT64_MAX / 2));
}

/* ---- counts ------------------------------------------------------------------------------- */

/* A loop of two runs: 0x2000 (2 instructions) falls into 0x2006 (2), which goes back to itself. */
static LiveMaker sampled(uint64_t moments, uint64_t burst_ns, uint64_t rounds)
{
    LiveMaker maker = maker_with_app(1);
    maker.header.flags |= LIVE_SAMPLED;
    maker.header.moments = moments;
    maker.header.bursts = moments / 2;
    maker.header.burst_ns = burst_ns;
    maker.header.spent_ns = 100;
    live_maker_block(&maker, 0, at(0x2006), 4, 2, 2, LIVE_END_COND, at(0x2006), rounds, 1);
    return maker;
}

static const Profile *profile_of(Arena *arena, const LiveMaker *maker)
{
    Images *images = images_new(arena);
    const Profile *profile = NULL;
    Error err;
    assert_ok(
        profile_read_bytes(arena, "live", live_maker_file(arena, maker), images, &profile, &err),
        &err);
    images_close(images);
    return profile;
}

static uint64_t edge_count(const Profile *profile, EdgeKind kind)
{
    for (uint32_t i = 0; i < profile->modules[0].n_edges; i++)
        if (profile->modules[0].edges[i].kind == kind)
            return profile->modules[0].edges[i].count;
    return 0;
}

static void samples_stand_for_the_time_of_all_moments(void **state)
{
    Arena *arena = *state;
    /* 2 instructions a nanosecond of 40 moments of 1000 ns: 80,000; seen were 2 * 100. */
    LiveMaker maker = sampled(40, 1000, 99);
    const Profile *profile = profile_of(arena, &maker);
    enum { FACTOR = 80000 / 200 };
    assert_true(profile->sampled);
    assert_int_equal(profile->modules[0].blocks[0].count, 100 * FACTOR);
    assert_int_equal(edge_count(profile, EDGE_TAKEN), 99 * FACTOR);
    assert_int_equal(edge_count(profile, EDGE_FALL), FACTOR);
    assert_int_equal(profile->bursts.moments, 40);
    assert_int_equal(profile->bursts.taken, 20);
    assert_int_equal(profile->bursts.time_ns, 40000);
    assert_int_equal(profile->bursts.spent_ns, 100);
}

static void a_factor_is_a_whole_number_and_not_below_one(void **state)
{
    Arena *arena = *state;
    LiveMaker maker = sampled(1, 100, 149); /* 200 to 300 */
    assert_int_equal(profile_of(arena, &maker)->modules[0].blocks[0].count, 150);
    maker = sampled(4, 100, 149); /* 800 to 300 */
    assert_int_equal(profile_of(arena, &maker)->modules[0].blocks[0].count, 2 * 150);
}

static void samples_without_a_count_or_a_size_stay_as_they_are(void **state)
{
    Arena *arena = *state;
    LiveMaker maker = sampled(1000, 1000, 0);
    maker.counters[0][1] = 0; /* nothing was seen */
    assert_int_equal(profile_of(arena, &maker)->bursts.moments, 1000);
    maker = sampled(UINT64_MAX, 1000, 7);
    assert_int_equal(profile_of(arena, &maker)->modules[0].blocks[0].count, 8);
}

static void exact_counts_are_not_scaled(void **state)
{
    Arena *arena = *state;
    LiveMaker maker = sampled(40, 1000, 99);
    maker.header.flags &= ~(uint32_t)LIVE_SAMPLED;
    const Profile *profile = profile_of(arena, &maker);
    assert_int_equal(profile->modules[0].blocks[0].count, 100);
    assert_int_equal(profile->bursts.moments, 0);
}

/* ---- sums --------------------------------------------------------------------------------- */

/* Processes that ran for one time weigh the same, however densely each was looked at. */
static void processes_weigh_by_their_time(void **state)
{
    Arena *arena = *state;
    LiveMaker dense = sampled(1000, 1000, 999), rare = sampled(10, 100000, 9);
    LiveMaker longer = sampled(30, 100000, 9);
    const Profile *parts[] = { profile_of(arena, &dense), profile_of(arena, &rare),
                               profile_of(arena, &longer) };
    const Profile *all = NULL;
    Error err;
    assert_int_equal(parts[0]->modules[0].blocks[0].count, parts[1]->modules[0].blocks[0].count);
    assert_int_equal(3 * parts[1]->modules[0].blocks[0].count,
                     parts[2]->modules[0].blocks[0].count);
    assert_ok(profile_merge(arena, parts, 3, &all, &err), &err);
    assert_true(all->sampled);
    assert_int_equal(all->modules[0].blocks[0].count, 5 * parts[0]->modules[0].blocks[0].count);
    assert_int_equal(all->bursts.moments, 1040);
    assert_int_equal(all->bursts.taken, 520);
    assert_int_equal(all->bursts.time_ns, 5000000);
    assert_int_equal(all->bursts.spent_ns, 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cheap_looks_are_all_made),
        cmocka_unit_test(a_dear_look_is_made_and_the_next_ones_pay),
        cmocka_unit_test(all_looks_cost_the_share_and_one_look_at_most),
        cmocka_unit_test(a_run_without_end_goes_on),
        unit_test_with_arena(samples_stand_for_the_time_of_all_moments),
        unit_test_with_arena(a_factor_is_a_whole_number_and_not_below_one),
        unit_test_with_arena(samples_without_a_count_or_a_size_stay_as_they_are),
        unit_test_with_arena(exact_counts_are_not_scaled),
        unit_test_with_arena(processes_weigh_by_their_time),
    };
    return cmocka_run_group_tests_name("burst", tests, live_app_set_up, live_app_tear_down);
}
