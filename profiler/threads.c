/*
 * threads.c: slots, the loop, clone, exit.
 *
 *   thread_loop:  deliver signals ─► interp_run ─► system call / fault / signal ─► again
 *
 * The loop keeps nothing on its stack, so a fault handler may abandon the stack and enter it anew.
 *
 * A dying thread gives its slot back by one store just before the exit system call, made in
 * assembly (start.S) because from then on another thread may be using its stack. A vfork child
 * shares memory with its parent, which is stopped until the child is gone: so the parent frees the
 * child's slot.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/threads.h"
#include "profiler/evict.h"
#include "profiler/live.h"
#include "profiler/maps.h"
#include "profiler/memory.h"
#include "profiler/model.h"
#include "profiler/sigmask.h"
#include "profiler/signals.h"
#include "profiler/text.h"
#include "profiler/translate.h"

#include <asm/errno.h>
#include <asm/unistd.h>
#include <linux/sched.h>

enum {
    SEGV_UNMAPPED = 1,
    SEGV_NO_ACCESS = 2,
    ILL_OPCODE = 2,
    BUS_NOT_THERE = 2, /* BUS_ADRERR */
    TRAP_INVALID_OPCODE = 6,
    TRAP_PAGE_FAULT = 14,
    FETCH_BY_USER = 0x14,
    FETCH_PRESENT = 1, /* page fault error code */
    CLONE_ARGS_MAX = 256,
    CLONE_ARGS_LEAST = 64,
};

void vm_enter(void *stack_top, void (*run)(Thread *), Thread *argument)
    __attribute__((noreturn, visibility("hidden")));
void vm_exit_thread(volatile uint32_t *in_use, uint64_t status, int64_t number)
    __attribute__((noreturn, visibility("hidden")));

typedef struct CloneCall {
    int64_t number;
    uint64_t arg[5];
    void (*child)(Thread *);
    Thread *argument;
} CloneCall;
long vm_clone(const CloneCall *call) __attribute__((visibility("hidden")));

static struct {
    volatile uint32_t lock;
    ThreadOs *slots; /* all ever made */
    uint32_t n_slots;
    uint32_t n_running; /* threads of this process */
} threads;

/* ---- slots -------------------------------------------------------------------------------- */

static ThreadOs *take_free_slot(void)
{
    for (ThreadOs *os = threads.slots; os != NULL; os = os->next_slot)
        if (__atomic_load_n(&os->in_use, __ATOMIC_ACQUIRE) == 0)
            return os;
    return NULL;
}

static ThreadOs *make_slot(void)
{
    uint8_t *base = memory_reserve(SLOT_SIZE, SLOT_SIZE);
    if (!memory_commit(base, SLOT_HEAD) ||
        !memory_commit(base + SLOT_HEAD + VM_PAGE, SLOT_ALT_END - SLOT_HEAD - VM_PAGE) ||
        !memory_commit(base + SLOT_ALT_END + VM_PAGE, SLOT_SIZE - SLOT_ALT_END - VM_PAGE))
        vm_die("out of memory for a thread, bytes wanted", SLOT_SIZE);
    Slot *slot = (Slot *)(void *)base;
    slot->thread.os = &slot->os;
    slot->os.thread = &slot->thread;
    slot->os.number = threads.n_slots++;
    slot->os.next_slot = threads.slots;
    threads.slots = &slot->os;
    return &slot->os;
}

/* Copies registers and flags; what a slot owns for all the threads it will hold stays. */
static void keep_own(const Cpu *from, Cpu *to)
{
    uint64_t *counter = to->counter;
    void *targets = to->targets;
    struct StepSeen *seen = to->step.seen;
    *to = *from;
    to->counter = counter;
    to->targets = targets;
    to->step.seen = seen;
    to->pending = 0;
}

static void attach_model(Thread *thread)
{
    if (thread->vm->options.model_out == NULL)
        return;
    if (thread->model != NULL)
        model_recycle(thread->model);
    else
        thread->model = model_new(vm_alloc(model_bytes), &thread->vm->model);
}

static void reset_slot(ThreadOs *os, Vm *vm)
{
    Thread *thread = os->thread;
    keep_own(&(Cpu){ 0 }, &thread->cpu);
    thread->vm = vm;
    os->borrowed = os->vfork_child = os->held = os->has_wait_mask = false;
    os->blocked_here = 0;
    os->actions = NULL;
    os->alt_stack = (GuestAltStack){ .flags = ALT_STACK_DISABLED };
    memset(os->captured, 0, sizeof os->captured);
}

Thread *thread_new(Vm *vm)
{
    vm_lock(&threads.lock);
    ThreadOs *os = take_free_slot();
    if (os == NULL)
        os = make_slot();
    os->in_use = 1;
    vm_unlock(&threads.lock);
    reset_slot(os, vm);
    vm_lock(&vm->code_lock);
    live_attach_thread(os->thread);
    vm_unlock(&vm->code_lock);
    attach_model(os->thread);
    return os->thread;
}

void thread_free(Thread *thread)
{
    ThreadOs *os = thread->os;
    if (os->actions != NULL)
        signals_drop_table(os->actions);
    os->actions = NULL;
    memory_scratch_free(os->scratch, os->scratch_size);
    os->scratch = NULL;
    if (vm_keeps_gs(thread->vm))
        evict_go_out(&thread->cpu);
    __atomic_store_n(&os->in_use, 0, __ATOMIC_RELEASE);
}

void threads_lock(void)
{
    vm_lock(&threads.lock);
}

void threads_unlock(void)
{
    vm_unlock(&threads.lock);
}

bool threads_leave(const Thread *thread)
{
    return !thread->os->borrowed &&
           __atomic_sub_fetch(&threads.n_running, 1, __ATOMIC_ACQ_REL) == 0;
}

bool threads_is_only(const Thread *thread)
{
    bool only = !thread->os->borrowed;
    threads_lock();
    for (ThreadOs *os = threads.slots; os != NULL; os = os->next_slot)
        only &= os->in_use == 0 || os->thread == thread;
    threads_unlock();
    return only;
}

void threads_after_fork(Thread *thread)
{
    for (ThreadOs *os = threads.slots; os != NULL; os = os->next_slot)
        if (os->thread != thread)
            os->in_use = 0;
    thread->os->borrowed = thread->os->vfork_child = false;
    threads.n_running = 1;
}

/* ---- the loop ----------------------------------------------------------------------------- */

/* The guest jumped to where no code is known to be. */
static void fetch_failed(Thread *thread)
{
    bool mapped;
    uint64_t pc = thread->cpu.pc;
    if (maps_ask_kernel(pc, &mapped))
        return;
    signals_raise(thread, SIGNAL_SEGV, mapped ? SEGV_NO_ACCESS : SEGV_UNMAPPED, pc, TRAP_PAGE_FAULT,
                  FETCH_BY_USER | (mapped ? FETCH_PRESENT : 0));
}

/* The instruction lies, with some byte of it, on a page that its file does not have. */
static void code_ends(Thread *thread)
{
    uint8_t byte;
    uint64_t pc = thread->cpu.pc;
    uint64_t missing = code_read(&byte, pc, 1) != 0 ? (pc | (VM_PAGE - 1)) + 1 : pc;
    signals_raise(thread, SIGNAL_BUS, BUS_NOT_THERE, missing, TRAP_PAGE_FAULT, FETCH_BY_USER);
}

void thread_loop(Thread *thread)
{
    for (;;) {
        bool between = thread->cpu.tail.block == NULL && !thread->cpu.tail.alone;
        if (thread->cpu.pending != 0 && between)
            signals_deliver(thread);
        switch (interp_run(thread)) {
        case RUN_SYSCALL:
            if (vm_keeps_gs(thread->vm))
                evict_go_out(&thread->cpu);
            syscall_run(thread);
            break;
        case RUN_VSYSCALL:
            vsyscall_run(thread);
            break;
        case RUN_PENDING:
            break;
        case RUN_FETCH:
            fetch_failed(thread);
            break;
        case RUN_BUS:
            code_ends(thread);
            break;
        case RUN_BAD_CODE:
            signals_raise(thread, SIGNAL_ILL, ILL_OPCODE, thread->cpu.pc, TRAP_INVALID_OPCODE, 0);
            break;
        case RUN_UNSUPPORTED:
            vm_die(thread->vm->unsupported, thread->cpu.pc);
        }
    }
}

void thread_start(Thread *thread)
{
    if (vm_keeps_gs(thread->vm))
        translate_init_thread(thread);
    __atomic_add_fetch(&threads.n_running, 1, __ATOMIC_RELAXED);
    vm_enter((void *)slot_stack_top(thread), thread_loop, thread);
}

/* ---- clone -------------------------------------------------------------------------------- */

static void start_child(Thread *thread)
{
    if (vm_keeps_gs(thread->vm))
        translate_init_thread(thread);
    signals_use_alt_stack(thread);
    if (thread->os->borrowed)
        sigmask_install(thread);
    signals_release(thread);
    thread_loop(thread);
}

/* The child's registers and signal state, as the kernel copies them. Signals are held. */
static Thread *make_child(Thread *parent, uint64_t flags, uint64_t stack)
{
    Thread *child = thread_new(parent->vm);
    ThreadOs *os = child->os;
    keep_own(&parent->cpu, &child->cpu);
    child->cpu.came_back = 0; /* it was the parent that called */
    child->cpu.reg[R_RAX] = 0;
    child->cpu.reg[R_RCX] = child->cpu.pc + 2;
    child->cpu.reg[R_R11] = child->cpu.rflags;
    child->cpu.pc += 2;
    if (stack != 0)
        child->cpu.reg[R_RSP] = stack;
    os->held = true;
    os->guest_mask = os->base_mask = parent->os->guest_mask;
    if ((flags & CLONE_VFORK) != 0)
        os->alt_stack = parent->os->alt_stack;
    if ((flags & CLONE_SIGHAND) != 0) {
        signals_share_table(parent->os->actions);
        os->actions = parent->os->actions;
    } else {
        os->actions = signals_copy_table(parent->os->actions, (flags & CLONE_CLEAR_SIGHAND) != 0);
    }
    os->borrowed = (flags & CLONE_THREAD) == 0 || parent->os->borrowed;
    os->vfork_child = (flags & CLONE_VFORK) != 0;
    return child;
}

long thread_clone(Thread *thread, const Call *call, uint64_t flags, uint64_t child_stack)
{
    signals_hold(thread);
    Thread *child = make_child(thread, flags, child_stack);
    CloneCall host = { .number = call->number, .child = start_child, .argument = child };
    struct clone_args args[CLONE_ARGS_MAX / sizeof(struct clone_args) + 1];
    uint64_t stack = slot_stack_top(child);
    memcpy(host.arg, call->arg, sizeof host.arg);
    if (call->number == __NR_clone3) {
        memcpy(args, (const void *)call->arg[0], call->arg[1]);
        args->stack = stack - SLOT_SIZE / 2;
        args->stack_size = SLOT_SIZE / 2;
        host.arg[0] = (uint64_t)args;
    } else {
        host.number = __NR_clone;
        host.arg[0] = call->number == __NR_vfork ? flags : call->arg[0];
        host.arg[1] = stack;
    }
    bool counts = !child->os->borrowed;
    if (counts)
        __atomic_add_fetch(&threads.n_running, 1, __ATOMIC_RELAXED);
    long result = vm_clone(&host);
    if (result < 0 && counts)
        __atomic_sub_fetch(&threads.n_running, 1, __ATOMIC_RELAXED);
    if (result < 0 || (flags & CLONE_VFORK) != 0)
        thread_free(child);
    signals_release(thread);
    return result;
}

__attribute__((noreturn)) static void leave_by(Thread *thread, int64_t number, uint64_t status)
{
    ThreadOs *os = thread->os;
    signals_hold(thread);
    if (os->vfork_child) /* its parent frees the slot */
        for (;;)
            raw_syscall(number, (long)status, 0, 0, 0, 0, 0);
    signals_drop_table(os->actions);
    os->actions = NULL;
    vm_exit_thread(&os->in_use, status, number);
}

void thread_exit(Thread *thread, uint64_t status)
{
    leave_by(thread, __NR_exit, status);
}

void thread_exit_borrowed(Thread *thread, uint64_t status)
{
    leave_by(thread, __NR_exit_group, status);
}
