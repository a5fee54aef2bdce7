/*
 * maps.c: a sorted table of the guest's executable mappings.
 *
 *   start      end        file, offset, size, time            checked  live
 *   400000     401000     0  /usr/bin/true                    no       0
 *   7ffff7dc6  7ffff7f1b  26000 /usr/lib/.../libc.so.6        no       1
 *
 * Readers take no lock: a writer makes the sequence number odd while it works, and a reader that
 * saw it change reads again. The table is a copy of what the kernel knows; where it does not know
 * an address, /proc/self/maps is asked before a fault is raised.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/maps.h"
#include "profiler/memory.h"
#include "profiler/text.h"
#include "profiler/watch.h"

#include <asm/stat.h>
#include <asm/unistd.h>
#include <linux/fcntl.h>

enum {
    FIRST_CAPACITY = 256,
    READ_BYTES = 1 << 14,
    NS_PER_S = 1000000000,
};

typedef struct Map {
    CodeMap code;
    uint64_t file_offset; /* of start */
    const MapFile *file;
} Map;

static struct {
    volatile uint32_t lock;
    volatile uint32_t sequence; /* odd: being changed */
    Map *map;
    uint32_t n;
    uint32_t capacity;
    const MapFile *last_file; /* most mappings of a file are made one after the other */
} maps;

static const MapFile no_file = { 0 };

void maps_lock(void)
{
    vm_lock(&maps.lock);
}

void maps_unlock(void)
{
    vm_unlock(&maps.lock);
}

/* ---- reading ------------------------------------------------------------------------------ */

/* The first map whose end lies above `address`. */
static uint32_t first_above(const Map *map, uint32_t n, uint64_t address)
{
    uint32_t low = 0;
    while (low < n) {
        uint32_t middle = low + (n - low) / 2;
        if (map[middle].code.end > address)
            n = middle;
        else
            low = middle + 1;
    }
    return low;
}

static bool read_map(uint64_t start, uint64_t end, Map *out)
{
    for (;;) {
        uint32_t before = __atomic_load_n(&maps.sequence, __ATOMIC_ACQUIRE);
        if ((before & 1) != 0) {
            __asm__ volatile("pause");
            continue;
        }
        const Map *map = maps.map;
        uint32_t n = maps.n;
        uint32_t i = first_above(map, n, start);
        bool found = i < n && map[i].code.start < end;
        if (found)
            *out = map[i];
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (maps.sequence == before)
            return found;
    }
}

bool map_find_code(uint64_t address, CodeMap *out)
{
    Map map;
    if (address + 1 == 0 || !read_map(address, address + 1, &map))
        return false;
    *out = map.code;
    out->checked |= out->writable && watch_is_checked(address);
    return true;
}

bool maps_touch_code(uint64_t start, uint64_t end)
{
    Map map;
    return read_map(start, end, &map);
}

bool map_describe(uint64_t address, LiveMap *out)
{
    Map map;
    if (!read_map(address, address + 1, &map))
        return false;
    out->start = map.code.start;
    out->end = map.code.end;
    out->file_offset = map.file_offset;
    out->inode = map.file->inode;
    out->device = map.file->device;
    out->file_size = map.file->size;
    out->mtime_ns = map.file->mtime_ns;
    text_copy(out->path, sizeof out->path, map.file->path);
    return true;
}

/* ---- changing ----------------------------------------------------------------------------- */

static void begin_change(void)
{
    __atomic_store_n(&maps.sequence, maps.sequence + 1, __ATOMIC_SEQ_CST);
}

static void end_change(void)
{
    __atomic_store_n(&maps.sequence, maps.sequence + 1, __ATOMIC_SEQ_CST);
}

/* Room for two more entries; old arrays are left to readers that still look at them. */
static void grow(void)
{
    if (maps.n + 2 <= maps.capacity)
        return;
    uint32_t capacity = maps.capacity == 0 ? FIRST_CAPACITY : 2 * maps.capacity;
    Map *bigger = vm_alloc(capacity * sizeof *bigger);
    memcpy(bigger, maps.map, maps.n * sizeof *bigger);
    maps.map = bigger;
    maps.capacity = capacity;
}

static void insert_at(uint32_t i, Map map)
{
    memmove(&maps.map[i + 1], &maps.map[i], (maps.n - i) * sizeof map);
    maps.map[i] = map;
    maps.n++;
}

static void delete_at(uint32_t i)
{
    memmove(&maps.map[i], &maps.map[i + 1], (maps.n - i - 1) * sizeof *maps.map);
    maps.n--;
}

/* Removes [start, end) from entry i, which overlaps it: none, one or two parts stay. */
static void cut_entry(uint32_t i, uint64_t start, uint64_t end)
{
    Map whole = maps.map[i];
    Map tail = whole;
    tail.file_offset += end - whole.code.start;
    tail.code.start = end;
    delete_at(i);
    if (end < whole.code.end)
        insert_at(i, tail);
    whole.code.end = start;
    if (start > whole.code.start)
        insert_at(i, whole);
}

static bool remove_range(uint64_t start, uint64_t end)
{
    bool removed = false;
    for (;;) {
        uint32_t i = first_above(maps.map, maps.n, start);
        if (i == maps.n || maps.map[i].code.start >= end)
            return removed;
        uint64_t from = maps.map[i].code.start > start ? maps.map[i].code.start : start;
        uint64_t to = maps.map[i].code.end < end ? maps.map[i].code.end : end;
        grow();
        cut_entry(i, from, to);
        removed = true;
    }
}

bool maps_remove(uint64_t start, uint64_t end)
{
    if (!maps_touch_code(start, end))
        return false;
    begin_change();
    bool removed = remove_range(start, end);
    end_change();
    return removed;
}

static void put(Map map)
{
    begin_change();
    remove_range(map.code.start, map.code.end);
    grow();
    insert_at(first_above(maps.map, maps.n, map.code.start), map);
    end_change();
}

static uint64_t mtime_ns(const struct stat *info)
{
    return (uint64_t)info->st_mtime * NS_PER_S + (uint64_t)info->st_mtime_nsec;
}

static bool is_file(const MapFile *file, const struct stat *info)
{
    return file != NULL && file->inode == info->st_ino && file->device == info->st_dev &&
           file->mtime_ns == mtime_ns(info) && file->size == (uint64_t)info->st_size;
}

static MapFile *new_file(const struct stat *info)
{
    MapFile *file = vm_alloc(sizeof *file);
    file->inode = info->st_ino;
    file->device = info->st_dev;
    file->size = (uint64_t)info->st_size;
    file->mtime_ns = mtime_ns(info);
    return file;
}

static const MapFile *file_of_fd(long fd)
{
    struct stat info = { 0 };
    if (fd < 0 || raw_syscall(__NR_fstat, fd, (long)&info, 0, 0, 0, 0) != 0)
        return &no_file;
    if (is_file(maps.last_file, &info))
        return maps.last_file;
    MapFile *file = new_file(&info);
    Text link;
    text_start(&link);
    text_put(&link, "/proc/self/fd/");
    text_put_dec(&link, (uint64_t)fd);
    long len =
        raw_syscall(__NR_readlink, (long)link.bytes, (long)file->path, LIVE_PATH_MAX - 1, 0, 0, 0);
    file->path[len > 0 ? len : 0] = '\0';
    maps.last_file = file;
    return file;
}

/* A memory file may be mapped a second time, shared, for writing. */
static bool is_memory_file(const MapFile *file)
{
    return text_after(file->path, "/memfd:") != NULL;
}

static CodeMap new_code(uint64_t start, uint64_t end, MapAccess access, const MapFile *file)
{
    return (CodeMap){ .start = start,
                      .end = end,
                      .live = LIVE_NO_MAP,
                      .checked = access.shared || is_memory_file(file),
                      .writable = access.writable && !access.shared };
}

void maps_add(uint64_t start, uint64_t end, long fd, uint64_t file_offset, MapAccess access)
{
    const MapFile *file = file_of_fd(fd);
    put((Map){ new_code(start, end, access, file), file_offset, file });
}

void map_set_live(uint64_t address, uint32_t index)
{
    maps_lock();
    uint32_t i = first_above(maps.map, maps.n, address);
    if (i < maps.n && maps.map[i].code.start <= address) {
        begin_change();
        maps.map[i].code.live = index;
        end_change();
    }
    maps_unlock();
}

/* ---- what the kernel says ----------------------------------------------------------------- */

typedef struct KernelMap {
    uint64_t start;
    uint64_t end;
    uint64_t offset;
    uint64_t inode;
    char access[4]; /* rwxp */
    char path[LIVE_PATH_MAX];
} KernelMap;

/* Parses one line of /proc/self/maps: "start-end rwxp offset device inode      path". */
static void parse_line(const char *line, KernelMap *out)
{
    const char *at = line;
    out->start = text_parse(&at, 16);
    at += *at == '-';
    out->end = text_parse(&at, 16);
    at += *at == ' ';
    for (int i = 0; i < 4; i++)
        out->access[i] = *at != '\0' ? *at++ : '\0';
    at += *at == ' ';
    out->offset = text_parse(&at, 16);
    at += *at == ' ';
    while (*at != ' ' && *at != '\0')
        at++;
    at += *at == ' ';
    out->inode = text_parse(&at, 10);
    while (*at == ' ')
        at++;
    text_copy(out->path, sizeof out->path, at);
}

/* The first mapping that ends above `address`. */
static bool kernel_map_find(uint64_t address, KernelMap *out)
{
    long fd =
        raw_syscall(__NR_openat, AT_FDCWD, (long)"/proc/self/maps", O_RDONLY | O_CLOEXEC, 0, 0, 0);
    char buffer[READ_BYTES] = { 0 };
    size_t have = 0;
    bool found = false;
    while (fd >= 0 && !found) {
        long got = raw_syscall(__NR_read, fd, (long)(buffer + have),
                               (long)(sizeof buffer - 1 - have), 0, 0, 0);
        if (got <= 0)
            break;
        have += (size_t)got;
        size_t line = 0;
        for (size_t i = 0; i < have && !found; i++) {
            if (buffer[i] != '\n')
                continue;
            buffer[i] = '\0';
            parse_line(buffer + line, out);
            found = out->end > address;
            line = i + 1;
        }
        memmove(buffer, buffer + line, have - line);
        have -= line;
    }
    if (fd >= 0)
        raw_syscall(__NR_close, fd, 0, 0, 0, 0, 0);
    return found;
}

/* The file of a line; the file that bears its name now, if that is still the same one. */
static const MapFile *file_of_kernel(const KernelMap *map)
{
    if (map->path[0] == '\0')
        return &no_file;
    struct stat info = { 0 };
    if (raw_syscall(__NR_stat, (long)map->path, (long)&info, 0, 0, 0, 0) != 0 ||
        info.st_ino != map->inode)
        memset(&info, 0, sizeof info);
    if (info.st_ino != 0 && is_file(maps.last_file, &info))
        return maps.last_file;
    MapFile *file = new_file(&info);
    file->inode = map->inode;
    text_copy(file->path, sizeof file->path, map->path);
    return file;
}

static void put_kernel(const KernelMap *map, uint64_t start, uint64_t end)
{
    MapAccess access = { .writable = map->access[1] == 'w', .shared = map->access[3] == 's' };
    const MapFile *file = file_of_kernel(map);
    put((Map){ new_code(start, end, access, file), map->offset + (start - map->start), file });
}

bool maps_ask_kernel(uint64_t address, bool *mapped)
{
    KernelMap found = { 0 };
    *mapped = kernel_map_find(address, &found) && found.start <= address;
    if (!*mapped || found.access[2] != 'x' || memory_is_vm(found.start, found.end))
        return false;
    maps_lock();
    put_kernel(&found, found.start, found.end);
    maps_unlock();
    return true;
}

bool maps_next(uint64_t address, uint64_t *start, uint64_t *end)
{
    KernelMap map;
    if (!kernel_map_find(address, &map))
        return false;
    *start = map.start;
    *end = map.end;
    return true;
}

bool maps_kernel_writable(uint64_t address)
{
    KernelMap found = { 0 };
    return kernel_map_find(address, &found) && found.start <= address && found.access[1] == 'w';
}

void maps_refresh(uint64_t start, uint64_t end)
{
    maps_remove(start, end);
    KernelMap found = { 0 };
    for (uint64_t at = start; at < end; at = found.end) {
        if (!kernel_map_find(at, &found))
            return;
        uint64_t from = found.start > at ? found.start : at;
        uint64_t to = found.end < end ? found.end : end;
        if (found.access[2] == 'x' && from < to)
            put_kernel(&found, from, to);
    }
}
