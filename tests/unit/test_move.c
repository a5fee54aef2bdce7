/*
 * One proof for each form of MOVE_FORMS: the bytes before, where it goes, the bytes after.
 *
 * SPDX-License-Identifier: MIT
 */
#include "rewriter/encode.h"
#include "rewriter/move.h"
#include "tests/support/cmocka.h"

typedef struct Case {
    const char *proof; /* as in MOVE_FORMS */
    Form form;
    const char *before; /* hexadecimal, at 0x1000 */
    uint64_t target;    /* in the output */
    uint8_t size;       /* of the moved one; 0: as before */
    bool invert;
    const char *after; /* hexadecimal, at 0x2000 */
} Case;

enum { OLD_AT = 0x1000, NEW_AT = 0x2000 };

static const Case cases[] = {
    { "plain", FORM_PLAIN, "4889e5", 0, 0, false, "4889e5" },
    { "call_rel32", FORM_CALL_REL32, "e8fb0f0000", 0x3000, 0, false, "e8fb0f0000" },
    { "call_rel32", FORM_CALL_REL32, "666648e8f80f0000", 0x2000, 0, false, "666648e8f8ffffff" },
    { "jmp_rel8", FORM_JMP_REL8, "eb10", 0x3000, 5, false, "e9fb0f0000" },
    { "jmp_rel8", FORM_JMP_REL8, "eb10", 0x2010, 2, false, "eb0e" },
    { "jmp_rel32", FORM_JMP_REL32, "e900010000", 0x2000, 2, false, "ebfe" },
    { "jmp_rel32", FORM_JMP_REL32, "f2e900010000", 0x3000, 0, false, "f2e9fa0f0000" },
    { "jcc_rel8", FORM_JCC_REL8, "7405", 0x3000, 6, false, "0f84fa0f0000" },
    { "jcc_rel8", FORM_JCC_REL8, "7405", 0x2042, 2, true, "7540" },
    { "jcc_rel8", FORM_JCC_REL8, "3e7c05", 0x3000, 7, true, "3e0f8df90f0000" },
    { "jcc_rel32", FORM_JCC_REL32, "0f8f00010000", 0x1f82, 2, false, "7f80" },
    { "jcc_rel32", FORM_JCC_REL32, "0f8f00010000", 0x3000, 6, true, "0f8efa0f0000" },
    { "loop_rel8", FORM_LOOP_REL8, "e2fe", 0x2012, 0, false, "e210" },
    { "loop_rel8", FORM_LOOP_REL8, "67e3fd", 0x2013, 0, false, "67e310" },
    { "xbegin_rel32", FORM_XBEGIN_REL32, "c7f800000000", 0x3000, 0, false, "c7f8fa0f0000" },
    { "rip_mem", FORM_RIP_MEM, "488b0500010000", 0x1107, 0, false, "488b0500f1ffff" },
    { "rip_mem", FORM_RIP_MEM, "c705000100002a000000", 0x3000, 0, false, "c705f60f00002a000000" },
    { "rip_mem", FORM_RIP_MEM, "ff2500010000", 0x3000, 0, false, "ff25fa0f0000" },
    { "abs_mem", FORM_ABS_MEM, "ff24c500104000", 0x403000, 0, false, "ff24c500304000" },
};

static uint8_t parse(const char *hex, uint8_t *out)
{
    uint8_t n = 0;
    for (; hex[2 * n] != '\0'; n++) {
        char digits[3] = { hex[2 * n], hex[2 * n + 1], 0 };
        out[n] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return n;
}

static void decode(const char *hex, uint64_t at, Insn *insn)
{
    uint8_t bytes[INSN_MAX_SIZE];
    uint8_t size = parse(hex, bytes);
    if (!insn_decode((Bytes){ bytes, size }, vaddr(at), insn) || insn->size != size)
        fail_msg("%s does not decode", hex);
}

static void moves_each_form(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Insn insn, moved;
        Error err = { 0 };
        uint8_t want[INSN_MAX_SIZE];
        decode(cases[i].before, OLD_AT, &insn);
        Move move = { &insn, NEW_AT, cases[i].target,
                      cases[i].size != 0 ? cases[i].size : insn.size, cases[i].invert };
        if (move_form(&insn) != cases[i].form)
            fail_msg("%s is form %d", cases[i].before, move_form(&insn));
        assert_ok(move_insn(&move, &moved, &err), &err);
        assert_int_equal(moved.size, parse(cases[i].after, want));
        if (memcmp(moved.bytes, want, moved.size) != 0)
            fail_msg("%s did not become %s", cases[i].before, cases[i].after);
    }
}

static void each_form_has_its_proof(void **state)
{
    (void)state;
    for (int form = 0; form < FORM_COUNT; form++) {
        bool found = false;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
            found |=
                (int)cases[i].form == form && strcmp(cases[i].proof, move_rows[form].proof) == 0;
        if (!found)
            fail_msg("%s has no case %s", move_rows[form].form, move_rows[form].proof);
    }
}

/* What must not be moved: 16-bit branches, EIP-relative operands. */
static void refuses_what_it_does_not_know(void **state)
{
    (void)state;
    static const char *const unknown[] = { "67488b0500010000", "66e8fb0f0000", "667405" };
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        uint8_t bytes[INSN_MAX_SIZE];
        uint8_t size = parse(unknown[i], bytes);
        Insn insn;
        if (insn_decode((Bytes){ bytes, size }, vaddr(OLD_AT), &insn) && insn.ref != REF_NONE &&
            move_form(&insn) != FORM_NONE)
            fail_msg("%s is taken for form %s", unknown[i], move_rows[move_form(&insn)].form);
    }
}

static void refuses_what_does_not_reach(void **state)
{
    (void)state;
    Insn insn, moved;
    decode("488b0500010000", OLD_AT, &insn);
    Move move = { &insn, NEW_AT, UINT64_C(0x90000000), insn.size, false };
    assert_int_equal(move_insn(&move, &moved, NULL), ST_REFUSED);
    decode("7405", OLD_AT, &insn);
    move = (Move){ &insn, NEW_AT, NEW_AT + 0x82, 2, false };
    assert_int_equal(move_insn(&move, &moved, NULL), ST_REFUSED);
}

static void sees_another_instruction(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        { "4889e5", "4889e6" },                 /* another register */
        { "7405", "7505" },                     /* another condition */
        { "488b0500010000", "4c8b0500010000" }, /* another prefix */
        { "e8fb0f0000", "e9fb0f0000" },         /* a jump for a call */
        { "3e7405", "2e7405" },                 /* another hint */
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        Insn left, right;
        decode(pairs[i][0], OLD_AT, &left);
        decode(pairs[i][1], OLD_AT, &right);
        assert_true(move_is_same(&left, &left, left.ref_to.v, false));
        assert_false(move_is_same(&left, &right, right.ref_to.v, false));
    }
}

static void nops_are_nops_of_their_size(void **state)
{
    (void)state;
    for (uint8_t size = 1; size <= NOP_MAX; size++) {
        uint8_t bytes[NOP_MAX];
        Insn insn;
        encode_nop(bytes, size);
        assert_true(insn_decode((Bytes){ bytes, size }, vaddr(OLD_AT), &insn));
        assert_int_equal(insn.size, size);
        assert_true((insn.facts & INSN_NOP) != 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moves_each_form),
        cmocka_unit_test(each_form_has_its_proof),
        cmocka_unit_test(refuses_what_it_does_not_know),
        cmocka_unit_test(refuses_what_does_not_reach),
        cmocka_unit_test(sees_another_instruction),
        cmocka_unit_test(nops_are_nops_of_their_size),
    };
    return cmocka_run_group_tests_name("move", tests, NULL, NULL);
}
