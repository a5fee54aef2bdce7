/*
 * side.c: ways out of a path.
 *
 *   path   ... cmp; jne way ...
 *   way    to the VM, which counts        most ways are never taken: in the cold part, and that is
 * all stub   count, link                    made when the way is taken and its target has a trace
 *
 * The jump on the path then leads to the stub. Where its 4 bytes cannot be changed by one store
 * that threads which run it see whole, the first bytes of its way become a jump there.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/evict.h"
#include "profiler/weave.h"

enum {
    STUB_ROOM = 256,
    CALL_ROOM = 128, /* for each call that is open where the path is left, in both parts */
};

/* ---- while the path is made ---- */

static void make_way(Weave *w, const SideExit *side)
{
    Exit *way = glue_exit(w->pool, EXIT_SIDE, side->target);
    way->field = side->field;
    way->trace = w->trace;
    way->block = (uint8_t)side->block;
    way->spilled = side->spilled & (SPILLED_RAX | SPILLED_RCX);
    way->is_return = side->is_return;
    if (side->is_return)
        stub_return_number(w->path->block[side->block].block);
    else
        way->again = glue_again(w, side->block);
    glue_leave_later(w, side->field, way, (Again){ 0 });
}

static void make_stub(Weave *w, const SideExit *side)
{
    uint32_t i = side->block;
    emit_patch(side->field, w->hot->at);
    uint32_t counter = glue_exit_counter(w, i, side->edge, 0);
    glue_exit_to(w, w->hot, &(WayOut){ side->target, i, counter, glue_again(w, i), false });
}

void side_exit(Weave *w, const SideExit *side)
{
    w->spilled = side->spilled;
    w->flags_lost = false;
    if (side->is_indirect) {
        emit_patch(side->field, w->cold->at);
        glue_open_calls(w, w->cold, side->block, false);
        glue_dispatch(w, w->cold, side->block);
    } else if (side->often) {
        make_stub(w, side);
    } else {
        make_way(w, side);
    }
}

/* ---- when it is taken ---- */

/* What a stub needs of the path; its instructions are not known any more. */
static void recall_path(const Trace *trace, Path *path)
{
    path->n = trace->n_blocks;
    path->n_insns = 0;
    for (uint32_t i = 0; i < path->n; i++) {
        path->block[i] = (PathBlock){
            .block = trace_block(trace, i),
            .n = trace_block(trace, i)->n_insns,
            .taken = trace->at[i].taken,
            .within = NO_CALL,
            .partner = trace->at[i].partner,
        };
    }
}

static uint32_t count_open(const Path *path, const Exit *way)
{
    uint32_t n = 0;
    for (uint32_t call = 0; call <= way->block; call++)
        n += glue_is_open(path, call, way->block, !way->is_return) ? 1 : 0;
    return n;
}

/* Cells of the calls that are open there. */
static void make_open_cells(Weave *w, const Exit *way)
{
    for (uint32_t call = 0; call <= way->block; call++) {
        if (glue_is_open(w->path, call, way->block, !way->is_return))
            w->cells[call] = glue_call_cell(w, call);
    }
}

static void recall_weave(Weave *w, const Exit *way, const Path *path, CacheRoom *room)
{
    Trace *trace = way->trace;
    w->path = path;
    w->trace = trace;
    w->pool = &room->arena->pool;
    w->hot = &room->hot;
    w->cold = &room->cold;
    w->start = (uint8_t *)(uintptr_t)trace->code;
    w->spilled = way->spilled;
    w->flags_lost = w->failed = false;
    w->mismatch = NULL;
    w->n_points = w->n_sums = w->n_side = w->n_leaves = 0;
    for (uint32_t i = 0; i < path->n; i++) {
        w->passed[i] = trace_passed(trace, i);
        w->left[i] = trace->at[i].left;
    }
}

static void weave_stub(Weave *w, const Exit *way)
{
    uint32_t i = way->block;
    const Block *block = w->path->block[i].block;
    if (way->is_return) {
        glue_open_calls(w, w->hot, i, false);
        glue_other_return(w, w->hot, i);
        return;
    }
    uint32_t edge = block->counter + (w->path->block[i].taken ? 1 : 0);
    uint32_t counter = glue_exit_counter(w, i, edge, 0);
    glue_exit_to(w, w->hot, &(WayOut){ way->target, i, counter, way->again, false });
    glue_leaves(w);
}

static void redirect(const Exit *way, const uint8_t *stub)
{
    if (emit_is_in_word(way->field) || evict_is_alone())
        emit_patch(way->field, stub);
    else
        emit_divert(emit_target(way->field), stub);
}

bool side_open(Exit *way)
{
    static Weave w; /* under code_lock, as is… */
    static Path path;
    CacheRoom room;
    recall_path(way->trace, &path);
    size_t size = STUB_ROOM + (size_t)count_open(&path, way) * CALL_ROOM;
    if (!cache_room_beside(way->trace->code, size, size, &room))
        return false;
    recall_weave(&w, way, &path, &room);
    make_open_cells(&w, way);
    const uint8_t *stub = room.hot.at;
    weave_stub(&w, way);
    for (uint32_t i = 0; i < w.n_sums; i++)
        live_add_sum(w.sum[i]);
    way->trace->at[way->block].left = w.left[way->block];
    cache_keep(&room, NULL);
    redirect(way, stub);
    way->is_open = true;
    return true;
}
