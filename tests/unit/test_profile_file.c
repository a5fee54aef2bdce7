/* The compact form: round trips, truncations, flipped bits. SPDX-License-Identifier: MIT */
#include "core/profile_parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const char sample[] = "respin-profile-text 1\n"
                             "command app with words\n"
                             "processes 3\n"
                             "flags incomplete detached\n"
                             "bursts 900 300 9000000000 18446744073709551615\n"
                             "outside 77\n"
                             "remark first\n"
                             "remark second\n"
                             "module /usr/bin/app\n"
                             "build-id 00ff10\n"
                             "text-hash 0x0000000000000001 0xfedcba9876543210\n"
                             "text-written\n"
                             "block 0x1000 12 3 100 4,3,5\n"
                             "block 0x100c 4 2 18446744073709551615\n"
                             "block 0x1010 1 1 7 15\n"
                             "block 0x1011 20 2 7 15,5\n"
                             "edge taken 0x1007 0x1000 99\n"
                             "edge fall 0x1007 0x100c 1\n"
                             "edge call 0x100c 1:0x10 5\n"
                             "edge call-ind 0x100c -:0x7f0000000000 5\n"
                             "entry jump-ind 0x1000 3\n"
                             "entry call-ind 0x1000 4\n"
                             "read-page 0x2000\n"
                             "read-page 0x5000\n"
                             "value index 0x1000 9 0\n"
                             "value stride 0x1000 100 3 -8:60 16:30\n"
                             "value divisor 0x1007 18446744073709551615 0 "
                             "18446744073709551615:18446744073709551614 0:1\n"
                             "module [vdso]\n"
                             "block 0x10 1 1 5 1\n"
                             "entry call 0x10 5\n"
                             "value length 0x10 1 0 4096:1\n"
                             "module empty\n";

static const Profile *read_sample(Arena *arena)
{
    const Profile *profile = NULL;
    Error err = { 0 };
    Status status =
        profile_read_bytes(arena, "t", (Bytes){ (const uint8_t *)sample, strlen(sample) },
                           images_new(arena), &profile, &err);
    if (status != ST_OK)
        fail_msg("%s", err.text);
    return profile;
}

static const char *text_of(Arena *arena, const Profile *profile)
{
    Buffer out = { .arena = arena };
    profile_write_text(profile, &out);
    buffer_u8(&out, 0);
    return (const char *)out.data;
}

static Bytes seal(Arena *arena, Bytes payload)
{
    Buffer file = { .arena = arena };
    Error err;
    assert_int_equal(profile_seal(payload, &file, &err), ST_OK);
    return buffer_bytes(&file);
}

static Bytes encode(Arena *arena, const Profile *profile)
{
    Buffer payload = { .arena = arena };
    profile_encode(profile, &payload);
    return buffer_bytes(&payload);
}

static Status read_bytes(Arena *arena, Bytes file, const Profile **out, Error *err)
{
    return profile_read_bytes(arena, "p.rsp", file, images_new(arena), out, err);
}

static void what_is_written_reads_the_same(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    char path[] = "/tmp/respin-profile-XXXXXX";
    close(mkstemp(path));
    Error err;
    const Profile *back = NULL;
    assert_int_equal(profile_write(read_sample(arena), path, &err), ST_OK);
    assert_int_equal(profile_read(arena, path, &back, &err), ST_OK);
    assert_string_equal(text_of(arena, back), sample);
    unlink(path);
    arena_free(arena);
}

static void the_same_profile_gives_the_same_bytes(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    Bytes first = seal(arena, encode(arena, read_sample(arena)));
    Bytes second = seal(arena, encode(arena, read_sample(arena)));
    assert_int_equal(first.len, second.len);
    assert_memory_equal(first.data, second.data, first.len);
    arena_free(arena);
}

static void a_failed_write_leaves_nothing(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    Error err = { 0 };
    assert_int_equal(profile_write(read_sample(arena), "/nonexistent/p.rsp", &err), ST_IO);
    char folder[] = "/tmp/respin-folder-XXXXXX";
    assert_non_null(mkdtemp(folder));
    assert_int_equal(profile_write(read_sample(arena), folder, &err), ST_IO); /* is a folder */
    assert_int_equal(rmdir(folder), 0);
    arena_free(arena);
}

static void every_truncation_is_an_error(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    Bytes file = seal(arena, encode(arena, read_sample(arena)));
    for (size_t len = 0; len < file.len; len++) {
        const Profile *profile = NULL;
        Error err;
        uint8_t *cut = malloc(len + (len == 0)); /* its own block, so that ASan sees the end */
        memcpy(cut, file.data, len);
        assert_int_equal(read_bytes(arena, (Bytes){ cut, len }, &profile, &err), ST_BAD_INPUT);
        free(cut);
    }
    arena_free(arena);
}

static void every_flipped_bit_is_an_error(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    Bytes file = seal(arena, encode(arena, read_sample(arena)));
    uint8_t *bad = arena_copy(arena, file.data, file.len);
    for (size_t bit = 0; bit < file.len * 8; bit++) {
        const Profile *profile = NULL;
        Error err;
        bad[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(read_bytes(arena, (Bytes){ bad, file.len }, &profile, &err), ST_BAD_INPUT);
        bad[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    arena_free(arena);
}

/* With the checksum made right again, the decoder itself stands against each flip. */
static void no_payload_is_more_than_an_error(void **state)
{
    (void)state;
    Arena *keep = arena_new();
    Bytes payload = encode(keep, read_sample(keep));
    unsigned errors = 0;
    for (size_t bit = 0; bit < payload.len * 8; bit++) {
        Arena *arena = arena_new();
        const Profile *profile = NULL;
        Error err = { 0 };
        uint8_t *bad = arena_copy(arena, payload.data, payload.len);
        bad[bit / 8] ^= (uint8_t)(1 << bit % 8);
        Status status = read_bytes(arena, seal(arena, (Bytes){ bad, payload.len }), &profile, &err);
        if (status != ST_OK) {
            assert_int_equal(status, ST_BAD_INPUT);
            assert_string_equal(err.place.file, "p.rsp");
            assert_non_null(err.place.section);
            errors++;
        }
        arena_free(arena);
    }
    for (size_t len = 0; len < payload.len; len++) {
        Arena *arena = arena_new();
        const Profile *profile = NULL;
        Error err;
        Bytes file = seal(arena, (Bytes){ payload.data, len });
        assert_int_equal(read_bytes(arena, file, &profile, &err), ST_BAD_INPUT);
        arena_free(arena);
    }
    assert_in_range(errors, 100, payload.len * 8);
    arena_free(keep);
}

static void numbers_larger_than_the_payload_are_refused(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    Buffer payload = { .arena = arena };
    const Profile *profile = NULL;
    Error err = { 0 };
    buffer_uleb(&payload, 1);
    buffer_u64(&payload, 0);
    buffer_u8(&payload, 0);
    buffer_uleb(&payload, 1);
    buffer_uleb(&payload, 0);
    buffer_uleb(&payload, 0);
    buffer_uleb(&payload, UINT32_MAX - 1);
    assert_int_equal(read_bytes(arena, seal(arena, buffer_bytes(&payload)), &profile, &err),
                     ST_BAD_INPUT);
    assert_string_equal(err.text, "4294967294 modules (room for 0)");
    assert_string_equal(err.place.section, "run");
    arena_free(arena);
}

static void another_version_is_named(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    Bytes file = seal(arena, encode(arena, read_sample(arena)));
    uint8_t *bad = arena_copy(arena, file.data, file.len);
    const Profile *profile = NULL;
    Error err = { 0 };
    store_u32(bad + 8, 2);
    assert_int_equal(read_bytes(arena, (Bytes){ bad, file.len }, &profile, &err), ST_BAD_INPUT);
    assert_string_equal(err.text, "version 2 of the format (1 is known)");
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_reads_the_same),
        cmocka_unit_test(the_same_profile_gives_the_same_bytes),
        cmocka_unit_test(a_failed_write_leaves_nothing),
        cmocka_unit_test(every_truncation_is_an_error),
        cmocka_unit_test(every_flipped_bit_is_an_error),
        cmocka_unit_test(no_payload_is_more_than_an_error),
        cmocka_unit_test(numbers_larger_than_the_payload_are_refused),
        cmocka_unit_test(another_version_is_named),
    };
    return cmocka_run_group_tests_name("compact profiles", tests, NULL, NULL);
}
