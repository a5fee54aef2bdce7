/*
 * profile_images.c: the files that code was mapped from, opened once for all processes of a run.
 *
 * A mapping's run-time addresses become addresses of the module through the executable segment that
 * its file offset lies in. The file must still be the one that was mapped (inode, size, time of
 * change); if it is not, the module keeps its path and has no key: its addresses are file offsets.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/profile_parts.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>

enum { PAGE = 4096 };

typedef struct Opened {
    const char *path;
    uint64_t inode, size, mtime_ns;
    const Image *image; /* NULL: not to be used, and `remark` says why */
    bool whole;         /* with symbols and relocations */
    const char *remark;
} Opened;

struct Images {
    Arena *arena;
    Opened *opened;
    size_t n, cap;
};

Images *images_new(Arena *arena)
{
    Images *images = arena_one(arena, Images);
    images->arena = arena;
    return images;
}

void images_close(Images *images)
{
    for (size_t i = 0; i < images->n; i++)
        if (images->opened[i].image != NULL)
            image_close(images->opened[i].image);
    images->n = 0;
}

void images_drop_pages(const Images *images)
{
    for (size_t i = 0; i < images->n; i++)
        if (images->opened[i].image != NULL)
            image_drop_pages(images->opened[i].image);
}

static bool is_the_file(const struct stat *now, const LiveMap *map)
{
    uint64_t mtime_ns =
        (uint64_t)now->st_mtim.tv_sec * UINT64_C(1000000000) + (uint64_t)now->st_mtim.tv_nsec;
    return S_ISREG(now->st_mode) && now->st_ino == map->inode &&
           (uint64_t)now->st_size == map->file_size && mtime_ns == map->mtime_ns;
}

static void open_file(Images *images, const LiveMap *map, Opened *file)
{
    struct stat now;
    if (stat(file->path, &now) != 0) {
        file->remark = arena_printf(
            images->arena,
            "%s cannot be read any more (%s): its code has no name in this profile but its path",
            file->path, strerror(errno));
        return;
    }
    if (!is_the_file(&now, map)) {
        file->remark = arena_printf(images->arena,
                                    "%s is not the file that was run any more: its code has no "
                                    "name in this profile but its path",
                                    file->path);
        return;
    }
    Error err;
    Status status = file->whole ? image_open(images->arena, file->path, &file->image, &err)
                                : image_open_code(images->arena, file->path, &file->image, &err);
    if (status != ST_OK) {
        file->image = NULL;
        file->remark = arena_printf(images->arena, "%s: %s", file->path, err.text);
        return;
    }
    image_drop_pages(file->image);
}

/* Was opened for a process of which less was asked. */
static void open_whole(Images *images, const LiveMap *map, Opened *file)
{
    image_close(file->image);
    file->image = NULL;
    file->whole = true;
    open_file(images, map, file);
}

static const Opened *find_file(Images *images, const LiveMap *map, bool whole)
{
    for (size_t i = 0; i < images->n; i++) {
        Opened *file = &images->opened[i];
        if (file->inode != map->inode || file->size != map->file_size ||
            file->mtime_ns != map->mtime_ns || strcmp(file->path, map->path) != 0)
            continue;
        if (whole && !file->whole && file->image != NULL)
            open_whole(images, map, file);
        return file;
    }
    images->opened = arena_grow(images->arena, images->opened, &images->cap, images->n + 1,
                                sizeof *images->opened);
    Opened *file = &images->opened[images->n++];
    *file = (Opened){ .path = arena_string(images->arena, map->path),
                      .inode = map->inode,
                      .size = map->file_size,
                      .mtime_ns = map->mtime_ns,
                      .whole = whole };
    open_file(images, map, file);
    return file;
}

/* The link-time address of a mapping's first byte. Mappings begin at page boundaries, segments in
 * the file need not. */
static bool address_of_map(const Image *image, const LiveMap *map, uint64_t *out)
{
    for (uint32_t i = 0; i < image->n_segments; i++) {
        const Segment *segment = &image->segments[i];
        uint64_t first = segment->offset.v & ~(uint64_t)(PAGE - 1);
        if (segment->type != PT_LOAD || (segment->flags & PF_X) == 0 || map->file_offset < first ||
            map->file_offset >= segment->offset.v + segment->file_size)
            continue;
        *out = segment->addr.v + (map->file_offset - segment->offset.v);
        return true;
    }
    return false;
}

/* Our own vDSO: the kernel gives all processes the same. */
static Bytes own_vdso(void)
{
    const void *at = (const void *)getauxval(AT_SYSINFO_EHDR);
    if (at == NULL)
        return (Bytes){ NULL, 0 };
    const Elf64_Ehdr *header = at;
    return (Bytes){ at, header->e_shoff + (size_t)header->e_shnum * header->e_shentsize };
}

static bool is_generated(const char *path)
{
    static const char *const beginnings[] = { "[", "/memfd:", "/SYSV", "/dev/zero" };
    for (size_t i = 0; i < sizeof beginnings / sizeof beginnings[0]; i++)
        if (strncmp(path, beginnings[i], strlen(beginnings[i])) == 0)
            return true;
    return path[0] == '\0';
}

void images_find(Images *images, const LiveMap *map, bool whole, MapSource *out)
{
    *out = (MapSource){ 0 };
    if (strcmp(map->path, "[vdso]") == 0) {
        *out = (MapSource){ .path = "[vdso]", .vdso = own_vdso(), .bias = map->start };
        return;
    }
    if (is_generated(map->path))
        return;
    const Opened *file = find_file(images, map, whole);
    *out = (MapSource){ .path = file->path,
                        .bias = map->start - map->file_offset,
                        .remark = file->remark };
    if (file->image == NULL)
        return;
    uint64_t start;
    if (!address_of_map(file->image, map, &start)) {
        out->remark = arena_printf(
            images->arena, "%s was mapped otherwise than its program headers say", file->path);
        return;
    }
    out->image = file->image;
    out->key = file->image->key;
    out->bias = map->start - start;
}
