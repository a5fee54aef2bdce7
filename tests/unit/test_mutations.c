/*
 * Broken inputs: a stock file with bits flipped, words replaced or its end cut off, rewritten
 * whole. Whatever comes out is a clear error or an output that holds; never a crash, a hang, or a
 * fault of our own.
 *
 *     test_mutations [FILE [COUNT [SEED]]]
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/support/cmocka.h"
#include "tests/support/force_plan.h"

#include <stdio.h>
#include <unistd.h>

typedef struct Work {
    const char *path;
    uint32_t count;
    uint64_t random;
    uint32_t outcomes[ST_BUG + 1];
} Work;

static Work work = { "/usr/bin/env", 700, 1, { 0 } };

static uint64_t next(void)
{
    work.random ^= work.random << 13;
    work.random ^= work.random >> 7;
    work.random ^= work.random << 17;
    return work.random;
}

/* Headers are where most rules are: half of the changes go there, some to the unwind tables. */
static size_t pick_place(const Image *image)
{
    const Section *frame = image_section(image, ".eh_frame");
    uint64_t kind = next() % 8;
    size_t len = image->file.len;
    if (kind < 3)
        return next() % (64 + 56 * 13);
    if (kind < 4)
        return image->header.e_shoff + next() % (64 * (uint64_t)image->header.e_shnum);
    if (kind < 5 && frame != NULL)
        return frame->offset.v + next() % frame->size;
    return next() % len;
}

static Bytes mutate(Arena *arena, const Image *image)
{
    static const uint64_t words[] = { 0, 1, 0x7fffffff, 0x80000000, UINT64_MAX, 0x1000, 0xffff };
    uint8_t *data = arena_copy(arena, image->file.data, image->file.len);
    size_t len = image->file.len;
    uint64_t n = 1 + next() % 3;
    for (uint64_t i = 0; i < n; i++) {
        size_t at = pick_place(image) % len;
        if (next() % 4 == 0 && at + 8 <= len)
            store_u64(data + at / 8 * 8, words[next() % (sizeof words / sizeof *words)]);
        else
            data[at] ^= (uint8_t)(1u << next() % 8);
    }
    if (next() % 16 == 0)
        len = next() % len;
    return (Bytes){ data, len };
}

static Status rewrite_one(Arena *arena, Bytes bytes, Error *err)
{
    ForceOptions options = { .order = ORDER_RANDOM, .seed = next() };
    const Image *input, *output;
    const Plan *plan;
    RewriteStats stats;
    CheckReport report;
    Bytes out;
    TRY(image_from_bytes(arena, "mutated", bytes, &input, err));
    TRY(force_plan(arena, input, &options, &plan, err));
    TRY(rewrite_to_bytes(arena, plan, &out, &stats, err));
    if (plan->n_regions == 0)
        return ST_OK;
    Status status = image_from_bytes(arena, "output", out, &output, err);
    if (status == ST_OK)
        status = check_output(arena, input, output, &report, err);
    /* What was written must hold. */
    err->status = ST_BUG;
    return status == ST_OK ? ST_OK : ST_BUG;
}

static void broken_inputs_give_errors_or_good_outputs(void **state)
{
    const Image *image;
    Error err = { 0 };
    assert_ok(image_open(*state, work.path, &image, &err), &err);
    for (uint32_t i = 0; i < work.count; i++) {
        Arena *arena = arena_new();
        uint64_t seed = work.random;
        alarm(60); /* a hang is a failure */
        Status status = rewrite_one(arena, mutate(arena, image), &err);
        arena_free(arena);
        if (status == ST_BUG)
            fail_msg("mutation %u (seed %" PRIu64 "): %s [%s]", i, seed, err.text, err.noticed_at);
        work.outcomes[status]++;
    }
    alarm(0);
    print_message("%s: %u good outputs, %u refused, %u malformed\n", work.path,
                  work.outcomes[ST_OK], work.outcomes[ST_REFUSED], work.outcomes[ST_BAD_INPUT]);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        unit_test_with_arena(broken_inputs_give_errors_or_good_outputs),
    };
    if (argc > 1)
        work.path = argv[1];
    if (argc > 2)
        work.count = (uint32_t)strtoul(argv[2], NULL, 0);
    if (argc > 3)
        work.random = strtoull(argv[3], NULL, 0) | 1;
    return cmocka_run_group_tests_name("mutations", tests, NULL, NULL);
}
