/*
 * program_read.c: the text form of a function, read back.
 *
 *     text -> lines -> words -> Func
 *
 * A block's name is its position, so references to later blocks need no second pass but for their
 * addresses: a successor's address and a short `jmp B` are filled in when all blocks are known.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/program_text.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct Reader {
    Arena *arena;
    const char *text;
    const char *line; /* start of the current one */
    const char *at;
    Func *fn;
    BlockId block; /* the current one */
    Error *err;
} Reader;

#define BAD(reader, ...)                                                                           \
    FAIL((reader)->err, ST_BAD_INPUT,                                                              \
         ((Place){ "function text", NULL, (uint64_t)((reader)->line - (reader)->text) }),          \
         __VA_ARGS__)

/* --- words --------------------------------------------------------------------------------- */

static void skip_space(Reader *reader)
{
    while (*reader->at == ' ' || *reader->at == '\t')
        reader->at++;
}

static bool at_end(Reader *reader)
{
    skip_space(reader);
    return *reader->at == '\n' || *reader->at == '\0';
}

static bool ends_word(char c)
{
    return c == '\0' || isspace((unsigned char)c) || c == ',' || c == ':' || c == '|';
}

/* Takes `word` when it comes next. */
static bool take(Reader *reader, const char *word)
{
    skip_space(reader);
    size_t len = strlen(word);
    bool mark = ends_word(word[0]);
    if (strncmp(reader->at, word, len) != 0 || (!mark && !ends_word(reader->at[len])))
        return false;
    reader->at += len;
    return true;
}

static Status read_number(Reader *reader, uint64_t *out)
{
    skip_space(reader);
    char *end;
    errno = 0;
    unsigned long long value = strtoull(reader->at, &end, 0);
    if (end == reader->at || *reader->at == '-' || errno != 0 || !ends_word(*end))
        return BAD(reader, "a number is wanted at \"%.12s\"", reader->at);
    reader->at = end;
    *out = value;
    return ST_OK;
}

static Status read_u32(Reader *reader, uint32_t *out)
{
    uint64_t value = 0;
    TRY(read_number(reader, &value));
    if (value > UINT32_MAX)
        return BAD(reader, "%" PRIu64 " does not fit 32 bits", value);
    *out = (uint32_t)value;
    return ST_OK;
}

static Status read_addr(Reader *reader, Vaddr *out)
{
    if (take(reader, "-")) {
        *out = VADDR_NONE;
        return ST_OK;
    }
    return read_number(reader, &out->v);
}

static bool starts_id(Reader *reader)
{
    skip_space(reader);
    return isupper((unsigned char)*reader->at);
}

static Status read_id(Reader *reader, BlockId *out)
{
    skip_space(reader);
    if (!starts_id(reader))
        return BAD(reader, "a block is wanted at \"%.12s\"", reader->at);
    if (ends_word(reader->at[1])) {
        out->i = (uint32_t)(*reader->at - 'A');
        reader->at++;
        return ST_OK;
    }
    if (*reader->at != 'B')
        return BAD(reader, "\"%.12s\" is no block name", reader->at);
    reader->at++;
    return read_u32(reader, &out->i);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

static Status read_quoted(Reader *reader, const char **out)
{
    Buffer text = { .arena = reader->arena };
    for (reader->at++; *reader->at != '"'; reader->at++) {
        int high = reader->at[0] == '\\' && reader->at[1] == 'x' ? hex_digit(reader->at[2]) : -1;
        int low = high >= 0 ? hex_digit(reader->at[3]) : -1;
        if (*reader->at == '\0' || *reader->at == '\n' || (*reader->at == '\\' && low < 0))
            return BAD(reader, "a name in quotes does not end");
        buffer_u8(&text, low >= 0 ? (uint8_t)(high * 16 + low) : (uint8_t)*reader->at);
        if (low >= 0)
            reader->at += 3;
    }
    reader->at++;
    buffer_u8(&text, 0);
    *out = (const char *)text.data;
    return ST_OK;
}

static bool at_quote(Reader *reader)
{
    skip_space(reader);
    return *reader->at == '"';
}

/* --- lines --------------------------------------------------------------------------------- */

static Status read_refused(Reader *reader)
{
    TRY(read_u32(reader, &reader->fn->refused));
    return at_quote(reader) ? read_quoted(reader, &reader->fn->why) : ST_OK;
}

static Status read_head(Reader *reader)
{
    Func *fn = reader->fn;
    TRY(read_addr(reader, &fn->entry));
    while (!at_end(reader)) {
        if (at_quote(reader))
            TRY(read_quoted(reader, &fn->name));
        else if (take(reader, "count"))
            TRY(read_number(reader, &fn->count));
        else if (take(reader, "calls"))
            TRY(read_number(reader, &fn->calls));
        else if (take(reader, "open-jump"))
            fn->open_jump = true;
        else if (take(reader, "open-any"))
            fn->open_jump = fn->open_any = true;
        else if (take(reader, "self-calls"))
            fn->has_calls_to_self = true;
        else if (take(reader, "refused"))
            TRY(read_refused(reader));
        else
            return BAD(reader, "\"%.12s\" is not known of a function", reader->at);
    }
    return ST_OK;
}

static Status read_extent(Reader *reader)
{
    Extent extent = { .fde = UINT32_MAX };
    TRY(read_addr(reader, &extent.start));
    TRY(read_addr(reader, &extent.end));
    if (take(reader, "fde"))
        TRY(read_u32(reader, &extent.fde));
    Func *fn = reader->fn;
    size_t cap = fn->n_extents;
    fn->extents =
        arena_grow(reader->arena, fn->extents, &cap, (size_t)fn->n_extents + 1, sizeof extent);
    fn->extents[fn->n_extents++] = extent;
    return ST_OK;
}

static Status read_form(Reader *reader, uint8_t *out)
{
    for (uint8_t i = 0; i <= TABLE_REL32_BASE; i++) {
        if (take(reader, form_words[i])) {
            *out = i;
            return ST_OK;
        }
    }
    return BAD(reader, "\"%.12s\" is no table form", reader->at);
}

static Status read_table_word(Reader *reader, Table *table)
{
    if (take(reader, "base"))
        return read_addr(reader, &table->base);
    if (take(reader, "sites"))
        return read_u32(reader, &table->n_sites);
    if (take(reader, "fallback"))
        return read_addr(reader, &table->fallback);
    if (take(reader, "goto")) {
        table->is_goto = true;
        return ST_OK;
    }
    if (take(reader, "clone")) {
        table->clone = true;
        return read_form(reader, &table->new_form);
    }
    return BAD(reader, "\"%.12s\" is not known of a table", reader->at);
}

static Status read_table(Reader *reader)
{
    Table table = { .base = VADDR_NONE, .fallback = VADDR_NONE };
    TRY(read_addr(reader, &table.addr));
    TRY(read_form(reader, &table.form));
    table.new_form = table.form;
    while (!take(reader, ":"))
        TRY(read_table_word(reader, &table));
    size_t cap_entries = 0;
    while (!at_end(reader)) {
        table.entries = arena_grow(reader->arena, table.entries, &cap_entries, (size_t)table.n + 1,
                                   sizeof table.entries[0]);
        TRY(read_addr(reader, &table.entries[table.n++]));
    }
    Func *fn = reader->fn;
    size_t cap = fn->n_tables;
    fn->tables =
        arena_grow(reader->arena, fn->tables, &cap, (size_t)fn->n_tables + 1, sizeof table);
    fn->tables[fn->n_tables++] = table;
    return ST_OK;
}

static bool take_fact(Reader *reader, uint32_t *facts)
{
    for (size_t i = 0; i < n_fact_words; i++) {
        if (take(reader, fact_words[i].word)) {
            *facts |= fact_words[i].fact;
            return true;
        }
    }
    return false;
}

typedef struct HeadSeen {
    bool end;
    bool size;
} HeadSeen;

static Status read_block_word(Reader *reader, Block *block, HeadSeen *seen)
{
    uint32_t value = 0;
    if (take(reader, "count"))
        return read_number(reader, &block->count);
    if (take(reader, "copy"))
        return read_id(reader, &block->copy_of);
    if (take(reader, "end")) {
        seen->end = true;
        return read_number(reader, &block->end_count);
    }
    if (take(reader, "size")) {
        seen->size = true;
        return read_u32(reader, &block->size);
    }
    if (take(reader, "uses")) {
        TRY(read_u32(reader, &value));
        block->table = (int32_t)value;
        return ST_OK;
    }
    if (take(reader, "align")) {
        TRY(read_u32(reader, &value));
        block->align = (uint8_t)value;
        return ST_OK;
    }
    if (take_fact(reader, &block->facts))
        return ST_OK;
    return BAD(reader, "\"%.12s\" is not known of a block", reader->at);
}

/* Originals come first and sorted (core/program.h); look-ups rely on it. */
static Status check_order(Reader *reader, const Block *block)
{
    bool original = !is_block(block->copy_of) && !vaddr_is_none(block->start);
    if (block->id.i == 0 || !original)
        return ST_OK;
    const Block *before = func_block(reader->fn, (BlockId){ block->id.i - 1 });
    if (is_block(before->copy_of) || before->start.v >= block->start.v)
        return BAD(reader, "an original block at 0x%" PRIx64 " after 0x%" PRIx64, block->start.v,
                   before->start.v);
    return ST_OK;
}

static Status read_block(Reader *reader)
{
    BlockId id;
    TRY(read_id(reader, &id));
    if (id.i != reader->fn->n_blocks)
        return BAD(reader, "block %" PRIu32 " where block %" PRIu32 " is wanted", id.i,
                   reader->fn->n_blocks);
    reader->block = func_add_block(reader->fn);
    Block *block = func_block(reader->fn, id);
    HeadSeen seen = { 0 };
    if (!take(reader, ":")) {
        TRY(read_addr(reader, &block->start));
        while (!take(reader, ":"))
            TRY(read_block_word(reader, block, &seen));
    }
    if (!seen.end)
        block->end_count = block->count;
    if (!seen.size)
        block->size = UINT32_MAX; /* filled in by finish_blocks */
    return check_order(reader, block);
}

static Status read_bytes(Reader *reader, uint8_t bytes[INSN_MAX_SIZE], size_t *len)
{
    *len = 0;
    skip_space(reader);
    while (hex_digit(reader->at[0]) >= 0 && hex_digit(reader->at[1]) >= 0 &&
           ends_word(reader->at[2])) {
        if (*len == INSN_MAX_SIZE)
            return BAD(reader, "an instruction of more than %d bytes", INSN_MAX_SIZE);
        bytes[(*len)++] = (uint8_t)(hex_digit(reader->at[0]) * 16 + hex_digit(reader->at[1]));
        reader->at += 2;
        skip_space(reader);
    }
    return ST_OK;
}

static Status read_insn_words(Reader *reader, Insn *insn)
{
    uint32_t value;
    while (!at_end(reader)) {
        if (take(reader, "made")) {
            insn->facts |= INSN_MADE;
        } else if (take(reader, "to")) {
            TRY(read_addr(reader, &insn->ref_to));
        } else if (take(reader, "table")) {
            TRY(read_u32(reader, &value));
            insn->table = (int32_t)value;
        } else {
            return BAD(reader, "\"%.12s\" is not known of an instruction", reader->at);
        }
    }
    return ST_OK;
}

static Status read_encoded(Reader *reader, Vaddr addr)
{
    uint8_t bytes[INSN_MAX_SIZE];
    size_t len;
    Insn insn;
    TRY(read_bytes(reader, bytes, &len));
    if (!insn_decode((Bytes){ bytes, len }, vaddr_is_none(addr) ? vaddr(0) : addr, &insn) ||
        insn.size != len)
        return BAD(reader, "%zu bytes are no instruction", len);
    insn.addr = addr;
    TRY(read_insn_words(reader, &insn));
    block_add_insn(reader->fn, reader->block, &insn);
    return ST_OK;
}

/* An Insn.table that says: a branch to block (table - TO_BLOCK), whose address is not known yet. */
enum { TO_BLOCK = INT32_MIN };

/* `jmp B`, `jCC B` */
static Status read_short_branch(Reader *reader)
{
    static const char *const names[16] = { "jo", "jno", "jb", "jnb", "jz", "jnz", "jbe", "jnbe",
                                           "js", "jns", "jp", "jnp", "jl", "jnl", "jle", "jnle" };
    static const uint8_t jump[] = { 0xe9, 0, 0, 0, 0 };
    uint8_t conditional[] = { 0x0f, 0x80, 0, 0, 0, 0 };
    Bytes bytes = { jump, sizeof jump };
    if (!take(reader, "jmp")) {
        uint8_t cc = 0;
        while (cc < 16 && !take(reader, names[cc]))
            cc++;
        if (cc == 16)
            return BAD(reader, "\"%.12s\" is no branch, and bytes are missing", reader->at);
        conditional[1] |= cc;
        bytes = (Bytes){ conditional, sizeof conditional };
    }
    BlockId to;
    TRY(read_id(reader, &to));
    Insn insn;
    if (NEVER(!insn_decode(bytes, vaddr(0), &insn)))
        return BAD(reader, "a branch that does not decode");
    insn.addr = VADDR_NONE;
    insn.table = (int32_t)(TO_BLOCK + (int64_t)(to.i & INT32_MAX));
    insn.facts |= INSN_MADE;
    block_add_insn(reader->fn, reader->block, &insn);
    return ST_OK;
}

/* Past "[ADDR|-] text" to just after the '|'; false when the line has none. */
static bool take_until_bytes(Reader *reader)
{
    const char *end = reader->at + strcspn(reader->at, "\n");
    const char *bar = memchr(reader->at, '|', (size_t)(end - reader->at));
    if (bar == NULL)
        return false;
    reader->at = bar + 1;
    return true;
}

static Status read_insn(Reader *reader)
{
    Vaddr addr = VADDR_NONE;
    skip_space(reader);
    if (*reader->at == '-' || isdigit((unsigned char)*reader->at))
        TRY(read_addr(reader, &addr));
    if (take_until_bytes(reader))
        return read_encoded(reader, addr);
    return read_short_branch(reader);
}

static Status read_succ(Reader *reader)
{
    Block *block = func_block(reader->fn, reader->block);
    size_t cap = block->n_succ;
    do {
        Succ succ = { .to = NO_BLOCK, .addr = VADDR_NONE };
        if (starts_id(reader))
            TRY(read_id(reader, &succ.to));
        else
            TRY(read_addr(reader, &succ.addr));
        while (succ.kind <= SUCC_TABLE && !take(reader, succ_words[succ.kind]))
            succ.kind++;
        if (succ.kind > SUCC_TABLE)
            return BAD(reader, "\"%.12s\" is no kind of successor", reader->at);
        if (!at_end(reader) && *reader->at != ',')
            TRY(read_number(reader, &succ.count));
        block->succ = arena_grow(reader->arena, block->succ, &cap, (size_t)block->n_succ + 1,
                                 sizeof block->succ[0]);
        block->succ[block->n_succ++] = succ;
    } while (take(reader, ","));
    return ST_OK;
}

static Status read_layout(Reader *reader)
{
    Func *fn = reader->fn;
    size_t cap = 0;
    bool cold = false;
    while (!at_end(reader)) {
        if (take(reader, "|"))
            cold = true;
        fn->layout = arena_grow(reader->arena, fn->layout, &cap, (size_t)fn->n_layout + 1,
                                sizeof fn->layout[0]);
        TRY(read_id(reader, &fn->layout[fn->n_layout++]));
        fn->n_cold += cold ? 1 : 0;
    }
    return ST_OK;
}

static Status read_line(Reader *reader)
{
    bool indented = *reader->at == ' ' || *reader->at == '\t';
    if (at_end(reader))
        return ST_OK;
    if (take(reader, "extent"))
        return read_extent(reader);
    if (take(reader, "table"))
        return read_table(reader);
    if (take(reader, "layout"))
        return read_layout(reader);
    if (!indented && starts_id(reader))
        return read_block(reader);
    if (!is_block(reader->block))
        return BAD(reader, "\"%.12s\" before the first block", reader->at);
    return take(reader, "->") ? read_succ(reader) : read_insn(reader);
}

/* --- what needs all blocks ----------------------------------------------------------------- */

static bool exists(const Func *fn, BlockId id)
{
    return !is_block(id) || id.i < fn->n_blocks;
}

static Status finish_branch(Reader *reader, Insn *insn)
{
    if (insn->table >= -1)
        return ST_OK;
    BlockId to = { (uint32_t)((int64_t)insn->table - TO_BLOCK) };
    if (!exists(reader->fn, to))
        return BAD(reader, "a branch to block %" PRIu32 " of %" PRIu32, to.i, reader->fn->n_blocks);
    insn->ref_to = func_block(reader->fn, to)->start;
    insn->table = -1;
    return ST_OK;
}

static Status finish_block(Reader *reader, Block *block)
{
    const Func *fn = reader->fn;
    uint32_t size = 0;
    for (uint32_t i = 0; i < block->n_insns; i++) {
        size += block->insns[i].size;
        TRY(finish_branch(reader, &block->insns[i]));
    }
    if (block->size == UINT32_MAX)
        block->size = size;
    for (uint32_t i = 0; i < block->n_succ; i++) {
        Succ *succ = &block->succ[i];
        if (!exists(fn, succ->to))
            return BAD(reader, "a successor %" PRIu32 " of %" PRIu32 " blocks", succ->to.i,
                       fn->n_blocks);
        if (is_block(succ->to))
            succ->addr = func_block(fn, succ->to)->start;
    }
    if (!exists(fn, block->copy_of))
        return BAD(reader, "a copy of block %" PRIu32 " of %" PRIu32, block->copy_of.i,
                   fn->n_blocks);
    if (block->table >= 0 && (uint32_t)block->table >= fn->n_tables)
        return BAD(reader, "table %" PRId32 " of %" PRIu32, block->table, fn->n_tables);
    return ST_OK;
}

static Status finish_func(Reader *reader)
{
    Func *fn = reader->fn;
    for (uint32_t i = 0; i < fn->n_blocks; i++)
        TRY(finish_block(reader, &fn->blocks[i]));
    for (uint32_t i = 0; i < fn->n_layout; i++)
        if (!exists(fn, fn->layout[i]))
            return BAD(reader, "block %" PRIu32 " of %" PRIu32 " in the layout", fn->layout[i].i,
                       fn->n_blocks);
    return ST_OK;
}

Status func_read_text(Arena *arena, const char *text, Func **out, Error *err)
{
    Func *fn = arena_one(arena, Func);
    fn->arena = arena;
    Reader reader = { arena, text, text, text, fn, NO_BLOCK, err };
    while (at_end(&reader) && *reader.at != '\0')
        reader.at++;
    if (!take(&reader, "func"))
        return BAD(&reader, "\"%.12s\" where \"func\" is wanted", reader.at);
    TRY(read_head(&reader));
    while (*reader.at != '\0') {
        reader.line = ++reader.at;
        TRY(read_line(&reader));
        if (!at_end(&reader))
            return BAD(&reader, "\"%.12s\" at the end of a line", reader.at);
    }
    reader.line = text; /* what follows concerns no line */
    TRY(finish_func(&reader));
    *out = fn;
    return ST_OK;
}
