/*
 * profile_check.c: the invariants of profile.h, held against what a reader made.
 *
 * Whatever form a profile was read from, the rest of the program may rely on: blocks sorted and
 * apart, edges sorted and leaving executed blocks, every index inside its table.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/profile_parts.h"

#include <string.h>

static int compare_u64(uint64_t left, uint64_t right)
{
    return (left > right) - (left < right);
}

int profile_edge_order(const void *left, const void *right)
{
    const ProfileEdge *a = left;
    const ProfileEdge *b = right;
    int order = compare_u64(a->from.v, b->from.v);
    if (order == 0)
        order = compare_u64(a->kind, b->kind);
    if (order == 0)
        order = compare_u64(a->to_module, b->to_module);
    return order != 0 ? order : compare_u64(a->to.v, b->to.v);
}

int profile_entry_order(const void *left, const void *right)
{
    const ProfileEdge *a = left;
    const ProfileEdge *b = right;
    int order = compare_u64(a->to.v, b->to.v);
    return order != 0 ? order : compare_u64(a->kind, b->kind);
}

static Place at_module(const char *file, const ProfileModule *module)
{
    return (Place){ file, module->path, PLACE_NO_OFFSET };
}

/* Nothing to be said against the sizes of its instructions: all but the last end inside it. */
static bool sizes_fit(const ProfileBlock *block)
{
    uint64_t sum = 0;
    bool odd = false;
    uint8_t size = 0;
    for (uint32_t i = 0; i < block->n_insns; i++) {
        size = block->insn_sizes[i];
        odd = odd || size == 0 || size > INSN_SIZE_MAX;
        sum += size;
    }
    return !odd && sum >= block->size && sum - size < block->size;
}

static Status check_sizes(const char *file, const ProfileModule *module, const ProfileBlock *block,
                          Error *err)
{
    uint64_t sum = 0;
    if (sizes_fit(block))
        return ST_OK;
    for (uint32_t i = 0; i < block->n_insns; i++) {
        uint8_t size = block->insn_sizes[i];
        if (size == 0 || size > INSN_SIZE_MAX)
            return FAIL(err, ST_BAD_INPUT, at_module(file, module),
                        "block 0x%" PRIx64 ": instruction of %u bytes (1 to %d)", block->start.v,
                        size, INSN_SIZE_MAX);
        if (sum >= block->size)
            return FAIL(err, ST_BAD_INPUT, at_module(file, module),
                        "block 0x%" PRIx64 ": instructions do not fit its %u bytes", block->start.v,
                        block->size);
        sum += size;
    }
    if (sum < block->size)
        return FAIL(err, ST_BAD_INPUT, at_module(file, module),
                    "block 0x%" PRIx64 ": instructions of %" PRIu64 " bytes in all (%u)",
                    block->start.v, sum, block->size);
    return ST_OK;
}

static Status check_blocks(const char *file, const ProfileModule *module, Error *err)
{
    uint64_t end = 0;
    for (uint32_t i = 0; i < module->n_blocks; i++) {
        const ProfileBlock *block = &module->blocks[i];
        if (block->size == 0 || block->start.v > UINT64_MAX - block->size)
            return FAIL(err, ST_BAD_INPUT, at_module(file, module), "block 0x%" PRIx64 ": %u bytes",
                        block->start.v, block->size);
        if (block->n_insns == 0 || block->n_insns > block->size)
            return FAIL(err, ST_BAD_INPUT, at_module(file, module),
                        "block 0x%" PRIx64 ": %u instructions in %u bytes", block->start.v,
                        block->n_insns, block->size);
        if (i > 0 && block->start.v < end)
            return FAIL(err, ST_BAD_INPUT, at_module(file, module),
                        "block 0x%" PRIx64 " begins before 0x%" PRIx64
                        ", the end of the one before it",
                        block->start.v, end);
        if (block->insn_sizes != NULL)
            TRY(check_sizes(file, module, block, err));
        end = block->start.v + block->size;
    }
    return ST_OK;
}

static Status check_target(const char *file, const Profile *profile, const ProfileModule *module,
                           const ProfileEdge *edge, Error *err)
{
    if (edge->kind >= EDGE_KINDS)
        return FAIL(err, ST_BAD_INPUT, at_module(file, module),
                    "edge from 0x%" PRIx64 ": kind %u (below %d)", edge->from.v, edge->kind,
                    EDGE_KINDS);
    if (edge->to_module >= profile->n_modules && edge->to_module != MODULE_NONE)
        return FAIL(err, ST_BAD_INPUT, at_module(file, module),
                    "edge from 0x%" PRIx64 ": to module %u (of %u)", edge->from.v, edge->to_module,
                    profile->n_modules);
    return ST_OK;
}

/* Edges leave blocks: both are sorted, so one walk finds each edge's block. */
static Status check_edges(const char *file, const Profile *profile, const ProfileModule *module,
                          Error *err)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < module->n_edges; i++) {
        const ProfileEdge *edge = &module->edges[i];
        TRY(check_target(file, profile, module, edge, err));
        if (i > 0 && profile_edge_order(edge - 1, edge) >= 0)
            return FAIL(err, ST_BAD_INPUT, at_module(file, module),
                        "edge from 0x%" PRIx64 " is out of order or there twice", edge->from.v);
        while (at < module->n_blocks &&
               edge->from.v >= module->blocks[at].start.v + module->blocks[at].size)
            at++;
        if (at == module->n_blocks || edge->from.v < module->blocks[at].start.v)
            return FAIL(err, ST_BAD_INPUT, at_module(file, module),
                        "edge from 0x%" PRIx64 ", which is in no block", edge->from.v);
    }
    return ST_OK;
}

static Status check_entries(const char *file, const Profile *profile, const ProfileModule *module,
                            uint32_t index, Error *err)
{
    for (uint32_t i = 0; i < module->n_entries; i++) {
        const ProfileEdge *entry = &module->entries[i];
        TRY(check_target(file, profile, module, entry, err));
        if (!vaddr_is_none(entry->from) || entry->to_module != index)
            return FAIL(err, ST_BAD_INPUT, at_module(file, module),
                        "entry at 0x%" PRIx64 " belongs to another module", entry->to.v);
        if (i > 0 && profile_entry_order(entry - 1, entry) >= 0)
            return FAIL(err, ST_BAD_INPUT, at_module(file, module),
                        "entry at 0x%" PRIx64 " is out of order or there twice", entry->to.v);
    }
    return ST_OK;
}

static Status check_pages(const char *file, const ProfileModule *module, Error *err)
{
    for (uint32_t i = 0; i < module->n_read_pages; i++) {
        uint64_t page = module->read_pages[i].v;
        if (page % 4096 != 0 || (i > 0 && module->read_pages[i - 1].v >= page))
            return FAIL(err, ST_BAD_INPUT, at_module(file, module),
                        "page 0x%" PRIx64 " is out of order or no page", page);
    }
    return ST_OK;
}

Status profile_check(const Profile *profile, const char *file, Error *err)
{
    for (uint32_t i = 0; i < profile->n_modules; i++) {
        const ProfileModule *module = &profile->modules[i];
        if (module->key.build_id_len > sizeof module->key.build_id)
            return FAIL(err, ST_BAD_INPUT, at_module(file, module), "build id of %u bytes (%zu)",
                        module->key.build_id_len, sizeof module->key.build_id);
        TRY(check_blocks(file, module, err));
        TRY(check_edges(file, profile, module, err));
        TRY(check_entries(file, profile, module, i, err));
        TRY(check_pages(file, module, err));
        TRY(profile_check_values(file, module, err));
    }
    return ST_OK;
}
