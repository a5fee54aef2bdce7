/*
 * profile_folded.c: stacks on one line each, with instructions: what flame graphs are drawn from.
 *
 *     app`main;app`parse;app`next 60
 *
 * A profile knows calls and not stacks, so stacks are made from the shares of core/profile_calls.h:
 * whoever calls a function bears the part of its cost that its calls are of all calls. The sum of
 * all lines is the number of executed instructions. Stacks whose whole cost is under a 5000th of
 * it are not followed further: their cost stands at the function where that happens. In a circle of
 * functions, the one that was entered is on the stack once, the others directly above it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/profile_convert.h"

#include "core/profile_calls.h"
#include "core/profile_parts.h"

#include <stdlib.h>
#include <string.h>

enum { LEAST_PART = 5000, DEEPEST = 400 };

/* A function on the stack, and how much of its circle's cost is still to be given out. */
typedef struct Frame {
    uint32_t func;
    uint64_t cost;  /* that this frame and all above it stand for */
    uint64_t given; /* of it, to frames above */
    uint32_t next;  /* arc to look at next */
    bool member;    /* another function of the circle that the frame below entered */
    uint32_t peer;  /* members: function of `order` to enter next */
    size_t text;    /* length of the line up to this frame */
} Frame;

typedef struct FoldWriter {
    Buffer *out;
    const Profile *profile;
    const CallGraph *graph;
    uint32_t *places; /* of each function: its index in graph->order */
    Buffer line;
    Frame *frames;
    size_t n;
} FoldWriter;

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* A frame's text: no blank and no semicolon of its own. */
static void put_frame(FoldWriter *writer, uint32_t func)
{
    const CallFunc *from = &writer->graph->funcs[func];
    if (writer->line.len > 0)
        buffer_u8(&writer->line, ';');
    size_t start = writer->line.len;
    if (from->module != MODULE_NONE)
        buffer_print(&writer->line, "%s`", base_name(writer->profile->modules[from->module].path));
    buffer_print(&writer->line, "%s", from->name);
    for (size_t i = start; i < writer->line.len; i++)
        if (writer->line.data[i] == ';' || writer->line.data[i] <= ' ')
            writer->line.data[i] = '_';
}

static void put_line(FoldWriter *writer, uint64_t cost)
{
    if (cost == 0)
        return;
    buffer_put(writer->out, writer->line.data, writer->line.len);
    buffer_print(writer->out, " %" PRIu64 "\n", cost);
}

static void push(FoldWriter *writer, uint32_t func, uint64_t cost, bool member)
{
    put_frame(writer, func);
    uint32_t peer = writer->places[func];
    const CallGraph *graph = writer->graph;
    while (peer > 0 && graph->funcs[graph->order[peer - 1]].circle == graph->funcs[func].circle)
        peer--;
    writer->frames[writer->n++] = (Frame){
        .func = func, .cost = cost, .member = member, .peer = peer, .text = writer->line.len
    };
}

/* The part of a cost of the circle (or of a call out of it) that this frame's share is. */
static uint64_t part_of(const FoldWriter *writer, const Frame *frame, uint64_t cost)
{
    return calls_share(cost, frame->cost, writer->graph->funcs[frame->func].inclusive);
}

/* What a member of a circle costs by itself and by its calls out of it. */
static uint64_t member_cost(const CallGraph *graph, uint32_t func)
{
    const CallFunc *of = &graph->funcs[func];
    uint64_t sum = of->self;
    for (uint32_t i = 0; i < of->n_arcs; i++)
        sum = count_add(sum, graph->arcs[of->first_arc + i].cost);
    return sum;
}

static bool is_worth_it(const FoldWriter *writer, uint64_t cost)
{
    return cost > writer->graph->total / LEAST_PART && writer->n < DEEPEST;
}

/* Enters the next callee of the frame on top. False: there is none. `whole` is what `cost` of the
 * frame is a part of. */
static bool enter_callee(FoldWriter *writer, uint64_t whole)
{
    const CallGraph *graph = writer->graph;
    Frame *frame = &writer->frames[writer->n - 1];
    const CallFunc *func = &graph->funcs[frame->func];
    while (frame->next < func->n_arcs) {
        const CallArc *arc = &graph->arcs[func->first_arc + frame->next++];
        uint64_t cost = 0;
        /* arcs are sorted by callee: all calls of one are one frame */
        for (const CallArc *same = arc;; same++) {
            cost = count_add(cost, calls_share(same->cost, frame->cost, whole));
            if (frame->next == func->n_arcs || same[1].to != arc->to)
                break;
            frame->next++;
        }
        if (cost > frame->cost - frame->given)
            cost = frame->cost - frame->given;
        if (!is_worth_it(writer, cost))
            continue;
        frame->given += cost;
        push(writer, arc->to, cost, false);
        return true;
    }
    return false;
}

/* Enters the next other function of the circle that the frame on top entered. */
static bool enter_peer(FoldWriter *writer)
{
    const CallGraph *graph = writer->graph;
    Frame *frame = &writer->frames[writer->n - 1];
    uint32_t circle = graph->funcs[frame->func].circle;
    while (frame->peer < graph->n_funcs &&
           graph->funcs[graph->order[frame->peer]].circle == circle) {
        uint32_t peer = graph->order[frame->peer++];
        if (peer == frame->func)
            continue;
        uint64_t cost = part_of(writer, frame, member_cost(graph, peer));
        if (cost > frame->cost - frame->given)
            cost = frame->cost - frame->given;
        if (!is_worth_it(writer, cost))
            continue;
        frame->given += cost;
        push(writer, peer, cost, true);
        return true;
    }
    return false;
}

static void unfold(FoldWriter *writer, uint32_t root, uint64_t cost)
{
    writer->line.len = 0;
    push(writer, root, cost, false);
    while (writer->n > 0) {
        Frame *frame = &writer->frames[writer->n - 1];
        const CallFunc *func = &writer->graph->funcs[frame->func];
        uint64_t whole = frame->member ? member_cost(writer->graph, frame->func) : func->inclusive;
        if (enter_callee(writer, whole))
            continue;
        if (!frame->member && enter_peer(writer))
            continue;
        put_line(writer, frame->cost - frame->given);
        writer->n--;
        writer->line.len = writer->n > 0 ? writer->frames[writer->n - 1].text : 0;
    }
}

static int order_by_callee(const void *left, const void *right)
{
    const CallArc *a = left;
    const CallArc *b = right;
    if (a->from != b->from)
        return a->from < b->from ? -1 : 1;
    return (a->to > b->to) - (a->to < b->to);
}

/* The cost of a function that no call bears: it is the bottom of a stack. */
static uint64_t *root_costs(Arena *arena, const CallGraph *graph)
{
    uint64_t *borne = arena_many(arena, uint64_t, graph->n_funcs); /* by circle */
    uint64_t *roots = arena_many(arena, uint64_t, graph->n_funcs);
    for (uint32_t i = 0; i < graph->n_arcs; i++) {
        uint32_t circle = graph->funcs[graph->arcs[i].to].circle;
        borne[circle] = count_add(borne[circle], graph->arcs[i].cost);
    }
    for (uint32_t i = 0; i < graph->n_funcs; i++) {
        uint32_t func = graph->order[i];
        uint32_t circle = graph->funcs[func].circle;
        bool last = i + 1 == graph->n_funcs || graph->funcs[graph->order[i + 1]].circle != circle;
        if (last && graph->funcs[func].inclusive > borne[circle])
            roots[func] = graph->funcs[func].inclusive - borne[circle];
    }
    return roots;
}

void profile_write_folded(const Profile *profile, Buffer *out)
{
    Arena *arena = arena_new();
    CallGraph graph;
    profile_calls(arena, profile, &graph);
    FoldWriter writer = { .out = out,
                          .profile = profile,
                          .graph = &graph,
                          .places = arena_many(arena, uint32_t, graph.n_funcs),
                          .line = { .arena = arena },
                          .frames = arena_many(arena, Frame, DEEPEST + 1) };
    if (graph.n_arcs > 1)
        qsort(graph.arcs, graph.n_arcs, sizeof *graph.arcs, order_by_callee);
    for (uint32_t i = 0; i < graph.n_funcs; i++)
        writer.places[graph.order[i]] = i;
    const uint64_t *roots = root_costs(arena, &graph);
    for (uint32_t i = 0; i < graph.n_funcs; i++)
        if (roots[i] > 0)
            unfold(&writer, i, roots[i]);
    arena_free(arena);
}
