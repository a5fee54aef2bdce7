/*
 * records.c: from decoded instructions to the records of a block.
 *
 *   GuestInsn[] -> [check] [handler | fused pair | thunk]... [transfer]
 *
 * Per instruction the table of rows gives the handler; a compare before a conditional jump is fused
 * with it; what has no handler is gathered into thunks. Flags are live at the end of a block and
 * before every instruction that may fault (a signal frame shows them), so a writer is dead only
 * when another one overwrites it with nothing but harmless instructions between.
 *
 * SPDX-License-Identifier: MIT
 */
#define ZYAN_NO_LIBC 1
#include "profiler/records.h"

#include "profiler/flags.h"
#include "profiler/flow.h"
#include "profiler/forms.h"
#include "profiler/fused.h"
#include "profiler/gs.h"
#include "profiler/lookup.h"
#include "profiler/pairs.h"
#include "profiler/pool.h"
#include "profiler/record_room.h"
#include "profiler/thunk.h"
#include "profiler/values.h"
#include "profiler/translate.h"

#include <Zydis/Mnemonic.h>

enum {
    MAX_SLOTS = 2 + 3 * BLOCK_MAX_INSNS + 32 + VALUES_SLOTS * VALUES_PER_BLOCK,
    ZERO_REG = offsetof(Cpu, scratch),                    /* always zero */
    TEMP_REG = offsetof(Cpu, scratch) + sizeof(uint64_t), /* between records of one instruction */
    RUN_WORTH =
        3, /* handled instructions in a row that are cheaper in a thunk, if executed often */
};

/* ---- emitting ---- */

typedef struct Emit {
    DecodedRun *run;
    Block *block;
    Op *ops;
    uint32_t n;       /* slots so far */
    uint32_t insn;    /* instruction being emitted */
    uint32_t counter; /* first counter of the block */
    uint32_t n_records;
    uint16_t start[MAX_SLOTS]; /* first slot of each record */
    uint8_t insn_of[MAX_SLOTS];
    Handler *handler[BLOCK_MAX_INSNS]; /* of each instruction: form_handler… */
    uint8_t slots[BLOCK_MAX_INSNS];    /* …and its slots */
    uint16_t live_after[BLOCK_MAX_INSNS];
    bool native[BLOCK_MAX_INSNS + 1];
    ValuePoints values;
    uint32_t value; /* the next of them */
} Emit;

static void find_handlers(Emit *e)
{
    for (uint32_t i = 0; i < e->run->n; i++) {
        unsigned slots;
        e->handler[i] = form_handler(&e->run->insn[i], &slots);
        e->slots[i] = (uint8_t)slots;
    }
}

/* live_after: per instruction, the flags that are live behind it. Returns those before the first.
 */
static uint32_t find_live_flags(Emit *e)
{
    uint32_t live = RFLAGS_ARITH;
    for (uint32_t i = e->run->n; i-- > 0;) {
        const GuestInsn *insn = &e->run->insn[i];
        e->live_after[i] = (uint16_t)live;
        live = (live & ~(uint32_t)insn->flags_out) | insn->flags_in;
        if (insn->faults || insn->flow != FLOW_NEXT || e->handler[i] == NULL)
            live = RFLAGS_ARITH;
    }
    return live;
}

static Op *emit(Emit *e, Handler *run, unsigned slots)
{
    Op *op = &e->ops[e->n];
    e->start[e->n_records++] = (uint16_t)e->n;
    for (unsigned i = 0; i < slots; i++) {
        op[i].word[0] = op[i].word[1] = 0;
        e->insn_of[e->n++] = (uint8_t)e->insn;
    }
    op->run = run;
    return op;
}

static uint8_t or_zero(uint8_t reg)
{
    return reg == NO_REG ? ZERO_REG : reg;
}

static void set_memory(Op *op, const GuestMem *mem)
{
    op->b = or_zero(mem->base);
    op->c = or_zero(mem->index);
    op->d = mem->scale;
    op->imm = mem->mode == MODE_ABSOLUTE ? 0 : (int32_t)mem->disp;
}

static void emit_handled(Emit *e, const GuestInsn *insn, Handler *handler, unsigned slots)
{
    bool rotate = insn->mnemonic == ZYDIS_MNEMONIC_ROL || insn->mnemonic == ZYDIS_MNEMONIC_ROR;
    if (rotate && insn->shape == SHAPE_RI && (e->live_after[e->insn] & insn->flags_out) == 0)
        handler = (insn->mnemonic == ZYDIS_MNEMONIC_ROL ? h_rol_ri_nf
                                                        : h_ror_ri_nf)[form_size_index(insn->bits)];
    Op *op = emit(e, handler, slots);
    op->a = insn->a;
    op->b = insn->b;
    op->imm = (int32_t)insn->imm;
    if (form_is_shift(insn) && insn->shape == SHAPE_RI)
        op->imm = (int32_t)(insn->imm & (insn->bits == 64 ? 63 : 31));
    if (handler == h_mov_long)
        op[1].word[0] = insn->imm;
    if (!form_has_memory(insn->shape) || handler == h_nop)
        return;
    set_memory(op, &insn->mem);
    if (insn->mem.mode == MODE_ABSOLUTE)
        op[1].word[0] = (uint64_t)insn->mem.disp;
    if (form_has_long_immediate(insn->shape))
        op[1].word[1] = insn->imm;
}

/* The address of a GS operand, for the record behind. */
static void emit_gs_address(Emit *e, const GuestInsn *insn)
{
    Op *op = emit(e, h_gs_address, 2);
    set_memory(op, &insn->gs_mem);
    op->imm = insn->gs_mem.mode == MODE_COUNT;
    op[1].word[0] = (uint64_t)insn->gs_mem.disp;
}

/* The last record, of `slots` slots, has links: what finds their blocks when they are followed. */
static void emit_links(Emit *e, Op *op, unsigned slots)
{
    Op *finders = &e->ops[e->n];
    Handler *finder = slots == 2 ? h_link_2 : h_link_3;
    e->insn_of[e->n++] = (uint8_t)e->insn;
    finders->word[0] = finders->word[1] = (uint64_t)(uintptr_t)finder;
    op[1].link[0] = finders;
    op[1].link[1] = (const Op *)(const void *)&finders->word[1];
}

/* ---- transfers ---- */

/* The register operand of an indirect branch; a memory operand is loaded into TEMP_REG first. */
static uint8_t emit_indirect_operand(Emit *e, const GuestInsn *insn)
{
    if (insn->shape == SHAPE_R)
        return insn->a;
    GuestInsn load = *insn;
    load.mnemonic = ZYDIS_MNEMONIC_MOV;
    load.shape = SHAPE_RM;
    load.bits = 64;
    load.a = TEMP_REG;
    unsigned slots;
    Handler *handler = form_handler(&load, &slots);
    emit_handled(e, &load, handler, slots);
    return TEMP_REG;
}

static void emit_call(Emit *e, uint64_t next)
{
    Op *op = emit(e, h_call, 3);
    op->imm = (int32_t)e->counter;
    op[2].word[0] = next;
    emit_links(e, op, 3);
    lookup_note_call(op, next);
}

static void emit_call_indirect(Emit *e, const GuestInsn *insn, uint64_t next)
{
    uint8_t reg = emit_indirect_operand(e, insn);
    Op *op = emit(e, h_call_r, 3);
    op->a = reg;
    op->imm = (int32_t)e->counter;
    op[2].word[0] = e->block->live;
    emit_links(e, op, 3);
    op[1].word[0] = next;
    lookup_note_call(op, next);
}

static void emit_jump_indirect(Emit *e, const GuestInsn *insn)
{
    uint8_t reg = emit_indirect_operand(e, insn);
    Op *op = emit(e, h_jump_r, 2);
    op->a = reg;
    op->imm = (int32_t)e->counter;
    op[1].word[1] = e->block->live;
}

static void emit_return(Emit *e, const GuestInsn *insn)
{
    Op *op = emit(e, insn->shape == SHAPE_I ? h_ret_drop : h_ret, 2);
    op->imm = (int32_t)e->counter;
    op[1].word[0] = insn->shape == SHAPE_I ? (uint16_t)insn->imm : 0;
    op[1].word[1] = e->block->live;
}

static Handler *count_handler(unsigned mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_LOOP:
        return h_loop;
    case ZYDIS_MNEMONIC_LOOPE:
        return h_loope;
    case ZYDIS_MNEMONIC_LOOPNE:
        return h_loopne;
    case ZYDIS_MNEMONIC_JRCXZ:
        return h_jrcxz;
    default:
        return h_jecxz;
    }
}

static void emit_transfer(Emit *e, const GuestInsn *insn)
{
    uint64_t next = insn->pc + insn->size;
    Op *op;
    switch (insn->flow) {
    case FLOW_COND:
    case FLOW_COUNT:
        op = emit(e, insn->flow == FLOW_COND ? h_jcc[insn->cc] : count_handler(insn->mnemonic), 2);
        op->imm = (int32_t)e->counter;
        emit_links(e, op, 2);
        break;
    case FLOW_ABORT:
        emit(e, h_xbegin, 1); /* then as a jump */
        /* fall through */
    case FLOW_JUMP:
        op = emit(e, h_jump, 2);
        op->imm = (int32_t)e->counter;
        emit_links(e, op, 2);
        break;
    case FLOW_CALL:
        emit_call(e, next);
        break;
    case FLOW_CALL_IND:
        emit_call_indirect(e, insn, next);
        break;
    case FLOW_JUMP_IND:
        emit_jump_indirect(e, insn);
        break;
    case FLOW_RET:
        emit_return(e, insn);
        break;
    default:
        op = emit(e, h_syscall, 2);
        op->imm = (int32_t)e->counter;
        op[1].word[0] = insn->pc;
        op[1].word[1] = insn->pc + insn->size;
    }
}

static void emit_fall(Emit *e)
{
    Op *op = emit(e, h_fall, 2);
    op->imm = (int32_t)e->counter;
    emit_links(e, op, 2);
}

static void emit_fused(Emit *e, Handler *handler, const GuestInsn *insn)
{
    Op *op = emit(e, handler, 3);
    op->a = insn->a;
    op->b = insn->b;
    op->imm = (int32_t)insn->imm;
    op[2].word[0] = e->counter;
    if (form_has_memory(insn->shape)) {
        bool absolute = insn->mem.mode == MODE_ABSOLUTE;
        set_memory(op, &insn->mem);
        op[2].word[1] = absolute ? (uint64_t)insn->mem.disp : insn->imm;
        if (absolute)
            op->imm = (int32_t)insn->imm;
    }
    e->insn++;
    emit_links(e, op, 3);
}

/* ---- thunks ---- */

/* Handled instructions that a thunk may take in: none that would make it load or guard flags. */
static bool may_absorb(const GuestInsn *insn)
{
    return form_special(insn) == NULL && insn->flow == FLOW_NEXT && !insn->gs &&
           insn->flags_in == 0 && (insn->flags_out == 0 || insn->flags_out == RFLAGS_ARITH);
}

/*
 * e->native: what goes into thunks: instructions without handler, with their handled neighbours,
 * and straight runs of at least RUN_WORTH handled ones; not where warm blocks are translated, and
 * thunks of cold ones would only cost. A fused pair at the end stays one.
 */
static void find_native(Emit *e)
{
    const DecodedRun *run = e->run;
    uint32_t start = 0;
    uint32_t worth = vm_keeps_gs(&the_vm) ? BLOCK_MAX_INSNS + 1 : RUN_WORTH;
    bool wanted = false;
    for (uint32_t i = 0; i <= run->n; i++) {
        bool fused = i + 2 == run->n && fused_handler(&run->insn[i], &run->insn[i + 1]) != NULL;
        bool needs = i < run->n && run->insn[i].flow == FLOW_NEXT && e->handler[i] == NULL;
        bool fits = needs || (i < run->n && !fused && may_absorb(&run->insn[i]));
        e->native[i] = fits;
        wanted = wanted || needs;
        if (fits)
            continue;
        for (uint32_t k = start; k < i && !wanted && i - start < worth; k++)
            e->native[k] = false;
        start = i + 1;
        wanted = false;
    }
}

/* ---- values ---- */

static Op *emit_value_mem(Emit *e, Handler *handler, const GuestMem *mem)
{
    Op *op = emit(e, handler, VALUES_SLOTS);
    set_memory(op, mem);
    if (mem->mode == MODE_ABSOLUTE)
        op[1].word[0] = (uint64_t)mem->disp;
    return op;
}

static Op *emit_value(Emit *e, const ValuePoint *point)
{
    if (point->kind == LIVE_VALUE_STRIDE)
        return emit_value_mem(e, h_value_address[point->mem.mode], &point->mem);
    if (point->reg == NO_REG) {
        int at = form_size_index(point->bits) * MODE_COUNT + (int)point->mem.mode;
        Op *op = emit_value_mem(e, h_value_mem[at], &point->mem);
        op->a = point->is_signed;
        return op;
    }
    Op *op = emit(e, h_value_reg, VALUES_SLOTS);
    op->a = point->reg;
    op->b = (uint8_t)(64 - point->bits);
    op->c = point->is_signed;
    op->d = point->mask;
    return op;
}

/* What is observed before the instruction that comes next. */
static void emit_values(Emit *e)
{
    for (; e->value < e->values.n && e->values.point[e->value].insn == e->insn; e->value++) {
        const ValuePoint *point = &e->values.point[e->value];
        emit_value(e, point)[1].word[1] = (uint64_t)(uintptr_t)point->site;
    }
}

/* A thunk ends where something is to be observed. */
static ThunkPlan plan_thunk(Emit *e)
{
    uint32_t next = e->value < e->values.n ? e->values.point[e->value].insn : e->run->n;
    bool native = e->native[next];
    e->native[next] = false;
    ThunkPlan plan = thunk_plan(e->run, e->insn, e->native);
    e->native[next] = native;
    return plan;
}

static void emit_thunk(Emit *e)
{
    ThunkPlan plan = plan_thunk(e);
    if (plan.needs_flags)
        emit(e, h_to_raw, 1);
    bool live = (e->live_after[e->insn + plan.n - 1] & plan.flags_out) != 0;
    Op *op = emit(e, NULL, 1);
    op->run = thunk_make(e->run, &plan, e->block, op + 1, live);
    e->insn += plan.n;
}

/* ---- a block ---- */

uint32_t records_add_live(const DecodedRun *run, Block *block)
{
    const GuestInsn *last = &run->insn[run->n - 1];
    LiveBlock live = { .start = run->pc,
                       .size = run->size,
                       .n_insns = run->n,
                       .last = (uint32_t)(last->pc - run->pc),
                       .end = decode_live_end(run),
                       .map = LIVE_NO_MAP,
                       .target = last->target };
    bool two = live.end == LIVE_END_COND || live.end == LIVE_END_CALL ||
               live.end == LIVE_END_CALL_IND || live.end == LIVE_END_SYSCALL;
    live.counter = live_new_counters(two ? 2 : 1);
    block->counter = live.counter;
    block->end = (uint8_t)live.end;
    block->target = live.target;
    block->live = live_add_block(&live);
    return live.counter;
}

static bool may_be_translated(const DecodedRun *run, const Block *block)
{
    return vm_keeps_gs(&the_vm) && !run->map.checked && the_vm.options.model_out == NULL &&
           !block->observed;
}

/* Burst mode: nobody says when code is mapped anew, so every block carries the bytes it was made
 * from. */
static void emit_burst(Emit *e)
{
    const DecodedRun *run = e->run;
    Op *op = emit(e, h_burst, 2 + (run->size + sizeof *op - 1) / sizeof *op);
    uint8_t *at = (uint8_t *)(op + 2);
    op->imm = (int32_t)run->size;
    op[1].word[0] = run->pc;
    for (uint32_t i = 0; i < run->n; i++)
        for (uint32_t j = 0; j < run->insn[i].size; j++)
            *at++ = run->insn[i].bytes[j];
}

/* What a block does when it is entered, before its first instruction. */
static void emit_head(Emit *e)
{
    const DecodedRun *run = e->run;
    if (the_vm.options.burst != NULL)
        emit_burst(e);
    else if (run->map.checked)
        emit(e, h_check, 1);
    if (the_vm.options.model_out != NULL) {
        Op *op = emit(e, h_model, 2);
        op[1].word[0] = run->pc;
        op[1].word[1] = run->size | (uint64_t)run->n << 32;
    }
    if (may_be_translated(run, e->block))
        emit(e, h_warm, 1)->imm = translate_patience();
}

static void emit_all(Emit *e)
{
    DecodedRun *run = e->run;
    while (e->insn < run->n) {
        const GuestInsn *insn = &run->insn[e->insn];
        Handler *fused = e->insn + 2 == run->n ? fused_handler(insn, insn + 1) : NULL;
        emit_values(e);
        if (insn->gs && insn->mem.base == GS_ADDRESS_REG)
            emit_gs_address(e, insn);
        if (e->native[e->insn]) {
            emit_thunk(e);
            continue;
        }
        if (fused != NULL) {
            emit_fused(e, fused, insn);
        } else if (insn->flow != FLOW_NEXT) {
            emit_transfer(e, insn);
        } else {
            Handler *handler = e->handler[e->insn];
            if (handler != h_nop)
                emit_handled(e, insn, handler, e->slots[e->insn]);
        }
        e->insn++;
    }
    e->insn = run->n - 1;
    if (run->end != DECODE_FLOW)
        emit_fall(e);
}

Block *records_new_block(const DecodedRun *run)
{
    size_t bytes = run->n + 1 + (run->map.checked ? run->size : 0);
    Block *block = pool_take(offsetof(Block, offset) + bytes);
    block->pc = run->pc;
    block->size = (uint8_t)run->size;
    block->n_insns = (uint8_t)run->n;
    block->is_checked = run->map.checked;
    uint8_t *at = block->offset;
    for (uint32_t i = 0; i < run->n; i++)
        *at++ = (uint8_t)(run->insn[i].pc - run->pc);
    *at++ = (uint8_t)run->size;
    for (uint32_t i = 0; i < run->n && run->map.checked; i++) {
        for (uint32_t j = 0; j < run->insn[i].size; j++)
            *at++ = run->insn[i].bytes[j];
    }
    return block;
}

void records_drop_refused(DecodedRun *run)
{
    if (run->end != DECODE_FLOW || run->insn[run->n - 1].flow != FLOW_REFUSED)
        return;
    run->n--;
    run->size -= run->insn[run->n].size;
    run->end = DECODE_LIMIT;
}

/* Records from instruction `first` on. `with_head`: it is entered as blocks are. */
static Block *make(DecodedRun *run, const Block *whole, uint32_t first, bool with_head)
{
    static Emit e; /* under code_lock */
    Block *block = records_new_block(run);
    block->ops = record_room_take(MAX_SLOTS);
    e.run = run;
    e.block = block;
    e.ops = block->ops;
    e.n = 0;
    e.n_records = 0;
    e.value = e.values.n = 0;
    e.insn = first;
    if (whole == NULL) {
        e.counter = records_add_live(run, block);
        values_find(run, &e.values);
    } else {
        block->whole = whole;
        block->is_tail = true;
        block->live = whole->live;
        block->counter = e.counter = whole->counter;
    }
    block->observed = e.values.n != 0;
    find_handlers(&e);
    block->flags_dead = find_live_flags(&e) == 0;
    find_native(&e);
    if (with_head)
        emit_head(&e);
    emit_all(&e);
    pairs_choose(e.ops, e.start, e.n_records);
    block->n_slots = (uint16_t)e.n;
    record_room_keep(block, e.insn_of);
    return block;
}

Op *block_last_record(const Block *block)
{
    enum { CALL_SLOTS = 3, LINK_SLOTS = 1, OTHER_SLOTS = 2 };
    bool call = block->end == LIVE_END_CALL_IND;
    return block->ops + block->n_slots - (call ? CALL_SLOTS + LINK_SLOTS : OTHER_SLOTS);
}

Block *records_make(DecodedRun *run)
{
    records_drop_refused(run);
    return make(run, NULL, 0, true);
}

Block *records_make_tail(DecodedRun *run, const Block *whole, uint32_t first)
{
    return make(run, whole, first, false);
}
