/* Sums of profiles: splitting, order, sums of sums. SPDX-License-Identifier: MIT */
#include "core/profile_parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const Profile *read_text(Arena *arena, const char *lines)
{
    const Profile *profile = NULL;
    Error err = { 0 };
    const char *text = arena_printf(arena, "respin-profile-text 1\n%s", lines);
    Status status = profile_read_bytes(arena, "t", (Bytes){ (const uint8_t *)text, strlen(text) },
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

static const Profile *sum(Arena *arena, const Profile *left, const Profile *right)
{
    const Profile *parts[] = { left, right };
    const Profile *out = NULL;
    Error err = { 0 };
    if (profile_merge(arena, parts, 2, &out, &err) != ST_OK)
        fail_msg("%s", err.text);
    return out;
}

static const char first[] = "command b\n"
                            "remark seen by both\n"
                            "module /lib/a\nbuild-id 01\n"
                            "block 0x10 10 4 5 1,2,3,4\n"
                            "edge jump 0x16 1:0x0 5\n"
                            "read-page 0x1000\n"
                            "value divisor 0x13 5 0 7:3 9:2\n"
                            "value shift 0x13 5 1 1:4\n"
                            "module /lib/z\nbuild-id 02\n"
                            "block 0x0 4 1 5 4\n"
                            "entry jump 0x0 5\n"
                            "module [vdso]\n"
                            "block 0x0 8 5 2\n";

static const char second[] = "command a\n"
                             "flags incomplete\n"
                             "outside 3\n"
                             "remark seen by both\n"
                             "module /lib/z\nbuild-id 02\n"
                             "block 0x0 4 1 1 4\n"
                             "module /opt/a\nbuild-id 01\n"
                             "block 0x13 7 2 3 3,4\n"
                             "edge jump 0x16 0:0x0 2\n"
                             "edge jump 0x16 -:0x9000 1\n"
                             "read-page 0x0\n"
                             "read-page 0x1000\n"
                             "value divisor 0x13 3 0 9:2 4:1\n"
                             "value repeat 0x10 3 0 0:3\n"
                             "text-written\n"
                             "module [vdso]\n"
                             "block 0x4 4 3 7\n";

static const char third[] = "module /lib/a\nbuild-id 01\n"
                            "block 0x11 2 1 100 2\n"
                            "edge fall 0x11 0x13 100\n"
                            "block 0x13 3 1 100 3\n"
                            "module /lib/a\n"
                            "build-id 03\n"
                            "block 0x10 1 1 1 1\n";

static void blocks_are_split_where_any_part_begins_one(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    const Profile *both = sum(arena, read_text(arena, first), read_text(arena, second));
    assert_string_equal(text_of(arena, both), "respin-profile-text 1\n"
                                              "command a\n"
                                              "processes 2\n"
                                              "flags incomplete\n"
                                              "outside 3\n"
                                              "remark seen by both\n"
                                              "module /lib/a\n"
                                              "build-id 01\n"
                                              "text-written\n"
                                              "block 0x10 3 2 5 1,2\n"
                                              "block 0x13 7 2 8 3,4\n"
                                              "edge fall 0x11 0x13 5\n"
                                              "edge jump 0x16 1:0x0 7\n"
                                              "edge jump 0x16 -:0x9000 1\n"
                                              "read-page 0x0\n"
                                              "read-page 0x1000\n"
                                              "value repeat 0x10 3 0 0:3\n"
                                              "value divisor 0x13 8 0 9:4 7:3 4:1\n"
                                              "value shift 0x13 5 1 1:4\n"
                                              "module /lib/z\n"
                                              "build-id 02\n"
                                              "block 0x0 4 1 6 4\n"
                                              "entry jump 0x0 5\n"
                                              "module [vdso]\n"
                                              "block 0x0 4 1 2\n"
                                              "block 0x4 4 3 9\n"
                                              "edge fall 0x0 0x4 2\n");
    arena_free(arena);
}

static void order_does_not_matter(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    const Profile *a = read_text(arena, first);
    const Profile *b = read_text(arena, second);
    const Profile *c = read_text(arena, third);
    const char *wanted = text_of(arena, sum(arena, sum(arena, a, b), c));
    assert_string_equal(text_of(arena, sum(arena, a, sum(arena, b, c))), wanted);
    assert_string_equal(text_of(arena, sum(arena, sum(arena, c, a), b)), wanted);
    assert_string_equal(text_of(arena, sum(arena, c, sum(arena, b, a))), wanted);
    arena_free(arena);
}

static void the_sum_of_one_is_itself(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    const Profile *a = sum(arena, read_text(arena, first), read_text(arena, third));
    const Profile *out = NULL;
    Error err;
    assert_int_equal(profile_merge(arena, &a, 1, &out, &err), ST_OK);
    assert_string_equal(text_of(arena, out), text_of(arena, a));
    assert_int_equal(profile_merge(arena, NULL, 0, &out, &err), ST_OK);
    assert_int_equal(out->n_modules, 0);
    arena_free(arena);
}

static void other_builds_stay_apart(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    const Profile *both =
        sum(arena, read_text(arena, "module /lib/a\nbuild-id 01\nblock 0 1 1 1\n"),
            read_text(arena, "module /lib/a\nbuild-id 02\nblock 0 1 1 1\n"));
    assert_int_equal(both->n_modules, 2);
    both = sum(arena, both, read_text(arena, "module /lib/a\nblock 0 1 1 1\n"));
    assert_int_equal(both->n_modules, 3);
    arena_free(arena);
}

static void counts_do_not_wrap(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    const char *most = "module m\nblock 0 1 1 18446744073709551615\n";
    const Profile *both = sum(arena, read_text(arena, most), read_text(arena, most));
    assert_true(both->modules[0].blocks[0].count == UINT64_MAX);
    assert_true(profile_instructions(&both->modules[0]) == UINT64_MAX);
    arena_free(arena);
}

/* ---- sums of sums, of profiles that nobody thought of -----------------------------------------
 */

static uint64_t next_random(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t value = *state;
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

static uint64_t below(uint64_t *state, uint64_t limit)
{
    return next_random(state) % limit;
}

/* The instruction at an address of a build has one size, whoever executes it. */
static uint8_t size_at(uint64_t addr)
{
    return (uint8_t)(1 + (addr * 2654435761u >> 7) % 4);
}

static ProfileBlock random_block(Arena *arena, uint64_t *state, uint64_t at, bool sized)
{
    uint32_t n = 1 + (uint32_t)below(state, 5);
    uint8_t *sizes = arena_many(arena, uint8_t, n);
    ProfileBlock block = { .start = vaddr(at), .n_insns = n, .count = below(state, 100) };
    for (uint32_t i = 0; i < n; i++) {
        sizes[i] = size_at(at + block.size);
        block.size += sizes[i];
    }
    block.insn_sizes = sized ? sizes : NULL;
    return block;
}

static void random_edges(Arena *arena, uint64_t *state, ProfileModule *module, uint32_t n_modules)
{
    module->edges = arena_many(arena, ProfileEdge, module->n_blocks);
    for (uint32_t i = 0; i < module->n_blocks; i++) {
        const ProfileBlock *block = &module->blocks[i];
        uint32_t last = 0;
        for (uint32_t j = 0; block->insn_sizes != NULL && j + 1 < block->n_insns; j++)
            last += block->insn_sizes[j];
        uint32_t to = (uint32_t)below(state, n_modules + 1);
        module->edges[i] = (ProfileEdge){ .from = vaddr(block->start.v + last),
                                          .to = vaddr(below(state, 200)),
                                          .to_module = to < n_modules ? to : MODULE_NONE,
                                          .kind = (uint8_t)below(state, EDGE_KINDS),
                                          .count = below(state, 100) };
    }
    module->n_edges = profile_sum_edges(module->edges, module->n_blocks);
}

/* Few values, so that nothing has to be left out of a sum (test_values.c has what does). */
static void random_values(Arena *arena, uint64_t *state, ProfileModule *module)
{
    uint32_t n = (uint32_t)below(state, 4);
    module->values = arena_many(arena, ProfileValue, n);
    for (uint32_t i = 0; i < n; i++) {
        ProfileValue *value = &module->values[i];
        *value = (ProfileValue){ .at = vaddr(below(state, 3)),
                                 .kind = (uint8_t)below(state, OBSERVED_KINDS),
                                 .missed = below(state, 3) };
        value->n_top = (uint32_t)below(state, 4);
        value->top = arena_many(arena, ProfileTop, value->n_top);
        value->n = 3 + below(state, 5);
        for (uint32_t j = 0; j < value->n_top; j++) {
            value->top[j] = (ProfileTop){ below(state, 6), 1 + below(state, 9) };
            value->n += value->top[j].count;
        }
    }
    module->n_values = profile_sum_values(arena, module->values, n);
}

static void random_module(Arena *arena, uint64_t *state, uint32_t build, uint32_t n_modules,
                          ProfileModule *module)
{
    static const char *const paths[] = { "/bin/a", "/bin/b", "/lib/c", "/lib/d" };
    bool keyed = build < 3;
    *module = (ProfileModule){ .path = paths[keyed && below(state, 8) == 0 ? 3 : build] };
    if (keyed) /* a build may be called otherwise on another host */
        module->key = (ImageKey){ .build_id = { (uint8_t)build }, .build_id_len = 1 };
    module->text_written = below(state, 20) == 0;
    uint32_t n = (uint32_t)below(state, 12);
    module->blocks = arena_many(arena, ProfileBlock, n);
    uint64_t at = below(state, 20);
    for (uint32_t i = 0; i < n; i++) {
        module->blocks[i] = random_block(arena, state, at, keyed);
        at += module->blocks[i].size + below(state, 6);
    }
    module->n_blocks = n;
    random_edges(arena, state, module, n_modules);
    module->entries = arena_many(arena, ProfileEdge, 1);
    module->n_entries = (uint32_t)below(state, 2);
    module->read_pages = arena_many(arena, Vaddr, 1);
    module->read_pages[0] = vaddr(4096 * below(state, 3));
    module->n_read_pages = (uint32_t)below(state, 2);
    random_values(arena, state, module);
}

static const Profile *random_profile(Arena *arena, uint64_t *state)
{
    static const char *const words[] = { "", "one", "two" };
    Profile *profile = arena_one(arena, Profile);
    uint32_t n = 1 + (uint32_t)below(state, 4);
    *profile = (Profile){ .path = "random",
                          .command = words[below(state, 3)],
                          .n_processes = (uint32_t)below(state, 5),
                          .run = below(state, 3),
                          .complete = below(state, 2) == 0,
                          .sampled = below(state, 4) == 0,
                          .bursts = { .moments = 1 + below(state, 9), .taken = below(state, 9) },
                          .outside_insns = below(state, 50),
                          .n_modules = n,
                          .modules = arena_many(arena, ProfileModule, n) };
    profile->remarks = (const char *const *)arena_copy(
        arena, &(const char *const[]){ words[1 + below(state, 2)] }, sizeof(char *));
    profile->n_remarks = (uint32_t)below(state, 2);
    for (uint32_t i = 0; i < n; i++) {
        random_module(arena, state, i, n, &profile->modules[i]);
        if (profile->modules[i].n_entries > 0)
            profile->modules[i].entries[0] = (ProfileEdge){
                .from = VADDR_NONE, .to = vaddr(below(state, 60)), .to_module = i, .count = 3
            };
    }
    Error err;
    if (profile_check(profile, "random", &err) != ST_OK)
        fail_msg("the generator is wrong: %s", err.text);
    return profile;
}

static Bytes bytes_of(Arena *arena, const Profile *profile)
{
    Buffer out = { .arena = arena };
    profile_encode(profile, &out);
    return buffer_bytes(&out);
}

static void expect_same(Arena *arena, uint64_t seed, const Profile *left, const Profile *right)
{
    Bytes a = bytes_of(arena, left);
    Bytes b = bytes_of(arena, right);
    if (a.len == b.len && memcmp(a.data, b.data, a.len) == 0)
        return;
    size_t at = 0;
    while (at < a.len && at < b.len && a.data[at] == b.data[at])
        at++;
    fail_msg("seed %llu: %zu and %zu bytes, different from byte %zu on", (unsigned long long)seed,
             a.len, b.len, at);
}

static void sums_of_sums_are_sums_byte_for_byte(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 1000; seed++) {
        Arena *arena = arena_new();
        uint64_t random = seed;
        const Profile *a = random_profile(arena, &random);
        const Profile *b = random_profile(arena, &random);
        const Profile *c = random_profile(arena, &random);
        const Profile *parts[] = { c, a, b };
        const Profile *all = NULL;
        Error err;
        assert_int_equal(profile_merge(arena, parts, 3, &all, &err), ST_OK);
        const Profile *wanted = sum(arena, sum(arena, a, b), c);
        expect_same(arena, seed, sum(arena, a, sum(arena, b, c)), wanted);
        expect_same(arena, seed, sum(arena, sum(arena, b, a), c), wanted);
        expect_same(arena, seed, sum(arena, c, sum(arena, b, a)), wanted);
        expect_same(arena, seed, all, wanted);
        arena_free(arena);
    }
}

static void a_scaled_profile_is_so_many_of_it(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    uint64_t random = 7;
    const Profile *a = random_profile(arena, &random);
    const Profile *b = random_profile(arena, &random);
    const Profile *thrice = sum(arena, sum(arena, a, a), a);
    char wanted[33], got[33];
    profile_digest(sum(arena, thrice, b), wanted);
    profile_digest(sum(arena, profile_scale(arena, a, 3), b), got);
    assert_string_equal(got, wanted);
    arena_free(arena);
}

/* ---- the digest -------------------------------------------------------------------------------
 */

static void expect_digests(const char *left, const char *right, bool equal)
{
    Arena *arena = arena_new();
    char a[33], b[33];
    profile_digest(read_text(arena, left), a);
    profile_digest(read_text(arena, right), b);
    assert_int_equal(strcmp(a, b) == 0, equal);
    arena_free(arena);
}

static void the_digest_leaves_out_where_and_who(void **state)
{
    (void)state;
    const char *here = "command a\nprocesses 1\n"
                       "module /lib/a\nbuild-id 01\n"
                       "block 0x10 4 2 5 1,3\n"
                       "edge jump-ind 0x11 -:0x7f0000001000 2\n"
                       "edge jump-ind 0x11 -:0x7f0000002000 1\n"
                       "edge jump-ind 0x11 1:0x0 2\n"
                       "module /lib/z\nbuild-id 02\n"
                       "block 0x0 4 1 2 4\nentry jump-ind 0x0 2\n"
                       "module /lib/never\nbuild-id 03\n";
    const char *there = "command b\nprocesses 3\nremark x\n"
                        "module /a/z\nbuild-id 02\n"
                        "block 0x0 4 1 2 4\nentry jump-ind 0x0 2\n"
                        "module /b/a\nbuild-id 01\n"
                        "block 0x10 4 2 5 1,3\n"
                        "edge jump-ind 0x11 0:0x0 2\n"
                        "edge jump-ind 0x11 -:0x7f1234567000 3\n";
    expect_digests(here, there, true);
}

static void the_digest_sees_every_count(void **state)
{
    (void)state;
    const char *base = "outside 4\nmodule a\nbuild-id 01\nblock 0 2 2 5 1,1\nedge jump 1 -:9 5\n"
                       "entry call 0 5\n";
    const char *others[] = {
        "outside 5\nmodule a\nbuild-id 01\nblock 0 2 2 5 1,1\nedge jump 1 -:9 5\nentry call 0 5\n",
        "outside 4\nmodule a\nbuild-id 02\nblock 0 2 2 5 1,1\nedge jump 1 -:9 5\nentry call 0 5\n",
        "outside 4\nmodule a\nbuild-id 01\nblock 0 2 2 6 1,1\nedge jump 1 -:9 5\nentry call 0 5\n",
        "outside 4\nmodule a\nbuild-id 01\nblock 0 2 1 5 2\nedge jump 1 -:9 5\nentry call 0 5\n",
        "outside 4\nmodule a\nbuild-id 01\nblock 0 2 2 5 1,1\nedge jump 1 -:9 6\nentry call 0 5\n",
        "outside 4\nmodule a\nbuild-id 01\nblock 0 2 2 5 1,1\nedge call 1 -:9 5\nentry call 0 5\n",
        "outside 4\nmodule a\nbuild-id 01\nblock 0 2 2 5 1,1\nedge jump 1 0:9 5\nentry call 0 5\n",
        "outside 4\nmodule a\nbuild-id 01\nblock 0 2 2 5 1,1\nedge jump 1 -:9 5\nentry call 1 5\n",
    };
    expect_digests(base, base, true);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        expect_digests(base, others[i], false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_split_where_any_part_begins_one),
        cmocka_unit_test(order_does_not_matter),
        cmocka_unit_test(the_sum_of_one_is_itself),
        cmocka_unit_test(other_builds_stay_apart),
        cmocka_unit_test(counts_do_not_wrap),
        cmocka_unit_test(sums_of_sums_are_sums_byte_for_byte),
        cmocka_unit_test(a_scaled_profile_is_so_many_of_it),
        cmocka_unit_test(the_digest_leaves_out_where_and_who),
        cmocka_unit_test(the_digest_sees_every_count),
    };
    return cmocka_run_group_tests_name("sums of profiles", tests, NULL, NULL);
}
