/*
 * unwind.c: .eh_frame read into CIEs and FDEs.
 *
 *     .eh_frame   length | id 0 | CIE: version, "zPLR", aligns, pointers, program
 *                 length | back to its CIE | FDE: start, size, LSDA pointer, program
 *                 0
 *
 * One walk over the bytes; a libLLVM has 100,000 FDEs, so nothing here is quadratic and an FDE
 * finds its CIE by the one it followed last. A zero length ends a table that is found through the
 * program header; in a section it only ends one input file's part, and the walk goes on.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/unwind.h"
#include "core/eh_pointer.h"

#include <stdlib.h>
#include <string.h>

typedef struct Reader {
    Arena *arena;
    const Image *image;
    UnwindTable *table;
    size_t cap_cies;
    size_t cap_fdes;
    bool has_relocs; /* some dynamic relocation lies in .eh_frame */
    bool stops_at_zero;
} Reader;

/* One length-delimited entry. */
typedef struct Entry {
    uint64_t offset; /* of its length field */
    uint64_t id_at;  /* of its id field */
    uint32_t id;
    Cursor body; /* over table->bytes cut off at the entry's end, standing after the id */
} Entry;

static Place place_at(const Reader *reader, uint64_t offset)
{
    return image_place(reader->image, vaddr_add(reader->table->addr, offset));
}

/* First relocation at or after `where`. */
static uint32_t reloc_lower_bound(const Image *image, Vaddr where)
{
    uint32_t low = 0;
    uint32_t high = image->n_relocs;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (image->relocs[mid].where.v < where.v)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool range_has_relocs(const Image *image, Vaddr start, uint64_t size)
{
    uint32_t i = reloc_lower_bound(image, start);
    return i < image->n_relocs && image->relocs[i].where.v - start.v < size;
}

/* A pointer of the table itself: known encoding, no dynamic relocation on its word. */
static Status read_pointer(const Reader *reader, Cursor *cursor, uint8_t encoding, EhPointer *out,
                           Error *err)
{
    size_t from = cursor->at;
    TRY(eh_pointer_read(reader->image, cursor, reader->table->addr, VADDR_NONE, encoding, out,
                        err));
    if (cursor->bad)
        return FAIL(err, ST_BAD_INPUT, place_at(reader, from),
                    "an encoded pointer runs past the end of its entry");
    if (reader->has_relocs &&
        range_has_relocs(reader->image, out->at, cursor->at - (out->at.v - reader->table->addr.v)))
        return FAIL(err, ST_REFUSED, place_at(reader, from),
                    "a dynamic relocation on a word of .eh_frame");
    return ST_OK;
}

/* Augmentation data of a CIE, letter by letter. */
static Status read_augmentation(const Reader *reader, Cursor *cursor, Cie *cie, Error *err)
{
    for (const char *letter = cie->augmentation + 1; *letter != 0; letter++) {
        EhPointer pointer;
        switch (*letter) {
        case 'R':
            cie->fde_encoding = cursor_u8(cursor);
            break;
        case 'L':
            cie->lsda_encoding = cursor_u8(cursor);
            break;
        case 'P':
            cie->personality_encoding = cursor_u8(cursor);
            if (cie->personality_encoding == EH_OMIT)
                break;
            TRY(read_pointer(reader, cursor, cie->personality_encoding, &pointer, err));
            cie->personality = pointer.to;
            break;
        case 'S':
            cie->is_signal = true;
            break;
        case 'B': /* AArch64 pointer signing: no data, no meaning here */
            break;
        default:
            return FAIL(err, ST_REFUSED, place_at(reader, cie->offset),
                        "augmentation \"%.16s\" is not known", cie->augmentation);
        }
    }
    return ST_OK;
}

static Status check_version(const Reader *reader, const Cie *cie, uint8_t version, Cursor *cursor,
                            Error *err)
{
    if (version != 1 && version != 3 && version != 4)
        return FAIL(err, ST_REFUSED, place_at(reader, cie->offset),
                    "CIE version %u is not known (1, 3, 4)", version);
    if (cie->augmentation[0] != 0 && cie->augmentation[0] != 'z')
        return FAIL(err, ST_REFUSED, place_at(reader, cie->offset),
                    "augmentation \"%.16s\" is not known", cie->augmentation);
    if (version != 4)
        return ST_OK;
    uint8_t address_size = cursor_u8(cursor);
    uint8_t segment_size = cursor_u8(cursor);
    if (address_size != 8 || segment_size != 0)
        return FAIL(err, ST_REFUSED, place_at(reader, cie->offset),
                    "addresses of %u bytes with segments of %u (8, 0)", address_size, segment_size);
    return ST_OK;
}

static Status read_cie(Reader *reader, Entry *entry, Error *err)
{
    UnwindTable *table = reader->table;
    Cursor *cursor = &entry->body;
    Cie cie = { .offset = entry->offset,
                .fde_encoding = EH_ABSPTR,
                .lsda_encoding = EH_OMIT,
                .personality_encoding = EH_OMIT,
                .personality = VADDR_NONE };
    uint8_t version = cursor_u8(cursor);
    cie.augmentation = cursor_string(cursor);
    TRY(check_version(reader, &cie, version, cursor, err));
    cie.code_align = cursor_uleb(cursor);
    cie.data_align = cursor_sleb(cursor);
    cie.return_reg = version == 1 ? cursor_u8(cursor) : cursor_uleb(cursor);
    if (cie.augmentation[0] == 'z') {
        cie.has_fde_data = true;
        uint64_t size = cursor_uleb(cursor);
        size_t from = cursor->at;
        TRY(read_augmentation(reader, cursor, &cie, err));
        if (!cursor->bad && cursor->at - from > size)
            return FAIL(err, ST_BAD_INPUT, place_at(reader, from),
                        "augmentation data takes %zu bytes of %" PRIu64, cursor->at - from, size);
        *cursor = cursor_at(cursor->bytes, from);
        cursor_skip(cursor, size);
    }
    if (cursor->bad)
        return FAIL(err, ST_BAD_INPUT, place_at(reader, entry->offset),
                    "CIE runs past its end (0x%zx)", cursor->bytes.len);
    bytes_slice(cursor->bytes, cursor->at, cursor->bytes.len - cursor->at, &cie.program);
    table->cies = arena_grow(reader->arena, table->cies, &reader->cap_cies,
                             (size_t)table->n_cies + 1, sizeof(Cie));
    table->cies[table->n_cies++] = cie;
    return ST_OK;
}

/* Index of the CIE at `offset`; n_cies: none. CIEs are in order of offset. */
static uint32_t find_cie(const UnwindTable *table, uint64_t offset, uint32_t guess)
{
    if (guess < table->n_cies && table->cies[guess].offset == offset)
        return guess;
    uint32_t low = 0;
    uint32_t high = table->n_cies;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (table->cies[mid].offset < offset)
            low = mid + 1;
        else
            high = mid;
    }
    bool found = low < table->n_cies && table->cies[low].offset == offset;
    return found ? low : table->n_cies;
}

/* The 'z' data of an FDE: the LSDA pointer, when its CIE has one. */
static Status read_fde_data(const Reader *reader, Cursor *cursor, const Cie *cie, Fde *fde,
                            Error *err)
{
    if (!cie->has_fde_data)
        return ST_OK;
    uint64_t size = cursor_uleb(cursor);
    size_t from = cursor->at;
    if (cie->lsda_encoding != EH_OMIT && size > 0) {
        EhPointer lsda;
        TRY(read_pointer(reader, cursor, cie->lsda_encoding, &lsda, err));
        if (!lsda.is_null && (cie->lsda_encoding & EH_INDIRECT) != 0)
            return FAIL(err, ST_REFUSED, place_at(reader, from), "an indirect LSDA pointer");
        fde->lsda = lsda.to;
    }
    if (!cursor->bad && cursor->at - from > size)
        return FAIL(err, ST_BAD_INPUT, place_at(reader, from),
                    "augmentation data takes %zu bytes of %" PRIu64, cursor->at - from, size);
    *cursor = cursor_at(cursor->bytes, from);
    cursor_skip(cursor, size);
    return ST_OK;
}

static Status read_fde(Reader *reader, Entry *entry, Error *err)
{
    UnwindTable *table = reader->table;
    Cursor *cursor = &entry->body;
    uint32_t guess = table->n_cies - 1;
    if (table->n_fdes > 0)
        guess = table->fdes[table->n_fdes - 1].cie;
    uint64_t cie_offset = entry->id_at - entry->id;
    Fde fde = { .offset = entry->offset,
                .cie = find_cie(table, cie_offset, guess),
                .lsda = VADDR_NONE };
    if (entry->id > entry->id_at || fde.cie == table->n_cies)
        return FAIL(err, ST_BAD_INPUT, place_at(reader, entry->id_at),
                    "FDE leads 0x%" PRIx32 " bytes back, where no CIE starts", entry->id);
    const Cie *cie = &table->cies[fde.cie];
    EhPointer start;
    TRY(read_pointer(reader, cursor, cie->fde_encoding, &start, err));
    if ((cie->fde_encoding & EH_INDIRECT) != 0)
        return FAIL(err, ST_REFUSED, place_at(reader, entry->offset),
                    "FDE with an indirect start (0x%02x)", cie->fde_encoding);
    fde.size = eh_value_read(cursor, cie->fde_encoding);
    TRY(read_fde_data(reader, cursor, cie, &fde, err));
    if (cursor->bad)
        return FAIL(err, ST_BAD_INPUT, place_at(reader, entry->offset),
                    "FDE runs past its end (0x%zx)", cursor->bytes.len);
    if (start.is_null || fde.size == 0) /* what a linker leaves of a function it dropped */
        return ST_OK;
    fde.start = start.to;
    if (fde.start.v + fde.size < fde.start.v)
        return FAIL(err, ST_BAD_INPUT, place_at(reader, entry->offset),
                    "FDE of 0x%" PRIx64 " bytes at 0x%" PRIx64 " wraps round", fde.size,
                    fde.start.v);
    bytes_slice(cursor->bytes, cursor->at, cursor->bytes.len - cursor->at, &fde.program);
    table->fdes = arena_grow(reader->arena, table->fdes, &reader->cap_fdes,
                             (size_t)table->n_fdes + 1, sizeof(Fde));
    table->fdes[table->n_fdes++] = fde;
    return ST_OK;
}

/* Reads the length and the id at `offset`. entry->id_at 0: a zero length word. */
static Status read_entry(const Reader *reader, uint64_t offset, Entry *entry, uint64_t *next,
                         Error *err)
{
    Bytes bytes = reader->table->bytes;
    Cursor cursor = cursor_at(bytes, offset);
    *entry = (Entry){ .offset = offset };
    uint64_t length = cursor_u32(&cursor);
    if (length == 0 && !cursor.bad) {
        *next = cursor.at;
        return ST_OK;
    }
    if (length == UINT32_MAX)
        length = cursor_u64(&cursor);
    Bytes body;
    if (cursor.bad || !bytes_slice(bytes, cursor.at, length, &body) || length < 4)
        return FAIL(err, ST_BAD_INPUT, place_at(reader, offset),
                    "entry of 0x%" PRIx64 " bytes does not fit the table (0x%zx) or its id", length,
                    bytes.len);
    entry->id_at = cursor.at;
    *next = cursor.at + length;
    entry->body = cursor_at((Bytes){ bytes.data, *next }, cursor.at);
    entry->id = cursor_u32(&entry->body);
    return ST_OK;
}

static Status read_entries(Reader *reader, Error *err)
{
    UnwindTable *table = reader->table;
    uint64_t offset = 0;
    while (offset < table->bytes.len) {
        Entry entry;
        uint64_t next;
        TRY(read_entry(reader, offset, &entry, &next, err));
        if (entry.id_at == 0) {
            if (reader->stops_at_zero)
                break;
        } else if (entry.id == 0) {
            TRY(read_cie(reader, &entry, err));
        } else {
            TRY(read_fde(reader, &entry, err));
        }
        offset = next;
    }
    return ST_OK;
}

/* The table that .eh_frame_hdr leads to: from its start to the end of its segment. */
static Status find_by_header(Reader *reader, const Segment *segment, Error *err)
{
    const Image *image = reader->image;
    Bytes header;
    if (!image_bytes_at(image, segment->addr, segment->file_size, &header))
        return FAIL(err, ST_BAD_INPUT, image_place(image, segment->addr),
                    "PT_GNU_EH_FRAME of 0x%" PRIx64 " bytes lies outside every PT_LOAD",
                    segment->file_size);
    Cursor cursor = cursor_at(header, 0);
    uint8_t version = cursor_u8(&cursor);
    uint8_t encoding = cursor_u8(&cursor);
    cursor_skip(&cursor, 2);
    if (cursor.bad || version != 1)
        return FAIL(err, ST_BAD_INPUT, image_place(image, segment->addr),
                    ".eh_frame_hdr of version %u (1)", version);
    EhPointer start;
    TRY(eh_pointer_read(image, &cursor, segment->addr, segment->addr, encoding, &start, err));
    if (cursor.bad)
        return FAIL(err, ST_BAD_INPUT, image_place(image, segment->addr),
                    ".eh_frame_hdr ends before its pointer");
    if (start.is_null)
        return ST_OK;
    reader->stops_at_zero = true;
    reader->table->addr = start.to;
    reader->table->bytes = image_bytes_from(image, start.to);
    return ST_OK;
}

static Status find_table(Reader *reader, Error *err)
{
    const Image *image = reader->image;
    const Section *section = image_section(image, ".eh_frame");
    const Segment *segment = image_segment(image, PT_GNU_EH_FRAME);
    if (section != NULL && section->size > 0) {
        reader->table->addr = section->addr;
        return image_section_bytes(image, section, &reader->table->bytes, err);
    }
    return segment != NULL ? find_by_header(reader, segment, err) : ST_OK;
}

static int compare_fdes(const void *left, const void *right)
{
    const Fde *a = left;
    const Fde *b = right;
    if (a->start.v != b->start.v)
        return a->start.v < b->start.v ? -1 : 1;
    return (a->offset > b->offset) - (a->offset < b->offset);
}

Status unwind_read(Arena *arena, const Image *image, const UnwindTable **out, Error *err)
{
    UnwindTable *table = arena_one(arena, UnwindTable);
    Reader reader = { .arena = arena, .image = image, .table = table };
    *out = table;
    TRY(find_table(&reader, err));
    reader.has_relocs = range_has_relocs(image, table->addr, table->bytes.len);
    TRY(read_entries(&reader, err));
    if (table->n_fdes > 0)
        qsort(table->fdes, table->n_fdes, sizeof(Fde), compare_fdes);
    return ST_OK;
}

const Fde *unwind_fde_at(const UnwindTable *table, Vaddr addr)
{
    uint32_t low = 0;
    uint32_t high = table->n_fdes;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (table->fdes[mid].start.v <= addr.v)
            low = mid + 1;
        else
            high = mid;
    }
    const Fde *fde = low > 0 ? &table->fdes[low - 1] : NULL;
    return fde != NULL && addr.v - fde->start.v < fde->size ? fde : NULL;
}
