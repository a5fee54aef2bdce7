/*
 * test_passes.c: one pass, a function as text before and after.
 *
 *     tests/golden/passes/PASS/CASE/in.txt       options, then the text form of core/program.h
 *     tests/golden/passes/PASS/CASE/expect.txt   the text after the pass, or "refused NAME: why"
 *
 * Options are lines that begin with '#': "# hot 10", "# growth 100", "# blocks reverse",
 * "# seed 7", "# pic". Cases are found, not listed. GOLDEN_UPDATE=1 writes expect.txt; review the
 * difference. What a pass claims to give is verified after it (facts.c).
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/support/golden.h"

#include "optimizer/passes.h"

#include <stdio.h>

static const Pass *find_pass(const char *name)
{
    for (size_t i = 0; i < n_pipeline; i++) {
        if (strcmp(pipeline[i].name, name) == 0)
            return &pipeline[i];
    }
    fail_msg("no pass is called %s", name);
    return NULL;
}

/* Reads the option lines; returns the text after them. */
static const char *read_options(const char *text, OptimizeOptions *options, Context *ctx,
                                Image *image)
{
    for (; *text == '#'; text = strchr(text, '\n') + 1) {
        unsigned long value;
        if (sscanf(text, "# hot %lu", &value) == 1)
            ctx->hot_count = value;
        else if (sscanf(text, "# growth %lu", &value) == 1)
            options->growth_percent = (uint32_t)value;
        else if (sscanf(text, "# seed %lu", &value) == 1)
            options->seed = value;
        else if (strncmp(text, "# blocks reverse", 16) == 0)
            options->blocks = ORDER_REVERSE;
        else if (strncmp(text, "# blocks random", 15) == 0)
            options->blocks = ORDER_RANDOM;
        else if (strncmp(text, "# pic", 5) == 0)
            image->is_pic = true;
    }
    return text;
}

static const char *run_case(Arena *arena, const GoldenCase *test, const char *text)
{
    const Pass *pass = find_pass(test->stage);
    OptimizeOptions options = { .growth_percent = 100 };
    PlanStats plan_stats = { 0 };
    PassStats stats = { 0 };
    Image image = { .path = "golden" };
    Error err;
    Func *fn;
    Context ctx = { .arena = arena,
                    .scratch = arena_new(),
                    .image = &image,
                    .options = &options,
                    .stats = &plan_stats,
                    .hot_count = 1 };
    text = read_options(text, &options, &ctx, &image);
    if (func_read_text(arena, text, &fn, &err) != ST_OK)
        fail_msg("%s: byte %lu: %s", test->dir, (unsigned long)err.place.offset, err.text);
    if (pass->run(&ctx, fn, &stats, &err) != ST_OK)
        fail_msg("%s: %s", test->dir, err.text);
    Facts have = ((pass->needs & ~pass->breaks) | pass->gives) & ~(Facts)FACT_CODE;
    if (fn->refused != REFUSED_NOT) {
        arena_free(ctx.scratch);
        return arena_printf(arena, "refused %s: %s\n", refusal_rows[fn->refused].name, fn->why);
    }
    if (verify_facts(&ctx, fn, have, &err) != ST_OK)
        fail_msg("%s: 0x%lx: %s", test->dir, (unsigned long)err.place.offset, err.text);
    Buffer out = { .arena = arena };
    func_write_text(fn, &out);
    buffer_u8(&out, 0);
    arena_free(ctx.scratch);
    return (const char *)out.data;
}

static void golden_case(void **state)
{
    const GoldenCase *test = *state;
    Arena *arena = arena_new();
    const char *text = golden_slurp(arena, test->dir, "in.txt");
    assert_non_null(text);
    golden_compare(arena, test->dir, "expect.txt", run_case(arena, test, text));
    arena_free(arena);
}

int main(void)
{
    return golden_run("golden passes", GOLDEN_DIR "/passes/*/*/in.txt", golden_case);
}
