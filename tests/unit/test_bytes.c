/* test_bytes.c: checked readers and growing buffers. SPDX-License-Identifier: MIT */
#include "tests/support/cmocka.h"

#include "core/bytes.h"

static Bytes of(const void *data, size_t len)
{
    return (Bytes){ data, len };
}

static void slices_only_inside_and_without_overflow(void **state)
{
    (void)state;
    Bytes out, eight = of("01234567", 8);
    assert_true(bytes_slice(eight, 8, 0, &out));
    assert_true(bytes_slice(eight, 3, 5, &out));
    assert_memory_equal(out.data, "34567", 5);
    assert_false(bytes_slice(eight, 3, 6, &out));
    assert_false(bytes_slice(eight, 9, 0, &out));
    assert_false(bytes_slice(eight, 1, UINT64_MAX, &out));
    assert_false(bytes_slice(eight, UINT64_MAX, 2, &out));
}

static void reads_little_endian_and_stays_bad(void **state)
{
    (void)state;
    const uint8_t data[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 };
    Cursor cursor = cursor_at(of(data, sizeof data), 0);
    assert_int_equal(cursor_u16(&cursor), 0x0201);
    assert_int_equal(cursor_u32(&cursor), 0x06050403);
    assert_int_equal(cursor_u64(&cursor), 0);
    assert_true(cursor.bad);
    assert_int_equal(cursor_u8(&cursor), 0);
    assert_true(cursor_at(of(data, 2), 3).bad);
}

static void round_trips_leb128(void **state)
{
    static const int64_t values[] = { 0,    1,     -1,        63,        64,        -64,      -65,
                                      8191, -8192, INT64_MAX, INT64_MIN, INT32_MAX, INT32_MIN };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        Buffer buffer = { .arena = *state };
        buffer_sleb(&buffer, values[i]);
        buffer_uleb(&buffer, (uint64_t)values[i]);
        Cursor cursor = cursor_at(buffer_bytes(&buffer), 0);
        assert_true(cursor_sleb(&cursor) == values[i]);
        assert_true(cursor_uleb(&cursor) == (uint64_t)values[i]);
        assert_false(cursor.bad);
        assert_int_equal(cursor.at, buffer.len);
    }
}

/* DWARF5 7.6 gives no limit; we take what fits 64 bits. */
static void refuses_leb128_that_is_cut_or_over_64_bits(void **state)
{
    (void)state;
    static const uint8_t cut[] = { 0x80, 0x80 };
    static const uint8_t wide[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02 };
    static const uint8_t endless[] = { 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
                                       0x80, 0x80, 0x80, 0x80, 0x80, 0x00 };
    Cursor cursor = cursor_at(of(cut, sizeof cut), 0);
    cursor_uleb(&cursor);
    assert_true(cursor.bad);
    cursor = cursor_at(of(wide, sizeof wide), 0);
    cursor_uleb(&cursor);
    assert_true(cursor.bad);
    cursor = cursor_at(of(endless, sizeof endless), 0);
    cursor_sleb(&cursor);
    assert_true(cursor.bad);
}

static void takes_only_terminated_strings(void **state)
{
    (void)state;
    Cursor cursor = cursor_at(of("ab\0cd", 5), 0);
    assert_string_equal(cursor_string(&cursor), "ab");
    assert_false(cursor.bad);
    assert_string_equal(cursor_string(&cursor), "");
    assert_true(cursor.bad);
    cursor = cursor_at(of("ab", 2), 7);
    assert_string_equal(cursor_string(&cursor), "");
}

static void builds_buffers(void **state)
{
    Buffer buffer = { .arena = *state };
    buffer_u8(&buffer, 0xaa);
    buffer_align(&buffer, 4, 0x90);
    buffer_u16(&buffer, 0x1234);
    buffer_u32(&buffer, 0x89abcdef);
    buffer_u64(&buffer, UINT64_C(0x1122334455667788));
    buffer_put(&buffer, NULL, 0);
    static const uint8_t want[] = { 0xaa, 0x90, 0x90, 0x90, 0x34, 0x12, 0xef, 0xcd, 0xab,
                                    0x89, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11 };
    assert_int_equal(buffer.len, sizeof want);
    assert_memory_equal(buffer.data, want, sizeof want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_only_inside_and_without_overflow),
        cmocka_unit_test(reads_little_endian_and_stays_bad),
        unit_test_with_arena(round_trips_leb128),
        cmocka_unit_test(refuses_leb128_that_is_cut_or_over_64_bits),
        cmocka_unit_test(takes_only_terminated_strings),
        unit_test_with_arena(builds_buffers),
    };
    return cmocka_run_group_tests_name("bytes", tests, NULL, NULL);
}
