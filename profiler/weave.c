/*
 * weave.c: the code of a trace, from a path.
 *
 *   hot    nop, copies of block 0, jcc out, copies of block 1, ... , the last exit
 *          | stubs of the jumps out: count, link | ...
 *   cold   constants | ways to the VM, of what is not linked | ...
 *
 * Conditional jumps are turned so that the path falls through. Counters stand at exits only; the
 * path's edges get virtual ones whose sums the reader carries along (docs/translate.md).
 *
 * SPDX-License-Identifier: MIT
 */
#define ZYAN_NO_LIBC 1
#include "profiler/weave.h"

#include "profiler/flags.h"
#include "profiler/forms.h"
#include "profiler/link.h"

#include <Zydis/Mnemonic.h>

enum { NO_EDGE = 0 };

/* ---- counters ---- */

/*
 * Ids of counters that threads write and of such that stand for sums only come from pages of their
 * own: what is written lies close together, and the others need no memory.
 */
typedef struct CounterIds {
    uint32_t next, end;
} CounterIds;

static uint32_t take_ids(CounterIds *ids, uint32_t n)
{
    enum { AT_ONCE = 512 };
    if (ids->end - ids->next < n) {
        ids->next = live_new_counters(AT_ONCE);
        ids->end = ids->next + AT_ONCE;
    }
    ids->next += n;
    return ids->next - n;
}

uint32_t weave_counters(uint32_t n)
{
    static CounterIds written; /* under code_lock */
    return take_ids(&written, n);
}

static uint32_t sum_counters(uint32_t n)
{
    static CounterIds sums; /* under code_lock */
    return take_ids(&sums, n);
}

/* ---- copies ---- */

static bool is_nop(const GuestInsn *insn)
{
    return insn->mnemonic == ZYDIS_MNEMONIC_NOP || insn->mnemonic == ZYDIS_MNEMONIC_ENDBR64;
}

/* Writes all of register `reg` (RAX or RCX) without reading any of it. */
static bool overwrites(const GuestInsn *insn, unsigned reg)
{
    uint8_t offset = (uint8_t)(reg * 8);
    bool target = insn->a == offset && insn->bits >= 32;
    bool memory = insn->mem.base != offset && insn->mem.index != offset;
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_MOVZX:
    case ZYDIS_MNEMONIC_MOVSX:
    case ZYDIS_MNEMONIC_MOVSXD:
    case ZYDIS_MNEMONIC_LEA:
        return target && ((insn->shape == SHAPE_RR && (insn->b | 1) != (offset | 1)) ||
                          insn->shape == SHAPE_RI || (insn->shape == SHAPE_RM && memory));
    case ZYDIS_MNEMONIC_XOR:
        return target && insn->shape == SHAPE_RR && insn->b == offset;
    default:
        return false;
    }
}

/* Registers in the area that the instruction needs come back first; those it overwrites never do.
 */
static void settle_spills(Weave *w, const GuestInsn *insn)
{
    static const struct {
        unsigned reg;
        uint8_t spilled;
    } two[] = { { R_RAX, SPILLED_RAX }, { R_RCX, SPILLED_RCX } };
    for (unsigned i = 0; i < 2; i++) {
        if ((insn->regs & 1u << two[i].reg) != 0 && !overwrites(insn, two[i].reg))
            glue_reload(w, w->hot, two[i].spilled);
    }
}

static void forget_overwritten(Weave *w, const GuestInsn *insn)
{
    if (overwrites(insn, R_RAX))
        w->spilled &= (uint8_t)~SPILLED_RAX;
    if (overwrites(insn, R_RCX))
        w->spilled &= (uint8_t)~SPILLED_RCX;
}

/* Its operand is too far from the cache: through a register that it does not use. */
static void copy_far(Weave *w, const GuestInsn *insn, uint32_t i, uint32_t k)
{
    enum { MUCH = HOT_ROOM * 3 / 4 }; /* such copies are twice as long */
    bool by_rax = (insn->regs & 1u << R_RAX) == 0;
    w->failed |= insn->rip_high || (!by_rax && (insn->regs & 1u << R_RCX) != 0) ||
                 w->hot->at - w->start > MUCH;
    if (w->failed)
        return;
    TracePoint *point = glue_point(w, w->hot, i, k, true);
    glue_spill(w, w->hot, by_rax ? SPILLED_RAX : SPILLED_RCX);
    glue_end_point(w, w->hot, point);
    point = glue_point(w, w->hot, i, k, true);
    emit_copy_by(w->hot, insn, by_rax ? R_RAX : R_RCX);
    glue_end_point(w, w->hot, point);
}

static void copy_near(Weave *w, const GuestInsn *insn, uint32_t i, uint32_t k)
{
    TracePoint *point = glue_point(w, w->hot, i, k, true);
    emit_copy(w->hot, insn);
    glue_end_point(w, w->hot, point);
}

static void copy_insn(Weave *w, uint32_t i, uint32_t k)
{
    const GuestInsn *insn = &w->path->block[i].insn[k];
    if (is_nop(insn))
        return;
    if (w->spilled != 0) {
        TracePoint *point = glue_point(w, w->hot, i, k, true);
        settle_spills(w, insn);
        glue_end_point(w, w->hot, point);
    }
    if (emit_copy_reaches(w->hot, insn))
        copy_near(w, insn, i, k);
    else
        copy_far(w, insn, i, k);
    forget_overwritten(w, insn);
    if ((insn->flags_out & RFLAGS_ARITH) == RFLAGS_ARITH)
        w->flags_lost = false;
}

/* ---- ends of blocks ---- */

/* loop, jrcxz and their like have no long form: a short one round two jumps. */
static uint8_t *count_jump(Weave *w, const GuestInsn *insn, bool taken)
{
    emit_bytes(w->hot, insn->bytes, insn->size - 1u);
    if (taken) {
        emit1(w->hot, JUMP_SIZE);
        return emit_jump(w->hot, w->hot->at);
    }
    emit1(w->hot, 2);
    emit1(w->hot, 0xeb);
    emit1(w->hot, JUMP_SIZE);
    return emit_jump(w->hot, w->hot->at);
}

/* Leaves the path where the jump goes the other way. */
static void end_cond(Weave *w, uint32_t i)
{
    const PathBlock *at = &w->path->block[i];
    const Block *block = at->block;
    const GuestInsn *insn = &at->insn[at->n - 1];
    uint8_t *field;
    if (w->spilled != 0 && insn->flow == FLOW_COUNT) {
        TracePoint *reload = glue_point(w, w->hot, i, at->n - 1, true);
        settle_spills(w, insn);
        glue_end_point(w, w->hot, reload);
    }
    TracePoint *point = glue_point(w, w->hot, i, at->n - 1, true);
    if (insn->flow == FLOW_COND)
        field = emit_jcc(w->hot, insn->cc ^ (at->taken ? 1u : 0u));
    else
        field = count_jump(w, insn, at->taken);
    glue_end_point(w, w->hot, point);
    w->side[w->n_side++] =
        (SideExit){ .field = field,
                    .block = i,
                    .often = at->both,
                    .target = at->taken ? block->pc + block->size : block->target,
                    .edge = block->counter + (at->taken ? 1 : 0),
                    .spilled = w->spilled };
}

static uint32_t path_edge(const PathBlock *at)
{
    bool second = at->block->end == LIVE_END_COND && !at->taken;
    return at->block->counter + (second ? 1 : 0);
}

/* What else is counted with the path's edge: a call that came back, an indirect branch's target. */
static uint32_t other_edge(const Path *path, const PathBlock *at)
{
    if (at->likely != NULL)
        return at->likely->counter;
    bool matched = at->block->end == LIVE_END_RET && at->partner != NO_CALL;
    return matched ? path->block[at->partner].block->counter + 1 : NO_EDGE;
}

static uint64_t path_target(const Path *path, const PathBlock *at)
{
    const Block *block = at->block;
    if (at->likely != NULL)
        return at->likely->pc;
    if (block->end == LIVE_END_RET)
        block = path->block[at->partner].block;
    else if (block->end != LIVE_END_FALL && (block->end != LIVE_END_COND || at->taken))
        return block->target;
    return block->pc + block->size;
}

static void exit_to_record(Weave *w, uint32_t i)
{
    const PathBlock *at = &w->path->block[i];
    Exit *leave = glue_exit(w->pool, EXIT_RECORD, at->block->pc + at->block->size);
    leave->op = block_last_record(at->block);
    TracePoint *point = glue_point(w, w->hot, i, at->n - 1, true);
    glue_reload(w, w->hot, SPILLED_RAX | SPILLED_RCX);
    glue_end_point(w, w->hot, point);
    leave->counter = w->passed[i];
    glue_leave(w->hot, leave, 0);
}

static void end_last(Weave *w, uint32_t i)
{
    const PathBlock *at = &w->path->block[i];
    uint32_t counter = glue_exit_counter(w, i, path_edge(at), other_edge(w->path, at));
    w->ended = w->left[i]; /* the block may be left by a side, too */
    w->left[i] = 0;
    glue_exit_to(w, w->hot,
                 &(WayOut){ path_target(w->path, at), i, counter, glue_again(w, i), true });
}

static void end_block(Weave *w, uint32_t i)
{
    const PathBlock *at = &w->path->block[i];
    bool last = i + 1 == w->path->n;
    switch (at->block->end) {
    case LIVE_END_COND:
        end_cond(w, i);
        break;
    case LIVE_END_CALL:
        glue_call(w, i, false);
        break;
    case LIVE_END_RET:
        if (at->partner == NO_CALL) {
            glue_return(w, i);
            return;
        }
        glue_matched_return(w, i);
        break;
    case LIVE_END_JUMP_IND:
    case LIVE_END_CALL_IND:
        glue_indirect(w, i);
        if (at->likely == NULL)
            return;
        break;
    case LIVE_END_SYSCALL:
        exit_to_record(w, i);
        return;
    default:
        break;
    }
    if (last)
        end_last(w, i);
}

/* ---- the whole ---- */

/* The virtual counters of the path's edges, and what each is part of. */
static void count_path(Weave *w, uint32_t from)
{
    const Path *path = w->path;
    uint32_t first = path->n > 1 ? sum_counters(path->n - 1) : 0;
    w->passed[0] = from;
    for (uint32_t i = 0; i + 1 < path->n; i++) {
        const PathBlock *at = &path->block[i];
        uint32_t here = first + i;
        uint32_t parts[] = { path_edge(at), other_edge(path, at), w->passed[i] };
        for (unsigned k = 0; k < 3; k++) {
            if (parts[k] != NO_EDGE)
                live_add_sum((LiveSum){ parts[k], here });
        }
        w->passed[i + 1] = here;
    }
}

static void make_cells(Weave *w)
{
    for (uint32_t i = 0; i < w->path->n; i++) {
        const Block *block = w->path->block[i].block;
        if (block->end == LIVE_END_CALL || block->end == LIVE_END_CALL_IND)
            w->cells[i] = glue_call_cell(w, i);
    }
}

/* Where the entry leads when the trace is stale. */
static const uint8_t *way_out(Weave *w)
{
    const Block *head = w->path->block[0].block;
    uint32_t from = w->trace->from;
    const uint8_t *start = w->cold->at;
    Exit *leave = glue_exit(w->pool, from != 0 ? EXIT_LANDING : EXIT_TO, head->pc);
    leave->field = w->start + 1;
    leave->counter = from;
    glue_leave_entry(w->cold, leave);
    return start;
}

/* Its last way out has a counter of its own, which says how often it was passed. */
static bool ends_with_jump(const Path *path)
{
    const PathBlock *last = &path->block[path->n - 1];
    switch (last->block->end) {
    case LIVE_END_JUMP_IND:
    case LIVE_END_CALL_IND:
        return last->likely != NULL;
    case LIVE_END_SYSCALL:
        return false;
    default:
        return true;
    }
}

/* Counts this entry; the TRIAL-th asks for the final trace. */
static void count_entry(Weave *w)
{
    Code *code = w->hot;
    Exit *leave = glue_exit(w->pool, EXIT_PROMOTE, w->path->block[0].block->pc);
    bool landed = w->trace->from != 0;
    leave->counter = w->trace->from;
    if (!landed)
        emit_gs_store(code, AREA_SLOT(rcx), R_RCX);
    emit_count(code, w->trace->visits, R_RCX);
    emit_lea(code, true, R_RCX, R_RCX, -TRIAL);
    emit_skip_if_zero(code, 2);
    emit1(code, 0xeb);
    emit1(code, JUMP_SIZE);
    emit_jump(code, w->cold->at);
    glue_leave(w->cold, leave, landed ? SPILLED_RAX | SPILLED_RCX : SPILLED_RCX);
    if (!landed)
        emit_gs_load(code, R_RCX, AREA_SLOT(rcx));
}

static void weave_all(Weave *w)
{
    static const uint8_t entry[] = { 0x0f, 0x1f, 0x44, 0x00, 0x00 };
    const Path *path = w->path;
    make_cells(w);
    w->trace->way_out = way_out(w);
    /* A loop of nothing but jumps has no copy: here is where a signal can stop it. */
    TracePoint *point = glue_point(w, w->hot, 0, 0, true);
    emit_bytes(w->hot, entry, sizeof entry);
    glue_end_point(w, w->hot, point);
    if (w->trace->visits != 0)
        count_entry(w);
    for (uint32_t i = 0; i < path->n; i++) {
        const PathBlock *at = &path->block[i];
        uint32_t n = at->n - (at->block->end != LIVE_END_FALL ? 1 : 0);
        for (uint32_t k = 0; k < n; k++)
            copy_insn(w, i, k);
        end_block(w, i);
    }
    for (uint32_t i = 0; i < w->n_side; i++)
        side_exit(w, &w->side[i]);
    glue_leaves(w);
}

static void *copy_of(Pool *pool, const void *from, size_t size)
{
    uint8_t *to = pool_take_from(pool, size);
    for (size_t i = 0; i < size; i++)
        to[i] = ((const uint8_t *)from)[i];
    return to;
}

static void fill_trace(const Weave *w, const CacheRoom *room, const uint8_t *cold)
{
    static uint8_t packed[MOST_POINTS * POINT_MOST_BYTES]; /* under code_lock */
    Trace *trace = w->trace;
    for (uint32_t i = 0; i < w->path->n; i++) {
        const PathBlock *at = &w->path->block[i];
        trace->at[i] = (TraceBlock){ .block = pool_ref(at->block),
                                     .left = w->left[i],
                                     .index = (uint8_t)i,
                                     .taken = at->taken,
                                     .partner = at->partner };
    }
    trace->cold = cold;
    trace->size = (uint32_t)(room->hot.at - w->start);
    trace->cold_size = (uint16_t)(room->cold.at - cold);
    trace->n_blocks = (uint8_t)w->path->n;
    trace->ended = w->ended;
    trace->n_points = (uint16_t)w->n_points;
    trace->passed = w->path->n > 1 ? w->passed[1] : 0;
    trace->points = pool_ref(copy_of(w->pool, packed, point_pack(w->point, w->n_points, packed)));
}

Trace *weave_trace(const Path *path, uint32_t from, bool final)
{
    static Weave w; /* under code_lock */
    CacheRoom room;
    if (!cache_room(path->block[0].block->pc, HOT_ROOM, COLD_ROOM, final, &room))
        return NULL;
    const uint8_t *cold = room.cold.at;
    w.path = path;
    w.hot = &room.hot;
    w.cold = &room.cold;
    w.start = room.hot.at;
    w.spilled = from != 0 ? SPILLED_RAX | SPILLED_RCX : 0;
    w.flags_lost = from == 0 && path->block[0].block->flags_dead;
    w.failed = false;
    w.mismatch = NULL;
    w.ended = 0;
    w.n_points = w.n_sums = w.n_side = w.n_leaves = 0;
    w.pool = &room.arena->pool;
    w.trace = pool_take_from(w.pool, sizeof *w.trace + path->n * sizeof w.trace->at[0]);
    w.trace->code = w.start;
    w.trace->from = from;
    w.trace->final = final;
    w.trace->visits = final || ends_with_jump(path) ? 0 : weave_counters(1);
    for (uint32_t i = 0; i < path->n; i++)
        w.left[i] = 0;
    count_path(&w, from);
    weave_all(&w);
    if (w.failed) {
        link_drop_fields(w.start, room.hot.at);
        link_drop_fields(cold, room.cold.at);
        return NULL;
    }
    for (uint32_t i = 0; i < w.n_sums; i++)
        live_add_sum(w.sum[i]);
    fill_trace(&w, &room, cold);
    cache_keep(&room, w.trace);
    return w.trace;
}
