/*
 * Language-specific data made by hand: read, carried to a piece of the overlay and read again;
 * what is malformed or refused; mutations. SPDX-License-Identifier: MIT
 */
#include "core/eh_pointer.h"
#include "core/lsda.h"
#include "rewriter/lsda.h"
#include "tests/support/cmocka.h"
#include "tests/support/fake_image.h"

enum {
    AREA_AT = 0x400000, /* the LSDA */
    CODE_AT = 0x400800, /* its function, in the same segment */
    CODE_SIZE = 0x100,
    IMAGE_SIZE = 0x1000,
    PIECE_AT = 0x500000,
    NEW_AREA_AT = 0x501000,
};

/* How an LSDA is made. Sites: start, size, pad, action; offsets from the function. */
typedef struct Shape {
    bool explicit_base;
    int64_t base; /* LPStart minus the function's start */
    uint8_t site_encoding;
    uint8_t type_encoding;
    uint8_t sites[4][4];
    uint32_t n_sites;
    uint8_t actions[16];
    uint32_t n_actions;
    uint64_t types[4]; /* type n first; 0: catch-all */
    uint32_t n_types;
    uint8_t filters[4];
    uint32_t n_filters;
} Shape;

static void put_number(Buffer *out, uint8_t encoding, uint64_t value)
{
    switch (eh_pointer_size(encoding)) {
    case 2:
        buffer_u16(out, (uint16_t)value);
        break;
    case 4:
        buffer_u32(out, (uint32_t)value);
        break;
    case 8:
        buffer_u64(out, value);
        break;
    default:
        buffer_uleb(out, value);
        break;
    }
}

static void put_types(Buffer *out, const Shape *shape)
{
    for (uint32_t i = 0; i < shape->n_types; i++) {
        bool pcrel = (shape->type_encoding & EH_PCREL) != 0 && shape->types[i] != 0;
        uint64_t bias = pcrel ? AREA_AT + out->len : 0;
        put_number(out, shape->type_encoding, shape->types[i] - bias);
    }
    buffer_put(out, shape->filters, shape->n_filters);
}

static Bytes make_area(Arena *arena, const Shape *shape)
{
    Buffer out = { .arena = arena };
    Buffer sites = { .arena = arena };
    for (uint32_t i = 0; i < shape->n_sites; i++) {
        for (int field = 0; field < 3; field++)
            put_number(&sites, shape->site_encoding, shape->sites[i][field]);
        buffer_uleb(&sites, shape->sites[i][3]);
    }
    buffer_u8(&out, shape->explicit_base ? EH_PCREL4 : EH_OMIT);
    if (shape->explicit_base)
        eh_pcrel4_put(&out, AREA_AT + out.len, (uint64_t)(CODE_AT + shape->base));
    buffer_u8(&out, shape->type_encoding);
    if (shape->type_encoding != EH_OMIT)
        buffer_uleb(&out, 2 + sites.len + shape->n_actions +
                              shape->n_types * eh_pointer_size(shape->type_encoding));
    buffer_u8(&out, shape->site_encoding);
    buffer_uleb(&out, sites.len);
    buffer_put(&out, sites.data, sites.len);
    buffer_put(&out, shape->actions, shape->n_actions);
    put_types(&out, shape);
    buffer_fill(&out, 0, IMAGE_SIZE - out.len);
    return buffer_bytes(&out);
}

static const Fde *function_fde(Arena *arena)
{
    Fde *fde = arena_one(arena, Fde);
    fde->start = vaddr(CODE_AT);
    fde->size = CODE_SIZE;
    fde->lsda = vaddr(AREA_AT);
    return fde;
}

static Image *shape_image(Arena *arena, const Shape *shape)
{
    return fake_image(arena, ".gcc_except_table", AREA_AT, make_area(arena, shape));
}

/* Three sites: a cleanup, one that goes on, a catch of two types and a specification. */
static const Shape usual = {
    .site_encoding = EH_ULEB128,
    .type_encoding = EH_INDIRECT | EH_PCREL4,
    .sites = { { 0x10, 0x10, 0x80, 0 }, { 0x30, 0x10, 0, 0 }, { 0x50, 0x20, 0x90, 1 } },
    .n_sites = 3,
    .actions = { 1, 1, 2, 1, 0x7f, 0 }, /* type 1, then type 2, then filter -1 */
    .n_actions = 6,
    .types = { 0x400f00, 0x400f08 },
    .n_types = 2,
    .filters = { 1, 0 },
    .n_filters = 2,
};

static void reads_sites_actions_types_and_filters(void **state)
{
    static const uint8_t encodings[] = { EH_ULEB128, EH_UDATA2, EH_UDATA4, EH_SDATA4, EH_UDATA8 };
    for (size_t i = 0; i < sizeof(encodings); i++) {
        Shape shape = usual;
        const Lsda *lsda;
        Error err;
        shape.site_encoding = encodings[i];
        assert_ok(lsda_read(*state, shape_image(*state, &shape), function_fde(*state), &lsda, &err),
                  &err);
        assert_int_equal(lsda->n_sites, 3);
        assert_int_equal(lsda->sites[0].start.v, CODE_AT + 0x10);
        assert_int_equal(lsda->sites[0].landing_pad.v, CODE_AT + 0x80);
        assert_true(vaddr_is_none(lsda->sites[1].landing_pad));
        assert_int_equal(lsda->sites[2].action, 1);
        assert_int_equal(lsda->actions.len, 6);
        assert_int_equal(lsda->n_types, 2);
        assert_int_equal(lsda->filters.len, 2);
    }
}

static void an_explicit_base_counts_for_pads_only(void **state)
{
    Shape shape = usual;
    const Lsda *lsda;
    Error err;
    shape.explicit_base = true;
    shape.base = -0x100;
    assert_ok(lsda_read(*state, shape_image(*state, &shape), function_fde(*state), &lsda, &err),
              &err);
    assert_int_equal(lsda->sites[0].start.v, CODE_AT + 0x10);
    assert_int_equal(lsda->sites[0].landing_pad.v, CODE_AT - 0x100 + 0x80);
}

/* Placed instructions of 8 original bytes each, in the order given by their offsets. */
static UnwindPiece make_piece(Arena *arena, const uint8_t *offsets, uint32_t n)
{
    Placed *placed = arena_many(arena, Placed, n);
    for (uint32_t i = 0; i < n; i++)
        placed[i] = (Placed){ .at = { PIECE_AT + 8 * (uint64_t)i },
                              .old = vaddr(CODE_AT + offsets[i]),
                              .size = 8 };
    return (UnwindPiece){ .fde = function_fde(arena),
                          .placed = placed,
                          .n = n,
                          .start = { PIECE_AT },
                          .end = { PIECE_AT + 8 * (uint64_t)n } };
}

/* Carries an LSDA to a piece and reads it there. */
static const Lsda *carry(Arena *arena, const Shape *shape, const UnwindPiece *piece, Image **image)
{
    const Lsda *lsda;
    Buffer out = { .arena = arena };
    Error err;
    Image *old = shape_image(arena, shape);
    assert_ok(lsda_read(arena, old, piece->fde, &lsda, &err), &err);
    assert_ok(lsda_put(arena, old, lsda, piece, (NewAddr){ NEW_AREA_AT }, &out, &err), &err);

    Image *new = fake_image(arena, ".respin.lsda", NEW_AREA_AT, buffer_bytes(&out));
    Segment *segments = arena_many(arena, Segment, 2);
    segments[0] = new->segments[0];
    segments[1] = old->segments[0]; /* landing pads are looked for in code */
    new->segments = segments;
    new->n_segments = 2;
    Fde *fde = arena_one(arena, Fde);
    fde->start = vaddr(piece->start.v);
    fde->size = piece->end.v - piece->start.v;
    fde->lsda = vaddr(NEW_AREA_AT);
    assert_ok(lsda_read(arena, new, fde, &lsda, &err), &err);
    assert_int_equal(lsda->size, out.len);
    *image = new;
    return lsda;
}

static void neighbours_merge_and_gaps_stay(void **state)
{
    static const uint8_t order[] = { 0x50, 0x58, 0x00, 0x10, 0x18, 0x38, 0x30, 0x40, 0x60 };
    UnwindPiece piece = make_piece(*state, order, sizeof(order));
    Image *image;
    const Lsda *lsda = carry(*state, &usual, &piece, &image);
    static const struct {
        uint64_t start, size, pad, action;
    } want[] = {
        { 0, 16, CODE_AT + 0x90, 1 },
        { 24, 16, CODE_AT + 0x80, 0 },
        { 40, 16, UINT64_MAX, 0 },    /* an entry without a pad is kept… */
        { 64, 8, CODE_AT + 0x90, 1 }, /* …and 0x40, which had no entry, has none */
    };
    assert_int_equal(lsda->n_sites, 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(lsda->sites[i].start.v, PIECE_AT + want[i].start);
        assert_int_equal(lsda->sites[i].size, want[i].size);
        assert_true(lsda->sites[i].landing_pad.v == want[i].pad);
        assert_int_equal(lsda->sites[i].action, want[i].action);
    }
}

static void pads_below_the_function_stay_reachable(void **state)
{
    static const uint8_t order[] = { 0x10, 0x50 };
    UnwindPiece piece = make_piece(*state, order, sizeof(order));
    Shape shape = usual;
    Image *image;
    shape.explicit_base = true;
    shape.base = -0x90; /* pads at -0x10 and 0 from the function's start */
    const Lsda *lsda = carry(*state, &shape, &piece, &image);
    assert_int_equal(lsda->sites[0].landing_pad.v, CODE_AT - 0x10);
    assert_int_equal(lsda->sites[1].landing_pad.v, CODE_AT);

    shape = usual; /* the only pad is the function's first byte: its offset must not be 0 */
    shape.explicit_base = true;
    shape.base = -0x90;
    shape.sites[0][2] = 0;
    lsda = carry(*state, &shape, &piece, &image);
    assert_int_equal(lsda->sites[1].landing_pad.v, CODE_AT);
}

static void types_are_carried_in_every_encoding(void **state)
{
    static const uint8_t encodings[] = {
        EH_INDIRECT | EH_PCREL4, EH_PCREL4, EH_PCREL | EH_SDATA8, EH_UDATA4, EH_ABSPTR,
        EH_INDIRECT | EH_UDATA4
    };
    static const uint8_t order[] = { 0x50 };
    for (size_t i = 0; i < sizeof(encodings); i++) {
        UnwindPiece piece = make_piece(*state, order, sizeof(order));
        Shape shape = usual;
        Image *image;
        shape.type_encoding = encodings[i];
        shape.types[0] = 0; /* type 2 catches all */
        const Lsda *lsda = carry(*state, &shape, &piece, &image);
        assert_int_equal(lsda->n_types, 2);
        for (uint32_t type = 1; type <= 2; type++) {
            EhPointer pointer;
            Error err;
            uint64_t word = lsda->types_end.v - type * eh_pointer_size(lsda->type_encoding);
            Cursor cursor = cursor_at(image_bytes_from(image, vaddr(word)), 0);
            assert_ok(eh_pointer_read(image, &cursor, vaddr(word), VADDR_NONE, lsda->type_encoding,
                                      &pointer, &err),
                      &err);
            assert_int_equal(pointer.is_null, type == 2);
            assert_true(pointer.is_null || pointer.to.v == shape.types[1]);
        }
        assert_memory_equal(lsda->actions.data, usual.actions, usual.n_actions);
        assert_memory_equal(lsda->filters.data, usual.filters, usual.n_filters);
    }
}

static void a_dynamic_relocation_on_a_type_is_refused(void **state)
{
    const Lsda *lsda;
    Error err;
    Shape shape = usual;
    shape.type_encoding = EH_ABSPTR;
    Image *image = shape_image(*state, &shape);
    assert_ok(lsda_read(*state, image, function_fde(*state), &lsda, &err), &err);
    Reloc reloc = { .where = { lsda->types_end.v - 16 }, .type = R_X86_64_64 };
    image->relocs = &reloc;
    image->n_relocs = 1;
    assert_int_equal(lsda_read(*state, image, function_fde(*state), &lsda, &err), ST_REFUSED);
    assert_non_null(strstr(err.text, "lsda-dynreloc"));
    reloc.where.v = lsda->types_end.v; /* the word after the table is another's */
    assert_ok(lsda_read(*state, image, function_fde(*state), &lsda, &err), &err);
}

static Status read_changed(Arena *arena, Shape shape, Error *err)
{
    const Lsda *lsda;
    return lsda_read(arena, shape_image(arena, &shape), function_fde(arena), &lsda, err);
}

static void names_what_is_malformed(void **state)
{
    Error err;
    Shape shape = usual;
    shape.sites[1][0] = 0x18; /* overlaps the first */
    assert_int_equal(read_changed(*state, shape, &err), ST_BAD_INPUT);
    assert_string_equal(err.place.section, ".gcc_except_table");
    shape = usual;
    shape.sites[2][1] = 0xf0; /* past the function */
    assert_int_equal(read_changed(*state, shape, &err), ST_BAD_INPUT);
    shape = usual;
    shape.actions[0] = 9; /* more types than there is room for */
    assert_int_equal(read_changed(*state, shape, &err), ST_BAD_INPUT);
    shape = usual;
    shape.type_encoding = EH_OMIT; /* actions name types, and there are none */
    assert_int_equal(read_changed(*state, shape, &err), ST_BAD_INPUT);
    shape = usual;
    shape.type_encoding = EH_DATAREL | EH_SDATA4;
    assert_int_equal(read_changed(*state, shape, &err), ST_REFUSED);
    shape = usual;
    shape.site_encoding = EH_PCREL4;
    assert_int_equal(read_changed(*state, shape, &err), ST_REFUSED);
    shape = usual;
    shape.explicit_base = true;
    shape.base = 0x10000000; /* pads outside code */
    assert_int_equal(read_changed(*state, shape, &err), ST_BAD_INPUT);
}

/* A chain of actions that leads back to itself ends. */
static void a_loop_of_actions_ends(void **state)
{
    Error err;
    Shape shape = usual;
    shape.actions[1] = 0x7f; /* one byte back: to its own record */
    assert_ok(read_changed(*state, shape, &err), &err);
}

static void mutations_give_an_error_or_a_result(void **state)
{
    static const uint8_t values[] = { 0, 1, 0x7f, 0x80, 0xff };
    static const uint8_t order[] = { 0x10, 0x38, 0x50, 0x58 };
    UnwindPiece piece = make_piece(*state, order, sizeof(order));
    Bytes area = make_area(*state, &usual);
    for (size_t i = 0; i < 0x40 * sizeof(values); i++) {
        Arena *arena = arena_new();
        uint8_t *bytes = arena_copy(arena, area.data, area.len);
        const Lsda *lsda;
        Buffer out = { .arena = arena };
        Error err;
        bytes[i / sizeof(values)] = values[i % sizeof(values)];
        Image *image = fake_image(arena, ".gcc_except_table", AREA_AT, (Bytes){ bytes, area.len });
        Status status = lsda_read(arena, image, piece.fde, &lsda, &err);
        if (status == ST_OK)
            status = lsda_put(arena, image, lsda, &piece, (NewAddr){ NEW_AREA_AT }, &out, &err);
        assert_true(status == ST_OK || status == ST_REFUSED || status == ST_BAD_INPUT);
        arena_free(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_with_arena(reads_sites_actions_types_and_filters),
        unit_test_with_arena(an_explicit_base_counts_for_pads_only),
        unit_test_with_arena(neighbours_merge_and_gaps_stay),
        unit_test_with_arena(pads_below_the_function_stay_reachable),
        unit_test_with_arena(types_are_carried_in_every_encoding),
        unit_test_with_arena(a_dynamic_relocation_on_a_type_is_refused),
        unit_test_with_arena(names_what_is_malformed),
        unit_test_with_arena(a_loop_of_actions_ends),
        unit_test_with_arena(mutations_give_an_error_or_a_result),
    };
    return cmocka_run_group_tests_name("lsda", tests, NULL, NULL);
}
