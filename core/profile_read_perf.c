/*
 * profile_read_perf.c: branch stacks as `perf script -F pid,brstack --show-mmap-events` prints
 * them, and which format a foreign file has.
 *
 *     app 1 2.3: PERF_RECORD_MMAP2 12/12: [0x5581000(0x2000) @ 0x1000 08:01 7 0]: r-xp /bin/app
 *     12  0x5581150/0x5581140/P/-/-/0  0x5581150/0x5581140/P/-/-/0  …
 *
 * The newest branch stands first. Between the target of one and the source of the next newer one
 * the code ran straight. Addresses of position-independent images become link-time addresses
 * through the mappings; a process without one of its own (a forked child) has those of the others.
 * Branches into and out of the kernel are interrupts, and are passed over.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/profile_branches.h"
#include "core/profile_convert.h"

#include "core/profile_parts.h"
#include "core/text_lines.h"

#include <string.h>

#define KERNEL_START UINT64_C(0xffff800000000000)
enum { PAGE = 4096 };

/* A mapping of the image's code. */
typedef struct PerfMap {
    uint64_t pid;
    uint64_t start, end;
    uint64_t bias;
} PerfMap;

typedef struct PerfReader {
    TextLines lines;
    Branches branches;
    const Image *image;
    PerfMap *maps;
    size_t n_maps, maps_cap;
    uint64_t *pids; /* seen */
    size_t n_pids, pids_cap;
    uint64_t n_entries;
    uint64_t n_unmapped; /* samples of a position-independent image, of no known mapping */
} PerfReader;

/* ---- mappings ---------------------------------------------------------------------------------
 */

static Bytes base_name(Bytes path)
{
    for (size_t i = path.len; i-- > 0;)
        if (path.data[i] == '/')
            return (Bytes){ path.data + i + 1, path.len - i - 1 };
    return path;
}

static Bytes from_text(const char *text)
{
    return (Bytes){ (const uint8_t *)text, strlen(text) };
}

static bool same_bytes(Bytes left, Bytes right)
{
    return left.len == right.len && (left.len == 0 || memcmp(left.data, right.data, left.len) == 0);
}

/* The link-time address of the byte at a file offset of a mapping of code. */
static bool link_address(const Image *image, uint64_t offset, uint64_t *out)
{
    for (uint32_t i = 0; i < image->n_segments; i++) {
        const Segment *segment = &image->segments[i];
        uint64_t first = segment->offset.v & ~(uint64_t)(PAGE - 1);
        if (segment->type == PT_LOAD && (segment->flags & PF_X) != 0 && offset >= first &&
            offset < segment->offset.v + segment->file_size) {
            *out = segment->addr.v + (offset - segment->offset.v);
            return true;
        }
    }
    return false;
}

/* `0x55d0(0x2000)` → 0x55d0, 0x2000; after a bracket. */
static bool read_extent(Bytes word, uint64_t *start, uint64_t *size)
{
    const uint8_t *open = memchr(word.data, '(', word.len);
    if (word.len < 2 || word.data[0] != '[' || open == NULL || word.data[word.len - 1] != ')')
        return false;
    size_t at = (size_t)(open - word.data);
    return word_number((Bytes){ word.data + 1, at - 1 }, 16, start) &&
           word_number((Bytes){ word.data + at + 1, word.len - at - 2 }, 16, size);
}

/* The rest of the line behind the word PERF_RECORD_MMAP2. */
static Status read_map(PerfReader *reader, Error *err)
{
    PerfMap map;
    uint64_t size, offset, link;
    Bytes pid = lines_word(&reader->lines);
    const uint8_t *slash = pid.len > 0 ? memchr(pid.data, '/', pid.len) : NULL;
    Bytes extent = lines_word(&reader->lines);
    Bytes at = lines_word(&reader->lines);
    Bytes offset_word = lines_word(&reader->lines);
    if (slash == NULL ||
        !word_number((Bytes){ pid.data, (size_t)(slash - pid.data) }, 10, &map.pid) ||
        !read_extent(extent, &map.start, &size) || !word_is(at, "@") ||
        !word_number(offset_word, 16, &offset) || size > UINT64_MAX - map.start)
        return LINES_FAIL(&reader->lines, err, "%s is not a mapping as perf prints it",
                          "PERF_RECORD_MMAP2");
    Bytes last = { NULL, 0 };
    Bytes rights = { NULL, 0 };
    for (Bytes word = lines_word(&reader->lines); word.len > 0; word = lines_word(&reader->lines)) {
        rights = last;
        last = word;
    }
    if (rights.len != 4 || rights.data[2] != 'x' ||
        !same_bytes(base_name(last), base_name(from_text(reader->image->path))) ||
        !link_address(reader->image, offset, &link))
        return ST_OK;
    map.end = map.start + size;
    map.bias = map.start - link;
    reader->maps = arena_grow(reader->branches.arena, reader->maps, &reader->maps_cap,
                              reader->n_maps + 1, sizeof map);
    reader->maps[reader->n_maps++] = map;
    return ST_OK;
}

/* The image's address; VADDR_NONE: elsewhere. */
static Vaddr locate(const PerfReader *reader, uint64_t pid, uint64_t address)
{
    const PerfMap *found = NULL;
    for (size_t i = reader->n_maps; i-- > 0;) {
        const PerfMap *map = &reader->maps[i];
        if (address < map->start || address >= map->end)
            continue;
        if (found == NULL || map->pid == pid)
            found = map;
        if (map->pid == pid)
            break;
    }
    if (found == NULL && reader->image->is_pic)
        return VADDR_NONE;
    Vaddr place = vaddr(found != NULL ? address - found->bias : address);
    return image_is_code(reader->image, place) ? place : VADDR_NONE;
}

/* ---- branch stacks ----------------------------------------------------------------------------
 */

/* `0x1150` or `0x1150(/bin/app)`. */
static bool read_address(Bytes word, uint64_t *out)
{
    const uint8_t *open = word.len > 0 ? memchr(word.data, '(', word.len) : NULL;
    if (open != NULL)
        word.len = (size_t)(open - word.data);
    return word.len > 2 && word.data[0] == '0' && word.data[1] == 'x' && word_number(word, 16, out);
}

/* The part of `word` up to the next slash outside brackets, which is taken away with it. */
static Bytes take_part(Bytes *word)
{
    size_t depth = 0;
    size_t at = 0;
    for (; at < word->len && (depth > 0 || word->data[at] != '/'); at++) {
        if (word->data[at] == '(')
            depth++;
        else if (word->data[at] == ')' && depth > 0)
            depth--;
    }
    Bytes part = { word->data, at };
    size_t skip = at < word->len ? at + 1 : at;
    *word = (Bytes){ word->data + skip, word->len - skip };
    return part;
}

/* An entry of a branch stack; false: the word is something else. */
static bool is_entry(Bytes word)
{
    return word.len > 4 && word.data[0] == '0' && word.data[1] == 'x' &&
           memchr(word.data, '/', word.len) != NULL;
}

static Status read_entry(PerfReader *reader, Bytes word, uint64_t *from, uint64_t *to, Error *err)
{
    Bytes rest = word;
    Bytes first = take_part(&rest);
    Bytes second = take_part(&rest);
    Bytes flag = take_part(&rest);
    if (!read_address(first, from) || !read_address(second, to) || flag.len == 0 ||
        strchr("PMN-", flag.data[0]) == NULL)
        return LINES_FAIL(&reader->lines, err, "\"%.*s\" is no branch as perf prints it",
                          WORD_TEXT(word));
    return ST_OK;
}

static void note_pid(PerfReader *reader, uint64_t pid)
{
    if (reader->n_pids > 0 && reader->pids[reader->n_pids - 1] == pid)
        return;
    for (size_t i = 0; i < reader->n_pids; i++)
        if (reader->pids[i] == pid)
            return;
    reader->pids = arena_grow(reader->branches.arena, reader->pids, &reader->pids_cap,
                              reader->n_pids + 1, sizeof *reader->pids);
    reader->pids[reader->n_pids++] = pid;
}

static Status read_line(PerfReader *reader, Error *err)
{
    uint64_t pid = 0;
    bool have_pid = false;
    Vaddr newer = VADDR_NONE; /* source of the entry before, which is newer */
    bool first = true;
    for (Bytes word = lines_word(&reader->lines); word.len > 0; word = lines_word(&reader->lines)) {
        uint64_t from, to;
        if (word_is(word, "PERF_RECORD_MMAP2"))
            return read_map(reader, err);
        if (!is_entry(word)) {
            have_pid = have_pid || word_number(word, 10, &pid);
            continue;
        }
        TRY(read_entry(reader, word, &from, &to, err));
        reader->n_entries++;
        if (from >= KERNEL_START || to >= KERNEL_START || (from == 0 && to == 0))
            continue;
        if (first && reader->image->is_pic && reader->n_maps == 0)
            reader->n_unmapped++;
        Vaddr source = locate(reader, pid, from);
        Vaddr target = locate(reader, pid, to);
        if (!vaddr_is_none(source) || !vaddr_is_none(target)) {
            branches_add(&reader->branches, source, target, 1);
            note_pid(reader, pid);
        }
        if (!first && !vaddr_is_none(newer) && !vaddr_is_none(target))
            branches_add_stretch(&reader->branches, target, newer, 1);
        newer = source;
        first = false;
    }
    return ST_OK;
}

static Status read_perf(Arena *arena, const char *path, Bytes file, const Image *image,
                        const Profile **out, Error *err)
{
    PerfReader reader = { .lines = { .path = path, .file = file },
                          .branches = { .arena = arena, .image = image },
                          .image = image };
    Place at = { path, NULL, PLACE_NO_OFFSET };
    while (lines_next(&reader.lines))
        TRY(read_line(&reader, err));
    if (reader.n_entries == 0)
        return FAIL(err, ST_BAD_INPUT, at,
                    "no branch stack in %" PRIu32 " lines: record with perf record -j any,u, print "
                    "with perf script -F pid,brstack --show-mmap-events",
                    reader.lines.number);
    if (reader.n_maps == 0 && reader.n_unmapped > 0)
        return FAIL(err, ST_REFUSED, at,
                    "no line says where %s was mapped, which is position-independent: print with "
                    "perf script -F pid,brstack --show-mmap-events",
                    image->path);
    reader.branches.n_processes = (uint32_t)reader.n_pids;
    return branches_finish(&reader.branches, path, out, err);
}

/* ---- which format ------------------------------------------------------------------------------
 */

static bool is_fdata_line(TextLines *lines)
{
    uint64_t number;
    Bytes kind = lines_word(lines);
    if (word_is(kind, "no_lbr") || word_is(kind, "boltedcollection"))
        return true;
    if (kind.len != 1 || kind.data[0] < '0' || kind.data[0] > '5')
        return false;
    lines_word(lines);
    return word_number(lines_word(lines), 16, &number) && lines_word(lines).len > 0;
}

static bool is_preagg_line(TextLines *lines)
{
    Bytes word = lines_word(lines);
    return word.len == 1 && strchr("BFfrTRSE", word.data[0]) != NULL && lines_word(lines).len > 0;
}

static bool is_perf_line(TextLines *lines)
{
    for (Bytes word = lines_word(lines); word.len > 0; word = lines_word(lines))
        if (is_entry(word) || word_is(word, "PERF_RECORD_MMAP2"))
            return true;
    return false;
}

enum { LINES_LOOKED_AT = 10000 };

ForeignFormat profile_foreign_format(Bytes file)
{
    TextLines lines = { .file = file };
    if (file.len >= 8 &&
        (memcmp(file.data, "PERFILE2", 8) == 0 || memcmp(file.data, "2ELIFREP", 8) == 0))
        return FOREIGN_PERF_DATA;
    while (lines.number < LINES_LOOKED_AT && lines_next(&lines)) {
        Bytes line = lines.rest;
        if (line.len == 0)
            continue;
        if (is_preagg_line(&lines))
            return FOREIGN_PREAGG;
        lines.rest = line;
        if (is_fdata_line(&lines))
            return FOREIGN_FDATA;
        lines.rest = line;
        if (is_perf_line(&lines))
            return FOREIGN_PERF;
    }
    return FOREIGN_NONE;
}

Status profile_read_foreign(Arena *arena, const char *path, Bytes file, ForeignFormat format,
                            const Image *image, const Profile **out, Error *err)
{
    switch (format) {
    case FOREIGN_PREAGG:
    case FOREIGN_FDATA:
        return profile_read_bolt(arena, path, file, format == FOREIGN_FDATA, image, out, err);
    case FOREIGN_PERF:
        return read_perf(arena, path, file, image, out, err);
    case FOREIGN_PERF_DATA:
        return FAIL(err, ST_REFUSED, ((Place){ path, NULL, 0 }),
                    "is perf's own format: convert what perf script -F pid,brstack "
                    "--show-mmap-events -i %s prints",
                    path);
    case FOREIGN_NONE:
        break;
    }
    return FAIL(err, ST_BAD_INPUT, ((Place){ path, NULL, 0 }),
                "neither preagg, nor fdata, nor branch stacks of perf script");
}
