/*
 * interp.c: the interpreter's doors: starting it, running, forgetting code, recovering from faults.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/evict.h"
#include "profiler/fetch.h"
#include "profiler/flags.h"
#include "profiler/flow.h"
#include "profiler/forms.h"
#include "profiler/lookup.h"
#include "profiler/record_room.h"
#include "profiler/pairs.h"
#include "profiler/records.h"
#include "profiler/step.h"
#include "profiler/tail.h"
#include "profiler/thunk.h"
#include "profiler/translate.h"

extern const uint8_t __start_interp_text[], __stop_interp_text[];
extern const int32_t __start_interp_access[], __stop_interp_access[];

/* Saves the registers that the C ABI wants kept, so that thunks may use them all. */
uint64_t interp_enter(Cpu *cpu, const Op *op, uint64_t fa, uint64_t fb, uint64_t kind);
__asm__(".text\n"
        ".globl interp_enter\n"
        ".hidden interp_enter\n"
        ".type interp_enter, @function\n"
        "interp_enter:\n\t"
        "push %rbx\n\tpush %rbp\n\tpush %r12\n\tpush %r13\n\tpush %r14\n\tpush %r15\n\t"
        "sub $8, %rsp\n\t"
        "call *(%rsi)\n\t"
        "add $8, %rsp\n\t"
        "pop %r15\n\tpop %r14\n\tpop %r13\n\tpop %r12\n\tpop %rbp\n\tpop %rbx\n\t"
        "ret\n"
        ".size interp_enter, . - interp_enter\n");

static uint64_t access_at(const int32_t *entry)
{
    return (uint64_t)(uintptr_t)entry + (uint64_t)(int64_t)*entry;
}

/* The linker keeps both sections in the order of the objects: so the list is sorted. */
static void check_accesses(void)
{
    for (const int32_t *entry = __start_interp_access; entry + 1 < __stop_interp_access; entry++) {
        if (access_at(entry) >= access_at(entry + 1))
            vm_die("the list of guest accesses is not sorted", access_at(entry));
    }
}

bool interp_init(Vm *vm)
{
    if (!decode_init(vm->options.zydis, &vm->unsupported))
        return false;
    forms_init();
    fetch_init();
    pairs_init();
    step_init();
    check_accesses();
    vm_lock(&vm->code_lock);
    lookup_init();
    vm_unlock(&vm->code_lock);
    return true;
}

/* Transfers that were under way when interp_run was left, if they arrive where they were to. */
static void count_arrivals(Cpu *cpu)
{
    if (cpu->came_back != 0 && cpu->pc == cpu->after_syscall)
        cpu->counter[cpu->came_back]++;
    cpu->came_back = 0;
    const Target *target = NULL;
    if (cpu->missed != NULL && cpu->pc == cpu->missed_pc)
        target = lookup_target(cpu->missed, cpu->pc);
    if (target != NULL)
        cpu->counter[target->counter]++;
    cpu->missed = NULL;
}

RunExit interp_run(Thread *thread)
{
    Cpu *cpu = &thread->cpu;
    bool real;
    if (cpu->targets == NULL) {
        vm_lock(&the_vm.code_lock);
        lookup_init_thread(cpu);
        step_init_thread(cpu);
        vm_unlock(&the_vm.code_lock);
    }
    if (vm_keeps_gs(&the_vm))
        evict_come_in(cpu);
    count_arrivals(cpu);
    cpu->scratch[0] = 0;
    const Op *op = tail_take(cpu);
    if (op == NULL)
        op = lookup_code(cpu->pc, &real);
    return (RunExit)interp_enter(cpu, op, raw_of_rflags(cpu->rflags), 0, FLAGS_RAW);
}

void interp_invalidate(uint64_t start, uint64_t end)
{
    vm_lock(&the_vm.code_lock);
    lookup_forget(start, end);
    vm_unlock(&the_vm.code_lock);
}

void interp_forget(uint64_t start, uint64_t end)
{
    lookup_forget(start, end);
}

static bool in_handlers(uint64_t rip)
{
    return rip >= (uint64_t)(uintptr_t)__start_interp_text &&
           rip < (uint64_t)(uintptr_t)__stop_interp_text;
}

bool interp_owns(uint64_t rip)
{
    return in_handlers(rip) || thunk_at(rip) != NULL;
}

/* ---- recovering ---- */

const uint8_t interp_greg_of[N_GUEST_REGS] = {
    13, 14, 12, 11, 15, 10, 9, 8, 0, 1, 2, 3, 4, 5, 6, 7
};

static bool is_guest_access(uint64_t rip)
{
    const int32_t *low = __start_interp_access, *high = __stop_interp_access;
    while (low < high) {
        const int32_t *middle = low + (high - low) / 2;
        if (access_at(middle) == rip)
            return true;
        if (access_at(middle) < rip)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

static void set_flags(Cpu *cpu, uint64_t raw)
{
    cpu->rflags = (cpu->rflags & ~(uint64_t)RFLAGS_ARITH) | rflags_of_raw(raw);
    cpu->flag_kind = FLAGS_RAW;
}

/* The first `n` instructions of the block were executed, once: counted by a partial block. */
void interp_count_partial(Cpu *cpu, const Block *block, uint32_t n)
{
    if (n == 0)
        return;
    vm_lock(&the_vm.code_lock);
    cpu->counter[lookup_partial(block, n)]++;
    vm_unlock(&the_vm.code_lock);
}

void interp_stop_at(Cpu *cpu, const Block *block, uint32_t index)
{
    if (step_is_on()) {
        block = cpu->step.block;
        index += step_index(cpu);
    }
    cpu->pc = block->pc + block->offset[index];
    interp_count_partial(cpu, block, index);
}

static bool recover_handler(Cpu *cpu, const int64_t *gregs)
{
    const Op *op = (const Op *)(uintptr_t)gregs[interp_greg_of[R_RSI]];
    const Block *block = step_is_on() ? cpu->step.block : record_room_block_of(op);
    if (block == NULL || !is_guest_access((uint64_t)gregs[GREG_RIP]))
        return false;
    set_flags(cpu, flags_raw((uint64_t)gregs[interp_greg_of[R_R8]],
                             (uint64_t)gregs[interp_greg_of[R_RDX]],
                             (uint64_t)gregs[interp_greg_of[R_RCX]]));
    interp_stop_at(cpu, block, step_is_on() ? 0 : record_room_insn_of(block, op));
    return true;
}

static uint64_t home_value(uint8_t home, const int64_t *gregs, uint64_t saved)
{
    return home == NO_REG ? saved : (uint64_t)gregs[interp_greg_of[home]];
}

static const ThunkInsn *thunk_insn_at(const Thunk *thunk, uint64_t rip)
{
    uint64_t at = rip - (uint64_t)(uintptr_t)thunk->code;
    for (uint32_t i = 0; i < thunk->n; i++) {
        if (at >= thunk->insn[i].start && at < thunk->insn[i].end)
            return &thunk->insn[i];
    }
    return NULL;
}

/* After a trap the host is behind the instruction that trapped. */
static bool recover_thunk(Cpu *cpu, const Thunk *thunk, const int64_t *gregs, bool trap)
{
    const ThunkInsn *insn = thunk_insn_at(thunk, (uint64_t)gregs[GREG_RIP] - (trap ? 1 : 0));
    if (insn == NULL)
        return false;
    for (unsigned reg = 0; reg < N_GUEST_REGS; reg++) {
        if ((thunk->regs & 1u << reg) != 0)
            cpu->reg[reg] = (uint64_t)gregs[interp_greg_of[reg]];
    }
    if (insn->flags_native)
        set_flags(cpu, raw_of_rflags((uint64_t)gregs[GREG_FLAGS]));
    else
        set_flags(cpu, flags_raw(home_value(thunk->home_kind, gregs, cpu->scratch[7]),
                                 home_value(thunk->home_fa, gregs, cpu->flag_a),
                                 home_value(thunk->home_fb, gregs, cpu->flag_b)));
    interp_stop_at(cpu, thunk->block, insn->index + (trap ? 1u : 0u));
    return true;
}

bool interp_recover(Thread *thread, const int64_t *host_gregs, int signal)
{
    enum { SIGNAL_TRAP = 5 };
    uint64_t rip = (uint64_t)host_gregs[GREG_RIP];
    if (translate_owns(rip))
        return translate_state(thread, host_gregs, true) == STATE_EXACT;
    if (in_handlers(rip))
        return recover_handler(&thread->cpu, host_gregs);
    const Thunk *thunk = thunk_at(rip);
    return thunk != NULL && recover_thunk(&thread->cpu, thunk, host_gregs, signal == SIGNAL_TRAP);
}

bool interp_is_stale(const Thread *thread, const int64_t *host_gregs)
{
    uint64_t rip = (uint64_t)host_gregs[GREG_RIP];
    if (translate_owns(rip))
        return translate_is_stale(rip);
    const Thunk *thunk = thunk_at(rip);
    const Block *block = NULL;
    if (step_is_on())
        block = thunk != NULL || in_handlers(rip) ? thread->cpu.step.block : NULL;
    else if (thunk != NULL)
        block = thunk->block;
    else if (in_handlers(rip))
        block = record_room_block_of((const Op *)(uintptr_t)host_gregs[interp_greg_of[R_RSI]]);
    if (block == NULL)
        return false;
    return block->stale != 0 || (block->is_tail && block->whole->stale != 0);
}
