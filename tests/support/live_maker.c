/* live_maker.c: live profiles by hand. SPDX-License-Identifier: MIT */
#include "tests/support/live_maker.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

LiveMaker live_maker(uint64_t run, uint32_t pid)
{
    LiveMaker maker;
    memset(&maker, 0, sizeof maker);
    maker.header.magic = LIVE_MAGIC;
    maker.header.version = LIVE_VERSION;
    maker.header.flags = LIVE_ENDED;
    maker.header.run = run;
    maker.header.pid = pid;
    strcpy(maker.header.command, "made by hand");
    return maker;
}

uint32_t live_maker_map(LiveMaker *maker, uint64_t start, uint64_t end, uint64_t offset,
                        const char *path)
{
    LiveMap *map = &maker->maps[maker->header.n_maps];
    map->start = start;
    map->end = end;
    map->file_offset = offset;
    snprintf(map->path, sizeof map->path, "%s", path);
    struct stat info;
    if (stat(path, &info) == 0) {
        map->inode = info.st_ino;
        map->device = info.st_dev;
        map->file_size = (uint64_t)info.st_size;
        map->mtime_ns =
            (uint64_t)info.st_mtim.tv_sec * 1000000000u + (uint64_t)info.st_mtim.tv_nsec;
    }
    return (uint32_t)maker->header.n_maps++;
}

uint32_t live_maker_block(LiveMaker *maker, uint32_t map, uint64_t start, uint32_t size,
                          uint32_t n_insns, uint32_t last, LiveEnd end, uint64_t target,
                          uint64_t first, uint64_t second)
{
    uint32_t counter = (uint32_t)maker->header.n_counters;
    maker->blocks[maker->header.n_blocks] = (LiveBlock){
        .start = start,
        .size = size,
        .n_insns = n_insns,
        .last = last,
        .end = end,
        .map = map,
        .counter = counter,
        .target = target,
    };
    maker->counters[0][counter] = first;
    maker->counters[0][counter + 1] = second;
    maker->header.n_counters += 2;
    return (uint32_t)maker->header.n_blocks++;
}

void live_maker_edge(LiveMaker *maker, uint32_t block, uint32_t map, uint64_t target,
                     uint64_t count)
{
    uint32_t counter = (uint32_t)maker->header.n_counters++;
    maker->edges[maker->header.n_edges++] =
        (LiveEdge){ .block = block, .counter = counter, .target = target, .map = map };
    maker->counters[0][counter] = count;
}

uint32_t live_maker_virtual(LiveMaker *maker)
{
    return (uint32_t)maker->header.n_counters++;
}

void live_maker_sum(LiveMaker *maker, uint32_t to, uint32_t from)
{
    maker->sums[maker->header.n_sums++] = (LiveSum){ to, from };
}

void live_maker_text(LiveMaker *maker, LiveTextKind kind, uint32_t map, uint64_t address)
{
    maker->texts[maker->header.n_texts++] =
        (LiveText){ .address = address, .map = map, .kind = kind };
}

LiveValue *live_maker_value(LiveMaker *maker, LiveValueKind kind, uint32_t map, uint64_t pc)
{
    LiveValue *value = &maker->values[maker->header.n_values++];
    *value = (LiveValue){ .pc = pc, .map = map, .kind = kind };
    return value;
}

/* Appends a chunk, and its entry in the directory. */
static void put_chunk(Buffer *file, LiveHeader *header, LiveChunkKind kind, uint64_t first,
                      const void *data, uint64_t size)
{
    buffer_align(file, 4096, 0);
    LiveChunk chunk = { .kind = kind, .offset = file->len, .size = size, .first = first };
    memcpy(file->data + LIVE_DIRECTORY_OFFSET + header->n_chunks * sizeof chunk, &chunk,
           sizeof chunk);
    header->n_chunks++;
    buffer_put(file, data, size);
}

Bytes live_maker_file(Arena *arena, const LiveMaker *maker)
{
    Buffer file = { .arena = arena };
    LiveHeader header = maker->header;
    uint64_t half = header.n_blocks / 2;
    buffer_fill(&file, 0, LIVE_DATA_OFFSET);
    put_chunk(&file, &header, LIVE_MAPS, 0, maker->maps, header.n_maps * sizeof(LiveMap));
    put_chunk(&file, &header, LIVE_BLOCKS, 0, maker->blocks, half * sizeof(LiveBlock));
    put_chunk(&file, &header, LIVE_EDGES, 0, maker->edges, header.n_edges * sizeof(LiveEdge));
    put_chunk(&file, &header, LIVE_BLOCKS, half, maker->blocks + half,
              (header.n_blocks - half) * sizeof(LiveBlock));
    put_chunk(&file, &header, LIVE_SUMS, 0, maker->sums, header.n_sums * sizeof(LiveSum));
    put_chunk(&file, &header, LIVE_TEXTS, 0, maker->texts, header.n_texts * sizeof(LiveText));
    put_chunk(&file, &header, LIVE_VALUES, 0, maker->values, header.n_values * sizeof(LiveValue));
    for (int i = 0; i < LIVE_MAKER_THREADS; i++)
        put_chunk(&file, &header, LIVE_COUNTERS, 0, maker->counters[i],
                  header.n_counters * sizeof(uint64_t));
    memcpy(file.data, &header, sizeof header);
    return buffer_bytes(&file);
}
