/*
 * lsda.c: language-specific data areas read and bounded.
 *
 *     LPStart enc [LPStart] | type enc [uleb → types_end] | site enc, uleb size
 *     call sites:  start size pad action          (numbers in the site encoding, action uleb)
 *     actions:     sleb filter, sleb next         (next counts from its own byte; 0 ends a chain)
 *     types:       … 3 2 1                        (words before types_end)
 *     filters:     uleb indices, 0                (from types_end on)
 *
 * Neither the action table nor the type table says how long it is: both are as long as what the
 * call sites reach. A word that a dynamic relocation fills cannot be copied; an indirect word that
 * leads to a DW.ref slot bears none itself (the slot does), so those copy.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/lsda.h"
#include "core/eh_pointer.h"

#include <string.h>

typedef struct Reader {
    Arena *arena;
    const Image *image;
    const Fde *fde;
    Lsda *lsda;
    Cursor cursor; /* over every byte from the LSDA to the end of its segment */
    size_t cap_sites;
    size_t sites_end; /* where the action table starts */
    uint64_t actions_len;
    uint64_t filters_len;
} Reader;

static Place place_at(const Reader *reader, uint64_t offset)
{
    return image_place(reader->image, vaddr_add(reader->lsda->addr, offset));
}

static Status ran_out(const Reader *reader, const char *what, Error *err)
{
    return FAIL(err, ST_BAD_INPUT, place_at(reader, reader->cursor.at),
                "%s runs past the end of its segment", what);
}

static Status read_landing_base(Reader *reader, Error *err)
{
    uint8_t encoding = cursor_u8(&reader->cursor);
    reader->lsda->landing_base = reader->fde->start;
    if (encoding == EH_OMIT || reader->cursor.bad)
        return ST_OK;
    EhPointer base;
    if ((encoding & EH_INDIRECT) != 0)
        return FAIL(err, ST_REFUSED, place_at(reader, 0), "indirect LPStart (0x%02x)", encoding);
    TRY(eh_pointer_read(reader->image, &reader->cursor, reader->lsda->addr, VADDR_NONE, encoding,
                        &base, err));
    reader->lsda->landing_base = base.is_null ? vaddr(0) : base.to;
    return ST_OK;
}

static Status read_type_header(Reader *reader, Error *err)
{
    Lsda *lsda = reader->lsda;
    lsda->type_encoding = cursor_u8(&reader->cursor);
    lsda->types_end = VADDR_NONE;
    if (lsda->type_encoding == EH_OMIT || reader->cursor.bad)
        return ST_OK;
    uint8_t base = lsda->type_encoding & EH_BASE_MASK;
    if (eh_pointer_size(lsda->type_encoding) == 0 || (base != 0 && base != EH_PCREL))
        return FAIL(err, ST_REFUSED, place_at(reader, reader->cursor.at - 1),
                    "type encoding 0x%02x is not known", lsda->type_encoding);
    uint64_t delta = cursor_uleb(&reader->cursor);
    if (delta > reader->cursor.bytes.len - reader->cursor.at)
        return ran_out(reader, "type table", err);
    lsda->types_end = vaddr_add(lsda->addr, reader->cursor.at + delta);
    return ST_OK;
}

static Status check_site(const Reader *reader, const LsdaSite *site, uint64_t offset,
                         uint64_t last_end, Error *err)
{
    uint64_t start = site->start.v - reader->fde->start.v;
    if (start < last_end || start > reader->fde->size || site->size > reader->fde->size - start)
        return FAIL(err, ST_BAD_INPUT, place_at(reader, offset),
                    "call site [0x%" PRIx64 ", +0x%" PRIx64 ") is out of order or outside its "
                    "function (0x%" PRIx64 ")",
                    start, site->size, reader->fde->size);
    if (!vaddr_is_none(site->landing_pad) && !image_is_code(reader->image, site->landing_pad))
        return FAIL(err, ST_BAD_INPUT, place_at(reader, offset),
                    "landing pad 0x%" PRIx64 " is not in code", site->landing_pad.v);
    return ST_OK;
}

static Status read_sites(Reader *reader, Error *err)
{
    Lsda *lsda = reader->lsda;
    Cursor *cursor = &reader->cursor;
    lsda->site_encoding = cursor_u8(cursor);
    if ((lsda->site_encoding & ~EH_FORM_MASK) != 0 && !cursor->bad)
        return FAIL(err, ST_REFUSED, place_at(reader, cursor->at - 1),
                    "call site encoding 0x%02x is not known", lsda->site_encoding);
    uint64_t size = cursor_uleb(cursor);
    if (cursor->bad || size > cursor->bytes.len - cursor->at)
        return ran_out(reader, "call site table", err);
    reader->sites_end = cursor->at + size;
    uint64_t last_end = 0;
    while (cursor->at < reader->sites_end) {
        LsdaSite site = { .landing_pad = VADDR_NONE };
        uint64_t offset = cursor->at;
        site.start = vaddr_add(reader->fde->start, eh_value_read(cursor, lsda->site_encoding));
        site.size = eh_value_read(cursor, lsda->site_encoding);
        uint64_t pad = eh_value_read(cursor, lsda->site_encoding);
        site.action = cursor_uleb(cursor);
        if (cursor->bad || cursor->at > reader->sites_end)
            return FAIL(err, ST_BAD_INPUT, place_at(reader, offset),
                        "call site runs past the end of its table (0x%zx)", reader->sites_end);
        if (pad != 0)
            site.landing_pad = vaddr_add(lsda->landing_base, pad);
        TRY(check_site(reader, &site, offset, last_end, err));
        last_end = site.start.v + site.size - reader->fde->start.v;
        lsda->sites = arena_grow(reader->arena, lsda->sites, &reader->cap_sites,
                                 (size_t)lsda->n_sites + 1, sizeof(LsdaSite));
        lsda->sites[lsda->n_sites++] = site;
    }
    return ST_OK;
}

static void use_type(Lsda *lsda, uint64_t index)
{
    if (index > lsda->n_types)
        lsda->n_types = index > UINT32_MAX ? UINT32_MAX : (uint32_t)index;
}

/* The exception specification that a negative filter names: type indices up to a 0. */
static Status read_filter(Reader *reader, int64_t filter, Error *err)
{
    Lsda *lsda = reader->lsda;
    uint64_t types_end = lsda->types_end.v - lsda->addr.v;
    uint64_t offset = 0 - (uint64_t)filter - 1;
    if (offset > reader->cursor.bytes.len)
        return ran_out(reader, "exception specification", err);
    Cursor cursor = cursor_at(reader->cursor.bytes, types_end + offset);
    uint64_t index;
    do {
        index = cursor_uleb(&cursor);
        use_type(lsda, index);
    } while (index != 0 && !cursor.bad);
    if (cursor.bad)
        return ran_out(reader, "exception specification", err);
    if (cursor.at - types_end > reader->filters_len)
        reader->filters_len = cursor.at - types_end;
    return ST_OK;
}

/* One record of the action table; *next is the offset of the one that follows, 0 at the end. */
static Status read_action(Reader *reader, uint64_t offset, uint64_t *next, Error *err)
{
    Cursor cursor = cursor_at(reader->cursor.bytes, reader->sites_end + offset);
    int64_t filter = cursor_sleb(&cursor);
    uint64_t link_at = cursor.at;
    int64_t link = cursor_sleb(&cursor);
    if (cursor.bad)
        return ran_out(reader, "action table", err);
    if (cursor.at - reader->sites_end > reader->actions_len)
        reader->actions_len = cursor.at - reader->sites_end;
    if (filter != 0 && vaddr_is_none(reader->lsda->types_end))
        return FAIL(err, ST_BAD_INPUT, place_at(reader, reader->sites_end + offset),
                    "action names type %" PRId64 ", and there is no type table", filter);
    if (filter > 0)
        use_type(reader->lsda, (uint64_t)filter);
    if (filter < 0)
        TRY(read_filter(reader, filter, err));
    *next = link_at + (uint64_t)link - reader->sites_end;
    if (link != 0 && *next >= reader->cursor.bytes.len)
        return FAIL(err, ST_BAD_INPUT, place_at(reader, link_at),
                    "action links %" PRId64 " bytes away, outside the table", link);
    if (link == 0)
        *next = UINT64_MAX;
    return ST_OK;
}

/* Follows every chain of actions once: `seen` has a mark per byte that a record starts at. */
static Status read_actions(Reader *reader, Error *err)
{
    const Lsda *lsda = reader->lsda;
    uint8_t *seen = NULL;
    size_t cap_seen = 0;
    for (uint32_t i = 0; i < lsda->n_sites; i++) {
        uint64_t at = lsda->sites[i].action - 1; /* action 0 gives UINT64_MAX: no chain */
        while (at != UINT64_MAX) {
            if (at >= reader->cursor.bytes.len - reader->sites_end)
                return ran_out(reader, "action table", err);
            seen = arena_grow(reader->arena, seen, &cap_seen, at + 1, 1);
            if (seen[at] != 0)
                break;
            seen[at] = 1;
            TRY(read_action(reader, at, &at, err));
        }
    }
    return ST_OK;
}

static bool has_reloc(const Image *image, Vaddr word, uint64_t size)
{
    /* A relocation is 8 bytes wide at most, so one that reaches into the word starts near it. */
    for (uint64_t i = 0; i < size + 7; i++)
        if (image_reloc_at(image, vaddr(word.v - 7 + i)) != NULL)
            return true;
    return false;
}

static Status check_types(const Reader *reader, Error *err)
{
    const Lsda *lsda = reader->lsda;
    uint64_t size = eh_pointer_size(lsda->type_encoding);
    if (lsda->n_types == 0)
        return ST_OK;
    uint64_t types_end = lsda->types_end.v - lsda->addr.v;
    if (types_end < reader->sites_end + reader->actions_len ||
        lsda->n_types > (types_end - reader->sites_end - reader->actions_len) / size)
        return FAIL(err, ST_BAD_INPUT, place_at(reader, types_end),
                    "%" PRIu32 " types do not fit between the actions and their end",
                    lsda->n_types);
    for (uint32_t i = 1; i <= lsda->n_types && reader->image->n_relocs > 0; i++) {
        Vaddr word = vaddr(lsda->types_end.v - i * size);
        if (has_reloc(reader->image, word, size))
            return FAIL(err, ST_REFUSED, image_place(reader->image, word),
                        "lsda-dynreloc: type %" PRIu32 " bears a dynamic relocation", i);
    }
    return ST_OK;
}

Status lsda_read(Arena *arena, const Image *image, const Fde *fde, const Lsda **out, Error *err)
{
    Lsda *lsda = arena_one(arena, Lsda);
    Reader reader = { .arena = arena, .image = image, .fde = fde, .lsda = lsda };
    *out = lsda;
    lsda->addr = fde->lsda;
    reader.cursor = cursor_at(image_bytes_from(image, fde->lsda), 0);
    TRY(read_landing_base(&reader, err));
    TRY(read_type_header(&reader, err));
    TRY(read_sites(&reader, err));
    TRY(read_actions(&reader, err));
    TRY(check_types(&reader, err));

    lsda->actions_addr = vaddr_add(lsda->addr, reader.sites_end);
    lsda->size = reader.sites_end + reader.actions_len;
    bytes_slice(reader.cursor.bytes, reader.sites_end, reader.actions_len, &lsda->actions);
    if (lsda->n_types > 0 || reader.filters_len > 0) {
        uint64_t types_end = lsda->types_end.v - lsda->addr.v;
        bytes_slice(reader.cursor.bytes, types_end, reader.filters_len, &lsda->filters);
        lsda->size = types_end + reader.filters_len;
    }
    return ST_OK;
}
