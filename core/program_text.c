/*
 * program_text.c: a function written as text. core/program_read.c reads it back.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/program_text.h"

#include <stdarg.h>
#include <stdio.h>

// clang-format off
const FactWord fact_words[] = {
    { BLOCK_ENTRY, "entry" },       { BLOCK_LANDING_PAD, "pad" },   { BLOCK_TABLE, "table-target" },
    { BLOCK_ESCAPES, "escapes" },   { BLOCK_OBSERVED, "observed" }, { BLOCK_HOT, "hot" },
    { BLOCK_COLD_COPY, "cold-copy" }, { BLOCK_ROOT, "root" },       { BLOCK_STOPS, "stops" },
};
const size_t n_fact_words = sizeof fact_words / sizeof fact_words[0];

const char *const succ_words[] = {
    [SUCC_FALL] = "fall", [SUCC_TAKEN] = "taken", [SUCC_TABLE] = "table",
};
const char *const form_words[] = {
    [TABLE_ABS64] = "abs64", [TABLE_REL32] = "rel32", [TABLE_REL32_BASE] = "base32",
};
// clang-format on

__attribute__((format(printf, 2, 3))) static void print(Buffer *out, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n > 0)
        buffer_put(out, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

static void print_addr(Buffer *out, Vaddr addr)
{
    if (vaddr_is_none(addr))
        print(out, "-");
    else
        print(out, "0x%" PRIx64, addr.v);
}

static void print_id(Buffer *out, BlockId id)
{
    if (id.i < 26)
        print(out, "%c", (char)('A' + id.i));
    else
        print(out, "B%" PRIu32, id.i);
}

/* In quotes, with quotes, backslashes and control characters as \xHH. */
static void print_quoted(Buffer *out, const char *text)
{
    buffer_u8(out, '"');
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\' || (unsigned char)*at < ' ')
            print(out, "\\x%02x", (unsigned char)*at);
        else
            buffer_u8(out, (uint8_t)*at);
    }
    buffer_u8(out, '"');
}

static void print_head(const Func *fn, Buffer *out)
{
    print(out, "func ");
    print_addr(out, fn->entry);
    if (fn->name != NULL) {
        print(out, " ");
        print_quoted(out, fn->name);
    }
    print(out, " count %" PRIu64 " calls %" PRIu64, fn->count, fn->calls);
    if (fn->open_jump)
        print(out, fn->open_any ? " open-any" : " open-jump");
    if (fn->has_calls_to_self)
        print(out, " self-calls");
    if (fn->refused != 0) {
        print(out, " refused %" PRIu32 " ", fn->refused);
        print_quoted(out, fn->why != NULL ? fn->why : "");
    }
    print(out, "\n");
}

static void print_extents(const Func *fn, Buffer *out)
{
    for (uint32_t i = 0; i < fn->n_extents; i++) {
        const Extent *extent = &fn->extents[i];
        print(out, "extent 0x%" PRIx64 " 0x%" PRIx64, extent->start.v, extent->end.v);
        if (extent->fde != UINT32_MAX)
            print(out, " fde %" PRIu32, extent->fde);
        print(out, "\n");
    }
}

static void print_table(const Table *table, Buffer *out)
{
    print(out, "table 0x%" PRIx64 " %s", table->addr.v, form_words[table->form]);
    if (table->form == TABLE_REL32 || (table->clone && table->new_form == TABLE_REL32_BASE))
        print(out, " base 0x%" PRIx64, table->base.v);
    if (table->is_goto)
        print(out, " goto");
    if (table->clone)
        print(out, " clone %s", form_words[table->new_form]);
    print(out, " sites %" PRIu32, table->n_sites);
    if (!vaddr_is_none(table->fallback))
        print(out, " fallback 0x%" PRIx64, table->fallback.v);
    print(out, " :");
    for (uint32_t i = 0; i < table->n; i++) {
        print(out, " ");
        print_addr(out, table->entries[i]);
    }
    print(out, "\n");
}

static uint32_t sum_of_sizes(const Block *block)
{
    uint32_t size = 0;
    for (uint32_t i = 0; i < block->n_insns; i++)
        size += block->insns[i].size;
    return size;
}

static void print_block_head(const Block *block, Buffer *out)
{
    print_id(out, block->id);
    print(out, " ");
    print_addr(out, block->start);
    if (is_block(block->copy_of)) {
        print(out, " copy ");
        print_id(out, block->copy_of);
    }
    print(out, " count %" PRIu64, block->count);
    if (block->end_count != block->count)
        print(out, " end %" PRIu64, block->end_count);
    for (size_t i = 0; i < n_fact_words; i++)
        if ((block->facts & fact_words[i].fact) != 0)
            print(out, " %s", fact_words[i].word);
    if (block->size != sum_of_sizes(block))
        print(out, " size %" PRIu32, block->size);
    if (block->table >= 0)
        print(out, " uses %" PRId32, block->table);
    if (block->align != 0)
        print(out, " align %u", block->align);
    print(out, ":\n");
}

static void print_insn(const Insn *insn, Buffer *out)
{
    char text[128];
    insn_text(insn, text, sizeof text);
    print(out, "    ");
    print_addr(out, insn->addr);
    print(out, " %s |", text);
    for (unsigned i = 0; i < insn->size; i++)
        print(out, " %02x", insn->bytes[i]);
    if ((insn->facts & INSN_MADE) != 0)
        print(out, " made");
    if (insn->ref != REF_NONE && vaddr_is_none(insn->addr))
        print(out, " to 0x%" PRIx64, insn->ref_to.v);
    if (insn->table >= 0)
        print(out, " table %" PRId32, insn->table);
    print(out, "\n");
}

static void print_succ(const Block *block, Buffer *out)
{
    if (block->n_succ == 0)
        return;
    print(out, "    ->");
    for (uint32_t i = 0; i < block->n_succ; i++) {
        const Succ *succ = &block->succ[i];
        print(out, i > 0 ? ", " : " ");
        if (is_block(succ->to))
            print_id(out, succ->to);
        else
            print_addr(out, succ->addr);
        print(out, " %s %" PRIu64, succ_words[succ->kind], succ->count);
    }
    print(out, "\n");
}

static void print_layout(const Func *fn, Buffer *out)
{
    if (fn->n_layout == 0)
        return;
    print(out, "layout");
    for (uint32_t i = 0; i < fn->n_layout; i++) {
        print(out, i == fn->n_layout - fn->n_cold && fn->n_cold > 0 ? " | " : " ");
        print_id(out, fn->layout[i]);
    }
    print(out, "\n");
}

void func_write_text(const Func *fn, Buffer *out)
{
    print_head(fn, out);
    print_extents(fn, out);
    for (uint32_t i = 0; i < fn->n_tables; i++)
        print_table(&fn->tables[i], out);
    for (uint32_t i = 0; i < fn->n_blocks; i++) {
        const Block *block = &fn->blocks[i];
        print_block_head(block, out);
        for (uint32_t j = 0; j < block->n_insns; j++)
            print_insn(&block->insns[j], out);
        print_succ(block, out);
    }
    print_layout(fn, out);
}
