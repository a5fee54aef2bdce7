/*
 * A whole rewrite in memory, and the check of it: the output holds, and one broken in any way that
 * the check knows does not.
 *
 * SPDX-License-Identifier: MIT
 */
#include "rewriter/address_map.h"
#include "tests/support/cmocka.h"
#include "tests/support/force_plan.h"

typedef struct World {
    Arena *arena;
    const Image *input;
    const Plan *plan;
    Bytes output;
    uint8_t *copy; /* of the output, to break */
    const MapFile *map;
    const Image *image; /* of the whole output */
} World;

static World world;

static int make_world(void **state)
{
    (void)state;
    ForceOptions options = { .order = ORDER_RANDOM, .seed = 11 };
    RewriteStats stats;
    Error err;
    world.arena = arena_new();
    assert_ok(image_open(world.arena, "/usr/bin/env", &world.input, &err), &err);
    assert_ok(force_plan(world.arena, world.input, &options, &world.plan, &err), &err);
    assert_ok(rewrite_to_bytes(world.arena, world.plan, &world.output, &stats, &err), &err);
    assert_true(stats.insns_checked > 1000);
    assert_ok(image_from_bytes(world.arena, "out", world.output, &world.image, &err), &err);
    assert_ok(map_decode(world.arena, world.image, &world.map, &err), &err);
    world.copy = arena_copy(world.arena, world.output.data, world.output.len);
    return 0;
}

static int drop_world(void **state)
{
    (void)state;
    arena_free(world.arena);
    return 0;
}

static Status check_copy(Error *err)
{
    const Image *image;
    CheckReport report;
    Bytes bytes = { world.copy, world.output.len };
    TRY(image_from_bytes(world.arena, "out", bytes, &image, err));
    return check_output(world.arena, world.input, image, &report, err);
}

/* The output with one byte at a link-time address changed does not hold. */
static void break_byte(uint64_t at, uint8_t flip)
{
    FileOff offset;
    Error err = { 0 };
    assert_true(image_offset_of_addr(world.image, vaddr(at), &offset));
    world.copy[offset.v] ^= flip;
    Status status = check_copy(&err);
    world.copy[offset.v] ^= flip;
    if (status != ST_BAD_INPUT)
        fail_msg("byte 0x%" PRIx64 " ^ 0x%02x goes unseen: %d %s", at, flip, status, err.text);
}

static void an_output_holds(void **state)
{
    (void)state;
    Error err;
    assert_ok(check_copy(&err), &err);
}

static void the_same_plan_gives_the_same_bytes(void **state)
{
    (void)state;
    Bytes again;
    RewriteStats stats;
    Error err;
    assert_ok(rewrite_to_bytes(world.arena, world.plan, &again, &stats, &err), &err);
    assert_int_equal(again.len, world.output.len);
    assert_memory_equal(again.data, world.output.data, again.len);
}

static void sees_a_changed_original_byte(void **state)
{
    (void)state;
    const Section *section = image_section(world.input, ".rodata");
    break_byte(section->addr.v, 1);
    break_byte(section->addr.v + section->size - 1, 0x80);
    const MapPatch *patch = &world.map->patches[0];
    break_byte(patch->site.v - 1, 1);
    for (uint32_t i = 0; i < world.map->n_patches; i++) {
        patch = &world.map->patches[i];
        if (patch->size > 5) {
            break_byte(patch->site.v + 5, 1);
            break;
        }
    }
}

static void sees_a_patch_that_leads_elsewhere(void **state)
{
    (void)state;
    break_byte(world.map->patches[0].site.v, 1);
    break_byte(world.map->patches[0].site.v + 1, 1);
    break_byte(world.map->patches[0].site.v + 4, 0x40);
}

/* Flips bits of overlay instructions: every field of the first few of each kind of run. */
static void sees_changed_overlay_code(void **state)
{
    (void)state;
    int tried = 0;
    for (uint32_t i = 0; i < world.map->n_runs && tried < 60; i += 7) {
        const MapRun *run = &world.map->runs[i];
        if (run->kind != RUN_SAME && run->kind != RUN_RESIZED)
            continue;
        for (uint64_t k = 0; k < run->size && k < 6; k++)
            break_byte(run->at.v + k, 0x08);
        tried++;
    }
    assert_true(tried > 20);
}

static void sees_a_broken_unwind_table(void **state)
{
    (void)state;
    const Section *header = image_section(world.image, ".eh_frame_hdr");
    break_byte(header->addr.v + 8, 1);  /* how many rows */
    break_byte(header->addr.v + 12, 1); /* start of the first */
    break_byte(header->addr.v + header->size - 4, 0x20);
    const Segment *segment = image_segment(world.image, PT_GNU_EH_FRAME);
    assert_int_equal(segment->addr.v, header->addr.v);
}

static void sees_a_broken_map(void **state)
{
    (void)state;
    const Section *map = image_section(world.image, MAP_SECTION);
    break_byte(map->addr.v + 12, 1);       /* name */
    break_byte(map->addr.v + 20, 1);       /* version */
    break_byte(map->addr.v + 20 + 8, 1);   /* key */
    break_byte(map->addr.v + 20 + 120, 1); /* number of runs */
    break_byte(map->addr.v + 20 + 136, 4); /* first run's size */
}

static void says_that_an_input_is_no_output(void **state)
{
    (void)state;
    const AddressMap *map;
    CheckReport report;
    Error err;
    assert_int_equal(check_output(world.arena, world.input, world.input, &report, &err),
                     ST_BAD_INPUT);
    assert_ok(address_map_read(world.arena, world.input, &map, &err), &err);
    assert_null(map);
}

static void the_map_leads_back(void **state)
{
    (void)state;
    const AddressMap *map;
    Error err;
    assert_ok(address_map_read(world.arena, world.image, &map, &err), &err);
    assert_true(image_key_equal(&map->original, &world.input->key));
    for (uint32_t i = 0; i + 1 < map->n; i++) {
        assert_true(map->at[i].v < map->at[i + 1].v);
        if (!vaddr_is_none(map->old[i]))
            assert_true(image_is_code(world.input, map->old[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_output_holds),
        cmocka_unit_test(the_same_plan_gives_the_same_bytes),
        cmocka_unit_test(sees_a_changed_original_byte),
        cmocka_unit_test(sees_a_patch_that_leads_elsewhere),
        cmocka_unit_test(sees_changed_overlay_code),
        cmocka_unit_test(sees_a_broken_unwind_table),
        cmocka_unit_test(sees_a_broken_map),
        cmocka_unit_test(says_that_an_input_is_no_output),
        cmocka_unit_test(the_map_leads_back),
    };
    return cmocka_run_group_tests_name("check", tests, make_world, drop_world);
}
