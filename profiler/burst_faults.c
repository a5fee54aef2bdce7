/*
 * burst_faults.c: whose fault is it?
 *
 *   burst begins ─► the guest's actions for fault signals are taken down, ours are installed
 *   fault in it  ─► interp_recover makes cpu exact; the burst ends; the guest's instruction runs
 *                   natively, faults again, and reaches the guest's own handler in a true frame
 *   burst ends   ─► the guest's actions are installed again
 *
 * Between bursts the guest has its own actions; with several bursts at a time the first one changes
 * them and the last one changes them back. Actions belong to the process, so a thread that runs
 * natively meanwhile can fault into our handler. That one waits until the bursts are over and
 * returns: its instruction faults again, and the signal is the guest's. Two bursts are let pass for
 * that. A fault signal that was sent, not raised, is kept and sent again.
 *
 * A guest that sets an action of its own for a fault signal while another of its threads is in a
 * burst keeps it: what is found at the end and is not ours stays.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/burst.h"
#include "profiler/frame.h"
#include "profiler/signals.h"
#include "profiler/text.h"

#include <asm/unistd.h>

enum {
    N_FAULTS = 4,
    MASK_BYTES = 8,
    INFO_CODE = 2, /* siginfo as words of 4 bytes */
    LET_PASS = 2,
    FLAG_TF = 1 << 8,
    FLAG_DF = 1 << 10,
    FLAG_AC = 1 << 18,
};
#define SA_SIGINFO_ UINT64_C(0x00000004)
#define SA_RESTORER_ UINT64_C(0x04000000)
#define SA_ONSTACK_ UINT64_C(0x08000000)

static const uint32_t fault_signals[N_FAULTS] = { SIGNAL_SEGV, SIGNAL_BUS, SIGNAL_FPE, SIGNAL_ILL };

extern const char vm_restorer[] __attribute__((visibility("hidden")));

static struct {
    volatile uint32_t lock;
    volatile uint32_t users; /* bursts under way */
    volatile uint32_t skip;  /* bursts to be let pass */
    GuestAction guest[N_FAULTS];
} faults;

static void action(uint32_t signal, const GuestAction *wanted, GuestAction *old)
{
    raw_syscall(__NR_rt_sigaction, (long)signal, (long)wanted, (long)old, MASK_BYTES, 0, 0);
}

/* From a fault to the end of its burst. */
static void end_burst(Thread *thread, GuestContext *context)
{
    context->registers.rip = (uint64_t)burst_finish;
    context->registers.rsp = (uint64_t)thread + BURST_STACK_TOP - 8;
    context->registers.rdi = (uint64_t)thread;
    context->registers.flags &= ~(uint64_t)(FLAG_TF | FLAG_DF | FLAG_AC);
}

static void keep(Thread *thread, uint32_t signal, const int32_t *info)
{
    for (int i = 0; i < N_FAULTS; i++) {
        Captured *place = &thread->os->captured[i];
        if (fault_signals[i] != signal || place->signal != 0)
            continue;
        memcpy(place->info, info, SIGINFO_BYTES);
        place->signal = signal;
    }
    thread->cpu.pending = 1;
}

static void resend(uint32_t signal, const void *info)
{
    long pid = raw_syscall(__NR_getpid, 0, 0, 0, 0, 0, 0);
    long tid = raw_syscall(__NR_gettid, 0, 0, 0, 0, 0, 0);
    if (raw_syscall(__NR_rt_tgsigqueueinfo, pid, tid, signal, (long)info, 0, 0) != 0)
        raw_syscall(__NR_tgkill, pid, tid, signal, 0, 0, 0);
}

static void give_back(void)
{
    extern void burst_fault(int, const int32_t *, GuestContext *);
    for (int i = 0; i < N_FAULTS; i++) {
        GuestAction found;
        action(fault_signals[i], &faults.guest[i], &found);
        if (found.handler != (uint64_t)burst_fault)
            action(fault_signals[i], &found, NULL);
    }
}

/* A thread that runs natively: its signal is for the guest, as soon as there is no burst. */
static void let_guest_have_it(void)
{
    vm_lock(&faults.lock);
    faults.skip = LET_PASS;
    vm_unlock(&faults.lock);
    burst_stop_all();
    while (__atomic_load_n(&faults.users, __ATOMIC_ACQUIRE) != 0)
        raw_syscall(__NR_sched_yield, 0, 0, 0, 0, 0, 0);
}

void burst_fault(int signal, const int32_t *info, GuestContext *context)
    __attribute__((visibility("hidden")));
void burst_fault(int signal, const int32_t *info, GuestContext *context)
{
    bool raised = info[INFO_CODE] > 0;
    Thread *thread = burst_thread_at((uint64_t)&raised);
    if (thread == NULL) {
        let_guest_have_it();
        if (!raised)
            resend((uint32_t)signal, info);
        return;
    }
    if (!raised) {
        keep(thread, (uint32_t)signal, info);
        return;
    }
    if (interp_recover(thread, (const int64_t *)&context->registers, signal)) {
        end_burst(thread, context);
        return;
    }
    /* A fault of the core's own: the process ends as if the guest had made it. */
    give_back();
}

bool burst_faults_enter(void)
{
    const GuestAction ours = { .handler = (uint64_t)burst_fault,
                               .flags = SA_SIGINFO_ | SA_ONSTACK_ | SA_RESTORER_,
                               .restorer = (uint64_t)vm_restorer,
                               .mask = ~(SigMask)0 };
    vm_lock(&faults.lock);
    bool wait = faults.skip != 0;
    if (wait)
        faults.skip--;
    for (int i = 0; i < N_FAULTS && !wait && faults.users == 0; i++) {
        GuestAction found;
        action(fault_signals[i], &ours, &found);
        if (found.handler != (uint64_t)burst_fault)
            faults.guest[i] = found;
    }
    if (!wait)
        faults.users++;
    vm_unlock(&faults.lock);
    return !wait;
}

void burst_faults_leave(void)
{
    vm_lock(&faults.lock);
    if (faults.users == 1)
        give_back();
    __atomic_sub_fetch(&faults.users, 1, __ATOMIC_RELEASE);
    vm_unlock(&faults.lock);
}

void burst_faults_resend(Thread *thread)
{
    for (int i = 0; i < N_FAULTS; i++) {
        Captured *place = &thread->os->captured[i];
        if (place->signal != 0)
            resend(place->signal, place->info);
        place->signal = 0;
    }
}
