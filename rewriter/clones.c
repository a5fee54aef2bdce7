/*
 * clones.c: jump tables and computed-goto tables of the overlay.
 *
 *     .rodata (stays)          .respin.rodata
 *     T: A-T  B-T  C-T   =>    T': A'-T'  B'-T'  C-T'     (C is not placed: its original)
 *
 * A TABLE_REL32 clone counts from its own start when the original did, else from the original's
 * base moved along with it; a TABLE_REL32_BASE clone counts from the original's base, which a
 * register holds as before. A TABLE_ABS64 clone needs final addresses: fixed images only.
 *
 * SPDX-License-Identifier: MIT
 */
#include "rewriter/overlay.h"

enum { TABLES_ALIGN = 64, TRAP_SIZE = 1, TRAP = 0xcc };

void clones_collect(Overlay *overlay)
{
    const Program *program = overlay->plan->program;
    for (uint32_t i = 0; i < program->n_funcs; i++) {
        const Func *fn = &program->funcs[i];
        overlay->clone_base[i] = overlay->n_clones;
        if (overlay->label_base[i] == UINT32_MAX)
            continue;
        for (uint32_t t = 0; t < fn->n_tables; t++) {
            if (!fn->tables[t].clone)
                continue;
            overlay->clones = arena_grow(overlay->arena, overlay->clones, &overlay->cap_clones,
                                         (size_t)overlay->n_clones + 1, sizeof(Clone));
            overlay->clones[overlay->n_clones++] = (Clone){ .fn = fn->id, .table = t };
        }
    }
}

static const Table *table_of(const Overlay *overlay, const Clone *clone)
{
    return &overlay->plan->program->funcs[clone->fn.i].tables[clone->table];
}

static unsigned entry_size(const Table *table)
{
    return table->new_form == TABLE_ABS64 ? 8 : 4;
}

static uint64_t align_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) / unit * unit;
}

void clones_place(Overlay *overlay, NewAddr from)
{
    uint64_t at = align_up(from.v, TABLES_ALIGN);
    overlay->tables_at.v = at;
    for (uint32_t i = 0; i < overlay->n_clones; i++) {
        Clone *clone = &overlay->clones[i];
        const Table *table = table_of(overlay, clone);
        at = align_up(at, entry_size(table));
        clone->at.v = at;
        clone->size = (uint64_t)table->n * entry_size(table);
        at += clone->size;
    }
    overlay->tables_size = at - overlay->tables_at.v + (overlay->n_clones > 0 ? TRAP_SIZE : 0);
}

static uint64_t trap_at(const Overlay *overlay)
{
    return overlay->tables_at.v + overlay->tables_size - TRAP_SIZE;
}

/* Where an entry goes that is no code: the same place, or the trap. */
static uint64_t wild_target(const Overlay *overlay, const Clone *clone, const Table *table,
                            Vaddr to)
{
    int64_t distance = (int64_t)(to.v - clone->at.v);
    bool near = distance > INT32_MIN / 2 && distance < INT32_MAX / 2;
    bool outside = to.v < overlay->text_at.v || to.v > trap_at(overlay);
    return outside && (near || table->new_form == TABLE_ABS64) ? to.v : trap_at(overlay);
}

static Status entry_target(const Overlay *overlay, const Clone *clone, const Table *table,
                           uint32_t i, uint64_t *target, Error *err)
{
    const Func *fn = &overlay->plan->program->funcs[clone->fn.i];
    Vaddr to = vaddr_is_none(table->entries[i]) ? table->fallback : table->entries[i];
    Dest dest;
    if (vaddr_is_none(to))
        return FAIL(err, ST_BUG, image_place(overlay->plan->image, table->addr),
                    "entry %u of a cloned table leads nowhere", i);
    if (!image_is_code(overlay->plan->image, to)) {
        *target = wild_target(overlay, clone, table, to);
        return ST_OK;
    }
    if (vaddr_is_none(table->entries[i]) ||
        !overlay_block(overlay, fn->id, func_block_at(fn, to), &dest))
        TRY(overlay_exit(overlay, to, &dest, err));
    *target = overlay_address(overlay, dest);
    return ST_OK;
}

static Status emit_entry(const Overlay *overlay, const Clone *clone, const Table *table,
                         uint64_t target, Buffer *out, Error *err)
{
    if (table->new_form == TABLE_ABS64) {
        buffer_u64(out, target);
        return ST_OK;
    }
    uint64_t shift = table->form == TABLE_REL32 ? table->base.v - table->addr.v : 0;
    uint64_t from = table->new_form == TABLE_REL32_BASE ? table->base.v : clone->at.v + shift;
    int64_t distance = (int64_t)(target - from);
    if (distance < INT32_MIN || distance > INT32_MAX)
        return FAIL(err, ST_REFUSED, image_place(overlay->plan->image, table->addr),
                    "a table entry of %" PRId64 " bytes does not fit 32 bits", distance);
    buffer_u32(out, (uint32_t)distance);
    return ST_OK;
}

Status clones_emit(const Overlay *overlay, Buffer *out, Error *err)
{
    for (uint32_t i = 0; i < overlay->n_clones; i++) {
        const Clone *clone = &overlay->clones[i];
        const Table *table = table_of(overlay, clone);
        if (table->new_form == TABLE_ABS64 && overlay->plan->image->is_pic)
            return FAIL(err, ST_BUG, image_place(overlay->plan->image, table->addr),
                        "a table of absolute addresses in a position-independent image");
        buffer_fill(out, 0, clone->at.v - overlay->tables_at.v - out->len);
        for (uint32_t k = 0; k < table->n; k++) {
            uint64_t target;
            TRY(entry_target(overlay, clone, table, k, &target, err));
            TRY(emit_entry(overlay, clone, table, target, out, err));
        }
    }
    if (overlay->n_clones > 0)
        buffer_u8(out, TRAP);
    return ST_OK;
}
