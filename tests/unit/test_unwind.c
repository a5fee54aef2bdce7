/*
 * Unwind tables made by hand: forms that stock files do not hold, what is malformed, what is not
 * known, and mutations. SPDX-License-Identifier: MIT
 */
#include "core/cfa_ops.h"
#include "core/eh_pointer.h"
#include "core/unwind.h"
#include "tests/support/cmocka.h"
#include "tests/support/fake_image.h"

enum { TABLE_AT = 0x400000, CODE_AT = 0x401000, CODE_SIZE = 0x100 };

/* A table under construction. */
typedef struct Maker {
    Buffer out;
    size_t entry; /* where the open entry's length stands */
    size_t cie;
    bool wide; /* 64-bit lengths */
} Maker;

static void begin(Maker *maker)
{
    maker->entry = maker->out.len;
    buffer_u32(&maker->out, maker->wide ? UINT32_MAX : 0);
    if (maker->wide)
        buffer_u64(&maker->out, 0);
}

static void finish(Maker *maker)
{
    if (maker->wide)
        store_u64(maker->out.data + maker->entry + 4, maker->out.len - maker->entry - 12);
    else
        store_u32(maker->out.data + maker->entry, (uint32_t)(maker->out.len - maker->entry - 4));
}

/* A CIE with that augmentation; its data follow. Code align 1, data align -8, return 16. */
static void begin_cie(Maker *maker, uint8_t version, const char *augmentation)
{
    maker->cie = maker->out.len;
    begin(maker);
    buffer_u32(&maker->out, 0);
    buffer_u8(&maker->out, version);
    buffer_put(&maker->out, augmentation, strlen(augmentation) + 1);
    if (version == 4) {
        buffer_u8(&maker->out, 8);
        buffer_u8(&maker->out, 0);
    }
    buffer_uleb(&maker->out, 1);
    buffer_sleb(&maker->out, -8);
    buffer_u8(&maker->out, 16);
}

/* def_cfa rsp, 8; offset ra, 1 */
static void put_entry_state(Maker *maker)
{
    static const uint8_t program[] = { CFA_DEF_CFA, 7, 8, CFA_OFFSET | 16, 1 };
    buffer_put(&maker->out, program, sizeof(program));
}

static void put_plain_cie(Maker *maker)
{
    begin_cie(maker, 1, "zR");
    buffer_uleb(&maker->out, 1);
    buffer_u8(&maker->out, EH_PCREL4);
    put_entry_state(maker);
    finish(maker);
}

static void begin_fde(Maker *maker)
{
    begin(maker);
    buffer_u32(&maker->out, (uint32_t)(maker->out.len - maker->cie));
}

/* An FDE of the plain CIE over the code, with that program. */
static void put_plain_fde(Maker *maker, const uint8_t *program, size_t size)
{
    begin_fde(maker);
    buffer_u32(&maker->out, (uint32_t)(CODE_AT - (TABLE_AT + maker->out.len)));
    buffer_u32(&maker->out, CODE_SIZE);
    buffer_uleb(&maker->out, 0);
    buffer_put(&maker->out, program, size);
    finish(maker);
}

static Status read_made(Arena *arena, const Maker *maker, const UnwindTable **table, Error *err)
{
    const Image *image = fake_image(arena, ".eh_frame", TABLE_AT, buffer_bytes(&maker->out));
    return unwind_read(arena, image, table, err);
}

static Status rows_of(Arena *arena, const Maker *maker, UnwindRows *rows, Error *err)
{
    const UnwindTable *table;
    const Image *image = fake_image(arena, ".eh_frame", TABLE_AT, buffer_bytes(&maker->out));
    TRY(unwind_read(arena, image, &table, err));
    assert_int_equal(table->n_fdes, 1);
    return unwind_rows(arena, image, table, &table->fdes[0], rows, err);
}

/* Rows that a program makes in the plain CIE. */
static Status run(Arena *arena, const uint8_t *program, size_t size, UnwindRows *rows, Error *err)
{
    Maker maker = { .out = { .arena = arena } };
    put_plain_cie(&maker);
    put_plain_fde(&maker, program, size);
    return rows_of(arena, &maker, rows, err);
}

static void assert_cfa(const UnwindRow *row, int reg, int64_t offset)
{
    assert_int_equal(row->cfa.kind, RULE_CFA_REG);
    assert_int_equal(row->cfa.reg, reg);
    assert_int_equal(row->cfa.value, offset);
}

static void reads_both_length_forms_and_versions(void **state)
{
    static const uint8_t versions[] = { 1, 3, 4 };
    for (int i = 0; i < 6; i++) {
        const UnwindTable *table;
        Error err;
        Maker maker = { .out = { .arena = *state }, .wide = i >= 3 };
        begin_cie(&maker, versions[i % 3], "zR");
        buffer_uleb(&maker.out, 1);
        buffer_u8(&maker.out, EH_PCREL4);
        finish(&maker);
        put_plain_fde(&maker, NULL, 0);
        assert_int_equal(read_made(*state, &maker, &table, &err), ST_OK);
        assert_int_equal(table->n_fdes, 1);
        assert_int_equal(table->fdes[0].start.v, CODE_AT);
        assert_int_equal(table->fdes[0].size, CODE_SIZE);
    }
}

/* An absolute FDE in every form that can hold its addresses. */
static void reads_every_pointer_form(void **state)
{
    static const uint8_t forms[] = { EH_ABSPTR,  EH_ULEB128, EH_UDATA4, EH_UDATA8,
                                     EH_SLEB128, EH_SDATA4,  EH_SDATA8, EH_ALIGNED };
    for (size_t i = 0; i < sizeof(forms); i++) {
        const UnwindTable *table;
        Error err;
        Maker maker = { .out = { .arena = *state } };
        begin_cie(&maker, 1, "zR");
        buffer_uleb(&maker.out, 1);
        buffer_u8(&maker.out, forms[i]);
        finish(&maker);
        begin_fde(&maker);
        if (forms[i] == EH_ALIGNED)
            buffer_align(&maker.out, 8, 0);
        for (int field = 0; field < 2; field++) {
            uint64_t value = field == 0 ? CODE_AT : CODE_SIZE;
            if (forms[i] == EH_ULEB128)
                buffer_uleb(&maker.out, value);
            else if (forms[i] == EH_SLEB128)
                buffer_sleb(&maker.out, (int64_t)value);
            else if (eh_pointer_size(forms[i]) == 4)
                buffer_u32(&maker.out, (uint32_t)value);
            else
                buffer_u64(&maker.out, value);
        }
        buffer_uleb(&maker.out, 0);
        finish(&maker);
        assert_int_equal(read_made(*state, &maker, &table, &err), ST_OK);
        assert_int_equal(table->fdes[0].start.v, CODE_AT);
        assert_int_equal(table->fdes[0].size, CODE_SIZE);
    }
}

static void reads_personality_lsda_and_signal(void **state)
{
    const UnwindTable *table;
    Error err;
    Maker maker = { .out = { .arena = *state } };
    begin_cie(&maker, 1, "zPLRS");
    buffer_uleb(&maker.out, 7);
    buffer_u8(&maker.out, EH_INDIRECT | EH_PCREL4);
    buffer_u32(&maker.out, 0x5000);
    uint64_t slot = TABLE_AT + maker.out.len - 4 + 0x5000;
    buffer_u8(&maker.out, EH_PCREL4);
    buffer_u8(&maker.out, EH_PCREL4);
    finish(&maker);
    begin_fde(&maker);
    buffer_u32(&maker.out, (uint32_t)(CODE_AT - (TABLE_AT + maker.out.len)));
    buffer_u32(&maker.out, CODE_SIZE);
    buffer_uleb(&maker.out, 4);
    buffer_u32(&maker.out, 0x100);
    uint64_t lsda = TABLE_AT + maker.out.len - 4 + 0x100;
    finish(&maker);
    assert_int_equal(read_made(*state, &maker, &table, &err), ST_OK);
    assert_true(table->cies[0].is_signal);
    assert_int_equal(table->cies[0].personality.v, slot);
    assert_int_equal(table->fdes[0].lsda.v, lsda);
}

/* What a linker leaves of dropped functions: a zero start or a zero size. */
static void leaves_out_empty_entries(void **state)
{
    const UnwindTable *table;
    Error err;
    Maker maker = { .out = { .arena = *state } };
    put_plain_cie(&maker);
    for (int i = 0; i < 2; i++) {
        begin_fde(&maker);
        buffer_u32(&maker.out, i == 0 ? 0 : 0x1000);
        buffer_u32(&maker.out, i == 0 ? CODE_SIZE : 0);
        buffer_uleb(&maker.out, 0);
        finish(&maker);
    }
    put_plain_fde(&maker, NULL, 0);
    buffer_u32(&maker.out, 0);
    assert_int_equal(read_made(*state, &maker, &table, &err), ST_OK);
    assert_int_equal(table->n_fdes, 1);
    assert_non_null(unwind_fde_at(table, vaddr(CODE_AT + CODE_SIZE - 1)));
    assert_null(unwind_fde_at(table, vaddr(CODE_AT + CODE_SIZE)));
    assert_null(unwind_fde_at(table, vaddr(CODE_AT - 1)));
}

static void an_image_without_a_table_is_empty(void **state)
{
    const UnwindTable *table;
    Error err;
    Bytes none = { (const uint8_t *)"", 0 };
    const Image *image = fake_image(*state, ".text", TABLE_AT, none);
    assert_int_equal(unwind_read(*state, image, &table, &err), ST_OK);
    assert_int_equal(table->n_fdes, 0);
}

// clang-format off
/* Every instruction, and where each row of what it makes begins. */
static const uint8_t every_instruction[] = {
    CFA_DEF_CFA_OFFSET, 16,
    CFA_OFFSET | 6, 2,
    CFA_ADVANCE_LOC | 1, /* row 0 ends */
    CFA_DEF_CFA_REGISTER, 6,
    CFA_REMEMBER_STATE,
    CFA_ADVANCE_LOC1, 4, /* row 1 */
    CFA_DEF_CFA, 10, 0,
    CFA_VAL_OFFSET, 3, 1,
    CFA_UNDEFINED, 12,
    CFA_SAME_VALUE, 13,
    CFA_REGISTER, 14, 15,
    CFA_EXPRESSION, 8, 2, 0x76, 0x10,
    CFA_ADVANCE_LOC2, 5, 0, /* row 2 */
    CFA_RESTORE_STATE,
    CFA_RESTORE | 6,
    CFA_OFFSET_EXTENDED, 3, 3,
    CFA_OFFSET_EXTENDED_SF, 12, 0x7f,
    CFA_GNU_ARGS_SIZE, 24,
    CFA_ADVANCE_LOC4, 6, 0, 0, 0, /* row 3 */
    CFA_DEF_CFA_EXPRESSION, 2, 0x77, 8,
    CFA_VAL_EXPRESSION, 3, 2, 0x77, 0,
    CFA_GNU_NEGATIVE_OFFSET, 12, 2,
    CFA_RESTORE_EXTENDED, 3,
    CFA_NOP,
    CFA_ADVANCE_LOC | 1, /* row 4 */
    CFA_DEF_CFA_SF, 7, 0x7e,
    CFA_DEF_CFA_OFFSET_SF, 0x7d,
    CFA_VAL_OFFSET_SF, 3, 0x7f,
};
static const uint64_t every_row_at[] = { 0, 1, 5, 10, 16, 17 };

/* What it leaves of a register in a row; `value` where the rule has one. */
typedef struct RegRule {
    int row;
    int reg;
    CfaRuleKind kind;
    int64_t value;
} RegRule;

static const RegRule every_rule[] = {
    { 0,  6, RULE_OFFSET,     -16 },
    { 0, 16, RULE_OFFSET,      -8 },
    { 0,  3, RULE_NONE,         0 },
    { 2,  3, RULE_VAL_OFFSET,  -8 },
    { 2, 12, RULE_UNDEFINED,    0 },
    { 2, 13, RULE_SAME,         0 },
    { 2, 14, RULE_REG,         15 },
    { 2,  8, RULE_EXPR,         0 },
    { 3,  6, RULE_NONE,         0 },
    { 3, 13, RULE_NONE,         0 },
    { 3,  3, RULE_OFFSET,     -24 },
    { 3, 12, RULE_OFFSET,       8 },
    { 4,  3, RULE_NONE,         0 },
    { 4, 12, RULE_OFFSET,      16 },
    { 5,  3, RULE_VAL_OFFSET,   8 },
};
// clang-format on

/* dwarf5-6.4.2: every instruction changes what the standard says it changes. */
static void runs_every_instruction(void **state)
{
    UnwindRows rows;
    Error err;
    assert_ok(run(*state, every_instruction, sizeof(every_instruction), &rows, &err), &err);
    assert_int_equal(rows.n, sizeof(every_row_at) / sizeof(every_row_at[0]));
    for (uint32_t i = 0; i < rows.n; i++)
        assert_int_equal(rows.at[i].v, CODE_AT + every_row_at[i]);
    for (size_t i = 0; i < sizeof(every_rule) / sizeof(every_rule[0]); i++) {
        const RegRule *want = &every_rule[i];
        const UnwindRule *got = &rows.rows[want->row].regs[want->reg];
        assert_int_equal(got->kind, want->kind);
        assert_int_equal(got->value, want->value);
    }
    const UnwindRow *row = rows.rows;
    assert_cfa(&row[0], 7, 16);
    assert_cfa(&row[1], 6, 16);
    assert_cfa(&row[2], 10, 0);
    assert_int_equal(row[2].regs[8].expr.len, 2);
    assert_cfa(&row[3], 6, 16);
    assert_int_equal(row[3].args_size, 24);
    assert_int_equal(row[4].cfa.kind, RULE_VAL_EXPR);
    assert_int_equal(row[4].cfa.expr.len, 2);
    assert_cfa(&row[5], 7, 24);
    assert_int_equal(unwind_row_at(&rows, vaddr(CODE_AT + 9)), 2);
    assert_int_equal(unwind_row_at(&rows, vaddr(CODE_AT - 1)), rows.n);
}

static void set_loc_is_resolved_where_it_stands(void **state)
{
    Maker maker = { .out = { .arena = *state } };
    UnwindRows rows;
    Error err;
    put_plain_cie(&maker);
    begin_fde(&maker);
    buffer_u32(&maker.out, (uint32_t)(CODE_AT - (TABLE_AT + maker.out.len)));
    buffer_u32(&maker.out, CODE_SIZE);
    buffer_uleb(&maker.out, 0);
    buffer_u8(&maker.out, CFA_SET_LOC);
    buffer_u32(&maker.out, (uint32_t)(CODE_AT + 0x20 - (TABLE_AT + maker.out.len)));
    buffer_u8(&maker.out, CFA_DEF_CFA_OFFSET);
    buffer_u8(&maker.out, 32);
    finish(&maker);
    assert_int_equal(rows_of(*state, &maker, &rows, &err), ST_OK);
    assert_int_equal(rows.n, 2);
    assert_int_equal(rows.at[1].v, CODE_AT + 0x20);
    assert_cfa(&rows.rows[1], 7, 32);
}

/* What a call pushed is no part of the state that comes back. */
static void restore_state_keeps_the_arguments_size(void **state)
{
    static const uint8_t program[] = { CFA_REMEMBER_STATE, CFA_GNU_ARGS_SIZE, 16,
                                       CFA_ADVANCE_LOC | 1, CFA_RESTORE_STATE };
    UnwindRows rows;
    Error err;
    assert_ok(run(*state, program, sizeof(program), &rows, &err), &err);
    assert_int_equal(rows.n, 1);
    assert_int_equal(rows.rows[0].args_size, 16);
}

static void equal_neighbours_are_one_row(void **state)
{
    static const uint8_t program[] = { CFA_ADVANCE_LOC | 1, CFA_DEF_CFA_OFFSET, 8,
                                       CFA_ADVANCE_LOC | 2, CFA_NOP };
    UnwindRows rows;
    Error err;
    assert_int_equal(run(*state, program, sizeof(program), &rows, &err), ST_OK);
    assert_int_equal(rows.n, 1);
}

typedef struct BadProgram {
    uint8_t program[6];
    uint8_t size;
    Status status;
    const char *text;
} BadProgram;

static void names_what_is_wrong_in_a_program(void **state)
{
    static const BadProgram cases[] = {
        { { 0x3d }, 1, ST_REFUSED, "0x3d is not known" },
        { { CFA_DEF_CFA, 7 }, 2, ST_BAD_INPUT, "past the end" },
        { { CFA_EXPRESSION, 3, 9, 0x30 }, 4, ST_BAD_INPUT, "past the end" },
        { { CFA_RESTORE_STATE }, 1, ST_BAD_INPUT, "never remembered" },
        { { CFA_DEF_CFA_EXPRESSION, 1, 0x30, CFA_DEF_CFA_OFFSET, 8 }, 5, ST_BAD_INPUT, "half" },
        { { CFA_SET_LOC, 0x10, 0, 0, 0 }, 5, ST_BAD_INPUT, "goes back" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        UnwindRows rows;
        Error err;
        assert_int_equal(run(*state, cases[i].program, cases[i].size, &rows, &err),
                         cases[i].status);
        assert_non_null(strstr(err.text, cases[i].text));
        assert_string_equal(err.place.section, ".eh_frame");
        assert_true(err.place.offset > 0); /* the FDE's own */
    }
}

static void names_the_entry_that_is_malformed(void **state)
{
    const UnwindTable *table;
    Error err;
    Maker maker = { .out = { .arena = *state } };
    put_plain_cie(&maker);
    size_t fde = maker.out.len;
    put_plain_fde(&maker, NULL, 0);

    store_u32(maker.out.data + fde, 0x1000); /* longer than the table */
    assert_int_equal(read_made(*state, &maker, &table, &err), ST_BAD_INPUT);
    assert_int_equal(err.place.offset, fde);
    store_u32(maker.out.data + fde, 2); /* too short for an id */
    assert_int_equal(read_made(*state, &maker, &table, &err), ST_BAD_INPUT);
    store_u32(maker.out.data + fde, 9); /* cut short inside the address */
    assert_int_equal(read_made(*state, &maker, &table, &err), ST_BAD_INPUT);
    store_u32(maker.out.data + fde, 13);
    store_u32(maker.out.data + fde + 4, 3); /* no CIE there */
    assert_int_equal(read_made(*state, &maker, &table, &err), ST_BAD_INPUT);
    assert_int_equal(err.place.offset, fde + 4);
    store_u32(maker.out.data + fde + 4, 0x7fffffff); /* before the table */
    assert_int_equal(read_made(*state, &maker, &table, &err), ST_BAD_INPUT);
}

static void refuses_what_it_does_not_know(void **state)
{
    static const struct {
        uint8_t version;
        const char *augmentation;
        uint8_t encoding;
    } cases[] = {
        { 2, "zR", EH_PCREL4 },
        { 1, "eh", EH_PCREL4 },
        { 1, "zX", EH_PCREL4 },
        { 1, "zR", EH_TEXTREL | EH_SDATA4 },
        { 1, "zR", 0x17 },
        { 1, "zR", EH_DATAREL | EH_SDATA4 },
        { 1, "zR", EH_INDIRECT | EH_PCREL4 },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const UnwindTable *table;
        Error err;
        Maker maker = { .out = { .arena = *state } };
        begin_cie(&maker, cases[i].version, cases[i].augmentation);
        buffer_uleb(&maker.out, 1);
        buffer_u8(&maker.out, cases[i].encoding);
        finish(&maker);
        put_plain_fde(&maker, NULL, 0);
        assert_int_equal(read_made(*state, &maker, &table, &err), ST_REFUSED);
    }
}

static void refuses_words_with_dynamic_relocations(void **state)
{
    const UnwindTable *table;
    Error err;
    Maker maker = { .out = { .arena = *state } };
    put_plain_cie(&maker);
    size_t start = maker.out.len + 8;
    put_plain_fde(&maker, NULL, 0);
    Image *image = fake_image(*state, ".eh_frame", TABLE_AT, buffer_bytes(&maker.out));
    Reloc reloc = { .where = { TABLE_AT + start }, .type = R_X86_64_PC32 };
    image->relocs = &reloc;
    image->n_relocs = 1;
    assert_int_equal(unwind_read(*state, image, &table, &err), ST_REFUSED);
    assert_non_null(strstr(err.text, "dynamic relocation"));
}

typedef struct Carry {
    uint8_t program[8];
    uint8_t size;
    Status status;
} Carry;

static void says_what_can_be_carried(void **state)
{
    static const Carry cases[] = {
        { { CFA_DEF_CFA_OFFSET, 16 }, 2, ST_OK },
        { { CFA_DEF_CFA_EXPRESSION, 3, 0x76, 0x78, 0x06 }, 5, ST_OK },      /* rbp-8, deref */
        { { CFA_DEF_CFA_EXPRESSION, 4, 0x77, 8, 0x80, 0 }, 6, ST_REFUSED }, /* reads rip */
        { { CFA_EXPRESSION, 3, 3, 0x92, 16, 0 }, 6, ST_REFUSED },           /* bregx rip */
        { { CFA_EXPRESSION, 3, 2, 0x03, 0 }, 5, ST_REFUSED },               /* an address */
        { { CFA_EXPRESSION, 3, 1, 0x77 }, 4, ST_REFUSED },                  /* cut short */
        { { CFA_OFFSET_EXTENDED, 17, 2 }, 3, ST_REFUSED },                  /* xmm0 */
        { { CFA_RESTORE_STATE }, 1, ST_BAD_INPUT },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const UnwindTable *table;
        Error err;
        Maker maker = { .out = { .arena = *state } };
        put_plain_cie(&maker);
        put_plain_fde(&maker, cases[i].program, cases[i].size);
        const Image *image = fake_image(*state, ".eh_frame", TABLE_AT, buffer_bytes(&maker.out));
        assert_int_equal(unwind_read(*state, image, &table, &err), ST_OK);
        assert_int_equal(unwind_can_carry(image, table, &table->fdes[0], &err), cases[i].status);
    }
}

/* Every byte of a table that holds most forms, changed in several ways: never more than an error.
 */
static void mutations_give_an_error_or_a_table(void **state)
{
    static const uint8_t program[] = { CFA_ADVANCE_LOC | 1,
                                       CFA_DEF_CFA_OFFSET,
                                       16,
                                       CFA_REMEMBER_STATE,
                                       CFA_EXPRESSION,
                                       8,
                                       2,
                                       0x76,
                                       0x10,
                                       CFA_ADVANCE_LOC4,
                                       6,
                                       0,
                                       0,
                                       0,
                                       CFA_RESTORE_STATE };
    static const uint8_t values[] = { 0, 1, 0x7f, 0x80, 0xff };
    Maker maker = { .out = { .arena = *state } };
    put_plain_cie(&maker);
    put_plain_fde(&maker, program, sizeof(program));
    maker.wide = true;
    put_plain_fde(&maker, program, sizeof(program));
    for (size_t i = 0; i < maker.out.len * sizeof(values); i++) {
        Arena *arena = arena_new();
        uint8_t *bytes = arena_copy(arena, maker.out.data, maker.out.len);
        const UnwindTable *table;
        Error err;
        bytes[i / sizeof(values)] = values[i % sizeof(values)];
        const Image *image =
            fake_image(arena, ".eh_frame", TABLE_AT, (Bytes){ bytes, maker.out.len });
        if (unwind_read(arena, image, &table, &err) == ST_OK)
            for (uint32_t j = 0; j < table->n_fdes; j++) {
                Status status = unwind_can_carry(image, table, &table->fdes[j], &err);
                assert_true(status == ST_OK || status == ST_REFUSED || status == ST_BAD_INPUT);
            }
        arena_free(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_with_arena(reads_both_length_forms_and_versions),
        unit_test_with_arena(reads_every_pointer_form),
        unit_test_with_arena(reads_personality_lsda_and_signal),
        unit_test_with_arena(leaves_out_empty_entries),
        unit_test_with_arena(an_image_without_a_table_is_empty),
        unit_test_with_arena(runs_every_instruction),
        unit_test_with_arena(set_loc_is_resolved_where_it_stands),
        unit_test_with_arena(restore_state_keeps_the_arguments_size),
        unit_test_with_arena(equal_neighbours_are_one_row),
        unit_test_with_arena(names_what_is_wrong_in_a_program),
        unit_test_with_arena(names_the_entry_that_is_malformed),
        unit_test_with_arena(refuses_what_it_does_not_know),
        unit_test_with_arena(refuses_words_with_dynamic_relocations),
        unit_test_with_arena(says_what_can_be_carried),
        unit_test_with_arena(mutations_give_an_error_or_a_table),
    };
    return cmocka_run_group_tests_name("unwind", tests, NULL, NULL);
}
