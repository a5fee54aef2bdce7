/*
 * profile_read_bolt.c: BOLT's pre-aggregated form and its own form, fdata.
 *
 *     preagg:  B 1150 1140 99 0        branch          F 1140 1150 100   stretch
 *              T 1150 1140 1150 98     branch and the stretch behind it
 *     fdata:   1 main 1c 1 main 40 0 99
 *
 * fdata has no stretches, but an edge for every fall-through between blocks, so they are derived:
 * what arrives at a block is how often it ran. docs/formats/convert.md has both formats.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/profile_branches.h"
#include "core/profile_convert.h"

#include "core/func_names.h"
#include "core/profile_parts.h"
#include "core/text_lines.h"

#include <string.h>

typedef struct BoltReader {
    TextLines lines;
    Branches branches;
    const Image *image;
    const char *build_id; /* of the image, "" when it has none */
    bool own_named;       /* preagg: addresses of this image bear its build id */
    uint64_t n_samples;   /* records that hold no branch */
    FuncNames names;
    Vaddr *starts; /* fdata: of functions that a record leaves */
    size_t n_starts, starts_cap;
} BoltReader;

/* ---- preagg -----------------------------------------------------------------------------------
 */

/* What stands in place of a branch or of an end. */
#define PREAGG_NO_ADDRESS UINT64_MAX
#define PREAGG_LEAST_MAGIC (UINT64_MAX - 2)

/* `[ID:]HEX`: an address of the image, or VADDR_NONE outside it. */
static Status read_place(BoltReader *reader, Vaddr *out, bool *missing, Error *err)
{
    Bytes word = lines_word(&reader->lines);
    const uint8_t *colon = word.len > 0 ? memchr(word.data, ':', word.len) : NULL;
    size_t id = colon != NULL ? (size_t)(colon - word.data) : 0;
    Bytes digits = { word.data + (colon != NULL ? id + 1 : 0),
                     word.len - (colon != NULL ? id + 1 : 0) };
    uint64_t address;
    bool minus = digits.len > 1 && digits.data[0] == '-';
    if (minus)
        digits = (Bytes){ digits.data + 1, digits.len - 1 };
    if (!word_number(digits, 16, &address))
        return LINES_FAIL(&reader->lines, err, "\"%.*s\" is not an address", WORD_TEXT(word));
    address = minus ? 0 - address : address;
    bool own = colon == NULL
                   ? !reader->own_named
                   : id == strlen(reader->build_id) && memcmp(word.data, reader->build_id, id) == 0;
    *missing = address == PREAGG_NO_ADDRESS;
    bool inside = own && address != 0 && address < PREAGG_LEAST_MAGIC &&
                  image_is_code(reader->image, vaddr(address));
    *out = inside ? vaddr(address) : VADDR_NONE;
    return ST_OK;
}

static Status read_count(BoltReader *reader, uint64_t *out, Error *err)
{
    Bytes word = lines_word(&reader->lines);
    if (!word_number(word, 10, out))
        return LINES_FAIL(&reader->lines, err, "\"%.*s\" is not a count", WORD_TEXT(word));
    return ST_OK;
}

/* Nothing but one more number, which says how often a prediction was wrong. */
static Status read_rest(BoltReader *reader, Error *err)
{
    uint64_t mispredicted;
    Bytes word = lines_word(&reader->lines);
    if (word.len > 0 && !word_number(word, 10, &mispredicted))
        return LINES_FAIL(&reader->lines, err, "\"%.*s\" is not a count", WORD_TEXT(word));
    word = lines_word(&reader->lines);
    if (word.len > 0)
        return LINES_FAIL(&reader->lines, err, "\"%.*s\" after the end of the record",
                          WORD_TEXT(word));
    return ST_OK;
}

static void add_stretch(BoltReader *reader, Vaddr start, Vaddr end, uint64_t count)
{
    if (!vaddr_is_none(start) && !vaddr_is_none(end))
        branches_add_stretch(&reader->branches, start, end, count);
}

/* B from to n m;  F f r from to n;  T R branch from to n. */
static Status read_record(BoltReader *reader, char kind, Error *err)
{
    Vaddr at[3];
    bool missing[3];
    uint64_t count;
    int n = kind == 'T' || kind == 'R' ? 3 : 2;
    for (int i = 0; i < n; i++)
        TRY(read_place(reader, &at[i], &missing[i], err));
    TRY(read_count(reader, &count, err));
    TRY(read_rest(reader, err));
    if (kind == 'r') /* behind a call: a return from where nobody knows */
        branches_add(&reader->branches, VADDR_NONE, at[0], count);
    if (n == 2 && kind != 'B') {
        add_stretch(reader, at[0], at[1], count);
        return ST_OK;
    }
    if (!missing[0] && (!vaddr_is_none(at[0]) || !vaddr_is_none(at[1])))
        branches_add(&reader->branches, at[0], at[1], count);
    if (n == 3 && !missing[2])
        add_stretch(reader, at[1], at[2], count);
    return ST_OK;
}

static Status read_preagg(BoltReader *reader, Error *err)
{
    const char *id = reader->build_id;
    size_t len = strlen(id);
    for (size_t at = 0; len > 0 && at + len < reader->lines.file.len && !reader->own_named; at++)
        reader->own_named = memcmp(reader->lines.file.data + at, id, len) == 0 &&
                            reader->lines.file.data[at + len] == ':';
    while (lines_next(&reader->lines)) {
        Bytes word = lines_word(&reader->lines);
        if (word.len == 0 || word_is(word, "E"))
            continue;
        if (word_is(word, "S"))
            reader->n_samples++;
        else if (word.len == 1 && strchr("BFfrTR", word.data[0]) != NULL)
            TRY(read_record(reader, (char)word.data[0], err));
        else
            return LINES_FAIL(&reader->lines, err, "\"%.*s\" begins no record (B F f r T R S E)",
                              WORD_TEXT(word));
    }
    return ST_OK;
}

/* ---- fdata ------------------------------------------------------------------------------------
 */

static const char *plain_name(Arena *arena, Bytes word)
{
    char *name = arena_alloc(arena, word.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < word.len; i++) {
        if (word.data[i] == '\\' && i + 1 < word.len)
            i++;
        name[n++] = (char)word.data[i];
    }
    return name;
}

/* `1 NAME OFFSET` or `0 OBJECT OFFSET`; the start of the function, and the place in it. */
static Status read_location(BoltReader *reader, Vaddr *start, Vaddr *out, Error *err)
{
    uint64_t offset;
    Bytes kind = lines_word(&reader->lines);
    Bytes name = lines_word(&reader->lines);
    Bytes word = lines_word(&reader->lines);
    *start = *out = VADDR_NONE;
    if (!word_is(kind, "0") && !word_is(kind, "1") && !word_is(kind, "2"))
        return LINES_FAIL(&reader->lines, err, "\"%.*s\" is no kind of place (0, 1, 2)",
                          WORD_TEXT(kind));
    if (!word_number(word, 16, &offset))
        return LINES_FAIL(&reader->lines, err, "\"%.*s\" is not an offset", WORD_TEXT(word));
    if (word_is(kind, "0"))
        return ST_OK;
    *start = func_names_find(&reader->names, plain_name(reader->branches.arena, name));
    Vaddr place = vaddr(start->v + offset);
    if (!vaddr_is_none(*start) && image_is_code(reader->image, place))
        *out = place;
    return ST_OK;
}

static Status read_edge(BoltReader *reader, Error *err)
{
    Vaddr from, to, from_start, to_start;
    uint64_t mispredicted, count;
    TRY(read_location(reader, &from_start, &from, err));
    TRY(read_location(reader, &to_start, &to, err));
    TRY(read_count(reader, &mispredicted, err));
    TRY(read_count(reader, &count, err));
    TRY(read_rest(reader, err));
    if (vaddr_is_none(from) && vaddr_is_none(to))
        return ST_OK;
    branches_add(&reader->branches, from, to, count);
    if (vaddr_is_none(from) ||
        (reader->n_starts > 0 && reader->starts[reader->n_starts - 1].v == from_start.v))
        return ST_OK;
    reader->starts = arena_grow(reader->branches.arena, reader->starts, &reader->starts_cap,
                                reader->n_starts + 1, sizeof *reader->starts);
    reader->starts[reader->n_starts++] = from_start;
    return ST_OK;
}

static bool begins(Bytes line, const char *text)
{
    return line.len >= strlen(text) && memcmp(line.data, text, strlen(text)) == 0;
}

static Status read_fdata(BoltReader *reader, Error *err)
{
    func_names_read(reader->branches.arena, reader->image, &reader->names);
    if (reader->names.stripped)
        return FAIL(err, ST_REFUSED, ((Place){ reader->image->path, NULL, PLACE_NO_OFFSET }),
                    "is stripped: the functions that fdata names cannot be found in it");
    while (lines_next(&reader->lines)) {
        Bytes line = reader->lines.rest;
        if (line.len == 0)
            continue;
        if (begins(line, "no_lbr"))
            return FAIL(err, ST_REFUSED, LINES_PLACE(&reader->lines),
                        "holds samples without branches (no_lbr): edges cannot be had from them");
        if (begins(line, "boltedcollection"))
            return FAIL(err, ST_REFUSED, LINES_PLACE(&reader->lines),
                        "was taken from a binary that BOLT had optimized: its offsets need BOLT's "
                        "own translation table");
        if (line.data[0] >= '3' && line.data[0] <= '5')
            continue; /* a load of memory */
        TRY(read_edge(reader, err));
    }
    branches_derive_stretches(&reader->branches, reader->starts, reader->n_starts);
    return ST_OK;
}

Status profile_read_bolt(Arena *arena, const char *path, Bytes file, bool fdata, const Image *image,
                         const Profile **out, Error *err)
{
    BoltReader reader = { .lines = { .path = path, .file = file },
                          .branches = { .arena = arena, .image = image },
                          .image = image };
    reader.build_id = image->key.build_id_len > 0 ? image_key_text(arena, &image->key) : "";
    TRY(fdata ? read_fdata(&reader, err) : read_preagg(&reader, err));
    if (reader.n_samples > 0 && reader.branches.n == 0)
        return FAIL(err, ST_REFUSED, ((Place){ path, NULL, PLACE_NO_OFFSET }),
                    "holds %" PRIu64 " samples and no branches: edges cannot be had from them",
                    reader.n_samples);
    return branches_finish(&reader.branches, path, out, err);
}
