/*
 * step.c: what the engines `switch` and `indirect` share and what is not on the way of each
 * instruction; the operands of an instruction, which is.
 *
 * SPDX-License-Identifier: MIT
 */
#define ZYAN_NO_LIBC 1
#include "profiler/step.h"

#include "profiler/fetch_form.h"
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
    uint64_t bytes[2], mask[2]; /* of 16: those that are the instruction's */
    uint8_t size;
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

void step_init_thread(Cpu *cpu)
{
    if (!step_is_on())
        return;
    cpu->step.seen = vm_alloc(STEP_SEEN * sizeof *cpu->step.seen);
    for (unsigned i = 0; i < STEP_SEEN; i++)
        cpu->step.seen[i].pc = UINT64_MAX;
}

const Op *step_find(Cpu *cpu)
{
    bool real;
    const Op *ops = flow_find_code(cpu, cpu->pc, &real);
    if (real)
        *step_seen(cpu, cpu->pc) = (StepSeen){ cpu->pc, ops };
    return ops;
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
    Block *block = records_new_block(run);
    Op *slots = pool_take((2 + SITE_SLOTS) * sizeof *slots);
    block->ops = slots + 1;
    slots->word[0] = (uint64_t)(uintptr_t)block;
    block->n_slots = 1 + SITE_SLOTS;
    block->ops->run = engine->block;
    make_site(block->ops + 1, run, block, records_add_live(run, block));
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

/* Transfers whose operand is no memory, as flow.h lays them out; links are guest addresses. The
 * routine. */
static __attribute__((noinline)) unsigned put_transfer(Step *step, unsigned flow, uint64_t imm)
{
    Op *op = (Op *)(void *)step->slot;
    op->imm = step->site->imm;
    switch (flow) {
    case FLOW_COND:
    case FLOW_COUNT:
        op[1].word[0] = step->next;
        op[1].word[1] = step->next + imm;
        break;
    case FLOW_CALL_IND:
        op[1].word[0] = step->next;
        break;
    case FLOW_RET:
        op[1].word[0] = (uint16_t)imm;
        break;
    case FLOW_SYSCALL:
        op[1].word[0] = step->pc;
        op[1].word[1] = step->next;
        break;
    default:
        op[1].word[0] = step->next + imm;
        op[2].word[0] = step->next;
    }
    return step->routine;
}

/* A FormTaker: into the slot of the Step `to`. */
FETCH_INLINE unsigned take_step(const Form *f, unsigned routine, void *to)
{
    Step *step = to;
    uint64_t next = step->pc + f->size, imm = f->imm;
    uint64_t *slot = step->slot;
    step->next = next;
    step->routine = routine;
    if (FETCH_RARELY(next > step->end))
        return ROUTINE_CHANGED;
    unsigned flow = f->cell->flow;
    if (flow != FLOW_NEXT && (next != step->end || flow != step->site->d))
        return ROUTINE_CHANGED;
    if (f->memory) {
        uint64_t disp = (uint64_t)f->disp + (f->rip ? next : 0);
        slot[1] = f->a | (uint64_t)f->base << 8 | (uint64_t)f->index << 16 |
                  (uint64_t)f->scale << 24 | disp << 32;
        slot[2] = disp;
        slot[3] = imm;
        return routine;
    }
    if ((f->cell->is & CELL_COUNT_CHECK) != 0)
        imm &= f->cell->bits == 64 ? 63 : 31;
    slot[1] = f->a | (uint64_t)f->b << 8 | imm << 32;
    slot[2] = imm;
    return flow == FLOW_NEXT ? routine : put_transfer(step, flow, imm);
}

/* What is no short form; and what is none, to be run natively. */
static __attribute__((noinline)) unsigned decode_whole(Step *step, uint64_t low, uint64_t high,
                                                       unsigned room)
{
    unsigned routine = fetch_form(FETCH_WHOLE, low, high, STEP_ZERO_REG, take_step, step);
    if (routine != NO_ROUTINE && step->next - step->pc <= room)
        return routine;
    step->bytes[0] = low;
    step->bytes[1] = high;
    step->room = room;
    return ROUTINE_NATIVE;
}

unsigned step_decode(Cpu *cpu, uint64_t low, uint64_t high)
{
    Step *step = &cpu->step;
    unsigned routine = fetch_form(FETCH_SHORT, low, high, STEP_ZERO_REG, take_step, step);
    return routine != NO_ROUTINE ? routine : decode_whole(step, low, high, STEP_FETCH);
}

unsigned step_decode_edge(Cpu *cpu, uint64_t low, uint64_t high, unsigned room)
{
    return decode_whole(&cpu->step, low, high, room);
}

/* ---- what has no routine ---- */

/* By address and the first two bytes there: generated code has many instructions, in turn, at one
 * address. */
static Kept **kept_bucket(const Step *step)
{
    uint64_t key = step->pc + (step->bytes[0] & 0xffff) * 257;
    return &kept[(key * UINT64_C(0x9e3779b97f4a7c15) >> 40) & (KEPT_BUCKETS - 1)];
}

static bool same_bytes(const Kept *node, const Step *step)
{
    uint64_t differ = ((step->bytes[0] ^ node->bytes[0]) & node->mask[0]) |
                      ((step->bytes[1] ^ node->bytes[1]) & node->mask[1]);
    return node->pc == step->pc && differ == 0 && node->size <= step->room;
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
    for (unsigned i = 0; i < node->size; i++) {
        node->mask[i / 8] |= UINT64_C(0xff) << i % 8 * 8;
        node->bytes[i / 8] |= (uint64_t)run.insn[0].bytes[i] << i % 8 * 8;
    }
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
