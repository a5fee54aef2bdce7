/*
 * profile.c: questions to a profile, and which form a file has.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/profile_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/file.h>
#include <unistd.h>

bool profile_key_empty(const ImageKey *key)
{
    return key->build_id_len == 0 && key->text_hash[0] == 0 && key->text_hash[1] == 0;
}

const ProfileModule *profile_module_for(const Profile *profile, const Image *image)
{
    if (profile_key_empty(&image->key))
        return NULL;
    for (uint32_t i = 0; i < profile->n_modules; i++)
        if (image_key_equal(&profile->modules[i].key, &image->key))
            return &profile->modules[i];
    return NULL;
}

/* The last block that starts at or before `addr`; NULL: none. */
static const ProfileBlock *block_before(const ProfileModule *module, Vaddr addr)
{
    uint32_t low = 0;
    uint32_t high = module->n_blocks;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (module->blocks[middle].start.v <= addr.v)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 ? &module->blocks[low - 1] : NULL;
}

uint64_t profile_count_at(const ProfileModule *module, Vaddr addr)
{
    const ProfileBlock *block = block_before(module, addr);
    return block != NULL && addr.v - block->start.v < block->size ? block->count : 0;
}

/* First edge that leaves `from` or a later instruction. */
static uint32_t first_edge(const ProfileModule *module, Vaddr from)
{
    uint32_t low = 0;
    uint32_t high = module->n_edges;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (module->edges[middle].from.v < from.v)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const ProfileEdge *profile_edges_from(const ProfileModule *module, Vaddr from, uint32_t *n)
{
    uint32_t low = first_edge(module, from);
    uint32_t end = low;
    while (end < module->n_edges && module->edges[end].from.v == from.v)
        end++;
    *n = end - low;
    return *n > 0 ? &module->edges[low] : NULL;
}

bool profile_edge_is_branch(uint8_t kind)
{
    return kind == EDGE_TAKEN || kind == EDGE_JUMP || kind == EDGE_JUMP_IND || kind == EDGE_CALL ||
           kind == EDGE_CALL_IND;
}

Vaddr profile_last_insn(const ProfileModule *module, const ProfileBlock *block)
{
    uint32_t first = first_edge(module, block->start);
    uint32_t behind = first_edge(module, vaddr_add(block->start, block->size));
    if (behind > first)
        return module->edges[behind - 1].from;
    uint64_t last = block->start.v;
    for (uint32_t i = 0; block->insn_sizes != NULL && i + 1 < block->n_insns; i++)
        last += block->insn_sizes[i];
    return vaddr(last);
}

uint64_t profile_instructions(const ProfileModule *module)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < module->n_blocks; i++) {
        uint64_t product;
        if (__builtin_mul_overflow(module->blocks[i].count, (uint64_t)module->blocks[i].n_insns,
                                   &product))
            return UINT64_MAX;
        sum = count_add(sum, product);
    }
    return sum;
}

void profile_figures(const ProfileModule *module, ProfileFigures *out)
{
    *out = (ProfileFigures){ .instructions = profile_instructions(module) };
    uint64_t *const totals[EDGE_KINDS] = {
        [EDGE_TAKEN] = &out->taken_conditional, [EDGE_JUMP] = &out->jumps,
        [EDGE_JUMP_IND] = &out->indirect_jumps, [EDGE_CALL] = &out->calls,
        [EDGE_CALL_IND] = &out->indirect_calls, [EDGE_RETURN_TO] = &out->returns,
        [EDGE_SYSCALL] = &out->syscalls,
    };
    uint64_t branch = VADDR_NONE.v; /* the conditional branch whose edges these are */
    for (uint32_t i = 0; i < module->n_edges; i++) {
        const ProfileEdge *edge = &module->edges[i];
        if (edge->kind == EDGE_TAKEN)
            branch = edge->from.v;
        if (edge->from.v == branch && edge->kind <= EDGE_FALL)
            out->branches = count_add(out->branches, edge->count);
        if (totals[edge->kind] != NULL)
            *totals[edge->kind] = count_add(*totals[edge->kind], edge->count);
    }
}

/* All that `fd` gives, into the arena. */
static Status read_all(Arena *arena, int fd, const char *path, Bytes *out, Error *err)
{
    Buffer file = { .arena = arena };
    struct stat info;
    size_t room = 1 << 16;
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0)
        room = (size_t)info.st_size + 1; /* so that its end is seen without more */
    for (;;) {
        file.data = arena_grow(arena, file.data, &file.cap, file.len + room, 1);
        room = 1;
        ssize_t got = read(fd, file.data + file.len, file.cap - file.len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return FAIL(err, ST_IO, ((Place){ path, NULL, file.len }), "cannot be read: %s",
                        strerror(errno));
        if (got == 0)
            break;
        file.len += (size_t)got;
    }
    *out = buffer_bytes(&file);
    return ST_OK;
}

Status profile_slurp(Arena *arena, const char *path, Bytes *out, Error *err)
{
    bool standard_input = strcmp(path, "-") == 0;
    int fd = standard_input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return FAIL(err, ST_IO, ((Place){ path, NULL, PLACE_NO_OFFSET }), "cannot be opened: %s",
                    strerror(errno));
    Status status = read_all(arena, fd, path, out, err);
    if (!standard_input)
        close(fd);
    return status;
}

static bool begins_with(Bytes file, const void *magic, size_t size)
{
    return file.len >= size && memcmp(file.data, magic, size) == 0;
}

bool profile_is_own(Bytes file)
{
    const uint64_t live_magic = LIVE_MAGIC;
    return begins_with(file, PROFILE_TEXT_MAGIC, strlen(PROFILE_TEXT_MAGIC)) ||
           begins_with(file, PROFILE_MAGIC, strlen(PROFILE_MAGIC)) ||
           begins_with(file, &live_magic, sizeof live_magic);
}

static bool is_live(Bytes file)
{
    const uint64_t live_magic = LIVE_MAGIC;
    return begins_with(file, &live_magic, sizeof live_magic);
}

static Status read_live(Arena *arena, const char *path, Bytes file, Images *images,
                        const Profile **out, Error *err)
{
    LiveData live;
    TRY(profile_parse_live(arena, path, file, &live, err));
    return profile_build(arena, &live, images, out, err);
}

Status profile_read_bytes(Arena *arena, const char *path, Bytes file, Images *images,
                          const Profile **out, Error *err)
{
    if (begins_with(file, PROFILE_TEXT_MAGIC, strlen(PROFILE_TEXT_MAGIC)))
        return profile_read_text(arena, path, file, out, err);
    if (begins_with(file, PROFILE_MAGIC, strlen(PROFILE_MAGIC)))
        return profile_read_compact(arena, path, file, out, err);
    if (is_live(file))
        return read_live(arena, path, file, images, out, err);
    return FAIL(err, ST_BAD_INPUT, ((Place){ path, NULL, 0 }),
                "not a profile: %zu bytes that begin with none of its three magic words", file.len);
}

/* The records are there until blocks are made of them. */
static Status read_live_file(Arena *arena, const char *name, int fd, uint64_t size, Images *images,
                             const Profile **out, Error *err)
{
    Arena *records = arena_new();
    LiveData live;
    Status status = profile_load_live(records, name, fd, size, &live, err);
    if (status == ST_OK)
        status = profile_build(arena, &live, images, out, err);
    arena_free(records);
    return status;
}

/* A regular file in the live form, to be closed; -1: another form, or no such file. */
static int open_live(const char *path, uint64_t *size)
{
    uint8_t magic[sizeof(uint64_t)];
    struct stat info;
    /* A pipe is opened once only, by who reads it. */
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode))
        return -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &info) == 0 &&
        pread(fd, magic, sizeof magic, 0) == (ssize_t)sizeof magic &&
        is_live((Bytes){ magic, sizeof magic })) {
        *size = (uint64_t)info.st_size;
        return fd;
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

Status profile_read_path(Arena *arena, const char *path, const char *name, Images *images,
                         const Profile **out, Error *err)
{
    uint64_t size = 0;
    int fd = strcmp(path, "-") == 0 ? -1 : open_live(path, &size);
    if (fd >= 0) {
        Status status = read_live_file(arena, name, fd, size, images, out, err);
        close(fd);
        return status;
    }
    Bytes file;
    TRY(profile_slurp(arena, path, &file, err));
    return profile_read_bytes(arena, name, file, images, out, err);
}

/* All of the run: the file, and the live files beside it that belong to it. */
static Status read_once(Arena *arena, const char *path, Images *images, const Profile **out,
                        Error *err)
{
    bool standard_input = strcmp(path, "-") == 0;
    const char *name = standard_input ? "standard input" : arena_string(arena, path);
    const Profile *base;
    TRY(profile_read_path(arena, path, name, images, &base, err));
    if (standard_input || base->run == 0) {
        *out = base;
        return ST_OK;
    }
    return profile_add_siblings(arena, name, base, images, false, NULL, out, err);
}

/* Live files go when the run is finished: where that happened meanwhile, they are looked at again.
 */
static Status read_run(Arena *arena, const char *path, Images *images, const Profile **out,
                       Error *err)
{
    struct stat before = { 0 }, after = { 0 };
    Status status;
    do {
        if (stat(path, &before) != 0)
            before.st_ino = 0;
        status = read_once(arena, path, images, out, err);
        if (stat(path, &after) != 0)
            after.st_ino = 0;
    } while (before.st_ino != after.st_ino);
    return status;
}

Status profile_read(Arena *arena, const char *path, const Profile **out, Error *err)
{
    Images *images = images_new(arena);
    int lock = strcmp(path, "-") != 0 ? profile_lock(path, LOCK_SH) : -1;
    Status status = read_run(arena, path, images, out, err);
    profile_unlock(lock);
    images_close(images);
    return status;
}

Status profile_read_memory(Arena *arena, const char *name, Bytes file, const Profile **out,
                           Error *err)
{
    Images *images = images_new(arena);
    Status status = profile_read_bytes(arena, name, file, images, out, err);
    images_close(images);
    return status;
}
