/*
 * Block ends as the layout makes them: one function as text, an order, and what is emitted.
 *
 * SPDX-License-Identifier: MIT
 */
#include "rewriter/overlay.h"
#include "tests/support/cmocka.h"

#include <stdio.h>

enum { BASE = 0x10000 };

static const Image no_image = { .path = "text" };

/* A plan of one hot region: all blocks of fn->layout. */
static Plan *plan_of(Arena *arena, const char *text)
{
    Func *fn;
    Error err;
    assert_ok(func_read_text(arena, text, &fn, &err), &err);
    fn->id = (FuncId){ 0 };
    Program *program = arena_one(arena, Program);
    *program = (Program){ .arena = arena, .image = &no_image, .funcs = fn, .n_funcs = 1 };
    Plan *plan = arena_one(arena, Plan);
    *plan = (Plan){ .image = &no_image, .program = program, .n_regions = 1 };
    plan->regions = arena_one(arena, Region);
    plan->regions[0] = (Region){ fn->id, fn->layout, fn->n_layout, false, 0 };
    return plan;
}

/* Enough of a name to tell apart what the overlay writes. */
static const char *mnemonic(const Insn *insn)
{
    static const char *const names[] = {
        [FLOW_JUMP] = "jmp", [FLOW_CALL] = "call", [FLOW_LOOP] = "loop", [FLOW_RET] = "ret"
    };
    if ((insn->facts & INSN_NOP) != 0)
        return "nop";
    if (insn->flow == FLOW_COND)
        return insn->cond == 4 ? "jz" : "jnz";
    bool named = insn->flow < sizeof names / sizeof names[0] && names[insn->flow] != NULL;
    return named ? names[insn->flow] : "insn";
}

/* The emitted instructions as text, one a line, labels as addresses from BASE. */
static const char *emitted(Arena *arena, const Plan *plan)
{
    Overlay *overlay;
    Buffer text = { .arena = arena }, tables = { .arena = arena }, out = { .arena = arena };
    RewriteStats stats = { 0 };
    Error err;
    assert_ok(overlay_build(arena, plan, (NewAddr){ BASE }, &overlay, &err), &err);
    assert_ok(overlay_emit(overlay, &text, &tables, &stats, &err), &err);
    for (size_t at = 0; at < text.len;) {
        Insn insn;
        Bytes code = { text.data + at, text.len - at };
        assert_true(insn_decode(code, vaddr(BASE + at), &insn));
        buffer_print(&out, "%zx: %s", at, mnemonic(&insn));
        if (insn.ref == REF_BRANCH)
            buffer_print(&out, " 0x%" PRIx64, insn.ref_to.v);
        buffer_u8(&out, '\n');
        at += insn.size;
    }
    buffer_u8(&out, 0);
    return (const char *)out.data;
}

static void emits(void **state, const char *text, const char *want)
{
    assert_string_equal(emitted(*state, plan_of(*state, text)), want);
}

#define DIAMOND                                                                                    \
    "func 0x10\n"                                                                                  \
    "A 0x10 entry root:\n"                                                                         \
    " 0x10 jz | 74 05\n"                                                                           \
    " -> C taken 1, B fall 9\n"                                                                    \
    "B 0x12:\n"                                                                                    \
    " 0x12 jmp | eb 04\n"                                                                          \
    " -> D taken 9\n"                                                                              \
    "C 0x17:\n"                                                                                    \
    " 0x17 push | 50\n"                                                                            \
    " -> D fall 1\n"                                                                               \
    "D 0x18:\n"                                                                                    \
    " 0x18 ret | c3\n"

static void keeps_a_branch_whose_fall_through_is_next(void **state)
{
    emits(state, DIAMOND "layout A B D C\n", "0: jz 0x10003\n2: ret\n3: insn\n4: jmp 0x10002\n");
}

static void inverts_a_branch_whose_target_is_next(void **state)
{
    emits(state, DIAMOND "layout A C D B\n", "0: jnz 0x10004\n2: insn\n3: ret\n4: jmp 0x10003\n");
}

static void branches_to_the_hotter_way_when_neither_is_next(void **state)
{
    emits(state, DIAMOND "layout A D B C\n",
          "0: jnz 0x10005\n2: jmp 0x10007\n4: ret\n5: jmp 0x10004\n7: insn\n8: jmp 0x10004\n");
}

static void leaves_for_the_original_where_a_block_is_not_placed(void **state)
{
    emits(state, DIAMOND "layout A B D\n", "0: jz 0x17\n6: ret\n");
    emits(state, DIAMOND "layout A C\n", "0: jnz 0x12\n6: insn\n7: jmp 0x18\n");
}

static void goes_on_behind_a_call_that_never_returned(void **state)
{
    emits(state,
          "func 0x10\n"
          "A 0x10 entry root stops:\n"
          " 0x10 call | e8 00 01 00 00\n"
          "B 0x15:\n"
          " 0x15 ret | c3\n"
          "layout A\n",
          "0: call 0x115\n5: jmp 0x15\n");
}

static void a_call_to_a_placed_root_is_bound(void **state)
{
    emits(state,
          "func 0x10\n"
          "A 0x10 entry root:\n"
          " 0x10 call | e8 fb ff ff ff\n"
          " 0x15 ret | c3\n"
          "layout A\n",
          "0: call 0x10000\n5: ret\n");
}

static void a_stub_leads_to_its_guard_if_that_is_placed(void **state)
{
    static const char text[] = "func 0x10\n"
                               "A 0x10 entry root:\n"
                               " 0x10 call | e8 eb 0f 00 00\n"
                               " 0x15 ret | c3\n"
                               "B 0x16:\n"
                               " 0x16 ret | c3\n"
                               "layout ";
    Bind bind = { .stub = { 0x1000 }, .fn = { 0 }, .to = { 1 } };
    Plan *plan = plan_of(*state, arena_printf(*state, "%sA B\n", text));
    plan->binds = &bind;
    plan->n_binds = 1;
    assert_string_equal(emitted(*state, plan), "0: call 0x10006\n5: ret\n6: ret\n");
    plan = plan_of(*state, arena_printf(*state, "%sA\n", text));
    plan->binds = &bind;
    plan->n_binds = 1;
    assert_string_equal(emitted(*state, plan), "0: call 0x1000\n5: ret\n");
}

/* A loop reaches 127 bytes; farther, the two jumps behind it are there. */
static void a_far_loop_gets_an_island(void **state)
{
    emits(state,
          "func 0x10\n"
          "A 0x10 entry root:\n"
          " 0x10 push | 50\n"
          " -> B fall 1\n"
          "B 0x11:\n"
          " 0x11 loop | e2 fd\n"
          " -> A taken 1, C fall 1\n"
          "C 0x13:\n"
          " 0x13 ret | c3\n"
          "layout B C\n",
          "0: loop 0x10004\n2: jmp 0x10009\n4: jmp 0x10\n9: ret\n");
}

static void a_near_loop_stays_alone(void **state)
{
    emits(state,
          "func 0x10\n"
          "A 0x10 entry root:\n"
          " 0x10 loop | e2 fe\n"
          " -> A taken 1, B fall 1\n"
          "B 0x12:\n"
          " 0x12 ret | c3\n"
          "layout A B\n",
          "0: loop 0x10000\n2: ret\n");
}

static void aligned_blocks_are_padded_with_nops(void **state)
{
    emits(state,
          "func 0x10\n"
          "A 0x10 entry root:\n"
          " 0x10 push | 50\n"
          " -> B fall 1\n"
          "B 0x11 align 4:\n"
          " 0x11 jz | 74 fe\n"
          " -> B taken 1, C fall 1\n"
          "C 0x13:\n"
          " 0x13 ret | c3\n"
          "layout A B C\n",
          "0: insn\n1: nop\na: nop\n10: jz 0x10010\n12: ret\n");
}

/* sdm-jcc-rel8: +127 is the last that is short, and growing one branch can grow another. */
static void branches_are_as_short_as_they_reach(void **state)
{
    Arena *arena = *state;
    for (int n = 126; n <= 128; n++) {
        Buffer text = { .arena = arena };
        const char *head = "func 0x10\nA 0x10 entry root:\n 0x10 jz | 74 05\n"
                           " -> C taken 1, B fall 9\nB 0x12:\n";
        buffer_put(&text, head, strlen(head));
        for (int i = 0; i < n; i++) {
            const char *line = arena_printf(arena, " 0x%x push | 50\n", 0x12 + i);
            buffer_put(&text, line, strlen(line));
        }
        const char *tail = arena_printf(
            arena, " -> C fall 9\nC 0x%x:\n 0x%x ret | c3\nlayout A B C\n", 0x12 + n, 0x12 + n);
        buffer_put(&text, tail, strlen(tail) + 1);
        const char *got = emitted(arena, plan_of(arena, (const char *)text.data));
        const char *second = strchr(got, '\n') + 1;
        assert_int_equal(strtoul(second, NULL, 16), n <= 127 ? 2 : 6);
    }
}

static void refuses_an_exit_into_a_patch_site(void **state)
{
    Plan *plan = plan_of(*state, DIAMOND "layout A B\n");
    Overlay overlay = { .arena = *state, .plan = plan, .text_at = { BASE } };
    Patch patch = { .site = { 0x10 }, .size = 6 };
    uint32_t none = UINT32_MAX;
    Dest dest;
    Error err;
    overlay.label_base = &none;
    plan->patches = &patch;
    plan->n_patches = 1;
    assert_int_equal(overlay_exit(&overlay, vaddr(0x12), &dest, &err), ST_BUG);
    assert_int_equal(overlay_exit(&overlay, vaddr(0x16), &dest, &err), ST_OK);
    assert_int_equal(dest.kind, DEST_ADDR);
    /* What would have crashed must not find the overlay. */
    assert_int_equal(overlay_exit(&overlay, vaddr(BASE + 8), &dest, &err), ST_REFUSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_with_arena(keeps_a_branch_whose_fall_through_is_next),
        unit_test_with_arena(inverts_a_branch_whose_target_is_next),
        unit_test_with_arena(branches_to_the_hotter_way_when_neither_is_next),
        unit_test_with_arena(leaves_for_the_original_where_a_block_is_not_placed),
        unit_test_with_arena(goes_on_behind_a_call_that_never_returned),
        unit_test_with_arena(a_call_to_a_placed_root_is_bound),
        unit_test_with_arena(a_stub_leads_to_its_guard_if_that_is_placed),
        unit_test_with_arena(a_far_loop_gets_an_island),
        unit_test_with_arena(a_near_loop_stays_alone),
        unit_test_with_arena(aligned_blocks_are_padded_with_nops),
        unit_test_with_arena(branches_are_as_short_as_they_reach),
        unit_test_with_arena(refuses_an_exit_into_a_patch_site),
    };
    return cmocka_run_group_tests_name("overlay", tests, NULL, NULL);
}
