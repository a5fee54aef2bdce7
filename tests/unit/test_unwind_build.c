/*
 * New unwind tables of stock files read back: what held for each original instruction holds for its
 * copy, and every old entry is still there.
 *
 * The code of many functions is cut into runs of whole instructions, the runs are shuffled, and
 * each function's run list is one fragment at the end of the image. The tables that come out are
 * put into an image in memory, and core/unwind.c and core/lsda.c read them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/eh_pointer.h"
#include "core/insn.h"
#include "rewriter/lsda.h"
#include "rewriter/unwind.h"
#include "tests/support/cmocka.h"

#include <stdio.h>
#include <unistd.h>

typedef struct World {
    Arena *arena;
    const Image *image;
    const UnwindTable *table;
    Fragment *fragments;
    uint32_t n_fragments;
    NewAddr next; /* where the next fragment goes */
    uint64_t random;
    UnwindSections sections;
    Image output;
    const UnwindTable *new_table;
} World;

static uint32_t pick(World *world, uint32_t below)
{
    world->random = world->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(world->random >> 33) % below;
}

static Vaddr image_end(const Image *image)
{
    uint64_t end = 0;
    for (uint32_t i = 0; i < image->n_segments; i++)
        if (image->segments[i].type == PT_LOAD &&
            image->segments[i].addr.v + image->segments[i].mem_size > end)
            end = image->segments[i].addr.v + image->segments[i].mem_size;
    return vaddr((end + 0xfff) & ~(uint64_t)0xfff);
}

static void check(Status status, const Error *err)
{
    if (status != ST_OK)
        fail_msg("%s+0x%" PRIx64 ": %s [%s]", err->place.section != NULL ? err->place.section : "",
                 err->place.offset, err->text, err->noticed_at);
}

/* The instructions of an FDE, up to the first that does not decode. */
static uint32_t decode_all(World *world, const Fde *fde, Placed *out, uint32_t limit)
{
    Bytes code;
    uint32_t n = 0;
    uint64_t at = 0;
    if (!image_bytes_at(world->image, fde->start, fde->size, &code))
        return 0;
    while (at < fde->size && n < limit) {
        uint8_t size;
        uint8_t flow;
        Vaddr target;
        Bytes rest = { code.data + at, code.len - at };
        Vaddr old = vaddr_add(fde->start, at);
        if (!insn_decode_fast(rest, old, &size, &flow, &target))
            break;
        out[n++] = (Placed){ .old = old, .size = size, .call = flow == FLOW_CALL };
        at += size;
    }
    return n;
}

/* Cuts [0, n) into runs of 1..8 and swaps runs of equal length at random. */
static void shuffle(World *world, Placed *placed, uint32_t n)
{
    uint32_t run = 1 + pick(world, 8);
    for (uint32_t i = 0; n / run > 1 && i < n / run; i++) {
        uint32_t a = i * run;
        uint32_t b = pick(world, n / run) * run;
        for (uint32_t j = 0; j < run; j++) {
            Placed keep = placed[a + j];
            placed[a + j] = placed[b + j];
            placed[b + j] = keep;
        }
    }
}

static void add_fragment(World *world, const Fde *fde, const Fde *other)
{
    enum { LIMIT = 4000 };
    Placed *placed = arena_many(world->arena, Placed, 2 * LIMIT);
    Error err;
    if (unwind_can_carry(world->image, world->table, fde, &err) != ST_OK)
        return;
    uint32_t n = decode_all(world, fde, placed, LIMIT);
    if (other != NULL && unwind_can_carry(world->image, world->table, other, &err) == ST_OK)
        n += decode_all(world, other, placed + n, LIMIT);
    if (n == 0)
        return;
    shuffle(world, placed, n);
    Fragment *fragment = &world->fragments[world->n_fragments++];
    *fragment = (Fragment){ .placed = placed, .n = n, .start = world->next };
    for (uint32_t i = 0; i < n; i++) {
        placed[i].at = world->next;
        placed[i].size = (uint8_t)(placed[i].size + pick(world, 16u - placed[i].size));
        world->next.v += placed[i].size;
    }
    fragment->end = world->next;
    world->next.v += pick(world, 32);
}

/* Every function with an LSDA and every eighth other; one in four also holds its neighbour's code.
 */
static void make_fragments(World *world)
{
    const UnwindTable *table = world->table;
    world->fragments = arena_many(world->arena, Fragment, table->n_fdes);
    for (uint32_t i = 0; i < table->n_fdes && world->n_fragments < 2500; i++) {
        bool wanted = !vaddr_is_none(table->fdes[i].lsda) || i % 8 == 0;
        bool pair = pick(world, 4) == 0 && i + 1 < table->n_fdes;
        if (wanted)
            add_fragment(world, &table->fdes[i], pair ? &table->fdes[i + 1] : NULL);
    }
}

/* The output as an image: the input's bytes, and the three sections in one more PT_LOAD. */
static void make_output(World *world)
{
    const UnwindSections *new = &world->sections;
    Buffer file = { .arena = world->arena };
    Segment *segments = arena_many(world->arena, Segment, world->image->n_segments + 1);
    Section *sections = arena_many(world->arena, Section, 2);
    buffer_put(&file, world->image->file.data, world->image->file.len);
    buffer_align(&file, 4096, 0);
    uint64_t base = file.len;
    buffer_put(&file, new->header.data, new->header.len);
    buffer_fill(&file, 0, new->frame_at.v - new->header_at.v - new->header.len);
    buffer_put(&file, new->frame.data, new->frame.len);
    buffer_fill(&file, 0, new->lsda_at.v - new->frame_at.v - new->frame.len);
    buffer_put(&file, new->lsda.data, new->lsda.len);
    memcpy(segments, world->image->segments, world->image->n_segments * sizeof(Segment));
    segments[world->image->n_segments] = (Segment){ .type = PT_LOAD,
                                                    .flags = PF_R | PF_X,
                                                    .offset = { base },
                                                    .addr = { new->header_at.v },
                                                    .file_size = file.len - base,
                                                    .mem_size = file.len - base,
                                                    .align = 4096 };
    sections[1] = (Section){ .name = ".eh_frame",
                             .type = SHT_PROGBITS,
                             .addr = { new->frame_at.v },
                             .offset = { base + new->frame_at.v - new->header_at.v },
                             .size = new->frame.len };
    world->output = *world->image;
    world->output.file = buffer_bytes(&file);
    world->output.segments = segments;
    world->output.n_segments++;
    world->output.sections = sections;
    world->output.n_sections = 2;
}

static const UnwindRow *row_for(const UnwindRows *rows, uint64_t at)
{
    return &rows->rows[unwind_row_at(rows, vaddr(at))];
}

static void check_cies_equal(const Cie *old, const Cie *new)
{
    assert_true(vaddr_equal(old->personality, new->personality));
    assert_int_equal(old->is_signal, new->is_signal);
    assert_int_equal(old->return_reg, new->return_reg);
    if (!vaddr_is_none(old->personality))
        assert_int_equal(old->personality_encoding & EH_INDIRECT,
                         new->personality_encoding &EH_INDIRECT);
}

static void check_old_entries(World *world)
{
    Arena *scratch = arena_new();
    const UnwindTable *old = world->table;
    for (uint32_t i = 0; i < old->n_fdes; i++) {
        const Fde *was = &old->fdes[i];
        const Fde *is = unwind_fde_at(world->new_table, was->start);
        UnwindRows was_rows;
        UnwindRows is_rows;
        Error err;
        arena_reset(scratch);
        assert_non_null(is);
        assert_true(vaddr_equal(was->start, is->start) && was->size == is->size);
        assert_true(vaddr_equal(was->lsda, is->lsda));
        check_cies_equal(&old->cies[was->cie], &world->new_table->cies[is->cie]);
        check(unwind_rows(scratch, world->image, old, was, &was_rows, &err), &err);
        check(unwind_rows(scratch, &world->output, world->new_table, is, &is_rows, &err), &err);
        assert_int_equal(was_rows.n, is_rows.n);
        for (uint32_t j = 0; j < was_rows.n; j++)
            assert_true(vaddr_equal(was_rows.at[j], is_rows.at[j]) &&
                        unwind_row_equal(&was_rows.rows[j], &is_rows.rows[j]));
    }
    arena_free(scratch);
}

static const LsdaSite *site_for(const Lsda *lsda, uint64_t addr)
{
    for (uint32_t i = 0; i < lsda->n_sites; i++)
        if (addr - lsda->sites[i].start.v < lsda->sites[i].size)
            return &lsda->sites[i];
    return NULL;
}

static EhPointer type_at(const Image *image, const Lsda *lsda, uint32_t index)
{
    Vaddr word = vaddr(lsda->types_end.v - (uint64_t)index * eh_pointer_size(lsda->type_encoding));
    Cursor cursor = cursor_at(image_bytes_from(image, word), 0);
    EhPointer type;
    Error err;
    check(eh_pointer_read(image, &cursor, word, VADDR_NONE, lsda->type_encoding, &type, &err),
          &err);
    return type;
}

static void check_lsda_tables(const World *world, const Lsda *was, const Lsda *is)
{
    assert_true(is->n_types <= was->n_types);
    assert_true(is->actions.len <= was->actions.len && is->filters.len <= was->filters.len);
    if (is->actions.len > 0)
        assert_memory_equal(is->actions.data, was->actions.data, is->actions.len);
    if (is->filters.len > 0)
        assert_memory_equal(is->filters.data, was->filters.data, is->filters.len);
    for (uint32_t i = 1; i <= is->n_types; i++) {
        EhPointer old_type = type_at(world->image, was, i);
        EhPointer new_type = type_at(&world->output, is, i);
        assert_int_equal(old_type.is_null, new_type.is_null);
        assert_true(vaddr_equal(old_type.to, new_type.to));
        assert_int_equal(was->type_encoding & EH_INDIRECT, is->type_encoding & EH_INDIRECT);
    }
}

/* All instructions of one fragment that lie under one new FDE. */
static uint32_t check_piece(World *world, Arena *scratch, const Placed *placed, uint32_t left)
{
    const Fde *is = unwind_fde_at(world->new_table, vaddr(placed->at.v));
    const Fde *was = unwind_fde_at(world->table, placed->old);
    const Lsda *was_lsda = NULL;
    const Lsda *is_lsda = NULL;
    UnwindRows was_rows;
    UnwindRows is_rows;
    Error err;
    uint32_t i = 0;
    assert_non_null(is);
    arena_reset(scratch);
    check_cies_equal(&world->table->cies[was->cie], &world->new_table->cies[is->cie]);
    check(unwind_rows(scratch, world->image, world->table, was, &was_rows, &err), &err);
    check(unwind_rows(scratch, &world->output, world->new_table, is, &is_rows, &err), &err);
    assert_int_equal(vaddr_is_none(was->lsda), vaddr_is_none(is->lsda));
    if (!vaddr_is_none(was->lsda)) {
        check(lsda_read(scratch, world->image, was, &was_lsda, &err), &err);
        check(lsda_read(scratch, &world->output, is, &is_lsda, &err), &err);
        check_lsda_tables(world, was_lsda, is_lsda);
    }
    for (; i < left && placed[i].at.v - is->start.v < is->size; i++) {
        assert_ptr_equal(unwind_fde_at(world->table, placed[i].old), was);
        for (uint32_t byte = 0; byte < placed[i].size; byte++)
            assert_true(unwind_row_equal(row_for(&was_rows, placed[i].old.v),
                                         row_for(&is_rows, placed[i].at.v + byte)));
        const LsdaSite *old = was_lsda != NULL ? site_for(was_lsda, placed[i].old.v) : NULL;
        const LsdaSite *new = is_lsda != NULL ? site_for(is_lsda, placed[i].at.v) : NULL;
        assert_int_equal(old == NULL, new == NULL);
        if (old != NULL)
            assert_true(vaddr_equal(old->landing_pad, new->landing_pad) &&
                        old->action == new->action);
    }
    return i;
}

static void check_new_entries(World *world)
{
    Arena *scratch = arena_new();
    for (uint32_t i = 0; i < world->n_fragments; i++) {
        const Fragment *fragment = &world->fragments[i];
        for (uint32_t j = 0; j < fragment->n;)
            j += check_piece(world, scratch, &fragment->placed[j], fragment->n - j);
    }
    arena_free(scratch);
}

/* The lookup table is sorted, complete, and each row leads to an FDE that starts there. */
static void check_header(World *world)
{
    const UnwindSections *new = &world->sections;
    Cursor cursor = cursor_at(new->header, 0);
    assert_int_equal(cursor_u32(&cursor), 0x3b031b01);
    assert_int_equal(new->header_at.v + 4 + (uint64_t)(int32_t)cursor_u32(&cursor),
                     new->frame_at.v);
    uint32_t n = cursor_u32(&cursor);
    assert_int_equal(n, new->n_fdes);
    assert_int_equal(n, world->new_table->n_fdes);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t start = new->header_at.v + (uint64_t)(int32_t)cursor_u32(&cursor);
        uint64_t entry = new->header_at.v + (uint64_t)(int32_t)cursor_u32(&cursor);
        assert_true(start == world->new_table->fdes[i].start.v);
        assert_true(entry == new->frame_at.v + world->new_table->fdes[i].offset);
    }
    assert_false(cursor.bad);
    assert_int_equal(cursor.at, new->header.len);
    assert_int_equal(load_u32(new->frame.data + new->frame.len - 4), 0);
}

static void read_back(const char *path, uint64_t seed)
{
    Error err;
    if (access(path, R_OK) != 0)
        return;
    World world = { .arena = arena_new(), .random = seed };
    check(image_open(world.arena, path, &world.image, &err), &err);
    check(unwind_read(world.arena, world.image, &world.table, &err), &err);
    world.next.v = image_end(world.image).v;
    make_fragments(&world);
    assert_true(world.n_fragments > 0);
    Plan plan = { .image = world.image, .unwind = world.table };
    check(unwind_build(world.arena, &plan, world.fragments, world.n_fragments, world.next,
                       &world.sections, &err),
          &err);
    make_output(&world);
    check(unwind_read(world.arena, &world.output, &world.new_table, &err), &err);
    check_header(&world);
    check_old_entries(&world);
    check_new_entries(&world);
    print_message("%s: %" PRIu32 " fragments, %" PRIu32 " entries, %zu + %zu + %zu bytes\n", path,
                  world.n_fragments, world.sections.n_fdes, world.sections.header.len,
                  world.sections.frame.len, world.sections.lsda.len);
    image_close(world.image);
    arena_free(world.arena);
}

#define LIB "/usr/lib/x86_64-linux-gnu/"

static void carries_cxx_library(void **state)
{
    (void)state;
    read_back(LIB "libstdc++.so.6", 1);
}

static void carries_c_library(void **state)
{
    (void)state;
    read_back(LIB "libc.so.6", 2);
}

static void carries_fixed_program(void **state)
{
    (void)state;
    read_back("/usr/lib/gcc/x86_64-linux-gnu/12/cc1", 3);
}

static void carries_python(void **state)
{
    (void)state;
    read_back("/usr/bin/python3.11", 4);
}

static void is_the_same_twice(void **state)
{
    (void)state;
    Error err;
    Bytes frames[2];
    if (access(LIB "libstdc++.so.6", R_OK) != 0)
        return;
    Arena *arena = arena_new();
    for (int i = 0; i < 2; i++) {
        World world = { .arena = arena, .random = 5 };
        check(image_open(arena, LIB "libstdc++.so.6", &world.image, &err), &err);
        check(unwind_read(arena, world.image, &world.table, &err), &err);
        world.next.v = image_end(world.image).v;
        make_fragments(&world);
        Plan plan = { .image = world.image, .unwind = world.table };
        check(unwind_build(arena, &plan, world.fragments, world.n_fragments, world.next,
                           &world.sections, &err),
              &err);
        frames[i] = world.sections.frame;
        image_close(world.image);
    }
    assert_int_equal(frames[0].len, frames[1].len);
    assert_memory_equal(frames[0].data, frames[1].data, frames[0].len);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(carries_cxx_library),   cmocka_unit_test(carries_c_library),
        cmocka_unit_test(carries_fixed_program), cmocka_unit_test(carries_python),
        cmocka_unit_test(is_the_same_twice),
    };
    return cmocka_run_group_tests_name("unwind-build", tests, NULL, NULL);
}
