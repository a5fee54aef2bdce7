/* The front-end model against counts worked out by hand. SPDX-License-Identifier: MIT */
#include "profiler/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static Model *new_model(void **memory, Model **list)
{
    *memory = calloc(1, model_bytes);
    assert_non_null(*memory);
    return model_new(*memory, list);
}

/* The value of the line `name`; -1: no such line. */
static long figure(const Model *list, const char *name)
{
    char text[1024];
    text[model_text(list, text, sizeof text - 1)] = '\0';
    char line[64];
    snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr(text, line);
    return at != NULL ? strtol(at + strlen(line), NULL, 10) : -1;
}

static void a_loop_in_one_line_fetches_it_once(void **state)
{
    (void)state;
    void *memory;
    Model *list = NULL;
    Model *model = new_model(&memory, &list);
    for (int i = 0; i < 1000; i++)
        model_block(model, 0x1008, 40, 10);
    assert_int_equal(figure(list, "instructions"), 10000);
    assert_int_equal(figure(list, "line_fetches"), 1);
    assert_int_equal(figure(list, "icache_misses"), 1);
    assert_int_equal(figure(list, "itlb_misses"), 1);
    assert_int_equal(figure(list, "lines_per_million"), 1);
    free(memory);
}

static void a_block_fetches_every_line_that_it_spans(void **state)
{
    (void)state;
    void *memory;
    Model *list = NULL;
    Model *model = new_model(&memory, &list);
    model_block(model, 0x1fff, 66, 3); /* the last byte of a page, a line, one byte of the next */
    assert_int_equal(figure(list, "line_fetches"), 3);
    assert_int_equal(figure(list, "itlb_misses"), 2);
    assert_int_equal(figure(list, "pages_per_million"), 2);
    free(memory);
}

static long misses_of_a_ring(unsigned n, unsigned stride, const char *name)
{
    void *memory;
    Model *list = NULL;
    Model *model = new_model(&memory, &list);
    for (int round = 0; round < 10; round++)
        for (unsigned i = 0; i < n; i++)
            model_block(model, UINT64_C(0x7f0000000000) + (uint64_t)i * stride, 4, 1);
    long misses = figure(list, name);
    free(memory);
    return misses;
}

static void eight_lines_share_a_set_and_nine_do_not(void **state)
{
    (void)state;
    assert_int_equal(misses_of_a_ring(8, 4096, "icache_misses"), 8);
    assert_int_equal(misses_of_a_ring(9, 4096, "icache_misses"), 90);
    assert_int_equal(misses_of_a_ring(512, 64, "icache_misses"), 512);
    assert_int_equal(misses_of_a_ring(64, 4096, "itlb_misses"), 64);
    assert_int_equal(misses_of_a_ring(65, 4096, "itlb_misses"), 650);
}

static void a_branch_that_is_taken_again_is_known(void **state)
{
    (void)state;
    void *memory;
    Model *list = NULL;
    Model *model = new_model(&memory, &list);
    for (int round = 0; round < 3; round++) {
        model_block(model, 0x1000, 16, 4); /* falls through */
        model_block(model, 0x1010, 8, 2);  /* jumps back; at last somewhere else */
    }
    assert_int_equal(figure(list, "btb_misses"), 1);
    model_block(model, 0x3000, 4, 1);
    assert_int_equal(figure(list, "btb_misses"), 1);
    model_recycle(model);
    model_block(model, 0x1000, 24, 4);
    model_block(model, 0x1000, 24, 4);
    assert_int_equal(figure(list, "btb_misses"), 2);
    free(memory);
    assert_int_equal(misses_of_a_ring(4, 1 << 20, "btb_misses"), 4);
    assert_int_equal(misses_of_a_ring(5, 1 << 20, "btb_misses"),
                     49); /* the first has none before */
    assert_int_equal(misses_of_a_ring(1024, 64, "btb_misses"), 1024);
}

static void windows_count_different_lines_and_pages(void **state)
{
    (void)state;
    void *memory;
    Model *list = NULL;
    Model *model = new_model(&memory, &list);
    for (unsigned window = 0; window < 3; window++) {
        for (unsigned i = 0; i < 1000; i++) /* 100, 200, 300 lines: 2, 4, 5 pages */
            model_block(model, 0x400000 + (uint64_t)(i % (100 * (window + 1))) * 64, 8, 1000);
    }
    model_block(model, 0x500000, 1, 1);
    assert_int_equal(figure(list, "windows"), 3);
    assert_int_equal(figure(list, "window_lines"), 600);
    assert_int_equal(figure(list, "window_pages"), 11);
    assert_int_equal(figure(list, "lines_per_million"), 200);
    assert_int_equal(figure(list, "pages_per_million"), 4);
    assert_int_equal(figure(list, "instructions"), 3000001);
    free(memory);
}

static void threads_are_summed_and_a_fork_begins_at_nothing(void **state)
{
    (void)state;
    void *memory[2];
    Model *list = NULL;
    Model *first = new_model(&memory[0], &list);
    Model *second = new_model(&memory[1], &list);
    model_block(first, 0x1000, 4, 5);
    model_block(second, 0x1000, 4, 7);
    model_recycle(second);
    model_block(second, 0x1000, 4, 1);
    assert_int_equal(figure(list, "instructions"), 13);
    assert_int_equal(figure(list, "icache_misses"), 3);
    model_forked(list);
    assert_int_equal(figure(list, "instructions"), 0);
    assert_int_equal(figure(list, "icache_misses"), 0);
    free(memory[0]);
    free(memory[1]);
}

static void the_text_is_appended_to_a_file(void **state)
{
    (void)state;
    void *memory;
    Model *list = NULL;
    new_model(&memory, &list);
    char path[] = "/tmp/respin-model-XXXXXX";
    close(mkstemp(path));
    assert_true(model_write(list, path));
    assert_true(model_write(list, path));
    assert_false(model_write(list, "/nonexistent/file"));
    char wanted[1024];
    size_t len = model_text(list, wanted, sizeof wanted);
    char got[2048];
    FILE *file = fopen(path, "r");
    assert_int_equal(fread(got, 1, sizeof got, file), 2 * len);
    assert_memory_equal(got, wanted, len);
    assert_memory_equal(got + len, wanted, len);
    fclose(file);
    unlink(path);
    free(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loop_in_one_line_fetches_it_once),
        cmocka_unit_test(a_block_fetches_every_line_that_it_spans),
        cmocka_unit_test(eight_lines_share_a_set_and_nine_do_not),
        cmocka_unit_test(a_branch_that_is_taken_again_is_known),
        cmocka_unit_test(windows_count_different_lines_and_pages),
        cmocka_unit_test(threads_are_summed_and_a_fork_begins_at_nothing),
        cmocka_unit_test(the_text_is_appended_to_a_file),
    };
    return cmocka_run_group_tests_name("front-end model", tests, NULL, NULL);
}
