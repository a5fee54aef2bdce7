/*
 * profile_digest.c: 128 bits that say whether two profiles hold the same counts.
 *
 *     module = key, 128-bit sum of the hashes of its records      digest = hash of the sorted
 * modules
 *
 * Equal executions give equal digests, whoever counted them and wherever. So nothing goes in that
 * differs between two such runs: no path (a module is its key), no number of a module (it follows
 * from the paths), no run-time address (ASLR moves generated code: edges into it are one edge for
 * each instruction and kind), no process, run or command. Records are summed, so their order is
 * none either.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/profile_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

typedef struct Sum {
    uint64_t low, high;
} Sum;

/* One module: who it is, and what was counted in it. */
typedef struct ModuleSum {
    Sum key;
    Sum records;
} ModuleSum;

typedef enum RecordKind { RECORD_BLOCK, RECORD_EDGE, RECORD_OUTSIDE, RECORD_ENTRY } RecordKind;

static Sum hash_of(const void *data, size_t size)
{
    XXH128_hash_t hash = XXH3_128bits(data, size);
    return (Sum){ hash.low64, hash.high64 };
}

static void add_words(Sum *sum, const uint64_t *words, size_t size)
{
    Sum hash = hash_of(words, size);
    sum->low += hash.low;
    sum->high += hash.high + (sum->low < hash.low);
}

/* [vdso] and files that are gone have no key: all of them are one. */
static Sum key_sum(const ImageKey *key)
{
    uint64_t words[2 + sizeof key->build_id / sizeof(uint64_t)] = { key->text_hash[0],
                                                                    key->text_hash[1] };
    memcpy(words + 2, key->build_id, key->build_id_len);
    return hash_of(words, sizeof words);
}

static bool same_but_for_target(const ProfileEdge *left, const ProfileEdge *right)
{
    return left->from.v == right->from.v && left->kind == right->kind &&
           left->to_module == right->to_module;
}

static void add_edges(Sum *sum, const ProfileModule *module, const ModuleSum *modules)
{
    for (uint32_t i = 0; i < module->n_edges; i++) {
        const ProfileEdge *edge = &module->edges[i];
        if (edge->to_module != MODULE_NONE) {
            Sum to = modules[edge->to_module].key;
            uint64_t words[] = { RECORD_EDGE, edge->from.v, edge->kind, to.low,
                                 to.high,     edge->to.v,   edge->count };
            add_words(sum, words, sizeof words);
            continue;
        }
        uint64_t count = edge->count; /* edges are sorted: those that leave the modules together */
        for (; i + 1 < module->n_edges && same_but_for_target(edge, &module->edges[i + 1]); i++)
            count = count_add(count, module->edges[i + 1].count);
        uint64_t words[] = { RECORD_OUTSIDE, edge->from.v, edge->kind, count };
        add_words(sum, words, sizeof words);
    }
}

static void add_module(ModuleSum *into, const ProfileModule *module, const ModuleSum *modules)
{
    for (uint32_t i = 0; i < module->n_blocks; i++) {
        const ProfileBlock *block = &module->blocks[i];
        uint64_t words[] = { RECORD_BLOCK, block->start.v, block->size, block->n_insns,
                             block->count };
        add_words(&into->records, words, sizeof words);
    }
    add_edges(&into->records, module, modules);
    for (uint32_t i = 0; i < module->n_entries; i++) {
        const ProfileEdge *entry = &module->entries[i];
        uint64_t words[] = { RECORD_ENTRY, entry->kind, entry->to.v, entry->count };
        add_words(&into->records, words, sizeof words);
    }
}

/* A module that was mapped and not executed says nothing. */
static bool has_records(const ProfileModule *module)
{
    return module->n_blocks + module->n_edges + module->n_entries > 0;
}

static int order_sums(const void *left, const void *right)
{
    return memcmp(left, right, sizeof(ModuleSum));
}

void profile_digest(const Profile *profile, char out[33])
{
    Arena *scratch = arena_new();
    ModuleSum *modules = arena_many(scratch, ModuleSum, profile->n_modules + 1);
    for (uint32_t i = 0; i < profile->n_modules; i++)
        modules[i].key = key_sum(&profile->modules[i].key);
    for (uint32_t i = 0; i < profile->n_modules; i++)
        add_module(&modules[i], &profile->modules[i], modules);
    uint32_t n = 0;
    for (uint32_t i = 0; i < profile->n_modules; i++)
        if (has_records(&profile->modules[i]))
            modules[n++] = modules[i];
    modules[n++] = (ModuleSum){ .records = { profile->outside_insns, 0 } };
    qsort(modules, n, sizeof *modules, order_sums);
    Sum sum = hash_of(modules, n * sizeof *modules);
    arena_free(scratch);
    snprintf(out, 33, "%016" PRIx64 "%016" PRIx64, sum.high, sum.low);
}
