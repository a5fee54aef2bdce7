/* A run's profiles, a file a process: read, folded, finished. SPDX-License-Identifier: MIT */
#include "core/profile_parts.h"
#include "tests/support/cmocka.h"
#include "tests/support/live_app.h"

#include <sys/wait.h>
#include <unistd.h>

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
    return arena_printf(arena, "%s.live-%016x-7-%u", live_app_out_path(), LIVE_APP_RUN, n);
}

/* What a fold that dies leaves of a sibling that sum `sum` holds. */
static const char *claimed_path(Arena *arena, unsigned n, unsigned sum)
{
    return arena_printf(arena, "%s.in-%u", sibling_path(arena, n), sum);
}

static const char *sum_path(Arena *arena, unsigned n)
{
    return arena_printf(arena, "%s.live-%016x-sum-%u", live_app_out_path(), LIVE_APP_RUN, n);
}

static void put_live(Arena *arena, const char *path, const LiveMaker *maker)
{
    live_app_write_file(path, live_maker_file(arena, maker));
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static void finish_run(void)
{
    Error err;
    assert_ok(profile_finish(live_app_out_path(), NULL, &err), &err);
}

static void fold_run(uint64_t run)
{
    Error err;
    assert_ok(profile_fold(live_app_out_path(), run, &err), &err);
}

/* The first block's count in all of the run, and how many processes it is of. */
static const Profile *expect_run(Arena *arena, uint64_t count, uint32_t n_processes)
{
    const Profile *profile = NULL;
    Error err;
    assert_ok(profile_read(arena, live_app_out_path(), &profile, &err), &err);
    assert_int_equal(profile->modules[0].blocks[0].count, count);
    assert_int_equal(profile->n_processes, n_processes);
    return profile;
}

enum { EACH = 4, ALIVE = 2, STRANGER = 3 };

static void finishing_sums_what_has_ended(void **state)
{
    Arena *arena = *state;
    LiveMaker first = usual_maker(1), ended = usual_maker(2), stranger = usual_maker(3);
    LiveMaker killed = usual_maker(dead_pid()), alive = usual_maker((uint32_t)getpid());
    killed.header.flags = alive.header.flags = 0;
    strcpy(ended.header.command, "a child");
    stranger.header.run = LIVE_APP_RUN + 1;
    put_live(arena, live_app_out_path(), &first);
    put_live(arena, sibling_path(arena, 0), &ended);
    put_live(arena, sibling_path(arena, 1), &killed);
    put_live(arena, sibling_path(arena, ALIVE), &alive);
    put_live(arena, sibling_path(arena, STRANGER), &stranger);

    assert_string_equal(expect_run(arena, 4 * EACH, 4)->command, "made by hand");
    finish_run();
    assert_false(exists(sibling_path(arena, 0)));
    assert_false(exists(sibling_path(arena, 1)));
    assert_true(exists(sibling_path(arena, ALIVE)));
    assert_false(expect_run(arena, 4 * EACH, 4)->complete);

    alive.counters[0][0] += 10; /* goes on, and ends */
    alive.header.flags = LIVE_ENDED;
    put_live(arena, sibling_path(arena, ALIVE), &alive);
    expect_run(arena, 4 * EACH + 10, 4);
    finish_run();
    assert_false(exists(sibling_path(arena, ALIVE)));
    expect_run(arena, 4 * EACH + 10, 4);
    assert_int_equal(unlink(sibling_path(arena, STRANGER)), 0);
}

/* A run of a parent and children, all of which have ended but one; each counts EACH. */
enum { CHILDREN = 30, STILL_ALIVE = 7 };

static void make_family(Arena *arena, const LiveMaker *ended)
{
    LiveMaker first = usual_maker(1), alive = usual_maker((uint32_t)getpid());
    alive.header.flags = 0;
    put_live(arena, live_app_out_path(), &first);
    for (unsigned i = 0; i < CHILDREN; i++)
        put_live(arena, sibling_path(arena, i), i == STILL_ALIVE ? &alive : ended);
}

static void expect_family(Arena *arena, uint32_t n_processes)
{
    expect_run(arena, EACH * n_processes, n_processes);
}

static void end_family(Arena *arena, uint32_t n_processes)
{
    finish_run();
    expect_family(arena, n_processes);
    fold_run(LIVE_APP_RUN); /* not live any more */
    assert_int_equal(unlink(sibling_path(arena, STILL_ALIVE)), 0);
}

static void ended_children_are_folded(void **state)
{
    Arena *arena = *state;
    LiveMaker ended = usual_maker(2);
    make_family(arena, &ended);
    expect_family(arena, CHILDREN + 1);
    fold_run(LIVE_APP_RUN + 1);
    assert_true(exists(sibling_path(arena, 0))); /* another run's */
    fold_run(LIVE_APP_RUN);
    assert_true(exists(sum_path(arena, 1)));
    assert_false(exists(sibling_path(arena, 0)));
    assert_true(exists(sibling_path(arena, STILL_ALIVE)));
    expect_family(arena, CHILDREN + 1);
    end_family(arena, CHILDREN + 1);
    assert_false(exists(sum_path(arena, 1)));
}

/* Whatever a fold that was killed leaves behind, each child counts once. */
static void a_fold_that_dies_counts_no_child_twice(void **state)
{
    Arena *arena = *state;
    LiveMaker ended = usual_maker(2);
    make_family(arena, &ended);
    fold_run(LIVE_APP_RUN);
    put_live(arena, claimed_path(arena, 0, 1),
             &ended); /* it died before it removed what sum 1 holds */
    expect_family(arena, CHILDREN + 1);
    put_live(arena, claimed_path(arena, 1, 2), &ended); /* before it wrote sum 2 */
    expect_family(arena, CHILDREN + 2);

    enum { LATER = 20 };
    for (unsigned i = 0; i < LATER; i++)
        put_live(arena, sibling_path(arena, CHILDREN + i), &ended);
    fold_run(LIVE_APP_RUN);
    const char *stillborn = arena_printf(arena, "%s.live-%016x-%u-0", live_app_out_path(),
                                         LIVE_APP_RUN, (unsigned)dead_pid());
    live_app_write_file(stillborn, (Bytes){ (const uint8_t *)"\0\0\0\0", 4 });
    expect_family(arena, CHILDREN + 2 + LATER);
    assert_false(exists(sum_path(arena, 1)));
    assert_false(exists(claimed_path(arena, 0, 1)));
    end_family(arena, CHILDREN + 2 + LATER);
    assert_false(exists(sum_path(arena, 2)));
    assert_false(exists(stillborn));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_with_arena(finishing_sums_what_has_ended),
        unit_test_with_arena(ended_children_are_folded),
        unit_test_with_arena(a_fold_that_dies_counts_no_child_twice),
    };
    return cmocka_run_group_tests_name("runs of several processes", tests, live_app_set_up,
                                       live_app_tear_down);
}
