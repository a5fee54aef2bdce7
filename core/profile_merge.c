/*
 * profile_merge.c: the sum of profiles.
 *
 *     A: |a b c d| 5       B: |a b| 2 |c d| 3       A + B: |a b| 7 |c d| 8, a-b falls 5 + …
 *
 * The leaders of the sum are the leaders, and the ends of blocks, of all its parts; nothing depends
 * on the counts or on the order of the parts, so sums of sums are sums: (A + B) + C = A + (B + C).
 * Modules come out sorted by path and key.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/profile_parts.h"
#include "core/sort.h"

#include <stdlib.h>
#include <string.h>

/* A module of the sum, and which modules of the parts it is the sum of. */
typedef struct MergeModule {
    const char *path; /* the first in order, when parts call it differently */
    ImageKey key;
    uint32_t index; /* in the result */
    const ProfileModule **parts;
    const uint32_t **numbers; /* of each part's profile: its module → MergeModule */
    size_t n_parts, parts_cap, numbers_cap;
} MergeModule;

typedef struct Merge {
    Arena *arena;
    Arena *scratch;
    MergeModule *modules;
    size_t n_modules, modules_cap;
} Merge;

static uint64_t edge_from(const void *edge)
{
    return ((const ProfileEdge *)edge)->from.v;
}

static uint64_t edge_to(const void *edge)
{
    return ((const ProfileEdge *)edge)->to.v;
}

static uint32_t sum_sorted(ProfileEdge *edges, uint32_t n, SortKey *key, SortOrder *order)
{
    if (n == 0)
        return 0;
    sort_records(edges, n, sizeof *edges, key, order);
    uint32_t kept = 0;
    for (uint32_t i = 1; i < n; i++) {
        if (order(&edges[kept], &edges[i]) == 0)
            edges[kept].count = count_add(edges[kept].count, edges[i].count);
        else
            edges[++kept] = edges[i];
    }
    return kept + 1;
}

uint32_t profile_sum_edges(ProfileEdge *edges, uint32_t n)
{
    return sum_sorted(edges, n, edge_from, profile_edge_order);
}

uint32_t profile_join_edges(ProfileEdge *edges, uint32_t n_first, uint32_t n)
{
    sort_records(edges, n_first, sizeof *edges, edge_from, profile_edge_order);
    if (n > n_first)
        sort_records(edges + n_first, n - n_first, sizeof *edges, edge_from, profile_edge_order);
    sort_join(edges, n_first, n, sizeof *edges, profile_edge_order);
    return profile_sum_edges(edges, n);
}

uint32_t profile_sum_entries(ProfileEdge *entries, uint32_t n)
{
    return sum_sorted(entries, n, edge_to, profile_entry_order);
}

static bool same_module(const MergeModule *into, const ProfileModule *module)
{
    if (profile_key_empty(&into->key) || profile_key_empty(&module->key))
        return profile_key_empty(&into->key) && profile_key_empty(&module->key) &&
               strcmp(into->path, module->path) == 0;
    return image_key_equal(&into->key, &module->key);
}

static uint32_t find_module(Merge *merge, const ProfileModule *module)
{
    for (size_t i = 0; i < merge->n_modules; i++)
        if (same_module(&merge->modules[i], module))
            return (uint32_t)i;
    merge->modules = arena_grow(merge->scratch, merge->modules, &merge->modules_cap,
                                merge->n_modules + 1, sizeof *merge->modules);
    merge->modules[merge->n_modules] = (MergeModule){ .path = module->path, .key = module->key };
    return (uint32_t)merge->n_modules++;
}

/* Modules that nothing is known of but their name stay out unless an edge names them. */
static bool *modules_that_matter(Arena *scratch, const Profile *profile)
{
    bool *matter = arena_many(scratch, bool, profile->n_modules);
    for (uint32_t i = 0; i < profile->n_modules; i++) {
        const ProfileModule *module = &profile->modules[i];
        if (module->n_blocks + module->n_entries + module->n_read_pages + module->n_values > 0 ||
            module->text_written)
            matter[i] = true;
        for (uint32_t j = 0; j < module->n_edges; j++)
            if (module->edges[j].to_module != MODULE_NONE)
                matter[module->edges[j].to_module] = true;
    }
    return matter;
}

static void add_profile(Merge *merge, const Profile *profile)
{
    const bool *matter = modules_that_matter(merge->scratch, profile);
    uint32_t *numbers = arena_many(merge->scratch, uint32_t, profile->n_modules);
    for (uint32_t i = 0; i < profile->n_modules; i++) {
        const ProfileModule *module = &profile->modules[i];
        if (!matter[i])
            continue;
        numbers[i] = find_module(merge, module);
        MergeModule *into = &merge->modules[numbers[i]];
        if (strcmp(module->path, into->path) < 0)
            into->path = module->path;
        into->parts = arena_grow(merge->scratch, into->parts, &into->parts_cap, into->n_parts + 1,
                                 sizeof(const ProfileModule *));
        into->numbers = arena_grow(merge->scratch, into->numbers, &into->numbers_cap,
                                   into->n_parts + 1, sizeof *into->numbers);
        into->numbers[into->n_parts] = numbers;
        into->parts[into->n_parts++] = module;
    }
}

int profile_module_order(const char *path, const ImageKey *key, const char *other_path,
                         const ImageKey *other_key)
{
    int order = strcmp(path, other_path);
    if (order == 0)
        order = memcmp(key->text_hash, other_key->text_hash, sizeof key->text_hash);
    if (order == 0)
        order = memcmp(key->build_id, other_key->build_id, sizeof key->build_id);
    return order;
}

static int order_modules(const void *left, const void *right)
{
    const MergeModule *a = *(const MergeModule *const *)left;
    const MergeModule *b = *(const MergeModule *const *)right;
    return profile_module_order(a->path, &a->key, b->path, &b->key);
}

/* Blocks would come out of a sum of them alone as they are. `n_sizes`: of instructions in them. */
static bool blocks_stay(const ProfileModule *part, size_t *n_sizes)
{
    *n_sizes = 0;
    for (uint32_t i = 0; i < part->n_blocks; i++) {
        const ProfileBlock *block = &part->blocks[i];
        uint32_t size = 0;
        for (uint32_t j = 0; block->insn_sizes != NULL && j < block->n_insns; j++)
            size += block->insn_sizes[j];
        bool meets = i + 1 < part->n_blocks && block[1].start.v == block->start.v + block->size;
        bool known = block->insn_sizes != NULL;
        if (known ? size != block->size && !(meets && size > block->size)
                  : block->n_insns < (block->size + INSN_SIZE_MAX - 1) / INSN_SIZE_MAX)
            return false;
        *n_sizes += known ? block->n_insns : 0;
    }
    return true;
}

/* What most modules of a run with many children are: of one part. False: they would not be the
 * same. */
static bool copy_blocks(Arena *arena, const ProfileModule *part, Woven *out)
{
    size_t n_sizes;
    if (!blocks_stay(part, &n_sizes))
        return false;
    uint8_t *sizes = arena_many(arena, uint8_t, n_sizes);
    *out = (Woven){ .blocks = arena_many(arena, ProfileBlock, part->n_blocks),
                    .n_blocks = part->n_blocks };
    for (uint32_t i = 0; i < part->n_blocks; i++) {
        out->blocks[i] = part->blocks[i];
        if (part->blocks[i].insn_sizes == NULL)
            continue;
        out->blocks[i].insn_sizes = sizes;
        memcpy(sizes, part->blocks[i].insn_sizes, part->blocks[i].n_insns);
        sizes += part->blocks[i].n_insns;
    }
    return true;
}

static void merge_blocks(const Merge *merge, const MergeModule *from, Woven *out)
{
    size_t n = 0;
    if (from->n_parts == 1 && copy_blocks(merge->arena, from->parts[0], out))
        return;
    Arena *scratch = arena_new();
    for (size_t i = 0; i < from->n_parts; i++)
        n += from->parts[i]->n_blocks;
    Run *runs = arena_many(scratch, Run, n);
    uint64_t *leaders = arena_many(scratch, uint64_t, 2 * n);
    n = 0;
    for (size_t i = 0; i < from->n_parts; i++) {
        for (uint32_t j = 0; j < from->parts[i]->n_blocks; j++, n++) {
            const ProfileBlock *block = &from->parts[i]->blocks[j];
            runs[n] = (Run){ .start = block->start.v,
                             .size = block->size,
                             .n_insns = block->n_insns,
                             .sizes = block->insn_sizes,
                             .count = block->count };
            leaders[2 * n] = block->start.v;
            leaders[2 * n + 1] = block->start.v + block->size;
        }
    }
    profile_weave(merge->arena, runs, n, leaders, 2 * n, false, out);
    arena_free(scratch);
}

/* Copies `n` edges to `out`, their modules renumbered. */
static void renumber(const Merge *merge, const uint32_t *numbers, const ProfileEdge *edges,
                     uint32_t n, ProfileEdge *out)
{
    for (uint32_t i = 0; i < n; i++) {
        out[i] = edges[i];
        if (edges[i].to_module != MODULE_NONE)
            out[i].to_module = merge->modules[numbers[edges[i].to_module]].index;
    }
}

/* The block that ends at `end`; NULL: none. */
static const ProfileBlock *block_ending(const Woven *woven, uint64_t end)
{
    uint32_t low = 0;
    uint32_t high = woven->n_blocks;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (woven->blocks[middle].start.v < end)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return NULL;
    const ProfileBlock *block = &woven->blocks[low - 1];
    return block->start.v + block->size == end ? block : NULL;
}

/* Where a block without sizes falls into the next one, the edge leaves from its start: nobody knows
 * its last instruction. Another part may have split it since: then it is the last piece that
 * falls. */
static void rehome_falls(const Woven *woven, uint32_t module, ProfileEdge *edges, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (edges[i].kind != EDGE_FALL || edges[i].to_module != module)
            continue;
        const ProfileBlock *block = block_ending(woven, edges[i].to.v);
        if (block != NULL && block->insn_sizes == NULL && block->start.v > edges[i].from.v)
            edges[i].from = block->start;
    }
}

static void merge_edges(const Merge *merge, const MergeModule *from, const Woven *woven,
                        ProfileModule *out)
{
    size_t n = woven->n_falls;
    size_t n_entries = 0;
    for (size_t i = 0; i < from->n_parts; i++) {
        n += from->parts[i]->n_edges;
        n_entries += from->parts[i]->n_entries;
    }
    out->edges = arena_many(merge->arena, ProfileEdge, n);
    out->entries = arena_many(merge->arena, ProfileEdge, n_entries);
    for (uint32_t i = 0; i < woven->n_falls; i++) {
        out->edges[i] = woven->falls[i];
        out->edges[i].to_module = from->index;
    }
    n = woven->n_falls;
    n_entries = 0;
    for (size_t i = 0; i < from->n_parts; i++) {
        const ProfileModule *part = from->parts[i];
        renumber(merge, from->numbers[i], part->edges, part->n_edges, out->edges + n);
        renumber(merge, from->numbers[i], part->entries, part->n_entries, out->entries + n_entries);
        n += part->n_edges;
        n_entries += part->n_entries;
    }
    rehome_falls(woven, from->index, out->edges, n);
    out->n_edges = profile_sum_edges(out->edges, (uint32_t)n);
    out->n_entries = profile_sum_entries(out->entries, (uint32_t)n_entries);
}

static int order_pages(const void *left, const void *right)
{
    const Vaddr *a = left;
    const Vaddr *b = right;
    return (a->v > b->v) - (a->v < b->v);
}

uint32_t profile_sort_pages(Vaddr *pages, uint32_t n)
{
    uint32_t kept = 0;
    if (n > 1)
        qsort(pages, n, sizeof *pages, order_pages);
    for (uint32_t i = 0; i < n; i++)
        if (i == 0 || pages[i].v != pages[kept - 1].v)
            pages[kept++] = pages[i];
    return kept;
}

static void merge_pages(const Merge *merge, const MergeModule *from, ProfileModule *out)
{
    size_t n = 0;
    for (size_t i = 0; i < from->n_parts; i++) {
        n += from->parts[i]->n_read_pages;
        out->text_written = out->text_written || from->parts[i]->text_written;
    }
    out->read_pages = arena_many(merge->arena, Vaddr, n);
    if (n == 0)
        return;
    n = 0;
    for (size_t i = 0; i < from->n_parts; i++)
        for (uint32_t j = 0; j < from->parts[i]->n_read_pages; j++)
            out->read_pages[n++] = from->parts[i]->read_pages[j];
    out->n_read_pages = profile_sort_pages(out->read_pages, (uint32_t)n);
}

static void merge_values(const Merge *merge, const MergeModule *from, ProfileModule *out)
{
    size_t n = 0;
    for (size_t i = 0; i < from->n_parts; i++)
        n += from->parts[i]->n_values;
    out->values = arena_many(merge->arena, ProfileValue, n);
    n = 0;
    for (size_t i = 0; i < from->n_parts; i++)
        for (uint32_t j = 0; j < from->parts[i]->n_values; j++)
            out->values[n++] = from->parts[i]->values[j];
    out->n_values = profile_sum_values(merge->arena, out->values, (uint32_t)n);
}

static void merge_modules(Merge *merge, Profile *out)
{
    MergeModule **sorted = arena_many(merge->scratch, MergeModule *, merge->n_modules);
    for (size_t i = 0; i < merge->n_modules; i++)
        sorted[i] = &merge->modules[i];
    if (merge->n_modules > 1)
        qsort(sorted, merge->n_modules, sizeof(MergeModule *), order_modules);
    for (size_t i = 0; i < merge->n_modules; i++)
        sorted[i]->index = (uint32_t)i;
    out->n_modules = (uint32_t)merge->n_modules;
    out->modules = arena_many(merge->arena, ProfileModule, merge->n_modules);
    for (size_t i = 0; i < merge->n_modules; i++) {
        ProfileModule *module = &out->modules[i];
        Woven woven;
        *module = (ProfileModule){ .path = arena_string(merge->arena, sorted[i]->path),
                                   .key = sorted[i]->key };
        merge_blocks(merge, sorted[i], &woven);
        module->blocks = woven.blocks;
        module->n_blocks = woven.n_blocks;
        merge_edges(merge, sorted[i], &woven, module);
        merge_pages(merge, sorted[i], module);
        merge_values(merge, sorted[i], module);
    }
}

static void merge_bursts(const ProfileBursts *part, ProfileBursts *out)
{
    out->moments = count_add(out->moments, part->moments);
    out->taken = count_add(out->taken, part->taken);
    out->time_ns = count_add(out->time_ns, part->time_ns);
    out->spent_ns = count_add(out->spent_ns, part->spent_ns);
}

/* What is said of the run as a whole. Of commands the first in order is kept. */
static void merge_facts(const Profile *part, bool first, Profile *out)
{
    if (part->command[0] != '\0' &&
        (out->command[0] == '\0' || strcmp(part->command, out->command) < 0))
        out->command = part->command;
    out->n_processes = part->n_processes > UINT32_MAX - out->n_processes
                           ? UINT32_MAX
                           : out->n_processes + part->n_processes;
    out->run = first || out->run == part->run ? part->run : 0;
    out->complete = out->complete && part->complete;
    out->counting_stopped = out->counting_stopped || part->counting_stopped;
    out->sampled = out->sampled || part->sampled;
    out->detached = out->detached || part->detached;
    merge_bursts(&part->bursts, &out->bursts);
    out->outside_insns = count_add(out->outside_insns, part->outside_insns);
}

static int order_strings(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

static void merge_remarks(Arena *arena, const Profile *const *profiles, uint32_t n, Profile *out)
{
    size_t total = 0;
    for (uint32_t i = 0; i < n; i++)
        total += profiles[i]->n_remarks;
    const char **remarks = arena_many(arena, const char *, total);
    out->remarks = remarks;
    if (total == 0)
        return;
    total = 0;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < profiles[i]->n_remarks; j++)
            remarks[total++] = profiles[i]->remarks[j];
    qsort(remarks, total, sizeof *remarks, order_strings);
    for (size_t i = 0; i < total; i++)
        if (i == 0 || strcmp(remarks[i], remarks[out->n_remarks - 1]) != 0)
            remarks[out->n_remarks++] = arena_string(arena, remarks[i]);
}

Status profile_merge(Arena *arena, const Profile *const *profiles, uint32_t n, const Profile **out,
                     Error *err)
{
    Merge merge = { .arena = arena, .scratch = arena_new() };
    Profile *sum = arena_one(arena, Profile);
    *sum = (Profile){ .path = arena_string(arena, n > 0 ? profiles[0]->path : ""),
                      .command = "",
                      .complete = true };
    for (uint32_t i = 0; i < n; i++) {
        add_profile(&merge, profiles[i]);
        merge_facts(profiles[i], i == 0, sum);
    }
    sum->command = arena_string(arena, sum->command);
    merge_remarks(arena, profiles, n, sum);
    merge_modules(&merge, sum);
    arena_free(merge.scratch);
    *out = sum;
    return profile_check(sum, sum->path, err);
}

static bool blocks_have_sizes(const ProfileModule *module)
{
    for (uint32_t i = 0; i < module->n_blocks; i++)
        if (module->blocks[i].insn_sizes == NULL)
            return false;
    return true;
}

bool profile_is_sum(const Profile *profile)
{
    Arena *scratch = arena_new();
    const bool *matter = modules_that_matter(scratch, profile);
    bool is_sum = true;
    for (uint32_t i = 0; i < profile->n_modules && is_sum; i++) {
        const ProfileModule *module = &profile->modules[i];
        size_t n_sizes;
        is_sum = matter[i] && blocks_have_sizes(module) && blocks_stay(module, &n_sizes) &&
                 (i == 0 || profile_module_order(module[-1].path, &module[-1].key, module->path,
                                                 &module->key) < 0);
    }
    for (uint32_t i = 1; i < profile->n_remarks && is_sum; i++)
        is_sum = strcmp(profile->remarks[i - 1], profile->remarks[i]) < 0;
    arena_free(scratch);
    return is_sum;
}

static uint64_t times(uint64_t count, uint64_t factor)
{
    uint64_t product;
    return __builtin_mul_overflow(count, factor, &product) ? UINT64_MAX : product;
}

static ProfileEdge *scale_edges(Arena *arena, const ProfileEdge *edges, uint32_t n, uint64_t factor)
{
    ProfileEdge *scaled = arena_many(arena, ProfileEdge, n);
    for (uint32_t i = 0; i < n; i++) {
        scaled[i] = edges[i];
        scaled[i].count = times(edges[i].count, factor);
    }
    return scaled;
}

const Profile *profile_scale(Arena *arena, const Profile *profile, uint64_t factor)
{
    Profile *out = arena_copy(arena, profile, sizeof *profile);
    out->outside_insns = times(profile->outside_insns, factor);
    out->modules = arena_many(arena, ProfileModule, profile->n_modules);
    for (uint32_t i = 0; i < profile->n_modules; i++) {
        const ProfileModule *from = &profile->modules[i];
        ProfileModule *into = &out->modules[i];
        *into = *from;
        into->blocks = arena_many(arena, ProfileBlock, from->n_blocks);
        for (uint32_t j = 0; j < from->n_blocks; j++) {
            into->blocks[j] = from->blocks[j];
            into->blocks[j].count = times(from->blocks[j].count, factor);
        }
        into->edges = scale_edges(arena, from->edges, from->n_edges, factor);
        into->entries = scale_edges(arena, from->entries, from->n_entries, factor);
    }
    return out;
}
