/*
 * live.c: records and counters of the live profile, flat in memory and chunked in the file.
 *
 *   memory   header, directory | maps ....| blocks ........| edges .....| sums | area, counters of
 *               |                  \           |      \                              each slot
 *   file     header, directory, chunk, chunk, chunk, chunk ...        in the order of their making
 *
 * Each series is one reserved range of addresses; chunks are mapped into it one after the other,
 * and each is twice as large as the one before, up to a bound. A chunk is allocated on the disk
 * before it is mapped: stores to it cannot fail. When the disk is full, chunks become private
 * memory: counting goes on, LIVE_STOPPED is set, and the guest notices nothing.
 *
 * A slot keeps its counters when its thread ends: the next thread in that slot goes on adding.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/live.h"
#include "profiler/area.h"
#include "profiler/live_file.h"
#include "profiler/maps.h"
#include "profiler/memory.h"
#include "profiler/text.h"

#include <asm/unistd.h>
#include <linux/mman.h>

enum {
    FIRST_CHUNK = 1 << 16,
    LARGE_AREAS = 4,       /* beyond these threads, memory counts for more */
    CHILD_CHUNK = 1 << 14, /* a child may be one of thousands */
    LARGEST_STEP = 1 << 23,
    SERIES_SHARE = 128,
    COUNTERS_SHARE = 8192,
    LEAST_RANGE = 1 << 24,
    DIRECTORY_STEP = 32 << 10,         /* bytes of directory allocated at once */
    DROP_STEP = 1 << 18,               /* bytes of records that stay in memory behind the last */
    N_RECORD_SERIES = LIVE_VALUES + 1, /* by LiveChunkKind; two of them are no series of records */
};

/* One array: flat at `base`, `mapped` bytes of it usable, the first `in_file` of them in the file.
 */
typedef struct Series {
    uint32_t kind; /* LiveChunkKind */
    uint32_t record_size;
    uint8_t *base;
    uint64_t mapped;
    uint64_t in_file;
    uint64_t limit;
    uint64_t count;
    uint64_t copied;  /* bytes that a forked child began with */
    uint64_t dropped; /* bytes whose pages are in the file's cache only */
} Series;

static struct {
    LiveFile file;
    bool in_file; /* still extending the file */
    const VmOptions *options;
    LiveHeader *header;
    LiveChunk *directory;
    uint32_t n_chunks;
    uint64_t directory_end;         /* allocated */
    Series series[N_RECORD_SERIES]; /* maps, blocks, edges, sums, texts, values */
    ThreadOs *slots;
    uint64_t n_counters;
    uint64_t counters_capacity; /* bytes usable in every slot */
    uint64_t counters_limit;
    uint64_t counters_copied; /* bytes that a forked child began with */
} live;

static Series *series_of(LiveChunkKind kind)
{
    return &live.series[kind];
}

/* Records may name others that have no place in the file from now on: none is published any more.
 */
static void stop_file(void)
{
    live.in_file = false;
    for (int i = 0; i < N_RECORD_SERIES; i++)
        live.series[i].in_file = 0;
    live.header->flags |= LIVE_STOPPED;
    vm_say("the profile cannot grow (disk full, or its folder cannot be written): counting of new "
           "code stops, the program goes on");
}

static void map_private(void *at, uint64_t size)
{
    long got = raw_syscall(__NR_mmap, (long)at, (long)size, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
    /* Beyond a limit on address space nothing can be mapped: the reserved pages themselves serve.
     */
    if (got != (long)at && !memory_commit(at, size))
        vm_die("no memory for counters, bytes wanted", size);
    if (the_vm.options.burst != NULL)
        memory_keep_from_children(at, size);
}

static bool directory_has_room(void)
{
    if (live.n_chunks >= LIVE_CHUNKS)
        return false;
    uint64_t end = VM_PAGE + (live.n_chunks + 1) * sizeof(LiveChunk);
    if (end <= live.directory_end)
        return true;
    if (!live_file_allocate(&live.file, live.directory_end, DIRECTORY_STEP))
        return false;
    live.directory_end += DIRECTORY_STEP;
    return true;
}

static uint64_t file_end(void)
{
    return live.file.size < LIVE_DATA_OFFSET ? LIVE_DATA_OFFSET : page_up(live.file.size);
}

static void directory_add(LiveChunk chunk)
{
    LiveChunk *entry = &live.directory[live.n_chunks++];
    uint32_t kind = chunk.kind;
    chunk.kind = LIVE_FREE;
    *entry = chunk;
    __atomic_store_n(&entry->kind, kind, __ATOMIC_RELEASE);
    __atomic_store_n(&live.header->n_chunks, live.n_chunks, __ATOMIC_RELEASE);
}

/* Makes [at, at + size) usable; true: it is in the file, as a chunk. */
static bool map_chunk(void *at, uint64_t size, LiveChunk chunk)
{
    if (live.in_file) {
        chunk.offset = file_end();
        chunk.size = size;
        if (directory_has_room() && live_file_allocate(&live.file, chunk.offset, size) &&
            live_file_map(&live.file, at, chunk.offset, size)) {
            directory_add(chunk);
            return true;
        }
        stop_file();
    }
    map_private(at, size);
    return false;
}

/* The next chunk of what has grown to `mapped` from `copied` bytes: twice as large as the last. */
static uint64_t next_step(uint64_t mapped, uint64_t copied)
{
    uint64_t first = copied != 0 ? CHILD_CHUNK : FIRST_CHUNK;
    uint64_t grown = mapped - copied;
    if (grown < first)
        return first;
    return grown < LARGEST_STEP ? grown : LARGEST_STEP;
}

/* A chunk holds whole records: its size is a multiple of this. */
static uint64_t chunk_unit(uint64_t record_size)
{
    uint64_t power = record_size & -record_size; /* its part in common with a page */
    return VM_PAGE * (record_size / power);
}

static void series_extend(Series *series)
{
    uint64_t unit = chunk_unit(series->record_size);
    uint64_t size = (next_step(series->mapped, series->copied) + unit - 1) / unit * unit;
    if (series->mapped + size > series->limit)
        vm_die("too many records in the profile, bytes used", series->mapped);
    LiveChunk chunk = { .kind = series->kind, .first = series->mapped / series->record_size };
    bool filed = map_chunk(series->base + series->mapped, size, chunk);
    series->mapped += size;
    if (filed)
        series->in_file = series->mapped;
}

/* Records that are written once and never looked at leave this process's memory: they are in the
 * file. Texts and values are changed later. */
static void drop_written(Series *series)
{
    bool changes = series->kind == LIVE_TEXTS || series->kind == LIVE_VALUES;
    uint64_t end = page_down(series->count * series->record_size);
    if (changes || end < series->dropped + DROP_STEP || end > series->in_file)
        return;
    raw_syscall(__NR_madvise, (long)(series->base + series->dropped), (long)(end - series->dropped),
                MADV_DONTNEED, 0, 0, 0);
    series->dropped = end;
}

/* Appends a record; its count in the header follows it, as long as it is in the file. */
static uint32_t series_add(Series *series, const void *record, uint64_t *published)
{
    uint64_t end = (series->count + 1) * series->record_size;
    if (end > series->mapped)
        series_extend(series);
    memcpy(series->base + series->count * series->record_size, record, series->record_size);
    series->count++;
    if (end <= series->in_file)
        __atomic_store_n(published, series->count, __ATOMIC_RELEASE);
    drop_written(series);
    return (uint32_t)(series->count - 1);
}

static void series_init(LiveChunkKind kind, uint32_t record_size)
{
    uint64_t limit = memory_share(SERIES_SHARE, LEAST_RANGE);
    *series_of(kind) = (Series){ .kind = kind,
                                 .record_size = record_size,
                                 .base = memory_reserve(limit, VM_PAGE),
                                 .limit = limit };
}

/* ---- the header --------------------------------------------------------------------------- */

static void fill_header(const char *command)
{
    LiveHeader *header = live.header;
    header->version = LIVE_VERSION;
    header->flags = live.options->is_child ? LIVE_CHILD : 0;
    header->run = live.options->run;
    header->pid = (uint32_t)raw_syscall(__NR_getpid, 0, 0, 0, 0, 0, 0);
    if (command != NULL)
        text_copy(header->command, sizeof header->command, command);
    __atomic_store_n(&header->magic, LIVE_MAGIC, __ATOMIC_RELEASE);
}

/* A new file with its header mapped at live.header. False: private memory instead. */
static bool create_file(void)
{
    uint64_t first = VM_PAGE + DIRECTORY_STEP;
    if (!live_file_create(&live.file, live.options))
        return false;
    live.directory_end = first;
    if (live_file_allocate(&live.file, 0, first) &&
        live_file_map(&live.file, live.header, 0, LIVE_DATA_OFFSET))
        return true;
    live_file_remove(&live.file);
    return false;
}

void live_start(Vm *vm, const char *command)
{
    live.options = &vm->options;
    live.header = memory_reserve(LIVE_DATA_OFFSET, VM_PAGE);
    live.directory = (LiveChunk *)((uint8_t *)live.header + VM_PAGE);
    live.counters_limit = memory_share(COUNTERS_SHARE, LEAST_RANGE);
    series_init(LIVE_MAPS, sizeof(LiveMap));
    series_init(LIVE_BLOCKS, sizeof(LiveBlock));
    series_init(LIVE_EDGES, sizeof(LiveEdge));
    series_init(LIVE_SUMS, sizeof(LiveSum));
    series_init(LIVE_TEXTS, sizeof(LiveText));
    series_init(LIVE_VALUES, sizeof(LiveValue));
    live.in_file = vm->options.out != NULL && create_file();
    if (!live.in_file)
        map_private(live.header, LIVE_DATA_OFFSET);
    if (!live.in_file && vm->options.out != NULL)
        stop_file();
    fill_header(command);
    if (live.in_file && !live_file_publish(&live.file, live.options)) {
        live_file_remove(&live.file);
        stop_file();
    }
}

void live_mark(uint32_t flag, bool on)
{
    if (on)
        __atomic_or_fetch(&live.header->flags, flag, __ATOMIC_RELEASE);
    else
        __atomic_and_fetch(&live.header->flags, ~flag, __ATOMIC_RELEASE);
}

void live_sample(uint64_t burst_ns)
{
    live.header->burst_ns = burst_ns;
    live_mark(LIVE_SAMPLED, true);
}

uint64_t live_note_moment(void)
{
    return __atomic_add_fetch(&live.header->moments, 1, __ATOMIC_RELAXED);
}

uint64_t live_burst_spent(void)
{
    return __atomic_load_n(&live.header->spent_ns, __ATOMIC_RELAXED);
}

void live_note_burst(uint64_t spent_ns)
{
    __atomic_add_fetch(&live.header->bursts, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&live.header->spent_ns, spent_ns, __ATOMIC_RELAXED);
}

static bool series_has_room(const Series *series)
{
    return series->limit - series->mapped > 2 * LARGEST_STEP;
}

bool live_has_room(void)
{
    return live.in_file && series_has_room(series_of(LIVE_MAPS)) &&
           series_has_room(series_of(LIVE_BLOCKS)) && series_has_room(series_of(LIVE_EDGES)) &&
           live.counters_limit - live.counters_capacity > 2 * LARGEST_STEP;
}

const char *live_path(void)
{
    return live.in_file || live.file.size != 0 ? live.file.path : NULL;
}

/* ---- counters ----------------------------------------------------------------------------- */

static void extend_slot(ThreadOs *os, uint64_t capacity)
{
    if (os->counters_mapped >= capacity)
        return;
    LiveChunk chunk = { .kind = LIVE_COUNTERS,
                        .thread = os->number,
                        .first = os->counters_mapped / sizeof(uint64_t) };
    uint8_t *base = (uint8_t *)os->thread->cpu.counter;
    map_chunk(base + os->counters_mapped, capacity - os->counters_mapped, chunk);
    os->counters_mapped = capacity;
}

/* Returns where the counters begin. The tables below are used all the time, anywhere: those of the
 * first threads lie in a large page. */
static uint64_t *make_area(uint32_t number)
{
    bool large = number < LARGE_AREAS && vm_keeps_gs(&the_vm);
    size_t size = large ? VM_LARGE_PAGE : page_up(AREA_BYTES);
    uint8_t *area = memory_reserve(size + live.counters_limit, large ? size : VM_PAGE);
    if (!memory_commit(area, size))
        vm_die("no memory for a thread's area, bytes wanted", size);
    if (large)
        memory_prefer_large((uint64_t)area, size);
    return (uint64_t *)(void *)(area + size);
}

_Static_assert((int)AREA_BYTES <= (int)VM_LARGE_PAGE, "an area fits a large page");

void live_attach_thread(Thread *thread)
{
    ThreadOs *os = thread->os;
    if (live.counters_capacity == 0)
        live.counters_capacity = FIRST_CHUNK;
    if (thread->cpu.counter == NULL) {
        thread->cpu.counter = make_area(os->number);
        os->counters_mapped = 0;
        os->next_live = live.slots;
        live.slots = os;
    }
    extend_slot(os, live.counters_capacity);
}

/* Makes counters usable in every slot, `end` bytes of them. */
static void extend_counters(uint64_t end)
{
    while (end > live.counters_capacity) {
        uint64_t capacity =
            live.counters_capacity + next_step(live.counters_capacity, live.counters_copied);
        if (capacity > live.counters_limit)
            vm_die("too many counters in the profile, bytes used", live.counters_capacity);
        for (ThreadOs *os = live.slots; os != NULL; os = os->next_live)
            if (os->in_use)
                extend_slot(os, capacity);
        live.counters_capacity = capacity;
    }
}

uint32_t live_new_counters(uint32_t n)
{
    uint64_t first = live.n_counters;
    extend_counters((first + n) * sizeof(uint64_t));
    live.n_counters = first + n;
    if (live.in_file)
        __atomic_store_n(&live.header->n_counters, live.n_counters, __ATOMIC_RELEASE);
    return (uint32_t)first;
}

void live_prepare_change(uint32_t user)
{
    enum { AHEAD = 1 << 19 };
    if (!live.in_file)
        return;
    live_file_give(&live.file, user);
    for (int i = 0; i < N_RECORD_SERIES; i++) {
        Series *series = &live.series[i];
        uint64_t wanted = series->count * series->record_size + AHEAD;
        while (live.in_file && series->base != NULL && series->mapped < wanted)
            series_extend(series);
    }
    if (live.in_file)
        extend_counters(live.n_counters * sizeof(uint64_t) + AHEAD);
}

/* ---- records ------------------------------------------------------------------------------ */

/* The LiveMap of the mapping that holds `address`, made when it is first asked for. */
static uint32_t map_index(uint64_t address)
{
    CodeMap map;
    if (!map_find_code(address, &map))
        return LIVE_NO_MAP;
    if (map.live != LIVE_NO_MAP)
        return map.live;
    LiveMap record;
    memset(&record, 0, sizeof record);
    if (!map_describe(address, &record))
        return LIVE_NO_MAP;
    uint32_t index = series_add(series_of(LIVE_MAPS), &record, &live.header->n_maps);
    map_set_live(address, index);
    return index;
}

uint32_t live_add_block(const LiveBlock *block)
{
    LiveBlock record = *block;
    record.map = map_index(block->start);
    return series_add(series_of(LIVE_BLOCKS), &record, &live.header->n_blocks);
}

uint32_t live_add_edge(const LiveEdge *edge)
{
    LiveEdge record = *edge;
    record.map = map_index(edge->target);
    record.spare = 0;
    return series_add(series_of(LIVE_EDGES), &record, &live.header->n_edges);
}

void live_add_sum(LiveSum sum)
{
    series_add(series_of(LIVE_SUMS), &sum, &live.header->n_sums);
}

void live_text_room(uint64_t more)
{
    Series *series = series_of(LIVE_TEXTS);
    while ((series->count + more) * series->record_size > series->mapped)
        series_extend(series);
}

void live_add_text(const LiveText *text)
{
    series_add(series_of(LIVE_TEXTS), text, &live.header->n_texts);
}

LiveValue *live_add_value(const LiveValue *value)
{
    Series *series = series_of(LIVE_VALUES);
    LiveValue record = *value;
    record.map = map_index(value->pc);
    uint64_t index = series_add(series, &record, &live.header->n_values);
    return (LiveValue *)(void *)(series->base + index * series->record_size);
}

void live_values_full(void)
{
    live_mark(LIVE_VALUES_FULL, true);
}

/* The last quarter is for blocks that are executed for the first time: they must have counters. */
static bool is_short(uint64_t used, uint64_t limit)
{
    return used > limit / 4 * 3;
}

bool live_is_full(void)
{
    const Series *sums = series_of(LIVE_SUMS);
    return (live.header->flags & LIVE_STOPPED) != 0 ||
           is_short(live.n_counters * sizeof(uint64_t), live.counters_limit) ||
           is_short(sums->count * sums->record_size, sums->limit);
}

/* ---- fork --------------------------------------------------------------------------------- */

/*
 * The parent goes on writing into the file that both now have mapped. What this process's memory
 * says of it (counts, sizes) is private and cannot change; records below those counts do not
 * change.
 */
static void refile_series(Series *series)
{
    uint64_t used = series->count * series->record_size;
    if (series->mapped == 0)
        return;
    uint64_t unit = chunk_unit(series->record_size);
    uint64_t size = used == 0 ? unit : (used + unit - 1) / unit * unit;
    LiveChunk chunk = { .kind = series->kind, .offset = file_end(), .size = size };
    if (live.in_file && directory_has_room() &&
        live_file_allocate(&live.file, chunk.offset, chunk.size) &&
        live_file_write(&live.file, chunk.offset, series->base, used) &&
        live_file_map(&live.file, series->base, chunk.offset, chunk.size)) {
        series->mapped = series->in_file = series->copied = size;
        series->dropped = 0;
        directory_add(chunk);
        return;
    }
    if (live.in_file)
        stop_file();
    void *copy = memory_scratch(used);
    if (copy == NULL && used != 0)
        vm_die("no memory for records, bytes wanted", used);
    memcpy(copy, series->base, used);
    map_private(series->base, series->mapped);
    memcpy(series->base, copy, used);
    memory_scratch_free(copy, used);
    series->in_file = 0;
}

static void publish_counts(void)
{
    if (!live.in_file)
        return;
    live.header->n_maps = series_of(LIVE_MAPS)->count;
    live.header->n_blocks = series_of(LIVE_BLOCKS)->count;
    live.header->n_edges = series_of(LIVE_EDGES)->count;
    live.header->n_sums = series_of(LIVE_SUMS)->count;
    live.header->n_texts = series_of(LIVE_TEXTS)->count;
    live.header->n_values = series_of(LIVE_VALUES)->count;
    live.header->n_counters = live.n_counters;
}

void live_fork_child(Vm *vm, Thread *thread)
{
    char command[LIVE_PATH_MAX];
    memcpy(command, live.header->command, sizeof command);
    vm->options.is_child = true;
    bool was_filed = live.in_file;
    live.n_chunks = 0;
    live.in_file = was_filed && create_file();
    if (!live.in_file)
        map_private(live.header, LIVE_DATA_OFFSET);
    if (was_filed && !live.in_file)
        stop_file();
    for (int i = 0; i < N_RECORD_SERIES; i++)
        refile_series(&live.series[i]); /* what is no series has nothing mapped */
    for (ThreadOs *os = live.slots; os != NULL; os = os->next_live) {
        os->counters_mapped = 0;
        if (os != thread->os)
            map_private(os->thread->cpu.counter, live.counters_capacity);
    }
    live.counters_capacity = page_up(live.n_counters * sizeof(uint64_t));
    live.counters_copied = live.counters_capacity;
    extend_slot(thread->os, live.counters_capacity);
    publish_counts();
    fill_header(command);
}
