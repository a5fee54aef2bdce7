/*
 * profile_callgrind.c: the format of valgrind's callgrind, which callgrind_annotate and KCachegrind
 * read.
 *
 *     ob=(1) /usr/bin/app        object
 *     fn=(7) main                function
 *     0x1139 12                  address, instructions executed there
 *     +4 12                      address less the one before
 *     jcnd=9/12 0x1150           taken 9 of 12 times; the next line is where
 *     +2
 *     calls=3 0x1200             the next line is where, and what they cost in all
 *     * 450
 *
 * One line an instruction, so KCachegrind's view of machine code has all counts. Costs of calls are
 * shares (core/profile_calls.h): a profile holds no call chains. Format: "Callgrind Format
 * Specification" of the valgrind manual.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/profile_convert.h"

#include "core/profile_calls.h"
#include "core/profile_parts.h"

#include <string.h>

typedef struct GrindWriter {
    Buffer *out;
    const Profile *profile;
    const CallGraph *graph;
    bool *named;        /* function i has been written with its name */
    bool *module_named; /* likewise */
    uint64_t at;        /* the address written last */
    const CallPart *part;
} GrindWriter;

/* A name on one line; control characters become '?'. */
static void put_name(Buffer *out, const char *name)
{
    for (; *name != '\0'; name++)
        buffer_u8(out, (uint8_t)*name < 0x20 ? '?' : (uint8_t)*name);
}

/* `WORD=(N) name`, and from the second time on `WORD=(N)`. */
static void put_id(GrindWriter *writer, const char *word, uint32_t id, const char *name,
                   bool *known)
{
    buffer_print(writer->out, "%s=(%" PRIu32 ")", word, id);
    if (!*known) {
        buffer_u8(writer->out, ' ');
        put_name(writer->out, name);
    }
    *known = true;
    buffer_u8(writer->out, '\n');
}

static void put_object(GrindWriter *writer, const char *word, uint32_t module)
{
    bool outside = module == MODULE_NONE;
    uint32_t index = outside ? writer->profile->n_modules : module;
    put_id(writer, word, index + 1, outside ? "???" : writer->profile->modules[module].path,
           &writer->module_named[index]);
}

static void put_func(GrindWriter *writer, const char *word, uint32_t func)
{
    put_id(writer, word, func + 1, writer->graph->funcs[func].name, &writer->named[func]);
}

static void put_address(GrindWriter *writer, uint64_t address)
{
    if (address == writer->at)
        buffer_print(writer->out, "*");
    else if (address > writer->at && address - writer->at < 4096)
        buffer_print(writer->out, "+%" PRIu64, address - writer->at);
    else
        buffer_print(writer->out, "0x%" PRIx64, address);
    writer->at = address;
}

static void put_cost(GrindWriter *writer, uint64_t address, uint64_t cost)
{
    put_address(writer, address);
    buffer_print(writer->out, " %" PRIu64 "\n", cost);
}

static void put_costs(GrindWriter *writer, const ProfileBlock *block)
{
    uint64_t address = block->start.v;
    if (block->insn_sizes == NULL) {
        put_cost(writer, address, block->count * block->n_insns);
        return;
    }
    for (uint32_t i = 0; i < block->n_insns; i++) {
        put_cost(writer, address, block->count);
        address += block->insn_sizes[i];
    }
}

static bool in_part(const GrindWriter *writer, const ProfileEdge *edge)
{
    const CallPart *part = writer->part;
    const ProfileModule *module = &writer->profile->modules[part->module];
    const ProfileBlock *last = &module->blocks[part->end - 1];
    return edge->to_module == part->module && edge->to.v >= module->blocks[part->first].start.v &&
           edge->to.v < last->start.v + last->size;
}

/* Jumps inside the function; those that leave it are calls. */
static void put_jumps(GrindWriter *writer, const ProfileEdge *edges, uint32_t n)
{
    uint64_t executed = 0;
    for (uint32_t i = 0; i < n; i++)
        if (edges[i].kind == EDGE_TAKEN || edges[i].kind == EDGE_FALL)
            executed = count_add(executed, edges[i].count);
    for (uint32_t i = 0; i < n; i++) {
        const ProfileEdge *edge = &edges[i];
        if (edge->count == 0 || !in_part(writer, edge))
            continue;
        if (edge->kind == EDGE_TAKEN)
            buffer_print(writer->out, "jcnd=%" PRIu64 "/%" PRIu64 " 0x%" PRIx64 "\n", edge->count,
                         executed, edge->to.v);
        else if (edge->kind == EDGE_JUMP || edge->kind == EDGE_JUMP_IND)
            buffer_print(writer->out, "jump=%" PRIu64 " 0x%" PRIx64 "\n", edge->count, edge->to.v);
        else
            continue;
        put_address(writer, edge->from.v);
        buffer_u8(writer->out, '\n');
    }
}

static void put_call(GrindWriter *writer, const CallArc *arc)
{
    const CallFunc *callee = &writer->graph->funcs[arc->to];
    if (callee->module != writer->part->module)
        put_object(writer, "cob", callee->module);
    put_func(writer, "cfn", arc->to);
    buffer_print(writer->out, "calls=%" PRIu64 " 0x%" PRIx64 "\n", arc->count, arc->target.v);
    put_cost(writer, arc->site.v, arc->cost);
}

/* The arcs of the part's function that leave from [start, end). */
static void put_calls(GrindWriter *writer, uint64_t start, uint64_t end)
{
    const CallFunc *func = &writer->graph->funcs[writer->part->func];
    if (func->n_arcs == 0)
        return;
    const CallArc *arcs = &writer->graph->arcs[func->first_arc];
    uint32_t low = 0;
    uint32_t high = func->n_arcs;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (arcs[middle].site.v < start)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < func->n_arcs && arcs[low].site.v < end; low++)
        put_call(writer, &arcs[low]);
}

static void put_part(GrindWriter *writer, const CallPart *part)
{
    const ProfileModule *module = &writer->profile->modules[part->module];
    writer->part = part;
    put_object(writer, "ob", part->module);
    put_func(writer, "fn", part->func);
    for (uint32_t i = part->first; i < part->end; i++) {
        const ProfileBlock *block = &module->blocks[i];
        uint32_t n;
        const ProfileEdge *edges = profile_edges_from(module, profile_last_insn(module, block), &n);
        put_costs(writer, block);
        put_jumps(writer, edges, n);
        put_calls(writer, block->start.v, block->start.v + block->size);
    }
    buffer_u8(writer->out, '\n');
}

void profile_write_callgrind(const Profile *profile, Buffer *out)
{
    Arena *arena = arena_new();
    CallGraph graph;
    profile_calls(arena, profile, &graph);
    GrindWriter writer = { .out = out,
                           .profile = profile,
                           .graph = &graph,
                           .named = arena_many(arena, bool, graph.n_funcs),
                           .module_named = arena_many(arena, bool, profile->n_modules + 1) };
    buffer_print(out, "# callgrind format\nversion: 1\ncreator: respin\n");
    buffer_print(out, "cmd: ");
    put_name(out, profile->command[0] != '\0' ? profile->command : "(not known)");
    buffer_print(out, "\npart: 1\n\npositions: instr\nevents: Ir\nsummary: %" PRIu64 "\n\n",
                 graph.total);
    buffer_print(out, "fl=(1) ???\n");
    for (uint32_t i = 0; i < graph.n_parts; i++)
        put_part(&writer, &graph.parts[i]);
    if (profile->outside_insns > 0) {
        put_object(&writer, "ob", MODULE_NONE);
        put_func(&writer, "fn", graph.n_funcs - 1);
        put_cost(&writer, 0, profile->outside_insns);
    }
    buffer_print(out, "totals: %" PRIu64 "\n", graph.total);
    arena_free(arena);
}
