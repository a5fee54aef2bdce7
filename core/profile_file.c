/*
 * profile_file.c: the compact form.
 *
 *     header 48 bytes | payload, compressed by zstd: sections run, module, module, ...
 *
 * Numbers are LEB128, addresses are differences to what came before: about 2 bytes a block and an
 * edge after compression. A checksum (xxh3-64) over header and stored payload is looked at before
 * anything else. docs/formats/profile.md has every byte.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/out_file.h"
#include "core/profile_parts.h"

#include <string.h>
#include <xxhash.h>
#include <zstd.h>

enum {
    VERSION = 1,
    HEADER_SIZE = 48,
    CHECKSUM_OFFSET = 40,
    ZSTD_LEVEL = 3,
    /* Least bytes of each record: what is left of the payload bounds every number of records. */
    BLOCK_LEAST = 4,
    EDGE_LEAST = 5,
    ENTRY_LEAST = 3,
    MODULE_LEAST = 23,
    VALUE_LEAST = 5,
    TOP_LEAST = 2,
};

#define PAYLOAD_MOST (UINT64_C(1) << 30)

enum RunFlag {
    RUN_COMPLETE = 1,
    RUN_STOPPED = 2,
    RUN_SAMPLED = 4,
    RUN_DETACHED = 8,
    RUN_VALUES = 16, /* each module has values */
    RUN_BURSTS = 32, /* figures of burst mode follow the remarks */
};

/* ---- writing ------------------------------------------------------------------------------ */

static void put_string(Buffer *out, const char *text)
{
    buffer_put(out, text, strlen(text) + 1);
}

static bool has_values(const Profile *profile)
{
    for (uint32_t i = 0; i < profile->n_modules; i++)
        if (profile->modules[i].n_values > 0)
            return true;
    return false;
}

static void put_bursts(Buffer *out, const ProfileBursts *bursts)
{
    buffer_uleb(out, bursts->moments);
    buffer_uleb(out, bursts->taken);
    buffer_uleb(out, bursts->time_ns);
    buffer_uleb(out, bursts->spent_ns);
}

static void put_run(Buffer *out, const Profile *profile)
{
    bool has_bursts = profile->bursts.moments > 0;
    buffer_uleb(out, (profile->complete ? RUN_COMPLETE : 0u) |
                         (profile->counting_stopped ? RUN_STOPPED : 0u) |
                         (profile->sampled ? RUN_SAMPLED : 0u) |
                         (profile->detached ? RUN_DETACHED : 0u) |
                         (has_values(profile) ? RUN_VALUES : 0u) | (has_bursts ? RUN_BURSTS : 0u));
    buffer_u64(out, profile->run);
    put_string(out, profile->command);
    buffer_uleb(out, profile->n_processes);
    buffer_uleb(out, profile->outside_insns);
    buffer_uleb(out, profile->n_remarks);
    for (uint32_t i = 0; i < profile->n_remarks; i++)
        put_string(out, profile->remarks[i]);
    if (has_bursts)
        put_bursts(out, &profile->bursts);
    buffer_uleb(out, profile->n_modules);
}

static void put_blocks(Buffer *out, const ProfileModule *module)
{
    uint64_t end = 0;
    buffer_uleb(out, module->n_blocks);
    for (uint32_t i = 0; i < module->n_blocks; i++) {
        const ProfileBlock *block = &module->blocks[i];
        buffer_uleb(out, block->start.v - end);
        buffer_uleb(out, block->size);
        buffer_uleb(out, (uint64_t)block->n_insns << 1 | (block->insn_sizes != NULL));
        buffer_uleb(out, block->count);
        end = block->start.v + block->size;
    }
}

/* Instruction sizes, 4 bits each: the first of a byte in its low half. */
static void put_sizes(Buffer *out, const ProfileModule *module)
{
    uint8_t half = 0;
    bool full = true;
    for (uint32_t i = 0; i < module->n_blocks; i++) {
        const ProfileBlock *block = &module->blocks[i];
        for (uint32_t j = 0; block->insn_sizes != NULL && j < block->n_insns; j++) {
            full = !full;
            if (full)
                buffer_u8(out, (uint8_t)(half | block->insn_sizes[j] << 4));
            else
                half = block->insn_sizes[j];
        }
    }
    if (!full)
        buffer_u8(out, half);
}

static void put_edges(Buffer *out, const ProfileModule *module)
{
    uint64_t from = 0;
    buffer_uleb(out, module->n_edges);
    for (uint32_t i = 0; i < module->n_edges; i++) {
        const ProfileEdge *edge = &module->edges[i];
        buffer_uleb(out, edge->from.v - from);
        buffer_u8(out, edge->kind);
        buffer_uleb(out, edge->to_module == MODULE_NONE ? 0 : (uint64_t)edge->to_module + 1);
        buffer_sleb(out, (int64_t)(edge->to.v - edge->from.v));
        buffer_uleb(out, edge->count);
        from = edge->from.v;
    }
}

static void put_entries(Buffer *out, const ProfileModule *module)
{
    uint64_t to = 0;
    buffer_uleb(out, module->n_entries);
    for (uint32_t i = 0; i < module->n_entries; i++) {
        const ProfileEdge *entry = &module->entries[i];
        buffer_uleb(out, entry->to.v - to);
        buffer_u8(out, entry->kind);
        buffer_uleb(out, entry->count);
        to = entry->to.v;
    }
}

static void put_values(Buffer *out, const ProfileModule *module)
{
    uint64_t at = 0;
    buffer_uleb(out, module->n_values);
    for (uint32_t i = 0; i < module->n_values; i++) {
        const ProfileValue *value = &module->values[i];
        buffer_uleb(out, value->at.v - at);
        buffer_u8(out, value->kind);
        buffer_uleb(out, value->n);
        buffer_uleb(out, value->missed);
        buffer_uleb(out, value->n_top);
        for (uint32_t j = 0; j < value->n_top; j++) {
            buffer_sleb(out, (int64_t)value->top[j].value);
            buffer_uleb(out, value->top[j].count);
        }
        at = value->at.v;
    }
}

static void put_module(Buffer *out, const ProfileModule *module)
{
    put_string(out, module->path);
    buffer_uleb(out, module->key.build_id_len);
    buffer_put(out, module->key.build_id, module->key.build_id_len);
    buffer_u64(out, module->key.text_hash[0]);
    buffer_u64(out, module->key.text_hash[1]);
    buffer_u8(out, module->text_written);
    put_blocks(out, module);
    put_sizes(out, module);
    put_edges(out, module);
    put_entries(out, module);
    buffer_uleb(out, module->n_read_pages);
    for (uint32_t i = 0; i < module->n_read_pages; i++)
        buffer_uleb(out, module->read_pages[i].v / 4096);
}

void profile_encode(const Profile *profile, Buffer *out)
{
    put_run(out, profile);
    for (uint32_t i = 0; i < profile->n_modules; i++)
        put_module(out, &profile->modules[i]);
    for (uint32_t i = 0; i < profile->n_modules && has_values(profile); i++)
        put_values(out, &profile->modules[i]);
}

/* xxh3-64 of the file but for the checksum itself. */
static uint64_t checksum(Bytes file)
{
    XXH3_state_t *state = XXH3_createState();
    XXH3_64bits_reset(state);
    XXH3_64bits_update(state, file.data, CHECKSUM_OFFSET);
    XXH3_64bits_update(state, file.data + HEADER_SIZE, file.len - HEADER_SIZE);
    uint64_t sum = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return sum;
}

Status profile_seal(Bytes payload, Buffer *out, Error *err)
{
    size_t most = ZSTD_compressBound(payload.len);
    uint8_t *stored = arena_alloc(out->arena, most);
    size_t size = ZSTD_compress(stored, most, payload.data, payload.len, ZSTD_LEVEL);
    if (ZSTD_isError(size))
        return FAIL(err, ST_BUG, NOWHERE, "zstd: %s", ZSTD_getErrorName(size));
    size_t start = out->len;
    buffer_put(out, PROFILE_MAGIC, 8);
    buffer_u32(out, VERSION);
    buffer_u32(out, 0);
    buffer_u64(out, payload.len);
    buffer_u64(out, size);
    buffer_u64(out, 0);
    buffer_u64(out, 0);
    buffer_put(out, stored, size);
    store_u64(out->data + start + CHECKSUM_OFFSET,
              checksum((Bytes){ out->data + start, out->len - start }));
    return ST_OK;
}

Status profile_write(const Profile *profile, const char *path, Error *err)
{
    Arena *arena = arena_new();
    Buffer payload = { .arena = arena };
    Buffer file = { .arena = arena };
    profile_encode(profile, &payload);
    Status status = profile_seal(buffer_bytes(&payload), &file, err);
    if (status == ST_OK)
        status = out_file_write(path, buffer_bytes(&file), err);
    arena_free(arena);
    return status;
}

/* ---- reading ------------------------------------------------------------------------------ */

typedef struct FileReader {
    Arena *arena;
    const char *path;
    const char *section; /* run, or the module's path */
    Cursor at;           /* in the payload */
    bool has_values;
} FileReader;

static Place file_place(const FileReader *reader)
{
    return (Place){ reader->path, reader->section, reader->at.at };
}

/* What a section ended with: a read past the end shows here. */
static Status check_cursor(const FileReader *reader, Error *err)
{
    if (reader->at.bad)
        return FAIL(err, ST_BAD_INPUT, file_place(reader),
                    "a number or a text runs past the end of the payload (%zu)",
                    reader->at.bytes.len);
    return ST_OK;
}

/* A number of records, each of at least `least` bytes, that the rest of the payload has room for.
 */
static Status read_number_of(FileReader *reader, const char *what, size_t least, uint32_t *out,
                             Error *err)
{
    uint64_t n = cursor_uleb(&reader->at);
    TRY(check_cursor(reader, err));
    uint64_t room = (reader->at.bytes.len - reader->at.at) / least;
    if (n > room || n >= UINT32_MAX)
        return FAIL(err, ST_BAD_INPUT, file_place(reader), "%" PRIu64 " %s (room for %" PRIu64 ")",
                    n, what, room);
    *out = (uint32_t)n;
    return ST_OK;
}

static ProfileBursts read_bursts(FileReader *reader)
{
    ProfileBursts bursts = { .moments = cursor_uleb(&reader->at) };
    bursts.taken = cursor_uleb(&reader->at);
    bursts.time_ns = cursor_uleb(&reader->at);
    bursts.spent_ns = cursor_uleb(&reader->at);
    return bursts;
}

static Status read_run(FileReader *reader, Profile *profile, Error *err)
{
    uint64_t flags = cursor_uleb(&reader->at);
    profile->complete = (flags & RUN_COMPLETE) != 0;
    profile->counting_stopped = (flags & RUN_STOPPED) != 0;
    profile->sampled = (flags & RUN_SAMPLED) != 0;
    profile->detached = (flags & RUN_DETACHED) != 0;
    reader->has_values = (flags & RUN_VALUES) != 0;
    profile->run = cursor_u64(&reader->at);
    profile->command = arena_string(reader->arena, cursor_string(&reader->at));
    uint64_t n_processes = cursor_uleb(&reader->at);
    profile->n_processes = n_processes < UINT32_MAX ? (uint32_t)n_processes : UINT32_MAX;
    profile->outside_insns = cursor_uleb(&reader->at);
    TRY(read_number_of(reader, "remarks", 1, &profile->n_remarks, err));
    const char **remarks = arena_many(reader->arena, const char *, profile->n_remarks);
    for (uint32_t i = 0; i < profile->n_remarks; i++)
        remarks[i] = arena_string(reader->arena, cursor_string(&reader->at));
    profile->remarks = remarks;
    if ((flags & RUN_BURSTS) != 0)
        profile->bursts = read_bursts(reader);
    TRY(read_number_of(reader, "modules", MODULE_LEAST, &profile->n_modules, err));
    profile->modules = arena_many(reader->arena, ProfileModule, profile->n_modules);
    return ST_OK;
}

static Status read_key(FileReader *reader, ProfileModule *module, Error *err)
{
    uint64_t len = cursor_uleb(&reader->at);
    if (len > sizeof module->key.build_id)
        return FAIL(err, ST_BAD_INPUT, file_place(reader), "build id of %" PRIu64 " bytes (%zu)",
                    len, sizeof module->key.build_id);
    module->key.build_id_len = (uint32_t)len;
    for (uint64_t i = 0; i < len; i++)
        module->key.build_id[i] = cursor_u8(&reader->at);
    module->key.text_hash[0] = cursor_u64(&reader->at);
    module->key.text_hash[1] = cursor_u64(&reader->at);
    module->text_written = cursor_u8(&reader->at) != 0;
    return check_cursor(reader, err);
}

/* `n_sized`: instructions of blocks that say how large each of theirs is. */
static Status read_blocks(FileReader *reader, ProfileModule *module, uint64_t *n_sized, Error *err)
{
    TRY(read_number_of(reader, "blocks", BLOCK_LEAST, &module->n_blocks, err));
    module->blocks = arena_many(reader->arena, ProfileBlock, module->n_blocks);
    uint64_t end = 0;
    for (uint32_t i = 0; i < module->n_blocks; i++) {
        ProfileBlock *block = &module->blocks[i];
        block->start = vaddr(end + cursor_uleb(&reader->at));
        uint64_t size = cursor_uleb(&reader->at);
        uint64_t n_insns = cursor_uleb(&reader->at);
        block->count = cursor_uleb(&reader->at);
        TRY(check_cursor(reader, err));
        if (size > UINT32_MAX || n_insns >> 1 > size)
            return FAIL(err, ST_BAD_INPUT, file_place(reader),
                        "block of %" PRIu64 " bytes and %" PRIu64 " instructions", size,
                        n_insns >> 1);
        block->size = (uint32_t)size;
        block->n_insns = (uint32_t)(n_insns >> 1);
        /* marked by any pointer until read_sizes gives the real one */
        block->insn_sizes = (n_insns & 1) != 0 ? reader->at.bytes.data : NULL;
        *n_sized += (n_insns & 1) != 0 ? block->n_insns : 0;
        end = block->start.v + block->size;
    }
    return ST_OK;
}

static Status read_sizes(FileReader *reader, ProfileModule *module, uint64_t n_sized, Error *err)
{
    uint64_t bytes = n_sized / 2 + n_sized % 2;
    if (bytes > reader->at.bytes.len - reader->at.at)
        return FAIL(err, ST_BAD_INPUT, file_place(reader),
                    "sizes of %" PRIu64 " instructions (room for %zu)", n_sized,
                    2 * (reader->at.bytes.len - reader->at.at));
    const uint8_t *halves = reader->at.bytes.data + reader->at.at;
    cursor_skip(&reader->at, bytes);
    uint8_t *sizes = arena_many(reader->arena, uint8_t, n_sized);
    for (uint64_t i = 0; i < n_sized; i++)
        sizes[i] = i % 2 == 0 ? halves[i / 2] & 15 : halves[i / 2] >> 4;
    for (uint32_t i = 0; i < module->n_blocks; i++) {
        ProfileBlock *block = &module->blocks[i];
        if (block->insn_sizes == NULL)
            continue;
        block->insn_sizes = sizes;
        sizes += block->n_insns;
    }
    return ST_OK;
}

static Status read_edges(FileReader *reader, ProfileModule *module, Error *err)
{
    TRY(read_number_of(reader, "edges", EDGE_LEAST, &module->n_edges, err));
    module->edges = arena_many(reader->arena, ProfileEdge, module->n_edges);
    uint64_t from = 0;
    for (uint32_t i = 0; i < module->n_edges; i++) {
        ProfileEdge *edge = &module->edges[i];
        from += cursor_uleb(&reader->at);
        edge->from = vaddr(from);
        edge->kind = cursor_u8(&reader->at);
        uint64_t to_module = cursor_uleb(&reader->at);
        edge->to_module =
            to_module == 0 || to_module > UINT32_MAX ? MODULE_NONE : (uint32_t)to_module - 1;
        edge->to = vaddr(from + (uint64_t)cursor_sleb(&reader->at));
        edge->count = cursor_uleb(&reader->at);
    }
    return check_cursor(reader, err);
}

static Status read_entries(FileReader *reader, ProfileModule *module, uint32_t index, Error *err)
{
    TRY(read_number_of(reader, "entries", ENTRY_LEAST, &module->n_entries, err));
    module->entries = arena_many(reader->arena, ProfileEdge, module->n_entries);
    uint64_t to = 0;
    for (uint32_t i = 0; i < module->n_entries; i++) {
        to += cursor_uleb(&reader->at);
        ProfileEdge *entry = &module->entries[i];
        *entry = (ProfileEdge){ .from = VADDR_NONE, .to = vaddr(to), .to_module = index };
        entry->kind = cursor_u8(&reader->at);
        entry->count = cursor_uleb(&reader->at);
    }
    return check_cursor(reader, err);
}

static Status read_module(FileReader *reader, ProfileModule *module, uint32_t index, Error *err)
{
    reader->section = "module name";
    module->path = arena_string(reader->arena, cursor_string(&reader->at));
    TRY(check_cursor(reader, err));
    reader->section = module->path;
    uint64_t n_sized = 0;
    TRY(read_key(reader, module, err));
    TRY(read_blocks(reader, module, &n_sized, err));
    TRY(read_sizes(reader, module, n_sized, err));
    TRY(read_edges(reader, module, err));
    TRY(read_entries(reader, module, index, err));
    TRY(read_number_of(reader, "pages", 1, &module->n_read_pages, err));
    module->read_pages = arena_many(reader->arena, Vaddr, module->n_read_pages);
    for (uint32_t i = 0; i < module->n_read_pages; i++)
        module->read_pages[i] = vaddr(cursor_uleb(&reader->at) * 4096);
    return check_cursor(reader, err);
}

static Status read_value(FileReader *reader, ProfileValue *value, uint64_t *at, Error *err)
{
    *at += cursor_uleb(&reader->at);
    value->at = vaddr(*at);
    value->kind = cursor_u8(&reader->at);
    value->n = cursor_uleb(&reader->at);
    value->missed = cursor_uleb(&reader->at);
    TRY(read_number_of(reader, "values of an instruction", TOP_LEAST, &value->n_top, err));
    value->top = arena_many(reader->arena, ProfileTop, value->n_top);
    for (uint32_t i = 0; i < value->n_top; i++) {
        value->top[i].value = (uint64_t)cursor_sleb(&reader->at);
        value->top[i].count = cursor_uleb(&reader->at);
    }
    return check_cursor(reader, err);
}

static Status read_values(FileReader *reader, ProfileModule *module, Error *err)
{
    uint64_t at = 0;
    reader->section = module->path;
    TRY(read_number_of(reader, "values", VALUE_LEAST, &module->n_values, err));
    module->values = arena_many(reader->arena, ProfileValue, module->n_values);
    for (uint32_t i = 0; i < module->n_values; i++)
        TRY(read_value(reader, &module->values[i], &at, err));
    return ST_OK;
}

Status profile_decode(Arena *arena, const char *path, Bytes payload, const Profile **out,
                      Error *err)
{
    FileReader reader = { arena, path, "run", cursor_at(payload, 0), false };
    Profile *profile = arena_one(arena, Profile);
    profile->path = arena_string(arena, path);
    TRY(read_run(&reader, profile, err));
    for (uint32_t i = 0; i < profile->n_modules; i++)
        TRY(read_module(&reader, &profile->modules[i], i, err));
    for (uint32_t i = 0; i < profile->n_modules && reader.has_values; i++)
        TRY(read_values(&reader, &profile->modules[i], err));
    if (reader.at.at != payload.len)
        return FAIL(err, ST_BAD_INPUT, file_place(&reader), "%zu bytes after the last module",
                    payload.len - reader.at.at);
    TRY(profile_check(profile, path, err));
    *out = profile;
    return ST_OK;
}

/* Grows with what comes out, not with what the header says. */
static Status decompress(Arena *arena, const char *path, Bytes stored, uint64_t size, Bytes *out,
                         Error *err)
{
    Place at = { path, "payload", 0 };
    Buffer payload = { .arena = arena };
    uint8_t chunk[1 << 16];
    ZSTD_DStream *stream = ZSTD_createDStream();
    ZSTD_inBuffer in = { stored.data, stored.len, 0 };
    Status status = ST_OK;
    for (size_t left = 1; status == ST_OK && left != 0;) {
        ZSTD_outBuffer piece = { chunk, sizeof chunk, 0 };
        left = ZSTD_decompressStream(stream, &piece, &in);
        at.offset = in.pos;
        if (ZSTD_isError(left))
            status = FAIL(err, ST_BAD_INPUT, at, "zstd: %s", ZSTD_getErrorName(left));
        else if (piece.pos > size - payload.len)
            status = FAIL(err, ST_BAD_INPUT, at, "more than %" PRIu64 " bytes", size);
        else if (left != 0 && piece.pos < sizeof chunk && in.pos == in.size)
            status = FAIL(err, ST_BAD_INPUT, at, "ends early");
        else
            buffer_put(&payload, chunk, piece.pos);
    }
    ZSTD_freeDStream(stream);
    TRY(status);
    if (in.pos != in.size || payload.len != size)
        return FAIL(err, ST_BAD_INPUT, at, "%zu bytes, the header says %" PRIu64, payload.len,
                    size);
    *out = buffer_bytes(&payload);
    return ST_OK;
}

Status profile_read_compact(Arena *arena, const char *path, Bytes file, const Profile **out,
                            Error *err)
{
    Place at = { path, "header", 0 };
    if (file.len < HEADER_SIZE)
        return FAIL(err, ST_BAD_INPUT, at, "ends after %zu bytes (%d)", file.len, HEADER_SIZE);
    uint32_t version = load_u32(file.data + 8);
    uint64_t payload_size = load_u64(file.data + 16);
    uint64_t stored_size = load_u64(file.data + 24);
    if (version != VERSION)
        return FAIL(err, ST_BAD_INPUT, at, "version %u of the format (%d is known)", version,
                    VERSION);
    Bytes stored = { file.data + HEADER_SIZE, file.len - HEADER_SIZE };
    if (stored_size != stored.len || payload_size > PAYLOAD_MOST)
        return FAIL(err, ST_BAD_INPUT, at,
                    "payload of %" PRIu64 " bytes, stored in %" PRIu64 " (the file has %zu)",
                    payload_size, stored_size, stored.len);
    if (load_u64(file.data + CHECKSUM_OFFSET) != checksum(file))
        return FAIL(err, ST_BAD_INPUT, at,
                    "the checksum is 0x%016" PRIx64 ", of these bytes it would be 0x%016" PRIx64,
                    load_u64(file.data + CHECKSUM_OFFSET), checksum(file));
    Bytes payload;
    TRY(decompress(arena, path, stored, payload_size, &payload, err));
    return profile_decode(arena, path, payload, out, err);
}
