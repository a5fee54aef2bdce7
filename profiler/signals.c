/*
 * signals.c: from the kernel to the guest.
 *
 *   kernel ──► host_handler ──► os->captured ──► signals_deliver ──► frame_push ──► guest handler
 *              (VM's stack)     cpu.pending      (thread_loop)                      rt_sigreturn
 *
 * The host handler only takes notes. What it found decides how the interrupted code goes on:
 *   in the system-call window   moved out: the guest is still on its `syscall`
 *   a fault of the guest's      interp_recover made cpu exact; the VM goes on at thread_loop
 *   anywhere else               where it was; cpu.pending ends interp_run soon
 *
 * While a captured signal waits, the kernel blocks all others (but those a fault can raise):
 * nothing queues up in the VM, so nothing is lost and the kernel's order stays.
 *
 * SIG_DFL and SIG_IGN are the kernel's own affair: it ends, stops or ignores. Only what dumps core
 * by default is taken, too, so that the core file shows the guest's registers, and so are the
 * signals that the VM itself lives by (sigmask.h).
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/signals.h"
#include "profiler/evict.h"
#include "profiler/frame.h"
#include "profiler/gs_calls.h"
#include "profiler/guard.h"
#include "profiler/memory.h"
#include "profiler/sigmask.h"
#include "profiler/text.h"
#include "profiler/threads.h"
#include "profiler/translate.h"
#include "profiler/watch.h"

#include <asm/errno.h>
#include <asm/unistd.h>

enum {
    INFO_CODE = 2,    /* siginfo as words of 4 bytes: si_signo, si_errno, si_code */
    INFO_ADDRESS = 2, /* siginfo as words of 8 bytes: si_addr, si_call_addr */
    SYSCALL_BYTES = 2,
};

/* Flags of sigaction (asm/signal.h); and which of them the kernel keeps. */
#define SA_NOCLDSTOP_ 0x00000001u
#define SA_NOCLDWAIT_ 0x00000002u
#define SA_SIGINFO_ 0x00000004u
#define SA_EXPOSE_TAGBITS_ 0x00000800u
#define SA_RESTORER_ 0x04000000u
#define SA_ONSTACK_ 0x08000000u
#define SA_RESTART_ 0x10000000u
#define SA_NODEFER_ 0x40000000u
#define SA_RESETHAND_ 0x80000000u
#define SA_KERNEL_FLAGS                                                                            \
    (SA_NOCLDSTOP_ | SA_NOCLDWAIT_ | SA_SIGINFO_ | SA_EXPOSE_TAGBITS_ | SA_RESTORER_ |             \
     SA_ONSTACK_ | SA_RESTART_ | SA_NODEFER_ | SA_RESETHAND_)
#define SA_HOST_KEEPS (SA_NOCLDSTOP_ | SA_NOCLDWAIT_ | SA_EXPOSE_TAGBITS_ | SA_RESTART_)

#define HANDLER_DEFAULT UINT64_C(0)
#define HANDLER_IGNORE UINT64_C(1)

#define FAULT_SIGNALS                                                                              \
    (SIG_BIT(SIGNAL_SEGV) | SIG_BIT(SIGNAL_BUS) | SIG_BIT(SIGNAL_FPE) | SIG_BIT(SIGNAL_ILL) |      \
     SIG_BIT(SIGNAL_TRAP) | SIG_BIT(SIGNAL_SYS))
/* By default they end the process with a core file. */
#define CORE_SIGNALS                                                                               \
    (FAULT_SIGNALS | SIG_BIT(SIGNAL_QUIT) | SIG_BIT(SIGNAL_ABRT) | SIG_BIT(SIGNAL_XCPU) |          \
     SIG_BIT(SIGNAL_XFSZ))

extern const char vm_restorer[] __attribute__((visibility("hidden")));

/* The kernel's frame of a host handler (struct ucontext; glibc's order of gregs is this one). */
enum {
    GREG_RIP = 16,
    GREG_RSP = 15,
    GREG_RAX = 13,
    GREG_RDI = 8,
    GREG_FLAGS = 17,
    GREG_ERR = 19,
    GREG_TRAPNO = 20,
    GREG_CR2 = 22,
    N_GREGS = 23
};

typedef struct HostContext {
    uint64_t flags;
    uint64_t link;
    GuestAltStack stack;
    int64_t gregs[N_GREGS];
    uint64_t fpstate;
    uint64_t reserved[8];
    SigMask mask;
} HostContext;

/* ---- capture ------------------------------------------------------------------------------ */

static Captured *place_for(ThreadOs *os, int signal)
{
    switch (signal) {
    case SIGNAL_SEGV:
        return &os->captured[CAPTURE_SEGV];
    case SIGNAL_BUS:
        return &os->captured[CAPTURE_BUS];
    case SIGNAL_FPE:
        return &os->captured[CAPTURE_FPE];
    case SIGNAL_ILL:
        return &os->captured[CAPTURE_ILL];
    case SIGNAL_TRAP:
        return &os->captured[CAPTURE_TRAP];
    case SIGNAL_SYS:
        return &os->captured[CAPTURE_SYS];
    default:
        return &os->captured[CAPTURE_OTHER];
    }
}

/* The mask that the guest has, and that its handler's mask starts from. */
static void note_mask(ThreadOs *os, const HostContext *context)
{
    if (os->held)
        return;
    os->held = true;
    os->guest_mask = os->base_mask = mask_of_guest(os, context->mask);
    if (os->has_wait_mask && (const char *)context->gregs[GREG_RIP] == vm_syscall_done &&
        context->gregs[GREG_RAX] == -EINTR)
        os->base_mask = os->wait_mask;
}

static void capture(Thread *thread, int signal, const uint64_t *info, HostContext *context)
{
    ThreadOs *os = thread->os;
    Captured *place = place_for(os, signal);
    note_mask(os, context);
    context->mask = mask_for_kernel(os, ~FAULT_SIGNALS | os->guest_mask);
    if (place->signal != 0 && place->is_fault)
        return; /* one of a kind is all the kernel keeps, too */
    memcpy(place->info, info, SIGINFO_BYTES);
    if (signal == SIGNAL_SYS && info[INFO_ADDRESS] == (uint64_t)vm_syscall_done)
        place->info[INFO_ADDRESS] = thread->cpu.pc + SYSCALL_BYTES; /* trapped by a filter */
    place->err = (uint64_t)context->gregs[GREG_ERR];
    place->trapno = (uint64_t)context->gregs[GREG_TRAPNO];
    place->cr2 = (uint64_t)context->gregs[GREG_CR2];
    place->is_fault = false;
    place->signal = (uint32_t)signal;
    thread->cpu.pending = 1;
}

static int32_t code_of(const uint64_t *info)
{
    return ((const int32_t *)(const void *)info)[INFO_CODE];
}

static bool raised_by_fault(int signal, const uint64_t *info)
{
    return (SIG_BIT(signal) & FAULT_SIGNALS) != 0 && signal != SIGNAL_SYS && code_of(info) > 0;
}

__attribute__((noreturn)) static void die_of_own_fault(int signal, const HostContext *context,
                                                       const uint64_t *info)
{
    extern const char image[] __asm__("__ehdr_start") __attribute__((visibility("hidden")));
    Text text;
    text_start(&text);
    text_put(&text, "fault inside the VM: signal ");
    text_put_dec(&text, (uint64_t)signal);
    text_put(&text, " for address 0x");
    text_put_hex(&text, info[INFO_ADDRESS]);
    text_put(&text, " at respin-vm+0x");
    text_put_hex(&text, (uint64_t)context->gregs[GREG_RIP] - (uint64_t)image);
    text_put(&text, ", address");
    vm_die(text.bytes, (uint64_t)context->gregs[GREG_RIP]);
}

/* Back from the handler, the VM starts anew at its loop, on an empty stack. */
static void resume_at_loop(Thread *thread, HostContext *context)
{
    enum { FLAG_TF = 1 << 8, FLAG_DF = 1 << 10, FLAG_AC = 1 << 18 };
    thread->os->stepping = false;
    context->gregs[GREG_RIP] = (int64_t)thread_loop;
    context->gregs[GREG_RSP] = (int64_t)slot_stack_top(thread) - 8;
    context->gregs[GREG_RDI] = (int64_t)thread;
    context->gregs[GREG_FLAGS] &= ~(int64_t)(FLAG_TF | FLAG_DF | FLAG_AC);
}

static bool is_watched_write(int signal, const uint64_t *info, const HostContext *context)
{
    enum { NO_ACCESS = 2, BY_WRITE = 2 };
    return signal == SIGNAL_SEGV && code_of(info) == NO_ACCESS &&
           (context->gregs[GREG_ERR] & BY_WRITE) != 0 && watch_fault(info[INFO_ADDRESS]);
}

/* If the writer's own block is among those forgotten, it is left: the write is executed by itself.
 */
static void write_again(Thread *thread, HostContext *context)
{
    if (!interp_is_stale(thread, context->gregs) ||
        !interp_recover(thread, context->gregs, SIGNAL_SEGV))
        return;
    thread->cpu.tail.alone = true;
    resume_at_loop(thread, context);
}

/* A signal waits, and the thread is in the code cache. */
static void leave_cache(Thread *thread, HostContext *context)
{
    StateAnswer answer = translate_interrupted(thread, context->gregs);
    thread->os->stepping = answer == STATE_STEP;
    if (answer == STATE_EXACT)
        resume_at_loop(thread, context);
}

static bool is_step(Thread *thread, int signal, const uint64_t *info, int64_t *gregs)
{
    enum { SINGLE_STEP = 2 };
    if (signal != SIGNAL_TRAP)
        return false;
    return evict_is_request(thread, info, gregs) ||
           (thread->os->stepping && code_of(info) == SINGLE_STEP);
}

static void host_handler(int signal, const uint64_t *info, HostContext *context)
{
    Thread *thread = slot_thread(&signal);
    const char *rip = (const char *)context->gregs[GREG_RIP];
    if (signal == SIGNAL_SEGV && raised_by_fault(signal, info) &&
        guard_fault(info[INFO_ADDRESS], (uint64_t)context->gregs[GREG_ERR]))
        return;
    if (raised_by_fault(signal, info) && code_read_fault(context->gregs))
        return;
    if (is_watched_write(signal, info, context)) {
        write_again(thread, context);
        return;
    }
    if (is_step(thread, signal, info, context->gregs)) {
        leave_cache(thread, context);
        return;
    }
    if (raised_by_fault(signal, info)) {
        uint64_t host_rip = (uint64_t)rip;
        if (!interp_recover(thread, context->gregs, signal))
            die_of_own_fault(signal, context, info);
        Captured *place = place_for(thread->os, signal);
        place->is_fault = false;
        capture(thread, signal, info, context);
        place->is_fault = true;
        if (place->info[INFO_ADDRESS] == host_rip)
            place->info[INFO_ADDRESS] = thread->cpu.pc;
        resume_at_loop(thread, context);
        return;
    }
    capture(thread, signal, info, context);
    if (rip >= vm_syscall_window && rip < vm_syscall_done)
        context->gregs[GREG_RIP] = (int64_t)vm_syscall_interrupted;
    else if (translate_owns((uint64_t)rip))
        leave_cache(thread, context);
}

/* ---- actions ------------------------------------------------------------------------------ */

static bool has_handler(const GuestAction *action)
{
    return action->handler != HANDLER_DEFAULT && action->handler != HANDLER_IGNORE;
}

/* Ends the process with a core file, in which the guest's registers are to stand, not the VM's. */
static bool dumps_core(uint64_t signal, const GuestAction *action)
{
    return action->handler == HANDLER_DEFAULT && (SIG_BIT(signal) & CORE_SIGNALS) != 0;
}

long signals_install(uint64_t signal, const GuestAction *action)
{
    bool handled = has_handler(action);
    if (!handled && !dumps_core(signal, action) && (SIG_BIT(signal) & VM_SIGNALS) == 0)
        return host_action(signal, action, NULL);
    uint64_t kept = handled ? action->flags & SA_HOST_KEEPS : SA_RESTART_;
    GuestAction host = { .handler = (uint64_t)host_handler,
                         .flags = kept | SA_SIGINFO_ | SA_ONSTACK_ | SA_RESTORER_,
                         .restorer = (uint64_t)vm_restorer,
                         .mask = ~(SigMask)0 };
    return host_action(signal, &host, NULL);
}

/* ---- tables ------------------------------------------------------------------------------- */

static struct {
    volatile uint32_t lock;
    SigTable *free;
} tables;

void signals_lock_for_fork(void)
{
    vm_lock(&tables.lock);
}

void signals_unlock_for_fork(void)
{
    vm_unlock(&tables.lock);
}

static SigTable *new_table(void)
{
    vm_lock(&tables.lock);
    SigTable *table = tables.free;
    if (table != NULL)
        tables.free = table->next_free;
    vm_unlock(&tables.lock);
    if (table == NULL)
        table = vm_alloc(sizeof *table);
    table->lock = 0;
    table->users = 1;
    return table;
}

SigTable *signals_initial_table(void)
{
    SigTable *table = new_table();
    for (uint64_t signal = 1; signal <= N_SIGNALS; signal++) {
        host_action(signal, NULL, &table->action[signal]);
        table->action[signal].flags &= SA_KERNEL_FLAGS;
        if (dumps_core(signal, &table->action[signal]))
            signals_install(signal, &table->action[signal]);
    }
    return table;
}

void signals_share_table(SigTable *table)
{
    __atomic_add_fetch(&table->users, 1, __ATOMIC_RELAXED);
}

void signals_drop_table(SigTable *table)
{
    if (__atomic_sub_fetch(&table->users, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    vm_lock(&tables.lock);
    table->next_free = tables.free;
    tables.free = table;
    vm_unlock(&tables.lock);
}

void signals_use_alt_stack(Thread *thread)
{
    GuestAltStack stack = { .sp = (uint64_t)thread + SLOT_HEAD + VM_PAGE,
                            .size = SLOT_ALT_END - SLOT_HEAD - VM_PAGE };
    raw_syscall(__NR_sigaltstack, (long)&stack, 0, 0, 0, 0, 0);
}

/* ---- system calls ------------------------------------------------------------------------- */

void signals_clear_handlers(SigTable *table)
{
    for (uint64_t signal = 1; signal <= N_SIGNALS; signal++)
        if (has_handler(&table->action[signal]))
            table->action[signal] = (GuestAction){ 0 };
}

SigTable *signals_copy_table(SigTable *table, bool clear)
{
    SigTable *copy = new_table();
    vm_lock(&table->lock);
    memcpy(copy->action, table->action, sizeof copy->action);
    vm_unlock(&table->lock);
    if (clear)
        signals_clear_handlers(copy);
    return copy;
}

void signals_forget(Thread *thread)
{
    memset(thread->os->captured, 0, sizeof thread->os->captured);
    thread->cpu.pending = 0;
}

long signals_action(Thread *thread, uint64_t signal, uint64_t new_action, uint64_t old_action,
                    uint64_t mask_size)
{
    SigTable *table = thread->os->actions;
    GuestAction wanted, old;
    if (mask_size != MASK_BYTES)
        return -EINVAL;
    if (new_action != 0 && !guest_read(&wanted, new_action, sizeof wanted))
        return -EFAULT;
    if (signal < 1 || signal > N_SIGNALS ||
        (new_action != 0 && (SIG_BIT(signal) & SIG_UNBLOCKABLE) != 0))
        return -EINVAL;
    vm_lock(&table->lock);
    old = table->action[signal];
    long result = 0;
    if (new_action != 0) {
        wanted.flags &= SA_KERNEL_FLAGS;
        wanted.mask &= ~SIG_UNBLOCKABLE;
        result = signals_install(signal, &wanted);
        if (result == 0)
            table->action[signal] = wanted;
    }
    vm_unlock(&table->lock);
    if (result == 0 && old_action != 0 && !guest_write(old_action, &old, sizeof old))
        return -EFAULT;
    return result;
}

/* ---- delivery ----------------------------------------------------------------------------- */

void signals_hold(Thread *thread)
{
    ThreadOs *os = thread->os;
    SigMask old = swap_kernel_mask(~(SigMask)0);
    if (!os->held) {
        os->guest_mask = os->base_mask = mask_of_guest(os, old);
        os->held = true;
    }
}

/* One of VM_SIGNALS that was sent while the guest blocks it waits here: the kernel cannot keep it.
 */
static bool waits_here(const ThreadOs *os, const Captured *captured)
{
    return !captured->is_fault && (SIG_BIT(captured->signal) & VM_SIGNALS & os->base_mask) != 0;
}

static Captured *next_captured(ThreadOs *os)
{
    for (int i = 0; i < N_CAPTURE; i++)
        if (os->captured[i].signal != 0 && os->captured[i].is_fault)
            return &os->captured[i];
    for (int i = 0; i < N_CAPTURE; i++)
        if (os->captured[i].signal != 0 && !waits_here(os, &os->captured[i]))
            return &os->captured[i];
    return NULL;
}

bool signals_wait(Thread *thread)
{
    return next_captured(thread->os) != NULL;
}

void signals_release(Thread *thread)
{
    ThreadOs *os = thread->os;
    if (next_captured(os) != NULL) {
        thread->cpu.pending = 1;
        swap_kernel_mask(mask_for_kernel(os, ~FAULT_SIGNALS | os->guest_mask));
        return;
    }
    os->held = false;
    swap_kernel_mask(mask_for_kernel(os, os->guest_mask));
}

/* Hands a captured signal to the kernel: it acts by default, or keeps it until it is unblocked. */
static void send_to_self(int signal, const Captured *captured)
{
    long pid = raw_syscall(__NR_getpid, 0, 0, 0, 0, 0, 0);
    long tid = raw_syscall(__NR_gettid, 0, 0, 0, 0, 0, 0);
    if (raw_syscall(__NR_rt_tgsigqueueinfo, pid, tid, signal, (long)captured->info, 0, 0) != 0)
        raw_syscall(__NR_tgkill, pid, tid, signal, 0, 0, 0);
}

/*
 * What the guest cannot handle: the default action, at once, whatever is blocked. It is sent while
 * all is blocked and let in together with the guest's registers, for the core file.
 */
__attribute__((noreturn)) static void die_of_signal(Thread *thread, int signal,
                                                    const Captured *captured)
{
    GuestAction by_default = { 0 };
    swap_kernel_mask(~(SigMask)0);
    host_action((uint64_t)signal, &by_default, NULL);
    send_to_self(signal, captured);
    gs_give_back(thread);
    frame_resume_natively(thread, ~SIG_BIT(signal));
}

static bool ignored_by_default(int signal)
{
    return signal == SIGNAL_CHLD || signal == SIGNAL_CONT || signal == SIGNAL_URG ||
           signal == SIGNAL_WINCH;
}

/* No handler (any more): what the kernel would do now. */
static void act_by_default(Thread *thread, const GuestAction *action, const Captured *captured)
{
    int signal = (int)captured->signal;
    if (captured->is_fault || dumps_core((uint64_t)signal, action))
        die_of_signal(thread, signal, captured);
    if (action->handler == HANDLER_IGNORE || ignored_by_default(signal))
        return;
    send_to_self(signal, captured);
}

static GuestAction take_action(SigTable *table, int signal)
{
    vm_lock(&table->lock);
    GuestAction action = table->action[signal];
    if (has_handler(&action) && (action.flags & SA_RESETHAND_) != 0) {
        table->action[signal].handler = HANDLER_DEFAULT;
        signals_install((uint64_t)signal, &table->action[signal]);
    }
    vm_unlock(&table->lock);
    return action;
}

/* The guest's stack cannot take the frame: SIGSEGV; and if that was one, the end. */
static void raise_bad_frame(Thread *thread, int signal)
{
    Captured *place = &thread->os->captured[CAPTURE_SEGV];
    memset(place, 0, sizeof *place);
    int32_t *info = (int32_t *)(void *)place->info;
    info[0] = SIGNAL_SEGV;
    info[INFO_CODE] = 0x80; /* SI_KERNEL */
    place->is_fault = true;
    if (signal == SIGNAL_SEGV)
        die_of_signal(thread, signal, place);
    place->signal = SIGNAL_SEGV;
}

static void deliver_one(Thread *thread, const Captured *captured)
{
    ThreadOs *os = thread->os;
    int signal = (int)captured->signal;
    bool blocked = (os->base_mask & SIG_BIT(signal)) != 0;
    if (blocked && captured->is_fault)
        die_of_signal(thread, signal, captured);
    if (blocked) {
        send_to_self(signal, captured);
        return;
    }
    GuestAction action = take_action(os->actions, signal);
    if (!has_handler(&action)) {
        act_by_default(thread, &action, captured);
        return;
    }
    FrameRequest request = { signal, &action, captured, os->guest_mask };
    if (!frame_push(thread, &request)) {
        raise_bad_frame(thread, signal);
        return;
    }
    os->guest_mask = os->base_mask | action.mask;
    if ((action.flags & SA_NODEFER_) == 0)
        os->guest_mask |= SIG_BIT(signal);
    os->base_mask = os->guest_mask;
}

void signals_deliver(Thread *thread)
{
    ThreadOs *os = thread->os;
    signals_hold(thread);
    thread->cpu.pending = 0;
    for (Captured *place = next_captured(os); place != NULL; place = next_captured(os)) {
        Captured captured = *place;
        place->signal = 0;
        place->is_fault = false;
        deliver_one(thread, &captured);
    }
    signals_release(thread);
}

void signals_raise(Thread *thread, int signal, int code, uint64_t address, uint64_t trapno,
                   uint64_t err)
{
    signals_hold(thread);
    Captured *place = place_for(thread->os, signal);
    memset(place, 0, sizeof *place);
    int32_t *info = (int32_t *)(void *)place->info;
    info[0] = signal;
    info[INFO_CODE] = code;
    place->info[INFO_ADDRESS] = address;
    place->trapno = trapno;
    place->err = err;
    place->cr2 = address;
    place->is_fault = true;
    place->signal = (uint32_t)signal;
    signals_release(thread);
    signals_deliver(thread);
}

void signals_return(Thread *thread)
{
    SigMask mask;
    signals_hold(thread);
    if (frame_pop(thread, &mask))
        thread->os->guest_mask = thread->os->base_mask = mask & ~SIG_UNBLOCKABLE;
    else
        raise_bad_frame(thread, 0);
    signals_release(thread);
}

void signals_give_back(Thread *thread)
{
    ThreadOs *os = thread->os;
    signals_hold(thread);
    os->base_mask = 0; /* nothing waits here any more */
    for (Captured *place = next_captured(os); place != NULL; place = next_captured(os)) {
        send_to_self((int)place->signal, place);
        place->signal = 0;
    }
    for (uint64_t signal = 1; signal <= N_SIGNALS; signal++)
        if (has_handler(&os->actions->action[signal]) || (SIG_BIT(signal) & VM_SIGNALS) != 0)
            host_action(signal, &os->actions->action[signal], NULL);
    raw_syscall(__NR_sigaltstack, (long)&os->alt_stack, 0, 0, 0, 0, 0);
    swap_kernel_mask(os->guest_mask);
}
