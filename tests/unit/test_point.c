/*
 * test_point.c: points of traces, packed and found again.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/point.h"
#include "support/cmocka.h"

enum { MOST = 400, ROUNDS = 3000 };

static TracePoint points[MOST];
static uint8_t packed[MOST * POINT_MOST_BYTES + 1];
static uint64_t seed;

static uint32_t draw(uint32_t below)
{
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (uint32_t)(seed >> 33) % below;
}

/* What a binary search over the array itself says. */
static const TracePoint *search(uint32_t n, uint32_t offset)
{
    const TracePoint *last = NULL;
    for (uint32_t i = 0; i < n && points[i].offset <= offset; i++)
        last = &points[i];
    return last != NULL && offset - last->offset < last->size ? last : NULL;
}

static void expect_found(uint32_t n, uint32_t offset)
{
    TracePoint found;
    const TracePoint *wanted = search(n, offset);
    assert_int_equal(point_find(packed, n, offset, &found), wanted != NULL);
    if (wanted == NULL)
        return;
    assert_int_equal(found.offset, wanted->offset);
    assert_int_equal(found.block, wanted->block);
    assert_int_equal(found.insn, wanted->insn);
    assert_int_equal(found.size, wanted->size);
    assert_int_equal(found.spilled, wanted->spilled);
    assert_int_equal(found.clean, wanted->clean);
    assert_int_equal(found.flat, wanted->flat);
}

/* Every point is found at its first and last byte, and what is beside it as it was. */
static size_t expect_kept(uint32_t n)
{
    packed[n * POINT_MOST_BYTES] = 0xa5;
    size_t size = point_pack(points, n, packed);
    assert_true(size <= (size_t)n * POINT_MOST_BYTES);
    assert_int_equal(packed[n * POINT_MOST_BYTES], 0xa5);
    for (uint32_t i = 0; i < n; i++) {
        expect_found(n, points[i].offset - 1);
        expect_found(n, points[i].offset);
        expect_found(n, points[i].offset + points[i].size - 1);
        expect_found(n, points[i].offset + points[i].size);
    }
    return size;
}

static void finds_what_traces_hold(void **state)
{
    (void)state;
    uint32_t offset = 0, n = MOST;
    for (uint32_t i = 0; i < n; i++) {
        bool next = i % 5 == 4;
        points[i] = (TracePoint){ .offset = offset,
                                  .block = (uint8_t)(i / 5),
                                  .insn = (uint8_t)(i % 5),
                                  .size = (uint8_t)(2 + i % 6),
                                  .clean = 1 };
        offset += points[i].size + (next ? 9u : 0u);
    }
    size_t size = expect_kept(n);
    assert_true(size <= n + n / 5); /* one byte each, and one for each gap */
}

static void finds_whatever_there_is(void **state)
{
    (void)state;
    for (seed = 1; seed < ROUNDS;) {
        uint64_t round = seed;
        uint32_t offset = 0, n = 1 + draw(24);
        uint32_t step = 1u << draw(24);
        for (uint32_t i = 0; i < n; i++) {
            points[i] = (TracePoint){ .offset = offset += draw(step),
                                      .block = (uint8_t)draw(256),
                                      .insn = (uint8_t)draw(256),
                                      .size = (uint8_t)draw(256),
                                      .spilled = draw(4) & 3,
                                      .clean = draw(2) & 1,
                                      .flat = draw(32) & 31 };
        }
        expect_kept(n);
        seed = round + 1;
    }
}

static void keeps_extremes(void **state)
{
    (void)state;
    const TracePoint least = { 0 };
    const TracePoint most = { .offset = UINT32_MAX,
                              .block = UINT8_MAX,
                              .insn = UINT8_MAX,
                              .size = UINT8_MAX,
                              .spilled = 3,
                              .clean = 1,
                              .flat = 31 };
    points[0] = least;
    points[1] = most;
    points[1].offset -= UINT8_MAX;
    points[2] = most;
    expect_kept(3);
    expect_kept(2);
    points[0] = most;
    expect_kept(1);
    points[0] = (TracePoint){ .offset = INT32_MAX, .size = 1 };
    points[1] = (TracePoint){ .offset = UINT32_C(1) << 31, .size = 1 };
    points[2] = (TracePoint){ .offset = UINT32_MAX - 1, .size = 1 };
    expect_kept(3);
}

static void finds_nothing_among_none(void **state)
{
    (void)state;
    TracePoint found;
    assert_false(point_find(packed, 0, 0, &found));
    assert_false(point_find(packed, 0, UINT32_MAX, &found));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_traces_hold),
        cmocka_unit_test(finds_whatever_there_is),
        cmocka_unit_test(keeps_extremes),
        cmocka_unit_test(finds_nothing_among_none),
    };
    return cmocka_run_group_tests_name("point", tests, NULL, NULL);
}
