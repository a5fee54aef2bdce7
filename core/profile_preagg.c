/*
 * profile_preagg.c: BOLT's pre-aggregated form: branches, and the stretches of straight code
 * between them.
 *
 *     block counts and edges                   stretches
 *     A 10 ─ falls 7 ─► B 9 ─ falls 9 ─► C 9   F A A 3    F A C 7    F B C 2
 *           └ taken 3      ▲ 2 jump in
 *
 * perf2bolt walks each stretch through its own blocks and adds its count to every fall-through on
 * the way, so what it makes of them is exact when the stretches are: each begins where a transfer
 * arrived and ends with the instruction that left. They are made by a queue that runs along the
 * code: what arrives at a block by a transfer joins it, what leaves takes from its front. Which of
 * them leaves is free; their sums are not. A stretch that begins behind a call is an `r`: BOLT then
 * also books the fall-through out of the call's block.
 *
 * Addresses are link-time addresses, in position-independent executables, too. In shared objects
 * they carry the build id, by which newer BOLTs tell objects apart; older ones skip it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/profile_convert.h"

#include "core/profile_parts.h"

typedef struct Stretch {
    uint64_t start;
    uint64_t count;
    bool returned; /* begins behind a call */
} Stretch;

typedef struct PreaggWriter {
    Buffer *out;
    const ProfileModule *module;
    const char *prefix; /* "" or "BUILDID:" */
    Arena *scratch;
    Stretch *queue;
    size_t first, n, cap; /* queue[first .. first + n) is open */
} PreaggWriter;

static void open_stretch(PreaggWriter *writer, uint64_t start, uint64_t count, bool returned)
{
    if (count == 0)
        return;
    if (writer->first + writer->n == writer->cap && writer->first > writer->n) {
        for (size_t i = 0; i < writer->n; i++)
            writer->queue[i] = writer->queue[writer->first + i];
        writer->first = 0;
    }
    writer->queue = arena_grow(writer->scratch, writer->queue, &writer->cap,
                               writer->first + writer->n + 1, sizeof *writer->queue);
    writer->queue[writer->first + writer->n++] = (Stretch){ start, count, returned };
}

/* `count` executions end with the instruction at `end`. */
static void close_stretches(PreaggWriter *writer, uint64_t end, uint64_t count)
{
    while (count > 0 && writer->n > 0) {
        Stretch *front = &writer->queue[writer->first];
        uint64_t part = front->count < count ? front->count : count;
        buffer_print(writer->out, "%c %s%" PRIx64 " %s%" PRIx64 " %" PRIu64 "\n",
                     front->returned ? 'r' : 'F', writer->prefix, front->start, writer->prefix, end,
                     part);
        count -= part;
        front->count -= part;
        if (front->count == 0) {
            writer->first++;
            writer->n--;
        }
    }
}

static uint64_t open_count(const PreaggWriter *writer)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < writer->n; i++)
        sum = count_add(sum, writer->queue[writer->first + i].count);
    return sum;
}

/* How often the code went on from the instruction at `from` to `to` without a branch, and how often
 * it came back there from a call. */
static void passes(const ProfileModule *module, Vaddr from, Vaddr to, uint64_t *went,
                   uint64_t *returned)
{
    uint32_t n;
    const ProfileEdge *edges = profile_edges_from(module, from, &n);
    *went = *returned = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (!vaddr_equal(edges[i].to, to))
            continue;
        if (edges[i].kind == EDGE_FALL || edges[i].kind == EDGE_SYSCALL)
            *went = count_add(*went, edges[i].count);
        else if (edges[i].kind == EDGE_RETURN_TO)
            *returned = count_add(*returned, edges[i].count);
    }
}

static void put_stretches(PreaggWriter *writer)
{
    const ProfileModule *module = writer->module;
    uint64_t end = UINT64_MAX; /* of the block before */
    uint64_t last = 0;         /* its last instruction */
    uint64_t returned = 0;     /* to the end of the block before */
    for (uint32_t i = 0; i < module->n_blocks; i++) {
        const ProfileBlock *block = &module->blocks[i];
        if (block->start.v != end) {
            close_stretches(writer, last, UINT64_MAX);
            returned = 0;
        }
        uint64_t carried = open_count(writer);
        if (carried > block->count)
            close_stretches(writer, last, carried - block->count);
        uint64_t arrived = carried < block->count ? block->count - carried : 0;
        uint64_t back = returned < arrived ? returned : arrived;
        open_stretch(writer, block->start.v, arrived - back, false);
        open_stretch(writer, block->start.v, back, true);
        uint64_t went;
        last = profile_last_insn(module, block).v;
        end = block->start.v + block->size;
        passes(module, vaddr(last), vaddr(end), &went, &returned);
        close_stretches(writer, last, went < block->count ? block->count - went : 0);
    }
    close_stretches(writer, last, UINT64_MAX);
}

static void put_branches(PreaggWriter *writer, uint32_t own)
{
    const ProfileModule *module = writer->module;
    for (uint32_t i = 0; i < module->n_edges; i++) {
        const ProfileEdge *edge = &module->edges[i];
        if (!profile_edge_is_branch(edge->kind) || edge->count == 0)
            continue;
        if (edge->to_module == own)
            buffer_print(writer->out, "B %s%" PRIx64 " %s%" PRIx64 " %" PRIu64 " 0\n",
                         writer->prefix, edge->from.v, writer->prefix, edge->to.v, edge->count);
        else
            buffer_print(writer->out, "B %s%" PRIx64 " X:0 %" PRIu64 " 0\n", writer->prefix,
                         edge->from.v, edge->count);
    }
    for (uint32_t i = 0; i < module->n_entries; i++) {
        const ProfileEdge *entry = &module->entries[i];
        if (profile_edge_is_branch(entry->kind) && entry->count > 0)
            buffer_print(writer->out, "B X:0 %s%" PRIx64 " %" PRIu64 " 0\n", writer->prefix,
                         entry->to.v, entry->count);
    }
}

void profile_write_preagg(const Profile *profile, uint32_t index, const Image *image, Buffer *out)
{
    PreaggWriter writer = {
        .out = out, .module = &profile->modules[index], .prefix = "", .scratch = arena_new()
    };
    if (image->is_library && image->key.build_id_len > 0)
        writer.prefix =
            arena_printf(writer.scratch, "%s:", image_key_text(writer.scratch, &image->key));
    put_branches(&writer, index);
    put_stretches(&writer);
    arena_free(writer.scratch);
}
