/*
 * tables_read.c: the entries of a table, as the program will find them when it runs.
 *
 * In a position-independent image an 8-byte entry is the addend of its RELATIVE relocation; a word
 * without one holds no address (VADDR_NONE). In a fixed image it is the word itself. A 4-byte entry
 * counts from the base. A bound that a mask gives may reach past the table into whatever follows:
 * such entries are kept as they are, since the original jump would go there too.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/tables.h"

#include <string.h>

static Vaddr read_absolute(const Image *image, Vaddr where, const uint8_t *bytes)
{
    const Reloc *reloc = image_reloc_at(image, where);
    if (reloc != NULL)
        return reloc->type == R_X86_64_RELATIVE ? vaddr((uint64_t)reloc->addend) : VADDR_NONE;
    return image->is_pic ? VADDR_NONE : vaddr(load_u64(bytes));
}

static Vaddr read_entry(const Image *image, const Value *value, uint32_t index)
{
    Vaddr where = vaddr(value->addr + (uint64_t)index * value->entry_size);
    Bytes bytes;
    if (!image_bytes_at(image, where, value->entry_size, &bytes))
        return VADDR_NONE;
    if (value->kind == VALUE_ENTRY)
        return read_absolute(image, where, bytes.data);
    return vaddr(value->base + (uint64_t)(int64_t)(int32_t)load_u32(bytes.data));
}

static bool in_function(const Func *fn, Vaddr addr)
{
    for (uint32_t i = 0; i < fn->n_extents; i++)
        if (addr.v - fn->extents[i].start.v < fn->extents[i].end.v - fn->extents[i].start.v)
            return true;
    return false;
}

static bool stays_inside(const Image *image, const Func *fn, const Value *value)
{
    for (uint32_t i = 0; i < value->n; i++)
        if (!in_function(fn, read_entry(image, value, i)))
            return false;
    return true;
}

bool table_is_proven(const Image *image, const Func *fn, const Value *value)
{
    bool absolute = value->kind == VALUE_ENTRY && value->entry_size == 8;
    Bytes first;
    if ((!absolute && value->kind != VALUE_TARGET) || value->n == 0)
        return false;
    if (!image_bytes_at(image, vaddr(value->addr), value->entry_size, &first))
        return false;
    uint64_t last = value->addr + (uint64_t)value->n * value->entry_size - 1;
    if (image_is_writable(image, vaddr(value->addr)) || image_is_writable(image, vaddr(last)))
        return false;
    return value->n <= TABLE_LOOSE_MAX || stays_inside(image, fn, value);
}

void table_read(const Image *image, Arena *arena, const Value *value, Table *table)
{
    table->form = value->kind == VALUE_TARGET ? TABLE_REL32 : TABLE_ABS64;
    table->new_form = table->form;
    table->base = value->kind == VALUE_TARGET ? vaddr(value->base) : VADDR_NONE;
    if (value->n <= table->n)
        return;
    table->n = value->n;
    table->entries = arena_many(arena, Vaddr, table->n);
    for (uint32_t i = 0; i < table->n; i++)
        table->entries[i] = read_entry(image, value, i);
}

static bool has_bad_entry(const Table *table)
{
    for (uint32_t i = 0; i < table->n; i++)
        if (vaddr_is_none(table->entries[i]))
            return true;
    return false;
}

/* A jump through memory can be taken again from the original place: base and index are intact. With
 * several sites that must be true of one of them for all, so they must be the same instruction. */
static bool same_jump(const Insn *left, const Insn *right)
{
    return left->size == right->size && memcmp(left->bytes, right->bytes, left->size) == 0;
}

static bool jumps_through_memory(const Insn *jump)
{
    Operand operands[3];
    insn_operands(jump, operands);
    return operands[0].kind == OPERAND_MEM;
}

static Vaddr find_fallback(const Func *fn, int32_t table)
{
    const Insn *found = NULL;
    for (uint32_t i = 0; i < fn->n_blocks; i++) {
        const Insn *last = block_last(&fn->blocks[i]);
        if (fn->blocks[i].table != table)
            continue;
        if (!jumps_through_memory(last) || (found != NULL && !same_jump(found, last)))
            return VADDR_NONE;
        found = found != NULL ? found : last;
    }
    return found != NULL ? found->addr : VADDR_NONE;
}

void tables_set_fallbacks(Func *fn)
{
    for (uint32_t i = 0; i < fn->n_tables; i++)
        if (has_bad_entry(&fn->tables[i]))
            fn->tables[i].fallback = find_fallback(fn, (int32_t)i);
}
