/*
 * test_cache_doors.c: room for doors near code that lies all over the address space.
 *
 *     |arena|code   …   |arena|code   …   code without a door: it keeps the old entry
 *
 * The cache remembers a number of places and no more. When they are used up, what is far from all
 * of them gets no room, what is near one still does, and programs run as before.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/cache.h"
#include "support/cmocka.h"
#include "support/machine.h"

#include <stdlib.h>

enum {
    DOOR = 32,     /* bytes of a door */
    APART = 40,    /* bits: a terabyte from one to the next */
    REACH = 31,    /* bits: of a jump's distance */
    FIRST = 20,    /* of them: below it lies what sanitizers keep for themselves */
    TRIED = 100,   /* of the 127 that the address space has room for */
    EXPECTED = 32, /* places at least, and not all that were tried */
};

static uint64_t place(uint64_t number)
{
    return (FIRST + number) << APART;
}

static bool door_near(uint64_t near, CacheRoom *room)
{
    return cache_door_room(near, DOOR, room);
}

static uint64_t distance(const uint8_t *from, uint64_t to)
{
    uint64_t at = (uint64_t)from;
    return at < to ? to - at : at - to;
}

/* inc rax, as often as it is run. */
static void expect_to_run(void)
{
    enum { TIMES = 200 };
    static const uint8_t code[] = { 0x48, 0xff, 0xc0 };
    static MachineState state;
    uint64_t seed = 1;
    machine_load(code, sizeof code);
    machine_randomize(&state, &seed);
    for (uint64_t i = 0; i < TIMES; i++) {
        state.reg[R_RAX] = i;
        machine_run_interp(&state);
        assert_int_equal(state.signal, 0);
        assert_int_equal(state.reg[R_RAX], i + 1);
    }
}

static void doors_run_out_and_programs_do_not(void **state)
{
    (void)state;
    CacheRoom first, room;
    uint64_t n = 0;
    assert_true(door_near(place(1), &first));
    cache_keep(&first, NULL);
    while (n < TRIED && door_near(place(n + 1), &room)) {
        n++;
        assert_true(distance(room.cold.at, place(n)) < UINT64_C(1) << REACH);
        assert_true(distance(room.cold.at + DOOR, place(n)) < UINT64_C(1) << REACH);
        assert_true(cache_owns((uint64_t)room.cold.at));
    }
    assert_true(n >= EXPECTED && n < TRIED);
    uint32_t places = cache_n_arenas();
    assert_false(door_near(place(n + 1), &room));
    assert_false(door_near(place(n + 2), &room));
    assert_int_equal(cache_n_arenas(), places);
    assert_true(door_near(place(1), &room));
    assert_ptr_equal(room.arena, first.arena);
    expect_to_run();
}

int main(void)
{
    setenv("VM_ENGINE", "translate", 1);
    machine_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(doors_run_out_and_programs_do_not),
    };
    return cmocka_run_group_tests_name("cache-doors", tests, NULL, NULL);
}
