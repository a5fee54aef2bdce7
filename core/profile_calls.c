/*
 * profile_calls.c: blocks and edges → functions and calls, circles found, costs summed upwards.
 *
 *     main ─3─► parse ─30─► next        main  self 10, inclusive 10 + 200 + 60
 *       └─1─► print ─10─► next          next  40 calls, 80 in all: parse bears 60 of them, print 20
 *
 * Circles are the strongly connected components of the graph (Tarjan 1972, without recursion: call
 * chains of real programs are deeper than a stack). They come out callees first, which is the order
 * in which costs are summed.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/profile_calls.h"

#include "core/func_names.h"
#include "core/profile_parts.h"

#include <stdlib.h>
#include <string.h>

enum { NEAR = 64 }; /* bytes between blocks of one unnamed range */

typedef struct CallBuilder {
    Arena *arena;
    Arena *scratch;
    const Profile *profile;
    CallGraph *graph;
    size_t funcs_cap, parts_cap, arcs_cap;
    uint32_t outside; /* the function that stands for generated code; UINT32_MAX: none yet */
} CallBuilder;

uint64_t calls_share(uint64_t cost, uint64_t part, uint64_t whole)
{
    if (whole == 0)
        return 0;
    if (part >= whole)
        return cost;
    return (uint64_t)((unsigned __int128)cost * part / whole);
}

/* ---- functions ------------------------------------------------------------------------------- */

static uint32_t add_func(CallBuilder *builder, const char *name, uint32_t module, Vaddr start)
{
    CallGraph *graph = builder->graph;
    graph->funcs = arena_grow(builder->arena, graph->funcs, &builder->funcs_cap, graph->n_funcs + 1,
                              sizeof *graph->funcs);
    graph->funcs[graph->n_funcs] = (CallFunc){ .name = name, .module = module, .start = start };
    return graph->n_funcs++;
}

/* The file of a module, when it still is the one that ran. */
typedef struct ModuleNames {
    const Image *image; /* NULL: not known */
    FuncNames names;
    const FuncName **by_name; /* names.funcs, sorted by name */
    uint32_t *funcs;          /* of names.funcs[i]: 1 + its index in the graph; 0: not yet */
} ModuleNames;

static int order_names(const void *left, const void *right)
{
    const FuncName *a = *(const FuncName *const *)left;
    const FuncName *b = *(const FuncName *const *)right;
    int order = strcmp(a->name, b->name);
    return order != 0 ? order : (a->start.v > b->start.v) - (a->start.v < b->start.v);
}

static void open_names(Arena *arena, const ProfileModule *module, ModuleNames *out)
{
    *out = (ModuleNames){ 0 };
    if (profile_key_empty(&module->key) ||
        image_open(arena, module->path, &out->image, NULL) != ST_OK)
        out->image = NULL;
    if (out->image != NULL && !image_key_equal(&out->image->key, &module->key)) {
        image_close(out->image);
        out->image = NULL;
    }
    if (out->image == NULL)
        return;
    func_names_read(arena, out->image, &out->names);
    out->funcs = arena_many(arena, uint32_t, out->names.n);
    out->by_name = arena_many(arena, const FuncName *, out->names.n);
    for (uint32_t i = 0; i < out->names.n; i++)
        out->by_name[i] = &out->names.funcs[i];
    if (out->names.n > 1)
        qsort(out->by_name, out->names.n, sizeof(const FuncName *), order_names);
}

/* The first function of a name; NULL: none. */
static const FuncName *find_name(const ModuleNames *names, const char *name, size_t len)
{
    uint32_t low = 0;
    uint32_t high = names->names.n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = strncmp(names->by_name[middle]->name, name, len);
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < names->names.n && strncmp(names->by_name[low]->name, name, len) == 0 &&
                 names->by_name[low]->name[len] == '\0';
    return found ? names->by_name[low] : NULL;
}

/* The function that "parse.cold" or "parse.cold.3" is the cold part of; else the function itself.
 */
static const FuncName *owner_of(const ModuleNames *names, const FuncName *func)
{
    const char *cold = strstr(func->name, ".cold");
    if (cold == NULL || cold == func->name || strspn(cold + 5, ".0123456789") != strlen(cold + 5))
        return func;
    const FuncName *owner = find_name(names, func->name, (size_t)(cold - func->name));
    return owner != NULL ? owner : func;
}

/* The extent that a block belongs to: a function of the file, or as far as blocks are near. */
typedef struct Range {
    uint32_t func;
    uint64_t end;
    bool named;
} Range;

static void begin_range(CallBuilder *builder, const ModuleNames *names, uint32_t module,
                        const ProfileBlock *block, Range *range)
{
    const FuncName *named =
        names->image != NULL ? func_names_at(&names->names, block->start) : NULL;
    *range = (Range){ .end = block->start.v + block->size, .named = named != NULL };
    if (named == NULL) {
        const char *name = arena_printf(builder->arena, "0x%" PRIx64, block->start.v);
        range->func = add_func(builder, name, module, block->start);
        return;
    }
    range->end = named->end;
    const FuncName *owner = owner_of(names, named);
    uint32_t *func = &names->funcs[owner - names->names.funcs];
    if (*func == 0)
        *func =
            1 + add_func(builder, arena_string(builder->arena, owner->name), module, owner->start);
    range->func = *func - 1;
}

static bool in_range(const Range *range, const ProfileBlock *block)
{
    if (range->named)
        return block->start.v < range->end;
    return block->start.v < range->end + NEAR;
}

static void add_part(CallBuilder *builder, CallPart part)
{
    CallGraph *graph = builder->graph;
    graph->parts = arena_grow(builder->arena, graph->parts, &builder->parts_cap, graph->n_parts + 1,
                              sizeof part);
    graph->parts[graph->n_parts++] = part;
}

static uint64_t cost_of(const ProfileBlock *block)
{
    uint64_t cost;
    return __builtin_mul_overflow(block->count, (uint64_t)block->n_insns, &cost) ? UINT64_MAX
                                                                                 : cost;
}

static void add_module(CallBuilder *builder, uint32_t index)
{
    const ProfileModule *module = &builder->profile->modules[index];
    ModuleNames names;
    open_names(builder->scratch, module, &names);
    uint32_t end;
    for (uint32_t i = 0; i < module->n_blocks; i = end) {
        Range range;
        begin_range(builder, &names, index, &module->blocks[i], &range);
        CallFunc *func = &builder->graph->funcs[range.func];
        for (end = i; end < module->n_blocks && in_range(&range, &module->blocks[end]); end++) {
            const ProfileBlock *block = &module->blocks[end];
            if (end > i && !range.named && names.image != NULL &&
                func_names_at(&names.names, block->start) != NULL)
                break;
            func->self = count_add(func->self, cost_of(block));
            if (!range.named)
                range.end = block->start.v + block->size;
        }
        add_part(builder, (CallPart){ range.func, index, i, end });
    }
    if (names.image != NULL)
        image_close(names.image);
}

/* ---- calls ----------------------------------------------------------------------------------- */

static int order_part(const void *key, const void *element)
{
    const CallPart *wanted = key;
    const CallPart *part = element;
    if (wanted->module != part->module)
        return wanted->module < part->module ? -1 : 1;
    if (wanted->first < part->first)
        return -1;
    return wanted->first >= part->end;
}

/* The function that holds an executed address; UINT32_MAX: none does. */
static uint32_t func_at(const CallBuilder *builder, uint32_t module, Vaddr addr)
{
    if (module == MODULE_NONE)
        return builder->outside;
    const ProfileModule *from = &builder->profile->modules[module];
    uint32_t low = 0;
    uint32_t high = from->n_blocks;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (from->blocks[middle].start.v <= addr.v)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0 || builder->graph->n_parts == 0)
        return UINT32_MAX;
    CallPart key = { .module = module, .first = low - 1 };
    const CallPart *part =
        bsearch(&key, builder->graph->parts, builder->graph->n_parts, sizeof key, order_part);
    return part != NULL ? part->func : UINT32_MAX;
}

static bool is_call(const ProfileEdge *edge, uint32_t from, uint32_t to)
{
    if (edge->kind == EDGE_CALL || edge->kind == EDGE_CALL_IND)
        return true;
    return from != to && edge->kind != EDGE_RET && edge->kind != EDGE_RETURN_TO &&
           edge->kind != EDGE_SYSCALL;
}

static void add_arcs(CallBuilder *builder, const CallPart *part)
{
    const ProfileModule *module = &builder->profile->modules[part->module];
    CallGraph *graph = builder->graph;
    uint32_t n;
    for (uint32_t i = part->first; i < part->end; i++) {
        const ProfileEdge *edges =
            profile_edges_from(module, profile_last_insn(module, &module->blocks[i]), &n);
        for (uint32_t j = 0; j < n; j++) {
            uint32_t to = func_at(builder, edges[j].to_module, edges[j].to);
            if (edges[j].count == 0 || to == UINT32_MAX || !is_call(&edges[j], part->func, to))
                continue;
            graph->arcs = arena_grow(builder->arena, graph->arcs, &builder->arcs_cap,
                                     graph->n_arcs + 1, sizeof *graph->arcs);
            graph->arcs[graph->n_arcs++] = (CallArc){ .from = part->func,
                                                      .to = to,
                                                      .site = edges[j].from,
                                                      .target = edges[j].to,
                                                      .count = edges[j].count };
        }
    }
}

static int order_arcs(const void *left, const void *right)
{
    const CallArc *a = left;
    const CallArc *b = right;
    if (a->from != b->from)
        return a->from < b->from ? -1 : 1;
    if (a->site.v != b->site.v)
        return a->site.v < b->site.v ? -1 : 1;
    if (a->to != b->to)
        return a->to < b->to ? -1 : 1;
    return (a->target.v > b->target.v) - (a->target.v < b->target.v);
}

static void index_arcs(CallGraph *graph)
{
    if (graph->n_arcs > 1)
        qsort(graph->arcs, graph->n_arcs, sizeof *graph->arcs, order_arcs);
    for (uint32_t i = 0; i < graph->n_arcs; i++) {
        CallFunc *func = &graph->funcs[graph->arcs[i].from];
        if (func->n_arcs++ == 0)
            func->first_arc = i;
    }
}

/* ---- circles --------------------------------------------------------------------------------- */

/* Tarjan's state of one function. */
typedef struct Visit {
    uint32_t index; /* in order of first visit, from 1; 0: not yet */
    uint32_t low;   /* the smallest index that it reaches */
    uint32_t next;  /* arc to look at next */
    bool open;      /* its component is not known yet */
} Visit;

typedef struct Search {
    CallGraph *graph;
    Visit *visits;
    uint32_t *path; /* functions being visited */
    uint32_t n_path;
    uint32_t *open; /* functions whose component is not known yet */
    uint32_t n_open;
    uint32_t n_visited, n_ordered, n_circles;
} Search;

static void enter(Search *search, uint32_t func)
{
    Visit *visit = &search->visits[func];
    visit->index = visit->low = ++search->n_visited;
    visit->open = true;
    search->path[search->n_path++] = func;
    search->open[search->n_open++] = func;
}

/* All arcs of the function on top of the path are done. */
static void leave(Search *search)
{
    uint32_t func = search->path[--search->n_path];
    const Visit *visit = &search->visits[func];
    if (search->n_path > 0) {
        Visit *caller = &search->visits[search->path[search->n_path - 1]];
        if (visit->low < caller->low)
            caller->low = visit->low;
    }
    if (visit->low != visit->index)
        return;
    uint32_t member;
    do {
        member = search->open[--search->n_open];
        search->visits[member].open = false;
        search->graph->funcs[member].circle = search->n_circles;
        search->graph->order[search->n_ordered++] = member;
    } while (member != func);
    search->n_circles++;
}

static void visit_from(Search *search, uint32_t root)
{
    const CallGraph *graph = search->graph;
    enter(search, root);
    while (search->n_path > 0) {
        uint32_t func = search->path[search->n_path - 1];
        Visit *visit = &search->visits[func];
        if (visit->next == graph->funcs[func].n_arcs) {
            leave(search);
            continue;
        }
        uint32_t to = graph->arcs[graph->funcs[func].first_arc + visit->next++].to;
        if (search->visits[to].index == 0)
            enter(search, to);
        else if (search->visits[to].open && search->visits[to].index < visit->low)
            visit->low = search->visits[to].index;
    }
}

static void find_circles(CallBuilder *builder)
{
    CallGraph *graph = builder->graph;
    Search search = { .graph = graph,
                      .visits = arena_many(builder->scratch, Visit, graph->n_funcs),
                      .path = arena_many(builder->scratch, uint32_t, graph->n_funcs),
                      .open = arena_many(builder->scratch, uint32_t, graph->n_funcs) };
    graph->order = arena_many(builder->arena, uint32_t, graph->n_funcs);
    for (uint32_t i = 0; i < graph->n_funcs; i++)
        if (search.visits[i].index == 0)
            visit_from(&search, i);
}

/* ---- costs ----------------------------------------------------------------------------------- */

/* How often each circle was entered: by calls from outside it, and by what no call explains (a
 * program's start, a signal handler). */
static uint64_t *count_entries(CallBuilder *builder)
{
    CallGraph *graph = builder->graph;
    uint64_t *known = arena_many(builder->scratch, uint64_t, graph->n_funcs);
    uint64_t *entered = arena_many(builder->scratch, uint64_t, graph->n_funcs);
    for (uint32_t i = 0; i < graph->n_arcs; i++) {
        const CallArc *arc = &graph->arcs[i];
        known[arc->to] = count_add(known[arc->to], arc->count);
        uint32_t circle = graph->funcs[arc->to].circle;
        if (graph->funcs[arc->from].circle != circle)
            entered[circle] = count_add(entered[circle], arc->count);
    }
    for (uint32_t i = 0; i < graph->n_funcs; i++) {
        const CallFunc *func = &graph->funcs[i];
        uint64_t executed =
            func->module != MODULE_NONE
                ? profile_count_at(&builder->profile->modules[func->module], func->start)
                : 0;
        if (executed > known[i])
            entered[func->circle] = count_add(entered[func->circle], executed - known[i]);
    }
    return entered;
}

/* One circle, its functions being order[first .. end): the costs of its calls, then its own. */
static void sum_circle(CallGraph *graph, uint32_t first, uint32_t end, const uint64_t *entered)
{
    uint64_t sum = 0;
    uint32_t circle = graph->funcs[graph->order[first]].circle;
    for (uint32_t i = first; i < end; i++) {
        const CallFunc *func = &graph->funcs[graph->order[i]];
        sum = count_add(sum, func->self);
        for (uint32_t j = 0; j < func->n_arcs; j++) {
            CallArc *arc = &graph->arcs[func->first_arc + j];
            const CallFunc *callee = &graph->funcs[arc->to];
            if (callee->circle == circle)
                continue;
            arc->cost = calls_share(callee->inclusive, arc->count, callee->entered);
            sum = count_add(sum, arc->cost);
        }
    }
    for (uint32_t i = first; i < end; i++) {
        graph->funcs[graph->order[i]].inclusive = sum;
        graph->funcs[graph->order[i]].entered = entered[circle];
    }
}

static void sum_costs(CallBuilder *builder)
{
    CallGraph *graph = builder->graph;
    const uint64_t *entered = count_entries(builder);
    uint32_t end;
    for (uint32_t i = 0; i < graph->n_funcs; i = end) {
        uint32_t circle = graph->funcs[graph->order[i]].circle;
        for (end = i + 1; end < graph->n_funcs; end++)
            if (graph->funcs[graph->order[end]].circle != circle)
                break;
        sum_circle(graph, i, end, entered);
    }
}

void profile_calls(Arena *arena, const Profile *profile, CallGraph *out)
{
    *out = (CallGraph){ .total = profile->outside_insns };
    CallBuilder builder = { .arena = arena,
                            .scratch = arena_new(),
                            .profile = profile,
                            .graph = out,
                            .outside = UINT32_MAX };
    for (uint32_t i = 0; i < profile->n_modules; i++) {
        add_module(&builder, i);
        out->total = count_add(out->total, profile_instructions(&profile->modules[i]));
    }
    if (profile->outside_insns > 0) {
        builder.outside = add_func(&builder, "(generated code)", MODULE_NONE, vaddr(0));
        out->funcs[builder.outside].self = profile->outside_insns;
    }
    for (uint32_t i = 0; i < out->n_parts; i++)
        add_arcs(&builder, &out->parts[i]);
    index_arcs(out);
    find_circles(&builder);
    sum_costs(&builder);
    arena_free(builder.scratch);
}
