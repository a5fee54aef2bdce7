/*
 * profile_build.c: the records and counters of one process → blocks and edges of its modules.
 *
 *     LiveBlock (run-time addresses, may overlap)      ProfileBlock (link-time addresses, apart)
 *     its counters: taken 7, not taken 3          →    count 10, edges taken 7 and fall 3
 *
 * A run's count is the sum of its exit counters, so counts are as exact as the VM's edges. What is
 * a leader is observed: the targets of all counted transfers, from any module; not where the VM
 * happened to cut a run. A return is booked with the call that it comes back to whenever an
 * executed call ends at its target, whether or not the VM's prediction found it; so counts do not
 * depend on the depth of that prediction.
 *
 * All of it goes by address: edges come out nearly sorted, each page of a file is looked at once,
 * and what runs share is decoded once (core/profile_sizes.c).
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/profile_parts.h"
#include "core/sort.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A LiveBlock that was executed. */
typedef struct Found {
    uint64_t addr; /* in its module */
    uint32_t block;
} Found;

/* The end of an executed call, where its callee comes back to. */
typedef struct CallEnd {
    uint64_t end;
    uint64_t from; /* the call */
} CallEnd;

typedef struct BuildModule {
    const char *path;
    ImageKey key;
    uint32_t first; /* its place among the modules in the order in which they were found */
    Found *found;   /* sorted before anything is made of them */
    CallEnd *calls; /* sorted before indirect edges are read */
    uint64_t *leaders;
    ProfileEdge *edges;   /* that leave it */
    ProfileEdge *entries; /* from other modules and from generated code */
    Vaddr *read_pages;    /* in any order, with doubles */
    bool text_written;
    ProfileValue *values; /* in any order, a site more than once */
    bool foreign_code;    /* something was executed that the file does not hold */
    size_t n_found, found_cap, n_calls, calls_cap, n_leaders, leaders_cap, n_edges, edges_cap;
    size_t n_ordered; /* edges that came in the order of blocks, one behind the other nearly */
    size_t n_entries, entries_cap, n_pages, pages_cap, n_values, values_cap;
} BuildModule;

typedef struct BuildMap {
    MapSource source;
    uint32_t module; /* MODULE_NONE: generated code */
} BuildMap;

typedef struct Target {
    uint32_t module;
    uint64_t addr; /* in it; run-time when there is none */
} Target;

typedef struct Build {
    Arena *arena;
    Arena *scratch;
    const LiveData *live;
    const Images *images;
    BuildMap *maps;
    BuildModule *modules;
    size_t n_modules, modules_cap;
    const char **remarks;
    size_t n_remarks, remarks_cap;
    uint64_t outside_insns;
} Build;

static void add_remark(Build *build, const char *remark)
{
    for (size_t i = 0; i < build->n_remarks; i++)
        if (strcmp(build->remarks[i], remark) == 0)
            return;
    build->remarks = arena_grow(build->arena, build->remarks, &build->remarks_cap,
                                build->n_remarks + 1, sizeof *build->remarks);
    build->remarks[build->n_remarks++] = remark;
}

static uint32_t module_of_source(Build *build, const MapSource *source)
{
    bool keyless = profile_key_empty(&source->key);
    for (size_t i = 0; i < build->n_modules; i++) {
        const BuildModule *module = &build->modules[i];
        bool same = keyless
                        ? profile_key_empty(&module->key) && strcmp(module->path, source->path) == 0
                        : image_key_equal(&module->key, &source->key);
        if (same)
            return (uint32_t)i;
    }
    build->modules = arena_grow(build->scratch, build->modules, &build->modules_cap,
                                build->n_modules + 1, sizeof *build->modules);
    build->modules[build->n_modules] =
        (BuildModule){ .path = arena_string(build->arena, source->path), .key = source->key };
    return (uint32_t)build->n_modules++;
}

static int order_modules(const void *left, const void *right)
{
    const BuildModule *a = left;
    const BuildModule *b = right;
    return profile_module_order(a->path, &a->key, b->path, &b->key);
}

/* In the order of sums, of which most runs are one. */
static void sort_modules(Build *build)
{
    uint32_t *places = arena_many(build->scratch, uint32_t, build->n_modules);
    for (uint32_t i = 0; i < build->n_modules; i++)
        build->modules[i].first = i;
    if (build->n_modules > 1)
        qsort(build->modules, build->n_modules, sizeof *build->modules, order_modules);
    for (uint32_t i = 0; i < build->n_modules; i++)
        places[build->modules[i].first] = i;
    for (uint32_t i = 0; i < build->live->n_maps; i++)
        if (build->maps[i].module != MODULE_NONE)
            build->maps[i].module = places[build->maps[i].module];
}

static void find_modules(Build *build, Images *images)
{
    const LiveData *live = build->live;
    build->maps = arena_many(build->scratch, BuildMap, live->n_maps);
    for (uint32_t i = 0; i < live->n_maps; i++) {
        BuildMap *map = &build->maps[i];
        images_find(images, &live->maps[i], live->n_values > 0, &map->source);
        map->module = MODULE_NONE;
        if (map->source.path != NULL)
            map->module = module_of_source(build, &map->source);
        if (map->source.remark != NULL)
            add_remark(build, arena_string(build->arena, map->source.remark));
    }
    sort_modules(build);
}

/* ---- addresses ---------------------------------------------------------------------------- */

static Target in_map(const Build *build, uint32_t map, uint64_t address)
{
    if (map == LIVE_NO_MAP || build->maps[map].module == MODULE_NONE)
        return (Target){ MODULE_NONE, address };
    return (Target){ build->maps[map].module, address - build->maps[map].source.bias };
}

/* A direct branch from `map`: to the same mapping most often, else to the newest one there. */
static Target locate(const Build *build, uint32_t map, uint64_t address)
{
    const LiveMap *maps = build->live->maps;
    if (map != LIVE_NO_MAP && address >= maps[map].start && address < maps[map].end)
        return in_map(build, map, address);
    for (uint32_t i = build->live->n_maps; i-- > 0;)
        if (address >= maps[i].start && address < maps[i].end)
            return in_map(build, i, address);
    return (Target){ MODULE_NONE, address };
}

static BuildModule *module_at(const Build *build, uint32_t index)
{
    assert(build->modules != NULL && index < build->n_modules);
    return &build->modules[index];
}

/* ---- edges -------------------------------------------------------------------------------- */

static void add_leader(Build *build, Target target)
{
    if (target.module == MODULE_NONE)
        return;
    BuildModule *module = module_at(build, target.module);
    module->leaders = arena_grow(build->scratch, module->leaders, &module->leaders_cap,
                                 module->n_leaders + 1, sizeof *module->leaders);
    module->leaders[module->n_leaders++] = target.addr;
}

static void add_entry(Build *build, EdgeKind kind, Target target, uint64_t count)
{
    BuildModule *module = module_at(build, target.module);
    module->entries = arena_grow(build->scratch, module->entries, &module->entries_cap,
                                 module->n_entries + 1, sizeof *module->entries);
    module->entries[module->n_entries++] = (ProfileEdge){
        .from = VADDR_NONE,
        .to = vaddr(target.addr),
        .to_module = target.module,
        .kind = (uint8_t)kind,
        .count = count,
    };
}

/* Runs that end in the same branch come one after the other: it has two edges at most. */
static bool joins_last(BuildModule *module, const ProfileEdge *edge)
{
    enum { LAST = 2 };
    for (size_t i = module->n_edges; i > 0 && module->n_edges - i < LAST; i--) {
        ProfileEdge *last = &module->edges[i - 1];
        if (!vaddr_equal(last->from, edge->from))
            return false;
        if (profile_edge_order(last, edge) != 0)
            continue;
        last->count = count_add(last->count, edge->count);
        return true;
    }
    return false;
}

static void add_edge(Build *build, EdgeKind kind, Target from, Target to, uint64_t count)
{
    if (count > 0)
        add_leader(build, to);
    if (count > 0 && to.module != MODULE_NONE && to.module != from.module)
        add_entry(build, kind, to, count);
    if (from.module == MODULE_NONE)
        return;
    ProfileEdge edge = {
        .from = vaddr(from.addr),
        .to = vaddr(to.addr),
        .to_module = to.module,
        .kind = (uint8_t)kind,
        .count = count,
    };
    BuildModule *module = module_at(build, from.module);
    if (joins_last(module, &edge))
        return;
    module->edges = arena_grow(build->arena, module->edges, &module->edges_cap, module->n_edges + 1,
                               sizeof *module->edges);
    module->edges[module->n_edges++] = edge;
}

static void add_call(Build *build, Target from, Target end)
{
    if (from.module == MODULE_NONE)
        return;
    BuildModule *module = module_at(build, from.module);
    module->calls = arena_grow(build->scratch, module->calls, &module->calls_cap,
                               module->n_calls + 1, sizeof *module->calls);
    module->calls[module->n_calls++] = (CallEnd){ end.addr, from.addr };
}

static int order_calls(const void *left, const void *right)
{
    const CallEnd *a = left;
    const CallEnd *b = right;
    if (a->end != b->end)
        return a->end < b->end ? -1 : 1;
    return (a->from > b->from) - (a->from < b->from);
}

static uint64_t call_end(const void *call)
{
    return ((const CallEnd *)call)->end;
}

/* A call that ends at `addr`; NULL: none. */
static const CallEnd *call_ending(const BuildModule *module, uint64_t addr)
{
    size_t low = 0;
    size_t high = module->n_calls;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (module->calls[middle].end < addr)
            low = middle + 1;
        else
            high = middle;
    }
    return low < module->n_calls && module->calls[low].end == addr ? &module->calls[low] : NULL;
}

/* ---- runs --------------------------------------------------------------------------------- */

/* The edges that a run's own counters tell. */
static void add_run_edges(Build *build, const LiveBlock *block)
{
    uint64_t first = live_count(build->live, block->counter);
    uint64_t second = live_count(build->live, (uint64_t)block->counter + 1);
    Target last = in_map(build, block->map, block->start + block->last);
    Target end = in_map(build, block->map, block->start + block->size);
    switch ((LiveEnd)block->end) {
    case LIVE_END_COND:
        add_edge(build, EDGE_TAKEN, last, locate(build, block->map, block->target), first);
        add_edge(build, EDGE_FALL, last, end, second);
        break;
    case LIVE_END_JUMP:
        add_edge(build, EDGE_JUMP, last, locate(build, block->map, block->target), first);
        break;
    case LIVE_END_CALL:
    case LIVE_END_CALL_IND:
        if (block->end == LIVE_END_CALL && first > 0)
            add_edge(build, EDGE_CALL, last, locate(build, block->map, block->target), first);
        if (second > 0)
            add_edge(build, EDGE_RETURN_TO, last, end, second);
        add_call(build, last, end);
        break;
    case LIVE_END_SYSCALL:
        if (second > 0)
            add_edge(build, EDGE_SYSCALL, last, end, second);
        break;
    case LIVE_END_JUMP_IND:
    case LIVE_END_RET:
    case LIVE_END_FALL:
    case LIVE_END_PARTIAL:
        break;
    }
}

static int order_found(const void *left, const void *right)
{
    const Found *a = left;
    const Found *b = right;
    if (a->addr != b->addr)
        return a->addr < b->addr ? -1 : 1;
    return (a->block > b->block) - (a->block < b->block);
}

static uint64_t found_addr(const void *found)
{
    return ((const Found *)found)->addr;
}

/* Code in no module: its edges may lead into one. */
static void add_generated(Build *build, const LiveBlock *block, uint64_t count)
{
    uint64_t insns;
    if (__builtin_mul_overflow(count, (uint64_t)block->n_insns, &insns))
        build->outside_insns = UINT64_MAX;
    else
        build->outside_insns = count_add(build->outside_insns, insns);
    add_run_edges(build, block);
}

static void find_blocks(Build *build)
{
    const LiveData *live = build->live;
    for (uint32_t i = 0; i < live->n_blocks; i++) {
        const LiveBlock *block = &live->blocks[i];
        bool used;
        uint64_t count = live_run_count(live, block, &used);
        if (!used)
            continue;
        Target start = in_map(build, block->map, block->start);
        if (start.module == MODULE_NONE) {
            add_generated(build, block, count);
            continue;
        }
        BuildModule *module = module_at(build, start.module);
        module->found = arena_grow(build->scratch, module->found, &module->found_cap,
                                   module->n_found + 1, sizeof *module->found);
        module->found[module->n_found++] = (Found){ start.addr, i };
    }
}

static void read_blocks(Build *build)
{
    find_blocks(build);
    for (size_t i = 0; i < build->n_modules; i++) {
        BuildModule *module = &build->modules[i];
        sort_records(module->found, module->n_found, sizeof(Found), found_addr, order_found);
        for (size_t j = 0; j < module->n_found; j++)
            add_run_edges(build, &build->live->blocks[module->found[j].block]);
        module->n_ordered = module->n_edges;
        sort_records(module->calls, module->n_calls, sizeof(CallEnd), call_end, order_calls);
    }
}

/* Indirect branches: one record for each target seen. */
static void read_edges(Build *build)
{
    const LiveData *live = build->live;
    for (uint32_t i = 0; i < live->n_edges; i++) {
        const LiveEdge *edge = &live->edges[i];
        const LiveBlock *block = &live->blocks[edge->block];
        uint64_t count = live_count(live, edge->counter);
        if (count == 0)
            continue;
        Target from = in_map(build, block->map, block->start + block->last);
        Target to = edge->map != LIVE_NO_MAP ? in_map(build, edge->map, edge->target)
                                             : locate(build, LIVE_NO_MAP, edge->target);
        if (block->end == LIVE_END_JUMP_IND) {
            add_edge(build, EDGE_JUMP_IND, from, to, count);
        } else if (block->end == LIVE_END_CALL_IND) {
            add_edge(build, EDGE_CALL_IND, from, to, count);
        } else {
            const CallEnd *call =
                to.module != MODULE_NONE ? call_ending(module_at(build, to.module), to.addr) : NULL;
            if (call != NULL)
                add_edge(build, EDGE_RETURN_TO, (Target){ to.module, call->from }, to, count);
            else
                add_edge(build, EDGE_RET, from, to, count);
        }
    }
}

/* ---- text as data ------------------------------------------------------------------------- */

static void read_texts(Build *build)
{
    enum { PAGE = 4096 };
    for (uint32_t i = 0; i < build->live->n_texts; i++) {
        const LiveText *text = &build->live->texts[i];
        Target at = locate(build, text->map, text->address);
        if (at.module == MODULE_NONE)
            continue;
        BuildModule *module = module_at(build, at.module);
        if (text->kind == LIVE_TEXT_WRITTEN) {
            module->text_written = true;
            continue;
        }
        module->read_pages = arena_grow(build->arena, module->read_pages, &module->pages_cap,
                                        module->n_pages + 1, sizeof *module->read_pages);
        module->read_pages[module->n_pages++] = vaddr(at.addr & ~(uint64_t)(PAGE - 1));
    }
}

/* ---- values ------------------------------------------------------------------------------- */

/* False: of no interest. A call's argument is a length where the slot's function takes one. */
static bool value_kind(const Build *build, const LiveValue *from, uint8_t *out)
{
    static const uint8_t kinds[] = {
        [LIVE_VALUE_INDEX] = OBSERVED_INDEX,     [LIVE_VALUE_DIVISOR] = OBSERVED_DIVISOR,
        [LIVE_VALUE_SHIFT] = OBSERVED_SHIFT,     [LIVE_VALUE_REPEAT] = OBSERVED_REPEAT,
        [LIVE_VALUE_ARGUMENT] = OBSERVED_LENGTH, [LIVE_VALUE_STRIDE] = OBSERVED_STRIDE,
    };
    enum { HOT = 16 }; /* observations that make a loop worth telling of */
    *out = kinds[from->kind];
    if (from->kind == LIVE_VALUE_STRIDE && from->n < HOT)
        return false;
    if (from->kind != LIVE_VALUE_ARGUMENT)
        return true;
    const MapSource *source = from->map != LIVE_NO_MAP ? &build->maps[from->map].source : NULL;
    return source != NULL && source->image != NULL &&
           profile_takes_length(source->image, vaddr(from->slot - source->bias));
}

static ProfileValue value_of(Build *build, const LiveValue *from, uint64_t addr, uint8_t kind)
{
    ProfileValue value = { .at = vaddr(addr), .kind = kind, .n = from->n, .missed = from->missed };
    uint64_t sum = 0;
    uint32_t n_top = 0;
    for (uint32_t i = 0; i < LIVE_TOPS; i++)
        n_top += from->top[i].count != 0;
    value.top = arena_many(build->arena, ProfileTop, n_top);
    for (uint32_t i = 0; i < LIVE_TOPS; i++) {
        if (from->top[i].count == 0)
            continue;
        value.top[value.n_top++] = (ProfileTop){ from->top[i].value, from->top[i].count };
        sum = count_add(sum, from->top[i].count);
    }
    if (n_top > 1)
        qsort(value.top, n_top, sizeof *value.top, profile_top_order);
    if (value.n < sum) /* it was killed between two stores */
        value.n = sum;
    if (value.missed > value.n)
        value.missed = value.n;
    return value;
}

static void read_values(Build *build)
{
    for (uint32_t i = 0; i < build->live->n_values; i++) {
        const LiveValue *from = &build->live->values[i];
        Target at = locate(build, from->map, from->pc);
        uint8_t kind;
        if (at.module == MODULE_NONE || !value_kind(build, from, &kind))
            continue;
        BuildModule *module = module_at(build, at.module);
        module->values = arena_grow(build->arena, module->values, &module->values_cap,
                                    module->n_values + 1, sizeof *module->values);
        module->values[module->n_values++] = value_of(build, from, at.addr, kind);
    }
    if ((build->live->header.flags & LIVE_VALUES_FULL) != 0)
        add_remark(build, "more instructions than there is room for were to be observed: values of "
                          "those found late are not there");
}

/* ---- the result --------------------------------------------------------------------------- */

static Run run_of(Build *build, BuildModule *module, const Found *found, RunSizes *sizes)
{
    const LiveBlock *block = &build->live->blocks[found->block];
    const MapSource *source = &build->maps[block->map].source;
    bool used;
    Run run = { .start = found->addr,
                .size = block->size,
                .n_insns = block->n_insns,
                .last = block->last,
                .falls = block->end == LIVE_END_FALL,
                .ends = block->end < LIVE_END_FALL,
                .count = live_run_count(build->live, block, &used) };
    run.sizes = profile_run_sizes(sizes, source, &run);
    if (run.sizes == NULL && source->image != NULL && !module->foreign_code) {
        module->foreign_code = true;
        add_remark(build, arena_printf(build->arena,
                                       "%s: code was executed that its file does not hold: sizes "
                                       "of instructions there are not known",
                                       module->path));
    }
    return run;
}

static void weave_module(Build *build, BuildModule *from, Woven *out)
{
    enum { DROP_AFTER = 4096 }; /* blocks: their code is all over the file */
    RunSizes sizes = { .arena = arena_new() };
    Run *runs = arena_many(sizes.arena, Run, from->n_found);
    for (size_t i = 0; i < from->n_found; i++) {
        runs[i] = run_of(build, from, &from->found[i], &sizes);
        if (i % DROP_AFTER == DROP_AFTER - 1)
            images_drop_pages(build->images);
    }
    profile_weave(build->arena, runs, from->n_found, from->leaders, from->n_leaders, true, out);
    arena_free(sizes.arena);
}

static ProfileModule finish_module(Build *build, BuildModule *from, uint32_t index)
{
    ProfileModule module = { .path = from->path, .key = from->key };
    Woven woven;
    weave_module(build, from, &woven);
    module.blocks = woven.blocks;
    module.n_blocks = woven.n_blocks;
    ProfileEdge *edges = arena_grow(build->arena, from->edges, &from->edges_cap,
                                    from->n_edges + woven.n_falls, sizeof *edges);
    for (size_t i = 0; i < woven.n_falls; i++) {
        edges[from->n_edges + i] = woven.falls[i];
        edges[from->n_edges + i].to_module = index;
    }
    module.text_written = from->text_written;
    module.read_pages = from->read_pages;
    module.n_read_pages = profile_sort_pages(from->read_pages, (uint32_t)from->n_pages);
    module.values = from->values;
    module.n_values = profile_sum_values(build->arena, from->values, (uint32_t)from->n_values);
    module.edges = edges;
    module.n_edges = profile_join_edges(edges, (uint32_t)from->n_ordered,
                                        (uint32_t)(from->n_edges + woven.n_falls));
    module.entries =
        arena_copy(build->arena, from->n_entries > 0 ? from->entries : &(ProfileEdge){ 0 },
                   from->n_entries * sizeof *from->entries);
    module.n_entries = profile_sum_entries(module.entries, (uint32_t)from->n_entries);
    return module;
}

Status profile_build(Arena *arena, const LiveData *live, Images *images, const Profile **out,
                     Error *err)
{
    Build build = { .arena = arena, .scratch = arena_new(), .live = live, .images = images };
    bool sampled = (live->header.flags & LIVE_SAMPLED) != 0;
    if (sampled)
        build.live = profile_scale_samples(build.scratch, live);
    find_modules(&build, images);
    read_blocks(&build);
    read_edges(&build);
    read_texts(&build);
    read_values(&build);
    Profile *profile = arena_one(arena, Profile);
    *profile = (Profile){
        .path = live->path,
        .command = arena_string(arena, live->header.command),
        .n_processes = 1,
        .run = live->header.run,
        .complete = (live->header.flags & LIVE_ENDED) != 0,
        .counting_stopped = (live->header.flags & LIVE_STOPPED) != 0,
        .detached = (live->header.flags & LIVE_DETACHED) != 0,
        .sampled = sampled,
        .bursts = sampled ? profile_bursts(&live->header) : (ProfileBursts){ 0 },
        .outside_insns = build.outside_insns,
        .n_modules = (uint32_t)build.n_modules,
        .modules = arena_many(arena, ProfileModule, build.n_modules),
    };
    for (uint32_t i = 0; i < profile->n_modules; i++)
        profile->modules[i] = finish_module(&build, &build.modules[i], i);
    profile->remarks = build.remarks;
    profile->n_remarks = (uint32_t)build.n_remarks;
    arena_free(build.scratch);
    *out = profile;
    return profile_check(profile, live->path, err);
}
