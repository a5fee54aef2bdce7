/*
 * address_map.c: runs of the overlay, packed as LEB128 differences.
 *
 *     slots ──► runs (same | resized | made | changed) ──► note ──► runs ──► AddressMap
 *
 * Straight copies of whole paths are one run each, so the map takes about one byte for every six of
 * code.
 *
 * SPDX-License-Identifier: MIT
 */
#include "rewriter/address_map.h"

#include <string.h>

enum {
    NOTE_TYPE_MAP = 1,
    MAP_VERSION = 1,
    NOTE_HEAD = 12 + 8, /* sizes, type, "respin\0" padded to 8 */
    MAP_HEAD = 136,     /* fixed part of the description */
    BUILD_ID_ROOM = 64,
};

static const char note_name[8] = "respin";

typedef struct Packer {
    Buffer *out;
    MapRun open;       /* size 0: none */
    uint64_t next_old; /* end of the run before, in the original */
    uint32_t n;
} Packer;

static void flush(Packer *packer)
{
    MapRun *run = &packer->open;
    if (run->size == 0)
        return;
    buffer_uleb(packer->out, run->size << 2 | run->kind);
    if (run->kind != RUN_MADE) {
        buffer_sleb(packer->out, (int64_t)(run->old.v - packer->next_old));
        packer->next_old = run->old.v + (run->kind == RUN_SAME ? run->size : 0);
    }
    packer->n++;
    run->size = 0;
}

static bool extends(const MapRun *run, uint8_t kind, Vaddr old)
{
    if (run->size == 0 || run->kind != kind)
        return false;
    return kind == RUN_MADE || (kind == RUN_SAME && run->old.v + run->size == old.v);
}

static void put_run(Packer *packer, uint8_t kind, Vaddr old, uint64_t size)
{
    if (!extends(&packer->open, kind, old)) {
        flush(packer);
        packer->open = (MapRun){ .kind = kind, .old = old };
    }
    packer->open.size += size;
}

static void put_slot(Packer *packer, const Slot *slot)
{
    if (slot->size == 0)
        return;
    if (slot->kind != SLOT_MOVED)
        put_run(packer, RUN_MADE, VADDR_NONE, slot->size);
    else if ((slot->insn->facts & INSN_MADE) != 0)
        put_run(packer, RUN_CHANGED, slot->row, slot->size);
    else if (slot->size != slot->insn->size)
        put_run(packer, RUN_RESIZED, slot->insn->addr, slot->size);
    else
        put_run(packer, RUN_SAME, slot->insn->addr, slot->size);
}

static void put_tables(const Overlay *overlay, Buffer *out)
{
    uint64_t at = overlay->tables_at.v, old = 0;
    for (uint32_t i = 0; i < overlay->n_clones; i++) {
        const Clone *clone = &overlay->clones[i];
        const Table *table = &overlay->plan->program->funcs[clone->fn.i].tables[clone->table];
        buffer_uleb(out, clone->at.v - at);
        buffer_uleb(out, table->n);
        bool has_base = table->form != TABLE_ABS64 || table->new_form == TABLE_REL32_BASE;
        buffer_u8(out, (uint8_t)(table->form << 2 | table->new_form));
        buffer_sleb(out, (int64_t)(table->addr.v - old));
        buffer_sleb(out, has_base ? (int64_t)(table->base.v - table->addr.v) : 0);
        at = clone->at.v;
        old = table->addr.v;
    }
}

static void put_patches(const Plan *plan, Buffer *out)
{
    uint64_t at = 0;
    for (uint32_t i = 0; i < plan->n_patches; i++) {
        buffer_uleb(out, plan->patches[i].site.v - at);
        buffer_uleb(out, plan->patches[i].size);
        at = plan->patches[i].site.v;
    }
}

Bytes map_encode(Arena *arena, const Overlay *overlay)
{
    const Plan *plan = overlay->plan;
    const ImageKey *key = &plan->image->key;
    Buffer stream = { .arena = arena }, out = { .arena = arena };
    Packer packer = { .out = &stream };
    for (uint32_t i = 0; i < overlay->n_slots; i++)
        put_slot(&packer, &overlay->slots[i]);
    flush(&packer);
    put_tables(overlay, &stream);
    put_patches(plan, &stream);

    buffer_u32(&out, sizeof "respin");
    buffer_u32(&out, (uint32_t)(MAP_HEAD + stream.len));
    buffer_u32(&out, NOTE_TYPE_MAP);
    buffer_put(&out, note_name, sizeof note_name);
    buffer_u32(&out, MAP_VERSION);
    buffer_u32(&out, key->build_id_len);
    buffer_put(&out, key->build_id, BUILD_ID_ROOM);
    buffer_u64(&out, key->text_hash[0]);
    buffer_u64(&out, key->text_hash[1]);
    buffer_u64(&out, overlay->text_at.v);
    buffer_u64(&out, overlay->text_size);
    buffer_u64(&out, overlay->tables_at.v);
    buffer_u64(&out, overlay->tables_size);
    buffer_u32(&out, packer.n);
    buffer_u32(&out, overlay->n_clones);
    buffer_u32(&out, plan->n_patches);
    buffer_u32(&out, (uint32_t)stream.len);
    buffer_put(&out, stream.data, stream.len);
    buffer_align(&out, 4, 0);
    return buffer_bytes(&out);
}

/* The head; false: not one of this version. */
static bool read_head(Cursor *cursor, MapFile *map, uint32_t *stream_size)
{
    bool known = cursor_u32(cursor) == sizeof "respin";
    cursor_skip(cursor, 4);
    known = known && cursor_u32(cursor) == NOTE_TYPE_MAP;
    for (size_t i = 0; i < sizeof note_name; i++)
        known = cursor_u8(cursor) == (uint8_t)note_name[i] && known;
    known = known && cursor_u32(cursor) == MAP_VERSION;
    map->original.build_id_len = cursor_u32(cursor);
    for (int i = 0; i < BUILD_ID_ROOM; i++)
        map->original.build_id[i] = cursor_u8(cursor);
    map->original.text_hash[0] = cursor_u64(cursor);
    map->original.text_hash[1] = cursor_u64(cursor);
    map->text_at.v = cursor_u64(cursor);
    map->text_size = cursor_u64(cursor);
    map->tables_at.v = cursor_u64(cursor);
    map->tables_size = cursor_u64(cursor);
    map->n_runs = cursor_u32(cursor);
    map->n_tables = cursor_u32(cursor);
    map->n_patches = cursor_u32(cursor);
    *stream_size = cursor_u32(cursor);
    return known && !cursor->bad && map->original.build_id_len <= BUILD_ID_ROOM;
}

static bool read_runs(Arena *arena, Cursor *cursor, MapFile *map)
{
    uint64_t at = map->text_at.v, old = 0;
    map->runs = arena_many(arena, MapRun, (size_t)map->n_runs + 1);
    for (uint32_t i = 0; i < map->n_runs && !cursor->bad; i++) {
        MapRun *run = &map->runs[i];
        uint64_t head = cursor_uleb(cursor);
        *run = (MapRun){ .at = { at }, .old = VADDR_NONE, .size = head >> 2, .kind = head & 3 };
        if (run->size == 0 || run->size > map->text_at.v + map->text_size - at)
            return false;
        if (run->kind != RUN_MADE) {
            run->old.v = old + (uint64_t)cursor_sleb(cursor);
            old = run->old.v + (run->kind == RUN_SAME ? run->size : 0);
        }
        at += run->size;
    }
    return !cursor->bad && at == map->text_at.v + map->text_size;
}

static bool read_tables(Arena *arena, Cursor *cursor, MapFile *map)
{
    uint64_t at = map->tables_at.v, old = 0;
    map->tables = arena_many(arena, MapTable, (size_t)map->n_tables + 1);
    for (uint32_t i = 0; i < map->n_tables && !cursor->bad; i++) {
        MapTable *table = &map->tables[i];
        at += cursor_uleb(cursor);
        uint64_t n = cursor_uleb(cursor);
        uint8_t forms = cursor_u8(cursor);
        old += (uint64_t)cursor_sleb(cursor);
        *table = (MapTable){ .at = { at }, .old = { old }, .n = (uint32_t)n };
        table->form = forms >> 2 & 1;
        table->new_form = forms & 3;
        table->base.v = old + (uint64_t)cursor_sleb(cursor);
        uint64_t size = n * (table->new_form == TABLE_ABS64 ? 8 : 4);
        if (n > UINT32_MAX || at < map->tables_at.v || at - map->tables_at.v > map->tables_size ||
            size > map->tables_size - (at - map->tables_at.v))
            return false;
    }
    return !cursor->bad;
}

static bool read_patches(Arena *arena, Cursor *cursor, MapFile *map)
{
    uint64_t at = 0;
    map->patches = arena_many(arena, MapPatch, (size_t)map->n_patches + 1);
    for (uint32_t i = 0; i < map->n_patches && !cursor->bad; i++) {
        uint64_t step = cursor_uleb(cursor), size = cursor_uleb(cursor);
        if (size > UINT16_MAX || (i > 0 && step < map->patches[i - 1].size))
            return false;
        at += step;
        map->patches[i] = (MapPatch){ { at }, (uint32_t)size };
    }
    return !cursor->bad;
}

Status map_decode(Arena *arena, const Image *output, const MapFile **out, Error *err)
{
    const Section *section = image_section(output, MAP_SECTION);
    Bytes bytes;
    *out = NULL;
    if (section == NULL)
        return ST_OK;
    TRY(image_section_bytes(output, section, &bytes, err));
    MapFile *map = arena_one(arena, MapFile);
    Cursor cursor = cursor_at(bytes, 0);
    uint32_t stream_size = 0;
    bool good = read_head(&cursor, map, &stream_size);
    Bytes stream;
    Place place = { output->path, section->name, cursor.at };
    /* Every entry takes at least a byte, which bounds the counts. */
    if (!good || !bytes_slice(bytes, NOTE_HEAD + MAP_HEAD, stream_size, &stream) ||
        map->n_runs > stream.len || map->n_tables > stream.len || map->n_patches > stream.len ||
        map->text_at.v + map->text_size < map->text_at.v)
        return FAIL(err, ST_BAD_INPUT, place, "the head of the map does not hold");
    Cursor entries = cursor_at(stream, 0);
    if (!read_runs(arena, &entries, map) || !read_tables(arena, &entries, map) ||
        !read_patches(arena, &entries, map)) {
        place.offset = NOTE_HEAD + MAP_HEAD + entries.at;
        return FAIL(err, ST_BAD_INPUT, place, "an entry of the map does not hold");
    }
    *out = map;
    return ST_OK;
}

const MapRun *map_run_at(const MapFile *map, NewAddr at)
{
    uint32_t low = 0, high = map->n_runs;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (map->runs[middle].at.v <= at.v)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return NULL;
    const MapRun *run = &map->runs[low - 1];
    return at.v - run->at.v < run->size ? run : NULL;
}

Status address_map_read(Arena *arena, const Image *output, const AddressMap **out, Error *err)
{
    const MapFile *file;
    *out = NULL;
    TRY(map_decode(arena, output, &file, err));
    if (file == NULL)
        return ST_OK;
    AddressMap *map = arena_one(arena, AddressMap);
    map->at = arena_many(arena, NewAddr, (size_t)file->n_runs + 1);
    map->old = arena_many(arena, Vaddr, (size_t)file->n_runs + 1);
    map->original = file->original;
    for (uint32_t i = 0; i < file->n_runs; i++) {
        map->at[i] = file->runs[i].at;
        map->old[i] = file->runs[i].old;
    }
    map->at[file->n_runs].v = file->text_at.v + file->text_size;
    map->old[file->n_runs] = VADDR_NONE;
    map->n = file->n_runs + 1;
    *out = map;
    return ST_OK;
}
