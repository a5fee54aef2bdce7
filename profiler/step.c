/*
 * step.c: what the engines `switch` and `indirect` share and what is not on the way of each
 * instruction; the operands of an instruction, which is.
 *
 * SPDX-License-Identifier: MIT
 */
#define ZYAN_NO_LIBC 1
#include "profiler/step.h"

#include "profiler/flow.h"
#include "profiler/forms.h"
#include "profiler/gs.h"
#include "profiler/lookup.h"
#include "profiler/pool.h"
#include "profiler/records.h"
#include "profiler/thunk.h"

enum { KEPT_BUCKETS = 1 << 14, MAX_INSN = 15, SITE_SLOTS = 4, KEPT_SLOTS = 6 };

/* Native records for one instruction at one address. Never freed, immutable once published. */
typedef struct Kept {
    uint64_t pc;
    const Op *ops;
    struct Kept *next;
    uint8_t size;
    uint8_t bytes[MAX_INSN];
} Kept;

static const StepEngine *engine;
static Kept **kept;

void step_init(void)
{
    if (!step_is_on())
        return;
    engine = the_vm.options.engine == ENGINE_SWITCH ? &engine_switch : &engine_indirect;
    engine_indirect_init();
    kept = vm_alloc(KEPT_BUCKETS * sizeof *kept);
}

/* ---- blocks ---- */

static void make_site(Op *site, const DecodedRun *run, const Block *block, uint32_t counter)
{
    const GuestInsn *last = &run->insn[run->n - 1];
    uint64_t next = run->pc + run->size;
    bool call = run->end == DECODE_FLOW && (last->flow == FLOW_CALL || last->flow == FLOW_CALL_IND);
    site->imm = (int32_t)counter;
    site->d = run->end == DECODE_FLOW ? last->flow : (uint8_t)FLOW_NEXT;
    site[1].word[1] = call ? next : block->live;
    site[2].word[0] = block->live;
    site[3].word[0] = code_view(run->pc) - run->pc; /* slot 2 is lookup.c's */
    site->run = call ? h_call_r : NULL; /* where lookup.c finds the block of an indirect branch */
    if (call)
        lookup_note_call(site, next);
}

Block *step_make_block(DecodedRun *run)
{
    records_drop_refused(run);
    Block *block = pool_take(sizeof *block);
    Op *slots = pool_take((2 + SITE_SLOTS) * sizeof *slots);
    *block = (Block){ .pc = run->pc, .size = run->size, .n_insns = run->n, .ops = slots + 1 };
    slots->word[0] = (uint64_t)(uintptr_t)block;
    slots->word[1] = block->n_slots = 1 + SITE_SLOTS;
    block->ops->run = engine->block;
    make_site(block->ops + 1, run, block, records_add_live(run, block));
    records_put_code(run, block);
    return block;
}

uint32_t step_index(const Cpu *cpu)
{
    const Block *block = cpu->step.block;
    uint32_t index = 0;
    while (index < block->n_insns && block->pc + block->offset[index] < cpu->step.pc)
        index++;
    return index;
}

/* ---- operands ---- */

static uint8_t or_zero(uint8_t reg)
{
    return reg == NO_REG ? STEP_ZERO_REG : reg;
}

static void put_memory(Op *op, const GuestInsn *insn)
{
    op->b = or_zero(insn->mem.base);
    op->c = or_zero(insn->mem.index);
    op->d = insn->mem.scale;
    op->imm = (int32_t)insn->mem.disp;
    op[1].word[0] = (uint64_t)insn->mem.disp;
    op[1].word[1] = insn->imm;
}

/* Transfers, as flow.h lays them out; links are guest addresses. */
static void put_transfer(Op *op, const GuestInsn *insn, const Step *step)
{
    op->imm = step->site->imm;
    switch (insn->flow) {
    case FLOW_COND:
    case FLOW_COUNT:
        op[1].word[0] = step->next;
        op[1].word[1] = insn->target;
        break;
    case FLOW_CALL_IND:
        op[1].word[0] = step->next;
        break;
    case FLOW_RET:
        op[1].word[0] = insn->imm;
        break;
    case FLOW_SYSCALL:
        op[1].word[0] = step->pc;
        op[1].word[1] = step->next;
        break;
    default:
        op[1].word[0] = insn->target;
        op[2].word[0] = step->next;
    }
}

unsigned step_decode(Cpu *cpu)
{
    Step *step = &cpu->step;
    GuestInsn insn;
    if (!fetch_insn(&insn, step->bytes, step->room, step->pc))
        return ROUTINE_NATIVE;
    step->next = step->pc + insn.size;
    bool transfer = insn.flow != FLOW_NEXT;
    if (step->next > step->end ||
        (transfer && (step->next != step->end || insn.flow != step->site->d)))
        return ROUTINE_CHANGED;
    Op *op = (Op *)(void *)step->slot;
    op->a = insn.a;
    op->b = insn.b;
    op->imm = (int32_t)insn.imm;
    if (form_has_memory(insn.shape))
        put_memory(op, &insn);
    else if (transfer)
        put_transfer(op, &insn, step);
    else if (insn.shape == SHAPE_RI && form_is_shift(&insn))
        op->imm = (int32_t)(insn.imm & (insn.bits == 64 ? 63 : 31));
    else
        op[1].word[0] = insn.imm;
    return step->routine = insn.routine;
}

/* ---- what has no routine ---- */

/* By address and the two bytes there: generated code has many instructions, in turn, at one
 * address. */
static Kept **kept_bucket(const Step *step)
{
    uint64_t key = step->pc + step->bytes[0] + (uint64_t)step->bytes[1] * 257;
    return &kept[(key * UINT64_C(0x9e3779b97f4a7c15) >> 40) & (KEPT_BUCKETS - 1)];
}

static bool same_bytes(const Kept *node, const Step *step)
{
    if (node->pc != step->pc || node->size > step->room)
        return false;
    for (unsigned i = 0; i < node->size; i++) {
        if (node->bytes[i] != step->bytes[i])
            return false;
    }
    return true;
}

static Kept *find_kept(const Step *step)
{
    Kept *node = __atomic_load_n(kept_bucket(step), __ATOMIC_ACQUIRE);
    while (node != NULL && !same_bytes(node, step))
        node = node->next;
    return node;
}

static Op *put_gs_address(Op *op, const GuestInsn *insn)
{
    op->run = h_gs_address;
    op->b = or_zero(insn->gs_mem.base);
    op->c = or_zero(insn->gs_mem.index);
    op->d = insn->gs_mem.scale;
    op->imm = insn->gs_mem.mode == MODE_COUNT;
    op[1].word[0] = (uint64_t)insn->gs_mem.disp;
    return op + 2;
}

/* The target of an indirect branch with a GS operand, into TEMP_REG. */
static Op *put_target(Op *op, const GuestInsn *insn)
{
    GuestInsn load = *insn;
    unsigned slots;
    load.mnemonic = interp_rows[ROW_MOV_RM].mnemonic;
    load.shape = SHAPE_RM;
    load.bits = 64;
    op->run = form_handler(&load, &slots);
    op->a = STEP_TEMP_REG;
    op->b = or_zero(insn->mem.base);
    op->c = STEP_ZERO_REG;
    return op + slots;
}

static Op *put_thunk(Op *op, DecodedRun *run)
{
    static const bool wanted[1] = { true };
    ThunkPlan plan = thunk_plan(run, 0, wanted);
    if (plan.needs_flags)
        (op++)->run = h_to_raw;
    op->run = thunk_make(run, &plan, NULL, op + 1, true);
    return op + 1;
}

/* code_lock is held. */
static const Op *make_records(DecodedRun *run)
{
    const GuestInsn *insn = &run->insn[0];
    Op *ops = pool_take(KEPT_SLOTS * sizeof *ops);
    Op *op = ops;
    if (insn->gs && insn->mem.base == GS_ADDRESS_REG)
        op = put_gs_address(op, insn);
    Handler *special = form_special(insn);
    Handler *then = engine->done;
    if (insn->flow == FLOW_JUMP_IND || insn->flow == FLOW_CALL_IND) {
        op = put_target(op, insn);
        then = insn->flow == FLOW_JUMP_IND ? engine->jump : engine->call;
    } else if (insn->flow != FLOW_NEXT) {
        then = h_exit_here;
        op->imm = RUN_UNSUPPORTED;
        the_vm.unsupported = "a transfer with prefixes that no compiler emits";
    } else if (special != NULL) {
        op->a = insn->a;
        (op++)->run = special;
    } else {
        op = put_thunk(op, run);
    }
    op->run = then;
    return ops;
}

static Kept *make_kept(const Step *step)
{
    static DecodedRun run; /* under code_lock */
    run.n = 1;
    run.pc = step->pc;
    if (!decode_one(&run.insn[0], step->pc, step->room < MAX_INSN ? step->room : MAX_INSN))
        return NULL;
    run.size = run.insn[0].size;
    Kept *node = pool_take(sizeof *node);
    Kept **head = kept_bucket(step);
    *node = (Kept){ .pc = step->pc, .size = run.insn[0].size, .next = *head };
    for (unsigned i = 0; i < node->size; i++)
        node->bytes[i] = run.insn[0].bytes[i];
    node->ops = make_records(&run);
    __atomic_store_n(head, node, __ATOMIC_RELEASE);
    return node;
}

const Op *step_native(Cpu *cpu)
{
    Step *step = &cpu->step;
    Kept *node = find_kept(step);
    if (node == NULL) {
        vm_lock(&the_vm.code_lock);
        node = make_kept(step);
        vm_unlock(&the_vm.code_lock);
    }
    if (node == NULL || step->pc + node->size > step->end)
        return NULL;
    step->next = step->pc + node->size;
    cpu->pc = step->pc;
    return node->ops;
}
