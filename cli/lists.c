/* lists.c: the lists behind --list-…. SPDX-License-Identifier: MIT */
#include "cli/lists.h"

#include "optimizer/optimizer.h"
#include "rewriter/rewriter.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

static void print_version(void)
{
    puts("respin " RESPIN_VERSION);
}

#define SCOPE_FUNC "function"
#define SCOPE_TABLE "table"
#define SCOPE_SITE "patch site"
#define SCOPE_MODULE "module"
#define REFUSAL_LINE(id, name, scope, sentence) name "\t" SCOPE_##scope "\t" sentence "\n"

static void print_refusals(void)
{
    fputs(REFUSALS(REFUSAL_LINE), stdout);
}

/* Prints what a stage writes into a buffer. */
static void print_buffer(void (*list)(Buffer *))
{
    Arena *arena = arena_new();
    Buffer out = { .arena = arena };
    list(&out);
    fwrite(out.data, 1, out.len, stdout);
    arena_free(arena);
}

static void print_passes(void)
{
    print_buffer(optimizer_list_passes);
}

static void print_forms(void)
{
    print_buffer(rewriter_list_forms);
}

static const struct {
    const char *word;
    void (*print)(void);
} lists[] = {
    { "--version", print_version },
    { "--list-refusals", print_refusals },
    { "--list-passes", print_passes },
    { "--list-forms", print_forms },
};

bool lists_print(const char *word)
{
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        if (strcmp(lists[i].word, word) == 0) {
            lists[i].print();
            return true;
        }
    }
    return false;
}
