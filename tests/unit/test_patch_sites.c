/*
 * test_patch_sites.c: which bytes may be overwritten, on a page of code made for each case.
 *
 *     0x1000  the neighbour's unwind entry      0x1040  the function      0x1080  the neighbour's
 * other 0x10c0  bytes without an entry            0x2000  data
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/support/cmocka.h"

#include "core/lsda.h"
#include "optimizer/patch_sites.h"

#include <unistd.h>

enum { CODE = 0x1000, FUNC = 0x1040, AFTER = 0x1080, GAP = 0x10c0, DATA = 0x2000, END = 0x2100 };

typedef struct World {
    Arena *arena;
    uint8_t bytes[END - CODE];
    Segment segments[2];
    Symbol symbol;
    Reloc reloc;
    Image image;
    Fde fdes[3];
    UnwindTable unwind;
    Vaddr read_page;
    ProfileModule counts;
    Func *fn;
} World;

static void put(World *world, uint64_t at, const void *bytes, size_t size)
{
    memcpy(world->bytes + (at - CODE), bytes, size);
}

/* rel32 branch with a one-byte opcode. */
static void put_branch(World *world, uint64_t at, uint8_t opcode, uint64_t to)
{
    uint8_t bytes[5] = { opcode };
    store_u32(bytes + 1, (uint32_t)(to - at - 5));
    put(world, at, bytes, sizeof bytes);
}

static World *new_world(Arena *arena, const char *text)
{
    World *world = arena_one(arena, World);
    Error err;
    world->arena = arena;
    memset(world->bytes, 0x90, DATA - CODE);
    memset(world->bytes + (GAP - CODE), 0xcc, DATA - GAP);
    world->segments[0] = (Segment){ .type = PT_LOAD,
                                    .flags = PF_R | PF_X,
                                    .addr = { CODE },
                                    .file_size = DATA - CODE,
                                    .mem_size = DATA - CODE };
    world->segments[1] = (Segment){ .type = PT_LOAD,
                                    .flags = PF_R | PF_W,
                                    .addr = { DATA },
                                    .offset = { DATA - CODE },
                                    .file_size = END - DATA,
                                    .mem_size = END - DATA };
    world->image = (Image){ .path = "world",
                            .file = { world->bytes, sizeof world->bytes },
                            .segments = world->segments,
                            .n_segments = 2,
                            .is_pic = true };
    const uint64_t starts[] = { CODE, FUNC, AFTER };
    for (int i = 0; i < 3; i++)
        world->fdes[i] = (Fde){ .start = { starts[i] }, .size = 0x40 };
    world->unwind = (UnwindTable){ .fdes = world->fdes, .n_fdes = 3 };
    assert_ok(func_read_text(arena, text, &world->fn, &err), &err);
    for (uint32_t b = 0; b < world->fn->n_blocks; b++) {
        const Block *block = &world->fn->blocks[b];
        for (uint32_t i = 0; i < block->n_insns; i++)
            put(world, block->insns[i].addr.v, block->insns[i].bytes, block->insns[i].size);
    }
    return world;
}

static bool find(World *world, bool every_start, PatchSite *site, Refusal *why)
{
    PatchProof *proof =
        patch_proof_new(world->arena, &world->image, &world->unwind, &world->counts, 0);
    patch_proof_add_func(proof, world->fn);
    return patch_site_find(proof, world->fn, (BlockId){ 0 }, every_start, site, why);
}

static bool is_free(World *world)
{
    PatchSite site;
    Refusal why;
    return find(world, false, &site, &why);
}

/* push rbp; mov rbp, rsp; push r12; ret */
static const char plain[] = "func 0x1040\nextent 0x1040 0x1080 fde 1\n"
                            "A 0x1040 count 1 entry hot:\n"
                            "    0x1040 push rbp | 55\n"
                            "    0x1041 mov rbp, rsp | 48 89 e5\n"
                            "    0x1044 push r12 | 41 54\n"
                            "    0x1046 ret | c3\n";

static void a_site_is_whole_instructions(void **state)
{
    PatchSite site;
    Refusal why;
    World *world = new_world(*state, plain);
    assert_true(find(world, false, &site, &why));
    assert_int_equal(site.addr.v, 0x1040);
    assert_int_equal(site.size, 6);
    assert_int_equal(site.to_insn, 0);
    assert_int_equal(site.n_over, 0);
}

static void no_site_where_a_wide_branch_may_arrive(void **state)
{
    World *world = new_world(*state, plain);
    put_branch(world, 0x1010, 0xe9, 0x1044);
    assert_false(is_free(world));
    put_branch(world, 0x1010, 0xe9, 0x1040);
    assert_true(is_free(world));
    put_branch(world, 0x1010, 0xe9, 0x1046);
    assert_true(is_free(world));
}

static void a_wide_branch_counts_at_any_byte(void **state)
{
    World *world = new_world(*state, plain);
    static const uint8_t mov[] = { 0x48, 0xb8 }; /* mov rax, imm64 around it */
    put(world, 0x1010, mov, sizeof mov);
    put_branch(world, 0x1013, 0xe8, 0x1041);
    assert_false(is_free(world));
}

static void no_site_where_a_short_branch_arrives(void **state)
{
    World *world = new_world(*state, plain);
    uint8_t jz[] = { 0x74, (uint8_t)(0x1041 - 0x1092) };
    put(world, 0x1090, jz, sizeof jz);
    assert_false(is_free(world));
}

static void a_short_branch_inside_an_instruction_is_none(void **state)
{
    World *world = new_world(*state, plain);
    uint8_t mov[] = { 0xb8, 0x74, (uint8_t)(0x1041 - 0x1093), 0, 0 }; /* mov eax, imm32 */
    put(world, 0x1090, mov, sizeof mov);
    assert_true(is_free(world));
}

static void undecodable_neighbours_count_at_any_byte(void **state)
{
    World *world = new_world(*state, plain);
    uint8_t mov[] = { 0xb8, 0x74, (uint8_t)(0x1041 - 0x1093), 0, 0 };
    put(world, 0x1090, mov, sizeof mov);
    world->bytes[0x1082 - CODE] = 0x06; /* no instruction in 64-bit mode */
    assert_false(is_free(world));
}

static void bytes_without_an_entry_count_at_any_byte(void **state)
{
    World *world = new_world(*state, plain);
    world->unwind.n_fdes = 2;
    uint8_t mov[] = { 0xb8, 0x74, (uint8_t)(0x1041 - 0x1093), 0, 0 };
    put(world, 0x1090, mov, sizeof mov);
    assert_false(is_free(world));
}

static void no_site_over_a_relocation_symbol_or_lea(void **state)
{
    World *world = new_world(*state, plain);
    world->reloc = (Reloc){ .where = { DATA }, .type = R_X86_64_RELATIVE, .addend = 0x1041 };
    world->image.relocs = &world->reloc;
    world->image.n_relocs = 1;
    assert_false(is_free(world));
    world->image.n_relocs = 0;
    world->symbol = (Symbol){ .name = "inner", .addr = { 0x1041 } };
    world->image.symbols = &world->symbol;
    world->image.n_symbols = 1;
    assert_false(is_free(world));
    world->image.n_symbols = 0;
    assert_true(is_free(world));
    uint8_t lea[7] = { 0x48, 0x8d, 0x05 };
    store_u32(lea + 3, 0x1044 - 0x1017);
    put(world, 0x1010, lea, sizeof lea);
    assert_false(is_free(world));
}

static void values_in_data_count_in_fixed_images_only(void **state)
{
    World *world = new_world(*state, plain);
    store_u32(world->bytes + (DATA + 3 - CODE), 0x1041);
    assert_true(is_free(world));
    world->image.is_pic = false;
    assert_false(is_free(world));
}

static void no_site_over_a_landing_pad(void **state)
{
    World *world = new_world(*state, "func 0x1040\nextent 0x1040 0x1080 fde 1\n"
                                     "A 0x1040 count 1 entry hot:\n"
                                     "    0x1040 push rbp | 55\n"
                                     "    0x1041 mov rbp, rsp | 48 89 e5\n"
                                     "    -> B fall 1\n"
                                     "B 0x1044 count 1 hot pad:\n"
                                     "    0x1044 push r12 | 41 54\n"
                                     "    0x1046 ret | c3\n");
    assert_false(is_free(world));
    world->fn->blocks[1].facts = BLOCK_HOT;
    PatchSite site;
    Refusal why;
    assert_true(find(world, false, &site, &why));
    assert_int_equal(site.n_over, 1);
    assert_int_equal(site.over[0].i, 1);
}

static void the_jump_stands_behind_an_endbr(void **state)
{
    PatchSite site;
    Refusal why;
    World *world = new_world(*state, "func 0x1040\nextent 0x1040 0x1080 fde 1\n"
                                     "A 0x1040 count 1 entry hot:\n"
                                     "    0x1040 endbr64 | f3 0f 1e fa\n"
                                     "    0x1044 mov eax, 1 | b8 01 00 00 00\n"
                                     "    0x1049 ret | c3\n");
    assert_true(find(world, false, &site, &why));
    assert_int_equal(site.addr.v, 0x1044);
    assert_int_equal(site.size, 5);
    assert_int_equal(site.to_insn, 1);
}

static void no_site_over_what_follows_a_call_or_the_end(void **state)
{
    assert_false(is_free(new_world(*state, "func 0x1040\nextent 0x1040 0x1080 fde 1\n"
                                           "A 0x1040 count 1 entry hot:\n"
                                           "    0x1040 call rax | ff d0\n"
                                           "    0x1042 mov eax, 1 | b8 01 00 00 00\n"
                                           "    0x1047 ret | c3\n")));
    assert_false(is_free(new_world(*state, "func 0x1040\nextent 0x1040 0x1080 fde 1\n"
                                           "A 0x1040 count 1 entry hot:\n"
                                           "    0x1040 xor eax, eax | 31 c0\n"
                                           "    0x1042 ret | c3\n")));
    assert_true(is_free(new_world(*state, "func 0x1040\nextent 0x1040 0x1080 fde 1\n"
                                          "A 0x1040 count 1 entry hot:\n"
                                          "    0x1040 call 0x1000 | e8 bb ff ff ff\n"
                                          "    0x1045 ret | c3\n")));
}

static void one_instruction_when_any_start_is_a_target(void **state)
{
    PatchSite site;
    Refusal why;
    World *world = new_world(*state, plain);
    assert_false(find(world, true, &site, &why));
    assert_int_equal(why, REFUSED_SITE_SHORT);
    world = new_world(*state, "func 0x1040\nextent 0x1040 0x1080 fde 1\n"
                              "A 0x1040 count 1 entry hot:\n"
                              "    0x1040 mov eax, 1 | b8 01 00 00 00\n"
                              "    0x1045 ret | c3\n");
    assert_true(find(world, true, &site, &why));
}

static void no_site_on_a_page_that_is_read(void **state)
{
    PatchSite site;
    Refusal why;
    World *world = new_world(*state, plain);
    world->read_page = vaddr(CODE);
    world->counts.read_pages = &world->read_page;
    world->counts.n_read_pages = 1;
    assert_false(find(world, false, &site, &why));
    assert_int_equal(why, REFUSED_SITE_DATA);
}

static bool needs(Arena *arena, const char *insns)
{
    Func *fn;
    Error err;
    const char *text = arena_printf(arena,
                                    "func 0x1040 open-jump\nextent 0x1040 0x1080\n"
                                    "A 0x1040 count 1 entry hot:\n%s",
                                    insns);
    assert_ok(func_read_text(arena, text, &fn, &err), &err);
    return patch_needs_every_start(fn);
}

static void an_address_as_it_is_bounds_a_jump(void **state)
{
    assert_false(needs(*state, "    0x1040 jmp [rax+8] | ff 60 08\n"));
    assert_false(needs(*state, "    0x1040 mov rax, [rdx+rcx*8] | 48 8b 04 ca\n"
                               "    0x1044 jmp rax | ff e0\n"));
    assert_false(needs(*state, "    0x1040 mov rdx, [rdx+rcx*8] | 48 8b 14 ca\n"
                               "    0x1044 mov rax, rdx | 48 89 d0\n"
                               "    0x1047 jmp rax | ff e0\n"));
    assert_true(needs(*state, "    0x1040 movsxd rax, [rdx+rcx*4] | 48 63 04 8a\n"
                              "    0x1044 add rax, rdx | 48 01 d0\n"
                              "    0x1047 jmp rax | ff e0\n"));
    assert_true(needs(*state, "    0x1040 jmp rax | ff e0\n"));
}

/* Whether or not their function is placed: the pads of a .cold part may be named by another entry's
 * LSDA (seen in libstdc++.a). */
static void landing_pads_of_every_entry_are_targets(void **state)
{
    const char *path = "/usr/lib/x86_64-linux-gnu/libstdc++.so.6";
    const Image *image;
    const UnwindTable *unwind;
    ProfileModule counts = { 0 };
    Error err;
    if (access(path, R_OK) != 0)
        return;
    assert_ok(image_open(*state, path, &image, &err), &err);
    assert_ok(unwind_read(*state, image, &unwind, &err), &err);
    PatchProof *proof = patch_proof_new(*state, image, unwind, &counts, 0);
    for (uint32_t i = 0; i < unwind->n_fdes; i++) {
        const Fde *fde = &unwind->fdes[i];
        const Lsda *lsda;
        if (vaddr_is_none(fde->lsda))
            continue;
        assert_ok(lsda_read(*state, image, fde, &lsda, &err), &err);
        for (uint32_t s = 0; s < lsda->n_sites; s++) {
            Vaddr pad = lsda->sites[s].landing_pad;
            assert_true(vaddr_is_none(pad) || patch_proof_is_target(proof, pad));
        }
    }
    image_close(image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_with_arena(a_site_is_whole_instructions),
        unit_test_with_arena(no_site_where_a_wide_branch_may_arrive),
        unit_test_with_arena(a_wide_branch_counts_at_any_byte),
        unit_test_with_arena(no_site_where_a_short_branch_arrives),
        unit_test_with_arena(a_short_branch_inside_an_instruction_is_none),
        unit_test_with_arena(undecodable_neighbours_count_at_any_byte),
        unit_test_with_arena(bytes_without_an_entry_count_at_any_byte),
        unit_test_with_arena(no_site_over_a_relocation_symbol_or_lea),
        unit_test_with_arena(values_in_data_count_in_fixed_images_only),
        unit_test_with_arena(no_site_over_a_landing_pad),
        unit_test_with_arena(landing_pads_of_every_entry_are_targets),
        unit_test_with_arena(the_jump_stands_behind_an_endbr),
        unit_test_with_arena(no_site_over_what_follows_a_call_or_the_end),
        unit_test_with_arena(one_instruction_when_any_start_is_a_target),
        unit_test_with_arena(no_site_on_a_page_that_is_read),
        unit_test_with_arena(an_address_as_it_is_bounds_a_jump),
    };
    return cmocka_run_group_tests_name("patch sites", tests, NULL, NULL);
}
