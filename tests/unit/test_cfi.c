/*
 * Call frame programs written from rows: bytes of each kind of change, and what must not be
 * written.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/cfa_ops.h"
#include "rewriter/cfi.h"
#include "tests/support/cmocka.h"

static const Cie cie = { .code_align = 1, .data_align = -8, .return_reg = 16 };

static UnwindRule cfa_rule(uint16_t reg, int64_t offset)
{
    return (UnwindRule){ .kind = RULE_CFA_REG, .reg = reg, .value = offset };
}

static UnwindRule saved_at(int64_t offset)
{
    return (UnwindRule){ .kind = RULE_OFFSET, .value = offset };
}

/* CFA rsp+8, return address at CFA-8: what every x86-64 CIE starts with. */
static CfiContext usual_context(void)
{
    CfiContext context = { .cie = &cie };
    context.initial.cfa = cfa_rule(7, 8);
    context.initial.regs[16] = saved_at(-8);
    return context;
}

static void expect_change(Arena *arena, const UnwindRow *from, const UnwindRow *to,
                          const uint8_t *want, size_t size)
{
    Buffer out = { .arena = arena };
    CfiContext context = usual_context();
    assert_true(cfi_put_change(&out, &context, from, to));
    assert_int_equal(out.len, size);
    if (size > 0)
        assert_memory_equal(out.data, want, size);
}

#define EXPECT_CHANGE(from, to, ...)                                                               \
    do {                                                                                           \
        static const uint8_t want_[] = { __VA_ARGS__ };                                            \
        expect_change(*state, (from), (to), want_, sizeof(want_));                                 \
    } while (0)

static void changes_only_what_differs(void **state)
{
    UnwindRow from = usual_context().initial;
    UnwindRow to = from;
    expect_change(*state, &from, &to, NULL, 0);
    to.cfa = cfa_rule(7, 16);
    EXPECT_CHANGE(&from, &to, CFA_DEF_CFA_OFFSET, 16);
    to.cfa = cfa_rule(6, 8);
    EXPECT_CHANGE(&from, &to, CFA_DEF_CFA_REGISTER, 6);
    to.cfa = cfa_rule(6, 16);
    EXPECT_CHANGE(&from, &to, CFA_DEF_CFA, 6, 16);
    to.cfa = cfa_rule(7, -16);
    EXPECT_CHANGE(&from, &to, CFA_DEF_CFA_OFFSET_SF, 2);
    to.cfa = cfa_rule(6, -16);
    EXPECT_CHANGE(&from, &to, CFA_DEF_CFA_SF, 6, 2);
    to = from;
    to.regs[6] = saved_at(-16);
    EXPECT_CHANGE(&from, &to, CFA_OFFSET | 6, 2);
    EXPECT_CHANGE(&to, &from, CFA_RESTORE | 6);
    to.regs[6] = saved_at(16);
    EXPECT_CHANGE(&from, &to, CFA_OFFSET_EXTENDED_SF, 6, 0x7e);
    to = from;
    to.args_size = 32;
    EXPECT_CHANGE(&from, &to, CFA_GNU_ARGS_SIZE, 32);
}

static void writes_every_kind_of_rule(void **state)
{
    static const uint8_t expr[] = { 0x76, 0x70 };
    UnwindRow from = usual_context().initial;
    UnwindRow to = from;
    to.regs[3].kind = RULE_UNDEFINED;
    EXPECT_CHANGE(&from, &to, CFA_UNDEFINED, 3);
    to.regs[3].kind = RULE_SAME;
    EXPECT_CHANGE(&from, &to, CFA_SAME_VALUE, 3);
    to.regs[3] = (UnwindRule){ .kind = RULE_VAL_OFFSET, .value = -24 };
    EXPECT_CHANGE(&from, &to, CFA_VAL_OFFSET, 3, 3);
    to.regs[3].value = 8;
    EXPECT_CHANGE(&from, &to, CFA_VAL_OFFSET_SF, 3, 0x7f);
    to.regs[3] = (UnwindRule){ .kind = RULE_REG, .value = 2 };
    EXPECT_CHANGE(&from, &to, CFA_REGISTER, 3, 2);
    to.regs[3] = (UnwindRule){ .kind = RULE_EXPR, .expr = { expr, 2 } };
    EXPECT_CHANGE(&from, &to, CFA_EXPRESSION, 3, 2, 0x76, 0x70);
    to.regs[3].kind = RULE_VAL_EXPR;
    EXPECT_CHANGE(&from, &to, CFA_VAL_EXPRESSION, 3, 2, 0x76, 0x70);
    to = from;
    to.cfa = (UnwindRule){ .kind = RULE_VAL_EXPR, .expr = { expr, 2 } };
    EXPECT_CHANGE(&from, &to, CFA_DEF_CFA_EXPRESSION, 2, 0x76, 0x70);
}

/* libgcc takes restore as "not saved", whatever the CIE says: the way back to CFA-8 is in full. */
static void a_rule_of_the_cie_is_written_in_full(void **state)
{
    UnwindRow from = usual_context().initial;
    UnwindRow to = from;
    from.regs[16] = (UnwindRule){ .kind = RULE_REG, .value = 2 };
    EXPECT_CHANGE(&from, &to, CFA_OFFSET | 16, 1);
}

static void what_cannot_be_written_is_said(void **state)
{
    Buffer out = { .arena = *state };
    CfiContext context = usual_context();
    UnwindRow from = context.initial;
    UnwindRow to = from;
    to.regs[16].kind = RULE_NONE;
    to.regs[16].value = 0;
    assert_false(cfi_put_change(&out, &context, &from, &to));
    to = from;
    to.regs[3] = saved_at(-12);
    assert_false(cfi_put_change(&out, &context, &from, &to));
    to = from;
    to.cfa.kind = RULE_NONE;
    assert_false(cfi_put_change(&out, &context, &from, &to));
    to = from;
    to.regs_beyond = true;
    assert_false(cfi_put_change(&out, &context, &from, &to));
}

static void advances_in_the_shortest_form(void **state)
{
    static const struct {
        uint64_t delta;
        size_t size;
    } cases[] = {
        { 0, 0 },   { 1, 1 },     { 63, 1 },    { 64, 2 },         { 255, 2 },
        { 256, 3 }, { 65535, 3 }, { 65536, 5 }, { UINT32_MAX, 5 }, { UINT32_MAX + (uint64_t)1, 6 }
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Buffer out = { .arena = *state };
        uint64_t sum = 0;
        cfi_put_advance(&out, cases[i].delta);
        assert_int_equal(out.len, cases[i].size);
        Cursor cursor = cursor_at(buffer_bytes(&out), 0);
        while (cursor.at < out.len) {
            CfaInsn insn;
            assert_true(cfa_insn_read(&cursor, 0, &insn));
            sum += insn.value;
        }
        assert_true(sum == cases[i].delta);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_with_arena(changes_only_what_differs),
        unit_test_with_arena(writes_every_kind_of_rule),
        unit_test_with_arena(a_rule_of_the_cie_is_written_in_full),
        unit_test_with_arena(what_cannot_be_written_is_said),
        unit_test_with_arena(advances_in_the_shortest_form),
    };
    return cmocka_run_group_tests_name("cfi", tests, NULL, NULL);
}
