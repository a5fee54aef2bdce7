/*
 * test_place.c: which blocks are copied, which are entered and patched, by the laws 1 and 4.
 *
 * Functions stand at 0x1040 in an image of their own; what is executed is hot.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/patch_sites.h"
#include "tests/support/cmocka.h"
#include "tests/support/fake_image.h"

enum { CODE = 0x1000, FUNC = 0x1040, ROOM = 0x2000 };

typedef struct Placed {
    Context ctx;
    OptimizeOptions options;
    PlanStats stats;
    PassStats pass;
    UnwindTable unwind;
    Fde fde;
    ProfileModule counts;
    Func *fn;
} Placed;

static const Image *image_of(Arena *arena, const Func *fn)
{
    uint8_t *bytes = arena_many(arena, uint8_t, ROOM);
    memset(bytes, 0xcc, ROOM);
    for (uint32_t b = 0; b < fn->n_blocks; b++) {
        const Block *block = &fn->blocks[b];
        for (uint32_t i = 0; i < block->n_insns; i++)
            memcpy(bytes + (block->insns[i].addr.v - CODE), block->insns[i].bytes,
                   block->insns[i].size);
    }
    return fake_image(arena, ".text", CODE, (Bytes){ bytes, ROOM });
}

static Placed *place(Arena *arena, const char *text, bool no_patch_joins)
{
    Placed *placed = arena_one(arena, Placed);
    Error err;
    assert_ok(func_read_text(arena, text, &placed->fn, &err), &err);
    const Extent *extent = &placed->fn->extents[0];
    placed->fde = (Fde){ .start = extent->start, .size = extent->end.v - extent->start.v };
    placed->unwind = (UnwindTable){ .fdes = &placed->fde, .n_fdes = 1 };
    placed->options.no_patch_joins = no_patch_joins;
    placed->ctx = (Context){ .arena = arena,
                             .scratch = arena_new(),
                             .image = image_of(arena, placed->fn),
                             .counts = &placed->counts,
                             .unwind = &placed->unwind,
                             .options = &placed->options,
                             .stats = &placed->stats,
                             .place_count = 1 };
    placed->ctx.proof =
        patch_proof_new(arena, placed->ctx.image, &placed->unwind, &placed->counts, 0);
    assert_ok(place_blocks(&placed->ctx, placed->fn, &placed->pass, &err), &err);
    arena_free(placed->ctx.scratch);
    return placed;
}

static uint32_t facts_of(const Placed *placed, char block)
{
    return placed->fn->blocks[block - 'A'].facts;
}

static bool has(const Placed *placed, char block, uint32_t fact)
{
    return (facts_of(placed, block) & fact) != 0;
}

/* The patch that leads to the block; NULL: it has none. */
static const Patch *patch_of(const Placed *placed, char block)
{
    for (size_t i = 0; i < placed->ctx.n_patches; i++)
        if (placed->ctx.patches[i].to.i == (uint32_t)(block - 'A'))
            return &placed->ctx.patches[i];
    return NULL;
}

/* A side that never ran, C, comes back to the join D. */
#define SIDE(join)                                                                                 \
    "func 0x1040\nextent 0x1040 0x1080 fde 0\n"                                                    \
    "A 0x1040 count 9 entry:\n"                                                                    \
    "    0x1040 mov eax, 1 | b8 01 00 00 00\n"                                                     \
    "    0x1045 jz 0x104e | 74 07\n"                                                               \
    "    -> C taken 0, B fall 9\n"                                                                 \
    "B 0x1047 count 9:\n"                                                                          \
    "    0x1047 mov eax, 2 | b8 02 00 00 00\n"                                                     \
    "    0x104c jmp 0x1055 | eb 07\n"                                                              \
    "    -> D taken 9\n"                                                                           \
    "C 0x104e count 0:\n"                                                                          \
    "    0x104e mov eax, 3 | b8 03 00 00 00\n"                                                     \
    "    0x1053 jmp 0x1055 | eb 00\n"                                                              \
    "    -> D taken 0\n"                                                                           \
    "D 0x1055 count 9:\n" join

static const char long_join[] = SIDE("    0x1055 mov eax, 4 | b8 04 00 00 00\n"
                                     "    0x105a ret | c3\n");
static const char short_join[] = SIDE("    0x1055 ret | c3\n");

static void what_ran_is_copied_and_its_entry_patched(void **state)
{
    const Placed *placed = place(*state, long_join, false);
    assert_true(has(placed, 'A', BLOCK_HOT) && has(placed, 'B', BLOCK_HOT));
    assert_false(has(placed, 'C', BLOCK_HOT | BLOCK_COLD_COPY));
    assert_true(has(placed, 'A', BLOCK_ROOT));
    assert_false(has(placed, 'B', BLOCK_ROOT));
    const Patch *patch = patch_of(placed, 'A');
    assert_non_null(patch);
    assert_int_equal(patch->kind, PATCH_ENTRY);
    assert_int_equal(patch->site.v, FUNC);
    assert_int_equal(patch->size, 5);
    assert_null(patch_of(placed, 'B'));
    assert_int_equal(placed->pass.changed, 3);
}

static void a_join_is_patched(void **state)
{
    const Placed *placed = place(*state, long_join, false);
    const Patch *patch = patch_of(placed, 'D');
    assert_true(has(placed, 'D', BLOCK_ROOT));
    assert_non_null(patch);
    assert_int_equal(patch->kind, PATCH_JOIN);
    assert_int_equal(patch->site.v, 0x1055);
    assert_int_equal(placed->ctx.n_patches, 2);
}

static void a_join_too_short_for_a_patch_is_run_through(void **state)
{
    const Placed *placed = place(*state, short_join, false);
    assert_true(has(placed, 'D', BLOCK_ROOT));
    assert_null(patch_of(placed, 'D'));
    assert_int_equal(placed->ctx.n_patches, 1);
    assert_int_equal(placed->stats.funcs_stranded, 0);
}

static void joins_stay_when_that_is_asked(void **state)
{
    const Placed *placed = place(*state, long_join, true);
    assert_non_null(patch_of(placed, 'A'));
    assert_null(patch_of(placed, 'D'));
}

/* The hot loop B has no room for a patch, since C behind it is a target, too: D and E, which never
 * ran, come back to both. `cold`: instructions of D. */
static const char *loop(Arena *arena, uint32_t cold)
{
    enum { NOP = 10, BEFORE = 0x1050 };
    Buffer out = { .arena = arena };
    uint32_t at = BEFORE;
    buffer_print(&out,
                 "func 0x1040\nextent 0x1040 0x%x fde 0\n"
                 "A 0x1040 count 9 entry:\n"
                 "    0x1040 mov eax, 9 | b8 09 00 00 00\n"
                 "    0x1045 jz 0x1050 | 74 09\n"
                 "    -> D taken 0, B fall 9\n"
                 "B 0x1047 count 81:\n"
                 "    0x1047 dec eax | ff c8\n"
                 "    0x1049 jnz 0x1047 | 75 fc\n"
                 "    -> B taken 72, C fall 9\n"
                 "C 0x104b count 9:\n"
                 "    0x104b ret | c3\n"
                 "D 0x1050 count 0:\n",
                 BEFORE + cold * NOP + 11);
    for (uint32_t i = 0; i < cold; i++, at += NOP)
        buffer_print(&out, "    0x%x nop | 66 2e 0f 1f 84 00 00 00 00 00\n", at);
    int32_t to_c = 0x104b - (int32_t)(at + 6), to_b = 0x1047 - (int32_t)(at + 11);
    const uint8_t *c = (const uint8_t *)&to_c, *b = (const uint8_t *)&to_b;
    buffer_print(&out, "    0x%x jz 0x104b | 0f 84 %02x %02x %02x %02x\n", at, c[0], c[1], c[2],
                 c[3]);
    buffer_print(&out, "    -> C taken 0, E fall 0\nE 0x%x count 0:\n", at + 6);
    buffer_print(&out, "    0x%x jmp 0x1047 | e9 %02x %02x %02x %02x\n    -> B taken 0\n", at + 6,
                 b[0], b[1], b[2], b[3]);
    buffer_u8(&out, 0);
    return (const char *)out.data;
}

static void what_leads_into_a_hot_loop_for_good_is_copied_too(void **state)
{
    const Placed *placed = place(*state, loop(*state, 1), false);
    assert_true(has(placed, 'D', BLOCK_COLD_COPY));
    assert_true(has(placed, 'E', BLOCK_COLD_COPY));
    assert_false(has(placed, 'B', BLOCK_ROOT));
    assert_int_equal(placed->stats.funcs_stranded, 0);
    assert_int_equal(placed->ctx.n_patches, 1);
}

static void what_would_cost_too_much_is_counted_instead(void **state)
{
    enum { OVER_THE_BUDGET = 250 };
    const Placed *placed = place(*state, loop(*state, OVER_THE_BUDGET), false);
    assert_false(has(placed, 'D', BLOCK_COLD_COPY));
    assert_true(has(placed, 'B', BLOCK_ROOT));
    assert_null(patch_of(placed, 'B'));
    assert_int_equal(placed->stats.funcs_stranded, 1);
}

static void a_loop_with_room_is_cut_where_it_comes_back(void **state)
{
    const Placed *placed = place(*state,
                                 "func 0x1040\nextent 0x1040 0x1080 fde 0\n"
                                 "A 0x1040 count 9 entry:\n"
                                 "    0x1040 mov eax, 9 | b8 09 00 00 00\n"
                                 "    -> B fall 9\n"
                                 "B 0x1045 count 81:\n"
                                 "    0x1045 sub eax, 1 | 2d 01 00 00 00\n"
                                 "    0x104a jnz 0x1045 | 75 f9\n"
                                 "    -> B taken 72, C fall 9\n"
                                 "C 0x104c count 9:\n"
                                 "    0x104c ret | c3\n",
                                 false);
    assert_true(placed->fn->cut);
    assert_true(has(placed, 'B', BLOCK_HEAD));
    assert_non_null(patch_of(placed, 'B'));
}

static void what_never_ran_is_refused(void **state)
{
    const Placed *placed = place(*state,
                                 "func 0x1040\nextent 0x1040 0x1080 fde 0\n"
                                 "A 0x1040 count 0 entry:\n"
                                 "    0x1040 ret | c3\n",
                                 false);
    assert_int_equal(placed->fn->refused, REFUSED_NOT_EXECUTED);
    assert_int_equal(placed->ctx.n_patches, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_with_arena(what_ran_is_copied_and_its_entry_patched),
        unit_test_with_arena(a_join_is_patched),
        unit_test_with_arena(a_join_too_short_for_a_patch_is_run_through),
        unit_test_with_arena(joins_stay_when_that_is_asked),
        unit_test_with_arena(what_leads_into_a_hot_loop_for_good_is_copied_too),
        unit_test_with_arena(what_would_cost_too_much_is_counted_instead),
        unit_test_with_arena(a_loop_with_room_is_cut_where_it_comes_back),
        unit_test_with_arena(what_never_ran_is_refused),
    };
    return cmocka_run_group_tests_name("place-blocks", tests, NULL, NULL);
}
