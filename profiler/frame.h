/*
 * Signal frames on the guest's stack, as the kernel lays them out (arch/x86/include/asm/sigframe.h,
 * struct rt_sigframe; asm/sigcontext.h):
 *
 *   sp (16n + 8)  return address = the restorer
 *          + 8    ucontext: flags, link, stack_t, registers (sigcontext), mask
 *          + 312  siginfo, 128 bytes
 *   above, 64-byte aligned: the XSAVE image, with the software words in bytes 464-511, then magic2
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_FRAME_H
#define RESPIN_PROFILER_FRAME_H

#include "profiler/thread.h"

typedef struct SigContext {
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip,
        flags;
    uint16_t cs, gs, fs, ss;
    uint64_t err, trapno, oldmask, cr2;
    uint64_t fpstate;
    uint64_t reserved[8];
} SigContext;

typedef struct GuestContext {
    uint64_t flags;
    uint64_t link;
    GuestAltStack stack;
    SigContext registers;
    SigMask mask;
} GuestContext;

typedef struct SigFrame {
    uint64_t return_to;
    GuestContext context;
    uint64_t info[SIGINFO_BYTES / 8];
} SigFrame;

_Static_assert(sizeof(SigContext) == 256, "sigcontext_64");
_Static_assert(sizeof(GuestContext) == 304, "ucontext");

/* Finds out what XSAVE saves on this processor for this process. Once. */
void frame_init(void);

typedef struct FrameRequest {
    int signal;
    const GuestAction *action;
    const Captured *captured;
    SigMask mask; /* to be restored by rt_sigreturn */
} FrameRequest;

/*
 * Pushes a frame and points cpu at the handler, with vector state as the kernel clears it.
 * False: the stack cannot take it (a SIGSEGV is due); nothing has changed.
 */
bool frame_push(Thread *thread, const FrameRequest *request);
/*
 * The processor gets the guest's registers and `mask`, by a sigreturn of the VM's own: a signal
 * that is pending and not in `mask` acts before the first instruction.
 */
__attribute__((noreturn)) void frame_resume_natively(const Thread *thread, SigMask mask);
/* rt_sigreturn: takes everything back from the frame at cpu RSP - 8. False: a bad frame. */
bool frame_pop(Thread *thread, SigMask *mask);

/* `sp` is on the alternate stack (and that is not SS_AUTODISARM). */
bool alt_stack_holds(const GuestAltStack *stack, uint64_t sp);
long alt_stack_set(GuestAltStack *stack, const GuestAltStack *wanted, uint64_t sp);

#endif
