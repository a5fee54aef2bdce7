/*
 * profile_fdata.c: BOLT's own form: edges between the basic blocks that BOLT will find, by function
 * and offset.
 *
 *     1 main 1c 1 main 40 0 99          a branch inside a function (or a fall-through)
 *     1 main 20 1 help/a.c/1 0 0 5      a call
 *     0 [unknown] 0 1 main 0 0 1        from outside
 *
 * A fall-through must be told wherever one of BOLT's blocks ends, and nowhere else: a record into
 * the middle of a block counts as a mismatch. BOLT's blocks are not ours (it also splits at targets
 * that were never reached, and does not at calls), so the function is followed here from all its
 * known entries through everything that direct branches reach; what they lead to, what follows a
 * conditional branch, landing pads, observed targets of indirect jumps, and where a `.cold` part
 * comes back to its function begin blocks. The record leaves from the last instruction before the
 * boundary.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/profile_convert.h"

#include "core/func_names.h"
#include "core/insn.h"
#include "core/lsda.h"

#include <stdlib.h>
#include <string.h>

/* What is known of each byte of the function at hand. */
enum ByteFact {
    BYTE_INSN = 1,   /* an instruction begins */
    BYTE_LEADER = 2, /* a block of BOLT's begins */
    BYTE_TARGET = 4, /* something branches to it */
};

typedef struct FdataWriter {
    Arena *arena;
    Arena *scratch; /* of one function */
    const Image *image;
    const UnwindTable *unwind; /* NULL: none */
    const ProfileModule *module;
    uint32_t index; /* of the module */
    FuncNames names;
    Buffer *out;
    const FuncName *func;
    uint8_t *facts; /* one a byte of the function */
    uint64_t *work; /* offsets to follow */
    size_t n_work, work_cap;
    bool collecting;     /* crossings */
    uint64_t *crossings; /* what functions jump to outside themselves: a `.cold` part to its
                            function and back; sorted */
    size_t n_crossings, crossings_cap;
} FdataWriter;

/* ---- BOLT's blocks of a function ------------------------------------------------------------- */

static void follow(FdataWriter *writer, uint64_t addr, uint8_t facts)
{
    if (addr < writer->func->start.v || addr >= writer->func->end) {
        if (writer->collecting && (facts & BYTE_TARGET) != 0) {
            writer->crossings = arena_grow(writer->arena, writer->crossings, &writer->crossings_cap,
                                           writer->n_crossings + 1, sizeof *writer->crossings);
            writer->crossings[writer->n_crossings++] = addr;
        }
        return;
    }
    uint64_t offset = addr - writer->func->start.v;
    writer->facts[offset] |= facts;
    if ((writer->facts[offset] & BYTE_INSN) != 0)
        return;
    writer->work = arena_grow(writer->scratch, writer->work, &writer->work_cap, writer->n_work + 1,
                              sizeof *writer->work);
    writer->work[writer->n_work++] = offset;
}

static bool ends_path(uint8_t flow)
{
    return flow == FLOW_JUMP || flow == FLOW_JUMP_IND || flow == FLOW_RET || flow == FLOW_STOP;
}

/* Decodes from `offset` on until the path ends or is known. */
static void follow_path(FdataWriter *writer, uint64_t offset)
{
    uint64_t size = writer->func->end - writer->func->start.v;
    while (offset < size && (writer->facts[offset] & BYTE_INSN) == 0) {
        Insn insn;
        Vaddr addr = vaddr_add(writer->func->start, offset);
        if (!insn_decode(image_bytes_from(writer->image, addr), addr, &insn))
            return;
        writer->facts[offset] |= BYTE_INSN;
        bool two_ways = insn.flow == FLOW_COND || insn.flow == FLOW_LOOP;
        if (two_ways || insn.flow == FLOW_JUMP)
            follow(writer, insn.ref_to.v, BYTE_LEADER | BYTE_TARGET);
        if (ends_path(insn.flow))
            return;
        offset += insn.size;
        if (two_ways)
            follow(writer, addr.v + insn.size, BYTE_LEADER);
    }
}

static void follow_pads(FdataWriter *writer)
{
    const Fde *fde =
        writer->unwind != NULL ? unwind_fde_at(writer->unwind, writer->func->start) : NULL;
    const Lsda *lsda;
    if (fde == NULL || vaddr_is_none(fde->lsda) ||
        lsda_read(writer->scratch, writer->image, fde, &lsda, NULL) != ST_OK)
        return;
    for (uint32_t i = 0; i < lsda->n_sites; i++)
        if (!vaddr_is_none(lsda->sites[i].landing_pad))
            follow(writer, lsda->sites[i].landing_pad.v, BYTE_LEADER | BYTE_TARGET);
}

/* Begins with what is known of a function without a profile: its start and its landing pads. */
static void begin_function(FdataWriter *writer, const FuncName *func)
{
    arena_reset(writer->scratch);
    writer->func = func;
    writer->work = NULL;
    writer->n_work = writer->work_cap = 0;
    writer->facts = arena_many(writer->scratch, uint8_t, func->end - func->start.v);
    follow(writer, func->start.v, BYTE_LEADER | BYTE_TARGET);
    follow_pads(writer);
}

static void follow_all(FdataWriter *writer)
{
    while (writer->n_work > 0)
        follow_path(writer, writer->work[--writer->n_work]);
}

static int order_u64(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static void follow_crossings(FdataWriter *writer)
{
    size_t low = 0;
    size_t high = writer->collecting ? 0 : writer->n_crossings;
    size_t n = high;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (writer->crossings[middle] < writer->func->start.v)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < n && writer->crossings[low] < writer->func->end; low++)
        follow(writer, writer->crossings[low], BYTE_LEADER | BYTE_TARGET);
}

/* `first` to `end`: the function's blocks in the profile. */
static void find_leaders(FdataWriter *writer, uint32_t first, uint32_t end)
{
    const ProfileModule *module = writer->module;
    begin_function(writer, writer->func);
    follow_crossings(writer);
    for (uint32_t i = first; i < end; i++) {
        uint32_t n;
        follow(writer, module->blocks[i].start.v, 0);
        const ProfileEdge *edges =
            profile_edges_from(module, profile_last_insn(module, &module->blocks[i]), &n);
        for (uint32_t j = 0; j < n; j++)
            if (edges[j].kind == EDGE_JUMP_IND && edges[j].to_module == writer->index)
                follow(writer, edges[j].to.v, BYTE_LEADER | BYTE_TARGET);
    }
    follow_all(writer);
}

/* ---- records --------------------------------------------------------------------------------- */

/* `1 name offset`; false: BOLT has no name for what is there. */
static bool put_location(FdataWriter *writer, Vaddr addr)
{
    const FuncName *func = func_names_at(&writer->names, addr);
    if (func == NULL || func->bolt == NULL) {
        buffer_print(writer->out, "0 [unknown] 0");
        return false;
    }
    buffer_print(writer->out, "1 ");
    for (const char *at = func->bolt; *at != '\0'; at++) { /* blanks would end the name */
        if (*at == ' ' || *at == '\\')
            buffer_u8(writer->out, '\\');
        buffer_u8(writer->out, (uint8_t)*at);
    }
    buffer_print(writer->out, " %" PRIx64, addr.v - func->start.v);
    return true;
}

static void put_count(FdataWriter *writer, uint64_t count)
{
    buffer_print(writer->out, " 0 %" PRIu64 "\n", count);
}

static void put_edge(FdataWriter *writer, Vaddr from, Vaddr to, bool inside, uint64_t count)
{
    size_t before = writer->out->len;
    bool named = put_location(writer, from);
    buffer_u8(writer->out, ' ');
    if (inside)
        named = put_location(writer, to) || named;
    else
        buffer_print(writer->out, "0 [unknown] 0");
    if (named)
        put_count(writer, count);
    else
        writer->out->len = before; /* neither end has a name: BOLT skips such records */
}

/* Executions that went from the instruction at `last` to `next`, right behind it, in whatever way
 * BOLT takes for going on. */
static uint64_t went_on(const ProfileModule *module, Vaddr last, Vaddr next)
{
    uint32_t n;
    uint64_t sum = 0;
    const ProfileEdge *edges = profile_edges_from(module, last, &n);
    for (uint32_t i = 0; i < n; i++)
        if ((edges[i].kind == EDGE_FALL || edges[i].kind == EDGE_SYSCALL ||
             edges[i].kind == EDGE_RETURN_TO) &&
            vaddr_equal(edges[i].to, next))
            sum += edges[i].count;
    return sum;
}

typedef struct Walk {
    Vaddr source;   /* the instruction before; VADDR_NONE: none */
    bool two_ways;  /* it is a conditional branch */
    uint64_t count; /* executions that arrive at the next instruction from before it */
    uint64_t end;   /* of the instruction before; UINT64_MAX: none */
} Walk;

/* BOLT keeps a jump behind a conditional branch in the block of that. */
static bool joins_branch(const FdataWriter *writer, const Walk *walk, const Insn *insn)
{
    uint8_t facts = writer->facts[insn->addr.v - writer->func->start.v];
    return walk->two_ways && insn->flow == FLOW_JUMP && (facts & BYTE_TARGET) == 0;
}

static void step(FdataWriter *writer, Walk *walk, const Insn *insn)
{
    uint8_t facts = writer->facts[insn->addr.v - writer->func->start.v];
    if ((facts & BYTE_LEADER) != 0 && walk->end == insn->addr.v && walk->count > 0 &&
        !vaddr_is_none(walk->source) && !joins_branch(writer, walk, insn))
        put_edge(writer, walk->source, insn->addr, true, walk->count);
    walk->source = insn->addr;
    walk->two_ways = insn->flow == FLOW_COND || insn->flow == FLOW_LOOP;
    walk->end = insn->addr.v + insn->size;
}

static void walk_block(FdataWriter *writer, Walk *walk, const ProfileBlock *block)
{
    const ProfileModule *module = writer->module;
    Vaddr last = profile_last_insn(module, block);
    Vaddr addr = block->start;
    while (addr.v < block->start.v + block->size && addr.v < writer->func->end) {
        Insn insn;
        if (!insn_decode(image_bytes_from(writer->image, addr), addr, &insn))
            return;
        step(writer, walk, &insn);
        walk->count = block->count;
        if (vaddr_equal(addr, last))
            walk->count = went_on(module, last, vaddr_add(addr, insn.size));
        addr = vaddr_add(addr, insn.size);
    }
}

static void put_branches_of(FdataWriter *writer, const ProfileBlock *block)
{
    uint32_t n;
    const ProfileEdge *edges =
        profile_edges_from(writer->module, profile_last_insn(writer->module, block), &n);
    for (uint32_t i = 0; i < n; i++)
        if (profile_edge_is_branch(edges[i].kind) && edges[i].count > 0)
            put_edge(writer, edges[i].from, edges[i].to, edges[i].to_module == writer->index,
                     edges[i].count);
}

static void put_function(FdataWriter *writer, uint32_t first, uint32_t end)
{
    Walk walk = { .source = VADDR_NONE, .end = UINT64_MAX };
    for (uint32_t i = first; i < end; i++) {
        walk_block(writer, &walk, &writer->module->blocks[i]);
        put_branches_of(writer, &writer->module->blocks[i]);
    }
}

/* All executed functions: their crossings are collected, or their records written. */
static void go_through(FdataWriter *writer, bool collecting)
{
    const ProfileModule *module = writer->module;
    uint32_t end;
    writer->collecting = collecting;
    for (uint32_t i = 0; i < module->n_blocks; i = end) {
        writer->func = func_names_at(&writer->names, module->blocks[i].start);
        end = i + 1;
        if (writer->func == NULL || writer->func->bolt == NULL)
            continue;
        while (end < module->n_blocks && module->blocks[end].start.v < writer->func->end)
            end++;
        find_leaders(writer, i, end);
        if (!collecting)
            put_function(writer, i, end);
    }
}

static bool is_cold(const FuncName *func)
{
    return strstr(func->name, ".cold") != NULL;
}

static void collect_crossings(FdataWriter *writer)
{
    go_through(writer, true);
    for (uint32_t i = 0; i < writer->names.n; i++) {
        if (!is_cold(&writer->names.funcs[i]))
            continue;
        begin_function(writer, &writer->names.funcs[i]);
        follow_all(writer);
    }
    if (writer->n_crossings > 1)
        qsort(writer->crossings, writer->n_crossings, sizeof *writer->crossings, order_u64);
}

static void put_entries(FdataWriter *writer)
{
    const ProfileModule *module = writer->module;
    for (uint32_t i = 0; i < module->n_entries; i++) {
        const ProfileEdge *entry = &module->entries[i];
        const FuncName *func = func_names_at(&writer->names, entry->to);
        if (!profile_edge_is_branch(entry->kind) || entry->count == 0 || func == NULL ||
            func->bolt == NULL)
            continue;
        buffer_print(writer->out, "0 [unknown] 0 ");
        put_location(writer, entry->to);
        put_count(writer, entry->count);
    }
}

Status profile_write_fdata(const Profile *profile, uint32_t module, const Image *image, Buffer *out,
                           Error *err)
{
    Arena *arena = arena_new();
    FdataWriter writer = { .arena = arena,
                           .scratch = arena_new(),
                           .image = image,
                           .module = &profile->modules[module],
                           .index = module,
                           .out = out };
    if (unwind_read(arena, image, &writer.unwind, NULL) != ST_OK)
        writer.unwind = NULL;
    func_names_read(arena, image, &writer.names);
    Status status = ST_OK;
    if (writer.names.stripped) {
        status = FAIL(err, ST_REFUSED, ((Place){ image->path, NULL, PLACE_NO_OFFSET }),
                      "is stripped, and fdata names functions by their symbols: use --to=preagg, "
                      "which names addresses");
    } else {
        collect_crossings(&writer);
        put_entries(&writer);
        go_through(&writer, false);
    }
    arena_free(writer.scratch);
    arena_free(arena);
    return status;
}
