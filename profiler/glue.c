/*
 * glue.c: what stands between the copied instructions: counters, calls, returns, indirect branches.
 *
 *   call      call over the landing; take the pushed cache address off into the thread's table of
 *             returns; push the guest's return address
 *   return    look the return address up in that table and jump
 *   landing   behind the call: the address was this call's? count, go on
 *   matched   a return whose call is on the path compares, and that is all
 *
 * RAX and RCX are spilled when glue needs a register, and reloaded where guest code needs them.
 * Nothing writes flags. Counters: docs/translate.md.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/weave.h"

#include "profiler/link.h"
#include "profiler/lookup.h"

enum {
    LOW_WORD = 0xffff,
    STUB_ROOM = 512,
};

static const uint8_t both = SPILLED_RAX | SPILLED_RCX;

/* ---- points, spills ---- */

TracePoint *glue_point(Weave *w, const Code *code, uint32_t i, uint32_t insn, bool clean)
{
    TracePoint *point = &w->point[w->n_points++];
    *point = (TracePoint){ .offset = (uint32_t)(code->at - w->start),
                           .block = (uint8_t)i,
                           .insn = (uint8_t)insn,
                           .spilled = w->spilled,
                           .clean = clean && !w->flags_lost };
    return point;
}

void glue_end_point(Weave *w, const Code *code, TracePoint *point)
{
    point->size = (uint8_t)((uint32_t)(code->at - w->start) - point->offset);
    if (point->size == 0)
        w->n_points--;
}

void glue_spill(Weave *w, Code *code, uint8_t mask)
{
    if ((mask & ~w->spilled & SPILLED_RAX) != 0)
        emit_gs_store(code, AREA_SLOT(rax), R_RAX);
    if ((mask & ~w->spilled & SPILLED_RCX) != 0)
        emit_gs_store(code, AREA_SLOT(rcx), R_RCX);
    w->spilled |= mask;
}

void glue_reload(Weave *w, Code *code, uint8_t mask)
{
    if ((mask & w->spilled & SPILLED_RAX) != 0)
        emit_gs_load(code, R_RAX, AREA_SLOT(rax));
    if ((mask & w->spilled & SPILLED_RCX) != 0)
        emit_gs_load(code, R_RCX, AREA_SLOT(rcx));
    w->spilled &= (uint8_t)~mask;
}

/* Counts, with whichever register is spilled already. */
static void count(Weave *w, Code *code, uint32_t counter)
{
    if (w->spilled == 0)
        glue_spill(w, code, SPILLED_RCX);
    emit_count(code, counter, (w->spilled & SPILLED_RCX) != 0 ? R_RCX : R_RAX);
}

/* ---- exits ---- */

Exit *glue_exit(Pool *pool, ExitKind kind, uint64_t target)
{
    Exit *leave = pool_take_from(pool, sizeof *leave);
    leave->kind = kind;
    leave->target = target;
    return leave;
}

void glue_leave(Code *code, const Exit *leave, uint8_t spilled)
{
    emit_gs_store4(code, AREA_SLOT(exit), (uint32_t)pool_ref(leave));
    emit_gs_jump(code, AREA_SLOT(leave) + 8 * (int32_t)spilled);
}

void glue_leave_entry(Code *code, const Exit *leave)
{
    glue_leave(code, leave, leave->counter != 0 ? both : 0);
}

static void add_sum(Weave *w, uint32_t to, uint32_t from)
{
    if (to != 0)
        w->sum[w->n_sums++] = (LiveSum){ to, from };
}

uint32_t glue_exit_counter(Weave *w, uint32_t i, uint32_t edge, uint32_t other_edge)
{
    bool tried = !w->trace->final && i + 1 == w->path->n; /* from 0 on */
    if (w->passed[i] == 0 && other_edge == 0 && !tried)
        return edge;
    uint32_t counter = weave_counters(1);
    w->left[i] = counter;
    add_sum(w, edge, counter);
    add_sum(w, other_edge, counter);
    add_sum(w, w->passed[i], counter);
    return counter;
}

static Trace *trace_of(const Weave *w, const Block *block)
{
    if (block == NULL)
        return NULL;
    if (block == w->path->block[0].block && w->trace->from == 0)
        return w->trace;
    for (Trace *trace = pool_at(block->traces); trace != NULL; trace = pool_at(trace->same_head)) {
        if (trace->from == 0 && trace->stale == 0)
            return trace;
    }
    return NULL;
}

void glue_leave_later(Weave *w, uint8_t *field, const Exit *leave, Again again)
{
    w->leave[w->n_leaves++] = (Leave){ field, leave, w->spilled, again };
}

/*
 * A way whose stub is made later: its jump leads there then, if that can change while threads run
 * it; else the first 8 bytes of the way do.
 */
static void align_way(Code *code, const Leave *later)
{
    if (later->leave->kind != EXIT_SIDE || emit_is_in_word(later->field))
        return;
    while (((uintptr_t)code->at & (CELL - 1)) != 0)
        emit1(code, 0x90);
}

void glue_leaves(Weave *w)
{
    for (uint32_t i = 0; i < w->n_leaves; i++) {
        const Leave *later = &w->leave[i];
        bool again = again_is_possible(later->again) && later->leave->kind != EXIT_SIDE;
        align_way(w->cold, later);
        emit_patch(later->field, w->cold->at);
        w->spilled = later->spilled;
        if (again) {
            glue_reload(w, w->cold, both);
            again_emit(w->cold, w->start, later->again);
        }
        glue_leave(w->cold, later->leave, w->spilled);
    }
}

/* A jump that is linked now or later. */
static void jump_out(Weave *w, Code *code, uint64_t target, Trace *trace)
{
    if (trace != NULL && emit_reaches(code->at, trace->code)) {
        link_note(trace, emit_link(code, trace->code));
        return;
    }
    Exit *leave = glue_exit(w->pool, EXIT_TO, target);
    leave->field = emit_link(code, code->at);
    glue_leave_later(w, leave->field, leave, (Again){ 0 });
}

/* What an exit does beside going on, in this order. */
typedef struct ExitPlan {
    uint32_t counter; /* 0: none */
    bool inc;         /* flags may be lost: it counts with `inc` */
    bool tried;       /* the trace is tried out: the TRIAL-th time goes to the VM */
    Again again;      /* makes the flags again */
    uint64_t target;
} ExitPlan;

/* Where the copy of instruction `k` of block `i` is, from the trace's code on. */
static uint32_t offset_of(const Weave *w, uint32_t i, uint32_t k)
{
    uint32_t at = w->n_points;
    while (at-- > 0) {
        if (w->point[at].block == i && w->point[at].insn == k)
            return w->point[at].offset;
    }
    return 0;
}

Again glue_again(const Weave *w, uint32_t i)
{
    uint32_t k;
    const GuestInsn *insn = again_find(w->path, &i, &k);
    return insn != NULL ? again_with(insn, offset_of(w, i, k)) : (Again){ 0 };
}

static ExitPlan plan_exit(const Weave *w, uint32_t counter, const Block *to, uint64_t target,
                          Again again, bool is_last)
{
    ExitPlan plan = { .counter = counter, .target = target };
    bool dead = to != NULL && to->flags_dead;
    if (counter == 0)
        return plan;
    if (!dead)
        plan.again = again;
    plan.inc = dead || again_is_possible(again);
    plan.tried = !w->trace->final && w->trace->visits == 0 && is_last;
    return plan;
}

static void leave_often(Weave *w, uint8_t *field, const ExitPlan *plan)
{
    Exit *leave = glue_exit(w->pool, EXIT_OFTEN, plan->target);
    leave->trace = w->trace;
    glue_leave_later(w, field, leave, plan->again);
}

static void count_exit(Weave *w, Code *code, const ExitPlan *plan)
{
    enum { EQUAL = 4, SHORT_JUMP = 2 };
    if (plan->inc) {
        emit_gs_inc(code, AREA_COUNTER(plan->counter));
        if (!plan->tried)
            return;
        emit_gs_compare4(code, AREA_COUNTER(plan->counter), TRIAL);
        leave_often(w, emit_jcc(code, EQUAL), plan);
        return;
    }
    if (plan->tried)
        glue_spill(w, code, SPILLED_RCX);
    count(w, code, plan->counter);
    if (!plan->tried)
        return;
    emit_lea(code, true, R_RCX, R_RCX, -(int32_t)TRIAL);
    emit_skip_if_zero(code, SHORT_JUMP);
    emit1(code, 0xeb);
    emit1(code, JUMP_SIZE);
    leave_often(w, emit_jump(code, code->at), plan);
}

void glue_exit_to(Weave *w, Code *code, const WayOut *way)
{
    const Block *to = lookup_block(way->target);
    ExitPlan plan = plan_exit(w, way->counter, to, way->target, way->again, way->is_last);
    if (way->counter != 0)
        count_exit(w, code, &plan);
    glue_open_calls(w, code, way->block, true);
    glue_reload(w, code, both);
    again_emit(code, w->start, plan.again);
    jump_out(w, code, way->target, trace_of(w, to));
}

/* ---- calls ---- */

static uint64_t return_address(const PathBlock *call)
{
    return call->block->pc + call->block->size;
}

static bool is_short(uint64_t address)
{
    return address == (uint64_t)(int32_t)address;
}

/*
 * RCX holds a return address; RAX is free: RCX becomes its distance from the call's.
 */
static void compare_return(Weave *w, Code *code, uint32_t call)
{
    uint64_t address = return_address(&w->path->block[call]);
    if (is_short(address)) {
        emit_lea(code, true, R_RCX, R_RCX, -(int32_t)address);
        return;
    }
    emit_constant(code, R_RAX, -address);
    emit_lea_sum(code, R_RCX, R_RCX, R_RAX);
}

/* The address was not this call's. */
static const uint8_t *miss_return(Code *code)
{
    const uint8_t *start = code->at;
    emit_stack_load(code, R_RCX, -8);
    emit_gs_jump(code, AREA_SLOT(miss_return));
    return start;
}

static void landing(Weave *w, Code *code, uint32_t call)
{
    const PathBlock *at = &w->path->block[call];
    Exit *leave = glue_exit(w->pool, EXIT_LANDING, return_address(at));
    leave->counter = at->block->counter + 1;
    Code *cold = w->cold;
    if (w->mismatch == NULL && code != cold)
        w->mismatch = miss_return(cold);
    compare_return(w, code, call);
    if (w->mismatch != NULL) {
        emit_skip_if_zero(code, JUMP_SIZE);
        emit_jump(code, w->mismatch);
    } else {
        enum { MISMATCH_SIZE = 5 + 8 };
        emit_skip_if_zero(code, MISMATCH_SIZE);
        w->mismatch = miss_return(code);
    }
    leave->field = emit_link(code, code->at);
    emit_patch(leave->field, cold->at);
    glue_leave_entry(cold, leave);
}

static int32_t returns_entry(uint64_t address)
{
    return AREA_RETURNS + (int32_t)(address & LOW_WORD) * 8;
}

const uint64_t *glue_call_cell(Weave *w, uint32_t call)
{
    uint64_t address = return_address(&w->path->block[call]);
    const uint64_t *at = (const uint64_t *)(void *)w->cold->at;
    if (!is_short(address))
        emit_bytes(w->cold, &address, sizeof address);
    return at;
}

static void push_return(Weave *w, Code *code, uint32_t call)
{
    uint64_t address = return_address(&w->path->block[call]);
    if (is_short(address))
        emit_push_constant(code, (int32_t)address);
    else
        emit_cell_push(code, w->cells[call]);
}

/* call over the landing. The relative target is known when the landing is there. */
static void call_over(Weave *w, Code *code, uint32_t call)
{
    emit_call(code, code->at);
    uint8_t *field = code->at - 4;
    landing(w, code, call);
    emit_patch(field, code->at);
    emit_gs_pop(code, returns_entry(return_address(&w->path->block[call])));
}

void glue_call(Weave *w, uint32_t i, bool spilled_target)
{
    const PathBlock *at = &w->path->block[i];
    TracePoint *point = glue_point(w, w->hot, i, at->n - 1, !spilled_target);
    if (at->partner != NO_CALL) {
        push_return(w, w->hot, i);
        glue_end_point(w, w->hot, point);
        return;
    }
    point->size = JUMP_SIZE;
    call_over(w, w->hot, i);
    push_return(w, w->hot, i);
}

/*
 * Out of the path between a call and its return: the CPU's return stack gets the call after all, on
 * a stack of the VM's.
 */
bool glue_is_open(const Path *path, uint32_t call, uint32_t i, bool returned)
{
    const PathBlock *at = &path->block[call];
    bool is_call = at->block->end == LIVE_END_CALL || at->block->end == LIVE_END_CALL_IND;
    return is_call && at->partner != NO_CALL && at->partner >= i + (returned ? 1 : 0);
}

void glue_open_calls(Weave *w, Code *code, uint32_t i, bool returned)
{
    for (uint32_t call = 0; call <= i; call++) {
        if (!glue_is_open(w->path, call, i, returned))
            continue;
        emit_gs_store(code, AREA_SLOT(guest_sp), R_RSP);
        emit_gs_load(code, R_RSP, AREA_SLOT(ring_top));
        call_over(w, code, call);
        emit_gs_load(code, R_RSP, AREA_SLOT(guest_sp));
    }
}

/* ---- returns ---- */

static void jump_by_return(Code *code, uint32_t number)
{
    emit_gs_store4(code, AREA_SLOT(site), number);
    emit_low_word(code, R_RAX, R_RCX);
    emit_lea(code, true, R_RSP, R_RSP, 8);
    emit_gs_jump_table(code, R_RAX, AREA_RETURNS);
}

/* The return address is in RCX, which is spilled. */
static void look_up_return(Weave *w, Code *code, uint32_t i)
{
    uint32_t counter = glue_exit_counter(w, i, w->path->block[i].block->counter, 0);
    uint32_t number = stub_return_number(w->path->block[i].block);
    glue_spill(w, code, SPILLED_RAX);
    emit_count(code, counter, R_RAX);
    jump_by_return(code, number);
}

/*
 * The return of a trace that is tried out: the TRIAL-th goes to the VM, which executes it. All but
 * the address of the jump is as in look_up_return.
 */
static void try_return(Weave *w, uint32_t i)
{
    Code *code = w->hot;
    const Block *block = w->path->block[i].block;
    Exit *leave = glue_exit(w->pool, EXIT_OFTEN, NO_TARGET);
    leave->trace = w->trace;
    emit_count(code, glue_exit_counter(w, i, block->counter, 0), R_RCX);
    emit_lea(code, true, R_RCX, R_RCX, -(int32_t)TRIAL);
    emit_skip_if_zero(code, 0);
    uint8_t *skipped = code->at;
    emit_move(code, R_RCX, R_RAX);
    jump_by_return(code, stub_return_number(w->path->block[i].block));
    skipped[-1] = (uint8_t)(code->at - skipped);
    glue_leave_later(w, emit_jump(code, code->at), leave, (Again){ 0 });
}

void glue_return(Weave *w, uint32_t i)
{
    uint32_t insn = w->path->block[i].n - 1;
    bool tried = !w->trace->final && w->trace->visits == 0;
    Code *code = w->hot;
    TracePoint *point = glue_point(w, code, i, insn, true);
    glue_spill(w, code, tried ? both : SPILLED_RCX);
    glue_end_point(w, code, point);
    point = glue_point(w, code, i, insn, false);
    emit_stack_load(code, tried ? R_RAX : R_RCX, 0);
    glue_end_point(w, code, point);
    if (tried)
        try_return(w, i);
    else
        look_up_return(w, code, i);
}

/* The stack is not read again. */
void glue_other_return(Weave *w, Code *code, uint32_t i)
{
    uint32_t call = w->path->block[i].partner;
    uint64_t address = return_address(&w->path->block[call]);
    if (is_short(address)) {
        emit_lea(code, true, R_RCX, R_RCX, (int32_t)address);
    } else {
        glue_spill(w, code, SPILLED_RAX);
        emit_constant(code, R_RAX, address);
        emit_lea_sum(code, R_RCX, R_RCX, R_RAX);
    }
    look_up_return(w, code, i);
}

/* The path goes on behind its call. */
void glue_matched_return(Weave *w, uint32_t i)
{
    const PathBlock *at = &w->path->block[i];
    Code *code = w->hot;
    TracePoint *point = glue_point(w, code, i, at->n - 1, true);
    glue_spill(w, code, SPILLED_RCX);
    glue_end_point(w, code, point);
    point = glue_point(w, code, i, at->n - 1, false);
    emit_stack_load(code, R_RCX, 0);
    glue_end_point(w, code, point);
    if (!is_short(return_address(&w->path->block[at->partner])))
        glue_spill(w, code, SPILLED_RAX);
    compare_return(w, code, at->partner);
    emit_skip_if_zero(code, JUMP_SIZE);
    uint8_t *field = emit_jump(code, code->at);
    w->side[w->n_side++] =
        (SideExit){ .field = field, .block = i, .is_return = true, .spilled = w->spilled };
    emit_lea(code, true, R_RSP, R_RSP, 8);
}

/* ---- indirect jumps and calls ---- */

static uint8_t spilled_of(uint16_t regs)
{
    return (uint8_t)(((regs & 1u << R_RAX) != 0 ? SPILLED_RAX : 0) |
                     ((regs & 1u << R_RCX) != 0 ? SPILLED_RCX : 0));
}

/* The target is in RAX, RCX is spilled: on to its stub. */
void glue_dispatch(Weave *w, Code *code, uint32_t i)
{
    const PathBlock *at = &w->path->block[i];
    const GuestInsn *insn = &at->insn[at->n - 1];
    Site *site = pool_take_from(w->pool, sizeof *site);
    site->code = code->at;
    site->op = block_last_record(at->block);
    site->before = w->passed[i];
    site->edge = at->block->counter;
    w->failed |= !stub_new_site(site);
    site->in_rax = insn->shape == SHAPE_R && insn->a == R_RAX * 8;
    site->counter = glue_exit_counter(w, i, site->edge, 0);
    emit_lea(code, false, R_RCX, R_RAX, (int32_t)site->number);
    emit_low_word(code, R_RCX, R_RCX);
    emit_gs_jump_table(code, R_RCX, AREA_INDIRECT);
}

/* Falls through where the target is the one that the path expects. */
static void expect_target(Weave *w, Code *code, uint32_t i)
{
    uint64_t target = w->path->block[i].likely->pc;
    if (is_short(target)) {
        emit_lea(code, true, R_RCX, R_RAX, -(int32_t)target);
    } else {
        emit_constant(code, R_RCX, -target);
        emit_lea_sum(code, R_RCX, R_RCX, R_RAX);
    }
    emit_skip_if_zero(code, JUMP_SIZE);
    uint8_t *field = emit_jump(code, code->at);
    w->side[w->n_side++] =
        (SideExit){ .field = field, .block = i, .is_indirect = true, .spilled = w->spilled };
}

void glue_indirect(Weave *w, uint32_t i)
{
    const PathBlock *at = &w->path->block[i];
    const GuestInsn *insn = &at->insn[at->n - 1];
    Code *code = w->hot;
    bool is_call = at->block->end == LIVE_END_CALL_IND;
    bool in_rax = insn->shape == SHAPE_R && insn->a == R_RAX * 8;
    if (w->spilled != 0) {
        TracePoint *reload = glue_point(w, code, i, at->n - 1, true);
        glue_reload(w, code, spilled_of(insn->regs));
        glue_end_point(w, code, reload);
    }
    if (!in_rax) {
        TracePoint *point = glue_point(w, code, i, at->n - 1, true);
        glue_spill(w, code, SPILLED_RAX);
        glue_end_point(w, code, point);
        point = glue_point(w, code, i, at->n - 1, false);
        emit_branch_operand(code, insn);
        glue_end_point(w, code, point);
    }
    if (is_call)
        glue_call(w, i, !in_rax);
    TracePoint *point = glue_point(w, code, i, at->n - 1, in_rax && !is_call);
    glue_spill(w, code, SPILLED_RCX);
    glue_end_point(w, code, point);
    if (at->likely != NULL)
        expect_target(w, code, i);
    else
        glue_dispatch(w, code, i);
}
