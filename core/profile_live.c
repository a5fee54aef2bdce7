/*
 * profile_live.c: reads the live form, of a run that goes on, has ended or was killed.
 *
 * The file may be written to while it is read: only what the counts in its header cover is looked
 * at, and they are read once. It is never in memory as a whole: records go where they are wanted,
 * and of the room that it has for more nothing is read. docs/formats/live.md describes the bytes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/profile_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct LiveReader {
    Arena *arena;
    const char *path;
    int fd; /* the file; -1: its bytes are in memory */
    const uint8_t *bytes;
    uint64_t size; /* of the file */
    LiveHeader header;
    const LiveChunk *chunks; /* copied */
} LiveReader;

static Place at_chunk(const LiveReader *reader, uint32_t chunk)
{
    return (Place){ reader->path, "chunk directory", (uint64_t)chunk * sizeof(LiveChunk) };
}

static bool in_file(const LiveReader *reader, uint64_t offset, uint64_t size)
{
    return offset <= reader->size && size <= reader->size - offset;
}

/* Bytes that are in the file. */
static Status fetch(const LiveReader *reader, uint64_t offset, size_t size, void *out, Error *err)
{
    uint8_t *into = out;
    if (reader->bytes != NULL && size > 0) {
        memcpy(out, reader->bytes + offset, size);
        size = 0;
    }
    while (size > 0) {
        ssize_t got = pread(reader->fd, into, size, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return FAIL(err, ST_IO, ((Place){ reader->path, NULL, offset }), "cannot be read: %s",
                        got < 0 ? strerror(errno) : "it was cut short meanwhile");
        into += got;
        offset += (uint64_t)got;
        size -= (size_t)got;
    }
    return ST_OK;
}

static Status read_header(LiveReader *reader, Error *err)
{
    Place at = { reader->path, "header", 0 };
    if (!in_file(reader, 0, sizeof reader->header))
        return FAIL(err, ST_BAD_INPUT, at, "ends after %" PRIu64 " bytes (%zu)", reader->size,
                    sizeof reader->header);
    TRY(fetch(reader, 0, sizeof reader->header, &reader->header, err));
    reader->header.command[LIVE_PATH_MAX - 1] = '\0';
    if (reader->header.version != LIVE_VERSION)
        return FAIL(err, ST_BAD_INPUT, at, "version %u of the live form (%d is known)",
                    reader->header.version, LIVE_VERSION);
    if (reader->header.n_chunks > LIVE_CHUNKS)
        return FAIL(err, ST_BAD_INPUT, at, "%u chunks (%d)", reader->header.n_chunks, LIVE_CHUNKS);
    return ST_OK;
}

static Status read_directory(LiveReader *reader, Error *err)
{
    uint32_t n = reader->header.n_chunks;
    if (!in_file(reader, LIVE_DIRECTORY_OFFSET, (uint64_t)n * sizeof(LiveChunk)))
        return FAIL(err, ST_BAD_INPUT, at_chunk(reader, 0), "%u chunks run past the end", n);
    LiveChunk *chunks = arena_many(reader->arena, LiveChunk, n);
    TRY(fetch(reader, LIVE_DIRECTORY_OFFSET, n * sizeof *chunks, chunks, err));
    reader->chunks = chunks;
    uint64_t room = reader->size;
    for (uint32_t i = 0; i < n; i++) {
        const LiveChunk *chunk = &reader->chunks[i];
        if (!in_file(reader, chunk->offset, chunk->size))
            return FAIL(err, ST_BAD_INPUT, at_chunk(reader, i),
                        "0x%" PRIx64 " bytes at 0x%" PRIx64
                        " run past the end of the file (0x%" PRIx64 ")",
                        chunk->size, chunk->offset, reader->size);
        if (chunk->size > room)
            return FAIL(err, ST_BAD_INPUT, at_chunk(reader, i),
                        "0x%" PRIx64 " bytes, more than the file has beside the others (0x%" PRIx64
                        ")",
                        chunk->size, room);
        room -= chunk->size;
    }
    return ST_OK;
}

/* All `n` records of one kind, copied together. Chunks of a kind are in order and without holes. */
static Status read_records(LiveReader *reader, LiveChunkKind kind, const char *name, uint64_t n,
                           size_t record_size, const void **out, Error *err)
{
    Place at = { reader->path, name, PLACE_NO_OFFSET };
    if (n > reader->size / record_size)
        return FAIL(err, ST_BAD_INPUT, at, "%" PRIu64 " records in a file of %" PRIu64 " bytes", n,
                    reader->size);
    uint8_t *records = arena_array(reader->arena, n, record_size);
    uint64_t have = 0;
    for (uint32_t i = 0; i < reader->header.n_chunks && have < n; i++) {
        const LiveChunk *chunk = &reader->chunks[i];
        if (chunk->kind != (uint32_t)kind)
            continue;
        if (chunk->first != have)
            return FAIL(err, ST_BAD_INPUT, at_chunk(reader, i),
                        "%s from record %" PRIu64 " (%" PRIu64 " is next)", name, chunk->first,
                        have);
        uint64_t fit = chunk->size / record_size;
        uint64_t take = fit < n - have ? fit : n - have;
        TRY(fetch(reader, chunk->offset, take * record_size, records + have * record_size, err));
        have += take;
    }
    if (have < n)
        return FAIL(err, ST_BAD_INPUT, at, "%" PRIu64 " records, chunks hold %" PRIu64, n, have);
    *out = records;
    return ST_OK;
}

/* Counters of which a chunk holds a part. */
static uint64_t counters_in_chunks(const LiveReader *reader)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < reader->header.n_chunks; i++) {
        const LiveChunk *chunk = &reader->chunks[i];
        if (chunk->kind == LIVE_COUNTERS && chunk->first < reader->size / sizeof(uint64_t) &&
            chunk->first + chunk->size / sizeof(uint64_t) > most)
            most = chunk->first + chunk->size / sizeof(uint64_t);
    }
    return most < reader->header.n_counters ? most : reader->header.n_counters;
}

/*
 * Counters that sums name may have no chunk yet (no thread owns them), but each byte of a file
 * stands for less than one.
 */
static uint64_t counters_wanted(const LiveReader *reader, const LiveData *live, uint64_t most)
{
    for (uint32_t i = 0; i < live->n_sums; i++) {
        const LiveSum *sum = &live->sums[i];
        uint64_t last = sum->to > sum->from ? sum->to : sum->from;
        if (last >= most && last < reader->size)
            most = last + 1;
    }
    return most;
}

/* Adds the counters of one chunk, those below `most`. */
static Status add_chunk(const LiveReader *reader, const LiveChunk *chunk, uint64_t *counters,
                        uint64_t most, Error *err)
{
    enum { AT_ONCE = 4096 };
    uint64_t read[AT_ONCE];
    uint64_t n = chunk->size / sizeof *read;
    if (chunk->first >= most)
        return ST_OK;
    if (n > most - chunk->first)
        n = most - chunk->first;
    for (uint64_t from = 0; from < n; from += AT_ONCE) {
        uint64_t take = n - from < AT_ONCE ? n - from : AT_ONCE;
        TRY(fetch(reader, chunk->offset + from * sizeof *read, take * sizeof *read, read, err));
        for (uint64_t i = 0; i < take; i++)
            counters[chunk->first + from + i] =
                count_add(counters[chunk->first + from + i], read[i]);
    }
    return ST_OK;
}

/* Sums each counter over the threads' chunks. Counters beyond the file (its disk was full) are 0.
 */
static Status sum_counters(const LiveReader *reader, LiveData *out, Error *err)
{
    uint64_t most = counters_wanted(reader, out, counters_in_chunks(reader));
    uint64_t *counters = arena_many(reader->arena, uint64_t, most);
    for (uint32_t i = 0; i < reader->header.n_chunks; i++)
        if (reader->chunks[i].kind == LIVE_COUNTERS)
            TRY(add_chunk(reader, &reader->chunks[i], counters, most, err));
    for (uint32_t i = out->n_sums; i-- > 0;)
        if (out->sums[i].to < most && out->sums[i].from < most)
            counters[out->sums[i].to] =
                count_add(counters[out->sums[i].to], counters[out->sums[i].from]);
    out->counters = counters;
    out->n_counters = (uint32_t)most;
    return ST_OK;
}

static Status check_sums(const LiveData *live, Error *err)
{
    for (uint32_t i = 0; i < live->n_sums; i++) {
        const LiveSum *sum = &live->sums[i];
        if (sum->to >= live->header.n_counters || sum->from >= live->header.n_counters)
            return FAIL(err, ST_BAD_INPUT,
                        ((Place){ live->path, "sums", (uint64_t)i * sizeof *sum }),
                        "adds counter %u to counter %u (of %" PRIu64 ")", sum->from, sum->to,
                        live->header.n_counters);
    }
    return ST_OK;
}

static Status check_texts(const LiveData *live, Error *err)
{
    for (uint32_t i = 0; i < live->n_texts; i++) {
        const LiveText *text = &live->texts[i];
        Place at = { live->path, "texts", (uint64_t)i * sizeof *text };
        if (text->map != LIVE_NO_MAP && text->map >= live->n_maps)
            return FAIL(err, ST_BAD_INPUT, at, "in map %u (of %u)", text->map, live->n_maps);
        if (text->kind > LIVE_TEXT_WRITTEN)
            return FAIL(err, ST_BAD_INPUT, at, "of kind %u (to %d)", text->kind, LIVE_TEXT_WRITTEN);
    }
    return ST_OK;
}

static Status check_values(const LiveData *live, Error *err)
{
    for (uint32_t i = 0; i < live->n_values; i++) {
        const LiveValue *value = &live->values[i];
        Place at = { live->path, "values", (uint64_t)i * sizeof *value };
        if (value->map != LIVE_NO_MAP && value->map >= live->n_maps)
            return FAIL(err, ST_BAD_INPUT, at, "in map %u (of %u)", value->map, live->n_maps);
        if (value->kind > LIVE_VALUE_STRIDE)
            return FAIL(err, ST_BAD_INPUT, at, "of kind %u (to %d)", value->kind,
                        LIVE_VALUE_STRIDE);
    }
    return ST_OK;
}

static Status check_maps(const LiveData *live, Error *err)
{
    for (uint32_t i = 0; i < live->n_maps; i++) {
        const LiveMap *map = &live->maps[i];
        Place at = { live->path, "maps", (uint64_t)i * sizeof *map };
        if (map->start >= map->end)
            return FAIL(err, ST_BAD_INPUT, at, "from 0x%" PRIx64 " to 0x%" PRIx64, map->start,
                        map->end);
        if (memchr(map->path, '\0', sizeof map->path) == NULL)
            return FAIL(err, ST_BAD_INPUT, at, "a path without an end");
    }
    return ST_OK;
}

static Status check_blocks(const LiveData *live, Error *err)
{
    for (uint32_t i = 0; i < live->n_blocks; i++) {
        const LiveBlock *block = &live->blocks[i];
        Place at = { live->path, "blocks", (uint64_t)i * sizeof *block };
        if (block->map != LIVE_NO_MAP && block->map >= live->n_maps)
            return FAIL(err, ST_BAD_INPUT, at, "in map %u (of %u)", block->map, live->n_maps);
        if (block->end > LIVE_END_PARTIAL)
            return FAIL(err, ST_BAD_INPUT, at, "ends in way %u (to %d)", block->end,
                        LIVE_END_PARTIAL);
        if (block->n_insns == 0 || block->n_insns > block->size || block->last >= block->size ||
            block->size > UINT64_MAX - block->start)
            return FAIL(err, ST_BAD_INPUT, at, "%u instructions in %u bytes, the last at %u",
                        block->n_insns, block->size, block->last);
        const LiveMap *map = block->map != LIVE_NO_MAP ? &live->maps[block->map] : NULL;
        if (map != NULL && (block->start < map->start || block->start >= map->end))
            return FAIL(err, ST_BAD_INPUT, at,
                        "0x%" PRIx64 " outside its map from 0x%" PRIx64 " to 0x%" PRIx64,
                        block->start, map->start, map->end);
    }
    return ST_OK;
}

static Status check_edges(const LiveData *live, Error *err)
{
    for (uint32_t i = 0; i < live->n_edges; i++) {
        const LiveEdge *edge = &live->edges[i];
        Place at = { live->path, "edges", (uint64_t)i * sizeof *edge };
        if (edge->block >= live->n_blocks)
            return FAIL(err, ST_BAD_INPUT, at, "leaves block %u (of %u)", edge->block,
                        live->n_blocks);
        uint32_t end = live->blocks[edge->block].end;
        if (end != LIVE_END_JUMP_IND && end != LIVE_END_CALL_IND && end != LIVE_END_RET)
            return FAIL(err, ST_BAD_INPUT, at, "leaves block %u, which ends in way %u", edge->block,
                        end);
        if (edge->map != LIVE_NO_MAP && edge->map >= live->n_maps)
            return FAIL(err, ST_BAD_INPUT, at, "into map %u (of %u)", edge->map, live->n_maps);
    }
    return ST_OK;
}

static Status read_live(LiveReader *reader, LiveData *out, Error *err)
{
    TRY(read_header(reader, err));
    TRY(read_directory(reader, err));
    const LiveHeader *header = &reader->header;
    *out = (LiveData){ .path = reader->path, .header = *header };
    const void *maps;
    const void *blocks;
    const void *edges;
    const void *sums;
    const void *texts;
    const void *values;
    TRY(read_records(reader, LIVE_MAPS, "maps", header->n_maps, sizeof(LiveMap), &maps, err));
    TRY(read_records(reader, LIVE_BLOCKS, "blocks", header->n_blocks, sizeof(LiveBlock), &blocks,
                     err));
    TRY(read_records(reader, LIVE_EDGES, "edges", header->n_edges, sizeof(LiveEdge), &edges, err));
    TRY(read_records(reader, LIVE_SUMS, "sums", header->n_sums, sizeof(LiveSum), &sums, err));
    TRY(read_records(reader, LIVE_TEXTS, "texts", header->n_texts, sizeof(LiveText), &texts, err));
    TRY(read_records(reader, LIVE_VALUES, "values", header->n_values, sizeof(LiveValue), &values,
                     err));
    if (header->n_maps >= LIVE_NO_MAP || header->n_blocks > UINT32_MAX ||
        header->n_edges > UINT32_MAX || header->n_sums > UINT32_MAX ||
        header->n_texts > UINT32_MAX || header->n_values > UINT32_MAX)
        return FAIL(err, ST_BAD_INPUT, ((Place){ reader->path, "header", 0 }),
                    "more records than 32 bits");
    out->maps = maps;
    out->n_maps = (uint32_t)header->n_maps;
    out->blocks = blocks;
    out->n_blocks = (uint32_t)header->n_blocks;
    out->edges = edges;
    out->n_edges = (uint32_t)header->n_edges;
    out->sums = sums;
    out->n_sums = (uint32_t)header->n_sums;
    out->texts = texts;
    out->n_texts = (uint32_t)header->n_texts;
    out->values = values;
    out->n_values = (uint32_t)header->n_values;
    TRY(check_sums(out, err));
    TRY(sum_counters(reader, out, err));
    TRY(check_maps(out, err));
    TRY(check_texts(out, err));
    TRY(check_values(out, err));
    TRY(check_blocks(out, err));
    return check_edges(out, err);
}

Status profile_parse_live(Arena *arena, const char *path, Bytes file, LiveData *out, Error *err)
{
    LiveReader reader = { .arena = arena, .path = path, .fd = -1 };
    reader.bytes = file.data;
    reader.size = file.len;
    return read_live(&reader, out, err);
}

Status profile_load_live(Arena *arena, const char *path, int fd, uint64_t size, LiveData *out,
                         Error *err)
{
    LiveReader reader = { .arena = arena, .path = path, .fd = fd, .size = size };
    return read_live(&reader, out, err);
}
